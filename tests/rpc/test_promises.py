"""Promises kept by a verifier over RPC: kept and final, broken, promised twice, late; what is refused; restarts."""

from __future__ import annotations

import json
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
from eth_hash.auto import keccak

from node.l1 import bindings
from node.l1.keys import LocalSigner
from node.rpc.client import open_websocket
from node.rpc.methods.promises import PromiseVerdict
from node.sdk import Trader, connect
from node.sdk.client import Client
from node.sdk.errors import BadRequest, BadSignature, NotFound, RateLimitExceeded
from node.service import run_verifier
from tests.cli.test_promises import broken, replace_signature
from tests.cli.test_trade import Shell
from tests.sequencer.l1_world import BOND, OPERATOR, TRADERS, World, deployed, wait_for
from tests.sequencer.test_service import anchor_all, open_accounts, sequencing
from tests.stf.world import private_key

BROKEN = 'anchorline_promises_broken_total{state="broken"}'
LATE = 'anchorline_promises_broken_total{state="late"}'


@asynccontextmanager
async def verifying(world: World) -> AsyncIterator[str]:
    """A running verifier's URL; the same folder every time."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(run_verifier, replace(world.config(), datadir=world.folder / "verifier")))
        yield bound.http_url
        nursery.cancel_scope.cancel()


async def place(url: str, count: int) -> list[dict[str, Any]]:
    """Orders of alice's, as `order --json` prints their answers."""
    async with connect(url) as client:
        trader = Trader(client, LocalSigner(private_key("alice").secret), account=1)
        return [msgspec.to_builtins(await trader.place(0, "sell", price=600_100 + i, lots=50)) for i in range(count)]


async def verdict(client: Client, identity: str, state: str, seconds: float = 60) -> PromiseVerdict:
    """The verdict, once it is this."""
    found: PromiseVerdict = await wait_for(
        partial(client.promise_verdict, identity), lambda v: v.state == state, seconds=seconds)
    return found


def url_of(raw: Any) -> str:
    found: str = raw.rpc._endpoint.shown
    return found


async def metric(url: str, name: str) -> float:
    async with httpx.AsyncClient() as http:
        lines = (await http.get(url + "/metrics")).text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + " ")), 0.0)


