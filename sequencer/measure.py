"""What this machine does in process: signature recovery as the ceiling, then the whole way from request to promise.

The path measured is the service's own: digest, recovery in two threads, execution, group commit with sync, promise,
roots, LevelDB. Only the network is missing. Orders are random limit orders around one price, half of which trade.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from coincurve import PrivateKey
from eth_hash.auto import keccak

from node.l1.deployment import MarketSpec
from node.l1.keys import LocalSigner
from node.stf import encoding
from node.stf.commitments import MESSAGE_ADMIN, MESSAGE_DEPOSIT, Message, deposit_payload, encode_message
from node.stf.types import CONFIGURE_MARKET, PLACE, SET_PUBLISHER, Action
from node.storage.kv import open_kv
from sequencer.builder import Limits
from sequencer.core import Core, wall_clock_ms
from sequencer.requests import ActionsRequest, OracleRequest

CHAIN_ID: Final = 1
ROLLUP: Final = 1
DOMAIN: Final = encoding.domain_separator(CHAIN_ID, ROLLUP)
MARK: Final = 600_000
TRADERS: Final = 64
THREADS: Final = 2
IN_FLIGHT: Final = 1_024


@dataclass(frozen=True, slots=True)
class Result:
    """Of one run. Rates are per second, latencies ms; ``bytes_per_order`` are chunk bytes."""

    orders_per_s: float
    promise_p50_ms: float
    promise_p99_ms: float
    fills: int
    bytes_per_order: float


def key_of(name: str) -> PrivateKey:
    """A key for measuring."""
    return PrivateKey(keccak(name.encode()))


def address_of(key: PrivateKey) -> bytes:
    """Its 20-byte address."""
    return keccak(key.public_key.format(compressed=False)[1:])[12:]


def recover_ceiling(seconds: float = 1.0, threads: int = THREADS) -> float:
    """Signatures recovered to addresses per second, by as many threads as the sequencer uses."""
    key = key_of("ceiling")
    digests = [keccak(index.to_bytes(4, "big")) for index in range(256)]
    work = [(digest, *_split(_sign(key, digest))) for digest in digests]

    def recover_all(deadline: float) -> int:
        count = 0
        while time.perf_counter() < deadline:
            for digest, r, vs in work:
                encoding.recover_now(digest, r, vs)
            count += len(work)
        return count

    begun = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        counts = list(pool.map(recover_all, [begun + seconds] * threads))
    return sum(counts) / (time.perf_counter() - begun)


async def in_process(folder: Path, requests: int, listed: int = 1, *, in_flight: int = IN_FLIGHT) -> Result:
    """Send ``requests`` requests of ``listed`` orders each through an opened sequencer in an empty folder."""
    core = open_core(folder)
    load = make_requests(requests, listed, random.Random(1))
    async with trio.open_nursery() as nursery:
        await nursery.start(core.run)
        await _prices(core)
        begun = time.perf_counter()
        latencies = await _offer_all(core, load, in_flight)
        took = time.perf_counter() - begun
        nursery.cancel_scope.cancel()
    core.builder.seal()
    fills = size = 0
    for number in range(1, core.chain.head.number + 1):
        size += sum(len(chunk.data) for chunk in core.chain.chunks(number))
        fills += sum(len(outcome.receipt.fills) for outcome in core.chain.outcomes(number))
    core.close()
    core.chain.kv.close()
    latencies.sort()
    orders = requests * listed
    return Result(
        orders / took, latencies[len(latencies) // 2] * 1_000, latencies[len(latencies) * 99 // 100] * 1_000, fills,
        size / orders)


def open_core(folder: Path) -> Core:
    """A sequencer with one market, three publishers and TRADERS rich accounts waiting in its inbox."""
    signer = LocalSigner(keccak(b"measured sequencer"))
    core = Core(open_kv(folder / "db"), folder / "log", DOMAIN, signer, Limits(), epoch=1, group_ms=0)
    for number, message in enumerate(make_inbox()):
        core.add_message(number, message)
    while core.builder.cursor < core.builder.next_message:
        core.builder.tick()
        core.builder.seal()
    return core


def make_requests(count: int, listed: int, rng: random.Random, domain: bytes = DOMAIN) -> list[ActionsRequest]:
    """Signed requests of random traders, valid for ten minutes."""
    encoding.set_domain(domain)
    keys = [key_of(f"trader {index}") for index in range(TRADERS)]
    now = wall_clock_ms()
    found = []
    for index in range(count):
        account = rng.randrange(TRADERS)
        actions = [
            Action(op=PLACE, side=rng.randrange(2), price=MARK + rng.randrange(-60, 60), lots=rng.randrange(10, 40),
                   client_id=index * listed + item)
            for item in range(listed)
        ]
        request = ActionsRequest(account + 1, 0, now + index % 50_000, now + 600_000, actions, 0, 0)
        request.r, request.vs = _split(_sign(keys[account], request.digest()))
        found.append(request)
    return found


def make_prices(domain: bytes = DOMAIN) -> list[OracleRequest]:
    """The market's price, signed by each of its publishers."""
    encoding.set_domain(domain)
    now = wall_clock_ms()
    load = []
    for slot in range(3):
        request = OracleRequest(slot, now - 1, [0], [MARK], 0, 0)
        request.r, request.vs = _split(_sign(key_of(f"publisher {slot}"), request.digest()))
        load.append(request)
    return load


async def _offer_all(core: Core, load: Sequence[ActionsRequest], in_flight: int) -> list[float]:
    """Offer everything with a bounded number in flight; seconds from offer to promise of each."""
    latencies: list[float] = []
    answered = trio.Event()

    def note(begun: float, _result: Any) -> None:
        latencies.append(time.perf_counter() - begun)
        answered.set()

    for index, request in enumerate(load):
        while index - len(latencies) >= in_flight:
            answered = trio.Event()
            await answered.wait()
        core.ingress.offer(request, 0).on_done(partial(note, time.perf_counter()))
    while len(latencies) < len(load):
        answered = trio.Event()
        await answered.wait()
    return latencies


async def _prices(core: Core) -> None:
    load = make_prices()
    done = trio.Event()
    waiting = len(load)

    def answered(_result: Any) -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            done.set()

    for request in load:
        core.ingress.offer(request, 0).on_done(answered)
    await done.wait()


def make_inbox() -> list[bytes]:
    """Messages that create the market, its publishers and the traders' accounts."""
    seconds = wall_clock_ms() // 1_000 - 10
    market = MarketSpec(0, "BTC-USD", stale_ms=600_000, oi_cap=50_000_000)
    bodies = [bytes((CONFIGURE_MARKET,)) + market.message()]
    publishers = [address_of(key_of(f"publisher {slot}")) for slot in range(3)]
    bodies += [bytes((SET_PUBLISHER, 0, 0, slot)) + publisher for slot, publisher in enumerate(publishers)]
    found = [encode_message(Message(MESSAGE_ADMIN, bytes(20), seconds, body)) for body in bodies]
    for index in range(TRADERS):
        payload = deposit_payload(0, address_of(key_of(f"trader {index}")), 10**13)
        found.append(encode_message(Message(MESSAGE_DEPOSIT, bytes(20), seconds, payload)))
    return found


def _sign(key: PrivateKey, digest: bytes) -> bytes:
    return key.sign_recoverable(digest, hasher=None)


def _split(signature: bytes) -> tuple[int, int]:
    """(r, yParityAndS) of 65 bytes."""
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big") | signature[64] << 255


