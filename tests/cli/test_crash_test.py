"""Crashes in the small: two hundred accounts and a made-up fall, through the same code that replays real ones."""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from node.cli.crash import drive, report, tape
from node.cli.crash.outcome import Outcome, Stage
from node.cli.crash.people import LEVERAGE, draw
from node.cli.crash.settings import ALL_ON, OFF, Settings, choose_variants
from node.cli.crash_test import crash_test, plan
from node.cli.output import UserError

START_MS = 1_700_000_000_000
MINUTE_MS = 60_000
FALL_AT, CANDLES = 80, 120
#: what a deployment ships may change; this story stays
SETTINGS = Settings().with_values({
    "mm_base": 10_000, "im_base": 20_000, "impact": 100_000_000, "closeout": 500_000, "buffer_ms": 60_000, "refill": 10,
    "horizon_ms": 60_000, "reduce_cap": 20_000, "vol_window": 600_000, "vol_sample_ms": 10_000, "near_band": 5_000,
    "jump_limit": 50_000, "jump_hold": 15_000, "penalty": 10_000})


def table(depth: float, seed: int) -> tape.Floats:
    """An hour and twenty minutes of noise, a fall by ``depth`` in ten minutes, half of it recovered after."""
    random = np.random.default_rng(seed)
    closes = 1_000 * np.exp(np.cumsum(random.standard_normal(CANDLES) * 0.0004))
    fall = np.interp(np.arange(CANDLES), [FALL_AT, FALL_AT + 10, CANDLES], [0, -depth, -depth / 2])
    closes = closes * np.exp(fall)
    opens = np.concatenate([[1_000.0], closes[:-1]])
    return np.stack([opens, np.maximum(opens, closes) * 1.0005, np.minimum(opens, closes) * 0.9995, closes])


@cache
def base() -> drive.Base:
    tables = [table(0.08, 1), table(0.10, 2)]
    made = tape.make_tape("made", ("BTC", "ETH"), START_MS, MINUTE_MS, START_MS + 90 * MINUTE_MS, tables)
    return drive.prepare(made, 200, 7, SETTINGS)


@cache
def replay(name: str) -> Outcome:
    variant = next(variant for variant in (ALL_ON, *OFF) if variant.name == name)
    return drive.run(base(), SETTINGS, variant)


def figures(outcome: Outcome) -> dict[str, Any]:
    return {key: value for key, value in outcome.figures().items() if key != "seconds"}


def test_every_stage_is_met_and_money_is_conserved() -> None:
    outcome = replay("all on")
    stages = outcome.stages()
    assert outcome.steps == outcome.checks - 1 > 50, "the law, the totals and the screen, after every step and wave"
    assert stages[Stage.HARD] > 0
    assert stages[Stage.TAKEN] > 0
    assert stages[Stage.PREDICTIVE] + stages[Stage.SPENT] > 0
    assert 10 < sum(stages[stage] for stage in Stage if stage >= Stage.SPENT) < 100
    assert outcome.deficits >= outcome.drawn >= 0
    assert outcome.opened > 120


def test_the_same_seed_is_the_same_crash() -> None:
    again = drive.run(base(), SETTINGS, ALL_ON)
    assert figures(again) == figures(replay("all on"))
    assert again.track == replay("all on").track


def test_a_protection_that_is_off_does_nothing() -> None:
    assert figures(replay("buffer"))["recovered_in_buffer"] == 0
    assert replay("ramp").statuses["BUFFERED"] == 0 < replay("predictive").statuses["BUFFERED"]
    assert replay("insurance").insurance_start == 0 < replay("all on").insurance_start
    drawn, shared = replay("insurance").drawn, replay("insurance").mutualised
    assert shared > 0, f"somebody pays: {drawn} micro-USD drawn"


def test_the_tables_say_what_happened(tmp_path: Path) -> None:
    outcomes = [replay("all on"), replay("buffer")]
    result = report.as_json(outcomes, {"made": {"BTC": 0.08, "ETH": 0.1}}, SETTINGS, accounts=200, seed=7)
    text = report.markdown(result)
    assert "| made | BTC −8%, ETH −10% |" in text and "| buffer |" in text
    assert result["totals"]["all on"]["liquidated"] == figures(outcomes[0])["liquidated"]
    assert report.page(result, []).count("<table>") == 3


