"""The WebSocket side of the transport."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing

from node.transport import Limits, frames
from node.transport.frames import encode_frame
from tests.rpc.world import UPGRADE, Socket, World, call, post, read_response


async def test_text_and_binary_frames_are_answered_as_text() -> None:
    async with World().connected() as stream:
        socket = await Socket.open(stream)
        for opcode in (frames.TEXT, frames.BINARY):
            await socket.send(call("echo", [opcode]), opcode)
            assert (await socket.answer())["result"] == opcode


async def test_frames_sent_with_the_handshake_are_not_lost() -> None:
    async with World().connected() as stream:
        socket = await Socket.open(stream, encode_frame(1, call("echo", ["early"]), masked=True))
        assert (await socket.answer())["result"] == "early"


async def test_upgrade_after_pipelined_http_requests() -> None:
    async with World().connected() as stream:
        await stream.send_all(post(call("echo", [1])) + UPGRADE + encode_frame(1, call("echo", [2]), masked=True))
        buffer = bytearray()
        assert json.loads((await read_response(stream, buffer))[2])["result"] == 1
        assert (await read_response(stream, buffer))[0] == 101
        socket = Socket(stream)
        socket._ready += socket._decoder.feed(bytes(buffer))
        assert (await socket.answer())["result"] == 2


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: 8", 426),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"short", 400),
        (b"GET /", b"PUT /", 400),
        (b"Host: test", b"Host: test\r\nOrigin: http://evil.example", 403),
    ],
)
async def test_a_bad_handshake_is_refused(old: bytes, new: bytes, status: int) -> None:
    async with World().connected() as stream:
        await stream.send_all(UPGRADE.replace(old, new))
        assert (await read_response(stream, bytearray()))[0] == status


async def test_calls_in_flight_overtake_each_other() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("wait", None, "slow"))
        await socket.send(call("echo", [1], "fast"))
        assert (await socket.answer())["id"] == "fast"
        world.gate.set()
        assert (await socket.answer())["id"] == "slow"


async def test_plain_methods_run_in_the_order_of_arrival() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await stream.send_all(b"".join(encode_frame(1, call("note", [n], n), masked=True) for n in range(500)))
        assert [(await socket.answer())["id"] for _ in range(500)] == list(range(500))
    assert world.calls == list(range(500))


async def test_answers_to_pipelined_calls_leave_together() -> None:
    async with World().connected() as stream:
        await Socket.open(stream)
        await stream.send_all(b"".join(encode_frame(1, call("echo", [n], n), masked=True) for n in range(100)))
        received = await stream.receive_some()
        assert len(frames.FrameDecoder(expect_masked=False, message_bytes_max=1_000).feed(bytes(received))) == 100


async def test_reading_pauses_while_too_much_is_unanswered() -> None:
    world = World()
    async with world.connected(Limits(in_flight_max=4)) as stream:
        socket = await Socket.open(stream)
        for number in range(10):
            await socket.send(call("commit", None, number))
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.deferred) == 4
        for number in range(10):
            world.deferred[number].resolve(number)
            assert (await socket.answer())["result"] == number
            await trio.testing.wait_all_tasks_blocked()


async def test_answers_after_the_client_left_are_dropped() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("commit"))
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        world.deferred[0].resolve("nobody reads this")


async def test_a_reader_that_stalls_is_evicted_and_its_reading_paused(autojump_clock: object) -> None:
    world = World()
    limits = Limits(answer_bytes_max=10_000, queue_bytes_max=40_000, write_timeout_s=5)
    async with world.connected(limits, lockstep=True) as stream:
        await Socket.open(stream)
        with pytest.raises(trio.BrokenResourceError):
            for number in range(1_000):
                await stream.send_all(encode_frame(1, call("note", [number]), masked=True))
                await stream.send_all(encode_frame(1, call("zeros", [9_000]), masked=True))
        assert trio.current_time() < 6
    assert len(world.calls) < 20


async def test_a_client_that_reads_slowly_is_waited_for(autojump_clock: object) -> None:
    world = World()
    limits = Limits(answer_bytes_max=10_000, queue_bytes_max=40_000, write_timeout_s=5)
    async with world.connected(limits, lockstep=True) as stream, trio.open_nursery() as nursery:
        socket = await Socket.open(stream)
        calls = b"".join(encode_frame(1, call("zeros", [9_000], n), masked=True) for n in range(100))
        nursery.start_soon(stream.send_all, calls)
        for number in range(100):
            assert (await socket.answer())["id"] == number
            await trio.sleep(0.1)  # on the virtual clock


async def test_ping_close_and_silence(autojump_clock: object) -> None:
    async with World().connected(Limits(ping_interval_s=20)) as stream:
        socket = await Socket.open(stream)
        await socket.send(b"hello", frames.PING)
        assert await socket.receive() == (frames.PONG, b"hello")
        assert await socket.receive() == (frames.PING, b"")
        assert trio.current_time() == pytest.approx(20, abs=1)
        await socket.send(b"", frames.PONG)
        assert (await socket.receive()).opcode == frames.PING
        with pytest.raises(EOFError):  # no pong this time
            await socket.receive()
        assert trio.current_time() == pytest.approx(60, abs=1)


async def test_close_is_answered_and_ends_the_connection() -> None:
    async with World().connected() as stream:
        socket = await Socket.open(stream)
        await socket.send((1000).to_bytes(2, "big") + b"bye", frames.CLOSE)
        assert await socket.receive() == (frames.CLOSE, (1000).to_bytes(2, "big"))
        with pytest.raises(EOFError):
            await socket.receive()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (encode_frame(1, b"{}", masked=False), 1002),
        (encode_frame(1, b"\xff\xff", masked=True), 1007),
        (encode_frame(1, b"x" * 2_000, masked=True), 1009),
        (encode_frame(8, b"\x00", masked=True), 1002),
    ],
    ids=("unmasked", "no UTF-8", "too long", "half a close code"),  # masks are random, names are not
)
async def test_a_broken_frame_is_answered_with_its_close_code(frame: bytes, code: int) -> None:
    async with World().connected(Limits(body_bytes_max=1_000)) as stream:
        socket = await Socket.open(stream)
        await stream.send_all(frame)
        message = await socket.receive()
        assert (message.opcode, int.from_bytes(message.payload[:2], "big")) == (frames.CLOSE, code)
        with pytest.raises(EOFError):
            await socket.receive()


async def test_cancelling_a_connection_cancels_its_calls() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("wait"))
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert world.cancelled == 1


async def test_a_half_message_times_out_even_when_it_trickles(autojump_clock: object) -> None:
    async with World().connected(Limits(request_timeout_s=5, ping_interval_s=20)) as stream:
        socket = await Socket.open(stream)
        frame = encode_frame(1, call("echo", ["x" * 100]), masked=True)

        async def trickle() -> None:
            for byte in frame[:-1]:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)  # on the virtual clock

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            message = await socket.receive()
            assert (message.opcode, int.from_bytes(message.payload[:2], "big")) == (frames.CLOSE, 1008)
            assert trio.current_time() < 8
            nursery.cancel_scope.cancel()
