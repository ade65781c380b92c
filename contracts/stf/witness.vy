# pragma version 0.4.3
"""
@title  Partial-trie witness: what a fraud proof shows of the old state, and the one pass that checks it
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/witness.py, where the scheme and the reasons why it is sound are written down (also WITNESS.md).
        The caller loads the claimed leaves, runs the rules on the leaf table, and then verifies: nothing that the rules
        computed counts before `verify` has returned.

        Read straight from msg.data, so that nothing is copied to memory: leaf count:1, op count:2, ops, heads (key:16,
        words:1), words, hashes. An op is 0 for the next leaf, b for a subtree on the right, 128 + b for one on the left.
"""

from stf import path
from stf import trie

uses: trie

MAX_OPS: constant(uint256) = 4096
MAX_BITS: constant(uint256) = 128  # branch bits on the stack strictly rise and stay in 1..127
OPS_AT: constant(uint256) = 3
HEAD_BYTES: constant(uint256) = 17
LEFT: constant(uint256) = 128
POSITION_MASK: constant(uint256) = 2**128 - 1


@view
@internal
def calldata_argument(head: uint256) -> uint256:
    """
    @notice Where in msg.data the content of a dynamic argument of the external call starts.
    @param head index of the argument's 32-byte head word (arguments before it that are static tuples count their words).
    """
    offset: uint256 = self._word(unsafe_add(4, head << 5))
    assert offset < 2**32, "BAD_WITNESS: argument offset"
    return unsafe_add(offset, 36)  # 4 bytes of selector, 32 bytes of length


@internal
def load(start: uint256) -> uint256:
    """
    @notice Opens a fresh leaf table and fills it with the claimed leaves, unverified.
    @param start position of the witness in msg.data, below 2^32.
    @return the cursor that `verify` wants.
    """
    assert start < 2**32
    header: uint256 = self._word(start)
    count: uint256 = header >> 248
    head: uint256 = unsafe_add(unsafe_add(start, OPS_AT), (header >> 232) & 65535)
    position: uint256 = unsafe_add(head, unsafe_mul(count, HEAD_BYTES))
    leaf: uint256 = trie.open_table()
    live: uint256 = 0
    below: uint256 = 0
    words: uint256[40] = empty(uint256[40])
    for i: uint256 in range(count, bound=255):
        fields: uint256 = self._word(head)
        head = unsafe_add(head, HEAD_BYTES)
        size: uint256 = (fields >> 120) & 255
        assert size <= 40, "BAD_WITNESS: more than 40 words in a leaf"
        first_word: uint256 = unsafe_add(leaf, trie.WORDS)
        for word: uint256 in range(size, bound=40):
            content: uint256 = convert(convert(slice(msg.data, position, 32), bytes32), uint256)
            position = unsafe_add(position, 32)
            words[word] = content
            trie.cells[unsafe_add(first_word, word)] = content
        value_hash: bytes32 = empty(bytes32)
        if size != 0:
            value_hash = keccak256(slice(abi_encode(words), 0, size << 5))
            live |= 1 << i
        key: uint256 = (fields >> 128) << 128
        assert key > below and key < 2**255, "BAD_WITNESS: keys not ascending"
        trie.add_leaf(leaf, key, size, value_hash)
        below = key
        leaf = unsafe_add(leaf, 64)
    trie.close_table(count, live)
    return start | (position << 128)


