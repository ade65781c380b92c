"""The state transition: decode a transaction, make sure that its worst case fits the chunk, execute it.

A chunk is a run of whole transactions with one state root after it. Structure that is broken, a limit exceeded, or a
transaction begun without room for the worst case of its kind makes the chunk INVALID: its only correct post-root is
INVALID_ROOT, which L1 refuses to post. Everything else ends in a Status, and every transaction has a position.
"""

from collections.abc import Callable
from typing import Final

from node.stf import accounts, book, encoding, finality, inbox, liquidation, oracle, orders, settlement, state
from node.stf.encoding import BAD
from node.stf.params import (
    ACCOUNTS_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_LEAVES_MAX,
    CHUNK_PROOF_MAX,
    CHUNK_TXS_MAX,
    CHUNK_WORK_MAX,
    KEY_WORDS,
    KEYS_MAX,
    MARKET_WORDS,
    MATCH_STEPS,
    MESSAGE_BYTES_MAX,
    ORDERS_AND_STEPS,
    PAID_MAX,
    POSITION_WORDS,
    POSITIONS_MAX,
    PROOF_BASE,
    PROOF_DENSE,
    PROOF_MESSAGE,
    PROOF_ORDER,
    PROOF_VISIT,
    PROOF_WORD,
    PUBLISHERS_MAX,
    SWEEP_MAX,
    TIME_MAX,
    WORK_ACTION,
    WORK_BYTE,
    WORK_DECODE,
    WORK_LEAF,
    WORK_MESSAGE,
    WORK_PLACE,
    WORK_PRICE,
    WORK_SIGNATURE,
    WORK_STEP,
    WORK_TERM,
    WORK_TX,
)
from node.stf.types import (
    ACTIONS,
    AMEND,
    BLOCK,
    CANCEL,
    CANCEL_ALL,
    CANCEL_AT,
    FORCED,
    INBOX,
    LIQUIDATE,
    OPTIONS,
    ORACLE_PRICE,
    PAID_NOTICE,
    PLACE,
    RESUME,
    SET_KEY,
    SETTLE,
    SWEEP,
    TRIGGER,
    TRIGGER_FIRE,
    TRIGGER_RISE,
    WITHDRAW,
    Action,
    Receipt,
    Status,
)

INVALID_ROOT: Final = b"\xff" * 32

# worst cases of one leaf, in proof bytes
PROOF_ACCOUNT: Final = PROOF_DENSE + PROOF_WORD * (1 + KEY_WORDS * KEYS_MAX + POSITION_WORDS * POSITIONS_MAX)
PROOF_MARKET: Final = PROOF_DENSE + PROOF_WORD * (MARKET_WORDS + PUBLISHERS_MAX)
PROOF_BOARD: Final = PROOF_DENSE + PROOF_WORD * 24
PROOF_PRICE: Final = PROOF_MARKET + PROOF_BOARD + 2 * (PROOF_ORDER + PROOF_VISIT + PROOF_ACCOUNT)  # with two quotes
# worst case of one margin check, in work
WORK_HEALTH: Final = WORK_TERM * (POSITIONS_MAX + 1)
# a visit: an order, its account, a margin check
VISIT_WORK: Final = WORK_STEP + WORK_HEALTH + 2 * WORK_LEAF
VISIT_PROOF: Final = PROOF_VISIT + PROOF_ACCOUNT
# a match: up to 16 visits; the order it ends at; every board; the taker's margin check
MATCH_WORK: Final = MATCH_STEPS * VISIT_WORK + 5 * WORK_LEAF + WORK_HEALTH
MATCH_PROOF: Final = MATCH_STEPS * VISIT_PROOF + PROOF_VISIT + 4 * PROOF_BOARD
MATCH_LEAVES: Final = 2 * MATCH_STEPS + 5
# what a forced transaction may need at most: four orders in one market fit
FORCED_WORK: Final = 3_200_000
FORCED_LEAVES: Final = 60
FORCED_PROOF: Final = 60_000

