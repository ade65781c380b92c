"""Answers to fraud: what to do about a proof, and how it gets onto L1 once.

A strategy decides (watch: raise the alarm; defend: prove), this module acts. A proof goes four gates before it costs
anything: the Python twin of the witness verifier (prover/proof.py), a dry run of the very transaction on the local EVM
(prover/dry_run.py: deployed code, L1's state, the gas limit of a transaction), the same by L1's node (eth_call from our
own account), and the sender's gas estimate.

When they disagree, operators hear it at level critical, and L1 decides: a proof that our EVM or our rules doubt and L1
accepts is sent, because it drops the batch; one that L1 refuses is not, because it would only cost. What the node says
is believed only as far as it delays us: as long as the dispute is open and the window not over, a refused proof is
tried again, loudly.

The journal of the sender is the memory of what was signed: a proof's id is the batch's name, so neither a restart nor a
second task ever sends it twice, and a second copy of the watchtower does not get the journal's lock. Fee bumps and
re-publication after reorganisations are the sender's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog
import trio

from node.errors import Temporary
from node.l1 import bindings
from node.l1.client import L1Client
from node.l1.sender import Intent, SendAborted, TxReverted, TxSender
from node.l1.types import CallReverted
from node.metrics import Metrics
from prover.dry_run import Rehearsal
from prover.proof import Evidence, Proof, prove

log = structlog.get_logger("prover")

TRIES_MAX: Final = 10_000
BACKOFF_MAX_S: Final = 30.0
LOUD_AFTER: Final = 3
LOST_AFTER: Final = 5
NAMES_MAX: Final = 3  # transactions that were mined and failed
LOST_MAX: Final = 256  # names, counting those that reorganisations took
OVERTIME_S: Final = 600.0

Outcome = Literal["proven", "gone", "late", "failed"]


@dataclass(slots=True)
class Answer:
    """What became of one dispute. ``outcome`` is None while it is open; gas and bytes are the proof transaction's.

    ``dry_run_gas``: what the local EVM took for it; 0 if it has not run or not succeeded.
    """

    name: str
    batch: int
    kind: str
    chunk: int
    reason: str
    calldata_bytes: int = 0
    leaves: int = 0
    outcome: Outcome | None = None
    transaction: str = ""
    dry_run_gas: int = 0
    gas: int = 0
    seconds: float = 0.0
    attempts: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Court:
    """Where proofs go: Rollup, its FraudVerifier (20 bytes each), and how long after posting they count (s).

    A drill's court has a limit of gas for a proof, and pays in sandbox money, which is not worth claiming.
    """

    rollup: bytes
    verifier: bytes
    challenge_window_s: int
    gas_max: int | None = None
    pays: bool = True


class Rehearses(Protocol):
    """What runs a transaction before L1 sees it: ``prover.dry_run.DryRun``."""

    async def run(self, to: bytes, data: bytes, sender: bytes) -> Rehearsal | None:
        """None: it could not be run here."""
        ...


class Responder:
    """Sends proofs with one sender. ``pause_s``: between looks at L1."""

    def __init__(
        self, client: L1Client, sender: TxSender, court: Court, rehearses: Rehearses, metrics: Metrics, *,
        pause_s: float,
    ) -> None:
        self._client = client
        self._rehearses = rehearses
        self._sender = sender
        self._court = court
        self._metrics = metrics
        self._pause_s = pause_s

    async def respond(self, evidence: Evidence, proof: Proof, answer: Answer, is_open: Callable[[], bool]) -> None:
        """Prove until the dispute is settled: by us, by somebody else, or by time. Never raises for L1's troubles.

        ``is_open``: whether L1, as far as we follow it, still has the batch. A proof is done when it is confirmed and
        we have followed L1 that far: a reorganisation in between would take the proof and leave the dispute as it was.
        """
        started = trio.current_time()
        give_up = started + self._court.challenge_window_s + OVERTIME_S
        lost = 0
        for attempt in range(1, TRIES_MAX + 1):
            proving = answer.outcome != "proven"
            answer.attempts += proving
            intent = Intent(answer.name, self._court.verifier, proof.calldata, gas=self._court.gas_max)
            try:
                answer.outcome = await self._attempt(intent, evidence, proof, answer)
                lost = 0
            except Temporary as error:
                lost += 1
                self._complain(answer, str(error))
                if lost >= LOST_AFTER:
                    await self._rename_lost(evidence, answer)
            if proving:
                answer.seconds = trio.current_time() - started
            if answer.outcome is None and not is_open():
                answer.outcome = "gone"
            if answer.outcome is None and trio.current_time() > give_up:
                answer.outcome = "late"
            if answer.outcome is not None and not (answer.outcome == "proven" and is_open()):
                break
            await trio.sleep(min(self._pause_s * 2 ** min(attempt - 1, 10), BACKOFF_MAX_S))
        self._report(answer)
        if answer.outcome == "proven" and self._court.pays:
            await self.claim_reward(answer.name)

    async def _attempt(self, intent: Intent, evidence: Evidence, proof: Proof, answer: Answer) -> Outcome | None:
        """One try; None: try again. Raises Temporary."""
        try:
            if not self._sender.known(intent.id):
                await self._dry_run(intent, proof, answer)
                self._metrics.proofs_sent.inc()
                log.info("proof_sending", batch=answer.batch, proof=answer.kind, chunk=answer.chunk,
                         calldata_bytes=len(intent.data), leaves=proof.leaves)
            receipt = await self._sender.send(intent)
        except CallReverted as error:
            return await self._refused(evidence, answer, error.reason)
        except (TxReverted, SendAborted) as error:
            return await self._undone(evidence, answer, str(error))
        except ValueError as error:  # no node would take it: the rules' limits are there to make this impossible
            log.critical("proof_too_large", batch=answer.batch, reason=str(error), what_to_do="report this batch")
            return "failed"
        answer.transaction = "0x" + receipt.tx_hash.hex()
        answer.gas = receipt.gas_used
        return "proven"

    async def _dry_run(self, intent: Intent, proof: Proof, answer: Answer) -> None:
        """The transaction on L1's latest state, here and by L1. Raises CallReverted or Temporary: L1's, not ours.

        A root that is neither the claimed one nor ours still drops the batch, and must still be looked into.
        """
        here = await self._rehearses.run(intent.to, intent.data, self._sender.address)
        if here is not None:
            log.info("dry_run_done", batch=answer.batch, gas=here.gas, ms=round(here.seconds * 1_000), reads=here.reads,
                     error=here.error)
            if not here.error:
                answer.dry_run_gas = here.gas
                _compare(intent, proof, here.output, "local EVM")
        limit: dict[str, int] = {} if intent.gas is None else {"gas": intent.gas}
        returned = await self._client.call(intent.to, intent.data, sender=self._sender.address, **limit)
        _compare(intent, proof, returned, "L1")
        if here is not None and here.error:
            log.critical("evms_differ", proof=intent.id, reason=here.error, l1="accepts the proof",
                         what_to_do="the proof is sent; report it with the batch and the L1 node's version")

    async def _refused(self, evidence: Evidence, answer: Answer, reason: str) -> Outcome | None:
        """A dry run that reverts: the batch is gone, or final, or the node is behind, or we are wrong."""
        if not await self._stands(evidence):
            log.info("proof_not_needed", batch=answer.batch, reason=reason)
            return None  # settled once the rollback has been followed; until then look again
        if reason.startswith("FINAL"):
            log.critical("proof_too_late", batch=answer.batch, what_to_do="stop withdrawals by all other means")
            return "late"
        self._complain(answer, f"L1 would refuse the proof: {reason}")
        return None

    async def _stands(self, evidence: Evidence) -> bool:
        """Whether L1 has this very batch now."""
        number = evidence.batch.header.number
        data = await self._client.call(self._court.rollup, bindings.encode_call("header_hash", number))
        return bool(evidence.header_hash == bindings.decode_result("header_hash", data))

    async def _undone(self, evidence: Evidence, answer: Answer, reason: str) -> Outcome | None:
        """A proof that was mined and failed, or whose nonce another transaction took: it can be sent under a new name
        if the batch still stands."""
        if not await self._stands(evidence):
            log.info("proof_beaten", batch=answer.batch, reason=reason, note="another prover was first")
            return "gone"
        answer.failures += 1
        return None if self._rename(answer, reason, answer.failures < NAMES_MAX) else "failed"

    async def _rename_lost(self, evidence: Evidence, answer: Answer) -> None:
        """A confirmed proof that an L1 reorganisation took away, leaving the batch, needs a name of its own.

        Whatever else is in flight (the reward's claim, say) waits for the lost proof's nonce, so it is not waited for:
        the sender gives the new proof the nonce that is missing, and no two of them can be mined. A reorganisation is
        no failure of the proof's: however often L1 forgets, it is sent anew.
        """
        if not self._sender.known(answer.name):
            return
        try:
            if await self._stands(evidence):
                again = self._rename(answer, "L1 does not know the confirmed proof any more", True)
                answer.outcome = None if again else "failed"
        except Temporary as error:
            log.debug("batch_unknown", batch=answer.batch, reason=str(error))

    def _rename(self, answer: Answer, reason: str, may: bool) -> bool:
        """Whether the proof may be sent again, under a new name."""
        base, _, count = answer.name.partition("#")
        again = int(count or "1") + 1
        if not may or again > LOST_MAX:
            log.critical("proof_failed", batch=answer.batch, reason=reason, names=again - 1,
                         what_to_do="prove this batch by hand, from another key")
            return False
        log.error("proof_sent_again", batch=answer.batch, reason=reason, number=again)
        answer.name = f"{base}#{again}"
        return True

    def _complain(self, answer: Answer, reason: str) -> None:
        level = log.error if answer.attempts >= LOUD_AFTER else log.warning
        level("proof_delayed", batch=answer.batch, attempts=answer.attempts, reason=reason,
              what_to_do="check l1.rpc and the account's balance: a wrong batch stands until this proof is on L1")

    def _report(self, answer: Answer) -> None:
        level = log.info if answer.outcome in ("proven", "gone") else log.critical
        level("dispute_settled", batch=answer.batch, outcome=answer.outcome, proof=answer.kind, chunk=answer.chunk,
              tx=answer.transaction, gas=answer.gas, calldata_bytes=answer.calldata_bytes, attempts=answer.attempts,
              seconds=round(answer.seconds, 3))

    async def claim_reward(self, name: str) -> None:
        """Take our share of slashed bonds, if there is any. It stays ours on L1 if this fails; never raises for L1."""
        try:
            data = await self._client.call(self._court.rollup, bindings.encode_call("reward_of", self._sender.address))
            amount = int(bindings.decode_result("reward_of", data))
            if amount == 0:
                return
            call = bindings.encode_call("claim_reward")
            receipt = await self._sender.send(Intent(f"reward-{name}", self._court.rollup, call))
        except (CallReverted, TxReverted, SendAborted, Temporary) as error:
            log.warning("reward_not_claimed", reason=str(error), what_to_do="it is claimed at the next start")
            return
        log.info("reward_claimed", micro_usd=amount, tx="0x" + receipt.tx_hash.hex())


def _compare(intent: Intent, proof: Proof, returned: bytes, where: str) -> None:
    """Whether a contract finds the root that we found (prove_header returns none)."""
    if returned and returned != proof.true:
        log.critical("twins_differ", proof=intent.id, where=where, theirs="0x" + returned.hex(),
                     ours="0x" + proof.true.hex(),
                     what_to_do="the batch falls either way; report it with the posted bytes")


async def build(evidence: Evidence) -> Proof:
    """The proof, letting others run between chunks."""
    for step in prove(evidence):
        if step is not None:
            return step
        await trio.lowlevel.checkpoint()
    raise AssertionError("a proof ends with a proof, or raises")
