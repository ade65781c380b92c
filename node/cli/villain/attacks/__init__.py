"""The attacks, by what they attack. ``load`` imports them all, in the order of the catalogue."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

#: first what every operator could try; then, in this order, whatever else stands in this folder
FIRST: Final = ("devnet", "reorgs", "batches", "senders", "proofs", "promises", "claims", "inbox", "traders",
                "publishers", "seat", "ends")


def load() -> None:
    """Import every module of attacks, once."""
    found = {path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__"}
    for name in [*(name for name in FIRST if name in found), *sorted(found - set(FIRST))]:
        import_module(f"{__name__}.{name}")
