"""Calls that are begun keep their order, are bounded, and fail with the connection."""

from __future__ import annotations

import pytest
import trio

from node.rpc.client import RpcError, RpcUnavailable, open_websocket
from tests.rpc.world import World


async def test_begun_calls_arrive_in_order() -> None:
    world = World()
    async with world.listening() as bound, open_websocket(bound.ws_url) as rpc:
        replies = [await rpc.begin("note", [number]) for number in range(300)]
        assert [await reply.result(int) for reply in replies] == list(range(300))
    assert world.calls == list(range(300))


async def test_begun_calls_fail_one_by_one() -> None:
    async with World().listening() as bound, open_websocket(bound.ws_url) as rpc:
        poor, fine = await rpc.begin("poor"), await rpc.begin("echo", ["fine"])
        with pytest.raises(RpcError):
            await poor.result()
        assert await fine.result() == "fine"
        shape = await rpc.begin("echo", ["text"])
        with pytest.raises(RpcUnavailable, match="another shape"):
            await shape.result(int)


async def test_no_more_are_in_flight_than_allowed(autojump_clock: trio.testing.MockClock) -> None:
    world = World()
    async with world.listening() as bound, open_websocket(bound.ws_url, in_flight_max=2) as rpc:
        first, second = await rpc.begin("echo", [1]), await rpc.begin("echo", [2])
        with trio.move_on_after(5) as scope:
            await rpc.begin("echo", [3])
        assert scope.cancelled_caught, "two calls whose answers nobody took fill the connection"
        assert [await first.result(), await second.result()] == [1, 2]
        assert await (await rpc.begin("echo", [4])).result() == 4


async def test_begun_calls_end_with_the_connection() -> None:
    async with World().listening() as bound:
        async with open_websocket(bound.ws_url) as rpc:
            pass
        with pytest.raises(RpcUnavailable, match="closed"):
            await rpc.begin("echo", [1])