@internal
def verify(cursor: uint256, old_root: bytes32) -> bytes32:
    """
    @notice Proves every loaded leaf (value or absence) and every observed range against the old root, and folds the root
            that the leaf table's present content gives. Reverts with BAD_WITNESS if anything does not fit.
    @return the new root.
    """
    ops_at: uint256 = unsafe_add(cursor & POSITION_MASK, OPS_AT)
    hash_at: uint256 = cursor >> 128
    op_count: uint256 = (self._word(unsafe_sub(ops_at, OPS_AT)) >> 232) & 65535

    # the next observed range that a subtree could meet; both ends beyond every key when none is left
    ranges_left: uint256 = trie.ranges_observed()
    range_lo: uint256 = 0
    range_hi: uint256 = 0
    ranges_left, range_lo, range_hi = self._next_range(ranges_left)

    leaf: uint256 = trie.namespace << trie.TABLE_BITS
    leaf_end: uint256 = unsafe_add(leaf, trie.leaf_count() << 6)
    before: uint256 = 0  # key of the nearest existing leaf before; 0: none
    after: uint256 = 0  # key of the nearest existing leaf after; 0: not looked up

    # (old, new) is what is folded so far; on the stack waits what is on its left, with the bit where it parts
    bits: uint256[128] = empty(uint256[128])
    olds: bytes32[128] = empty(bytes32[128])
    news: bytes32[128] = empty(bytes32[128])
    depth: uint256 = 0
    top_bit: uint256 = 0  # bits[depth - 1]; 0: the stack is empty
    old: bytes32 = empty(bytes32)
    new: bytes32 = empty(bytes32)
    last: uint256 = 0  # the last key of the previous element's interval
    hint: uint256 = 0  # after a left subtree: the bit at which whatever follows parts from it
    ops: uint256 = 0

    for i: uint256 in range(unsafe_add(op_count, 1), bound=4097):  # the extra round folds what is left
        op: uint256 = 0
        bit: uint256 = 0  # where this element parts from the one before it
        element_old: bytes32 = empty(bytes32)
        element_new: bytes32 = empty(bytes32)
        if i != op_count:
            if i & 31 == 0:
                ops = self._word(unsafe_add(ops_at, i))
            op = ops >> 248
            ops <<= 8
            first: uint256 = 0  # of the element's interval of keys
            below: uint256 = 0  # mask of the bits in which the interval's keys may differ
            if op == 0:
                assert leaf < leaf_end, "BAD_WITNESS: more leaf ops than leaves"
                first = trie.cells[unsafe_add(leaf, trie.KEY)]
                element_old, element_new = self._leaf_hashes(leaf, first)
                leaf = unsafe_add(leaf, 64)
                bit = hint
                hint = 0
                if element_old != empty(bytes32):
                    before = first
                    after = 0
            else:
                mask: uint256 = 1 << unsafe_sub(255, op & 127)
                below = unsafe_sub(mask, 1)
                bit = hint
                hint = 0
                # Whatever stands between a leaf and its right subtree parts from the subtree at the subtree's own bit,
                # and so does whatever follows a left subtree (hint); anywhere else the bit must be found.
                if op < LEFT:
                    assert before & mask == 0 and before != 0, "BAD_WITNESS: no leaf for a right subtree"
                    first = (before | mask) & ~below
                    bit = op
                else:
                    if after == 0:
                        after = self._existing_from(leaf, leaf_end)
                    assert after & mask != 0, "BAD_WITNESS: no leaf for a left subtree"
                    first = after & ~(mask | below)
                    hint = unsafe_sub(op, LEFT)
                element_old = convert(slice(msg.data, hash_at, 32), bytes32)
                element_new = element_old
                hash_at = unsafe_add(hash_at, 32)
                assert element_old != empty(bytes32), "BAD_WITNESS: a subtree without hash"
                if range_hi < first:
                    for _: uint256 in range(65):
                        ranges_left, range_lo, range_hi = self._next_range(ranges_left)
                        if range_hi >= first:
                            break
                assert first | below < range_lo, "BAD_WITNESS: a closed subtree meets an observed range"
            if bit == 0:
                assert first > last, "BAD_WITNESS: elements not ascending"
                bit = unsafe_sub(255, trie._log2(first ^ last))
            else:
                # the element has this bit set and the one before it has not: that they part here makes it the greater
                assert (first ^ last) >> unsafe_sub(255, bit) == 1, "BAD_WITNESS: elements not ascending"
            last = first | below

        if top_bit > bit:
            for _: uint256 in range(MAX_BITS):
                depth = unsafe_sub(depth, 1)
                left_old: bytes32 = olds[depth]
                left_new: bytes32 = news[depth]
                unchanged: bool = old == new and left_old == left_new
                if old == empty(bytes32):
                    old = left_old
                elif left_old != empty(bytes32):
                    old = keccak256(concat(convert(convert(top_bit, uint8), bytes1), left_old, old))  # path.node_hash
                if unchanged:
                    new = old
                elif new == empty(bytes32):
                    new = left_new
                elif left_new != empty(bytes32):
                    new = path.node_hash(top_bit, left_new, new)
                top_bit = 0
                if depth != 0:
                    top_bit = bits[unsafe_sub(depth, 1)]
                if top_bit <= bit:
                    break

        if op != 0 and op < LEFT:
            # nothing can part from a right subtree below its bit: fold it at once
            unchanged: bool = old == new
            if old == empty(bytes32):
                old = element_old
            else:
                old = keccak256(concat(convert(convert(bit, uint8), bytes1), old, element_old))  # path.node_hash
            if unchanged:
                new = old
            elif new == empty(bytes32):
                new = element_new
            else:
                new = path.node_hash(bit, new, element_new)
        elif i != op_count:
            if i != 0:
                bits[depth] = bit
                olds[depth] = old
                news[depth] = new
                depth = unsafe_add(depth, 1)
                top_bit = bit
            old = element_old
            new = element_new

    assert leaf == leaf_end, "BAD_WITNESS: fewer leaf ops than leaves"
    assert old == old_root, "BAD_WITNESS: the old root does not match"
    return new


@view
@internal
def _leaf_hashes(leaf: uint256, key: uint256) -> (bytes32, bytes32):
    """@return the leaf's hash at loading and now; zero = absent."""
    old_value: bytes32 = trie.old_hash(leaf)
    new_value: bytes32 = trie.new_hash(leaf)
    old: bytes32 = empty(bytes32)
    if old_value != empty(bytes32):
        old = path.leaf_hash(convert(key, bytes32), old_value)
    if new_value == old_value:
        return old, old
    if new_value == empty(bytes32):
        return old, empty(bytes32)
    return old, path.leaf_hash(convert(key, bytes32), new_value)


@view
@internal
def _next_range(ranges: uint256) -> (uint256, uint256, uint256):
    """@return the observed ranges left, and first and last key of the lowest one; both beyond every key if there is none."""
    if ranges == 0:
        return 0, max_value(uint256), max_value(uint256)
    lowest: uint256 = ranges & (~ranges + 1)
    lo: uint256 = 0
    hi: uint256 = 0
    lo, hi = trie.range_of(trie._log2(lowest))
    return ranges ^ lowest, lo, hi


@view
@internal
def _existing_from(first: uint256, end: uint256) -> uint256:
    """@return key of the first leaf in [first, end) that existed at loading; 0 if there is none."""
    leaf: uint256 = first
    for _: uint256 in range(255):
        if leaf >= end:
            break
        if trie.old_hash(leaf) != empty(bytes32):
            return trie.key_of(leaf)
        leaf = unsafe_add(leaf, 64)
    return 0


@view
@internal
def _word(position: uint256) -> uint256:
    """@return 32 bytes of msg.data. Reverts beyond its end."""
    return convert(convert(slice(msg.data, position, 32), bytes32), uint256)
