# pragma version 0.4.3
"""
@title  The only way to state: get_, set_ and add_ functions over the leaves of the trie
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/state.py, where the layouts of all leaves are written down. Leaves live in the leaf table
        (trie.vy); the fields of the global leaf and the chunk's books (work, leaves, proof bytes) live in transient
        variables from `begin_chunk` to `end_chunk`. Work and proof are spent exactly as there: a leaf's first touch in a
        chunk costs WORK_LEAF and the same proof bytes.

        Leaves that were found are remembered, and the hottest readers take cells of the leaf table without a call: margin
        checks are most of a chunk's gas.
"""

from stf import layout
from stf import params
from stf import trie
from stf import types

uses: trie

M64: constant(uint256) = 2**64 - 1
M48: constant(uint256) = 2**48 - 1
M32: constant(uint256) = 2**32 - 1
M24: constant(uint256) = 2**24 - 1
M16: constant(uint256) = 2**16 - 1
BOOK_LAST: constant(uint256) = 2**224 - 1  # a book's greatest key has these bits set

# the global leaf, in fields
time: transient(uint256)
block_number: transient(uint256)
position: transient(uint256)
cursor: transient(uint256)
next_account: transient(uint256)
next_withdrawal: transient(uint256)
last_anchor: transient(uint256)
sqrt_tau: transient(uint256)
accounts_total: transient(int256)
insurance_total: transient(int256)
fees: transient(uint256)
deposits: transient(uint256)
withdrawn: transient(uint256)
losses_total: transient(int256)
outflow: transient(uint256)
outflow_at: transient(uint256)
outflow_limit: transient(uint256)
resting: transient(uint256)
chain_word: transient(uint256)  # parameters of the chain and its level, as in the leaf
# the chunk's books
work: transient(uint256)
proof: transient(uint256)
leaves: transient(uint256)
transactions: transient(uint256)
# leaves that have been touched; the last one of a kind: id + 1 above bit 128, what was returned for it below
last_account: transient(uint256)
last_market: transient(uint256)
board_leaves: transient(uint256[4])  # by group; 0 = not touched yet


# --- the chunk's books ------------------------------------------------------------------------------------------------

@internal
def begin_chunk():
    """@notice Starts the books of a chunk on a freshly loaded leaf table, and reads the global leaf."""
    self.work = 0
    self.proof = 0
    self.leaves = 0
    self.transactions = 0
    self.last_account = 0
    self.last_market = 0
    self.board_leaves = empty(uint256[4])
    leaf: uint256 = trie.index_of(layout.GLOBAL_KEY)
    assert trie.exists(leaf), "BAD_WITNESS: the global leaf is claimed absent"
    self._touch(params.PROOF_DENSE + params.GLOBAL_WORDS * params.PROOF_WORD)
    word: uint256 = trie.get_word(leaf, 0)
    self.time = word >> 192
    self.block_number = (word >> 128) & M64
    self.position = (word >> 64) & M64
    self.cursor = word & M64
    word = trie.get_word(leaf, 1)
    self.next_account = word >> 192
    self.next_withdrawal = (word >> 128) & M64
    self.last_anchor = (word >> 64) & M64
    self.sqrt_tau = word & M64
    word = trie.get_word(leaf, 2)
    self.accounts_total = layout.signed128(word, 128)
    self.insurance_total = layout.signed128(word, 0)
    word = trie.get_word(leaf, 3)
    self.fees = word >> 192
    self.deposits = (word >> 128) & M64
    self.withdrawn = (word >> 64) & M64
    self.outflow = word & M64
    word = trie.get_word(leaf, 4)
    self.losses_total = layout.signed128(word, 128)
    self.outflow_at = (word >> 64) & M64
    self.outflow_limit = word & M64
    word = trie.get_word(leaf, 5)
    self.resting = word >> 208
    self.chain_word = word & (2**208 - 1)


@internal
def end_chunk():
    """@notice Writes the global leaf back. To be called once, after the rules and before the witness is verified."""
    leaf: uint256 = trie.index_of(layout.GLOBAL_KEY)
    trie.set_word(leaf, 0, self.time << 192 | self.block_number << 128 | self.position << 64 | self.cursor)
    trie.set_word(leaf, 1, self.next_account << 192 | self.next_withdrawal << 128 | self.last_anchor << 64 | self.sqrt_tau)
    trie.set_word(leaf, 2, layout.bits(self.accounts_total) << 128 | layout.bits(self.insurance_total) & (2**128 - 1))
    trie.set_word(leaf, 3, self.fees << 192 | self.deposits << 128 | self.withdrawn << 64 | self.outflow)
    trie.set_word(leaf, 4, layout.bits(self.losses_total) << 128 | self.outflow_at << 64 | self.outflow_limit)
    trie.set_word(leaf, 5, self.resting << 208 | self.chain_word)


