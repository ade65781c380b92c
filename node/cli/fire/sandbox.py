"""The drill's court: what it costs, whether it can be used again, and how it comes to be.

    parts of the rules    stateless; those of the guarded deployment, if they are this version's (or deployed anew)
    all the rest          deployed once, kept in <datadir>/drills/sandbox.json, used again while it is young and sound

Gas of a creation = 21,000 + 32,000 + initcode's calldata and words (EIP-2028, EIP-3860) + 200 a byte of code (EIP-170's
yellow-paper rate) + what its constructor does, under 150,000 for ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import contracts
from node.errors import Critical
from node.l1.client import L1Client
from node.l1.deployment import ChainSpec, Deployment, MarketSpec, Plan, Timings, load_deployment
from node.l1.shipped import COURT, differences

USD: Final = 1_000_000
AGE_BLOCKS_MAX: Final = 250_000  # 5 weeks of 12 s; older ones take a watchtower too long to derive
CONSTRUCTOR_GAS: Final = 150_000
SETUP_GAS: Final = 1_300_000  # courts, six admin messages, opening
FIRST_GAS: Final = 900_000  # sandbox dollars, seat, three deposits
DRILL_GAS: Final = 900_000  # seat, an honest batch and a bad one: the oversized one is the dearest
EVER_S: Final = 315_360_000

#: so long that nobody ends a sandbox between two drills; a proof has two hours
TIMINGS: Final = Timings(
    challenge_window_s=7_200, bond_min=1_000 * USD, seat_idle_s=EVER_S, exodus_after_s=4 * EVER_S, reseat_s=EVER_S)
#: no feature that judges un-anchored time: weeks may pass between two batches
CHAIN: Final = ChainSpec(anchor_interval=0, tau_reduce=0, tau_halt=0, buffer_ms=0, refill=0, horizon_ms=0, closeout=0)


@dataclass(frozen=True, slots=True)
class Need:
    """What a drill takes before it can begin. ``sandbox`` None: to be deployed, for the reason that is said."""

    sandbox: Deployment | None
    parts: dict[str, bytes]
    why: str
    gas: int


async def court_differences(client: L1Client, guarded: Deployment) -> list[str]:
    """What the deployed court has that this version does not ship; empty if it is the same."""
    return await differences(client, {name: at for name, at in _addresses(guarded).items() if name in COURT})


async def find(client: L1Client, file: Path, guarded: Deployment, *, fresh: bool) -> Need:
    """The sandbox of an earlier drill if it serves, else what to deploy. Raises Temporary."""
    if not fresh and file.exists():
        sandbox, why = await _usable(client, file)
        if sandbox is not None:
            return Need(sandbox, {}, "", DRILL_GAS)
    else:
        why = "--fresh" if fresh else "this is the first drill here"
    parts = {}
    if not fresh:
        addresses = _addresses(guarded)
        parts = {name: addresses[name] for name in contracts.RULES_PARTS if name in addresses}
        if len(parts) < len(contracts.RULES_PARTS) or await differences(client, parts):
            parts = {}
    return Need(None, parts, why, _creation_gas(parts) + SETUP_GAS + FIRST_GAS + DRILL_GAS)


async def _usable(client: L1Client, file: Path) -> tuple[Deployment | None, str]:
    try:
        sandbox = load_deployment(file)
    except Critical as error:
        return None, str(error)
    if sandbox.l1_chain_id != await client.chain_id():
        return None, f"{file.name} is of another L1"
    head = await client.head()
    if not head.number - AGE_BLOCKS_MAX <= sandbox.start_block <= head.number:
        return None, f"the sandbox is more than {AGE_BLOCKS_MAX:,} blocks old"
    found = await differences(client, _addresses(sandbox))
    return (None, f"the sandbox is not this version's: {found[0]}") if found else (sandbox, "")


def plan(publishers: list[bytes], market: MarketSpec, parts: dict[str, bytes]) -> Plan:
    """What to deploy."""
    return Plan(tuple(publishers), TIMINGS, (market,), chain=CHAIN, parts=parts)


def _addresses(deployment: Deployment) -> dict[str, bytes]:
    return {name: bytes.fromhex(text[2:]) for name, text in deployment.contracts.items()}


def _creation_gas(parts: dict[str, bytes]) -> int:
    """Gas of all contracts that a deployment creates, but for these parts."""
    names = sorted(path.stem for path in contracts.ARTIFACTS_DIR.glob("*.json"))
    return sum(_gas_of(name) for name in names if name not in parts)


def _gas_of(name: str) -> int:
    artifact = contracts.load(name)
    zeros = artifact.bytecode.count(0)
    calldata = 4 * zeros + 16 * (len(artifact.bytecode) - zeros)
    words = 2 * -(-len(artifact.bytecode) // 32)
    return 53_000 + calldata + words + 200 * artifact.deployed_bytes + CONSTRUCTOR_GAS
