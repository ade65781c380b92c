"""EIP-1559 fees of our transactions: what to offer first, what to offer next, where to stop. Pure; wei per gas.

First offer: tip = max(node's suggestion, ``tip_min``), cap = tip + 2 · base fee (survives six full blocks).
Replacement: both at least +10% on the last offer, rounded up (public pools refuse less), and at least a fresh first
offer.
Limit: cap <= multiplier · fresh first cap, so that bumping follows the market but never runs away from it, and
cap <= ``fee_max`` always.
"""

from __future__ import annotations

from dataclasses import dataclass

BUMP_PERCENT = 10


@dataclass(frozen=True, slots=True)
class Fees:
    """``cap`` is maxFeePerGas, ``tip`` maxPriorityFeePerGas."""

    cap: int
    tip: int


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Bounds of what we offer."""

    tip_min: int = 1_000_000_000
    fee_max: int = 500_000_000_000
    limit_multiplier: int = 5

    def check(self) -> None:
        """Raise ValueError that names the first bad key."""
        if not 0 <= self.tip_min <= self.fee_max:
            raise ValueError("sender.tip_min must be from 0 to sender.fee_max")
        if self.limit_multiplier < 1:
            raise ValueError(f"sender.limit_multiplier is {self.limit_multiplier}; it must be at least 1")


def bumped(value: int) -> int:
    """+10%, rounded up, and up by one at least."""
    return max(value + 1, (value * (100 + BUMP_PERCENT) + 99) // 100)


def first_offer(policy: FeePolicy, base_fee: int, suggested_tip: int) -> Fees:
    """What to publish with."""
    tip = min(max(suggested_tip, policy.tip_min), policy.fee_max)
    return Fees(min(tip + 2 * base_fee, policy.fee_max), tip)


def next_offer(policy: FeePolicy, last: Fees, base_fee: int, suggested_tip: int) -> Fees | None:
    """What to replace with; None when the limit forbids a bump that pools would accept: keep waiting then."""
    fresh = first_offer(policy, base_fee, suggested_tip)
    limit = min(policy.fee_max, policy.limit_multiplier * max(fresh.cap, 1))
    offer = Fees(max(bumped(last.cap), fresh.cap), max(bumped(last.tip), fresh.tip))
    offer = Fees(max(offer.cap, offer.tip), offer.tip)
    return offer if offer.cap <= limit else None
