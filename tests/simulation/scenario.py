"""The ten processes on their L1, under one clock and one seed. README.md says what is assumed of whom.

    report = simulate(Settings(seed=1, wrong=125))      raises Violation if what must never be has been

    1 villain      operator: right and wrong batches, a new bond and the seat again after each fall
    2 honest       watchtower with strategy defend: prover.service as it ships
    3 sleeper      watchtower that only watches, and never answers
    4 verifier     follows
    5 forgetful    verifier that mostly comes back with an empty disk; follows L1's heads besides
    6 copier   7 mangler   8 accuser   9 flooder        tests/simulation/pests.py
    10 second      operator, honest: takes the seat when it is free, posts, leaves
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from traceback import format_exception
from typing import Any

import structlog
import trio
import trio.testing

from node.config import Config, L1Config, RpcConfig, WatchtowerConfig
from node.l1.client import L1Client
from node.l1.heads import Heads, HeadsConfig, HeadTracker, follow_heads
from node.metrics import Metrics
from node.service import Host, Verifier, run_verifier
from prover import service as watchtower
from prover.dry_run import Rehearsal
from tests.simulation.auditor import Auditor, Ledger, Violation
from tests.simulation.blocks import SimSigner
from tests.simulation.genesis import Genesis, genesis
from tests.simulation.hosts import Lifetime, Process
from tests.simulation.network import SLOT_S, Network, Weather
from tests.simulation.node import FINALIZED_DEPTH
from tests.simulation.operators import Operator
from tests.simulation.pests import Accuser, Copier, Flooder, Mangler

WINDOW_S = 900
SETTLE_S = WINDOW_S + 600
CATCH_UP_S = 7_200
HOURS_MAX = 500
POLL_MS = {"villain": 6_000, "honest": 6_000, "second": 12_000}  # who has no hurry looks less often
CALM = Weather(request_loss=0, gossip_loss=0, slow_block=0, outage=0, missed_slot=0, reorg=0)

#: the honest watchtower's: what the promise rests on, see README.md
DILIGENT = Lifetime(up=(240, 1_500), down=(5, 150))
BUSY = Lifetime(up=(120, 1_500), down=(5, 60))
CARELESS = Lifetime(up=(60, 1_200), down=(5, 300))
FORGETFUL = Lifetime(up=(60, 900), down=(5, 600), loses_disk=0.7)


@dataclass(frozen=True)
class Settings:
    """``wrong``: wrong batches that must have been on L1's chain before the villain retires."""

    seed: int
    wrong: int
    weather: Weather = field(default_factory=Weather)
    nodes: int = 3
    honest: bool = True  # whether the honest watchtower takes part
    gullible: bool = False  # whether L1's verifier believes every accusation


@dataclass
class Report:
    """What happened, and enough of it to compare two runs of a seed."""

    seed: int
    right: int = 0
    wrong: int = 0
    piled: int = 0  # on wrong ones
    blocks: int = 0
    orphans: int = 0
    reorgs: int = 0
    hours: float = 0.0
    slowest_s: int = 0
    median_s: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    provers: dict[str, int] = field(default_factory=dict)
    wrongs: dict[str, int] = field(default_factory=dict)
    criticals: Counter[str] = field(default_factory=Counter)
    head: bytes = b""


class Rehearsals:
    """No dry runs: the usual one runs in a worker thread, for which a simulated clock does not wait. L1's word decides
    alone then, as it does on a watchtower whose dry run cannot be done."""

    def __init__(self, client: L1Client, metrics: Metrics) -> None:
        """What ``prover.watchtower.Rehearsals`` makes."""

    async def run(self, to: bytes, data: bytes, sender: bytes) -> Rehearsal | None:
        """See ``prover.respond.Rehearses``."""
        return None


