"""Listens and gives every connection a Session; see the package's docstring for the contract."""

from __future__ import annotations

import errno
from itertools import count
from typing import Final

import structlog
import trio

from node.transport import http1
from node.transport.envelope import Answerer
from node.transport.session import Session
from node.transport.types import Bound, Dispatch, HttpRoutes, Limits

log = structlog.get_logger("transport")

_FULL: Final = http1.response(503, b"too many connections: try again later", "text/plain", keep_alive=False)


class Server:
    """Serves single streams; `serve` feeds it from a listening socket, tests from memory."""

    def __init__(
        self, dispatch: Dispatch, *, limits: Limits | None = None, http_routes: HttpRoutes | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._limits.check()
        self._routes = http_routes or {}
        self._answerer = Answerer(dispatch, self._limits)
        self._ids = count(1)
        self.connections = 0

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Serves one client until it leaves. Raises nothing but cancellation."""
        remote = _peer_name(stream)
        async with stream:
            if self.connections >= self._limits.connections_max:
                log.warning("connection_refused", remote=remote, connections=self.connections)
                with trio.move_on_after(1.0):
                    await _send_quietly(stream, _FULL)
                return
            self.connections += 1
            session = Session(next(self._ids), remote, stream, self._answerer, self._routes, self._limits)
            try:
                await session.run()
            except Exception:  # one connection's bug must not end the others
                log.exception("connection_crashed", connection=session.id, remote=remote)
            finally:
                self.connections -= 1


async def serve(
    host: str,
    port: int,
    dispatch: Dispatch,
    *,
    limits: Limits | None = None,
    http_routes: HttpRoutes | None = None,
    port_fallback: bool = False,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves JSON-RPC over HTTP and WebSocket on `host:port` (port 0 = any free one) until cancelled.

    With `port_fallback`, a port that is taken becomes any free one. Reports where it listens through `task_status`.
    Raises OSError naming the address when it is not available.
    """
    server = Server(dispatch, limits=limits, http_routes=http_routes)
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        if not port_fallback or error.errno != errno.EADDRINUSE:
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        log.warning("port_taken", host=host, port=port)
        listeners = await trio.open_tcp_listeners(0, host=host)
    address = listeners[0].socket.getsockname()
    bound = Bound(str(address[0]), int(address[1]))
    log.info("server_listening", host=bound.host, port=bound.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, server.handle, listeners)
        task_status.started(bound)


def _peer_name(stream: trio.abc.Stream) -> str:
    if not isinstance(stream, trio.SocketStream):
        return "memory"
    try:
        address = stream.socket.getpeername()
    except OSError:
        return "gone"
    return f"{address[0]}:{address[1]}"


async def _send_quietly(stream: trio.abc.Stream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
