"""Both implementations of the wire format, digests, recovery and leaf layouts against tests/vectors."""

from collections.abc import Callable
from dataclasses import astuple
from functools import cache
from random import Random
from typing import Any, Protocol

import pytest

from node.stf import encoding, fixed_point, state
from node.stf.encoding import BAD
from node.stf.types import Action, Key, Position, Publisher
from tests.evm import Contract, Evm
from tests.vectors import generate
from tests.vectors.generate import CHAIN_ID, FILES, ROLLUP, Vector, load

DOMAIN = encoding.domain_separator(CHAIN_ID, ROLLUP)
TAIL = b"\xa5" * 32  # what follows the buffer in calldata: not zero, so that reading too far shows
VYPER_KINDS = {"varint": 100, "time": 101, "byte": 102}
Reading = tuple[int, int]


class Implementation(Protocol):
    """The wire format in one language. Positions count from the start of the data."""

    def read(self, data: bytes, base: int, kinds: list[Any]) -> list[Reading]: ...
    def read_actions(self, data: bytes, base: int, count: int) -> tuple[list[Action], int]: ...
    def read_prices(self, data: bytes, count: int) -> tuple[list[int], list[int], int]: ...
    def digest(self, case: Vector) -> bytes: ...
    def recover(self, digest: bytes, r: int, vs: int) -> int: ...
    def domain_separator(self, chain_id: int, rollup: int) -> bytes: ...
    def divide(self, a: int, b: int) -> tuple[int, int, int]: ...
    def in_range(self, amount: int) -> bool: ...


class Python:
    def read(self, data: bytes, base: int, kinds: list[Any]) -> list[Reading]:
        encoding.load(data)
        encoding.set_base_time(base)
        found: list[Reading] = []
        pos = 0
        for kind in kinds:
            if isinstance(kind, int):
                value, pos = encoding.read_fixed(pos, kind)
            else:
                value, pos = getattr(encoding, f"read_{kind}")(pos)
            found.append((value, pos))
        return found

    def read_actions(self, data: bytes, base: int, count: int) -> tuple[list[Action], int]:
        encoding.load(data)
        encoding.set_base_time(base)
        return encoding.read_actions(0, count)

    def read_prices(self, data: bytes, count: int) -> tuple[list[int], list[int], int]:
        encoding.load(data)
        return encoding.read_prices(0, count)

    def digest(self, case: Vector) -> bytes:
        encoding.set_domain(DOMAIN)
        name = {"Actions": "actions", "Withdraw": "withdraw", "SetKey": "set_key", "OraclePrice": "oracle_price"}
        function: Callable[..., bytes] = getattr(encoding, name[case["type"]] + "_digest")
        return function(*case["fields"], *lists_of(case))

    def recover(self, digest: bytes, r: int, vs: int) -> int:
        assert encoding.recover(digest, r, vs) == encoding.recover_now(digest, r, vs)
        return encoding.recover_now(digest, r, vs)

    def domain_separator(self, chain_id: int, rollup: int) -> bytes:
        return encoding.domain_separator(chain_id, rollup)

    def divide(self, a: int, b: int) -> tuple[int, int, int]:
        return fixed_point.div_down(a, b), fixed_point.div_up(a, b), fixed_point.div_toward_zero(a, b)

    def in_range(self, amount: int) -> bool:
        return fixed_point.in_range(amount)


class Vyper:
    def __init__(self) -> None:
        self.mock: Contract = Evm().deploy("mocks/EncodingMock.vy")

    def read(self, data: bytes, base: int, kinds: list[Any]) -> list[Reading]:
        values, ends, _gas = self.mock.call("read", data, base, [VYPER_KINDS.get(k, k) for k in kinds], TAIL)
        return list(zip(values, ends, strict=True))

    def read_actions(self, data: bytes, base: int, count: int) -> tuple[list[Action], int]:
        found, end, _gas = self.mock.call("read_actions", data, base, count, TAIL)
        return [Action(*fields) for fields in found], end

    def read_prices(self, data: bytes, count: int) -> tuple[list[int], list[int], int]:
        markets, prices, end, _gas = self.mock.call("read_prices", data, count, TAIL)
        return list(markets), list(prices), end

    def digest(self, case: Vector) -> bytes:
        kind, fields = case["type"], case["fields"]
        if kind == "Actions":
            return self.mock.call("actions_digest", DOMAIN, fields, lists_of(case)[0])[0]
        if kind == "OraclePrice":
            return self.mock.call("oracle_price_digest", DOMAIN, fields, *lists_of(case))[0]
        return self.mock.call("withdraw_digest" if kind == "Withdraw" else "set_key_digest", DOMAIN, fields)

    def recover(self, digest: bytes, r: int, vs: int) -> int:
        return self.mock.call("recover", digest, r, vs)[0]

    def domain_separator(self, chain_id: int, rollup: int) -> bytes:
        return self.mock.call("domain_separator", chain_id, rollup)

    def divide(self, a: int, b: int) -> tuple[int, int, int]:
        return self.mock.call("divide", a, b)

    def in_range(self, amount: int) -> bool:
        return self.mock.call("in_range", amount)


