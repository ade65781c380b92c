# pragma version 0.4.3
"""
@title  The state transition: decode a transaction, make sure that its worst case fits the chunk, execute it
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/transition.py. What raises InvalidChunk there sets `invalid` here and returns at once; nothing that
        a user can send reverts. Reverting is for a proof that lacks something: then it proves nothing.

        Chunk and messages are read in place from msg.data; a position is an offset there. The supplied messages stand one
        after the other as size:2 and bytes; that they are the inbox's is for the caller to check.
"""
from stf import encoding
from stf import finality
from stf import params
from stf import parts
from stf import state
from stf import types

uses: encoding
uses: state
uses: finality
uses: parts

INVALID_ROOT: constant(bytes32) = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff

# worst cases of one leaf, in proof bytes
PROOF_ACCOUNT: constant(uint256) = params.PROOF_DENSE + params.PROOF_WORD * (
    1 + params.KEY_WORDS * params.KEYS_MAX + params.POSITION_WORDS * params.POSITIONS_MAX
)
PROOF_MARKET: constant(uint256) = params.PROOF_DENSE + params.PROOF_WORD * (params.MARKET_WORDS + params.PUBLISHERS_MAX)
PROOF_BOARD: constant(uint256) = params.PROOF_DENSE + params.PROOF_WORD * 24
PROOF_PRICE: constant(uint256) = (  # two quotes looked at
    PROOF_MARKET + PROOF_BOARD + 2 * (params.PROOF_ORDER + params.PROOF_VISIT + PROOF_ACCOUNT)
)
# worst case of one margin check, in work
WORK_HEALTH: constant(uint256) = params.WORK_TERM * (params.POSITIONS_MAX + 1)
# a visit: an order, its account, a margin check
VISIT_WORK: constant(uint256) = params.WORK_STEP + WORK_HEALTH + 2 * params.WORK_LEAF
VISIT_PROOF: constant(uint256) = params.PROOF_VISIT + PROOF_ACCOUNT
# a match: up to 16 visits; the order it ends at; every board; the taker's margin check
MATCH_WORK: constant(uint256) = params.MATCH_STEPS * VISIT_WORK + 5 * params.WORK_LEAF + WORK_HEALTH
MATCH_PROOF: constant(uint256) = params.MATCH_STEPS * VISIT_PROOF + params.PROOF_VISIT + 4 * PROOF_BOARD
MATCH_LEAVES: constant(uint256) = 2 * params.MATCH_STEPS + 5
# what a forced transaction may need at most: four orders in one market fit
FORCED_WORK: constant(uint256) = 3_200_000
FORCED_LEAVES: constant(uint256) = 60
FORCED_PROOF: constant(uint256) = 60_000

invalid: transient(bool)
message_next: transient(uint256)  # position of the next supplied message's size
message_end: transient(uint256)  # where the supplied messages end
cursor_end: transient(uint256)  # messages from this number on may not be consumed


@internal
def set_inbox(position: uint256, end: uint256, cursor: uint256):
    """
    @notice Where messages come from.
    @param position, end of the supplied messages, which begin with the one that the state's cursor names.
    @param cursor the header's: the message of this number, and later ones, may not be consumed.
    """
    self.message_next = position
    self.message_end = end
    self.cursor_end = cursor


# --- chunks -----------------------------------------------------------------------------------------------------------


@internal
def begin_chunk():
    """@notice Starts the books of a chunk on the leaf table."""
    self.invalid = False
    state.begin_chunk()
    state.spend_proof(params.PROOF_BASE)


@internal
def execute_chunk(start: uint256, size: uint256) -> bool:
    """@notice Executes a whole chunk on the leaf table. @return whether it is valid."""
    self.begin_chunk()
    if size == 0 or size > params.CHUNK_BYTES_MAX:
        return False
    encoding.load(start, size)
    end: uint256 = start + size
    pos: uint256 = start
    for _: uint256 in range(params.CHUNK_TXS_MAX + 1):
        if pos >= end:
            break
        pos = self.execute(pos)
        if self.invalid:
            return False
    return True


