"""Makes the vectors beside this file: `python -m tests.vectors.generate`.

Expectations come from other sources than the rules' own code: numbers are encoded here, EIP-712 digests are
eth_account's, signatures are recovered by eth_keys' pure Python backend, leaves are packed from the table of widths
below (which restates the layouts of node/stf/state.py). Both implementations of the rules are run against the result.

    reads.json       bytes, base time, reads in a row -> (value, next position) each, null = BAD
    actions.json     bytes, base time, count -> actions and next position, null = BAD
    prices.json      bytes, count -> markets, prices, next position, null = BAD
    digests.json     EIP-712 messages as a wallet shows them, the same as fields, and their digests
    signatures.json  digest, r, vs -> address, 0 = bad
    leaves.json      records and the words of their leaves
"""

import json
from pathlib import Path
from random import Random
from typing import Any

from eth_account.messages import _hash_eip191_message, encode_typed_data
from eth_keys import KeyAPI
from eth_keys.backends import NativeECCBackend
from eth_keys.exceptions import BadSignature, ValidationError
from eth_utils import keccak

FOLDER = Path(__file__).resolve().parent
BAD = None
MAX = 2**64 - 1
NOW = 1_700_000_000_000
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FIELD = 2**256 - 2**32 - 977
CHAIN_ID, ROLLUP = 901, 0x00000000000000000000000000000000C0FFEE01

Vector = dict[str, Any]


def leb128(number: int) -> bytes:
    """Minimal LEB128."""
    groups = [number & 127]
    while number := number >> 7:
        groups.append(number & 127)
    return bytes([group | 128 for group in groups[:-1]] + groups[-1:])


def relative(time: int, base: int) -> bytes:
    """Zigzag of base - time."""
    return leb128(2 * (base - time) if time <= base else 2 * (time - base) - 1)


# --- reads ------------------------------------------------------------------------------------------------------------


def reads() -> list[Vector]:
    cases = [*_varints(), *_times(), *_fixed(), _row(), *_broken_rows()]
    return [{"data": d.hex(), "base": b, "reads": kinds, "expected": out} for d, b, kinds, out in cases]


def _varints() -> list[tuple[Any, ...]]:
    edges = [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**35, 2**63 - 1, 2**63, MAX - 1, MAX]
    good = [*edges, *(Random(1).getrandbits(bits) for bits in range(1, 65))]
    cases: list[tuple[Any, ...]] = [(leb128(n), 0, ["varint"], [[n, len(leb128(n))]]) for n in good]
    cases += [(leb128(n) + b"\xff\x80", 0, ["varint"], [[n, len(leb128(n))]]) for n in edges]
    cases += [(leb128(n)[:-1], 0, ["varint"], [BAD]) for n in edges]  # cut off
    # the last byte of several is zero
    cases += [(b"\x80" * n + b"\x00", 0, ["varint"], [BAD]) for n in range(1, 10)]
    cases += [(b"\xff" * n + b"\x00", 0, ["varint"], [BAD]) for n in range(1, 10)]
    cases += [(b"\x80" * 9 + bytes((last,)), 0, ["varint"], [BAD]) for last in (2, 3, 64, 127)]  # above 64 bits
    cases.append((b"\xff" * 9 + b"\x01", 0, ["varint"], [[MAX, 10]]))
    cases += [(b"\x80" * 10 + b"\x01", 0, ["varint"], [BAD]), (b"\xff" * 32, 0, ["varint"], [BAD])]  # above ten bytes
    return cases


