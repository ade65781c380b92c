"""A check of every formula that has chance in it, by playing the chance.

Each check simulates from first principles (paths of prices, blocks, failures and repairs), at a point where the event
is common enough to be counted, and gives the formula's value at the same point, the simulated mean, and its standard
error. Where the configured point is out of reach (0.9^6900 is never seen), the check says which point it took instead.

Prices are walked in steps. Between two of them a path may touch the barrier unseen: that is sampled with the chance
exp(-2 * a * b / step variance) of a Brownian bridge with distances a and b to the barrier at its ends (textbook, e.g.
Glasserman, "Monte Carlo Methods in Financial Engineering", 2003, section 6.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, exp, log, sqrt
from random import Random
from statistics import fmean, pstdev
from typing import Final

from node.cli.economy import censorship, prices
from node.cli.economy.settings import GWEI, Economy

STEPS: Final = 16
PATHS_MAX: Final = 1_000_000
#: blocks in a row that bribed builders make in the check, and those that are filled
RUN_MAX: Final = 200
FILL_BLOCKS: Final = 40
#: a formula disagrees when its simulation is further off than this many standard errors
ERRORS_MAX: Final = 4.0


@dataclass(frozen=True)
class Check:
    """A formula's value beside its simulation. ``at`` says where both were taken."""

    name: str
    at: str
    formula: float
    simulated: float
    error: float
    paths: int

    @property
    def errors(self) -> float:
        """How many standard errors lie between them."""
        distance = abs(self.formula - self.simulated)
        if self.error == 0:
            return 0.0 if distance <= 1e-9 * max(1.0, abs(self.formula)) else float("inf")
        return distance / self.error

    @property
    def agrees(self) -> bool:
        """Whether they are as near as chance allows."""
        return self.errors <= ERRORS_MAX


def check_all(economy: Economy, paths: int, seed: int) -> list[Check]:
    """All checks with ``paths`` samples each. The same seed gives the same figures."""
    random = Random(seed)
    return [
        check_touch(economy, paths, random), check_shortfall(economy, paths, random),
        check_option(economy, paths, random), check_run(economy, paths, random), check_bribes(economy, paths, random),
        check_fill(economy, paths, random), check_repair(economy, paths, random)]


def _check(
    name: str, at: str, formula: float, paths: int, sample: Callable[[], float], known_error: float = 0.0,
) -> Check:
    """``known_error``: the standard error of one sample by the formula, for when no sample shows any spread."""
    values = [sample() for _ in range(paths)]
    spread = pstdev(values) or known_error
    return Check(name, at, formula, fmean(values), spread / sqrt(paths), paths)


def touches(random: Random, cushion: float, spread: float, steps: int = STEPS) -> bool:
    """Whether one path of this deviation at its end runs through the cushion."""
    step = spread / sqrt(steps)
    room = cushion
    for _ in range(steps):
        after = room + random.gauss(0, step)
        if after <= 0 or random.random() < exp(-2 * room * after / (step * step)):
            return True
        room = after
    return False


def common_cushion(economy: Economy, time_s: float) -> tuple[float, str]:
    """The cushion at this un-anchored time; or one and a half deviations where its break would hardly be seen."""
    cushion, spread = prices.cushion(economy, time_s), prices.deviation(economy, time_s)
    if spread == 0 or prices.touch_chance(cushion, spread) > 0.01:
        return cushion, "configured cushion"
    return 1.5 * spread, "cushion of 1.5 deviations"


def check_touch(economy: Economy, paths: int, random: Random) -> Check:
    """2*Phi(-c/d) against walked paths."""
    time_s = economy.tau_reduce_s or economy.promise_deadline_s
    cushion, where = common_cushion(economy, time_s)
    spread = prices.deviation(economy, time_s)
    formula = prices.touch_chance(cushion, spread)

    def sample() -> float:
        return float(spread > 0 and touches(random, cushion, spread))

    return _check("stale price breaks the cushion", f"{where}, {time_s:g} s", formula, paths, sample,
                  sqrt(formula * (1 - formula)))


