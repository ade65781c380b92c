"""The sequencer as a service: one nursery around core, L1 feed, anchoring and RPC.

Temporary failures are retried where they happen. A Reset (L1 replaced a message that was consumed) goes back to the
last batch that L1 still has and starts again. Everything built on it is executed anew, in the order that was promised
(again.py); outcomes may differ: L1 is the only source of truth. Anything else ends the service. Cancellation is
shutdown.

Before the first promise the operator binds its bond to the key that signs them (PromiseCourt).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from node.config import Config
from node.derive.chain import Chain
from node.derive.finality import final_block
from node.errors import Critical, Reset, Temporary
from node.l1 import bindings, courts
from node.l1.client import L1Client
from node.l1.courts import PROMISE_COURT
from node.l1.fees import FeePolicy
from node.l1.heads import HeadsConfig, HeadTracker
from node.l1.journal import FileJournal
from node.l1.keys import Signer
from node.l1.sender import Intent, SenderConfig, TxSender, open_sender
from node.metrics import Metrics
from node.rpc.explain.methods import Explain
from node.rpc.methods.eth import CLIENT_VERSION, Eth
from node.rpc.methods.reads import Heads as L2Heads
from node.rpc.methods.reads import Node, Reads
from node.rpc.server import Registry, serve_metrics, serve_rpc
from node.rpc.subscriptions import Hub
from node.stf import encoding
from node.stf.commitments import header_hash
from node.storage.kv import KV, open_kv
from node.transport import Bound
from node.units import parse_markets
from sequencer.again import Undone, collect, forget, load, repeat, save
from sequencer.anchoring import Anchor
from sequencer.builder import Limits
from sequencer.catch_up import catch_up
from sequencer.core import Core, wall_clock_ms
from sequencer.feed import Feed
from sequencer.methods import Submissions
from sequencer.pruning import Pruner
from sequencer.rejoin import rejoin, unchanged
from sequencer.strikes import Strikes

log = structlog.get_logger("sequencer")

GWEI: Final = 10**9
RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 30.0


async def run(
    config: Config, signer: Signer, poster: Signer, *, villains: Sequence[str] = (),
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Sequence until cancelled. ``signer`` signs promises, ``poster`` holds the seat and pays for batches.

    ``villains``: kinds of wrong batches to post, each before an honest one, and to be slashed for: only on devnets.
    ``task_status`` gets where the RPC listens, once promises can be given. Raises ConfigError, Critical.
    """
    config.check("sequencer")
    metrics = Metrics("sequencer", CLIENT_VERSION)
    client = L1Client(config.l1.rpc, threads=config.l1.threads, logs_range_max=config.l1.logs_range_max)
    kv = open_kv(config.datadir / "sequencer")
    try:
        params, domain, epoch, holder = await _contract(client, bytes.fromhex(config.l1.rollup[2:]))
        if not villains:  # a villain that was slashed just before a restart takes the seat again as it goes on
            _need_seat(holder, poster.address, config.l1.rollup)
        await catch_up(
            Chain.open(kv, domain), client, bytes.fromhex(config.l1.rollup[2:]), start_block=config.l1.start_block,
            poll_s=config.l1.poll_ms / 1_000)
        again = load(Chain.open(kv, domain))
        while True:
            service = Service(config, client, kv, domain, params, epoch, metrics, again, villains)
            try:
                await service.run(signer, poster, task_status)
            except* Reset as group:
                log.error("sequencer_reset", reason=_reason(group))
                again = await service.go_back()
                config = service.same_port()
                task_status = trio.TASK_STATUS_IGNORED
                # the seat may have been taken in the blocks that L1 replaced
                params, domain, epoch, holder = await _contract(client, bytes.fromhex(config.l1.rollup[2:]))
                if not villains:
                    _need_seat(holder, poster.address, config.l1.rollup)
    finally:
        kv.close()
        client.close()


