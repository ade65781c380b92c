"""The verifier: rebuilds the whole L2 from L1 alone, compares every root, serves reads.

One nursery holds the derivation loop and the RPC server. Failures of L1 are waited out, loudly; a disputed batch never
stops reads of the last good state. The same parts make the watchtower, which adds an answer to disputes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import trio

from node.config import Config, L1Config
from node.derive.chain import Chain
from node.derive.finality import final_block
from node.derive.keeping import PROVABLE, STATES, Entry, Keeping
from node.derive.kept import PromiseBook
from node.derive.pipeline import OnDispute, Pipeline
from node.derive.replay import Dispute
from node.errors import Temporary
from node.l1 import bindings
from node.l1.client import L1Client
from node.l1.journal import FileJournal, Journal
from node.metrics import Metrics
from node.rpc.explain.methods import Explain
from node.rpc.methods.eth import CLIENT_VERSION, Eth
from node.rpc.methods.promises import CHANNEL, Promises, verdict_of
from node.rpc.methods.reads import Node, Reads
from node.rpc.server import Registry, serve_metrics, serve_rpc
from node.rpc.subscriptions import Hub
from node.stf import encoding
from node.storage.kv import KV, open_kv
from node.transport import Bound
from node.units import parse_markets

log = structlog.get_logger("verifier")

BACKOFF_MAX_S: Final = 30.0
LOUD_AFTER: Final = 3  # failures in a row
PROMISE_FACTS_S: Final = 1.0  # how old what L1 says of seats and bonds may be

Ready = Callable[["Verifier"], Awaitable[None]]
Extend = Callable[[Registry], None]


def connect(config: L1Config) -> L1Client:
    """The L1 node that the configuration names."""
    return L1Client(config.rpc, threads=config.threads, logs_range_max=config.logs_range_max)


@dataclass(frozen=True, slots=True)
class Host:
    """What a service takes from its machine: a way to L1, and files. A simulated machine has its own."""

    connect: Callable[[L1Config], L1Client] = connect
    open_store: Callable[[Path], KV] = open_kv
    open_journal: Callable[[Path], Journal] = FileJournal
    listens: bool = True  # whether it has ports to serve RPC on


MACHINE: Final = Host()


@dataclass(frozen=True, slots=True)
class Contract:
    """What the Rollup at the configured address says of itself."""

    address: bytes
    l2_chain_id: int
    challenge_window_s: int
    verifier: bytes
    genesis_root: bytes
    promise_court: bytes


@dataclass(slots=True)
class Verifier:
    """The running parts of a verifier, for those who build on it."""

    config: Config
    client: L1Client
    contract: Contract
    chain: Chain
    pipeline: Pipeline
    node: Node
    metrics: Metrics
    hub: Hub
    keeping: Keeping
    host: Host = MACHINE
    failures: int = 0
    problem: str = ""


async def read_contract(client: L1Client, rollup: bytes) -> Contract:
    """Ask the Rollup for its parameters. Raises BadEncoding if no Rollup is at this address."""
    async def ask(name: str) -> Any:
        return bindings.decode_result(name, await client.call(rollup, bindings.encode_call(name)))

    params = await ask("params")
    return Contract(rollup, params[8], params[0], await ask("verifier"), params[9], await ask("promise_court"))


def domain_of(contract: Contract) -> bytes:
    """The EIP-712 domain of a rollup."""
    return encoding.domain_separator(contract.l2_chain_id, int.from_bytes(contract.address, "big"))


async def run_verifier(
    config: Config,
    *,
    role: str = "verifier",
    on_dispute: OnDispute | None = None,
    on_ready: Ready | None = None,
    extend: Extend | None = None,
    host: Host = MACHINE,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled; started() with the RPC server's address. ``on_ready`` runs beside it, with its parts;
    ``extend`` adds methods to its RPC server."""
    client = host.connect(config.l1)
    try:
        contract = await _with_patience(lambda: read_contract(client, bytes.fromhex(config.l1.rollup[2:])))
        kv = host.open_store(config.datadir / "chain")
        try:
            verifier = _assemble(config, role, client, contract, Chain.open(kv, domain_of(contract)), on_dispute)
            verifier.host = host
            await _run(verifier, on_ready, extend, task_status)
        finally:
            kv.close()
    finally:
        client.close()


def _assemble(
    config: Config, role: str, client: L1Client, contract: Contract, chain: Chain, on_dispute: OnDispute | None
) -> Verifier:
    pipeline = Pipeline(
        chain, client, contract.address, start_block=config.l1.start_block, confirmations=config.l1.confirmations,
        on_dispute=on_dispute,
    )
    node = Node(
        role, chain, pipeline.engine, config.l1.rollup, contract.l2_chain_id, units=parse_markets(config.rpc.markets))
    metrics = Metrics(role, CLIENT_VERSION)
    hub = Hub(metrics)
    keeping = Keeping(
        chain, PromiseBook(client, contract.address, contract.promise_court, chain, memory_s=PROMISE_FACTS_S),
        finalized=lambda: node.heads.finalized, changed=partial(_tell, hub, metrics))
    verifier = Verifier(config, client, contract, chain, pipeline, node, metrics, hub, keeping)
    node.extra = lambda: status_extra(verifier)
    refresh(verifier, l1_time=0)
    return verifier


async def _run(
    verifier: Verifier, on_ready: Ready | None, extend: Extend | None, task_status: trio.TaskStatus[Bound]
) -> None:
    config = verifier.config
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(_serve, verifier, extend) if verifier.host.listens else Bound("", 0)
        nursery.start_soon(derive, verifier)
        nursery.start_soon(watch_promises, verifier)
        if config.metrics.enabled:
            await nursery.start(serve_metrics, config.metrics, verifier.metrics)
        if on_ready is not None:
            nursery.start_soon(on_ready, verifier)
        verifier.metrics.up.set(1)
        log.info("verifier_started", rpc=bound.http_url, rollup=config.l1.rollup, head=verifier.chain.head.number)
        task_status.started(bound)