@internal
def spend_work(units: uint256):
    self.work += units


@internal
def spend_proof(units: uint256):
    self.proof += units


@view
@internal
def get_work() -> uint256:
    return self.work


@view
@internal
def get_proof() -> uint256:
    return self.proof


@view
@internal
def get_leaves() -> uint256:
    return self.leaves


@view
@internal
def get_transactions() -> uint256:
    """@return transactions executed in this chunk."""
    return self.transactions


@internal
def set_transactions(count: uint256):
    self.transactions = count


@internal
def _touch(proof: uint256):
    """@notice Spends what a leaf's first touch costs."""
    # a chunk's sums are bounded by its limits, far below 2^256
    self.work = unsafe_add(self.work, params.WORK_LEAF)
    self.proof = unsafe_add(self.proof, proof)
    self.leaves = unsafe_add(self.leaves, 1)


# --- globals ----------------------------------------------------------------------------------------------------------

@view
@internal
def get_time() -> uint256:
    return self.time


@internal
def set_time(time: uint256):
    self.time = time


@view
@internal
def get_block_number() -> uint256:
    return self.block_number


@internal
def set_block_number(number: uint256):
    self.block_number = number


@view
@internal
def get_position_number() -> uint256:
    """@return transactions executed since genesis."""
    return self.position


@internal
def set_position_number(position: uint256):
    self.position = position


@view
@internal
def get_cursor() -> uint256:
    """@return inbox messages consumed since genesis."""
    return self.cursor


@internal
def set_cursor(cursor: uint256):
    self.cursor = cursor


@view
@internal
def get_next_account() -> uint256:
    return self.next_account


@view
@internal
def get_last_anchor() -> uint256:
    """@return L2 time covered by the last noticed anchor, ms; 0 = none yet."""
    return self.last_anchor


@internal
def set_last_anchor(time: uint256):
    self.last_anchor = time


@view
@internal
def get_sqrt_tau() -> uint256:
    """@return square root of the un-anchored time, of ms * 1000."""
    return self.sqrt_tau


@internal
def set_sqrt_tau(root: uint256):
    self.sqrt_tau = root


@view
@internal
def get_level() -> uint256:
    """@return what the chain's lag behind L1 allows: LEVEL_*."""
    return (self.chain_word >> 104) & 255


@internal
def set_level(level: uint256):
    self.chain_word = self.chain_word & ~convert(255 << 104, uint256) | level << 104


@view
@internal
def get_chain() -> types.Chain:
    """@return parameters of the whole chain."""
    word: uint256 = self.chain_word
    return types.Chain(
        anchor_interval=(word >> 176) & M32,
        tau_reduce=(word >> 144) & M32,
        tau_halt=(word >> 112) & M32,
        buffer_ms=(word >> 72) & M32,
        refill=(word >> 56) & M16,
        horizon_root=(word >> 24) & M32,
        closeout=word & M24,
    )


@internal
def set_chain(rules: types.Chain):
    word: uint256 = self.chain_word & convert(255 << 104, uint256)
    word |= rules.anchor_interval << 176 | rules.tau_reduce << 144 | rules.tau_halt << 112 | rules.buffer_ms << 72
    self.chain_word = word | rules.refill << 56 | rules.horizon_root << 24 | rules.closeout


@view
@internal
def get_outflow() -> (uint256, uint256):
    """@return micro-USD withdrawn that the limit still counts, as of a time, ms."""
    return self.outflow, self.outflow_at


@internal
def set_outflow(amount: uint256, at: uint256):
    self.outflow = amount
    self.outflow_at = at


@view
@internal
def get_outflow_limit() -> uint256:
    """@return micro-USD per OUTFLOW_WINDOW_MS; 0 = no limit."""
    return self.outflow_limit


@internal
def set_outflow_limit(limit: uint256):
    self.outflow_limit = limit


@view
@internal
def get_fees() -> uint256:
    """@return fees held, micro-USD; REST_FEE of every resting order among them may have to be given back."""
    return self.fees


@view
@internal
def get_resting() -> uint256:
    """@return resting orders of all accounts, dead ones and triggers included."""
    return self.resting


@internal
def add_fees(amount: int256):
    """@param amount micro-USD, signed: refunds take back what was added before, so the sum stays >= 0."""
    self.fees = convert(convert(self.fees, int256) + amount, uint256)


@internal
def add_deposits(amount: uint256):
    self.deposits += amount


# --- accounts ---------------------------------------------------------------------------------------------------------

@view
@internal
def account_exists(account: uint256) -> bool:
    """@notice Ids are dense, so the counter decides and no absence needs proving."""
    return 0 < account and account < self.next_account


