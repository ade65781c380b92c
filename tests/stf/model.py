"""An independent model of the venue's money: cash and sizes, moved by what happened, never by the rules' own code.

It watches a world's transactions. It knows deposits, fills, withdrawals and the two indices, and from them says what
every account and every market's insurance must own, to the micro-USD: no costs, no snapshots, no tries. What it cannot
see from outside it works out: a liquidation of an account whose equity is negative by its own sum is a takeover, so it
moves position, deficit and shared loss itself, and the rules must have done the same.

    cash        + sold - bought - fees, at the prices of fills; - size * change of the funding index;
                - |size| * change of the side's loss index
    takeover    position to insurance at the mark; insurance pays D_m = ceil(D * M_m / M), or all of D for the last;
                R = D_m - max(0, insurance's equity in the market) is shared: index += ceil(R / open interest), at most
                what a lot is worth; insurance bears the part of its own lots
    settlement  position to insurance at the mark

`holder` is an account, or -1 - market for a market's insurance.
"""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from fractions import Fraction

from node.stf import state
from node.stf.params import MARKETS_MAX, PPM, REST_FEE
from node.stf.types import (
    ADMIN,
    DEPOSIT,
    FLAG_BUFFERED,
    FORCED,
    FUND_INSURANCE,
    HALTED,
    INBOX,
    LIQUIDATE,
    ORACLE_PRICE,
    SETTLE,
    WITHDRAW,
    Board,
    Fill,
    PriceState,
    Receipt,
    Status,
)
from tests.stf.messages import INSURANCE_ACCOUNTS
from tests.stf.world import World

FUNDING_UNIT = 28_800_000 << 16  # a basis of one tick, 2**16 units, costs one tick of price in eight hours
HOUR_MS = 3_600_000
# what can become of an account under margin, as the names of events
RUNGS = (
    "buffer starts", "buffer drains", "recovered", "early slice", "opted-in slice", "hard slice", "penalty",
    "taken over", "mutualised", "insurance negative", "worked off", "settled",
)  # fmt: skip
MESSAGE = 256  # added to the kind of a message: the kinds of transactions and of messages count alike from 1


def insurance(market: int) -> int:
    """Holder number of a market's insurance."""
    return -1 - market