def _times() -> list[tuple[Any, ...]]:
    cases: list[tuple[Any, ...]] = []
    for base in (0, 5_000, NOW, 2**48 - 1):
        for time in sorted({0, 1, base // 2, max(base - 1, 0), base, base + 1, base + 60_000, base + 2**63 - 1}):
            data = relative(time, base)
            cases.append((data, base, ["time"], [[time, len(data)]]))
        cases.append((leb128(2 * base + 2), base, ["time"], [BAD]))  # before 0
        cases.append((leb128(MAX), base, ["time"], [[base + 2**63, 10]]))
        cases.append((leb128(MAX - 1), base, ["time"], [BAD]))
    return [*cases, (b"\x80\x00", 5_000, ["time"], [BAD]), (b"", 5_000, ["time"], [BAD])]


def _fixed() -> list[tuple[Any, ...]]:
    data = bytes(range(200, 233))
    cases: list[tuple[Any, ...]] = []
    for size in range(1, 33):
        cases.append((data, 0, [size], [[int.from_bytes(data[:size], "big"), size]]))
        cases.append((data[: size - 1], 0, [size], [BAD]))
    return cases


def _row() -> tuple[Any, ...]:
    """One read after the other."""
    data = b"\x07" + leb128(300) + relative(4_000, 5_000) + bytes(range(20)) + leb128(MAX) + bytes(range(64))
    kinds: list[Any] = ["byte", "varint", "time", 20, "varint", 32, 32]
    address, r, vs = (int.from_bytes(bytes(part), "big") for part in (range(20), range(32), range(32, 64)))
    return data, 5_000, kinds, [[7, 1], [300, 3], [4_000, 5], [address, 25], [MAX, 35], [r, 67], [vs, 99]]


def _broken_rows() -> list[tuple[Any, ...]]:
    """BAD passes through every later read."""
    after: list[Any] = ["varint", "byte", "time", 1, 32]
    cases: list[tuple[Any, ...]] = [(b"\x80\x00" + bytes(80), 9, ["varint", *after], [BAD] * 6)]
    cases.append((b"", 9, ["byte", *after], [BAD] * 6))
    cases.append((bytes(31), 9, [32, *after], [BAD] * 6))
    cases.append((b"\x14" + bytes(80), 9, ["time", *after], [BAD] * 6))
    return cases


# --- actions and prices -----------------------------------------------------------------------------------------------

ACTION_FIELDS = ("op", "market", "side", "price", "lots", "tif", "reduce_only", "client_id", "expiry", "seq",
                 "self_trade", "limit", "direction", "opt_in")
PLACE, CANCEL, CANCEL_ALL, AMEND, CANCEL_AT, TRIGGER, OPTIONS = range(1, 8)


def action(op: int, **fields: int) -> Vector:
    return dict.fromkeys(ACTION_FIELDS, 0) | {"op": op} | fields


def place(market: int, side: int, price: int, lots: int, client_id: int, tif: int = 0, expiry: int = 0) -> Vector:
    return action(PLACE, market=market, side=side, price=price, lots=lots, client_id=client_id, tif=tif, expiry=expiry)


def cancel(market: int, side: int, client_id: int, price: int, seq: int) -> Vector:
    return action(CANCEL, market=market, side=side, price=price, client_id=client_id, seq=seq)


def cancel_all(market: int) -> Vector:
    return action(CANCEL_ALL, market=market)


def amend(market: int, side: int, client_id: int, price: int, seq: int, lots: int) -> Vector:
    return action(AMEND, market=market, side=side, price=price, client_id=client_id, seq=seq, lots=lots)


def trigger(market: int, side: int, direction: int, price: int, limit: int, lots: int, client_id: int) -> Vector:
    return action(TRIGGER, market=market, side=side, direction=direction, price=price, limit=limit, lots=lots,
                  client_id=client_id)


def action_bytes(a: Vector, base: int) -> bytes:
    op, tail = a["op"], relative(a["expiry"], base) if a["expiry"] else b""
    low = {PLACE: a["tif"] << 2 | (tail != b"") << 1, TRIGGER: a["direction"] << 3 | (tail != b"") << 1,
           CANCEL: (a["side"] >> 1) << 3, CANCEL_AT: int(tail == b""), OPTIONS: a["opt_in"]}.get(op, 0)
    more = a["reduce_only"] | a["self_trade"] << 1
    if more:
        low |= 1
    names = {
        PLACE: ("market", "price", "lots", "client_id"), CANCEL: ("market", "client_id", "price", "seq"),
        CANCEL_ALL: ("market",), AMEND: ("market", "client_id", "price", "seq", "lots"),
        TRIGGER: ("market", "price", "limit", "lots", "client_id"),
    }.get(op, ())
    head = bytes((op << 5 | (a["side"] & 1) << 4 | low, *([more] if more else [])))
    return b"".join((head, *(leb128(a[name]) for name in names), tail))


def good_actions() -> list[Vector]:
    """Actions of all kinds, with numbers of every length."""
    rng = Random(2)
    listed = [place(0, 0, 0, 0, 0), place(65_535, 1, 2**32 - 1, MAX, MAX, 3, NOW + 2**63), cancel_all(0)]
    listed += [place(3, 1, 600_123, 5_000, 123_456, 1, NOW + 100_000), cancel_all(65_535), cancel(0, 0, 0, 0, 0)]
    listed += [cancel(65_535, 1, MAX, 2**32 - 1, MAX), place(1, 0, 1, 1, 1, 2) | {"reduce_only": 1}]
    listed += [place(1, 1, 1, 1, 1, 2, NOW + 1) | {"reduce_only": ro, "self_trade": mode}
               for ro in (0, 1) for mode in (1, 2)]
    listed += [amend(0, 0, 0, 0, 0, 0), amend(65_535, 1, MAX, 2**32 - 1, MAX, MAX), cancel(4, 3, 5, 6, 7)]
    listed += [action(CANCEL_AT), action(CANCEL_AT, expiry=NOW + 60_000), action(CANCEL_AT, expiry=NOW + 2**63)]
    listed += [trigger(0, 0, 0, 0, 0, 0, 0), trigger(2, 1, 0, 590_000, 0, 5_000, 8), trigger(2, 0, 1, 1, 2, 3, 4)]
    listed += [trigger(65_535, 1, 1, 2**32 - 1, 2**32 - 1, MAX, MAX) | {"expiry": NOW + 2**63}]
    listed += [action(OPTIONS), action(OPTIONS, opt_in=1)]
    for _ in range(40):
        market, price, side = rng.randrange(2**16), rng.getrandbits(rng.randint(1, 32)), rng.randrange(2)
        first, second = rng.getrandbits(rng.randint(1, 64)), rng.getrandbits(rng.randint(1, 64))
        expiry = rng.choice((0, 1, NOW, NOW + rng.randrange(10**9)))
        listed.append(place(market, side, price, first, second, rng.randrange(4), expiry))
        listed[-1] |= {"reduce_only": rng.randrange(2), "self_trade": rng.randrange(3)}
        listed.append(cancel(market, rng.randrange(4), first, price, second))
        listed.append(amend(market, side, first, price, second, rng.getrandbits(rng.randint(1, 64))))
        listed.append(trigger(market, side, rng.randrange(2), price, rng.getrandbits(20), first, second))
        listed[-1] |= {"expiry": expiry}
    return listed


def actions() -> list[Vector]:
    listed = good_actions()
    cases: list[tuple[bytes, int, Any]] = [(action_bytes(a, NOW), 1, [a]) for a in listed]
    cases += [(b"".join(action_bytes(a, NOW) for a in listed[:n]), n, listed[:n]) for n in (2, 31, 32)]
    for a in listed[:24]:  # every way to cut one off, and what follows does not matter
        data = action_bytes(a, NOW)
        cases += [(data[:n], 1, BAD) for n in range(len(data))]
        cases += [(data + b"\xff" * 9, 1, [a]), (data, 2, BAD)]
    order, gone = action_bytes(listed[3], NOW), action_bytes(cancel(1, 1, 2, 3, 4), NOW)
    cases += [(bytes((head,)) + order[1:], 1, BAD) for head in (0, 31, 255)]
    cases += [(bytes((gone[0] | bit,)) + gone[1:], 1, BAD) for bit in (1, 2, 4)]
    cases += [(bytes((3 << 5 | bit, 0)), 1, BAD) for bit in (1, 2, 4, 8, 16)]
    cases += [(bytes((4 << 5 | bit, 0, 1, 1, 1, 1)), 1, BAD) for bit in (1, 2, 4, 8)]
    cases += [(bytes((5 << 5 | bit, 1)), 1, BAD) for bit in (2, 4, 8, 16, 3)]
    cases += [(bytes((6 << 5 | bit, 0, 1, 1, 1, 1, 1)), 1, BAD) for bit in (1, 4)]
    cases += [(bytes((7 << 5 | bit,)), 1, BAD) for bit in (2, 4, 8, 16)]
    cases += [(bytes((1 << 5 | 1, more, 0, 1, 1, 1)), 1, BAD) for more in (0, 6, 7, 8, 16, 128, 255)]
    cases += [(b"\xc0\x00\x01" + leb128(n) + b"\x01\x01", 1, BAD) for n in (2**32, MAX)]  # limit
    cases += [(b"\xc0\x00" + leb128(n) + b"\x01\x01\x01", 1, BAD) for n in (2**32, MAX)]
    cases += [(b"\xa0" + leb128(2 * NOW + 2), 1, BAD), (b"\xa0" + leb128(2 * NOW), 1, [action(CANCEL_AT)], 7)]
    cases += [(b"\x60" + leb128(n), 1, BAD) for n in (65_536, 2**21, MAX)]  # market
    cases += [(b"\x60" + n, 1, BAD) for n in (b"\x80\x00", b"\x80\x80\x00", b"\x80\x80\x80\x00", b"\x80" * 10)]
    cases += [(b"\x20\x00" + leb128(n) + b"\x01\x01", 1, BAD) for n in (2**32, MAX)]  # price
    cases += [(b"\x40\x00\x01" + leb128(n) + b"\x01", 1, BAD) for n in (2**32, MAX)]
    cases += [(b"\x22\x00\x01\x01\x01" + leb128(2 * NOW + 2), 1, BAD)]  # expiry before 0
    cases += [(b"\x20\x00\x01" + leb128(2**40), 1, BAD)]
    cases += [(b"\x20\x00\x01\x01" + leb128(2**40), 1, [place(0, 0, 1, 1, 2**40)])]
    return [
        {"data": data.hex(), "base": NOW, "count": count, "actions": out,
         "end": BAD if out is BAD else end if end is not None else sum(len(action_bytes(a, NOW)) for a in out)}
        for data, count, out, *rest in cases
        for end in (rest[0] if rest else None,)
    ]


def prices() -> list[Vector]:
    rng, cases = Random(3), []
    for count in range(1, 5):
        markets = sorted(rng.sample(range(2**16), count))
        values = [rng.getrandbits(rng.randint(1, 32)) for _ in range(count)]
        data = b"".join(leb128(m) + leb128(v) for m, v in zip(markets, values, strict=True))
        cases.append((data, count, markets, values, len(data)))
        cases.append((data[:-1], count, None, None, BAD))
        cases.append((data, count + 1, None, None, BAD))
    cases.append((leb128(0) + leb128(0) + leb128(65_535) + leb128(2**32 - 1), 2, [0, 65_535], [0, 2**32 - 1], 10))
    for broken, count in (("", 0), ("0001", 0), ("00010001", 2), ("01010001", 2), ("0001" * 5, 5)):
        cases.append((bytes.fromhex(broken), count, None, None, BAD))
    cases.append((b"".join(bytes((m, 1)) for m in range(5)), 5, None, None, BAD))
    cases += [(leb128(65_536) + b"\x01", 1, None, None, BAD), (b"\x01" + leb128(2**32), 1, None, None, BAD)]
    return [
        {"data": d.hex(), "count": n, "markets": markets, "prices": values, "end": end}
        for d, n, markets, values, end in cases
    ]


# --- digests ----------------------------------------------------------------------------------------------------------

TYPES: dict[str, list[dict[str, str]]] = {
    name: [dict(zip(("type", "name"), part.split(), strict=True)) for part in text.split(", ")]
    for name, text in {
        "Action": "string action, uint32 market, string side, uint64 lots, uint32 price, string timeInForce, "
        "bool reduceOnly, string selfTrade, uint32 limit, uint64 clientId, uint64 expiry",
        "Actions": "uint32 account, uint8 keySlot, uint64 nonce, uint64 expiry, Action[] actions",
        "Withdraw": "uint32 account, uint64 nonce, uint64 expiry, address recipient, uint64 amount",
        "SetKey": "uint32 account, uint64 nonce, uint64 expiry, uint8 keySlot, address key, uint64 keyExpiry",
        "Price": "uint32 market, uint32 price",
        "OraclePrice": "uint8 publisher, uint64 time, Price[] prices",
    }.items()
}
USES = {"Actions": ("Actions", "Action"), "OraclePrice": ("OraclePrice", "Price")}


def shown(a: Vector) -> Vector:
    """An action as a wallet shows it: words, and zero or nothing where the op has no such field."""
    op = a["op"]
    name = {PLACE: "place", CANCEL: "cancel", CANCEL_ALL: "cancelAll", AMEND: "amend", CANCEL_AT: "cancelAt",
            TRIGGER: ("triggerBelow", "triggerAbove")[a["direction"]],
            OPTIONS: ("denyEarlyReduction", "allowEarlyReduction")[a["opt_in"]]}[op]
    full = {"action": name, "market": a["market"], "side": "", "lots": 0, "price": 0, "timeInForce": "",
            "reduceOnly": False, "selfTrade": "", "limit": 0, "clientId": a["client_id"], "expiry": 0}
    if op == PLACE:
        tif = ("GTC", "IOC", "FOK", "POST_ONLY")[a["tif"]]
        mode = ("CANCEL_RESTING", "CANCEL_TAKER", "CANCEL_BOTH")[a["self_trade"]]
        full |= {"side": ("buy", "sell")[a["side"]], "lots": a["lots"], "price": a["price"], "timeInForce": tif,
                 "reduceOnly": bool(a["reduce_only"]), "selfTrade": mode, "expiry": a["expiry"]}
    if op == TRIGGER:
        full |= {"side": ("buy", "sell")[a["side"]], "lots": a["lots"], "price": a["price"], "limit": a["limit"],
                 "reduceOnly": True, "expiry": a["expiry"]}
    if op == AMEND:
        full |= {"lots": a["lots"]}
    if op == CANCEL_AT:
        full |= {"expiry": a["expiry"]}
    return full


def typed_digest(kind: str, message: Vector) -> str:
    """eth_account's digest of a message under the vectors' domain."""
    domain = {"name": "Anchorline", "version": "1", "chainId": CHAIN_ID, "verifyingContract": _address(ROLLUP)}
    types = {name: TYPES[name] for name in USES.get(kind, (kind,))}
    return _hash_eip191_message(encode_typed_data(domain, types, message)).hex()


def _address(number: int) -> str:
    return "0x" + number.to_bytes(20, "big").hex()


def digests() -> list[Vector]:
    rng, found, listed = Random(4), [], good_actions()
    big, small = [2**32 - 1, 7, MAX, MAX], [1, 0, NOW, NOW + 60_000]
    for fields, chosen in (
        (small, listed[:1]), (big, listed[:32]), (small, listed[2:3]), (small, listed[5:6]), (small, listed[3:8]),
        ([9, 3, 1, 2], listed[8:28]), *((small, [a]) for a in listed[8:26]), (big, listed[40:72]),
    ):
        message = dict(zip(("account", "keySlot", "nonce", "expiry"), fields, strict=True))
        found.append(_digest_case("Actions", message | {"actions": [shown(a) for a in chosen]}, fields, actions=chosen))
    for fields in ([1, NOW, NOW + 1, 2**160 - 1, MAX], [2**32 - 1, MAX, MAX, 1, 1], [0, 0, 0, 0, 0]):
        names = ("account", "nonce", "expiry", "recipient", "amount")
        message = dict(zip(names, fields, strict=True))
        found.append(_digest_case("Withdraw", message | {"recipient": _address(fields[3])}, fields))
    for fields in ([1, NOW, NOW + 1, 3, 2**160 - 1, NOW], [2**32 - 1, MAX, MAX, 255, 1, MAX], [0] * 6):
        names = ("account", "nonce", "expiry", "keySlot", "key", "keyExpiry")
        message = dict(zip(names, fields, strict=True))
        found.append(_digest_case("SetKey", message | {"key": _address(fields[4])}, fields))
    for count in (1, 2, 4):
        markets = sorted(rng.sample(range(2**16), count))
        values = [rng.getrandbits(32) for _ in range(count)]
        pairs = [{"market": m, "price": v} for m, v in zip(markets, values, strict=True)]
        message = {"publisher": count, "time": NOW + count, "prices": pairs}
        found.append(_digest_case("OraclePrice", message, [count, NOW + count], markets=markets, prices=values))
    return found


def _digest_case(kind: str, message: Vector, fields: list[int], **lists: Any) -> Vector:
    return {"type": kind, "message": message, "fields": fields, **lists, "digest": typed_digest(kind, message)}


# --- signatures -------------------------------------------------------------------------------------------------------


def recovered(digest: bytes, r: int, vs: int) -> int:
    """Address by eth_keys' pure Python backend; 0 if it finds none. The bounds on r and s are EIP-2's and SEC 1's."""
    s, parity = vs % 2**255, vs >> 255
    if not (0 < r < CURVE_ORDER and 0 < s <= CURVE_ORDER // 2):
        return 0
    api = KeyAPI(NativeECCBackend)
    try:
        key = api.Signature(vrs=(parity, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, ValidationError):
        return 0
    return int(key.to_address(), 16)


def signatures() -> list[Vector]:
    api, half = KeyAPI(NativeECCBackend), CURVE_ORDER // 2
    cases: list[tuple[str, bytes, int, int]] = []
    for i in range(6):
        digest = keccak(text=f"digest {i}")
        signature = api.PrivateKey(keccak(text=f"key {i}")).sign_msg_hash(digest)
        r, s, v = signature.r, signature.s, signature.v
        cases += [
            ("valid", digest, r, v << 255 | s),
            ("other parity", digest, r, (1 - v) << 255 | s),
            ("high s", digest, r, (1 - v) << 255 | CURVE_ORDER - s),
            ("another digest", keccak(digest), r, v << 255 | s),
            ("r and s swapped", digest, s, v << 255 | r % 2**255),
        ]
    digest, s = keccak(text="edges"), 12_345
    points = [x for x in range(1, 40) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) == 1]
    absent = [x for x in range(1, 40) if x not in points]
    cases += [("small r", digest, x, parity << 255 | s) for x in points[:4] for parity in (0, 1)]
    cases += [("r without a point", digest, x, parity << 255 | s) for x in absent[:4] for parity in (0, 1)]
    for parity in (0, 1):
        top = parity << 255
        cases += [("r = 0", digest, 0, top | s), ("s = 0", digest, points[0], top), ("all zero", digest, 0, top)]
        cases += [(f"r = n + {d}", digest, CURVE_ORDER + d, top | s) for d in (-2, -1, 0, 1, 2)]
        cases += [(f"s = n/2 + {d}", digest, points[0], top | half + d) for d in (-1, 0, 1)]
        cases += [("s = 2**255 - 1", digest, points[0], top | 2**255 - 1)]
        cases += [("r = 2**256 - 1", digest, 2**256 - 1, top | s)]
        cases += [("s = 1", digest, points[0], top | 1), ("digest 0", bytes(32), points[0], top | s)]
        cases += [("digest 2**256 - 1", b"\xff" * 32, points[0], top | s)]
    return [
        {"what": what, "digest": d.hex(), "r": hex(r), "vs": hex(vs), "address": hex(recovered(d, r, vs))}
        for what, d, r, vs in cases
    ]


# --- leaves -----------------------------------------------------------------------------------------------------------

# Fields of each word from the most significant to the least, with bits; negative = signed; the last one ends at bit 0.
LAYOUTS: dict[str, list[list[tuple[str, int]]]] = {
    "Globals": [
        [("time", 64), ("block_number", 64), ("position", 64), ("cursor", 64)],
        [("next_account", 64), ("next_withdrawal", 64), ("last_anchor", 64), ("sqrt_tau", 64)],
        [("accounts_total", -128), ("insurance_total", -128)],
        [("fees", 64), ("deposits", 64), ("withdrawn", 64), ("outflow", 64)],
        [("losses_total", -128), ("outflow_at", 64), ("outflow_limit", 64)],
        [("resting", 48), ("anchor_interval", 32), ("tau_reduce", 32), ("tau_halt", 32), ("level", 8),
         ("buffer_ms", 32), ("refill", 16), ("horizon_root", 32), ("closeout", 24)],
    ],
    "Board": [
        [("", 8), ("mark", 32), ("mark_time", 48), ("tick_value", 32), ("status", 8), ("mm_base", 24), ("mm_cap", 24),
         ("im_base", 24), ("im_cap", 24), ("stale_ms", 32)],
        [("funding", -64), ("loss_long", -64), ("loss_short", -64), ("impact", 64)],
        [("risk", 64), ("addon_cap", 24), ("", 168)],
    ],
    "Market": [
        [("next_seq", 64), ("open_interest", 64), ("oi_cap", 64), ("min_notional", 64)],
        [("cash", -64), ("size", -64), ("cost", -64), ("funding", -64)],
        [("account", 32), ("lots", 64), ("price", 32), ("client_id", 64), ("pending_expiry", 48), ("side", 8),
         ("self_trade", 4), ("reduce_only", 1), ("tif", 3)],
        [("", 16), ("taker_fee", 24), ("maker_fee", 24), ("penalty", 24), ("band", 24), ("near_band", 24),
         ("quorum", 8), ("publishers", 8), ("z", 16), ("sigma_floor", 32), ("vol_sample_ms", 32), ("reduce_cap", 24)],
        [("", 16), ("index", 32), ("basis", -64), ("basis_time", 48), ("variance", 64), ("sample_price", 32)],
        [("", 16), ("sample_time", 48), ("funding_acc", -64), ("funding_time", 48), ("jump_price", 32),
         ("jump_at", 48)],
        [("", 40), ("basis_cap", 24), ("spread_max", 24), ("basis_window", 32), ("vol_window", 32), ("jump_limit", 24),
         ("jump_hold", 32), ("expiry", 48)],
        [("", 32), ("reduced_block", 64), ("reduced_lots", 64), ("twap", 64), ("twap_ms", 32)],
    ],
    "Publisher": [[("", 16), ("address", 160), ("price", 32), ("time", 48)]],
    "Account": [
        [("", 24), ("collateral", -64), ("cancel_at", 48), ("buffer", 32), ("buffer_at", 48), ("open_orders", 16),
         ("keys", 8), ("positions", 8), ("flags", 8)],
    ],
    "Key": [[("", 48), ("address", 160), ("expiry", 48)], [("", 128), ("nonce_high", 64), ("nonce_map", 64)]],
    "Position": [
        [("size", -64), ("cost", -64), ("funding", -64), ("loss", -64)],
        [("buy_lots", 64), ("sell_lots", 64), ("buy_notional", 64), ("sell_notional", 64)],
        [("", 32), ("min_seq", 64), ("reduce_min_seq", 64), ("reduce_lots", 64), ("market", 16), ("open_orders", 16)],
    ],
    "Order": [[("", 8), ("account", 32), ("lots", 64), ("client_id", 64), ("expiry", 48), ("limit", 32), ("flags", 8)]],
}  # fmt: skip


def pack(kind: str, fields: Vector) -> str:
    words = b""
    for layout in LAYOUTS[kind]:
        word = 0
        for name, bits in layout:
            word = word << abs(bits) | (fields[name] % 2 ** abs(bits) if name else 0)
        words += word.to_bytes(32, "big")
    return words.hex()


def draw(rng: Random, kind: str) -> Vector:
    fields = {}
    for name, bits in (part for layout in LAYOUTS[kind] for part in layout if part[0]):
        low, high = (0, 2**bits - 1) if bits > 0 else (-(2 ** (-bits - 1)), 2 ** (-bits - 1) - 1)
        fields[name] = rng.choice((low, high, rng.randint(low, high), rng.randint(low, high)))
    return fields


def leaves() -> list[Vector]:
    """Leaves of every kind; accounts and markets with all numbers of parts."""
    rng, found = Random(5), []
    for kind in ("Globals", "Order"):
        drawn = [draw(rng, kind) for _ in range(6)]
        found += [{"kind": kind, "parts": [[kind, fields]], "words": pack(kind, fields)} for fields in drawn]
    shapes = [("Account", [("keys", "Key", k), ("positions", "Position", p)]) for k in range(1, 5) for p in range(9)]
    shapes += [("Market", [("publishers", "Publisher", n)]) for n in range(9)]
    shapes += [("Boards", [("", "Board", n)]) for n in range(1, 9)]
    for kind, shape in shapes:
        head = draw(rng, kind) | {name: count for name, _, count in shape} if kind in LAYOUTS else {}
        parts: list[list[Any]] = [[kind, head]] if head else []
        parts += [[part, draw(rng, part)] for _, part, count in shape for _ in range(count)]
        found.append({"kind": kind, "parts": parts, "words": "".join(pack(*part) for part in parts)})
    return found


FILES = {f.__name__: f for f in (reads, actions, prices, digests, signatures, leaves)}


def text(name: str) -> str:
    """The contents of a vector file, one case a line."""
    return "[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in FILES[name]()) + "\n]\n"


def load(name: str) -> list[Vector]:
    """The cases of a vector file."""
    cases: list[Vector] = json.loads((FOLDER / f"{name}.json").read_text())
    return cases


if __name__ == "__main__":
    for name in FILES:
        (FOLDER / f"{name}.json").write_text(text(name))
