# pragma version 0.4.3
"""
@title Court: what a fraud proof claims about L1, checked against what L1 stores
@license Apache-2.0
@notice Everything that a proof brings besides the witness: the header, the disputed chunk with its place and claimed root,
        the root before it, the inbox messages it consumed, and (for a lying mirror) the `G` leaf under the last root.
        Nothing here is trusted: each piece is tied to a hash in Rollup's storage, or the call reverts.
@dev Stateless module for FraudVerifier. Hashes are computed by the caller from the bytes it executes, never taken from the
     prover. Python twins: node/stf/commitments.py.
"""
from interfaces import IRollup

import batch_header
import merkle_list
from stf import path

G_KEY: constant(bytes32) = 0x4700000000000000000000000000000000000000000000000000000000000000
MESSAGES_MAX: constant(uint256) = 256


@internal
@view
def check_header(rollup: address, header: batch_header.BatchHeader):
    """
    @notice The header is one that Rollup stores now: not dropped, not invented.
    """
    stored: bytes32 = staticcall IRollup(rollup).header_hash(header.number)
    assert stored == batch_header.header_hash(header), "HEADER: not the stored one"


@internal
@pure
def check_parent(header: batch_header.BatchHeader, parent: batch_header.BatchHeader):
    assert header.parent == batch_header.header_hash(parent), "PARENT: not the header's parent"


@internal
@pure
def check_chunk(
    header: batch_header.BatchHeader,
    index: uint256,
    chunk_hash: bytes32,
    post_root: bytes32,
    proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX],
):
    """
    @notice Chunk `index` of the batch has this hash and was posted with this root.
    """
    leaf: bytes32 = merkle_list.chunk_leaf(index, chunk_hash, post_root)
    in_list: bool = merkle_list.list_verify(index, header.chunk_count, leaf, proof, header.chunks_root)
    assert in_list, "CHUNK: not in the batch"


@internal
@pure
def pre_root(
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    index: uint256,
    previous_hash: bytes32,
    previous_root: bytes32,
    proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX],
) -> bytes32:
    """
    @notice The root that chunk `index` starts from: the parent batch's last, or the one posted with the chunk before.
    @param parent already checked by `check_parent`
    @param previous_hash keccak of chunk index - 1, with its root and list proof; unused for the first chunk
    """
    if index == 0:
        return parent.post_root
    self.check_chunk(header, index - 1, previous_hash, previous_root, proof)
    return previous_root


@internal
@view
def check_messages(rollup: address, first: uint256, hashes: DynArray[bytes32, MESSAGES_MAX]):
    """
    @notice `hashes` are keccak(message) of the inbox messages first, first + 1, …: two reads of L1 for any number of them.
    """
    if len(hashes) == 0:
        return
    running: bytes32 = staticcall IRollup(rollup).inbox_hash_at(first)
    for message_hash: bytes32 in hashes:
        running = keccak256(concat(running, message_hash))
    stored: bytes32 = staticcall IRollup(rollup).inbox_hash_at(first + len(hashes))
    assert running == stored, "INBOX: not the messages at these numbers"


@internal
@pure
def is_mirror_true(
    header: batch_header.BatchHeader,
    words: uint256[6],
    bits: Bytes[path.MAX_PATH],
    siblings: DynArray[bytes32, path.MAX_PATH],
) -> bool:
    """
    @notice Whether the header's `globals` are the words of the `G` leaf, which are proven under its last root first.
    """
    root: bytes32 = path.fold_path(G_KEY, keccak256(abi_encode(words)), bits, siblings)
    assert root == header.post_root, "PROOF: not the G leaf under the header's root"
    for i: uint256 in range(6):
        if words[i] != header.globals[i]:
            return False
    return True
