"""The watchtower as a service, on the embedded L1: a sequencer turns villain, is disproved, and the chain goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import trio
from msgspec.structs import replace as replace_struct

from node.config import Config
from node.errors import Critical
from node.l1.keys import LocalSigner
from node.rpc.client import HttpClient
from node.service import run_verifier
from node.stf.types import BUY, SELL
from node.storage.kv import StorageError
from prover import service
from sequencer import service as sequencer
from sequencer.strikes import Strike
from sequencer.villains import KINDS
from tests.sequencer.l1_world import OPERATOR, TIMINGS, Trader, World, deployed, promise_signer, wait_for
from tests.sequencer.test_service import anchor_all, open_accounts

WATCHTOWER = 5
PATIENT = replace_struct(TIMINGS, challenge_window_s=120)
SOME = ("wrong-root-middle", "credit-from-nothing", "forged-signature", "lying-header-totals", "badly-cut-chunk")


def watching_config(world: World, name: str, strategy: str) -> Config:
    config = replace(world.config(), datadir=world.folder / name)
    tower = replace(config.watchtower, strategy=strategy, confirmations=0)
    return replace(config, watchtower=tower)


@asynccontextmanager
async def villainous(world: World, kinds: tuple[str, ...]) -> AsyncIterator[Trader]:
    """A running sequencer whose operator strikes before each honest batch."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(
            sequencer.run, world.config(), promise_signer(), world.chain.signer(OPERATOR), villains=kinds))
        async with HttpClient(bound.http_url) as rpc:
            yield Trader(rpc, world.domain)
        nursery.cancel_scope.cancel()


async def strikes(world: World) -> list[Strike]:
    """What became of the villains so far."""
    file = world.config().datadir / "strikes.jsonl"
    if not file.exists():
        return []
    return [msgspec.json.decode(line, type=Strike) for line in file.read_bytes().splitlines()]


