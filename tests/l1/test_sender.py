"""The transaction manager on both chains: exactly once, through fee markets, restarts and reorgs."""

from __future__ import annotations

import itertools
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from eth_account import Account
from web3 import Web3

from node.errors import Critical, Temporary
from node.l1.fees import FeePolicy
from node.l1.journal import FileJournal
from node.l1.keys import LocalSigner
from node.l1.sender import (
    Intent,
    SendAborted,
    SendDisplaced,
    SenderConfig,
    SenderEvents,
    TxReverted,
    TxSender,
    open_sender,
)
from node.l1.types import CallReverted, L1Receipt
from tests.l1.chains import CHAIN_ID, KINDS, REPO, Chain, l1_chain
from tests.l1.contract import call_data, creation_code

GWEI = 10**9
TARGET = b"\x77" * 20
FAST = SenderConfig(confirmations=0, resubmit_s=60.0, poll_s=0.02)
DEADLINE_S = 30


@asynccontextmanager
async def sender_on(chain: Chain, folder: Path, config: SenderConfig = FAST, key: int = 0,
                    events: SenderEvents | None = None) -> AsyncIterator[TxSender]:
    journal = FileJournal(folder / "sent.jsonl")
    try:
        async with open_sender(chain.client, chain.signer(key), journal, config, events=events) as sender:
            yield sender
    finally:
        journal.close()


async def until(condition: Any) -> None:
    """Poll an async condition with a deadline."""
    with trio.fail_after(DEADLINE_S):
        while not await condition():
            await trio.sleep(0.01)


async def deploy(chain: Chain, sender: TxSender) -> bytes:
    receipt = await sender.send(Intent("deploy", b"", creation_code()))
    assert receipt.created is not None
    return receipt.created


async def send_and_leave(chain: Chain, sender: TxSender, intent: Intent) -> None:
    """Publish, then stop waiting, as a caller does that is cancelled."""
    before = await waiting(chain)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender.send, intent)

        async def published() -> bool:
            return await waiting(chain) > before

        await until(published)
        nursery.cancel_scope.cancel()


class Counter:
    """Counts what a sender reports."""

    def __init__(self) -> None:
        self.versions = 0
        self.pending_most = 0
        self.ends: list[L1Receipt | None] = []

    def pending(self, count: int) -> None:
        self.pending_most = max(self.pending_most, count)

    def published(self, bump: bool) -> None:
        self.versions += 1

    def finished(self, receipt: L1Receipt | None) -> None:
        self.ends.append(receipt)


async def waiting(chain: Chain) -> int:
    status = await chain.rpc("txpool_status")
    return int(status["pending"], 16)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_intent_is_mined_once_and_its_id_answers_for_ever(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path) as sender:
        target = await deploy(chain, sender)
        first = await sender.send(Intent("set", target, call_data("store", 5)))
        again = await sender.send(Intent("set", target, call_data("store", 6)))
        assert first.success and again.tx_hash == first.tx_hash
        assert int.from_bytes(await chain.client.call(target, call_data("value")), "big") == 5
        assert await chain.client.nonce(sender.address) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_concurrent_sends_of_one_id_are_one_transaction(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path) as sender:
        hashes: set[bytes] = set()

        async def send(name: str) -> None:
            hashes.add((await sender.send(Intent(name, TARGET, b"", 1))).tx_hash)

        async with trio.open_nursery() as nursery:
            for name in ("a", "a", "a", "b", "c", "b"):
                nursery.start_soon(send, name)
        assert len(hashes) == 3 and await chain.client.balance(TARGET) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_what_would_revert_is_refused_before_it_costs(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path) as sender:
        target = await deploy(chain, sender)
        with pytest.raises(CallReverted, match="value too big"):
            await sender.send(Intent("bad", target, call_data("store", 100)))
        with pytest.raises(ValueError, match="bytes of calldata"):
            await sender.send(Intent("huge", target, bytes(140_000)))
        with pytest.raises(ValueError, match="under the calldata floor"):
            await sender.send(Intent("poor", target, bytes(100), gas=21_000))
        assert not any(sender.known(name) for name in ("bad", "huge", "poor"))
        assert (await sender.send(Intent("good", target, call_data("store", 1)))).success


