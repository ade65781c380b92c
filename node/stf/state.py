"""The only way to state: ``get_``, ``set_`` and ``add_`` functions over the leaves of the trie, and their layouts.

Everything the rules read or write passes here, so this file also keeps the books that make a chunk provable: which
leaves it touched (the witness), which part of each order book it observed (the range proof), and what that costs in
work, leaves and proof bytes. The totals of the conservation law are updated by the setters from differences:

    accounts + insurance + fees - losses = deposits - withdrawn
    accounts  = sum over accounts of (collateral + sum over positions of (size * funding snapshot - cost))
    insurance = sum over markets of (cash + size * funding snapshot - cost)
    losses    = sum over markets and sides of (accounts' lots * loss index - sum of |size| * loss snapshot)

Per market long lots = short lots = open interest, the insurance's lots included.

One ledger is *bound* at a time, as a contract has one transient storage: the rules are synchronous, so nothing
interleaves, and call sites read the same in both languages. Records that a getter returns must be given back to the
setter to take effect; a ``strict`` ledger returns copies, as the contract does.

Layouts of leaves are in ``layout``.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from copy import copy
from typing import Protocol

from node.stf.layout import (
    GLOBAL_KEY,
    AccountRow,
    Globals,
    MarketRow,
    account_key,
    board_key,
    book_key,
    book_prefix,
    decode_account,
    decode_boards,
    decode_globals,
    decode_market,
    decode_order,
    encode_account,
    encode_boards,
    encode_globals,
    encode_market,
    encode_order,
    global_words,
    market_key,
    order_key,
    withdrawal_key,
)
from node.stf.params import (
    BOARD_MARKETS,
    BOARD_WORDS,
    GLOBAL_WORDS,
    MARKET_WORDS,
    MARKETS_MAX,
    PRICE_MAX,
    PROOF_DENSE,
    PROOF_ORDER,
    PROOF_VISIT,
    PROOF_WORD,
    WORK_LEAF,
)
from node.stf.types import (
    BUY,
    NO_INDEX,
    SELL,
    Board,
    Chain,
    Fill,
    Insurance,
    Key,
    Market,
    Order,
    Pending,
    Position,
    PriceState,
    Publisher,
    Status,
)

# what services use of leaves goes by this module too
__all__ = (
    "GLOBAL_KEY",
    "AccountRow",
    "Globals",
    "MarketRow",
    "account_key",
    "board_key",
    "book_key",
    "book_prefix",
    "decode_account",
    "decode_boards",
    "decode_globals",
    "decode_market",
    "decode_order",
    "encode_account",
    "encode_boards",
    "encode_globals",
    "encode_market",
    "encode_order",
    "global_words",
    "market_key",
    "order_key",
    "withdrawal_key",
)

_SEQ_MASK = (1 << 64) - 1


class Source(Protocol):
    """Committed leaves under the ledger."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a leaf, None if absent."""
        ...

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys of all leaves under a prefix, ascending."""
        ...


class Ledger:
    """State under execution: committed leaves below, decoded rows and the current chunk's books above."""

    __slots__ = (
        "accounts",
        "boards",
        "books",
        "dirty",
        "fills",
        "g",
        "leaves",
        "markets",
        "observed",
        "orders",
        "proof",
        "source",
        "statuses",
        "strict",
        "touched",
        "transactions",
        "withdrawals",
        "work",
    )

    def __init__(self, source: Source, *, strict: bool = False) -> None:
        self.source = source
        self.strict = strict
        self.accounts: dict[int, AccountRow] = {}
        self.markets: dict[int, MarketRow | None] = {}
        self.boards: dict[int, list[Board]] = {}
        self.orders: dict[tuple[int, int, int], Order] = {}  # (market, side, book key) of live leaves
        self.books: dict[tuple[int, int], list[int]] = {}  # (market, side) -> negated book keys, the best one last
        self.withdrawals: dict[int, tuple[int, int] | None] = {}  # None: deleted
        value = source.get(GLOBAL_KEY)
        self.g = decode_globals(value) if value is not None else Globals()
        # the current chunk
        self.touched: set[bytes] = set()
        self.dirty: set[bytes] = set()
        self.observed: dict[tuple[int, int], int] = {}  # (market, side) -> greatest book key seen as best
        self.work = 0
        self.proof = 0
        self.leaves = 0
        self.transactions = 0
        self.fills: list[Fill] = []
        self.statuses: list[Status] = []


