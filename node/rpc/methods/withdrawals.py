"""Which withdrawal a transaction created: ids are given in the order of execution, so counting finds them.

    id = next_withdrawal in the G leaf before the block + withdrawals that the block created earlier
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from node.derive.chain import Chain, StoredTransaction
from node.stf.commitments import MESSAGE_HEAD_BYTES
from node.stf.types import FORCED, INBOX, WITHDRAW, Status

_M64: Final = (1 << 64) - 1


def created_withdrawal(chain: Chain, found: StoredTransaction) -> int | None:
    """The id of the withdrawal that a transaction created; None for one that created none."""
    if found.receipt.kind not in (WITHDRAW, INBOX) or found.receipt.status != Status.OK:
        return None
    number = chain.global_words(found.block - 1)[1] >> 128 & _M64
    for stored in creators(chain, found.block):
        if stored.receipt.position == found.receipt.position:
            return number
        number += 1
    return None


def creators(chain: Chain, block: int) -> Iterator[StoredTransaction]:
    """The transactions of a block that created withdrawals, in order: signed ones, and those forced through L1."""
    for stored, message in with_messages(chain, block):
        if stored.receipt.status != Status.OK:
            continue
        if stored.receipt.kind == WITHDRAW or forced_kind(message) == WITHDRAW:
            yield stored


def with_messages(chain: Chain, block: int) -> Iterator[tuple[StoredTransaction, bytes | None]]:
    """The transactions of a block in order, each with the L1 message that it consumed, if it did."""
    parent = chain.header(block - 1)
    assert parent is not None, "a block with transactions has a parent"
    cursor = parent.cursor
    for stored in chain.transactions(block):
        if stored.receipt.kind == INBOX and stored.receipt.status != Status.NO_MESSAGE:
            yield stored, chain.message(cursor)
            cursor += 1
        else:
            yield stored, None


def forced_kind(message: bytes | None) -> int | None:
    """The kind of the transaction that a message forces; None for other messages."""
    if message is None or message[0] != FORCED or len(message) <= MESSAGE_HEAD_BYTES:
        return None
    return message[MESSAGE_HEAD_BYTES]
