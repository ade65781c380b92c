"""Starting with an empty datadir on a rollup that has a history: derive it from L1 first, as a verifier does.

A sequencer that has once caught up never derives again: from then on its own blocks are ahead of L1, and L1 is compared
with them by ``anchoring``. Until then a crash just derives on.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from node.derive.chain import Chain
from node.derive.pipeline import Pipeline
from node.errors import Temporary
from node.l1 import bindings
from node.l1.client import L1Client

log = structlog.get_logger("catch_up")

BACKOFF_MAX_S: Final = 30.0
_FACT: Final = "sequencer/caught_up"


async def catch_up(chain: Chain, client: L1Client, rollup: bytes, *, start_block: int, poll_s: float) -> None:
    """Bring a new chain to the last batch that L1 has; waits while L1 cannot be read or a batch is disputed."""
    if chain.fact(_FACT) is not None:
        return
    if chain.head.number == 0 or chain.fact("derive/checkpoints") is not None:
        await _derive(chain, client, rollup, start_block, poll_s)
    chain.put_fact(_FACT, b"\x01", sync=True)


async def _derive(chain: Chain, client: L1Client, rollup: bytes, start_block: int, poll_s: float) -> None:
    pipeline = Pipeline(chain, client, rollup, start_block=start_block, confirmations=0)
    failures = 0
    while True:
        try:
            if await pipeline.step():
                failures = 0
                continue
            if await _is_complete(chain, client, rollup):
                log.info("chain_derived", block=chain.head.number, batches=pipeline.progress.agreed)
                return
        except Temporary as error:
            failures += 1
            log.warning("derivation_delayed", reason=str(error), failures=failures)
        await trio.sleep(min(poll_s * 2 ** min(failures, 8), BACKOFF_MAX_S))


async def _is_complete(chain: Chain, client: L1Client, rollup: bytes) -> bool:
    """Whether L1's last batch is ours; a disputed one is not, and somebody will prove it wrong."""
    data = await client.call(rollup, bindings.encode_call("head_number"))
    last = chain.last_batch()
    return bool(bindings.decode_result("head_number", data) == (0 if last is None else last.number))
