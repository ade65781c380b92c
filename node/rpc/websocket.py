"""The WebSocket side of the client: pipelined calls and subscriptions over one connection. See node.rpc.client."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

import msgspec
import trio

from node.rpc.wire import (
    READ_BYTES,
    Endpoint,
    Incoming,
    Params,
    RpcUnavailable,
    connect,
    decode_as,
    decode_incoming,
    encode_call,
    result_of,
)
from node.transport import frames
from node.transport.http1 import accept_key

_HEAD_BYTES_MAX: Final = 16_384
_CLOSE_TIMEOUT_S: Final = 2.0
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class _Notification(msgspec.Struct):
    channel: str
    data: msgspec.Raw


class _Waiter:
    """A call in flight."""

    __slots__ = ("answer", "done", "on_answer")

    def __init__(self, on_answer: Callable[[Incoming], None] | None) -> None:
        self.answer: Incoming | None = None
        self.done = trio.Event()
        self.on_answer = on_answer


class Subscription:
    """A channel's snapshot and, by iteration, every change after it, in order and without gaps.

    A consumer that falls more than `queue_max` changes behind gets RpcUnavailable after what is queued: it must
    subscribe again for a new snapshot. Close it, or use it with `async with`.
    """

    def __init__(self, client: WsClient, channel: str, queue_max: int, kind: Any) -> None:
        self.channel = channel
        self.snapshot: Any = None
        self._client = client
        self._kind = kind
        self._send, self._receive = trio.open_memory_channel[msgspec.Raw](queue_max)
        self._problem = ""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            raw = await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            if self._problem:
                raise RpcUnavailable(f"subscription to {self.channel}: {self._problem}") from None
            raise StopAsyncIteration from None
        return decode_as(raw, self._kind, f"subscription to {self.channel}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops following; unsubscribes at the server when nobody else here follows the channel."""
        self._send.close()
        self._receive.close()
        await self._client._leave(self)

    def _offer(self, raw: msgspec.Raw) -> None:
        try:
            self._send.send_nowait(raw)
        except trio.WouldBlock:
            self._end("fell behind; subscribe again for a new snapshot")
        except trio.ClosedResourceError:
            return

    def _end(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._send.close()


class Reply:
    """A call that was begun. Its place among the calls in flight is free once its result was asked for."""

    __slots__ = ("_call_id", "_client", "_method", "_waiter")

    def __init__(self, client: WsClient, method: str, call_id: int, waiter: _Waiter) -> None:
        self._client = client
        self._method = method
        self._call_id = call_id
        self._waiter = waiter

    async def result(self, kind: Any = Any, *, timeout_s: float | None = None) -> Any:
        """The result decoded as `kind`; ask once. Raises RpcError or RpcUnavailable."""
        client = self._client
        timeout_s = client._timeout_s if timeout_s is None else timeout_s
        try:
            with trio.move_on_after(timeout_s):
                await self._waiter.done.wait()
        finally:
            client._waiting.pop(self._call_id, None)
            client._slots.release()
        if self._waiter.answer is None:
            client._require_open()
            raise RpcUnavailable(f"{client._shown} did not answer {self._method} within {timeout_s} s")
        return result_of(self._waiter.answer, self._method, kind)


class WsClient:
    """One WebSocket connection; made by `open_websocket`. Tasks share it; calls that are begun keep their order."""

    def __init__(
        self, stream: trio.abc.Stream, shown: str, *, timeout_s: float, in_flight_max: int, message_bytes_max: int,
        ping_interval_s: float,
    ) -> None:
        self._stream = stream
        self._shown = shown
        self._timeout_s = timeout_s
        self._ping_interval_s = ping_interval_s
        self._decoder = frames.FrameDecoder(expect_masked=False, message_bytes_max=message_bytes_max)
        self._slots = trio.Semaphore(in_flight_max)
        self._waiting: dict[int, _Waiter] = {}
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._ids = count(1)
        self._queue: list[bytes] = []
        self._queued = trio.lowlevel.ParkingLot()
        self._problem = ""

    async def call(self, method: str, params: Params = None, *, kind: Any = Any, timeout_s: float | None = None) -> Any:
        """The result of one call, decoded as `kind`. Raises RpcError or RpcUnavailable."""
        return result_of(await self._call(method, params, timeout_s, None), method, kind)

    async def begin(self, method: str, params: Params = None) -> Reply:
        """Sends a call, after those begun before it, and returns at once; the answer comes through the reply.

        Waits while `in_flight_max` calls are unanswered. Raises RpcUnavailable when the connection has ended.
        """
        await self._slots.acquire()
        if self._problem:
            self._slots.release()
            self._require_open()
        call_id = next(self._ids)
        waiter = self._waiting[call_id] = _Waiter(None)
        self._enqueue(frames.TEXT, encode_call(call_id, method, params))
        return Reply(self, method, call_id, waiter)

    async def subscribe(self, channel: str, *, kind: Any = Any, queue_max: int = 4_096) -> Subscription:
        """Follows a channel; snapshot and changes are decoded as `kind`. Raises RpcError or RpcUnavailable."""
        subscription = Subscription(self, channel, queue_max, kind)

        def activate(answer: Incoming) -> None:
            # In the reader, before it looks at the next message: no change can pass between.
            if answer.error is None:
                self._subscriptions.setdefault(channel, []).append(subscription)

        answer = await self._call("subscribe", {"channels": [channel]}, None, activate)
        rows = result_of(answer, "subscribe", list[dict[str, msgspec.Raw]])
        raw = rows[0].get("snapshot") if rows else None
        if raw is not None and bytes(raw) != b"null":
            subscription.snapshot = decode_as(raw, kind, f"snapshot of {channel}")
        return subscription

    async def _leave(self, subscription: Subscription) -> None:
        others = self._subscriptions.get(subscription.channel, [])
        if subscription not in others:
            return
        others.remove(subscription)
        if not others:
            del self._subscriptions[subscription.channel]
            if not self._problem:
                with suppress(RpcUnavailable):  # the connection's end unsubscribes as well
                    await self.call("unsubscribe", {"channels": [subscription.channel]})

    async def _call(
        self, method: str, params: Params, timeout_s: float | None, on_answer: Callable[[Incoming], None] | None,
    ) -> Incoming:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        with trio.move_on_after(timeout_s):
            async with self._slots:
                self._require_open()
                call_id = next(self._ids)
                waiter = self._waiting[call_id] = _Waiter(on_answer)
                self._enqueue(frames.TEXT, encode_call(call_id, method, params))
                try:
                    await waiter.done.wait()
                finally:
                    self._waiting.pop(call_id, None)
                if waiter.answer is None:
                    self._require_open()
                    raise AssertionError("a waiter is woken by an answer or by the connection's end")
                return waiter.answer
        raise RpcUnavailable(f"{self._shown} did not answer {method} within {timeout_s} s")

    def _require_open(self) -> None:
        if self._problem:
            raise RpcUnavailable(f"{self._shown}: {self._problem}")

    def _enqueue(self, opcode: int, payload: bytes) -> None:
        self._queue.append(frames.encode_frame(opcode, payload, masked=True))
        self._queued.unpark()

    def _end(self, problem: str) -> None:
        """Fails whatever waits; the first problem is the one that is told."""
        self._problem = self._problem or problem
        for waiter in self._waiting.values():
            waiter.done.set()
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription._end(self._problem)

    async def _write_loop(self) -> None:
        try:
            while True:
                while not self._queue:
                    await self._queued.park()
                data = b"".join(self._queue)
                self._queue.clear()
                await self._stream.send_all(data)
        except _GONE as error:
            self._end(f"the connection broke: {error}")

    async def _read_loop(self, data: bytes) -> None:
        """Ends with the connection; whoever waits is told why."""
        problem = ""
        pinged = False
        try:
            while not problem:
                problem = self._accept(data)
                received: bytes | bytearray | None = None
                if not problem:
                    with trio.move_on_after(self._ping_interval_s):
                        received = await self._stream.receive_some(READ_BYTES)
                    if received is None and pinged:
                        problem = "the server is silent"
                    elif received == b"":
                        problem = "the server closed the connection"
                    pinged = received is None
                    if pinged:
                        self._enqueue(frames.PING, b"")
                data = bytes(received or b"")
        except _GONE as error:
            problem = f"the connection broke: {error}"
        except frames.FrameError as error:
            problem = f"the server broke the WebSocket protocol: {error.reason}"
        except RpcUnavailable as error:
            problem = str(error)
        self._end(problem)

    def _accept(self, data: bytes) -> str:
        """Handles what `data` completes; a text when the server said goodbye."""
        for message in self._decoder.feed(data):
            if message.opcode <= frames.BINARY:
                self._accept_message(decode_incoming(message.payload))
            elif message.opcode == frames.PING:
                self._enqueue(frames.PONG, message.payload)
            elif message.opcode == frames.CLOSE:
                reason = message.payload[2:].decode("utf-8", "replace")
                return f"the server closed the WebSocket ({frames.close_code(message.payload)} {reason})".rstrip()
        return ""

    def _accept_message(self, incoming: Incoming) -> None:
        if incoming.method == "subscription":
            try:
                note = msgspec.json.decode(incoming.params, type=_Notification)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RpcUnavailable(f"malformed notification: {error}") from error
            for subscription in list(self._subscriptions.get(note.channel, ())):
                subscription._offer(note.data)
            return
        waiter = self._waiting.get(incoming.id) if isinstance(incoming.id, int) else None
        if waiter is not None:  # else: an answer to a call that timed out
            waiter.answer = incoming
            if waiter.on_answer is not None:
                waiter.on_answer(incoming)
            waiter.done.set()

    async def _goodbye(self) -> None:
        """Sends what is queued and a close frame, briefly; then closes the connection."""
        with trio.move_on_after(_CLOSE_TIMEOUT_S) as scope:
            scope.shield = True
            if not self._problem:
                self._queue.append(frames.encode_close(frames.NORMAL_CLOSURE, masked=True))
                with suppress(*_GONE):
                    await self._stream.send_all(b"".join(self._queue))
        self._end("this client is closed")
        await trio.aclose_forcefully(self._stream)


@asynccontextmanager
async def open_websocket(
    url: str, *, timeout_s: float = 30.0, in_flight_max: int = 1_024, message_bytes_max: int = 16_777_216,
    ping_interval_s: float = 30.0,
) -> AsyncIterator[WsClient]:
    """A connected WsClient. Raises ValueError for a URL that is not ws or wss, RpcUnavailable when there is no server.

    `timeout_s` bounds the connection's start and is every call's default; `in_flight_max` further calls wait.
    """
    endpoint = Endpoint.parse(url, ("ws", "wss"))
    started = None
    with trio.move_on_after(timeout_s):
        started = await _start(endpoint)
    if started is None:
        raise RpcUnavailable(f"{endpoint.shown} did not open a WebSocket within {timeout_s} s")
    stream, trailing = started
    client = WsClient(
        stream, endpoint.shown, timeout_s=timeout_s, in_flight_max=in_flight_max,
        message_bytes_max=message_bytes_max, ping_interval_s=ping_interval_s)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client._write_loop)
            nursery.start_soon(client._read_loop, trailing)
            try:
                yield client
            except Exception as error:  # raised below as it is, not in the nursery's group
                failure = error
            finally:
                nursery.cancel_scope.cancel()
    finally:
        await client._goodbye()  # after the writer has ended: a stream has one writer at a time
    if failure is not None:
        raise failure


