"""The report as one picture of four panels. Needs matplotlib.

Chance of a stale price over un-anchored time, formula and simulation; cost of censorship over the window, against the
value locked; expected gain of bribery over the window; net gain over the bond.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt
from pathlib import Path
from random import Random
from typing import Any, Final

from node.cli.economy import censorship, prices
from node.cli.economy.attacks import ATTACKS, bribe
from node.cli.economy.montecarlo import touches
from node.cli.economy.settings import Economy
from node.cli.economy.solve import Verdict

_POINTS: Final = 120
_DOTS: Final = 6
_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#718096"
_COLOURS: Final = (_BLUE, _RED, "#2f855a", "#b7791f", "#6b46c1", "#0987a0", "#97266d", "#4a5568")
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
#: a chance below it is not simulated: too few samples would see it
_SEEN: Final = 0.003


def draw(economy: Economy, verdicts: list[Verdict], path: Path, *, paths: int, seed: int) -> None:
    """Write the PNG file. ``paths``: samples of each simulated point."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12.5, 9))
    _chances(axes[0][0], economy, paths, Random(seed))
    _space(axes[0][1], economy)
    _bribery(axes[1][0], economy)
    _bonds(axes[1][1], economy, verdicts)
    for axis in axes.flat:
        axis.grid(alpha=0.25, linewidth=0.5)
        axis.tick_params(labelsize=8)
    paying = [verdict.attack.name for verdict in verdicts if verdict.pays]
    figure.suptitle(
        f"bond {economy.bond_usd:,.0f} USD, window {economy.window_s / HOUR_S:,.4g} h, value locked "
        f"{economy.value_locked_usd:,.0f} USD: " + (f"these pay: {', '.join(paying)}" if paying else "no attack pays"),
        fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def spaced(first: float, last: float, count: int = _POINTS) -> list[float]:
    """Values evenly apart in the logarithm."""
    return [first * (last / first) ** (step / (count - 1)) for step in range(count)]


def _line(axis: Any, across: list[float], up: list[float], **style: Any) -> None:
    """A line on logarithmic axes, where it is above zero."""
    seen = [(x, y) for x, y in zip(across, up, strict=True) if y > 0]
    if seen:
        axis.plot([x for x, _ in seen], [y for _, y in seen], **style)


def _legend(axis: Any, place: str) -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, loc=place)


def _chances(axis: Any, economy: Economy, paths: int, random: Random) -> None:
    """Formula and simulation over un-anchored time, with the add-on and without."""
    last = max(DAY_S, economy.tau_halt_s, economy.promise_deadline_s, 4 * economy.anchor_interval_s)
    for with_addon, colour in ((False, _RED), (True, _BLUE)):
        label = f"{'with' if with_addon else 'without'} the finality add-on"
        times = spaced(economy.anchor_interval_s / 4, last)
        values = [prices.stale_chance(economy, tau, with_addon=with_addon) for tau in times]
        _line(axis, [tau / 60 for tau in times], values, color=colour, label=label)
        common = [tau for tau, value in zip(times, values, strict=True) if value > _SEEN]
        seen = [simulate(economy, tau, with_addon, paths, random)
                for tau in (spaced(common[0], common[-1], _DOTS) if len(common) > 1 else ())]
        axis.errorbar(
            [tau / 60 for tau, _, _ in seen], [mean for _, mean, _ in seen], yerr=[error for _, _, error in seen],
            fmt="o", color=colour, markersize=4, capsize=2)
    for name, tau in (("anchors", economy.anchor_interval_s), ("reduce-only", economy.tau_reduce_s),
                      ("halt", economy.tau_halt_s)):
        if tau:
            axis.axvline(tau / 60, color=_GREY, linewidth=0.8, linestyle=":")
            axis.text(tau / 60, 1.2, name, fontsize=7, color=_GREY, ha="center", va="bottom")
    axis.set(xscale="log", yscale="log", ylim=(1e-9, 1), xlabel="un-anchored time, minutes")
    axis.set_title("Chance that the cushion of a new position is gone (dots: simulated)", fontsize=10, pad=16)
    _legend(axis, "upper left")


def simulate(
    economy: Economy, tau: float, with_addon: bool, paths: int, random: Random,
) -> tuple[float, float, float]:
    """(time, simulated chance, standard error)."""
    cushion, spread = prices.cushion(economy, tau, with_addon=with_addon), prices.deviation(economy, tau)
    if spread == 0 or cushion <= 0:
        return tau, float(cushion <= 0), 0.0
    mean = sum(touches(random, cushion, spread) for _ in range(paths)) / paths
    return tau, mean, sqrt(mean * (1 - mean) / paths)


