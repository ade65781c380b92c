# pragma version 0.4.3
"""
@title  FraudVerifier: proves a wrong batch in one L1 transaction
@author Anchorline contributors
@license Apache-2.0
@notice Executes one posted chunk by the rules of the L2, on old state that a witness proves, and compares the root.

        prove_chunk  the state root claimed after a chunk is not the one that the rules give
        prove_header the header's mirror of the `G` leaf is not what stands under its own post-root

        Invariants
        - Nothing about the old state is believed: witness.verify proves every leaf the rules have read, every absence and
          every observed part of a book against the pre-root, after execution and before anything follows from it.
        - What is proven is what was posted: chunk bytes and both roots stand in the batch's own list, messages in the inbox.
        - An honest batch cannot be dropped: equal roots revert with NO_FRAUD, and whatever the prover leaves out reverts.
        - No storage. Proofs in one L1 transaction do not meet: each opens a fresh leaf table and sets all that it reads.
@dev The rules run by delegatecall in FraudRules and its parts, on this contract's transient storage; all of them initialize
     the same modules in the same order (contracts/build.py compares the layouts).
"""
import batch_header
import merkle_list
from stf import encoding
from stf import params
from stf import path
from stf import state
from stf import trie
from stf import witness

initializes: trie
initializes: state[trie := trie]
initializes: encoding
initializes: witness[trie := trie]


interface Rollup:
    def drop(header: batch_header.BatchHeader, survivor: batch_header.BatchHeader, prover: address): nonpayable
    def header_hash(number: uint256) -> bytes32: view
    def inbox_hash_at(number: uint256) -> bytes32: view
    def params() -> RollupParams: view


struct RollupParams:
    challenge_window_s: uint256
    bond_min: uint256
    bond_delay_s: uint256
    seat_idle_s: uint256
    force_delay_s: uint256
    force_fee: uint256
    deposit_min: uint256
    timelock_s: uint256
    l2_chain_id: uint256
    genesis_root: bytes32
    genesis_globals: uint256[6]


struct Claim:
    # a chunk of a batch, as posted
    index: uint256
    post_root: bytes32
    proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX]


struct Predecessor:
    # the chunk before it; for the first chunk of a batch, empty: its old root is the parent batch's
    chunk_hash: bytes32
    post_root: bytes32
    proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX]


CHUNK_BYTES_MAX: constant(uint256) = 24_000  # what can be posted; more than the rules allow is provably INVALID
MESSAGES_BYTES_MAX: constant(uint256) = 24_576  # a chunk's work pays for less
WITNESS_BYTES_MAX: constant(uint256) = 110_000
MESSAGES_MAX: constant(uint256) = 256
MESSAGE_WORDS: constant(uint256) = 33
# what a chunk that breaks the rules' structure leads to; posting refuses it as a claim
INVALID_ROOT: constant(bytes32) = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
GLOBAL_KEY: constant(uint256) = 71 << 248  # b"G"
# positions of the arguments' head words: a header has 16
PROVE_HEAD: constant(uint256) = 34
EXECUTE_HEAD: constant(uint256) = 2

ROLLUP: immutable(Rollup)
RULES: immutable(address)
DOMAIN: immutable(bytes32)


@deploy
def __init__(rollup: address, rules: address):
    """
    @param rollup whose batches are judged
    @param rules the FraudRules to execute chunks with
    """
    assert rules.is_contract, "RULES: not a contract"
    ROLLUP = Rollup(rollup)
    RULES = rules
    chain_id: uint256 = (staticcall ROLLUP.params()).l2_chain_id
    DOMAIN = encoding.domain_separator(chain_id, convert(rollup, uint256))


# -------------------------------------------------------------------------------------------------------------- execution


