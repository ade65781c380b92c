"""Fire drills in a running watchtower: what is obeyed, what is refused loudly, and that the real watch goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import trio
from msgspec.structs import replace

from node.cli.fire.operator import MARKET, DrillOperator, publishers
from node.cli.fire.sandbox import plan
from node.config import from_mapping
from node.l1.bindings import encode_post_batch
from node.l1.deploy import deploy
from node.l1.deployment import Deployment
from node.l1.sender import open_sender
from node.rpc.client import HttpClient
from node.sdk.l1 import MemoryJournal
from prover import service
from prover.drill_request import DrillRequest, remove_request, spent_gas, write_request
from sequencer.villains import KINDS, corrupt
from tests.prover.test_service import PATIENT, WATCHTOWER, proofs, strikes, trade, villainous, watching
from tests.sequencer.l1_world import SENDER, World, deployed, wait_for
from tests.sequencer.test_service import open_accounts

DRILLER = 7


@asynccontextmanager
async def sandbox(world: World) -> AsyncIterator[DrillOperator]:
    """An operator in the seat of a sandbox that shares the deployed court's parts; an honest batch is posted."""
    client, signer = world.chain.client, world.chain.signer(DRILLER)
    names = ("FraudAccounts", "FraudBook", "FraudFok", "FraudInbox", "FraudOrders", "FraudLiquidation", "FraudRules")
    parts = {name: bytes.fromhex(world.deployment.contracts[name][2:]) for name in names}
    async with open_sender(client, signer, MemoryJournal(), SENDER) as sender:
        record = await deploy(client, sender, plan([each.address for each in publishers(signer)], MARKET, parts))
        operator = DrillOperator(client, sender, signer, record)
        await operator.prepare()
        await operator.post_honest()
        yield operator


async def request_of(world: World, record: Deployment, operator: bytes) -> DrillRequest:
    head = await world.chain.client.head()
    return DrillRequest(
        "drill1", record.l1_chain_id, record.rollup, record.start_block, record.contracts, "0x" + operator.hex(),
        head.number, head.timestamp + 600)


async def newest(tower: HttpClient) -> dict[str, Any]:
    found: dict[str, Any] = (await tower.call("al_status"))["drills"]["newest"] or {}
    return found


async def metric(tower: HttpClient, name: str) -> float:
    async with httpx.AsyncClient() as client:
        lines = (await client.get(tower._endpoint.shown + "/metrics")).text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