@pytest.mark.parametrize("kind", KINDS)
async def test_a_mined_revert_says_why(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path) as sender:
        target = await deploy(chain, sender)
        await sender.send(Intent("first", target, call_data("first_wins", 1)))
        with pytest.raises(TxReverted, match="somebody was first") as caught:
            await sender.send(Intent("second", target, call_data("first_wins", 2), gas=100_000))
        assert not caught.value.receipt.success
        with pytest.raises(TxReverted):
            await sender.send(Intent("second", target, call_data("first_wins", 2), gas=100_000))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stuck_transaction_is_replaced_until_the_limit(kind: str, tmp_path: Path) -> None:
    policy = FeePolicy(tip_min=GWEI, fee_max=100 * GWEI, limit_multiplier=2)
    config = SenderConfig(confirmations=0, resubmit_s=0.05, poll_s=0.02, fees=policy)
    counter = Counter()
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path, config, events=counter) as sender:
        await chain.automine(False)
        journal = sender._journal
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, Intent("stuck", TARGET, b"", 1))

            async def published_often() -> bool:
                return counter.versions >= 12

            await until(published_often)
            versions = journal.records["stuck"].versions
            for old, new in itertools.pairwise(versions):
                assert new.cap * 10 >= old.cap * 11 and new.tip * 10 >= old.tip * 11
            assert 4 <= len(versions) < 12 and versions[-1].cap <= 2 * versions[0].cap
            assert await waiting(chain) == 1
            await chain.mine()
        assert await chain.client.balance(TARGET) == 1 and len(counter.ends) == 1 and counter.pending_most == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_continues_what_is_in_flight(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain:
        await chain.automine(False)
        async with sender_on(chain, tmp_path) as sender:
            await send_and_leave(chain, sender, Intent("batch 1", TARGET, b"", 1))
            assert sender.in_flight == 1
        async with sender_on(chain, tmp_path) as sender:
            assert sender.in_flight == 1 and sender.known("batch 1")
            receipts: list[L1Receipt] = []

            async def send(name: str) -> None:
                receipts.append(await sender.send(Intent(name, TARGET, b"", 1)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, "batch 1")
                nursery.start_soon(send, "batch 2")

                async def both() -> bool:
                    return await waiting(chain) == 2

                await until(both)
                await chain.mine()
        assert len({receipt.tx_hash for receipt in receipts}) == 2
        assert await chain.client.balance(TARGET) == 2 and await chain.client.nonce(chain.signer().address) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_before_publishing_uses_the_journaled_nonce(kind: str, tmp_path: Path) -> None:
    """Killed after the nonce was written and before anything went out: the restart sends it, once."""
    from node.l1.journal import Record

    async with l1_chain(kind) as chain:
        journal = FileJournal(tmp_path / "sent.jsonl")
        signer = chain.signer()
        journal.assign(Record("lost", CHAIN_ID, signer.address, 0, TARGET, b"", 7, 50_000))
        journal.close()
        async with sender_on(chain, tmp_path) as sender:
            receipt = await sender.send(Intent("lost", TARGET, b"", 7))
        assert receipt.success and await chain.client.balance(TARGET) == 7


@pytest.mark.parametrize("kind", KINDS)
async def test_a_transaction_lost_in_a_reorg_is_published_again(kind: str, tmp_path: Path) -> None:
    config = SenderConfig(confirmations=2, resubmit_s=60.0, poll_s=0.02)
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path, config) as sender:
        await chain.mine(3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, Intent("lost", TARGET, b"", 3))

            async def mined() -> bool:
                return await chain.client.balance(TARGET) == 3

            async def noticed() -> bool:
                return not sender._flights["lost"].on_wire

            await until(mined)
            await until(noticed)
            await chain.rpc("anvil_reorg", *(({"depth": 1, "txBlockPairs": []},) if kind == "embedded" else (1, [])))
            assert await chain.client.balance(TARGET) == 0
            await until(mined)
            await chain.mine(2)
        assert await chain.client.balance(TARGET) == 3


@pytest.mark.parametrize("kind", KINDS)
async def test_a_finished_transaction_that_a_reorg_took_holds_up_nobody(kind: str, tmp_path: Path) -> None:
    """It is done, so nobody asks for it any more; but without it its successor could never be mined."""
    config = SenderConfig(confirmations=0, resubmit_s=0.2, poll_s=0.02)
    async with l1_chain(kind) as chain, sender_on(chain, tmp_path, config) as sender:
        await chain.mine(3)
        await sender.send(Intent("done", TARGET, b"", 3))
        await chain.automine(False)

        async def waits() -> bool:
            return await chain.client.nonce(chain.signer().address, block="pending") == 2

        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, Intent("next", TARGET, b"", 4))
                await until(waits)
                await chain.rpc("anvil_reorg", 1, [])
                assert await chain.client.balance(TARGET) == 0
                await chain.automine(True)
        assert await chain.client.balance(TARGET) == 7