@internal
def _check_messages(messages_at: uint256, size: uint256):
    """
    @notice The supplied messages are the inbox's, from the claimed cursor of the old state on.
    @param messages_at where they stand in msg.data
    @param size their bytes
    @dev The running hash binds every message, and L1's inbox only ever grows.
    """
    if size == 0:
        return
    cursor: uint256 = batch_header.inbox_cursor(trie.get_word(trie.index_of(GLOBAL_KEY), 0))
    running: bytes32 = staticcall ROLLUP.inbox_hash_at(cursor)
    at: uint256 = messages_at
    end: uint256 = messages_at + size
    words: uint256[MESSAGE_WORDS] = empty(uint256[MESSAGE_WORDS])
    for _: uint256 in range(MESSAGES_MAX):
        if at >= end:
            break
        length: uint256 = witness._word(at) >> 240
        assert length <= params.MESSAGE_BYTES_MAX and at + 2 + length <= end, "MESSAGES: longer than the inbox's"
        for word: uint256 in range((length + 31) // 32, bound=MESSAGE_WORDS):
            words[word] = witness._word(at + 2 + 32 * word)
        running = keccak256(concat(running, keccak256(slice(abi_encode(words), 0, length))))
        cursor += 1
        at += 2 + length
    assert at == end, "MESSAGES: too many"
    assert running == staticcall ROLLUP.inbox_hash_at(cursor), "MESSAGES: not the inbox's"


@internal
def _execute(
    head: uint256,
    pre_root: bytes32,
    cursor_end: uint256,
    chunk: Bytes[CHUNK_BYTES_MAX],
    messages: Bytes[MESSAGES_BYTES_MAX],
) -> (bytes32, uint256):
    """
    @notice Executes a chunk on what a witness claims of the old state, and proves the claim.
    @param head which head word of the arguments is the chunk's; messages and witness follow it
    @param cursor_end the inbox cursor that the batch may reach
    @return the one right post-root, and the gas that the rules took, which their work bounds.
    """
    cursor: uint256 = witness.load(witness.calldata_argument(head + 2))
    self._check_messages(witness.calldata_argument(head + 1), len(messages))
    gas_before: uint256 = msg.gas
    answer: Bytes[32] = raw_call(
        RULES,
        abi_encode(
            chunk,
            messages,
            b"",
            cursor_end,
            DOMAIN,
            method_id=method_id("execute_chunk(bytes,bytes,bytes,uint256,bytes32)"),
        ),
        max_outsize=32,
        is_delegate_call=True,
    )
    rules_gas: uint256 = gas_before - msg.gas
    # even an INVALID chunk is judged on proven state only
    root: bytes32 = witness.verify(cursor, pre_root)
    return root if abi_decode(answer, bool) else INVALID_ROOT, rules_gas


@external
def execute_chunk(
    pre_root: bytes32,
    cursor_end: uint256,
    chunk: Bytes[CHUNK_BYTES_MAX],
    messages: Bytes[MESSAGES_BYTES_MAX],
    witness_data: Bytes[WITNESS_BYTES_MAX],
) -> (bytes32, uint256, uint256, uint256, uint256):
    """
    @notice For a dry run by eth_call: what `prove_chunk` would find. Nothing follows from it.
    @return the post-root (0xff..ff: INVALID), and the work, proof bytes and leaves that the rules have counted, and their gas
    """
    root: bytes32 = empty(bytes32)
    rules_gas: uint256 = 0
    root, rules_gas = self._execute(EXECUTE_HEAD, pre_root, cursor_end, chunk, messages)
    return root, state.get_work(), state.get_proof(), state.get_leaves(), rules_gas


# ----------------------------------------------------------------------------------------------------------------- proofs


@internal
@view
def _check_batch(header: batch_header.BatchHeader, parent: batch_header.BatchHeader):
    assert header.rules == batch_header.RULES_VERSION, "RULES: another version, use its verifier"
    stored: bytes32 = staticcall ROLLUP.header_hash(header.number)
    assert batch_header.header_hash(header) == stored, "HEADER: not the stored one"
    assert batch_header.header_hash(parent) == header.parent, "PARENT: not the header's"


@internal
@pure
def _pre_root(header: batch_header.BatchHeader, parent: batch_header.BatchHeader, index: uint256, before: Predecessor) -> bytes32:
    """@return the root that a chunk starts from: its predecessor's claimed one, proven to be in the list."""
    if index == 0:
        return parent.post_root
    leaf: bytes32 = merkle_list.chunk_leaf(index - 1, before.chunk_hash, before.post_root)
    proven: bool = merkle_list.list_verify(index - 1, header.chunk_count, leaf, before.proof, header.chunks_root)
    assert proven, "PREDECESSOR: not in the batch's list"
    return before.post_root


@external
def prove_chunk(
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    claim: Claim,
    before: Predecessor,
    chunk: Bytes[CHUNK_BYTES_MAX],
    messages: Bytes[MESSAGES_BYTES_MAX],
    witness_data: Bytes[WITNESS_BYTES_MAX],
) -> bytes32:
    """
    @notice Drops the batch, and all after it, if a chunk's claimed post-root is not the right one; the caller is the prover.
    @param header the batch's
    @param parent the header of the batch before it
    @param claim the chunk's index, its claimed post-root and its place in the list
    @param before the chunk before it likewise; left empty for a batch's first chunk
    @param chunk the posted bytes
    @param messages size:2 and bytes of every inbox message that the chunk consumes (more do no harm)
    @param witness_data what the chunk touches of the old state, as node/stf/witness.py encodes it
    @return the right post-root.
    """
    self._check_batch(header, parent)
    leaf: bytes32 = merkle_list.chunk_leaf(claim.index, keccak256(chunk), claim.post_root)
    proven: bool = merkle_list.list_verify(claim.index, header.chunk_count, leaf, claim.proof, header.chunks_root)
    assert proven, "CHUNK: not in the batch's list"
    pre_root: bytes32 = self._pre_root(header, parent, claim.index, before)
    root: bytes32 = empty(bytes32)
    rules_gas: uint256 = 0
    root, rules_gas = self._execute(PROVE_HEAD, pre_root, header.inbox_cursor, chunk, messages)
    assert root != claim.post_root, "NO_FRAUD: the claimed root is right"
    extcall ROLLUP.drop(header, parent, msg.sender)
    return root


@external
def prove_header(
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    words: uint256[6],
    bits: Bytes[path.MAX_PATH],
    siblings: DynArray[bytes32, path.MAX_PATH],
):
    """
    @notice Drops the batch, and all after it, if its header's mirror is not the `G` leaf under its post-root.
    @param words the leaf's words
    @param bits the branch bit of each sibling on its path, from the leaf up
    @param siblings likewise
    """
    self._check_batch(header, parent)
    key: bytes32 = convert(GLOBAL_KEY, bytes32)
    root: bytes32 = path.fold_path(key, keccak256(abi_encode(words)), bits, siblings)
    assert root == header.post_root, "PROOF: not a leaf of this batch's state"
    assert keccak256(abi_encode(words)) != keccak256(abi_encode(header.globals)), "NO_FRAUD: the header is right"
    extcall ROLLUP.drop(header, parent, msg.sender)
