"""Reading L1 on both chains, and what failures become."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from node.errors import Critical, Temporary
from node.l1.client import L1Client
from node.l1.journal import FileJournal
from node.l1.sender import Intent, SenderConfig, open_sender
from node.l1.types import CallReverted, NodeRefused
from tests.l1.chains import CHAIN_ID, KINDS, l1_chain
from tests.l1.contract import call_data, creation_code


@pytest.mark.parametrize("kind", KINDS)
async def test_everything_the_node_reads(kind: str, tmp_path: Path) -> None:
    async with l1_chain(kind) as chain:
        client = chain.client
        journal = FileJournal(tmp_path / "sent.jsonl")
        async with open_sender(client, chain.signer(), journal, SenderConfig(confirmations=0, poll_s=0.02)) as sender:
            target = (await sender.send(Intent("deploy", b"", creation_code()))).created
            assert target is not None
            receipts = [await sender.send(Intent(f"set {n}", target, call_data("store", n))) for n in range(1, 6)]
        journal.close()
        assert await client.chain_id() == CHAIN_ID
        assert len(await client.code(target)) > 100 and await client.code(b"\x09" * 20) == b""
        assert await client.storage(target, 0) == 5
        assert int.from_bytes(await client.call(target, call_data("value")), "big") == 5
        for block in (receipts[2].block_number, receipts[2].block_hash):
            assert int.from_bytes(await client.call(target, call_data("value"), block=block), "big") == 3
            assert await client.storage(target, 0, block=block) == 3
        with pytest.raises(CallReverted, match="value too big") as caught:
            await client.call(target, call_data("store", 100))
        assert caught.value.data[:4].hex() == "08c379a0"

        narrow = L1Client(chain.url, logs_range_max=2)
        logs = await narrow.logs(target, 0, (await client.head()).number)
        narrow.close()
        assert [int.from_bytes(log.topics[1], "big") for log in logs] == [1, 2, 3, 4, 5]
        assert [log.tx_hash for log in logs] == [receipt.tx_hash for receipt in receipts]
        third = (3).to_bytes(32, "big")
        assert await client.logs(target, 0, 99, topics=[None, third]) == [logs[2]]
        assert await client.block_logs(target, logs[2].block_hash) == [logs[2]]
        assert await client.block_logs([b"\x09" * 20, target], logs[2].block_hash, [logs[2].topics[0]]) == [logs[2]]

        tx = await client.transaction(receipts[0].tx_hash)
        assert tx is not None and tx.input == call_data("store", 1) and tx.sender == chain.signer().address
        assert tx.block_number == receipts[0].block_number and tx.to == target
        assert await client.transaction(b"\x01" * 32) is None and await client.receipt(b"\x01" * 32) is None
        block = await client.block(receipts[0].block_number)
        assert block is not None and block.hash == receipts[0].block_hash
        assert await client.block(block.hash) == block and await client.block(10_000) is None
        proof = await client.proof(target, [0])
        assert proof.slots[0][0] == 5 and proof.account_nodes


async def test_a_node_that_is_not_there_is_temporary_and_bounded() -> None:
    client = L1Client("http://127.0.0.1:9", timeout_s=1)
    with pytest.raises(Temporary, match=r"node 127.0.0.1:\d+ does not answer eth_chainId"):
        await client.rpc("eth_chainId", retries=1)
    client.close()


async def test_http_errors_are_retried_and_named() -> None:
    requests_seen = 0

    async def refuse(stream: trio.SocketStream) -> None:
        nonlocal requests_seen
        async with stream:
            await stream.receive_some()
            requests_seen += 1
            await stream.send_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = L1Client(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}", timeout_s=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        with pytest.raises(Temporary, match="HTTP 429, 3 attempts"):
            await client.rpc("eth_chainId", retries=2)
        nursery.cancel_scope.cancel()
    client.close()
    assert requests_seen == 3


async def test_an_access_key_in_the_url_stays_out_of_messages() -> None:
    client = L1Client("http://127.0.0.1:9/v3/very-secret", timeout_s=1)
    with pytest.raises(Temporary) as caught:
        await client.rpc("eth_chainId", retries=0)
    client.close()
    assert "very-secret" not in str(caught.value) and caught.value.__cause__ is None


async def test_refusals_keep_code_and_words_and_missing_methods_are_critical() -> None:
    async with l1_chain("embedded") as chain:
        with pytest.raises(NodeRefused, match="cannot decode") as caught:
            await chain.client.send_raw(b"\x02\xc0")
        assert caught.value.code == -32_000
        with pytest.raises(Critical, match="has no method"):
            await chain.client.rpc("trace_block", "latest")
        with pytest.raises(Critical, match="serves chain 31337, configured is 1"):
            await chain.client.check_chain(1)


async def test_cancelling_a_call_does_not_wait_for_the_node() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    client = L1Client(f"http://127.0.0.1:{port}", timeout_s=5)
    async with trio.open_nursery() as nursery:
        accepted = trio.Event()

        async def swallow(stream: trio.SocketStream) -> None:
            accepted.set()
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, swallow, listeners)
        async with trio.open_nursery() as callers:
            callers.start_soon(client.chain_id)
            await accepted.wait()
            callers.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    client.close()