def ceil_div(a: int, b: int) -> int:
    """Smallest integer >= a / b."""
    return -(-a // b)


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """A little-endian base-128 number; its value and where the next field starts."""
    value = shift = 0
    while data[pos] >= 0x80:
        value |= (data[pos] & 0x7F) << shift
        shift, pos = shift + 7, pos + 1
    return value | data[pos] << shift, pos + 1


class Model:
    """The books of one world from genesis on. ``audit`` is called after every transaction; tests may call it too."""

    def __init__(self, world: World) -> None:
        assert world.engine.globals.position == 0, "the model must see everything from the first transaction on"
        self.world = world
        self.cash: dict[int, int] = defaultdict(int)
        self.sizes: dict[tuple[int, int], int] = defaultdict(int)
        self.owners: dict[int, int] = {}
        self.forfeits: dict[int, int] = defaultdict(int)  # rest fees lost with dead orders
        self.held: dict[int, int] = defaultdict(int)  # resting orders
        self.fees = self.deposits = self.withdrawn = 0
        self.boards: dict[int, Board] = {}
        self.prices: dict[int, PriceState] = {}
        self.dated: dict[int, bool] = {}
        self.accrued: dict[int, Fraction] = defaultdict(Fraction)  # funding index before it was cut to whole micro-USD
        self.buffers: dict[int, tuple[int, bool]] = {}
        self.events: list[str] = []  # takeovers and the like, for coverage
        self.reduced: dict[int, tuple[int, int]] = {}  # block and lots of early reductions
        self.reduced_before: dict[int, tuple[int, int]] = {}
        self.look()
        world.observers.append(self.observe)

    # --- what the world shows -----------------------------------------------------------------------------------------

    def look(self) -> None:
        """Read boards and price states, leaving no trace in the chunk's books."""
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        for market in range(MARKETS_MAX):
            board = state.get_board(market)
            if board.status:
                self.boards[market] = copy(board)
                self.prices[market] = copy(state.get_price_state(market))
                self.reduced[market] = state.get_reduced(market)
                self.dated[market] = state.get_market(market).expiry != 0
        engine.retract(mark)

    def observe(self, transaction: bytes, receipt: Receipt) -> None:
        """Follow one executed transaction, then compare everything."""
        old, old_prices, self.reduced_before = dict(self.boards), dict(self.prices), dict(self.reduced)
        self.look()
        kind, body = transaction[0], transaction[1:]
        if kind == INBOX and receipt.status != Status.NO_MESSAGE:
            kind, body = self.open_message(self.world.inbox[self.world.engine.globals.cursor - 1])
        self.accrue(kind, old, old_prices)
        if kind == LIQUIDATE and receipt.status != Status.FORCED_INVALID:
            self.note_buffer(body, receipt.status)
        if kind == LIQUIDATE and receipt.status == Status.OK:
            self.liquidate(body, receipt, old)
        else:
            for fill in receipt.fills:
                self.fill(fill)
        if kind == MESSAGE + DEPOSIT and receipt.status == Status.OK:
            self.deposit(body)
        elif kind == WITHDRAW and receipt.status == Status.OK:
            self.withdraw(body)
        elif kind == MESSAGE + ADMIN and receipt.status == Status.OK and body[0] == FUND_INSURANCE:
            amount = int.from_bytes(body[3:11], "big")
            self.fees -= amount
            self.cash[insurance(int.from_bytes(body[1:3], "big"))] += amount
        elif kind == SETTLE and receipt.status == Status.OK:
            account, pos = read_varint(body, 0)
            self.hand_over(account, read_varint(body, pos)[0])
            self.events.append("settled")
        self.audit()

    def open_message(self, message: bytes) -> tuple[int, bytes]:
        """Kind and body of what a message makes happen; a forced transaction's are its own."""
        kind, payload = message[0], message[29:]
        if kind == FORCED:
            return (payload[0], payload[1:]) if payload else (MESSAGE, b"")
        return MESSAGE + kind, payload

    # --- what happens -------------------------------------------------------------------------------------------------

    def accrue(self, kind: int, old: dict[int, Board], old_prices: dict[int, PriceState]) -> None:
        """Charge the funding index's change to every size; check it against exact accrual."""
        for market, board in self.boards.items():
            before = old.get(market)
            if before is None:
                continue
            change = board.funding - before.funding
            assert change == 0 or kind == ORACLE_PRICE, "funding moves with publications only"
            for (holder, where), size in self.sizes.items():
                if where == market:
                    self.cash[holder] -= size * change
            price, now = old_prices[market], self.prices[market]
            if now.funding_time != price.funding_time and price.funding_time != 0:
                end = min(now.funding_time, before.mark_time + before.stale_ms)
                fresh = min(max(0, end - price.funding_time), HOUR_MS)
                if not self.dated[market]:
                    self.accrued[market] += Fraction(price.basis * board.tick_value * fresh, FUNDING_UNIT)
            assert abs(board.funding - self.accrued[market]) < 1, "funding is the exact sum, cut to whole micro-USD"

    def fill(self, fill: Fill) -> None:
        """Both sides of a trade. Insurance trades as account 0."""
        taker = fill.taker if fill.taker else insurance(fill.market)
        value = fill.price * fill.lots * self.boards[fill.market].tick_value
        sign = 1 if fill.taker_side == 0 else -1
        self.cash[taker] -= sign * value + fill.taker_fee
        self.cash[fill.maker] += sign * value - fill.maker_fee
        self.fees += fill.taker_fee + fill.maker_fee
        self.sizes[(taker, fill.market)] += sign * fill.lots
        self.sizes[(fill.maker, fill.market)] -= sign * fill.lots

    def deposit(self, body: bytes) -> None:
        """Money from L1: to insurance, to the named account if it is the owner's, else to a new one."""
        account, owner = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:24], "big")
        amount = int.from_bytes(body[24:32], "big")
        self.deposits += amount
        if account >= INSURANCE_ACCOUNTS and account - INSURANCE_ACCOUNTS in self.boards:
            self.cash[insurance(account - INSURANCE_ACCOUNTS)] += amount
            return
        if self.owners.get(account) != owner:
            account = len(self.owners) + 1
            self.owners[account] = owner
        self.cash[account] += amount

    def withdraw(self, body: bytes) -> None:
        account, pos = read_varint(body, 0)
        for _ in range(2):  # nonce and expiry
            _time, pos = read_varint(body, pos)
        amount, _pos = read_varint(body, pos + 20)
        self.cash[account] -= amount
        self.withdrawn += amount

    def liquidate(self, body: bytes, receipt: Receipt, old: dict[int, Board]) -> None:
        """A slice with its penalty, or a takeover when the account owes more than it has."""
        account, pos = read_varint(body, 0)
        market, _pos = read_varint(body, pos)
        if account == 0:
            for fill in receipt.fills:
                self.fill(fill)
            self.events.append("worked off")
            return
        equity, parts = self.health(account, old)
        if equity < 0:
            assert not receipt.fills, "a takeover trades with nobody"
            self.take_over(account, market, -equity, parts, old)
            return
        for fill in receipt.fills:
            self.fill(fill)
        penalty = self.insured_value(market) - self.cash[insurance(market)]
        self.cash[account] -= penalty
        self.cash[insurance(market)] += penalty
        self.judge_penalty(penalty, market, receipt, equity, parts)

    def note_buffer(self, body: bytes, status: Status) -> None:
        """Whether a call started somebody's latency buffer, used some of it up, or ended it."""
        account, _pos = read_varint(body, 0) if body else (0, 0)
        if account not in self.owners:
            return
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        used = state.get_buffer(account)[0]
        buffered = state.get_account_flags(account) & FLAG_BUFFERED != 0
        engine.retract(mark)
        was_used, was_buffered = self.buffers.get(account, (0, False))
        if buffered and not was_buffered:
            self.events.append("buffer starts")
        elif buffered and used > was_used:
            self.events.append("buffer drains")
        elif was_buffered and not buffered:
            assert status == Status.RECOVERED, "only health ends the buffer"
            self.events.append("recovered")
        self.buffers[account] = (used, buffered)

    def judge_penalty(self, penalty: int, market: int, receipt: Receipt, equity: int, parts: dict[int, int]) -> None:
        """It rises in a straight line from maintenance to close-out, on what was filled; early slices have none."""
        config, chain = self.config(market)
        maintenance = sum(parts.values())
        closeout = ceil_div(maintenance * chain.closeout, PPM)
        filled = sum(f.lots * f.price for f in receipt.fills) * self.boards[market].tick_value
        span = maintenance - closeout
        ppm = ceil_div(config.penalty * min(max(0, maintenance - equity), span), span) if span else config.penalty
        assert 0 <= penalty <= ceil_div(filled * ppm, PPM), "penalties follow the ramp"
        if self.reduced[market] != self.reduced_before.get(market):
            assert penalty == 0, "early reduction costs nothing"
            self.events.append("opted-in slice" if equity >= maintenance else "early slice")
        elif receipt.fills:
            self.events.append("hard slice")
            self.events += ["penalty"] if penalty else []

    def health(self, account: int, boards: dict[int, Board]) -> tuple[int, dict[int, int]]:
        """Equity at the last marks, however stale, and maintenance by market, at given boards."""
        equity = self.cash[account] - REST_FEE * self.held[account] - self.forfeits[account]
        parts = {}
        for market, board in boards.items():
            size = self.sizes[(account, market)]
            if size:
                notional = abs(size) * board.mark * board.tick_value
                slope = notional // board.impact if board.impact else 0
                rate = min(board.mm_cap, board.mm_base + slope) if board.impact else board.mm_base
                parts[market] = ceil_div(notional * rate, PPM)
                equity += size * board.mark * board.tick_value
        return equity, parts

    def take_over(
        self, account: int, market: int, deficit: int, parts: dict[int, int], old: dict[int, Board]
    ) -> None:
        """Insurance takes the position at the mark and pays its share of the deficit, and others what it lacks."""
        board, side = old[market], 1 if self.sizes[(account, market)] > 0 else -1
        holder = insurance(market)
        own = self.cash[holder] + self.sizes[(holder, market)] * board.mark * board.tick_value
        share = deficit if len(parts) == 1 else ceil_div(deficit * parts[market], sum(parts.values()))
        interest = sum(size for (_h, m), size in self.sizes.items() if m == market and size > 0)
        self.hand_over(account, market, board)
        self.cash[account] += share
        self.cash[holder] -= share
        lacks = max(0, share - max(0, own))
        against = {h: s for (h, m), s in self.sizes.items() if m == market and h > 0 and s * side < 0}
        lots = sum(abs(size) for size in against.values())
        # insurance bears the part of its own lots, and what is more than a lot is worth
        shared = min(ceil_div(lacks, interest), board.mark * board.tick_value) if lots else 0
        after = self.boards[market]
        moved = (after.loss_short - board.loss_short) if side > 0 else (after.loss_long - board.loss_long)
        other = (after.loss_long - board.loss_long) if side > 0 else (after.loss_short - board.loss_short)
        if after.status == HALTED != board.status:
            shared = 0  # an index at its bound halts the market instead
            self.events.append("index bound")
        assert (moved, other) == (shared, 0), f"loss indices moved {moved} and {other}, not {shared} and 0"
        for other_holder, size in against.items():
            self.cash[other_holder] -= abs(size) * shared
        self.cash[holder] += lots * shared
        self.events.append("mutualised" if shared else "insurance negative" if lacks else "taken over")

    def hand_over(self, account: int, market: int, board: Board | None = None) -> None:
        """A position becomes insurance's at the mark."""
        board = board or self.boards[market]
        size = self.sizes.pop((account, market), 0)
        value = size * board.mark * board.tick_value
        self.cash[account] += value
        self.cash[insurance(market)] -= value
        self.sizes[(insurance(market), market)] += size

    # --- comparing ----------------------------------------------------------------------------------------------------

    def config(self, market: int) -> tuple[state.Market, state.Chain]:
        """Parameters of a market and of the chain."""
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        found = copy(state.get_market(market)), copy(state.get_chain())
        engine.retract(mark)
        return found

    def insured_value(self, market: int) -> int:
        """What the rules say insurance owns of a market before its mark: cash - cost - size * (F - snapshot)."""
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        own = state.get_insurance(market)
        value = own.cash - own.cost - own.size * (self.boards[market].funding - own.funding)
        engine.retract(mark)
        assert own.size == self.sizes[(insurance(market), market)], f"insurance of {market} holds {own.size}"
        return value

    def audit(self) -> None:
        """Every account, every market, every total."""
        engine = self.world.engine
        mark = engine.mark()
        engine.bind()
        totals = {"accounts": 0, "losses": 0, "insurance": 0}
        for account in range(1, engine.globals.next_account):
            self.audit_account(account, totals)
        for market in self.boards:
            self.audit_market(market, totals)
        self.audit_totals(totals)
        engine.retract(mark)

    def audit_account(self, account: int, totals: dict[str, int]) -> None:
        """One account's money before marks, its sizes, and the slots it has."""
        value = booked = state.get_collateral(account)
        found = set()
        for index in range(state.get_position_count(account)):
            p, board = state.get_position(account, index), self.boards[state.get_position(account, index).market]
            loss = 0 if p.size == 0 else board.loss_long if p.size > 0 else board.loss_short
            owed = abs(p.size) * (loss - p.loss) if p.size else 0
            value -= p.cost + p.size * (board.funding - p.funding) + owed
            booked += p.size * p.funding - p.cost
            totals["losses"] += owed
            assert p.size == self.sizes[(account, p.market)], f"account {account} holds {p.size} in {p.market}"
            assert p.size != 0 or p.cost == 0
            found.add(p.market)
        missing = [m for m in self.boards if m not in found and self.sizes[(account, m)]]
        assert not missing, f"account {account} has no position in {missing}"
        self.held[account] = state.get_open_orders(account)
        lost = self.cash[account] - value - REST_FEE * self.held[account]
        assert lost % REST_FEE == 0, f"account {account} owns {value} before marks, the model says {lost} more"
        assert lost >= self.forfeits[account], f"account {account} gained {self.forfeits[account] - lost} from nowhere"
        self.forfeits[account] = lost
        totals["accounts"] += booked

    def audit_market(self, market: int, totals: dict[str, int]) -> None:
        """Insurance's money, sizes that cancel out, and open interest."""
        value = self.insured_value(market)
        own = state.get_insurance(market)
        due = self.cash[insurance(market)]
        assert value == due, f"insurance of {market} owns {value} before its mark, the model says {due}"
        totals["insurance"] += own.cash + own.size * own.funding - own.cost
        sizes = [size for (_holder, where), size in self.sizes.items() if where == market]
        assert sum(sizes) == 0, f"sizes of market {market} are {sum(sizes)} apart"
        longs = sum(size for size in sizes if size > 0)
        assert state.get_open_interest(market) == longs, f"open interest of {market} is not {longs}"

    def audit_totals(self, totals: dict[str, int]) -> None:
        """The conservation law, and each of its terms from the rows."""
        g = self.world.engine.globals
        assert g.accounts_total + g.insurance_total + g.fees - g.losses_total == g.deposits - g.withdrawn
        assert (g.accounts_total, g.insurance_total) == (totals["accounts"], totals["insurance"])
        assert g.losses_total == totals["losses"], "losses are what positions have not settled yet"
        assert (g.deposits, g.withdrawn) == (self.deposits, self.withdrawn)
        held = REST_FEE * sum(self.held.values())
        assert g.resting == sum(self.held.values())
        assert g.fees == self.fees + held + sum(self.forfeits.values()), "fees are those of fills and of resting orders"
