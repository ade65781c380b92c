"""A batch in the making, on the state that L1 has: what an honest operator would execute, transaction by transaction.

    draft = operator.draft()
    draft.block(); draft.consume(); draft.price({0: 600_000}); draft.actions(alice, buy(0, 600_000, 10))
    batch = draft.batch()                      # honest; or with any field of PostBatch overridden

Chunks are cut where the rules ask for it, or by ``cut``. ``views[i]`` is the state before chunk i, the last one that
after all of them. Times are L2 milliseconds, sizes lots, prices ticks, money micro-USD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from node.cli.villain.l1 import Actor
from node.l1.bindings import PostBatch
from node.stf import encoding, state
from node.stf.commitments import BatchHeader, globals_tuple, header_hash
from node.stf.engine import ChunkResult, Engine
from node.stf.params import PRICES_MAX
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import BUY, GTC, PLACE, SELL, Action, Receipt, Status

SIGNATURE_LIFE_MS = 60_000


@dataclass(frozen=True)
class Trader:
    """An L2 account and who owns it (key slot 0 is the actor's own key)."""

    actor: Actor
    account: int


def limit(market: int, side: int, price: int, lots: int, client_id: int = 1, *, tif: int = GTC, expiry: int = 0,
          **rest: int) -> Action:
    """An order to place; ``rest``: other fields of Action, such as reduce_only."""
    return Action(PLACE, market, side, price, lots, tif, client_id=client_id, expiry=expiry, **rest)


def buy(market: int, price: int, lots: int, client_id: int = 1, **rest: int) -> Action:
    """A bid."""
    return limit(market, BUY, price, lots, client_id, **rest)


def sell(market: int, price: int, lots: int, client_id: int = 1, **rest: int) -> Action:
    """An ask."""
    return limit(market, SELL, price, lots, client_id, **rest)


class Draft:
    """See the module."""

    def __init__(self, view: TrieView, domain: bytes, inbox: Any, parent: BatchHeader, l1_time_s: int,
                 publishers: Sequence[Actor]) -> None:
        self.parent = parent
        self.l1_time_s = l1_time_s
        self.views: list[TrieView] = [view]
        self.chunks: list[bytes] = []
        self.results: list[ChunkResult] = []
        self.receipts: list[Receipt] = []
        self.transactions: list[bytes] = []
        self._inbox = inbox
        self._domain = domain
        self._publishers = publishers
        self._open = bytearray()
        self._nonces: dict[tuple[int, int], int] = {}
        self._trie = MemoryTrie(base=view)
        self.engine = Engine(self._trie, domain, inbox.message)
        self.first_position = self.engine.globals.position
        self.engine.begin_chunk()

    @property
    def time(self) -> int:
        """L2 time, ms."""
        return self.engine.globals.time

    @property
    def view(self) -> TrieView:
        """The state after the chunks cut so far."""
        return self.views[-1]

    # --- transactions -------------------------------------------------------------------------------------------------

    def run(self, transaction: bytes) -> Receipt:
        """Execute one transaction, in a new chunk if this one has no room (or a block begins)."""
        if transaction[:1] == b"\x09" and self._open:
            self.cut()
        try:
            receipt = self.engine.execute(transaction)
        except InvalidChunk:
            if not self._open:
                raise
            self.cut()
            receipt = self.engine.execute(transaction)
        self._open += transaction
        self.receipts.append(receipt)
        self.transactions.append(transaction)
        return receipt

    def cut(self) -> None:
        """End the open chunk, if anything is in it."""
        if not self._open:
            return
        result = self.engine.end_chunk()
        self._trie.apply(result.changes)
        after = MemoryTrie(base=self.views[-1])
        after.apply(result.changes)
        self.views.append(after)
        self.chunks.append(bytes(self._open))
        self.results.append(result)
        self._open = bytearray()
        self.engine.begin_chunk()

    def block(self, step_ms: int | None = None) -> Receipt:
        """Open a block: ``step_ms`` after the last one, or a second before the L1 head's time (1 ms later at least)."""
        step = step_ms if step_ms is not None else max(1, (self.l1_time_s - 1) * 1_000 - self.time)
        return self.run(encoding.write_block(step))

    def consume(self, count: int | None = None) -> list[Receipt]:
        """Take the next ``count`` inbox messages (all that L1 has)."""
        waiting = self._inbox.count - self.engine.globals.cursor
        return [self.run(encoding.INBOX_TX) for _ in range(waiting if count is None else min(count, waiting))]

    def price(self, prices: dict[int, int], slots: Sequence[int] = (0, 1, 2)) -> list[Receipt]:
        """Every publisher's price of these markets, in a block a millisecond later."""
        self.block(1)
        found = []
        listed = list(prices.items())
        for slot in slots:
            for at in range(0, len(listed), PRICES_MAX):
                part = listed[at : at + PRICES_MAX]
                found.append(self.run(self.signed_price(slot, dict(part))))
        return found

    def actions(self, trader: Trader, *listed: Action, **options: Any) -> Receipt:
        """A signed list of orders and cancels; ``options`` as of ``signed_actions``."""
        return self.run(self.signed_actions(trader, *listed, **options))

    def withdraw(self, trader: Trader, amount: int, recipient: bytes = b"") -> Receipt:
        """Money to an L1 address (default: the trader's)."""
        return self.run(self.signed_withdraw(trader, amount, recipient or trader.actor.address))

    def set_key(self, trader: Trader, slot: int, key: bytes, key_expiry: int = 0) -> Receipt:
        """Set a trade-only key slot to an address."""
        encoding.set_domain(self._domain)
        nonce, expiry = self.nonce(trader), self.time + SIGNATURE_LIFE_MS
        address = int.from_bytes(key, "big")
        digest = encoding.set_key_digest(trader.account, nonce, expiry, slot, address, key_expiry)
        return self.run(encoding.write_set_key(
            trader.account, slot, nonce, expiry, address, key_expiry, trader.actor.sign(digest), self.time))

    # --- signed bytes -------------------------------------------------------------------------------------------------

    def nonce(self, trader: Trader, slot: int = 0) -> int:
        """A nonce that this key has not used, in this draft either."""
        leaf = self.view.get(state.account_key(trader.account))
        keys = state.decode_account(leaf).keys if leaf is not None else []
        used = keys[slot].nonce_high if slot < len(keys) else 0
        nonce = max(self.time, used + 1, self._nonces.get((trader.account, slot), 0) + 1)
        self._nonces[trader.account, slot] = nonce
        return nonce

    def signed_actions(self, trader: Trader, *listed: Action, slot: int = 0, signer: Actor | None = None,
                       nonce: int | None = None, expiry: int | None = None, base: int | None = None) -> bytes:
        """Bytes of an Actions transaction. ``base``: what its times are relative to (0 for the inbox)."""
        nonce = self.nonce(trader, slot) if nonce is None else nonce
        expiry = self.time + SIGNATURE_LIFE_MS if expiry is None else expiry
        encoding.set_domain(self._domain)
        digest = encoding.actions_digest(trader.account, slot, nonce, expiry, list(listed))
        return encoding.write_actions(
            trader.account, slot, nonce, expiry, list(listed), (signer or trader.actor).sign(digest),
            self.time if base is None else base)

    def signed_withdraw(self, trader: Trader, amount: int, recipient: bytes, *, base: int | None = None,
                        expiry: int | None = None) -> bytes:
        """Bytes of a Withdraw transaction."""
        nonce, to = self.nonce(trader), int.from_bytes(recipient, "big")
        expiry = self.time + SIGNATURE_LIFE_MS if expiry is None else expiry
        encoding.set_domain(self._domain)
        signature = trader.actor.sign(encoding.withdraw_digest(trader.account, nonce, expiry, to, amount))
        return encoding.write_withdraw(
            trader.account, nonce, expiry, to, amount, signature, self.time if base is None else base)

    def signed_price(self, slot: int, prices: dict[int, int], *, time_ms: int | None = None,
                     signer: Actor | None = None, base: int | None = None) -> bytes:
        """Bytes of an OraclePrice transaction of a publisher slot."""
        at = self.time if time_ms is None else time_ms
        markets, values = list(prices), list(prices.values())
        encoding.set_domain(self._domain)
        signature = (signer or self._publishers[slot]).sign(encoding.oracle_price_digest(slot, at, markets, values))
        return encoding.write_oracle_price(slot, at, markets, values, signature, self.time if base is None else base)

    # --- the batch ----------------------------------------------------------------------------------------------------

    def batch(self, **overrides: Any) -> PostBatch:
        """All of it, honest, with fields of PostBatch overridden."""
        self.cut()
        cursor = self.engine.globals.cursor
        honest = PostBatch(
            number=self.parent.number + 1, parent=header_hash(self.parent), inbox_cursor=cursor,
            inbox_hash=self._inbox.hash_after(cursor), globals=globals_tuple(self.results[-1].global_words),
            chunks=tuple(self.chunks), roots=tuple(view.root() for view in self.views[1:]))
        return replace(honest, **overrides)

    def message_at(self, number: int) -> bytes | None:
        """An inbox message that L1 has, consumed or not."""
        found: bytes | None = self._inbox.message(number)
        return found

    def ok(self, receipt: Receipt) -> Receipt:
        """The receipt. Raises AssertionError with the status unless the rules did it all."""
        bad = [status for status in (receipt.status, *receipt.action_statuses) if status != Status.OK]
        assert not bad, f"the rules answered {Status(bad[0]).name}"
        return receipt