@internal
def open_account(owner: uint256) -> uint256:
    """@notice Creates the next account with its owner key. @return its id."""
    account: uint256 = self.next_account
    self.next_account = unsafe_add(account, 1)
    leaf: uint256 = trie.index_of(layout.account_key(account))
    assert not trie.exists(leaf)
    self._touch(params.PROOF_DENSE)
    trie.set_size(leaf, params.ACCOUNT_WORDS + params.KEY_WORDS)
    trie.set_word(leaf, 0, 1 << 16)
    trie.set_word(leaf, 1, owner << 48)
    return account


@internal
def _account(account: uint256) -> uint256:
    """@return the account's leaf in the lowest 64 bits, the word of its first position slot above."""
    last: uint256 = self.last_account
    if last >> 128 == unsafe_add(account, 1):
        return last & (2**128 - 1)
    leaf: uint256 = 0
    first: bool = False
    leaf, first = trie.touch(layout.account_key(account))
    if first:
        self._touch(params.PROOF_DENSE + params.PROOF_WORD * trie.get_size(leaf))
    found: uint256 = self._position_at(trie.get_word(leaf, 0), 0) << 64 | leaf
    self.last_account = unsafe_add(account, 1) << 128 | found
    return found


@pure
@internal
def _position_at(head: uint256, index: uint256) -> uint256:
    """@return the first word of a position slot in an account with this head word."""
    # small numbers: at most 4 keys, and the leaf table checks what comes out
    words: uint256 = unsafe_add(params.ACCOUNT_WORDS, unsafe_mul(params.KEY_WORDS, (head >> 16) & 255))
    return unsafe_add(words, unsafe_mul(params.POSITION_WORDS, index))


@internal
def get_collateral(account: uint256) -> int256:
    """@return micro-USD, signed."""
    return layout.signed(trie.get_word(self._account(account) & M64, 0), 168)


@internal
def add_collateral(account: uint256, amount: int256):
    """@param amount micro-USD, signed."""
    leaf: uint256 = self._account(account) & M64
    head: uint256 = trie.get_word(leaf, 0)
    collateral: int256 = layout.signed(head, 168) + amount
    trie.set_word(leaf, 0, head & ~(M64 << 168) | (layout.bits(collateral) & M64) << 168)
    self.accounts_total += amount


@internal
def get_open_orders(account: uint256) -> uint256:
    return (trie.get_word(self._account(account) & M64, 0) >> 24) & M16


@internal
def add_open_orders(account: uint256, count: int256):
    leaf: uint256 = self._account(account) & M64
    head: uint256 = trie.get_word(leaf, 0)
    orders: uint256 = convert(convert((head >> 24) & M16, int256) + count, uint256)
    trie.set_word(leaf, 0, head & ~(M16 << 24) | orders << 24)
    self.resting = convert(convert(self.resting, int256) + count, uint256)


@internal
def get_account_flags(account: uint256) -> uint256:
    """@return FLAG_* of an account."""
    return trie.get_word(self._account(account) & M64, 0) & 255


@internal
def set_account_flags(account: uint256, flags: uint256):
    self._set_head(account, 0, 255, flags)


@internal
def get_cancel_at(account: uint256) -> uint256:
    """@return when the dead man's switch kills the account's orders, ms; 0 = off."""
    return (trie.get_word(self._account(account) & M64, 0) >> 120) & M48


@internal
def set_cancel_at(account: uint256, time: uint256):
    self._set_head(account, 120, M48, time)


@internal
def get_buffer(account: uint256) -> (uint256, uint256):
    """@return latency buffer used up, ms, and when it was last counted."""
    head: uint256 = trie.get_word(self._account(account) & M64, 0)
    return (head >> 88) & M32, (head >> 40) & M48


@internal
def set_buffer(account: uint256, used: uint256, at: uint256):
    self._set_head(account, 40, 2**80 - 1, used << 48 | at)


@internal
def _set_head(account: uint256, at: uint256, mask: uint256, content: uint256):
    """@notice Writes the field of an account's first word that starts at bit `at`."""
    leaf: uint256 = self._account(account) & M64
    trie.set_word(leaf, 0, trie.get_word(leaf, 0) & ~(mask << at) | content << at)


@internal
def get_key_count(account: uint256) -> uint256:
    return (trie.get_word(self._account(account) & M64, 0) >> 16) & 255


@internal
def get_key(account: uint256, slot: uint256) -> types.Key:
    """@return the key slot, or an empty one where none is set."""
    leaf: uint256 = self._account(account) & M64
    if slot >= (trie.get_word(leaf, 0) >> 16) & 255:
        return empty(types.Key)
    at: uint256 = params.ACCOUNT_WORDS + params.KEY_WORDS * slot
    first: uint256 = trie.get_word(leaf, at)
    second: uint256 = trie.get_word(leaf, unsafe_add(at, 1))
    return types.Key(address=first >> 48, expiry=first & M48, nonce_high=second >> 64, nonce_map=second & M64)


