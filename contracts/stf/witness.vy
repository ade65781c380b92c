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
OPS_AT: constant(uint256) = 3
HEAD_BYTES: constant(uint256) = 17
LEFT: constant(uint256) = 128
POSITION_MASK: constant(uint256) = 2**128 - 1


struct Progress:
    # where the pass over the elements stands
    op_at: uint256  # position of the next op in msg.data, and of their end
    op_end: uint256
    hash_at: uint256  # position of the next subtree's hash
    leaf: uint256  # the next leaf's record, and their end
    leaf_end: uint256
    before: uint256  # key of the nearest existing leaf before; 0: none
    after: uint256  # key of the nearest existing leaf after; 0: not looked up
    last: uint256  # the last key of the previous element's interval
    hint: uint256  # after a left subtree: the bit at which whatever follows parts from it
    ranges: uint256  # observed ranges beyond the current one, by slot
    range_lo: uint256  # the current one: the first that ends at or after the present element
    range_hi: uint256
    bit: uint256  # where the present element parts from the one before it
    old: bytes32  # hash of what is folded on the right, in the old state and in the new one; zero: nothing there
    new: bytes32


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
    p: Progress = self._start(cursor)
    # What waits on the left, with the bit at which it parts from what is on its right. An entry is two folded hashes, or
    # a run of left subtrees: then its bit is the last one's, and the places hold the run's first op and first hash.
    bits: uint256[129] = empty(uint256[129])  # subtrees of a run << 8 | bit; bits strictly rise, entry 0 stays empty
    olds: bytes32[129] = empty(bytes32[129])
    news: bytes32[129] = empty(bytes32[129])
    top: uint256 = 0
    waiting: bool = False  # (p.old, p.new) is an element or more, not the nothing after a run of left subtrees

    for _: uint256 in range(4097):  # one round more than ops: it folds what is left
        finished: bool = p.op_at == p.op_end
        op: uint256 = 0
        first_op: uint256 = p.op_at
        first_hash: uint256 = p.hash_at
        element_old: bytes32 = empty(bytes32)
        element_new: bytes32 = empty(bytes32)
        p.bit = 0
        if not finished:
            op = self._word(p.op_at) >> 248
            if op == 0:
                p, element_old, element_new = self._take_leaf(p)
            elif op >= LEFT:
                p = self._take_lefts(p)
            else:
                assert waiting, "BAD_WITNESS: no leaf for a right subtree"
                p.bit = op
        for __: uint256 in range(128):
            if bits[top] & 255 <= p.bit:
                break
            if bits[top] < 256:
                p.old, p.new = self._join(bits[top], olds[top], news[top], p.old, p.new)
                top = unsafe_sub(top, 1)
                continue
            bits[top], p.old, p.new = self._join_run(p.bit, bits[top], olds[top], news[top], p.old, p.new)
            if bits[top] == 0:
                top = unsafe_sub(top, 1)
        if finished:
            break
        if op != 0 and op < LEFT:
            below: uint256 = bits[top] & 255
            if bits[top] >= 256:
                below = bits[unsafe_sub(top, 1)] & 255
            p, bits[top] = self._climb(p, bits[top], olds[top], news[top], below)
            if bits[top] == 0 and top != 0:
                top = unsafe_sub(top, 1)
            continue
        if waiting:
            top = unsafe_add(top, 1)
            bits[top] = p.bit
            olds[top] = p.old
            news[top] = p.new
        p.old = element_old
        p.new = element_new
        waiting = op == 0
        if op != 0:
            top = unsafe_add(top, 1)
            bits[top] = (unsafe_sub(p.op_at, first_op) << 8) | p.hint
            olds[top] = convert(first_op, bytes32)
            news[top] = convert(first_hash, bytes32)
    # a pass that made no progress or ran out of rounds has not ended
    assert p.op_at == p.op_end and top == 0, "BAD_WITNESS: elements not ascending"
    assert p.leaf == p.leaf_end, "BAD_WITNESS: fewer leaf ops than leaves"
    assert p.old == old_root, "BAD_WITNESS: the old root does not match"
    return p.new


# ---------------------------------------------------------------- elements

@view
@internal
def _start(cursor: uint256) -> Progress:
    p: Progress = empty(Progress)
    start: uint256 = cursor & POSITION_MASK
    p.op_at = unsafe_add(start, OPS_AT)
    p.op_end = unsafe_add(p.op_at, (self._word(start) >> 232) & 65535)
    p.hash_at = cursor >> 128
    p.leaf = trie.namespace << trie.TABLE_BITS
    p.leaf_end = unsafe_add(p.leaf, trie.leaf_count() << 6)
    p.ranges = trie.ranges_observed()
    return p


