"""`anchorline drill` as a process against a running watchtower: it passes if that one disproves, and says why if not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sequencer.villains import KINDS
from tests.cli.test_leave import shell
from tests.cli.test_trade import Shell
from tests.prover.test_service import PATIENT, WATCHTOWER, watching
from tests.sequencer.l1_world import TRADERS, World, deployed

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
            print(f"first {first['own']['gas']:,} gas, again {again['own']['gas']:,}; announced "
                  f"{first['announced_gas']:,}, {again['announced_gas']:,}; {first['seconds']} s, {again['seconds']} s")
