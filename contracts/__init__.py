"""Compiled L1 contracts, shipped as package data.

`load(name)` reads `artifacts/NAME.json`, which `python -m contracts.build` wrote from the Vyper source beside it. Only
the build needs the compiler; running a node does not. CI recompiles every artifact and compares it byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONTRACTS_DIR = Path(__file__).resolve().parent
ARTIFACTS_DIR = CONTRACTS_DIR / "artifacts"

Abi = list[dict[str, Any]]

# The parts that FraudVerifier runs the rules in, in order of deployment, each with those whose addresses it is given.
RULES_PARTS: dict[str, tuple[str, ...]] = {
    "FraudAccounts": (),
    "FraudBook": (),
    "FraudFok": (),
    "FraudInbox": (),
    "FraudOrders": ("FraudBook", "FraudFok"),
    "FraudLiquidation": ("FraudBook",),
    "FraudRules": ("FraudAccounts", "FraudOrders", "FraudBook", "FraudLiquidation", "FraudInbox"),
}


class ArtifactMissing(LookupError):
    """There is no artifact with this name, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `bytecode` is the initcode; constructor arguments are appended to it, ABI-encoded. `deployed_bytes` is the size of
    the code on chain, immutables included, which EIP-170 limits. `layout` has the keys `storage`, `transient`, `code`:
    each maps a variable's dotted path to its slot (or offset), size and type. `sources` maps each file that took part
    (path from the repository's root) to its sha256.
    """

    name: str
    abi: Abi
    bytecode: bytes
    runtime: bytes
    deployed_bytes: int
    layout: dict[str, dict[str, dict[str, Any]]]
    compiler: str
    settings: dict[str, str]
    sources: dict[str, str]

    def to_json(self) -> str:
        """The artifact file's exact text: sorted keys, one trailing newline."""
        body = {
            "abi": self.abi,
            "bytecode": "0x" + self.bytecode.hex(),
            "compiler": self.compiler,
            "deployed_bytes": self.deployed_bytes,
            "layout": self.layout,
            "name": self.name,
            "runtime": "0x" + self.runtime.hex(),
            "settings": self.settings,
            "sources": self.sources,
        }
        return json.dumps(body, indent=1, sort_keys=True) + "\n"


def parse_artifact(text: str) -> Artifact:
    """The inverse of `Artifact.to_json`; raises `ValueError` or `KeyError` for text that is no artifact."""
    body = json.loads(text)
    return Artifact(
        name=body["name"],
        abi=body["abi"],
        bytecode=bytes.fromhex(body["bytecode"][2:]),
        runtime=bytes.fromhex(body["runtime"][2:]),
        deployed_bytes=body["deployed_bytes"],
        layout=body["layout"],
        compiler=body["compiler"],
        settings=body["settings"],
        sources=body["sources"],
    )


def load(name: str) -> Artifact:
    """The artifact of contract `name` (`"Rollup"`); raises `ArtifactMissing` with what to do about it."""
    path = ARTIFACTS_DIR / f"{name}.json"
    try:
        return parse_artifact(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in ARTIFACTS_DIR.glob("*.json"))) or "none"
        message = f"no artifact for contract {name!r} (known: {known}); run python -m contracts.build"
        raise ArtifactMissing(message) from None
    except (ValueError, KeyError) as error:
        raise ArtifactMissing(f"{path} is damaged ({error!r}); run python -m contracts.build") from error
