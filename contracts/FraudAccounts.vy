# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudAccounts: the part of the fraud proof that runs keys, withdrawals and prices
@author Anchorline contributors
@license Apache-2.0
@notice Runs only by delegatecall from FraudRules, on the leaf table in the caller's transient storage. Called directly it finds an
        empty table and reverts or answers nonsense that nobody reads: it has no storage and no authority.
@dev All parts initialize the same modules in the same order, so that their transient layouts are one (contracts/build.py
     compares them).
"""
from stf import accounts
from stf import encoding
from stf import finality
from stf import funding
from stf import margin
from stf import oracle
from stf import quotes
from stf import state
from stf import trie

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: finality[state := state]
initializes: funding[state := state]
initializes: quotes[state := state]
initializes: oracle[state := state, funding := funding, quotes := quotes]
initializes: margin[state := state, oracle := oracle, finality := finality]
initializes: accounts[state := state, margin := margin]


@external
def authorize(account: uint256, slot: uint256, signer: uint256, nonce: uint256, expiry: uint256) -> uint256:
    return accounts.authorize(account, slot, signer, nonce, expiry)


@external
def set_key(account: uint256, slot: uint256, key: uint256, expiry: uint256) -> uint256:
    return accounts.set_key(account, slot, key, expiry)


@external
def withdraw(account: uint256, recipient: uint256, amount: uint256) -> uint256:
    return accounts.withdraw(account, recipient, amount)


@external
def publish(market: uint256, slot: uint256, signer: uint256, time: uint256, price: uint256) -> uint256:
    return oracle.publish(market, slot, signer, time, price)