@view
@internal
def _take_leaf(before: Progress) -> (Progress, bytes32, bytes32):
    """@return the pass after the next leaf, and the leaf's hash in the old and in the new state; zero = absent."""
    p: Progress = before
    assert p.leaf < p.leaf_end, "BAD_WITNESS: more leaf ops than leaves"
    key: uint256 = trie.key_of(p.leaf)
    old: bytes32 = empty(bytes32)
    new: bytes32 = empty(bytes32)
    old, new = self._leaf_hashes(p.leaf, key)
    p.bit = self._parting_bit(p.hint, p.last, key)
    p.op_at = unsafe_add(p.op_at, 1)
    p.leaf = unsafe_add(p.leaf, 64)
    p.last = key
    p.hint = 0
    if old != empty(bytes32):
        p.before = key
        p.after = 0
    return p, old, new


@view
@internal
def _take_lefts(before: Progress) -> Progress:
    """
    @notice Takes a run of subtrees on the left of the next existing leaf: their bits rise, and each parts from what
            follows at its own bit. They wait to be folded with what is on their right (`_join_lefts`).
    """
    p: Progress = before
    if p.after == 0:
        p.after = self._existing_from(p.leaf, p.leaf_end)
    p.bit = 0
    ops: uint256 = 0
    for i: uint256 in range(127):
        if i & 31 == 0:
            ops = self._word(p.op_at)
        op: uint256 = ops >> 248
        if op < LEFT or p.op_at == p.op_end:
            break
        ops <<= 8
        mask: uint256 = 1 << unsafe_sub(383, op)
        assert p.after & mask != 0, "BAD_WITNESS: no leaf for a left subtree"
        first: uint256 = p.after & ~unsafe_sub(mask << 1, 1)
        if p.bit == 0:
            p.bit = self._parting_bit(p.hint, p.last, first)
        else:
            assert op > unsafe_add(p.hint, LEFT), "BAD_WITNESS: elements not ascending"
        p.hint = unsafe_sub(op, LEFT)
        p.last = first | unsafe_sub(mask, 1)
        assert convert(slice(msg.data, p.hash_at, 32), bytes32) != empty(bytes32), "BAD_WITNESS: a subtree without hash"
        if p.range_hi < first:
            p.ranges, p.range_lo, p.range_hi = self._range_from(p.ranges, p.range_hi, first)
        assert p.last < p.range_lo, "BAD_WITNESS: a closed subtree meets an observed range"
        p.hash_at = unsafe_add(p.hash_at, 32)
        p.op_at = unsafe_add(p.op_at, 1)
    return p


@view
@internal
def _climb(
    start: Progress, entry: uint256, first_op: bytes32, first_hash: bytes32, below: uint256
) -> (Progress, uint256):
    """
    @notice Folds up the path of the nearest existing leaf: the right subtrees that come next, and between them the left
            subtrees that wait in the top entry (if that is a run), whichever has the greater bit; stops at the bit below.
            A right subtree parts at its own bit from whatever stands between it and the leaf, and nothing that follows
            parts from it further down: it folds at once.
    @return the progress, and what is left of the entry; 0: nothing.
    """
    p: Progress = start
    p.hint = 0
    ops: uint256 = 0
    loaded_to: uint256 = p.op_at
    rest: uint256 = entry >> 8
    left_bit: uint256 = 0
    if rest != 0:
        left_bit = entry & 255
    for _: uint256 in range(254):
        if p.op_at == loaded_to:
            ops = self._word(p.op_at)
            loaded_to = unsafe_add(p.op_at, 32)
        op: uint256 = ops >> 248
        if op <= below or op >= LEFT or p.op_at == p.op_end:  # a leaf's op is 0
            break
        if op <= left_bit:
            rest = unsafe_sub(rest, 1)
            left_at: uint256 = unsafe_add(convert(first_hash, uint256), rest << 5)
            p.old, p.new = self._join_subtree(left_bit, True, convert(slice(msg.data, left_at, 32), bytes32), p.old, p.new)
            left_bit = 0
            if rest != 0:
                left_bit = (self._word(unsafe_sub(unsafe_add(convert(first_op, uint256), rest), 32))) & 127
            continue
        ops <<= 8
        mask: uint256 = 1 << unsafe_sub(255, op)
        assert p.before & mask == 0 and p.before != 0, "BAD_WITNESS: no leaf for a right subtree"
        first: uint256 = (p.before | mask) & ~unsafe_sub(mask, 1)
        # `first` has this bit set: if they part here, it is the greater
        assert (first ^ p.last) >> unsafe_sub(255, op) == 1, "BAD_WITNESS: elements not ascending"
        p.last = first | unsafe_sub(mask, 1)
        if p.range_hi < first:
            p.ranges, p.range_lo, p.range_hi = self._range_from(p.ranges, p.range_hi, first)
        assert p.last < p.range_lo, "BAD_WITNESS: a closed subtree meets an observed range"
        subtree: bytes32 = convert(slice(msg.data, p.hash_at, 32), bytes32)
        assert subtree != empty(bytes32), "BAD_WITNESS: a subtree without hash"
        p.old, p.new = self._join_subtree(op, False, subtree, p.old, p.new)
        p.hash_at = unsafe_add(p.hash_at, 32)
        p.op_at = unsafe_add(p.op_at, 1)
    if entry < 256:
        return p, entry
    if rest == 0:
        return p, 0
    return p, (rest << 8) | left_bit


