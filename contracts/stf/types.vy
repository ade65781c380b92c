# pragma version 0.4.3
"""
@title  The nouns of the rules: status codes, transaction kinds, and the records that leaves hold
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/types.py. A status is a uint256; `Status.NO_MARKET` there is `types.NO_MARKET` here, with the same number.
        Records have the same fields in the same order: int256 where Python says "signed", uint256 otherwise. Fill and Receipt
        are for RPC and have no twin.
"""

# What became of a transaction or an action. Never a revert: whatever a user sends has a status.
OK: constant(uint256) = 0
# the envelope
BAD_SIGNATURE: constant(uint256) = 1  # no key recovers from the signature
NO_ACCOUNT: constant(uint256) = 2
NO_KEY: constant(uint256) = 3  # the slot is empty, or belongs to another key
KEY_EXPIRED: constant(uint256) = 4
EXPIRED: constant(uint256) = 5  # the signature's own expiry has passed
EXPIRY_TOO_FAR: constant(uint256) = 6
NONCE_USED: constant(uint256) = 7
NONCE_TOO_OLD: constant(uint256) = 8
NONCE_TOO_NEW: constant(uint256) = 9
# orders
NO_MARKET: constant(uint256) = 11
MARKET_HALTED: constant(uint256) = 12
MARKET_REDUCE_ONLY: constant(uint256) = 13
MARKET_BUSY: constant(uint256) = 14  # a crossing order is still being matched
STALE_PRICE: constant(uint256) = 15
BAD_PRICE: constant(uint256) = 16
PRICE_BAND: constant(uint256) = 17
BAD_LOTS: constant(uint256) = 18
MIN_NOTIONAL: constant(uint256) = 19
TOO_LARGE: constant(uint256) = 20
OI_CAP: constant(uint256) = 21
TOO_MANY_ORDERS: constant(uint256) = 22
TOO_MANY_POSITIONS: constant(uint256) = 23
INSUFFICIENT_MARGIN: constant(uint256) = 24
WOULD_CROSS: constant(uint256) = 25
ORDER_NOT_FOUND: constant(uint256) = 27
NOT_YOUR_ORDER: constant(uint256) = 28
ORDER_EXPIRED: constant(uint256) = 29
PENDING: constant(uint256) = 30  # accepted; the rest waits for Continue
# the other kinds
BAD_SLOT: constant(uint256) = 31
BAD_RECIPIENT: constant(uint256) = 32
BAD_AMOUNT: constant(uint256) = 33
INSUFFICIENT_FREE: constant(uint256) = 34
NO_PUBLISHER: constant(uint256) = 35
BAD_TIME: constant(uint256) = 36
NOT_PENDING: constant(uint256) = 37
NO_POSITION: constant(uint256) = 38
NOT_LIQUIDATABLE: constant(uint256) = 39
NO_LIQUIDITY: constant(uint256) = 40
NO_MESSAGE: constant(uint256) = 41
BAD_MESSAGE: constant(uint256) = 42
FORCED_INVALID: constant(uint256) = 43  # a forced transaction that does not decode
# the derivatives engine
BUFFERED: constant(uint256) = 44  # under maintenance margin, inside the latency buffer
RECOVERED: constant(uint256) = 45  # back above maintenance margin: the buffer refills
REDUCE_ONLY_SIZE: constant(uint256) = 46  # reduce-only orders may together not exceed the position
FOK_UNFILLED: constant(uint256) = 47  # not enough liquidity that crosses
FOK_TOO_DEEP: constant(uint256) = 48  # enough may lie deeper than one transaction may look
SWITCH_FIRED: constant(uint256) = 49  # the dead man's switch has killed the account's orders
TRIGGER_NOT_REACHED: constant(uint256) = 50
NOTHING_TO_SWEEP: constant(uint256) = 51
MARKET_EXPIRED: constant(uint256) = 52
NOT_SETTLING: constant(uint256) = 53
OUTFLOW_LIMIT: constant(uint256) = 54  # of all accounts together, per window
REDUCED_ENOUGH: constant(uint256) = 55  # predictive reductions of this block have reached their cap
SELF_TRADE: constant(uint256) = 56  # the order met its own account's and was cancelled

