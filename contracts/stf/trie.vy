# pragma version 0.4.3
"""
@title  The leaf table: claimed leaves of the state trie in transient storage
@author Anchorline contributors
@license Apache-2.0
@notice What node/stf/state.py's ledger is off chain. `witness.load` fills the table with the leaves a fraud proof claims, the
        rules run on it, `witness.verify` then proves old values, absences and ranges, and folds the new root.

        Invariants
        - Every table lives under its own namespace (a counter in transient storage, never reset within one L1
          transaction), so nothing of an earlier call is reachable: cells of a fresh namespace are all zero.
        - Leaves stand strictly ascending by key; index = position. A size of 0 words means absent.
        - Words at or beyond a leaf's size read 0 (`set_size` clears what it cuts off).
        - Touching a leaf that the witness lacks reverts; no answer ever depends on what the witness left out,
          provided the observed ranges (`first_live`, `next_live`) are verified afterwards.

        A `leaf` is a handle: the number of the transient cell where the leaf's record starts, never 0.
        record: +0 size in words, +1 keccak of the old value (0: was absent), +2 key, +4 .. +43 words
        table:  256 records of 64 cells, then the cells named below.
        Keys are 16 significant bytes, left-aligned, with the highest bit clear (all kinds of leaves are, see contracts/README.md).
"""

MAX_LEAVES: constant(uint256) = 255
MAX_WORDS: constant(uint256) = 40
MAX_RANGES: constant(uint256) = 128

LEAF_BITS: constant(uint256) = 6  # 64 cells a record
TABLE_BITS: constant(uint256) = 15  # 32,768 cells a table
TABLE_MASK: constant(uint256) = 2**15 - 1
OLD_HASH: constant(uint256) = 1
KEY: constant(uint256) = 2
WORDS: constant(uint256) = 4
COUNT_CELL: constant(uint256) = 2**14  # leaves loaded
LIVE_CELL: constant(uint256) = 2**14 + 1  # bit i: leaf i exists now
TOUCHED_CELL: constant(uint256) = 2**14 + 2  # bit i: the rules have touched leaf i
RANGES_CELL: constant(uint256) = 2**14 + 3  # bit s: slot s was observed
RANGE_CELLS: constant(uint256) = 2**14 + 64  # 4 cells a slot: bounds (set:1 | first:8 | end:8), lo, reach (greatest key observed), unused

# masks for counting bits: fields of 2, 4, 8 and 16 bits, and the multiplier that sums sixteen 16-bit fields
ONES_1: constant(uint256) = max_value(uint256) // 3
ONES_2: constant(uint256) = max_value(uint256) // 5
ONES_4: constant(uint256) = max_value(uint256) // 17
ONES_8: constant(uint256) = max_value(uint256) // 257
SUM_16: constant(uint256) = max_value(uint256) // 65535

namespace: transient(uint256)
index: transient(HashMap[uint256, uint256])  # key | namespace -> handle
cells: transient(uint256[2**63])


# ---------------------------------------------------------------- filling (used by witness.vy only)

@internal
def open_table() -> uint256:
    """
    @notice Starts an empty table; everything loaded before becomes unreachable.
    @return the handle of the first record; the next ones follow 64 cells apart.
    """
    self.namespace = unsafe_add(self.namespace, 1)  # 2^48 calls do not fit into a transaction
    return self.namespace << TABLE_BITS


@internal
def add_leaf(leaf: uint256, key: uint256, size: uint256, old_hash: bytes32):
    """
    @notice Writes a claimed leaf's record, all but its words (cells leaf + WORDS ..).
    @dev witness.load has checked key (space and order), size and count, and calls close_table in the end.
    """
    self.cells[unsafe_add(leaf, KEY)] = key
    self.index[key | self.namespace] = leaf
    if size != 0:
        self.cells[leaf] = size
        self.cells[unsafe_add(leaf, OLD_HASH)] = convert(old_hash, uint256)


@internal
def close_table(count: uint256, live: uint256):
    """@param live bit i set: leaf i exists."""
    base: uint256 = self.namespace << TABLE_BITS
    self.cells[unsafe_add(base, COUNT_CELL)] = count
    self.cells[unsafe_add(base, LIVE_CELL)] = live


# ---------------------------------------------------------------- what the rules use (through state.vy)

@internal
def index_of(key: uint256) -> uint256:
    """
    @notice The handle of a key that is or may be in the trie (ask `exists`); marks it touched.
    @dev Reverts when the witness lacks it.
    """
    return self.touch(key)[0]


@internal
def touch(key: uint256) -> (uint256, bool):
    """@notice Like `index_of`; also tells whether this was the first touch since the table was opened."""
    leaf: uint256 = self.index[key | self.namespace]
    assert leaf != 0, "BAD_WITNESS: a leaf that execution touches is missing"
    return leaf, self._touch(leaf)


