"""Liquidation of accounts under maintenance margin.

Anyone may ask for it. The account's orders in the market are killed, then a slice of the position is closed by an
immediate order against the book, no worse than the market's band around the mark, and fill by fill no worse than the
account bears: E' * M >= E * M' and E' >= 0 while E >= 0, then E - E' <= M - M'. Otherwise whoever is alone in the book
could liquidate an account into debt, and take from all others what it never had. The penalty goes to the market's
insurance and never makes an improving reduction worse:

    penalty <= max(0, E' - div_up(E * M', M)),   E, M before and E', M' after the fills

The market itself must have a fresh price. The account's other markets count at their last mark: a stale market never
shields an account.
"""

from node.stf import accounts, book, margin, oracle, state
from node.stf.fixed_point import div_down, div_up
from node.stf.params import LIQUIDATION_SLICE_PPM, MATCH_STEPS, PPM, PRICE_MAX, WORK_STEP
from node.stf.types import BUY, HALTED, LIQUIDATION, NO_INDEX, NO_SUCH_MARKET, SELL, Board, Pending, Status, Terms


def liquidate(account: int, market: int) -> Status:
    """Reduce one position of an account under maintenance."""
    status = check(account, market)
    if status != Status.OK:
        return status
    health = margin.health(account)
    if health.equity >= health.maintenance:
        return Status.NOT_LIQUIDATABLE
    book.cancel_all(account, market)
    return reduce(account, market)


def check(account: int, market: int) -> Status:
    """Everything but the account's margin."""
    if not state.account_exists(account):
        return Status.NO_ACCOUNT
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    if board.status == HALTED:
        return Status.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return Status.MARKET_BUSY
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
    index = state.find_position(account, market)
    if index == NO_INDEX or state.get_position(account, index).size == 0:
        return Status.NO_POSITION
    return Status.OK


def slice_lots(size: int, board: Board, min_notional: int) -> int:
    """Lots that one call closes: a share of |size|, or all of a position near the least order."""
    lots = abs(size)
    if lots * board.mark * board.tick_value <= 4 * min_notional:
        return lots
    return div_up(lots * LIQUIDATION_SLICE_PPM, PPM)


def limit_price(side: int, mark: int, band: int) -> int:
    """The worst price a liquidation accepts, in ticks."""
    if side == BUY:
        return min(PRICE_MAX, div_down(mark * (PPM + band), PPM))
    return max(1, div_up(mark * (PPM - band), PPM))


def reduce(account: int, market: int) -> Status:
    """Close a slice against the book, then take the penalty."""
    board = state.get_board(market)
    config = state.get_market(market)
    size = state.get_position(account, state.find_position(account, market)).size
    side = SELL if size > 0 else BUY
    lots = slice_lots(size, board, config.min_notional)
    taker = Pending(account, lots, limit_price(side, board.mark, config.band), 0, 0, side, LIQUIDATION)
    open_slice(market, taker, board)
    before = margin.health(account)
    after, notional, left = fill_slice(market, taker, before)
    taker.lots = left
    if left != 0:
        book.drop_open(market, taker)
        after = margin.health(account)
    if left == lots:
        return Status.NO_LIQUIDITY
    take_penalty(account, market, before, after, div_up(notional * config.penalty, PPM))
    index = state.find_position(account, market)
    if index != NO_INDEX:
        accounts.release_position(account, index)
    return Status.OK


def open_slice(market: int, taker: Pending, board: Board) -> None:
    """Count the slice as open, as every order that is being matched does."""
    index = state.find_position(taker.account, market)
    position = accounts.settle(state.get_position(taker.account, index), board.funding)
    notional = taker.price * taker.lots * board.tick_value
    state.set_position(taker.account, index, accounts.add_open(position, taker.side, taker.lots, notional))


def fill_slice(market: int, taker: Pending, health: Terms) -> tuple[Terms, int, int]:
    """Visit up to MATCH_STEPS orders. Returns the account's health, the notional filled, and the lots left."""
    notional = 0
    unit = state.get_board(market).tick_value
    for _ in range(MATCH_STEPS):
        if taker.lots == 0 or not book.crosses(market, taker.side, taker.price):
            break
        price, _seq = state.get_best(market, 1 - taker.side)
        lots = taker.lots
        state.spend_work(WORK_STEP)
        taker, health, status = book.visit(market, taker, health)
        if status != Status.OK:
            break
        notional += (lots - taker.lots) * price * unit
    return health, notional, taker.lots


def take_penalty(account: int, market: int, before: Terms, after: Terms, penalty: int) -> None:
    """Move the capped penalty into the market's insurance."""
    kept = div_up(before.equity * after.maintenance, before.maintenance)
    penalty = min(penalty, max(0, after.equity - kept))
    state.add_collateral(account, -penalty)
    state.add_insurance(market, penalty)