class Service:
    """One run between resets."""

    def __init__(
        self, config: Config, client: L1Client, kv: KV, domain: bytes, params: tuple[Any, ...], epoch: int,
        metrics: Metrics, again: Undone, villains: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.villains = villains
        self.again = again
        self.core: Core | None = None
        self.client = client
        self.kv = kv
        self.domain = domain
        self.params = params
        self.epoch = epoch
        self.metrics = metrics
        self.rollup = bytes.fromhex(config.l1.rollup[2:])
        self.tracker = HeadTracker(client, HeadsConfig(poll_s=config.l1.poll_ms / 1_000))
        self.problem = ""
        self.bound: Bound | None = None
        self.heads = L2Heads()
        self._delay_asked = -1  # the L1 block at which the forced delay was read

    async def run(self, signer: Signer, poster: Signer, task_status: trio.TaskStatus[Bound]) -> None:
        """Serve until cancelled, or until L1 or the disk ends it."""
        await self._rejoin()
        limits = Limits(
            self.config.sequencer.block_ms, self.config.sequencer.block_bytes_max,
            overdue_ms=await self._overdue_ms())
        core = Core(
            self.kv, self.config.datadir / "log", self.domain, signer, limits,
            epoch=self.epoch, group_ms=self.config.sequencer.group_commit_ms, clock=self._clock, age=wall_clock_ms,
            metrics=self.metrics)
        self.core = core
        try:
            async with self._sender(poster) as sender, trio.open_nursery() as nursery:
                anchor = self._anchor(core, sender)
                await anchor.check_genesis()
                await self._bind_signer(sender, signer.address, poster.address)
                anchor.measure()
                core.closed = anchor.closed
                core.on_sealed.append(anchor.notify)
                feed = Feed(core.chain, self.client, self.tracker, self.rollup, lambda: core.builder,
                            start_block=self.config.l1.start_block, confirmations=self.config.l1.confirmations)
                await feed.start()
                await self._repeat(feed, core)
                await nursery.start(core.run)
                nursery.start_soon(self._follow, feed, core, anchor)
                nursery.start_soon(anchor.run)
                if self.config.batcher.notice_ids:
                    nursery.start_soon(self._pruner(core, sender).run)
                if self.config.metrics.enabled:
                    await nursery.start(partial(serve_metrics, self.config.metrics, self.metrics))
                registry = self._registry(core, signer, poster)
                self.bound = await nursery.start(partial(
                    serve_rpc, self.config.rpc, registry, metrics=self.metrics, problem=lambda: self.problem))
                self.metrics.up.set(1)
                log.info("sequencer_started", url=self.bound.http_url, block=core.chain.head.number)
                task_status.started(self.bound)
        finally:
            core.close()

    def _clock(self) -> int:
        """L2 time never goes back for traders, through resets either."""
        return max(wall_clock_ms(), self.again.time)

    async def _overdue_ms(self) -> int:
        """Half of the delay that L1 grants messages now: blocks that hold to it are never refused, nor halve it."""
        return int(await _view(self.client, self.rollup, "forced_delay_s")) * 500

    async def _follow_delay(self, feed: Feed, core: Core) -> None:
        """Ask again whenever L1 has a new block."""
        assert feed.heads is not None, "a poll that succeeds has heads"
        number = feed.heads.latest.number
        if number != self._delay_asked:
            core.builder.limits = replace(core.builder.limits, overdue_ms=await self._overdue_ms())
            self._delay_asked = number

    async def go_back(self) -> Undone:
        """Return to the last batch that L1 has; what was beyond it, to be executed again."""
        assert self.core is not None, "only a service that ran can go back"
        self.core.builder.seal()
        chain = Chain.open(self.kv, self.domain)
        record = chain.last_batch()
        while record is not None:
            if record.header is not None and await self._is_on_l1(record.number, header_hash(record.header)):
                break
            record = chain.batch(record.number - 1)
        target = 0 if record is None else record.last_block
        again = collect(chain, target, self.again)
        save(chain, again)
        log.warning("chain_rolled_back", from_block=chain.head.number, to_block=target, undone=len(again.transactions))
        chain.rollback(target)
        chain.put_fact("sequencer/inbox", bytes(48), sync=True)
        self.core.journal.clear()
        return again

    def same_port(self) -> Config:
        """The configuration with the port that was bound, so that clients find the service again."""
        if self.bound is None:
            return self.config
        return replace(self.config, rpc=replace(self.config.rpc, port=self.bound.port))

    async def _is_on_l1(self, number: int, wanted: bytes) -> bool:
        return bool(await self._patiently(lambda: _view(self.client, self.rollup, "header_hash", number)) == wanted)

    async def _patiently(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask L1 until it answers."""
        pause = self.config.l1.poll_ms / 1_000
        while True:
            try:
                return await ask()
            except Temporary as error:
                log.warning("l1_unreachable", reason=str(error))
                await trio.sleep(pause)
                pause = min(pause * 2, RETRY_MAX_S)

    async def _rejoin(self) -> None:
        """After a reset, before the log is opened anew: batches that L1 has as we posted them, not as we know them."""
        if any((self.config.datadir / "log").glob("*.log")):
            return
        chain = Chain.open(self.kv, self.domain)
        await self._patiently(lambda: rejoin(
            chain, self.client, self.rollup, start_block=self.config.l1.start_block, undone=self.again))

    @asynccontextmanager
    async def _sender(self, poster: Signer) -> AsyncIterator[TxSender]:
        batcher = self.config.batcher
        journal = FileJournal(Path(self.config.datadir) / "batcher.journal")
        config = SenderConfig(
            confirmations=batcher.confirmations, resubmit_s=batcher.resubmit_ms / 1_000,
            poll_s=self.config.l1.poll_ms / 1_000, fees=FeePolicy(fee_max=batcher.fee_max_gwei * GWEI))
        try:
            async with open_sender(self.client, poster, journal, config) as sender:
                yield sender
        finally:
            journal.close()

    def _anchor(self, core: Core, sender: TxSender) -> Anchor:
        anchor = Anchor(
            core.chain, self.client, self.rollup, sender, self.config.batcher,
            start_block=self.config.l1.start_block, poll_s=self.config.l1.poll_ms / 1_000,
            unanchored_ms_max=self.config.sequencer.unanchored_ms_max, now_ms=wall_clock_ms, metrics=self.metrics)
        if self.villains:
            strikes = Strikes(
                self.villains, core.chain, self.client, self.rollup, sender, self.config.l1.start_block,
                self.config.l1.poll_ms / 1_000, self.config.datadir / "strikes.jsonl")
            strikes.check()
            anchor.before_post = strikes.before
        return anchor

    def _pruner(self, core: Core, sender: TxSender) -> Pruner:
        return Pruner(
            core.chain, self.client, self.rollup, sender, lambda: self.tracker.heads,
            start_block=self.config.l1.start_block, count=self.config.batcher.notice_ids,
            poll_s=self.config.l1.poll_ms / 1_000)

    async def _follow(self, feed: Feed, core: Core, anchor: Anchor) -> None:
        """Read L1 for ever; a node that does not answer is retried with backoff and shown as unhealthy."""
        pause = self.config.l1.poll_ms / 1_000
        failures = 0
        while True:
            try:
                await feed.poll()
                failures, self.problem = 0, ""
                await self._follow_delay(feed, core)
                self._measure(feed, core, anchor)
            except Temporary as error:
                failures += 1
                self.problem = f"L1 cannot be read: {error}"
                log.warning("l1_unreachable", failures=failures, reason=str(error))
            await trio.sleep(min(pause * 2 ** min(failures, 8), RETRY_MAX_S))

    async def _bind_signer(self, sender: TxSender, signer: bytes, poster: bytes) -> None:
        """Once per key: the poster answers for what the signer promises."""
        court = bytes(await _view(self.client, self.rollup, "promise_court"))
        call = courts.encode_call(PROMISE_COURT, "may_sign", poster, signer)
        if courts.decode_result(PROMISE_COURT, "may_sign", await self.client.call(court, call)):
            return
        data = courts.encode_call(PROMISE_COURT, "authorize_signer", signer)
        await sender.send(Intent(f"authorize-signer-{signer.hex()}", court, data))
        log.info("promise_key_bound", signer="0x" + signer.hex(), operator="0x" + poster.hex())

    async def _repeat(self, feed: Feed, core: Core) -> None:
        """After a reset, before anything new: what was promised, in its place, on the messages that L1 has now."""
        if not self.again.transactions:
            return
        feed.caught_up = False
        while not feed.caught_up:
            with suppress(Temporary):
                await feed.poll()
            await trio.sleep(self.config.l1.poll_ms / 1_000)
        known: dict[int, bytes] = await self._patiently(lambda: unchanged(
            self.client, self.rollup, start_block=self.config.l1.start_block, undone=self.again))
        for number, message in known.items():
            if number >= core.builder.next_message:
                core.builder.add_message(number, message)
        repeat(self.again, core.builder)
        await core.committer.commit()
        forget(core.chain)
        self.again.transactions, self.again.messages = [], []

    def _measure(self, feed: Feed, core: Core, anchor: Anchor) -> None:
        """Heads for readers and metrics."""
        assert feed.heads is not None, "a poll that succeeds has heads"
        now_s = wall_clock_ms() / 1_000
        latest = feed.heads.latest
        self.metrics.set_ref("l1", "latest", latest.number, latest.timestamp, now_s)
        self.heads.safe = anchor.safe_block()
        self.heads.finalized = final_block(core.chain, latest.timestamp - int(self.params[0]))
        for kind, number in (("unsafe", core.chain.head.number), ("safe", self.heads.safe),
                             ("finalized", self.heads.finalized)):
            header = core.chain.header(number)
            if header is not None:
                self.metrics.set_ref("l2", kind, number, header.time // 1_000, now_s)

    def _registry(self, core: Core, signer: Signer, poster: Signer) -> Registry:
        registry = Registry("Anchorline sequencer", CLIENT_VERSION, self.metrics)
        extra = {"sequencer": "0x" + signer.address.hex(), "poster": "0x" + poster.address.hex()}
        node = Node(
            "sequencer", core.chain, core.builder.engine, self.config.l1.rollup, int(self.params[8]), self.heads,
            units=parse_markets(self.config.rpc.markets), extra=lambda: dict(extra))
        Reads(node).register(registry)
        Explain(node).register(registry)
        Eth(node).register(registry)
        Submissions(core.ingress, core.chain).register(registry)
        hub = Hub(self.metrics)
        hub.family("heads", lambda _argument: _head(core.chain), "sealed blocks: number, hash, time, transactions")
        hub.register(registry)
        core.on_sealed.append(lambda _sealed: _publish_head(hub, core.chain))
        return registry


def _head(chain: Chain) -> dict[str, Any]:
    return {"number": chain.head.number, "hash": "0x" + chain.head_hash.hex(), "time": chain.head.time,
            "transactions": chain.head.tx_count}


def _publish_head(hub: Hub, chain: Chain) -> None:
    hub.publish("heads", _head(chain))


def _reason(group: BaseExceptionGroup[Reset]) -> str:
    """What the first of them says."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def _view(client: L1Client, rollup: bytes, name: str, *args: Any) -> Any:
    return bindings.decode_result(name, await client.call(rollup, bindings.encode_call(name, *args)))


def _need_seat(holder: bytes, poster: bytes, rollup: str) -> None:
    """Raise Critical unless the poster holds the seat: L1 would refuse every batch, and no promise could be kept."""
    if holder == poster:
        return
    if not any(holder):
        raise Critical(f"nobody holds the seat of the Rollup {rollup}: take it with `anchorline seat` and the "
                       f"batcher's key (0x{poster.hex()}), then start again")
    raise Critical(f"the seat of the Rollup {rollup} is held by 0x{holder.hex()}, not by the batcher's key "
                   f"(0x{poster.hex()}): give the holder's key, or wait for an empty seat and run `anchorline seat`")


async def _contract(client: L1Client, rollup: bytes) -> tuple[tuple[Any, ...], bytes, int, bytes]:
    """The Rollup's parameters, the EIP-712 domain they give, the seat's epoch and holder. Waits for L1 to answer."""
    pause = RETRY_FIRST_S
    while True:
        try:
            params = await _view(client, rollup, "params")
            epoch = int(await _view(client, rollup, "seat_epoch"))
            holder = bytes(await _view(client, rollup, "seat_holder"))
            return params, encoding.domain_separator(int(params[8]), int.from_bytes(rollup, "big")), epoch, holder
        except bindings.BadEncoding as error:
            raise Critical(f"l1.rollup: {error}") from error
        except Temporary as error:
            log.warning("l1_unreachable", reason=str(error))
            await trio.sleep(pause)
            pause = min(pause * 2, RETRY_MAX_S)
