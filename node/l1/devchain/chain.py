"""The embedded L1 itself: sealing blocks, reorganising, snapshots. Synchronous; the service decides about threads.

Split for concurrency: ``plan`` (owner task) fixes the environment, ``seal`` (may run in a worker thread) executes on
immutable inputs, ``commit`` (owner task) appends. Only the owner task touches store, pool and clock.

Base fee: EIP-1559, denominator 8, elasticity 2. Time: max(parent + 1, now + offset), or what was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import rlp
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth_hash.auto import keccak

from .accounts import dev_accounts
from .blocks import (
    BlockStore,
    Body,
    Entry,
    ReceiptRecord,
    Sealed,
    encode_receipt,
    list_root,
    logs_bloom,
    to_records,
)
from .config import DevchainConfig
from .errors import L1RpcError
from .executor import BlockEnv, Executor, Outcome
from .mempool import Mempool
from .nodes import EMPTY_CODE_HASH
from .pyevm import PyEvm
from .transactions import Tx, check_stateless, decode

BASE_FEE_DENOMINATOR = 8
ELASTICITY = 2
COINBASE = bytes(19) + b"\x01"
DELEGATION_PREFIX = b"\xef\x01\x00"  # EIP-7702: such code leaves the account an ordinary sender
SNAPSHOTS_MAX = 64


def next_base_fee(parent: Entry) -> int:
    """EIP-1559 base fee (wei) of the block after ``parent``."""
    target = parent.gas_limit // ELASTICITY
    if parent.gas_used == target:
        return parent.base_fee
    delta = parent.base_fee * abs(parent.gas_used - target) // target // BASE_FEE_DENOMINATOR
    return parent.base_fee + max(delta, 1) if parent.gas_used > target else parent.base_fee - delta


@dataclass(frozen=True, slots=True)
class Plan:
    """A block about to be built: immutable, so that a worker thread may execute it."""

    env: BlockEnv
    parent_hash: bytes
    parent_root: bytes
    txs: tuple[Tx, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """An executed plan: the sealed block, and the transactions that turned out not to belong in any block."""

    sealed: Sealed
    invalid: tuple[tuple[Tx, str], ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where ``evm_revert`` returns to."""

    entry: Entry
    time_offset_s: int
    pool: tuple[Tx, ...]


def seal(executor: Executor, plan: Plan) -> Built:
    """Execute ``plan`` and assemble its block. Touches nothing but the executor's node store."""
    run = executor.block(plan.env, plan.parent_root)
    included: list[Tx] = []
    receipts: list[ReceiptRecord] = []
    invalid: list[tuple[Tx, str]] = []
    gas_total = 0
    stopped: set[bytes] = set()  # senders whose next nonce did not make it: their later ones must wait
    for tx in plan.txs:
        if tx.sender in stopped or gas_total + tx.gas > plan.env.gas_limit:
            stopped.add(tx.sender)
            continue
        try:
            outcome = run.apply(tx)
        except L1RpcError as error:
            stopped.add(tx.sender)
            invalid.append((tx, error.message))
            continue
        gas_total += outcome.gas_used
        included.append(tx)
        receipts.append(_receipt(tx, outcome, gas_total, plan.env.base_fee))
    header = _header(plan, run.finish(), included, receipts)
    body = Body(rlp.encode(header), [tx.raw for tx in included], receipts)
    return Built(Sealed(header, body, tuple(tx.hash for tx in included)), tuple(invalid))


def _receipt(tx: Tx, outcome: Outcome, gas_total: int, base_fee: int) -> ReceiptRecord:
    return ReceiptRecord(
        tx_type=tx.type, success=outcome.success, gas_used=outcome.gas_used, gas_cumulative=gas_total,
        price=tx.price(base_fee), sender=tx.sender, created=outcome.created, logs=to_records(outcome.logs),
    )


