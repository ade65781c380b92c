"""Setting up L1 for a devnet: the actors, the contracts, tokens, the seat, the traders' deposits.

The embedded L1 mines on arrival while this runs, in the past, so that dozens of blocks do not put its clock ahead; then
it mines on the clock. Keys are those of the public test mnemonic: worth nothing anywhere.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from node.l1.client import L1Client
from node.l1.deploy import deploy
from node.l1.deployment import USD, ChainSpec, Deployment, Plan, Timings
from node.l1.devchain.accounts import DevAccount, dev_accounts
from node.l1.journal import FileJournal
from node.l1.keys import LocalSigner
from node.l1.sender import SenderConfig, TxSender, open_sender
from node.sdk.l1 import L1Wallet, MemoryJournal

PAST_S: Final = 300
BLOCK_TIME_S: Final = 1
BOND: Final = 100_000 * USD
OPERATOR_FUNDS: Final = 10_000_000 * USD  # the faucet gives no more at once; a hundred bonds
TRADER_FUNDS: Final = 5_000_000 * USD
CUSTOMER_FUNDS: Final = 10_000 * USD
# Anchors come every few seconds. L2 time begins PAST_S before the first one, which must not make markets reduce-only.
PACE: Final = ChainSpec(
    anchor_interval=5_000, tau_reduce=2_000 * PAST_S, tau_halt=6_000 * PAST_S, buffer_ms=15_000, refill=10,
    horizon_ms=5_000)
SENDER: Final = SenderConfig(confirmations=0, poll_s=0.05)


@dataclass(frozen=True, slots=True)
class Actors:
    """Who is who."""

    operator: DevAccount
    promiser: DevAccount
    tower: DevAccount
    publishers: tuple[DevAccount, ...]
    bots: tuple[DevAccount, ...]
    customer: DevAccount


def actors() -> Actors:
    """The devnet's cast: the first ten accounts of the public test mnemonic."""
    found = dev_accounts(10)
    return Actors(found[0], found[1], found[2], found[3:6], found[6:9], found[9])


def hex_key(account: DevAccount) -> str:
    """For a child's environment."""
    return "0x" + account.key.hex()


def timings(challenge_window_s: int) -> Timings:
    """Fast, and consistent with each other."""
    return Timings(
        challenge_window_s=challenge_window_s, bond_min=BOND, bond_delay_s=1_200, seat_idle_s=1_200,
        force_delay_s=600, timelock_s=challenge_window_s + 1_200, force_floor_s=120, promise_deadline_s=1_200)


async def set_up(
    url: str, folder: Path, cast: Actors, challenge_window_s: int, progress: Callable[[str], None]
) -> Deployment:
    """Everything on L1, from nothing to open, funded and seated. Raises what the sender raises."""
    client = L1Client(url)
    try:
        begin = int(time.time()) - PAST_S + 1
        await client.rpc("evm_setNextBlockTimestamp", hex(begin))
        plan = Plan(
            tuple(account.address for account in cast.publishers), timings(challenge_window_s), chain=PACE)
        async with _sender(client, cast.operator, folder) as sender:
            deployment = await deploy(client, sender, plan)
        progress(f"rollup {deployment.rollup} is open ({deployment.gas_used:,} gas)")
        deployment.save(folder / "deployment.json")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_seat, client, cast.operator, folder, deployment)
            for bot in cast.bots:
                nursery.start_soon(_fund, client, bot, folder, deployment, TRADER_FUNDS)
            nursery.start_soon(_fund, client, cast.customer, folder, deployment, CUSTOMER_FUNDS)
        await client.rpc("evm_setNextBlockTimestamp", hex(int(time.time())))
        await client.rpc("evm_mine")
        await client.rpc("evm_setAutomine", False)
        await client.rpc("evm_setIntervalMining", BLOCK_TIME_S)
        progress("the seat is taken, the traders' deposits are in the inbox")
        return deployment
    finally:
        client.close()


@asynccontextmanager
async def _sender(client: L1Client, account: DevAccount, folder: Path) -> AsyncIterator[TxSender]:
    journal = FileJournal(folder / "l1" / f"{account.address.hex()}.journal")
    try:
        async with open_sender(client, LocalSigner(account.key), journal, SENDER) as sender:
            yield sender
    finally:
        journal.close()


async def _seat(client: L1Client, account: DevAccount, folder: Path, deployment: Deployment) -> None:
    async with _sender(client, account, folder) as sender:
        wallet = L1Wallet(client, sender, deployment)
        await wallet.mint(OPERATOR_FUNDS)
        await wallet.take_seat(BOND)


async def _fund(client: L1Client, account: DevAccount, folder: Path, deployment: Deployment, amount: int) -> None:
    async with _sender(client, account, folder) as sender:
        wallet = L1Wallet(client, sender, deployment)
        await wallet.mint(amount)
        await wallet.deposit(amount)


async def claim(url: str, account: DevAccount, deployment: Deployment, proof: Any) -> int:
    """Have a finalized withdrawal paid; returns the gas."""
    client = L1Client(url)
    try:
        async with open_sender(client, LocalSigner(account.key), MemoryJournal(), SENDER) as sender:
            wallet = L1Wallet(client, sender, deployment)
            before = await wallet.balance()
            receipt = await wallet.claim(proof)
            if await wallet.balance() <= before:
                raise AssertionError("a claim that succeeds pays")
            return receipt.gas_used
    finally:
        client.close()

