"""The gas table: `pytest -s -k gas_table` prints it; contracts/README.md holds a copy that must stay true."""

from __future__ import annotations

from tests.contracts.gas.measure import measure
from tests.contracts.gas.table import TOLERANCE, committed, differences, functions, text
from tests.differential.harness import shared_court
from tests.evm import TX_GAS_MAX


def test_gas_table_in_the_readme_is_what_calls_cost() -> None:
    """Every function of every contract has its row; a row is within 1.5% of what is measured and fits a transaction."""
    rows = measure(shared_court())
    print("\n" + text(rows))
    dearest = max(rows, key=lambda row: row.worst)
    print(f"\n{dearest.name} is the dearest: {dearest.worst / TX_GAS_MAX:.0%} of what a transaction may use")
    named = [row.name for row in rows]
    assert len(named) == len(set(named))
    assert set(named) == functions(), "rows and functions differ"
    assert set(committed()) == set(named), "the README's rows and functions differ"
    assert differences(rows) == [], f"put the printed table into contracts/README.md (tolerance {TOLERANCE:.1%})"
