# pragma version 0.4.3
"""
@title  Messages from L1: deposits, forced transactions, notices and administration
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/inbox.py, where the layout of every payload stands.
"""
from stf import encoding
from stf import params
from stf import parts
from stf import state
from stf import types

uses: encoding
uses: state
uses: parts


@internal
def deposit(start: uint256) -> uint256:
    """@notice Credits a deposit."""
    pos: uint256 = start
    account: uint256 = 0
    owner: uint256 = 0
    amount: uint256 = 0
    account, pos = encoding.read_fixed(pos, 4)
    owner, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or owner == 0 or amount == 0 or amount >= params.MONEY_MAX:
        return types.BAD_MESSAGE
    parts.deposit(account, owner, amount)
    return types.OK


@internal
def notice(start: uint256) -> uint256:
    """@notice Learns how much of L2 time is anchored: an anchor was posted, or a rollback left an older one as head."""
    pos: uint256 = start
    batch: uint256 = 0
    time: uint256 = 0
    batch, pos = encoding.read_fixed(pos, 8)
    time, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end():
        return types.BAD_MESSAGE
    state.set_last_anchor(time)
    return types.OK


@internal
def administer(start: uint256) -> uint256:
    """@notice Applies an admin message. One that breaks a bound is refused whole."""
    pos: uint256 = start
    sub_kind: uint256 = 0
    sub_kind, pos = encoding.read_byte(pos)
    if sub_kind == types.CONFIGURE_MARKET:
        return self.configure_market(pos)
    if sub_kind == types.SET_PUBLISHER:
        return self.set_publisher(pos)
    return types.BAD_MESSAGE


@internal
def configure_market(start: uint256) -> uint256:
    """@notice Creates a market or replaces its parameters; prices, orders and positions stay."""
    pos: uint256 = start
    market: uint256 = 0
    rates: types.Board = empty(types.Board)
    config: types.Market = empty(types.Market)
    status: uint256 = 0
    market, pos = encoding.read_fixed(pos, 2)
    rates, pos = self.read_board(pos)
    config, pos = self.read_market(pos)
    status, pos = encoding.read_byte(pos)
    if pos != encoding.get_end() or market >= params.MARKETS_MAX or status < types.OPEN or status > types.HALTED:
        return types.BAD_MESSAGE
    if not self.is_sound(rates, config):
        return types.BAD_MESSAGE
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        state.create_market(market)
    elif rates.tick_value != board.tick_value:
        return types.BAD_MESSAGE
    rates.status = status
    rates.mark = board.mark
    rates.mark_time = board.mark_time
    rates.funding = board.funding
    rates.loss_long = board.loss_long
    rates.loss_short = board.loss_short
    rates.risk = board.risk
    rates.addon_cap = board.addon_cap
    state.set_board(market, rates)
    state.set_market(market, self.keep_risk(state.get_market(market), config))
    return types.OK


@pure
@internal
def keep_risk(old: types.Market, new: types.Market) -> types.Market:
    """@notice A market's new trading parameters, with the risk parameters that it has."""
    kept: types.Market = old
    kept.oi_cap = new.oi_cap
    kept.min_notional = new.min_notional
    kept.taker_fee = new.taker_fee
    kept.maker_fee = new.maker_fee
    kept.penalty = new.penalty
    kept.band = new.band
    kept.quorum = new.quorum
    return kept


@internal
def read_board(start: uint256) -> (types.Board, uint256):
    """@notice The margin parameters of a configure message."""
    pos: uint256 = start
    board: types.Board = empty(types.Board)
    board.tick_value, pos = encoding.read_fixed(pos, 4)
    board.mm_base, pos = encoding.read_fixed(pos, 4)
    board.mm_cap, pos = encoding.read_fixed(pos, 4)
    board.im_base, pos = encoding.read_fixed(pos, 4)
    board.im_cap, pos = encoding.read_fixed(pos, 4)
    board.impact, pos = encoding.read_fixed(pos, 8)
    board.stale_ms, pos = encoding.read_fixed(pos, 4)
    return board, pos


@internal
def read_market(start: uint256) -> (types.Market, uint256):
    """@notice The trading parameters of a configure message."""
    pos: uint256 = start
    config: types.Market = empty(types.Market)
    config.oi_cap, pos = encoding.read_fixed(pos, 8)
    config.min_notional, pos = encoding.read_fixed(pos, 8)
    config.taker_fee, pos = encoding.read_fixed(pos, 4)
    config.maker_fee, pos = encoding.read_fixed(pos, 4)
    config.penalty, pos = encoding.read_fixed(pos, 4)
    config.band, pos = encoding.read_fixed(pos, 4)
    config.quorum, pos = encoding.read_byte(pos)
    return config, pos


@pure
@internal
def is_sound(board: types.Board, config: types.Market) -> bool:
    """@notice Bounds that keep every product of the rules inside 127 bits and every stored value inside 63."""
    if board.tick_value == 0 or config.oi_cap == 0 or config.quorum == 0 or config.quorum > params.PUBLISHERS_MAX:
        return False
    if config.oi_cap * params.PRICE_MAX * board.tick_value >= params.EXPOSURE_MAX:
        return False
    if config.min_notional >= params.EXPOSURE_MAX:
        return False
    if board.mm_base == 0 or board.mm_base > board.im_base or board.mm_cap > board.im_cap:
        return False
    if board.mm_base > board.mm_cap or board.im_base > board.im_cap or board.im_cap > params.PPM:
        return False
    if config.taker_fee > params.PPM or config.maker_fee > params.PPM or config.penalty > params.PPM:
        return False
    return config.band < params.PPM


@internal
def set_publisher(start: uint256) -> uint256:
    """@notice Registers (or, address 0, removes) a publisher in a market's slot."""
    pos: uint256 = start
    market: uint256 = 0
    slot: uint256 = 0
    signer: uint256 = 0
    market, pos = encoding.read_fixed(pos, 2)
    slot, pos = encoding.read_byte(pos)
    signer, pos = encoding.read_fixed(pos, 20)
    if pos != encoding.get_end() or market >= params.MARKETS_MAX or slot >= params.PUBLISHERS_MAX:
        return types.BAD_MESSAGE
    if state.get_board(market).status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    state.set_publisher(market, slot, types.Publisher(address=signer, price=0, time=0))
    return types.OK
