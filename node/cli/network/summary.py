"""The end of a devnet run: one object for machines, a page for people."""

from __future__ import annotations

from typing import Any

from node.cli.network.watch import Agreement, Watch


def summarize(
    *, figures: dict[str, Any], watch: Watch, agreements: list[Agreement], batches: int, paid: list[int],
    strikes: list[dict[str, Any]], folder: str, seconds: float,
) -> dict[str, Any]:
    """The summary's object. ``paid``: gas of each withdrawal that L1 paid."""
    conserved = [status["conserved"] for status in watch.statuses.values()]
    return {
        "orders": figures.get("orders", 0), "fills": figures.get("fills", 0),
        "blocks": watch.number("sequencer", "unsafe"), "batches": batches,
        "bytes_per_order": _ratio(figures.get("single_bytes", 0), figures.get("singles", 0)),
        "bytes_per_listed_order": _ratio(figures.get("listed_bytes", 0), figures.get("listed", 0)),
        "promise_ms": figures.get("promise_ms", {"p50": None, "p99": None}),
        "safe_s": watch.lag_s("safe"), "finalized_s": watch.lag_s("finalized"),
        "roots_agreed": sum(item.agreed for item in agreements),
        "roots_disagreed": sum(item.disagreed for item in agreements),
        "withdrawals_paid": len(paid), "conserved": bool(conserved) and all(conserved),
        "verifiers": [
            {"name": item.name, "block": item.block, "roots_agreed": item.agreed, "roots_disagreed": item.disagreed,
             "batches_refuted": item.batches_refuted} for item in agreements],
        "refused": figures.get("refused", {}), "prices": figures.get("prices", 0),
        "liquidations": figures.get("liquidations", 0), "seconds": round(seconds, 1), "folder": folder,
        "villains": strikes,
    }


def _ratio(total: int, count: int) -> float | None:
    return round(total / count, 1) if count else None


def succeeded(summary: dict[str, Any], villains: int) -> bool:
    """Whether the network did all that it is there to show."""
    return bool(
        summary["roots_agreed"] > 0 and summary["roots_disagreed"] == 0 and summary["conserved"]
        and summary["withdrawals_paid"] > 0 and summary["orders"] > 0
        and sum(1 for strike in summary["villains"] if strike["disproved"]) == villains)


def in_words(summary: dict[str, Any], villains: int) -> str:
    """The page."""
    promise = summary["promise_ms"]
    lines = [
        "",
        f"{summary['orders']:,} orders, {summary['fills']:,} fills in {summary['blocks']:,} blocks and "
        f"{summary['batches']:,} batches on L1",
        f"  promise to the trader   {_show(promise['p50'], 'ms')} (half), {_show(promise['p99'], 'ms')} (99 of 100)",
        f"  safe (on L1) after      {_show(summary['safe_s'], 's')}",
        f"  finalized after         {_show(summary['finalized_s'], 's')}",
        f"  bytes on L1             {_show(summary['bytes_per_order'], '')} for a single order, "
        f"{_show(summary['bytes_per_listed_order'], '')} for an order in a list",
    ]
    for item in summary["verifiers"]:
        verdict = f"all {item['roots_agreed']:,} roots agree" if item["roots_disagreed"] == 0 else (
            f"{item['roots_disagreed']:,} BLOCKS DIFFER")
        plural = "" if item["batches_refuted"] == 1 else "es"
        refuted = f", {item['batches_refuted']} wrong batch{plural} seen" if item["batches_refuted"] else ""
        lines.append(f"  {item['name']:<23} {verdict} up to block {item['block']:,}{refuted}")
    lines.append(f"  withdrawals paid on L1  {summary['withdrawals_paid']}")
    lines.append("  money                   " + ("conserved to the micro-USD, everywhere" if summary["conserved"]
                                                 else "NOT CONSERVED"))
    if villains:
        lines += ["", "villain                   disproved in    gas          seconds"]
        lines += [_villain(strike) for strike in summary["villains"]]
    lines += ["", f"logs and data: {summary['folder']}"]
    return "\n".join(lines)


def _villain(strike: dict[str, Any]) -> str:
    if not strike["disproved"]:
        return f"{strike['kind']:<25} NOT DISPROVED"
    transactions = f"{strike['l1_transactions']} transaction{'s' if strike['l1_transactions'] != 1 else ''}"
    return f"{strike['kind']:<25} {transactions:<15} {strike['gas']:<12,} {strike['seconds']:.1f}"


def _show(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,} {unit}".strip()
