"""The HTTP side of the transport, spoken to byte by byte."""

from __future__ import annotations

import json
from functools import partial

import pytest
import trio

from node.config import RpcConfig
from node.rpc.server import serve_rpc
from node.transport import Limits
from tests.rpc.world import World, ask, call, post, read_response


async def test_pipelined_requests_are_answered_in_order_in_one_write() -> None:
    world = World()
    async with world.connected() as stream:
        requests = [call("slow_echo" if n % 2 else "echo", [n], n) for n in range(20)]
        await stream.send_all(b"".join(map(post, requests)))
        received = await stream.receive_some()
        assert received.count(b"HTTP/1.1 200 OK") == 20
        answers = [json.loads(part.split(b"\r\n\r\n")[1]) for part in received.split(b"HTTP/1.1 200 OK")[1:]]
    assert answers == [{"jsonrpc": "2.0", "id": n, "result": n} for n in range(20)]


async def test_a_request_in_single_bytes_is_answered() -> None:
    async with World().connected() as stream:
        for byte in post(call("echo", ["slowly"])):
            await stream.send_all(bytes([byte]))
        assert json.loads((await read_response(stream, bytearray()))[2])["result"] == "slowly"


async def test_a_chunked_request_and_100_continue() -> None:
    async with World().connected() as stream:
        body = call("echo", ["chunks"])
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        await stream.send_all(head)
        buffer = bytearray()
        assert (await read_response(stream, buffer))[0] == 100
        for part in (body[:7], body[7:], b""):
            await stream.send_all(b"%x\r\n%b\r\n" % (len(part), part))
        assert json.loads((await read_response(stream, buffer))[2])["result"] == "chunks"


