"""Leaves of the state trie: their keys, the rows that they hold, and the words that rows are packed into.

Layouts: fields from the most significant to the least, the last one ends at bit 0. Signed fields are two's complement.

    G  0  time:64 block_number:64 position:64 cursor:64
       1  next_account:64 next_withdrawal:64 last_anchor:64 sqrt_tau:64
       2  accounts_total:i128 insurance_total:i128
       3  fees:64 deposits:64 withdrawn:64 outflow:64
       4  losses_total:i128 outflow_at:64 outflow_limit:64
       5  resting:48 anchor_interval:32 tau_reduce:32 tau_halt:32 level:8 buffer_ms:32 refill:16 horizon_root:32
          closeout:24
    B  three words a market:
       0  mark:32 mark_time:48 tick_value:32 status:8 mm_base:24 mm_cap:24 im_base:24 im_cap:24 stale_ms:32
       1  funding:i64 loss_long:i64 loss_short:i64 impact:64
       2  risk:64 addon_cap:24 reserved:168
    M  0  next_seq:64 open_interest:64 oi_cap:64 min_notional:64
       1  insurance:i64 insured_size:i64 insured_cost:i64 insured_funding:i64
       2  pending: account:32 lots:64 price:32 client_id:64 expiry:48 side:8 self_trade:4 reduce_only:1 tif:3
       3  taker_fee:24 maker_fee:24 penalty:24 band:24 near_band:24 quorum:8 publishers:8 z:16 sigma_floor:32
          vol_sample_ms:32 reduce_cap:24
       4  index:32 basis:i64 basis_time:48 variance:64 sample_price:32
       5  sample_time:48 funding_acc:i64 funding_time:48 jump_price:32 jump_at:48
       6  basis_cap:24 spread_max:24 basis_window:32 vol_window:32 jump_limit:24 jump_hold:32 expiry:48
       7  reduced_block:64 reduced_lots:64 twap:64 twap_ms:32
       8..  publisher: address:160 price:32 time:48
    A  0  collateral:i64 cancel_at:48 buffer:32 buffer_at:48 open_orders:16 keys:8 positions:8 flags:8
       then per key    0  address:160 expiry:48         1  nonce_high:64 nonce_map:64
       then per position  0  size:i64 cost:i64 funding:i64 loss:i64
                          1  buy_lots:64 sell_lots:64 buy_notional:64 sell_notional:64
                          2  min_seq:64 reduce_min_seq:64 reduce_lots:64 market:16 open_orders:16
    O  0  account:32 lots:64 client_id:64 expiry:48 limit:32 flags:8
    W  0  recipient:160 amount:64
"""

from functools import lru_cache

from node.stf.params import MARKET_WORDS, PRICE_MAX
from node.stf.types import SELL, Board, Chain, Insurance, Key, Market, Order, Pending, Position, PriceState, Publisher

_M24 = (1 << 24) - 1
_M32 = (1 << 32) - 1
_M48 = (1 << 48) - 1
_M64 = (1 << 64) - 1
_M128 = (1 << 128) - 1

GLOBAL_KEY = b"G" + bytes(31)

# --- keys of leaves ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def account_key(account: int) -> bytes:
    return b"A" + account.to_bytes(4, "big") + bytes(27)


@lru_cache(maxsize=65_536)
def board_key(group: int) -> bytes:
    return b"B" + bytes((group,)) + bytes(30)


@lru_cache(maxsize=65_536)
def market_key(market: int) -> bytes:
    return b"M" + market.to_bytes(2, "big") + bytes(29)


@lru_cache(maxsize=65_536)
def book_prefix(market: int, side: int) -> bytes:
    return b"O" + market.to_bytes(2, "big") + bytes((side,))


def book_key(side: int, price: int, seq: int) -> int:
    """Order of a resting order within its side: lower is better. 96 bits: price (on even sides inverted), sequence."""
    return ((price if side & 1 == SELL else PRICE_MAX - price) << 64) | seq


def order_key(market: int, side: int, price: int, seq: int) -> bytes:
    return book_prefix(market, side) + book_key(side, price, seq).to_bytes(12, "big") + bytes(16)


def withdrawal_key(withdrawal: int) -> bytes:
    return b"W" + withdrawal.to_bytes(8, "big") + bytes(23)


# --- rows -------------------------------------------------------------------------------------------------------------


