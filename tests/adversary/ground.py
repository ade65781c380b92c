"""The ground on which the catalogue is played: one L1 process per kind for the whole session, contracts, seat, traders
and prices set up once; every attack begins from that snapshot, with a real watchtower as the defender.

Processes of their own, so that L1's work and the test's share no interpreter; the chain mines on arrival.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest
import trio
from eth_hash.auto import keccak

from node.cli.villain.field import Field, Purse
from node.cli.villain.l1 import VillainL1
from node.config import Config, from_mapping
from node.l1.client import L1Client
from node.l1.deploy import deploy
from node.l1.deployment import USD, ChainSpec, Deployment, Plan, Timings
from node.l1.devchain.accounts import dev_accounts
from node.l1.keys import LocalSigner
from node.l1.sender import SenderConfig, open_sender
from node.rpc.client import HttpClient
from node.sdk.l1 import MemoryJournal
from prover import service
from tests.l1.chains import CHAIN_ID, REPO, tool

KINDS = ("embedded", "anvil")
START_S = 60
FUNDER, TOWER = 0, 9
# anvil forgets states under load, down to the newest ten, and then reorganises to an empty one; this keeps them
STATES = "4096"
SEED = keccak(b"the villain of the tests")
TIMINGS = Timings(
    challenge_window_s=600, bond_min=1_000 * USD, bond_delay_s=2_400, seat_idle_s=2_000, force_delay_s=1_200,
    timelock_s=3_600, force_floor_s=150, exodus_after_s=8_000, reseat_s=4_000, register_s=1_000,
    promise_deadline_s=2_400, claim_s=1_000)
CHAIN = ChainSpec(
    anchor_interval=5_000, tau_reduce=100_000_000, tau_halt=200_000_000, outflow_limit=6_000 * USD)


@dataclass
class Arena:
    """A running L1 with everything deployed, and the snapshot to go back to."""

    kind: str
    url: str
    deployment: Deployment
    snapshot: str


def publishers() -> list[LocalSigner]:
    """Signers of the publisher slots."""
    return [LocalSigner(keccak(b"publisher" + bytes((slot,)))) for slot in range(3)]


@contextmanager
def arena(kind: str) -> Iterator[Arena]:
    """Start L1, deploy, set the scene."""
    with l1_process(kind) as url:
        deployment, snapshot = trio.run(_set_up, url)
        yield Arena(kind, url, deployment, snapshot)


@contextmanager
def l1_process(kind: str) -> Iterator[str]:
    """An L1 in a process of its own; its URL."""
    if kind == "anvil":
        command = [tool("anvil"), "--port", "0", "--chain-id", str(CHAIN_ID), "--hardfork", "prague",
                   "--slots-in-an-epoch", "4", "--no-request-size-limit", "--prune-history", STATES]
        pattern = r"Listening on (\S+)"
    else:
        command = [sys.executable, "-m", "node.cli", "l1", "--port", "0", "--block-time-s", "0", "--json"]
        pattern = r'"rpc": "http://([^"]+)"'
    environment = os.environ | {"PYTHONPATH": str(REPO), "ETH_HASH_BACKEND": "pysha3"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          cwd=REPO, env=environment) as process:
        assert process.stdout is not None
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        try:
            url = _listening(process.stdout, pattern)
            watchdog.cancel()
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            yield url
        finally:
            watchdog.cancel()
            process.terminate()


def _listening(stream: IO[bytes], pattern: str) -> str:
    """Where the process says that it listens; fails the test if it ends without."""
    seen: list[str] = []
    for line in stream:
        seen.append(line.decode(errors="replace"))
        if found := re.search(pattern, seen[-1]):
            return "http://" + found[1]
    pytest.fail(f"L1 did not start: {''.join(seen)[-500:]}")


def _drain(stream: IO[bytes]) -> None:
    for _ in stream:
        pass


async def _set_up(url: str) -> tuple[Deployment, str]:
    client = L1Client(url)
    try:
        plan = Plan(tuple(signer.address for signer in publishers()), TIMINGS, chain=CHAIN)
        admin = LocalSigner(dev_accounts(10)[FUNDER].key)
        async with open_sender(client, admin, MemoryJournal(), SenderConfig(confirmations=0, poll_s=0.02)) as sender:
            deployment = await deploy(client, sender, plan)
        field = await open_field(client, deployment)
        await field.take_seat()
        await field.set_scene()
        return deployment, await client.rpc("evm_snapshot")
    finally:
        client.close()


async def open_field(client: L1Client, deployment: Deployment) -> Field:
    """The villain's field with the first development account as its purse."""
    purse = Purse(LocalSigner(dev_accounts(10)[FUNDER].key), SEED)
    return await Field.open(await VillainL1.open(client), deployment, purse, publishers(), to_the_end=True)


def tower_config(arena: Arena, folder: Path) -> Config:
    """A watchtower that answers at once."""
    return from_mapping({
        "datadir": str(folder),
        "l1": {"rpc": arena.url, "rollup": arena.deployment.rollup, "start_block": arena.deployment.start_block,
               "confirmations": 0, "poll_ms": 20},
        "rpc": {"port": 0},
        "watchtower": {"strategy": "defend", "confirmations": 0, "resubmit_ms": 500},
    }, source="test")


@asynccontextmanager
async def undefended(arena: Arena) -> AsyncIterator[Field]:
    """A field at the beginning, and nobody who watches."""
    client = L1Client(arena.url)
    try:
        assert await client.rpc("evm_revert", arena.snapshot), "the snapshot is there"
        arena.snapshot = await client.rpc("evm_snapshot")
        yield await open_field(client, arena.deployment)
    finally:
        client.close()


@asynccontextmanager
async def defended(arena: Arena, folder: Path) -> AsyncIterator[tuple[Field, HttpClient]]:
    """A field at the beginning, and the watchtower that defends it."""
    async with undefended(arena) as field, trio.open_nursery() as nursery:
        signer = LocalSigner(dev_accounts(10)[TOWER].key)
        bound = await nursery.start(partial(service.run, tower_config(arena, folder), signer))
        async with HttpClient(bound.http_url) as tower:
            field.nursery = nursery
            yield field, tower
        nursery.cancel_scope.cancel()


async def proofs(tower: HttpClient) -> list[dict[str, Any]]:
    """What the watchtower has answered."""
    found: list[dict[str, Any]] = (await tower.call("al_status"))["proofs"]
    return found


__all__ = ["KINDS", "Arena", "arena", "defended", "proofs", "undefended"]