# transaction kinds: the first byte
ACTIONS: constant(uint256) = 1
RESUME: constant(uint256) = 2
WITHDRAW: constant(uint256) = 3
SET_KEY: constant(uint256) = 4
ORACLE_PRICE: constant(uint256) = 5
LIQUIDATE: constant(uint256) = 6
SWEEP: constant(uint256) = 7
INBOX: constant(uint256) = 8
BLOCK: constant(uint256) = 9
TRIGGER_FIRE: constant(uint256) = 10
SETTLE: constant(uint256) = 11

# inbox message kinds: their first byte
DEPOSIT: constant(uint256) = 1
FORCED: constant(uint256) = 2
PAID_NOTICE: constant(uint256) = 3
ANCHOR_NOTICE: constant(uint256) = 4
ROLLBACK_NOTICE: constant(uint256) = 5
ADMIN: constant(uint256) = 6
# admin messages
CONFIGURE_MARKET: constant(uint256) = 1
SET_PUBLISHER: constant(uint256) = 2
CONFIGURE_RISK: constant(uint256) = 3
CONFIGURE_CHAIN: constant(uint256) = 4
FUND_INSURANCE: constant(uint256) = 5

# action ops: the top three bits of an action's first byte
PLACE: constant(uint256) = 1
CANCEL: constant(uint256) = 2
CANCEL_ALL: constant(uint256) = 3
AMEND: constant(uint256) = 4
CANCEL_AT: constant(uint256) = 5
TRIGGER: constant(uint256) = 6
OPTIONS: constant(uint256) = 7

BUY: constant(uint256) = 0
SELL: constant(uint256) = 1
# triggers rest on two more sides of a book; the low bit says, as for orders, which way prices are sorted
TRIGGER_FALL: constant(uint256) = 2  # fires when the mark is at or below its price: the highest first
TRIGGER_RISE: constant(uint256) = 3  # fires when the mark is at or above its price: the lowest first

# time in force
GTC: constant(uint256) = 0
IOC: constant(uint256) = 1
FOK: constant(uint256) = 2
POST_ONLY: constant(uint256) = 3
LIQUIDATION: constant(uint256) = 4  # never on the wire: the rules' own order

# market status
NO_SUCH_MARKET: constant(uint256) = 0
OPEN: constant(uint256) = 1
REDUCE_ONLY: constant(uint256) = 2
HALTED: constant(uint256) = 3
SETTLING: constant(uint256) = 4  # a dated future that has expired: its mark is final

# what becomes of an order that meets its own account's
CANCEL_RESTING: constant(uint256) = 0
CANCEL_TAKER: constant(uint256) = 1
CANCEL_BOTH: constant(uint256) = 2

# flags of an account
FLAG_BUFFERED: constant(uint256) = 1  # the latency buffer runs
FLAG_OPT_IN: constant(uint256) = 2  # predictive reduction also while above maintenance margin
# flags of a resting order
ORDER_REDUCE_ONLY: constant(uint256) = 1
ORDER_TRIGGER_SELL: constant(uint256) = 2  # a trigger whose order sells

# level of the chain, by how long ago it was anchored
LEVEL_OPEN: constant(uint256) = 0
LEVEL_REDUCE: constant(uint256) = 1
LEVEL_HALT: constant(uint256) = 2

NO_INDEX: constant(uint256) = 65_535  # "no such index"

struct Key:
    # A key slot. Slot 0 is the owner and never expires.
    address: uint256
    expiry: uint256  # 0 = never
    nonce_high: uint256
    nonce_map: uint256  # bit i: nonce_high - i is used

struct Position:
    # A position and the orders resting with it. `min_seq`: orders of a lower sequence are dead (of reduce-only and
    # trigger orders those below `reduce_min_seq`).
    size: int256  # signed, lots
    cost: int256  # signed, micro-USD
    funding: int256  # signed, index snapshot
    loss: int256  # signed, index snapshot
    buy_lots: uint256
    sell_lots: uint256
    buy_notional: uint256
    sell_notional: uint256
    min_seq: uint256
    market: uint256
    open_orders: uint256
    reduce_lots: uint256  # resting reduce-only and trigger orders
    reduce_min_seq: uint256