async def _start(endpoint: Endpoint) -> tuple[trio.abc.Stream, bytes]:
    """The stream after a successful handshake, and the bytes that came with it. Raises RpcUnavailable."""
    stream = await connect(endpoint)
    key = base64.b64encode(os.urandom(16))
    try:
        await stream.send_all(
            f"GET {endpoint.target} HTTP/1.1\r\nHost: {endpoint.authority}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received and len(received) <= _HEAD_BYTES_MAX:
            data = await stream.receive_some(READ_BYTES)
            if not data:
                break
            received += data
        _check_handshake(received, key, endpoint.shown)
    except _GONE as error:
        await trio.aclose_forcefully(stream)
        raise RpcUnavailable(f"{endpoint.shown} broke the connection: {error}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream, received.split(b"\r\n\r\n", 1)[1]


def _check_handshake(received: bytes, key: bytes, shown: str) -> None:
    head, complete, body = received.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
    if not complete or not lines[0].startswith(b"HTTP/1.1 101"):
        said = (lines[0] + b" " + body[:200]).decode("utf-8", "replace").strip()
        raise RpcUnavailable(f"{shown} refused the WebSocket: {said or 'no answer'}")
    if headers.get(b"sec-websocket-accept") != accept_key(key):
        raise RpcUnavailable(f"{shown} is no WebSocket server: its accept key is wrong")
