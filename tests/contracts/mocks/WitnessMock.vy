# pragma version 0.4.3
"""Drives the leaf table and the witness pass as a fraud proof does: load, change leaves, observe ranges, verify."""
from stf import path
from stf import trie
from stf import witness

initializes: trie
initializes: witness[trie := trie]


@external
def run(old_root: bytes32, ops: DynArray[uint256[4], 600], ranges: DynArray[uint256[2], 64], data: Bytes[110000]) -> (bytes32, uint256, uint256, uint256):
    """
    @param ops (0, key, word, content): set_word; (1, key, size, 0): set_size; (2, key, word, content): expect that content;
           (3, key, exists, size): expect that
    @param ranges slot s: (lo, hi), observed to its end when execution is over
    @return new root, gas of load, gas of verify, touched leaves
    """
    gas_0: uint256 = msg.gas
    cursor: uint256 = witness.load(witness.calldata_argument(3))
    gas_1: uint256 = msg.gas
    for op: uint256[4] in ops:
        leaf: uint256 = trie.index_of(op[1])
        if op[0] == 0:
            trie.set_word(leaf, op[2], op[3])
        elif op[0] == 1:
            trie.set_size(leaf, op[2])
        elif op[0] == 2:
            assert trie.get_word(leaf, op[2]) == op[3], "unexpected word"
        else:
            assert trie.exists(leaf) == (op[2] == 1) and trie.get_size(leaf) == op[3], "unexpected size"
    slot: uint256 = 0
    for bounds: uint256[2] in ranges:
        found: uint256 = trie.first_live(slot, bounds[0], bounds[1])
        for _: uint256 in range(256):
            if found == 0:
                break
            found = trie.next_live(slot, bounds[0], bounds[1], found)
        slot += 1
    gas_2: uint256 = msg.gas
    root: bytes32 = witness.verify(cursor, old_root)
    return root, gas_0 - gas_1, gas_2 - msg.gas, trie.touched_count()


@external
def run_twice(first: Bytes[20000], second: Bytes[20000], root: bytes32, key: uint256) -> bytes32:
    """Two verifications in one L1 transaction: the second one must not see the first one's leaf `key`."""
    cursor: uint256 = witness.load(witness.calldata_argument(0))
    assert trie.exists(trie.index_of(key)), "the first witness has the leaf"
    assert witness.verify(cursor, root) == root
    cursor = witness.load(witness.calldata_argument(1))
    assert trie.touched_count() == 0
    assert trie.exists(trie.index_of(key))
    return witness.verify(cursor, root)


@external
def best(slot: uint256, lo: uint256, hi: uint256, removals: uint256, old_root: bytes32, data: Bytes[110000]) -> (uint256, uint256, bytes32):
    """
    @notice Takes away the best leaf `removals` times, as matching does.
    @return key of the best leaf left (0: none), gas per observation, new root
    """
    cursor: uint256 = witness.load(witness.calldata_argument(5))
    for _: uint256 in range(removals, bound=256):
        trie.set_size(trie.first_live(slot, lo, hi), 0)
    gas_0: uint256 = msg.gas
    leaf: uint256 = trie.first_live(slot, lo, hi)
    gas_1: uint256 = msg.gas
    key: uint256 = 0
    if leaf != 0:
        key = trie.key_of(leaf)
    return key, gas_0 - gas_1, witness.verify(cursor, old_root)


@external
@view
def fold_path(key: bytes32, value_hash: bytes32, bits: Bytes[128], siblings: DynArray[bytes32, 128]) -> bytes32:
    return path.fold_path(key, value_hash, bits, siblings)