@internal
def execute(start: uint256) -> uint256:
    """@notice Executes the transaction at a position. @return where the next one starts."""
    count: uint256 = state.get_transactions()
    if count == params.CHUNK_TXS_MAX:
        self.invalid = True
        return start
    encoding.set_base_time(state.get_time())
    kind: uint256 = 0
    pos: uint256 = start
    status: uint256 = 0
    kind, pos = encoding.read_byte(pos)
    if kind == types.BLOCK:
        if count != 0:
            self.invalid = True
            return start
        status, pos = self.open_block(start, pos)
    elif kind == types.INBOX:
        status, pos = self.consume(start, pos)
    else:
        status, pos = self.execute_kind(kind, start, pos, False)
    state.set_position_number(state.get_position_number() + 1)
    state.set_transactions(count + 1)
    return pos


@internal
def execute_kind(kind: uint256, start: uint256, pos: uint256, forced: bool) -> (uint256, uint256):
    """@notice Dispatches the kinds that a message can carry too. @return the status and the position after it."""
    if kind == types.ACTIONS:
        return self.actions(start, pos, forced)
    if kind == types.RESUME:
        return self.resume(start, pos, forced)
    if kind == types.WITHDRAW:
        return self.withdraw(start, pos, forced)
    if kind == types.SET_KEY:
        return self.set_key(start, pos, forced)
    if kind == types.ORACLE_PRICE:
        return self.oracle_price(start, pos, forced)
    if kind == types.LIQUIDATE:
        return self.liquidate(start, pos, forced)
    if kind == types.SWEEP:
        return self.sweep(start, pos, forced)
    if kind == types.TRIGGER_FIRE:
        return self.trigger_fire(start, pos, forced)
    if kind == types.SETTLE:
        return self.settle(start, pos, forced)
    self.begin(start, encoding.BAD, forced, 0, 0, 0)
    return types.FORCED_INVALID, pos


@internal
def begin(start: uint256, pos: uint256, forced: bool, work: uint256, leaves: uint256, proof: uint256) -> bool:
    """
    @notice Whether a decoded transaction may begin: it is well-formed and its worst case fits. A forced one that may not
            just has no effect: its message's room is its room. Any other makes the chunk INVALID.
    """
    if forced:
        fits: bool = work <= FORCED_WORK and leaves <= FORCED_LEAVES and proof <= FORCED_PROOF
        return fits and pos == encoding.get_end()
    if pos == encoding.BAD:
        self.invalid = True
        return False
    state.spend_work(params.WORK_TX + params.WORK_BYTE * (pos - start))
    state.spend_proof(pos - start)
    if (
        state.get_work() + work > params.CHUNK_WORK_MAX
        or state.get_leaves() + leaves > params.CHUNK_LEAVES_MAX
        or state.get_proof() + proof > params.CHUNK_PROOF_MAX
    ):
        self.invalid = True
        return False
    return True


# --- kinds ------------------------------------------------------------------------------------------------------------