_ledger: Ledger


def bind(ledger: Ledger) -> None:
    """Make a ledger the one that the rules act on."""
    global _ledger
    _ledger = ledger


# --- the chunk's books ------------------------------------------------------------------------------------------------


def begin_chunk() -> None:
    """Forget the last chunk's books. The global leaf is in every chunk."""
    led = _ledger
    led.touched = set()
    led.dirty = set()
    led.observed = {}
    led.work = 0
    led.proof = 0
    led.leaves = 0
    led.transactions = 0
    _touch(GLOBAL_KEY, PROOF_DENSE + GLOBAL_WORDS * PROOF_WORD)
    led.dirty.add(GLOBAL_KEY)


def spend_work(units: int) -> None:
    _ledger.work += units


def spend_proof(units: int) -> None:
    _ledger.proof += units


def get_work() -> int:
    return _ledger.work


def get_proof() -> int:
    return _ledger.proof


def get_leaves() -> int:
    return _ledger.leaves


def get_transactions() -> int:
    """Transactions executed in this chunk."""
    return _ledger.transactions


def set_transactions(count: int) -> None:
    _ledger.transactions = count


def _touch(key: bytes, proof: int) -> None:
    led = _ledger
    led.touched.add(key)
    led.work += WORK_LEAF
    led.proof += proof
    led.leaves += 1


# --- globals ----------------------------------------------------------------------------------------------------------


def get_time() -> int:
    return _ledger.g.time


def set_time(time: int) -> None:
    _ledger.g.time = time


def get_block_number() -> int:
    return _ledger.g.block_number


def set_block_number(number: int) -> None:
    _ledger.g.block_number = number


def get_position_number() -> int:
    """Transactions executed since genesis."""
    return _ledger.g.position


def set_position_number(position: int) -> None:
    _ledger.g.position = position


def get_cursor() -> int:
    """Inbox messages consumed since genesis."""
    return _ledger.g.cursor


def set_cursor(cursor: int) -> None:
    _ledger.g.cursor = cursor


def get_next_account() -> int:
    return _ledger.g.next_account


def get_last_anchor() -> int:
    """L2 time covered by the last noticed anchor, ms; 0 = none yet."""
    return _ledger.g.last_anchor


def set_last_anchor(time: int) -> None:
    _ledger.g.last_anchor = time


def get_sqrt_tau() -> int:
    """Square root of the un-anchored time, of ms * 1000."""
    return _ledger.g.sqrt_tau


def set_sqrt_tau(root: int) -> None:
    _ledger.g.sqrt_tau = root


def get_level() -> int:
    """What the chain's lag behind L1 allows: LEVEL_*."""
    return _ledger.g.level


def set_level(level: int) -> None:
    _ledger.g.level = level


def get_chain() -> Chain:
    """Parameters of the whole chain."""
    return copy(_ledger.g.chain) if _ledger.strict else _ledger.g.chain


def set_chain(chain: Chain) -> None:
    _ledger.g.chain = copy(chain)


def get_outflow() -> tuple[int, int]:
    """Micro-USD withdrawn that the limit still counts, as of a time, ms."""
    return _ledger.g.outflow, _ledger.g.outflow_at


def set_outflow(amount: int, at: int) -> None:
    _ledger.g.outflow = amount
    _ledger.g.outflow_at = at


def get_outflow_limit() -> int:
    """Micro-USD per OUTFLOW_WINDOW_MS; 0 = no limit."""
    return _ledger.g.outflow_limit


def set_outflow_limit(limit: int) -> None:
    _ledger.g.outflow_limit = limit


def get_fees() -> int:
    """Fees held, micro-USD; REST_FEE of every resting order among them may have to be given back."""
    return _ledger.g.fees


def get_resting() -> int:
    """Resting orders of all accounts, dead ones and triggers included."""
    return _ledger.g.resting


def add_fees(amount: int) -> None:
    _ledger.g.fees += amount


def add_deposits(amount: int) -> None:
    _ledger.g.deposits += amount


# --- accounts ---------------------------------------------------------------------------------------------------------


def account_exists(account: int) -> bool:
    """Ids are dense, so the counter decides and no absence needs proving."""
    return 0 < account < _ledger.g.next_account