@internal
def set_key(account: uint256, slot: uint256, key: types.Key):
    """@notice Writes a slot; slots between the last used one and this become empty ones."""
    leaf: uint256 = self._account(account) & M64
    head: uint256 = trie.get_word(leaf, 0)
    if slot >= (head >> 16) & 255:
        self._grow_keys(leaf, head, unsafe_add(slot, 1))
    at: uint256 = params.ACCOUNT_WORDS + params.KEY_WORDS * slot
    trie.set_word(leaf, at, key.address << 48 | key.expiry)
    trie.set_word(leaf, unsafe_add(at, 1), key.nonce_high << 64 | key.nonce_map)


@internal
def _grow_keys(leaf: uint256, head: uint256, keys: uint256):
    """@notice Makes room for `keys` key slots, the new ones empty; positions move up."""
    old_at: uint256 = self._position_at(head, 0)
    new_head: uint256 = head & ~convert(255 << 16, uint256) | keys << 16
    new_at: uint256 = self._position_at(new_head, 0)
    words: uint256 = params.POSITION_WORDS * ((head >> 8) & 255)
    trie.set_size(leaf, new_at + words)
    for i: uint256 in range(words, bound=params.POSITION_WORDS * params.POSITIONS_MAX):
        word: uint256 = unsafe_sub(unsafe_sub(words, i), 1)
        trie.set_word(leaf, new_at + word, trie.get_word(leaf, old_at + word))
    for at: uint256 in range(old_at, new_at, bound=params.KEY_WORDS * params.KEYS_MAX):
        trie.set_word(leaf, at, 0)
    trie.set_word(leaf, 0, new_head)
    self.last_account = 0  # its positions have moved


@internal
def get_position_count(account: uint256) -> uint256:
    return (trie.get_word(self._account(account) & M64, 0) >> 8) & 255


@internal
def find_position(account: uint256, market: uint256) -> uint256:
    """@return index of the account's position slot in a market, or NO_INDEX."""
    found: uint256 = self._account(account)
    cell: uint256 = unsafe_add(found & M64, trie.WORDS)
    count: uint256 = (trie.cells[cell] >> 8) & 255
    cell = unsafe_add(cell, unsafe_add(2, found >> 64))  # third word of the first slot
    for index: uint256 in range(count, bound=params.POSITIONS_MAX):
        if (trie.cells[cell] >> 16) & M16 == market:
            return index
        cell = unsafe_add(cell, params.POSITION_WORDS)
    return types.NO_INDEX


@internal
def get_position(account: uint256, index: uint256) -> types.Position:
    found: uint256 = self._account(account)
    cell: uint256 = unsafe_add(unsafe_add(found & M64, found >> 64), unsafe_add(trie.WORDS, unsafe_mul(params.POSITION_WORDS, index)))
    first: uint256 = trie.cells[cell]
    second: uint256 = trie.cells[unsafe_add(cell, 1)]
    third: uint256 = trie.cells[unsafe_add(cell, 2)]
    return types.Position(
        size=convert(convert(first, bytes32), int256) >> 192,
        cost=convert(convert(first << 64, bytes32), int256) >> 192,
        funding=convert(convert(first << 128, bytes32), int256) >> 192,
        loss=convert(convert(first << 192, bytes32), int256) >> 192,
        buy_lots=second >> 192,
        sell_lots=(second >> 128) & M64,
        buy_notional=(second >> 64) & M64,
        sell_notional=second & M64,
        min_seq=(third >> 160) & M64,
        market=(third >> 16) & M16,
        open_orders=third & M16,
        reduce_lots=(third >> 32) & M64,
        reduce_min_seq=(third >> 96) & M64,
    )


@internal
def set_position(account: uint256, index: uint256, position: types.Position):
    """@notice Writes a position. Totals follow what it holds; lots that an account takes or leaves go by `add_side_lots`."""
    leaf: uint256 = self._account(account) & M64
    at: uint256 = self._position_at(trie.get_word(leaf, 0), index)
    first: uint256 = trie.get_word(leaf, at)
    # fields of 64 bits: products stay inside 126 bits
    booked: int256 = unsafe_sub(unsafe_mul(layout.signed(first, 192), layout.signed(first, 64)), layout.signed(first, 128))
    self.accounts_total += position.size * position.funding - position.cost - booked
    booked = unsafe_mul(abs(layout.signed(first, 192)), layout.signed(first, 0))
    self.losses_total -= abs(position.size) * position.loss - booked
    trie.set_three(leaf, at, [
        layout.bits(position.size) << 192 | (layout.bits(position.cost) & M64) << 128 | (layout.bits(position.funding) & M64) << 64 | layout.bits(position.loss) & M64,
        position.buy_lots << 192 | position.sell_lots << 128 | position.buy_notional << 64 | position.sell_notional,
        position.min_seq << 160 | position.reduce_min_seq << 96 | position.reduce_lots << 32 | position.market << 16 | position.open_orders,
    ])


