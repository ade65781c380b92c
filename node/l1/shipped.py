"""Whether contracts on L1 are the ones that this version ships: code byte for byte, and each wired to the others.

    code on L1 = artifact.runtime ‖ immutables, 32 bytes each, in the places that the artifact's layout names

An immutable that holds another contract's address must be the address under which that contract is listed here. Other
immutables (timings, domains) are parameters: their values are whatever the deployer chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import contracts
from contracts import Artifact, ArtifactMissing

from .client import L1Client

#: last part of an immutable's name -> the contract whose address it is
WIRES: Final = {
    "ROLLUP": "Rollup", "RULES": "FraudRules", "ACCOUNTS": "FraudAccounts", "ORDERS": "FraudOrders",
    "BOOK": "FraudBook", "FOK": "FraudFok", "INBOX": "FraudInbox", "LIQUIDATION": "FraudLiquidation",
}
#: what a court cannot do without
COURT: Final = ("Rollup", "FraudVerifier", *contracts.RULES_PARTS)
#: also what a node says that is behind
NO_CONTRACT: Final = "no contract is there"


async def differences(client: L1Client, deployed: Mapping[str, bytes]) -> list[str]:
    """What is not as shipped, in words; empty if all is. ``deployed``: 20-byte addresses by contract name.

    Raises Temporary when L1 cannot be asked.
    """
    found = []
    for name, address in sorted(deployed.items()):
        try:
            artifact = contracts.load(name)
        except ArtifactMissing:
            found.append(f"{name}: this version ships no such contract")
            continue
        problem = compare(artifact, await client.code(address), deployed)
        if problem:
            found.append(f"{name} at 0x{address.hex()}: {problem}")
    return found


def compare(artifact: Artifact, code: bytes, deployed: Mapping[str, bytes]) -> str:
    """What distinguishes code on L1 from a shipped contract's; empty if nothing does."""
    if not code:
        return NO_CONTRACT
    if len(code) != artifact.deployed_bytes or not code.startswith(artifact.runtime):
        return "its code is not what this version ships"
    return _wrong_wire(artifact, code[len(artifact.runtime):], deployed)


def _wrong_wire(artifact: Artifact, immutables: bytes, deployed: Mapping[str, bytes]) -> str:
    places: dict[str, Any] = artifact.layout.get("code", {})
    for path, place in places.items():
        target = WIRES.get(path.rpartition(".")[2])
        word = immutables[place["offset"] : place["offset"] + 32]
        unused = artifact.name in contracts.RULES_PARTS and target not in contracts.RULES_PARTS[artifact.name]
        if target is None or (unused and not any(word)):
            continue
        if word != deployed.get(target, b"").rjust(32, b"\0"):
            return f"it works with a {target} at 0x{word[12:].hex()}, which is not the one listed"
    return ""
