"""JSON-RPC 2.0 envelopes: raw payload in, answer bytes out (https://www.jsonrpc.org/specification).

Invariants: every call with an id gets exactly one answer that echoes `jsonrpc` and the id's own bytes and has either
`result` or `error`, never both; a call without id gets none; nothing in a payload raises out of here. Params stay raw
until the application decodes them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog
import trio

from node.transport.types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    PARSE_ERROR,
    SLOW,
    TIMED_OUT,
    Connection,
    Deferred,
    Dispatch,
    Limits,
    RpcError,
    _Failure,
)

log = structlog.get_logger("transport")

ID_BYTES_MAX: Final = 128
_NULL: Final = b"null"
_HEAD: Final = b'{"jsonrpc":"2.0","id":'
_RESULT: Final = b',"result":'
_ERROR: Final = b',"error":'


class _Call(msgspec.Struct, gc=False):
    method: str
    jsonrpc: Literal["2.0"]
    params: msgspec.Raw = msgspec.Raw()
    id: msgspec.Raw = msgspec.Raw()


class _IdOnly(msgspec.Struct, gc=False):
    id: msgspec.Raw = msgspec.Raw(_NULL)


_decode_call = msgspec.json.Decoder(_Call).decode
_decode_id = msgspec.json.Decoder(_IdOnly).decode
_decode_batch = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Done = Callable[[bytes], None]


class Spawn(Protocol):
    """Runs a coroutine function in the connection's nursery."""

    def __call__(self, task: Callable[..., Awaitable[None]], /, *args: Any) -> None: ...


