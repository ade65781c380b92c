"""The villain's hands on L1: raw transactions of many accounts, mined or refused, counted with their gas.

A transaction manager protects its user from what would fail; a villain wants it mined. So transactions go out with an
explicit gas limit and are waited for, whether they succeed or revert, and every receipt is booked on its sender.
Development chains can also be moved in time and reorganised; on others ``NotPlayable`` says what is missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.errors import Critical, Temporary
from node.l1.client import L1Client
from node.l1.devchain.config import TX_GAS_MAX
from node.l1.keys import Signer
from node.l1.types import CallReverted, L1Block, L1Receipt, NodeRefused

GWEI: Final = 10**9
POLL_S: Final = 0.01
WAIT_S: Final = 120.0
REORG_MAX: Final = 100  # the embedded chain keeps 128 states
MEMPOOL_CALLS_S: Final = 120.0
# the revert of a transaction as public chains mine it is not worth a whole block's gas
NO_REASON: Final = "reverted without a reason"  # the ABI decoder's, or the rules' of the language
GAS_WITHOUT_ESTIMATE: Final = 1_500_000


class NotPlayable(Exception):
    """This network does not offer what an attack needs; the message says what, and what to do."""


class Refused(Exception):
    """L1 mined a transaction and it reverted: ``reason`` is the contract's, its first word stable."""

    def __init__(self, reason: str, receipt: L1Receipt | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.receipt = receipt


@dataclass(eq=False)
class Actor:
    """An L1 account with a part to play. ``side``: whose costs its transactions are, "attack" or "defence"."""

    name: str
    signer: Signer = field(repr=False)
    side: str = "attack"

    @property
    def address(self) -> bytes:
        """20 bytes."""
        return self.signer.address

    def sign(self, digest: bytes) -> bytes:
        """64-byte EIP-2098 signature, as L2 transactions carry it."""
        raw = self.signer.sign_hash(digest)
        vs = int.from_bytes(raw[32:64], "big") | raw[64] << 255
        return raw[:32] + vs.to_bytes(32, "big")


@dataclass
class Bill:
    """What one side has sent: transactions, and the gas that receipts show."""

    transactions: int = 0
    gas: int = 0

    def add(self, receipt: L1Receipt) -> None:
        """Count one."""
        self.transactions += 1
        self.gas += receipt.gas_used


def call_data(signature: str, *args: Any) -> bytes:
    """Calldata of ``name(type,type)``; no tuples here (see ``node.l1.bindings``, ``node.l1.courts``)."""
    kinds = signature.partition("(")[2].rstrip(")")
    return keccak(signature.encode())[:4] + encode(kinds.split(",") if kinds else [], args)


class VillainL1:
    """One L1 as the villain uses it. ``dev``: time, mining and the branch are ours to change."""

    def __init__(self, client: L1Client, chain_id: int, *, dev: bool, patience_s: int = 0) -> None:
        self.client = client
        self.chain_id = chain_id
        self.dev = dev
        self.patience_s = patience_s
        self.wait_s = WAIT_S
        self.bills: dict[str, Bill] = {"attack": Bill(), "defence": Bill()}
        self._raw: dict[bytes, bytes] = {}
        self._sending: dict[bytes, trio.Lock] = {}
        self._published: dict[bytes, str] = {}

    @classmethod
    async def open(cls, client: L1Client, *, patience_s: int = 0) -> VillainL1:
        """Ask the node what it is: only the embedded chain and anvil are development chains. ``patience_s``: how
        long to wait really, where L1's time cannot be moved."""
        version = str(await client.rpc("web3_clientVersion")).lower()
        dev = version.startswith("anvil") or "anchorline-devchain" in version
        return cls(client, await client.chain_id(), dev=dev, patience_s=patience_s)

    def forget_costs(self) -> None:
        """What was sent so far was preparation."""
        self.bills = {"attack": Bill(), "defence": Bill()}
        self._published = {}

    # --- transactions -------------------------------------------------------------------------------------------------

    async def send(self, actor: Actor, to: bytes, data: bytes = b"", *, gas: int | None = None, value: int = 0,
                   book: bool = True, **fields: Any) -> L1Receipt:
        """Publish and wait until it is mined; ``success`` says how. ``fields``: any of web3's names, such as
        authorizationList. Raises NodeRefused if no node would take it."""
        tx_hash = await self.publish(actor, to, data, gas=gas, value=value, **fields)
        receipt = await self.mined(tx_hash)
        self._published.pop(tx_hash, None)
        if book:
            self.bills[actor.side].add(receipt)
        return receipt

    async def must(self, actor: Actor, to: bytes, data: bytes = b"", **options: Any) -> L1Receipt:
        """``send`` of what has to succeed. Raises Refused with the contract's reason."""
        receipt = await self.send(actor, to, data, **options)
        if not receipt.success:
            raise Refused(await self.why(actor, to, data, receipt, options.get("gas")), receipt)
        return receipt

    async def must_fail(self, actor: Actor, to: bytes, data: bytes = b"", **options: Any) -> tuple[str, L1Receipt]:
        """``send`` of what has to revert: the contract's reason, and the receipt that the sender paid for.

        Raises AssertionError if it succeeds."""
        receipt = await self.send(actor, to, data, **options)
        assert not receipt.success, f"{actor.name}'s transaction 0x{receipt.tx_hash.hex()} was to revert"
        return await self.why(actor, to, data, receipt, options.get("gas")), receipt

    async def publish(self, actor: Actor, to: bytes, data: bytes = b"", *, gas: int | None = None, value: int = 0,
                      tip: int = GWEI, **fields: Any) -> bytes:
        """Sign and publish; returns the hash at once. A greater ``tip`` (wei) is mined first within a block."""
        head = await self.client.head()
        limit = gas if gas is not None else await self._limit(actor, to, data, value)
        # one at a time for each sender: two that ask for a nonce at once get the same
        async with self._sending.setdefault(actor.address, trio.Lock()):
            plain = {
                "type": 2, "chainId": self.chain_id, "value": value, "data": data, "gas": limit,
                "nonce": await self.client.nonce(actor.address, block="pending"), "maxPriorityFeePerGas": tip,
                "maxFeePerGas": 2 * head.base_fee + tip} | fields
            if to:
                plain["to"] = to
            raw = actor.signer.sign_transaction(plain)
            tx_hash = await self.client.send_raw(raw)
        self._raw[tx_hash] = raw
        self._published[tx_hash] = actor.side
        return tx_hash

    async def book_published(self) -> None:
        """Book what was published without being waited for, as far as L1 has it."""
        for tx_hash, side in self._published.items():
            receipt = await self.client.receipt(tx_hash)
            if receipt is not None:
                self.bills[side].add(receipt)
        self._published = {}

    async def _limit(self, actor: Actor, to: bytes, data: bytes, value: int) -> int:
        """Gas to allow: all of it where gas is free, an estimate elsewhere."""
        if self.dev:
            return TX_GAS_MAX
        try:
            return await self.client.estimate_gas(to or None, data, sender=actor.address, value=value) * 5 // 4
        except CallReverted:
            return GAS_WITHOUT_ESTIMATE + 40 * len(data)

    async def mined(self, tx_hash: bytes) -> L1Receipt:
        """The receipt, waited for. Raises Temporary when none comes in time."""
        with trio.move_on_after(self.wait_s):
            while (found := await self.client.receipt(tx_hash)) is None:
                await trio.sleep(POLL_S)
            return found
        raise Temporary(f"L1 does not mine 0x{tx_hash.hex()} within {self.wait_s:.0f} s; check that it produces blocks")

    async def deploy(self, actor: Actor, initcode: bytes) -> bytes:
        """Create a contract; its address."""
        receipt = await self.must(actor, b"", initcode)
        assert receipt.created is not None, "a creation that succeeds creates"
        return receipt.created

    async def refused(self, actor: Actor, to: bytes, data: bytes, *, value: int = 0, gas: int | None = None) -> str:
        """Why L1 would revert this now, by eth_call (nobody pays); empty if it would succeed."""
        return await self._reason(actor, to, data, gas, "latest", value)

    async def why(self, actor: Actor, to: bytes, data: bytes, receipt: L1Receipt, gas: int | None = None) -> str:
        """The reason of a mined revert, replayed on the state before its block."""
        reason = await self._reason(actor, to, data, gas, hex(receipt.block_number - 1))
        return reason or "not shown by a replay (out of gas, or the same block changed it)"

    async def _reason(self, actor: Actor, to: bytes, data: bytes, gas: int | None, block: str, value: int = 0) -> str:
        """Why a call reverts on the state of a block; empty if it does not."""
        request = {"from": "0x" + actor.address.hex(), "data": "0x" + data.hex(), "value": hex(value),
                   "gas": hex(gas or TX_GAS_MAX)} | ({"to": "0x" + to.hex()} if to else {})
        try:
            await self.client.rpc("eth_call", request, block)
        except CallReverted as error:
            return error.reason or NO_REASON
        except NodeRefused as error:
            return error.message
        return ""

    # --- what only development chains do ------------------------------------------------------------------------------

    def need_dev(self, what: str) -> None:
        """Raises NotPlayable on a chain that is nobody's toy."""
        if not self.dev:
            raise NotPlayable(f"this L1 cannot be {what}: it needs the embedded L1 or anvil")

    async def mine(self, blocks: int = 1) -> L1Block:
        """Seal blocks now; the head."""
        self.need_dev("told to mine")
        await self.client.rpc("anvil_mine", hex(blocks))
        return await self.client.head()

    async def pass_time(self, seconds: int) -> L1Block:
        """Let L1's clock jump on a development chain; wait for it on others, as far as patience goes. The head."""
        if not self.dev:
            return await self._wait(seconds)
        # counted from the head: increaseTime counts from the wall clock, which a head that was made may be ahead of
        await self.set_next_time((await self.client.head()).timestamp + seconds)
        return await self.mine()

    async def _wait(self, seconds: int) -> L1Block:
        if seconds > self.patience_s:
            raise NotPlayable(f"it needs {seconds:,} s of L1 time: play it with --patience-s {seconds} or more")
        head = await self.client.head()
        due = head.timestamp + seconds
        with trio.fail_after(seconds + self.wait_s):
            while head.timestamp < due:
                await trio.sleep(1)
                head = await self.client.head()
        return head

    async def reach(self, timestamp: int) -> L1Block:
        """The head as soon as its time is ``timestamp`` (seconds): waited for, or made on a development chain."""
        head = await self.client.head()
        if self.dev and head.timestamp < timestamp:
            await self.set_next_time(timestamp)
            return await self.mine()
        with trio.move_on_after(self.wait_s):
            while head.timestamp < timestamp:
                await trio.sleep(POLL_S)
                head = await self.client.head()
            return head
        raise Temporary(f"L1's clock does not reach {timestamp}; check that it produces blocks")

    async def set_next_time(self, timestamp: int) -> None:
        """The next block's time, seconds."""
        self.need_dev("moved in time")
        await self.client.rpc("evm_setNextBlockTimestamp", hex(timestamp))

    async def reorg(self, depth: int, *, keep: Sequence[bytes] = ()) -> list[L1Receipt]:
        """Replace the last ``depth`` blocks by as many empty ones. The transactions named in ``keep`` (hashes of what
        ``publish`` or ``send`` sent) are mined again behind them, in this order; the rest is lost."""
        self.need_dev("reorganised")
        async with self.held():
            await self._replace(depth)
        return await self._mine_again(keep)

    async def take_back(self, receipt: L1Receipt, *, keep: Sequence[bytes] = ()) -> tuple[int, list[L1Receipt]]:
        """``reorg`` just so deep that this transaction's block goes; the depth, and what was mined again. Others may
        send meanwhile: the depth is counted while nothing is mined."""
        self.need_dev("reorganised")
        async with self.held():
            depth = (await self.client.head()).number - receipt.block_number + 1
            await self._replace(depth)
        return depth, await self._mine_again(keep)

    async def _replace(self, depth: int) -> None:
        """Mining is held: anvil, which reorganises step by step, would mine into a branch that is half gone."""
        if not 1 <= depth <= REORG_MAX:
            raise ValueError(f"a reorganisation of {depth} blocks: 1 to {REORG_MAX} are possible")
        await self.client.rpc("anvil_reorg", depth, [])

    async def _mine_again(self, keep: Sequence[bytes]) -> list[L1Receipt]:
        receipts = []
        for tx_hash in keep:
            raw = self._raw.get(tx_hash) or await self.raw(tx_hash)
            await self.client.send_raw(raw)
            receipts.append(await self.mined(tx_hash))
        return receipts

    async def raw(self, tx_hash: bytes) -> bytes:
        """The signed bytes of a transaction that L1 shows, to be published again after a reorganisation."""
        found = await self.client.rpc("eth_getRawTransactionByHash", "0x" + tx_hash.hex())
        if not found:
            raise Critical(f"L1 does not show transaction 0x{tx_hash.hex()}")
        raw = bytes.fromhex(found[2:])
        self._raw[tx_hash] = raw
        return raw

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """L1 mines nothing inside: transactions gather in the mempool, where everybody sees them; ``mine`` seals."""
        self.need_dev("told when to mine")
        automine = bool(await self.client.rpc("anvil_getAutomine"))
        interval = await self.client.rpc("anvil_getIntervalMining")
        await self.client.rpc("evm_setAutomine", False)
        await self.client.rpc("evm_setIntervalMining", 0)
        try:
            with trio.fail_after(MEMPOOL_CALLS_S):
                yield
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + POLL_S * 500):
                if interval:
                    await self.client.rpc("evm_setIntervalMining", interval)
                await self.client.rpc("evm_setAutomine", automine)
                if automine:
                    await self.client.rpc("anvil_mine", "0x1")
