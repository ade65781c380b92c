"""Sends a plan's steps as signed transactions over one WebSocket, in order and many at once, and follows the answers.

The book that comparisons use is built from answers alone: what was placed, and the fills that the chain reports. It is
compared with the plan fill by fill, and with the chain's own book (al_book) at the end and at checkpoints between.

Consecutive steps of one account share a transaction, unless one of them crosses (an order that meets more makers than
one transaction visits must be the last of its list) or cancels an order of the same list.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import trio

from node.cli.tapes.events import BUY, SELL
from node.cli.tapes.ladder import Ladder, Resting
from node.cli.tapes.plan import CANCEL, Step
from node.l1.keys import Signer
from node.rpc.client import RpcError, WsClient
from node.stf import encoding, types

IN_FLIGHT: Final = 512
EXPIRY_MS: Final = 600_000
DEPTH: Final = 500
SIDE_NAMES: Final = ("buy", "sell")

Top = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Owner:
    """An account, who signs for it, and the key slot that knows the signer."""

    account: int
    signer: Signer
    slot: int = 0


class _Fill(msgspec.Struct):
    market: int
    price: int
    lots: int
    maker: int
    maker_client_id: int
    taker: int


class _Submitted(msgspec.Struct):
    position: int
    status: str
    statuses: list[str]
    fills: list[_Fill]


@dataclass(slots=True)
class Played:
    """What came of a replay. ``tops``: best bid, lots, best ask, lots after each event that had
    steps; ``fills``: price and lots; ``as_planned``: orders that met exactly what the plan says."""

    tops: dict[int, Top] = field(default_factory=dict)
    transactions: int = 0
    placed: int = 0
    cancelled: int = 0
    fills: list[tuple[int, int]] = field(default_factory=list)
    as_planned: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    check_failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)


def group_steps(steps: Sequence[Step], length: int) -> Iterator[list[Step]]:
    """Lists of at most ``length`` steps that may share a transaction; see the module."""
    group: list[Step] = []
    for step in steps:
        fits = (
            group and len(group) < length and step.account == group[0].account and not group[-1].matches
            and not (step.op == CANCEL and any(step.name == other.name for other in group))
        )
        if group and not fits:
            yield group
            group = []
        group.append(step)
    if group:
        yield group


class Player:
    """One replay into one market."""

    def __init__(
        self, rpc: WsClient, domain: bytes, market: int, owners: Sequence[Owner], *,
        publish: Callable[[int], Any] | None = None,
    ) -> None:
        self.played = Played()
        self._rpc = rpc
        self._domain = domain
        self._market = market
        self._owners = owners
        self._publish = publish
        self._book = Ladder()
        self._nonces: Counter[int] = Counter()

    async def play(self, steps: Sequence[Step], length: int, *, checkpoints: int = 4) -> Played:
        """Send everything; a checkpoint waits for all answers and compares the books. Raises RpcUnavailable."""
        groups = list(group_steps(steps, length))
        began = time.perf_counter()
        size = max(1, -(-len(groups) // max(1, checkpoints)))
        for at in range(0, len(groups), size):
            part = groups[at : at + size]
            await self._send_all(part)
            await self._check(part[-1][-1].event)
        self.played.seconds = time.perf_counter() - began
        return self.played

    async def _send_all(self, groups: Sequence[list[Step]]) -> None:
        send, receive = trio.open_memory_channel[tuple[list[Step], Any, float]](IN_FLIGHT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, receive)
            async with send:
                for group in groups:
                    reply = await self._rpc.begin("al_sendActions", self._sign(group))
                    await send.send((group, reply, time.perf_counter()))

    async def _follow(self, receive: trio.MemoryReceiveChannel[tuple[list[Step], Any, float]]) -> None:
        async for group, reply, began in receive:
            self.played.transactions += 1
            try:
                answer = await reply.result(_Submitted)
            except RpcError as error:
                reason = error.data.get("reason") if isinstance(error.data, dict) else None
                self.played.refused[f"{reason or error.message}"] += len(group)
            else:
                self.played.latencies_ms.append((time.perf_counter() - began) * 1_000)
                self._apply(group, answer)
            self.played.tops[group[-1].event] = self._book.top()

    # --- signing ------------------------------------------------------------------------------------------------------

    def _sign(self, group: Sequence[Step]) -> dict[str, Any]:
        owner = self._owners[group[0].account]
        now = time.time_ns() // 1_000_000
        nonce = self._nonces[owner.account] = max(self._nonces[owner.account] + 1, now)
        expiry = now + EXPIRY_MS
        listed = [self._action(step) for step in group]
        encoding.set_domain(self._domain)
        digest = encoding.actions_digest(owner.account, owner.slot, nonce, expiry, listed)
        signature = owner.signer.sign_hash(digest)
        return {
            "account": owner.account, "slot": owner.slot, "nonce": nonce, "expiry": expiry,
            "actions": [self._fields(step) for step in group], "signature": "0x" + signature.hex(),
            "signer": "0x" + owner.signer.address.hex(),
        }

    def _action(self, step: Step) -> types.Action:
        if step.op == CANCEL:
            return types.Action(types.CANCEL, self._market, client_id=step.name)
        tif = types.IOC if step.takes else types.GTC
        return types.Action(
            types.PLACE, self._market, step.side, step.price, step.lots, tif, client_id=step.name)

    def _fields(self, step: Step) -> dict[str, Any]:
        if step.op == CANCEL:
            return {"action": "cancel", "market": self._market, "clientId": step.name}
        return {
            "action": "place", "market": self._market, "side": SIDE_NAMES[step.side], "price": step.price,
            "lots": step.lots, "timeInForce": "IOC" if step.takes else "GTC", "clientId": step.name}

    # --- answers ------------------------------------------------------------------------------------------------------

    def _apply(self, group: Sequence[Step], answer: _Submitted) -> None:
        """Follow one transaction: its last step is the only one that may have matched."""
        for step, status in zip(group, answer.statuses, strict=True):
            fills = answer.fills if step is group[-1] else []
            if status != "OK":
                self.played.refused[status] += 1
            if step.op == CANCEL:
                self.played.cancelled += status == "OK"
                if status == "OK" and step.name in self._book.orders:
                    self._book.cancel(step.name)
            else:
                self._follow_place(step, status, fills)
            self.played.tops[step.event] = self._book.top()

    def _follow_place(self, step: Step, status: str, fills: Sequence[_Fill]) -> None:
        self.played.placed += status == "OK"
        self.played.fills += [(fill.price, fill.lots) for fill in fills]
        told = [(fill.maker_client_id, fill.price, fill.lots) for fill in fills]
        self.played.as_planned += told == [(match.name, match.price, match.lots) for match in step.matches]
        for fill in fills:
            if fill.maker_client_id in self._book.orders:
                self._book.fill(fill.maker_client_id, fill.lots)
        left = step.lots - sum(fill.lots for fill in fills)
        if status == "OK" and left > 0 and not step.takes:
            self._book.rest(Resting(step.name, step.account, step.side, step.price, left))

    async def _check(self, event: int) -> None:
        """Compare with the chain's book, level by level."""
        told = await self._rpc.call("al_book", {"market": self._market, "depth": DEPTH})
        self.played.checks += 1
        for side, name in ((BUY, "bids"), (SELL, "asks")):
            ours = [list(level) for level in self._book.levels(side, DEPTH)]
            if ours != told[name]:
                at = next((i for i, pair in enumerate(zip(ours, told[name], strict=False)) if pair[0] != pair[1]),
                          min(len(ours), len(told[name])))
                self.played.check_failures.append(
                    f"after event {event}: {name} differ at level {at}: answers {ours[at:at + 1]}, "
                    f"al_book {told[name][at:at + 1]}")
        if self._publish is not None:
            await self._publish(event)
