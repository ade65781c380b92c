"""After a reset: the order that was promised is kept, byte for byte.

L1 took back a message that blocks had consumed, so their outcomes change. Their order need not, and must not: whoever
promised positions answers with a bond for what stands there. So every transaction beyond the surviving batch, our own
Blocks, Inboxes and Continues included, is executed again in its place, before anything new is taken. An Inbox consumes
whatever message is next now; it waits until L1 has one, because without it L1 and we would see different things.

What is to be repeated is on disk before the chain goes back, and until the log has it again: a crash between loses
nothing. Record: position:8 of the first, then size:4 and bytes of each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import structlog

from node.derive.chain import Chain
from node.errors import Critical
from node.stf.encoding import INBOX_TX
from sequencer.builder import Builder

log = structlog.get_logger("sequencer")

_FACT: Final = "sequencer/again"


@dataclass(slots=True)
class Undone:
    """What a reset undid: transactions from position ``first`` on, and the L2 time that was reached, ms."""

    first: int = 0
    transactions: list[bytes] = field(default_factory=list)
    time: int = 0


def collect(chain: Chain, target: int, pending: Undone) -> Undone:
    """What stands beyond block ``target``, and what an earlier reset undid and nobody has repeated yet."""
    undone = Undone(position_after(chain, target), [], max(chain.head.time, pending.time))
    for number in range(target + 1, chain.head.number + 1):
        undone.transactions += [stored.data for stored in chain.transactions(number)]
    undone.transactions += remaining(pending, undone.first + len(undone.transactions))
    return undone


def remaining(undone: Undone, position: int) -> list[bytes]:
    """Those from ``position`` on. Raises Critical if some before it are in neither place."""
    if undone.transactions and position < undone.first:
        raise Critical(f"the transactions to repeat start at position {undone.first}, the chain ends at {position}: "
                       "they are not of the same run; restore the datadir")
    return undone.transactions[max(0, position - undone.first) :]


def save(chain: Chain, undone: Undone) -> None:
    """Make it durable."""
    parts = [len(data).to_bytes(4, "big") + data for data in undone.transactions]
    chain.put_fact(_FACT, undone.first.to_bytes(8, "big") + b"".join(parts), sync=True)


def load(chain: Chain) -> Undone:
    """What a run before this one undid and did not repeat."""
    record = chain.fact(_FACT)
    if not record:
        return Undone()
    undone = Undone(int.from_bytes(record[:8], "big"))
    at = 8
    while at < len(record):
        end = at + 4 + int.from_bytes(record[at : at + 4], "big")
        undone.transactions.append(record[at + 4 : end])
        at = end
    return undone


def forget(chain: Chain) -> None:
    """Everything is repeated, and the log has it."""
    chain.put_fact(_FACT, b"", sync=True)


def messages_needed(undone: Undone, builder: Builder) -> int:
    """How many messages L1 must have before the repetition can begin."""
    waiting = remaining(undone, builder.position)
    return builder.cursor + sum(data == INBOX_TX for data in waiting)


def repeat(undone: Undone, builder: Builder) -> int:
    """Execute them at their positions; returns how many. Nothing else may have been executed since the reset."""
    waiting = remaining(undone, builder.position)
    first = builder.position
    builder.repeat(waiting)
    assert builder.position == first + len(waiting), "every transaction takes one position"
    log.warning("order_repeated", first_position=first, transactions=len(waiting))
    return len(waiting)


def position_after(chain: Chain, block: int) -> int:
    """Position of the transaction after a block."""
    header = chain.header(block)
    assert header is not None, "blocks up to the head are stored"
    return header.first_position + header.tx_count