async def _serve(
    verifier: Verifier, extend: Extend | None, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED
) -> None:
    registry = Registry(f"Anchorline {verifier.node.role}", CLIENT_VERSION, verifier.metrics)
    Reads(verifier.node).register(registry)
    Explain(verifier.node).register(registry)
    Eth(verifier.node).register(registry)
    verifier.hub.register(registry, eth_heads=False)
    Promises(verifier.keeping, verifier.contract.promise_court).register(registry, verifier.hub)
    if extend is not None:
        extend(registry)
    config = verifier.config.rpc

    def problem() -> str:
        return verifier.problem

    await serve_rpc(config, registry, metrics=verifier.metrics, problem=problem, task_status=task_status)


async def derive(verifier: Verifier) -> None:
    """Follow L1 for ever: step while there is something, else wait for the next poll."""
    while True:
        try:
            more = await verifier.pipeline.step()
            await refresh_from_l1(verifier)
        except Temporary as error:
            await _complain(verifier, error)
            continue
        verifier.failures = 0
        verifier.problem = ""
        verifier.metrics.l1_unreachable.set(0)
        verifier.metrics.derivation_idle.set(0 if more else 1)
        if not more:
            await trio.sleep(verifier.config.l1.poll_ms / 1000)


async def watch_promises(verifier: Verifier) -> None:
    """Look after traders' promises for ever, beside derivation, which is the one that complains about L1."""
    while True:
        progress = verifier.pipeline.progress
        try:
            await verifier.keeping.watch(progress.dropped + progress.reorgs)
        except Temporary as error:
            log.debug("promises_unchecked", reason=str(error))
        counts = verifier.keeping.counts()
        for state in STATES:
            verifier.metrics.kept_promises.labels(state).set(counts[state])
        await trio.sleep(verifier.config.l1.poll_ms / 1000)


def _tell(hub: Hub, metrics: Metrics, entry: Entry) -> None:
    """A promise's verdict has changed."""
    if entry.state in PROVABLE:
        metrics.promises_broken.labels(entry.state).inc()
    hub.publish(f"{CHANNEL}.{entry.account}", [verdict_of(entry)])


async def _complain(verifier: Verifier, error: Temporary) -> None:
    verifier.failures += 1
    verifier.metrics.derivation_errors.labels("temporary").inc()
    level = log.error if verifier.failures >= LOUD_AFTER else log.warning
    level("l1_unusable", failures=verifier.failures, reason=str(error), what_to_do="check l1.rpc: nothing is watched")
    if verifier.failures >= LOUD_AFTER:
        verifier.metrics.l1_unreachable.set(1)
        verifier.problem = f"L1 cannot be used: {error}"
    await trio.sleep(min(BACKOFF_MAX_S, verifier.config.l1.poll_ms / 1000 * 2 ** min(verifier.failures, 10)))


async def refresh_from_l1(verifier: Verifier) -> None:
    """Move the heads that L1 decides."""
    head = await verifier.client.head("latest")
    block = await verifier.client.block(max(0, head.number - verifier.config.l1.confirmations))
    if block is not None:  # L1 may be reorganising
        refresh(verifier, block.timestamp)
    verifier.metrics.set_ref("l1", "latest", head.number, head.timestamp, head.timestamp)


def refresh(verifier: Verifier, l1_time: int) -> None:
    """Safe is what has been derived; finalized what no proof can drop any more at an L1 time (seconds)."""
    node, chain = verifier.node, verifier.chain
    node.engine = verifier.pipeline.engine
    node.heads.safe = chain.head.number
    node.heads.finalized = final_block(chain, l1_time - verifier.contract.challenge_window_s)
    metrics = verifier.metrics
    for kind, block in (("safe", node.heads.safe), ("finalized", node.heads.finalized)):
        header = chain.header(block)
        if header is not None:
            metrics.set_ref("l2", kind, block, header.time // 1000, max(l1_time, header.time // 1000))
    metrics.last_valid_batch.set(verifier.pipeline.progress.agreed)


def status_extra(verifier: Verifier) -> dict[str, Any]:
    """What a verifier adds to al_status."""
    progress = verifier.pipeline.progress
    return {
        "l1": {"head": progress.l1_head, "derived": progress.l1_derived},
        "batches": {
            "agreed": progress.agreed, "disagreed": progress.disagreed, "skipped": progress.skipped,
            "dropped": progress.dropped, "disputed": _dispute(progress.disputed),
        },
        "roots": {"agreed": progress.roots, "disagreed": progress.disagreed},
        "l1_reorgs": progress.reorgs,
        "problem": verifier.problem,
    }


def _dispute(dispute: Dispute | None) -> dict[str, Any] | None:
    if dispute is None:
        return None
    return {"batch": dispute.batch.header.number, "chunk": dispute.chunk, "kind": dispute.kind.value,
            "reason": dispute.reason}


async def _with_patience(ask: Callable[[], Awaitable[Contract]]) -> Contract:
    """L1 may start after us: try for a minute before giving up. Raises the last Temporary."""
    for attempt in range(8):
        try:
            return await ask()
        except bindings.BadEncoding:
            raise  # another contract, or none: waiting makes no Rollup
        except Temporary as error:
            log.warning("l1_unusable", reason=str(error), attempt=attempt + 1, of=8)
            last = error
        await trio.sleep(min(15.0, 0.5 * 2**attempt))
    raise last
