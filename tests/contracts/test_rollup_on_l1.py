"""Rollup on real chains, embedded and anvil: what a watcher reads back, and a poster with delegated code (EIP-7702)."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from eth_abi.abi import encode
from eth_account import Account
from eth_hash.auto import keccak
from eth_utils import to_checksum_address

from contracts import Artifact
from node.l1 import bindings
from node.l1.bindings import BatchPosted, MessageEnqueued, PostBatch
from node.stf.commitments import (
    MESSAGE_ANCHOR,
    MESSAGE_DEPOSIT,
    ZERO32,
    Position,
    decode_message,
    genesis_header,
    header_hash,
    pack_position,
)
from tests.contracts.world import (
    BOND,
    CLAIM_S,
    EXODUS_AFTER_S,
    PARAMS,
    PROMISE_DEADLINE_S,
    REGISTER_S,
    RESEAT_S,
    USD,
)
from tests.evm import compiled
from tests.l1.chains import CHAIN_ID, KINDS, Chain, l1_chain

GWEI = 10**9
MINED_WITHIN_S = 20


class Wallet:
    """Signs and sends with eth-account; one transaction a block."""

    def __init__(self, chain: Chain, index: int) -> None:
        self.chain, self.key = chain, chain.keys[index]
        self.address = Account.from_key(self.key).address

    async def send(self, to: str | None, data: bytes, gas: int = 10_000_000, **extra: Any) -> dict[str, Any]:
        """Send and return the receipt, whatever its status."""
        transaction = {
            "chainId": CHAIN_ID,
            "nonce": int(await self.chain.rpc("eth_getTransactionCount", self.address, "latest"), 16),
            "gas": gas,
            "maxFeePerGas": 100 * GWEI,
            "maxPriorityFeePerGas": GWEI,
            "value": 0,
            "data": data,
        } | extra
        if to is not None:
            transaction["to"] = to
        signed = Account.sign_transaction(transaction, self.key)
        tx_hash = await self.chain.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        with trio.fail_after(MINED_WITHIN_S):
            while (receipt := await self.chain.rpc("eth_getTransactionReceipt", tx_hash)) is None:
                await trio.sleep(0.01)  # anvil mines on arrival, but answers before
        return dict(receipt)

    async def deploy(self, artifact: Artifact, arguments: bytes = b"") -> str:
        receipt = await self.send(None, artifact.bytecode + arguments)
        assert int(receipt["status"], 16) == 1
        return to_checksum_address(receipt["contractAddress"])

    async def do(self, to: str, data: bytes, **extra: Any) -> dict[str, Any]:
        receipt = await self.send(to, data, **extra)
        assert int(receipt["status"], 16) == 1, receipt
        return receipt


def _erc20(name: str, kinds: list[str], *args: Any) -> bytes:
    return keccak(f"{name}({','.join(kinds)})".encode())[:4] + encode(kinds, args)


async def _rollup(chain: Chain, admin: Wallet, operator: Wallet) -> str:
    token = await admin.deploy(compiled("TestUSD"))
    rollup = await admin.deploy(compiled("Rollup"), bindings.encode_constructor(token, admin.address, PARAMS))
    verifier = await admin.deploy(compiled("mocks/DropCaller.vy"))
    await admin.do(rollup, bindings.encode_call("set_verifier", verifier))
    times = [rollup, EXODUS_AFTER_S, RESEAT_S, REGISTER_S]
    exodus = await admin.deploy(compiled("Exodus"), encode(["address", "uint256", "uint256", "uint256"], times))
    times = [rollup, PROMISE_DEADLINE_S, CLAIM_S]
    court = await admin.deploy(compiled("PromiseCourt"), encode(["address", "uint256", "uint256"], times))
    market = await admin.deploy(compiled("ClaimMarket"), encode(["address"], [rollup]))
    await admin.do(rollup, bindings.encode_call("set_courts", exodus, court, market))
    await admin.do(rollup, bindings.encode_call("open"))
    await operator.do(token, _erc20("mint", ["address", "uint256"], operator.address, 2 * BOND))
    await operator.do(token, _erc20("approve", ["address", "uint256"], rollup, 2 * BOND))
    await operator.do(rollup, bindings.encode_call("take_seat", BOND))
    return rollup


async def _batch(chain: Chain, number: int, parent: bytes, inbox_hash: bytes, cursor: int) -> PostBatch:
    head = await chain.rpc("eth_getBlockByNumber", "latest", False)
    position = Position(int(head["timestamp"], 16) * 1000, number, number, cursor)
    return PostBatch(
        number=number,
        parent=parent,
        inbox_cursor=cursor,
        inbox_hash=inbox_hash,
        globals=(pack_position(position), 0, 0, 0, 0, 0),
        chunks=(b"a chunk", bytes(range(256)) * 9),
        roots=(keccak(b"1"), keccak(b"2")),
    )


async def _events(chain: Chain, rollup: str) -> list[tuple[Any, str]]:
    logs = await chain.rpc("eth_getLogs", {"address": rollup, "fromBlock": "0x0", "toBlock": "latest"})
    decoded = [
        (bindings.decode_event([bytes.fromhex(t[2:]) for t in x["topics"]], bytes.fromhex(x["data"][2:])), x)
        for x in logs
    ]
    return [(event, x["transactionHash"]) for event, x in decoded if event is not None]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_watcher_rebuilds_inbox_and_batches_from_l1_alone(kind: str) -> None:
    async with l1_chain(kind) as chain:
        admin, operator = Wallet(chain, 0), Wallet(chain, 1)
        rollup = await _rollup(chain, admin, operator)
        await operator.do(rollup, bindings.encode_call("deposit", 0, operator.address, 5 * USD))
        (deposit, _), *_ = await _events(chain, rollup)
        assert isinstance(deposit, MessageEnqueued) and decode_message(deposit.message).kind == MESSAGE_DEPOSIT
        genesis = genesis_header(PARAMS.genesis_root, PARAMS.genesis_globals)
        batch = await _batch(chain, 1, header_hash(genesis), deposit.running_hash, 1)
        await operator.do(rollup, bindings.encode_post_batch(batch))

        events = await _events(chain, rollup)
        posted, tx_hash = next((e, t) for e, t in events if isinstance(e, BatchPosted))
        transaction = await chain.rpc("eth_getTransactionByHash", tx_hash)
        block = await chain.rpc("eth_getBlockByHash", transaction["blockHash"], False)
        seen = bindings.decode_post_batch(bytes.fromhex(transaction["input"][2:]))
        assert seen == batch and transaction["to"].lower() == rollup.lower()
        poster = bytes.fromhex(transaction["from"][2:])
        assert posted.header == bindings.header_of(seen, int(block["timestamp"], 16), poster)
        last = events[-1][0]
        assert isinstance(last, MessageEnqueued) and decode_message(last.message).kind == MESSAGE_ANCHOR


async def test_an_account_with_delegated_code_cannot_post() -> None:
    """EIP-7702: its code could post from inside, out of watchers' sight; anvil, since the embedded EVMs refuse it."""
    async with l1_chain("anvil") as chain:
        admin, operator = Wallet(chain, 0), Wallet(chain, 1)
        rollup = await _rollup(chain, admin, operator)
        relay = await admin.deploy(compiled("mocks/PostRelay.vy"))
        genesis = header_hash(genesis_header(PARAMS.genesis_root, PARAMS.genesis_globals))
        batch = await _batch(chain, 1, genesis, ZERO32, 0)
        nonce = int(await chain.rpc("eth_getTransactionCount", operator.address, "latest"), 16)

        def delegate(to: str, nonce: int) -> list[Any]:
            return [Account.sign_authorization({"chainId": CHAIN_ID, "address": to, "nonce": nonce}, operator.key)]

        await admin.do(admin.address, b"", authorizationList=delegate(relay, nonce), gas=200_000)
        code = await chain.rpc("eth_getCode", operator.address, "latest")
        assert code.lower() == "0xef0100" + relay[2:].lower()

        calldata = bindings.encode_post_batch(batch)
        through_itself = _erc20("run", ["address", "bytes"], rollup, calldata)
        for to, data in ((rollup, calldata), (operator.address, through_itself)):
            receipt = await operator.send(to, data)
            assert int(receipt["status"], 16) == 0
        reason = await _refusal(chain, operator.address, rollup, calldata)
        assert "POSTER" in reason

        nonce = int(await chain.rpc("eth_getTransactionCount", operator.address, "latest"), 16)
        await admin.do(admin.address, b"", authorizationList=delegate("0x" + "00" * 20, nonce), gas=200_000)
        assert await chain.rpc("eth_getCode", operator.address, "latest") == "0x"
        await operator.do(rollup, calldata)


async def _refusal(chain: Chain, sender: str, to: str, data: bytes) -> str:
    """Why a call reverts."""
    try:
        await chain.rpc("eth_call", {"from": sender, "to": to, "data": "0x" + data.hex()}, "latest")
    except Exception as error:
        return str(error)
    raise AssertionError("the call did not revert")
