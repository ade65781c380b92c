"""A deployed rollup on the embedded L1, with a seated operator and funded traders, for tests of the whole service."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.config import Config, from_mapping
from node.l1 import bindings
from node.l1.client import L1Client
from node.l1.deploy import deploy
from node.l1.deployment import USD, Deployment, Plan, Timings
from node.l1.devchain import DevchainConfig, run
from node.l1.journal import FileJournal
from node.l1.keys import LocalSigner
from node.l1.sender import Intent, SenderConfig, open_sender
from node.rpc.client import HttpClient, RpcError
from node.stf import encoding
from sequencer.requests import ActionsRequest, OracleRequest
from tests.l1.chains import Chain, l1_chain
from tests.stf.world import address, private_key, sign

BOND = 1_000 * USD
TIMINGS = Timings(
    challenge_window_s=5, bond_min=BOND, seat_idle_s=100_000, force_delay_s=50_000, timelock_s=60_000)
SENDER = SenderConfig(confirmations=0, poll_s=0.02)
OPERATOR, TRADERS = 1, (2, 3)


@dataclass
class World:
    """The chain, the record of the deployment, and calls on behalf of its actors."""

    chain: Chain
    deployment: Deployment
    folder: Path

    @property
    def rollup(self) -> bytes:
        return bytes.fromhex(self.deployment.rollup[2:])

    @property
    def domain(self) -> bytes:
        return encoding.domain_separator(self.deployment.l2_chain_id, int.from_bytes(self.rollup, "big"))

    def config(self, **sections: Any) -> Config:
        tree: dict[str, Any] = {
            "datadir": str(self.folder / "sequencer"),
            "l1": {"rpc": self.chain.url, "rollup": self.deployment.rollup, "start_block": self.deployment.start_block,
                   "confirmations": 0, "poll_ms": 50},
            "rpc": {"port": 0},
            "sequencer": {"block_ms": 50, "group_commit_ms": 1, "unanchored_ms_max": 60_000},
            "batcher": {"post_ms": 300, "confirmations": 0, "resubmit_ms": 5_000},
        }
        for name, section in sections.items():
            tree[name] |= section
        return from_mapping(tree, source="test")

    async def send(self, index: int, calls: list[tuple[bytes, bytes]]) -> None:
        """Transactions of one account, in order."""
        journal = FileJournal(self.folder / f"actor-{index}-{time.time_ns()}.journal")
        async with open_sender(self.chain.client, self.chain.signer(index), journal, SENDER) as sender:
            for number, (to, data) in enumerate(calls):
                await sender.send(Intent(f"{index}/{number}", to, data))
        journal.close()

    async def fund(self, index: int) -> None:
        """Tokens, and the rollup may take them."""
        token = bytes.fromhex(self.deployment.token[2:])
        owner = self.chain.signer(index).address
        await self.send(index, [
            (token, _call("mint(address,uint256)", ["address", "uint256"], [owner, 10**6 * USD])),
            (token, _call("approve(address,uint256)", ["address", "uint256"], [self.rollup, 2**255])),
        ])

    async def deposit(self, index: int, name: str, amount: int = 10_000 * USD) -> None:
        """Open an L2 account for a named key."""
        owner = address(private_key(name)).to_bytes(20, "big")
        await self.send(index, [(self.rollup, bindings.encode_call("deposit", 0, owner, amount))])

    async def view(self, name: str, *args: Any) -> Any:
        data = await self.chain.client.call(self.rollup, bindings.encode_call(name, *args))
        return bindings.decode_result(name, data)

    async def posted(self) -> list[int]:
        """Batch numbers in the order of their events."""
        head = await self.chain.client.head()
        logs = await self.chain.client.logs(self.rollup, 0, head.number, [bindings.topic("BatchPosted")])
        return [int.from_bytes(item.topics[1], "big") for item in logs]


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Trader:
    """Signs and submits over RPC. ``now_ms`` is the clock that its nonces and expiries follow."""

    def __init__(self, rpc: HttpClient, domain: bytes, now_ms: Callable[[], int] = wall_ms) -> None:
        self.rpc = rpc
        self.domain = domain
        self.now_ms = now_ms
        self.nonce = 0

    async def price(self, ticks: int = 600_000) -> None:
        """A price from every publisher, newer than its last one and not ahead of L2 time."""
        for slot in range(3):
            await wait_for(partial(self.publish, slot, ticks), lambda done: done)

    async def publish(self, slot: int, ticks: int) -> bool:
        head = (await self.rpc.call("al_status"))["heads"]["unsafe"]["time"]
        moment = max(head + 1, time.time_ns() // 1_000_000 - 500)
        encoding.set_domain(self.domain)
        signature = sign(private_key(f"publisher {slot}"), OracleRequest(slot, moment, [0], [ticks], 0, 0).digest())
        try:
            await self.rpc.call("al_sendOraclePrice", {
                "publisher": slot, "time": moment, "prices": [{"market": 0, "price": ticks}],
                "signature": "0x" + signature.hex()})
        except RpcError as error:
            if error.data["reason"] != "BAD_TIME":
                raise
            return False
        return True

    async def place(self, account: int, name: str, side: int, price: int, lots: int) -> dict[str, Any]:
        from tests.stf.world import limit

        now = self.now_ms()
        self.nonce = max(self.nonce + 1, now)
        action = limit(0, side, price, lots, self.nonce)
        encoding.set_domain(self.domain)
        key = private_key(name)
        signature = sign(key, ActionsRequest(account, 0, self.nonce, now + 60_000, [action], 0, 0).digest())
        answer: dict[str, Any] = await self.rpc.call("al_sendActions", {
            "account": account, "slot": 0, "nonce": self.nonce, "expiry": now + 60_000,
            "actions": [{"action": "place", "market": 0, "side": encoding.SIDE_NAMES[side], "price": price,
                         "lots": lots, "timeInForce": "GTC", "clientId": self.nonce}],
            "signer": "0x" + address(key).to_bytes(20, "big").hex(), "signature": "0x" + signature.hex()})
        return answer


def _call(signature: str, kinds: list[str], values: list[Any]) -> bytes:
    return keccak(signature.encode())[:4] + encode(kinds, values)


class LateClock:
    """Wall clock behind by ``late_s``: many blocks in one second then do not run ahead of the present."""

    late_s = 200

    def __call__(self) -> float:
        return time.time() - self.late_s


@asynccontextmanager
async def embedded(clock: LateClock) -> AsyncIterator[Chain]:
    """The embedded L1, mining on arrival; its newest block is safe, so a reorganisation can take what is consumed."""
    config = DevchainConfig(port=0, safe_lag_blocks=0, genesis_time_s=int(clock()))
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(run, config, clock=clock))
        client = L1Client(bound.http_url)
        yield Chain("embedded", bound.http_url, client)
        client.close()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def deployed(folder: Path, kind: str = "embedded", *, timings: Timings = TIMINGS) -> AsyncIterator[World]:
    """The world, ready for a sequencer to start; the operator has the seat, L1 has a block a second."""
    publishers = tuple(address(private_key(f"publisher {slot}")).to_bytes(20, "big") for slot in range(3))
    clock = LateClock()
    async with embedded(clock) if kind == "embedded" else l1_chain(kind) as chain:
        journal = FileJournal(folder / "deploy.journal")
        async with open_sender(chain.client, chain.signer(0), journal, SENDER) as sender:
            deployment = await deploy(chain.client, sender, Plan(publishers, timings))
        journal.close()
        world = World(chain, deployment, folder)
        for index in (OPERATOR, *TRADERS):
            await world.fund(index)
        await world.send(OPERATOR, [(world.rollup, bindings.encode_call("take_seat", BOND))])
        clock.late_s = 0
        await chain.rpc("evm_setIntervalMining", 1)
        yield world


async def wait_for(what: Any, wanted: Any, *, seconds: float = 30) -> Any:
    """Poll an async function until its value satisfies ``wanted``."""
    with trio.fail_after(seconds):
        while not wanted(value := await what()):
            await trio.sleep(0.02)
    return value


def promise_signer() -> LocalSigner:
    return LocalSigner(keccak(b"promises"))


__all__ = ["OPERATOR", "TRADERS", "L1Client", "Trader", "World", "deployed", "promise_signer", "wait_for"]
