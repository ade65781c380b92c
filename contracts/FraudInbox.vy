# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudInbox: the part of the fraud proof that runs messages from L1
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
from stf import inbox
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
initializes: inbox[
    accounts := accounts, encoding := encoding, finality := finality, oracle := oracle, state := state
]


@external
def deliver(kind: uint256, payload: Bytes[1024], behind: Bytes[1]) -> uint256:
    """
    @notice Acts on a message.
    @param payload what follows the message's header
    @param behind empty: its length keeps 32 bytes of calldata behind the payload, since reading is by whole words
    """
    position: uint256 = convert(slice(msg.data, 36, 32), uint256) + 36
    encoding.load(position, len(payload))
    return inbox.deliver(kind, position)
