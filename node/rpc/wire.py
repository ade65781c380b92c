"""What the HTTP and the WebSocket client share: endpoints, connecting, calls and answers as bytes."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
import trio

from node.transport import RpcError

READ_BYTES: Final = 65_536
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}

Params = dict[str, Any] | Sequence[Any] | msgspec.Struct | None


class RpcUnavailable(Exception):
    """There is no answer to judge: not reachable, timed out, closed, not JSON-RPC. The call may have had its effect."""


class Endpoint(NamedTuple):
    """A server's address, taken apart. `shown` leaves out what may be an access key."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str, schemes: tuple[str, ...]) -> Endpoint:
        """Raises ValueError when `url` is not one of `schemes` with a host."""
        parts = urlsplit(url)
        if parts.scheme not in schemes or not parts.hostname or parts.username is not None:
            raise ValueError(f"not a usable URL: give {' or '.join(schemes)}://host:port, without a user name")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if not target.isascii() or any(char <= " " for char in target):
            raise ValueError("not a usable URL: percent-encode its path")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme], target)

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def shown(self) -> str:
        return f"{self.scheme}://{self.authority}"


class _Error(msgspec.Struct):
    code: int
    message: str
    data: Any = None


class Incoming(msgspec.Struct):
    """An answer, or a notification (then `method` is set)."""

    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None
    method: str = ""
    params: msgspec.Raw = msgspec.Raw()


_encode = msgspec.json.Encoder().encode
_decode_one = msgspec.json.Decoder(Incoming).decode
_decode_many = msgspec.json.Decoder(list[Incoming]).decode


def encode_call(call_id: int, method: str, params: Params) -> bytes:
    """One JSON-RPC call. Raises TypeError when params cannot be JSON."""
    head = b'{"jsonrpc":"2.0","id":%d,"method":%b' % (call_id, _encode(method))
    return head + b"}" if params is None else head + b',"params":' + _encode(params) + b"}"


def decode_incoming(payload: bytes) -> Incoming:
    """One message from a server. Raises RpcUnavailable when it is none."""
    try:
        return _decode_one(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcUnavailable(f"the server's answer is not JSON-RPC: {error}") from error


def decode_batch(payload: bytes) -> list[Incoming]:
    """The answers to a batch; a single error that refuses it whole is raised as RpcError."""
    if payload.lstrip()[:1] == b"{":
        refusal = decode_incoming(payload).error
        if refusal is not None:
            raise RpcError(refusal.code, refusal.message, refusal.data)
    try:
        return _decode_many(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcUnavailable(f"the server's answer is not a JSON-RPC batch: {error}") from error


def result_of(answer: Incoming, method: str, kind: Any) -> Any:
    """The result decoded as `kind`. Raises the server's RpcError, or RpcUnavailable for a result of another shape."""
    if answer.error is not None:
        raise RpcError(answer.error.code, answer.error.message, answer.error.data)
    if not bytes(answer.result):
        raise RpcUnavailable(f"{method}: the answer has neither result nor error")
    return decode_as(answer.result, kind, method)


def decode_as(raw: msgspec.Raw, kind: Any, what: str) -> Any:
    """Raw JSON decoded as `kind`. Raises RpcUnavailable naming `what` when it has another shape."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcUnavailable(f"{what}: the server sent another shape than expected: {error}") from error


async def connect(endpoint: Endpoint) -> trio.abc.Stream:
    """A connection to the endpoint, over TLS when its scheme says so. Raises RpcUnavailable."""
    try:
        if endpoint.scheme in ("https", "wss"):
            secure = await trio.open_ssl_over_tcp_stream(endpoint.host, endpoint.port, https_compatible=True)
            await secure.do_handshake()
            return secure
        return await trio.open_tcp_stream(endpoint.host, endpoint.port)
    except (OSError, ssl.SSLError, trio.BrokenResourceError) as error:
        raise RpcUnavailable(f"{endpoint.shown} cannot be reached: {error}") from error
