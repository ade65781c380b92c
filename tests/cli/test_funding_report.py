"""`anchorline funding-report`: a tape goes through the rules, whose funding is compared and sums to zero."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.funding_report import EIGHT_HOURS_MS, Row, read_rows, run_tape
from node.cli.output import UserError

REPO = Path(__file__).resolve().parents[2]
HEAD = "symbol,ts_exch_ms,mark_price,index_price,funding_rate\n"
START = 1_700_000_000_000


def tape(seconds: int, premium_bps: float, rate_bps: float = 1.0) -> list[Row]:
    mark = 30_000.0 * (1 + premium_bps / 10_000)
    return [Row(START + 1_000 * second, mark, 30_000.0, rate_bps) for second in range(seconds + 1)]


@pytest.mark.parametrize("premium_bps", [10.0, -10.0, 0.0])
def test_what_is_charged_is_the_premium_pro_rata(premium_bps: float) -> None:
    report = run_tape(tape(600, premium_bps), 60_000, 1_000)
    assert len(report["lines"]) == 10
    assert report["zero_sum"] and report["conserved"]
    last = report["lines"][-1]
    assert last["our_rate_bps"] == pytest.approx(premium_bps, abs=0.05)
    exact = premium_bps / 10_000 * 30_000e6 * 600_000 / EIGHT_HOURS_MS
    assert report["long_paid_micro_usd"] == pytest.approx(exact, rel=0.02, abs=1_000)
    assert report["long_paid_micro_usd"] == -report["short_paid_micro_usd"]
    assert last["venue_accrued"] == pytest.approx(1e-4 * 30_000e6 * 600_000 / EIGHT_HOURS_MS)
    damped = premium_bps + max(-5, min(5, 1 - premium_bps))
    assert last["damped_bps"] == pytest.approx(damped, abs=0.05)


def test_the_command_prints_both_and_speaks_json(tmp_path: Path) -> None:
    path = tmp_path / "tape.csv.gz"
    with gzip.open(path, "wt") as stream:
        stream.write(HEAD)
        stream.writelines(f"X,{START + 997 * i},30010.5,30000.25,0.0001\n" for i in range(130))
    text = run(str(path), "--every-s", "30").stdout
    assert "zero-sum; money is conserved" in text
    assert len([line for line in text.splitlines() if line.strip()[:1].isdigit()]) == 5
    report = json.loads(run(str(path), "--json").stdout)
    assert report["rows"] == 130 and report["zero_sum"]


def run(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "node.cli", "funding-report", *args]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=True, timeout=60)


@pytest.mark.parametrize(("body", "problem"), [
    ("a,b\n1,2\n", "has no column ts_exch_ms"),
    (HEAD + "X,1,10,10,0\n", "fewer than two rows"),
    (HEAD + "X,1,10,10,0\nX,2,ten,10,0\n", "line 3: a number is missing"),
    (HEAD + "X,2,10,10,0\nX,2,10,10,0\n", "line 3: time does not rise"),
    (HEAD + "X,1,10,0,0\nX,2,10,10,0\n", "line 2: mark and index"),
])
def test_a_bad_tape_is_named(tmp_path: Path, body: str, problem: str) -> None:
    path = tmp_path / "tape.csv"
    path.write_text(body)
    with pytest.raises(UserError, match=problem):
        read_rows(path)