def error_answer(call_id: bytes, error: RpcError) -> bytes:
    """The answer that carries `error`."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    try:
        encoded = _encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError):
        log.exception("error_data_unencodable", code=error.code)
        encoded = _encode({"code": error.code, "message": error.message})
    return b"".join((_HEAD, call_id, _ERROR, encoded, b"}"))


def _valid_id(raw: bytes) -> bool:
    if len(raw) > ID_BYTES_MAX:
        return False
    if raw.isdigit() or raw == _NULL:
        return True
    try:
        return raw[:1] in b'"-0123456789' and _decode_any(raw) is not None
    except _BAD_JSON:
        return False


class Answerer:
    """Turns payloads into answers for one server: begins each call in order, finishes it now or later."""

    def __init__(self, dispatch: Dispatch, limits: Limits) -> None:
        self._dispatch = dispatch
        self._start: Callable[[str, msgspec.Raw, Connection], Any] | None = getattr(dispatch, "start", None)
        self._limits = limits

    def begin(self, payload: bytes, connection: Connection, spawn: Spawn, done: Done) -> None:
        """Begins every call in `payload`; `done(answer)` is called once, now or later (b"" = nothing to send)."""
        if payload[:1] != b"{" and payload.lstrip()[:1] == b"[":
            self._begin_batch(payload, connection, spawn, done)
        else:
            self._begin_one(payload, connection, spawn, done)

    def _begin_one(self, payload: bytes | msgspec.Raw, connection: Connection, spawn: Spawn, done: Done) -> None:
        try:
            call = _decode_call(payload)
        except _BAD_JSON as error:
            done(_rejection(payload, error))
            return
        call_id = bytes(call.id)
        if call_id and not _valid_id(call_id):
            done(error_answer(_NULL, RpcError(
                INVALID_REQUEST, f"id must be a string, a number or null, at most {ID_BYTES_MAX} bytes")))
            return
        start = self._start
        outcome: Any = SLOW
        if start is not None:
            try:
                outcome = start(call.method, call.params, connection)
            except Exception as error:  # every failure of a method becomes its caller's answer
                outcome = _Failure(error)
        if outcome is SLOW:
            spawn(self._run_slow, call, call_id, connection, done)
        elif isinstance(outcome, Deferred):
            outcome.on_done(lambda result: done(self._finish(call.method, call_id, result)))
        else:
            done(self._finish(call.method, call_id, outcome))

    async def _run_slow(self, call: _Call, call_id: bytes, connection: Connection, done: Done) -> None:
        outcome: Any = _Failure(RpcError(TIMED_OUT, f"{call.method} took longer than {self._limits.call_timeout_s} s"))
        with trio.move_on_after(self._limits.call_timeout_s):
            try:
                outcome = await self._dispatch(call.method, call.params, connection)
            except Exception as error:  # every failure of a method becomes its caller's answer
                outcome = _Failure(error)
        if isinstance(outcome, Deferred):
            outcome.on_done(lambda result: done(self._finish(call.method, call_id, result)))
        else:
            done(self._finish(call.method, call_id, outcome))

    def _finish(self, method: str, call_id: bytes, outcome: Any) -> bytes:
        if isinstance(outcome, _Failure):
            error = _public_error(method, outcome.error)
            return error_answer(call_id, error) if call_id else b""
        if not call_id:
            return b""
        try:
            encoded = _encode(outcome)
        except Exception as error:  # an unencodable result is our bug, and still needs an answer
            return error_answer(call_id, _public_error(method, error))
        if len(encoded) > self._limits.answer_bytes_max:
            reason = f"the answer is larger than {self._limits.answer_bytes_max} bytes: ask for a smaller range"
            return error_answer(call_id, RpcError(LIMIT_EXCEEDED, reason))
        return b"".join((_HEAD, call_id, _RESULT, encoded, b"}"))

    def _begin_batch(self, payload: bytes, connection: Connection, spawn: Spawn, done: Done) -> None:
        try:
            items = _decode_batch(payload)
        except _BAD_JSON as error:
            done(error_answer(_NULL, RpcError(PARSE_ERROR, f"not JSON: {error}")))
            return
        limit = self._limits.batch_calls_max
        if not items or len(items) > limit:
            reason = "an empty batch" if not items else f"a batch of {len(items)} calls, more than {limit}: split it"
            done(error_answer(_NULL, RpcError(INVALID_REQUEST if not items else LIMIT_EXCEEDED, reason)))
            return
        batch = _Batch(len(items), self._limits.answer_bytes_max, done)
        for position, item in enumerate(items):
            self._begin_one(item, connection, spawn, batch.slot(position))


class _Batch:
    """Collects a batch's answers in the order of its calls and sends them as one."""

    def __init__(self, count: int, bytes_max: int, done: Done) -> None:
        self._answers: list[bytes] = [b""] * count
        self._waiting = count
        self._bytes_left = bytes_max
        self._done = done

    def slot(self, position: int) -> Done:
        def fill(answer: bytes) -> None:
            self._bytes_left -= len(answer)
            if answer and self._bytes_left < 0:
                answer = error_answer(bytes(_decode_id(answer).id), RpcError(
                    LIMIT_EXCEEDED, "the batch's answers together are too large: split it"))
            self._answers[position] = answer
            self._waiting -= 1
            if self._waiting == 0:
                answers = [answer for answer in self._answers if answer]
                self._done(b"[" + b",".join(answers) + b"]" if answers else b"")

        return fill


def _rejection(payload: bytes | msgspec.Raw, error: Exception) -> bytes:
    """The answer to a payload that is no valid call; echoes its id when one can be read."""
    call_id = _NULL
    if isinstance(error, msgspec.ValidationError):
        try:
            call_id = bytes(_decode_id(payload).id)
        except _BAD_JSON:
            call_id = _NULL
        return error_answer(call_id if _valid_id(call_id) else _NULL, RpcError(
            INVALID_REQUEST, f"not a JSON-RPC 2.0 call: {error}"))
    return error_answer(_NULL, RpcError(PARSE_ERROR, f"not JSON: {error}"))


def _public_error(method: str, error: Exception) -> RpcError:
    """What a caller may see of `error`: an RpcError as it is, a bug without its details (they go to the log)."""
    if isinstance(error, RpcError):
        return error
    log.error("call_crashed", method=method[:64], exc_info=error)
    return RpcError(INTERNAL_ERROR, "internal error: the server's log has the details")
