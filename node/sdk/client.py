"""A connection to a node: typed reads, waiting, and errors of our own tree. No keys; see ``trader`` for those.

    async with connect("ws://127.0.0.1:9545") as client:
        await client.book(0)

Prices are ticks, sizes lots, money micro-USD, times ms of L2.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
import trio

from node.rpc.client import HttpClient, RpcError, RpcUnavailable, Subscription, WsClient, open_websocket
from node.rpc.methods import shapes
from node.rpc.methods.promises import PromiseVerdict
from node.sdk.errors import ConnectionLost, ExchangeNotAvailable, NotFound, RequestTimeout, WithdrawalPaid, from_rpc
from node.stf import encoding

T = TypeVar("T")

HEADS: Final = ("unsafe", "safe", "finalized")


@dataclass(frozen=True, slots=True)
class Network:
    """What signatures are bound to. ``domain`` is the EIP-712 domain separator; ``sequencer`` signs promises."""

    chain_id: int
    rollup: bytes
    domain: bytes
    sequencer: bytes | None


class Client:
    """Calls over one HTTP or WebSocket connection. Many tasks may share it."""

    def __init__(self, rpc: HttpClient | WsClient, network: Network) -> None:
        self._rpc = rpc
        self.network = network
        self.seen_ms = 0
        """The newest L2 time in any answer to a trader, ms: it may be ahead of this machine's clock."""

    async def call(self, method: str, params: Any = None, kind: Any = Any) -> Any:
        """Any method. Raises an AnchorlineError."""
        try:
            return await self._rpc.call(method, params, kind=kind)
        except RpcError as error:
            raise from_rpc(error) from None
        except RpcUnavailable as error:
            raise ConnectionLost(str(error)) from None

    async def subscribe(self, channel: str, kind: Any = Any) -> Subscription:
        """Follow a channel; only over WebSocket."""
        if not isinstance(self._rpc, WsClient):
            raise ExchangeNotAvailable("subscriptions need a ws:// connection")
        return await self._rpc.subscribe(channel, kind=kind)

    async def status(self) -> dict[str, Any]:
        """Role, heads, totals."""
        found: dict[str, Any] = await self.call("al_status")
        return found

    async def account(self, account: int) -> shapes.AccountInfo:
        """Raises NotFound."""
        found: shapes.AccountInfo = await self.call("al_account", {"account": account}, shapes.AccountInfo)
        return found

    async def risk(self, account: int, tau_ms: int | None = None) -> shapes.RiskInfo:
        """The chance that an account's cushion breaks before L1 knows, or within ``tau_ms``. Raises NotFound."""
        asked = {"account": account} | ({} if tau_ms is None else {"tau_ms": tau_ms})
        found: shapes.RiskInfo = await self.call("al_risk", asked, shapes.RiskInfo)
        return found

    async def accounts_of(self, owner: bytes) -> list[int]:
        """Accounts that an address owns, ascending."""
        found: list[int] = await self.call("al_accountsOf", {"owner": "0x" + owner.hex()}, list[int])
        return found

    async def orders(self, account: int, market: int | None = None) -> list[shapes.OrderInfo]:
        """Resting orders of an account."""
        params = {"account": account} if market is None else {"account": account, "market": market}
        found: list[shapes.OrderInfo] = await self.call("al_orders", params, list[shapes.OrderInfo])
        return found

    async def markets(self) -> list[shapes.MarketInfo]:
        """All markets."""
        found: list[shapes.MarketInfo] = await self.call("al_markets", None, list[shapes.MarketInfo])
        return found

    async def book(self, market: int, depth: int = 20) -> shapes.BookInfo:
        """Price levels, best first."""
        found: shapes.BookInfo = await self.call("al_book", {"market": market, "depth": depth}, shapes.BookInfo)
        return found

    async def receipt(self, position: int) -> shapes.ReceiptInfo:
        """Raises NotFound while the transaction's block is not sealed."""
        found: shapes.ReceiptInfo = await self.call("al_receipt", {"id": position}, shapes.ReceiptInfo)
        return found

    async def withdrawal(self, number: int) -> shapes.WithdrawalInfo:
        """A withdrawal; its ``header`` is set once it can be claimed. Raises NotFound, or WithdrawalPaid."""
        found: shapes.WithdrawalInfo = await self.call("al_withdrawalProof", {"id": number}, shapes.WithdrawalInfo)
        return found

    async def find_withdrawal(self, recipient: bytes, amount: int, after: int) -> int:
        """Id of the first sealed, unpaid withdrawal beyond ``after`` of this recipient and amount. Raises NotFound."""
        newest = (await self.status())["withdrawals"]
        for number in range(after + 1, newest + 1):
            try:
                found = await self.withdrawal(number)
            except WithdrawalPaid:
                continue
            if found.recipient == "0x" + recipient.hex() and found.amount == amount:
                return number
        raise NotFound(f"none of the withdrawals {after + 1} to {newest} is of {amount} micro-USD to this address")

    # --- promises, at a verifier --------------------------------------------------------------------------------------

    async def keep_promise(self, sent: Any) -> PromiseVerdict:
        """Have a verifier keep and check the promise of an answer (a ``Sent``, or what ``order --json`` printed).

        Raises BadRequest, BadSignature, RateLimitExceeded, or ExchangeError when there is no room.
        """
        answer = sent if isinstance(sent, dict) else msgspec.to_builtins(sent)
        found: PromiseVerdict = await self.call("al_keepPromise", {"answer": answer}, PromiseVerdict)
        return found

    async def promise_verdict(self, identity: str) -> PromiseVerdict:
        """What became of a kept promise; with ``evidence``, calldata for PromiseCourt. Raises NotFound."""
        found: PromiseVerdict = await self.call("al_promiseVerdict", {"id": identity}, PromiseVerdict)
        return found

    async def kept_promises(self, account: int) -> list[PromiseVerdict]:
        """An account's promises that a verifier keeps, by position."""
        found: list[PromiseVerdict] = await self.call("al_keptPromises", {"account": account}, list[PromiseVerdict])
        return found

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def wait_account(self, owner: bytes, known: int = 0, timeout_s: float = 60.0) -> int:
        """The newest account of an owner, once there are more than ``known``. Raises RequestTimeout."""
        with _deadline(timeout_s, f"no account for 0x{owner.hex()} after {timeout_s} s: is the deposit mined, and are "
                       "blocks being sealed?"):
            while True:
                found = await self.accounts_of(owner)
                if len(found) > known:
                    return found[-1]
                await trio.sleep(0.1)

    async def wait_receipt(self, position: int, head: str = "unsafe", timeout_s: float = 60.0) -> shapes.ReceiptInfo:
        """A transaction's receipt once it is at least as settled as ``head``. Raises RequestTimeout."""
        with _deadline(timeout_s, f"transaction {position} is not {head} after {timeout_s} s"):
            while True:
                try:
                    found = await self.receipt(position)
                    if HEADS.index(found.head) >= HEADS.index(head):
                        return found
                except NotFound:
                    pass
                await trio.sleep(0.1)

    async def wait_claimable(self, number: int, timeout_s: float = 600.0) -> shapes.WithdrawalInfo:
        """A withdrawal's proof once its batch is finalized. Raises RequestTimeout, or WithdrawalPaid."""
        with _deadline(timeout_s, f"withdrawal {number} cannot be claimed after {timeout_s} s: its batch is not final"):
            while True:
                try:
                    found = await self.withdrawal(number)
                    if found.header is not None:
                        return found
                except NotFound:
                    pass
                await trio.sleep(0.25)


@contextmanager
def _deadline(seconds: float, text: str) -> Iterator[None]:
    """RequestTimeout(text) when the body takes longer."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise RequestTimeout(text)


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Client]:
    """A client of the node at an http://, https://, ws:// or wss:// URL. Raises ConnectionLost, ValueError."""
    try:
        if url.startswith(("ws://", "wss://")):
            async with open_websocket(url) as socket:
                yield Client(socket, await read_network(socket))
        else:
            async with HttpClient(url) as rpc:
                yield Client(rpc, await read_network(rpc))
    except RpcUnavailable as error:
        raise ConnectionLost(f"no node answers: {error}; check the URL and that it runs") from None


async def read_network(rpc: HttpClient | WsClient) -> Network:
    """Ask a node what to sign for."""
    params = await rpc.call("al_params")
    status = await rpc.call("al_status")
    rollup = bytes.fromhex(params["rollup"][2:])
    sequencer = status.get("sequencer")
    domain = encoding.domain_separator(params["chain_id"], int.from_bytes(rollup, "big"))
    return Network(params["chain_id"], rollup, domain, bytes.fromhex(sequencer[2:]) if sequencer else None)
