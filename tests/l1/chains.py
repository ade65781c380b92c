"""L1 chains for tests: the embedded one and anvil, behind one async context manager.

    async with l1_chain("embedded") as chain:    # or "anvil"
        chain.url, chain.keys[0], await chain.mine(3)

A missing anvil or cast is a failure, never a skip: point ANCHORLINE_ANVIL / ANCHORLINE_CAST at them, put them on PATH,
or run `npm install --prefix .ci`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from node.l1.client import L1Client
from node.l1.devchain import DevchainConfig, dev_accounts, run
from node.l1.keys import LocalSigner
from node.l1.types import L1Receipt

KINDS = ("embedded", "anvil")
CHAIN_ID = 31_337
START_DEADLINE_S = 30
REPO = Path(__file__).resolve().parents[2]


def tool(name: str) -> str:
    """Path of anvil or cast; fails the test when there is none."""
    chosen = os.environ.get(f"ANCHORLINE_{name.upper()}")
    places = (chosen, shutil.which(name), *(str(REPO / folder / "node_modules/.bin" / name) for folder in (".ci", ".")))
    for place in places:
        if place and Path(place).exists():
            return place
    pytest.fail(f"{name} is missing: set ANCHORLINE_{name.upper()}, or run `npm install --prefix .ci`")


@dataclass(frozen=True)
class Chain:
    """A running L1 with funded keys (the public test mnemonic's)."""

    kind: str
    url: str
    client: L1Client

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Private keys of the funded accounts."""
        return tuple(account.key for account in dev_accounts(10))

    def signer(self, index: int = 0) -> LocalSigner:
        """Signer of a funded account."""
        return LocalSigner(self.keys[index])

    async def rpc(self, method: str, *params: Any) -> Any:
        """Any method, dev methods included."""
        return await self.client.rpc(method, *params)

    async def receipt(self, tx_hash: bytes) -> L1Receipt:
        """Outcome of a transaction that is mined, or about to be (anvil answers before it mines)."""
        with trio.fail_after(START_DEADLINE_S):
            while (found := await self.client.receipt(tx_hash)) is None:
                await trio.sleep(0.01)
        return found

    async def mine(self, blocks: int = 1) -> None:
        """Seal blocks now."""
        await self.rpc("anvil_mine", hex(blocks))

    async def automine(self, on: bool) -> None:
        """Seal a block for every transaction, or wait for ``mine``."""
        await self.rpc("evm_setAutomine", on)


@asynccontextmanager
async def l1_chain(kind: str, **settings: Any) -> AsyncIterator[Chain]:
    """A fresh chain that mines on arrival. ``settings`` go to the embedded chain's config; anvil takes
    ``slots_in_an_epoch``: its safe and finalized blocks are one and two epochs behind."""
    starter = {"embedded": _embedded, "anvil": _anvil}[kind]
    async with starter(settings) as url:
        client = L1Client(url, timeout_s=60)
        try:
            yield Chain(kind, url, client)
        finally:
            client.close()


@asynccontextmanager
async def _embedded(settings: dict[str, Any]) -> AsyncIterator[str]:
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(run, DevchainConfig(**({"port": 0} | settings)))
        yield bound.http_url
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def _anvil(settings: dict[str, Any]) -> AsyncIterator[str]:
    """Port 0 makes anvil choose one and print it."""
    command = [tool("anvil"), "--port", "0", "--chain-id", str(CHAIN_ID), "--hardfork", "prague",
               "--slots-in-an-epoch", str(settings.get("slots_in_an_epoch", 4)), "--no-request-size-limit",
               # states kept in memory: what anvil puts on disk, it does not find again when it goes back there
               "--prune-history", "20000"]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(_start_process, command)
        url = None
        seen = b""
        with trio.move_on_after(START_DEADLINE_S):
            while url is None:
                part = await process.stdout.receive_some()
                if not part:
                    break
                seen += part
                for line in seen.decode(errors="replace").splitlines():
                    if line.startswith("Listening on "):
                        url = "http://" + line.removeprefix("Listening on ").strip()
        if url is None:
            pytest.fail(f"anvil did not start within {START_DEADLINE_S} s: {seen.decode(errors='replace')[-500:]}")
        nursery.start_soon(_drain, process.stdout)
        yield url
        nursery.cancel_scope.cancel()


async def _start_process(command: list[str], *, task_status: trio.TaskStatus[trio.Process]) -> None:
    """Run until cancelled, then end the process (and the child that npm's wrapper starts) for certain."""
    await trio.run_process(command, stdin=subprocess.DEVNULL, capture_stdout=False, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False, deliver_cancel=_end, task_status=task_status)


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(5):
        await process.wait()
        return
    process.kill()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass
