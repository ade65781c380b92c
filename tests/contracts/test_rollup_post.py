"""Posting: what the contract commits to, every cause of refusal, and what it costs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from eth_hash.auto import keccak

from node.l1.bindings import (
    BATCH_BYTES_MAX,
    CHUNK_BYTES_POSTED_MAX,
    FORCED_PER_BATCH,
    BadEncoding,
    decode_post_batch,
    encode_call,
    encode_post_batch,
)
from node.stf.commitments import (
    INVALID_ROOT,
    MESSAGE_ANCHOR,
    ZERO32,
    Message,
    Position,
    anchor_payload,
    decode_message,
    header_hash,
    inbox_hash,
)
from tests.contracts.world import BOND, World
from tests.evm import Halt, Revert, reverts


@pytest.fixture
def world() -> World:
    return World()


def test_header_matches_its_python_twin_and_carries_an_anchor_notice(world: World) -> None:
    world.deposit()
    header = world.post(chunks=(b"one", b"two" * 500, b"three"))
    assert (header.number, header.chunk_count, header.inbox_cursor) == (1, 3, 1)
    notice = decode_message(world.messages[-1])
    payload = anchor_payload(1, header.globals[0] >> 192)
    sender = bytes.fromhex(world.rollup.address[2:])
    assert notice == Message(MESSAGE_ANCHOR, sender, world.evm.timestamp, payload)
    assert world.rollup.call("head_number") == 1
    assert world.rollup.call("head_position") == header.globals[0]
    assert world.post().parent == header_hash(header)


def test_genesis_header_is_computable_without_the_chain(world: World) -> None:
    assert world.rollup.call("header_hash", 0) == header_hash(world.headers[0])
    assert world.rollup.call("header_hash", 1) == ZERO32


@pytest.mark.parametrize("count", [1, 2, 3, 5, 31, 255, 256])
def test_any_count_of_chunks(world: World, count: int) -> None:
    assert world.post(chunks=tuple(bytes([i]) * (1 + i % 7) for i in range(count))).chunk_count == count


def test_the_largest_chunk_and_the_largest_batch(world: World) -> None:
    rng = random.Random(1)
    chunks = [rng.randbytes(CHUNK_BYTES_POSTED_MAX) for _ in range(2)]
    chunks.append(rng.randbytes(BATCH_BYTES_MAX - 2 * CHUNK_BYTES_POSTED_MAX))
    assert world.post(chunks=tuple(chunks)).chunk_count == 3


def _raw(world: World, lengths: list[int], roots: list[bytes], chunks: bytes, **overrides: Any) -> bytes:
    """Calldata of the next batch with arrays that the encoder's own checks would refuse."""
    batch = world.batch(**overrides)
    head = (batch.number, batch.parent, batch.inbox_cursor, batch.inbox_hash, batch.globals)
    return encode_call("post_batch", *head, lengths, roots, chunks)


ROOT = keccak(b"a root")


@pytest.mark.parametrize(
    ("lengths", "roots", "chunks", "reason"),
    [
        ([], [], b"", "CHUNKS"),
        ([2], [], b"ab", "CHUNKS"),
        ([1, 1], [ROOT], b"ab", "CHUNKS"),
        ([1], [ROOT, ROOT], b"a", "CHUNKS"),
        ([0, 2], [ROOT, ROOT], b"ab", "CHUNK_BYTES"),
        ([CHUNK_BYTES_POSTED_MAX + 1], [ROOT], bytes(CHUNK_BYTES_POSTED_MAX + 1), "CHUNK_BYTES"),
        ([2], [ROOT], b"abc", "CHUNKS"),
        ([1], [ZERO32], b"a", "POST_ROOT"),
        ([1], [INVALID_ROOT], b"a", "POST_ROOT"),
        ([1, 1], [INVALID_ROOT, ROOT], b"ab", "POST_ROOT"),
    ],
)
def test_bad_chunks_are_refused(
    world: World, lengths: list[int], roots: list[bytes], chunks: bytes, reason: str
) -> None:
    with reverts(reason):
        world.evm.message(world.rollup, _raw(world, lengths, roots, chunks), sender=world.operator)


def test_lengths_beyond_the_bytes_are_refused(world: World) -> None:
    """The slice itself refuses: no reason text, but never a batch."""
    for lengths in ([4], [2, 2]):
        with reverts(""):
            data = _raw(world, lengths, [ROOT] * len(lengths), b"abc")
            world.evm.message(world.rollup, data, sender=world.operator)


def test_more_chunks_or_bytes_than_the_type_allows_are_refused(world: World) -> None:
    for data in (
        _raw(world, [1] * 257, [ROOT] * 257, bytes(257)),
        _raw(world, [22_000] * 3, [ROOT] * 3, bytes(66_000)),
    ):
        with reverts(""):
            world.evm.message(world.rollup, data, sender=world.operator)


