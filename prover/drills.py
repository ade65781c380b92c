"""Fire drills: the watchtower's own client, key and proving code on a rollup that exists to be wrong.

    request file → checked (who asks, which chain, code as shipped, gas left today) → a second pipeline, in memory
    → dispute → the same proof, dry run and sender as for the real rollup → outcome in al_status, metrics and log

A drill never stands in the way of the watch: one at a time, for an hour at most, one proof of limited gas, nothing is
sent while the real rollup has an open dispute, and whatever goes wrong in a drill ends the drill alone. ``anchorline
drill`` writes the request, posts the bad batch, and judges by what L1 shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from node.derive.chain import Chain
from node.derive.pipeline import Pipeline
from node.derive.replay import Dispute
from node.errors import Temporary
from node.l1.bindings import BadEncoding, NoAnswer
from node.l1.sender import TxSender
from node.l1.shipped import COURT, NO_CONTRACT, differences
from node.service import Contract, Verifier, domain_of, read_contract
from node.storage.kv import MemoryKV
from prover import drill_request
from prover.drill_request import TTL_MAX_S, BadRequest, DrillRequest, address_of
from prover.dry_run import DryRun
from prover.proof import Evidence, gather
from prover.respond import Answer, Court, Responder, build

log = structlog.get_logger("drill")

BLOCKS_MAX: Final = 300_000  # how far back a sandbox may begin
AHEAD_MAX: Final = 100  # blocks that another node may be ahead of ours
TRIES_MAX: Final = 20  # looks at L1 before a request is refused
PASSED: Final = "passed"
REMEDY: Final = "the watch goes on; `anchorline drill` asks for drills, on this machine, as this user"


@dataclass(slots=True)
class Drill:
    """One drill. ``state``: checking, following, answering; then passed, beaten, failed, expired, refused or broken."""

    id: str
    rollup: str = ""
    state: str = "checking"
    reason: str = ""
    l1_derived: int = 0
    agreed: int = 0
    answer: Answer | None = None
    pipeline: Pipeline | None = field(default=None, repr=False)

    def shown(self) -> dict[str, Any]:
        """For al_status."""
        pipeline = self.pipeline
        if pipeline is not None:
            self.l1_derived, self.agreed = pipeline.progress.l1_derived, pipeline.progress.agreed
        return {"id": self.id, "rollup": self.rollup, "state": self.state, "reason": self.reason,
                "l1_derived": self.l1_derived, "agreed": self.agreed,
                "answer": None if self.answer is None else asdict(self.answer)}


class Drills:
    """The drills of one watchtower. ``run`` looks for requests for ever; ``sender`` is the watchtower's, once armed."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._config = verifier.config.watchtower
        self._pause_s = verifier.config.l1.poll_ms / 1_000
        self._refused = ""
        self._done = ""
        self.sender: TxSender | None = None
        self.newest: Drill | None = None

    def status(self) -> dict[str, Any]:
        """What drills add to al_status: whether they are obeyed, and the newest one."""
        return {"enabled": self._config.drill_gas_daily > 0, "gas_max": self._config.drill_gas_max,
                "newest": None if self.newest is None else self.newest.shown()}

    async def run(self) -> None:
        """Obey requests, one after another. Never raises for what a request or its rollup brings."""
        if self._config.drill_gas_daily == 0:
            return
        try:
            folder = drill_request.make_folder(self._verifier.config.datadir)
        except OSError as error:
            log.error("drills_disabled", reason=str(error), what_to_do="make the datadir writable for drills")
            return
        while True:
            try:
                request = drill_request.read_request(folder)
            except BadRequest as error:
                self._refuse("", str(error))
                drill_request.remove_request(folder)
            else:
                self._refused = ""
                if request is not None and request.id != self._done:
                    await self._obey(folder, request)
                    self._done = request.id  # even if it cannot be removed: nobody drills for ever
                    drill_request.remove_request(folder)
            await trio.sleep(self._pause_s)

    def _refuse(self, drill: str, reason: str) -> None:
        """Loudly, but once for a request that cannot even be removed."""
        if reason == self._refused:
            return
        self._refused = reason
        self.newest = Drill(drill, state="refused", reason=reason)
        self._verifier.metrics.drills.labels("refused").inc()
        log.critical("drill_refused", reason=reason, what_to_do=REMEDY)

    async def _obey(self, folder: Path, request: DrillRequest) -> None:
        drill = self.newest = Drill(request.id, request.rollup)
        with structlog.contextvars.bound_contextvars(drill=request.id):
            try:
                contract, left_s = await self._check_patiently(folder, request)
                log.warning("drill_started", rollup=request.rollup, operator=request.operator, seconds=left_s)
                with trio.move_on_after(left_s) as scope:
                    await _Exercise(self._verifier, lambda: self.sender, folder, request, contract, drill).run()
                if scope.cancelled_caught:
                    drill.state = "expired"
            except BadRequest as error:
                self._refuse(request.id, str(error))
                return
            except Exception as error:  # the real watch must survive whatever a sandbox can be
                drill.state, drill.reason = "broken", repr(error)
                log.exception("drill_broken", what_to_do=REMEDY)
            drill.shown()
            drill.pipeline = None
            self._verifier.metrics.drills.labels(drill.state).inc()
            level = log.info if drill.state == PASSED else log.critical
            level("drill_ended", outcome=drill.state, reason=drill.reason)

    # --- is this a drill that may cost us gas? ------------------------------------------------------------------------

    async def _check_patiently(self, folder: Path, request: DrillRequest) -> tuple[Contract, float]:
        """Our L1 node may be behind the one that the sandbox was deployed through."""
        reason = ""
        for _ in range(TRIES_MAX):
            try:
                return await self._check(folder, request)
            except Temporary as error:
                reason = str(error)
                log.warning("drill_waits", reason=reason)
            await trio.sleep(self._pause_s)
        raise BadRequest(reason)

    async def _check(self, folder: Path, request: DrillRequest) -> tuple[Contract, float]:
        """The sandbox, and how long the drill may last (s). Raises BadRequest, Temporary."""
        client = self._verifier.client
        if self._config.strategy == "watch":
            raise BadRequest("watchtower.strategy is watch: it sends no proofs, so it passes no drill")
        chain_id = await client.chain_id()
        if chain_id != request.l1_chain_id:
            raise BadRequest(f"l1_chain_id: the sandbox is on chain {request.l1_chain_id}, this L1 is {chain_id}")
        head = await client.head()
        if not head.timestamp < request.expires_at <= head.timestamp + TTL_MAX_S:
            raise BadRequest(f"expires_at is {request.expires_at}, L1's time {head.timestamp}: a drill ends later than "
                             f"now, within {TTL_MAX_S} s")
        if not max(0, head.number - BLOCKS_MAX) <= request.start_block <= head.number:
            kind = Temporary if 0 < request.start_block - head.number <= AHEAD_MAX else BadRequest
            raise kind(f"start_block is {request.start_block}, L1's head {head.number}: give a block of the last "
                             f"{BLOCKS_MAX:,}, deploy the sandbox anew if it is older")
        address_of(request.operator, "operator")
        contract = await self._check_court(request)
        left = self._config.drill_gas_daily - drill_request.spent_gas(folder, head.timestamp)
        if left < self._config.drill_gas_max:
            raise BadRequest(f"drills may use {left:,} more gas today, and one takes up to "
                             f"{self._config.drill_gas_max:,}: wait, or raise watchtower.drill_gas_daily")
        return contract, float(request.expires_at - head.timestamp)

    async def _check_court(self, request: DrillRequest) -> Contract:
        """Code that is not ours could do anything with the gas, and would show nothing about the real court."""
        client, addresses = self._verifier.client, request.addresses()
        missing = [name for name in COURT if name not in addresses]
        rollup = address_of(request.rollup, "rollup")
        if missing or addresses["Rollup"] != rollup:
            raise BadRequest(f"contracts: {', '.join(missing) or 'Rollup'} is missing or another one")
        if rollup == self._verifier.contract.address:
            raise BadRequest("rollup: this is the rollup that is guarded anyway")
        found = await differences(client, addresses)
        if found:
            kind = Temporary if any(NO_CONTRACT in item for item in found) else BadRequest
            raise kind(f"the sandbox is not this version's: {'; '.join(found)[:600]}")
        try:
            contract = await read_contract(client, rollup)
        except NoAnswer:
            raise
        except BadEncoding as error:
            raise BadRequest(f"rollup: {error}") from None
        if contract.verifier != addresses["FraudVerifier"]:
            raise BadRequest("the sandbox's Rollup obeys another FraudVerifier than the one listed")
        return contract


