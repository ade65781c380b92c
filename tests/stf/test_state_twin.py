"""state.vy does what state.py does: random lists of calls on witnessed leaves, chunk after chunk, compared in every
result, in the books (work, proof bytes, leaves) and in every touched leaf."""

from collections.abc import Iterable
from dataclasses import astuple, fields
from functools import cache
from random import Random
from typing import Any

import pytest

from node.stf import state, witness
from node.stf.engine import genesis_leaves
from node.stf.params import MARKETS_MAX, PRICE_MAX, WORK_LEAF, WORK_TERM
from node.stf.state import Ledger
from node.stf.trie import MemoryTrie, keccak
from node.stf.types import Board, Chain, Insurance, Key, Market, Order, Pending, Position, PriceState, Publisher
from tests.evm import Contract, Evm, Revert

# Numbers of calls in tests/contracts/mocks/StateMock.vy: those below 30 take and return plain numbers.
NUMBERS = {
    "spend_work": 0, "spend_proof": 1, "set_transactions": 2, "set_time": 3, "set_block_number": 4,
    "set_position_number": 5, "set_cursor": 6, "get_next_account": 7, "set_last_anchor": 8, "add_fees": 9,
    "add_deposits": 10, "account_exists": 11, "open_account": 12, "add_collateral": 14,
    "add_open_orders": 16, "get_key_count": 17, "get_position_count": 18, "find_position": 19,
    "remove_position": 20, "create_market": 21, "get_next_seq": 22, "take_seq": 23, "add_open_interest": 24,
    "add_insurance": 25, "get_publisher_count": 26, "get_best": 27, "create_withdrawal": 28,
}
RECORDS = {
    "get_key": 30, "set_key": 31, "get_position": 32, "set_position": 33, "add_position": 34, "get_market": 35,
    "set_market": 36, "get_pending": 37, "set_pending": 38, "get_publisher": 39, "set_publisher": 40, "get_board": 41,
    "set_board": 42, "get_order": 43, "set_order": 44, "get_insurance": 45, "set_insurance": 46, "get_price_state": 47,
    "set_price_state": 48, "get_chain": 49, "set_chain": 50,
}
NUMBERS |= {
    "set_sqrt_tau": 61, "set_level": 62, "set_outflow": 63,
    "set_outflow_limit": 65, "set_account_flags": 67, "set_cancel_at": 68, "set_buffer": 69,
    "add_side_lots": 71, "add_loss": 72, "set_reduced": 73, "set_twap": 75, "get_next": 77, "get_resting": 78,
    "get_jump_price": 79, "get_expiry": 80, "remove_withdrawal": 81,
}
CALLS = NUMBERS | RECORDS
READ_BACK = {  # setters after which the mock returns what the getter says
    "set_transactions": "get_transactions", "set_time": "get_time", "set_block_number": "get_block_number",
    "set_position_number": "get_position_number", "set_cursor": "get_cursor", "add_open_interest": "get_open_interest",
    "set_sqrt_tau": "get_sqrt_tau", "set_level": "get_level", "set_outflow_limit": "get_outflow_limit",
    "set_account_flags": "get_account_flags", "set_cancel_at": "get_cancel_at", "set_outflow": "get_outflow",
    "add_collateral": "get_collateral", "add_open_orders": "get_open_orders", "set_last_anchor": "get_last_anchor",
    "add_fees": "get_fees", "set_buffer": "get_buffer", "set_reduced": "get_reduced", "set_twap": "get_twap",
}
# Layout of every record's fields: bits, or minus the bits of a signed field.
WIDTHS: dict[type, tuple[int, ...]] = {
    Key: (160, 48, 64, 64),
    Position: (-41, -63, -63, -63, 64, 64, 64, 64, 64, 16, 16, 64, 64),
    Board: (32, 48, 32, 8, 24, 24, 24, 24, 32, -64, -64, -64, 64, 64, 24),
    Market: (64, 64, 24, 24, 24, 24, 8, 24, 16, 32, 32, 32, 24, 24, 24, 32, 24, 32, 48),
    PriceState: (32, -64, 48, 64, 32, 48, -64, 48, 32, 48),
    Insurance: (-62, -41, -63, -63),
    Chain: (32, 32, 32, 32, 16, 32, 24),
    Pending: (32, 64, 32, 64, 48, 8, 3, 1, 4),
    Publisher: (160, 32, 48),
    Order: (32, 64, 64, 48, 8, 32),
}

