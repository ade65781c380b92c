"""Results of the read methods. Money is micro-USD, sizes are lots, prices are ticks, times are L2 milliseconds."""

from __future__ import annotations

from typing import Any

import msgspec

from node.rpc.statuses import StatusInfo


class HeadInfo(msgspec.Struct):
    number: int
    hash: str
    time: int
    state_root: str


class KeyInfo(msgspec.Struct):
    slot: int
    address: str
    expiry: int
    nonce_high: int


class PositionInfo(msgspec.Struct):
    market: int
    size: int
    cost: int
    unrealized: int
    buy_lots: int
    sell_lots: int
    open_orders: int


class AccountInfo(msgspec.Struct):
    account: int
    owner: str
    collateral: int
    equity: int
    initial: int
    maintenance: int
    withdrawable: int
    prices_fresh: bool
    open_orders: int
    keys: list[KeyInfo]
    positions: list[PositionInfo]
    time: int
    block: int


class PositionRisk(msgspec.Struct):
    market: int
    size: int
    notional: int
    sigma_ppb: int
    """Volatility, parts per billion per square root of a second."""


class RiskInfo(msgspec.Struct):
    account: int
    probability: float
    equity: int
    maintenance: int
    cushion: int
    tau_ms: int
    deviation: int
    """One standard deviation of equity over tau, micro-USD."""
    positions: list[PositionRisk]
    prices_fresh: bool
    formula: str
    source: str
    time: int
    block: int


class OrderInfo(msgspec.Struct):
    market: int
    side: str
    price: int
    seq: int
    lots: int
    client_id: int
    expiry: int
    live: bool
    reduce_only: bool = False
    trigger: str = ""
    """above or below: fires once the mark is at ``price`` or beyond; empty for an order in the book."""
    limit: int = 0
    """Of a trigger's order, ticks; 0 = the market's band when it fires."""


class PricesInfo(msgspec.Struct):
    """How a market's mark comes about, what holding it costs, and how much it moves."""

    index: int
    basis: float
    """Ticks that the mark is above the index, as averaged."""
    funding_bps_8h: float
    """What longs pay shorts now, basis points of the index per eight hours."""
    funding: int
    """Cumulative, micro-USD per lot."""
    sigma_ppb: int
    """Volatility, parts per billion per square root of a second."""
    addon_ppm: int
    """What the un-anchored time adds to the rate of initial margin now."""
    jump_price: int
    """A median that must hold before it is believed; 0 = none."""
    expiry: int
    """Of a dated future, L2 milliseconds; 0 = perpetual."""


class FlowInfo(msgspec.Struct):
    """Which way takers trade, fading over a minute. An estimate of this node: no rule reads it."""

    net_lots: int = 0
    """Bought less sold."""
    gross_lots: int = 0
    imbalance: float = 0.0
    """Net over gross: 1 if all takers buy, -1 if all sell."""


class MarketInfo(msgspec.Struct):
    market: int
    symbol: str
    status: str
    tick_value: int
    mark: int
    mark_time: int
    fresh: bool
    open_interest: int
    oi_cap: int
    min_notional: int
    taker_fee_ppm: int
    maker_fee_ppm: int
    maintenance_ppm: int
    initial_ppm: int
    band_ppm: int
    penalty_ppm: int
    insurance: int
    pending: bool
    next_seq: int
    prices: PricesInfo
    tick: str = ""
    """Dollars a tick and units of the underlying a lot, as decimals; empty where the node was not told."""
    lot: str = ""
    price: str = ""
    """The mark in dollars."""
    flow: FlowInfo = msgspec.field(default_factory=FlowInfo)


class BookInfo(msgspec.Struct):
    market: int
    bids: list[tuple[int, int, int]]
    asks: list[tuple[int, int, int]]
    time: int
    position: int


class FillInfo(msgspec.Struct):
    market: int
    price: int
    lots: int
    maker: int
    maker_client_id: int
    maker_seq: int
    taker: int
    taker_side: str
    taker_fee: int
    maker_fee: int


class ReceiptInfo(msgspec.Struct):
    position: int
    hash: str
    kind: str
    status: str
    statuses: list[str]
    fills: list[FillInfo]
    time: int
    block: int
    head: str
    batch: int | None
    notes: list[StatusInfo] = []
    """Every status of it that is not OK, in words."""
    withdrawal: int | None = None
    """What it created to be paid on L1: the id that al_withdrawalProof takes."""


class ChunkInfo(msgspec.Struct):
    bytes: int
    post_root: str


class BlockInfo(msgspec.Struct):
    number: int
    hash: str
    parent_hash: str
    time: int
    state_root: str
    chunks_root: str
    first_position: int
    transactions: int
    cursor: int
    head: str
    batch: int | None
    chunks: list[ChunkInfo]


class BatchInfo(msgspec.Struct):
    number: int
    first_block: int
    last_block: int
    l1_tx: str
    l1_block: int
    header_hash: str
    finalized: bool


class WithdrawalInfo(msgspec.Struct):
    """What Rollup.withdraw takes: header fields in the order of the contract's struct, and the path of the leaf."""

    id: int
    recipient: str
    amount: int
    head: str
    header: list[Any] | None
    bits: str
    siblings: list[str]