class _Exercise:
    """One drill that was found in order."""

    def __init__(
        self, verifier: Verifier, sender: Callable[[], TxSender | None], folder: Path, request: DrillRequest,
        contract: Contract, drill: Drill,
    ) -> None:
        self._verifier = verifier
        self._sender = sender
        self._folder = folder
        self._pause_s = verifier.config.l1.poll_ms / 1_000
        self._contract = contract
        self._drill = drill
        self._operator = address_of(request.operator, "operator")
        self._since = request.since_block
        self._gas_max = verifier.config.watchtower.drill_gas_max
        chain = Chain.open(MemoryKV(), domain_of(contract))
        self._chain = chain
        self._pipeline = drill.pipeline = Pipeline(
            chain, verifier.client, contract.address, start_block=request.start_block,
            confirmations=verifier.config.l1.confirmations, on_dispute=self._on_dispute)

    async def run(self) -> None:
        """Follow the sandbox until its dispute is settled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._drill.state = "following"
            await self._follow()
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        while self._drill.state in ("following", "answering"):
            try:
                if await self._pipeline.step():
                    continue
            except Temporary as error:
                log.warning("drill_waits", reason=str(error))
            await trio.sleep(self._pause_s)

    async def _on_dispute(self, dispute: Dispute) -> None:
        """The operator's batch, and only the first: a stranger who sits in the sandbox gets no gas out of us."""
        batch = dispute.batch
        if batch.l1_block <= self._since:
            return  # an earlier drill's, whose end comes later in the history
        if batch.header.poster != self._operator or self._drill.answer is not None:
            log.warning("drill_dispute_ignored", batch=dispute.batch.header.number)
            return
        evidence = gather(dispute, self._chain, self._pipeline.inbox)
        answer = Answer(
            f"drill-{self._drill.id}-{evidence.name}", dispute.batch.header.number, dispute.kind.value, dispute.chunk,
            dispute.reason)
        self._drill.answer = answer
        self._drill.state = "answering"
        self._nursery.start_soon(self._answer, dispute, evidence, answer)

    async def _answer(self, dispute: Dispute, evidence: Evidence, answer: Answer) -> None:
        proof = await build(evidence)
        answer.kind, answer.chunk = proof.kind.value, proof.chunk
        answer.calldata_bytes, answer.leaves = len(proof.calldata), proof.leaves
        log.warning("drill_fraud_found", batch=answer.batch, proof=answer.kind, chunk=answer.chunk)
        sender = await self._turn()
        noted_at = (await self._verifier.client.head()).timestamp
        drill_request.note_gas(self._folder, noted_at, self._gas_max)
        verifier, progress = self._verifier, self._pipeline.progress
        court = Court(self._contract.address, self._contract.verifier, self._contract.challenge_window_s,
                      gas_max=self._gas_max, pays=False)
        dry_run = DryRun(verifier.client, verifier.metrics)
        responder = Responder(verifier.client, sender, court, dry_run, verifier.metrics, pause_s=self._pause_s)
        await responder.respond(evidence, proof, answer, lambda: progress.disputed is dispute)
        if answer.gas or not sender.known(answer.name):  # a drill that ends before this may have its proof on the way
            drill_request.note_gas(self._folder, noted_at, answer.gas - self._gas_max)
        if answer.outcome == "proven":
            verifier.metrics.drill_passed_at.set(noted_at)
        self._drill.reason = "" if answer.outcome == "proven" else f"the proof's outcome: {answer.outcome}"
        self._drill.state = {"proven": PASSED, "gone": "beaten"}.get(answer.outcome or "", "failed")  # ends ``_follow``

    async def _turn(self) -> TxSender:
        """The watchtower's sender, when it has one and the real rollup does not need it."""
        while (sender := self._sender()) is None or self._verifier.pipeline.progress.disputed is not None:
            await trio.sleep(self._pause_s)
        return sender