def _header(plan: Plan, root: bytes, txs: list[Tx], receipts: list[ReceiptRecord]) -> Any:
    env = plan.env
    header_class: Any = PragueBlockHeader  # py-evm's own types are stricter than bytes and int
    return header_class(
        difficulty=0, block_number=env.number, gas_limit=env.gas_limit, timestamp=env.timestamp, coinbase=env.coinbase,
        parent_hash=plan.parent_hash, state_root=root, transaction_root=list_root([tx.raw for tx in txs]),
        receipt_root=list_root([encode_receipt(item) for item in receipts]),
        bloom=logs_bloom([log for item in receipts for log in item.logs]),
        gas_used=receipts[-1].gas_cumulative if receipts else 0, mix_hash=env.prevrandao, nonce=bytes(8),
        base_fee_per_gas=env.base_fee,
    )


class Devchain:
    """State of the embedded L1. One task owns it; ``seal`` may run elsewhere between ``plan`` and ``commit``."""

    def __init__(self, config: DevchainConfig, *, clock: Callable[[], float] = time.time) -> None:
        config.check()
        self.config = config
        self.executor: Executor = PyEvm(config.chain_id)
        self.store = BlockStore()
        self.pool = Mempool(config.mempool_txs_max, config.mempool_txs_per_sender_max)
        self.accounts = dev_accounts(config.accounts)
        self.time_offset_s = 0
        self._clock = clock
        self._next_timestamp: int | None = None
        self._branch = 0  # makes the blocks of a new branch differ from those they replace
        self._snapshots: dict[int, Snapshot] = {}
        self._snapshot_count = 0
        self._genesis()

    def _genesis(self) -> None:
        root = self.executor.genesis({item.address: self.config.balance_wei for item in self.accounts})
        env = self._env(0, self.config.genesis_time_s or int(self._clock()), self.config.base_fee_wei)
        header = _header(Plan(env, bytes(32), root, ()), root, [], [])
        self.store.append(Sealed(header, Body(rlp.encode(header), [], []), ()))

    def _env(self, number: int, timestamp: int, base_fee: int) -> BlockEnv:
        prevrandao = keccak(self._branch.to_bytes(8, "big") + number.to_bytes(8, "big"))
        return BlockEnv(number, timestamp, COINBASE, self.config.gas_limit, base_fee, prevrandao,
                        tuple(self.store.prev_hashes(number)))

    # -- time

    def next_timestamp(self) -> int:
        """Timestamp (s) that the next block would get now."""
        least = self.store.head.timestamp + 1
        return max(least, self._next_timestamp or int(self._clock()) + self.time_offset_s)

    def set_next_timestamp(self, timestamp: int) -> None:
        """Fix the next block's timestamp; later blocks continue from it."""
        if timestamp <= self.store.head.timestamp:
            raise L1RpcError(f"timestamp {timestamp} is not after the head's {self.store.head.timestamp}", -32_602)
        self._next_timestamp = timestamp

    # -- transactions

    def submit(self, raw: bytes) -> bytes:
        """Check signed bytes and take them into the pool; returns the transaction's hash."""
        tx = decode(raw)
        if self.store.find_tx(tx.hash):
            raise L1RpcError("already known")
        self.accept(tx)
        return tx.hash

    def accept(self, tx: Tx) -> None:
        """Take a decoded transaction into the pool, or raise L1RpcError."""
        check_stateless(tx, self.config.chain_id, self.config.gas_limit)
        view = self.executor.account(self.store.head.state_root, tx.sender)
        if view.code_hash != EMPTY_CODE_HASH:
            code = self.executor.code(self.store.head.state_root, tx.sender)
            if not code.startswith(DELEGATION_PREFIX):
                raise L1RpcError(f"sender not an eoa: address 0x{tx.sender.hex()}")
        self.pool.add(tx, view.nonce, view.balance)

    # -- blocks

    def env_after(self, parent: Entry, timestamp: int | None = None) -> BlockEnv:
        """Environment of the block after ``parent``."""
        at = timestamp if timestamp is not None else max(parent.timestamp + 1, self.next_timestamp())
        return self._env(parent.number + 1, at, next_base_fee(parent))

    def env_of(self, entry: Entry) -> BlockEnv:
        """Environment that a call 'at' this block sees: the block's own number and time."""
        return self._env(entry.number, entry.timestamp, entry.base_fee)

    def plan(self, *, empty: bool = False) -> Plan:
        """Fix the next block's environment and candidates (bounded by gas: at most limit / 21000)."""
        head = self.store.head
        env = self.env_after(head, self.next_timestamp())
        root = head.state_root
        txs: list[Tx] = []
        if not empty:
            for tx in self.pool.ready(env.base_fee, lambda sender: self.executor.account(root, sender).nonce):
                txs.append(tx)
                if len(txs) * 21_000 > env.gas_limit:
                    break
        return Plan(env, head.hash, root, tuple(txs))

    def commit(self, built: Built) -> Entry:
        """Append an executed block, tidy the pool, forget old states. Returns the new head."""
        entry = self.store.append(built.sealed)
        if entry.timestamp == self._next_timestamp:  # it was asked for: time goes on from there
            self.time_offset_s = entry.timestamp - int(self._clock())
        self._next_timestamp = None
        for tx, _reason in built.invalid:
            self.pool.remove(tx.hash)
        for tx_hash in built.sealed.tx_hashes:
            self.pool.remove(tx_hash)
        for sender in {item.sender for item in built.sealed.body.receipts}:
            self.pool.drop_stale(sender, self.executor.account(entry.state_root, sender).nonce)
        return entry

    def kept_roots(self) -> set[bytes]:
        """Roots of the states inside the history window and of the snapshots."""
        kept = self.store.entries[-self.config.state_history_blocks:]
        return {entry.state_root for entry in kept} | {snap.entry.state_root for snap in self._snapshots.values()}

    def replace_head_state(self, root: bytes) -> Plan:
        """A plan for an empty block whose parent state is ``root`` (development balance changes)."""
        plan = self.plan(empty=True)
        return Plan(plan.env, plan.parent_hash, root, ())

    # -- rewinding

    def rewind(self, number: int, *, return_txs: bool) -> list[Entry]:
        """Cut the chain back to block ``number``; optionally give the cut transactions back to the pool."""
        head = self.store.head.number
        if not 0 <= number <= head:
            raise L1RpcError(f"cannot rewind to block {number}: the head is {head}", -32_602)
        if number < head - self.config.state_history_blocks:
            raise L1RpcError(f"cannot rewind {head - number} blocks: state is kept for "
                             f"{self.config.state_history_blocks}", -32_602)
        cut = self.store.cut(number)
        self._branch += 1
        self._next_timestamp = None
        self._snapshots = {key: snap for key, snap in self._snapshots.items() if self.store.by_hash(snap.entry.hash)}
        if return_txs:
            self._readmit(decode(raw, receipt.sender) for entry in cut for raw, receipt in self._mined(entry))
        return cut

    def _mined(self, entry: Entry) -> Iterable[tuple[bytes, ReceiptRecord]]:
        body = self.store.body(entry)
        return zip(body.txs, body.receipts, strict=True)

    def _readmit(self, txs: Iterable[Tx]) -> None:
        for tx in txs:
            try:
                self.accept(tx)
            except L1RpcError:
                continue  # a real pool drops what the new branch made invalid, too

    def snapshot(self) -> int:
        """Remember the present; returns an id for ``restore``."""
        if len(self._snapshots) >= SNAPSHOTS_MAX:
            del self._snapshots[min(self._snapshots)]
        self._snapshot_count += 1
        self._snapshots[self._snapshot_count] = Snapshot(
            self.store.head, self.time_offset_s, tuple(self.pool.all()))
        return self._snapshot_count

    def restore(self, snapshot_id: int) -> bool:
        """Return to a snapshot, which (with all later ones) is used up; False if it is not known."""
        snap = self._snapshots.get(snapshot_id)
        if snap is None or self.store.by_hash(snap.entry.hash) is None:
            return False
        self.store.cut(snap.entry.number)
        self._branch += 1
        self._next_timestamp = None
        self._snapshots = {key: item for key, item in self._snapshots.items() if key < snapshot_id}
        self.time_offset_s = snap.time_offset_s
        self.pool.clear()
        self._readmit(snap.pool)
        return True
