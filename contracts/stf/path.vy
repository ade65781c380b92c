# pragma version 0.4.3
"""
@title  Hashing of the state trie, and the proof of one leaf
@author Anchorline contributors
@license Apache-2.0
@notice Stateless part shared by the fraud proof, withdrawals and header proofs. Twin: node/stf/witness.py.

        leaf(key, value)       = keccak256(key ‖ keccak256(value))     64-byte preimage
        node(bit, left, right) = keccak256(uint8(bit) ‖ left ‖ right)  65-byte preimage
        The two lengths differ, so neither can pass for the other.
"""

MAX_PATH: constant(uint256) = 128  # keys have 16 significant bytes, bits strictly increase from the root


@pure
@internal
def leaf_hash(key: bytes32, value_hash: bytes32) -> bytes32:
    return keccak256(concat(key, value_hash))


@pure
@internal
def node_hash(bit: uint256, left: bytes32, right: bytes32) -> bytes32:
    """@param bit below 256."""
    return keccak256(concat(convert(convert(bit, uint8), bytes1), left, right))


@pure
@internal
def fold_path(key: bytes32, value_hash: bytes32, bits: Bytes[128], siblings: DynArray[bytes32, 128]) -> bytes32:
    """
    @notice The root of a trie that holds the leaf (key, value_hash) below these siblings.
    @param bits branch bit of each sibling, from the leaf up: strictly decreasing. The side is the key's own bit.
    """
    assert len(bits) == len(siblings), "BAD_PROOF: as many bits as siblings are needed"
    root: bytes32 = self.leaf_hash(key, value_hash)
    below: uint256 = 256
    for i: uint256 in range(len(siblings), bound=MAX_PATH):
        bit: uint256 = convert(slice(bits, i, 1), uint256)
        assert bit < below, "BAD_PROOF: bits must fall towards the root"
        below = bit
        if (convert(key, uint256) >> unsafe_sub(255, bit)) & 1 == 0:
            root = self.node_hash(bit, root, siblings[i])
        else:
            root = self.node_hash(bit, siblings[i], root)
    return root