def open_account(owner: int) -> int:
    """Create the next account with its owner key; returns its id."""
    led = _ledger
    account = led.g.next_account
    led.g.next_account = account + 1
    row = AccountRow()
    row.keys.append(Key(address=owner))
    led.accounts[account] = row
    key = account_key(account)
    _touch(key, PROOF_DENSE)
    led.dirty.add(key)
    return account


def _account(account: int) -> AccountRow:
    led = _ledger
    row = led.accounts.get(account)
    if row is None:
        value = led.source.get(account_key(account))
        assert value is not None, f"account {account} has no leaf"
        row = decode_account(value)
        led.accounts[account] = row
    key = account_key(account)
    if key not in led.touched:
        _touch(key, PROOF_DENSE + PROOF_WORD * _account_words(row))
    return row


def _account_words(row: AccountRow) -> int:
    return 1 + 2 * len(row.keys) + 3 * len(row.positions)


def _write_account(account: int) -> AccountRow:
    row = _account(account)
    _ledger.dirty.add(account_key(account))
    return row


def get_collateral(account: int) -> int:
    return _account(account).collateral


def add_collateral(account: int, amount: int) -> None:
    row = _write_account(account)
    row.collateral += amount
    _ledger.g.accounts_total += amount


def get_open_orders(account: int) -> int:
    return _account(account).open_orders


def add_open_orders(account: int, count: int) -> None:
    _write_account(account).open_orders += count
    _ledger.g.resting += count


def get_account_flags(account: int) -> int:
    """FLAG_* of an account."""
    return _account(account).flags


def set_account_flags(account: int, flags: int) -> None:
    _write_account(account).flags = flags


def get_cancel_at(account: int) -> int:
    """When the dead man's switch kills the account's orders, ms; 0 = off."""
    return _account(account).cancel_at


def set_cancel_at(account: int, time: int) -> None:
    _write_account(account).cancel_at = time


def get_buffer(account: int) -> tuple[int, int]:
    """Latency buffer used up, ms, and when it was last counted."""
    row = _account(account)
    return row.buffer, row.buffer_at


def set_buffer(account: int, used: int, at: int) -> None:
    row = _write_account(account)
    row.buffer = used
    row.buffer_at = at


def get_key_count(account: int) -> int:
    return len(_account(account).keys)


def get_key(account: int, slot: int) -> Key:
    """The key slot, or an empty one where none is set."""
    led = _ledger
    keys = _account(account).keys
    if slot >= len(keys):
        return Key()
    return copy(keys[slot]) if led.strict else keys[slot]


def set_key(account: int, slot: int, key: Key) -> None:
    """Write a slot; slots between the last used one and this become empty ones."""
    keys = _write_account(account).keys
    while len(keys) <= slot:
        keys.append(Key())
    keys[slot] = copy(key) if _ledger.strict else key


def get_position_count(account: int) -> int:
    return len(_account(account).positions)


def find_position(account: int, market: int) -> int:
    """Index of the account's position slot in a market, or NO_INDEX."""
    index = 0
    for position in _account(account).positions:
        if position.market == market:
            return index
        index += 1
    return NO_INDEX


def get_position(account: int, index: int) -> Position:
    position = _account(account).positions[index]
    return copy(position) if _ledger.strict else position


def set_position(account: int, index: int, position: Position) -> None:
    """Write a position. Totals follow what it holds; lots that an account takes or leaves go by ``add_side_lots``."""
    led = _ledger
    row = _write_account(account)
    booked = position.size * position.funding - position.cost
    losses = abs(position.size) * position.loss
    led.g.accounts_total += booked - row.booked_positions[index]
    led.g.losses_total -= losses - row.booked_losses[index]
    row.booked_positions[index] = booked
    row.booked_losses[index] = losses
    row.positions[index] = copy(position) if led.strict else position


def add_position(account: int, position: Position) -> int:
    """Append a position slot; returns its index."""
    row = _write_account(account)
    row.positions.append(Position(market=position.market))
    row.booked_positions.append(0)
    row.booked_losses.append(0)
    index = len(row.positions) - 1
    set_position(account, index, position)
    return index


def remove_position(account: int, index: int) -> None:
    """Free an empty slot; the last one moves into its place."""
    row = _write_account(account)
    assert row.booked_positions[index] == 0 and row.booked_losses[index] == 0, "only empty positions are removed"
    last = len(row.positions) - 1
    if index != last:
        row.positions[index] = row.positions[last]
        row.booked_positions[index] = row.booked_positions[last]
        row.booked_losses[index] = row.booked_losses[last]
    row.positions.pop()
    row.booked_positions.pop()
    row.booked_losses.pop()