class Globals:
    """Fields of the ``G`` leaf."""

    __slots__ = (
        "accounts_total",
        "block_number",
        "chain",
        "cursor",
        "deposits",
        "fees",
        "insurance_total",
        "last_anchor",
        "level",
        "losses_total",
        "next_account",
        "next_withdrawal",
        "outflow",
        "outflow_at",
        "outflow_limit",
        "position",
        "resting",
        "sqrt_tau",
        "time",
        "withdrawn",
    )

    def __init__(self) -> None:
        self.time = 0
        self.block_number = 0
        self.position = 0
        self.cursor = 0
        self.next_account = 1
        self.next_withdrawal = 1
        self.last_anchor = 0
        self.sqrt_tau = 0
        self.accounts_total = 0
        self.insurance_total = 0
        self.fees = 0
        self.deposits = 0
        self.withdrawn = 0
        self.losses_total = 0
        self.outflow = 0
        self.outflow_at = 0
        self.outflow_limit = 0
        self.level = 0
        self.resting = 0
        self.chain = Chain()


class AccountRow:
    """An account leaf in fields; ``booked_positions`` and ``booked_losses`` are what the totals already count."""

    __slots__ = (
        "booked_losses",
        "booked_positions",
        "buffer",
        "buffer_at",
        "cancel_at",
        "collateral",
        "flags",
        "keys",
        "open_orders",
        "positions",
    )

    def __init__(self) -> None:
        self.collateral = 0
        self.cancel_at = 0
        self.buffer = 0
        self.buffer_at = 0
        self.open_orders = 0
        self.flags = 0
        self.keys: list[Key] = []
        self.positions: list[Position] = []
        self.booked_positions: list[int] = []
        self.booked_losses: list[int] = []


class MarketRow:
    """A market leaf in fields."""

    __slots__ = (
        "booked_insurance",
        "config",
        "insurance",
        "next_seq",
        "open_interest",
        "pending",
        "prices",
        "publishers",
        "reduced",
        "twap",
    )

    def __init__(self) -> None:
        self.next_seq = 1
        self.open_interest = 0
        self.insurance = Insurance()
        self.booked_insurance = 0  # what the total already counts
        self.config = Market()
        self.prices = PriceState()
        self.pending = Pending()
        self.publishers: list[Publisher] = []
        self.reduced = (0, 0)
        self.twap = (0, 0)


# --- words ------------------------------------------------------------------------------------------------------------


def _signed(word: int, shift: int) -> int:
    value = word >> shift & _M64
    return value - (1 << 64) if value >> 63 else value


def _signed128(word: int, shift: int) -> int:
    value = word >> shift & _M128
    return value - (1 << 128) if value >> 127 else value


def _words(value: bytes) -> list[int]:
    return [int.from_bytes(value[i : i + 32], "big") for i in range(0, len(value), 32)]


def _pack(words: list[int]) -> bytes:
    return b"".join([word.to_bytes(32, "big") for word in words])


def global_words(g: Globals) -> list[int]:
    c = g.chain
    return [
        g.time << 192 | g.block_number << 128 | g.position << 64 | g.cursor,
        g.next_account << 192 | g.next_withdrawal << 128 | g.last_anchor << 64 | g.sqrt_tau,
        (g.accounts_total & _M128) << 128 | (g.insurance_total & _M128),
        g.fees << 192 | g.deposits << 128 | g.withdrawn << 64 | g.outflow,
        (g.losses_total & _M128) << 128 | g.outflow_at << 64 | g.outflow_limit,
        g.resting << 208
        | c.anchor_interval << 176
        | c.tau_reduce << 144
        | c.tau_halt << 112
        | g.level << 104
        | c.buffer_ms << 72
        | c.refill << 56
        | c.horizon_root << 24
        | c.closeout,
    ]


def encode_globals(g: Globals) -> bytes:
    return _pack(global_words(g))


def decode_globals(value: bytes) -> Globals:
    w = _words(value)
    g = Globals()
    g.time, g.block_number, g.position, g.cursor = w[0] >> 192, w[0] >> 128 & _M64, w[0] >> 64 & _M64, w[0] & _M64
    g.next_account, g.next_withdrawal = w[1] >> 192, w[1] >> 128 & _M64
    g.last_anchor, g.sqrt_tau = w[1] >> 64 & _M64, w[1] & _M64
    g.accounts_total, g.insurance_total = _signed128(w[2], 128), _signed128(w[2], 0)
    g.fees, g.deposits, g.withdrawn, g.outflow = w[3] >> 192, w[3] >> 128 & _M64, w[3] >> 64 & _M64, w[3] & _M64
    g.losses_total, g.outflow_at, g.outflow_limit = _signed128(w[4], 128), w[4] >> 64 & _M64, w[4] & _M64
    c = w[5]
    g.resting = c >> 208
    g.level = c >> 104 & 0xFF
    g.chain = Chain(
        anchor_interval=c >> 176 & _M32,
        tau_reduce=c >> 144 & _M32,
        tau_halt=c >> 112 & _M32,
        buffer_ms=c >> 72 & _M32,
        refill=c >> 56 & 0xFFFF,
        horizon_root=c >> 24 & _M32,
        closeout=c & _M24,
    )
    return g


