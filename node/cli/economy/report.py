"""The report: one JSON object, and the same for people."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from io import StringIO
from math import ceil
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from node.cli.economy import censorship, prices
from node.cli.economy.attacks import bounds, slashed, withhold
from node.cli.economy.montecarlo import Check
from node.cli.economy.settings import GWEI, KEYS, PROVER_SHARE, YEAR_S, Economy
from node.cli.economy.solve import Verdict, overall

#: un-anchored times of the table, as multiples of the anchoring interval, before tau_reduce and tau_halt
_TIMES: Final = (1, 2, 5, 15)
WIDTH: Final = 118


def build(economy: Economy, origin: dict[str, str], verdicts: list[Verdict], checks: list[Check]) -> dict[str, Any]:
    """The report as plain values. Money USD, times seconds; an attack's threshold is null where no value is enough."""
    return {
        "economy": asdict(economy), "origin": origin,
        "attacks": [attack_json(verdict) for verdict in verdicts],
        "least_bond_usd": overall([verdict.least_bond_usd for verdict in verdicts]),
        "shortest_window_s": overall([verdict.shortest_window_s for verdict in verdicts]),
        "no_bond_helps": [verdict.attack.name for verdict in verdicts if verdict.least_bond_usd is None],
        "no_window_helps": [verdict.attack.name for verdict in verdicts if verdict.shortest_window_s is None],
        "pays": [verdict.attack.name for verdict in verdicts if verdict.pays],
        "most": max(verdicts, key=lambda verdict: verdict.flow.gain).attack.name,
        "not_priced": [asdict(bound) for bound in bounds(economy)],
        "stale": stale_rows(economy), "facts": facts(economy),
        "checks": [asdict(check) | {"errors": check.errors, "agrees": check.agrees} for check in checks],
    }


def attack_json(verdict: Verdict) -> dict[str, Any]:
    """One attack as plain values."""
    attack, flow = verdict.attack, verdict.flow
    return {
        "name": attack.name, "title": attack.title, "gain_usd": flow.gain, "cost_usd": flow.cost, "net_usd": flow.net,
        "chance": flow.chance, "pays": verdict.pays, "least_bond_usd": verdict.least_bond_usd,
        "shortest_window_s": verdict.shortest_window_s, "formula": attack.formula, "source": attack.source}


def stale_rows(economy: Economy) -> list[dict[str, float]]:
    """How the chance of an exploitable price grows with un-anchored time, with the add-on and without."""
    times = {economy.anchor_interval_s * multiple for multiple in _TIMES}
    times |= {time for time in (economy.tau_reduce_s, economy.tau_halt_s) if time}
    return [{
        "tau_s": tau, "deviation": prices.deviation(economy, tau), "addon": prices.addon(economy, tau),
        "chance_without": prices.stale_chance(economy, tau, with_addon=False),
        "chance_with": prices.stale_chance(economy, tau)} for tau in sorted(times)]


def facts(economy: Economy) -> dict[str, float | None]:
    """Figures beside the table."""
    reward = PROVER_SHARE * economy.bond_usd
    per_gwei = economy.proof_gas * GWEI * economy.ether_usd
    chance = withhold(economy).chance
    return {
        "prover_reward_usd": reward, "proof_cost_usd": per_gwei * economy.base_fee_gwei,
        "proof_pays_up_to_gwei": reward / per_gwei, "proof_price_gwei": censorship.proof_price_gwei(economy),
        "base_fee_growth": censorship.growth(economy), "blocks_in_window": float(censorship.blocks(economy)),
        "lost_at_least_usd": slashed(economy),
        "withhold_chances_a_year": chance * YEAR_S / economy.promise_deadline_s,
    }


# --- for people ------------------------------------------------------------------------------------------------------


def text(economy: Economy, origin: dict[str, str], verdicts: list[Verdict], checks: list[Check]) -> str:
    """The report for a terminal."""
    out = StringIO()
    width = max(80, min(WIDTH, shutil.get_terminal_size((WIDTH, 40)).columns))
    console = Console(file=out, width=width, highlight=False, color_system=None)
    tables = (
        _inputs(economy, origin), _attacks(verdicts), _words(economy, verdicts), _stale(economy), _bounds(economy))
    for part in tables:
        console.print(part)
        console.print()
    if checks:
        console.print(_checks(checks))
        console.print()
    for line in verdict_lines(economy, verdicts, checks):
        console.print(line)
    return out.getvalue().rstrip()


def usd(value: float) -> str:
    """Dollars, short: millions and billions as such, sums far beyond all money as powers of ten."""
    if abs(value) >= 1e15:
        return f"{value:.0e}"
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if abs(value) >= size:
            return f"{value / size:,.4g} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:,.2f}"


def _dollars(value: float) -> str:
    """A bond: whole dollars, rounded up, so that it is enough."""
    return f"{ceil(value):,} USD"


def span(seconds: float) -> str:
    """A time in the unit that a person would use."""
    for unit, size in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:,.4g} {unit}"
    return f"{seconds:,.4g} s"


def _chance(value: float) -> str:
    if value >= 0.0001:
        return f"{value:.2%}"
    return f"{value:.0e}" if value >= 1e-99 else "0"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for column in columns:
        right = column.startswith(">")
        # figures and names stay whole, so what is narrow is the column of words
        whole = right or column in ("attack", "key", "from", "pays")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=whole)
    return table


