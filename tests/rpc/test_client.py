"""The client against our server, against somebody else's WebSocket server, and against servers that misbehave."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio_websocket

from node.rpc.client import HttpClient, RpcError, RpcUnavailable, open_websocket
from tests.rpc.world import World


class Placed(msgspec.Struct):
    market: int
    account: int


@asynccontextmanager
async def tcp_server(handler: Any) -> AsyncIterator[int]:
    """Any handler on a free port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_http_calls_share_connections_and_decode_types() -> None:
    world = World()
    async with world.listening() as bound, HttpClient(bound.http_url, connections_max=2) as rpc:
        placed = await rpc.call("place", {"order": {"market": 3, "lots": 1}, "account": 9}, kind=Placed)
        assert placed == Placed(3, 9)
        results: list[int] = []

        async def one(number: int) -> None:
            results.append(await rpc.call("slow_echo", [number]))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
        assert sorted(results) == list(range(20))
        with pytest.raises(RpcError) as caught:
            await rpc.call("poor")
        assert caught.value.code == 13_000 and caught.value.data["kind"] == "InsufficientFunds"
        with pytest.raises(RpcUnavailable, match="place: the server sent another shape"):
            await rpc.call("place", [{"market": 3, "lots": 1}, 9], kind=int)


async def test_http_batches_keep_their_order_and_their_errors() -> None:
    async with World().listening() as bound, HttpClient(bound.http_url) as rpc:
        first, second, third = await rpc.batch([("slow_echo", ["a"]), ("poor", None), ("echo", ["c"])])
        assert (first, third) == ("a", "c") and isinstance(second, RpcError)
        assert await rpc.batch([]) == []
        with pytest.raises(RpcError, match="more than 100"):
            await rpc.batch([("echo", None)] * 101)


async def test_an_idle_connection_that_died_is_not_reused() -> None:
    world = World()
    async with trio.open_nursery() as nursery, world.listening() as bound, HttpClient(bound.http_url) as rpc:
        assert await rpc.call("echo", [1]) == 1
        stream = rpc._idle[0]
        await stream.send_all(b"NONSENSE\r\n\r\n")  # makes the server close it
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await rpc.call("echo", [2]) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"", "closed the connection before"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "closed the connection before"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "not JSON-RPC"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"jsonrpc\":\"2.0\"}", "another call"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\nsad\n", "HTTP 502: sad"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"x" * 20_000, "larger than 10000"),
    ],
)
async def test_http_servers_that_misbehave_are_named(reply: bytes, text: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(reply)
            await stream.send_eof()
            await stream.receive_some()

    async with tcp_server(handler) as port, HttpClient(f"http://127.0.0.1:{port}", answer_bytes_max=10_000) as rpc:
        with pytest.raises(RpcUnavailable, match=text):
            await rpc.call("echo")


async def test_http_timeouts_and_refused_connections() -> None:
    world = World()
    async with world.listening() as bound, HttpClient(bound.http_url) as rpc:
        with pytest.raises(RpcUnavailable, match=r"did not answer within 0\.05 s"):
            await rpc.call("wait", timeout_s=0.05)
        assert await rpc.call("echo", ["fine"]) == "fine"
        url = bound.http_url
    async with HttpClient(url) as rpc:
        with pytest.raises(RpcUnavailable, match="cannot be reached"):
            await rpc.call("echo")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "nonsense", "http://me:secret@host", "http://h/\r\nx: y"])
def test_unusable_urls(url: str) -> None:
    with pytest.raises(ValueError, match="not a usable URL") as caught:
        HttpClient(url)
    assert "secret" not in str(caught.value)


