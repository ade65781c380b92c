"""One client's connection: HTTP/1.1 with keep-alive and pipelining, or WebSocket after an upgrade.

Invariants: reading pauses while too many payloads are unanswered or too many bytes unsent, so a client's demands are
bounded by the client's own reading; a peer that stalls (a half request, an unread answer, silence on a ping) is
evicted after its time; pipelined requests are answered in order, together, in one write; a method's failure never
ends a connection and a connection's failure never ends the server.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
import trio

from node.transport import frames, http1
from node.transport.envelope import Answerer
from node.transport.outbox import Outbox
from node.transport.types import HttpResponse, HttpRoutes, Limits

log = structlog.get_logger("transport")

_READ_BYTES: Final = 65_536
_WRITE_BYTES: Final = 262_144
#: pipelined HTTP requests whose answers may be held together in memory
_HTTP_GROUP_MAX: Final = 32
_STREAM_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class Session:
    """The Connection that the application sees, and the loops behind it."""

    def __init__(
        self, session_id: int, remote: str, stream: trio.abc.Stream, answerer: Answerer,
        routes: HttpRoutes, limits: Limits,
    ) -> None:
        self.id = session_id
        self.remote = remote
        self.can_push = False
        self.state: dict[str, Any] = {}
        self._stream = stream
        self._answerer = answerer
        self._routes = routes
        self._limits = limits
        self._closers: list[Callable[[], None]] = []
        self._outbox = Outbox(self._write, limits.queue_bytes_max)
        self._in_flight = 0
        self._closed = False
        self._nursery: trio.Nursery

    # --- what the application may do -------------------------------------------------------------------------------

    def push(self, message: bytes) -> bool:
        if self._closed or not self.can_push:
            return False
        self._enqueue(frames.encode_frame(frames.TEXT, message))
        return not self._closed

    def on_close(self, callback: Callable[[], None]) -> None:
        self._closers.append(callback)

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serves until the peer leaves, breaks a limit, or the caller cancels."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self._serve_http()
                self._nursery.cancel_scope.cancel()
        finally:
            self._closed = True
            for callback in self._closers:
                try:
                    callback()
                except Exception:  # the others must still be told
                    log.exception("closer_crashed", connection=self.id)

    def _end(self, event: str, **fields: Any) -> None:
        if not self._closed:
            self._closed = True
            log.info(event, connection=self.id, remote=self.remote, **fields)
            self._nursery.cancel_scope.cancel()

    def _spawn(self, task: Callable[..., Awaitable[None]], /, *args: Any) -> None:
        self._nursery.start_soon(task, *args)

    async def _write(self, data: bytes) -> bool:
        """Sends all; False after the write timeout or when the peer is gone."""
        view = memoryview(data)
        try:
            for start in range(0, len(view), _WRITE_BYTES):
                with trio.move_on_after(self._limits.write_timeout_s) as scope:
                    await self._stream.send_all(view[start : start + _WRITE_BYTES])
                if scope.cancelled_caught:
                    self._end("reader_evicted", unsent_bytes=len(view) - start)
                    return False
        except _STREAM_GONE:
            self._nursery.cancel_scope.cancel()
            return False
        return True

    # --- HTTP --------------------------------------------------------------------------------------------------------

    async def _serve_http(self) -> None:
        limits = self._limits
        parser = http1.RequestParser(header_bytes_max=limits.header_bytes_max, body_bytes_max=limits.body_bytes_max)
        deadline = trio.current_time() + limits.idle_timeout_s
        while True:
            data = await self._read_by(deadline)
            if not data:
                if data is None and not parser.idle:
                    await self._write(http1.response(408, b"request took too long", "text/plain", keep_alive=False))
                return
            was_idle = parser.idle
            requests, refusal, trailing = parser.feed(data)
            upgrade = requests.pop() if trailing is not None and requests else None
            for start in range(0, len(requests), _HTTP_GROUP_MAX):
                if not await self._answer_group(requests[start : start + _HTTP_GROUP_MAX]):
                    return
            if refusal is not None:
                await self._refuse(refusal)
                return
            if trailing is not None:
                if upgrade is not None:
                    await self._upgrade(upgrade, trailing)
                return
            if parser.wants_continue:
                parser.wants_continue = False
                if not await self._write(http1.CONTINUE):
                    return
            if parser.idle:
                deadline = trio.current_time() + limits.idle_timeout_s
            elif was_idle or requests:
                deadline = trio.current_time() + limits.request_timeout_s

    async def _read_by(self, deadline: float) -> bytes | None:
        """Bytes, b"" when the peer is gone, None at the deadline."""
        with trio.move_on_at(deadline):
            try:
                return bytes(await self._stream.receive_some(_READ_BYTES))
            except _STREAM_GONE:
                return b""
        return None

    async def _refuse(self, refusal: http1.HttpRefused) -> None:
        log.info("request_refused", connection=self.id, remote=self.remote, status=refusal.status,
                 reason=refusal.reason)
        await self._write(http1.response(refusal.status, refusal.reason.encode(), "text/plain", keep_alive=False))
        # Without reading on, closing would reset the connection and could destroy the answer on its way.
        with trio.move_on_after(min(1.0, self._limits.write_timeout_s)):
            try:
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                for _ in range(64):
                    if not await self._stream.receive_some(_READ_BYTES):
                        break
            except _STREAM_GONE:
                pass

    async def _answer_group(self, requests: list[http1.Request]) -> bool:
        """Answers pipelined requests in order and in one write. False when the connection must close."""
        group = _Group(len(requests))
        for position, request in enumerate(requests):
            if request.method == b"POST" and self._origin_allowed(request):
                self._answerer.begin(request.body, self, self._spawn, self._json_slot(request, group, position))
            else:
                self._spawn(self._answer_plain, request, group, position)
        if not group.complete.is_set():
            # A slow call has its own timeout; the margin is for a Deferred that nobody completed.
            with trio.move_on_after(self._limits.call_timeout_s + 1):
                await group.complete.wait()
        ready = 0
        for request, answer in zip(requests, group.responses, strict=True):
            if not answer:
                late = http1.response(503, b"the call was not completed in time", "text/plain", keep_alive=False)
                await self._write(b"".join(group.responses[:ready]) + late)
                return False
            ready += 1
            if not request.keep_alive:
                break
        return await self._write(b"".join(group.responses[:ready])) and requests[ready - 1].keep_alive

    def _json_slot(self, request: http1.Request, group: _Group, position: int) -> Callable[[bytes], None]:
        def fill(answer: bytes) -> None:
            group.fill(position, http1.response(
                200, answer, keep_alive=request.keep_alive, extra=self._cors(request)))

        return fill

    def _origin_allowed(self, request: http1.Request) -> bool:
        """Browsers send Origin: without this check any web page could drive a node on its visitor's machine."""
        origin = request.headers.get(b"origin")
        if origin is None:
            return True
        origins = self._limits.origins
        return "*" in origins or origin.decode("latin-1") in origins

    def _cors(self, request: http1.Request) -> bytes:
        origin = request.headers.get(b"origin")
        if origin is None:
            return b""
        return b"Access-Control-Allow-Origin: %b\r\nVary: Origin\r\n" % origin

    async def _answer_plain(self, request: http1.Request, group: _Group, position: int) -> None:
        """Everything that is no JSON-RPC POST: routes, preflights, refusals."""
        extra = b""
        route = self._routes.get(request.path)
        if not self._origin_allowed(request):
            reply = HttpResponse(403, b"this Origin may not call; allow it in rpc.origins")
        elif request.method == b"OPTIONS":
            reply = HttpResponse(200, b"")
            extra = b"Access-Control-Allow-Methods: POST, GET\r\nAccess-Control-Allow-Headers: Content-Type\r\n"
        elif request.method != b"GET":
            reply, extra = HttpResponse(405, b"POST JSON-RPC here"), b"Allow: POST, GET, OPTIONS\r\n"
        elif route is None:
            reply = HttpResponse(404, b"nothing here: POST JSON-RPC, or open a WebSocket")
        else:
            try:
                reply = await route()
            except Exception:  # a broken route is our bug; the client gets an answer and the log the details
                log.exception("route_crashed", path=request.path)
                reply = HttpResponse(500, b"internal error")
        if reply.status != 403:
            extra += self._cors(request)
        group.fill(position, http1.response(
            reply.status, reply.body, reply.content_type, keep_alive=request.keep_alive, extra=extra))

    # --- WebSocket ---------------------------------------------------------------------------------------------------

    async def _upgrade(self, request: http1.Request, trailing: bytes) -> None:
        try:
            if not request.wants_websocket:
                raise http1.HttpRefused(400, "only upgrades to websocket are served")
            if not self._origin_allowed(request):
                raise http1.HttpRefused(403, "this Origin may not call; allow it in rpc.origins")
            answer = http1.upgrade_response(request)
        except http1.HttpRefused as refusal:
            await self._refuse(refusal)
            return
        if await self._write(answer):
            self.can_push = True
            self._nursery.start_soon(self._outbox.run)
            await self._read_frames(trailing)

    def _enqueue(self, frame: bytes) -> None:
        if not self._outbox.add(frame):
            self._end("reader_evicted", unsent_bytes=self._outbox.bytes)

    def _answered(self, answer: bytes) -> None:
        self._in_flight -= 1
        if answer and not self._closed:
            self._enqueue(frames.encode_frame(frames.TEXT, answer))
        self._outbox.note_change()

    @property
    def _overloaded(self) -> bool:
        return self._in_flight >= self._limits.in_flight_max or self._outbox.full

    async def _read_frames(self, data: bytes) -> None:
        limits = self._limits
        decoder = frames.FrameDecoder(expect_masked=True, message_bytes_max=limits.body_bytes_max)
        pinged = False
        message_by = math.inf
        while True:
            try:
                messages = decoder.feed(data)
                if not await self._accept(messages):
                    return
            except frames.FrameError as error:
                await self._close(error.code, error.reason)
                return
            now = trio.current_time()
            if decoder.idle:
                message_by = math.inf
            elif message_by == math.inf or any(message.opcode <= frames.BINARY for message in messages):
                message_by = now + limits.request_timeout_s
            received = await self._read_by(min(message_by, now + limits.ping_interval_s))
            if received == b"":
                return
            if trio.current_time() >= message_by:
                await self._close(frames.POLICY_VIOLATION, "message took too long")
                return
            if received is None and pinged:
                self._end("connection_silent")
                return
            pinged = received is None
            if pinged:
                self._enqueue(frames.encode_frame(frames.PING, b""))
            data = received or b""

    async def _accept(self, messages: list[frames.Message]) -> bool:
        """Begins the calls in `messages` and sends what is ready. False after a close frame."""
        outbox = self._outbox
        outbox.held = True
        for message in messages:
            if message.opcode <= frames.BINARY:
                while self._overloaded:
                    outbox.release()
                    await outbox.wait_for_change()
                outbox.held = True
                self._in_flight += 1
                self._answerer.begin(message.payload, self, self._spawn, self._answered)
            elif message.opcode == frames.PING:
                self._enqueue(frames.encode_frame(frames.PONG, message.payload))
            elif message.opcode == frames.CLOSE:
                await self._close(frames.close_code(message.payload), "")
                return False
        outbox.held = False
        await outbox.flush()
        return True

    async def _close(self, code: int, reason: str) -> None:
        """Says goodbye after what is queued, then lets the connection end."""
        self._enqueue(frames.encode_close(code, reason))
        self._outbox.release()
        self.can_push = False
        with trio.move_on_after(self._limits.write_timeout_s):
            while self._outbox.bytes:
                await self._outbox.wait_for_change()


class _Group:
    """The whole responses to pipelined HTTP requests, by position; b"" while one is missing."""

    def __init__(self, count: int) -> None:
        self.responses: list[bytes] = [b""] * count
        self._waiting = count
        self.complete = trio.Event()

    def fill(self, position: int, whole_response: bytes) -> None:
        self.responses[position] = whole_response
        self._waiting -= 1
        if self._waiting == 0:
            self.complete.set()