def lists_of(case: Vector) -> list[Any]:
    if case["type"] == "Actions":
        return [[Action(**fields) for fields in case["actions"]]]
    return [case[name] for name in ("markets", "prices") if name in case]


@cache
def implementation(name: str) -> Implementation:
    return Python() if name == "python" else Vyper()


@pytest.fixture(params=["python", "vyper"])
def impl(request: pytest.FixtureRequest) -> Implementation:
    return implementation(request.param)


@pytest.mark.parametrize("name", FILES)
def test_vectors_are_what_the_generator_makes(name: str) -> None:
    assert (generate.FOLDER / f"{name}.json").read_text() == generate.text(name), "run python -m tests.vectors.generate"


def test_reads(impl: Implementation) -> None:
    for case in load("reads"):
        expected = [(0, BAD) if e is None else tuple(e) for e in case["expected"]]
        assert impl.read(bytes.fromhex(case["data"]), case["base"], case["reads"]) == expected, case


def test_actions(impl: Implementation) -> None:
    for case in load("actions"):
        found, end = impl.read_actions(bytes.fromhex(case["data"]), case["base"], case["count"])
        if case["actions"] is None:
            assert end == BAD, case
        else:
            assert (found, end) == ([Action(**fields) for fields in case["actions"]], case["end"]), case


def test_prices(impl: Implementation) -> None:
    for case in load("prices"):
        found = impl.read_prices(bytes.fromhex(case["data"]), case["count"])
        if case["end"] is None:
            assert found[2] == BAD, case
        else:
            assert found == (case["markets"], case["prices"], case["end"]), case


def test_digests(impl: Implementation) -> None:
    assert impl.domain_separator(CHAIN_ID, ROLLUP) == DOMAIN
    for case in load("digests"):
        assert impl.digest(case).hex() == case["digest"], case


def test_recoveries(impl: Implementation) -> None:
    for case in load("signatures"):
        found = impl.recover(bytes.fromhex(case["digest"]), int(case["r"], 16), int(case["vs"], 16))
        assert hex(found) == case["address"], case


def test_divisions(impl: Implementation) -> None:
    """Against exact fractions, around zero, around exact quotients and at the ends of the range."""
    rng = Random(6)
    pairs = [(a, b) for a in (*range(-7, 8), 2**127 - 1, 1 - 2**127) for b in (1, 2, 3, 7, 2**63 - 1)]
    pairs += [(rng.randint(-(2**126), 2**126) >> rng.randrange(126), rng.randint(1, 2**62)) for _ in range(60)]
    for a, b in pairs:
        down, up, toward_zero = impl.divide(a, b)
        assert down * b <= a < (down + 1) * b
        assert (up - 1) * b < a <= up * b
        assert toward_zero == (down if a >= 0 else up)


def test_amounts_that_may_be_stored(impl: Implementation) -> None:
    edge = 2**62
    for amount in (0, 1, -1, edge - 1, 1 - edge):
        assert impl.in_range(amount)
    for amount in (edge, -edge, 2**126, -(2**126)):
        assert not impl.in_range(amount)


def test_random_bytes_decode_alike() -> None:
    """Whatever the bytes, both languages read the same actions, or both refuse."""
    rng, python, vyper = Random(7), implementation("python"), implementation("vyper")
    refused = 0
    for _ in range(300):
        count = rng.randint(1, 4)
        heads = (0x20, 0x22, 0x31, 0x40, 0x50, 0x60, 0x80, 0xA0, 0xC0, 0xE1)
        parts = [bytes((rng.choice((*heads, rng.randrange(256))),)) for _ in range(count)]
        noise = [bytes(rng.choice((0, 1, 0x7F, 0x80, 0xFF)) for _ in range(rng.randint(1, 14))) for _ in parts]
        data = b"".join(head + rest for head, rest in zip(parts, noise, strict=True))
        ours, theirs = python.read_actions(data, 5_000, count), vyper.read_actions(data, 5_000, count)
        assert ours[1] == theirs[1], data.hex()
        refused += ours[1] == BAD
        if ours[1] != BAD:
            assert ours[0] == theirs[0], data.hex()
    assert 50 < refused < 290  # both outcomes are met


def test_bounds_of_the_buffer() -> None:
    """`set_end` opens and closes the buffer to a message inside, in both languages."""
    mock = Evm().deploy("mocks/EncodingMock.vy")
    assert mock.call("bounds", bytes(60), 40, TAIL) == (60, 40)
    encoding.load(bytes(60))
    assert encoding.get_end() == 60
    encoding.set_end(40)
    assert encoding.read_fixed(20, 20) == (0, 40)
    assert encoding.read_fixed(20, 21) == (0, BAD)
    assert encoding.append(b"message") == 60
    assert encoding.get_end() == 40


