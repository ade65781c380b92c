"""Outcomes for people: a line while they come, the table at the end, and the catalogue as documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from node.cli.villain.catalogue import Amount, Attack, Outcome

WIDTH_LOST: Final = 44
HEAD: Final = ("| attack | what the villain tries | who loses what | attack: L1 txs, gas | defence: L1 txs, gas |")


def who(lost: Mapping[str, int]) -> str:
    """``operator −1,000.00, watchtower +100.00`` (USD)."""
    parts = [f"{party} {'+' if micro < 0 else '−'}{abs(micro) / 1_000_000:,.2f}"
             for party, micro in sorted(lost.items())]
    return ", ".join(parts) or "nobody anything"


def line(outcome: Outcome) -> str:
    """One outcome on one line."""
    held = "held" if outcome.held else "BROKEN"
    attack, defence = outcome.attack, outcome.defence
    return (f"{outcome.name}: {held}; {who(outcome.lost)}; attack {attack.transactions} L1 txs, {attack.gas:,} gas; "
            f"defence {defence.transactions}, {defence.gas:,}; {outcome.seconds:.1f} s"
            + (f"; {outcome.remark}" if outcome.remark else ""))


def table(outcomes: Sequence[Outcome], not_played: Mapping[str, str]) -> str:
    """Everything that was played, and what was not and why."""
    width = max([6, *(len(outcome.name) for outcome in outcomes)])
    head = (f"{'attack':<{width}}  held    {'who lost what (USD)':<{WIDTH_LOST}}  {'attack: txs, gas':>20}  "
            f"{'defence: txs, gas':>20}")
    rows = [
        f"{o.name:<{width}}  {'yes' if o.held else 'NO':<6}  {who(o.lost):<{WIDTH_LOST}}  "
        f"{o.attack.transactions:>5} {o.attack.gas:>14,}  {o.defence.transactions:>5} {o.defence.gas:>14,}"
        for o in outcomes]
    broken = [f"{o.name}: {o.remark}" for o in outcomes if not o.held]
    lines = [head, *rows] if outcomes else []
    if not_played:
        lines += ["", "not played:", *(f"  {name}: {reason}" for name, reason in not_played.items())]
    if broken:
        lines += ["", "DID NOT HOLD:", *(f"  {text}" for text in broken)]
    held = sum(outcome.held for outcome in outcomes)
    summary = f"{held} of {len(outcomes)} attacks that were played held; {len(not_played)} were not played"
    return "\n".join([*lines, "", summary])


def expected(entry: Attack) -> str:
    """``operator loses the bond; watchtower gains a tenth of the bond``."""
    def say(parties: Mapping[str, Amount], verb: str) -> list[str]:
        return [f"{party} {verb} {amount.words}" for party, amount in parties.items()]

    return "; ".join([*say(entry.loses, "loses"), *say(entry.gains, "gains")]) or "nobody loses anything"


def listing(entries: Iterable[Attack]) -> str:
    """The catalogue for ``--list``."""
    lines = []
    group = ""
    for entry in entries:
        if entry.group != group:
            group = entry.group
            lines += ["", f"{group}:"]
        needs = f" [needs: {', '.join(sorted(entry.needs))}]" if entry.needs else ""
        lines += [f"  {entry.name}{needs}", f"      {entry.summary}", f"      {expected(entry)}"]
    return "\n".join(lines).strip()


def markdown(entries: Iterable[Attack], outcomes: Mapping[str, Outcome]) -> str:
    """The catalogue with what it cost, as a table of Markdown for each group."""
    lines: list[str] = []
    group = ""
    for entry in entries:
        if entry.group != group:
            group = entry.group
            lines += ["", f"### {group}", "", HEAD, "|---|---|---|---|---|"]
        found = outcomes.get(entry.name)
        costs = ("", "") if found is None else (
            f"{found.attack.transactions}, {thousands(found.attack.gas)}",
            f"{found.defence.transactions}, {thousands(found.defence.gas)}" if found.defence.transactions else "none")
        lines.append(f"| {entry.name} | {entry.summary} | {expected(entry)} | {costs[0]} | {costs[1]} |")
    return "\n".join(lines).strip() + "\n"


def thousands(gas: int) -> str:
    """``872k``: gas differs by some bytes' worth from run to run."""
    return f"{round(gas / 1_000):,}k"
