"""A sequencer as a process of its own, for tests that kill it: argv = datadir. Prints its URL when it serves."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio
from eth_hash.auto import keccak

from node.config import RpcConfig
from node.l1.keys import LocalSigner
from node.log import configure
from node.rpc.server import Registry, serve_rpc
from node.storage.kv import open_kv
from sequencer.builder import Limits
from sequencer.core import Core
from sequencer.methods import Submissions
from tests.sequencer.world import Desk
from tests.stf.world import DOMAIN


def open_core(datadir: Path) -> Core:
    limits = Limits(block_ms=50, block_bytes_max=20_000)
    signer = LocalSigner(keccak(b"sequencer"))
    core = Core(open_kv(datadir / "db"), datadir / "log", DOMAIN, signer, limits, epoch=1, group_ms=1)
    for number, message in enumerate(Desk().make_inbox()):
        core.add_message(number, message)
    return core


async def main(datadir: Path) -> None:
    core = open_core(datadir)
    registry = Registry("sequencer", "test")
    Submissions(core.ingress, core.chain).register(registry)
    async with trio.open_nursery() as nursery:
        await nursery.start(core.run)
        bound = await nursery.start(partial(serve_rpc, RpcConfig(port=0), registry))
        print(bound.http_url, flush=True)


if __name__ == "__main__":
    configure("warning", "text")
    trio.run(main, Path(sys.argv[1]))
