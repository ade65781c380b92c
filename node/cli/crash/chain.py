"""A chain in memory: the rules' engine over a dict of leaves, an inbox, and transactions as they would be posted.

Every transaction is encoded, decoded, authorized and executed as on a real chain, and chunks are cut where the rules
ask for it. Only recovering signers is cut short, through the engine's own door for recoveries done ahead
(``encoding.note_recovered``, which the sequencer's threads use): replaying a year of prices is not about secp256k1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from node.stf import encoding, finality, margin, oracle, state
from node.stf.engine import Engine, genesis_leaves
from node.stf.state import AccountRow, MarketRow
from node.stf.transition import InvalidChunk
from node.stf.types import ADMIN, ANCHOR_NOTICE, BLOCK, DEPOSIT, Action, Board, Receipt, Status, Terms

DOMAIN: Final = encoding.domain_separator(901, 0xC4A54)
EXPIRY_MS: Final = 60_000
T = TypeVar("T")


class Leaves:
    """Committed leaves in a dict."""

    def __init__(self, leaves: dict[bytes, bytes]) -> None:
        self.leaves = leaves

    def get(self, key: bytes) -> bytes | None:
        """Value of a leaf."""
        return self.leaves.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys under a prefix, ascending."""
        return iter(sorted(key for key in self.leaves if key.startswith(prefix)))

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        """Write a chunk's changes."""
        for key, value in changes.items():
            if value is None:
                self.leaves.pop(key, None)
            else:
                self.leaves[key] = value


class CrashError(Exception):
    """The rules did what they must not: money is not conserved, or a message of ours was refused."""