@internal
def add_position(account: uint256, position: types.Position) -> uint256:
    """@notice Appends a position slot. @return its index."""
    leaf: uint256 = self._account(account) & M64
    head: uint256 = trie.get_word(leaf, 0)
    index: uint256 = (head >> 8) & 255
    trie.set_size(leaf, trie.get_size(leaf) + params.POSITION_WORDS)
    trie.set_word(leaf, 0, head + 256)
    self.set_position(account, index, position)
    return index


@internal
def remove_position(account: uint256, index: uint256):
    """@notice Frees an empty slot; the last one moves into its place."""
    leaf: uint256 = self._account(account) & M64
    head: uint256 = trie.get_word(leaf, 0)
    at: uint256 = self._position_at(head, index)
    first: uint256 = trie.get_word(leaf, at)
    # only empty ones are removed
    assert layout.signed(first, 192) * layout.signed(first, 64) == layout.signed(first, 128)
    assert layout.signed(first, 192) * layout.signed(first, 0) == 0
    last: uint256 = self._position_at(head, (head >> 8) & 255) - params.POSITION_WORDS
    if at != last:
        for word: uint256 in range(params.POSITION_WORDS):
            trie.set_word(leaf, at + word, trie.get_word(leaf, last + word))
    trie.set_size(leaf, last)
    trie.set_word(leaf, 0, head - 256)


# --- markets ----------------------------------------------------------------------------------------------------------

@internal
def _market(market: uint256) -> uint256:
    """@return the market's leaf; only for markets that exist (their board entry has a status)."""
    last: uint256 = self.last_market
    if last >> 128 == unsafe_add(market, 1):
        return last & (2**128 - 1)
    leaf: uint256 = 0
    first: bool = False
    leaf, first = trie.touch(layout.market_key(market))
    if first:
        self._touch(params.PROOF_DENSE + params.PROOF_WORD * trie.get_size(leaf))
    self.last_market = unsafe_add(market, 1) << 128 | leaf
    return leaf


@internal
def create_market(market: uint256):
    """@notice Creates a market's leaf; the caller sets its board entry and configuration."""
    leaf: uint256 = trie.index_of(layout.market_key(market))
    assert not trie.exists(leaf)
    self._touch(params.PROOF_DENSE)
    trie.set_size(leaf, params.MARKET_WORDS)
    trie.set_word(leaf, 0, 1 << 192)  # sequences start at 1


@internal
def get_market(market: uint256) -> types.Market:
    leaf: uint256 = self._market(market)
    caps: uint256 = trie.get_word(leaf, 0)
    rates: uint256 = trie.get_word(leaf, 3)
    limits: uint256 = trie.get_word(leaf, 6)
    return types.Market(
        oi_cap=(caps >> 64) & M64,
        min_notional=caps & M64,
        taker_fee=(rates >> 216) & M24,
        maker_fee=(rates >> 192) & M24,
        penalty=(rates >> 168) & M24,
        band=(rates >> 144) & M24,
        quorum=(rates >> 112) & 255,
        near_band=(rates >> 120) & M24,
        z=(rates >> 88) & M16,
        sigma_floor=(rates >> 56) & M32,
        vol_sample_ms=(rates >> 24) & M32,
        vol_window=(limits >> 104) & M32,
        reduce_cap=rates & M24,
        basis_cap=(limits >> 192) & M24,
        spread_max=(limits >> 168) & M24,
        basis_window=(limits >> 136) & M32,
        jump_limit=(limits >> 80) & M24,
        jump_hold=(limits >> 48) & M32,
        expiry=limits & M48,
    )


@internal
def set_market(market: uint256, config: types.Market):
    leaf: uint256 = self._market(market)
    trie.set_word(leaf, 0, trie.get_word(leaf, 0) >> 128 << 128 | config.oi_cap << 64 | config.min_notional)
    word: uint256 = trie.get_word(leaf, 3) & convert(255 << 104, uint256)  # the number of publishers stays
    word |= config.taker_fee << 216 | config.maker_fee << 192 | config.penalty << 168 | config.band << 144
    word |= config.near_band << 120 | config.quorum << 112 | config.z << 88 | config.sigma_floor << 56
    trie.set_word(leaf, 3, word | config.vol_sample_ms << 24 | config.reduce_cap)
    word = config.basis_cap << 192 | config.spread_max << 168 | config.basis_window << 136 | config.vol_window << 104
    trie.set_word(leaf, 6, word | config.jump_limit << 80 | config.jump_hold << 48 | config.expiry)


@internal
def get_next_seq(market: uint256) -> uint256:
    return trie.get_word(self._market(market), 0) >> 192


@internal
def take_seq(market: uint256) -> uint256:
    """@return the next order sequence of a market, used up."""
    leaf: uint256 = self._market(market)
    word: uint256 = trie.get_word(leaf, 0)
    trie.set_word(leaf, 0, word + (1 << 192))
    return word >> 192


