"""Paid withdrawals are told to L2 once, at finalized depth, through restarts and refusals; then they are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_abi.abi import decode

from node.errors import Temporary
from node.l1 import bindings
from node.l1.bindings import encode_call
from node.l1.heads import Heads
from node.l1.sender import Intent, SendAborted, TxReverted, open_sender
from node.l1.types import CallReverted, L1Block, L1Log, L1Receipt
from node.rpc.client import RpcError
from node.sdk import Trader, connect
from node.sdk.l1 import L1Wallet, MemoryJournal
from node.stf.state import withdrawal_key
from node.stf.types import PAID_NOTICE
from sequencer import pruning
from sequencer.pruning import Pruner
from tests.sequencer.l1_world import SENDER, TRADERS, World, deployed, wait_for
from tests.sequencer.test_service import open_accounts, sequencing
from tests.sequencer.world import Desk
from tests.stf import messages
from tests.stf.world import message

ROLLUP = b"\x0a" * 20
RECEIPT = L1Receipt(b"\x01" * 32, True, 9, bytes(32), 70_000, 1, None, ())


@dataclass
class FakeL1:
    """Payments by block, and the finalized head; the sender's and the client's side of the protocol."""

    paid: dict[int, list[int]] = field(default_factory=dict)
    final: int = 0
    intents: list[Intent] = field(default_factory=list)
    answers: list[L1Receipt | Exception] = field(default_factory=list)  # of the next sends
    asked: list[tuple[int, int]] = field(default_factory=list)

    def heads(self) -> Heads:
        block = L1Block(self.final, bytes(32), bytes(32), 0, 0)
        return Heads(block, block, block)

    async def logs(self, address: bytes, first: int, last: int, topics: Sequence[Any]) -> list[L1Log]:
        assert address == ROLLUP and topics == [bindings.topic("Withdrawn")] and last <= self.final
        self.asked.append((first, last))
        word, topic = bytes(32), bindings.topic("Withdrawn")
        return [
            L1Log(ROLLUP, (topic, number.to_bytes(32, "big"), word), word, block, word, word, 0, 0)
            for block in range(first, last + 1) for number in self.paid.get(block, [])]

    async def send(self, intent: Intent) -> L1Receipt:
        self.intents.append(intent)
        answer = self.answers.pop(0) if self.answers else RECEIPT
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ids(self) -> list[list[int]]:
        """Of every notice sent."""
        return [list(decode(["uint256[]"], intent.data[4:])[0]) for intent in self.intents]


class Office:
    """A sequencer's chain with withdrawals 1 to ``count``, and a pruner beside it."""

    def __init__(self, count: int, *, notice: int = 3) -> None:
        self.desk = Desk().start()
        for amount in range(1, count + 1):
            self.desk.withdraw(1, amount)
        self.desk.builder.seal()
        self.l1 = FakeL1()
        self.notice = notice
        self.pruner = self.restarted()

    def restarted(self) -> Pruner:
        return Pruner(
            self.desk.chain, self.l1, ROLLUP, self.l1, self.l1.heads,  # type: ignore[arg-type]
            start_block=1, count=self.notice, poll_s=1.0)

    def consume(self, *ids: int) -> None:
        """L2 consumes a notice."""
        builder = self.desk.builder
        builder.add_message(builder.next_message, message(PAID_NOTICE, messages.paid(*ids), self.desk.now // 1000))
        self.desk.now += 10**6
        builder.tick()
        builder.seal()
        assert all(self.desk.chain.store.get(withdrawal_key(number)) is None for number in ids)


async def test_only_final_payments_are_told_and_in_their_order() -> None:
    office = Office(9)
    office.l1.paid = {5: [4, 2], 7: [9], 8: [1, 3, 5]}
    for final in (4, 5, 6):
        office.l1.final = final
        assert not await office.pruner.step()
    office.l1.final = 7
    assert await office.pruner.step()
    assert office.l1.ids() == [[4, 2, 9]]
    assert not await office.pruner.step()
    office.l1.final = 8
    assert await office.pruner.step()
    assert office.l1.ids() == [[4, 2, 9], [1, 3, 5]]
    assert office.l1.asked == [(1, 4), (5, 5), (6, 6), (7, 7), (8, 8)]


async def test_an_id_waits_until_its_leaf_is_gone_whoever_told_it() -> None:
    office = Office(6)
    office.l1.paid, office.l1.final = {2: [1, 2, 3, 4]}, 2
    assert await office.pruner.step() and office.pruner.waiting == [1, 2, 3, 4]
    assert not await office.pruner.step()
    office.consume(1, 2, 3)
    office.consume(4)  # of somebody else's notice
    assert not await office.pruner.step()
    assert office.pruner.waiting == [] and office.l1.ids() == [[1, 2, 3]]


async def test_a_restart_continues_the_same_transactions_and_reads_nothing_twice() -> None:
    office = Office(9)
    office.l1.paid, office.l1.final = {2: [1, 2, 3], 3: [4, 5, 6, 7]}, 3
    assert await office.pruner.step() and await office.pruner.step()
    office.pruner = office.restarted()
    assert office.pruner.waiting == [1, 2, 3, 4, 5, 6, 7]
    assert await office.pruner.step() and await office.pruner.step() and not await office.pruner.step()
    names = [intent.id for intent in office.l1.intents]
    assert names[:2] == names[2:] and len(set(names)) == 2
    assert office.l1.asked == [(1, 3)]
    office.consume(1, 2, 3)
    office.pruner = office.restarted()
    assert await office.pruner.step()  # the second notice again: its name, not a new one
    assert office.l1.intents[-1].id == names[1]


async def test_a_refusal_is_temporary_and_ends_when_the_other_notice_is_consumed() -> None:
    office = Office(9)
    office.l1.paid, office.l1.final = {2: [1, 2, 3, 4, 5]}, 2
    office.l1.answers = [CallReverted("NOT_PAID: or L2 was told before", b"")]
    with pytest.raises(Temporary, match="NOT_PAID"):
        await office.pruner.step()
    office.consume(2)  # somebody had told L2 of this one
    assert await office.pruner.step()
    assert office.l1.ids()[-1] == [1, 3, 4]


@pytest.mark.parametrize("failure", [TxReverted("paid", RECEIPT, "NOT_PAID"), SendAborted("nonce used")])
async def test_a_notice_that_was_mined_in_vain_is_followed_by_one_of_another_name(failure: Exception) -> None:
    office = Office(4)
    office.l1.paid, office.l1.final = {2: [1, 2, 3]}, 2
    office.l1.answers = [failure]
    with pytest.raises(Temporary):
        await office.pruner.step()
    office.pruner = office.restarted()
    assert await office.pruner.step()
    first, second = office.l1.intents
    assert first.data == second.data and first.id != second.id


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "WAITING_MAX", 4)
    monkeypatch.setattr(pruning, "RANGE_MAX", 2)
    office = Office(12, notice=8)
    office.l1.paid, office.l1.final = {number: [number] for number in range(1, 13)}, 12
    for _ in range(6):
        await office.pruner.step()
    assert office.pruner.waiting == [1, 2, 3, 4] and office.l1.asked == [(1, 2), (3, 4)]


async def test_nothing_that_l1_does_ends_the_task(autojump_clock: trio.testing.MockClock) -> None:
    office = Office(3)
    office.l1.paid, office.l1.final = {2: [1, 2, 3]}, 2
    office.l1.answers = [Temporary("unreachable"), CallReverted("FROZEN", b""), SendAborted("used"), RECEIPT]
    with trio.move_on_after(120):
        await office.pruner.run()
    assert len(office.l1.intents) == 4 and office.l1.answers == []


# --- the whole service on a real Rollup -------------------------------------------------------------------------------


async def notices(world: World) -> int:
    head = await world.chain.client.head()
    logs = await world.chain.client.logs(world.rollup, 0, head.number, [bindings.topic("MessageEnqueued")])
    events = [bindings.decode_event(item.topics, item.data) for item in logs]
    return sum(isinstance(event, bindings.MessageEnqueued) and event.message[0] == PAID_NOTICE for event in events)


async def test_paid_withdrawals_leave_the_state_by_themselves(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        config = world.config(batcher={"notice_ids": 2})
        async with sequencing(world, config) as trader:
            await open_accounts(world, trader)
            await trader.price()
            await withdraw_and_claim(world, trader.rpc._endpoint.shown, 2)
            for number in (1, 2):
                await wait_for(lambda number=number: kind_of(trader, number), lambda kind: kind == "WithdrawalPaid")
            assert await kind_of(trader, 3) == "NotFound" and await notices(world) == 1
            status = await trader.rpc.call("al_status")
            assert status["conserved"] and status["withdrawals"] == 2
        async with sequencing(world, config) as trader:
            await withdraw_and_claim(world, trader.rpc._endpoint.shown, 1, first=3)
            mined = (await world.chain.client.head()).number
            await wait_for(lambda: world.chain.client.head("finalized"), lambda block: block.number > mined)
            assert await notices(world) == 1 and await kind_of(trader, 3) == ""
            with pytest.raises(Exception, match="NOT_PAID"):
                await world.chain.client.call(world.rollup, encode_call("notify_paid", [1]))


async def kind_of(trader: Any, number: int) -> str:
    """Kind of the error that asking for a withdrawal answers, empty if there is none."""
    try:
        await trader.rpc.call("al_withdrawalProof", [number])
    except RpcError as error:
        return str(error.data["kind"])
    return ""


async def withdraw_and_claim(world: World, url: str, count: int, first: int = 1) -> None:
    """A trader with an L1 key withdraws, waits for finality, and is paid."""
    journal = MemoryJournal()
    signer = world.chain.signer(TRADERS[0])
    async with (
        connect(url.replace("http://", "ws://")) as client,
        open_sender(world.chain.client, signer, journal, SENDER) as sender,
    ):
        wallet = L1Wallet(world.chain.client, sender, world.deployment)
        known = await client.accounts_of(wallet.address)
        if not known:
            await wallet.deposit(500_000_000)
        account = await client.wait_account(wallet.address)
        owner = Trader(client, signer, account)
        for number in range(first, first + count):
            await owner.withdraw(1_000_000 + number, wallet.address)
        for number in range(first, first + count):
            await wallet.claim(await client.wait_claimable(number, 60))
