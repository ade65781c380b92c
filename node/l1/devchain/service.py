"""Runs the embedded L1: one owner task's worth of state behind a JSON-RPC server, mining on a clock or on arrival.

Executions (blocks, calls, estimates) run in worker threads, one block and one call at a time, so a fraud proof of ten
million gas never stalls the server. Cancellation is shutdown.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import msgspec
import structlog
import trio

from node.transport import Bound, Connection, Limits, RpcError, serve

from .blocks import Entry
from .chain import Devchain, Plan, seal
from .config import DevchainConfig
from .errors import INVALID_PARAMS, METHOD_NOT_FOUND, L1RpcError

log = structlog.get_logger("devchain")

LIMITS = Limits(body_bytes_max=4 * 1024 * 1024, answer_bytes_max=128 * 1024 * 1024, queue_bytes_max=256 * 1024 * 1024,
                call_timeout_s=240.0)
PARAMS_DECODER = msgspec.json.Decoder(list[Any])

Method = Callable[..., Any]


class Service:
    """The chain plus who may touch it when: ``mining`` is held from plan to commit, ``calls`` bounds executions."""

    def __init__(self, chain: Devchain) -> None:
        self.chain = chain
        self.automine = chain.config.block_time_s == 0
        self.interval_s = chain.config.block_time_s
        self.interval_changed = trio.Event()
        self.mining = trio.Lock()
        self.calls = trio.CapacityLimiter(1)
        self.methods: dict[str, Method] = {}

    async def mine(self, count: int = 1, *, empty: bool = False, timestamp: int | None = None) -> Entry:
        """Seal ``count`` blocks; ``timestamp`` (s) fixes the first one's. Returns the head."""
        async with self.mining:
            for _ in range(count):
                if timestamp is not None:
                    self.chain.set_next_timestamp(timestamp)
                    timestamp = None
                await self._seal(self.chain.plan(empty=empty))
        return self.chain.store.head

    async def drain(self) -> None:
        """Automine: seal blocks as long as the pool has executable transactions (bounded by the pool's size)."""
        async with self.mining:
            for _ in range(self.chain.config.mempool_txs_max):
                plan = self.chain.plan()
                if not plan.txs:
                    return
                await self._seal(plan)

    async def mine_balance(self, address: bytes, wei: int) -> None:
        """Seal an empty block in which ``address`` has ``wei`` (development only)."""
        async with self.mining:
            root = self.chain.executor.set_balance(self.chain.store.head.state_root, address, wei)
            await self._seal(self.chain.replace_head_state(root))

    async def _seal(self, plan: Plan) -> None:
        if plan.txs:
            built = await trio.to_thread.run_sync(seal, self.chain.executor, plan, abandon_on_cancel=True)
        else:
            built = seal(self.chain.executor, plan)
        entry = self.chain.commit(built)
        executor = self.chain.executor
        if executor.garbage_due():  # nothing else writes states: ``mining`` is held
            dropped = await trio.to_thread.run_sync(executor.collect_garbage, self.chain.kept_roots())
            log.debug("states_forgotten", nodes=dropped)
        for tx, reason in built.invalid:
            log.warning("transaction_dropped", tx=tx.hash.hex(), reason=reason)
        if entry.tx_hashes:
            log.info("block_sealed", number=entry.number, txs=len(entry.tx_hashes), gas_used=entry.gas_used)

    async def in_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run an execution off the event loop, one at a time."""
        return await trio.to_thread.run_sync(work, *args, limiter=self.calls, abandon_on_cancel=True)

    async def call(self, method: str, params: list[Any]) -> Any:
        """Answer one request; raises L1RpcError."""
        handler = self.methods.get(method)
        if handler is None:
            raise L1RpcError(f"the method {method} does not exist/is not available", METHOD_NOT_FOUND)
        try:
            result = handler(*params)
        except TypeError as error:
            if "positional argument" not in str(error):
                raise
            raise L1RpcError(f"{method}: wrong number of parameters ({len(params)})", INVALID_PARAMS) from error
        return await result if hasattr(result, "__await__") else result

    async def dispatch(self, method: str, params: msgspec.Raw, connection: Connection) -> Any:
        """``call`` in the transport's terms."""
        raw = bytes(params)
        try:
            args = PARAMS_DECODER.decode(raw) if raw and raw != b"null" else []
        except msgspec.DecodeError as error:
            raise RpcError(INVALID_PARAMS, f"{method}: params must be an array: {error}") from error
        try:
            return await self.call(method, args)
        except L1RpcError as error:
            raise RpcError(error.code, error.message, error.data) from error

    async def mine_on_clock(self) -> None:
        """Interval mining on the trio clock, without drift; waits while the interval is 0."""
        while True:
            if self.interval_s <= 0:
                await self.interval_changed.wait()
                continue
            await self._mine_every(self.interval_s)

    async def _mine_every(self, interval_s: int) -> None:
        due = trio.current_time() + interval_s
        while self.interval_s == interval_s:
            with trio.move_on_at(due):
                await self.interval_changed.wait()
            if self.interval_s != interval_s:
                return
            await self.mine()
            due = max(due + interval_s, trio.current_time())

    def set_interval(self, interval_s: int) -> None:
        """Change the block time; 0 stops the clock."""
        self.interval_s = interval_s
        self.interval_changed.set()
        self.interval_changed = trio.Event()


def make_service(config: DevchainConfig, *, clock: Callable[[], float] = time.time) -> Service:
    """A service with every method, for ``run`` and for tests that need no socket."""
    from . import dev_methods, eth_methods  # they import this module's Service for its type

    service = Service(Devchain(config, clock=clock))
    service.methods |= eth_methods.table(service)
    service.methods |= dev_methods.table(service)
    return service


@asynccontextmanager
async def closing_store(service: Service) -> AsyncIterator[None]:
    """Free the block file at the end, whichever way it comes."""
    try:
        yield
    finally:
        service.chain.store.close()


async def run(
    config: DevchainConfig,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the embedded L1 until cancelled; ``started`` gets where it listens (``.http_url``, ``.port``)."""
    config.check()
    service = make_service(config, clock=clock)
    async with closing_store(service), trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve, config.host, config.port, service.dispatch, limits=LIMITS))
        nursery.start_soon(service.mine_on_clock)
        log.info("l1_started", url=bound.http_url, chain_id=config.chain_id, block_time_s=config.block_time_s,
                 accounts=config.accounts)
        task_status.started(bound)
