"""Ten processes on trio's clock: no wrong batch is ever final, no right one is ever dropped. See README.md.

Seeds run in two processes beside each other. A failure names its seed; `simulate(Settings(seed, wrong))` repeats it.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from tests.simulation.network import Weather
from tests.simulation.scenario import WINDOW_S, Report, Settings, simulate

WRONG_ALL = 1_000
SEEDS = 8
WORKERS = 2
STORM = Weather(
    request_loss=0.06, timeout_s=15, latency=0.4, latency_s=3, gossip_loss=0.2, slow_block=0.2, slow_block_s=35,
    outage=0.04, missed_slot=0.1, reorg=0.08)
#: what a watchtower that only watches says of each wrong batch; nothing else may wake an operator
EXPECTED = {"fraud_unanswered"}


def play(settings: Iterable[Settings]) -> list[Report]:
    """Run seeds in processes of their own (each with another hash seed, so order must not hang on it)."""
    with ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(simulate, settings))


def show(report: Report) -> str:
    return (f"seed {report.seed}: {report.wrong} wrong batches, {report.piled} on them, {report.right} right ones, "
            f"{report.blocks} L1 blocks, "
            f"{report.reorgs} reorgs, {report.orphans} orphans, {report.hours:.1f} h; fell after {report.median_s} s "
            f"(median), {report.slowest_s} s (slowest, window {WINDOW_S} s); proven by {report.provers}; "
            f"starts {report.starts}; {report.wrongs}")


def check(reports: list[Report]) -> None:
    for report in reports:
        print(show(report))
        assert set(report.criticals) <= EXPECTED, f"seed {report.seed}: {report.criticals}"
        assert report.right >= report.wrong // 4, f"seed {report.seed}: right batches stand between the wrong ones"
        assert report.starts["honest"] > 1 and report.reorgs > 0, f"seed {report.seed}: there was trouble"
        assert report.provers["honest"] > 0, f"seed {report.seed}: the honest watchtower proves"


def test_of_a_thousand_wrong_batches_none_becomes_final_and_no_right_one_falls() -> None:
    reports = play(Settings(seed, WRONG_ALL // SEEDS) for seed in range(SEEDS))
    check(reports)
    assert sum(report.wrong for report in reports) >= WRONG_ALL
    assert sum(report.provers.get("copier", 0) for report in reports) > 0, "some proofs were stolen on their way"


@pytest.mark.long
def test_in_a_storm() -> None:
    check(play(Settings(seed, 250, STORM) for seed in range(100, 124)))


def test_without_the_honest_watchtower_a_wrong_batch_becomes_final() -> None:
    with pytest.raises(AssertionError, match=r"seed 1: block \d+: wrong batch \d+ is (final|written down as final)"):
        simulate(Settings(1, WRONG_ALL, honest=False))


def test_a_court_that_believes_every_accusation_drops_a_right_batch() -> None:
    with pytest.raises(AssertionError, match=r"seed 1: block \d+: right batch \d+ is dropped"):
        simulate(Settings(1, WRONG_ALL, gullible=True))


def test_a_seed_names_one_history() -> None:
    settings = Settings(3, 6)
    here, (there, other) = simulate(settings), play([settings, replace(settings, seed=4)])
    assert here == there, "in another process, with another hash seed"
    assert here.head != other.head
