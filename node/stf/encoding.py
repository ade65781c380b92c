"""Wire format of transactions, and the EIP-712 digests their signatures cover.

One buffer holds the chunk being executed; inbox messages are appended to it. Readers take a position and return the
value and the next position, or ``BAD`` as position once anything was malformed or out of bounds; ``BAD`` then passes
through every later read, so a decoder checks once, at its end.

    varint     LEB128 of at most 64 bits, minimal (the last byte of several is not zero)
    zigzag     varint of 2x for x >= 0 and -2x - 1 for x < 0
    times      zigzag(L2 time - t), so that a recent time takes two bytes; inside forced messages L2 time counts as 0

    Actions      1 account:varint  slot << 5 | count - 1:byte  nonce:time  expiry:time  actions  signature:64
      place      1 << 5 | side << 4 | tif << 2 | gtt << 1 | more
                 [reduce_only | self_trade << 1:byte if more, not 0]
                 market:varint price:varint lots:varint client_id:varint [expiry:time if gtt]
      cancel     2 << 5 | side << 4 | trigger << 3  market:varint client_id:varint price:varint seq:varint
                 (side, price and seq only say where the order stands: they are not signed; a trigger's side here is
                 its direction)
      cancel all 3 << 5  market:varint
      amend      4 << 5 | side << 4  market:varint client_id:varint price:varint seq:varint lots:varint
                 (as with cancel, side, price and seq are not signed)
      cancel at  5 << 5 | off  [time:time if not off]
      trigger    6 << 5 | side << 4 | direction << 3 | gtt << 1
                 market:varint price:varint limit:varint lots:varint client_id:varint [expiry:time if gtt]
      options    7 << 5 | opt_in
    Continue     2 market:varint
    Withdraw     3 account:varint nonce:time expiry:time recipient:20 amount:varint signature:64
    SetKey       4 account:varint slot:byte nonce:time expiry:time address:20 key_expiry:varint signature:64
    OraclePrice  5 publisher:byte count:byte time:time (market:varint price:varint)* signature:64
    Liquidate    6 account:varint market:varint
    Sweep        7 market:varint side:byte      (0 to 3: a book's sides, then those of its triggers)
    Inbox        8
    Block        9 step:varint     (ms since the last L2 time, at least 1)
    TriggerFire  10 market:varint direction:byte
    Settle       11 account:varint market:varint

Signatures are 64 bytes, r and yParityAndS of EIP-2098, over the EIP-712 digest of the structs named below. An action
is one struct for all ops, with the fields it does not use zero, so that a wallet shows words, not codes.
"""

from typing import Final

from coincurve import PublicKey
from sha3 import keccak_256

from node.stf.params import ACTIONS_MAX, PRICES_MAX, U64_MAX
from node.stf.types import AMEND, CANCEL, CANCEL_ALL, CANCEL_AT, OPTIONS, PLACE, TRIGGER, TRIGGER_FALL, Action

BAD: Final = 4_294_967_295

DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
ACTION_TYPE: Final = (
    "Action(string action,uint32 market,string side,uint64 lots,uint32 price,string timeInForce,bool reduceOnly,"
    "string selfTrade,uint32 limit,uint64 clientId,uint64 expiry)"
)
ACTIONS_TYPE: Final = "Actions(uint32 account,uint8 keySlot,uint64 nonce,uint64 expiry,Action[] actions)"
WITHDRAW_TYPE: Final = "Withdraw(uint32 account,uint64 nonce,uint64 expiry,address recipient,uint64 amount)"
SET_KEY_TYPE: Final = (
    "SetKey(uint32 account,uint64 nonce,uint64 expiry,uint8 keySlot,address key,uint64 keyExpiry)"
)
PRICE_TYPE: Final = "Price(uint32 market,uint32 price)"
ORACLE_PRICE_TYPE: Final = "OraclePrice(uint8 publisher,uint64 time,Price[] prices)"