@pytest.mark.parametrize("case", load("leaves"), ids=lambda case: f"{case['kind']}-{len(case['parts'])}")
def test_leaves(case: Vector) -> None:
    """Reading and writing a leaf; state.vy's side is tests/stf/test_state_twin.py, which compares hashes of leaves."""
    value, kind = bytes.fromhex(case["words"]), case["kind"]
    row = getattr(state, f"decode_{kind.lower()}")(value)
    assert getattr(state, f"encode_{kind.lower()}")(row) == value
    for part, found in zip(case["parts"], parts_of(kind, row), strict=True):
        for name, expected in part[1].items():
            assert found.get(name, expected) == expected, (part[0], name)
        assert set(part[1]) <= set(found), f"{part[0]} has no {set(part[1]) - set(found)}"


def parts_of(kind: str, row: Any) -> list[dict[str, Any]]:
    """The records of a decoded leaf, in the order of its words."""
    if kind == "Boards":
        return [_fields(board) for board in row]
    if kind == "Account":
        head = _fields(row) | {"keys": len(row.keys), "positions": len(row.positions)}
        return [head, *map(_fields, row.keys), *map(_fields, row.positions)]
    if kind == "Market":
        head = _fields(row) | _fields(row.insurance) | _fields(row.prices) | _fields(row.pending)
        head |= {"pending_expiry": row.pending.expiry} | _fields(row.config) | {"publishers": len(row.publishers)}
        head |= dict(zip(("reduced_block", "reduced_lots", "twap", "twap_ms"), row.reduced + row.twap, strict=True))
        return [head, *map(_fields, row.publishers)]
    if kind == "Globals":
        return [_fields(row) | _fields(row.chain)]
    return [_fields(row)]


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


def test_records_have_the_fields_of_the_layouts() -> None:
    for kind in (Key, Position, Publisher):
        names = {name for layout in generate.LAYOUTS[kind.__name__] for name, _bits in layout if name}
        assert names == set(kind.__slots__) and len(astuple(kind())) == len(names)


def test_unit_costs_of_encoding(capsys: pytest.CaptureFixture[str]) -> None:
    """Gas of decoding, hashing and recovering; the transaction's own allowance covers what the bytes do not."""
    from node.stf.params import WORK_BYTE, WORK_DECODE, WORK_SIGNATURE, WORK_TX
    from tests.differential.harness import DECODE_MAX

    vyper = implementation("vyper")
    assert isinstance(vyper, Vyper)
    costs: dict[str, float] = {}
    limit = generate.place(3, 1, 600_123, 5_000, 123_456, 0, generate.NOW + 100_000)
    longest = generate.trigger(2**16 - 1, 1, 1, 2**32 - 1, 2**32 - 1, 2**64 - 1, 2**64 - 1)
    longest |= {"expiry": generate.NOW + 2**63}
    for name, action in (("order", limit), ("cancel", generate.cancel(3, 1, 123_456, 600_123, 99_999)),
                         ("cancel all", generate.cancel_all(3)), ("options", generate.action(generate.OPTIONS)),
                         ("longest", generate.good_actions()[1]), ("longest trigger", longest)):  # fmt: skip
        data = generate.action_bytes(action, generate.NOW) * 32
        _found, end, decoding = vyper.mock.call("read_actions", data, generate.NOW, 32, TAIL)
        assert end == len(data)
        listed = [Action(**action)] * 32
        hashing = vyper.mock.call("actions_digest", DOMAIN, [1, 0, generate.NOW, generate.NOW], listed)[1]
        costs[f"{name} decoded"], costs[f"{name} hashed"] = decoding // 32, hashing // 32
        # an envelope that fails spends no WORK_ACTION: what it spends before that must pay for reading and hashing
        assert decoding + hashing <= WORK_TX + 32 * WORK_DECODE + WORK_BYTE * (len(data) + 64)
        assert decoding <= DECODE_MAX  # of a transaction that is INVALID, which spends nothing
    varint = vyper.mock.call("read", generate.leb128(2**64 - 1), 0, [100], TAIL)[2][0]
    case = load("signatures")[0]
    digest = bytes.fromhex(case["digest"])
    recovery = vyper.mock.call("recover", digest, int(case["r"], 16), int(case["vs"], 16))[1]
    costs |= {"10-byte varint": varint, "recovery": recovery}
    with capsys.disabled():
        print("\ngas of encoding.vy:", ", ".join(f"{name} {gas}" for name, gas in costs.items()))
    assert varint <= 10 * WORK_BYTE and recovery <= WORK_SIGNATURE
