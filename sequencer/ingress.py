"""The way in: submissions become requests, signatures are recovered in threads, the builder executes in order.

    methods -> queue (bounded) -> recovery (two threads) -> channel (bounded) -> builder -> group commit -> answer

The queue is first in, first out, so the order of arrival is the order of execution. A full queue answers
RateLimitExceeded at once. The claimed signer is compared with the recovered one: a wrong signature recovers a
stranger's address, so the error says what was expected instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import trio

from node.metrics import Metrics
from node.rpc.errors import ErrorKind, RpcError, fail, fail_status
from node.rpc.methods import shapes
from node.rpc.methods.reads import KIND_NAMES, fill_info
from node.stf import encoding
from node.stf.types import PLACE, TRIGGER, Status
from node.transport import Deferred
from sequencer.builder import Answer, Builder, NoRoom, Refused
from sequencer.promises import Committer, Kept, promise_info
from sequencer.requests import ActionsRequest, Request

QUEUE_MAX: Final = 8_192
BATCH_MAX: Final = 256
TURN: Final = 16  # transactions executed before other tasks get a turn
STATUS_NAMES: Final = {int(status): status.name for status in Status}  # an enum's own name is slow to get
INLINE_MAX: Final = 2  # so few signatures are recovered without a thread

Gate = Callable[[], RpcError | None]


class Submitted(msgspec.Struct):
    """Answer of every submission: where the transaction stands, what it did, and the promise that it stays there."""

    position: int
    hash: str
    kind: str
    status: str
    statuses: list[str]
    fills: list[shapes.FillInfo]
    time: int
    promise: dict[str, Any]


@dataclass(slots=True)
class Item:
    """A request on its way. ``claimed`` is the signer the client names, 0 if none."""

    request: Request
    claimed: int
    deferred: Deferred[Submitted]
    signer: int = 0
    digest: bytes | None = None


class Ingress:
    """See the module."""

    def __init__(
        self, builder: Builder, committer: Committer, domain: bytes, gate: Gate, metrics: Metrics | None = None
    ) -> None:
        self._builder = builder
        self._committer = committer
        self._domain = domain
        self._gate = gate
        self._metrics = metrics
        self._queue: deque[Item] = deque()
        self._arrived = trio.Event()

    @property
    def waiting(self) -> int:
        """Requests not recovered yet."""
        return len(self._queue)

    def offer(self, request: Request, claimed: int) -> Deferred[Submitted]:
        """Queue a request. Raises RpcError when the sequencer cannot take it now."""
        if len(self._queue) >= QUEUE_MAX:
            raise fail(ErrorKind.RateLimitExceeded, f"{QUEUE_MAX} requests wait already: send again in a moment")
        closed = self._gate() if places_orders(request) else None
        if closed is not None:
            raise closed
        deferred: Deferred[Submitted] = Deferred()
        self._queue.append(Item(request, claimed, deferred))
        self._arrived.set()
        return deferred

    async def run(self) -> None:
        """Serve the queue for ever."""
        send, receive = trio.open_memory_channel[list[Item]](2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._recover, send)
            nursery.start_soon(self._execute, receive)

    async def _recover(self, send: trio.MemorySendChannel[list[Item]]) -> None:
        encoding.set_domain(self._domain)
        while True:
            await self._arrived.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
            if not self._queue:
                self._arrived = trio.Event()
            if len(batch) <= INLINE_MAX:
                recover(batch)
            else:
                half = (len(batch) + 1) // 2
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, recover, batch[:half])
                    nursery.start_soon(trio.to_thread.run_sync, recover, batch[half:])
            await send.send(batch)

    async def _execute(self, receive: trio.MemoryReceiveChannel[list[Item]]) -> None:
        async for batch in receive:
            for index, item in enumerate(batch):
                self._include(item)
                if index % TURN == TURN - 1:
                    self._committer.wake()
                    await trio.lowlevel.checkpoint()
            self._committer.wake()

    def _include(self, item: Item) -> None:
        if item.claimed and item.claimed != item.signer:
            item.deferred.fail(self._wrong_signer(item))
            return
        try:
            duplicate = self._duplicate(item)
            if duplicate is not None:
                item.deferred.fail(duplicate)
                return
            answer = self._builder.submit(item.request, item.signer, item.digest)
        except Refused as refused:
            statuses = [status.name for status in refused.statuses]
            error = fail_status(refused.status, statuses=statuses)
            item.deferred.fail(error)
            return
        except NoRoom as error:
            item.deferred.fail(fail(ErrorKind.BadTransaction, str(error)))
            return
        if self._metrics is not None:
            self._metrics.transactions.labels(KIND_NAMES[answer.receipt.kind]).inc()
        self._committer.expect(answer.entry.position, lambda kept: item.deferred.resolve(submitted(answer, kept)))

    def _duplicate(self, item: Item) -> RpcError | None:
        """The refusal of a list that would give a client id twice: a cancel by client id must mean one order.

        A policy of this door, not a rule: what L1 forces in may do it, and then the newest order is meant.
        """
        request = item.request
        if not isinstance(request, ActionsRequest) or all(a.op not in (PLACE, TRIGGER) for a in request.actions):
            return None
        index = self._builder.find_duplicate(request, item.signer)
        if index is None:
            return None
        action = request.actions[index]
        return fail(
            ErrorKind.DuplicateOrderId,
            f"client id {action.client_id} is that of another order of this account in market {action.market}: "
            "choose another, or cancel that order first; nothing of the list was included",
            param=f"actions[{index}].clientId")

    def _wrong_signer(self, item: Item) -> RpcError:
        encoding.set_domain(self._domain)
        recovered = "0x" + item.signer.to_bytes(20, "big").hex() if item.signer else None
        return fail(
            ErrorKind.BadSignature,
            "the signature is not the claimed signer's over this digest: compare the digest with the one you signed",
            param="signature", expected_digest="0x" + item.request.digest().hex(), recovered=recovered,
            claimed="0x" + item.claimed.to_bytes(20, "big").hex())


def places_orders(request: Request) -> bool:
    """Whether a request may add risk; cancels, prices, withdrawals and liquidations are never held back."""
    if isinstance(request, ActionsRequest):
        for action in request.actions:
            if action.op == PLACE:
                return True
    return False


def recover(items: list[Item]) -> None:
    """Recover the signers; libsecp256k1 runs without the interpreter's lock. The rules' domain must be set."""
    for item in items:
        signature = item.request.signature
        if signature is not None:
            item.digest = item.request.digest()
            item.signer = encoding.recover_now(item.digest, *signature)


def submitted(answer: Answer, kept: Kept) -> Submitted:
    """The client's answer: an order that met more makers than one transaction visits is still one order."""
    receipt = answer.receipt
    statuses = [STATUS_NAMES[status] for status in receipt.action_statuses]
    fills = receipt.fills
    if answer.more:
        fills = fills + [fill for more in answer.more for fill in more.fills]
        last = STATUS_NAMES[answer.more[-1].status]
        statuses = [last if name == "PENDING" else name for name in statuses]
    return Submitted(
        receipt.position, "0x" + answer.entry.hash.hex(), KIND_NAMES[receipt.kind], STATUS_NAMES[receipt.status],
        statuses, [fill_info(fill) for fill in fills], receipt.time, promise_info(kept))
