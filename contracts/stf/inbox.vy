# pragma version 0.4.3
"""
@title  Messages from L1: deposits, notices and administration
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/inbox.py, where the layout of every payload stands.
"""
from stf import accounts
from stf import encoding
from stf import finality
from stf import fixed_point
from stf import funding
from stf import oracle
from stf import params
from stf import state
from stf import types

uses: accounts
uses: encoding
uses: finality
uses: oracle
uses: state


@internal
def deliver(kind: uint256, pos: uint256) -> uint256:
    """@notice Acts on a message whose payload starts at `pos`."""
    if kind == types.DEPOSIT:
        return self.deposit(pos)
    if kind == types.PAID_NOTICE:
        return self.forget_paid(pos)
    if kind == types.ANCHOR_NOTICE or kind == types.ROLLBACK_NOTICE:
        return self.notice(kind, pos)
    if kind == types.ADMIN:
        return self.administer(pos)
    return types.BAD_MESSAGE


@internal
def deposit(start: uint256) -> uint256:
    """@notice Credits a deposit, or takes a donation."""
    pos: uint256 = start
    account: uint256 = 0
    owner: uint256 = 0
    amount: uint256 = 0
    account, pos = encoding.read_fixed(pos, 4)
    owner, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or owner == 0 or amount == 0 or amount >= params.MONEY_MAX:
        return types.BAD_MESSAGE
    if account >= params.DONATION_ACCOUNT and self.insure(account - params.DONATION_ACCOUNT, amount):
        state.add_deposits(amount)
    else:
        accounts.deposit(account, owner, amount)
    return types.OK


@internal
def insure(market: uint256, amount: uint256) -> bool:
    """@notice Adds cash to a market's insurance. @return whether there is such a market and room in it."""
    if state.get_board(market).status == types.NO_SUCH_MARKET:
        return False
    if not fixed_point.in_range(state.get_insurance(market).cash + convert(amount, int256)):
        return False
    state.add_insurance(market, convert(amount, int256))
    return True


@internal
def forget_paid(start: uint256) -> uint256:
    """@notice Deletes withdrawals that L1 has paid. One without a leaf has no effect: totals count what was withdrawn, ever."""
    pos: uint256 = start
    if pos == encoding.BAD:
        return types.BAD_MESSAGE
    size: uint256 = encoding.get_end() - pos
    count: uint256 = size // 8
    if size % 8 != 0 or count == 0 or count > params.PAID_MAX:
        return types.BAD_MESSAGE
    for _: uint256 in range(count, bound=params.PAID_MAX):
        withdrawal: uint256 = 0
        withdrawal, pos = encoding.read_fixed(pos, 8)
        state.remove_withdrawal(withdrawal)
    return types.OK


@internal
def notice(kind: uint256, start: uint256) -> uint256:
    """@notice Learns how much of L2 time is anchored: an anchor was posted, or a rollback left an older one as head."""
    pos: uint256 = start
    batch: uint256 = 0
    time: uint256 = 0
    batch, pos = encoding.read_fixed(pos, 8)
    time, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end():
        return types.BAD_MESSAGE
    if kind == types.ANCHOR_NOTICE:
        time = max(time, state.get_last_anchor())
    state.set_last_anchor(time)
    finality.update()
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
    if sub_kind == types.CONFIGURE_RISK:
        return self.configure_risk(pos)
    if sub_kind == types.CONFIGURE_CHAIN:
        return self.configure_chain(pos)
    if sub_kind == types.FUND_INSURANCE:
        return self.fund_insurance(pos)
    return types.BAD_MESSAGE


@internal
def configure_market(start: uint256) -> uint256:
    """@notice Creates a market or replaces its parameters; prices, orders, positions and risk parameters stay."""
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
    elif board.status == types.SETTLING or rates.tick_value != board.tick_value:
        return types.BAD_MESSAGE
    elif not self.indices_fit(board, config.oi_cap):
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
def indices_fit(board: types.Board, lots: uint256) -> bool:
    """@return whether all cumulative indices of a market keep their bound with these many lots."""
    if not funding.index_fits(board.funding, lots):
        return False
    return funding.index_fits(board.loss_long, lots) and funding.index_fits(board.loss_short, lots)


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
def configure_risk(start: uint256) -> uint256:
    """@notice Replaces a market's risk parameters."""
    pos: uint256 = start
    market: uint256 = 0
    market, pos = encoding.read_fixed(pos, 2)
    if pos == encoding.BAD:
        return types.BAD_MESSAGE
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    old: types.Market = state.get_market(market)
    new: types.Market = old
    addon_cap: uint256 = 0
    new, addon_cap, pos = self.read_risk(old, pos)
    if pos != encoding.get_end() or board.status == types.SETTLING or not self.is_risk_sound(new, addon_cap):
        return types.BAD_MESSAGE
    now: uint256 = state.get_time()
    if new.expiry != old.expiry:
        if (old.expiry != 0 and old.expiry <= now) or (new.expiry != 0 and new.expiry <= now) or new.expiry > params.TIME_MAX:
            return types.BAD_MESSAGE
        state.set_twap(market, 0, 0)
    board.addon_cap = addon_cap
    state.set_board(market, board)
    state.set_market(market, new)
    oracle.configure(market)
    return types.OK


