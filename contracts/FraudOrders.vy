# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudOrders: the part of the fraud proof that runs order entry, cancelling and triggers
@author Anchorline contributors
@license Apache-2.0
@notice Runs only by delegatecall from FraudRules, on the leaf table in the caller's transient storage. Called directly it finds an
        empty table and reverts or answers nonsense that nobody reads: it has no storage and no authority.
@dev All parts initialize the same modules in the same order, so that their transient layouts are one (contracts/build.py
     compares them).
"""
from stf import accounts
from stf import book
from stf import encoding
from stf import finality
from stf import funding
from stf import margin
from stf import oracle
from stf import orders
from stf import parts
from stf import quotes
from stf import state
from stf import trie
from stf import types

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: parts
initializes: finality[state := state]
initializes: funding[state := state]
initializes: quotes[state := state]
initializes: oracle[state := state, funding := funding, quotes := quotes]
initializes: margin[state := state, oracle := oracle, finality := finality]
initializes: accounts[state := state, margin := margin]
initializes: book[state := state, quotes := quotes, finality := finality, oracle := oracle, margin := margin, accounts := accounts]
initializes: orders[
    state := state, quotes := quotes, finality := finality, oracle := oracle, margin := margin, accounts := accounts,
    book := book, parts := parts
]


@deploy
def __init__(book_part: address, fok_part: address):
    """
    @param book_part the FraudBook to match orders in
    @param fok_part the FraudFok to try fill-or-kill orders in
    """
    assert book_part.is_contract and fok_part.is_contract, "PARTS: not a contract"
    parts.__init__(empty(address), empty(address), book_part, fok_part, empty(address), empty(address))


@external
def perform(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    """@notice One action of an authorized list. @return its status and the match steps left."""
    if action.op == types.PLACE:
        return orders.place(account, action, steps)
    status: uint256 = types.BAD_MESSAGE
    if action.op == types.CANCEL:
        status = orders.cancel(account, action)
    elif action.op == types.CANCEL_ALL:
        status = orders.cancel_all(account, action.market)
    elif action.op == types.AMEND:
        status = orders.amend(account, action)
    elif action.op == types.CANCEL_AT:
        status = orders.set_cancel_at(account, action.expiry)
    elif action.op == types.TRIGGER:
        status = orders.place_trigger(account, action)
    elif action.op == types.OPTIONS:
        status = orders.set_options(account, action.opt_in)
    return status, steps


@external
def sweep(market: uint256, side: uint256) -> uint256:
    return orders.sweep(market, side)


@external
def fire(market: uint256, direction: uint256) -> uint256:
    return orders.fire(market, direction)