@internal
def get_open_interest(market: uint256) -> uint256:
    return (trie.get_word(self._market(market), 0) >> 128) & M64


@internal
def add_open_interest(market: uint256, lots: int256):
    leaf: uint256 = self._market(market)
    word: uint256 = trie.get_word(leaf, 0)
    interest: uint256 = convert(convert((word >> 128) & M64, int256) + lots, uint256)
    trie.set_word(leaf, 0, word & ~(M64 << 128) | interest << 128)


@internal
def add_side_lots(market: uint256, longs: int256, shorts: int256):
    """@notice Lots that accounts hold on each side changed, by signed numbers: they carry the side's loss index from now on."""
    if longs == 0 and shorts == 0:
        return
    board: types.Board = self.get_board(market)
    self.losses_total += longs * board.loss_long + shorts * board.loss_short


@internal
def add_loss(market: uint256, side: uint256, lots: int256, per_lot: int256):
    """
    @notice Charges `per_lot` micro-USD to each of the `lots` that accounts hold on a side (BUY: the long one).
    @dev Writes the board: one that the caller got before is out of date.
    """
    board: types.Board = self.get_board(market)
    if side == types.BUY:
        board.loss_long += per_lot
    else:
        board.loss_short += per_lot
    self.set_board(market, board)
    self.losses_total += lots * per_lot


@internal
def get_insurance(market: uint256) -> types.Insurance:
    word: uint256 = trie.get_word(self._market(market), 1)
    return types.Insurance(
        cash=layout.signed(word, 192), size=layout.signed(word, 128),
        cost=layout.signed(word, 64), funding=layout.signed(word, 0),
    )


@internal
def set_insurance(market: uint256, insurance: types.Insurance):
    old: types.Insurance = self.get_insurance(market)
    self.insurance_total += insurance.cash + insurance.size * insurance.funding - insurance.cost
    self.insurance_total -= old.cash + old.size * old.funding - old.cost
    word: uint256 = layout.bits(insurance.cash) << 192 | (layout.bits(insurance.size) & M64) << 128
    word |= (layout.bits(insurance.cost) & M64) << 64 | layout.bits(insurance.funding) & M64
    trie.set_word(self._market(market), 1, word)


@internal
def add_insurance(market: uint256, amount: int256):
    """@notice Changes a market's insurance cash, micro-USD."""
    leaf: uint256 = self._market(market)
    word: uint256 = trie.get_word(leaf, 1)
    cash: int256 = layout.signed(word, 192) + amount
    trie.set_word(leaf, 1, word & (2**192 - 1) | layout.bits(cash) << 192)
    self.insurance_total += amount


@internal
def get_price_state(market: uint256) -> types.PriceState:
    leaf: uint256 = self._market(market)
    first: uint256 = trie.get_word(leaf, 4)
    second: uint256 = trie.get_word(leaf, 5)
    return types.PriceState(
        index=(first >> 208) & M32, basis=layout.signed(first, 144), basis_time=(first >> 96) & M48,
        variance=(first >> 32) & M64, sample_price=first & M32,
        sample_time=(second >> 192) & M48, funding_acc=layout.signed(second, 128), funding_time=(second >> 80) & M48,
        jump_price=(second >> 48) & M32, jump_at=second & M48,
    )


@internal
def set_price_state(market: uint256, prices: types.PriceState):
    leaf: uint256 = self._market(market)
    word: uint256 = prices.index << 208 | (layout.bits(prices.basis) & M64) << 144 | prices.basis_time << 96
    trie.set_word(leaf, 4, word | prices.variance << 32 | prices.sample_price)
    word = prices.sample_time << 192 | (layout.bits(prices.funding_acc) & M64) << 128 | prices.funding_time << 80
    trie.set_word(leaf, 5, word | prices.jump_price << 48 | prices.jump_at)


@internal
def get_jump_price(market: uint256) -> uint256:
    """@return a median that must hold before it is believed, ticks; 0 = none."""
    return (trie.get_word(self._market(market), 5) >> 48) & M32


@internal
def get_expiry(market: uint256) -> uint256:
    """@return when a dated future expires, ms; 0 = perpetual."""
    return trie.get_word(self._market(market), 6) & M48


@internal
def get_reduced(market: uint256) -> (uint256, uint256):
    """@return a block's number, and the lots that predictive reductions have closed in it."""
    word: uint256 = trie.get_word(self._market(market), 7)
    return word >> 160, (word >> 96) & M64


@internal
def set_reduced(market: uint256, number: uint256, lots: uint256):
    leaf: uint256 = self._market(market)
    trie.set_word(leaf, 7, trie.get_word(leaf, 7) & (2**96 - 1) | number << 160 | lots << 96)


