"""What a trader kept of answers, as it comes out of a file; checking it is ``node.derive.kept``."""

from __future__ import annotations

from typing import Any

from node.derive.evidence import KeptPromise
from node.derive.kept import Keepsake, PromiseBook, Verdict
from node.sdk.promises import parse_promise

__all__ = ["Keepsake", "PromiseBook", "Verdict", "parse_keepsake"]


def parse_keepsake(fields: dict[str, Any]) -> Keepsake:
    """From a line that ``anchorline order --json`` printed. Raises BrokenPromise, ValueError or KeyError on others."""
    signed, path = parse_promise(fields["promise"])
    kept = KeptPromise(signed, int(fields["position"]), bytes.fromhex(fields["hash"][2:]), path)
    return Keepsake(kept, int(fields["time"]), bytes.fromhex(fields.get("data", "")[2:]))
