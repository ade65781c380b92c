"""A small server with one method of every sort, in memory or on a port, and raw ways to talk to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

import msgspec
import trio
import trio.testing

from node.metrics import Metrics
from node.rpc.errors import ErrorKind, fail
from node.rpc.server import Registry, routes
from node.rpc.subscriptions import Hub
from node.transport import Bound, Connection, Deferred, Limits, Server, serve
from node.transport.frames import FrameDecoder, Message, encode_frame


class Order(msgspec.Struct, forbid_unknown_fields=True):
    market: int
    lots: Annotated[int, msgspec.Meta(ge=1)]


class World:
    """The application under the tests: what it was told and what it can be made to do."""

    def __init__(self) -> None:
        self.metrics = Metrics("test", "0")
        self.registry = Registry("test server", "0", self.metrics)
        self.hub = Hub(self.metrics)
        self.hub.register(self.registry)
        self.hub.family("heads", lambda argument: {"number": self.head}, "the newest block")
        self.hub.family("book", self._book, "a market's book")
        self.head = 0
        self.deferred: list[Deferred[Any]] = []
        self.calls: list[int] = []
        self.cancelled = 0
        self.gate = trio.Event()
        self._dialled: list[trio.SocketStream] = []
        self._add_methods()

    def _book(self, argument: str) -> Any:
        if not argument.isdigit():
            raise fail(ErrorKind.BadSymbol, f"no market {argument!r}", param="channels")
        return None

    def _add_methods(self) -> None:
        methods = self.registry

        @methods.method("echo")
        def echo(value: Any = None) -> Any:
            """Answers its parameter."""
            return value

        @methods.method("note")
        def note(number: int) -> int:
            self.calls.append(number)
            return number

        @methods.method("slow_echo")
        async def slow_echo(value: Any = None) -> Any:
            await trio.lowlevel.checkpoint()
            return value

        @methods.method("wait")
        async def wait() -> str:
            try:
                await self.gate.wait()
            except trio.Cancelled:
                self.cancelled += 1
                raise
            return "opened"

        @methods.method("commit")
        def commit(connection: Connection) -> Deferred[Any]:
            deferred: Deferred[Any] = Deferred()
            self.deferred.append(deferred)
            return deferred

        @methods.method("place")
        def place(order: Order, account: int, label: str = "") -> dict[str, Any]:
            """Places an order."""
            return {"market": order.market, "account": account, "label": label}

        @methods.method("broken")
        def broken() -> None:
            raise ZeroDivisionError("secret detail")

        @methods.method("unencodable")
        def unencodable() -> Any:
            return object()

        @methods.method("poor")
        def poor() -> None:
            raise fail(ErrorKind.InsufficientFunds, "12 micro-USD are free, 15 are needed", reason="INSUFFICIENT_FREE")

        @methods.method("zeros")
        def zeros(size: int) -> str:
            return "0" * size

        @methods.method("web3_clientVersion")
        def client_version() -> str:
            return "anchorline/test"

    def server(self, limits: Limits | None = None) -> Server:
        return Server(self.registry, limits=limits, http_routes=routes(self.metrics))

    @asynccontextmanager
    async def connected(
        self, limits: Limits | None = None, *, lockstep: bool = False,
    ) -> AsyncIterator[trio.StapledStream[Any, Any]]:
        """A client's end of a connection in memory."""
        pair = trio.testing.lockstep_stream_pair if lockstep else trio.testing.memory_stream_pair
        ours, theirs = pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.server(limits).handle, theirs)
            yield ours
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def listening(self, limits: Limits | None = None) -> AsyncIterator[Bound]:
        """The server on a free port of this machine."""
        async with trio.open_nursery() as nursery:
            run = partial(serve, limits=limits, http_routes=routes(self.metrics))
            try:
                yield await nursery.start(run, "127.0.0.1", 0, self.registry)
            finally:
                nursery.cancel_scope.cancel()
                for stream in self._dialled:
                    stream.socket.close()

    async def dial(self, bound: Bound) -> trio.SocketStream:
        """A connection of a client; closed with the server."""
        stream = await trio.open_tcp_stream(bound.host, bound.port)
        self._dialled.append(stream)
        return stream


def call(method: str, params: Any = None, call_id: Any = 1) -> bytes:
    """One JSON-RPC call."""
    body = {"jsonrpc": "2.0", "id": call_id, "method": method}
    if params is not None:
        body["params"] = params
    return json.dumps(body).encode()


def post(body: bytes, *headers: str) -> bytes:
    """One HTTP request with a body."""
    lines = ["POST / HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def read_response(stream: trio.abc.ReceiveStream, buffer: bytearray) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of the next response; `buffer` keeps what follows it."""
    while b"\r\n\r\n" not in buffer:
        await _read_more(stream, buffer)
    head, _, _ = bytes(buffer).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    del buffer[: len(head) + 4]
    size = int(headers.get("content-length", "0"))
    while len(buffer) < size:
        await _read_more(stream, buffer)
    body = bytes(buffer[:size])
    del buffer[:size]
    return int(lines[0].split()[1]), headers, body


async def _read_more(stream: trio.abc.ReceiveStream, buffer: bytearray) -> None:
    data = await stream.receive_some()
    if not data:
        raise EOFError(bytes(buffer))
    buffer += data


async def ask(stream: Any, body: bytes) -> Any:
    """Posts `body` and returns the answer's JSON."""
    await stream.send_all(post(body))
    status, _, answer = await read_response(stream, bytearray())
    assert status == 200
    return json.loads(answer)


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Socket:
    """A WebSocket spoken by hand over any stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._decoder = FrameDecoder(expect_masked=False, message_bytes_max=2**24)
        self._ready: list[Message] = []

    @classmethod
    async def open(cls, stream: Any, trailing: bytes = b"") -> Socket:
        await stream.send_all(UPGRADE + trailing)
        socket, buffer = cls(stream), bytearray()
        status, headers, _ = await read_response(stream, buffer)
        assert status == 101 and headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        socket._ready += socket._decoder.feed(bytes(buffer))
        return socket

    async def send(self, payload: bytes, opcode: int = 1) -> None:
        await self.stream.send_all(encode_frame(opcode, payload, masked=True))

    async def receive(self) -> Message:
        """The next message. Raises EOFError at the connection's end."""
        while not self._ready:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._ready += self._decoder.feed(bytes(data))
        return self._ready.pop(0)

    async def answer(self) -> Any:
        message = await self.receive()
        assert message.opcode == 1
        return json.loads(message.payload)
