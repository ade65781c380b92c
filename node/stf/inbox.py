"""Messages from L1: deposits, notices and administration. (Forced transactions are the transition's.)

    message = kind:1 sender:20 l1_time:8 (seconds) payload

    deposit   account:4 owner:20 amount:8        (an account that is not the owner's, as 0 is, opens one for the owner;
                                                  0xFFFF0000 + market is a donation to the market's insurance)
    forced    one transaction, with times relative to 0
    paid      1 to PAID_MAX ids of withdrawals, each id:8
    anchor    batch:8 l2_time:8        rollback  batch:8 l2_time:8
    admin     1 market:2 tick_value:4 mm_base:4 mm_cap:4 im_base:4 im_cap:4 impact:8 stale_ms:4 oi_cap:8
                min_notional:8 taker_fee:4 maker_fee:4 penalty:4 band:4 quorum:1 status:1
              2 market:2 slot:1 address:20
              3 market:2 near_band:4 z:2 sigma_floor:4 addon_cap:4 vol_sample_ms:4 vol_window:4 basis_cap:4
                spread_max:4 basis_window:4 jump_limit:4 jump_hold:4 reduce_cap:4 expiry:8
              4 anchor_interval:4 tau_reduce:4 tau_halt:4 buffer_ms:4 refill:2 horizon_ms:4 closeout:4
                outflow_limit:8
              5 market:2 amount:8                (from fees to the market's insurance)

A message that breaks a bound is refused whole. A market that has expired cannot be configured: its next series is
another market.
"""

from dataclasses import replace

from node.stf import accounts, encoding, finality, funding, oracle, state
from node.stf.fixed_point import in_range, root_down
from node.stf.params import (
    DONATION_ACCOUNT,
    EXPOSURE_MAX,
    MARKETS_MAX,
    MONEY_MAX,
    PAID_MAX,
    PPM,
    PRICE_MAX,
    PUBLISHERS_MAX,
    REST_FEE,
    TIME_MAX,
)
from node.stf.types import (
    ADMIN,
    ANCHOR_NOTICE,
    CONFIGURE_CHAIN,
    CONFIGURE_MARKET,
    CONFIGURE_RISK,
    DEPOSIT,
    FUND_INSURANCE,
    HALTED,
    NO_SUCH_MARKET,
    OPEN,
    PAID_NOTICE,
    ROLLBACK_NOTICE,
    SET_PUBLISHER,
    SETTLING,
    Board,
    Chain,
    Market,
    Publisher,
    Status,
)


def deliver(kind: int, pos: int) -> Status:
    """Act on a message whose payload starts at ``pos``."""
    if kind == DEPOSIT:
        return deposit(pos)
    if kind == PAID_NOTICE:
        return forget_paid(pos)
    if kind == ANCHOR_NOTICE or kind == ROLLBACK_NOTICE:
        return notice(kind, pos)
    if kind == ADMIN:
        return administer(pos)
    return Status.BAD_MESSAGE


def deposit(pos: int) -> Status:
    """Credit a deposit, or take a donation."""
    account, pos = encoding.read_fixed(pos, 4)
    owner, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or owner == 0 or amount == 0 or amount >= MONEY_MAX:
        return Status.BAD_MESSAGE
    if account >= DONATION_ACCOUNT and insure(account - DONATION_ACCOUNT, amount):
        state.add_deposits(amount)
    else:
        accounts.deposit(account, owner, amount)
    return Status.OK


def insure(market: int, amount: int) -> bool:
    """Add cash to a market's insurance; whether there is such a market and room in it."""
    if state.get_board(market).status == NO_SUCH_MARKET:
        return False
    if not in_range(state.get_insurance(market).cash + amount):
        return False
    state.add_insurance(market, amount)
    return True


def forget_paid(pos: int) -> Status:
    """Delete withdrawals that L1 has paid. One without a leaf has no effect: totals count what was withdrawn, ever."""
    if pos == encoding.BAD:
        return Status.BAD_MESSAGE
    size = encoding.get_end() - pos
    count = size // 8
    if size % 8 != 0 or count == 0 or count > PAID_MAX:
        return Status.BAD_MESSAGE
    for _ in range(count):
        withdrawal, pos = encoding.read_fixed(pos, 8)
        state.remove_withdrawal(withdrawal)
    return Status.OK


def notice(kind: int, pos: int) -> Status:
    """Learn how much of L2 time is anchored: an anchor was posted, or a rollback left an older one as head."""
    _batch, pos = encoding.read_fixed(pos, 8)
    time, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end():
        return Status.BAD_MESSAGE
    if kind == ANCHOR_NOTICE:
        time = max(time, state.get_last_anchor())
    state.set_last_anchor(time)
    finality.update()
    return Status.OK


