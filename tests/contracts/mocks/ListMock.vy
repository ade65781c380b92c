# pragma version 0.4.3
"""
@title merkle_list made callable
"""
import merkle_list


@external
@pure
def chunk_leaf(index: uint256, chunk_hash: bytes32, post_root: bytes32) -> bytes32:
    return merkle_list.chunk_leaf(index, chunk_hash, post_root)


@external
@pure
def list_root(leaves: DynArray[bytes32, 256]) -> bytes32:
    return merkle_list.list_root(leaves)


@external
@pure
def list_verify(index: uint256, count: uint256, leaf: bytes32, proof: DynArray[bytes32, 8], root: bytes32) -> bool:
    return merkle_list.list_verify(index, count, leaf, proof, root)