@pytest.mark.parametrize("kind", KINDS)
async def test_a_nonce_that_someone_else_used_aborts(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain:
        await chain.automine(False)
        async with sender_on(chain, tmp_path) as sender:
            await send_and_leave(chain, sender, Intent("mine", TARGET, b"", 1))
        rival = Account.sign_transaction(
            {"to": Web3.to_checksum_address("0x" + "66" * 20), "value": 5, "nonce": 0, "gas": 21_000,
             "chainId": CHAIN_ID, "maxFeePerGas": 90 * GWEI, "maxPriorityFeePerGas": 50 * GWEI}, chain.keys[0])
        await chain.client.send_raw(bytes(rival.raw_transaction))
        await chain.mine()
        async with sender_on(chain, tmp_path) as sender:
            with trio.fail_after(DEADLINE_S), pytest.raises(SendAborted, match="nonce 0 was used"):
                await sender.send(Intent("mine", TARGET, b"", 1))
        assert await chain.client.balance(TARGET) == 0


async def test_a_nonce_that_went_back_to_a_former_transaction_of_ours_is_no_alarm(tmp_path: Path) -> None:
    """L1 loses a finished transaction, its nonce goes to the next intent, and then L1 has the former one after all."""
    config = SenderConfig(confirmations=0, resubmit_s=0.2, poll_s=0.02)
    async with l1_chain("anvil") as chain, sender_on(chain, tmp_path, config) as sender:
        first = await sender.send(Intent("first", TARGET, b"", 1))
        raw = await chain.rpc("eth_getRawTransactionByHash", "0x" + first.tx_hash.hex())
        await chain.automine(False)
        await chain.rpc("anvil_reorg", 1, [])
        outcomes: list[SendAborted] = []

        async def send_second() -> None:
            with pytest.raises(SendDisplaced, match="nonce 0 is on L1: first") as caught:
                await sender.send(Intent("second", TARGET, b"", 2))
            outcomes.append(caught.value)

        async def published() -> bool:
            return await chain.client.nonce(chain.signer().address, block="pending") == 1

        with trio.fail_after(DEADLINE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_second)
                await until(published)
                await chain.rpc("anvil_reorg", 1, [[raw, 0]])
                await chain.automine(True)
        with pytest.raises(SendDisplaced):
            await sender.send(Intent("second", TARGET, b"", 2))
        await sender.send(Intent("second, anew", TARGET, b"", 2))
        assert len(outcomes) == 1 and await chain.client.balance(TARGET) == 3


async def test_an_empty_account_is_told_to_be_funded(tmp_path: Path) -> None:
    async with l1_chain("embedded") as chain:
        journal = FileJournal(tmp_path / "sent.jsonl")
        async with open_sender(chain.client, LocalSigner(b"\x05" * 32), journal, FAST) as sender:
            with pytest.raises(Temporary, match="fund it"):
                await sender.send(Intent("x", TARGET, b"", 0))
            assert not sender.known("x")
        journal.close()


async def test_a_journal_of_another_key_is_refused(tmp_path: Path) -> None:
    async with l1_chain("embedded") as chain:
        await chain.automine(False)
        async with sender_on(chain, tmp_path) as sender:
            await send_and_leave(chain, sender, Intent("x", TARGET, b"", 1))
        with pytest.RaisesGroup(Critical, flatten_subgroups=True):
            async with sender_on(chain, tmp_path, key=1):
                pass


async def test_killed_at_any_moment_every_intent_is_mined_exactly_once(tmp_path: Path) -> None:
    """kill -9 with transactions assigned, published, mined or confirmed; each restart goes on where it was."""
    count, dice = 12, random.Random(9)
    command = [sys.executable, str(Path(__file__).with_name("send_many.py"))]
    async with l1_chain("embedded") as chain:
        await chain.automine(False)
        command += [chain.url, str(tmp_path / "sent.jsonl"), str(count)]
        environment = os.environ | {"PYTHONPATH": str(REPO)}
        sent = 0
        for _ in range(4):
            async with trio.open_nursery() as nursery:
                process = await nursery.start(partial(trio.run_process, command, check=False, env=environment))

                async def progressed(before: int = sent) -> bool:
                    return await chain.client.nonce(chain.signer().address, block="pending") > before

                await until(progressed)
                for _ in range(dice.randrange(3)):
                    await chain.mine()
                process.kill()
            for _ in range(dice.randrange(3)):
                await chain.mine()
            sent = await chain.client.nonce(chain.signer().address, block="pending")
        async with trio.open_nursery() as nursery:
            process = await nursery.start(partial(trio.run_process, command, check=False, env=environment))

            async def ended() -> bool:
                await chain.mine()
                return process.poll() is not None

            await until(ended)
        assert process.returncode == 0
        assert await chain.client.balance(TARGET) == count
        assert await chain.client.nonce(chain.signer().address) == count
