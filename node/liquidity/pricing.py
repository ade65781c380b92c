"""What it costs to be paid early.

    flat       fee = ceil(amount · fee_ppm / 10⁶)
    priced     fee = ceil(amount · (rate_ppm · wait / year + risk_ppm) / 10⁶)        while fee_ppm is 0
    both       at least fee_min, at most the amount less one (a price of zero is no sale)

The first term is the time value of money at simple interest (act/365): the price is lent from now until L1 pays. The
second is an expected loss, probability of default × loss given default (the Basel framework's PD · LGD) with everything
lost: what is left after the provider's own checks are an L1 reorganisation deeper than it waited for, and mistakes that
the rules and the contracts share. ``fee_min`` covers two L1 transactions, the purchase and the collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

YEAR_S: Final = 365 * 86_400
PPM: Final = 1_000_000
CENT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Rates in ppm (``rate_ppm`` a year), ``fee_min`` in micro-USD."""

    fee_ppm: int
    rate_ppm: int
    risk_ppm: int
    fee_min: int

    def fee(self, amount: int, wait_s: int) -> int:
        """Fee for paying ``amount`` (micro-USD) ``wait_s`` seconds early, rounded up."""
        if self.fee_ppm:
            wanted = -(-amount * self.fee_ppm // PPM)
        else:
            scaled = self.rate_ppm * max(0, wait_s) + self.risk_ppm * YEAR_S
            wanted = -(-amount * scaled // (PPM * YEAR_S))
        return max(0, min(max(wanted, self.fee_min), amount - 1))