def administer(pos: int) -> Status:
    """Apply an admin message. One that breaks a bound is refused whole."""
    sub_kind, pos = encoding.read_byte(pos)
    if sub_kind == CONFIGURE_MARKET:
        return configure_market(pos)
    if sub_kind == SET_PUBLISHER:
        return set_publisher(pos)
    if sub_kind == CONFIGURE_RISK:
        return configure_risk(pos)
    if sub_kind == CONFIGURE_CHAIN:
        return configure_chain(pos)
    if sub_kind == FUND_INSURANCE:
        return fund_insurance(pos)
    return Status.BAD_MESSAGE


def configure_market(pos: int) -> Status:
    """Create a market or replace its parameters; prices, orders, positions and risk parameters stay."""
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
    elif board.status == SETTLING or rates.tick_value != board.tick_value or not indices_fit(board, config.oi_cap):
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


def indices_fit(board: Board, lots: int) -> bool:
    """Whether all cumulative indices of a market keep their bound with these many lots."""
    if not funding.index_fits(board.funding, lots):
        return False
    return funding.index_fits(board.loss_long, lots) and funding.index_fits(board.loss_short, lots)


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


def configure_risk(pos: int) -> Status:
    """Replace a market's risk parameters."""
    market, pos = encoding.read_fixed(pos, 2)
    if pos == encoding.BAD:
        return Status.BAD_MESSAGE
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    old = state.get_market(market)
    new, addon_cap, pos = read_risk(replace(old), pos)
    if pos != encoding.get_end() or board.status == SETTLING or not is_risk_sound(new, addon_cap):
        return Status.BAD_MESSAGE
    now = state.get_time()
    if new.expiry != old.expiry:
        if (old.expiry != 0 and old.expiry <= now) or (new.expiry != 0 and new.expiry <= now) or new.expiry > TIME_MAX:
            return Status.BAD_MESSAGE
        state.set_twap(market, 0, 0)
    board.addon_cap = addon_cap
    state.set_board(market, board)
    state.set_market(market, new)
    oracle.configure(market)
    return Status.OK


def read_risk(config: Market, pos: int) -> tuple[Market, int, int]:
    """A market's parameters with those of a risk message, the add-on's cap, and the position behind."""
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


def is_risk_sound(config: Market, addon_cap: int) -> bool:
    """Bounds of risk parameters: shares of at most one."""
    if config.near_band >= PPM or addon_cap > PPM or config.basis_cap > PPM or config.reduce_cap > PPM:
        return False
    return config.spread_max <= PPM and config.jump_limit <= PPM


def configure_chain(pos: int) -> Status:
    """Replace the parameters of the whole chain."""
    chain = Chain()
    chain.anchor_interval, pos = encoding.read_fixed(pos, 4)
    chain.tau_reduce, pos = encoding.read_fixed(pos, 4)
    chain.tau_halt, pos = encoding.read_fixed(pos, 4)
    chain.buffer_ms, pos = encoding.read_fixed(pos, 4)
    chain.refill, pos = encoding.read_fixed(pos, 2)
    horizon_ms, pos = encoding.read_fixed(pos, 4)
    chain.closeout, pos = encoding.read_fixed(pos, 4)
    outflow_limit, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or chain.closeout > PPM or outflow_limit >= MONEY_MAX:
        return Status.BAD_MESSAGE
    # a limit that an anchor just in time does not undercut twice over would never open again
    least = 2 * chain.anchor_interval
    if chain.tau_reduce != 0 and chain.tau_reduce <= least:
        return Status.BAD_MESSAGE
    if chain.tau_halt != 0 and (chain.tau_halt <= least or chain.tau_halt < chain.tau_reduce):
        return Status.BAD_MESSAGE
    chain.horizon_root = root_down(horizon_ms * 1_000)
    state.set_chain(chain)
    state.set_outflow_limit(outflow_limit)
    finality.update()
    return Status.OK


def fund_insurance(pos: int) -> Status:
    """Move fees into a market's insurance; what resting orders may get back stays."""
    market, pos = encoding.read_fixed(pos, 2)
    amount, pos = encoding.read_fixed(pos, 8)
    if pos != encoding.get_end() or amount == 0 or amount + state.get_resting() * REST_FEE > state.get_fees():
        return Status.BAD_MESSAGE
    if not insure(market, amount):
        return Status.BAD_MESSAGE
    state.add_fees(-amount)
    return Status.OK


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
