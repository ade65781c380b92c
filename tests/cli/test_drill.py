"""`anchorline drill` as a process against a running watchtower: passes if that one disproves, and says why if not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from sequencer.villains import KINDS
from tests.cli.test_leave import shell
from tests.cli.test_trade import Shell
from tests.prover.test_service import PATIENT, WATCHTOWER, verifying, watching
from tests.sequencer.l1_world import TRADERS, deployed, wait_for

DRILLER = TRADERS[0]


async def drill(user: Shell, rpc: Any, folder: Path, *args: str, passes: bool = True) -> dict[str, Any]:
    """Run a drill; the one JSON object that it prints."""
    done = await user.run(
        "drill", "--watchtower", rpc._endpoint.shown, "--datadir", str(folder), "--deadline-s", "40", "--json", *args)
    assert done.returncode == (0 if passes else 1), (done.stdout, done.stderr)
    (line,) = done.stdout.splitlines()
    report: dict[str, Any] = json.loads(line)
    return report


@pytest.mark.parametrize("l1", ["embedded", "anvil"])
async def test_a_drill_passes_and_the_next_one_is_cheap(tmp_path: Path, l1: str) -> None:
    async with deployed(tmp_path, l1, timings=PATIENT) as world:
        signer = world.chain.signer(WATCHTOWER)
        async with watching(world, signer) as tower:
            user = shell(world, tmp_path, DRILLER)
            folder = tmp_path / "tower"
            refused = await user.run("drill", "--watchtower", tower._endpoint.shown, "--datadir", str(folder))
            assert refused.returncode == 1 and b"run it again with --yes" in refused.stderr, "nothing is spent unasked"
            first = await drill(user, tower, folder, "--yes", "--kind", "hidden-order")
            again = await drill(user, tower, folder, "--yes", "--seed", "7")
            for report in (first, again):
                assert report["passed"] and report["proof"]["sender"] == "0x" + signer.address.hex()
                assert report["proof"]["l1_transactions"] == 1
                assert 0.5 < report["own"]["gas"] / report["announced_gas"] < 1.05
            assert first["kind"] == "hidden-order" and again["kind"] in KINDS
            assert first["sandbox"]["deployed"] and not again["sandbox"]["deployed"]
            assert first["sandbox"]["contracts"]["FraudRules"] == world.deployment.contracts["FraudRules"]
            assert first["own"]["gas"] > 10 * again["own"]["gas"]
            status = await tower.call("al_status")
            assert status["proofs"] == [] and status["batches"]["disagreed"] == 0, "the real rollup saw nothing of it"
            assert status["drills"]["newest"]["state"] == "passed"
            assert list(folder.glob("drills/request*")) == []
            if l1 == "embedded":  # before an upgrade: nothing of the deployed court is used
                whole = await drill(user, tower, folder, "--yes", "--fresh", "--kind", "wrong-root-first")
                assert whole["passed"] and 0.75 < whole["own"]["gas"] / whole["announced_gas"] < 1.05
                assert not set(whole["sandbox"]["contracts"].values()) & set(world.deployment.contracts.values())
                print(f"fresh {whole['own']['gas']:,} gas, announced {whole['announced_gas']:,}")
            print(f"first {first['own']['gas']:,} gas, again {again['own']['gas']:,}; announced "
                  f"{first['announced_gas']:,}, {again['announced_gas']:,}; {first['seconds']} s, {again['seconds']} s")


async def test_a_watchtower_that_cannot_pass_fails_before_anything_is_spent(tmp_path: Path) -> None:
    async with deployed(tmp_path, timings=PATIENT) as world:
        user = shell(world, tmp_path, DRILLER)
        before = await world.chain.client.nonce(world.chain.signer(DRILLER).address)
        gone = await user.run("drill", "--watchtower", "http://127.0.0.1:9", "--yes")
        assert gone.returncode == 1 and b"no watchtower answers at http://127.0.0.1:9" in gone.stderr
        async with watching(world, None, "watch") as tower:
            told = await drill(user, tower, tmp_path / "tower", "--yes", passes=False)
            assert "strategy is watch: it sends no proofs" in told["error"]["message"]
        async with verifying(world, "verifier") as verifier:
            told = await drill(user, verifier, tmp_path / "verifier", "--yes", passes=False)
            assert "is a verifier, no watchtower" in told["error"]["message"]
        signer = world.chain.signer(WATCHTOWER)
        async with watching(world, signer) as tower:
            told = await drill(user, tower, tmp_path / "elsewhere", "--yes", passes=False)
            assert "give the running watchtower's datadir" in told["error"]["message"]
            told = await drill(user, tower, tmp_path / "tower", "--yes", "--max-gas", "1000000", passes=False)
            assert "more than --max-gas 1,000,000" in told["error"]["message"]
            told = await drill(shell(world, tmp_path, WATCHTOWER), tower, tmp_path / "tower", "--yes", passes=False)
            assert "the watchtower's own key" in told["error"]["message"]
            await world.chain.rpc("anvil_setBalance", "0x" + signer.address.hex(), "0x1")
            told = await drill(user, tower, tmp_path / "tower", "--yes", passes=False)
            assert "has 0.000000 ether" in told["error"]["message"]
        assert await world.chain.client.nonce(world.chain.signer(DRILLER).address) == before


async def test_a_rival_who_disproves_it_is_named_and_a_dead_watchtower_is_noticed(tmp_path: Path) -> None:
    """The asked watchtower loses its ether when the drill begins; a second one, which was not asked, is given the
    request by the test and is faster. In the next drill nobody answers at all."""
    async with deployed(tmp_path, timings=PATIENT) as world:
        asked, rival = world.chain.signer(WATCHTOWER), world.chain.signer(WATCHTOWER + 1)
        user, folder = shell(world, tmp_path, DRILLER), tmp_path / "tower"
        request = folder / "drills" / "request.json"

        async def meddle() -> None:
            await wait_for(present, lambda there: there, seconds=60)
            await world.chain.rpc("anvil_setBalance", "0x" + asked.address.hex(), "0x0")
            copy = tmp_path / "rival" / "drills" / "copy"
            copy.write_bytes(request.read_bytes())
            copy.rename(copy.with_name("request.json"))

        async def present() -> bool:
            return request.exists() and (tmp_path / "rival" / "drills").exists()

        async with (
            watching(world, asked) as tower, watching(world, rival, name="rival"), trio.open_nursery() as nursery,
        ):
            nursery.start_soon(meddle)
            told = await drill(user, tower, folder, "--yes", passes=False)
            assert not told["passed"] and told["proof"]["sender"] == "0x" + rival.address.hex()
            assert f"by 0x{rival.address.hex()} and not by the watchtower's account" in told["reason"]
        await world.chain.rpc("anvil_setBalance", "0x" + asked.address.hex(), hex(10**18))

        async def die(scope: trio.CancelScope) -> None:
            await wait_for(present, lambda there: there, seconds=60)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with watching(world, asked) as tower:
                    nursery.start_soon(die, scope)
                    url = tower._endpoint.shown
                    done: list[Any] = []

                    async def run() -> None:
                        done.append(await user.run(
                            "drill", "--watchtower", url, "--datadir", str(folder), "--deadline-s", "4", "--yes"))
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(run)
                    await trio.sleep_forever()
            await trio.sleep_forever()
        assert done[0].returncode == 1 and b"drill FAILED: the watchtower stopped answering" in done[0].stdout
        assert not request.exists()