@internal
def get_twap(market: uint256) -> (uint256, uint256):
    """@return sum of mark * ms inside the settlement window, and the ms it covers."""
    word: uint256 = trie.get_word(self._market(market), 7)
    return (word >> 32) & M64, word & M32


@internal
def set_twap(market: uint256, total: uint256, covered_ms: uint256):
    leaf: uint256 = self._market(market)
    trie.set_word(leaf, 7, trie.get_word(leaf, 7) >> 96 << 96 | total << 32 | covered_ms)


@internal
def get_pending(market: uint256) -> types.Pending:
    word: uint256 = trie.get_word(self._market(market), 2)
    return types.Pending(
        account=word >> 224, lots=(word >> 160) & M64, price=(word >> 128) & M32, client_id=(word >> 64) & M64,
        expiry=(word >> 16) & M48, side=(word >> 8) & 255, tif=word & 7, reduce_only=(word >> 3) & 1,
        self_trade=(word >> 4) & 15,
    )


@internal
def set_pending(market: uint256, pending: types.Pending):
    first: uint256 = pending.account << 224 | pending.lots << 160 | pending.price << 128 | pending.client_id << 64
    flags: uint256 = pending.self_trade << 4 | pending.reduce_only << 3 | pending.tif
    trie.set_word(self._market(market), 2, first | pending.expiry << 16 | pending.side << 8 | flags)


@internal
def get_publisher_count(market: uint256) -> uint256:
    return (trie.get_word(self._market(market), 3) >> 104) & 255


@internal
def get_publisher(market: uint256, slot: uint256) -> types.Publisher:
    """@return the publisher slot, or an empty one where none is set."""
    leaf: uint256 = self._market(market)
    word: uint256 = trie.get_word(leaf, params.MARKET_WORDS + slot)
    return types.Publisher(address=word >> 80, price=(word >> 48) & M32, time=word & M48)


@internal
def set_publisher(market: uint256, slot: uint256, publisher: types.Publisher):
    leaf: uint256 = self._market(market)
    at: uint256 = params.MARKET_WORDS + slot
    if at >= trie.get_size(leaf):
        trie.set_size(leaf, at + 1)
        word: uint256 = trie.get_word(leaf, 3)
        trie.set_word(leaf, 3, word & ~convert(255 << 104, uint256) | (slot + 1) << 104)
    trie.set_word(leaf, at, publisher.address << 80 | publisher.price << 48 | publisher.time)


@internal
def _boards(group: uint256) -> uint256:
    """@return the leaf of a group of boards."""
    leaf: uint256 = self.board_leaves[group]
    if leaf != 0:
        return leaf
    first: bool = False
    leaf, first = trie.touch(layout.board_key(group))
    if first:
        self._touch(params.PROOF_DENSE + params.PROOF_WORD * trie.get_size(leaf))
    self.board_leaves[group] = leaf
    return leaf


