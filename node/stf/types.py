"""The nouns of the rules: status codes, transaction kinds, and the records that leaves hold.

Records are plain mutable rows with named fields; ``contracts/stf/types.vy`` has structs of the same names. Layouts in
words are in ``state`` and in ``contracts/README.md``. Signed fields are marked; everything else is unsigned.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """What became of a transaction or an action. Never an exception: whatever a user sends has a status."""

    OK = 0
    # the envelope
    BAD_SIGNATURE = 1  # no key recovers from the signature
    NO_ACCOUNT = 2
    NO_KEY = 3  # the slot is empty, or belongs to another key
    KEY_EXPIRED = 4
    EXPIRED = 5  # the signature's own expiry has passed
    EXPIRY_TOO_FAR = 6
    NONCE_USED = 7
    NONCE_TOO_OLD = 8
    NONCE_TOO_NEW = 9
    # orders
    NO_MARKET = 11
    MARKET_HALTED = 12
    MARKET_REDUCE_ONLY = 13
    MARKET_BUSY = 14  # a crossing order is still being matched
    STALE_PRICE = 15
    BAD_PRICE = 16
    PRICE_BAND = 17
    BAD_LOTS = 18
    MIN_NOTIONAL = 19
    TOO_LARGE = 20
    OI_CAP = 21
    TOO_MANY_ORDERS = 22
    TOO_MANY_POSITIONS = 23
    INSUFFICIENT_MARGIN = 24
    WOULD_CROSS = 25
    UNSUPPORTED = 26
    ORDER_NOT_FOUND = 27
    NOT_YOUR_ORDER = 28
    ORDER_EXPIRED = 29
    PENDING = 30  # accepted; the rest waits for Continue
    # the other kinds
    BAD_SLOT = 31
    BAD_RECIPIENT = 32
    BAD_AMOUNT = 33
    INSUFFICIENT_FREE = 34
    NO_PUBLISHER = 35
    BAD_TIME = 36
    NOT_PENDING = 37
    NO_POSITION = 38
    NOT_LIQUIDATABLE = 39
    NO_LIQUIDITY = 40
    NO_MESSAGE = 41
    BAD_MESSAGE = 42
    FORCED_INVALID = 43  # a forced transaction that does not decode


# transaction kinds: the first byte
ACTIONS: Final = 1
RESUME: Final = 2
WITHDRAW: Final = 3
SET_KEY: Final = 4
ORACLE_PRICE: Final = 5
LIQUIDATE: Final = 6
SWEEP: Final = 7
INBOX: Final = 8
BLOCK: Final = 9

# inbox message kinds: their first byte
DEPOSIT: Final = 1
FORCED: Final = 2
ANCHOR_NOTICE: Final = 4
ROLLBACK_NOTICE: Final = 5
ADMIN: Final = 6
# admin messages
CONFIGURE_MARKET: Final = 1
SET_PUBLISHER: Final = 2

# action ops: the top three bits of an action's first byte
PLACE: Final = 1
CANCEL: Final = 2
CANCEL_ALL: Final = 3

BUY: Final = 0
SELL: Final = 1

# time in force
GTC: Final = 0
IOC: Final = 1
FOK: Final = 2  # reserved
POST_ONLY: Final = 3
LIQUIDATION: Final = 4  # never on the wire: the rules' own order

# market status
NO_SUCH_MARKET: Final = 0
OPEN: Final = 1
REDUCE_ONLY: Final = 2
HALTED: Final = 3

NO_INDEX: Final = 0xFFFF  # "no such index"


@dataclass(slots=True)
class Key:
    """A key slot. Slot 0 is the owner and never expires."""

    address: int = 0
    expiry: int = 0  # 0 = never
    nonce_high: int = 0
    nonce_map: int = 0  # bit i: nonce_high - i is used


@dataclass(slots=True)
class Position:
    """A position and the orders resting with it. ``min_seq``: orders of a lower sequence are dead."""

    size: int = 0  # signed, lots
    cost: int = 0  # signed, micro-USD
    funding: int = 0  # signed, index snapshot
    loss: int = 0  # signed, index snapshot
    buy_lots: int = 0
    sell_lots: int = 0
    buy_notional: int = 0
    sell_notional: int = 0
    min_seq: int = 0
    market: int = 0
    open_orders: int = 0
    reduce_lots: int = 0

    def __copy__(self) -> "Position":
        """Written out because every match copies two, and the generic way takes four times as long."""
        return Position(
            self.size, self.cost, self.funding, self.loss, self.buy_lots, self.sell_lots, self.buy_notional,
            self.sell_notional, self.min_seq, self.market, self.open_orders, self.reduce_lots)


@dataclass(slots=True)
class Board:
    """What margin needs of one market."""

    mark: int = 0  # ticks
    mark_time: int = 0  # ms: the quorum-th newest publication
    tick_value: int = 0  # micro-USD per tick and lot
    status: int = 0
    mm_base: int = 0  # ppm
    mm_cap: int = 0
    im_base: int = 0
    im_cap: int = 0
    stale_ms: int = 0
    funding: int = 0  # signed, micro-USD per lot
    loss_long: int = 0  # signed
    loss_short: int = 0  # signed
    impact: int = 0  # micro-USD of notional per ppm
    variance: int = 0
    addon: int = 0  # reserved for the finality add-on: floor, z, cap


@dataclass(slots=True)
class Market:
    """How a market trades; set by admin messages."""

    oi_cap: int = 0  # lots
    min_notional: int = 0  # micro-USD
    taker_fee: int = 0  # ppm of notional
    maker_fee: int = 0
    penalty: int = 0  # ppm of liquidated notional, to insurance
    band: int = 0  # ppm of mark
    quorum: int = 0  # fresh publishers that a mark needs


@dataclass(slots=True)
class Pending:
    """The crossing order of a market that waits for Continue; lots 0 = none."""

    account: int = 0
    lots: int = 0
    price: int = 0
    client_id: int = 0
    expiry: int = 0
    side: int = 0
    tif: int = 0


@dataclass(slots=True)
class Publisher:
    address: int = 0
    price: int = 0
    time: int = 0


@dataclass(slots=True)
class Order:
    account: int = 0
    lots: int = 0
    client_id: int = 0
    expiry: int = 0  # ms, 0 = good till cancelled
    flags: int = 0  # reserved


@dataclass(slots=True)
class Action:
    """One action of an ``Actions`` transaction, as decoded."""

    op: int = 0
    market: int = 0
    side: int = 0
    price: int = 0
    lots: int = 0
    tif: int = 0
    reduce_only: int = 0
    client_id: int = 0
    expiry: int = 0
    seq: int = 0  # of the order a cancel names


@dataclass(slots=True)
class Terms:
    """What one position, or all of an account's, adds to its margin. Micro-USD."""

    equity: int = 0
    initial: int = 0
    maintenance: int = 0
    profit: int = 0  # unrealized, positive parts only
    stale: int = 0  # positions whose price is not fresh


@dataclass(slots=True)
class Fill:
    """One match, for receipts; the rules do not read it."""

    market: int
    price: int
    lots: int
    maker: int
    maker_client_id: int
    maker_seq: int
    taker: int
    taker_side: int
    taker_fee: int
    maker_fee: int


@dataclass(slots=True)
class Receipt:
    """What a transaction did, for RPC; the rules do not read it."""

    kind: int
    position: int
    time: int
    status: Status
    action_statuses: list[Status] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
