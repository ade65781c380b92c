"""RFC 6455 frames against an independent implementation (wsproto), and the ways a peer may break them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from node.transport import frames
from node.transport.frames import FrameDecoder, FrameError, Message, apply_mask, encode_close, encode_frame

SIZES = [0, 1, 3, 4, 125, 126, 127, 65_535, 65_536, 70_001]


def decode(data: bytes, *, masked: bool = True, limit: int = 2**20) -> list[Message]:
    return FrameDecoder(expect_masked=masked, message_bytes_max=limit).feed(data)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_byte_for_byte_xor(payload: bytes, mask: bytes) -> None:
    assert apply_mask(payload, mask) == bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


@pytest.mark.parametrize("size", SIZES)
def test_wsproto_reads_what_we_write(size: int) -> None:
    payload = bytes(at % 251 for at in range(size))
    for ours_is_client, kind in ((True, ConnectionType.SERVER), (False, ConnectionType.CLIENT)):
        peer = Connection(kind)
        peer.receive_data(encode_frame(frames.BINARY, payload, masked=ours_is_client))
        received = b"".join(bytes(event.data) for event in peer.events() if isinstance(event, BytesMessage))
        assert received == payload
    peer = Connection(ConnectionType.CLIENT)
    peer.receive_data(encode_close(1008, "too slow " * 30))
    close = next(event for event in peer.events() if isinstance(event, CloseConnection))
    assert close.code == 1008 and close.reason is not None and close.reason.startswith("too slow")


@given(
    st.lists(
        st.one_of(
            st.builds(TextMessage, data=st.text(max_size=200), message_finished=st.just(True)),
            st.builds(BytesMessage, data=st.binary(max_size=70_000), message_finished=st.just(True)),
            st.builds(Ping, payload=st.binary(max_size=125)),
        ),
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_we_read_what_wsproto_writes_however_it_is_cut(events: list[Any], chance: Any) -> None:
    peer = Connection(ConnectionType.CLIENT)
    data = b"".join(peer.send(event) for event in events)
    decoder = FrameDecoder(expect_masked=True, message_bytes_max=2**20)
    received: list[Message] = []
    while data:
        cut = chance.randint(1, len(data))
        received += decoder.feed(data[:cut])
        data = data[cut:]
    expected = [
        Message(9, bytes(event.payload)) if isinstance(event, Ping)
        else Message(1, event.data.encode()) if isinstance(event, TextMessage) else Message(2, bytes(event.data))
        for event in events
    ]
    assert received == expected and decoder.idle


def test_fragments_are_joined_around_control_frames() -> None:
    data = (
        bytes((0x01, 3)) + b"ab\xc3" + encode_frame(frames.PING, b"?") + bytes((0x00, 0)) + bytes((0x80, 1)) + b"\xa4"
    )
    assert decode(data, masked=False) == [Message(9, b"?"), Message(1, "abä".encode())]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes((0x81, 0x01)) + b"x", 1002),  # not masked
        (bytes((0xC1, 0x80)), 1002),  # a reserved bit
        (bytes((0x83, 0x80)), 1002),  # a reserved opcode
        (bytes((0x8B, 0x80)), 1002),  # a reserved control opcode
        (bytes((0x09, 0x80)), 1002),  # a fragmented control frame
        (bytes((0x89, 0xFE, 0, 126)), 1002),  # a long control frame
        (bytes((0x80, 0x80)), 1002),  # a continuation of nothing
        (bytes((0x01, 0x80, 0, 0, 0, 0, 0x81, 0x80)), 1002),  # a new message inside a message
        (bytes((0x82, 0xFE, 0, 5)), 1002),  # a length not minimal
        (bytes((0x82, 0xFF)) + (1_000).to_bytes(8, "big"), 1002),
        (bytes((0x82, 0xFF)) + (2**63).to_bytes(8, "big"), 1009),
        (bytes((0x82, 0xFF)) + (2**20 + 1).to_bytes(8, "big"), 1009),
        (encode_frame(1, b"\xff", masked=True), 1007),
        (bytes((0x01, 0x81, 0, 0, 0, 0)) + b"\xc3" + bytes((0x80, 0x80, 0, 0, 0, 0)), 1007),
    ],
    ids=range(14),  # masks are random, names are not
)
def test_a_peer_that_breaks_the_protocol_gets_its_close_code(data: bytes, code: int) -> None:
    with pytest.raises(FrameError) as caught:
        decode(data)
    assert caught.value.code == code


def test_fragments_together_are_bounded() -> None:
    part = bytes((0x02, 100)) + b"x" * 100
    more = bytes((0x00, 100)) + b"x" * 100
    with pytest.raises(FrameError) as caught:
        decode(part + more * 10, masked=False, limit=1_000)
    assert caught.value.code == 1009


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1100, 2999, 5000])
def test_illegal_close_codes(code: int) -> None:
    with pytest.raises(FrameError):
        frames.close_code(code.to_bytes(2, "big"))
    with pytest.raises(FrameError):
        frames.close_code(b"\x03")


@given(st.binary(max_size=400), st.booleans())
def test_garbage_ends_in_messages_or_a_frame_error(data: bytes, masked: bool) -> None:
    try:
        for message in decode(data, masked=masked, limit=200):
            assert len(message.payload) <= 200
    except FrameError as error:
        assert error.code in (1002, 1007, 1009)
