"""``anchorline bench``: every figure is there, and figures that do not depend on the machine are what they must be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node.cli", "bench", *args], capture_output=True, text=True, timeout=300, check=False,
        cwd=Path(__file__).parents[2], env=os.environ | {"ETH_HASH_BACKEND": "pysha3"})


def test_one_run_shows_everything() -> None:
    done = run("--seconds", "0.1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["recover_per_s"]["1_threads"] > 0
    for where in ("in_process", "websocket"):
        single, lists = result[where]["single"], result[where]["lists_of_20"]
        assert single["orders_per_s"] > 0 and single["share_of_ceiling"] > 0
        assert 0 < single["promise_ms"]["p50"] <= single["promise_ms"]["p99"]
        assert single["bytes_per_order"] <= 84 and lists["bytes_per_order"] <= 14, "the encoding's targets"
        assert single["fills"] > 0
    assert result["in_process"]["single"]["bytes_per_order"] > 64, "a signature alone is 64 bytes"
    proofs = result["fraud_proofs"]
    assert [row["leaves"] for row in proofs[:3]] == sorted(row["leaves"] for row in proofs[:3])
    assert all(21_000 < row["gas"] <= 12_000_000 and row["calldata_bytes"] < 110_000 for row in proofs)
    assert all(row["leaves"] > 4 for row in proofs), "an order alone opens its account, market, board, and the globals"
    assert len({row["gas"] for row in proofs}) == len(proofs)


def test_mistakes_are_one_line() -> None:
    done = run("--seconds", "0")
    assert done.returncode == 1 and "--seconds is 0.1 to 600" in done.stderr and "Traceback" not in done.stderr
