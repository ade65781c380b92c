"""The watchtower: a verifier's disputes, each followed to its end, and the figures that operators watch.

A dispute's evidence is taken at once, while the chain stands at the last good state; the proof is then built and sent
beside derivation, which goes on reading L1 and so learns when the batch is gone. Failures of L1 delay an answer, they
never end the watch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import structlog
import trio

from node.derive.replay import Dispute
from node.errors import Temporary
from node.l1 import bindings
from node.l1.client import L1Client
from node.l1.fees import FeePolicy
from node.l1.keys import Signer
from node.l1.sender import SenderConfig, open_sender
from node.l1.sender_metrics import SenderMetrics
from node.metrics import Metrics
from node.service import Verifier
from prover.drills import Drills
from prover.dry_run import DryRun
from prover.proof import Evidence, gather
from prover.respond import Answer, Court, Rehearses, Responder, build

log = structlog.get_logger("watchtower")

ANSWERS_KEPT: Final = 256
BACKOFF_MAX_S: Final = 30.0
GWEI: Final = 10**9

Rehearsals = Callable[[L1Client, Metrics], Rehearses]


class Watchtower:
    """One verifier's disputes. ``signer`` None only watches. Answers live in the given nursery."""

    def __init__(self, signer: Signer | None, nursery: trio.Nursery, rehearsals: Rehearsals = DryRun) -> None:
        self._signer = signer
        self._nursery = nursery
        self._rehearsals = rehearsals
        self._ready = trio.Event()
        self._armed = trio.Event()
        self._verifier: Verifier | None = None
        self._responder: Responder | None = None
        self._drills: Drills | None = None
        self.answers: list[Answer] = []
        self._checked = 0
        self._disagreed = 0

    # --- the verifier's calls -----------------------------------------------------------------------------------------

    async def on_dispute(self, dispute: Dispute) -> None:
        """Take the evidence; answer in a task of its own."""
        await self._ready.wait()
        assert self._verifier is not None, "ready"
        evidence = gather(dispute, self._verifier.chain, self._verifier.pipeline.inbox)
        answer = Answer(evidence.name, dispute.batch.header.number, dispute.kind.value, dispute.chunk, dispute.reason)
        self.answers.append(answer)
        del self.answers[:-ANSWERS_KEPT]
        self._nursery.start_soon(self._answer, dispute, evidence, answer)

    async def run(self, verifier: Verifier) -> None:
        """Arm the watchtower with a running verifier's parts, then measure for ever."""
        self._verifier = verifier
        previous = verifier.node.extra
        verifier.node.extra = lambda: previous() | self.status()
        self._checked = verifier.pipeline.progress.agreed
        self._drills = Drills(verifier)
        self._ready.set()
        async with trio.open_nursery() as nursery:
            if self._signer is not None:
                nursery.start_soon(self._send, verifier, self._signer)
            nursery.start_soon(self._measure, verifier)
            nursery.start_soon(self._drills.run)

    # --- answering ----------------------------------------------------------------------------------------------------

    async def _answer(self, dispute: Dispute, evidence: Evidence, answer: Answer) -> None:
        verifier = self._verifier
        assert verifier is not None, "disputes come from it"
        proof = await build(evidence)
        answer.kind, answer.chunk = proof.kind.value, proof.chunk
        answer.calldata_bytes, answer.leaves = len(proof.calldata), proof.leaves
        log.error("fraud_found", batch=answer.batch, proof=answer.kind, chunk=answer.chunk, reason=answer.reason,
                  calldata_bytes=answer.calldata_bytes, leaves=answer.leaves)
        if self._signer is None:
            log.critical("fraud_unanswered", batch=answer.batch, what_to_do="run a watchtower with "
                         "watchtower.strategy defend and a funded key: the batch stands until somebody proves it wrong")
            await self._until_closed(verifier, dispute)
            answer.outcome = "gone"
            return
        await self._armed.wait()
        assert self._responder is not None, "armed"
        progress = verifier.pipeline.progress
        await self._responder.respond(evidence, proof, answer, lambda: progress.disputed is dispute)

    async def _until_closed(self, verifier: Verifier, dispute: Dispute) -> None:
        """Wait until somebody else has proven it, L1 has reorganised it away, or the watchtower ends."""
        while verifier.pipeline.progress.disputed is dispute:
            await trio.sleep(verifier.config.l1.poll_ms / 1_000)

    async def _send(self, verifier: Verifier, signer: Signer) -> None:
        """Keep a sender open; what was in flight goes on by itself. L1 that cannot be reached is waited for, loudly."""
        config = verifier.config.watchtower
        journal = verifier.host.open_journal(verifier.config.datadir / "watchtower.journal")
        settings = SenderConfig(
            confirmations=config.confirmations, resubmit_s=config.resubmit_ms / 1_000,
            poll_s=verifier.config.l1.poll_ms / 1_000, fees=FeePolicy(fee_max=config.fee_max_gwei * GWEI))
        court = Court(
            verifier.contract.address, verifier.contract.verifier, verifier.contract.challenge_window_s)
        dry_run = self._rehearsals(verifier.client, verifier.metrics)
        pause_s = verifier.config.l1.poll_ms / 1_000
        backoff_s = pause_s
        try:
            while True:
                try:
                    events = SenderMetrics(verifier.metrics)
                    async with open_sender(verifier.client, signer, journal, settings, events=events) as sender:
                        self._responder = Responder(
                            verifier.client, sender, court, dry_run, verifier.metrics, pause_s=pause_s)
                        self._armed.set()
                        assert self._drills is not None, "made before this task"
                        self._drills.sender = sender
                        log.info("watchtower_armed", account="0x" + signer.address.hex(), in_flight=sender.in_flight)
                        await self._claim_old(verifier, self._responder)
                        await trio.sleep_forever()
                except Temporary as error:
                    log.error("watchtower_unarmed", reason=str(error), what_to_do="check l1.rpc: no proof can be sent")
                await trio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        finally:
            journal.close()

    async def _claim_old(self, verifier: Verifier, responder: Responder) -> None:
        """Take what an earlier run has earned. A name per L1 head: rewards come more than once."""
        try:
            head = await verifier.client.head()
        except Temporary as error:
            log.warning("reward_not_claimed", reason=str(error), what_to_do="it is claimed at the next start")
            return
        await responder.claim_reward(f"at-{head.hash.hex()[:16]}")

    # --- figures ------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What a watchtower adds to al_status."""
        return {"proofs": [asdict(answer) for answer in self.answers],
                "strategy": "watch" if self._signer is None else "defend",
                "account": None if self._signer is None else "0x" + self._signer.address.hex(),
                "drills": None if self._drills is None else self._drills.status()}

    async def _measure(self, verifier: Verifier) -> None:
        """Agreement per batch, the bond, what is not checked yet. Derivation is the one that complains about L1."""
        while True:
            self._count(verifier)
            try:
                await self._look(verifier)
            except Temporary as error:
                log.debug("bond_unknown", reason=str(error))
            await trio.sleep(verifier.config.l1.poll_ms / 1_000)

    def _count(self, verifier: Verifier) -> None:
        progress = verifier.pipeline.progress
        metrics = verifier.metrics
        if progress.agreed > self._checked:
            metrics.batches_checked.labels("agreed").inc(progress.agreed - self._checked)
        if progress.disagreed > self._disagreed:
            metrics.batches_checked.labels("disagreed").inc(progress.disagreed - self._disagreed)
        self._checked, self._disagreed = progress.agreed, progress.disagreed
        metrics.last_valid_batch.set(progress.agreed)

    async def _look(self, verifier: Verifier) -> None:
        async def ask(name: str, *args: Any) -> Any:
            data = bindings.encode_call(name, *args)
            return bindings.decode_result(name, await verifier.client.call(verifier.contract.address, data))

        head = int(await ask("head_number"))
        holder: bytes = await ask("seat_holder")
        bond = await ask("bond_of", holder)
        agreed = verifier.pipeline.progress.agreed
        verifier.metrics.bond_micro_usd.set(bond[0] if any(holder) else 0)
        verifier.metrics.oldest_unchecked_batch.set(agreed + 1 if head > agreed else 0)