def encode_account(row: AccountRow) -> bytes:
    words = [
        (row.collateral & _M64) << 168
        | row.cancel_at << 120
        | row.buffer << 88
        | row.buffer_at << 40
        | row.open_orders << 24
        | len(row.keys) << 16
        | len(row.positions) << 8
        | row.flags
    ]
    for key in row.keys:
        words.append(key.address << 48 | key.expiry)
        words.append(key.nonce_high << 64 | key.nonce_map)
    for p in row.positions:
        words.append(
            (p.size & _M64) << 192 | (p.cost & _M64) << 128 | (p.funding & _M64) << 64 | (p.loss & _M64)
        )
        words.append(p.buy_lots << 192 | p.sell_lots << 128 | p.buy_notional << 64 | p.sell_notional)
        words.append(
            p.min_seq << 160 | p.reduce_min_seq << 96 | p.reduce_lots << 32 | p.market << 16 | p.open_orders
        )
    return _pack(words)


def decode_account(value: bytes) -> AccountRow:
    w = _words(value)
    head = w[0]
    row = AccountRow()
    row.collateral = _signed(head, 168)
    row.cancel_at = head >> 120 & 0xFFFFFFFFFFFF
    row.buffer = head >> 88 & 0xFFFFFFFF
    row.buffer_at = head >> 40 & 0xFFFFFFFFFFFF
    row.open_orders = head >> 24 & 0xFFFF
    row.flags = head & 0xFF
    at = 1
    for _ in range(head >> 16 & 0xFF):
        row.keys.append(Key(w[at] >> 48, w[at] & 0xFFFFFFFFFFFF, w[at + 1] >> 64, w[at + 1] & _M64))
        at += 2
    for _ in range(head >> 8 & 0xFF):
        row.positions.append(_decode_position(w[at], w[at + 1], w[at + 2]))
        at += 3
    row.booked_positions = [p.size * p.funding - p.cost for p in row.positions]
    row.booked_losses = [abs(p.size) * p.loss for p in row.positions]
    return row


def _decode_position(a: int, b: int, c: int) -> Position:
    return Position(
        size=_signed(a, 192),
        cost=_signed(a, 128),
        funding=_signed(a, 64),
        loss=_signed(a, 0),
        buy_lots=b >> 192,
        sell_lots=b >> 128 & _M64,
        buy_notional=b >> 64 & _M64,
        sell_notional=b & _M64,
        min_seq=c >> 160 & _M64,
        reduce_min_seq=c >> 96 & _M64,
        reduce_lots=c >> 32 & _M64,
        market=c >> 16 & 0xFFFF,
        open_orders=c & 0xFFFF,
    )


def encode_market(row: MarketRow) -> bytes:
    words = [
        row.next_seq << 192 | row.open_interest << 128 | row.config.oi_cap << 64 | row.config.min_notional,
        _insurance_word(row.insurance),
        _pending_word(row.pending),
        *_config_words(row),
        row.reduced[0] << 160 | row.reduced[1] << 96 | row.twap[0] << 32 | row.twap[1],
    ]
    words[4:4] = _price_words(row.prices)
    words += [s.address << 80 | s.price << 48 | s.time for s in row.publishers]
    return _pack(words)


def _insurance_word(i: Insurance) -> int:
    return (i.cash & _M64) << 192 | (i.size & _M64) << 128 | (i.cost & _M64) << 64 | (i.funding & _M64)


def _pending_word(p: Pending) -> int:
    flags = p.self_trade << 4 | p.reduce_only << 3 | p.tif
    return p.account << 224 | p.lots << 160 | p.price << 128 | p.client_id << 64 | p.expiry << 16 | p.side << 8 | flags


def _config_words(row: MarketRow) -> tuple[int, int]:
    """The words before and after those of the price state."""
    c = row.config
    return (
        c.taker_fee << 216
        | c.maker_fee << 192
        | c.penalty << 168
        | c.band << 144
        | c.near_band << 120
        | c.quorum << 112
        | len(row.publishers) << 104
        | c.z << 88
        | c.sigma_floor << 56
        | c.vol_sample_ms << 24
        | c.reduce_cap,
        c.basis_cap << 192
        | c.spread_max << 168
        | c.basis_window << 136
        | c.vol_window << 104
        | c.jump_limit << 80
        | c.jump_hold << 48
        | c.expiry,
    )


def _price_words(p: PriceState) -> tuple[int, int]:
    return (
        p.index << 208 | (p.basis & _M64) << 144 | p.basis_time << 96 | p.variance << 32 | p.sample_price,
        p.sample_time << 192
        | (p.funding_acc & _M64) << 128
        | p.funding_time << 80
        | p.jump_price << 48
        | p.jump_at,
    )


