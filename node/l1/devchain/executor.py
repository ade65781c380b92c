"""The seam between the embedded L1 and an EVM: an ``Executor`` runs transactions and calls on a state root.

Invariants: a state is named by its Merkle-Patricia root and never changes; a ``BlockRun`` is the only writer; gas
accounting (refund cap of EIP-3529, calldata floor of EIP-7623) is done here, in one function, from what the EVM spent:
``used = max(spent - min(refunds, spent // 5), floor)``.

The default executor is py-evm (``pyevm.py``) with compiled basic blocks: pure Python, no native dependency, exact.
pyrevm would be faster; it is not offered because it neither reports the storage slots that a transaction wrote nor
calls back for state, so a state root could not be computed from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .transactions import Tx

REFUND_QUOTIENT = 5  # EIP-3529


@dataclass(frozen=True, slots=True)
class BlockEnv:
    """What a block shows its transactions. ``prev_hashes`` newest first, at most 256; ``base_fee`` in wei."""

    number: int
    timestamp: int
    coinbase: bytes
    gas_limit: int
    base_fee: int
    prevrandao: bytes
    prev_hashes: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """An unsigned call: ``to`` empty means create; gas price is zero, so the balance need only cover ``value``."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class RawLog:
    """An event: 20-byte address, up to four 32-byte topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one execution. ``gas_spent`` is before refunds; ``error`` is empty on success."""

    success: bool
    gas_used: int
    gas_spent: int
    output: bytes
    error: str
    logs: tuple[RawLog, ...]
    created: bytes

    @property
    def reverted(self) -> bool:
        """True for an orderly REVERT (its output is the reason), false for out of gas and the like."""
        return self.error == REVERT_ERROR


REVERT_ERROR = "execution reverted"


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account at a root. ``storage_root`` is that of its storage trie."""

    nonce: int
    balance: int
    code_hash: bytes
    storage_root: bytes


def settle_gas(spent: int, refunds: int, floor: int) -> int:
    """Gas charged: refunds capped at a fifth of the gas spent, never below the calldata floor."""
    return max(spent - min(refunds, spent // REFUND_QUOTIENT), floor)


class BlockRun(Protocol):
    """A block being built on a parent state; the only way to write state."""

    def apply(self, tx: Tx) -> Outcome:
        """Run one transaction. Raises L1RpcError (and leaves the state alone) if it cannot be part of the block."""
        ...

    def finish(self) -> bytes:
        """Write the new state and return its root."""
        ...


class Executor(Protocol):
    """An EVM over Merkle-Patricia states."""

    def genesis(self, balances: dict[bytes, int]) -> bytes:
        """Write the first state and return its root."""
        ...

    def block(self, env: BlockEnv, parent_root: bytes) -> BlockRun:
        """Open a block on ``parent_root``."""
        ...

    def call(self, env: BlockEnv, root: bytes, request: CallRequest) -> Outcome:
        """Run a call on ``root`` and forget its effects."""
        ...

    def account(self, root: bytes, address: bytes) -> AccountView:
        """Read an account; absent accounts read as empty."""
        ...

    def code(self, root: bytes, address: bytes) -> bytes:
        """Read an account's code."""
        ...

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        """Read one storage word."""
        ...

    def proof(self, trie_root: bytes, key: bytes) -> list[bytes]:
        """RLP nodes from ``trie_root`` down to keccak(``key``), as eth_getProof gives them."""
        ...

    def set_balance(self, root: bytes, address: bytes, balance: int) -> bytes:
        """Development only: a new root in which ``address`` has ``balance``."""
        ...

    def garbage_due(self) -> bool:
        """Whether enough has piled up for a collection to pay."""
        ...

    def collect_garbage(self, roots: set[bytes]) -> int:
        """Forget every state that is not reachable from ``roots``; returns the number of nodes dropped."""
        ...
