"""All rows of the table, in the README's order."""

from __future__ import annotations

from tests.contracts.gas import courts, rollup
from tests.contracts.gas.table import CONTRACTS, Row
from tests.differential.harness import Court


def measure(court: Court) -> list[Row]:
    """Every row; some 15 seconds."""
    rows = [
        *rollup.deposits(), *rollup.withdrawals(), *rollup.notices(), *rollup.batches(), *rollup.seat(),
        *rollup.governance(),
        *courts.fraud(court), *courts.exodus(court), *courts.promises(), *rollup.market(),
        *rollup.token(),
    ]
    return sorted(rows, key=lambda row: CONTRACTS.index(row.contract))
