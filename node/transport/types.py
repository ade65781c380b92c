"""What the transport and the code above it agree on: limits, errors, deferred results, the dispatch contract.

The transport knows JSON-RPC 2.0 and nothing of the application. Everything the application may hand it, or be handed
by it, is declared here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
LIMIT_EXCEEDED: Final = -32005
TIMED_OUT: Final = -32008


class RpcError(Exception):
    """An answer that is an error: a stable integer `code`, a `message` for people, optional JSON-able `data`."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})" if self.data is None else (
            f"{self.message} (code {self.code}, data {self.data!r})"
        )


class _Slow:
    """The type of `SLOW`."""

    def __repr__(self) -> str:
        return "SLOW"


#: Returned by `FastDispatch.start` when the call needs the async path.
SLOW: Final = _Slow()


Result = TypeVar("Result")


class Deferred(Generic[Result]):
    """A result that arrives later without a task of its own: whoever returned it must `resolve` or `fail` it once.

    Made for answers that wait for something shared (a group commit): one waker completes thousands of them.
    `-> Deferred[Receipt]` tells `rpc.discover` what will arrive.
    """

    __slots__ = ("_callback", "_done", "_outcome")

    def __init__(self) -> None:
        self._callback: Callable[[Any], None] | None = None
        self._outcome: Any = None
        self._done = False

    @property
    def done(self) -> bool:
        return self._done

    def resolve(self, result: Result) -> None:
        """Completes the call with `result` (anything msgspec encodes). A second completion is a bug."""
        self._complete(result)

    def _complete(self, outcome: Any) -> None:
        assert not self._done, "a Deferred is completed once"
        self._done = True
        self._outcome = outcome
        if self._callback is not None:
            self._callback(outcome)

    def fail(self, error: Exception) -> None:
        """Completes the call with an error (an RpcError reaches the caller; anything else is logged as a bug)."""
        self._complete(_Failure(error))

    def on_done(self, callback: Callable[[Any], None]) -> None:
        """Calls back with the result or a failure, at once if it is there already. The transport is the only user."""
        assert self._callback is None, "a Deferred has one listener"
        self._callback = callback
        if self._done:
            callback(self._outcome)


class _Failure:
    """A failed Deferred's outcome."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Connection(Protocol):
    """One client as the application sees it."""

    @property
    def id(self) -> int: ...

    @property
    def remote(self) -> str: ...

    #: True when the server can speak first (WebSocket).
    @property
    def can_push(self) -> bool: ...

    #: The application's own notes on this connection; dropped with it.
    @property
    def state(self) -> dict[str, Any]: ...

    def push(self, message: bytes) -> bool:
        """Queues one JSON text message. False when the connection is closed, or was evicted for not reading."""
        ...

    def on_close(self, callback: Callable[[], None]) -> None:
        """Registers what to undo when the connection ends (sync, must not raise)."""
        ...


class Dispatch(Protocol):
    """The application: answers one call. `params` is raw JSON, empty when absent. Errors are raised as RpcError."""

    def __call__(self, method: str, params: msgspec.Raw, connection: Connection, /) -> Awaitable[Any]: ...


class FastDispatch(Dispatch, Protocol):
    """A Dispatch that can also answer at once: tried first, in the order of arrival on each connection."""

    def start(self, method: str, params: msgspec.Raw, connection: Connection, /) -> Any:
        """The result, or a Deferred, or SLOW to be called as a coroutine. Must not block. Raises RpcError."""
        ...


class HttpResponse(NamedTuple):
    """What a plain HTTP route answers."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


HttpRoutes = Mapping[str, Callable[[], Awaitable[HttpResponse]]]


class Bound(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    @property
    def http_url(self) -> str:
        return f"http://{self._authority}"

    @property
    def ws_url(self) -> str:
        return f"ws://{self._authority}"

    @property
    def _authority(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server. Sizes in bytes, times in seconds."""

    connections_max: int = 512
    header_bytes_max: int = 16_384
    body_bytes_max: int = 1_048_576
    batch_calls_max: int = 100
    #: unanswered payloads (a call or a batch) of one connection; reading pauses above it
    in_flight_max: int = 128
    #: one answer, or all answers of a batch together
    answer_bytes_max: int = 8_388_608
    #: unsent bytes of one WebSocket; reading pauses at a quarter, the connection is evicted above it
    queue_bytes_max: int = 16_777_216
    #: a peer that accepts nothing for so long is evicted
    write_timeout_s: float = 10.0
    #: from a request's first byte to its last
    request_timeout_s: float = 10.0
    idle_timeout_s: float = 120.0
    call_timeout_s: float = 30.0
    #: silence before a WebSocket is pinged; silence for one more such time ends it
    ping_interval_s: float = 30.0
    #: browsers' Origin values that may call; others with an Origin are refused ("*" allows all)
    origins: tuple[str, ...] = field(default=())

    def check(self) -> None:
        """Raises ValueError naming the first limit that is not positive or contradicts another."""
        for name in self.__dataclass_fields__:
            if name != "origins" and getattr(self, name) <= 0:
                raise ValueError(f"limit {name} is {getattr(self, name)}: it must be greater than 0")
        if self.queue_bytes_max < self.answer_bytes_max:
            raise ValueError("limit queue_bytes_max must be at least answer_bytes_max: one answer must fit the queue")