@internal
def actions(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice One signed list of orders and cancels."""
    pos: uint256 = position
    account: uint256 = 0
    packed: uint256 = 0
    nonce: uint256 = 0
    expiry: uint256 = 0
    listed: DynArray[types.Action, params.ACTIONS_MAX] = []
    r: uint256 = 0
    vs: uint256 = 0
    account, pos = encoding.read_varint(pos)
    packed, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    count: uint256 = (packed & 31) + 1
    listed, pos = encoding.read_actions(pos, count)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    places: uint256 = 0
    markets: uint256 = 0
    places, markets = self.count_places(listed)
    work: uint256 = 0
    leaves: uint256 = 0
    proof: uint256 = 0
    work, leaves, proof = self.actions_room(count, places, markets)
    if not self.begin(start, pos, forced, work, leaves, proof):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_SIGNATURE + count * params.WORK_DECODE)
    slot: uint256 = packed >> 5
    if account > params.ACCOUNTS_MAX:
        return types.NO_ACCOUNT, pos
    signer: uint256 = encoding.recover(encoding.actions_digest(account, slot, nonce, expiry, listed), r, vs)
    status: uint256 = parts.authorize(account, slot, signer, nonce, expiry)
    if status == types.OK:
        self.act(account, listed, self.match_steps(places))
    return status, pos


@pure
@internal
def count_places(listed: DynArray[types.Action, params.ACTIONS_MAX]) -> (uint256, uint256):
    """@return how many actions place orders or triggers, and in how many runs of one market all stand (an upper bound)."""
    places: uint256 = 0
    markets: uint256 = 0
    last: uint256 = 2**32
    for action: types.Action in listed:
        if action.op == types.PLACE or action.op == types.TRIGGER:
            places += 1
        if action.market != last:
            markets += 1
            last = action.market
    return places, markets


@pure
@internal
def actions_room(count: uint256, places: uint256, markets: uint256) -> (uint256, uint256, uint256):
    """@return worst case of an Actions transaction: work, leaves, proof bytes."""
    work: uint256 = (
        params.WORK_SIGNATURE
        + count * (params.WORK_DECODE + params.WORK_ACTION + params.WORK_LEAF)
        + params.WORK_LEAF
        + markets * 2 * params.WORK_LEAF
    )
    leaves: uint256 = 1 + count + 2 * markets
    proof: uint256 = PROOF_ACCOUNT + count * params.PROOF_ORDER + markets * (PROOF_MARKET + PROOF_BOARD)
    if places > 0:
        work += places * (params.WORK_PLACE + WORK_HEALTH + params.WORK_LEAF) + MATCH_WORK
        leaves += places + MATCH_LEAVES
        proof += places * params.PROOF_VISIT + MATCH_PROOF + 2 * markets * params.PROOF_ORDER
        fewer: uint256 = params.MATCH_STEPS - self.match_steps(places)
        work -= fewer * VISIT_WORK
        leaves -= fewer * 2
        proof -= fewer * VISIT_PROOF
    return work, leaves, proof


@pure
@internal
def match_steps(places: uint256) -> uint256:
    """@return match steps that a list with these many orders has in all."""
    return min(params.MATCH_STEPS, params.ORDERS_AND_STEPS - places)


@internal
def act(account: uint256, listed: DynArray[types.Action, params.ACTIONS_MAX], allowance: uint256):
    """@notice Executes an authorized list. Its orders share an allowance of match steps."""
    steps: uint256 = allowance
    status: uint256 = 0
    for action: types.Action in listed:
        state.spend_work(params.WORK_ACTION)
        if action.op == types.PLACE:
            state.spend_work(params.WORK_PLACE)
        status, steps = parts.perform(account, action, steps)


@internal
def resume(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice The next match steps of a market's pending order."""
    pos: uint256 = position
    market: uint256 = 0
    market, pos = encoding.read_varint(pos)
    if market > 65535:
        pos = encoding.BAD
    if not self.begin(
        start,
        pos,
        forced,
        MATCH_WORK + params.WORK_ACTION + 4 * params.WORK_LEAF,
        MATCH_LEAVES + 4,
        MATCH_PROOF + PROOF_ACCOUNT + 3 * params.PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_ACTION)
    return parts.resume(market, params.MATCH_STEPS), pos


@internal
def withdraw(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Moves free collateral into a withdrawal that L1 will pay."""
    pos: uint256 = position
    account: uint256 = 0
    nonce: uint256 = 0
    expiry: uint256 = 0
    recipient: uint256 = 0
    amount: uint256 = 0
    r: uint256 = 0
    vs: uint256 = 0
    account, pos = encoding.read_varint(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    recipient, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not self.begin(
        start,
        pos,
        forced,
        params.WORK_SIGNATURE + WORK_HEALTH + 6 * params.WORK_LEAF,
        6,
        PROOF_ACCOUNT + 4 * PROOF_BOARD + params.PROOF_DENSE,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_SIGNATURE)
    if account > params.ACCOUNTS_MAX:
        return types.NO_ACCOUNT, pos
    signer: uint256 = encoding.recover(encoding.withdraw_digest(account, nonce, expiry, recipient, amount), r, vs)
    status: uint256 = parts.authorize(account, 0, signer, nonce, expiry)
    if status == types.OK:
        status = parts.withdraw(account, recipient, amount)
    return status, pos


@internal
def set_key(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Sets or disables a trade-only key slot."""
    pos: uint256 = position
    account: uint256 = 0
    slot: uint256 = 0
    nonce: uint256 = 0
    expiry: uint256 = 0
    key: uint256 = 0
    key_expiry: uint256 = 0
    r: uint256 = 0
    vs: uint256 = 0
    account, pos = encoding.read_varint(pos)
    slot, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    key, pos = encoding.read_fixed(pos, 20)
    key_expiry, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not self.begin(start, pos, forced, params.WORK_SIGNATURE + params.WORK_LEAF, 1, PROOF_ACCOUNT):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_SIGNATURE)
    if account > params.ACCOUNTS_MAX:
        return types.NO_ACCOUNT, pos
    digest: bytes32 = encoding.set_key_digest(account, nonce, expiry, slot, key, key_expiry)
    status: uint256 = parts.authorize(account, 0, encoding.recover(digest, r, vs), nonce, expiry)
    if status == types.OK:
        status = parts.set_key(account, slot, key, key_expiry)
    return status, pos


@internal
def oracle_price(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice One publisher's prices. The transaction's status is the last market's that is not OK."""
    pos: uint256 = position
    slot: uint256 = 0
    count: uint256 = 0
    time: uint256 = 0
    markets: DynArray[uint256, params.PRICES_MAX] = []
    prices: DynArray[uint256, params.PRICES_MAX] = []
    r: uint256 = 0
    vs: uint256 = 0
    slot, pos = encoding.read_byte(pos)
    count, pos = encoding.read_byte(pos)
    time, pos = encoding.read_time(pos)
    markets, prices, pos = encoding.read_prices(pos, count)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not self.begin(
        start,
        pos,
        forced,
        params.WORK_SIGNATURE + count * (params.WORK_PRICE + 6 * params.WORK_LEAF),
        6 * count,
        count * PROOF_PRICE,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_SIGNATURE)
    if slot >= params.PUBLISHERS_MAX:
        return types.NO_PUBLISHER, pos
    if time > params.TIME_MAX:
        return types.BAD_TIME, pos
    signer: uint256 = encoding.recover(encoding.oracle_price_digest(slot, time, markets, prices), r, vs)
    if signer == 0:
        return types.BAD_SIGNATURE, pos
    result: uint256 = types.OK
    for i: uint256 in range(count, bound=params.PRICES_MAX):
        state.spend_work(params.WORK_PRICE)
        status: uint256 = parts.publish(markets[i], slot, signer, time, prices[i])
        if status != types.OK:
            result = status
    return result, pos


@internal
def liquidate(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Reduces an account under maintenance margin."""
    pos: uint256 = position
    account: uint256 = 0
    market: uint256 = 0
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    if account > params.ACCOUNTS_MAX or market > 65535:
        pos = encoding.BAD
    if not self.begin(
        start,
        pos,
        forced,
        MATCH_WORK + params.WORK_ACTION + 3 * WORK_HEALTH + 4 * params.WORK_LEAF,
        MATCH_LEAVES + 4,
        MATCH_PROOF + PROOF_ACCOUNT + 2 * params.PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_ACTION)
    return parts.liquidate(account, market, forced), pos


@internal
def sweep(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Removes dead orders from the edge of a book, or dead triggers."""
    pos: uint256 = position
    market: uint256 = 0
    side: uint256 = 0
    market, pos = encoding.read_varint(pos)
    side, pos = encoding.read_byte(pos)
    if market > 65535 or side > types.TRIGGER_RISE:
        pos = encoding.BAD
    if not self.begin(
        start,
        pos,
        forced,
        params.WORK_ACTION + params.SWEEP_MAX * (params.WORK_STEP + 2 * params.WORK_LEAF) + 3 * params.WORK_LEAF,
        2 * params.SWEEP_MAX + 3,
        params.SWEEP_MAX * (params.PROOF_VISIT + PROOF_ACCOUNT)
        + params.PROOF_VISIT + params.PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_ACTION)
    return parts.sweep(market, side), pos


@internal
def trigger_fire(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Runs the first trigger that the mark has reached, as a reduce-only order."""
    pos: uint256 = position
    market: uint256 = 0
    direction: uint256 = 0
    market, pos = encoding.read_varint(pos)
    direction, pos = encoding.read_byte(pos)
    if market > 65535 or direction > 1:
        pos = encoding.BAD
    if not self.begin(
        start,
        pos,
        forced,
        MATCH_WORK + params.WORK_ACTION + params.WORK_STEP + WORK_HEALTH + 5 * params.WORK_LEAF,
        MATCH_LEAVES + 5,
        MATCH_PROOF + PROOF_ACCOUNT + 3 * params.PROOF_ORDER + 2 * params.PROOF_VISIT + PROOF_MARKET + PROOF_BOARD,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_ACTION)
    return parts.fire(market, direction), pos


@internal
def settle(start: uint256, position: uint256, forced: bool) -> (uint256, uint256):
    """@notice Closes an account's position in an expired market at its final mark."""
    pos: uint256 = position
    account: uint256 = 0
    market: uint256 = 0
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    if account > params.ACCOUNTS_MAX or market > 65535:
        pos = encoding.BAD
    if not self.begin(
        start,
        pos,
        forced,
        params.WORK_ACTION + 2 * WORK_HEALTH + 8 * params.WORK_LEAF,
        8,
        2 * PROOF_ACCOUNT + PROOF_MARKET + 5 * PROOF_BOARD,
    ):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_ACTION)
    return parts.settle(account, market), pos


@internal
def open_block(start: uint256, position: uint256) -> (uint256, uint256):
    """@notice Opens an L2 block: time rises by `step` ms."""
    pos: uint256 = position
    step: uint256 = 0
    step, pos = encoding.read_varint(pos)
    time: uint256 = state.get_time() + step
    if step == 0 or time > params.TIME_MAX:
        pos = encoding.BAD
    if not self.begin(start, pos, False, 0, 0, 0):
        return types.FORCED_INVALID, pos
    state.set_block_number(state.get_block_number() + 1)
    state.set_time(time)
    finality.update()
    return types.OK, pos


# --- the inbox --------------------------------------------------------------------------------------------------------


@internal
def consume(start: uint256, pos: uint256) -> (uint256, uint256):
    """@notice Consumes the next L1 message. Time is lifted to the message's L1 time; times inside count from 0."""
    cursor: uint256 = state.get_cursor()
    if cursor >= self.cursor_end:
        self.begin(start, pos, False, 0, 0, 0)
        return types.NO_MESSAGE, pos
    outer: uint256 = encoding.get_end()
    size: uint256 = 0
    kind: uint256 = 0
    base: uint256 = 0
    payload: uint256 = 0
    encoding.set_end(self.message_end)
    size, base = encoding.read_fixed(self.message_next, 2)
    kind, payload = encoding.read_byte(base)
    encoding.set_end(outer)
    assert base != encoding.BAD and payload != encoding.BAD, "BAD_PROOF: a message that the chunk consumes is missing"
    work: uint256 = 0
    leaves: uint256 = 0
    proof: uint256 = 0
    work, leaves, proof = self.message_room(kind)
    proof += params.PROOF_MESSAGE + size
    if not self.begin(start, pos, False, params.WORK_MESSAGE + work, leaves, proof):
        return types.FORCED_INVALID, pos
    state.spend_work(params.WORK_MESSAGE + params.WORK_BYTE * size)
    state.spend_proof(params.PROOF_MESSAGE + size)
    state.set_cursor(cursor + 1)
    self.message_next = base + size
    encoding.set_end(base + size)
    encoding.set_base_time(0)
    seconds: uint256 = 0
    seconds, payload = encoding.read_fixed(base + 21, 8)
    state.set_time(min(params.TIME_MAX, max(state.get_time(), seconds * 1000)))
    finality.update()
    status: uint256 = self.deliver(kind, payload)
    encoding.set_end(outer)
    return status, pos


@pure
@internal
def message_room(kind: uint256) -> (uint256, uint256, uint256):
    """@return worst case of a message by kind: work, leaves, proof bytes, beyond its header and bytes in the proof."""
    work: uint256 = params.WORK_BYTE * params.MESSAGE_BYTES_MAX
    if kind == types.FORCED:
        return work + FORCED_WORK, FORCED_LEAVES, FORCED_PROOF
    if kind == types.PAID_NOTICE:
        return (
            work + params.PAID_MAX * params.WORK_LEAF,
            params.PAID_MAX,
            params.PAID_MAX * (params.PROOF_DENSE + params.PROOF_WORD),
        )
    return work + 3 * params.WORK_LEAF, 3, PROOF_ACCOUNT + PROOF_MARKET + PROOF_BOARD


@internal
def deliver(kind: uint256, pos: uint256) -> uint256:
    """@notice Acts on a message whose payload starts at `pos`."""
    if kind != types.FORCED:
        if pos == encoding.BAD:
            return types.BAD_MESSAGE
        return parts.deliver(kind, pos, unsafe_sub(encoding.get_end(), pos))
    forced_kind: uint256 = 0
    position: uint256 = 0
    status: uint256 = 0
    forced_kind, position = encoding.read_byte(pos)
    status, position = self.execute_kind(forced_kind, pos, position, True)
    return status