def test_only_the_seat_posts(world: World) -> None:
    with reverts("NOT_SEAT"):
        world.send(world.batch(), sender=world.stranger)
    world.do(world.operator, "leave_seat")
    with reverts("NOT_SEAT"):
        world.send(world.batch())


def test_a_batch_whose_bytes_no_transaction_shows_is_refused() -> None:
    """A contract may take the seat, but what it forwards is not in any transaction's own input."""
    world = World(seated=False)
    relay = world.evm.deploy("mocks/PostRelay.vy")
    world.token.transact("mint", relay, BOND)
    relay.transact("run", world.token, world.token.calldata("approve", world.rollup, BOND))
    relay.transact("run", world.rollup, encode_call("take_seat", BOND))
    assert world.rollup.call("seat_holder") == relay.address.lower()
    with reverts("POSTER"):
        relay.transact("run", world.rollup, encode_post_batch(world.batch()))


def test_the_parent_must_be_the_head(world: World) -> None:
    world.post()
    stale = world.batch()
    world.post()
    with reverts("PARENT"):
        world.send(stale)
    with reverts("PARENT"):
        world.send(world.batch(parent=header_hash(world.headers[1])))
    for number in (0, 2, 4, 2**256 - 1):
        with reverts("PARENT"):
            world.send(world.batch(number=number))


def test_an_l1_reorg_of_the_inbox_refuses_and_never_misanchors(world: World) -> None:
    world.deposit()
    before = world.evm.snapshot(), list(world.messages)
    world.deposit(account=7)
    prepared = world.batch()
    world.evm.restore(before[0])
    world.messages = before[1]
    with reverts("INBOX_CURSOR"):
        world.send(prepared)
    world.deposit(account=8)
    with reverts("INBOX_HASH"):
        world.send(prepared)


def test_time_and_order_must_rise(world: World) -> None:
    world.post()
    now_ms, cursor = world.evm.timestamp * 1000, len(world.messages)
    last = Position(now_ms, 1, 1, cursor)
    for position, reason in (
        (Position(now_ms + 1, 2, 2, cursor), "L2_TIME"),
        (Position(now_ms + 1001, 2, 2, cursor), "L2_TIME"),
        (Position(last.l2_time_ms, 2, 2, cursor), "L2_TIME"),
        (Position(last.l2_time_ms - 1, 2, 2, cursor), "L2_TIME"),
    ):
        with reverts(reason):
            world.send(world.batch(position=position))
    world.evm.warp(1)
    for position, reason in (
        (Position(now_ms + 1001, 2, 2, cursor), "L2_TIME"),
        (Position(now_ms + 1, 1, 2, cursor), "L2_BLOCK"),
        (Position(now_ms + 1, 0, 2, cursor), "L2_BLOCK"),
        (Position(now_ms + 1, 2, 1, cursor), "TX_POSITION"),
        (Position(now_ms + 1, 2, 2, cursor + 1), "INBOX_CURSOR"),
    ):
        with reverts(reason):
            world.send(world.batch(position=position))
    world.send(world.batch(position=Position(now_ms + 1000, 2, 2, cursor)))


def test_the_inbox_cursor_never_falls(world: World) -> None:
    world.deposit()
    world.post()
    world.evm.warp(1)
    with reverts("INBOX_CURSOR"):
        world.send(world.batch(inbox_cursor=0))


def test_an_overdue_message_must_be_consumed(world: World) -> None:
    world.deposit()
    enqueued_s = world.evm.timestamp
    delay_s = world.params.force_delay_s
    world.evm.warp(delay_s + 5)
    with reverts("FORCED_OVERDUE"):
        world.send(world.batch(inbox_cursor=0, l2_time_ms=(enqueued_s + delay_s) * 1000 + 1))
    world.send(world.batch(inbox_cursor=0, l2_time_ms=(enqueued_s + delay_s) * 1000))
    world.evm.warp(1)
    with reverts("FORCED_OVERDUE"):
        world.send(world.batch(inbox_cursor=0))
    world.send(world.batch(inbox_cursor=1))


def test_a_flooded_inbox_cannot_stop_posting(world: World) -> None:
    """Beyond FORCED_PER_BATCH messages a batch may leave overdue ones."""
    for _ in range(FORCED_PER_BATCH + 2):
        world.deposit()
    world.evm.warp(world.params.force_delay_s + 1)
    with reverts("FORCED_OVERDUE"):
        world.send(world.batch(inbox_cursor=FORCED_PER_BATCH - 1))
    world.send(world.batch(inbox_cursor=FORCED_PER_BATCH))
    world.evm.warp(1)
    world.send(world.batch())


