"""The table of commands. Nothing else of ours is imported here: a command's module loads when it is called."""

from __future__ import annotations

import os
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import Any, Final

import cyclopts
from cyclopts.argument import ArgumentCollection, update_argument_collection

_ROLES: Final = ("sequencer", "verifier", "watchtower", "liquidity")

#: name -> (where it is, what it does)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "devnet": ("node.cli.devnet:devnet", "Run a whole network on this machine, trade on it, and report."),
    "sequencer": ("node.cli.roles:sequencer", "Order, execute and promise transactions; post batches to L1."),
    "verifier": ("node.cli.roles:verifier", "Rebuild the chain from L1 alone, compare every root, serve reads."),
    "watchtower": ("node.cli.roles:watchtower", "A verifier that proves fraud on L1."),
    "liquidity": ("node.cli.roles:liquidity", "A verifier that pays withdrawals early, for a fee."),
    "drill": ("node.cli.drill:drill", "Test your running watchtower with a bad batch in a sandbox on L1."),
    "l1": ("node.cli.l1:l1", "Serve the embedded L1."),
    "deploy": ("node.cli.l1:deploy", "Deploy the contracts and open the rollup; writes a deployment file."),
    "seat": ("node.cli.l1:seat", "Take the sequencer's seat with a bond."),
    "mint": ("node.cli.l1:mint", "Mint test dollars (TestUSD only)."),
    "deposit": ("node.cli.trade:deposit", "Deposit on L1 and wait for the account on L2."),
    "order": ("node.cli.trade:order", "Place an order."),
    "cancel": ("node.cli.trade:cancel", "Cancel one order, or all of a market."),
    "amend": ("node.cli.orders:amend", "Make a resting order smaller."),
    "trigger": ("node.cli.orders:trigger", "Place a stop or take-profit."),
    "switch": ("node.cli.orders:switch", "Set a time at which all of your orders die."),
    "early-reduction": ("node.cli.orders:early_reduction", "Allow or deny early reduction of your positions."),
    "book": ("node.cli.trade:book", "Show a market's book."),
    "account": ("node.cli.trade:account", "Show an account: collateral, margin, positions, orders."),
    "risk": ("node.cli.risk:risk", "Show how likely an account's cushion breaks before L1 knows."),
    "explain": ("node.cli.explain:explain", "Show why a transaction did what it did; --check proves it."),
    "withdraw": ("node.cli.trade:withdraw", "Withdraw to L1; with --claim wait until it is paid, with --now sell it."),
    "sell-claim": ("node.cli.liquidity:sell_claim", "Sell a withdrawal that is not final yet, for a fee."),
    "force": ("node.cli.leave:force", "Send a transaction through L1, past the sequencer, and follow it."),
    "villain": ("node.cli.villain.command:villain", "Attack a running network of your own by every known means."),
    "promises": ("node.cli.promises:promises", "Check kept promises against what was posted; with --prove, sue."),
    "exodus": ("node.cli.leave:exodus", "Leave without any operator, from L1 alone: freeze, register, claim."),
    "status": ("node.cli.trade:status", "Show a node's heads, totals and health."),
    "keeper": ("node.cli.keepers:keeper", "Publish prices and liquidate; with --bots also trade."),
    "replay": ("node.cli.replay:replay", "Send a recorded tape of a real venue as signed orders."),
    "crash-test": ("node.cli.crash_test:crash_test", "Replay crashes of the past through the rules."),
    "funding-report": ("node.cli.funding_report:funding_report", "Our funding beside a venue's, from its tape."),
    "economics": ("node.cli.economics:economics", "What attacks bring and cost; the least bond, the shortest window."),
    "bench": ("node.cli.bench:bench", "Measure this machine: ceilings, throughput, latency, gas."),
    "compile": ("node.cli.compile:compile_rules", "Copy this installation and compile its rules to C."),
}


def build() -> cyclopts.App:
    """The application with all commands."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        release = version("anchorline")
    except PackageNotFoundError:
        release = "0 (not installed)"
    app = cyclopts.App(
        name="anchorline", version=release, help="An optimistic rollup node for a derivatives chain.",
        help_format="plaintext")
    for name, (where, text) in COMMANDS.items():
        called = sys.argv[1:2] == [name]  # then its module is loaded anyway, and its docstring says more
        extra: dict[str, Any] = {} if called else {"help": text}
        if name in _ROLES:
            extra["config"] = _sources(name)
        app.command(where, name=name, **extra)
    return app


def _sources(role: str) -> list[Any]:
    """Where a role's keys come from besides flags: the environment, the file that --config names, the deployment."""
    if sys.argv[1:2] == [role]:
        os.environ.pop("ANCHORLINE_RPC", None)  # a client's URL, which would pass for all of the role's [rpc]
    sources: list[Any] = [cyclopts.config.Env("ANCHORLINE_", command=False)]
    path = config_path(sys.argv[1:]) if sys.argv[1:2] == [role] else None
    if path is not None:
        from node.config import load_file

        load_file(path)  # names an unknown key better than the command line would
        sources.append(partial(_from_file, path))
    return [*sources, _from_deployment]


def _from_file(path: Path, app: cyclopts.App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in what neither flags nor the environment said. (cyclopts' own Toml source skips tables whose name is also a
    command's, such as [l1] and [sequencer].)"""
    tree = tomllib.loads(path.read_text())
    update_argument_collection(tree, str(path), arguments, app.app_stack.stack[-1], root_keys=(), allow_unknown=False)


def _from_deployment(app: cyclopts.App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Which Rollup, from the file that --deployment names, unless said already; a start block only with its Rollup."""
    named, rollup = (arguments.match(flag)[0].tokens for flag in ("--deployment", "--l1.rollup"))
    if not named:
        return
    from node.l1.deployment import load_deployment

    path = named[-1].value
    record = load_deployment(Path(path))
    if rollup and rollup[-1].value.lower() != record.rollup.lower():
        return
    tree = {"l1": {"rollup": record.rollup, "start_block": record.start_block}}
    update_argument_collection(tree, path, arguments, app.app_stack.stack[-1], root_keys=(), allow_unknown=False)


def config_path(tokens: list[str]) -> Path | None:
    """The file that --config (or ANCHORLINE_CONFIG) names; needed before the other flags can be read."""
    for index, token in enumerate(tokens):
        if token == "--config" and index + 1 < len(tokens):
            return Path(tokens[index + 1])
        if token.startswith("--config="):
            return Path(token.partition("=")[2])
    named = os.environ.get("ANCHORLINE_CONFIG")
    return Path(named) if named else None


def run_command(tokens: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    tokens = sys.argv[1:] if tokens is None else tokens
    json = "--json" in tokens
    try:
        build()(tokens, result_action="return_value", exit_on_error=False, print_error=not json)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from node.cli.output import EXIT_INTERRUPTED, EXIT_USAGE, Interrupted, fail, known_errors

        if isinstance(error, cyclopts.CycloptsError):
            if json:
                fail(json, error)
            return EXIT_USAGE
        if isinstance(error, Interrupted):
            return EXIT_INTERRUPTED
        if isinstance(error, known_errors()):
            return fail(json, error)
        raise
    return 0
