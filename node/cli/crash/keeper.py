"""The keeper of a replay: screens everyone, asks for liquidations as a real one does, and keeps the record.

Below zero first, then by how little equity covers maintenance; in an account the largest position first; slice after
slice until nothing more may be done in this block. A buffered account is asked about every five seconds, the most
that one question uses up of its buffer. Insurance's own positions are worked off in every block.
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
        self._closeout, self._buffer_ms, self._horizon_root = closeout, buffer_ms, horizon_root

    def round(self, boards: list[Board]) -> None:
        """Look at everyone after prices have moved."""
        equity = self._columns.equity(boards)
        named = self._columns.candidates(boards, self._horizon_root, self._closeout)
        for account in sorted(named, key=lambda account: int(equity[account - 1])):
            self._work(account)
        self._work_off(boards)

    def poke(self) -> None:
        """Ask about those who are in their buffer, between prices."""
        for account in self.buffered():
            self._work(account)

    def buffered(self) -> list[int]:
        """Accounts with a running buffer and something to lose."""
        held = (self._columns.size != 0).any(axis=1) & ((self._columns.flags & FLAG_BUFFERED) != 0)
        return [int(at) + 1 for at in held.nonzero()[0]]

    def finish(self) -> None:
        """Close the books at the end of the window: what still runs has no end."""
        self._outcome.cases.extend(self._open.values())
        self._open.clear()

    # --- one account --------------------------------------------------------------------------------------------------

    def _work(self, account: int) -> None:
        for _ in range(SLICES_MAX):
            health = self._chain.health(account)
            if not self._concerns(account, health) or not self._step(account, health):
                break
        self._close(account)

    def _concerns(self, account: int, health: Terms) -> bool:
        if health.maintenance == 0:
            return False
        flags = self._chain.row(account).flags
        if health.equity < health.maintenance or flags & FLAG_BUFFERED:
            return True
        danger = health.equity - health.shock * self._horizon_root // 10**14
        return bool(flags & FLAG_OPT_IN) and danger < health.maintenance * self._closeout // PPM

    def _step(self, account: int, health: Terms) -> bool:
        """One Liquidate in the first market that lets us; whether to go on with this account."""
        positions = [position for position in self._chain.row(account).positions if position.size]
        for position in sorted(positions, key=lambda position: -abs(position.cost)):
            fresh = not self._chain.row(account).flags & FLAG_BUFFERED
            status = self._liquidate(account, position.market, health)
            if status == Status.OK:
                return True
            if status in (Status.BUFFERED, Status.RECOVERED):
                return fresh and status == Status.BUFFERED  # the first call only opens the buffer
        return False

    def _liquidate(self, account: int, market: int, health: Terms) -> Status:
        case = self._case(account, health)
        at = account - 1
        held = tuple(int(size) for size in self._columns.size[at])
        before, old = self._worth(market), self._chain.board(market)
        old_long, old_short = old.loss_long, old.loss_short
        receipt = self._chain.liquidate(account, market)
        status = receipt.status
        self._outcome.statuses[status.name] += 1
        self._refresh(account, receipt)
        if status == Status.OK:
            stage = self._stage(account, health)
            case.stage = max(case.stage, stage)
            case.slices += 1
            if stage >= Stage.SPENT and case.cut_at == 0:
                case.cut_at, case.held, case.rest = self._chain.time, held, health.equity - self._value(held)
            if stage == Stage.TAKEN:
                paid = self._chain.health(account).equity - health.equity
                shared = self._shared(market, old_long, old_short)
                self._outcome.deficits += paid
                self._outcome.mutualised += shared
                self._outcome.drawn += max(0, paid - shared)
            else:
                gained = self._worth(market) - before
                case.penalty += gained
                self._outcome.penalties += gained
        elif status == Status.RECOVERED:
            case.recovered = True
        return status

    def _stage(self, account: int, health: Terms) -> Stage:
        """What a Liquidate that changed something was, from the account before and its buffer after."""
        if health.equity < 0:
            return Stage.TAKEN
        if health.equity >= health.maintenance:
            return Stage.PREDICTIVE
        if health.equity < -(-health.maintenance * self._closeout // PPM):
            return Stage.HARD
        used, _at = self._chain.buffer(account)
        return Stage.SPENT if used >= self._buffer_ms else Stage.PREDICTIVE

    def _case(self, account: int, health: Terms) -> Case:
        case = self._open.get(account)
        if case is None:
            size = self._columns.size[account - 1]
            notional = sum(abs(int(lots)) * self._mark(market) for market, lots in enumerate(size))
            case = Case(account, self._chain.time, health.equity, health.maintenance, notional)
            self._open[account] = case
        return case

    def _close(self, account: int) -> None:
        """End the account's case if it is out of danger, one way or the other."""
        case = self._open.get(account)
        if case is None:
            return
        health = self._chain.health(account)
        if health.maintenance and health.equity < health.maintenance:
            return
        case.ended_at, case.end_equity = self._chain.time, health.equity
        self._outcome.cases.append(self._open.pop(account))

    # --- insurance ----------------------------------------------------------------------------------------------------

    def _work_off(self, boards: list[Board]) -> None:
        for market in range(len(boards)):
            for _ in range(WORK_OFF_MAX):
                if self._chain.insurance(market).size == 0:
                    break
                receipt = self._chain.liquidate(INSURANCE, market)
                self._refresh(INSURANCE, receipt)
                if receipt.status != Status.OK:
                    self._outcome.statuses[f"insurance {receipt.status.name}"] += 1
                    break

    def insured(self, markets: int) -> bool:
        """Whether insurance holds any position."""
        return any(self._chain.insurance(market).size for market in range(markets))

    def _worth(self, market: int) -> int:
        """Insurance's equity in one market, at the mark."""
        return insurance_worth(self._chain, market)

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
        met = {fill.maker for fill in receipt.fills} | {fill.taker for fill in receipt.fills} | {account}
        met |= set(range(1, MAKERS + 1)) if receipt.fills else set()
        self._columns.refresh(self._chain, sorted(met - {INSURANCE}))


def insurance_worth(chain: Chain, market: int) -> int:
    """Equity of a market's insurance at the mark: cash and position, funding included. Micro-USD."""
    insurance, board = chain.insurance(market), chain.board(market)
    value = insurance.size * (board.mark * board.tick_value - board.funding + insurance.funding)
    return insurance.cash + value - insurance.cost
