"""Transactions and blocks of the simulated L1: EIP-1559 transactions, really signed, in a tree of blocks.

A block is made once, by its proposer, with what its transactions came to; other nodes execute it again on their own
state and must find the same. Its hash binds parent, time and transactions, as far as anything here depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import rlp
from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

CHAIN_ID = 31_337
Json = dict[str, Any]


@dataclass(frozen=True)
class Tx:
    """A signed transaction; amounts in wei, ``to`` 20 bytes."""

    hash: bytes
    raw: bytes = field(repr=False)
    sender: bytes
    nonce: int
    tip: int
    cap: int
    gas: int
    to: bytes
    value: int
    data: bytes = field(repr=False)

    def pays(self, base_fee: int) -> int:
        """Tip per gas that a proposer gets at a base fee; negative if it may not be included."""
        return min(self.tip, self.cap - base_fee)


class SimSigner:
    """A ``Signer`` whose key follows from a name. Real signatures: the nodes recover the sender from them."""

    def __init__(self, name: str) -> None:
        self._key = PrivateKey(keccak(f"simulated {name}".encode()))
        self.address = keccak(self._key.public_key.format(compressed=False)[1:])[12:]

    def sign_transaction(self, fields: dict[str, Any]) -> bytes:
        """Raw bytes of an EIP-1559 transaction in web3's field names."""
        to = bytes.fromhex(fields["to"][2:])
        body = [fields["chainId"], fields["nonce"], fields["maxPriorityFeePerGas"], fields["maxFeePerGas"],
                fields["gas"], to, fields["value"], fields["data"], []]
        signature = self.sign_hash(keccak(b"\x02" + rlp.encode(body)))
        r, s = (int.from_bytes(part, "big") for part in (signature[:32], signature[32:64]))
        return bytes(b"\x02" + rlp.encode([*body, signature[64], r, s]))

    def sign_hash(self, digest: bytes) -> bytes:
        """65 bytes r ‖ s ‖ v."""
        return self._key.sign_recoverable(digest, hasher=None)


@lru_cache(maxsize=4_096)
def decode_tx(raw: bytes) -> Tx:
    """Raises ValueError for bytes that are no EIP-1559 transaction of this chain."""
    try:
        fields = rlp.decode(raw[1:])
        number = [int.from_bytes(item, "big") if isinstance(item, bytes) else 0 for item in fields]
        signature = fields[10].rjust(32, b"\0") + fields[11].rjust(32, b"\0") + bytes((number[9],))
        digest = keccak(b"\x02" + rlp.encode(fields[:9]))
        key = PublicKey.from_signature_and_message(signature, digest, hasher=None)
    except Exception as error:  # rlp and coincurve raise a dozen types for bad bytes
        raise ValueError(f"rlp: cannot decode transaction: {error}") from error
    if raw[0] != 2 or number[0] != CHAIN_ID:
        raise ValueError("invalid chain id for signer")
    sender = keccak(key.format(compressed=False)[1:])[12:]
    return Tx(keccak(raw), raw, sender, number[1], number[2], number[3], number[4], fields[5], number[6], fields[7])


@dataclass(frozen=True)
class Log:
    """An event; 20 bytes, topics, data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """What a transaction came to. ``reason`` in words if it failed."""

    success: bool
    gas: int
    logs: tuple[Log, ...]
    reason: str = ""
    output: bytes = b""


@dataclass(eq=False)
class Block:
    """A block in the tree. ``nonces``: transactions that each sender has had, this block included; ``extra``: the
    proposer's, so that no two blocks are the same."""

    number: int
    parent: Block | None = field(repr=False)
    timestamp: int
    base_fee: int
    txs: tuple[Tx, ...]
    outcomes: tuple[Outcome, ...] = field(repr=False)
    nonces: dict[bytes, int] = field(repr=False)
    extra: bytes = b""
    hash: bytes = b""

    def __post_init__(self) -> None:
        if not self.hash:
            parent = self.parent.hash if self.parent else bytes(32)
            content = b"".join(tx.hash for tx in self.txs)
            self.hash = keccak(parent + self.timestamp.to_bytes(8, "big") + self.extra + content)

    def ancestor(self, number: int) -> Block:
        """The block of this number that this one builds on."""
        block: Block = self
        while block.number > number:
            assert block.parent is not None, "numbers fall by one down to the first block"
            block = block.parent
        return block

    @cached_property
    def json(self) -> Json:
        """As eth_getBlockByNumber shows it."""
        parent = self.parent.hash if self.parent else bytes(32)
        return {"number": hex(self.number), "hash": _hex(self.hash), "parentHash": _hex(parent),
                "timestamp": hex(self.timestamp), "baseFeePerGas": hex(self.base_fee)}

    @cached_property
    def receipts(self) -> list[Json]:
        """As eth_getTransactionReceipt shows them, logs inside."""
        found: list[Json] = []
        count = 0
        for index, (tx, outcome) in enumerate(zip(self.txs, self.outcomes, strict=True)):
            logs = []
            for log in outcome.logs:
                logs.append(_log_json(log, self, tx, index, count))
                count += 1
            found.append({
                "transactionHash": _hex(tx.hash), "status": hex(outcome.success), "blockNumber": hex(self.number),
                "blockHash": _hex(self.hash), "gasUsed": hex(outcome.gas), "contractAddress": None, "logs": logs,
                "effectiveGasPrice": hex(self.base_fee + max(0, tx.pays(self.base_fee)))})
        return found

    @cached_property
    def logs(self) -> list[Json]:
        """Every event of the block."""
        return [log for receipt in self.receipts for log in receipt["logs"]]


def tx_json(tx: Tx, block: Block | None) -> Json:
    """As eth_getTransactionByHash shows it; ``block`` None while it waits."""
    return {"hash": _hex(tx.hash), "from": _hex(tx.sender), "to": _hex(tx.to), "input": _hex(tx.data),
            "nonce": hex(tx.nonce), "value": hex(tx.value), "maxPriorityFeePerGas": hex(tx.tip),
            "maxFeePerGas": hex(tx.cap), "blockNumber": None if block is None else hex(block.number),
            "blockHash": None if block is None else _hex(block.hash)}


def _log_json(log: Log, block: Block, tx: Tx, tx_index: int, log_index: int) -> Json:
    return {"address": _hex(log.address), "topics": [_hex(topic) for topic in log.topics], "data": _hex(log.data),
            "blockNumber": hex(block.number), "blockHash": _hex(block.hash), "transactionHash": _hex(tx.hash),
            "transactionIndex": hex(tx_index), "logIndex": hex(log_index)}


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
