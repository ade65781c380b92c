# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudLiquidation: the part of the fraud proof that runs liquidation, insurance and settlement
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
from stf import insurance
from stf import liquidation
from stf import margin
from stf import oracle
from stf import parts
from stf import quotes
from stf import settlement
from stf import state
from stf import trie

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
initializes: insurance[state := state, oracle := oracle, finality := finality, parts := parts]
initializes: liquidation[state := state, margin := margin, accounts := accounts, parts := parts, insurance := insurance]
initializes: settlement[state := state, finality := finality, margin := margin, accounts := accounts, insurance := insurance]


@deploy
def __init__(book_part: address):
    """@param book_part the FraudBook to sell in"""
    assert book_part.is_contract, "PARTS: not a contract"
    parts.__init__(empty(address), empty(address), book_part, empty(address), empty(address), empty(address))


@external
def liquidate(account: uint256, market: uint256, forced: bool) -> uint256:
    return liquidation.liquidate(account, market, forced)


@external
def settle(account: uint256, market: uint256) -> uint256:
    return settlement.settle(account, market)