def test_variants_are_compared_over_the_crashes_that_ran_them_all() -> None:
    alone = replace(replay("all on"), window="alone")
    outcomes = [replay("all on"), replay("buffer"), alone]
    falls = {"made": {"BTC": 0.08}, "alone": {"BTC": 0.08}}
    result = report.as_json(outcomes, falls, SETTINGS, accounts=200, seed=7)
    assert result["varied"] == ["made"]
    assert result["total"]["liquidated"] == 2 * result["totals"]["all on"]["liquidated"] > 0
    assert "1 crashes (made) together" in report.markdown(result)


def test_the_default_run_is_of_all_crashes_and_varies_six() -> None:
    off = [variant.name for variant in OFF]
    default = dict(plan([], [], every_variant=False))
    assert list(default) == [window.name for window in tape.WINDOWS]
    assert {name for name, names in default.items() if names == off} == tape.VARIED and len(tape.VARIED) == 6
    assert all(names in (off, ["none"]) for names in default.values())
    assert [names for _name, names in plan([], [], every_variant=True)] == [off] * len(tape.WINDOWS)
    assert plan(["apr2025"], [], every_variant=False) == [("apr2025", off)]
    assert [names for _name, names in plan([], ["jump"], every_variant=False)] == [["jump"]] * len(tape.WINDOWS)


@pytest.mark.long
@pytest.mark.parametrize("name", [window.name for window in tape.WINDOWS])
def test_a_whole_recording_goes_through_the_rules(name: str) -> None:
    folder = os.environ.get("ANCHORLINE_DATA")
    assert folder, "the long profile replays recordings: ANCHORLINE_DATA names their folder, see tests/README.md"
    settings = Settings()
    recorded = tape.read_tape(Path(folder), tape.choose([name])[0], whole=True)
    outcome = drive.run(drive.prepare(recorded, 500, 1, settings), settings, ALL_ON)
    assert outcome.checks > outcome.steps > 50, "a difference at any step would have stopped the replay"
    assert outcome.opened > 250
    assert recorded.candles > tape.read_tape(Path(folder), tape.choose([name])[0], whole=False).candles


def test_people_are_as_stated() -> None:
    people = draw(20_000, 2, 3)
    for times, percent in LEVERAGE[:3]:
        poor = people.collateral <= 10_000
        share = np.mean(people.leverage[poor] == times)
        assert abs(share - percent / 100) < 0.02, times
    assert abs(np.mean(people.weights.sum(axis=1) > 0) - 0.7) < 0.02
    assert people.collateral.min() >= 100


def candles(folder: Path) -> None:
    """A recording under a real one's name: 300 candles of three minutes."""
    lines = ["symbol,ts_ms,open,high,low,close,volume"]
    for symbol in ("BTCUSDT", "ETHUSDT"):
        price = 100.0
        for index in range(300):
            last, price = price, price * (0.985 if 200 <= index < 210 else 1.0005)
            time = START_MS // 180_000 * 180_000 + index * 180_000
            lines.append(f"{symbol},{time},{last},{max(last, price)},{min(last, price)},{price},1")
    with gzip.open(folder / "px_3m_binance_usdm_perp_BTC_ETH_202503_04.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")


def test_the_command_writes_all_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candles(tmp_path)
    crash_test(
        data=tmp_path, windows=["apr2025"], accounts=30, features_off=["jump"], processes=1, out=tmp_path / "out",
        set_=["buffer_ms=15000"], json=True)
    result = json.loads(capsys.readouterr().out)
    assert [row["variant"] for row in result["results"]] == ["all on", "jump"]
    assert result["parameters"]["buffer_ms"] == 15_000
    assert 0.13 < result["falls"]["apr2025"]["BTC"] < 0.15
    for name in ("crashes.json", "crashes.md", "crashes.html", "crashes.png", "protections.png"):
        assert (tmp_path / "out" / name).stat().st_size > 500, name


def test_a_path_visits_what_the_candle_did() -> None:
    rows = np.array([[100.0, 104.0], [110.0, 106.0], [90.0, 99.0], [105.0, 100.0]])
    made = tape.make_tape("two", ("BTC",), START_MS, MINUTE_MS, START_MS, [rows])
    assert [int(price) // 10_000 for price in made.path()[0]] == [100, 90, 110, 104, 106, 99]


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no window flood"):
        tape.choose(["flood"])
    with pytest.raises(UserError, match="--features-off luck"):
        choose_variants(["luck"])
    with pytest.raises(UserError, match="no parameter colour"):
        Settings().with_values({"colour": 1})
    with pytest.raises(UserError, match="--data names the folder"):
        tape.read_tape(tmp_path, tape.choose(["apr2025"])[0], whole=False)
