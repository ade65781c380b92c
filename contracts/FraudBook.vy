# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudBook: the part of the fraud proof that runs orders, matching and liquidation
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
from stf import liquidation
from stf import margin
from stf import oracle
from stf import state
from stf import trie
from stf import types

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: oracle[state := state]
initializes: margin[state := state, oracle := oracle]
initializes: accounts[state := state, margin := margin]
initializes: book[state := state, oracle := oracle, margin := margin, accounts := accounts]
initializes: liquidation[state := state, oracle := oracle, margin := margin, accounts := accounts, book := book]


@external
def place(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    return book.place(account, action, steps)


@external
def cancel(account: uint256, action: types.Action) -> uint256:
    return book.cancel(account, action)


@external
def cancel_all(account: uint256, market: uint256) -> uint256:
    return book.cancel_all(account, market)


@external
def resume(market: uint256, steps: uint256) -> uint256:
    return book.resume(market, steps)


@external
def liquidate(account: uint256, market: uint256) -> uint256:
    return liquidation.liquidate(account, market)
