"""Prometheus metrics of one service, under the names that rollup operators' dashboards expect.

Each service owns one `Metrics` with a registry of its own, so several services in one process (a devnet, the tests)
never mix. Label values come from fixed sets, never from clients. Times are seconds, amounts wei unless a name says
otherwise.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

PREFIX: Final = "anchorline"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_FAST: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_SLOW: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_DEPTHS: Final = (1, 2, 3, 5, 8, 13, 32, 64)


class Metrics:
    """Everything a service may report; a role sets what concerns it and the rest stays at its start."""

    def __init__(self, role: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._gauge("info", "Always 1; the labels say what runs.", "role", "version").labels(role, version).set(1)
        self.up = self._gauge("up", "1 once the service has started.")
        self._make_head_metrics()
        self._make_rpc_metrics()
        self._make_sender_metrics()
        self._make_sequencer_metrics()
        self._make_dispute_metrics()
        self._make_promise_metrics()
        self._make_liquidity_metrics()

    def render(self) -> bytes:
        """The exposition text, of type CONTENT_TYPE."""
        return generate_latest(self.registry)

    def set_ref(self, layer: str, kind: str, number: int, timestamp_s: int, now_s: float) -> None:
        """Notes a head: layer l1 or l2; kind latest, unsafe, safe or finalized; its number, time and age."""
        self.refs_number.labels(layer, kind).set(number)
        self.refs_time.labels(layer, kind).set(timestamp_s)
        self.refs_latency.labels(layer, kind).set(max(0.0, now_s - timestamp_s))

    def _make_head_metrics(self) -> None:
        self.refs_number = self._gauge("refs_number", "Block number of a head.", "layer", "type")
        self.refs_time = self._gauge("refs_time", "Timestamp of a head, seconds.", "layer", "type")
        self.refs_latency = self._gauge("refs_latency", "Age of a head when it was seen, seconds.", "layer", "type")
        self.derivation_idle = self._gauge("derivation_idle", "1 when everything on L1 is derived.")
        self.derivation_errors = self._counter("derivation_errors", "Errors of derivation.", "severity")
        self.l1_reorg_depth = self._histogram("l1_reorg_depth", "Depth of L1 reorgs, blocks.", _DEPTHS)

    def _make_rpc_metrics(self) -> None:
        self.rpc_requests = self._counter("rpc_server_requests", "Calls by method.", "method")
        self.rpc_errors = self._counter("rpc_server_errors", "Calls answered with an error.", "method", "kind")
        self.rpc_seconds = self._histogram(
            "rpc_server_request_duration_seconds", "Time to answer a call, seconds.", _FAST, "method")
        self.rpc_subscriptions = self._gauge("rpc_server_subscriptions", "Subscriptions that are open.")

    def _make_sender_metrics(self) -> None:
        self.txmgr_pending = self._gauge("txmgr_pending_txs", "L1 transactions on their way.")
        self.txmgr_published = self._counter("txmgr_tx_published", "L1 transactions published, replacements included.")
        self.txmgr_confirmed = self._counter("txmgr_tx_confirmed", "L1 transactions confirmed.")
        self.txmgr_errors = self._counter("txmgr_tx_errors", "L1 transactions that failed or could not be sent.")
        self.txmgr_bumps = self._counter("txmgr_tx_fee_bumps", "Replacements at a higher fee.")
        self.txmgr_fees_gwei = self._counter("txmgr_tx_fees_gwei", "Fees paid on L1, gwei.")
        self.txmgr_balance = self._gauge("txmgr_balance_wei", "Balance of the sending account.")

    def _make_sequencer_metrics(self) -> None:
        self.transactions = self._counter("transactions", "L2 transactions executed.", "kind")
        self.blocks_sealed = self._counter("blocks_sealed", "L2 blocks sealed.")
        self.commit_seconds = self._histogram("group_commit_seconds", "Time to make a group durable, seconds.", _FAST)
        self.promises = self._counter("promises", "Promises given.")
        self.unanchored_bytes = self._gauge("unanchored_bytes", "Bytes sealed and not yet on L1.")
        self.unanchored_seconds = self._gauge("unanchored_seconds", "L2 time sealed and not yet on L1, seconds.")
        self.batches_posted = self._counter("batches_posted", "Batches confirmed on L1.")

    def _make_dispute_metrics(self) -> None:
        self.batches_checked = self._counter("batches_checked", "Batches compared with our own roots.", "agreement")
        self.last_valid_batch = self._gauge("last_valid_batch", "Newest batch that agrees with us and all before it.")
        self.oldest_unchecked_batch = self._gauge("oldest_unchecked_batch", "Oldest batch not compared yet.")
        self.bond_micro_usd = self._gauge("bond_micro_usd", "Bond behind the sequencer's seat, micro-USD.")
        self.proofs_sent = self._counter("proofs_sent", "Fraud proofs sent to L1.")
        self.dry_run_seconds = self._histogram(
            "dry_run_seconds", "Time of a proof's dry run on the local EVM, seconds.", _SLOW)
        self.drills = self._counter("drills", "Fire drills asked of this watchtower, by their end.", "outcome")
        self.drill_passed_at = self._gauge("drill_passed_timestamp", "L1 time of the newest drill that was disproved.")
        self.l1_unreachable = self._gauge("l1_unreachable", "1 while L1 cannot be reached: nothing is watched then.")

    def _make_liquidity_metrics(self) -> None:
        self.claims_held = self._gauge("liquidity_claims", "Claims that are held or being bought.")
        self.claims_exposure = self._gauge("liquidity_exposure_micro_usd", "Their amounts together, micro-USD.")
        self.claims_bought = self._counter("liquidity_claims_bought", "Claims bought.")
        self.claims_fees = self._counter("liquidity_fees_micro_usd", "Amount less price of claims bought, micro-USD.")
        self.claims_lost = self._counter("liquidity_claims_lost", "Claims that L1 took away again, unpaid.")

    def _make_promise_metrics(self) -> None:
        self.kept_promises = self._gauge("kept_promises", "Promises kept here for traders, by verdict.", "state")
        self.promises_broken = self._counter(
            "promises_broken", "Kept promises that turned out broken or late.", "state")

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)
