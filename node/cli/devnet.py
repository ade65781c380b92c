"""``anchorline devnet``: the whole loop on one machine, as separate processes, with a report at the end.

L1, contracts, a sequencer, two verifiers that know nothing but L1, a watchtower, price publishers, a liquidator and
traders. One customer withdraws and is paid on L1. With --villain the operator also posts wrong batches, each of which
the watchtower must disprove in one L1 transaction.
"""

from __future__ import annotations

import json as json_module
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import trio
from cyclopts import Parameter

from node import log
from node.cli.network.processes import Child, Processes, processes
from node.cli.network.watch import Watch, compare, count_batches
from node.cli.output import UserError, run_async
from node.config import ConfigError, load_file

if TYPE_CHECKING:
    from node.cli.network.setup import Actors
    from node.l1.deployment import Deployment

SETTLE_S: Final = 60.0
STRIKE_S: Final = 20.0  # what one villain may take
LINE_S: Final = 5.0  # between lines of progress
SCREEN_S: Final = 0.5  # between two states of the table on a terminal
EMBEDDED: Final = """\
[log]
level = "info"
format = "text"

[l1]
confirmations = 0
poll_ms = 200

[rpc]
addr = "127.0.0.1"
port = 9545
markets = ["0=BTC-USD:0.1:0.0001", "1=ETH-USD:0.01:0.001"]

[sequencer]
block_ms = 100
group_commit_ms = 2
unanchored_ms_max = 120_000

[batcher]
post_ms = 2_000
post_bytes = 20_000
confirmations = 0
resubmit_ms = 6_000

[watchtower]
strategy = "defend"
confirmations = 0
resubmit_ms = 6_000
"""


def devnet(
    *, seconds: float = 60.0, villain: str = "", seed: int = 1, rate: float = 10.0, challenge_window_s: int = 12,
    verifiers: int = 2, dir: Path | None = None, config_file: Annotated[Path | None, Parameter(name="--config")] = None,
    json: bool = False,
) -> None:
    """Run a whole network on this machine, trade on it, and report.

    Starts L1, contracts, sequencer, verifiers, watchtower, price publishers and traders as processes of their own. They
    all end with this command. The sequencer's RPC is on rpc.port of the configuration (9545), or a free port if that is
    taken. Ends with status 1 unless every root agrees, money is conserved, and a withdrawal was paid on L1.

    Parameters
    ----------
    seconds
        Seconds of trading; starting takes a few seconds before, settling a few after.
    villain
        Also post wrong batches of this kind, of several (comma-separated), or of every kind ("all"), and see each
        disproved. Kinds: wrong-root-first, wrong-root-middle, wrong-root-last, credit-from-nothing,
        skipped-margin-check, broken-priority, hidden-order, forged-signature, stranger-oracle, price-zero,
        undebited-withdrawal, lying-header-cursor, lying-header-time, lying-header-totals, oversized-chunk,
        badly-cut-chunk.
    seed
        Of prices and trades.
    rate
        Single orders a second, beside two makers' ladders.
    challenge_window_s
        Seconds in which a batch can be disproved.
    verifiers
        Verifiers that derive the chain from L1, 1 to 8.
    dir
        Folder for logs and data; by default a new one under data/devnet.
    config_file
        TOML file with settings of the roles, such as configs/devnet.toml.
    json
        Print one JSON object at the end (progress goes to stderr).
    """
    log.configure("error")
    if not 1 <= seconds <= 86_400 or not 1 <= verifiers <= 8 or not 3 <= challenge_window_s <= 86_400:
        raise UserError("give 1 to 86,400 seconds, 1 to 8 verifiers, a challenge window of 3 s to a day")
    kinds = _kinds(villain)
    folder = dir or Path("data") / "devnet" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name another folder with --dir")
    text = EMBEDDED if config_file is None else _read(config_file)
    run = Devnet(folder.resolve(), text, seconds, kinds, seed, rate, challenge_window_s, verifiers, json)
    summary = run_async(run.all)
    from node.cli.network.summary import in_words, succeeded

    print(json_module.dumps(summary) if json else in_words(summary, len(kinds)), flush=True)
    if not succeeded(summary, len(kinds)):
        raise UserError(f"the network did not do all it should; see the summary and the logs in {folder}")


def _kinds(villain: str) -> tuple[str, ...]:
    if not villain:
        return ()
    from sequencer.villains import KINDS

    if villain == "all":
        return KINDS
    unknown = [kind for kind in villain.split(",") if kind not in KINDS]
    if unknown:
        raise UserError(f"there is no villain {unknown[0]!r}; kinds: all, {', '.join(KINDS)}")
    return tuple(villain.split(","))