async def test_a_kept_promise_is_followed_until_it_is_final_through_a_restart(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        await open_accounts(world, raw)
        await raw.price()
        async with verifying(world) as url, connect(url) as client:
            first, second = await place(url_of(raw), 2)
            told = await client.keep_promise(first)
            assert (told.account, told.position, told.state, told.batch) == (1, first["position"], "waiting", None)
            assert await client.keep_promise(first) == told, "the same one again changes nothing"
            assert (await client.kept_promises(1))[0].id == told.id and await client.kept_promises(2) == []
            async with (
                open_websocket("ws" + url.removeprefix("http")) as socket,
                await socket.subscribe("promises.1", kind=list[PromiseVerdict]) as channel,
            ):
                await anchor_all(raw, second["position"])
                with trio.fail_after(30):
                    (seen,) = await anext(aiter(channel))
            assert (seen.id, seen.state) == (told.id, "kept"), "nobody asked: it was checked by itself"
            found = await verdict(client, told.id, "kept")
            assert found.batch is not None and found.evidence is None
        async with verifying(world) as url, connect(url) as client:
            final = await wait_for(partial(client.promise_verdict, told.id), lambda v: v.final, seconds=60)
            assert (final.state, final.batch) == ("kept", found.batch)
            assert await metric(url, 'anchorline_kept_promises{state="kept"}') == 1
            file = tmp_path / "promises.jsonl"
            file.write_text("".join(json.dumps(answer) + "\n" for answer in (first, second)))
            told = await Shell({}).json("promises", str(file), "--verifier", url)
            assert [(row["state"], row["position"]) for row in told["promises"]] == [
                ("kept", first["position"]), ("kept", second["position"])]
            with pytest.raises(NotFound, match="al_keepPromise takes one in"):
                await client.promise_verdict("0x" + "00" * 32)


async def test_a_broken_promise_is_noticed_by_itself_and_its_evidence_takes_the_bond(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        async with sequencing(world) as raw:
            await open_accounts(world, raw)
            await raw.price()
            answers = await place(url_of(raw), 3)
            async with verifying(world) as url, connect(url) as client:
                lie = broken(world, answers[0])
                kept = await client.keep_promise(lie)
                assert kept.state == "waiting", "the batch is not there yet"
                await anchor_all(raw, answers[-1]["position"])
                await wait_for(partial(metric, url, BROKEN), lambda count: count == 1)
                found = await verdict(client, kept.id, "broken")
                assert found.evidence is not None and found.evidence.kind == "conflict"
                court = await world.view("promise_court")
                assert found.evidence.to == "0x" + court.hex()
        await world.send(TRADERS[1], [(court, bytes.fromhex(found.evidence.calldata[2:]))])
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == 0


async def test_two_promises_of_one_place_are_proven_before_anything_is_posted(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world:
        async with sequencing(world) as raw:
            await open_accounts(world, raw)
            await raw.price()
            first, second = await place(url_of(raw), 2)
            async with verifying(world) as url, connect(url) as client:
                lie = await client.keep_promise(broken(world, first | {"position": second["position"] - 1}))
                true = await client.keep_promise(second)
                assert lie.position == true.position and lie.hash != true.hash
                for each in (lie, true):
                    found = await client.promise_verdict(each.id)
                    assert found.state == "broken" and found.evidence is not None
                    assert found.evidence.kind == "equivocation"
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == BOND
        court = await world.view("promise_court")
        await world.send(TRADERS[1], [(court, bytes.fromhex(found.evidence.calldata[2:]))])
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == 0


async def test_a_promise_that_was_left_unposted_is_late(tmp_path: Path) -> None:
    """The operator promises, and leaves the seat."""
    slow = {"sequencer": {"unanchored_ms_max": 600_001}, "batcher": {"post_ms": 600_000}}
    async with deployed(tmp_path) as world:
        async with sequencing(world, world.config(**slow)) as raw:
            await open_accounts(world, raw)
            await raw.price()
            (answer,) = await place(url_of(raw), 1)
        async with verifying(world) as url, connect(url) as client:
            kept = await client.keep_promise(answer)
            assert kept.state == "waiting"
            await world.send(OPERATOR, [(world.rollup, bindings.encode_call("leave_seat"))])
            await wait_for(partial(metric, url, LATE), lambda count: count == 1)
            found = await verdict(client, kept.id, "late")
            assert found.evidence is not None and found.evidence.kind == "late"
        court = await world.view("promise_court")
        await world.send(TRADERS[1], [(court, bytes.fromhex(found.evidence.calldata[2:]))])
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == BOND * 9 // 10


async def test_what_binds_nobody_is_refused_and_lookups_are_limited(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        await open_accounts(world, raw)
        await raw.price()
        (answer,) = await place(url_of(raw), 1)
        async with verifying(world) as url, connect(url) as client:
            for wrong, error, words in (
                (answer | {"data": answer["data"] + "00"}, BadRequest, "the transaction that was promised"),
                (answer | {"position": answer["position"] + 1}, BadRequest, "is not among the"),
                (answer | {"hash": "0x" + "11" * 32, "data": ""}, BadRequest, "is not at position"),
                (answer | {"data": "0x" + "00" * 2_049}, BadRequest, "at most 4098|length <= 4098"),
                (answer | {"promise": answer["promise"] | {"path": ["0x" + "00" * 32] * 9}}, BadRequest, "path"),
                (answer | {"promise": answer["promise"] | {"count": 2**62}}, BadRequest, "1 to 256"),
                (answer | {"promise": answer["promise"] | {"epoch": 2}}, BadSignature, "no bond answers for it"),
                (replace_signature(answer), BadRequest, "no key signs this promise"),
            ):
                with pytest.raises(error, match=words):
                    await client.keep_promise(wrong)
            with pytest.raises(RateLimitExceeded, match="try again in a second"):
                for number in range(100):
                    with pytest.raises(BadSignature):
                        await client.keep_promise(stranger(answer, number))
            await wait_for(partial(_keeps, client, answer), lambda kept: kept, seconds=10)
            assert len(await client.kept_promises(1)) == 1
            (other,) = await place(url_of(raw), 1)
            with pytest.raises(RateLimitExceeded):
                for number in range(100, 200):
                    with pytest.raises(BadSignature):
                        await client.keep_promise(stranger(other, number))
            assert (await client.keep_promise(other)).state == "waiting", "a key that is known needs no look-up"


async def _keeps(client: Client, answer: dict[str, Any]) -> bool:
    try:
        await client.keep_promise(answer)
    except RateLimitExceeded:
        return False
    return True


def stranger(answer: dict[str, Any], number: int) -> dict[str, Any]:
    """Signed, but by a key of nobody's."""
    signature = LocalSigner(keccak(number.to_bytes(4, "big"))).sign_hash(keccak(b"anything"))
    return answer | {"promise": answer["promise"] | {"signature": "0x" + signature.hex()}}
