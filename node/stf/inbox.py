"""Messages from L1: deposits, forced transactions, notices and administration.

    message = kind:1 sender:20 l1_time:8 (seconds) payload

    deposit   account:4 owner:20 amount:8        (an account that is not the owner's, as 0 is, opens one for the owner)
    forced    one transaction, with times relative to 0
    anchor    batch:8 l2_time:8        rollback  batch:8 l2_time:8
    admin     1 market:2 tick_value:4 mm_base:4 mm_cap:4 im_base:4 im_cap:4 impact:8 stale_ms:4 oi_cap:8
                min_notional:8 taker_fee:4 maker_fee:4 penalty:4 band:4 quorum:1 status:1
              2 market:2 slot:1 address:20
"""

from dataclasses import replace

from node.stf import accounts, encoding, state
from node.stf.params import EXPOSURE_MAX, MARKETS_MAX, MONEY_MAX, PPM, PRICE_MAX, PUBLISHERS_MAX
from node.stf.types import (
    CONFIGURE_MARKET,
    HALTED,
    NO_SUCH_MARKET,
    OPEN,
    SET_PUBLISHER,
    Board,
    Market,
    Publisher,
    Status,
)


def deposit(pos: int) -> Status:
    """Credit a deposit."""
    account, pos = encoding.read_fixed(pos, 4)
    owner, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or owner == 0 or amount == 0 or amount >= MONEY_MAX:
        return Status.BAD_MESSAGE
    accounts.deposit(account, owner, amount)
    return Status.OK


def notice(pos: int) -> Status:
    """Learn how much of L2 time is anchored: an anchor was posted, or a rollback left an older one as head."""
    _batch, pos = encoding.read_fixed(pos, 8)
    time, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end():
        return Status.BAD_MESSAGE
    state.set_last_anchor(time)
    return Status.OK


def administer(pos: int) -> Status:
    """Apply an admin message. One that breaks a bound is refused whole."""
    sub_kind, pos = encoding.read_byte(pos)
    if sub_kind == CONFIGURE_MARKET:
        return configure_market(pos)
    if sub_kind == SET_PUBLISHER:
        return set_publisher(pos)
    return Status.BAD_MESSAGE


def configure_market(pos: int) -> Status:
    """Create a market or replace its parameters; prices, orders and positions stay."""
    market, pos = encoding.read_fixed(pos, 2)
    rates, pos = read_board(pos)
    config, pos = read_market(pos)
    status, pos = encoding.read_byte(pos)
    if pos != encoding.get_end() or market >= MARKETS_MAX or status < OPEN or status > HALTED:
        return Status.BAD_MESSAGE
    if not is_sound(rates, config):
        return Status.BAD_MESSAGE
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        state.create_market(market)
    elif rates.tick_value != board.tick_value:
        return Status.BAD_MESSAGE
    rates.status = status
    rates.mark = board.mark
    rates.mark_time = board.mark_time
    rates.funding = board.funding
    rates.loss_long = board.loss_long
    rates.loss_short = board.loss_short
    rates.risk = board.risk
    rates.addon_cap = board.addon_cap
    state.set_board(market, rates)
    state.set_market(market, keep_risk(state.get_market(market), config))
    return Status.OK


def keep_risk(old: Market, new: Market) -> Market:
    """A market's new trading parameters, with the risk parameters that it has."""
    kept = replace(old)
    kept.oi_cap = new.oi_cap
    kept.min_notional = new.min_notional
    kept.taker_fee = new.taker_fee
    kept.maker_fee = new.maker_fee
    kept.penalty = new.penalty
    kept.band = new.band
    kept.quorum = new.quorum
    return kept


def read_board(pos: int) -> tuple[Board, int]:
    """The margin parameters of a configure message."""
    board = Board()
    board.tick_value, pos = encoding.read_fixed(pos, 4)
    board.mm_base, pos = encoding.read_fixed(pos, 4)
    board.mm_cap, pos = encoding.read_fixed(pos, 4)
    board.im_base, pos = encoding.read_fixed(pos, 4)
    board.im_cap, pos = encoding.read_fixed(pos, 4)
    board.impact, pos = encoding.read_fixed(pos, 8)
    board.stale_ms, pos = encoding.read_fixed(pos, 4)
    return board, pos


def read_market(pos: int) -> tuple[Market, int]:
    """The trading parameters of a configure message."""
    config = Market()
    config.oi_cap, pos = encoding.read_fixed(pos, 8)
    config.min_notional, pos = encoding.read_fixed(pos, 8)
    config.taker_fee, pos = encoding.read_fixed(pos, 4)
    config.maker_fee, pos = encoding.read_fixed(pos, 4)
    config.penalty, pos = encoding.read_fixed(pos, 4)
    config.band, pos = encoding.read_fixed(pos, 4)
    config.quorum, pos = encoding.read_byte(pos)
    return config, pos


def is_sound(board: Board, config: Market) -> bool:
    """Bounds that keep every product of the rules inside 127 bits and every stored value inside 63."""
    if board.tick_value == 0 or config.oi_cap == 0 or config.quorum == 0 or config.quorum > PUBLISHERS_MAX:
        return False
    if config.oi_cap * PRICE_MAX * board.tick_value >= EXPOSURE_MAX or config.min_notional >= EXPOSURE_MAX:
        return False
    if board.mm_base == 0 or board.mm_base > board.im_base or board.mm_cap > board.im_cap:
        return False
    if board.mm_base > board.mm_cap or board.im_base > board.im_cap or board.im_cap > PPM:
        return False
    return config.taker_fee <= PPM and config.maker_fee <= PPM and config.penalty <= PPM and config.band < PPM


def set_publisher(pos: int) -> Status:
    """Register (or, address 0, remove) a publisher in a market's slot."""
    market, pos = encoding.read_fixed(pos, 2)
    slot, pos = encoding.read_byte(pos)
    address, pos = encoding.read_fixed(pos, 20)
    if pos != encoding.get_end() or market >= MARKETS_MAX or slot >= PUBLISHERS_MAX:
        return Status.BAD_MESSAGE
    if state.get_board(market).status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    state.set_publisher(market, slot, Publisher(address=address))
    return Status.OK