def decode_market(value: bytes) -> MarketRow:
    w = _words(value)
    row = MarketRow()
    row.next_seq, row.open_interest = w[0] >> 192, w[0] >> 128 & _M64
    i = row.insurance = Insurance(_signed(w[1], 192), _signed(w[1], 128), _signed(w[1], 64), _signed(w[1], 0))
    row.booked_insurance = i.cash + i.size * i.funding - i.cost
    row.pending = _decode_pending(w[2])
    row.config = _decode_config(w[0], w[3], w[6])
    row.prices = _decode_prices(w[4], w[5])
    row.reduced = (w[7] >> 160, w[7] >> 96 & _M64)
    row.twap = (w[7] >> 32 & _M64, w[7] & _M32)
    row.publishers = [Publisher(x >> 80, x >> 48 & _M32, x & _M48) for x in w[MARKET_WORDS:]]
    return row


def _decode_pending(w: int) -> Pending:
    return Pending(
        account=w >> 224,
        lots=w >> 160 & _M64,
        price=w >> 128 & _M32,
        client_id=w >> 64 & _M64,
        expiry=w >> 16 & _M48,
        side=w >> 8 & 0xFF,
        tif=w & 7,
        reduce_only=w >> 3 & 1,
        self_trade=w >> 4 & 15,
    )


def _decode_config(caps: int, rates: int, limits: int) -> Market:
    return Market(
        oi_cap=caps >> 64 & _M64,
        min_notional=caps & _M64,
        taker_fee=rates >> 216 & _M24,
        maker_fee=rates >> 192 & _M24,
        penalty=rates >> 168 & _M24,
        band=rates >> 144 & _M24,
        near_band=rates >> 120 & _M24,
        quorum=rates >> 112 & 0xFF,
        z=rates >> 88 & 0xFFFF,
        sigma_floor=rates >> 56 & _M32,
        vol_sample_ms=rates >> 24 & _M32,
        reduce_cap=rates & _M24,
        basis_cap=limits >> 192 & _M24,
        spread_max=limits >> 168 & _M24,
        basis_window=limits >> 136 & _M32,
        vol_window=limits >> 104 & _M32,
        jump_limit=limits >> 80 & _M24,
        jump_hold=limits >> 48 & _M32,
        expiry=limits & _M48,
    )


def _decode_prices(a: int, b: int) -> PriceState:
    return PriceState(
        index=a >> 208 & _M32,
        basis=_signed(a, 144),
        basis_time=a >> 96 & _M48,
        variance=a >> 32 & _M64,
        sample_price=a & _M32,
        sample_time=b >> 192 & _M48,
        funding_acc=_signed(b, 128),
        funding_time=b >> 80 & _M48,
        jump_price=b >> 48 & _M32,
        jump_at=b & _M48,
    )


def encode_boards(boards: list[Board]) -> bytes | None:
    words: list[int] = []
    for b in boards:
        words.append(
            b.mark << 216
            | b.mark_time << 168
            | b.tick_value << 136
            | b.status << 128
            | b.mm_base << 104
            | b.mm_cap << 80
            | b.im_base << 56
            | b.im_cap << 32
            | b.stale_ms
        )
        words.append((b.funding & _M64) << 192 | (b.loss_long & _M64) << 128 | (b.loss_short & _M64) << 64 | b.impact)
        words.append(b.risk << 192 | b.addon_cap << 168)
    return _pack(words) if words else None


def decode_boards(value: bytes) -> list[Board]:
    w = _words(value)
    boards: list[Board] = []
    for i in range(0, len(w), 3):
        a, b, c = w[i], w[i + 1], w[i + 2]
        boards.append(
            Board(
                mark=a >> 216,
                mark_time=a >> 168 & 0xFFFFFFFFFFFF,
                tick_value=a >> 136 & 0xFFFFFFFF,
                status=a >> 128 & 0xFF,
                mm_base=a >> 104 & 0xFFFFFF,
                mm_cap=a >> 80 & 0xFFFFFF,
                im_base=a >> 56 & 0xFFFFFF,
                im_cap=a >> 32 & 0xFFFFFF,
                stale_ms=a & 0xFFFFFFFF,
                funding=_signed(b, 192),
                loss_long=_signed(b, 128),
                loss_short=_signed(b, 64),
                impact=b & _M64,
                risk=c >> 192,
                addon_cap=c >> 168 & _M24,
            )
        )
    return boards


def encode_order(order: Order) -> bytes:
    return (
        order.account << 216
        | order.lots << 152
        | order.client_id << 88
        | order.expiry << 40
        | order.limit << 8
        | order.flags
    ).to_bytes(32, "big")


def decode_order(value: bytes) -> Order:
    w = int.from_bytes(value, "big")
    return Order(w >> 216, w >> 152 & _M64, w >> 88 & _M64, w >> 40 & _M48, w & 0xFF, w >> 8 & _M32)
