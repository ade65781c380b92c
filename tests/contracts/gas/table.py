"""The gas table: every state-changing function of every contract, a typical call and the dearest legal one.

The dearest one is looked for, not met: the longest arguments, no zero byte in calldata, storage that was zero before,
trie paths of 128 siblings, lists of 256, walks that cost the most per posted byte. `why` says what makes it so. Figures
are exact, of a Prague EVM (tests/evm.py), each call in a transaction of its own; they are deterministic, so that the
copy in contracts/README.md can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from contracts import CONTRACTS_DIR
from tests.evm import TX_GAS_MAX, compiled

README = CONTRACTS_DIR / "README.md"
CONTRACTS = ("Rollup", "FraudVerifier", "Exodus", "PromiseCourt", "ClaimMarket", "TestUSD")
# only another contract may call these; their gas is in that contract's rows
POWERS = {"drop", "freeze", "pay_out", "slash_promise", "fine_promise", "pay_victim", "move_claim"}
# for eth_call: nothing follows from them
LOOKS = {"execute_chunk", "transaction_at"}
TOLERANCE = 0.015
_LINE = re.compile(r"^\| `(\w+)\.(\w+)` \| ([\d,]+) \| ([\d,]+) \| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """Gas of one function, ``why`` the worst call is the worst."""

    contract: str
    function: str
    typical: int
    worst: int
    why: str

    @property
    def name(self) -> str:
        return f"{self.contract}.{self.function}"

    @property
    def line(self) -> str:
        return f"| `{self.name}` | {self.typical:,} | {self.worst:,} | {self.why} |"


def functions() -> set[str]:
    """Every function that somebody can send a transaction to, by the ABIs of what is deployed."""
    found = set()
    for name in CONTRACTS:
        if (CONTRACTS_DIR / f"{name}.vy").is_file():
            for entry in compiled(name).abi:
                if entry["type"] == "function" and entry["stateMutability"] == "nonpayable":
                    found.add((name, entry["name"]))
    return {
        f"{contract}.{function}" for contract, function in found
        if function not in LOOKS and not (contract == "Rollup" and function in POWERS)}


def committed() -> dict[str, Row]:
    """The table in contracts/README.md."""
    return {
        f"{contract}.{function}": Row(contract, function, *(int(n.replace(",", "")) for n in (low, high)), why)
        for contract, function, low, high, why in _LINE.findall(README.read_text())}


def text(rows: Iterable[Row]) -> str:
    """The table as it stands in the README."""
    head = ["| call | typical gas | worst gas | the worst call |", "|---|--:|--:|---|"]
    return "\n".join([*head, *(row.line for row in rows)])


def differences(rows: Iterable[Row]) -> list[str]:
    """Where measured rows differ from the committed ones by more than the tolerance, or break a bound."""
    known, found = committed(), []
    for row in rows:
        if row.worst >= TX_GAS_MAX:
            found.append(f"{row.name}: {row.worst:,} gas does not fit a transaction")
        if row.typical > row.worst:
            found.append(f"{row.name}: the typical call costs more than the worst")
        old = known.get(row.name)
        if old is None:
            found.append(f"{row.name}: not in {README.name}: {row.line}")
            continue
        for what, now, then in (("typical", row.typical, old.typical), ("worst", row.worst, old.worst)):
            if abs(now - then) > TOLERANCE * then:
                found.append(f"{row.name}: {what} {now:,} gas, {README.name} says {then:,}")
    return found
