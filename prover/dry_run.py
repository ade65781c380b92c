"""A proof's dry run: the very transaction, executed here on L1's latest state, before L1 is asked anything.

    Rehearsal(output, gas, error) = EVM(code and storage of L1's head, as the transaction reads them; calldata)

The EVM is the one of the embedded L1 (``node/l1/devchain``), in a worker thread. Code and storage are asked of L1 when
execution first reads them: FraudVerifier and its parts, Rollup with the batch's stored header and the inbox's hashes,
and all that dropping the batch touches. Nothing about the contracts is assumed, neither how many parts they have nor
where. Code is kept by address, since the code of a contract never changes; storage is read anew for every run.

Invariants:
- A dry run is bounded: by the gas of one L1 transaction, by ``READS_MAX`` reads, and in time by ``SECONDS_MAX``.
- It never prevents a proof. Where it cannot be done, the answer is None, and L1's own word decides alone.
- What L1's node says of code and state is believed as far as it was before: a lie delays the proof, and is told apart
  from our own mistake by the Python twin, which has accepted the witness already.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio

from node.errors import Temporary
from node.l1.client import L1Client
from node.l1.devchain.config import TX_GAS_MAX
from node.l1.devchain.executor import BlockEnv, CallRequest, Outcome
from node.l1.devchain.local import call_on
from node.l1.reverts import revert_reason
from node.l1.types import L1Block
from node.metrics import Metrics

log = structlog.get_logger("prover")

READS_MAX: Final = 512
CODES_MAX: Final = 64
SECONDS_MAX: Final = 120.0
BLOCK_GAS: Final = 2 * TX_GAS_MAX


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the transaction came to here: ``error`` is empty on success, else the contract's reason or the EVM's.

    ``gas`` is what L1 would charge; ``reads`` are the codes and words that were asked of L1.
    """

    output: bytes
    gas: int
    error: str
    reads: int
    seconds: float


class DryRun:
    """Dry runs on one L1. One at a time: a second one waits."""

    def __init__(self, client: L1Client, metrics: Metrics, *, seconds_max: float = SECONDS_MAX) -> None:
        self._client = client
        self._metrics = metrics
        self._seconds_max = seconds_max
        self._limiter = trio.CapacityLimiter(1)
        self._chain_id: int | None = None
        self._codes: dict[bytes, bytes] = {}

    async def run(self, to: bytes, data: bytes, sender: bytes) -> Rehearsal | None:
        """Execute the transaction from ``sender`` on L1's latest block. None if that could not be done (it is logged).

        Never raises: a fault of this EVM must not save a wrong batch either.
        """
        try:
            with trio.move_on_after(self._seconds_max):
                return await self._run(CallRequest(sender, to, data, 0, TX_GAS_MAX))
            reason = f"not done after {self._seconds_max:g} s"
        except Temporary as error:
            reason = str(error)
        except Exception as error:
            reason = repr(error)
        log.warning("dry_run_skipped", reason=reason, note="the proof goes on: L1's own eth_call decides alone")
        return None

    async def _run(self, request: CallRequest) -> Rehearsal:
        if self._chain_id is None:
            self._chain_id = await self._client.chain_id()
        head = await self._client.head()
        state = _L1State(self._client, head.number, self._codes)
        begun = trio.current_time()
        execute = partial(call_on, state, self._chain_id, _environment(head), request)
        # abandoned on cancellation: the gas limit ends the thread soon
        outcome = await trio.to_thread.run_sync(execute, limiter=self._limiter, abandon_on_cancel=True)
        seconds = trio.current_time() - begun
        self._metrics.dry_run_seconds.observe(seconds)
        return Rehearsal(outcome.output, outcome.gas_used, _error_of(outcome), state.reads, seconds)


class _L1State:
    """A ``Source`` for a worker thread of trio: L1's state at one block, read through the event loop."""

    def __init__(self, client: L1Client, block: int, codes: dict[bytes, bytes]) -> None:
        self._client = client
        self._block = block
        self._codes = codes
        self.reads = 0

    def code(self, address: bytes) -> bytes:
        """From the cache, or L1's. An empty answer is not kept: a contract may still come."""
        if address in self._codes:
            return self._codes[address]
        self._count()
        code: bytes = trio.from_thread.run(partial(self._client.code, address, block=self._block))
        if code and len(self._codes) < CODES_MAX:
            self._codes[address] = code
        return code

    def storage(self, address: bytes, slot: int) -> int:
        """L1's."""
        self._count()
        word: int = trio.from_thread.run(partial(self._client.storage, address, slot, block=self._block))
        return word

    def _count(self) -> None:
        self.reads += 1
        if self.reads > READS_MAX:
            raise Temporary(f"the dry run reads more than {READS_MAX} codes and words of L1")


def _environment(head: L1Block) -> BlockEnv:
    """The block that eth_call shows on ``head``. No fees: ours are the sender's business."""
    return BlockEnv(head.number, head.timestamp, bytes(20), BLOCK_GAS, 0, bytes(32), (head.parent_hash,))


def _error_of(outcome: Outcome) -> str:
    if outcome.success:
        return ""
    return (revert_reason(outcome.output) if outcome.reverted else "") or outcome.error or "failed without a reason"