# by op; a trigger's and options' follow with their bit added (``action_name``)
ACTION_NAMES: Final = (
    "", "place", "cancel", "cancelAll", "amend", "cancelAt", "triggerBelow", "triggerAbove", "denyEarlyReduction",
    "allowEarlyReduction",
)  # fmt: skip
SIDE_NAMES: Final = ("buy", "sell")
TIF_NAMES: Final = ("GTC", "IOC", "FOK", "POST_ONLY")
SELF_TRADE_NAMES: Final = ("CANCEL_RESTING", "CANCEL_TAKER", "CANCEL_BOTH")

# bits of an action's first byte that must be zero: a byte for each op
RESERVED_BITS: Final = 31 | 7 << 16 | 31 << 24 | 15 << 32 | 30 << 40 | 5 << 48 | 30 << 56


def _keccak(data: bytes) -> bytes:
    """keccak-256, straight from the library: signatures are on the sequencer's hot path."""
    digest: bytes = keccak_256(data).digest()
    return digest


_ACTION_HASH = _keccak(ACTION_TYPE.encode())
_ACTIONS_HASH = _keccak((ACTIONS_TYPE + ACTION_TYPE).encode())
_WITHDRAW_HASH = _keccak(WITHDRAW_TYPE.encode())
_SET_KEY_HASH = _keccak(SET_KEY_TYPE.encode())
_PRICE_HASH = _keccak(PRICE_TYPE.encode())
_ORACLE_PRICE_HASH = _keccak((ORACLE_PRICE_TYPE + PRICE_TYPE).encode())
_EMPTY_HASH = _keccak(b"")
_ACTION_NAME_HASHES = tuple(_keccak(name.encode()) for name in ACTION_NAMES)
_SIDE_HASHES = tuple(_keccak(name.encode()) for name in SIDE_NAMES)
_TIF_HASHES = tuple(_keccak(name.encode()) for name in TIF_NAMES)
_SELF_TRADE_HASHES = tuple(_keccak(name.encode()) for name in SELF_TRADE_NAMES)

# secp256k1 group order: r and s are in [1, N), s in the lower half (EIP-2)
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

_buffer = b""
_end = 0
_base_time = 0
_domain = bytes(32)
_recovered: dict[bytes, int] = {}


# --- the buffer -------------------------------------------------------------------------------------------------------


def load(data: bytes) -> None:
    """Make ``data`` the buffer."""
    global _buffer, _end
    _buffer = data
    _end = len(data)


def append(data: bytes) -> int:
    """Append a message to the buffer; returns its position."""
    global _buffer
    base = len(_buffer)
    _buffer += data
    return base


def get_end() -> int:
    return _end


def set_end(end: int) -> None:
    """Bound reads to positions below ``end``."""
    global _end
    _end = end


def set_base_time(time: int) -> None:
    """What the times that follow are relative to, ms."""
    global _base_time
    _base_time = time


def read_byte(pos: int) -> tuple[int, int]:
    if pos >= _end:
        return 0, BAD
    return _buffer[pos], pos + 1