def check_shortfall(economy: Economy, paths: int, random: Random) -> Check:
    """Expected move beyond one deviation, either way."""
    time_s = economy.tau_reduce_s or economy.promise_deadline_s
    spread = prices.deviation(economy, time_s)
    return _check(
        "loss beyond the margin, of the notional", f"margin of 1 deviation, {time_s:g} s",
        prices.shortfall(spread, spread), paths, lambda: max(0.0, abs(_walk(random, spread)) - spread))


def check_option(economy: Economy, paths: int, random: Random) -> Check:
    """d/sqrt(2*pi) against walked paths: what withholding brings on average, of the notional."""
    time_s = economy.promise_deadline_s
    spread = prices.deviation(economy, time_s)
    return _check("option to call off, of the notional", f"{time_s:g} s", prices.option_value(spread), paths,
                  lambda: max(0.0, _walk(random, spread)))


def _walk(random: Random, spread: float, steps: int = 4) -> float:
    """Where a path of this deviation ends."""
    return sum(random.gauss(0, spread / sqrt(steps)) for _ in range(steps))


def run_length(economy: Economy) -> int:
    """Blocks in a row that are censored with a chance of one in twenty, as far as the window and RUN_MAX allow."""
    q = economy.censor_share
    wanted = RUN_MAX if q in (0, 1) else ceil(log(0.05) / log(q))
    return max(1, min(wanted, RUN_MAX, censorship.blocks(economy) or 1))


def _censored(random: Random, economy: Economy, count: int) -> int:
    """Bribed blocks before the first that is not, ``count`` at most."""
    for block in range(count):
        if random.random() >= economy.censor_share:
            return block
    return count


def check_run(economy: Economy, paths: int, random: Random) -> Check:
    """q^n against drawn builders."""
    count = run_length(economy)
    formula = censorship.kept_out_chance(economy, count)
    return _check("bribed builders in a row", f"{count} blocks", formula, paths,
                  lambda: float(_censored(random, economy, count) == count), sqrt(formula * (1 - formula)))


def check_bribes(economy: Economy, paths: int, random: Random) -> Check:
    """Mean bribes against drawn builders."""
    count, bribe = run_length(economy), censorship.bribe_usd(economy)
    return _check("bribes paid, USD", f"{count} blocks at most", censorship.expected_bribes(economy, count), paths,
                  lambda: bribe * _censored(random, economy, count))


def check_fill(economy: Economy, paths: int, random: Random) -> Check:
    """The geometric sum against blocks whose rest others fill at random: of independent factors the mean of the product
    is the product of the means."""
    bought = censorship.space_gas(economy)

    def sample() -> float:
        fee = economy.base_fee_gwei * GWEI * economy.ether_usd
        paid = 0.0
        for _ in range(FILL_BLOCKS):
            paid += fee * bought
            used = bought + random.random() * (economy.gas_limit - bought)
            fee *= 1 + (2 * used / economy.gas_limit - 1) / 8
        return paid

    formula = censorship.fill_cost(economy, FILL_BLOCKS, 0.5)
    return _check("space in blocks, USD", f"{FILL_BLOCKS} blocks, others fill half of the rest", formula, paths, sample)


def check_repair(economy: Economy, paths: int, random: Random) -> Check:
    """One watchtower blind and not repaired within its mean repair time, against drawn failures and repairs."""
    single = replace(economy, watchtowers=1, common_failure=0.0, blind_share=max(economy.blind_share, 0.05))
    formula = censorship.unseen_chance(single, single.repair_s)

    def sample() -> float:
        blind = random.random() < single.blind_share
        return float(blind and random.expovariate(1 / single.repair_s) > single.repair_s)

    return _check("one watchtower stays blind", f"{single.repair_s:g} s, blind {single.blind_share:.0%} of the time",
                  formula, paths, sample, sqrt(formula * (1 - formula)))
