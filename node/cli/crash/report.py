"""The result of a crash test as tables: Markdown, JSON, and one HTML page with its plots inside."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from node.cli.crash.outcome import Outcome
from node.cli.crash.settings import ALL_ON, OFF, Settings

#: key of ``Outcome.figures`` -> heading
COLUMNS: Final = {
    "predictive": "predictive only", "buffer_spent": "buffer spent", "hard": "hard", "takeover": "takeover",
    "liquidated": "liquidated", "loss_mean_usd": "mean loss beyond M, USD", "loss_of_notional": "same, of notional",
    "penalties_usd": "penalties, USD", "deficits_usd": "deficits, USD", "drawn_usd": "insurance drawn, USD",
    "mutualised_usd": "mutualised, USD", "recovered_in_buffer": "recovered in buffer",
    "would_have_recovered": "would have recovered",
}
_SHARES: Final = {"loss_of_notional"}
_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0;font-size:13px}th,td{border:1px solid #ccc;padding:3px 7px;"
    "text-align:right}th:first-child,td:first-child{text-align:left}th{background:#f3f3f3}img{max-width:100%}")
NOTES: Final = (
    "Accounts count once, by the hardest thing that happened to them. *Buffer spent* is hard liquidation above "
    "close-out (C), *hard* below it, *takeover* below zero. *Loss beyond M*: maintenance when the account fell below "
    "it, less its equity when it was out (drift, slippage and penalty together). *Would have recovered*: hard or taken "
    "over, and back above maintenance within 60 minutes had the position been held. Money was conserved to the "
    "micro-USD after every block.")


def totals(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures of several windows in one: sums, and means over all liquidated accounts."""
    total: dict[str, Any] = {
        key: round(sum(row[key] for row in rows), 2) for key in COLUMNS if key not in ("loss_mean_usd", *_SHARES)}
    loss, count = sum(row["loss_usd"] for row in rows), sum(row["liquidated"] for row in rows)
    notional = sum(row["loss_usd"] / row["loss_of_notional"] for row in rows if row["loss_of_notional"])
    total["loss_mean_usd"] = round(loss / max(1, count), 2)
    total["loss_of_notional"] = round(loss / notional, 5) if notional else 0.0
    return total


def as_json(outcomes: Sequence[Outcome], falls: dict[str, dict[str, float]], settings: Settings, **about: Any) -> Any:
    """Everything, as plain values. ``total``: all crashes, all protections on. ``totals``: by variant, over the crashes
    that ran with every variant (``varied``), so that its rows compare."""
    rows = [outcome.figures() for outcome in outcomes]
    variants = [v for v in (ALL_ON, *OFF) if any(row["variant"] == v.name for row in rows)]
    ran: dict[str, set[str]] = {}
    for row in rows:
        ran.setdefault(row["window"], set()).add(row["variant"])
    varied = [window for window, names in ran.items() if len(names) == len(variants)]
    compared = [row for row in rows if row["window"] in varied]
    return {
        **about,
        "parameters": {**settings.market, **settings.risk, **settings.chain, "insurance": settings.insurance},
        "variants": {v.name: {"text": v.text, "values": v.values} for v in variants},
        "falls": falls,
        "total": totals([row for row in rows if row["variant"] == ALL_ON.name]),
        "varied": varied,
        "totals": {v.name: totals([row for row in compared if row["variant"] == v.name]) for v in variants},
        "results": rows,
    }


def markdown(result: dict[str, Any]) -> str:
    """The tables: every window with all protections, then the sums with each of them off."""
    base = [row for row in result["results"] if row["variant"] == ALL_ON.name]
    lines = [f"{len(base)} crashes, {result['accounts']} accounts each, seed {result['seed']}.", ""]
    head = ["crash", "fall", *COLUMNS.values()]
    body = [[row["window"], _falls(result["falls"][row["window"]]), *_cells(row)] for row in base]
    lines += _table(head, [*body, ["**all**", "", *_cells(result["total"])]])
    if len(result["totals"]) > 1:
        rows = [[_called(name), *_cells(total)] for name, total in result["totals"].items()]
        lines += ["", f"{_which(result)} together, with one protection off at a time:", ""]
        lines += _table(["protection off", *COLUMNS.values()], rows)
    return "\n".join([*lines, "", NOTES, ""])


def page(result: dict[str, Any], pictures: Sequence[Path]) -> str:
    """One self-contained HTML page."""
    body = [f"<!doctype html><meta charset=utf-8><title>Crash test</title><style>{_STYLE}</style><h1>Crash test</h1>"]
    for picture in pictures:
        data = base64.b64encode(picture.read_bytes()).decode()
        body.append(f'<img alt="{html.escape(picture.stem)}" src="data:image/png;base64,{data}">')
    body.append(_html_tables(markdown(result)))
    body.append("<h2>Protections</h2><ul>")
    for name, variant in result["variants"].items():
        values = ", ".join(f"{key} = {value}" for key, value in variant["values"].items()) or "as below"
        body.append(f"<li><b>{html.escape(name)}</b>: {html.escape(variant['text'])} ({html.escape(values)})</li>")
    body.append(f"</ul><h2>Parameters</h2><pre>{html.escape(json.dumps(result['parameters'], indent=1))}</pre>")
    body.append("<h2>Every crash, every variant</h2>" + _html_tables("\n".join(_table(
        ["crash", "off", *COLUMNS.values()],
        [[row["window"], row["variant"], *_cells(row)] for row in result["results"]]))))
    return "\n".join(body) + "\n"


def _which(result: dict[str, Any]) -> str:
    """Which crashes ran with every variant."""
    if len(result["varied"]) == len(result["falls"]):
        return "All crashes"
    return f"{len(result['varied'])} crashes ({', '.join(result['varied'])})"


def _called(name: str) -> str:
    return "none" if name == ALL_ON.name else name


def _falls(falls: dict[str, float]) -> str:
    return ", ".join(f"{symbol} −{fall:.0%}" for symbol, fall in falls.items())


def _cells(row: dict[str, Any]) -> list[str]:
    return [f"{row[key]:.2%}" if key in _SHARES else f"{row[key]:,.0f}" for key in COLUMNS]


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _html_tables(text: str) -> str:
    """Markdown of this module's own making as HTML."""
    out: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("|---"):
            continue
        if line.startswith("|"):
            cell = "td" if inside else "th"
            out.append("" if inside else "<table>")
            inside = True
            cells = [html.escape(part.strip().replace("**", "")) for part in line.strip("|").split("|")]
            out.append("<tr>" + "".join(f"<{cell}>{part}</{cell}>" for part in cells) + "</tr>")
            continue
        out.append("</table>" if inside else "")
        inside = False
        out.append(f"<p>{html.escape(line).replace('*', '')}</p>" if line else "")
    return "\n".join(part for part in [*out, "</table>" if inside else ""] if part)