def read_varint(pos: int) -> tuple[int, int]:
    """Minimal LEB128, at most 64 bits."""
    value = 0
    for i in range(10):
        if pos + i >= _end:
            return 0, BAD
        byte = _buffer[pos + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if (byte == 0 and i > 0) or value > U64_MAX:
                return 0, BAD
            return value, pos + i + 1
    return 0, BAD


def read_time(pos: int) -> tuple[int, int]:
    """A time or nonce relative to the base time; in [0, 2**64)."""
    value, pos = read_varint(pos)
    time = _base_time + (value + 1) // 2 if value & 1 else _base_time - value // 2
    if pos == BAD or time < 0 or time > U64_MAX:
        return 0, BAD
    return time, pos


def read_fixed(pos: int, size: int) -> tuple[int, int]:
    """Big-endian unsigned integer of ``size`` <= 32 bytes."""
    if pos + size > _end:
        return 0, BAD
    return int.from_bytes(_buffer[pos : pos + size], "big"), pos + size


# --- actions ----------------------------------------------------------------------------------------------------------


def read_action(pos: int) -> tuple[Action, int]:
    """One action. Reserved bits must be zero and ids in range, else BAD."""
    action = Action()
    head, pos = read_byte(pos)
    action.op = head >> 5
    if action.op == 0 or head & (RESERVED_BITS >> (8 * action.op)) & 31 != 0:
        return action, BAD
    if action.op == PLACE:
        pos = _read_place(action, head, pos)
    elif action.op == TRIGGER:
        pos = _read_trigger(action, head, pos)
    elif action.op == CANCEL or action.op == AMEND:
        pos = _read_named(action, head, pos)
    elif action.op == CANCEL_ALL:
        action.market, pos = read_varint(pos)
    elif action.op == CANCEL_AT:
        if head & 1 == 0:
            action.expiry, pos = read_time(pos)
    else:
        action.opt_in = head & 1
    if action.market > 0xFFFF or action.price > 0xFFFFFFFF or action.limit > 0xFFFFFFFF:
        return action, BAD
    return action, pos


def _read_place(action: Action, head: int, pos: int) -> int:
    action.side = head >> 4 & 1
    action.tif = head >> 2 & 3
    if head & 1 == 1:
        more, pos = read_byte(pos)
        if more == 0 or more > 5:
            return BAD
        action.reduce_only = more & 1
        action.self_trade = more >> 1
    action.market, pos = read_varint(pos)
    action.price, pos = read_varint(pos)
    action.lots, pos = read_varint(pos)
    action.client_id, pos = read_varint(pos)
    if head >> 1 & 1 == 1:
        action.expiry, pos = read_time(pos)
    return pos


def _read_trigger(action: Action, head: int, pos: int) -> int:
    action.side = head >> 4 & 1
    action.direction = head >> 3 & 1
    action.market, pos = read_varint(pos)
    action.price, pos = read_varint(pos)
    action.limit, pos = read_varint(pos)
    action.lots, pos = read_varint(pos)
    action.client_id, pos = read_varint(pos)
    if head >> 1 & 1 == 1:
        action.expiry, pos = read_time(pos)
    return pos


def _read_named(action: Action, head: int, pos: int) -> int:
    """A cancel or amend: it names an order by its owner's client id, and says where it stands."""
    action.side = head >> 4 & 1
    if head >> 3 & 1 == 1:
        action.side |= TRIGGER_FALL
    action.market, pos = read_varint(pos)
    action.client_id, pos = read_varint(pos)
    action.price, pos = read_varint(pos)
    action.seq, pos = read_varint(pos)
    if action.op == AMEND:
        action.lots, pos = read_varint(pos)
    return pos


def read_actions(pos: int, count: int) -> tuple[list[Action], int]:
    """``count`` <= ACTIONS_MAX actions in a row."""
    actions: list[Action] = []
    for _ in range(count):
        action, pos = read_action(pos)
        if pos == BAD:
            return actions, BAD
        actions.append(action)
    return actions, pos


def read_prices(pos: int, count: int) -> tuple[list[int], list[int], int]:
    """Markets and prices of an OraclePrice: 1 to PRICES_MAX, markets strictly ascending."""
    markets: list[int] = []
    prices: list[int] = []
    if count == 0 or count > PRICES_MAX:
        return markets, prices, BAD
    last = -1
    for _ in range(count):
        market, pos = read_varint(pos)
        price, pos = read_varint(pos)
        if pos == BAD or market <= last or market > 0xFFFF or price > 0xFFFFFFFF:
            return markets, prices, BAD
        last = market
        markets.append(market)
        prices.append(price)
    return markets, prices, pos


# --- digests and signatures -------------------------------------------------------------------------------------------


def domain_separator(chain_id: int, rollup: int) -> bytes:
    """EIP-712 domain of one rollup."""
    return _keccak(
        _keccak(DOMAIN_TYPE.encode())
        + _keccak(b"Anchorline")
        + _keccak(b"1")
        + chain_id.to_bytes(32, "big")
        + rollup.to_bytes(32, "big")
    )


def set_domain(separator: bytes) -> None:
    """The domain that digests are made for."""
    global _domain
    _domain = separator


def _word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def _digest(struct_hash: bytes) -> bytes:
    return _keccak(b"\x19\x01" + _domain + struct_hash)


def action_name(action: Action) -> int:
    """Index of an action's name in ACTION_NAMES."""
    if action.op == OPTIONS:
        return 8 + action.opt_in
    return action.op + action.direction if action.op == TRIGGER else action.op


def action_hash(action: Action) -> bytes:
    """EIP-712 struct hash of one action, as its owner signed it: fields that its op does not use are zero."""
    side = tif = self_trade = _EMPTY_HASH
    market, lots, client_id, expiry = action.market, action.lots, action.client_id, action.expiry
    price = limit = reduce_only = 0
    if action.op == PLACE:
        side, tif = _SIDE_HASHES[action.side], _TIF_HASHES[action.tif]
        self_trade = _SELF_TRADE_HASHES[action.self_trade]
        price, reduce_only = action.price, action.reduce_only
    elif action.op == TRIGGER:
        side, price, limit, reduce_only = _SIDE_HASHES[action.side], action.price, action.limit, 1
    else:
        lots = lots if action.op == AMEND else 0
        expiry = expiry if action.op == CANCEL_AT else 0
        client_id = client_id if action.op in (CANCEL, AMEND) else 0
        market = market if action.op in (CANCEL, AMEND, CANCEL_ALL) else 0
    return _keccak(
        b"".join(
            (
                _ACTION_HASH,
                _ACTION_NAME_HASHES[action_name(action)],
                _word(market),
                side,
                _word(lots),
                _word(price),
                tif,
                _word(reduce_only),
                self_trade,
                _word(limit),
                _word(client_id),
                _word(expiry),
            )
        )
    )


def actions_digest(account: int, slot: int, nonce: int, expiry: int, actions: list[Action]) -> bytes:
    hashes = _keccak(b"".join([action_hash(action) for action in actions]))
    return _digest(
        _keccak(b"".join((_ACTIONS_HASH, _word(account), _word(slot), _word(nonce), _word(expiry), hashes)))
    )


def withdraw_digest(account: int, nonce: int, expiry: int, recipient: int, amount: int) -> bytes:
    fields = (account, nonce, expiry, recipient, amount)
    return _digest(_keccak(_WITHDRAW_HASH + b"".join([_word(field) for field in fields])))


def set_key_digest(account: int, nonce: int, expiry: int, slot: int, address: int, key_expiry: int) -> bytes:
    fields = (account, nonce, expiry, slot, address, key_expiry)
    return _digest(_keccak(_SET_KEY_HASH + b"".join([_word(field) for field in fields])))


def oracle_price_digest(publisher: int, time: int, markets: list[int], prices: list[int]) -> bytes:
    hashes = b"".join(
        [
            _keccak(_PRICE_HASH + _word(market) + _word(price))
            for market, price in zip(markets, prices, strict=True)
        ]
    )
    return _digest(_keccak(_ORACLE_PRICE_HASH + _word(publisher) + _word(time) + _keccak(hashes)))


def note_recovered(digest: bytes, r: int, vs: int, address: int) -> None:
    """Keep the result of a recovery done ahead (signatures recover in threads, before execution)."""
    if len(_recovered) > 100_000:
        _recovered.clear()
    _recovered[digest + _word(r) + _word(vs)] = address


def recover(digest: bytes, r: int, vs: int) -> int:
    """Address that signed a digest, 0 if none: the one bad signature has. s must be in the lower half of the group."""
    address = _recovered.pop(digest + _word(r) + _word(vs), -1)
    return recover_now(digest, r, vs) if address < 0 else address


def recover_now(digest: bytes, r: int, vs: int) -> int:
    """``recover`` without the memory of recoveries done ahead; safe to call from any thread."""
    s = vs & ((1 << 255) - 1)
    if r == 0 or r >= CURVE_ORDER or s == 0 or s > HALF_ORDER:
        return 0
    signature = _word(r) + _word(s) + bytes((vs >> 255,))
    try:
        point = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception:  # the library's word for "no point": coincurve raises ValueError or Exception by version
        return 0
    return int.from_bytes(_keccak(point.format(compressed=False)[1:])[12:], "big")


# --- writers (no twin: the contract only reads) -----------------------------------------------------------------------


def varint(value: int) -> bytes:
    if not 0 <= value <= U64_MAX:
        raise ValueError(f"{value} does not fit a 64-bit varint")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def relative_time(time: int, base: int) -> bytes:
    """A time as zigzag(base - time)."""
    delta = base - time
    return varint(2 * delta if delta >= 0 else -2 * delta - 1)


def write_action(action: Action, base: int) -> bytes:
    """An action in a chunk whose L2 time is ``base``. Raises ValueError for what has no encoding."""
    op = action.op
    if op == OPTIONS:
        return bytes((op << 5 | action.opt_in,))
    if op == CANCEL_AT:
        return bytes((op << 5,)) + relative_time(action.expiry, base) if action.expiry else bytes((op << 5 | 1,))
    market = varint(action.market)
    if op == CANCEL_ALL:
        return bytes((op << 5,)) + market
    if op in (PLACE, TRIGGER):
        return _write_order(action, market, relative_time(action.expiry, base) if action.expiry else b"")
    if action.side > 1 and op == AMEND:
        raise ValueError("a trigger cannot be amended: cancel it and place another one")
    head = op << 5 | (action.side & 1) << 4 | (action.side >> 1) << 3
    lots = varint(action.lots) if op == AMEND else b""
    return bytes((head,)) + market + varint(action.client_id) + varint(action.price) + varint(action.seq) + lots


def _write_order(action: Action, market: bytes, tail: bytes) -> bytes:
    head = action.op << 5 | action.side << 4 | bool(tail) << 1
    lots_and_id = varint(action.lots) + varint(action.client_id)
    if action.op == TRIGGER:
        prices = varint(action.price) + varint(action.limit)
        return bytes((head | action.direction << 3,)) + market + prices + lots_and_id + tail
    more = action.reduce_only | action.self_trade << 1
    heads = bytes((head | action.tif << 2 | 1, more)) if more else bytes((head | action.tif << 2,))
    return heads + market + varint(action.price) + lots_and_id + tail


def write_actions(
    account: int, slot: int, nonce: int, expiry: int, actions: list[Action], signature: bytes, base: int
) -> bytes:
    """An Actions transaction for a chunk whose L2 time is ``base`` (0 inside forced messages)."""
    if not 1 <= len(actions) <= ACTIONS_MAX:
        raise ValueError(f"a transaction carries 1 to {ACTIONS_MAX} actions, not {len(actions)}")
    return b"".join(
        (
            b"\x01",
            varint(account),
            bytes((slot << 5 | len(actions) - 1,)),
            relative_time(nonce, base),
            relative_time(expiry, base),
            *[write_action(action, base) for action in actions],
            signature,
        )
    )


def write_continue(market: int) -> bytes:
    return b"\x02" + varint(market)


def write_withdraw(
    account: int, nonce: int, expiry: int, recipient: int, amount: int, signature: bytes, base: int
) -> bytes:
    return b"".join(
        (
            b"\x03",
            varint(account),
            relative_time(nonce, base),
            relative_time(expiry, base),
            recipient.to_bytes(20, "big"),
            varint(amount),
            signature,
        )
    )


def write_set_key(
    account: int, slot: int, nonce: int, expiry: int, address: int, key_expiry: int, signature: bytes, base: int
) -> bytes:
    return b"".join(
        (
            b"\x04",
            varint(account),
            bytes((slot,)),
            relative_time(nonce, base),
            relative_time(expiry, base),
            address.to_bytes(20, "big"),
            varint(key_expiry),
            signature,
        )
    )


def write_oracle_price(
    publisher: int, time: int, markets: list[int], prices: list[int], signature: bytes, base: int
) -> bytes:
    pairs = b"".join([varint(market) + varint(price) for market, price in zip(markets, prices, strict=True)])
    return bytes((5, publisher, len(markets))) + relative_time(time, base) + pairs + signature


def write_liquidate(account: int, market: int) -> bytes:
    return b"\x06" + varint(account) + varint(market)


def write_sweep(market: int, side: int) -> bytes:
    return b"\x07" + varint(market) + bytes((side,))


def write_trigger_fire(market: int, direction: int) -> bytes:
    return b"\x0a" + varint(market) + bytes((direction,))


def write_settle(account: int, market: int) -> bytes:
    return b"\x0b" + varint(account) + varint(market)


def write_block(step: int) -> bytes:
    return b"\x09" + varint(step)


INBOX_TX: Final = b"\x08"
