"""What L1 told us, as plain frozen records. Hashes are 32 bytes, addresses 20, amounts wei, timestamps seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.errors import Critical, Temporary


class NodeRefused(Temporary):
    """The L1 node answered with an error: ``code``, ``message`` and raw ``data`` as it gave them."""

    def __init__(self, method: str, code: int, message: str, data: Any = None) -> None:
        super().__init__(f"{method}: {message} (code {code})")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class CallReverted(Critical):
    """A call or an estimate reverted: ``reason`` in words when it is a standard error, ``data`` the raw bytes."""

    def __init__(self, reason: str, data: bytes) -> None:
        super().__init__(f"execution reverted: {reason}" if reason else f"execution reverted with 0x{data.hex()}")
        self.reason = reason
        self.data = data


class TagNotOffered(Temporary):
    """The chain has no such tag (safe, finalized); count confirmations instead."""


@dataclass(frozen=True, slots=True)
class L1Block:
    """A block header as far as the node needs it."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class L1Log:
    """An event with its place on the chain."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    tx_index: int
    log_index: int


@dataclass(frozen=True, slots=True)
class L1Transaction:
    """A transaction; ``block_number`` is None while it waits, ``to`` None when it creates."""

    hash: bytes
    sender: bytes
    to: bytes | None
    input: bytes
    nonce: int
    value: int
    block_number: int | None
    block_hash: bytes | None


@dataclass(frozen=True, slots=True)
class L1Receipt:
    """The outcome of a mined transaction; ``created`` is the new contract's address, if any."""

    tx_hash: bytes
    success: bool
    block_number: int
    block_hash: bytes
    gas_used: int
    price: int
    created: bytes | None
    logs: tuple[L1Log, ...]


@dataclass(frozen=True, slots=True)
class L1Proof:
    """An eth_getProof answer: RLP nodes, outermost first; ``slots`` maps slot -> (value, nodes)."""

    address: bytes
    balance: int
    nonce: int
    code_hash: bytes
    storage_hash: bytes
    account_nodes: tuple[bytes, ...]
    slots: dict[int, tuple[int, tuple[bytes, ...]]]


def _int(value: str) -> int:
    return int(value, 16)


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _maybe(value: str | None) -> bytes | None:
    return None if value is None else _bytes(value)


def parse_block(raw: dict[str, Any]) -> L1Block:
    """From a JSON block. Raises KeyError, ValueError or TypeError on a malformed answer (as all parsers here do)."""
    return L1Block(_int(raw["number"]), _bytes(raw["hash"]), _bytes(raw["parentHash"]), _int(raw["timestamp"]),
                   _int(raw.get("baseFeePerGas") or "0x0"))


def parse_log(raw: dict[str, Any]) -> L1Log:
    """From a JSON event."""
    return L1Log(
        address=_bytes(raw["address"]), topics=tuple(_bytes(topic) for topic in raw["topics"]),
        data=_bytes(raw["data"]), block_number=_int(raw["blockNumber"]), block_hash=_bytes(raw["blockHash"]),
        tx_hash=_bytes(raw["transactionHash"]), tx_index=_int(raw["transactionIndex"]),
        log_index=_int(raw["logIndex"]),
    )


def parse_transaction(raw: dict[str, Any]) -> L1Transaction:
    """From a JSON transaction."""
    number = raw.get("blockNumber")
    return L1Transaction(
        hash=_bytes(raw["hash"]), sender=_bytes(raw["from"]), to=_maybe(raw.get("to")), input=_bytes(raw["input"]),
        nonce=_int(raw["nonce"]), value=_int(raw["value"]), block_number=None if number is None else _int(number),
        block_hash=_maybe(raw.get("blockHash")),
    )


def parse_receipt(raw: dict[str, Any]) -> L1Receipt:
    """From a JSON receipt."""
    return L1Receipt(
        tx_hash=_bytes(raw["transactionHash"]), success=_int(raw["status"]) == 1,
        block_number=_int(raw["blockNumber"]), block_hash=_bytes(raw["blockHash"]), gas_used=_int(raw["gasUsed"]),
        price=_int(raw.get("effectiveGasPrice") or "0x0"), created=_maybe(raw.get("contractAddress")),
        logs=tuple(parse_log(log) for log in raw["logs"]),
    )


def parse_proof(raw: dict[str, Any]) -> L1Proof:
    """From an eth_getProof answer."""
    return L1Proof(
        address=_bytes(raw["address"]), balance=_int(raw["balance"]), nonce=_int(raw["nonce"]),
        code_hash=_bytes(raw["codeHash"]), storage_hash=_bytes(raw["storageHash"]),
        account_nodes=tuple(_bytes(node) for node in raw["accountProof"]),
        slots={_int(item["key"]): (_int(item["value"]), tuple(_bytes(node) for node in item["proof"]))
               for item in raw["storageProof"]},
    )