# --- markets ----------------------------------------------------------------------------------------------------------


def _market(market: int) -> MarketRow:
    """The market's row; only for markets that exist (their board entry has a status)."""
    led = _ledger
    row = led.markets.get(market)
    if row is None:
        value = led.source.get(market_key(market))
        assert value is not None, f"market {market} has no leaf"
        row = decode_market(value)
        led.markets[market] = row
    key = market_key(market)
    if key not in led.touched:
        _touch(key, PROOF_DENSE + PROOF_WORD * (MARKET_WORDS + len(row.publishers)))
    return row


def _write_market(market: int) -> MarketRow:
    row = _market(market)
    _ledger.dirty.add(market_key(market))
    return row


def create_market(market: int) -> None:
    """Create a market's leaf; the caller sets its board entry and configuration."""
    led = _ledger
    led.markets[market] = MarketRow()
    key = market_key(market)
    _touch(key, PROOF_DENSE)
    led.dirty.add(key)


def get_market(market: int) -> Market:
    config = _market(market).config
    return copy(config) if _ledger.strict else config


def set_market(market: int, config: Market) -> None:
    _write_market(market).config = copy(config)


def get_next_seq(market: int) -> int:
    return _market(market).next_seq


def take_seq(market: int) -> int:
    """The next order sequence of a market, used up."""
    row = _write_market(market)
    seq = row.next_seq
    row.next_seq = seq + 1
    return seq


def get_open_interest(market: int) -> int:
    return _market(market).open_interest


def add_open_interest(market: int, lots: int) -> None:
    _write_market(market).open_interest += lots


def add_side_lots(market: int, longs: int, shorts: int) -> None:
    """Lots that accounts hold on each side changed, by signed numbers: they carry the side's loss index from now on."""
    if longs == 0 and shorts == 0:
        return
    board = get_board(market)
    _ledger.g.losses_total += longs * board.loss_long + shorts * board.loss_short


def add_loss(market: int, side: int, lots: int, per_lot: int) -> None:
    """Charge ``per_lot`` micro-USD to each of the ``lots`` that accounts hold on a side (BUY: the long one).

    Writes the board: one that the caller got before is out of date.
    """
    board = get_board(market)
    if side == BUY:
        board.loss_long += per_lot
    else:
        board.loss_short += per_lot
    set_board(market, board)
    _ledger.g.losses_total += lots * per_lot


def get_insurance(market: int) -> Insurance:
    insurance = _market(market).insurance
    return copy(insurance) if _ledger.strict else insurance


def set_insurance(market: int, insurance: Insurance) -> None:
    row = _write_market(market)
    booked = insurance.cash + insurance.size * insurance.funding - insurance.cost
    _ledger.g.insurance_total += booked - row.booked_insurance
    row.booked_insurance = booked
    row.insurance = copy(insurance)


def add_insurance(market: int, amount: int) -> None:
    """Change a market's insurance cash, micro-USD."""
    row = _write_market(market)
    row.insurance.cash += amount
    row.booked_insurance += amount
    _ledger.g.insurance_total += amount


def get_price_state(market: int) -> PriceState:
    prices = _market(market).prices
    return copy(prices) if _ledger.strict else prices


def set_price_state(market: int, prices: PriceState) -> None:
    _write_market(market).prices = copy(prices)


def get_jump_price(market: int) -> int:
    """A median that must hold before it is believed, ticks; 0 = none."""
    return _market(market).prices.jump_price


def get_expiry(market: int) -> int:
    """When a dated future expires, ms; 0 = perpetual."""
    return _market(market).config.expiry


def get_reduced(market: int) -> tuple[int, int]:
    """Number of a block, and the lots that predictive reductions have closed in it."""
    return _market(market).reduced


def set_reduced(market: int, number: int, lots: int) -> None:
    _write_market(market).reduced = (number, lots)


def get_twap(market: int) -> tuple[int, int]:
    """Sum of mark * ms inside the settlement window, and the ms it covers."""
    return _market(market).twap


def set_twap(market: int, total: int, covered_ms: int) -> None:
    _write_market(market).twap = (total, covered_ms)


def get_pending(market: int) -> Pending:
    pending = _market(market).pending
    return copy(pending) if _ledger.strict else pending


