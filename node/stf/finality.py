"""What the distance to L1 means for trading: the un-anchored time, the level it sets, the add-on to initial margin.

    tau    = L2 time - L2 time covered by the last noticed anchor + anchoring interval, ms
    add-on = min(cap, z * max(floor, sigma) * sqrt(tau))          as a share of notional

Until L1 knows a trade, tau is how long its price may run before the trade is final; under a driftless diffusion the
move over it has standard deviation sigma * sqrt(tau) (Bachelier, 1900; the square-root-of-time rule of RiskMetrics,
1996), and z of them must be covered by whoever opens risk. It raises initial margin and limits withdrawals;
maintenance margin never depends on it, so a late anchor liquidates nobody, and whoever delays anchors gains nothing.

The same form with the age of a stale mark in tau's place is the *haircut* that a stale market's positions take off
equity.

Levels: from ``tau_reduce`` on all markets are reduce-only, and open again below half of it, so that they do not flap;
from ``tau_halt`` on only cancels and deposits are left.

Units: ``risk`` is z in 1/100 times ppb per square root of a second; a root of a time is isqrt(ms * 1000), so
risk * root / 10**8 is a rate in ppm.
"""

from typing import Final

from node.stf import state
from node.stf.fixed_point import div_up, root_down
from node.stf.types import (
    HALTED,
    LEVEL_HALT,
    LEVEL_OPEN,
    LEVEL_REDUCE,
    NO_SUCH_MARKET,
    OPEN,
    REDUCE_ONLY,
    SETTLING,
    Board,
)

RISK_UNIT: Final = 100_000_000  # 10**2 of z, 10**3 from ppb to ppm, 10**3 from the root of ms * 1000 to that of seconds


def update() -> None:
    """Recompute tau's root and the level. To be called whenever L2 time or the last anchor has changed.

    Before any anchor (also after a rollback to genesis) the clock starts at the L2 time there is, and no anchor
    counts for more than that.
    """
    now = state.get_time()
    anchor = state.get_last_anchor()
    if anchor == 0 or anchor > now:
        anchor = now
    state.set_last_anchor(anchor)
    limits = state.get_chain()
    tau = now - anchor + limits.anchor_interval
    state.set_sqrt_tau(root_down(tau * 1_000))
    state.set_level(level_of(tau, limits.tau_reduce, limits.tau_halt, state.get_level()))


def level_of(tau: int, tau_reduce: int, tau_halt: int, level: int) -> int:
    """The level at a tau, ms; ``level`` is the one before. A limit of 0 is off."""
    if tau_halt != 0 and tau >= tau_halt:
        return LEVEL_HALT
    if tau_reduce == 0:
        return LEVEL_OPEN
    if tau >= tau_reduce:
        return LEVEL_REDUCE
    if level != LEVEL_OPEN and 2 * tau >= tau_reduce:
        return LEVEL_REDUCE
    return LEVEL_OPEN


def addon(board: Board) -> int:
    """What the un-anchored time adds to the rate of initial margin, ppm."""
    return rate(board, state.get_sqrt_tau())


def haircut(board: Board) -> int:
    """Share of notional that a stale market's position takes off equity, by the age of its mark, ppm."""
    if board.risk == 0 or state.get_time() <= board.mark_time:
        return 0
    return rate(board, root_down((state.get_time() - board.mark_time) * 1_000))


def rate(board: Board, root: int) -> int:
    """Risk times a root of time, rounded up, in ppm, at most the market's cap."""
    return min(board.addon_cap, div_up(board.risk * root, RISK_UNIT))


def market_status(market: int, board: Board) -> int:
    """What trading a market allows now: its own status, worsened by the chain's level, an unconfirmed jump of its
    price, or its expiry.

    Not by a position that insurance still holds: flat makers are who it can trade with, and in replayed crashes a
    market that turned them away left insurance with its positions while the price ran on.
    """
    if board.status == NO_SUCH_MARKET:
        return NO_SUCH_MARKET
    expiry = state.get_expiry(market)
    expired = expiry != 0 and state.get_time() >= expiry
    return least_status(board.status, state.get_level(), expired or state.get_jump_price(market) != 0)


def least_status(status: int, level: int, curbed: bool) -> int:
    """A market's own status, worsened by the chain's level, and by whatever curbs it to reducing."""
    if status == HALTED or level == LEVEL_HALT:
        return HALTED
    if status == SETTLING:
        return SETTLING
    if status == REDUCE_ONLY or level == LEVEL_REDUCE or curbed:
        return REDUCE_ONLY
    return OPEN