@view
@internal
def key_of(leaf: uint256) -> uint256:
    return self.cells[unsafe_add(leaf, KEY)]


@view
@internal
def exists(leaf: uint256) -> bool:
    return self.cells[leaf] != 0


@view
@internal
def get_size(leaf: uint256) -> uint256:
    """@return words the leaf has now; 0 = absent."""
    return self.cells[leaf]


@view
@internal
def get_word(leaf: uint256, word: uint256) -> uint256:
    """@return the word, 0 at or beyond the leaf's size. word < 40."""
    assert word < MAX_WORDS
    return self.cells[unsafe_add(leaf, unsafe_add(word, WORDS))]


@internal
def set_three(leaf: uint256, word: uint256, content: uint256[3]):
    """@dev Like `set_word`, for three words in a row."""
    assert unsafe_add(word, 2) < self.cells[leaf]
    cell: uint256 = unsafe_add(leaf, unsafe_add(word, WORDS))
    self.cells[cell] = content[0]
    self.cells[unsafe_add(cell, 1)] = content[1]
    self.cells[unsafe_add(cell, 2)] = content[2]


@internal
def set_word(leaf: uint256, word: uint256, content: uint256):
    """@dev word must be below the leaf's size: grow with `set_size` first. A word beyond it is a bug in the rules."""
    assert word < self.cells[leaf]
    self.cells[unsafe_add(leaf, unsafe_add(word, WORDS))] = content


@internal
def set_size(leaf: uint256, size: uint256):
    """@notice Grows with zero words, cuts off, creates (from 0) or deletes (to 0)."""
    assert size <= MAX_WORDS
    old_size: uint256 = self.cells[leaf]
    if size == old_size:
        return
    for word: uint256 in range(size, max(size, old_size), bound=40):
        self.cells[unsafe_add(leaf, unsafe_add(word, WORDS))] = 0
    self.cells[leaf] = size
    if size == 0 or old_size == 0:
        # the bit is set exactly when the leaf lived before: flip it
        self.cells[unsafe_add(leaf & ~TABLE_MASK, LIVE_CELL)] ^= 1 << ((leaf & TABLE_MASK) >> LEAF_BITS)


@internal
def first_live(slot: uint256, lo: uint256, hi: uint256) -> uint256:
    """
    @notice The live leaf with the least key in [lo, hi], 0 if there is none. Touches it and notes the observed range:
            [lo, its key], or [lo, hi] if there is none.
    @param slot 0..127, one per range (market * 4 + side); lo and hi must be functions of slot, and lo must rise with slot.
    """
    return self._live_from(slot, lo, hi, 0)[0]


@internal
def observe_first(slot: uint256, lo: uint256, hi: uint256) -> (uint256, bool, bool):
    """@notice Like `first_live`; also tells whether this was the slot's first look, and the leaf's first touch."""
    first_look: bool = (self.ranges_observed() >> slot) & 1 == 0
    leaf: uint256 = 0
    first_touch: bool = False
    leaf, first_touch = self._live_from(slot, lo, hi, 0)
    return leaf, first_look, first_touch


@internal
def observe_next(slot: uint256, lo: uint256, hi: uint256, leaf: uint256) -> (uint256, bool):
    """@notice Like `next_live`; also tells whether this was the leaf's first touch."""
    return self._live_from(slot, lo, hi, unsafe_add((leaf & TABLE_MASK) >> LEAF_BITS, 1))


@internal
def next_live(slot: uint256, lo: uint256, hi: uint256, leaf: uint256) -> uint256:
    """@notice Like `first_live`, but the least key greater than the one of `leaf` (which must be in [lo, hi])."""
    return self._live_from(slot, lo, hi, unsafe_add((leaf & TABLE_MASK) >> LEAF_BITS, 1))[0]


@view
@internal
def touched_count() -> uint256:
    """@return distinct leaves touched since the table was opened (by index_of, first_live, next_live), live or not."""
    bits: uint256 = self.cells[unsafe_add(self.namespace << TABLE_BITS, TOUCHED_CELL)]
    # population count by halves: no term can exceed its field
    bits = unsafe_sub(bits, (bits >> 1) & ONES_1)
    bits = unsafe_add(bits & ONES_2, (bits >> 2) & ONES_2)
    bits = unsafe_add(bits, bits >> 4) & ONES_4
    bits = unsafe_add(bits & ONES_8, (bits >> 8) & ONES_8)
    return unsafe_mul(bits, SUM_16) >> 240


# ---------------------------------------------------------------- for witness.verify only

@view
@internal
def leaf_count() -> uint256:
    return self.cells[unsafe_add(self.namespace << TABLE_BITS, COUNT_CELL)]


