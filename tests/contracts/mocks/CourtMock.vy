# pragma version 0.4.3
"""
@title court made callable, and a verifier for the mirror alone
"""
from interfaces import IRollup

import batch_header
import court


@external
@view
def check_header(rollup: address, header: batch_header.BatchHeader):
    court.check_header(rollup, header)


@external
@pure
def pre_root(
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    index: uint256,
    previous_hash: bytes32,
    previous_root: bytes32,
    proof: DynArray[bytes32, 8],
) -> bytes32:
    court.check_parent(header, parent)
    return court.pre_root(header, parent, index, previous_hash, previous_root, proof)


@external
@pure
def check_chunk(
    header: batch_header.BatchHeader, index: uint256, chunk_hash: bytes32, post_root: bytes32, proof: DynArray[bytes32, 8]
):
    court.check_chunk(header, index, chunk_hash, post_root, proof)


@external
@view
def check_messages(rollup: address, first: uint256, hashes: DynArray[bytes32, 256]):
    court.check_messages(rollup, first, hashes)


@external
def prove_header(
    rollup: address,
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    words: uint256[6],
    bits: Bytes[128],
    siblings: DynArray[bytes32, 128],
):
    court.check_header(rollup, header)
    assert not court.is_mirror_true(header, words, bits, siblings), "NO_FRAUD"
    extcall IRollup(rollup).drop(header, parent, msg.sender)
