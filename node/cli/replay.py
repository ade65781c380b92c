"""``anchorline replay FILE``: a recorded tape of a real venue, sent as signed orders through the public JSON-RPC."""

from __future__ import annotations

from pathlib import Path

from node.cli.output import UserError


def replay(file: Path, *, rpc: str = "", local: bool = False, json: bool = False) -> None:
    """Send a tape through a running sequencer (--rpc URL), or through one of this command's own (--local)."""
    raise UserError("replay: this build cannot replay yet")
