# pragma version 0.4.3
"""
@title  What the distance to L1 means for trading: the un-anchored time, the level it sets, the add-on to initial margin
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/finality.py, where formulas, units and sources stand.
@dev Unchecked arithmetic: times have fewer than 2^48 values (an anchor's comes from L1 and has 64 bits), risk 2^64.
"""
from stf import fixed_point
from stf import state
from stf import types

uses: state

RISK_UNIT: constant(uint256) = 100_000_000  # 10**2 of z, 10**3 from ppb to ppm, 10**3 of the root


@internal
def update():
    """@notice Recomputes tau's root and the level. To be called whenever L2 time or the last anchor has changed."""
    now: uint256 = state.get_time()
    anchor: uint256 = state.get_last_anchor()
    if anchor == 0 or anchor > now:
        anchor = now
    state.set_last_anchor(anchor)
    limits: types.Chain = state.get_chain()
    tau: uint256 = unsafe_add(unsafe_sub(now, anchor), limits.anchor_interval)
    state.set_sqrt_tau(fixed_point.root_down(unsafe_mul(tau, 1_000)))
    state.set_level(self.level_of(tau, limits.tau_reduce, limits.tau_halt, state.get_level()))


@pure
@internal
def level_of(tau: uint256, tau_reduce: uint256, tau_halt: uint256, level: uint256) -> uint256:
    """@return the level at a tau, ms; `level` is the one before. A limit of 0 is off."""
    if tau_halt != 0 and tau >= tau_halt:
        return types.LEVEL_HALT
    if tau_reduce == 0:
        return types.LEVEL_OPEN
    if tau >= tau_reduce:
        return types.LEVEL_REDUCE
    if level != types.LEVEL_OPEN and unsafe_mul(2, tau) >= tau_reduce:
        return types.LEVEL_REDUCE
    return types.LEVEL_OPEN


@internal
def addon(board: types.Board) -> uint256:
    """@return what the un-anchored time adds to the rate of initial margin, ppm."""
    return self.rate(board, state.get_sqrt_tau())


@internal
def haircut(board: types.Board) -> uint256:
    """@return share of notional that a stale market's position takes off equity, by the age of its mark, ppm."""
    if board.risk == 0 or state.get_time() <= board.mark_time:
        return 0
    return self.rate(board, fixed_point.root_down(unsafe_mul(unsafe_sub(state.get_time(), board.mark_time), 1_000)))


@pure
@internal
def rate(board: types.Board, root: uint256) -> uint256:
    """@return risk times a root of time, rounded up, in ppm, at most the market's cap."""
    product: uint256 = unsafe_mul(board.risk, root)
    return min(board.addon_cap, unsafe_div(unsafe_add(product, unsafe_sub(RISK_UNIT, 1)), RISK_UNIT))


@internal
def market_status(market: uint256, board: types.Board) -> uint256:
    """
    @return what trading a market allows now: its own status, worsened by the chain's level, an unconfirmed jump of its price,
            or its expiry.
    """
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_SUCH_MARKET
    expiry: uint256 = state.get_expiry(market)
    expired: bool = expiry != 0 and state.get_time() >= expiry
    return self.least_status(board.status, state.get_level(), expired or state.get_jump_price(market) != 0)


@pure
@internal
def least_status(status: uint256, level: uint256, curbed: bool) -> uint256:
    """@return a market's own status, worsened by the chain's level, and by whatever curbs it to reducing."""
    if status == types.HALTED or level == types.LEVEL_HALT:
        return types.HALTED
    if status == types.SETTLING:
        return types.SETTLING
    if status == types.REDUCE_ONLY or level == types.LEVEL_REDUCE or curbed:
        return types.REDUCE_ONLY
    return types.OPEN