def set_pending(market: int, pending: Pending) -> None:
    _write_market(market).pending = copy(pending)


def get_publisher_count(market: int) -> int:
    return len(_market(market).publishers)


def get_publisher(market: int, slot: int) -> Publisher:
    """The publisher slot, or an empty one where none is set."""
    publishers = _market(market).publishers
    if slot >= len(publishers):
        return Publisher()
    return copy(publishers[slot]) if _ledger.strict else publishers[slot]


def set_publisher(market: int, slot: int, publisher: Publisher) -> None:
    publishers = _write_market(market).publishers
    while len(publishers) <= slot:
        publishers.append(Publisher())
    publishers[slot] = copy(publisher) if _ledger.strict else publisher


def _boards(group: int) -> list[Board]:
    led = _ledger
    boards = led.boards.get(group)
    if boards is None:
        value = led.source.get(board_key(group))
        boards = decode_boards(value) if value is not None else []
        led.boards[group] = boards
    key = board_key(group)
    if key not in led.touched:
        _touch(key, PROOF_DENSE + PROOF_WORD * BOARD_WORDS * len(boards))
    return boards


def get_board(market: int) -> Board:
    """The market's board entry, or an empty one (status NO_SUCH_MARKET). Ids from MARKETS_MAX on have no leaf."""
    if market >= MARKETS_MAX:
        return Board()
    boards = _boards(market // BOARD_MARKETS)
    index = market % BOARD_MARKETS
    if index >= len(boards):
        return Board()
    return copy(boards[index]) if _ledger.strict else boards[index]


def set_board(market: int, board: Board) -> None:
    group = market // BOARD_MARKETS
    boards = _boards(group)
    _ledger.dirty.add(board_key(group))
    index = market % BOARD_MARKETS
    while len(boards) <= index:
        boards.append(Board())
    boards[index] = copy(board) if _ledger.strict else board


# --- the book ---------------------------------------------------------------------------------------------------------


def _book(market: int, side: int) -> list[int]:
    led = _ledger
    book = led.books.get((market, side))
    if book is None:
        book = [-int.from_bytes(key[4:16], "big") for key in led.source.keys(book_prefix(market, side))]
        book.reverse()
        led.books[(market, side)] = book
    return book


def get_best(market: int, side: int) -> tuple[int, int]:
    """(price, sequence) of the best resting order of a side, dead ones included; (0, 0) if there is none.

    The look is part of the proof: every order up to the best one seen must be in the witness.
    """
    led = _ledger
    book = _book(market, side)
    observed = led.observed.get((market, side))
    if observed is None:
        led.proof += PROOF_ORDER
        observed = 0
    if not book:
        led.observed[(market, side)] = (1 << 96) - 1
        return 0, 0
    best = -book[-1]
    led.observed[(market, side)] = max(observed, best)
    return _visit(market, side, best)


def get_next(market: int, side: int, price: int, seq: int) -> tuple[int, int]:
    """(price, sequence) of the order that stands next behind a place, dead ones included; (0, 0) if there is none.

    The place must have been seen (``get_best`` or this). The look is part of the proof, as there.
    """
    led = _ledger
    book = _book(market, side)
    behind = bisect_left(book, -book_key(side, price, seq))  # what is better stands after it
    if behind == 0:
        led.observed[(market, side)] = (1 << 96) - 1
        return 0, 0
    place = -book[behind - 1]
    led.observed[(market, side)] = max(led.observed[(market, side)], place)
    return _visit(market, side, place)


def _visit(market: int, side: int, place: int) -> tuple[int, int]:
    """Touch an order that was found at the book's edge."""
    price = place >> 64
    if side & 1 != SELL:
        price = PRICE_MAX - price
    seq = place & _SEQ_MASK
    key = order_key(market, side, price, seq)
    if key not in _ledger.touched:
        _touch(key, PROOF_VISIT)
    return price, seq


def get_order(market: int, side: int, price: int, seq: int) -> Order:
    """A resting order; lots 0 where there is none."""
    led = _ledger
    key = order_key(market, side, price, seq)
    if key not in led.touched:
        _touch(key, PROOF_ORDER)
    order = _stored_order(market, side, book_key(side, price, seq), key)
    if order is None:
        return Order()
    return copy(order) if led.strict else order


def _stored_order(market: int, side: int, place: int, key: bytes) -> Order | None:
    led = _ledger
    order = led.orders.get((market, side, place))
    if order is None:
        book = _book(market, side)
        at = bisect_left(book, -place)
        if at == len(book) or book[at] != -place:
            return None
        value = led.source.get(key)
        assert value is not None, "an indexed order has a leaf"
        order = decode_order(value)
        led.orders[(market, side, place)] = order
    return order


def set_order(market: int, side: int, price: int, seq: int, order: Order) -> None:
    """Write, insert, or (lots 0) remove a resting order."""
    led = _ledger
    key = order_key(market, side, price, seq)
    if key not in led.touched:
        _touch(key, PROOF_ORDER)
    led.dirty.add(key)
    place = book_key(side, price, seq)
    book = _book(market, side)
    at = bisect_left(book, -place)
    present = at < len(book) and book[at] == -place
    if order.lots == 0:
        if present:
            del book[at]
        led.orders.pop((market, side, place), None)
        return
    if not present:
        insort(book, -place)
    led.orders[(market, side, place)] = copy(order) if led.strict else order


# --- withdrawals ------------------------------------------------------------------------------------------------------


def create_withdrawal(recipient: int, amount: int) -> int:
    """Create the next withdrawal leaf; returns its id."""
    led = _ledger
    withdrawal = led.g.next_withdrawal
    led.g.next_withdrawal = withdrawal + 1
    led.g.withdrawn += amount
    led.withdrawals[withdrawal] = (recipient, amount)
    key = withdrawal_key(withdrawal)
    _touch(key, PROOF_DENSE)
    led.dirty.add(key)
    return withdrawal


def remove_withdrawal(withdrawal: int) -> None:
    """Delete a withdrawal's leaf, if there is one. An id that was never given has none, and needs no proof of that."""
    led = _ledger
    if not 0 < withdrawal < led.g.next_withdrawal:
        return
    key = withdrawal_key(withdrawal)
    if key not in led.touched:
        _touch(key, PROOF_DENSE + PROOF_WORD)
    if withdrawal in led.withdrawals:
        present = led.withdrawals[withdrawal] is not None
    else:
        present = led.source.get(key) is not None
    if present:
        led.withdrawals[withdrawal] = None
        led.dirty.add(key)


# --- receipts (no twin: the contract keeps none) ----------------------------------------------------------------------


def note_fill(fill: Fill) -> None:
    _ledger.fills.append(fill)


def take_fills() -> list[Fill]:
    fills = _ledger.fills
    _ledger.fills = []
    return fills


def note_status(status: Status) -> None:
    """Keep the status of one action of the current transaction."""
    _ledger.statuses.append(status)


def take_statuses() -> list[Status]:
    statuses = _ledger.statuses
    _ledger.statuses = []
    return statuses


# --- leaves -----------------------------------------------------------------------------------------------------------


def write_set() -> dict[bytes, bytes | None]:
    """The chunk's changes: key -> new value, None = deleted."""
    return {key: encode_leaf(key) for key in _ledger.dirty}


def observed_ranges() -> tuple[tuple[bytes, bytes], ...]:
    """The parts of books that the chunk looked at, as inclusive key intervals, ascending."""
    ranges = []
    for (market, side), place in sorted(_ledger.observed.items()):
        prefix = book_prefix(market, side)
        high = b"\xff" * 28 if place == (1 << 96) - 1 else place.to_bytes(12, "big") + bytes(16)
        ranges.append((prefix + bytes(28), prefix + high))
    return tuple(ranges)


def encode_leaf(key: bytes) -> bytes | None:
    """Current value of a leaf that this ledger has touched; None if it does not exist."""
    led = _ledger
    kind = key[0]
    if kind == 0x41:
        return encode_account(led.accounts[int.from_bytes(key[1:5], "big")])
    if kind == 0x4F:
        order = led.orders.get((int.from_bytes(key[1:3], "big"), key[3], int.from_bytes(key[4:16], "big")))
        return None if order is None else encode_order(order)
    if kind == 0x4D:
        row = led.markets[int.from_bytes(key[1:3], "big")]
        return None if row is None else encode_market(row)
    if kind == 0x42:
        return encode_boards(led.boards[key[1]])
    if kind == 0x57:
        withdrawal = led.withdrawals[int.from_bytes(key[1:9], "big")]
        return None if withdrawal is None else (withdrawal[0] << 64 | withdrawal[1]).to_bytes(32, "big")
    return encode_globals(led.g)