@asynccontextmanager
async def watching(
    world: World, signer: LocalSigner | None, strategy: str = "defend", name: str = "tower"
) -> AsyncIterator[HttpClient]:
    """A running watchtower."""
    async with trio.open_nursery() as nursery:
        config = watching_config(world, name, strategy)
        bound = await nursery.start(partial(service.run, config, signer))
        async with HttpClient(bound.http_url) as rpc:
            yield rpc
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def verifying(world: World, name: str) -> AsyncIterator[HttpClient]:
    """A running verifier."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(run_verifier, replace(world.config(), datadir=world.folder / name)))
        async with HttpClient(bound.http_url) as rpc:
            yield rpc
        nursery.cancel_scope.cancel()


async def trade(world: World, trader: Trader) -> int:
    """Fills in a new batch; the block they are in."""
    await trader.price()
    orders = ((1, "alice", SELL, 600_100, 50), (1, "alice", SELL, 600_200, 60), (2, "bob", BUY, 600_100, 20))
    for order in orders:
        assert (await trader.place(*order))["statuses"] == ["OK"]
    return await anchor_all(trader)


async def proofs(rpc: HttpClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await rpc.call("al_status"))["proofs"]
    return found


@pytest.mark.parametrize(("l1", "kinds"), [
    ("embedded", SOME), ("anvil", SOME), pytest.param("embedded", KINDS, marks=pytest.mark.long),
], ids=["embedded", "anvil", "all"])
async def test_villains_fall_and_the_chain_goes_on(tmp_path: Path, l1: str, kinds: tuple[str, ...]) -> None:
    async with deployed(tmp_path, l1, timings=PATIENT) as world:
        signer = world.chain.signer(WATCHTOWER)
        async with (
            watching(world, signer) as tower, verifying(world, "verifier") as verifier,
            villainous(world, kinds) as trader,
        ):
            await open_accounts(world, trader)
            await trade(world, trader)
            done: list[Strike] = await wait_for(
                lambda: strikes(world), lambda found: len(found) == len(kinds), seconds=120)
            last = await anchor_all(trader)
            assert {strike.kind for strike in done} == set(kinds)
            assert all(strike.l1_transactions == 1 for strike in done)
            status = await wait_for(
                lambda: verifier.call("al_status"), lambda s: s["heads"]["safe"]["number"] >= last)
            assert status["batches"]["disagreed"] == len(kinds)
            answered = await wait_for(partial(proofs, tower), lambda found: all(a["outcome"] for a in found))
            assert [answer["outcome"] for answer in answered] == ["proven"] * len(kinds)
            for answer in answered:  # the local EVM knew what L1 would charge
                assert answer["dry_run_gas"] == pytest.approx(answer["gas"], rel=0.02)
            await wait_for(lambda: world.view("reward_of", signer.address), lambda reward: reward == 0)
        for strike in done:
            print(f"{strike.kind}: {strike.gas:,} gas, {strike.calldata_bytes:,} bytes, {strike.seconds} s")


async def test_a_watchtower_that_only_watches_raises_the_alarm_and_a_defender_takes_over(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world, villainous(world, ("wrong-root-last",)) as trader:
        signer = world.chain.signer(WATCHTOWER)
        await open_accounts(world, trader)
        async with watching(world, None, "watch") as tower:
            found = await wait_for(partial(proofs, tower), lambda found: found and found[0]["leaves"] > 0)
            assert found[0]["outcome"] is None
            assert (await tower.call("al_status"))["batches"]["disputed"]["batch"] == found[0]["batch"]
        assert await world.chain.client.nonce(signer.address) == 0
        async with watching(world, signer) as tower:
            await wait_for(partial(proofs, tower), lambda found: found and found[0]["outcome"] == "proven")
        (strike,) = await wait_for(lambda: strikes(world), lambda done: done)
        assert strike.l1_transactions == 1


async def test_a_restart_in_the_middle_sends_nothing_twice(tmp_path: Path) -> None:
    """The proof is published, L1 does not mine, the watchtower dies and comes back: one transaction in all."""
    async with deployed(tmp_path, timings=PATIENT) as world, villainous(world, ("credit-from-nothing",)) as trader:
        signer = world.chain.signer(WATCHTOWER)
        await open_accounts(world, trader)
        async with watching(world, None, "watch", "scout") as scout:
            await wait_for(partial(proofs, scout), lambda found: found)
        await world.chain.automine(False)
        await world.chain.rpc("evm_setIntervalMining", 0)
        for _ in range(2):
            async with watching(world, signer) as tower:
                await wait_for(partial(proofs, tower), lambda found: found)
                await wait_for(lambda: world.chain.client.nonce(signer.address, block="pending"), lambda n: n == 1)
        await world.chain.rpc("evm_setIntervalMining", 1)
        async with watching(world, signer) as tower:
            (strike,) = await wait_for(lambda: strikes(world), lambda done: done)
            assert strike.l1_transactions == 1
            await wait_for(partial(proofs, tower), lambda found: all(a["outcome"] == "proven" for a in found))


async def test_two_watchtowers_one_reward(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world:
        first, second = world.chain.signer(WATCHTOWER), world.chain.signer(WATCHTOWER + 1)
        async with (
            watching(world, first, name="one") as one, watching(world, second, name="two") as two,
            villainous(world, ("hidden-order", "lying-header-totals")) as trader,
        ):
            await open_accounts(world, trader)
            await trade(world, trader)
            await wait_for(lambda: strikes(world), lambda done: len(done) == 2, seconds=60)
            for tower in (one, two):
                await wait_for(
                    partial(proofs, tower), lambda found: len(found) == 2 and all(a["outcome"] for a in found))
            outcomes = [sorted(a["outcome"] for a in pair)
                        for pair in zip(await proofs(one), await proofs(two), strict=True)]
            assert all(pair[-1] == "proven" for pair in outcomes), outcomes
            assert all(pair[0] == "gone" for pair in outcomes), outcomes


async def test_a_second_copy_is_refused(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world:
        signer = world.chain.signer(WATCHTOWER)
        async with watching(world, signer):
            with pytest.RaisesGroup(StorageError, flatten_subgroups=True):
                async with watching(world, signer):
                    raise AssertionError("two watchtowers run on one folder")


async def test_operators_see_agreement_bond_and_what_is_unchecked(tmp_path: Path) -> None:
    async def metrics(url: str) -> dict[str, float]:
        async with httpx.AsyncClient() as client:
            lines = (await client.get(url + "/metrics")).text.splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name.removeprefix("anchorline_"): float(value) for name, value in pairs}

    async with deployed(tmp_path, timings=PATIENT) as world, villainous(world, ("wrong-root-last",)) as trader:
        await open_accounts(world, trader)
        async with trio.open_nursery() as nursery:
            config = watching_config(world, "tower", "watch")
            bound = await nursery.start(partial(service.run, config, None))
            seen = await wait_for(
                lambda: metrics(bound.http_url), lambda m: m.get('batches_checked_total{agreement="disagreed"}') == 1)
            seen = await wait_for(lambda: metrics(bound.http_url), lambda m: m["bond_micro_usd"] > 0)
            assert seen["oldest_unchecked_batch"] == seen["last_valid_batch"] + 1
            assert seen.get("proofs_sent_total", 0) == 0
            async with watching(world, world.chain.signer(WATCHTOWER), name="defender"):
                seen = await wait_for(
                    lambda: metrics(bound.http_url),
                    lambda m: m.get('batches_checked_total{agreement="agreed"}', 0) > 0)
                seen = await wait_for(lambda: metrics(bound.http_url), lambda m: m["oldest_unchecked_batch"] == 0)
            nursery.cancel_scope.cancel()


async def test_defending_needs_a_key(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world:
        with pytest.raises(Critical, match="ANCHORLINE_WATCHTOWER_KEY"):
            await service.run(watching_config(world, "tower", "defend"), None)


async def test_a_proof_that_l1_forgets_is_sent_again(tmp_path: Path) -> None:
    """L1 reorganises the proof away, and the wrong batch stands again: so does the accusation."""
    async with deployed(tmp_path, timings=PATIENT) as world:
        signer = world.chain.signer(WATCHTOWER)
        async with villainous(world, ("wrong-root-first",)) as trader:
            await open_accounts(world, trader)
            async with watching(world, None, "watch", "scout") as scout:
                await wait_for(partial(proofs, scout), lambda found: found, seconds=90)
        head = await world.view("head_number")
        async with watching(world, signer) as tower:
            (answer,) = await wait_for(
                partial(proofs, tower), lambda found: found and found[0]["outcome"] == "proven", seconds=90)
            assert await world.view("head_number") == head - 1
            await wait_for(lambda: tower.call("al_status"), lambda s: s["batches"]["disputed"] is None, seconds=90)
            await world.chain.automine(False)  # no block comes between measuring the depth, cutting, and looking
            await world.chain.rpc("evm_setIntervalMining", 0)
            receipt = await world.chain.receipt(bytes.fromhex(answer["transaction"][2:]))
            newest = await world.chain.client.head()
            await world.chain.rpc("anvil_reorg", hex(newest.number - receipt.block_number + 1))
            assert await world.view("head_number") == head, "the wrong batch stands again"
            await world.chain.rpc("evm_setIntervalMining", 1)
            await wait_for(lambda: world.view("head_number"), lambda number: number == head - 1, seconds=90)
            answers = await wait_for(
                partial(proofs, tower), lambda found: all(a["outcome"] == "proven" for a in found), seconds=90)
            assert [a["name"].partition("#")[2] for a in answers] == ["", "2"]
