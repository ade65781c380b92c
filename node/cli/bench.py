"""``anchorline bench``: what this machine can do, in one run."""

from __future__ import annotations

from node.cli.output import UserError


def bench(*, seconds: float = 2.0, json: bool = False) -> None:
    """Measure ceilings, throughput, latency, bytes and gas; every share is of this run's own ceiling."""
    raise UserError("bench: this build cannot measure yet")
