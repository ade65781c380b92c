# pragma version 0.4.3
"""
@title  Margin of one account over all of its positions, cross-margined in one collateral
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/margin.py, where the formulas and their sources stand. All amounts are micro-USD.
@dev Unchecked arithmetic: fields of leaves have at most 64 bits and inbox.is_sound bounds lots * price * tick value by 2^61, so
     a sum of terms has fewer than 2^132 values, and the product of two sums, in `improves` alone, is checked.
"""
from stf import finality
from stf import fixed_point
from stf import oracle
from stf import params
from stf import state
from stf import types

uses: state
uses: oracle
uses: finality

SHOCK_UNIT: constant(uint256) = 100_000_000_000_000  # 10**8 of finality.RISK_UNIT, 10**6 from ppm


@pure
@internal
def rate(notional: uint256, base: uint256, cap: uint256, impact: uint256) -> uint256:
    """@return margin rate in ppm of a notional: base + notional / impact, at most cap."""
    if impact == 0:
        return base
    return min(cap, unsafe_add(base, unsafe_div(notional, impact)))


@internal
def requirement(notional: uint256, board: types.Board, base: uint256, cap: uint256, addon: uint256) -> int256:
    """@return margin of a notional at the given rates, `addon` ppm on top of them."""
    ppm: uint256 = min(params.PPM, unsafe_add(self.rate(notional, base, cap, board.impact), addon))
    return fixed_point.div_up(convert(unsafe_mul(notional, ppm), int256), convert(params.PPM, int256))


@pure
@internal
def loss_index(size: int256, board: types.Board) -> int256:
    """@return the loss index that a position of this size carries, micro-USD per lot; 0 when flat."""
    if size == 0:
        return 0
    if size > 0:
        return board.loss_long
    return board.loss_short


@pure
@internal
def reduced(position: types.Position) -> int256:
    """@return the size that is left when all that rests reduce-only has filled."""
    lots: int256 = min(abs(position.size), convert(position.reduce_lots, int256))
    return unsafe_sub(position.size, lots) if position.size > 0 else unsafe_add(position.size, lots)


@pure
@internal
def reach(size: int256, position: types.Position) -> int256:
    """@return the largest size, without its sign, that a size and the position's open orders of one side can lead to."""
    buys: int256 = abs(unsafe_add(size, convert(position.buy_lots, int256)))
    return max(buys, abs(unsafe_sub(size, convert(position.sell_lots, int256))))


@internal
def terms(position: types.Position, board: types.Board) -> types.Terms:
    """
    @return what one position and its open orders add to the account's margin, funding and losses since its last touch
            included.
    """
    unit: int256 = convert(unsafe_mul(board.mark, board.tick_value), int256)
    size: int256 = position.size
    lots: int256 = abs(size)
    notional: uint256 = convert(unsafe_mul(lots, unit), uint256)
    buys: int256 = convert(position.buy_lots, int256)
    sells: int256 = convert(position.sell_lots, int256)
    value: int256 = unsafe_sub(unsafe_mul(size, unit), position.cost)
    value = unsafe_sub(value, unsafe_mul(size, unsafe_sub(board.funding, position.funding)))
    value = unsafe_sub(value, unsafe_mul(lots, unsafe_sub(self.loss_index(size, board), position.loss)))
    exposure: int256 = self.reach(size, position)
    if position.reduce_lots != 0:
        exposure = max(exposure, self.reach(self.reduced(position), position))
    exposure = unsafe_mul(exposure, unit)
    initial: int256 = self.requirement(
        convert(exposure, uint256), board, board.im_base, board.im_cap, finality.addon(board)
    )
    initial = unsafe_add(initial, max(0, unsafe_sub(convert(position.buy_notional, int256), unsafe_mul(buys, unit))))
    initial = unsafe_add(initial, max(0, unsafe_sub(unsafe_mul(sells, unit), convert(position.sell_notional, int256))))
    stale: uint256 = 0
    haircut: int256 = 0
    if size != 0 and not oracle.is_fresh(board):
        stale = 1
        lost: uint256 = unsafe_mul(notional, finality.haircut(board))
        haircut = fixed_point.div_up(convert(lost, int256), convert(params.PPM, int256))
    return types.Terms(
        equity=unsafe_sub(value, haircut),
        initial=initial,
        maintenance=self.requirement(notional, board, board.mm_base, board.mm_cap, 0),
        profit=max(0, value),
        stale=stale,
        shock=convert(unsafe_mul(notional, board.risk), int256),
        haircut=haircut,
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
        shock=unsafe_add(total.shock, part.shock),
        haircut=unsafe_add(total.haircut, part.haircut),
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
        shock=unsafe_add(unsafe_sub(total.shock, old.shock), new.shock),
        haircut=unsafe_add(unsafe_sub(total.haircut, old.haircut), new.haircut),
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
    @notice Fill check of a liquidation: the account gets no worse. So no fill takes a solvent account into debt, whatever the
            book holds; one that is in debt is taken over and trades no more.
    """
    return self.improves(before, after, True)


@pure
@internal
def improves(before: types.Terms, after: types.Terms, falls: bool) -> bool:
    """@notice |size| falls, equity at last marks stays >= 0 and covers no smaller share of maintenance: E' * M >= E * M'."""
    left: int256 = after.equity + after.haircut
    if not falls or left < 0:
        return False
    return left * before.maintenance >= (before.equity + before.haircut) * after.maintenance


@internal
def closeout(health: types.Terms) -> int256:
    """@return equity C under which liquidation is hard: a share of maintenance, micro-USD."""
    share: int256 = convert(state.get_chain().closeout, int256)
    return fixed_point.div_up(unsafe_mul(health.maintenance, share), convert(params.PPM, int256))


@internal
def is_threatened(health: types.Terms) -> bool:
    """@notice Whether z deviations of the horizon would take equity under the close-out: E - S * root / 10**14 < C."""
    root: int256 = convert(state.get_chain().horizon_root, int256)
    loss: int256 = fixed_point.div_up(unsafe_mul(health.shock, root), convert(SHOCK_UNIT, int256))
    return unsafe_sub(health.equity, loss) < self.closeout(health)
