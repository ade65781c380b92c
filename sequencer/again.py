"""After a reset: the order that was promised is kept, byte for byte.

L1 took back a message that blocks had consumed, so their outcomes change. Their order need not, and must not: whoever
promised positions answers with a bond for what stands there. So every transaction beyond the surviving batch, our own
Blocks, Inboxes and Continues included, is executed again in its place, before anything new is taken. An Inbox consumes
whatever message is next now. If L1 has none any more it finds none, and the batch must end before anything consumes a
message again: whoever derives that batch would hand a later message to the earlier Inbox. ``boundary`` is that block.

A message that L1 still lists as it was consumed is consumed again at once, even if it is not safe yet in the new
branch: outcomes change only behind the first message that did.

Times in a transaction are relative to L2 time, which a message that is gone had lifted: then its signature does not
verify where it stands. Nobody's order is lost for that: it is submitted again, as a new transaction behind all of them.

What is to be repeated is on disk before the chain goes back, and until the log has it again: a crash between loses
nothing. Records: position:8 of the first transaction, then time:8, size:4 and bytes of each; number:8 of the first
consumed message, then size:4 and bytes of each.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from node.derive.chain import Chain
from node.errors import Critical
from node.stf import encoding
from node.stf.types import ACTIONS, ORACLE_PRICE, SET_KEY, WITHDRAW, Status
from sequencer.admission import NoRoom, Refused
from sequencer.builder import Builder
from sequencer.requests import decode_request

log = structlog.get_logger("sequencer")

SIGNED_KINDS: Final = frozenset((ACTIONS, WITHDRAW, SET_KEY, ORACLE_PRICE))
# what a transaction is refused for when its times were read from another L2 time than it was written for
MISREAD: Final = frozenset((Status.BAD_SIGNATURE, Status.NO_KEY, Status.NO_PUBLISHER, Status.BAD_TIME))
_FACT: Final = "sequencer/again"
_MESSAGES: Final = "sequencer/again/messages"
_BOUNDARY: Final = "sequencer/boundary"


@dataclass(slots=True)
class Undone:
    """What a reset undid: transactions from position ``first`` on, the L2 time of each, and the one reached, ms;
    the inbox messages from ``first_message`` on that they had consumed."""

    first: int = 0
    transactions: list[bytes] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    time: int = 0
    first_message: int = 0
    messages: list[bytes] = field(default_factory=list)


def collect(chain: Chain, target: int, pending: Undone) -> Undone:
    """What stands beyond block ``target``, and what an earlier reset undid and nobody has repeated yet."""
    undone = Undone(position_after(chain, target), time=max(chain.head.time, pending.time))
    for number in range(target + 1, chain.head.number + 1):
        stored = chain.transactions(number)
        undone.transactions += [each.data for each in stored]
        undone.times += [each.receipt.time for each in stored]
    waiting = remaining(pending, undone.first + len(undone.transactions))
    undone.transactions += waiting
    undone.times += pending.times[len(pending.times) - len(waiting) :]
    undone.first_message, undone.messages = _consumed(chain, target, pending)
    return undone


def _consumed(chain: Chain, target: int, pending: Undone) -> tuple[int, list[bytes]]:
    """Messages consumed beyond block ``target``, then those that an earlier reset knows of beyond them."""
    header = chain.header(target)
    assert header is not None, "blocks up to the head are stored"
    found = [chain.message(number) for number in range(header.cursor, chain.head.cursor)]
    messages = [message for message in found if message is not None]
    assert len(messages) == len(found), "consumed messages are stored with their block"
    beyond = chain.head.cursor - pending.first_message
    return header.cursor, messages + (pending.messages[beyond:] if beyond >= 0 else [])


def remaining(undone: Undone, position: int) -> list[bytes]:
    """Those from ``position`` on. Raises Critical if some before it are in neither place."""
    if undone.transactions and position < undone.first:
        raise Critical(f"the transactions to repeat start at position {undone.first}, the chain ends at {position}: "
                       "they are not of the same run; restore the datadir")
    return undone.transactions[max(0, position - undone.first) :]


def save(chain: Chain, undone: Undone) -> None:
    """Make it durable."""
    pairs = zip(undone.times, undone.transactions, strict=True)
    parts = [time.to_bytes(8, "big") + len(data).to_bytes(4, "big") + data for time, data in pairs]
    messages = [len(message).to_bytes(4, "big") + message for message in undone.messages]
    chain.put_fact(_MESSAGES, undone.first_message.to_bytes(8, "big") + b"".join(messages))
    chain.put_fact(_FACT, undone.first.to_bytes(8, "big") + b"".join(parts), sync=True)


def load(chain: Chain) -> Undone:
    """What a run before this one undid and did not repeat."""
    record = chain.fact(_FACT)
    if not record:
        return Undone()
    undone = Undone(int.from_bytes(record[:8], "big"))
    at = 8
    while at < len(record):
        end = at + 12 + int.from_bytes(record[at + 8 : at + 12], "big")
        undone.times.append(int.from_bytes(record[at : at + 8], "big"))
        undone.transactions.append(record[at + 12 : end])
        at = end
    messages = chain.fact(_MESSAGES) or bytes(8)
    undone.first_message, at = int.from_bytes(messages[:8], "big"), 8
    while at < len(messages):
        end = at + 4 + int.from_bytes(messages[at : at + 4], "big")
        undone.messages.append(messages[at + 4 : end])
        at = end
    return undone


def forget(chain: Chain) -> None:
    """Everything is repeated, and the log has it."""
    chain.put_fact(_MESSAGES, b"")
    chain.put_fact(_FACT, b"", sync=True)


def repeat(undone: Undone, builder: Builder) -> int:
    """Execute them at their positions; returns how many. Nothing else may have been executed since the reset, and no
    message may be offered meanwhile."""
    waiting = remaining(undone, builder.position)
    first = builder.position
    receipts = builder.repeat(waiting)
    assert builder.position == first + len(waiting), "every transaction takes one position"
    idle = sum(receipt.status == Status.NO_MESSAGE for receipt in receipts)
    if idle:
        number = builder.chain.head.number
        builder.chain.put_fact(_BOUNDARY, number.to_bytes(8, "big"), sync=True)
    times = undone.times[len(undone.times) - len(waiting) :]
    kept = _submit_anew(builder, [
        (data, time) for data, time, receipt in zip(waiting, times, receipts, strict=True)
        if receipt.kind in SIGNED_KINDS and receipt.status in MISREAD])
    log.warning("order_repeated", first_position=first, transactions=len(waiting), without_message=idle, anew=kept)
    return len(waiting)


def _submit_anew(builder: Builder, lost: list[tuple[bytes, int]]) -> int:
    """Include what no longer says what its signer signed, written for the present; returns how many went in."""
    included = 0
    for data, time in lost:
        builder.engine.bind()
        request = decode_request(data, time)
        signature = request.signature
        signer = encoding.recover_now(request.digest(), *signature) if signature else 0
        with suppress(Refused, NoRoom):
            builder.submit(request, signer)
            included += 1
    return included


def boundary(chain: Chain) -> int:
    """The block at which a batch that begins before or with it must end at the latest; 0 if there is none."""
    return int.from_bytes(chain.fact(_BOUNDARY) or b"", "big")


def position_after(chain: Chain, block: int) -> int:
    """Position of the transaction after a block."""
    header = chain.header(block)
    assert header is not None, "blocks up to the head are stored"
    return header.first_position + header.tx_count
