"""A devnet's figures on a terminal: a table that is redrawn in place, while progress scrolls by above it."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from node.cli.network.watch import Watch

HEADS = ("unsafe", "safe", "finalized")


def figures_table(
    *, phase: str, seconds: float, figures: dict[str, Any], watch: Watch, struck: int, villains: int
) -> Table:
    """Every role's heads and what it makes of the roots, under what the traders have done so far."""
    promise = figures.get("promise_ms") or {"p50": None, "p99": None}
    title = (f"{phase}, {seconds:.0f} s: {figures.get('orders', 0):,} orders, {figures.get('fills', 0):,} fills\n"
             f"promised in {_ms(promise['p50'])} (half), {_ms(promise['p99'])} (99 of 100)")
    if villains:
        title += f", villains disproved {struck} of {villains}"
    table = Table(title=title, title_justify="left")
    table.add_column("block")
    for name in (*HEADS, "roots agreed", "wrong batches", "money"):
        table.add_column(name, justify="right")
    for role in watch.urls:
        status = watch.statuses.get(role)
        if status is not None:
            table.add_row(role, *(f"{watch.number(role, head):,}" for head in HEADS), *_verdict(role, status))
    return table


def _verdict(role: str, status: dict[str, Any]) -> tuple[str, str, str]:
    """Roots and batches as a role compared them (the sequencer compares nothing), and whether money is conserved."""
    money = "conserved" if status["conserved"] else "[bold red]NOT CONSERVED[/]"
    if role == "sequencer":
        return "", "", money
    return f"{status['roots']['agreed']:,}", f"{status['batches']['disagreed']:,}", money


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f} ms"