@pure
@internal
def _parting_bit(hint: uint256, last: uint256, first: uint256) -> uint256:
    """@return the first bit in which the previous element's interval differs from one that begins at `first`."""
    if hint != 0:
        # the subtree before has this bit clear: if they part here, `first` is the greater
        assert (first ^ last) >> unsafe_sub(255, hint) == 1, "BAD_WITNESS: elements not ascending"
        return hint
    assert first > last, "BAD_WITNESS: elements not ascending"
    return unsafe_sub(255, trie._log2(first ^ last))


# ---------------------------------------------------------------- folding

@pure
@internal
def _join(bit: uint256, left_old: bytes32, left_new: bytes32, old: bytes32, new: bytes32) -> (bytes32, bytes32):
    """@return old and new hash of a node; where one side has nothing, the other one's hash passes through."""
    joined: bytes32 = old
    if old == empty(bytes32):
        joined = left_old
    elif left_old != empty(bytes32):
        joined = path.node_hash(bit, left_old, old)
    if old == new and left_old == left_new:
        return joined, joined
    if new == empty(bytes32):
        return joined, left_new
    if left_new == empty(bytes32):
        return joined, new
    return joined, path.node_hash(bit, left_new, new)


@view
@internal
def _join_run(
    lowest_bit: uint256, run: uint256, op_place: bytes32, hash_place: bytes32, right_old: bytes32, right_new: bytes32
) -> (uint256, bytes32, bytes32):
    """
    @notice Folds a waiting run of left subtrees with what is on its right, as far as their bits are above the given one.
    @return what is left of the run (0: nothing), and the hashes.
    """
    old: bytes32 = right_old
    new: bytes32 = right_new
    rest: uint256 = run >> 8
    first_op: uint256 = convert(op_place, uint256)
    first_hash: uint256 = convert(hash_place, uint256)
    bit: uint256 = run & 255
    for _: uint256 in range(127):
        if bit <= lowest_bit:
            return (rest << 8) | bit, old, new
        rest = unsafe_sub(rest, 1)
        subtree: bytes32 = convert(self._word(unsafe_add(first_hash, rest << 5)), bytes32)
        old, new = self._join_subtree(bit, True, subtree, old, new)
        if rest == 0:
            break
        bit = self._word(unsafe_sub(unsafe_add(first_op, rest), 32)) & 127  # the last of these bytes; all are after the selector
    return 0, old, new


@pure
@internal
def _join_subtree(bit: uint256, on_left: bool, subtree: bytes32, old: bytes32, new: bytes32) -> (bytes32, bytes32):
    """@return old and new hash of a node with an opaque subtree (the same in both states) on one side."""
    head: bytes1 = convert(convert(bit, uint8), bytes1)
    joined: bytes32 = subtree
    if old != empty(bytes32):
        if on_left:
            joined = keccak256(concat(head, subtree, old))  # path.node_hash, in place
        else:
            joined = keccak256(concat(head, old, subtree))
    if old == new:
        return joined, joined
    if new == empty(bytes32):
        return joined, subtree
    if on_left:
        return joined, path.node_hash(bit, subtree, new)
    return joined, path.node_hash(bit, new, subtree)


@view
@internal
def _range_from(left: uint256, passed: uint256, first: uint256) -> (uint256, uint256, uint256):
    """@return the ranges beyond, and the ends of the lowest range that ends at or after `first` (beyond all keys: none)."""
    ranges: uint256 = left
    lo: uint256 = 0
    hi: uint256 = passed
    for _: uint256 in range(128):
        if ranges == 0:
            break
        lowest: uint256 = ranges & (~ranges + 1)
        ranges ^= lowest
        end: uint256 = 0
        lo, end = trie.range_of(trie._log2(lowest))
        assert lo >= hi  # ranges rise with their slots: else the rules, not the witness, are wrong
        hi = end
        if hi >= first:
            return ranges, lo, hi
    return 0, max_value(uint256), max_value(uint256)


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
