"""Stock Ethereum clients against our server: web3's HTTP and WebSocket providers, and cast."""

from __future__ import annotations

import asyncio
from typing import Any

import trio

from tests.l1.chains import tool
from tests.rpc.world import World


async def test_web3_over_http() -> None:
    def drive(url: str) -> list[Any]:
        from web3 import Web3

        web3 = Web3(Web3.HTTPProvider(url, session=None))
        provider = web3.provider
        answers = [
            web3.is_connected(), web3.client_version,
            provider.make_request("echo", ["x"]), provider.make_request("poor", []),  # type: ignore[arg-type]
        ]
        return answers

    world = World()
    async with world.listening() as bound:
        connected, version, echoed, refused = await trio.to_thread.run_sync(drive, bound.http_url)
    assert connected and version == "anchorline/test"
    assert echoed["result"] == "x"
    assert refused["error"]["data"]["kind"] == "InsufficientFunds"


async def test_web3_over_websocket_with_a_subscription() -> None:
    async def drive(url: str, ready: Any) -> list[Any]:
        from web3 import AsyncWeb3, WebSocketProvider

        async with AsyncWeb3(WebSocketProvider(url)) as web3:
            answers: list[Any] = [await web3.is_connected(), await web3.provider.make_request("echo", ["x"])]
            identity = await web3.eth.subscribe("newHeads")
            ready()
            async for message in web3.socket.process_subscriptions():
                answers.append(message["result"]["number"])
                break
            answers.append(await web3.eth.unsubscribe(identity))
            return answers

    world = World()
    async with world.listening() as bound, trio.open_nursery() as nursery:
        subscribed = trio.Event()
        token = trio.lowlevel.current_trio_token()

        async def publish() -> None:
            await subscribed.wait()
            assert world.hub.publish_eth_head({"number": "0x2a"}) == 1

        nursery.start_soon(publish)
        answers = await trio.to_thread.run_sync(
            lambda: asyncio.run(drive(bound.ws_url, lambda: token.run_sync_soon(subscribed.set))))
    assert answers[0] and answers[1]["result"] == "x"
    assert answers[2] in (42, "0x2a") and answers[3] is True


async def test_cast_calls_and_shows_errors() -> None:
    cast = tool("cast")
    world = World()
    async with world.listening() as bound:
        for arguments, text in ((["echo", '"x"'], '"x"'), (["poor"], "code 13000: 12 micro-USD are free")):
            done = await trio.run_process(
                [cast, "rpc", "--rpc-url", bound.http_url, *arguments],
                capture_stdout=True, capture_stderr=True, check=False)
            assert text in (done.stdout + done.stderr).decode()
