"""Pictures of a crash test: what every protection is worth, and every crash over its hours. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from node.cli.crash.outcome import Outcome
from node.cli.crash.settings import ALL_ON

_WORTH: Final = (
    ("liquidated", "accounts liquidated"), ("takeover", "accounts taken over"),
    ("would_have_recovered", "liquidated, would have recovered"), ("loss_mean_usd", "mean loss beyond M, USD"),
    ("deficits_usd", "deficits, USD"), ("mutualised_usd", "mutualised, USD"),
)
_BLUE, _RED, _GREY = "#2b6cb0", "#c53030", "#718096"


def draw_all(result: dict[str, Any], outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write the PNG files; returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    pictures = [draw_hours([o for o in outcomes if o.variant == ALL_ON.name], folder / "crashes.png")]
    if len(result["totals"]) > 1:
        pictures.insert(0, draw_worth(result, folder / "protections.png"))
    return pictures


def draw_worth(result: dict[str, Any], path: Path) -> Path:
    """One panel a figure, one bar a protection that is off; the line is everything on."""
    from matplotlib import pyplot

    totals: dict[str, dict[str, Any]] = result["totals"]
    names = [name for name in totals if name != ALL_ON.name]
    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6.2), sharey=True)
    for axis, (key, title) in zip(axes.flat, _WORTH, strict=True):
        base = totals[ALL_ON.name][key]
        values = [totals[name][key] for name in names]
        axis.barh(range(len(names)), values, color=[_RED if value > base else _BLUE for value in values])
        axis.axvline(base, color="black", linewidth=1.2)
        axis.set_yticks(range(len(names)), [f"no {name}" if name != "everything" else "none at all" for name in names])
        axis.set_title(title, fontsize=10)
        axis.tick_params(labelsize=8)
        axis.invert_yaxis()
    count = len(result["varied"])
    figure.suptitle(f"{count} crashes together, one protection off (line: all on; red: more)", fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    _shrink(path)
    return path


def draw_hours(outcomes: Sequence[Outcome], path: Path) -> Path:
    """One panel a crash: index and mark of its first market, and accounts liquidated so far."""
    from matplotlib import pyplot

    columns = min(6, len(outcomes))
    rows = -(-len(outcomes) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(2.6 * columns, 2.1 * rows), squeeze=False)
    for axis in axes.flat[len(outcomes):]:
        axis.set_visible(False)
    for axis, outcome in zip(axes.flat, outcomes, strict=False):
        track = outcome.track
        axis.plot(track["hour"], track["index"], color=_GREY, linewidth=0.8)
        axis.plot(track["hour"], track["mark"], color=_BLUE, linewidth=0.8)
        axis.set_title(outcome.window, fontsize=8)
        other = axis.twinx()
        other.fill_between(track["hour"], track["liquidated"], color=_RED, alpha=0.25, linewidth=0)
        for each in (axis, other):
            each.tick_params(labelsize=6)
    figure.suptitle(
        "First market: index (grey), mark (blue), as a share of the first price; cases of liquidation so far (red, "
        "right); hours from the low", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    pyplot.close(figure)
    _shrink(path)
    return path


def _shrink(path: Path) -> None:
    """Few colours: a third of the bytes."""
    from PIL import Image  # matplotlib writes PNG files with it

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(32)
    small.save(path, optimize=True)
