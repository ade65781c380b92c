"""The pool of transactions that wait for a block: pure, bounded, nonce-ordered per sender.

Rules (those of public nodes, so that what works here works there):
- a nonce below the account's is "nonce too low"; above it, the transaction queues until the gap closes;
- replacing (sender, nonce) needs both fee caps raised by at least 10%, else "replacement transaction underpriced";
- what the balance cannot pay (gas · fee cap + value) is "insufficient funds";
- the pool and each sender's share are bounded; a full pool says so.

Selection is by tip, then arrival, always in nonce order per sender.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .errors import L1RpcError
from .transactions import Tx

BUMP_PERCENT = 10


@dataclass(slots=True)
class Mempool:
    """``by_sender[sender][nonce]`` is the one live transaction for that nonce; ``by_hash`` finds it."""

    txs_max: int
    txs_per_sender_max: int
    by_sender: dict[bytes, dict[int, Tx]] = field(default_factory=dict)
    by_hash: dict[bytes, Tx] = field(default_factory=dict)
    arrivals: dict[bytes, int] = field(default_factory=dict)
    count: int = 0

    def add(self, tx: Tx, account_nonce: int, balance: int) -> bytes | None:
        """Take ``tx`` in; returns the hash of what it replaced, or None. Raises L1RpcError in geth's words."""
        if tx.hash in self.by_hash:
            raise L1RpcError("already known")
        if tx.nonce < account_nonce:
            raise L1RpcError(f"nonce too low: next nonce {account_nonce}, tx nonce {tx.nonce}")
        cost = tx.gas * tx.fee_max + tx.value
        if balance < cost:
            raise L1RpcError(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, "
                f"overshot {cost - balance}"
            )
        queue = self.by_sender.get(tx.sender, {})
        old = queue.get(tx.nonce)
        if old is not None:
            self._check_bump(old, tx)
            self.remove(old.hash)
        elif len(self.by_hash) >= self.txs_max:
            raise L1RpcError(f"txpool is full: {self.txs_max} transactions wait; retry after the next block")
        elif len(queue) >= self.txs_per_sender_max:
            raise L1RpcError(f"txpool is full: sender has {len(queue)} transactions waiting")
        self.by_sender.setdefault(tx.sender, {})[tx.nonce] = tx
        self.by_hash[tx.hash] = tx
        self.count += 1
        self.arrivals[tx.hash] = self.count
        return old.hash if old is not None else None

    @staticmethod
    def _check_bump(old: Tx, new: Tx) -> None:
        """Both caps must rise by 10% (rounded up, so that a cap of 1 wei must rise too)."""
        for was, now in ((old.fee_max, new.fee_max), (old.tip_max, new.tip_max)):
            if now * 100 < was * (100 + BUMP_PERCENT) or (now == was and was > 0):
                raise L1RpcError("replacement transaction underpriced")

    def remove(self, tx_hash: bytes) -> None:
        """Forget a transaction (mined, replaced or invalid); unknown hashes are ignored."""
        tx = self.by_hash.pop(tx_hash, None)
        self.arrivals.pop(tx_hash, None)
        if tx is None:
            return
        queue = self.by_sender[tx.sender]
        del queue[tx.nonce]
        if not queue:
            del self.by_sender[tx.sender]

    def drop_stale(self, sender: bytes, account_nonce: int) -> None:
        """Remove what the chain has overtaken: nonces below the account's."""
        for nonce in [n for n in self.by_sender.get(sender, {}) if n < account_nonce]:
            self.remove(self.by_sender[sender][nonce].hash)

    def pending_nonce(self, sender: bytes, account_nonce: int) -> int:
        """Next nonce after the unbroken run that starts at the account's nonce."""
        queue = self.by_sender.get(sender)
        while queue and account_nonce in queue:
            account_nonce += 1
        return account_nonce

    def ready(self, base_fee: int, nonce_of: Callable[[bytes], int]) -> Iterator[Tx]:
        """Executable transactions, best tip first; a sender's run ends at a gap or at a fee cap below ``base_fee``."""
        heap: list[tuple[int, int, bytes, int]] = []

        def offer(sender: bytes, nonce: int) -> None:
            tx = self.by_sender.get(sender, {}).get(nonce)
            if tx is not None and tx.fee_max >= base_fee:
                tip = tx.price(base_fee) - base_fee
                heapq.heappush(heap, (-tip, self.arrivals[tx.hash], sender, nonce))

        for sender in list(self.by_sender):
            offer(sender, nonce_of(sender))
        while heap:
            _, _, sender, nonce = heapq.heappop(heap)
            yield self.by_sender[sender][nonce]
            offer(sender, nonce + 1)

    def all(self) -> list[Tx]:
        """Every waiting transaction, in order of arrival."""
        return sorted(self.by_hash.values(), key=lambda tx: self.arrivals[tx.hash])

    def clear(self) -> None:
        """Drop everything (used when a snapshot is restored)."""
        self.by_sender.clear()
        self.by_hash.clear()
        self.arrivals.clear()
