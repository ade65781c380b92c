"""HTTP/1.1 requests and responses as bytes (httptools/llhttp parses). No I/O.

Invariants: a request's head and body are bounded while they arrive; a refused request is the last one of its
connection; an upgrade hands over the bytes that follow it untouched.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from http import HTTPStatus
from typing import Final

import httptools

_WS_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEPT_HEADERS: Final = frozenset((
    b"origin", b"upgrade", b"connection", b"expect", b"host",
    b"sec-websocket-key", b"sec-websocket-version",
    b"access-control-request-method",
))
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request:
    """One parsed request."""

    __slots__ = ("body", "headers", "keep_alive", "method", "target")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True

    @property
    def path(self) -> str:
        return self.target.split(b"?", 1)[0].decode("latin-1")

    @property
    def wants_websocket(self) -> bool:
        return self.headers.get(b"upgrade", b"").lower() == b"websocket"


class HttpRefused(Exception):
    """The request cannot be served: answer `status` with the reason and close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class RequestParser:
    """Bytes in, whole requests out, in order."""

    def __init__(self, *, header_bytes_max: int, body_bytes_max: int) -> None:
        self._header_bytes_max = header_bytes_max
        self._body_bytes_max = body_bytes_max
        self._parser = httptools.HttpRequestParser(self)
        self._ready: list[Request] = []
        self._request: Request | None = None
        self._body: list[bytes] = []
        self._head_part_bytes = self._head_read_bytes = self._body_bytes = 0
        self._in_head = False
        self._refusal: HttpRefused | None = None
        self.wants_continue = False

    @property
    def idle(self) -> bool:
        """True between requests: nothing half received."""
        return self._request is None

    def feed(self, data: bytes) -> tuple[list[Request], HttpRefused | None, bytes | None]:
        """(whole requests, why the next one is refused or None, the bytes after an upgrade request or None)."""
        ready: list[Request] = []
        self._ready = ready
        trailing: bytes | None = None
        head_before = self._request if self._in_head else None
        try:
            if self._refusal is None:
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            trailing = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            self._refusal = self._refusal or HttpRefused(400, f"malformed HTTP: {error}")
        if self._in_head and self._request is head_before:
            # The whole read belonged to one head; llhttp itself would collect an endless header.
            self._head_read_bytes += len(data)
            self._check_head(self._head_read_bytes)
        return ready, self._refusal, trailing

    def _check_head(self, size: int) -> None:
        if size > self._header_bytes_max:
            self._refuse(431, f"the request's head is larger than {self._header_bytes_max} bytes")

    def _refuse(self, status: int, reason: str) -> None:
        if self._refusal is None:
            self._refusal = HttpRefused(status, reason)

    # httptools calls these; an exception in one would surface as a parser error, so refusals are noted instead.

    def on_message_begin(self) -> None:
        self._request = Request()
        self._body.clear()
        self._head_part_bytes = self._head_read_bytes = self._body_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        assert self._request is not None
        self._request.target += url
        self._count_head_part(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        assert self._request is not None
        value = value or b""
        name = name.lower()
        self._count_head_part(len(name) + len(value))
        if name in _KEPT_HEADERS:
            self._request.headers[name] = value
        elif name == b"content-length" and len(value) < 20 and value.isdigit() and int(value) > self._body_bytes_max:
            self._refuse_body()

    def _count_head_part(self, size: int) -> None:
        self._head_part_bytes += size
        self._check_head(self._head_part_bytes)

    def _refuse_body(self) -> None:
        self._refuse(413, f"the request's body is larger than {self._body_bytes_max} bytes")

    def on_headers_complete(self) -> None:
        assert self._request is not None
        self._in_head = False
        self._request.method = self._parser.get_method()
        self.wants_continue = self._request.headers.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._body_bytes_max:
            self._refuse_body()
        if self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        request = self._request
        assert request is not None
        self._request = None
        self.wants_continue = False
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request.keep_alive = self._parser.should_keep_alive()
        if self._refusal is None:
            self._ready.append(request)


def response(
    status: int, body: bytes, content_type: str = "application/json", *,
    keep_alive: bool = True, extra: bytes = b"",
) -> bytes:
    """One whole response; `extra` is further header lines, each ending in CRLF."""
    if status == 200 and keep_alive and not extra and content_type == "application/json":
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    return b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b%b\r\n%b" % (
        status, HTTPStatus(status).phrase.encode(), content_type.encode(), len(body), extra,
        b"" if keep_alive else b"Connection: close\r\n", body,
    )


def upgrade_response(request: Request) -> bytes:
    """The answer that switches to WebSocket (RFC 6455 §4.2). Raises HttpRefused for a bad handshake."""
    headers = request.headers
    key = headers.get(b"sec-websocket-key", b"")
    tokens = [token.strip().lower() for token in headers.get(b"connection", b"").split(b",")]
    if request.method != b"GET" or b"upgrade" not in tokens:
        raise HttpRefused(400, "a WebSocket handshake is a GET with Connection: Upgrade")
    if headers.get(b"sec-websocket-version") != b"13":
        raise HttpRefused(426, "only WebSocket version 13 is spoken here")
    try:
        valid_key = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        valid_key = False
    if not valid_key:
        raise HttpRefused(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_key(key)
    )


def accept_key(key: bytes) -> bytes:
    """The server's proof that it read the handshake (RFC 6455 §1.3)."""
    return base64.b64encode(hashlib.sha1(key + _WS_GUID, usedforsecurity=False).digest())
