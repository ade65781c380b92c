"""Settlement of a dated future after its expiry: every position closes at the settlement price, which is the frozen
mark.

Insurance stands between: it takes each position at that price, so the order in which accounts are settled does not
matter, and when the last one is done it holds nothing. Anyone may settle anyone. An account in debt goes to
``liquidation`` first, which takes it over at the same price.
"""

from node.stf import accounts, finality, insurance, margin, state
from node.stf.types import HALTED, NO_INDEX, NO_SUCH_MARKET, SETTLING, Status


def settle(account: int, market: int) -> Status:
    """Close an account's position in a market that settles, and its orders there."""
    if not state.account_exists(account):
        return Status.NO_ACCOUNT
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    if board.status != SETTLING:
        return Status.NOT_SETTLING
    if finality.market_status(market, board) == HALTED:
        return Status.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return Status.MARKET_BUSY
    index = state.find_position(account, market)
    if index == NO_INDEX:
        return Status.NO_POSITION
    status = Status.OK
    if state.get_position(account, index).size != 0:
        health = margin.health(account)
        if health.equity + health.haircut < 0:
            return Status.INSUFFICIENT_MARGIN
        status = insurance.take_over(account, market, 0)
    accounts.kill_orders(account, market, True)
    return status