@view
@internal
def read_risk(old: types.Market, start: uint256) -> (types.Market, uint256, uint256):
    """@return a market's parameters with those of a risk message, the add-on's cap, and the position behind."""
    pos: uint256 = start
    config: types.Market = old
    addon_cap: uint256 = 0
    config.near_band, pos = encoding.read_fixed(pos, 4)
    config.z, pos = encoding.read_fixed(pos, 2)
    config.sigma_floor, pos = encoding.read_fixed(pos, 4)
    addon_cap, pos = encoding.read_fixed(pos, 4)
    config.vol_sample_ms, pos = encoding.read_fixed(pos, 4)
    config.vol_window, pos = encoding.read_fixed(pos, 4)
    config.basis_cap, pos = encoding.read_fixed(pos, 4)
    config.spread_max, pos = encoding.read_fixed(pos, 4)
    config.basis_window, pos = encoding.read_fixed(pos, 4)
    config.jump_limit, pos = encoding.read_fixed(pos, 4)
    config.jump_hold, pos = encoding.read_fixed(pos, 4)
    config.reduce_cap, pos = encoding.read_fixed(pos, 4)
    config.expiry, pos = encoding.read_fixed(pos, 8)
    return config, addon_cap, pos


@pure
@internal
def is_risk_sound(config: types.Market, addon_cap: uint256) -> bool:
    """@notice Bounds of risk parameters: shares of at most one."""
    if config.near_band >= params.PPM or addon_cap > params.PPM or config.basis_cap > params.PPM:
        return False
    return config.reduce_cap <= params.PPM and config.spread_max <= params.PPM and config.jump_limit <= params.PPM


@internal
def configure_chain(start: uint256) -> uint256:
    """@notice Replaces the parameters of the whole chain."""
    pos: uint256 = start
    rules: types.Chain = empty(types.Chain)
    horizon_ms: uint256 = 0
    outflow_limit: uint256 = 0
    rules.anchor_interval, pos = encoding.read_fixed(pos, 4)
    rules.tau_reduce, pos = encoding.read_fixed(pos, 4)
    rules.tau_halt, pos = encoding.read_fixed(pos, 4)
    rules.buffer_ms, pos = encoding.read_fixed(pos, 4)
    rules.refill, pos = encoding.read_fixed(pos, 2)
    horizon_ms, pos = encoding.read_fixed(pos, 4)
    rules.closeout, pos = encoding.read_fixed(pos, 4)
    outflow_limit, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or rules.closeout > params.PPM or outflow_limit >= params.MONEY_MAX:
        return types.BAD_MESSAGE
    # a limit that an anchor just in time does not undercut twice over would never open again
    least: uint256 = 2 * rules.anchor_interval
    if rules.tau_reduce != 0 and rules.tau_reduce <= least:
        return types.BAD_MESSAGE
    if rules.tau_halt != 0 and (rules.tau_halt <= least or rules.tau_halt < rules.tau_reduce):
        return types.BAD_MESSAGE
    rules.horizon_root = fixed_point.root_down(horizon_ms * 1_000)
    state.set_chain(rules)
    state.set_outflow_limit(outflow_limit)
    finality.update()
    return types.OK


@internal
def fund_insurance(start: uint256) -> uint256:
    """@notice Moves fees into a market's insurance; what resting orders may get back stays."""
    pos: uint256 = start
    market: uint256 = 0
    amount: uint256 = 0
    market, pos = encoding.read_fixed(pos, 2)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or amount == 0 or amount + state.get_resting() * params.REST_FEE > state.get_fees():
        return types.BAD_MESSAGE
    if not self.insure(market, amount):
        return types.BAD_MESSAGE
    state.add_fees(-convert(amount, int256))
    return types.OK


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
