"""A reset keeps the promised order byte for byte, whatever L1 put in a message's place: any other costs the bond."""

from __future__ import annotations

from pathlib import Path

import pytest
from eth_hash.auto import keccak

from node.config import BatcherConfig
from node.derive.chain import Chain
from node.derive.promises import SignedPromise, check_promise, digest, make_promise
from node.errors import Critical
from node.l1.keys import LocalSigner
from node.stf.types import Status
from sequencer.again import Undone, boundary, collect, forget, load, remaining, repeat, save
from sequencer.batcher import new_record, plan_batch
from sequencer.builder import MESSAGE, TX
from sequencer.promises import find_promise, promise_write
from tests.sequencer.world import Desk
from tests.stf.world import address, buy, message, private_key, sell


def trading() -> Desk:
    """Two blocks of trading after the first prices; the second one consumes a message."""
    desk = Desk().start()
    desk.builder.seal()
    desk.now += 300
    desk.act(1, sell(0, 600_100, 50))
    desk.act(2, buy(0, 600_100, 20))
    desk.builder.seal()
    desk.now += 300
    desk.inbox.append(message(4, bytes(8) + (5_000).to_bytes(8, "big"), desk.now // 1_000))
    desk.builder.add_message(len(desk.inbox) - 1, desk.inbox[-1])
    desk.act(2, buy(0, 590_000, 7))
    desk.builder.seal()
    return desk


def order(chain: Chain, first: int) -> dict[int, bytes]:
    return {stored.receipt.position: stored.data
            for number in range(first, chain.head.number + 1) for stored in chain.transactions(number)}


def go_back(desk: Desk, target: int, pending: Undone | None = None) -> Undone:
    """As the service does it."""
    undone = collect(desk.chain, target, pending or Undone())
    save(desk.chain, undone)
    desk.chain.rollback(target)
    desk.builder = desk.new_builder()
    return undone


def offer(desk: Desk) -> None:
    for number in range(desk.builder.cursor, len(desk.inbox)):
        desk.builder.add_message(number, desk.inbox[number])


def test_the_same_bytes_stand_at_the_same_positions() -> None:
    """L1 has another message where an anchor notice was: the outcome differs, the order does not."""
    desk = trading()
    before = order(desk.chain, 2)
    root = desk.chain.head.state_root
    undone = go_back(desk, 1)
    payload = bytes(4) + address(private_key("carol")).to_bytes(20, "big") + (10**9).to_bytes(8, "big")
    desk.inbox[-1] = message(1, payload, desk.now // 1_000)
    offer(desk)
    desk.now += 60_000
    assert repeat(undone, desk.builder) == len(before)
    assert order(desk.chain, 2) == before
    assert desk.chain.head.state_root != root
    forget(desk.chain)
    assert load(desk.chain).transactions == []
    desk.now += 1
    assert desk.act(1, sell(0, 600_200, 5)).receipt.status == Status.OK


def test_a_message_that_is_gone_for_good_ends_the_batch_there() -> None:
    """The Inbox finds nothing. The next message comes in another batch: deriving would hand it to that Inbox."""
    desk = trading()
    before = order(desk.chain, 2)
    undone = go_back(desk, 1)
    desk.inbox.pop()
    offer(desk)
    repeat(undone, desk.builder)
    assert order(desk.chain, 2) == before
    repeated = desk.chain.head.number
    assert boundary(desk.chain) == repeated and desk.chain.head.cursor == len(desk.inbox)
    desk.now += 300
    desk.inbox.append(message(2, b"\x02\x00", desk.now // 1_000))
    offer(desk)
    desk.builder.tick()
    desk.builder.seal()
    assert desk.chain.head.cursor == len(desk.inbox)
    config = BatcherConfig(post_ms=10**9)
    first = plan_batch(desk.chain, config, now_ms=desk.now, l1_time_ms=desk.now + 10_000)
    assert first is not None and first.due and (first.first, first.last) == (1, repeated)
    desk.chain.put_batch(new_record(desk.chain, first))
    following = plan_batch(desk.chain, config, now_ms=desk.now, l1_time_ms=desk.now + 10_000)
    assert following is not None and following.first == repeated + 1


def test_the_same_inbox_gives_the_same_state() -> None:
    desk = trading()
    before, root = order(desk.chain, 1), desk.chain.head.state_root
    undone = go_back(desk, 0)
    offer(desk)
    repeat(undone, desk.builder)
    assert (order(desk.chain, 1), desk.chain.head.state_root) == (before, root)


def test_what_is_repeated_is_logged_again() -> None:
    """Its promises must survive a crash like any others: transactions, and messages before their Inbox."""
    desk = trading()
    undone = go_back(desk, 1)
    offer(desk)
    desk.records.clear()
    repeat(undone, desk.builder)
    logged = [content for kind, content in desk.records if kind == TX]
    assert logged == list(order(desk.chain, 2).values())
    assert [content[8:] for kind, content in desk.records if kind == MESSAGE] == [desk.inbox[-1]]
    assert len(desk.builder.entries) == len(logged)


def test_a_crash_in_the_middle_repeats_the_rest() -> None:
    desk = trading()
    before = order(desk.chain, 2)
    go_back(desk, 1)
    again = load(Chain.open(desk.chain.kv, desk.chain.domain))
    assert again.transactions == list(before.values()) and again.first == min(before)
    offer(desk)
    half = next(i for i, data in enumerate(again.transactions) if data[0] == 9 and i > 0)
    desk.builder.repeat(again.transactions[:half])
    desk.builder = desk.new_builder()
    offer(desk)
    assert repeat(load(desk.chain), desk.builder) == len(before) - half
    assert order(desk.chain, 2) == before


def test_a_second_reset_before_the_repetition_loses_nothing() -> None:
    desk = trading()
    before = order(desk.chain, 1)
    first = go_back(desk, 2)
    second = go_back(desk, 1, first)
    third = go_back(desk, 0, second)
    assert third.transactions == list(before.values())
    offer(desk)
    repeat(third, desk.builder)
    assert order(desk.chain, 1) == before


def test_another_runs_record_is_refused() -> None:
    with pytest.raises(Critical, match="start at position 9, the chain ends at 4"):
        remaining(Undone(9, [b"\x02\x00"], [0]), 4)
    assert remaining(Undone(), 4) == []


def test_a_transaction_that_fits_no_more_stops_the_sequencer(tmp_path: Path) -> None:
    desk = trading()
    with pytest.raises(Critical, match="take it anew"):
        desk.builder.repeat([b"\x09\x01", b"\xff"])


def test_consumed_messages_are_remembered_through_resets_and_crashes() -> None:
    """What L1 still lists as it was consumed is consumed again: for that, it must be known what was."""
    desk = trading()
    consumed = list(desk.inbox)
    first = go_back(desk, 2)
    assert first.first_message == len(consumed) - 1 and first.messages == consumed[-1:]
    second = go_back(desk, 0, load(desk.chain))
    assert (second.first_message, second.messages) == (0, consumed)
    assert load(desk.chain).messages == consumed
    forget(desk.chain)
    assert load(desk.chain).messages == []


def test_a_position_promised_again_in_a_longer_group_has_its_promise() -> None:
    """Groups after a reset begin elsewhere; one from before it that begins nearer does not reach as far."""
    desk = trading()
    hashes = [keccak(data) for data in order(desk.chain, 1).values()]
    signer = LocalSigner(keccak(b"sequencer"))

    def promise(first: int, count: int) -> None:
        made = make_promise(1, first, hashes[first : first + count], 1, bytes(32))
        desk.chain.kv.write([promise_write(SignedPromise(made, signer.sign_hash(digest(desk.chain.domain, made))))])

    promise(2, 2)
    assert find_promise(desk.chain, 4) is None
    promise(0, len(hashes))
    for position, tx_hash in enumerate(hashes):
        kept = find_promise(desk.chain, position)
        assert kept is not None
        check_promise(desk.chain.domain, signer.address, kept.signed, position, tx_hash, kept.path)
    assert find_promise(desk.chain, len(hashes)) is None
