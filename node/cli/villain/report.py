"""Outcomes for people: one line each while they come, and the table at the end."""

from __future__ import annotations

from collections.abc import Mapping

from node.cli.villain.catalogue import Outcome


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