@contextmanager
def _quiet(criticals: Counter[str]) -> Iterator[None]:
    """Only count what would wake an operator."""
    def count(_logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        criticals[event["event"]] += 1
        raise structlog.DropEvent

    structlog.configure(processors=[count], wrapper_class=structlog.make_filtering_bound_logger("critical"))
    try:
        yield
    finally:
        structlog.reset_defaults()


class Simulation:
    """One run. ``main`` is what the clock runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.rng = Random(settings.seed)
        self.genesis: Genesis = genesis(WINDOW_S, settings.gullible, self._keys())
        self.report = Report(settings.seed)
        self.operators = {
            "villain": self._operator("villain", wrong=0.6, eager=0.95, stays=(4, 16), pause_s=(1, 5)),
            "second": self._operator("second", eager=0.2, stays=(1, 3)),
        }
        start = self.genesis.history[-1]
        self.auditor = Auditor(
            self.genesis.rollup, self.genesis.token, self.genesis.domain, {SimSigner("second").address}, start,
            self.genesis.head, self.genesis.leaves, self.genesis.messages)
        self.network = Network(
            self.genesis.evm, self.genesis.history, settings.nodes, settings.weather, self.rng, self.auditor.inspect)
        self.verifiers: dict[str, Verifier] = {}

    @staticmethod
    def _keys() -> dict[str, bytes]:
        return {name: SimSigner(name).address for name in ("villain", "second", "flooder")}

    def _config(self, name: str) -> Config:
        poll_ms = POLL_MS.get(name, 24_000)
        l1 = L1Config(
            rpc="http://l1.simulated", rollup="0x" + self.genesis.rollup.hex(), poll_ms=poll_ms,
            confirmations=0 if name == "villain" else 1)
        tower = WatchtowerConfig(strategy="watch" if name == "sleeper" else "defend", confirmations=2)
        return Config(datadir=Path("/simulated") / name, l1=l1, rpc=RpcConfig(port=0), watchtower=tower)

    def _operator(self, name: str, **habits: Any) -> Operator:
        return Operator(name, self._config(name), Random(self.rng.random()), **habits)

    def processes(self) -> list[Process]:
        """All ten (nine without the honest one)."""
        def pest(kind: Any, name: str) -> Any:
            return kind(name, self._config(name), self.genesis.rollup, self.genesis.verifier, Random(self.rng.random()))

        def tower(name: str, host: Host) -> Any:
            return watchtower.run(self._config(name), SimSigner(name), host=host, rehearsals=Rehearsals)

        found = [
            Process("villain", self.operators["villain"].run, BUSY),
            Process("sleeper", partial(tower, "sleeper"), CARELESS),
            Process("verifier", partial(self._follow, "verifier"), CARELESS),
            Process("forgetful", partial(self._forgetful, "forgetful"), FORGETFUL),
            Process("copier", pest(Copier, "copier").run, CARELESS),
            Process("mangler", pest(Mangler, "mangler").run, CARELESS),
            Process("accuser", pest(Accuser, "accuser").run, CARELESS),
            Process("flooder", pest(Flooder, "flooder").run, CARELESS),
            Process("second", self.operators["second"].run, CARELESS),
        ]
        if self.settings.honest:
            found.append(Process("honest", partial(tower, "honest"), DILIGENT))
        return found

    async def _follow(self, name: str, host: Host) -> None:
        async def note(verifier: Verifier) -> None:
            self.verifiers[name] = verifier
            await trio.sleep_forever()

        await run_verifier(self._config(name), on_ready=note, host=host)

    async def _forgetful(self, name: str, host: Host) -> None:
        """A verifier beside which L1's heads are followed as a sequencer follows them."""
        send, receive = trio.open_memory_channel[Heads](4)
        tracker = HeadTracker(host.connect(self._config(name).l1), HeadsConfig(poll_s=12))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_heads, tracker, send, 12.0)
            nursery.start_soon(self._follow, name, host)
            async for heads in receive:
                assert heads.finalized.number <= heads.safe.number <= heads.latest.number, "heads are in order"

    # --- the run ------------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        """Trouble until enough wrong batches have been on L1, then calm, until everything right is final."""
        processes = self.processes()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            for process in processes:
                nursery.start_soon(process.supervise, self.network, Random(self.rng.random()))
            await self._until(lambda: self._settled().wrong >= self.settings.wrong)
            self.operators["villain"].retired = True
            await self._until(lambda: all(not entry.wrong for entry in self.ledger.standing))
            self.network.weather = CALM
            for operator in self.operators.values():
                operator.eager = 0.0
                operator.stays = (1, 1)
            await trio.sleep(SETTLE_S)
            self._conclude(processes)
            with trio.fail_after(CATCH_UP_S):  # one of them may just have come back with an empty disk
                await self._until(self._followed)
            nursery.cancel_scope.cancel()

    @property
    def ledger(self) -> Ledger:
        """The books of L1's best chain."""
        return self.auditor.ledger(self.network.best)

    def _followed(self) -> bool:
        """Whether every verifier has the auditor's state."""
        root = self.auditor.state_root(self.ledger.standing[-1].header)
        return all(verifier.chain.store.root() == root for verifier in self.verifiers.values())

    def _settled(self) -> Ledger:
        """The books at L1's finalized block: no reorganisation takes anything from them."""
        best = self.network.best
        return self.auditor.ledger(best.ancestor(max(self.genesis.history[-1].number, best.number - FINALIZED_DEPTH)))

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if trio.current_time() > HOURS_MAX * 3_600:
                raise AssertionError(f"not done after {HOURS_MAX} hours: {self.report}")
            await trio.sleep(SLOT_S)

    def _conclude(self, processes: list[Process]) -> None:
        report, findings = self.report, self.auditor.findings
        seconds = sorted(findings.seconds)
        report.right, report.wrong, report.piled = self.ledger.right, self.ledger.wrong, self.ledger.piled
        report.orphans = self.network.proposed - (self.network.best.number - self.genesis.history[-1].number)
        report.blocks, report.reorgs = self.network.best.number, len(self.network.reorgs)
        report.hours = trio.current_time() / 3_600
        report.slowest_s, report.median_s = seconds[-1], seconds[len(seconds) // 2]
        report.starts = {process.name: process.starts for process in processes}
        names = {SimSigner(process.name).address: process.name for process in processes}
        report.provers = {names[prover]: count for prover, count in findings.provers.items()}
        report.wrongs = dict(findings.wrongs)
        report.head = self.network.best.hash
        assert self.ledger.wrong + self.ledger.piled == self.ledger.dropped, "every wrong batch has fallen"
        assert len(self.ledger.standing) == 1, f"everything right is final: {len(self.ledger.standing)}"


def simulate(settings: Settings) -> Report:
    """Run a seed to its end. Raises Violation."""
    simulation = Simulation(settings)
    with _quiet(simulation.report.criticals), deterministic(settings.seed):
        try:
            trio.run(simulation.main, clock=trio.testing.MockClock(autojump_threshold=0))
        except BaseExceptionGroup as group:
            found = group.subgroup(Violation)
            if found is None:
                raise AssertionError(f"seed {settings.seed}: {''.join(format_exception(group))}") from None
            raise Violation(f"seed {settings.seed}: {_first(found)}") from None
    return simulation.report


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """trio shuffles tasks that are ready at once; here it does so the same way each time, as Hypothesis has it."""
    from trio._core import _run

    before = _run._ALLOW_DETERMINISTIC_SCHEDULING
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    state = _run._r.getstate()
    _run._r.seed(seed)
    try:
        yield
    finally:
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before
        _run._r.setstate(state)