def _read(path: Path) -> str:
    load_file(path)
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})", "name an existing TOML file") from None


@dataclass
class Devnet:
    """One run."""

    folder: Path
    config: str
    seconds: float
    villains: tuple[str, ...]
    seed: int
    rate: float
    challenge_window_s: int
    verifiers: int
    json: bool
    figures: dict[str, Any] = field(default_factory=dict)
    paid: list[int] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)
    urls: dict[str, str] = field(default_factory=dict)
    ws_url: str = ""
    l1_url: str = ""
    phase: str = "starting"
    cast: Actors = field(init=False)
    deployment: Deployment = field(init=False)

    async def all(self) -> dict[str, Any]:
        """Start, trade, settle, compare, stop; returns the summary."""
        from node.cli.network.summary import summarize

        async with processes(self.folder) as group:
            watch = await self._work(group)
            rivals = {name: url for name, url in self.urls.items() if name != "sequencer"}
            agreements = [await compare(self.urls["sequencer"], name, url) for name, url in sorted(rivals.items())]
            batches = await count_batches(self.urls["sequencer"])
        return summarize(
            figures=self.figures, watch=watch, agreements=agreements, batches=batches, paid=self.paid,
            strikes=self._strikes(), folder=str(self.folder), seconds=time.monotonic() - self.begun)

    async def _work(self, group: Processes) -> Watch:
        """Start, trade, settle; what ends early says where the logs are, since stopping takes a moment."""
        complete = False
        try:
            await self._start(group)
            watch = Watch(self.urls)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.run)
                nursery.start_soon(self._show, watch)
                await self._trade(group, watch)
                await self._settle(watch)
                nursery.cancel_scope.cancel()
            complete = True
        finally:
            if not complete:
                self._say(f"stopping every process; logs and data: {self.folder}")
        return watch

    # --- parts --------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        """Progress, for people; not where machines read."""
        out = sys.stderr if self.json else sys.stdout
        print(f"{time.monotonic() - self.begun:6.1f}s  {text}", file=out, flush=True)

    async def _start(self, group: Processes) -> None:
        """L1, contracts, and every role."""
        from node.cli.network.setup import actors, hex_key, set_up

        self.cast = actors()
        (self.folder / "network.toml").write_text(self.config)
        l1 = await group.start("l1", "l1", "--port", "0", "--block-time-s", "0", "--genesis-ago-s", "301",
                               "--safe-lag-blocks", "1", "--finalized-lag-blocks", "4", "--log-level", "info")
        self.l1_url = str(l1.up["rpc"])
        self._say(f"L1 serves {self.l1_url}")
        self.deployment = await set_up(self.l1_url, self.folder, self.cast, self.challenge_window_s, self._say)
        sequencer_keys = {
            "ANCHORLINE_SEQUENCER_KEY": hex_key(self.cast.promiser),
            "ANCHORLINE_BATCHER_KEY": hex_key(self.cast.operator)}
        villains = [part for kind in self.villains for part in ("--villain", kind)]
        port = load_file(self.folder / "network.toml").rpc.port
        sequencer = await self._role(
            group, "sequencer", "sequencer", port, sequencer_keys, "--rpc.port-fallback", *villains)
        self.ws_url = str(sequencer.up["ws"])
        async with trio.open_nursery() as nursery:
            for number in range(1, self.verifiers + 1):
                nursery.start_soon(self._role, group, f"verifier-{number}", "verifier", 0, {})
            tower_key = {"ANCHORLINE_WATCHTOWER_KEY": hex_key(self.cast.tower)}
            nursery.start_soon(self._role, group, "watchtower", "watchtower", 0, tower_key)

    async def _role(
        self, group: Processes, name: str, role: str, port: int, keys: dict[str, str], *args: str
    ) -> Child:
        child = await group.start(
            name, role, "--config", str(self.folder / "network.toml"), "--datadir", str(self.folder / name),
            "--l1.rpc", self.l1_url, "--l1.rollup", self.deployment.rollup,
            "--l1.start-block", str(self.deployment.start_block), "--rpc.port", str(port), *args, keys=keys)
        self.urls[name] = str(child.up["rpc"])
        self._say(f"{name} serves {self.urls[name]}")
        return child

    async def _trade(self, group: Processes, watch: Watch) -> None:
        """Prices, liquidator and bots for ``seconds``; meanwhile a customer leaves. Villains may take longer."""
        from node.cli.network.setup import hex_key

        keys = {
            "ANCHORLINE_PUBLISHER_KEYS": ",".join(hex_key(item) for item in self.cast.publishers),
            "ANCHORLINE_BOT_KEYS": ",".join(hex_key(item) for item in self.cast.bots)}
        keeper = await group.start(
            "keeper", "keeper", "--rpc", self.ws_url, "--deployment", str(self.folder / "deployment.json"), "--bots",
            "--seed", str(self.seed), "--rate", str(self.rate), keys=keys, on_line=self._note_figures)
        self._say("trading")
        self.phase = "trading"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._customer)
            await trio.sleep(self.seconds)
            with trio.move_on_after(STRIKE_S * len(self.villains)):
                while len(self._struck()) < len(self.villains):
                    await trio.sleep(0.5)
            self.phase = "settling"
        await group.stop(keeper)

    def _note_figures(self, line: dict[str, Any]) -> None:
        if "orders" in line:
            self.figures = line

    async def _customer(self) -> None:
        """Withdraws half of the deposit, and has it paid as soon as a verifier can prove it. Bounded."""
        from node.cli.network.setup import claim
        from node.l1.keys import LocalSigner
        from node.sdk import Trader, connect

        signer = LocalSigner(self.cast.customer.key)
        async with connect(self.urls["sequencer"]) as client:
            trader = Trader(client, signer, await client.wait_account(signer.address))
            amount = (await client.account(trader.account)).withdrawable // 2
            before = (await client.status())["withdrawals"]
            sent = await trader.withdraw(amount, signer.address)
            await client.wait_receipt(sent.position)
            number = await client.find_withdrawal(signer.address, amount, before)
        self._say(f"withdrawal {number} of {amount / 1_000_000:,.2f} USD is promised")
        patience_s = self.seconds + self.challenge_window_s + SETTLE_S + STRIKE_S * len(self.villains)
        async with connect(self.urls["verifier-1"]) as client:
            proof = await client.wait_claimable(number, patience_s)
        self.paid.append(await claim(self.l1_url, self.cast.customer, self.deployment, proof))
        self._say(f"withdrawal {number} is paid on L1")

    async def _settle(self, watch: Watch) -> None:
        """Until every verifier has derived what the sequencer had sealed when trading ended."""
        target = watch.number("sequencer", "unsafe")
        with trio.move_on_after(SETTLE_S):
            while min(watch.number(name, "safe") for name in self.urls) < target:
                await trio.sleep(0.2)

    async def _show(self, watch: Watch) -> None:
        """Live figures: on a terminal a table that is redrawn, elsewhere a line now and then."""
        if self.json or not sys.stdout.isatty():
            while True:
                await trio.sleep(LINE_S)
                self._say(self._line(watch))
        from rich.live import Live

        from node.cli.network.screen import figures_table

        with Live(auto_refresh=False, transient=True) as live:
            while True:
                live.update(figures_table(
                    phase=self.phase, seconds=time.monotonic() - self.begun, figures=self.figures, watch=watch,
                    struck=len(self._struck()), villains=len(self.villains)), refresh=True)
                await trio.sleep(SCREEN_S)

    def _line(self, watch: Watch) -> str:
        promise = (self.figures.get("promise_ms") or {}).get("p50")
        unsafe, safe, final = (f"{watch.number('sequencer', head):,}" for head in ("unsafe", "safe", "finalized"))
        derived = ", ".join(f"{watch.number(name, 'safe'):,}" for name in self.urls if name != "sequencer")
        wrong = f"  villains {len(self._struck())}/{len(self.villains)}" if self.villains else ""
        return (f"{self.phase}: orders {self.figures.get('orders', 0):,}  fills {self.figures.get('fills', 0):,}  "
                f"blocks {unsafe} (safe {safe}, final {final})  verified {derived}  "
                f"promise {'-' if promise is None else promise} ms{wrong}")

    # --- villains -----------------------------------------------------------------------------------------------------

    def _struck(self) -> list[dict[str, Any]]:
        path = self.folder / "sequencer" / "strikes.jsonl"
        if not path.exists():
            return []
        return [json_module.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]

    def _strikes(self) -> list[dict[str, Any]]:
        """Every villain asked for, disproved or not."""
        struck = {item["kind"]: item for item in self._struck()}
        nothing = {"l1_transactions": 0, "gas": 0, "seconds": 0.0}
        return [{"kind": kind, "disproved": kind in struck, **struck.get(kind, nothing)} for kind in self.villains]
