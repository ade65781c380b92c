"""A user's dealings with L1: tokens, deposits, the sequencer's seat, forced transactions, withdrawals that are due.

Amounts are micro-USD (the token has 6 decimals), addresses 20 bytes. Every method sends one transaction (two where an
allowance is missing) and returns its receipt; failures are the sender's: CallReverted with the contract's reason,
TxReverted, Temporary.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.l1 import bindings
from node.l1.client import L1Client
from node.l1.deployment import Deployment
from node.l1.journal import Record, Version
from node.l1.sender import Intent, TxSender
from node.l1.types import L1Receipt

ALLOWANCE_MAX: Final = 2**256 - 1


class MemoryJournal:
    """A sender's journal for one-off transactions that a person watches: it forgets with the process."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}

    def assign(self, record: Record) -> None:
        """See ``Journal.assign``."""
        self.records[record.intent_id] = record

    def publish(self, record: Record, version: Version) -> None:
        """See ``Journal.publish``."""
        record.versions.append(version)

    def finish(self, record: Record, *, tx_hash: bytes = b"", failure: str = "") -> None:
        """See ``Journal.finish``."""
        record.tx_hash, record.failure = tx_hash, failure

    def close(self) -> None:
        """See ``Journal.close``."""


class L1Wallet:
    """One key's transactions with one deployment."""

    def __init__(self, client: L1Client, sender: TxSender, deployment: Deployment) -> None:
        self._client = client
        self._sender = sender
        self._token = bytes.fromhex(deployment.token[2:])
        self._rollup = bytes.fromhex(deployment.rollup[2:])

    @property
    def address(self) -> bytes:
        """The account that pays and owns."""
        return self._sender.address

    async def balance(self, owner: bytes | None = None) -> int:
        """Tokens of an address, micro-USD."""
        data = _call("balanceOf(address)", ["address"], owner or self.address)
        return int.from_bytes(await self._client.call(self._token, data), "big")

    async def mint(self, amount: int, to: bytes | None = None) -> L1Receipt:
        """Test dollars out of nothing (TestUSD only)."""
        return await self._send("mint", self._token, _call("mint(address,uint256)", ["address", "uint256"],
                                                           to or self.address, amount))

    async def approve(self, amount: int) -> None:
        """See that the rollup may pull at least ``amount``; a transaction only if it may not yet."""
        data = _call("allowance(address,address)", ["address", "address"], self.address, self._rollup)
        if int.from_bytes(await self._client.call(self._token, data), "big") < amount:
            await self._send("approve", self._token, _call("approve(address,uint256)", ["address", "uint256"],
                                                           self._rollup, ALLOWANCE_MAX))

    async def deposit(self, amount: int, *, account: int = 0, owner: bytes | None = None) -> int:
        """Credit an account, or open a new one (0) for ``owner`` (default: this key); returns the message's number."""
        await self.approve(amount)
        return self.message_number(await self.call_rollup("deposit", account, owner or self.address, amount))

    async def force(self, transaction: bytes) -> L1Receipt:
        """Put a signed L2 transaction (times relative to 0) into the inbox, past the operator, for a fee."""
        await self.approve(ALLOWANCE_MAX // 2)
        return await self.call_rollup("force", transaction)

    def message_number(self, receipt: L1Receipt) -> int:
        """The number of the inbox message that a transaction has put there."""
        for log in receipt.logs:
            if log.address == self._rollup:
                event = bindings.decode_event(log.topics, log.data)
                if isinstance(event, bindings.MessageEnqueued):
                    return event.number
        raise bindings.BadEncoding("the receipt shows no message; is the deployment file of this chain?")

    async def ask_rollup(self, function: str, *args: Any) -> Any:
        """Any view of the rollup."""
        answer = await self._client.call(self._rollup, bindings.encode_call(function, *args))
        return bindings.decode_result(function, answer)

    async def take_seat(self, bond: int) -> L1Receipt:
        """Become the one who may post batches."""
        await self.approve(bond)
        return await self.call_rollup("take_seat", bond)

    async def claim(self, proof: Any) -> L1Receipt:
        """Have a finalized withdrawal paid. ``proof``: an al_withdrawalProof result whose ``header`` is there."""
        header = header_argument(proof.header)
        return await self.call_rollup(
            "withdraw", header, proof.id, bytes.fromhex(proof.recipient[2:]), proof.amount,
            bytes.fromhex(proof.bits[2:]), [bytes.fromhex(item[2:]) for item in proof.siblings])

    async def is_paid(self, withdrawal: int) -> bool:
        """Whether a withdrawal was paid."""
        answer = await self._client.call(self._rollup, bindings.encode_call("is_paid", withdrawal))
        return bool(bindings.decode_result("is_paid", answer))

    async def call_rollup(self, function: str, *args: Any) -> L1Receipt:
        """Any function of the rollup."""
        return await self._send(function, self._rollup, bindings.encode_call(function, *args))

    async def _send(self, what: str, to: bytes, data: bytes) -> L1Receipt:
        return await self._sender.send(Intent(f"{what} {secrets.token_hex(8)}", to, data))


def header_argument(fields: list[Any]) -> tuple[Any, ...]:
    """The contract's header struct out of its JSON form (numbers, hex text, a list of hex words)."""
    number, parent, rules, cursor, inbox_hash, count, chunks_root, post_root, words, posted_at, poster = fields
    return (
        number, bytes.fromhex(parent[2:]), rules, cursor, bytes.fromhex(inbox_hash[2:]), count,
        bytes.fromhex(chunks_root[2:]), bytes.fromhex(post_root[2:]), [int(word, 16) for word in words], posted_at,
        bytes.fromhex(poster[2:]),
    )


def _call(signature: str, kinds: list[str], *args: Any) -> bytes:
    return keccak(signature.encode())[:4] + encode(kinds, args)