@internal
def get_board(market: uint256) -> types.Board:
    """@return the market's board entry, or an empty one (status NO_SUCH_MARKET). Ids from MARKETS_MAX on have no leaf."""
    if market >= params.MARKETS_MAX:
        return empty(types.Board)
    # words beyond the leaf's size are 0
    cell: uint256 = unsafe_add(unsafe_mul(params.BOARD_WORDS, market % params.BOARD_MARKETS), trie.WORDS)
    cell = unsafe_add(cell, self._boards(market // params.BOARD_MARKETS))
    first: uint256 = trie.cells[cell]
    second: uint256 = trie.cells[unsafe_add(cell, 1)]
    third: uint256 = trie.cells[unsafe_add(cell, 2)]
    return types.Board(
        mark=first >> 216,
        mark_time=(first >> 168) & M48,
        tick_value=(first >> 136) & M32,
        status=(first >> 128) & 255,
        mm_base=(first >> 104) & M24,
        mm_cap=(first >> 80) & M24,
        im_base=(first >> 56) & M24,
        im_cap=(first >> 32) & M24,
        stale_ms=first & M32,
        funding=convert(convert(second, bytes32), int256) >> 192,
        loss_long=convert(convert(second << 64, bytes32), int256) >> 192,
        loss_short=convert(convert(second << 128, bytes32), int256) >> 192,
        impact=second & M64,
        risk=third >> 192,
        addon_cap=(third >> 168) & M24,
    )


@internal
def set_board(market: uint256, board: types.Board):
    leaf: uint256 = self._boards(market // params.BOARD_MARKETS)
    at: uint256 = params.BOARD_WORDS * (market % params.BOARD_MARKETS)
    if at >= trie.get_size(leaf):
        trie.set_size(leaf, at + params.BOARD_WORDS)
    first: uint256 = board.mark << 216 | board.mark_time << 168 | board.tick_value << 136 | board.status << 128
    losses: uint256 = (layout.bits(board.loss_long) & M64) << 128 | (layout.bits(board.loss_short) & M64) << 64
    trie.set_three(leaf, at, [
        first | board.mm_base << 104 | board.mm_cap << 80 | board.im_base << 56 | board.im_cap << 32 | board.stale_ms,
        layout.bits(board.funding) << 192 | losses | board.impact,
        board.risk << 192 | board.addon_cap << 168,
    ])


# --- the book ---------------------------------------------------------------------------------------------------------

@internal
def get_best(market: uint256, side: uint256) -> (uint256, uint256):
    """
    @notice (price, sequence) of the best resting order of a side, dead ones included; (0, 0) if there is none.
            The look is part of the proof: every order up to the best one seen must be in the witness.
    """
    first_key: uint256 = layout.book_prefix(market, side)
    leaf: uint256 = 0
    first_look: bool = False
    first_touch: bool = False
    leaf, first_look, first_touch = trie.observe_first(market << 2 | side, first_key, first_key | BOOK_LAST)
    if first_look:
        self.spend_proof(params.PROOF_ORDER)
    return self._visit(side, leaf, first_touch)


@internal
def get_next(market: uint256, side: uint256, price: uint256, seq: uint256) -> (uint256, uint256):
    """
    @notice (price, sequence) of the order that stands next behind a place, dead ones included; (0, 0) if there is none.
            The place must have been seen (`get_best` or this). The look is part of the proof, as there.
    """
    first_key: uint256 = layout.book_prefix(market, side)
    place: uint256 = trie.index_of(first_key | layout.book_key(side, price, seq) << 128)
    leaf: uint256 = 0
    first_touch: bool = False
    leaf, first_touch = trie.observe_next(market << 2 | side, first_key, first_key | BOOK_LAST, place)
    return self._visit(side, leaf, first_touch)


@internal
def _visit(side: uint256, leaf: uint256, first_touch: bool) -> (uint256, uint256):
    """@return price and sequence of an order that was found at the book's edge, (0, 0) for none; touches it."""
    if leaf == 0:
        return 0, 0
    if first_touch:
        self._touch(params.PROOF_VISIT)
    best: uint256 = trie.key_of(leaf) >> 128
    price: uint256 = (best >> 64) & M32
    if side & 1 != types.SELL:
        price = params.PRICE_MAX - price
    return price, best & M64


@internal
def _order(market: uint256, side: uint256, price: uint256, seq: uint256) -> uint256:
    """@return the leaf of a resting order, existing or not."""
    leaf: uint256 = 0
    first: bool = False
    leaf, first = trie.touch(layout.order_key(market, side, price, seq))
    if first:
        self._touch(params.PROOF_ORDER)
    return leaf


@internal
def get_order(market: uint256, side: uint256, price: uint256, seq: uint256) -> types.Order:
    """@return a resting order; lots 0 where there is none."""
    word: uint256 = trie.get_word(self._order(market, side, price, seq), 0)
    return types.Order(
        account=word >> 216,
        lots=(word >> 152) & M64,
        client_id=(word >> 88) & M64,
        expiry=(word >> 40) & M48,
        flags=word & 255,
        limit=(word >> 8) & M32,
    )


@internal
def set_order(market: uint256, side: uint256, price: uint256, seq: uint256, order: types.Order):
    """@notice Writes, inserts, or (lots 0) removes a resting order."""
    leaf: uint256 = self._order(market, side, price, seq)
    if order.lots == 0:
        trie.set_size(leaf, 0)
        return
    trie.set_size(leaf, 1)
    first: uint256 = order.account << 216 | order.lots << 152 | order.client_id << 88
    trie.set_word(leaf, 0, first | order.expiry << 40 | order.limit << 8 | order.flags)


# --- withdrawals ------------------------------------------------------------------------------------------------------

@internal
def create_withdrawal(recipient: uint256, amount: uint256) -> uint256:
    """@notice Creates the next withdrawal leaf. @return its id."""
    withdrawal: uint256 = self.next_withdrawal
    self.next_withdrawal = unsafe_add(withdrawal, 1)
    self.withdrawn += amount
    leaf: uint256 = trie.index_of(layout.withdrawal_key(withdrawal))
    assert not trie.exists(leaf)
    self._touch(params.PROOF_DENSE)
    trie.set_size(leaf, 1)
    trie.set_word(leaf, 0, recipient << 64 | amount)
    return withdrawal


@internal
def remove_withdrawal(withdrawal: uint256):
    """@notice Deletes a withdrawal's leaf, if there is one. An id that was never given has none, and needs no proof of that."""
    if withdrawal == 0 or withdrawal >= self.next_withdrawal:
        return
    leaf: uint256 = 0
    first: bool = False
    leaf, first = trie.touch(layout.withdrawal_key(withdrawal))
    if first:
        self._touch(params.PROOF_DENSE + params.PROOF_WORD)
    trie.set_size(leaf, 0)
