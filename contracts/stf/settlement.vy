# pragma version 0.4.3
"""
@title  Settlement of a dated future after its expiry: every position closes at the frozen mark
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/settlement.py. Insurance takes each position at that price and holds nothing when the last is done.
"""
from stf import accounts
from stf import finality
from stf import insurance
from stf import margin
from stf import state
from stf import types

uses: state
uses: finality
uses: margin
uses: accounts
uses: insurance


@internal
def settle(account: uint256, market: uint256) -> uint256:
    """@notice Closes an account's position in a market that settles, and its orders there."""
    if not state.account_exists(account):
        return types.NO_ACCOUNT
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    if board.status != types.SETTLING:
        return types.NOT_SETTLING
    if finality.market_status(market, board) == types.HALTED:
        return types.MARKET_HALTED
    if state.get_pending(market).lots != 0:
        return types.MARKET_BUSY
    index: uint256 = state.find_position(account, market)
    if index == types.NO_INDEX:
        return types.NO_POSITION
    status: uint256 = types.OK
    if state.get_position(account, index).size != 0:
        health: types.Terms = margin.health(account)
        if health.equity + health.haircut < 0:
            return types.INSUFFICIENT_MARGIN
        status = insurance.take_over(account, market, 0)
    accounts.kill_orders(account, market, True)
    return status
