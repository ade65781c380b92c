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
    trie.open_table()
    head_word: uint256 = self._word(start)
    count: uint256 = head_word >> 248
    head: uint256 = unsafe_add(unsafe_add(start, OPS_AT), (head_word >> 232) & 65535)
    value: uint256 = unsafe_add(head, unsafe_mul(count, HEAD_BYTES))
    words: uint256[40] = empty(uint256[40])
    for i: uint256 in range(count, bound=255):
        fields: uint256 = self._word(head)
        head = unsafe_add(head, HEAD_BYTES)
        size: uint256 = (fields >> 120) & 255
        assert size <= 40, "BAD_WITNESS: more than 40 words in a leaf"
        for word: uint256 in range(size, bound=40):
            words[word] = self._word(unsafe_add(value, word << 5))
        value_hash: bytes32 = empty(bytes32)
        if size > 0:
            value_hash = keccak256(slice(abi_encode(words), 0, size << 5))
        leaf: uint256 = trie.add_leaf((fields >> 128) << 128, size, value_hash)
        for word: uint256 in range(size, bound=40):
            trie.load_word(leaf, word, words[word])
        value = unsafe_add(value, size << 5)
    return start | (value << 128)


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
    assert op_count <= MAX_OPS, "BAD_WITNESS: more than 4,096 elements"

    # observed ranges ascend with their slots; range_lo stays beyond every key when none is left
    ranges_left: uint256 = trie.ranges_observed()
    range_slot: uint256 = 0
    range_lo: uint256 = 0
    range_hi: uint256 = 0
    if ranges_left == 0:
        range_lo = max_value(uint256)
        range_hi = max_value(uint256)

    leaf: uint256 = trie.first_leaf()
    leaf_end: uint256 = unsafe_add(leaf, trie.leaf_count() << 6)
    before: uint256 = 0  # key of the nearest existing leaf before; 0: none
    after: uint256 = 0  # key of the nearest existing leaf after; 0: not looked up

    # folded so far: (old, new) on top, and on the stack what waits on its left with the bit where it parts
    bits: uint256[128] = empty(uint256[128])
    olds: bytes32[128] = empty(bytes32[128])
    news: bytes32[128] = empty(bytes32[128])
    depth: uint256 = 0
    old: bytes32 = empty(bytes32)
    new: bytes32 = empty(bytes32)
    last: uint256 = 0  # the last key of the previous element's interval
    hint: uint256 = 0  # the branch bit, unless absent keys stand between
    ops: uint256 = 0

    for i: uint256 in range(4097):  # one round more than elements: it folds what is left
        if i & 31 == 0 and i < op_count:
            ops = self._word(unsafe_add(ops_at, i))
        element_first: uint256 = 0
        element_last: uint256 = 0
        element_old: bytes32 = empty(bytes32)
        element_new: bytes32 = empty(bytes32)
        next_hint: uint256 = 0
        if i < op_count:
            op: uint256 = ops >> 248
            ops <<= 8
            if op == 0:
                assert leaf < leaf_end, "BAD_WITNESS: more leaf ops than leaves"
                element_first = trie.key_of(leaf)
                element_last = element_first
                old_hash: bytes32 = trie.old_hash(leaf)
                new_hash: bytes32 = trie.new_hash(leaf)
                leaf = unsafe_add(leaf, 64)
                if old_hash != empty(bytes32):
                    element_old = path.leaf_hash(convert(element_first, bytes32), old_hash)
                    before = element_first
                    after = 0
                if new_hash == old_hash:
                    element_new = element_old
                elif new_hash != empty(bytes32):
                    element_new = path.leaf_hash(convert(element_first, bytes32), new_hash)
            else:
                mask: uint256 = 0
                if op < LEFT:
                    hint = op
                    mask = 1 << unsafe_sub(255, op)
                    assert before != 0 and before & mask == 0, "BAD_WITNESS: no leaf for a right subtree"
                    element_first = (before | mask) & ~unsafe_sub(mask, 1)
                else:
                    next_hint = unsafe_sub(op, LEFT)
                    assert next_hint != 0, "BAD_WITNESS: bit 0 never branches"
                    mask = 1 << unsafe_sub(255, next_hint)
                    if after == 0:
                        after = self._existing_from(leaf, leaf_end)
                    assert after & mask != 0, "BAD_WITNESS: no leaf for a left subtree"
                    element_first = after & ~unsafe_sub(mask << 1, 1)
                element_last = element_first | unsafe_sub(mask, 1)
                element_old = convert(self._word(hash_at), bytes32)
                element_new = element_old
                hash_at = unsafe_add(hash_at, 32)
                assert element_old != empty(bytes32), "BAD_WITNESS: a subtree without hash"
                for _: uint256 in range(65):
                    if range_hi >= element_first:
                        break
                    if ranges_left == 0:
                        range_lo = max_value(uint256)
                        range_hi = max_value(uint256)
                        break
                    for __: uint256 in range(64):
                        if ranges_left & 1 == 1:
                            break
                        ranges_left >>= 1
                        range_slot = unsafe_add(range_slot, 1)
                    next_lo: uint256 = 0
                    next_lo, range_hi = trie.range_of(range_slot)
                    assert next_lo >= range_lo  # slots rise with their ranges: otherwise the rules are wrong
                    range_lo = next_lo
                    ranges_left >>= 1
                    range_slot = unsafe_add(range_slot, 1)
                assert element_last < range_lo, "BAD_WITNESS: a closed subtree meets an observed range"

        bit: uint256 = 0
        if i < op_count and i != 0:
            assert element_first > last, "BAD_WITNESS: elements not ascending"
            differ: uint256 = element_first ^ last
            bit = hint
            if (differ >> unsafe_sub(255, hint)) != 1:
                bit = unsafe_sub(255, trie._log2(differ))
        for _: uint256 in range(MAX_BITS):
            if depth == 0:
                break
            top: uint256 = unsafe_sub(depth, 1)
            if bits[top] <= bit:
                break
            depth = top
            left_old: bytes32 = olds[top]
            left_new: bytes32 = news[top]
            same: bool = left_old == left_new and old == new
            if old == empty(bytes32):
                old = left_old
            elif left_old != empty(bytes32):
                old = path.node_hash(bits[top], left_old, old)
            if same:
                new = old
            elif new == empty(bytes32):
                new = left_new
            elif left_new != empty(bytes32):
                new = path.node_hash(bits[top], left_new, new)
        if i == op_count:
            break
        if i != 0:
            bits[depth] = bit
            olds[depth] = old
            news[depth] = new
            depth = unsafe_add(depth, 1)
        old = element_old
        new = element_new
        last = element_last
        hint = next_hint
    assert leaf == leaf_end, "BAD_WITNESS: fewer leaf ops than leaves"
    assert old == old_root, "BAD_WITNESS: the old root does not match"
    return new


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