@view
@internal
def old_hash(leaf: uint256) -> bytes32:
    """@return keccak of the value at loading; zero = was absent."""
    return convert(self.cells[unsafe_add(leaf, OLD_HASH)], bytes32)


@view
@internal
def new_hash(leaf: uint256) -> bytes32:
    """@return keccak of the value now; zero = absent."""
    size: uint256 = self.cells[leaf]
    if size == 0:
        return empty(bytes32)
    words: uint256[40] = empty(uint256[40])
    first: uint256 = unsafe_add(leaf, WORDS)
    for i: uint256 in range(size, bound=40):
        words[i] = self.cells[unsafe_add(first, i)]
    return keccak256(slice(abi_encode(words), 0, size << 5))


@view
@internal
def ranges_observed() -> uint256:
    """@return bit s set: slot s was observed (`range_of`)."""
    return self.cells[unsafe_add(self.namespace << TABLE_BITS, RANGES_CELL)]


@view
@internal
def range_of(slot: uint256) -> (uint256, uint256):
    """@return first and last key of an observed range."""
    cell: uint256 = unsafe_add(self.namespace << TABLE_BITS, unsafe_add(RANGE_CELLS, slot << 2))
    return self.cells[unsafe_add(cell, 1)], self.cells[unsafe_add(cell, 2)]


# ---------------------------------------------------------------- parts

@internal
def _touch(leaf: uint256) -> bool:
    """@return whether the leaf had not been touched."""
    cell: uint256 = unsafe_add(leaf & ~TABLE_MASK, TOUCHED_CELL)
    bit: uint256 = 1 << ((leaf & TABLE_MASK) >> LEAF_BITS)
    touched: uint256 = self.cells[cell]
    if touched & bit != 0:
        return False
    self.cells[cell] = touched | bit
    return True


@internal
def _live_from(slot: uint256, lo: uint256, hi: uint256, start: uint256) -> (uint256, bool):
    """@return the leaf (0: none), and whether it had not been touched."""
    assert slot < MAX_RANGES
    base: uint256 = self.namespace << TABLE_BITS
    range_cell: uint256 = unsafe_add(base, unsafe_add(RANGE_CELLS, slot << 2))
    bounds: uint256 = self.cells[range_cell]
    if bounds == 0:
        bounds = (1 << 16) | (self._lower_bound(base, lo) << 8) | self._lower_bound(base, unsafe_add(hi, 1))
        self.cells[range_cell] = bounds
        self.cells[unsafe_add(range_cell, 1)] = lo
        self.cells[unsafe_add(base, RANGES_CELL)] |= 1 << slot
    first: uint256 = max(start, (bounds >> 8) & 255)
    end: uint256 = bounds & 255
    found: uint256 = 0
    reach: uint256 = hi
    first_touch: bool = False
    if first < end:
        above: uint256 = 1 << unsafe_sub(end, first)
        live: uint256 = (self.cells[unsafe_add(base, LIVE_CELL)] >> first) & (above - 1)
        if live != 0:
            # live & -live is the lowest set bit
            step: uint256 = self._log2(live & (~live + 1))
            found = unsafe_add(base, unsafe_add(first, step) << LEAF_BITS)
            reach = self.cells[unsafe_add(found, KEY)]
            first_touch = self._touch(found)
    if reach > self.cells[unsafe_add(range_cell, 2)]:
        self.cells[unsafe_add(range_cell, 2)] = reach
    return found, first_touch


@view
@internal
def _lower_bound(base: uint256, key: uint256) -> uint256:
    """@return index of the first leaf whose key is >= key; the leaf count if none."""
    low: uint256 = 0
    high: uint256 = self.cells[unsafe_add(base, COUNT_CELL)]
    for _: uint256 in range(8):  # 2^8 > 255
        if low >= high:
            break
        middle: uint256 = unsafe_add(low, high) >> 1
        if self.cells[unsafe_add(base, unsafe_add(middle << LEAF_BITS, KEY))] < key:
            low = unsafe_add(middle, 1)
        else:
            high = middle
    return low


@pure
@internal
def _log2(number: uint256) -> uint256:
    """@return position of the highest set bit (number > 0)."""
    rest: uint256 = number
    result: uint256 = 0
    if rest >= 2**128:
        rest >>= 128
        result = 128
    if rest >= 2**64:
        rest >>= 64
        result = unsafe_add(result, 64)
    if rest >= 2**32:
        rest >>= 32
        result = unsafe_add(result, 32)
    if rest >= 2**16:
        rest >>= 16
        result = unsafe_add(result, 16)
    if rest >= 2**8:
        rest >>= 8
        result = unsafe_add(result, 8)
    if rest >= 2**4:
        rest >>= 4
        result = unsafe_add(result, 4)
    if rest >= 2**2:
        rest >>= 2
        result = unsafe_add(result, 2)
    if rest >= 2:
        result = unsafe_add(result, 1)
    return result
