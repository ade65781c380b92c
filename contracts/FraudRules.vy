# pragma version 0.4.3
# pragma optimize codesize
"""
@title  FraudRules: the part of the fraud proof that decodes and executes a chunk
@author Anchorline contributors
@license Apache-2.0
@notice Runs only by delegatecall from FraudVerifier, which has put the claimed leaves into transient storage. It
        reads chunk and messages in place from this call's data.
        Called directly it finds an empty table and reverts: it has no storage and no authority.
@dev All parts initialize the same modules in the same order, so that their transient layouts are one (contracts/build.py
     compares them).
"""
from stf import encoding
from stf import finality
from stf import parts
from stf import state
from stf import transition
from stf import trie

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: parts
initializes: finality[state := state]
initializes: transition[encoding := encoding, state := state, finality := finality, parts := parts]

CHUNK_BYTES_MAX: constant(uint256) = 24_000
MESSAGES_BYTES_MAX: constant(uint256) = 24_576


@deploy
def __init__(
    accounts_part: address, orders_part: address, book_part: address, liquidation_part: address, inbox_part: address
):
    """@notice The parts to run the rules in: what FraudX is in contracts/stf/parts.vy."""
    for part: address in [accounts_part, orders_part, book_part, liquidation_part, inbox_part]:
        assert part.is_contract, "PARTS: not a contract"
    parts.__init__(accounts_part, orders_part, book_part, empty(address), liquidation_part, inbox_part)


@external
def execute_chunk(
    chunk: Bytes[CHUNK_BYTES_MAX],
    messages: Bytes[MESSAGES_BYTES_MAX],
    behind: Bytes[1],
    cursor_end: uint256,
    domain: bytes32,
) -> bool:
    """
    @notice Executes a chunk on the leaf table.
    @param messages size:2 and bytes of each inbox message from the state's cursor on; that they are the inbox's was checked
    @param behind empty: its length keeps 32 bytes of calldata behind the messages, since reading is by whole words
    @param cursor_end messages from this number on may not be consumed
    @return whether the chunk is valid.
    """
    chunk_at: uint256 = convert(slice(msg.data, 4, 32), uint256) + 36
    messages_at: uint256 = convert(slice(msg.data, 36, 32), uint256) + 36
    encoding.set_domain(domain)
    transition.set_inbox(messages_at, messages_at + len(messages), cursor_end)
    valid: bool = transition.execute_chunk(chunk_at, len(chunk))
    state.end_chunk()
    return valid
