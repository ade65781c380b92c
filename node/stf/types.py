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
    # the derivatives engine
    BUFFERED = 44  # under maintenance margin, inside the latency buffer
    RECOVERED = 45  # back above maintenance margin: the buffer refills
    REDUCE_ONLY_SIZE = 46  # reduce-only orders may together not exceed the position
    FOK_UNFILLED = 47  # not enough liquidity that crosses
    FOK_TOO_DEEP = 48  # enough may lie deeper than one transaction may look
    SWITCH_FIRED = 49  # the dead man's switch has killed the account's orders
    TRIGGER_NOT_REACHED = 50
    NOTHING_TO_SWEEP = 51
    MARKET_EXPIRED = 52
    NOT_SETTLING = 53
    OUTFLOW_LIMIT = 54  # of all accounts together, per window
    REDUCED_ENOUGH = 55  # predictive reductions of this block have reached their cap
    SELF_TRADE = 56  # the order met its own account's and was cancelled


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
TRIGGER_FIRE: Final = 10
SETTLE: Final = 11

# inbox message kinds: their first byte
DEPOSIT: Final = 1
FORCED: Final = 2
PAID_NOTICE: Final = 3
ANCHOR_NOTICE: Final = 4
ROLLBACK_NOTICE: Final = 5
ADMIN: Final = 6
# admin messages
CONFIGURE_MARKET: Final = 1
SET_PUBLISHER: Final = 2
CONFIGURE_RISK: Final = 3
CONFIGURE_CHAIN: Final = 4
FUND_INSURANCE: Final = 5

# action ops: the top three bits of an action's first byte
PLACE: Final = 1
CANCEL: Final = 2
CANCEL_ALL: Final = 3
AMEND: Final = 4
CANCEL_AT: Final = 5
TRIGGER: Final = 6
OPTIONS: Final = 7

BUY: Final = 0
SELL: Final = 1
# triggers rest on two more sides of a book; the low bit says, as for orders, which way prices are sorted
TRIGGER_FALL: Final = 2  # fires when the mark is at or below its price: the highest first
TRIGGER_RISE: Final = 3  # fires when the mark is at or above its price: the lowest first

# time in force
GTC: Final = 0
IOC: Final = 1
FOK: Final = 2
POST_ONLY: Final = 3
LIQUIDATION: Final = 4  # never on the wire: the rules' own order

# market status
NO_SUCH_MARKET: Final = 0
OPEN: Final = 1
REDUCE_ONLY: Final = 2
HALTED: Final = 3
SETTLING: Final = 4  # a dated future that has expired: its mark is final

# what becomes of an order that meets its own account's
CANCEL_RESTING: Final = 0
CANCEL_TAKER: Final = 1
CANCEL_BOTH: Final = 2

# flags of an account
FLAG_BUFFERED: Final = 1  # the latency buffer runs
FLAG_OPT_IN: Final = 2  # predictive reduction also while above maintenance margin
# flags of a resting order
ORDER_REDUCE_ONLY: Final = 1
ORDER_TRIGGER_SELL: Final = 2  # a trigger whose order sells

# level of the chain, by how long ago it was anchored
LEVEL_OPEN: Final = 0
LEVEL_REDUCE: Final = 1
LEVEL_HALT: Final = 2

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
    """A position and the orders resting with it. ``min_seq``: orders of a lower sequence are dead (of reduce-only and
    trigger orders those below ``reduce_min_seq``)."""

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
    reduce_lots: int = 0  # resting reduce-only and trigger orders
    reduce_min_seq: int = 0

    def __copy__(self) -> "Position":
        """Written out because every match copies two, and the generic way takes four times as long."""
        return Position(
            self.size, self.cost, self.funding, self.loss, self.buy_lots, self.sell_lots, self.buy_notional,
            self.sell_notional, self.min_seq, self.market, self.open_orders, self.reduce_lots, self.reduce_min_seq)


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
    risk: int = 0  # z * max(floor, volatility): 1/100 ppb per square root of a second
    addon_cap: int = 0  # ppm


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
    near_band: int = 0  # ppm of mark: limit of predictive slices and of insurance's orders
    z: int = 0  # 1/100: how many standard deviations the add-on covers; 0 = no add-on
    sigma_floor: int = 0  # least volatility, ppb per square root of a second
    vol_sample_ms: int = 0  # least time between two samples
    vol_window: int = 0  # ms; 0 = no samples
    reduce_cap: int = 0  # ppm of open interest that predictive slices may close in a block
    basis_cap: int = 0  # ppm of index
    spread_max: int = 0  # ppm of mid: a wider book gives no basis sample
    basis_window: int = 0  # ms; 0 = no basis
    jump_limit: int = 0  # ppm of index: a median further away must hold; 0 = any is taken
    jump_hold: int = 0  # ms that it must hold
    expiry: int = 0  # ms; 0 = perpetual


@dataclass(slots=True)
class PriceState:
    """What the price rules remember of one market between publications."""

    index: int = 0  # ticks: the last accepted median
    basis: int = 0  # signed, 2**-16 ticks
    basis_time: int = 0
    variance: int = 0  # ppb**2 per second
    sample_price: int = 0
    sample_time: int = 0
    funding_acc: int = 0  # signed: what is not yet a micro-USD per lot, in 1/FUNDING_UNIT
    funding_time: int = 0
    jump_price: int = 0  # a median that must hold before it is believed; 0 = none
    jump_at: int = 0


@dataclass(slots=True)
class Insurance:
    """A market's insurance: cash, and the position that it took over."""

    cash: int = 0  # signed, micro-USD
    size: int = 0  # signed, lots
    cost: int = 0  # signed
    funding: int = 0  # signed, index snapshot


@dataclass(slots=True)
class Chain:
    """Parameters of the whole chain; set by admin messages."""

    anchor_interval: int = 0  # ms
    tau_reduce: int = 0  # ms un-anchored from which markets are reduce-only; 0 = never
    tau_halt: int = 0
    buffer_ms: int = 0  # of fresh time under maintenance margin before hard liquidation
    refill: int = 0  # ms of health that give back one ms of the buffer; 0 = at once
    horizon_root: int = 0  # square root of the horizon of predictive reduction, of ms * 1000
    closeout: int = 0  # ppm of maintenance margin under which liquidation is hard


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
    reduce_only: int = 0
    self_trade: int = 0  # what becomes of it when it meets its own account's orders


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
    flags: int = 0  # ORDER_*
    limit: int = 0  # of a trigger's order, ticks; 0 = the band when it fires


@dataclass(slots=True)
class Action:
    """One action of an ``Actions`` transaction, as decoded."""

    op: int = 0
    market: int = 0
    side: int = 0  # of a cancel the book's side, 0 to 3
    price: int = 0
    lots: int = 0
    tif: int = 0
    reduce_only: int = 0
    client_id: int = 0
    expiry: int = 0
    seq: int = 0  # of the order that a cancel or amend names
    self_trade: int = 0
    limit: int = 0  # of a trigger's order; ``price`` is where it fires
    direction: int = 0  # of a trigger: 1 fires when the mark rises to it
    opt_in: int = 0  # of options


@dataclass(slots=True)
class Terms:
    """What one position, or all of an account's, adds to its margin. Micro-USD."""

    equity: int = 0
    initial: int = 0
    maintenance: int = 0
    profit: int = 0  # unrealized, positive parts only
    stale: int = 0  # positions whose price is not fresh
    shock: int = 0  # sum of notional * risk, raw
    haircut: int = 0  # what stale marks take off equity


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