_message_at: Callable[[int], bytes | None]


class InvalidChunk(Exception):
    """The chunk is INVALID; the message says why (for operators: the contract only knows that it is)."""


def set_inbox(message_at: Callable[[int], bytes | None]) -> None:
    """Where messages come from: number -> bytes, None at or past the cursor that may be consumed."""
    global _message_at
    _message_at = message_at


# --- chunks -----------------------------------------------------------------------------------------------------------


def begin_chunk() -> None:
    """Start the books of a chunk on the bound ledger."""
    state.begin_chunk()
    state.spend_proof(PROOF_BASE)


def execute_chunk(chunk: bytes) -> list[Receipt]:
    """Execute a whole chunk on the bound ledger. Raises InvalidChunk if it is INVALID."""
    begin_chunk()
    if not 0 < len(chunk) <= CHUNK_BYTES_MAX:
        raise InvalidChunk(f"a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {len(chunk)}")
    receipts: list[Receipt] = []
    pos = 0
    while pos < len(chunk):
        encoding.load(chunk)
        receipt, pos = execute(pos)
        receipts.append(receipt)
    return receipts


def execute(pos: int) -> tuple[Receipt, int]:
    """Execute the transaction at a position of the loaded buffer; returns its receipt and where the next one starts."""
    count = state.get_transactions()
    if count == CHUNK_TXS_MAX:
        raise InvalidChunk(f"more than {CHUNK_TXS_MAX} transactions in a chunk")
    encoding.set_base_time(state.get_time())
    start = pos
    kind, pos = encoding.read_byte(pos)
    if kind == BLOCK:
        if count != 0:
            raise InvalidChunk("a block opens in the middle of a chunk")
        status, pos = open_block(start, pos)
    elif kind == INBOX:
        status, pos = consume(start, pos)
    else:
        status, pos = execute_kind(kind, start, pos, False)
    position = state.get_position_number()
    state.set_position_number(position + 1)
    state.set_transactions(count + 1)
    return Receipt(kind, position, state.get_time(), status, state.take_statuses(), state.take_fills()), pos