def _windows(economy: Economy) -> list[float]:
    last = max(2 * economy.window_s, economy.social_s, economy.detect_s * 4, economy.block_s * 4)
    return spaced(economy.detect_s + economy.block_s, last)


def _space(axis: Any, economy: Economy) -> None:
    """What buying L1's space for a window costs, and what full blocks would if nobody gave up."""
    windows = _windows(economy)
    counts = [censorship.blocks(economy, window) for window in windows]
    hours = [window / HOUR_S for window in windows]
    _line(axis, hours, [censorship.space_cost(economy, count) for count in counts], color=_BLUE,
          label=f"space, until {censorship.proof_price_gwei(economy):,.0f} gwei deter the proof")
    _line(axis, hours, [censorship.fill_cost(economy, count) for count in counts], color=_GREY, linestyle="--",
          label="space, if the watchtower never gives up")
    axis.axhline(max(1.0, economy.value_locked_usd), color=_RED, linewidth=1, label="value locked")
    _now(axis, economy)
    top = max(1e3, 1e3 * economy.value_locked_usd, censorship.space_cost(economy, counts[-1]))
    axis.set(xscale="log", yscale="log", xlabel="challenge window, hours", ylabel="USD", ylim=(1e2, top))
    axis.set_title("Cost of keeping a proof out by filling blocks", fontsize=10)
    _legend(axis, "lower right")


def _bribery(axis: Any, economy: Economy) -> None:
    """Expected gain of bribery for several shares of builders, and its cost for the configured one."""
    windows = _windows(economy)
    hours = [window / HOUR_S for window in windows]
    shares = sorted({economy.censor_share, 0.99, 0.999})
    for share, colour in zip(shares, _COLOURS, strict=False):
        gains = [censorship.kept_out_chance(economy, censorship.blocks(economy, window), share)
                 * economy.value_locked_usd for window in windows]
        _line(axis, hours, gains, color=colour, label=f"expected gain, {share:.1%} of blocks censor")
    costs = [bribe(replace(economy, window_s=window)).cost for window in windows]
    _line(axis, hours, costs, color="black", linewidth=1, linestyle="--",
          label=f"expected cost, {economy.censor_share:.1%} of blocks")
    _now(axis, economy)
    axis.set(xscale="log", yscale="log", xlabel="challenge window, hours", ylabel="USD",
             ylim=(1, 10 * max(10.0, economy.value_locked_usd, *costs)))
    axis.set_title("Keeping a proof out by bribing L1's builders", fontsize=10)
    _legend(axis, "upper right")


def _now(axis: Any, economy: Economy) -> None:
    axis.axvline(max(economy.block_s, economy.window_s) / HOUR_S, color=_GREY, linewidth=0.8, linestyle=":")


def _bonds(axis: Any, economy: Economy, verdicts: list[Verdict]) -> None:
    """Net gain over the bond, for every attack that a bond can stop."""
    stopped = [verdict for verdict in verdicts if verdict.least_bond_usd]
    most = max([economy.bond_usd, 1.0, *(verdict.least_bond_usd or 0 for verdict in stopped)]) * 1.5
    bonds = [most * step / _POINTS for step in range(_POINTS + 1)]
    flows: dict[str, Callable[[Economy], Any]] = {attack.name: attack.flow for attack in ATTACKS}
    for number, (verdict, colour) in enumerate(zip(stopped, _COLOURS, strict=False)):
        name = verdict.attack.name
        nets = [flows[name](replace(economy, bond_usd=bond)).net / 1e3 for bond in bonds]
        axis.plot([bond / 1e3 for bond in bonds], nets, color=colour, label=name, linestyle=("-", "--")[number % 2])
    gains = [verdict.attack.flow(replace(economy, bond_usd=0)).net / 1e3 for verdict in stopped]
    if gains:
        axis.set_ylim(-1.2 * max(gains), 1.15 * max(gains))
        axis.legend(fontsize=8, loc="upper right")
    axis.axhline(0, color="black", linewidth=0.8)
    axis.axvline(economy.bond_usd / 1e3, color=_GREY, linewidth=0.8, linestyle=":")
    axis.set(xlabel="bond, thousand USD", ylabel="net gain of the attacker, thousand USD")
    axis.set_title("Net gain over the bond: below zero it never pays", fontsize=10)
