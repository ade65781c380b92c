"""A JSON-RPC client on trio: `HttpClient` with keep-alive, `open_websocket` with pipelining and subscriptions.

    async with HttpClient("http://127.0.0.1:9545") as rpc:
        account = await rpc.call("get_account", {"account": 7}, kind=AccountView)

    async with open_websocket("ws://127.0.0.1:9545") as rpc:
        async with await rpc.subscribe("book.0") as book:
            book.snapshot
            async for change in book: ...

Invariants: every call ends with its result, the server's RpcError, or RpcUnavailable, at the latest after its timeout;
connections, calls in flight, answer sizes and notification queues are bounded; nothing is ever sent twice: after a
failure the caller knows best whether a call may be repeated.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Any, Self

import httptools
import trio

from node.rpc.websocket import Subscription, WsClient, open_websocket
from node.rpc.wire import (
    READ_BYTES,
    Endpoint,
    Params,
    RpcUnavailable,
    connect,
    decode_batch,
    decode_incoming,
    encode_call,
    result_of,
)
from node.transport import RpcError

__all__ = ["HttpClient", "RpcError", "RpcUnavailable", "Subscription", "WsClient", "open_websocket"]


class HttpClient:
    """Calls over HTTP; up to `connections_max` at once, further ones wait. Times in seconds, sizes in bytes."""

    def __init__(
        self, url: str, *, timeout_s: float = 30.0, connections_max: int = 8, answer_bytes_max: int = 16_777_216,
    ) -> None:
        """Raises ValueError for a URL that is not http or https."""
        self._endpoint = Endpoint.parse(url, ("http", "https"))
        self._timeout_s = timeout_s
        self._answer_bytes_max = answer_bytes_max
        self._slots = trio.Semaphore(connections_max)
        self._idle: list[trio.abc.Stream] = []
        self._ids = count(1)
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        self._closed = True
        with trio.CancelScope(shield=True):  # closing by force takes no time, and must reach every connection
            while self._idle:
                await trio.aclose_forcefully(self._idle.pop())

    async def call(self, method: str, params: Params = None, *, kind: Any = Any, timeout_s: float | None = None) -> Any:
        """The result of one call, decoded as `kind`. Raises RpcError or RpcUnavailable."""
        call_id = next(self._ids)
        answer = decode_incoming(await self._post(encode_call(call_id, method, params), timeout_s))
        if answer.id != call_id and answer.error is None:
            raise RpcUnavailable(f"{method}: the answer belongs to another call")
        return result_of(answer, method, kind)

    async def batch(
        self, calls: Sequence[tuple[str, Params]], *, timeout_s: float | None = None,
    ) -> list[Any]:
        """The results of many calls in one request, in their order; an RpcError stands where a call failed.

        Raises RpcError when the server refuses the batch whole, RpcUnavailable when there is no usable answer.
        """
        if not calls:
            return []
        ids = [next(self._ids) for _ in calls]
        bodies = [encode_call(call_id, *call) for call_id, call in zip(ids, calls, strict=True)]
        answers = {answer.id: answer for answer in decode_batch(
            await self._post(b"[" + b",".join(bodies) + b"]", timeout_s))}
        results: list[Any] = []
        for call_id, (method, _) in zip(ids, calls, strict=True):
            if call_id not in answers:
                raise RpcUnavailable(f"{method}: the batch's answer lacks call {call_id}")
            try:
                results.append(result_of(answers[call_id], method, Any))
            except RpcError as error:
                results.append(error)
        return results

    async def _post(self, body: bytes, timeout_s: float | None) -> bytes:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if self._closed:
            raise RpcUnavailable("this client is closed")
        with trio.move_on_after(timeout_s):
            async with self._slots:
                return await self._exchange(body)
        raise RpcUnavailable(f"{self._endpoint.shown} did not answer within {timeout_s} s")

    async def _exchange(self, body: bytes) -> bytes:
        stream = self._take_idle() or await connect(self._endpoint)
        reader = _ResponseReader(self._answer_bytes_max)
        head = (
            f"POST {self._endpoint.target} HTTP/1.1\r\nHost: {self._endpoint.authority}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reusable = False
        try:
            await stream.send_all(head.encode("ascii") + body)
            while not reader.complete:
                data = await stream.receive_some(READ_BYTES)
                if not data:
                    raise RpcUnavailable(f"{self._endpoint.shown} closed the connection before its answer was whole")
                reader.feed(bytes(data))
            reusable = reader.keep_alive
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            raise RpcUnavailable(f"{self._endpoint.shown} broke the connection: {error}") from error
        finally:
            if reusable and not self._closed:
                self._idle.append(stream)
            else:
                await trio.aclose_forcefully(stream)
        if reader.status != 200:
            text = " ".join(reader.body[:200].decode("utf-8", "replace").split())
            raise RpcUnavailable(f"{self._endpoint.shown} answered HTTP {reader.status}: {text}")
        return reader.body

    def _take_idle(self) -> trio.abc.Stream | None:
        """An idle connection that its server has not closed meanwhile."""
        while self._idle:
            stream = self._idle.pop()
            plain = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            if isinstance(plain, trio.SocketStream) and not _readable(plain.socket.fileno()):
                return stream
            if isinstance(plain, trio.SocketStream):
                plain.socket.close()  # anything readable on an idle connection is its end
        return None


def _readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class _ResponseReader:
    """One HTTP response, bounded."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._bytes = 0
        self.complete = False
        self.keep_alive = False
        self.status = 0

    @property
    def body(self) -> bytes:
        return b"".join(self._parts)

    def feed(self, data: bytes) -> None:
        """Raises RpcUnavailable when the bytes are not HTTP or too many."""
        self._bytes += len(data)
        if self._bytes > self._bytes_max:
            raise RpcUnavailable(f"the answer is larger than {self._bytes_max} bytes")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise RpcUnavailable(f"the server does not speak HTTP: {error}") from error

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:  # not an interim response
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()
