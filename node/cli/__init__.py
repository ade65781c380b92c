"""The command line, and the composition root: the one module that may import sequencer and prover."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``anchorline`` program. Imports wait until the command is known: web3 alone costs a second."""
    import os

    os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")  # seven times faster than what "auto" would pick
    from node.cli.app import run_command

    raise SystemExit(run_command())
