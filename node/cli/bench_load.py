"""Load over WebSocket: a sequencer process with its durable log, and this process as the traders beside it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio

from node.cli.solo import solo
from node.rpc.client import WsClient, open_websocket
from node.stf.encoding import SIDE_NAMES
from sequencer.measure import CHAIN_ID, ROLLUP, Result, address_of, key_of, make_inbox, make_prices, make_requests
from sequencer.requests import ActionsRequest

CONNECTIONS: Final = 2
IN_FLIGHT: Final = 256  # of each connection


@dataclass(frozen=True, slots=True)
class Call:
    """A signed request as a client sends it."""

    method: str
    params: dict[str, Any]


def to_call(request: ActionsRequest) -> Call:
    """Of a request whose account belongs to the trader of that number."""
    signer = address_of(key_of(f"trader {request.account - 1}"))
    actions = [
        {"action": "place", "market": action.market, "side": SIDE_NAMES[action.side], "price": action.price,
         "lots": action.lots, "timeInForce": "GTC", "clientId": action.client_id}
        for action in request.actions
    ]
    return Call("al_sendActions", {
        "account": request.account, "slot": request.slot, "nonce": request.nonce, "expiry": request.expiry,
        "actions": actions, "signature": _signature(request.r, request.vs), "signer": "0x" + signer.hex()})


def _signature(r: int, vs: int) -> str:
    return "0x" + (r.to_bytes(32, "big") + vs.to_bytes(32, "big")).hex()


async def over_websocket(requests: int, listed: int = 1, *, in_flight: int = IN_FLIGHT) -> Result:
    """Send ``requests`` requests of ``listed`` orders each through a sequencer process."""
    calls = [to_call(request) for request in make_requests(requests, listed, random.Random(1))]
    async with solo(make_inbox(), chain_id=CHAIN_ID, rollup=ROLLUP) as place:
        connections = CONNECTIONS if in_flight > 1 else 1
        async with open_websocket(place.ws_url) as control:
            for price in make_prices():
                await control.call("al_sendOraclePrice", {
                    "publisher": price.publisher, "time": price.time,
                    "prices": [{"market": 0, "price": price.prices[0]}], "signature": _signature(price.r, price.vs)})
            latencies: list[float] = []
            answers: list[tuple[int, int]] = []  # position, fills
            begun = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for index in range(connections):  # an account stays on one connection: its nonces keep their order
                    mine = [call for call in calls if call.params["account"] % connections == index]
                    nursery.start_soon(_connection, place.ws_url, mine, in_flight, latencies, answers)
            took = time.perf_counter() - begun
            size = await _bytes_between(control, min(answers)[0], max(answers)[0])
    latencies.sort()
    return Result(
        requests * listed / took, latencies[len(latencies) // 2] * 1_000, latencies[len(latencies) * 99 // 100] * 1_000,
        sum(fills for _, fills in answers), size / (requests * listed))


async def _connection(
    url: str, calls: Sequence[Call], in_flight: int, latencies: list[float], answers: list[tuple[int, int]],
) -> None:
    async with open_websocket(url, in_flight_max=in_flight) as client, trio.open_nursery() as nursery:
        send, receive = trio.open_memory_channel[tuple[Any, float]](in_flight)
        nursery.start_soon(_take, receive, latencies, answers)
        async with send:
            for call in calls:
                reply = await client.begin(call.method, call.params)
                await send.send((reply, time.perf_counter()))


async def _take(
    receive: trio.MemoryReceiveChannel[tuple[Any, float]], latencies: list[float], answers: list[tuple[int, int]],
) -> None:
    async for reply, begun in receive:
        answer = await reply.result()
        latencies.append(time.perf_counter() - begun)
        answers.append((answer["position"], len(answer["fills"])))


async def _bytes_between(control: WsClient, first: int, last: int) -> int:
    """Chunk bytes of the blocks that hold the positions; waits until the last one is sealed."""
    with trio.fail_after(10):
        block = await control.call("al_block", {"number": "unsafe"})
        while block["first_position"] + block["transactions"] <= last:
            await trio.sleep(0.05)
            block = await control.call("al_block", {"number": "unsafe"})
    size = 0
    while block["first_position"] + block["transactions"] > first and block["number"] > 0:
        size += sum(chunk["bytes"] for chunk in block["chunks"])
        block = await control.call("al_block", {"number": block["number"] - 1})
    return size
