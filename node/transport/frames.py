"""WebSocket frames (RFC 6455): a decoder for either role and an encoder. Pure bytes, no I/O, no extensions.

Invariants: a message longer than `message_bytes_max` is refused before it is buffered whole; control frames may stand
between fragments; a peer that masks wrongly, uses reserved bits, opcodes, close codes or lengths, or sends text that is
not UTF-8 gets the close code that RFC 6455 names. Masking is one XOR of big integers, which is what makes it fast.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
INVALID_DATA: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009

_CONTROL_BYTES_MAX: Final = 125
_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80


class Message(NamedTuple):
    """A whole data message (fragments joined), or a control frame."""

    opcode: int
    payload: bytes


class FrameError(Exception):
    """The peer broke the protocol; close with `code`."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    """XORs `payload` with the 4-byte `mask` repeated; its own inverse."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def encode_frame(opcode: int, payload: bytes, *, masked: bool = False) -> bytes:
    """One final frame. Clients mask, servers must not (RFC 6455 §5.1)."""
    size = len(payload)
    flag = _MASKED if masked else 0
    if size < 126:
        head = bytes((_FIN | opcode, flag | size))
    elif size < 65_536:
        head = bytes((_FIN | opcode, flag | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, flag | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def encode_close(code: int, reason: str = "", *, masked: bool = False) -> bytes:
    """A close frame; the reason is cut to what fits."""
    body = code.to_bytes(2, "big") + reason.encode()[: _CONTROL_BYTES_MAX - 2].decode(errors="ignore").encode()
    return encode_frame(CLOSE, body, masked=masked)


def close_code(payload: bytes) -> int:
    """The code in a close frame's payload, 1000 when there is none. Raises FrameError for an illegal one."""
    if not payload:
        return NORMAL_CLOSURE
    code = int.from_bytes(payload[:2], "big")
    legal = len(payload) >= 2 and (
        (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999
    )
    if not legal:
        raise FrameError(PROTOCOL_ERROR, "illegal close code")
    _require_utf8(payload[2:])
    return code


def _require_utf8(payload: bytes) -> None:
    if payload.isascii():
        return
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise FrameError(INVALID_DATA, "text is not UTF-8") from None


class FrameDecoder:
    """Bytes in, messages out, in order. After a FrameError it must not be fed again."""

    def __init__(self, *, expect_masked: bool, message_bytes_max: int) -> None:
        self._expect_masked = expect_masked
        self._bytes_max = message_bytes_max
        self._buffer = bytearray()
        self._fragments = bytearray()  # not a list: a million one-byte fragments must not cost more than a megabyte
        self._fragment_opcode = 0
        self._fragment_bytes = 0

    @property
    def idle(self) -> bool:
        """True between messages: nothing half received."""
        return not self._buffer and not self._fragment_opcode

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises FrameError; messages before the offence are then lost."""
        buffer = self._buffer
        buffer += data
        messages: list[Message] = []
        position = 0
        while (frame := self._frame_at(position)) is not None:
            first, payload, position = frame
            message = self._accept(first, payload)
            if message is not None:
                messages.append(message)
        if position:
            del buffer[:position]
        return messages

    def _frame_at(self, start: int) -> tuple[int, bytes, int] | None:
        """(first byte, unmasked payload, end) of the frame at `start`, or None when it is not whole yet."""
        buffer = self._buffer
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        size = second & 0x7F
        head = 2
        if size == 126:
            head = 4
        elif size == 127:
            head = 10
        if available < head:
            self._check_head(first, second, 0)
            return None
        if head > 2:
            size = int.from_bytes(buffer[start + 2 : start + head], "big")
            if size < (126 if head == 4 else 65_536):
                raise FrameError(PROTOCOL_ERROR, "length is not minimal")
        self._check_head(first, second, size)
        masked = self._expect_masked
        body = start + head + (4 if masked else 0)
        end = body + size
        if len(buffer) < end:
            return None
        payload = bytes(buffer[body:end])
        if masked and size:
            payload = apply_mask(payload, bytes(buffer[body - 4 : body]))
        return first, payload, end

    def _check_head(self, first: int, second: int, size: int) -> None:
        """Refuses a frame by its head, before its payload is waited for."""
        opcode = first & 0x0F
        if first & _RESERVED:
            raise FrameError(PROTOCOL_ERROR, "reserved bits are set")
        if bool(second & _MASKED) is not self._expect_masked:
            raise FrameError(PROTOCOL_ERROR, "frame must be masked" if self._expect_masked else "frame is masked")
        if opcode >= CLOSE:
            if opcode > PONG or not first & _FIN or second & 0x7F > _CONTROL_BYTES_MAX:
                raise FrameError(PROTOCOL_ERROR, "illegal control frame")
            return
        if opcode > BINARY:
            raise FrameError(PROTOCOL_ERROR, "reserved opcode")
        if (opcode == CONTINUATION) != bool(self._fragment_opcode):
            raise FrameError(PROTOCOL_ERROR, "fragments out of order")
        if self._fragment_bytes + size > self._bytes_max:
            raise FrameError(TOO_BIG, f"message is larger than {self._bytes_max} bytes")

    def _accept(self, first: int, payload: bytes) -> Message | None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return Message(opcode, payload)
        if first & _FIN and not self._fragment_opcode:
            if opcode == TEXT:
                _require_utf8(payload)
            return Message(opcode, payload)
        return self._accept_fragment(first, opcode, payload)

    def _accept_fragment(self, first: int, opcode: int, payload: bytes) -> Message | None:
        self._fragment_opcode = self._fragment_opcode or opcode
        self._fragment_bytes += len(payload)
        self._fragments += payload
        if not first & _FIN:
            return None
        message = Message(self._fragment_opcode, bytes(self._fragments))
        self._fragments.clear()
        self._fragment_opcode = self._fragment_bytes = 0
        if message.opcode == TEXT:
            _require_utf8(message.payload)
        return message