SET_OF_MARKET: dict[str, type] = {
    "set_market": Market, "set_pending": Pending, "set_insurance": Insurance, "set_price_state": PriceState,
}


@cache
def mock() -> Contract:
    return Evm().deploy("mocks/StateMock.vy")


def word(number: int) -> int:
    return number & (2**256 - 1)


def packed(numbers: Iterable[int]) -> bytes:
    """ABI encoding of plain numbers."""
    return b"".join(word(number).to_bytes(32, "big") for number in numbers)


def number(rng: Random, bits: int) -> int:
    """A number of the field's width, often at an edge."""
    low, high = (0, 2**bits - 1) if bits > 0 else (-(2 ** (-bits - 1)), 2 ** (-bits - 1) - 1)
    return rng.choice((low, high, 0, rng.randint(low, high), rng.randint(low, high)))


def record(rng: Random, kind: type, **fixed: int) -> Any:
    values = [number(rng, bits) for bits in WIDTHS[kind]]
    names = [f.name for f in fields(kind)]
    return kind(**dict(zip(names, values, strict=True)) | fixed)


class Chunks:
    """Draws calls that the rules could make, runs them in Python and collects them for the contract."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.trie = MemoryTrie(genesis_leaves())
        self.ledger = Ledger(self.trie, strict=True)
        self.markets: list[int] = []
        self.sums = {"fees": 0}
        self.calls: list[tuple[int, list[int], bytes]] = []
        self.results: list[bytes] = []
        self.made: set[str] = set()

    def run(self, count: int) -> None:
        """One chunk of about ``count`` calls, in Python and in the contract."""
        state.bind(self.ledger)
        state.begin_chunk()
        self.calls, self.results = [], []
        while len(self.calls) < count:
            draws = (self.globals, self.account, self.account, self.account, self.market, self.book, self.book)
            self.rng.choice(draws)()
        books = [self.ledger.work, self.ledger.proof, self.ledger.leaves, self.ledger.leaves]
        keys = sorted(self.ledger.touched)
        encoded = witness.encode(witness.build(self.trie, keys, state.observed_ranges()))
        self.trie.apply(state.write_set())
        words = [int.from_bytes(key, "big") for key in keys]
        results, hashes, counted = mock().call("run", words, self.calls, encoded)
        names = {value: name for name, value in CALLS.items()}
        self.made |= {names[call[0]] for call in self.calls}
        for call, ours, theirs in zip(self.calls, self.results, results, strict=True):
            assert ours == theirs, (names[call[0]], call)
        assert books == [*counted[:3], counted[3].bit_count()]
        for key, found in zip(keys, hashes, strict=True):
            value = self.trie.get(key)
            assert found == (bytes(32) if value is None else keccak(value)), key.hex()

    def call(self, name: str, *args: int, row: Any = None) -> Any:
        """Make a call in Python and note it with its result."""
        result = getattr(state, name)(*args, *(() if row is None else (row,)))
        if name in READ_BACK:
            getter = getattr(state, READ_BACK[name])
            result = getter(*args[: getter.__code__.co_argcount])
        if name in NUMBERS:
            returned = (*(result if isinstance(result, tuple) else (result or 0,)), 0)[:2]
        elif isinstance(result, int):
            returned = (result,)
        else:
            returned = () if result is None else astuple(result)
        given = b"" if row is None else packed(astuple(row))
        self.calls.append((CALLS[name], [word(a) for a in (*args, 0, 0, 0, 0)[:4]], given))
        self.results.append(packed(returned))
        return result

    def globals(self) -> None:
        rng = self.rng
        name = rng.choice(("spend_work", "spend_proof", "set_transactions", "set_time", "set_block_number", "add_fees",
                           "set_position_number", "set_cursor", "get_next_account", "set_last_anchor", "add_deposits",
                           "set_sqrt_tau", "set_level", "set_outflow",
                           "set_outflow_limit", "get_resting", "get_chain", "set_chain"))
        if name in ("get_next_account", "get_resting", "get_chain"):
            self.call(name)
        elif name == "set_chain":
            self.call(name, row=record(rng, Chain))
        elif name == "set_level":
            self.call(name, number(rng, 8))
        elif name == "set_outflow":
            self.call(name, number(rng, 64), number(rng, 64))
        elif name == "add_fees":
            self.call(name, rng.randint(-min(self.ledger.g.fees, 2**40), 2**40))
        elif name == "add_deposits":
            self.call(name, rng.randrange(2**50))
        elif name.startswith("spend"):
            self.call(name, rng.randrange(2**20))
        else:
            self.call(name, number(rng, 64))

    def account(self) -> None:
        rng, last = self.rng, self.ledger.g.next_account - 1
        if last == 0 or (last < 6 and rng.random() < 0.1):
            self.call("open_account", number(rng, 160))
            return
        self.call("account_exists", rng.choice((0, last, last + 1)))
        account = rng.randint(1, last)
        name = rng.choice(("add_collateral", "add_open_orders", "get_key_count",
                           "get_key", "set_key", "get_position_count", "position", "position", "create_withdrawal",
                           "remove_withdrawal",
                           "set_account_flags", "set_cancel_at", "set_buffer"))
        if name == "position":
            self.position(account)
        elif name == "add_collateral":
            self.call(name, account, number(rng, -62) - state.get_collateral(account))
        elif name == "add_open_orders":
            self.call(name, account, number(rng, 16) - state.get_open_orders(account))
        elif name == "get_key":
            self.call(name, account, rng.randrange(6))
        elif name == "set_key":
            self.call(name, account, rng.randrange(4), row=record(rng, Key))
        elif name == "set_account_flags":
            self.call(name, account, number(rng, 8))
        elif name == "set_cancel_at":
            self.call(name, account, number(rng, 48))
        elif name == "set_buffer":
            self.call(name, account, number(rng, 32), number(rng, 48))
        elif name == "create_withdrawal":
            self.call(name, number(rng, 160), rng.randrange(2**50))
        elif name == "remove_withdrawal":
            made = self.ledger.g.next_withdrawal
            self.call(name, rng.choice((0, 1, made - 1, made, rng.randrange(made), 2**64 - 1)))
        else:
            self.call(name, account)

    def position(self, account: int) -> None:
        rng, count = self.rng, state.get_position_count(account)
        if count < 8 and rng.random() < 0.4:
            self.call("add_position", account, row=record(rng, Position))
            return
        self.call("find_position", account, rng.choice((0, 2**16 - 1, rng.randrange(2**16))))
        if count == 0:
            return
        index = rng.randrange(count)
        row = self.call("get_position", account, index)
        self.call("find_position", account, row.market)
        if rng.random() < 0.3:
            self.call("set_position", account, index, row=record(rng, Position, size=0, cost=0))
            self.call("remove_position", account, index)
        else:
            self.call("set_position", account, index, row=record(rng, Position))

    def market(self) -> None:
        rng = self.rng
        market = rng.choice((0, 7, 8, 15, MARKETS_MAX - 1))
        board = rng.choice((market, MARKETS_MAX, 2**16 - 1))
        self.call("get_board", board)
        if board < MARKETS_MAX and rng.random() < 0.5:
            self.call("set_board", board, row=record(rng, Board))
        if market not in self.markets:
            self.markets.append(market)
            self.call("create_market", market)
        name = rng.choice(("get_next_seq", "take_seq", "add_open_interest", "add_insurance", "get_publisher_count",
                           "get_market", "set_market", "get_pending", "set_pending", "get_publisher", "set_publisher",
                           "get_insurance", "set_insurance", "get_price_state", "set_price_state", "add_side_lots",
                           "add_loss", "set_reduced", "set_twap", "get_jump_price", "get_expiry"))
        if name == "add_open_interest":
            self.call(name, market, number(rng, 64) - state.get_open_interest(market))
        elif name == "add_insurance":
            self.call(name, market, number(rng, -62) - state.get_insurance(market).cash)
        elif name.endswith("_publisher"):
            row = record(rng, Publisher) if name == "set_publisher" else None
            self.call(name, market, rng.randrange(8), row=row)
        elif name in SET_OF_MARKET:
            self.call(name, market, row=record(rng, SET_OF_MARKET[name]))
        elif name == "add_side_lots":
            self.call(name, market, number(rng, -41), number(rng, -41))
        elif name == "add_loss":
            side = rng.randrange(2)
            board = state.get_board(market)
            room = number(rng, -63) - (board.loss_short if side else board.loss_long)
            self.call(name, market, side, number(rng, -41), room)
        elif name == "set_reduced":
            self.call(name, market, number(rng, 64), number(rng, 64))
        elif name == "set_twap":
            self.call(name, market, number(rng, 64), number(rng, 32))
        else:
            self.call(name, market)

    def book(self) -> None:
        rng = self.rng
        market, side = rng.choice((0, 0, 0, MARKETS_MAX - 1)), rng.randrange(4)
        if rng.random() < 0.4:
            price, seq = self.call("get_best", market, side)
            for _ in range(rng.randrange(3)):
                if (price, seq) != (0, 0):
                    price, seq = self.call("get_next", market, side, price, seq)
        else:
            price, seq = rng.choice((0, 1, 600_000, 600_001, PRICE_MAX)), rng.choice((0, 1, 2, 77, 2**64 - 1))
        self.call("get_order", market, side, price, seq)
        kind = rng.random()
        if kind < 0.4:
            row = record(rng, Order)
            row.lots = max(row.lots, 1)
            self.call("set_order", market, side, price, seq, row=row)
        elif kind < 0.7:
            self.call("set_order", market, side, price, seq, row=Order())


@pytest.mark.parametrize("seed", range(10))
def test_random_calls_agree(seed: int) -> None:
    chunks = Chunks(seed)
    for _ in range(50):
        chunks.run(60)
    assert chunks.made == set(CALLS)


def test_every_call_of_the_rules_is_compared() -> None:
    """The mock's list is complete: every function of state.vy that is not private or the chunk's own is in it."""
    from contracts.build import CONTRACTS_DIR

    text = (CONTRACTS_DIR / "stf" / "state.vy").read_text()
    public = {line[4:].split("(")[0] for line in text.splitlines() if line.startswith("def ")}
    public = {name for name in public if not name.startswith("_") and not name.endswith(("_key", "_prefix"))}
    public |= {"get_key", "set_key"}
    inside = {"begin_chunk", "end_chunk", "get_work", "get_proof", "get_leaves"} | set(READ_BACK.values())
    assert public - set(CALLS) == inside


def test_a_leaf_that_the_witness_lacks_reverts() -> None:
    trie = MemoryTrie(genesis_leaves())
    encoded = witness.encode(witness.build(trie, [state.GLOBAL_KEY]))
    with pytest.raises(Revert, match="BAD_WITNESS"):
        mock().call("run", [], [(CALLS["get_board"], [0, 0, 0, 0], b"")], encoded)


def test_unit_costs_of_state(capsys: pytest.CaptureFixture[str]) -> None:
    """Gas of the common calls, on an account with eight positions; what the WORK constants stand for is above it."""
    ledger = Ledger(MemoryTrie(genesis_leaves()), strict=True)
    state.bind(ledger)
    state.begin_chunk()
    rng = Random(1)
    account = state.open_account(1)
    state.create_market(9)
    for slot in range(8):
        state.set_publisher(9, slot, record(rng, Publisher))
        state.add_position(account, record(rng, Position, market=slot))
        state.set_board(8 + slot, record(rng, Board))
        state.set_order(9, 0, 600_000 + slot, 1, Order(account, 1, 1, 1, 0))
    trie = MemoryTrie(genesis_leaves())
    trie.apply(state.write_set())
    touched = set(ledger.touched)
    encoded = witness.encode(witness.build(trie, touched, [(b"O" + bytes(31), b"O" + b"\xff" * 31)]))
    gas = Evm().deploy("mocks/StateMeter.vy").call("meter", encoded, account, 7, 9)
    names = ("first touch", "get_collateral", "get_position", "set_position", "get_board", "get_market",
             "get_best, first look", "get_best", "get_order", "set_order", "find_position, the last", "get_time")
    costs = dict(zip(names, gas, strict=True))
    with capsys.disabled():
        print("\ngas of state.vy:", ", ".join(f"{name} {units}" for name, units in costs.items()))
    assert costs["first touch"] <= WORK_LEAF
    assert costs["get_position"] + costs["get_board"] <= WORK_TERM
