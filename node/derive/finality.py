"""Which batches no proof can drop any more: those whose challenge window has passed at an L1 time.

final(batch)  ⇔  posted_at + challenge_window_s < time of L1's head            (contracts/batches.vy)

Batches are posted in the order of their numbers, so those before a final one are final. An L1 reorganisation can take a
final batch back, or mine it again later: then it is not final, until it is again, and whoever asks hears so at once.
"""

from __future__ import annotations

from node.derive.chain import Chain
from node.derive.records import BatchRecord


def last_final(chain: Chain, before: int) -> BatchRecord | None:
    """The newest batch that was posted before an L1 time (s). It rises with the number, and a window holds many."""
    last = chain.last_batch()
    low, high = 0, 0 if last is None else last.number
    while low < high:
        middle = (low + high + 1) // 2
        record = chain.batch(middle)
        if record is not None and record.header is not None and record.header.posted_at < before:
            low = middle
        else:
            high = middle - 1
    return chain.batch(low) if low else None


def final_block(chain: Chain, before: int) -> int:
    """The last L2 block of that batch; 0 if there is none."""
    record = last_final(chain, before)
    return 0 if record is None else record.last_block