def execute_kind(kind: int, start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Dispatch the kinds that a message can carry too; returns the status and the position after the transaction."""
    if kind == ACTIONS:
        return actions(start, pos, forced)
    if kind == RESUME:
        return resume(start, pos, forced)
    if kind == WITHDRAW:
        return withdraw(start, pos, forced)
    if kind == SET_KEY:
        return set_key(start, pos, forced)
    if kind == ORACLE_PRICE:
        return oracle_price(start, pos, forced)
    if kind == LIQUIDATE:
        return liquidate(start, pos, forced)
    if kind == SWEEP:
        return sweep(start, pos, forced)
    if kind == TRIGGER_FIRE:
        return trigger_fire(start, pos, forced)
    if kind == SETTLE:
        return settle(start, pos, forced)
    begin(start, BAD, forced, 0, 0, 0)
    return Status.FORCED_INVALID, pos


def begin(start: int, pos: int, forced: bool, work: int, leaves: int, proof: int) -> bool:
    """Whether a decoded transaction may begin: it is well-formed and its worst case fits.

    A forced one that may not just has no effect: its message's room is its room. Any other makes the chunk INVALID.
    """
    if forced:
        fits = work <= FORCED_WORK and leaves <= FORCED_LEAVES and proof <= FORCED_PROOF
        return fits and pos == encoding.get_end()
    if pos == BAD:
        raise InvalidChunk("a transaction does not decode")
    state.spend_work(WORK_TX + WORK_BYTE * (pos - start))
    state.spend_proof(pos - start)
    if state.get_work() + work > CHUNK_WORK_MAX:
        raise InvalidChunk("no room for a transaction's work")
    if state.get_leaves() + leaves > CHUNK_LEAVES_MAX:
        raise InvalidChunk("no room for a transaction's leaves")
    if state.get_proof() + proof > CHUNK_PROOF_MAX:
        raise InvalidChunk("no room for a transaction's proof")
    return True


# --- kinds ------------------------------------------------------------------------------------------------------------


def actions(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """One signed list of orders and cancels."""
    account, pos = encoding.read_varint(pos)
    packed, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    count = (packed & 0x1F) + 1
    listed, pos = encoding.read_actions(pos, count)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    places, markets = count_places(listed)
    work, leaves, proof = actions_room(count, places, markets)
    if not begin(start, pos, forced, work, leaves, proof):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_SIGNATURE + count * WORK_DECODE)
    slot = packed >> 5
    if account > ACCOUNTS_MAX:
        return Status.NO_ACCOUNT, pos
    signer = encoding.recover(encoding.actions_digest(account, slot, nonce, expiry, listed), r, vs)
    status = accounts.authorize(account, slot, signer, nonce, expiry)
    if status == Status.OK:
        act(account, listed, match_steps(places))
    return status, pos


def count_places(listed: list[Action]) -> tuple[int, int]:
    """How many actions place orders or triggers, and in how many runs of one market all stand (an upper bound)."""
    places = 0
    markets = 0
    last = 1 << 32
    for action in listed:
        if action.op == PLACE or action.op == TRIGGER:
            places += 1
        if action.market != last:
            markets += 1
            last = action.market
    return places, markets


def actions_room(count: int, places: int, markets: int) -> tuple[int, int, int]:
    """Worst case of an Actions transaction: work, leaves, proof bytes."""
    work = WORK_SIGNATURE + count * (WORK_DECODE + WORK_ACTION + WORK_LEAF) + WORK_LEAF + markets * 2 * WORK_LEAF
    leaves = 1 + count + 2 * markets
    proof = PROOF_ACCOUNT + count * PROOF_ORDER + markets * (PROOF_MARKET + PROOF_BOARD)
    if places > 0:
        work += places * (WORK_PLACE + WORK_HEALTH + WORK_LEAF) + MATCH_WORK
        leaves += places + MATCH_LEAVES
        proof += places * PROOF_VISIT + MATCH_PROOF + 2 * markets * PROOF_ORDER
        fewer = MATCH_STEPS - match_steps(places)
        work -= fewer * VISIT_WORK
        leaves -= fewer * 2
        proof -= fewer * VISIT_PROOF
    return work, leaves, proof


def match_steps(places: int) -> int:
    """Match steps that a list with these many orders has in all."""
    return min(MATCH_STEPS, ORDERS_AND_STEPS - places)


def act(account: int, listed: list[Action], allowance: int) -> None:
    """Execute an authorized list. Its orders share an allowance of match steps; each action has its own status."""
    steps = allowance
    for action in listed:
        state.spend_work(WORK_ACTION)
        status, steps = perform(account, action, steps)
        state.note_status(status)


def perform(account: int, action: Action, steps: int) -> tuple[Status, int]:
    """One action of an authorized list. Returns its status and the match steps left."""
    if action.op == PLACE:
        state.spend_work(WORK_PLACE)
        return orders.place(account, action, steps)
    status = Status.BAD_MESSAGE
    if action.op == CANCEL:
        status = orders.cancel(account, action)
    elif action.op == CANCEL_ALL:
        status = orders.cancel_all(account, action.market)
    elif action.op == AMEND:
        status = orders.amend(account, action)
    elif action.op == CANCEL_AT:
        status = orders.set_cancel_at(account, action.expiry)
    elif action.op == TRIGGER:
        status = orders.place_trigger(account, action)
    elif action.op == OPTIONS:
        status = orders.set_options(account, action.opt_in)
    return status, steps


def resume(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """The next match steps of a market's pending order."""
    market, pos = encoding.read_varint(pos)
    if market > 0xFFFF:
        pos = BAD
    if not begin(
        start,
        pos,
        forced,
        MATCH_WORK + WORK_ACTION + 4 * WORK_LEAF,
        MATCH_LEAVES + 4,
        MATCH_PROOF + PROOF_ACCOUNT + 3 * PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_ACTION)
    return book.resume(market, MATCH_STEPS), pos


def withdraw(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Move free collateral into a withdrawal that L1 will pay."""
    account, pos = encoding.read_varint(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    recipient, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not begin(
        start,
        pos,
        forced,
        WORK_SIGNATURE + WORK_HEALTH + 6 * WORK_LEAF,
        6,
        PROOF_ACCOUNT + 4 * PROOF_BOARD + PROOF_DENSE,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_SIGNATURE)
    if account > ACCOUNTS_MAX:
        return Status.NO_ACCOUNT, pos
    signer = encoding.recover(encoding.withdraw_digest(account, nonce, expiry, recipient, amount), r, vs)
    status = accounts.authorize(account, 0, signer, nonce, expiry)
    if status == Status.OK:
        status = accounts.withdraw(account, recipient, amount)
    return status, pos


def set_key(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Set or disable a trade-only key slot."""
    account, pos = encoding.read_varint(pos)
    slot, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    address, pos = encoding.read_fixed(pos, 20)
    key_expiry, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not begin(start, pos, forced, WORK_SIGNATURE + WORK_LEAF, 1, PROOF_ACCOUNT):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_SIGNATURE)
    if account > ACCOUNTS_MAX:
        return Status.NO_ACCOUNT, pos
    digest = encoding.set_key_digest(account, nonce, expiry, slot, address, key_expiry)
    status = accounts.authorize(account, 0, encoding.recover(digest, r, vs), nonce, expiry)
    if status == Status.OK:
        status = accounts.set_key(account, slot, address, key_expiry)
    return status, pos


def oracle_price(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """One publisher's prices. Each market has its own status; the transaction's is the last one that is not OK."""
    slot, pos = encoding.read_byte(pos)
    count, pos = encoding.read_byte(pos)
    time, pos = encoding.read_time(pos)
    markets, prices, pos = encoding.read_prices(pos, count)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if not begin(
        start,
        pos,
        forced,
        WORK_SIGNATURE + count * (WORK_PRICE + 6 * WORK_LEAF),
        6 * count,
        count * PROOF_PRICE,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_SIGNATURE)
    if slot >= PUBLISHERS_MAX:
        return Status.NO_PUBLISHER, pos
    if time > TIME_MAX:
        return Status.BAD_TIME, pos
    signer = encoding.recover(encoding.oracle_price_digest(slot, time, markets, prices), r, vs)
    if signer == 0:
        return Status.BAD_SIGNATURE, pos
    result = Status.OK
    for i in range(count):
        state.spend_work(WORK_PRICE)
        status = oracle.publish(markets[i], slot, signer, time, prices[i])
        state.note_status(status)
        if status != Status.OK:
            result = status
    return result, pos


def liquidate(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Reduce an account under maintenance margin."""
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    if account > ACCOUNTS_MAX or market > 0xFFFF:
        pos = BAD
    if not begin(
        start,
        pos,
        forced,
        MATCH_WORK + WORK_ACTION + 3 * WORK_HEALTH + 4 * WORK_LEAF,
        MATCH_LEAVES + 4,
        MATCH_PROOF + PROOF_ACCOUNT + 2 * PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_ACTION)
    return liquidation.liquidate(account, market, forced), pos


def sweep(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Remove dead orders from the edge of a book, or dead triggers."""
    market, pos = encoding.read_varint(pos)
    side, pos = encoding.read_byte(pos)
    if market > 0xFFFF or side > TRIGGER_RISE:
        pos = BAD
    if not begin(
        start,
        pos,
        forced,
        WORK_ACTION + SWEEP_MAX * (WORK_STEP + 2 * WORK_LEAF) + 3 * WORK_LEAF,
        2 * SWEEP_MAX + 3,
        SWEEP_MAX * (PROOF_VISIT + PROOF_ACCOUNT) + PROOF_VISIT + PROOF_ORDER + PROOF_MARKET + PROOF_BOARD,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_ACTION)
    return orders.sweep(market, side), pos


def trigger_fire(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Run the first trigger that the mark has reached, as a reduce-only order."""
    market, pos = encoding.read_varint(pos)
    direction, pos = encoding.read_byte(pos)
    if market > 0xFFFF or direction > 1:
        pos = BAD
    if not begin(
        start,
        pos,
        forced,
        MATCH_WORK + WORK_ACTION + WORK_STEP + WORK_HEALTH + 5 * WORK_LEAF,
        MATCH_LEAVES + 5,
        MATCH_PROOF + PROOF_ACCOUNT + 3 * PROOF_ORDER + 2 * PROOF_VISIT + PROOF_MARKET + PROOF_BOARD,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_ACTION)
    return orders.fire(market, direction), pos


def settle(start: int, pos: int, forced: bool) -> tuple[Status, int]:
    """Close an account's position in an expired market at its final mark."""
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    if account > ACCOUNTS_MAX or market > 0xFFFF:
        pos = BAD
    if not begin(
        start,
        pos,
        forced,
        WORK_ACTION + 2 * WORK_HEALTH + 8 * WORK_LEAF,
        8,
        2 * PROOF_ACCOUNT + PROOF_MARKET + 5 * PROOF_BOARD,
    ):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_ACTION)
    return settlement.settle(account, market), pos


def open_block(start: int, pos: int) -> tuple[Status, int]:
    """Open an L2 block: time rises by ``step`` ms."""
    step, pos = encoding.read_varint(pos)
    time = state.get_time() + step
    if step == 0 or time > TIME_MAX:
        pos = BAD
    if not begin(start, pos, False, 0, 0, 0):
        return Status.FORCED_INVALID, pos
    state.set_block_number(state.get_block_number() + 1)
    state.set_time(time)
    finality.update()
    return Status.OK, pos


# --- the inbox --------------------------------------------------------------------------------------------------------


def consume(start: int, pos: int) -> tuple[Status, int]:
    """Consume the next L1 message. Time is lifted to the message's L1 time; times inside count from 0."""
    cursor = state.get_cursor()
    message = _message_at(cursor)
    if message is None:
        begin(start, pos, False, 0, 0, 0)
        return Status.NO_MESSAGE, pos
    base = encoding.append(message)
    kind = message[0]
    work, leaves, proof = message_room(kind)
    size = len(message)
    if not begin(start, pos, False, WORK_MESSAGE + work, leaves, PROOF_MESSAGE + size + proof):
        return Status.FORCED_INVALID, pos
    state.spend_work(WORK_MESSAGE + WORK_BYTE * size)
    state.spend_proof(PROOF_MESSAGE + size)
    state.set_cursor(cursor + 1)
    outer = encoding.get_end()
    encoding.set_end(base + size)
    encoding.set_base_time(0)
    seconds, payload = encoding.read_fixed(base + 21, 8)
    state.set_time(min(TIME_MAX, max(state.get_time(), seconds * 1000)))
    finality.update()
    status = deliver(kind, payload)
    encoding.set_end(outer)
    return status, pos


def message_room(kind: int) -> tuple[int, int, int]:
    """Worst case of a message by kind: work, leaves, proof bytes, beyond its header and bytes in the proof."""
    work = WORK_BYTE * MESSAGE_BYTES_MAX
    if kind == FORCED:
        return work + FORCED_WORK, FORCED_LEAVES, FORCED_PROOF
    if kind == PAID_NOTICE:
        return work + PAID_MAX * WORK_LEAF, PAID_MAX, PAID_MAX * (PROOF_DENSE + PROOF_WORD)
    return work + 3 * WORK_LEAF, 3, PROOF_ACCOUNT + PROOF_MARKET + PROOF_BOARD


def deliver(kind: int, pos: int) -> Status:
    """Act on a message whose payload starts at ``pos``."""
    if kind != FORCED:
        return inbox.deliver(kind, pos)
    start = pos
    forced_kind, pos = encoding.read_byte(pos)
    status, pos = execute_kind(forced_kind, start, pos, True)
    return status
