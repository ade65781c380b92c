"""What callers of the transaction manager deal with: intents, settings, failures, and where figures are reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from node.errors import Critical

from .fees import FeePolicy
from .types import L1Receipt

TX_GAS_MAX = 16_777_216  # EIP-7825
TX_DATA_MAX = 130_000  # nodes refuse transactions over 131,072 bytes in all


class TxReverted(Critical):
    """Mined, but reverted: ``receipt`` says where, ``reason`` why (when a replay could tell)."""

    def __init__(self, intent_id: str, receipt: L1Receipt, reason: str) -> None:
        name = f"{intent_id} (0x{receipt.tx_hash.hex()})"
        super().__init__(f"L1 transaction {name} reverted: {reason or 'no reason given'}")
        self.receipt = receipt
        self.reason = reason


class SendAborted(Critical):
    """Given up: the intent can never be mined under its nonce."""


class SendDisplaced(SendAborted):
    """Given up for an earlier transaction of ours: a reorganisation had taken it, its nonce was given to this intent,
    and then L1 mined it again. Nothing is wrong; send the intent under another id if it is still wanted."""


@dataclass(frozen=True, slots=True)
class Intent:
    """What shall happen on L1. ``id`` must be unique to the purpose (say, a batch's hash). ``to`` empty creates."""

    id: str
    to: bytes
    data: bytes
    value: int = 0
    gas: int | None = None


@dataclass(frozen=True, slots=True)
class SenderConfig:
    """``confirmations`` counts blocks on top of the transaction's own (0 = mined is done)."""

    confirmations: int = 2
    resubmit_s: float = 48.0
    poll_s: float = 1.0
    gas_margin_percent: int = 20
    nonce_too_low_max: int = 3
    in_flight_max: int = 8
    fees: FeePolicy = field(default_factory=FeePolicy)

    def check(self) -> None:
        """Raise ValueError that names the first bad key."""
        for key in ("resubmit_s", "poll_s", "nonce_too_low_max", "in_flight_max"):
            if getattr(self, key) <= 0:
                raise ValueError(f"sender.{key} is {getattr(self, key)}; it must be above 0")
        for key in ("confirmations", "gas_margin_percent"):
            if getattr(self, key) < 0:
                raise ValueError(f"sender.{key} is {getattr(self, key)}; it cannot be negative")
        self.fees.check()


class SenderEvents(Protocol):
    """Where a sender reports figures (a metrics adapter)."""

    def published(self, bump: bool) -> None:
        """A version went out; ``bump`` if it replaces another."""
        ...

    def pending(self, count: int) -> None:
        """How many intents are in flight now."""
        ...

    def finished(self, receipt: L1Receipt | None) -> None:
        """A flight ended; None when it was given up."""
        ...


def check_size(intent: Intent) -> None:
    """Refuse what no node would take. Raises ValueError."""
    if len(intent.data) > TX_DATA_MAX:
        raise ValueError(f"{intent.id}: {len(intent.data)} bytes of calldata; nodes take at most {TX_DATA_MAX}")
    zeros = intent.data.count(0)
    floor = 21_000 + 10 * (zeros + 4 * (len(intent.data) - zeros))  # EIP-7623
    if intent.gas is not None and intent.gas < floor:
        raise ValueError(f"{intent.id}: gas {intent.gas} is under the calldata floor of {floor}")
    if floor > TX_GAS_MAX:
        raise ValueError(f"{intent.id}: its calldata alone costs {floor} gas; a transaction may use {TX_GAS_MAX}")
