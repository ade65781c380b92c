"""A sequencer without an L1, as a process of its own: for replay and bench, whose load must not wait for blocks of L1.

It is the sequencer's own core (rules, durable log, promises, storage) behind the public JSON-RPC; only the inbox comes
from whoever starts it. The parent writes one JSON line to its stdin (keys never stand in argv), reads one JSON line
with the address, and ends it by closing stdin.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import trio

from node.cli.output import STOP_WITH_STDIN, UserError, run_async
from node.l1.deployment import MarketSpec
from node.stf import encoding

CHAIN_ID: Final = 901
ROLLUP: Final = 0x1234
START_S: Final = 30.0
STOP_S: Final = 10.0


class Spec(msgspec.Struct):
    """What the parent asks for. ``messages``: the inbox, hex; ``key``: of the promises, hex."""

    datadir: str
    key: str
    messages: list[str]
    chain_id: int = CHAIN_ID
    rollup: int = ROLLUP
    block_ms: int = 250
    block_bytes_max: int = 56_000
    group_commit_ms: int = 2


class Place(msgspec.Struct):
    """Where it serves."""

    http_url: str
    ws_url: str


def domain() -> bytes:
    """EIP-712 domain of a chain without L1."""
    return encoding.domain_separator(CHAIN_ID, ROLLUP)


# --- its inbox --------------------------------------------------------------------------------------------------------


def message(kind: int, payload: bytes) -> bytes:
    """An inbox message of this moment."""
    return bytes((kind,)) + bytes(20) + int(time.time()).to_bytes(8, "big") + payload


def market_message(market: int, *, oi_cap: int) -> bytes:
    """An admin message that opens a market with hardly any bounds: for flow that was recorded elsewhere."""
    spec = MarketSpec(
        market, "TAPE", tick_value=1, mm_base=1, mm_cap=1, im_base=1, im_cap=1, impact=0, stale_ms=2**32 - 1,
        oi_cap=oi_cap, min_notional=0, taker_fee=0, maker_fee=0, penalty=0, band=999_999, quorum=3)
    return message(6, b"\x01" + spec.message())


def publisher_message(market: int, slot: int, publisher: bytes) -> bytes:
    """An admin message that makes an address the publisher of a slot."""
    return message(6, b"\x02" + market.to_bytes(2, "big") + bytes((slot,)) + publisher)


def deposit_message(owner: bytes, amount: int) -> bytes:
    """A deposit of micro-USD that opens an account for an address."""
    return message(1, bytes(4) + owner + amount.to_bytes(8, "big"))


# --- starting it ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def solo(
    messages: Iterable[bytes], *, chain_id: int = CHAIN_ID, rollup: int = ROLLUP,
) -> AsyncIterator[Place]:
    """A running one, with its data in a temporary folder. Raises UserError when it does not start."""
    with tempfile.TemporaryDirectory(prefix="anchorline-solo-") as folder:
        spec = Spec(folder, os.urandom(32).hex(), [item.hex() for item in messages], chain_id, rollup)
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "node.cli.solo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"ETH_HASH_BACKEND": "pysha3", STOP_WITH_STDIN: "1"})
        assert process.stdin is not None and process.stdout is not None, "both are pipes"
        try:
            await process.stdin.send_all(msgspec.json.encode(spec) + b"\n")
            yield await _first_line(process.stdout)
        finally:
            with trio.move_on_after(STOP_S) as scope:
                scope.shield = True
                await process.stdin.aclose()
                await process.wait()
            if process.returncode is None:
                process.kill()
            await process.stdout.aclose()


async def _first_line(stream: trio.abc.ReceiveStream) -> Place:
    received = b""
    with trio.move_on_after(START_S):
        while b"\n" not in received:
            data = await stream.receive_some(4096)
            if not data:
                break
            received += data
    if b"\n" not in received:
        raise UserError("the sequencer of this command did not start: see its messages above")
    return msgspec.json.decode(received, type=Place)


# --- the process ------------------------------------------------------------------------------------------------------


async def serve(spec: Spec) -> None:
    """Serve until cancelled."""
    from node.config import RpcConfig
    from node.l1.keys import LocalSigner
    from node.rpc.methods.eth import CLIENT_VERSION, Eth
    from node.rpc.methods.reads import Node, Reads
    from node.rpc.server import Registry, serve_rpc
    from node.storage.kv import open_kv
    from sequencer.builder import Limits
    from sequencer.core import Core
    from sequencer.methods import Submissions

    kv = open_kv(Path(spec.datadir) / "db")
    core = Core(
        kv, Path(spec.datadir) / "log", encoding.domain_separator(spec.chain_id, spec.rollup),
        LocalSigner(bytes.fromhex(spec.key)), Limits(spec.block_ms, spec.block_bytes_max), epoch=1,
        group_ms=spec.group_commit_ms)
    try:
        for number, item in enumerate(spec.messages):
            core.add_message(number, bytes.fromhex(item))
        registry = Registry("Anchorline sequencer without L1", CLIENT_VERSION)
        node = Node("sequencer", core.chain, core.builder.engine, f"0x{spec.rollup:040x}", spec.chain_id)
        Reads(node).register(registry)
        Eth(node).register(registry)
        Submissions(core.ingress, core.chain).register(registry)
        while core.builder.cursor < core.builder.next_message:
            core.builder.tick()
            core.builder.seal()
        async with trio.open_nursery() as nursery:
            await nursery.start(core.run)
            bound = await nursery.start(partial(serve_rpc, RpcConfig(port=0), registry))
            print(msgspec.json.encode(Place(bound.http_url, bound.ws_url)).decode(), flush=True)
    finally:
        core.close()
        kv.close()


def main() -> None:
    """Entry point of the process."""
    from node import log
    from node.cli.output import Interrupted

    log.configure("warning", "text")
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)  # unbuffered: the rest of stdin belongs to whoever watches for its end
        if not byte:
            raise SystemExit("anchorline: this process is started by `anchorline replay` and `anchorline bench`")
        line += byte
    spec = msgspec.json.decode(line, type=Spec)
    try:
        run_async(lambda: serve(spec))
    except Interrupted:
        return


if __name__ == "__main__":
    main()
