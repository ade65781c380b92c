"""What traders see: orders, fills, bytes on L1, and how long a promise takes. Bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

SAMPLES_MAX = 50_000


@dataclass(slots=True)
class Figures:
    """Counts since the start; ``promise_ms`` keeps the newest samples."""

    orders: int = 0
    fills: int = 0
    lots: int = 0
    cancels: int = 0
    singles: int = 0
    single_bytes: int = 0
    listed: int = 0
    listed_bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    promise_ms: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "orders": self.orders, "fills": self.fills, "lots": self.lots, "cancels": self.cancels,
            "singles": self.singles, "single_bytes": self.single_bytes, "listed": self.listed,
            "listed_bytes": self.listed_bytes, "refused": dict(self.refused),
            "promise_ms": {"p50": percentile(self.promise_ms, 50), "p99": percentile(self.promise_ms, 99)},
        }


def percentile(samples: deque[float] | list[float], percent: int) -> float | None:
    """The sample below which ``percent`` of them lie (nearest rank); None without samples."""
    if not samples:
        return None
    ordered = sorted(samples)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)