struct Board:
    # What margin needs of one market.
    mark: uint256  # ticks
    mark_time: uint256  # ms: the quorum-th newest publication
    tick_value: uint256  # micro-USD per tick and lot
    status: uint256
    mm_base: uint256  # ppm
    mm_cap: uint256
    im_base: uint256
    im_cap: uint256
    stale_ms: uint256
    funding: int256  # signed, micro-USD per lot
    loss_long: int256  # signed
    loss_short: int256  # signed
    impact: uint256  # micro-USD of notional per ppm
    risk: uint256  # z * max(floor, volatility): 1/100 ppb per square root of a second
    addon_cap: uint256  # ppm

struct Market:
    # How a market trades; set by admin messages.
    oi_cap: uint256  # lots
    min_notional: uint256  # micro-USD
    taker_fee: uint256  # ppm of notional
    maker_fee: uint256
    penalty: uint256  # ppm of liquidated notional, to insurance
    band: uint256  # ppm of mark
    quorum: uint256  # fresh publishers that a mark needs
    near_band: uint256  # ppm of mark: limit of predictive slices and of insurance's orders
    z: uint256  # 1/100: how many standard deviations the add-on covers; 0 = no add-on
    sigma_floor: uint256  # least volatility, ppb per square root of a second
    vol_sample_ms: uint256  # least time between two samples
    vol_window: uint256  # ms; 0 = no samples
    reduce_cap: uint256  # ppm of open interest that predictive slices may close in a block
    basis_cap: uint256  # ppm of index
    spread_max: uint256  # ppm of mid: a wider book gives no basis sample
    basis_window: uint256  # ms; 0 = no basis
    jump_limit: uint256  # ppm of index: a median further away must hold; 0 = any is taken
    jump_hold: uint256  # ms that it must hold
    expiry: uint256  # ms; 0 = perpetual

struct PriceState:
    # What the price rules remember of one market between publications.
    index: uint256  # ticks: the last accepted median
    basis: int256  # signed, 2**-16 ticks
    basis_time: uint256
    variance: uint256  # ppb**2 per second
    sample_price: uint256
    sample_time: uint256
    funding_acc: int256  # signed: what is not yet a micro-USD per lot, in 1/FUNDING_UNIT
    funding_time: uint256
    jump_price: uint256  # a median that must hold before it is believed; 0 = none
    jump_at: uint256

struct Insurance:
    # A market's insurance: cash, and the position that it took over.
    cash: int256  # signed, micro-USD
    size: int256  # signed, lots
    cost: int256  # signed
    funding: int256  # signed, index snapshot

struct Chain:
    # Parameters of the whole chain; set by admin messages.
    anchor_interval: uint256  # ms
    tau_reduce: uint256  # ms un-anchored from which markets are reduce-only; 0 = never
    tau_halt: uint256
    buffer_ms: uint256  # of fresh time under maintenance margin before hard liquidation
    refill: uint256  # ms of health that give back one ms of the buffer; 0 = at once
    horizon_root: uint256  # square root of the horizon of predictive reduction, of ms * 1000
    closeout: uint256  # ppm of maintenance margin under which liquidation is hard

struct Pending:
    # The crossing order of a market that waits for Continue; lots 0 = none.
    account: uint256
    lots: uint256
    price: uint256
    client_id: uint256
    expiry: uint256
    side: uint256
    tif: uint256
    reduce_only: uint256
    self_trade: uint256  # what becomes of it when it meets its own account's orders

struct Publisher:
    address: uint256
    price: uint256
    time: uint256

struct Order:
    account: uint256
    lots: uint256
    client_id: uint256
    expiry: uint256  # ms, 0 = good till cancelled
    flags: uint256  # ORDER_*
    limit: uint256  # of a trigger's order, ticks; 0 = the band when it fires

struct Action:
    # One action of an `Actions` transaction, as decoded.
    op: uint256
    market: uint256
    side: uint256  # of a cancel the book's side, 0 to 3
    price: uint256
    lots: uint256
    tif: uint256
    reduce_only: uint256
    client_id: uint256
    expiry: uint256
    seq: uint256  # of the order that a cancel or amend names
    self_trade: uint256
    limit: uint256  # of a trigger's order; `price` is where it fires
    direction: uint256  # of a trigger: 1 fires when the mark rises to it
    opt_in: uint256  # of options

struct Terms:
    # What one position, or all of an account's, adds to its margin. Micro-USD.
    equity: int256
    initial: int256
    maintenance: int256
    profit: int256  # unrealized, positive parts only
    stale: uint256  # positions whose price is not fresh
    shock: int256  # sum of notional * risk, raw
    haircut: int256  # what stale marks take off equity
