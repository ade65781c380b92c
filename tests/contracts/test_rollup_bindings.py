"""node/l1/bindings.py is Rollup's ABI, no more and no less; the commitments' codecs invert each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.l1 import bindings
from node.stf import commitments, params
from node.stf.commitments import BatchHeader, Message, Position
from tests.contracts.world import PARAMS, World
from tests.evm import compiled, selector

ABI = compiled("Rollup").abi


def _type(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(c) for c in parameter['components'])}){kind[5:]}"


def test_every_function_is_bound_with_its_types() -> None:
    functions = {entry["name"]: entry for entry in ABI if entry["type"] == "function"}
    types = {n: (tuple(map(_type, e["inputs"])), tuple(map(_type, e["outputs"]))) for n, e in functions.items()}
    assert types == bindings.FUNCTIONS
    assert all(bindings.selector(name) == selector(entry) for name, entry in functions.items())


def test_every_event_is_bound_with_its_types() -> None:
    def types(entry: dict[str, Any], indexed: bool) -> tuple[str, ...]:
        return tuple(_type(i) for i in entry["inputs"] if i["indexed"] is indexed)

    events = {e["name"]: (types(e, True), types(e, False)) for e in ABI if e["type"] == "event"}
    assert events == bindings.EVENTS
    for entry in ABI:
        if entry["type"] == "event":
            indexed_first = [i["indexed"] for i in entry["inputs"]]
            assert indexed_first == sorted(indexed_first, reverse=True), "topic() needs indexed arguments first"


def test_the_constructor_is_bound() -> None:
    entry = next(e for e in ABI if e["type"] == "constructor")
    assert tuple(map(_type, entry["inputs"])) == bindings.CONSTRUCTOR


def test_limits_are_the_contracts(world: World) -> None:
    """The numbers that Python repeats stand in the sources too."""
    from contracts import CONTRACTS_DIR

    rollup = (CONTRACTS_DIR / "batches.vy").read_text().replace("_", "")
    inbox = (CONTRACTS_DIR / "inbox.vy").read_text()
    assert f"CHUNKBYTESMAX: constant(uint256) = {bindings.CHUNK_BYTES_POSTED_MAX}\n" in rollup
    assert f"BATCHBYTESMAX: constant(uint256) = {bindings.BATCH_BYTES_MAX}\n" in rollup
    assert f"FORCED_PER_BATCH: constant(uint256) = {bindings.FORCED_PER_BATCH}\n" in inbox
    assert f"PAYLOAD_BYTES_MAX: constant(uint256) = {commitments.MESSAGE_PAYLOAD_BYTES_MAX}\n" in inbox
    withdrawals = (CONTRACTS_DIR / "withdrawals.vy").read_text()
    assert f"NOTICE_IDS_MAX: constant(uint256) = {params.PAID_MAX}\n" in withdrawals
    for name in ("DEPOSIT", "FORCED", "PAID", "ANCHOR", "ROLLBACK", "ADMIN"):
        assert f"KIND_{name}: constant(uint8) = {getattr(commitments, f'MESSAGE_{name}')}\n" in inbox


@pytest.fixture
def world() -> World:
    return World()


def test_every_view_decodes(world: World) -> None:
    header = world.post()
    arguments = {
        "header_hash": (1,),
        "is_final": (header,),
        "inbox_hash_at": (1,),
        "inbox_time_s": (0,),
        "is_paid": (3,),
        "claim_owner": (1, world.trader.address, 5),
        "bond_of": (world.operator.address,),
        "reward_of": (world.prover.address,),
        "tenure": (1,),
        "slash_at": (0,),
        "proposal_executable_at": (bytes(32),),
    }
    results = {}
    for name, (_, outputs) in bindings.FUNCTIONS.items():
        if outputs:
            data = bindings.encode_call(name, *arguments.get(name, ()))
            results[name] = bindings.decode_result(name, world.evm.message(world.rollup, data, keep=False).value)
    assert results["header_hash"] == commitments.header_hash(header)
    assert results["head_number"] == 1 and results["inbox_count"] == 1 and results["is_open"] is True
    assert results["token"] == bytes.fromhex(world.token.address[2:])
    assert results["seat_holder"] == bytes.fromhex(world.operator.address[2:])
    assert results["bond_of"] == (PARAMS.bond_min, 0, 0)
    assert results["tenure"][0] == world.operator.address.lower() and results["slash_at"][1:] == (0, 0, 0, 0)
    assert bindings.decode_result("open", b"") is None


def test_events_that_do_not_decode_are_named(world: World) -> None:
    world.evm.warp(1)
    receipt = world.send(world.batch())
    posted = next(x for x in receipt.logs if x.name == "BatchPosted")
    with pytest.raises(bindings.BadEncoding, match="hash in its topic"):
        bindings.decode_event(posted.topics, posted.data[:32] + bytes(31) + b"\1" + posted.data[64:])
    with pytest.raises(bindings.BadEncoding, match="does not decode"):
        bindings.decode_event(posted.topics, posted.data[:-1])
    with pytest.raises(bindings.BadEncoding, match="does not decode"):
        bindings.decode_event(posted.topics[:1], posted.data)
    assert bindings.decode_event([bytes(32)], b"") is None
    assert bindings.decode_event([], b"") is None


hashes = st.binary(min_size=32, max_size=32)
addresses = st.binary(min_size=20, max_size=20)
words = st.integers(0, 2**256 - 1)
headers = st.builds(
    BatchHeader,
    number=words,
    parent=hashes,
    rules=words,
    inbox_cursor=words,
    inbox_hash=hashes,
    chunk_count=words,
    chunks_root=hashes,
    post_root=hashes,
    globals=st.tuples(*[words] * 6),
    posted_at=words,
    poster=addresses,
)


@given(headers)
def test_headers_encode_as_the_abi_does(header: BatchHeader) -> None:
    from eth_abi.abi import encode

    data = commitments.encode_header(header)
    assert data == encode([bindings.HEADER], [bindings.header_tuple(header)])
    assert commitments.decode_header(data) == header


def test_malformed_headers_are_refused() -> None:
    header = commitments.genesis_header(bytes(32), [0] * 6)
    data = commitments.encode_header(header)
    with pytest.raises(ValueError, match="512"):
        commitments.decode_header(data[:-1])
    with pytest.raises(ValueError, match="not an address"):
        commitments.decode_header(data[:480] + b"\1" + data[481:])
    with pytest.raises(ValueError, match="exactly 6"):
        commitments.genesis_header(bytes(32), [0] * 5)


@given(st.builds(Message, st.integers(0, 255), addresses, st.integers(0, 2**64 - 1), st.binary(max_size=1024)))
def test_messages_round_trip(message: Message) -> None:
    assert commitments.decode_message(commitments.encode_message(message)) == message


@given(st.builds(Position, *[st.integers(0, 2**64 - 1)] * 4))
def test_positions_round_trip(position: Position) -> None:
    assert commitments.unpack_position(commitments.pack_position(position)) == position


def test_fields_out_of_range_are_refused() -> None:
    good = Message(1, bytes(20), 0, b"")
    for bad in (Message(256, *list(_rest(good))), Message(1, bytes(19), 0, b""), Message(1, bytes(20), 0, bytes(1025))):
        with pytest.raises(ValueError):
            commitments.encode_message(bad)
    for size in (0, 28, 1_054):
        with pytest.raises(ValueError, match="29 to 1,053"):
            commitments.decode_message(bytes(size))
    with pytest.raises(ValueError, match="64-bit"):
        commitments.pack_position(Position(2**64, 0, 0, 0))
    with pytest.raises(ValueError, match="64-bit"):
        commitments.withdrawal_word(bytes(20), 2**64)


def _rest(message: Message) -> tuple[bytes, int, bytes]:
    return message.sender, message.l1_time_s, message.payload