async def test_connection_close_is_honoured() -> None:
    async with World().connected() as stream:
        await stream.send_all(post(call("echo"), "Connection: close") + post(call("echo", [2])))
        buffer = bytearray()
        status, headers, _ = await read_response(stream, buffer)
        assert (status, headers["connection"]) == (200, "close")
        with pytest.raises(EOFError):
            await read_response(stream, buffer)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n" * 1, 413),
        (b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 2_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 2_000 + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
async def test_a_bad_request_is_refused_after_the_good_ones_before_it(request_bytes: bytes, status: int) -> None:
    limits = Limits(header_bytes_max=1_000, body_bytes_max=500)
    async with World().connected(limits) as stream:
        await stream.send_all(post(call("echo", ["first"])) + request_bytes)
        buffer = bytearray()
        assert json.loads((await read_response(stream, buffer))[2])["result"] == "first"
        got, headers, reason = await read_response(stream, buffer)
        assert (got, headers["connection"]) == (status, "close")
        assert reason


async def test_an_endless_header_is_refused() -> None:
    async with World().connected(Limits(header_bytes_max=4_000)) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\ny: ")
        for _ in range(10):
            await stream.send_all(b"z" * 1_000)
        assert (await read_response(stream, bytearray()))[0] == 431


async def test_a_head_may_come_with_a_long_body_behind_it() -> None:
    async with World().connected(Limits(header_bytes_max=500)) as stream:
        request = post(call("echo", ["x" * 50_000]))
        await stream.send_all(request[:30])
        await stream.send_all(request[30:])
        assert json.loads((await read_response(stream, bytearray()))[2])["result"] == "x" * 50_000


async def test_routes_and_refusals() -> None:
    async with World().connected() as stream:
        buffer = bytearray()

        async def get(request: str) -> tuple[int, bytes]:
            await stream.send_all(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, _, body = await read_response(stream, buffer)
            return status, body

        assert await get("GET /healthz") == (200, b"ok")
        status, metrics = await get("GET /metrics?x=1")
        assert status == 200 and b"anchorline_up" in metrics
        assert (await get("GET /nowhere"))[0] == 404
        assert (await get("DELETE /"))[0] == 405


async def test_a_web_page_of_another_origin_cannot_call() -> None:
    world = World()
    async with world.connected(Limits(origins=("https://desk.example",))) as stream:
        buffer = bytearray()
        await stream.send_all(post(call("note", [1]), "Origin: https://evil.example"))
        assert (await read_response(stream, buffer))[0] == 403
        await stream.send_all(post(call("note", [2]), "Origin: https://desk.example"))
        status, headers, _ = await read_response(stream, buffer)
        assert (status, headers["access-control-allow-origin"]) == (200, "https://desk.example")
    assert world.calls == [2]


async def test_a_half_request_times_out(autojump_clock: object) -> None:
    async with World().connected(Limits(request_timeout_s=5)) as stream:
        started = trio.current_time()
        await stream.send_all(post(call("echo"))[:-5])
        assert (await read_response(stream, bytearray()))[0] == 408
        assert trio.current_time() - started == pytest.approx(5, abs=1.1)


async def test_trickling_does_not_extend_the_time_of_a_request(autojump_clock: object) -> None:
    async with World().connected(Limits(request_timeout_s=5, idle_timeout_s=60)) as stream:
        started = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # refused, and the server has left
            for byte in post(call("echo", ["x" * 100])):
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)  # on the virtual clock
        assert trio.current_time() - started < 10


async def test_an_idle_connection_is_closed_silently(autojump_clock: object) -> None:
    async with World().connected(Limits(idle_timeout_s=7)) as stream:
        assert (await ask(stream, call("echo", [1])))["result"] == 1
        assert await stream.receive_some() == b""
        assert trio.current_time() > 6


async def test_a_stalled_reader_is_evicted(autojump_clock: object) -> None:
    world = World()
    async with world.connected(Limits(write_timeout_s=3), lockstep=True) as stream:
        await stream.send_all(post(call("zeros", [1_000_000])))
        await trio.sleep(10)  # on the virtual clock: nobody reads
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(post(call("note", [1])))
        assert trio.current_time() < 11
    assert world.calls == []


async def test_a_slow_call_times_out_and_is_cancelled(autojump_clock: object) -> None:
    world = World()
    async with world.connected(Limits(call_timeout_s=4)) as stream:
        assert (await ask(stream, call("wait")))["error"]["code"] == -32008
        assert (await ask(stream, call("echo", [1])))["result"] == 1
    assert world.cancelled == 1


async def test_a_deferred_nobody_completes_ends_the_connection(autojump_clock: object) -> None:
    async with World().connected(Limits(call_timeout_s=4)) as stream:
        await stream.send_all(post(call("echo", [1])) + post(call("commit")))
        buffer = bytearray()
        assert (await read_response(stream, buffer))[0] == 200
        assert (await read_response(stream, buffer))[0] == 503


async def test_cancellation_is_shutdown_even_during_a_call_and_a_stalled_write() -> None:
    world = World()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery, world.listening() as bound:
            waiting = await world.dial(bound)
            await waiting.send_all(post(call("wait")))
            stalled = await world.dial(bound)
            await stalled.send_all(post(call("zeros", [8_000_000])))
            await stalled.receive_some(1)
            nursery.cancel_scope.cancel()
    assert world.cancelled == 1


async def test_connections_over_the_limit_are_told_so() -> None:
    world = World()
    async with world.listening(Limits(connections_max=2)) as bound:
        streams = [await world.dial(bound) for _ in range(2)]
        for stream in streams:
            assert (await ask(stream, call("echo", [1])))["result"] == 1
        extra = await world.dial(bound)
        assert (await read_response(extra, bytearray()))[0] == 503
        await streams[0].aclose()
        with trio.fail_after(5):
            while True:
                stream = await world.dial(bound)
                await stream.send_all(post(call("echo", [1])))
                if (await read_response(stream, bytearray()))[0] == 200:
                    break


async def test_a_taken_port_is_named() -> None:
    world = World()
    async with world.listening() as bound:
        from node.transport import serve

        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{bound.port}"):
            await serve("127.0.0.1", bound.port, world.registry)


async def test_a_taken_port_becomes_another_one_if_that_is_wanted() -> None:
    world = World()
    async with world.listening() as first, trio.open_nursery() as nursery:
        wanted = RpcConfig(port=first.port, port_fallback=True)
        second = await nursery.start(partial(serve_rpc, wanted, world.registry))
        assert second.port not in (0, first.port)
        stream = await world.dial(second)
        await stream.send_all(post(call("echo", [1])))
        assert (await read_response(stream, bytearray()))[0] == 200
        nursery.cancel_scope.cancel()
