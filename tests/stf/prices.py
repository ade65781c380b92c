"""The price rules on a small state of their own; every call also runs in the contract, which must agree.

Work is by calls (``publish``, ``at``, ...), which collect until ``compare`` replays them on witnessed leaves; what
the rules under test do not do themselves (parameters, orders, positions) is written by ``edit``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

from node.stf import finality, oracle, quotes, state, witness
from node.stf.engine import genesis_leaves
from node.stf.state import Ledger
from node.stf.trie import MemoryTrie, keccak
from node.stf.types import OPEN, Board, Chain, Market, Order, Position, PriceState, Publisher, Status
from tests.evm import Contract, Evm

CALLS: Final = ("publish", "set_time", "configure", "update", "market_status", "rates", "is_fresh", "mid", "live",
                "is_dead", "set_last_anchor")  # numbers in PriceMock.vy
START: Final = 1_700_000_000_000
BATCH: Final = 60  # calls of one comparison


@cache
def mock() -> Contract:
    return Evm().deploy("mocks/PriceMock.vy")


class Prices:
    """Market 0 with three publishers, whose addresses are 1000 + slot. ``gas`` lists what each publish took."""

    def __init__(self, *, slots: int = 3, quorum: int = 3, stale_ms: int = 30_000, tick_value: int = 10,
                 **config: int) -> None:
        self.trie = MemoryTrie(genesis_leaves())
        self.ledger = Ledger(self.trie, strict=True)
        self.calls: list[tuple[int, list[int]]] = []
        self.results: list[tuple[int, int]] = []
        self.gas: list[int] = []
        self.begin()
        with self.edit():
            state.set_time(START)
            state.create_market(0)
            state.set_market(0, Market(oi_cap=10_000_000, quorum=quorum, **config))
            state.set_board(0, Board(tick_value=tick_value, status=OPEN, stale_ms=stale_ms))
            for slot in range(slots):
                state.set_publisher(0, slot, Publisher(address=1_000 + slot))

    # --- reading ------------------------------------------------------------------------------------------------------

    @contextmanager
    def peek(self) -> Iterator[None]:
        """Read state without the chunk's books noting it."""
        led = self.ledger
        books = led.work, led.proof, led.leaves, set(led.touched), dict(led.observed)
        yield
        led.work, led.proof, led.leaves, led.touched, led.observed = books

    @property
    def board(self) -> Board:
        with self.peek():
            return state.get_board(0)

    @property
    def config(self) -> Market:
        with self.peek():
            return state.get_market(0)

    @property
    def state(self) -> PriceState:
        with self.peek():
            return state.get_price_state(0)

    @property
    def mark(self) -> int:
        return self.board.mark

    @property
    def now(self) -> int:
        return state.get_time()

    # --- calls that both languages make -------------------------------------------------------------------------------

    def publish(self, slot: int, price: int, time: int | None = None) -> Status:
        moment = self.now if time is None else time
        return Status(self._note("publish", [0, slot, 1_000 + slot, moment, price],
                                 oracle.publish(0, slot, 1_000 + slot, moment, price)))

    def all(self, *prices: int) -> int:
        """All publishers at once, one price for all or one for each; returns the mark."""
        with self.peek():
            count = state.get_publisher_count(0)
        for slot in range(count):
            assert self.publish(slot, prices[slot % len(prices)]) == Status.OK
        return self.mark

    def step(self, ms: int, *prices: int) -> int:
        """Let time pass, then publish; returns the mark."""
        self.at(self.now + ms)
        return self.all(*prices)

    def at(self, time: int) -> None:
        state.set_time(time)
        self._note("set_time", [time], 0)

    def configure(self) -> None:
        oracle.configure(0)
        self._note("configure", [0], 0)

    def update(self) -> None:
        finality.update()
        self._note("update", [], 0)

    def anchor(self, time: int) -> None:
        state.set_last_anchor(time)
        self._note("set_last_anchor", [time], 0)

    def status(self) -> int:
        return self._note("market_status", [0], finality.market_status(0, state.get_board(0)))

    def rates(self) -> tuple[int, int]:
        """Add-on and haircut, ppm."""
        board = state.get_board(0)
        found = finality.addon(board), finality.haircut(board)
        self._note("rates", [0], *found)
        return found

    def is_fresh(self) -> bool:
        return bool(self._note("is_fresh", [0], int(oracle.is_fresh(state.get_board(0)))))

    def mid(self) -> tuple[int, int]:
        found = quotes.mid(0)
        self._note("mid", [0], *found)
        return found

    def live(self, side: int) -> int:
        return self._note("live", [0, side], quotes.live(0, side))

    def is_dead(self, side: int, price: int, seq: int) -> bool:
        order = state.get_order(0, side, price, seq)
        dead = quotes.is_dead(order.account, 0, order, seq, side)
        self._note("is_dead", [0, side, price, seq], int(dead), quotes.order_side(order, side))
        return dead

    # --- what other rules would do ------------------------------------------------------------------------------------

    @contextmanager
    def edit(self) -> Iterator[None]:
        """Write state directly."""
        self.compare()
        yield
        self.trie.apply(state.write_set())
        self.begin()

    def set_config(self, **config: int) -> None:
        with self.edit():
            market = state.get_market(0)
            for name, value in config.items():
                setattr(market, name, value)
            state.set_market(0, market)

    def set_chain(self, **chain: int) -> None:
        with self.edit():
            state.set_chain(Chain(**chain))

    def quote(self, side: int, price: int, seq: int, *, size: int = 0, others: int = 0, **order: int) -> int:
        """A new account with a position of ``size`` behind ``others``, and one resting order; returns the account."""
        with self.edit():
            account = state.open_account(1)
            for market in range(1, others + 1):
                state.add_position(account, Position(market=market))
            state.add_position(account, Position(size=size, market=0, open_orders=1))
            state.set_order(0, side, price, seq, Order(account=account, lots=5, **order))
        return account

    # --- comparing ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        state.bind(self.ledger)
        state.begin_chunk()
        self.calls, self.results = [], []

    def compare(self) -> None:
        """Replay the calls since the last comparison in the contract; then go on from its state."""
        if not self.calls:
            self.begin()
            return
        books = [self.ledger.work, self.ledger.proof, self.ledger.leaves]
        keys = sorted(self.ledger.touched)
        encoded = witness.encode(witness.build(self.trie, keys, state.observed_ranges()))
        self.trie.apply(state.write_set())
        words = [int.from_bytes(key, "big") for key in keys]
        results, hashes, counted = mock().call("run", words, self.calls, encoded)
        for (name, args), ours, theirs in zip(self.calls, self.results, results, strict=True):
            assert ours == tuple(theirs[:2]), (CALLS[name], args, ours, theirs)
            if CALLS[name] == "publish":
                self.gas.append(theirs[2])
        for key, found in zip(keys, hashes, strict=True):
            value = self.trie.get(key)
            assert found == (bytes(32) if value is None else keccak(value)), key.hex()
        assert books == list(counted)
        self.begin()

    def _note(self, name: str, args: list[int], first: Any, second: int = 0) -> int:
        self.calls.append((CALLS.index(name), (args + [0] * 5)[:5]))
        self.results.append((int(first), second))
        if len(self.calls) == BATCH:
            self.compare()
        return int(first)
