# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudBook: the part of the fraud proof that runs matching
@author Anchorline contributors
@license Apache-2.0
@notice Runs only by delegatecall from FraudRules and other parts, on the leaf table in the caller's transient storage. Called directly it finds an
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
from stf import quotes
from stf import state
from stf import trie
from stf import types

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: finality[state := state]
initializes: funding[state := state]
initializes: quotes[state := state]
initializes: oracle[state := state, funding := funding, quotes := quotes]
initializes: margin[state := state, oracle := oracle, finality := finality]
initializes: accounts[state := state, margin := margin]
initializes: book[state := state, quotes := quotes, finality := finality, oracle := oracle, margin := margin, accounts := accounts]


@external
def run(market: uint256, taker: types.Pending, health: types.Terms, steps: uint256) -> (uint256, uint256):
    return book.run(market, taker, health, steps)


@external
def resume(market: uint256, steps: uint256) -> uint256:
    return book.resume(market, steps)


@external
def fill_slice(market: uint256, taker: types.Pending, health: types.Terms) -> (types.Terms, uint256, uint256):
    return book.fill_slice(market, taker, health)
