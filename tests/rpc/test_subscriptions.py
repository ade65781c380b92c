"""Publish and subscribe: snapshot then changes, nothing lost, nobody slowed down by another."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from node.transport import Limits
from tests.rpc.world import Socket, World, ask, call


async def test_snapshot_then_changes_only_for_subscribers() -> None:
    world = World()
    async with world.connected() as stream, world.connected() as other:
        socket, silent = await Socket.open(stream), await Socket.open(other)
        world.head = 5
        await socket.send(call("subscribe", {"channels": ["heads", "book.1"]}))
        assert (await socket.answer())["result"] == [
            {"channel": "heads", "snapshot": {"number": 5}}, {"channel": "book.1", "snapshot": None}]
        assert world.hub.publish("heads", {"number": 6}) == 1
        assert world.hub.publish("book.2", {}) == 0
        assert await socket.answer() == {
            "jsonrpc": "2.0", "method": "subscription", "params": {"channel": "heads", "data": {"number": 6}}}
        await socket.send(call("unsubscribe", {"channels": ["heads", "book.7"]}))
        assert (await socket.answer())["result"] == ["heads"]
        assert world.hub.publish("heads", {"number": 7}) == 0
        await silent.send(call("echo", [1]))
        assert (await silent.answer())["result"] == 1


async def test_no_change_falls_between_snapshot_and_subscription() -> None:
    world = World()

    async def publish_on_and_on() -> None:
        while True:
            world.head += 1
            world.hub.publish("heads", {"number": world.head})
            await trio.lowlevel.checkpoint()

    async with world.connected() as stream, trio.open_nursery() as nursery:
        socket = await Socket.open(stream)
        nursery.start_soon(publish_on_and_on)
        await socket.send(call("subscribe", [["heads"]]))
        number = (await socket.answer())["result"][0]["snapshot"]["number"]
        for _ in range(50):
            number += 1
            assert (await socket.answer())["params"]["data"]["number"] == number
        nursery.cancel_scope.cancel()


async def test_a_closed_connection_leaves_nothing_behind() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("subscribe", [["heads", "heads", "book.1"]]))
        await socket.answer()
        await socket.send(call("eth_subscribe", ["newHeads"]))
        await socket.answer()
        assert world.metrics.registry.get_sample_value("anchorline_rpc_server_subscriptions") == 3
        await stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
    assert not world.hub.wanted("heads") and world.hub.publish_eth_head({}) == 0
    assert world.metrics.registry.get_sample_value("anchorline_rpc_server_subscriptions") == 0


async def test_a_slow_subscriber_is_evicted_and_the_others_are_served() -> None:
    world = World()
    limits = Limits(answer_bytes_max=5_000, queue_bytes_max=20_000)
    async with world.connected(limits, lockstep=True) as stalled, world.connected() as quick:
        slow, fast = await Socket.open(stalled), await Socket.open(quick)
        for socket in (slow, fast):
            await socket.send(call("subscribe", [["heads"]]))
            await socket.answer()
        taken = [world.hub.publish("heads", "x" * 1_000) for _ in range(40)]
        assert taken[0] == 2 and taken[-1] == 1
        for _ in range(40):
            assert (await fast.answer())["params"]["data"] == "x" * 1_000
        with pytest.raises((EOFError, trio.BrokenResourceError)):
            while True:
                await slow.receive()
        assert world.hub.publish("heads", "y") == 1


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"channels": ["nothing"]}, -32602),
        ({"channels": ["book.x"]}, 10_005),
        ({"channels": []}, -32602),
        ({"channels": [f"book.{n}" for n in range(65)]}, -32602),
    ],
)
async def test_bad_channels(params: Any, code: int) -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("subscribe", params))
        assert (await socket.answer())["error"]["code"] == code
        assert not world.hub.wanted("book.0")


async def test_channels_of_one_connection_are_bounded() -> None:
    async with World().connected() as stream:
        socket = await Socket.open(stream)
        for start, fits in ((0, True), (40, False), (30, True)):
            await socket.send(call("subscribe", [[f"book.{start + n}" for n in range(34)]]))
            assert ("result" in await socket.answer()) == fits


async def test_http_cannot_subscribe() -> None:
    async with World().connected() as stream:
        assert (await ask(stream, call("subscribe", [["heads"]])))["error"]["data"]["kind"] == "NotSupported"


async def test_ethereum_style_subscriptions() -> None:
    world = World()
    async with world.connected() as stream:
        socket = await Socket.open(stream)
        await socket.send(call("eth_subscribe", ["newHeads"]))
        identity = (await socket.answer())["result"]
        assert world.hub.publish_eth_head({"number": "0x1"}) == 1
        assert (await socket.answer())["params"] == {"subscription": identity, "result": {"number": "0x1"}}
        await socket.send(call("eth_unsubscribe", ["0x999"]))
        assert (await socket.answer())["result"] is False
        await socket.send(call("eth_unsubscribe", [identity]))
        assert (await socket.answer())["result"] is True
        assert world.hub.publish_eth_head({"number": "0x2"}) == 0
        await socket.send(call("eth_subscribe", ["logs"]))
        assert (await socket.answer())["error"]["data"]["param"] == "kind"
