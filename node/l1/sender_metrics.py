"""Reports a sender's figures under the names that operators' dashboards expect (``node/metrics.py``)."""

from __future__ import annotations

from node.metrics import Metrics

from .types import L1Receipt

GWEI = 10**9


class SenderMetrics:
    """A ``SenderEvents`` on a service's metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def published(self, bump: bool) -> None:
        """See ``SenderEvents.published``."""
        self._metrics.txmgr_published.inc()
        if bump:
            self._metrics.txmgr_bumps.inc()

    def pending(self, count: int) -> None:
        """See ``SenderEvents.pending``."""
        self._metrics.txmgr_pending.set(count)

    def finished(self, receipt: L1Receipt | None) -> None:
        """See ``SenderEvents.finished``."""
        if receipt is None or not receipt.success:
            self._metrics.txmgr_errors.inc()
        if receipt is not None:
            self._metrics.txmgr_confirmed.inc()
            self._metrics.txmgr_fees_gwei.inc(receipt.gas_used * receipt.price / GWEI)
