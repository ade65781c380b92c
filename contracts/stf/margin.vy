# pragma version 0.4.3
"""
@title  Margin of one account over all of its positions, cross-margined in one collateral
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/margin.py, where the formulas and their sources stand. All amounts are micro-USD.
@dev Unchecked arithmetic: fields of leaves have at most 64 bits and inbox.is_sound bounds lots * price * tick value by 2^61, so
     a sum of terms has fewer than 2^132 and their products fewer than 2^256 values; only `improves` multiplies two sums.
"""
from stf import fixed_point
from stf import oracle
from stf import params
from stf import state
from stf import types

uses: state
uses: oracle


@pure
@internal
def rate(notional: uint256, base: uint256, cap: uint256, impact: uint256) -> uint256:
    """@return margin rate in ppm of a notional: base + notional / impact, at most cap."""
    if impact == 0:
        return base
    return min(cap, unsafe_add(base, unsafe_div(notional, impact)))


@internal
def requirement(lots: uint256, board: types.Board, base: uint256, cap: uint256) -> int256:
    """@return margin of `lots` at the mark and the given rates."""
    notional: uint256 = unsafe_mul(unsafe_mul(lots, board.mark), board.tick_value)
    margin: uint256 = unsafe_mul(notional, self.rate(notional, base, cap, board.impact))
    return fixed_point.div_up(convert(margin, int256), convert(params.PPM, int256))


@internal
def terms(position: types.Position, board: types.Board) -> types.Terms:
    """@return what one position and its open orders add to the account's margin, funding since its last touch included."""
    unit: int256 = convert(unsafe_mul(board.mark, board.tick_value), int256)
    buys: int256 = convert(position.buy_lots, int256)
    sells: int256 = convert(position.sell_lots, int256)
    funding: int256 = unsafe_mul(position.size, unsafe_sub(board.funding, position.funding))
    value: int256 = unsafe_sub(unsafe_sub(unsafe_mul(position.size, unit), position.cost), funding)
    exposure: int256 = max(abs(unsafe_add(position.size, buys)), abs(unsafe_sub(position.size, sells)))
    initial: int256 = self.requirement(convert(exposure, uint256), board, board.im_base, board.im_cap)
    initial = unsafe_add(initial, max(0, unsafe_sub(convert(position.buy_notional, int256), unsafe_mul(buys, unit))))
    initial = unsafe_add(initial, max(0, unsafe_sub(unsafe_mul(sells, unit), convert(position.sell_notional, int256))))
    stale: uint256 = 1
    if position.size == 0 or oracle.is_fresh(board):
        stale = 0
    return types.Terms(
        equity=value,
        initial=initial,
        maintenance=self.requirement(convert(abs(position.size), uint256), board, board.mm_base, board.mm_cap),
        profit=max(0, value),
        stale=stale,
    )


@pure
@internal
def add(total: types.Terms, part: types.Terms) -> types.Terms:
    return types.Terms(
        equity=unsafe_add(total.equity, part.equity),
        initial=unsafe_add(total.initial, part.initial),
        maintenance=unsafe_add(total.maintenance, part.maintenance),
        profit=unsafe_add(total.profit, part.profit),
        stale=unsafe_add(total.stale, part.stale),
    )


@pure
@internal
def replace(total: types.Terms, old: types.Terms, new: types.Terms) -> types.Terms:
    """@return the account's terms after one position's have changed from `old` to `new`."""
    return types.Terms(
        equity=unsafe_add(unsafe_sub(total.equity, old.equity), new.equity),
        initial=unsafe_add(unsafe_sub(total.initial, old.initial), new.initial),
        maintenance=unsafe_add(unsafe_sub(total.maintenance, old.maintenance), new.maintenance),
        profit=unsafe_add(unsafe_sub(total.profit, old.profit), new.profit),
        stale=unsafe_add(unsafe_sub(total.stale, old.stale), new.stale),
    )


@internal
def health(account: uint256) -> types.Terms:
    """@return equity and margin of an account, collateral included."""
    total: types.Terms = empty(types.Terms)
    total.equity = state.get_collateral(account)
    count: uint256 = state.get_position_count(account)
    state.spend_work(params.WORK_TERM * (count + 1))
    for index: uint256 in range(count, bound=params.POSITIONS_MAX):
        position: types.Position = state.get_position(account, index)
        total = self.add(total, self.terms(position, state.get_board(position.market)))
    return total


@pure
@internal
def taker_may(before: types.Terms, after: types.Terms, falls: bool) -> bool:
    """@notice Fill check of a taker: initial margin is met, or the position falls and the account gets no worse."""
    return after.equity >= after.initial or self.improves(before, after, falls)


@pure
@internal
def maker_may(before: types.Terms, after: types.Terms, falls: bool) -> bool:
    """@notice Fill check of a maker: maintenance margin is met, or the position falls and the account gets no worse."""
    return after.equity >= after.maintenance or self.improves(before, after, falls)


@pure
@internal
def liquidation_may(before: types.Terms, after: types.Terms) -> bool:
    """
    @notice Fill check of a liquidation: the account gets no worse; once its equity is below zero, the fill loses at most
            the maintenance that it releases. So no fill takes a solvent account into debt, whatever the book holds.
    """
    if before.equity >= 0:
        return self.improves(before, after, True)
    return unsafe_sub(before.equity, after.equity) <= unsafe_sub(before.maintenance, after.maintenance)


@pure
@internal
def improves(before: types.Terms, after: types.Terms, falls: bool) -> bool:
    """@notice |size| falls, equity stays >= 0 and covers no smaller share of maintenance: E' * M >= E * M'."""
    if not falls or after.equity < 0:
        return False
    return after.equity * before.maintenance >= before.equity * after.maintenance