async def test_websocket_calls_are_pipelined_and_bounded() -> None:
    world = World()
    async with world.listening() as bound, open_websocket(bound.ws_url, in_flight_max=8) as rpc:
        results: list[int] = []

        async def one(number: int) -> None:
            results.append(await rpc.call("commit") + number)

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, number)
            for step in range(20):
                with trio.fail_after(5):
                    while len(world.deferred) <= step:
                        await trio.testing.wait_all_tasks_blocked(0.001)
                assert sum(not deferred.done for deferred in world.deferred) <= 8
                world.deferred[step].resolve(0)
        assert sorted(results) == list(range(20))
        with pytest.raises(RpcError, match="did you mean echo"):
            await rpc.call("ecko")
        with pytest.raises(RpcUnavailable, match="did not answer wait within"):
            await rpc.call("wait", timeout_s=0.05)
        assert await rpc.call("echo", ["x" * 100_000]) == "x" * 100_000


async def test_websocket_subscription_snapshot_changes_and_end() -> None:
    world = World()
    world.head = 3
    async with world.listening() as bound, open_websocket(bound.ws_url) as rpc:
        async with await rpc.subscribe("heads", kind=dict[str, int]) as heads:
            assert heads.snapshot == {"number": 3}
            world.hub.publish("heads", {"number": 4})
            world.hub.publish("heads", {"number": 5})
            assert [(await anext(heads))["number"] for _ in range(2)] == [4, 5]
            async with await rpc.subscribe("heads") as second:
                assert second.snapshot == {"number": 3}
            assert world.hub.wanted("heads")
        assert not world.hub.wanted("heads")
        with pytest.raises(RpcError, match="no channel"):
            await rpc.subscribe("nothing")


async def test_a_consumer_that_falls_behind_is_told() -> None:
    world = World()
    async with world.listening() as bound, open_websocket(bound.ws_url) as rpc:
        heads = await rpc.subscribe("heads", queue_max=3)
        for number in range(6):
            world.hub.publish("heads", number)
        assert await rpc.call("echo", ["all arrived"]) == "all arrived"
        assert [await anext(heads) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RpcUnavailable, match="fell behind"):
            await anext(heads)


async def test_calls_and_subscriptions_end_with_the_server() -> None:
    world = World()
    async with trio.open_nursery() as nursery:
        server, bound = await nursery.start(_serve, world)
        async with open_websocket(bound.ws_url) as rpc:
            heads = await rpc.subscribe("heads")
            server.cancel()
            with trio.fail_after(5):
                with pytest.raises(RpcUnavailable, match=r"closed|broke"):
                    await anext(heads)
                with pytest.raises(RpcUnavailable, match=r"closed|broke"):
                    await rpc.call("echo")


async def _serve(world: World, task_status: trio.TaskStatus[Any]) -> None:
    with trio.CancelScope() as scope:
        async with world.listening() as bound:
            task_status.started((scope, bound))
            await trio.sleep_forever()


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    async with World().listening() as bound:
        with pytest.raises(KeyError):
            async with open_websocket(bound.ws_url):
                raise KeyError("mine")


async def test_a_foreign_websocket_server_understands_us() -> None:
    async def handler(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        with contextlib.suppress(trio_websocket.ConnectionClosed):
            while True:
                call = msgspec.json.decode(await socket.get_message())
                await socket.ping(b"still there?")
                await socket.send_message(msgspec.json.encode({"id": call["id"], "result": call["params"]}).decode())

    async with trio.open_nursery() as nursery:
        serve = partial(trio_websocket.serve_websocket, handler, "127.0.0.1", 0, ssl_context=None)
        server = await nursery.start(serve)
        async with open_websocket(f"ws://127.0.0.1:{server.port}/some/path?x=1") as rpc:
            assert await rpc.call("echo", ["ä" * 40_000]) == ["ä" * 40_000]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (b"", "refused the WebSocket"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\nno entry", "403 Forbidden no entry"),
        (b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n", "accept key is wrong"),
    ],
)
async def test_servers_that_are_no_websocket_are_named(reply: bytes, text: str) -> None:
    async def handler(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(reply)
        await stream.send_eof()
        await stream.receive_some()

    async with tcp_server(handler) as port:
        with pytest.raises(RpcUnavailable, match=text):
            async with open_websocket(f"ws://127.0.0.1:{port}"):
                raise AssertionError("must not open")
