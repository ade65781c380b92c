"""Insurance of a market: it takes over positions of bankrupt accounts at the mark, and works them off.

Insurance is cash, and a position that nets what it took over. A takeover moves a position of size s at the mark p:

    account     collateral += s * p * t - c,  position := none       (settled first: funding and losses are in c)
    insurance   size += s, cost += s * p * t,  opposite lots close against each other into cash

so equity of neither changes and no price is anybody's choice. Then insurance pays the market's share D of the
account's debt. What its own equity at the mark lacks of that, R = max(0, D - max(0, equity)), is shared among all lots
of the other side, open interest, and the accounts there pay through their side's loss index L:

    l = min(div_up(R, open interest), p * t),   L += l,   cash += l * lots      lots: accounts' lots of the other side

Insurance bears the part of its own lots there, as negative cash, and so all that is more than a lot is worth: whoever
holds the last lot against insurance must not pay for everybody, nor anybody more than his position. The surplus of
rounding, less than one micro-USD a lot, stays with insurance. (The "socialised loss" of venues before
auto-deleveraging, at the moment it arises, exact and by the lot: nobody's position is closed for him, and who has left
before owes nothing.) An index that would pass its bound changes nothing and halts its market.

Insurance's position is worked off by immediate orders near the mark. Its market stays open meanwhile: whoever is flat
and bids is who it can trade with (replayed crashes: shut out, insurance kept its positions while the price ran on).
"""

from copy import copy

from node.stf import accounts, book, finality, funding, margin, oracle, state
from node.stf.fixed_point import div_up, in_range
from node.stf.params import LIQUIDATION_SLICE_PPM, PPM, WORK_ACTION
from node.stf.types import (
    BUY,
    HALTED,
    LIQUIDATION,
    NO_SUCH_MARKET,
    SELL,
    SETTLING,
    Board,
    Insurance,
    Pending,
    Position,
    Status,
    Terms,
)


def may_act(market: int) -> Status:
    """What every reduction and takeover in a market needs: that it exists, trades, matches nothing, and has a price."""
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    if finality.market_status(market, board) == HALTED:
        return Status.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return Status.MARKET_BUSY
    if not oracle.is_fresh(board):
        return Status.STALE_PRICE
    return Status.OK


def slice_lots(size: int, board: Board, min_notional: int, ppm: int) -> int:
    """Lots that one call closes: a share of |size|, or all of a position near the least order."""
    lots = abs(size)
    if lots * board.mark * board.tick_value <= 4 * min_notional:
        return lots
    return div_up(lots * ppm, PPM)


def settle(held: Insurance, board: Board) -> Insurance:
    """Pay funding since the last touch. Insurance shares no losses."""
    cost = held.cost + held.size * (board.funding - held.funding)
    return Insurance(held.cash, held.size, cost, board.funding)


def equity(held: Insurance, board: Board) -> int:
    """Cash and open profit at the mark, micro-USD, of a settled insurance."""
    return held.cash + held.size * board.mark * board.tick_value - held.cost


def opposite_lots(market: int, size: int, insured: int) -> int:
    """Lots that accounts hold against a position of this size; insurance's own do not count."""
    lots = state.get_open_interest(market)
    return lots - max(0, -insured) if size > 0 else lots - max(0, insured)


def shared_loss(market: int, board: Board, lacks: int) -> int:
    """What each lot of the other side bears of ``lacks`` micro-USD: its part of open interest, at most its worth."""
    return min(div_up(max(0, lacks), state.get_open_interest(market)), board.mark * board.tick_value)


def take_over(account: int, market: int, debt: int) -> Status:
    """Move a position at the mark to insurance, which pays ``debt`` >= 0 micro-USD to the account.

    The account's orders in the market must be dead. Nothing has changed unless OK is returned, but that an index at its
    bound halts the market.
    """
    state.spend_work(WORK_ACTION)
    board = state.get_board(market)
    held = settle(state.get_insurance(market), board)
    index = state.find_position(account, market)
    position = accounts.settle(copy(state.get_position(account, index)), board)
    size = position.size
    insured = held.size
    lots = opposite_lots(market, size, insured)
    per_lot = shared_loss(market, board, debt - max(0, equity(held, board))) if lots != 0 else 0
    most = max(state.get_market(market).oi_cap, state.get_open_interest(market))
    if not funding.index_fits(margin.loss_index(-size, board) + per_lot, most):
        return halt(market, board)
    position, realized = accounts.fill(position, -size, board.mark, board)
    netted = Position(size=insured, cost=held.cost, funding=held.funding)
    netted, gained = accounts.fill(netted, size, board.mark, board)
    held.size = netted.size
    held.cost = netted.cost
    held.cash += gained + per_lot * lots - debt
    if not in_range(held.cash) or not in_range(held.cost):
        return Status.TOO_LARGE
    if not in_range(state.get_collateral(account) + realized + debt):
        return Status.TOO_LARGE
    state.set_position(account, index, position)
    state.add_collateral(account, realized + debt)
    state.add_side_lots(market, -max(0, size), -max(0, -size))
    state.add_open_interest(market, max(0, held.size) - max(0, insured) - max(0, size))
    state.set_insurance(market, held)
    if per_lot != 0:
        state.add_loss(market, SELL if size > 0 else BUY, lots, per_lot)
    return Status.OK


def halt(market: int, board: Board) -> Status:
    """Stop a market whose loss index has nowhere to go; one that settles has stopped already."""
    if board.status != SETTLING:
        board.status = HALTED
        state.set_board(market, board)
    return Status.TOO_LARGE


def work_off(market: int) -> Status:
    """Trade a part of insurance's position away, within ``near_band`` of the mark."""
    status = may_act(market)
    if status != Status.OK:
        return status
    board = state.get_board(market)
    held = settle(state.get_insurance(market), board)
    if held.size == 0:
        return Status.NO_POSITION
    if board.status == SETTLING:
        return Status.NOT_LIQUIDATABLE
    state.set_insurance(market, held)
    config = state.get_market(market)
    side = SELL if held.size > 0 else BUY
    lots = slice_lots(held.size, board, config.min_notional, LIQUIDATION_SLICE_PPM)
    price = book.limit_price(side, board.mark, config.near_band)
    _terms, _notional, left = book.fill_slice(market, Pending(0, lots, price, 0, 0, side, LIQUIDATION), Terms())
    return Status.NO_LIQUIDITY if left == lots else Status.OK