class Chain:
    """One state and the means to move it."""

    def __init__(self, leaves: dict[bytes, bytes] | None = None, inbox: list[bytes] | None = None) -> None:
        self._store = Leaves(genesis_leaves() if leaves is None else leaves)
        self._inbox = [] if inbox is None else inbox
        self._begun = False
        self._signatures = 0
        self._nonces: dict[int, int] = {}
        self._batches = 0
        self.transactions = 0
        self.engine = Engine(self._store, DOMAIN, self._message_at)
        self.engine.begin_chunk()

    def fork(self) -> Chain:
        """Another chain that goes on from this one's state."""
        self.cut()
        other = Chain(dict(self._store.leaves), list(self._inbox))
        other._nonces = dict(self._nonces)
        return other

    @property
    def time(self) -> int:
        """L2 time, ms."""
        return self.engine.globals.time

    def _message_at(self, number: int) -> bytes | None:
        return self._inbox[number] if number < len(self._inbox) else None

    # --- transactions -------------------------------------------------------------------------------------------------

    def run(self, transaction: bytes) -> Receipt:
        """Execute, in a new chunk if the open one has no room."""
        if transaction[0] == BLOCK and self._begun:
            self.cut()
        try:
            receipt = self.engine.execute(transaction)
        except InvalidChunk:
            if not self._begun:
                raise
            self.cut()
            receipt = self.engine.execute(transaction)
        self._begun = True
        self.transactions += 1
        return receipt

    def cut(self) -> None:
        """End the open chunk."""
        if self._begun:
            self._store.apply(self.engine.end_chunk().changes)
            self._begun = False
        self.engine.begin_chunk()

    def block(self, step_ms: int) -> None:
        """Open a block that much later."""
        self.run(encoding.write_block(step_ms))

    def deliver(self, kind: int, payload: bytes) -> None:
        """Put a message into the inbox and consume it. Raises CrashError if the rules refuse it."""
        seconds = self.time // 1_000
        self._inbox.append(bytes((kind,)) + bytes(20) + seconds.to_bytes(8, "big") + payload)
        receipt = self.run(encoding.INBOX_TX)
        if receipt.status != Status.OK:
            raise CrashError(f"a message of kind {kind} ended in {receipt.status.name}")

    def start(self, time_ms: int) -> None:
        """Let L2 begin at a time, through the first message's L1 time."""
        payload = b"\x00" * 8 + time_ms.to_bytes(8, "big")
        self._inbox.append(bytes((ANCHOR_NOTICE,)) + bytes(20) + (time_ms // 1_000).to_bytes(8, "big") + payload)
        self.run(encoding.INBOX_TX)

    def configure(self, body: bytes) -> None:
        """Apply an admin message."""
        self.deliver(ADMIN, body)

    def deposit(self, payload: bytes) -> int:
        """Deposit; returns the account that was opened, if one was."""
        account = self.engine.globals.next_account
        self.deliver(DEPOSIT, payload)
        return account

    def anchor(self) -> None:
        """L1 notices an anchor of all L2 time up to now."""
        self._batches += 1
        self.deliver(ANCHOR_NOTICE, self._batches.to_bytes(8, "big") + self.time.to_bytes(8, "big"))

    def actions(self, account: int, owner: int, listed: list[Action]) -> Receipt:
        """Send a signed list of an account's owner."""
        now = self.time
        nonce, expiry = max(self._nonces.get(account, 0) + 1, now), now + EXPIRY_MS
        self._nonces[account] = nonce
        digest = encoding.actions_digest(account, 0, nonce, expiry, listed)
        return self.run(encoding.write_actions(account, 0, nonce, expiry, listed, self._sign(digest, owner), now))

    def publish(self, slot: int, address: int, markets: list[int], prices: list[int]) -> Receipt:
        """Publish prices, dated now."""
        now = self.time
        digest = encoding.oracle_price_digest(slot, now, markets, prices)
        return self.run(encoding.write_oracle_price(slot, now, markets, prices, self._sign(digest, address), now))

    def liquidate(self, account: int, market: int) -> Receipt:
        """Ask for a liquidation."""
        return self.run(encoding.write_liquidate(account, market))

    def _sign(self, digest: bytes, address: int) -> bytes:
        """A signature that nobody made, and its recovery noted ahead."""
        self._signatures += 1
        encoding.note_recovered(digest, self._signatures, 1, address)
        return self._signatures.to_bytes(32, "big") + (1).to_bytes(32, "big")

    # --- reads: nothing of them may count as touched by a chunk -------------------------------------------------------

    def _read(self, getter: Callable[[int], T], number: int) -> T:
        self.engine.bind()
        mark = self.engine.mark()
        value = getter(number)
        self.engine.retract(mark)
        return value

    def health(self, account: int) -> Terms:
        """Equity and margin, by the rules' own formula."""
        return self._read(margin.health, account)

    def board(self, market: int) -> Board:
        """What margin knows of a market."""
        boards = self.engine.ledger.boards.get(0)
        return self._read(state.get_board, market) if boards is None else boards[market]

    def market(self, market: int) -> MarketRow:
        """A market's decoded row."""
        markets = self.engine.ledger.markets
        if market not in markets:
            self._read(state.get_open_interest, market)
        row = markets[market]
        assert row is not None, "only markets that exist are asked for"
        return row

    def haircut(self, market: int) -> int:
        """What a market's positions count less because its price is not fresh, ppm."""
        return self._read(_haircut, market)

    def row(self, account: int) -> AccountRow:
        """An account's decoded row."""
        ledger = self.engine.ledger
        if account not in ledger.accounts:
            self._read(state.get_collateral, account)
        return ledger.accounts[account]

    def conserve(self) -> None:
        """The conservation law, to the micro-USD. Raises CrashError."""
        g = self.engine.globals
        left = g.accounts_total + g.insurance_total + g.fees - g.losses_total
        right = g.deposits - g.withdrawn
        if left != right:
            raise CrashError(f"money is not conserved at L2 time {g.time}: {left} micro-USD instead of {right}")


def _haircut(market: int) -> int:
    board = state.get_board(market)
    return 0 if oracle.is_fresh(board) else finality.haircut(board)
