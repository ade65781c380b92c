"""Plays a story's rows on a world: verbs for everybody who can act, and the facts that a row may claim afterwards.

Every transaction is watched by the independent model of `tests/stf/model.py`, so money is compared after each line.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from fractions import Fraction

from node.stf import finality, margin, state
from node.stf.types import (
    ACTIONS,
    FLAG_BUFFERED,
    FLAG_OPT_IN,
    NO_INDEX,
    Action,
    Fill,
    Receipt,
    Status,
)
from tests.differential.chunks import DifferentialWorld
from tests.scenarios import units
from tests.scenarios.reader import Row
from tests.scenarios.units import LOTS, TICK_VALUE, TICKS, USD
from tests.stf.model import Model
from tests.stf.resting import check_resting
from tests.stf.world import World

OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}
MARKET_STATUS = {1: "OPEN", 2: "REDUCE_ONLY", 3: "HALTED", 4: "SETTLING"}
NUMBER = r"-?\d[\d,]*(?:\.\d+)?"

Perform = Callable[["Stage", str, str], None]


class Stage:
    """One story's world, its people and markets by name, and the last receipts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = world.model if isinstance(world, DifferentialWorld) else Model(world)
        self.accounts: dict[str, int] = {}
        self.markets: dict[str, int] = {}
        self.base: dict[str, dict[str, object]] = {}
        self.remembered: dict[str, Fraction] = {}
        self.receipts: list[Receipt] = []
        self.next_client_id = 1_000
        world.block(world.l1_time * 1000)

    def play(self, row: Row, perform: Perform) -> None:
        """Do what a row says, then hold the world to what it claims. Raises AssertionError or ValueError."""
        self.receipts = []
        if row.does:
            perform(self, row.who, row.does)
        claims = list(row.then)
        if self.receipts:
            expected = claims.pop(0) if claims and re.fullmatch(r"[A-Z_]+(, [A-Z_]+)*", claims[0]) else "OK"
            found = self.statuses()
            wanted = expected.split(", ")
            wanted = wanted if len(wanted) == len(found) else wanted * len(found)
            assert found == wanted, f"answered {', '.join(found)}, not {expected}"
        for claim in claims:
            self.hold(claim)
        check_resting(self.world)

    def statuses(self) -> list[str]:
        """One name for each action of a list, else for each transaction of the row."""
        last = self.receipts[-1]
        if last.kind == ACTIONS and last.status == Status.OK:
            return [Status(s).name for s in last.action_statuses]
        return [Status(last.status).name]

    def run(self, transaction: bytes) -> Receipt:
        self.receipts.append(self.world.run(transaction))
        return self.receipts[-1]

    def account(self, name: str) -> int:
        if name not in self.accounts:
            raise ValueError(f"{name!r} has no account yet: let them deposit first")
        return self.accounts[name]

    def market(self, name: str) -> int:
        if name not in self.markets:
            raise ValueError(f"there is no market {name!r}: let the admin open it")
        return self.markets[name]

    def orders(self, who: str, *listed: Action) -> None:
        self.receipts.append(self.world.actions(self.account(who), *listed))

    def client_id(self, text: str | None) -> int:
        self.next_client_id += 1
        return int(text) if text else self.next_client_id

    # --- claims -------------------------------------------------------------------------------------------------------

    def hold(self, claim: str) -> None:
        """Check one claim of a row's last cell."""
        if claim == "fills nothing":
            assert not self.fills(), f"filled {self.fills()}"
        elif match := re.fullmatch(rf"fills ({NUMBER})(?: at ({NUMBER}))?", claim):
            found = sum(fill.lots for fill in self.fills())
            assert found == units.lots(match[1]), f"filled {found / LOTS}"
            prices = {fill.price for fill in self.fills()}
            assert match[2] is None or prices == {units.price(match[2])}, f"filled at {sorted(prices)} ticks"
        elif match := re.fullmatch(r"remember (.+) as (\w+)", claim):
            self.remembered[match[2]] = self.value(match[1])
        elif match := re.fullmatch(r"(\w+)\.status = ([A-Z_]+)", claim):
            found_status = MARKET_STATUS[int(self.fact(match[1], "status"))]
            assert found_status == match[2], f"{match[1]} is {found_status}"
        elif match := re.fullmatch(r"(.+?) (=|!=|<|>|<=|>=) (.+)", claim):
            left, right = self.value(match[1]), self.value(match[3])
            assert OPERATORS[match[2]](left, right), f"{claim}: it is {_shown(left)} against {_shown(right)}"
        else:
            raise ValueError(f"a claim is `status; fills 1 at 2; remember x as y; x < y + z`, not {claim!r}")

    def fills(self) -> list[Fill]:
        return [fill for receipt in self.receipts for fill in receipt.fills]

    def value(self, text: str) -> Fraction:
        """A sum of numbers, remembered names and facts like `alice.equity`."""
        total, sign = Fraction(0), 1
        for token in re.split(r" ([+-]) ", text.strip()):
            if token in "+-":
                sign = 1 if token == "+" else -1
            elif token in self.remembered:
                total += sign * self.remembered[token]
            elif "." in token and not token[0].isdigit() and token[0] != "-":
                subject, fact = token.split(".", 1)
                total += sign * self.fact(subject, fact)
            else:
                total += sign * units.number(token)
        return total

    def fact(self, subject: str, fact: str) -> Fraction:
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        try:
            if subject == "chain":
                return self.chain_fact(fact)
            if subject in self.markets:
                return self.market_fact(subject, fact)
            return self.account_fact(subject, fact)
        finally:
            engine.retract(mark)

    def account_fact(self, name: str, fact: str) -> Fraction:
        """Money in USD, sizes in coins, times in seconds."""
        account = self.account(name)
        if fact in self.markets:
            index = state.find_position(account, self.markets[fact])
            return Fraction(0 if index == NO_INDEX else state.get_position(account, index).size, LOTS)
        if fact in ("equity", "initial", "maintenance"):
            return Fraction(getattr(margin.health(account), fact), USD)
        flags = state.get_account_flags(account)
        facts = {
            "collateral": Fraction(state.get_collateral(account), USD),
            "orders": Fraction(state.get_open_orders(account)),
            "buffered": Fraction(int(flags & FLAG_BUFFERED != 0)),
            "opted": Fraction(int(flags & FLAG_OPT_IN != 0)),
            "used": Fraction(state.get_buffer(account)[0], 1_000),
        }
        if fact not in facts:
            raise ValueError(f"an account has no {fact!r}; it has a size in {[*self.markets]} and {[*facts]}")
        return facts[fact]

    def market_fact(self, name: str, fact: str) -> Fraction:
        """Prices and money in USD, sizes in coins; funding in USD a coin."""
        market = self.market(name)
        engine = self.world.engine
        engine.bind()
        board, own, prices = state.get_board(market), state.get_insurance(market), state.get_price_state(market)
        worth = own.cash + own.size * board.mark * TICK_VALUE - own.cost - own.size * (board.funding - own.funding)
        facts = {
            "mark": Fraction(board.mark, TICKS),
            "index": Fraction(prices.index, TICKS),
            "basis": Fraction(prices.basis, TICKS << 16),
            "funding": Fraction(board.funding * LOTS, USD),
            "insurance": Fraction(worth, USD),
            "cash": Fraction(own.cash, USD),
            "insured": Fraction(own.size, LOTS),
            "interest": Fraction(state.get_open_interest(market), LOTS),
            "loss_long": Fraction(board.loss_long * LOTS, USD),
            "loss_short": Fraction(board.loss_short * LOTS, USD),
            "status": Fraction(finality.market_status(market, board)),
            "risk": Fraction(board.risk),
        }
        if fact not in facts:
            raise ValueError(f"a market has no {fact!r}; it has {[*facts]}")
        return facts[fact]

    def chain_fact(self, fact: str) -> Fraction:
        g = self.world.engine.globals
        facts = {
            "level": Fraction(state.get_level()),
            "fees": Fraction(g.fees, USD),
            "losses": Fraction(g.losses_total, USD),
            "withdrawn": Fraction(g.withdrawn, USD),
            "deposits": Fraction(g.deposits, USD),
            "time": Fraction(g.time, 1_000),
        }
        if fact not in facts:
            raise ValueError(f"the chain has no {fact!r}; it has {[*facts]}")
        return facts[fact]


def _shown(value: Fraction) -> str:
    return f"{float(value):,.8f}".rstrip("0").rstrip(".")