def _inputs(economy: Economy, origin: dict[str, str]) -> Table:
    """What was told, or read from the chain; defaults are the rest, which --json shows."""
    table = _table("Assumed (other keys: see --json; change any with --set)", "key", ">value", "from", "meaning")
    shown = ("bond_usd", "window_s", "value_locked_usd", "volatility", "anchor_interval_s", "turnover_usd_h",
             "gas_limit", "base_fee_gwei", "ether_usd", "proof_fee_max_gwei", "censor_share", "detect_s")
    for key in KEYS:
        if key in shown or origin[key] != "default":
            table.add_row(key, f"{getattr(economy, key):,.10g}", origin[key], KEYS[key])
    return table


def _attacks(verdicts: list[Verdict]) -> Table:
    table = _table("Attacks: the most they bring, the least they cost, USD", "attack", ">gain", ">cost", ">net", "pays",
                   ">least bond", ">least window")
    for verdict in verdicts:
        flow, bond, window = verdict.flow, verdict.least_bond_usd, verdict.shortest_window_s
        table.add_row(
            verdict.attack.name, usd(flow.gain), usd(flow.cost), usd(flow.net), "YES" if verdict.pays else "no",
            "none helps" if bond is None else f"{ceil(bond):,}" if bond else "any",
            "none helps" if window is None else span(window) if window else "any")
    return table


def _words(economy: Economy, verdicts: list[Verdict]) -> Table:
    table = _table("In words", "attack", "what it is, and whether it pays")
    for verdict in verdicts:
        attack = verdict.attack
        table.add_row(attack.name, f"{attack.title}: {sentence(verdict)}; {attack.limit(economy)}")
    return table


def _stale(economy: Economy) -> Table:
    table = _table(
        "Chance that a position opened at the initial margin has lost its cushion before L1 knows", ">un-anchored",
        ">deviation", ">add-on", ">chance without it", ">with it")
    for row in stale_rows(economy):
        table.add_row(span(row["tau_s"]), f"{row['deviation']:.3%}", f"{row['addon']:.3%}",
                      _chance(row["chance_without"]), _chance(row["chance_with"]))
    return table


def _bounds(economy: Economy) -> Table:
    table = _table("Not priced by any bond; bounded by something else, USD", "what", ">at most", "", "bounded by")
    for bound in bounds(economy):
        table.add_row(bound.title, usd(bound.gain), bound.per, bound.holds)
    return table


def _checks(checks: list[Check]) -> Table:
    table = _table(f"Monte-Carlo check, {checks[0].paths:,} samples each", "formula", "at", ">formula says",
                   ">simulated", ">standard error", ">apart by")
    for check in checks:
        table.add_row(check.name, check.at, f"{check.formula:,.6g}", f"{check.simulated:,.6g}", f"{check.error:,.2g}",
                      f"{check.errors:.1f} errors" + ("" if check.agrees else "  DISAGREES"))
    return table


def verdict_lines(economy: Economy, verdicts: list[Verdict], checks: list[Check]) -> list[str]:
    """The conclusion in words."""
    lines = []
    paying = [verdict.attack.name for verdict in verdicts if verdict.pays]
    for what, thing, values, now, show in (
            ("Least bond", "bond", [(v.attack.name, v.least_bond_usd) for v in verdicts], economy.bond_usd, _dollars),
            ("Shortest window", "window", [(v.attack.name, v.shortest_window_s) for v in verdicts], economy.window_s,
             span)):
        helpless = [name for name, value in values if value is None]
        against = f"; no {thing} stops {', '.join(helpless)}" if helpless else ""
        lines.append(f"{what} against all attacks that a {thing} stops, all else as it is: "
                     f"{show(overall([value for _, value in values]))} (now {show(now)}){against}.")
    known = facts(economy)
    lines.append(f"A proof costs {usd(known['proof_cost_usd'] or 0)} USD at today's base fee and earns its prover "
                 f"{usd(known['prover_reward_usd'] or 0)} USD: worth it up to "
                 f"{known['proof_pays_up_to_gwei']:,.0f} gwei.")
    lines.append("Price moves that make withholding worth its tenth of the bond come "
                 f"{known['withhold_chances_a_year']:.2g} times a year.")
    if any(not check.agrees for check in checks):
        lines.append("A FORMULA AND ITS SIMULATION DISAGREE: do not trust this report.")
    lines.append(f"VERDICT: these attacks pay: {', '.join(paying)}." if paying else "VERDICT: no attack pays.")
    return lines


def sentence(verdict: Verdict) -> str:
    """Whether an attack pays, and from when on it does not."""
    needs = []
    if verdict.least_bond_usd:
        needs.append(f"a bond of {_dollars(verdict.least_bond_usd)}")
    if verdict.shortest_window_s:
        needs.append(f"a window of {span(verdict.shortest_window_s)}")
    when = " or ".join(needs)
    if verdict.pays:
        until = f" until there is {when}" if when else ", whatever bond and window"
        return f"PAYS {usd(verdict.flow.net)} USD{until}"
    return "never pays" + (f" from {when} on" if when else ", whatever bond and window")