async def test_requests_that_could_cost_gas_for_nothing_are_refused_and_the_watch_goes_on(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world:
        folder = tmp_path / "tower" / "drills"
        signer = world.chain.signer(WATCHTOWER)
        async with watching(world, signer) as tower, sandbox(world) as operator:
            good = await request_of(world, operator.sandbox, operator.address)
            contracts, other = good.contracts, world.deployment.contracts
            bad = {
                "the sandbox is on chain 1": replace(good, l1_chain_id=1),
                "a drill ends later than now": replace(good, expires_at=5),
                "within 3600 s": replace(good, expires_at=good.expires_at + 10**6),
                "start_block is": replace(good, start_block=10**9),
                "operator: '0x' is no address": replace(good, operator="0x"),
                "FraudRules is missing": replace(
                    good, contracts={name: at for name, at in contracts.items() if name != "FraudRules"}),
                "its code is not what this version ships": replace(
                    good, contracts=contracts | {"FraudBook": contracts["TestUSD"]}),
                "no contract is there": replace(good, contracts=contracts | {"FraudFok": "0x" + "77" * 20}),
                "works with a Rollup at": replace(
                    good, contracts=contracts | {"FraudVerifier": other["FraudVerifier"]}),
                "ships no such contract": replace(good, contracts=contracts | {"Backdoor": contracts["TestUSD"]}),
                "the rollup that is guarded anyway": replace(good, rollup=other["Rollup"], contracts=other),
            }
            await wait_for(folder_there(folder), lambda there: there)
            for number, (reason, request) in enumerate(bad.items(), 1):
                write_request(folder, replace(request, id=f"bad{number}"))
                seen = await wait_for(
                    partial(newest, tower), lambda drill, id=f"bad{number}": drill.get("id") == id
                    and drill["state"] != "checking", seconds=60)
                assert seen["state"] == "refused" and reason in seen["reason"], (reason, seen)
            for broken in (b"{", b" " * 20_000):
                (folder / "request.json").write_bytes(broken)
                seen = await wait_for(partial(newest, tower), lambda drill: drill["id"] == "")
                assert seen["state"] == "refused"
                await wait_for(partial(gone, folder), lambda done: done)
            assert await metric(tower, 'anchorline_drills_total{outcome="refused"}') == len(bad) + 2
            assert await world.chain.client.nonce(signer.address) == 0 and spent_gas(folder, good.expires_at) == 0
            async with villainous(world, ("wrong-root-last",)) as trader:
                await open_accounts(world, trader)
                await trade(world, trader)
                await wait_for(lambda: strikes(world), lambda done: done, seconds=60)
            (answer,) = await proofs(tower)
            assert answer["batch"] > 0


async def test_the_sandbox_gives_every_villain_his_opportunity(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world, sandbox(world) as operator:
        honest, context = await operator.next_batch()
        wrong = {kind: corrupt(kind, honest, context) for kind in KINDS}
        assert encode_post_batch(honest) not in map(encode_post_batch, wrong.values())


async def test_a_real_fraud_comes_first_while_a_drill_is_on(tmp_path: Path) -> None:
    """A drill waits for its bad batch; the real rollup's operator cheats meanwhile; both are disproved."""
    async with deployed(tmp_path, timings=PATIENT) as world:
        folder = tmp_path / "tower" / "drills"
        signer = world.chain.signer(WATCHTOWER)
        async with watching(world, signer) as tower, sandbox(world) as operator:
            await wait_for(folder_there(folder), lambda there: there)
            write_request(folder, await request_of(world, operator.sandbox, operator.address))
            await wait_for(partial(newest, tower), lambda drill: drill.get("agreed") == 1, seconds=60)
            async with villainous(world, ("credit-from-nothing",)) as trader:
                await open_accounts(world, trader)
                await trade(world, trader)
                await wait_for(lambda: strikes(world), lambda done: done, seconds=60)
                (answer,) = await wait_for(partial(proofs, tower), lambda found: found and found[0]["outcome"])
                assert answer["outcome"] == "proven"
                assert (await newest(tower))["state"] == "following", "the drill did not mistake it for its own"
            await operator.post_wrong("any", 3)
            seen = await wait_for(
                partial(newest, tower), lambda drill: drill["state"] not in ("following", "answering"), seconds=60)
            assert seen["state"] == "passed" and seen["answer"]["outcome"] == "proven", seen
            name = "anchorline_drills_total{outcome=\"passed\"}"
            await wait_for(partial(metric, tower, name), lambda count: count == 1)
            assert await metric(tower, "anchorline_drill_passed_timestamp") > 0
            head = await world.chain.client.head()
            assert spent_gas(folder, head.timestamp) == seen["answer"]["gas"]
            assert await operator.wallet.ask_rollup("reward_of", signer.address) > 0, "play money is left where it is"


async def test_a_proof_that_takes_more_than_its_limit_is_not_paid_for(tmp_path: Path) -> None:
    """And when the day's gas is spent, the next request is refused."""
    async with deployed(tmp_path, timings=PATIENT) as world:
        folder = tmp_path / "tower" / "drills"
        signer = world.chain.signer(WATCHTOWER)
        tree: dict[str, Any] = {
            "datadir": str(tmp_path / "tower"), "rpc": {"port": 0},
            "l1": {"rpc": world.chain.url, "rollup": world.deployment.rollup, "confirmations": 0, "poll_ms": 50,
                   "start_block": world.deployment.start_block},
            "watchtower": {"strategy": "defend", "confirmations": 0, "drill_gas_max": 200_000,
                           "drill_gas_daily": 300_000}}
        async with sandbox(world) as operator, trio.open_nursery() as nursery:
            bound = await nursery.start(partial(service.run, from_mapping(tree, source="test"), signer))
            async with HttpClient(bound.http_url) as tower:
                await wait_for(folder_there(folder), lambda there: there)
                request = await request_of(world, operator.sandbox, operator.address)
                write_request(folder, replace(request, expires_at=(await world.chain.client.head()).timestamp + 12))
                await wait_for(partial(newest, tower), lambda drill: drill.get("agreed") == 1, seconds=60)
                await operator.post_wrong("wrong-root-last", 0)
                seen = await wait_for(
                    partial(newest, tower), lambda drill: drill["state"] in ("expired", "passed", "failed"), seconds=60)
                assert seen["state"] == "expired" and seen["answer"]["transaction"] == ""
                assert await world.chain.client.nonce(signer.address) == 0
                await wait_for(partial(gone, folder), lambda done: done)
                write_request(folder, replace(await request_of(world, operator.sandbox, operator.address), id="again"))
                seen = await wait_for(
                    partial(newest, tower), lambda drill: drill["id"] == "again" and drill["state"] == "refused")
                assert "drills may use 100,000 more gas today" in seen["reason"]
                assert remove_request(folder)
            nursery.cancel_scope.cancel()


def folder_there(folder: Path) -> Any:
    async def there() -> bool:
        return folder.is_dir()

    return there


async def gone(folder: Path) -> bool:
    return not (folder / "request.json").exists()
