"""The keeper of a replay: screens everyone, asks for liquidations as a real one does, and keeps the record.

Those below zero first, then by how little there is; in an account the largest position first; slice after slice until
nothing more may be done in this block. Between two prices it asks every five seconds about accounts in their buffer,
which is the most of a buffer that one question uses up, and for a few early slices at a time. What a book has just
refused somebody better off it does not ask for somebody worse off. Insurance's own positions are worked off with every
price.
"""

from __future__ import annotations

from typing import Final

from node.cli.crash.chain import Chain
from node.cli.crash.columns import Columns
from node.cli.crash.makers import MAKERS
from node.cli.crash.outcome import Case, Outcome, Stage
from node.stf.params import PPM
from node.stf.types import FLAG_BUFFERED, FLAG_OPT_IN, Board, Receipt, Status, Terms

SLICES_MAX: Final = 16  # asked for one account in one block
EARLY_MAX: Final = 2  # of them early ones
WORK_OFF_MAX: Final = 4
INSURANCE: Final = 0  # the account that stands for it


class Keeper:
    """See the module. ``closeout`` and ``horizon_root`` are the chain's parameters."""

    def __init__(
        self, chain: Chain, columns: Columns, outcome: Outcome, *, closeout: int, buffer_ms: int, horizon_root: int
    ) -> None:
        self._chain = chain
        self._columns = columns
        self._outcome = outcome
        self._open: dict[int, Case] = {}
        self._refused: dict[tuple[int, bool], float] = {}  # (market, sells) -> E / M of the best one refused
        self._closeout, self._buffer_ms, self._horizon_root = closeout, buffer_ms, horizon_root

    def round(self, boards: list[Board]) -> None:
        """Look at everyone after prices and quotes have moved."""
        self._refused.clear()
        equity = self._columns.equity(boards)
        named = self._columns.candidates(boards, self._horizon_root, self._closeout)
        for account in sorted(named, key=lambda account: int(equity[account - 1])):
            self._work(account)
        for market in range(len(boards)):
            self._work_off(market)

    def poke(self, boards: list[Board]) -> None:
        """Ask about those who are in their buffer, between prices. Below close-out there is no buffer to use up."""
        equity, maintenance = self._columns.equity(boards), self._columns.maintenance(boards)
        for account in self.buffered():
            if equity[account - 1] >= maintenance[account - 1] * self._closeout / PPM:
                self._work(account)

    def buffered(self) -> list[int]:
        """Accounts with a running buffer and something to lose."""
        held = (self._columns.size != 0).any(axis=1) & ((self._columns.flags & FLAG_BUFFERED) != 0)
        return [int(at) + 1 for at in held.nonzero()[0]]

    def insured(self, markets: int) -> bool:
        """Whether insurance holds any position."""
        return any(self._chain.market(market).insurance.size for market in range(markets))

    def finish(self) -> None:
        """Close the books at the end of the window: what still runs has no end."""
        self._outcome.cases.extend(self._open.values())
        self._open.clear()

    # --- one account --------------------------------------------------------------------------------------------------

    def _work(self, account: int) -> None:
        health = self._chain.health(account)
        early = 0
        for _ in range(SLICES_MAX):
            if early == EARLY_MAX or not self._concerns(account, health):
                break
            stage, again = self._step(account, health)
            early += stage == Stage.PREDICTIVE
            if stage != Stage.WATCHED:
                health = self._chain.health(account)
            if not again:
                break
        self._close(account, health)

    def _concerns(self, account: int, health: Terms) -> bool:
        if health.maintenance == 0:
            return False
        flags = self._chain.row(account).flags
        if health.equity < health.maintenance or flags & FLAG_BUFFERED:
            return True
        danger = health.equity - health.shock * self._horizon_root // 10**14
        return bool(flags & FLAG_OPT_IN) and danger < health.maintenance * self._closeout // PPM

    def _step(self, account: int, health: Terms) -> tuple[Stage, bool]:
        """One Liquidate in the first market that lets us; what it did, and whether to go on with this account."""
        row = self._chain.row(account)
        positions = sorted([p for p in row.positions if p.size], key=lambda position: -abs(position.cost))
        fresh = not row.flags & FLAG_BUFFERED
        hard = 0 <= health.equity < health.maintenance * self._closeout // PPM
        cover = health.equity / health.maintenance
        for market, sells in [(position.market, position.size > 0) for position in positions]:
            if hard and cover <= self._refused.get((market, sells), -1.0):
                continue
            status, stage = self._liquidate(account, market, health)
            if status == Status.OK:
                return stage, True
            if status in (Status.BUFFERED, Status.RECOVERED):
                return Stage.WATCHED, fresh and status == Status.BUFFERED  # the first call only opens the buffer
            if status == Status.NO_LIQUIDITY and hard:
                self._refused[market, sells] = cover
        return Stage.WATCHED, False

    def _liquidate(self, account: int, market: int, health: Terms) -> tuple[Status, Stage]:
        case = self._case(account, health)
        held = tuple(int(size) for size in self._columns.size[account - 1])
        board = self._chain.board(market)
        before, old_long, old_short = self._chain.market(market).insurance.cash, board.loss_long, board.loss_short
        receipt = self._chain.liquidate(account, market)
        status = receipt.status
        self._outcome.statuses[status.name] += 1
        self._refresh(account, receipt)
        if status == Status.RECOVERED:
            case.recovered = True
        if status != Status.OK:
            return status, Stage.WATCHED
        stage = self._stage(account, health)
        case.stage = max(case.stage, stage)
        case.slices += 1
        if stage >= Stage.SPENT and case.cut_at == 0:
            case.cut_at, case.held = self._chain.time, held
            case.rest = health.equity + health.haircut - self._value(held)
        if stage == Stage.TAKEN:
            after = self._chain.health(account)
            paid = after.equity + after.haircut - health.equity - health.haircut
            shared = self._shared(market, old_long, old_short)
            self._outcome.deficits += paid
            self._outcome.mutualised += shared
            self._outcome.drawn += max(0, paid - shared)
        else:
            gained = self._chain.market(market).insurance.cash - before
            case.penalty += gained
            self._outcome.penalties += gained
        return status, stage

    def _stage(self, account: int, health: Terms) -> Stage:
        """What a Liquidate that changed something was, from the account before and its buffer after."""
        if health.equity + health.haircut < 0:
            return Stage.TAKEN
        if health.equity >= health.maintenance:
            return Stage.PREDICTIVE
        if health.equity < -(-health.maintenance * self._closeout // PPM):
            return Stage.HARD
        return Stage.SPENT if self._chain.row(account).buffer >= self._buffer_ms else Stage.PREDICTIVE

    def _case(self, account: int, health: Terms) -> Case:
        case = self._open.get(account)
        if case is None:
            size = self._columns.size[account - 1]
            notional = sum(abs(int(lots)) * self._mark(market) for market, lots in enumerate(size))
            case = Case(account, self._chain.time, health.equity, health.maintenance, notional)
            self._open[account] = case
        return case

    def _close(self, account: int, health: Terms) -> None:
        """End the account's case if it is out of danger, one way or the other."""
        case = self._open.get(account)
        if case is None or (health.maintenance and health.equity < health.maintenance):
            return
        case.ended_at, case.end_equity = self._chain.time, health.equity
        self._outcome.cases.append(self._open.pop(account))

    # --- insurance ----------------------------------------------------------------------------------------------------

    def _work_off(self, market: int) -> None:
        for _ in range(WORK_OFF_MAX):
            if self._chain.market(market).insurance.size == 0:
                break
            receipt = self._chain.liquidate(INSURANCE, market)
            self._refresh(INSURANCE, receipt)
            if receipt.status != Status.OK:
                self._outcome.statuses[f"insurance {receipt.status.name}"] += 1
                break

    def _shared(self, market: int, old_long: int, old_short: int) -> int:
        """What the accounts bear of a rise of the loss indices."""
        board, size = self._chain.board(market), self._columns.size[:, market]
        longs, shorts = int(size[size > 0].sum()), -int(size[size < 0].sum())
        return (board.loss_long - old_long) * longs + (board.loss_short - old_short) * shorts

    def _mark(self, market: int) -> int:
        board = self._chain.board(market)
        return board.mark * board.tick_value

    def _value(self, held: tuple[int, ...]) -> int:
        return sum(size * self._mark(market) for market, size in enumerate(held))

    def _refresh(self, account: int, receipt: Receipt) -> None:
        met = {account}
        if receipt.fills:
            met |= {fill.maker for fill in receipt.fills} | {fill.taker for fill in receipt.fills}
            met |= set(range(1, MAKERS + 1))
        self._columns.refresh(self._chain, sorted(met - {INSURANCE}))


def insurance_worth(chain: Chain, market: int) -> int:
    """Equity of a market's insurance at the mark: cash and position, funding included. Micro-USD."""
    insurance, board = chain.market(market).insurance, chain.board(market)
    value = insurance.size * (board.mark * board.tick_value - board.funding + insurance.funding)
    return insurance.cash + value - insurance.cost
