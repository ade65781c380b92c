# pragma version 0.4.3
"""
@title Merkle list of a batch's chunks
@license Apache-2.0
@notice leaf_i = keccak(uint256 i ‖ keccak(chunk_i) ‖ post_root_i), node = keccak(left ‖ right), an odd last node moves up
        unchanged. Leaf (96 bytes) and node (64 bytes) preimages cannot be mistaken for each other, and the count, kept in
        the batch header, fixes the list's shape: there is no phantom last chunk.
@dev Python twin, same names: node/stf/commitments.py.
"""

CHUNKS_PER_BATCH_MAX: constant(uint256) = 256
LIST_DEPTH_MAX: constant(uint256) = 8


@internal
@pure
def chunk_leaf(index: uint256, chunk_hash: bytes32, post_root: bytes32) -> bytes32:
    return keccak256(abi_encode(index, chunk_hash, post_root))


@internal
@pure
def list_root(leaves: DynArray[bytes32, CHUNKS_PER_BATCH_MAX]) -> bytes32:
    """
    @dev Folds level by level in place. The caller has checked that there is at least one leaf.
    """
    level: DynArray[bytes32, CHUNKS_PER_BATCH_MAX] = leaves
    count: uint256 = len(level)
    for depth: uint256 in range(LIST_DEPTH_MAX):
        if count == 1:
            break
        for i: uint256 in range(count // 2, bound=128):
            level[i] = keccak256(concat(level[2 * i], level[2 * i + 1]))
        if count % 2 == 1:
            level[count // 2] = level[count - 1]
        count = (count + 1) // 2
    return level[0]


@internal
@pure
def list_verify(
    index: uint256, count: uint256, leaf: bytes32, proof: DynArray[bytes32, LIST_DEPTH_MAX], root: bytes32
) -> bool:
    """
    @dev True when `leaf` stands at `index` of the list of `count` leaves under `root`; a malformed proof is False.
    """
    if count > CHUNKS_PER_BATCH_MAX or index >= count:
        return False
    node: bytes32 = leaf
    place: uint256 = index
    width: uint256 = count
    used: uint256 = 0
    for depth: uint256 in range(LIST_DEPTH_MAX):
        if width == 1:
            break
        if (place ^ 1) < width:
            if used == len(proof):
                return False
            if place % 2 == 0:
                node = keccak256(concat(node, proof[used]))
            else:
                node = keccak256(concat(proof[used], node))
            used += 1
        place //= 2
        width = (width + 1) // 2
    return used == len(proof) and node == root