def test_calldata_that_a_watcher_would_read_otherwise_is_refused(world: World) -> None:
    """The ABI lets dynamic parts stand anywhere; Rollup and the Python decoder insist on one place."""
    good = encode_post_batch(world.batch(chunks=(b"abc", b"defg")))
    assert decode_post_batch(good).chunks == (b"abc", b"defg")
    moved = bytearray(good + good[4 + 13 * 32 :])
    for word in (10, 11, 12):
        at = 4 + 32 * word
        moved[at : at + 32] = (int.from_bytes(good[at : at + 32], "big") + len(good) - 4 - 13 * 32).to_bytes(32, "big")
    for bad in (good + bytes(32), good + b"\0", bytes(moved)):
        with pytest.raises(BadEncoding):
            decode_post_batch(bad)
        with reverts("CALLDATA"):
            world.evm.message(world.rollup, bad, sender=world.operator)
    world.send_raw(good)


@pytest.mark.parametrize(("word", "points_to"), [(10, "roots"), (11, "lengths"), (12, "roots")])
def test_no_dynamic_part_may_stand_in_for_another(world: World, word: int, points_to: str) -> None:
    """One offset moved onto another part whose content would pass for it; the size still fits."""
    data = bytearray(_raw(world, [1], [(1).to_bytes(32, "big")], b"z"))
    offset = 13 * 32 if points_to == "lengths" else 15 * 32
    data[4 + 32 * word : 36 + 32 * word] = offset.to_bytes(32, "big")
    with pytest.raises(BadEncoding):
        decode_post_batch(bytes(data))
    with reverts("CALLDATA"):
        world.evm.message(world.rollup, bytes(data), sender=world.operator)


def test_every_mutation_of_calldata_is_refused_or_read_alike(world: World) -> None:
    """1,500 seeded mutations: whatever the contract accepts, the decoder reads to the same header."""
    rng = random.Random(7)
    good = encode_post_batch(world.batch(chunks=(b"a" * 40, b"b", b"c" * 33)))
    accepted = 0
    for _ in range(1_500):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 2)):
            at = rng.randrange(4 + 31, len(bad)) if rng.random() < 0.5 else 4 + 32 * rng.randrange(len(good) // 32) + 31
            bad[at % len(bad)] = rng.choice((0, 1, 2, 32, 64, 255, rng.randrange(256)))
        if rng.random() < 0.1:
            del bad[-rng.randint(1, 40) :]
        before = world.evm.snapshot(), list(world.messages), list(world.headers)
        try:
            world.evm.message(world.rollup, bytes(bad), sender=world.operator, keep=False)
        except (Revert, Halt):
            continue
        world.send_raw(bytes(bad))
        accepted += 1
        world.evm.restore(before[0])
        world.messages, world.headers = before[1], before[2]
    assert 20 < accepted < 1_400


def test_inbox_hash_at_is_the_running_hash(world: World) -> None:
    for _ in range(9):
        world.deposit()
        world.evm.warp(3)
    for number in range(10):
        assert world.rollup.call("inbox_hash_at", number) == inbox_hash(world.messages[:number])
    times = [world.rollup.call("inbox_time_s", number) for number in range(10)]
    assert times == [decode_message(m).l1_time_s for m in world.messages] + [0]
    with reverts("INBOX_CURSOR"):
        world.rollup.call("inbox_hash_at", 10)


def test_gas_of_posting(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A batch costs its calldata floor and little else: bounds that a change must not break, and the table."""
    rng = random.Random(3)
    rows = []
    world.post()
    for size, count in ((500, 1), (2_000, 1), (4_000, 2), (16_000, 8), (64_000, 32)):
        world.evm.warp(12)
        batch = world.batch(chunks=tuple(rng.randbytes(size // count) for _ in range(count)))
        data = encode_post_batch(batch)
        floor = 21_000 + sum(40 if byte else 10 for byte in data)
        gas = world.send(batch).gas_used
        rows.append((size, count, gas, floor))
        assert gas <= max(floor, 21_000 + sum(16 if byte else 4 for byte in data) + 130_000)
        if size >= 16_000:
            assert gas == floor
    with capsys.disabled():
        print("\n  chunk bytes  chunks       gas  calldata floor")
        for size, count, gas, floor in rows:
            print(f"  {size:>11,}{count:>8}{gas:>10,}{floor:>16,}")


def test_the_calldata_decoder_refuses_garbage() -> None:
    rng = random.Random(5)
    for _ in range(300):
        with pytest.raises(BadEncoding):
            decode_post_batch(rng.randbytes(rng.randrange(900)))
    with pytest.raises(BadEncoding):
        decode_post_batch(encode_call("leave_seat"))


def test_the_encoder_refuses_what_the_contract_refuses(world: World) -> None:
    for chunks in ((), (b"",), (bytes(CHUNK_BYTES_POSTED_MAX + 1),), (bytes(23_000),) * 3):
        with pytest.raises(ValueError, match="chunk"):
            encode_post_batch(world.batch(chunks=chunks))


def test_a_batch_does_not_fit_less_gas_than_it_needs(world: World) -> None:
    """Running out of gas keeps nothing."""
    world.evm.warp(1)
    with pytest.raises(Halt):
        world.evm.message(world.rollup, encode_post_batch(world.batch()), sender=world.operator, gas=90_000)
    assert world.rollup.call("head_number") == 0
