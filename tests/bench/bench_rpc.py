"""Requests per second of the RPC server, relative to a bare TCP echo in the same run.

    python -m tests.bench.bench_rpc [--seconds 2] [--connections 32]

The server runs in a process of its own with the typed registry and metrics on; the load generator shares the machine
with it. Ratios within one run are what to compare: absolute figures are the machine's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import trio

from node.metrics import Metrics
from node.rpc.server import Registry, routes
from node.transport import serve
from node.transport.frames import encode_frame
from tests.rpc.world import UPGRADE, call, post

REQUEST = call("add", [20, 22])
ANSWER_BYTES = len(b'{"jsonrpc":"2.0","id":1,"result":42}')


async def run_server() -> None:
    """Serves the RPC and an echo; prints both ports."""
    registry = Registry("bench", "0", Metrics("bench", "0"))

    @registry.method("add")
    def add(first: int, second: int) -> int:
        return first + second

    @registry.method("add_slowly")
    async def add_slowly(first: int, second: int) -> int:
        return first + second

    async def echo(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve, http_routes=routes(None)), "127.0.0.1", 0, registry)
        listeners = await nursery.start(trio.serve_tcp, echo, 0)
        print(bound.port, listeners[0].socket.getsockname()[1], flush=True)


async def measure(
    port: int, request: bytes, answer_bytes: int, in_flight: int, connections: int, seconds: float, hello: bytes = b"",
) -> float:
    """Answers per second with `in_flight` requests outstanding on each connection."""
    answered = 0

    async def one() -> None:
        nonlocal answered
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            if hello:
                await stream.send_all(hello)
                assert b" 101 " in await stream.receive_some()
            await stream.send_all(request * in_flight)
            spare = 0
            while True:
                received = await stream.receive_some(65_536)
                assert received, "the server closed the connection"
                whole, spare = divmod(spare + len(received), answer_bytes)
                answered += whole
                await stream.send_all(request * whole)

    async with trio.open_nursery() as nursery:
        for _ in range(connections):
            nursery.start_soon(one)
        await trio.sleep(0.3)
        answered, begun = 0, time.perf_counter()
        await trio.sleep(seconds)
        rate = answered / (time.perf_counter() - begun)
        nursery.cancel_scope.cancel()
    return rate


async def run_load(rpc_port: int, echo_port: int, connections: int, seconds: float) -> None:
    """Runs every case and prints the table."""
    http, http_answer = post(REQUEST), len(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 36\r\n\r\n") + ANSWER_BYTES
    slow = post(REQUEST.replace(b'"add"', b'"add_slowly"'))
    frame, frame_answer = encode_frame(1, REQUEST, masked=True), 2 + ANSWER_BYTES
    cases: list[tuple[str, Callable[[], Any]]] = [
        ("bare TCP echo", lambda: measure(echo_port, http, len(http), 1, connections, seconds)),
        ("HTTP keep-alive", lambda: measure(rpc_port, http, http_answer, 1, connections, seconds)),
        ("HTTP keep-alive, async method", lambda: measure(rpc_port, slow, http_answer, 1, connections, seconds)),
        ("HTTP, 16 pipelined", lambda: measure(rpc_port, http, http_answer, 16, connections, seconds)),
        ("WebSocket", lambda: measure(rpc_port, frame, frame_answer, 1, connections, seconds, UPGRADE)),
        ("WebSocket, 16 in flight", lambda: measure(rpc_port, frame, frame_answer, 16, connections, seconds, UPGRADE)),
    ]
    base = 0.0
    print(f"{connections} connections, {seconds} s each")
    for name, case in cases:
        rate = await case()
        base = base or rate
        print(f"  {name:32} {rate:10,.0f}/s  {rate / base:6.2f} of echo", flush=True)


def main() -> None:
    """Starts the server in a process of its own and loads it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--connections", type=int, default=32)
    arguments = parser.parse_args()
    if arguments.serve:
        trio.run(run_server)
        return
    command = [sys.executable, "-m", "tests.bench.bench_rpc", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            while not (line := server.stdout.readline()).split()[:1] or not line.split()[0].isdigit():
                assert line, "the server did not start"
            rpc_port, echo_port = map(int, line.split())
            trio.run(run_load, rpc_port, echo_port, arguments.connections, arguments.seconds)
        finally:
            server.kill()


if __name__ == "__main__":
    main()
