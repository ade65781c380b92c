"""One crash from beginning to end: a market is set up once, then replayed with each set of protections.

A step moves L2 time to the path's next price: makers adjust their quotes, publishers publish, the keeper looks at all
accounts, and the books are compared. While nobody can come near liquidation for a while (``Columns.quiet``), steps are
as long as that while, up to 15 minutes and shorter near the low. Between two prices the keeper asks about buffered
accounts every five seconds.

Three publishers with an error of 1 bp each (seeded), one of them a step late. Anchors reach L2 every 2 minutes, every
15 while volatility is above four times calm: L1 is crowded when markets fall.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Final

import numpy as np

from node.cli.crash.chain import Chain
from node.cli.crash.columns import Columns
from node.cli.crash.keeper import Keeper, insurance_worth
from node.cli.crash.makers import CALM, MAKERS, Makers, volatility
from node.cli.crash.outcome import Outcome, Stage
from node.cli.crash.people import WAVES_H, People, draw
from node.cli.crash.settings import (
    DONATION,
    PUBLISHERS,
    USD,
    Settings,
    Variant,
    chain_message,
    deposit_message,
    market_message,
    publisher_message,
    risk_message,
)
from node.cli.crash.tape import STEP_MS, Floats, Ints, Tape
from node.stf.types import BUY, IOC, OPTIONS, PLACE, SELL, Action, Board, Status

POKE_MS: Final = 5_000
LONG_STEPS: Final = 45  # of STEP_MS, away from the low
SHORT_STEPS: Final = 9
NEAR_LOW_MS: Final = 3 * 3_600_000
ANCHOR_MS: Final = 120_000
ANCHOR_ROUGH_MS: Final = 900_000
ROUGH: Final = 4.0
NOISE: Final = 0.0001
SAMPLES: Final = 4  # accounts compared with the rules at every step
TRACK_MS: Final = 300_000
PUBLISHER: Final = 0xB0
OWNER: Final = 0x10_000
TRIES: Final = 4  # at opening, each smaller by a third


@dataclass(slots=True)
class Base:
    """A market before its crash; every variant starts from a copy."""

    tape: Tape
    path: Ints
    vol: Floats
    people: People
    chain: Chain
    columns: Columns
    makers: Makers
    seed: int
    opened: int = 0
    refused: dict[str, int] = field(default_factory=dict)


def prepare(tape: Tape, accounts: int, seed: int, settings: Settings) -> Base:
    """Set up markets, makers and accounts, and let the first of them open their positions."""
    chain, markets, path = Chain(), len(tape.symbols), tape.path()
    people = draw(accounts, markets, seed)
    chain.start(tape.start_ms - STEP_MS)
    for market in range(markets):
        chain.configure(market_message(market, settings))
        for slot in range(PUBLISHERS):
            chain.configure(publisher_message(market, slot, PUBLISHER + slot))
    configure(chain, markets, settings)
    Makers.fund(chain)
    for index, dollars in enumerate(people.collateral):
        chain.deposit(deposit_message(0, OWNER + index, int(dollars) * USD))
    base = Base(tape, path, volatility(path), people, chain, Columns.empty(MAKERS + accounts, markets),
                Makers(chain, markets), seed)
    replay = Replay(base, settings, Outcome(tape.name, ""))
    replay.publish(0)
    for chosen in np.flatnonzero(people.opted_in):
        replay.opt_in(int(chosen))
    replay.open_wave(0, 0)
    base.makers.settle_in()
    base.columns.refresh(chain, range(1, MAKERS + accounts + 1))
    base.opened, base.refused = replay.outcome.opened, dict(replay.outcome.refused)
    return base


def configure(chain: Chain, markets: int, settings: Settings) -> None:
    """Send all parameters."""
    for market in range(markets):
        chain.configure(market_message(market, settings))
        chain.configure(risk_message(market, settings))
    chain.configure(chain_message(settings))


def run(base: Base, settings: Settings, variant: Variant) -> Outcome:
    """Replay the crash with a variant's parameters. Raises CrashError when the rules break one of theirs."""
    began = time.monotonic()
    chain = base.chain.fork()
    own = replace(base, chain=chain, columns=base.columns.copy(), makers=base.makers.fork(chain))
    outcome = Outcome(base.tape.name, variant.name, opened=base.opened)
    outcome.refused.update(base.refused)
    changed = settings.with_values(variant.values)
    replay = Replay(own, changed, outcome)
    replay.begin()
    replay.all_steps()
    outcome.judge(base.path, base.tape.start_ms, replay.boards)
    outcome.transactions, outcome.seconds = chain.transactions, time.monotonic() - began
    return outcome


class Replay:
    """The steps of one replay."""

    def __init__(self, base: Base, settings: Settings, outcome: Outcome) -> None:
        self._base = base
        self._chain, self._columns, self._makers = base.chain, base.columns, base.makers
        self._settings = settings
        self.outcome = outcome
        self.boards: list[Board] = []
        random = np.random.default_rng(base.seed + 1)
        shape = (PUBLISHERS, *base.path.shape)
        self._noise = random.standard_normal(shape) * NOISE
        self._random = np.random.default_rng(base.seed + 2)
        self._horizon_root = isqrt(settings.chain["horizon_ms"] * 1_000)
        self._keeper = Keeper(
            self._chain, self._columns, outcome, closeout=settings.chain["closeout"],
            buffer_ms=settings.chain["buffer_ms"], horizon_root=self._horizon_root)
        self._anchored = 0
        self._tracked = 0

    @property
    def _markets(self) -> int:
        return len(self._base.tape.symbols)

    def begin(self) -> None:
        """Switch to this replay's parameters and fill the insurance."""
        configure(self._chain, self._markets, self._settings)
        for market in range(self._markets):
            interest = self._chain.market(market).open_interest * int(self._base.path[market, 0])
            self.outcome.interest_start += interest
            amount = interest * self._settings.insurance // 1_000_000
            if amount:
                self._chain.deposit(deposit_message(DONATION + market, 0xD0, amount))
        self.outcome.insurance_start = self.outcome.insurance_low = self._insurance()
        self.outcome.collateral = int(self._base.people.collateral.sum()) * USD
        self._look()

    def all_steps(self) -> None:
        """From the first price to the last."""
        waves = self._wave_steps()
        step, last = 0, self._base.path.shape[1] - 1
        while step < last:
            due = min([at for at in waves if at > step], default=last)
            width = self._width(step, min(due, last))
            if width == 1:
                self._pokes(step)
            step += width
            self._step(step, width)
            if step in waves:
                self.open_wave(waves[step], step)
                self._audit()
        self._keeper.finish()
        self.outcome.insurance_end = self._insurance()

    def _wave_steps(self) -> dict[int, int]:
        low, start = self._base.tape.low_ms, self._base.tape.start_ms
        found = {}
        for wave, hours in enumerate(WAVES_H, 1):
            step = (low - hours * 3_600_000 - start) // STEP_MS
            if 0 < step < self._base.path.shape[1]:
                found[step] = wave
        return found

    def _width(self, step: int, limit: int) -> int:
        """How many prices to pass over: as many as cannot matter to anybody."""
        now = self._base.tape.start_ms + step * STEP_MS
        near = abs(now - self._base.tape.low_ms) < NEAR_LOW_MS
        for width in (SHORT_STEPS, 3) if near else (LONG_STEPS, SHORT_STEPS, 3):
            if step + width > limit:
                continue
            ahead = self._base.path[:, step:step + width + 1]
            lows, highs = ahead.min(axis=1), ahead.max(axis=1)
            jump = self._settings.risk["jump_limit"]
            if jump and np.any((highs - lows) * 2_000_000 > jump * lows):
                continue
            if any(self._held_back(step)) or (width > 3 and self._keeper.insured(self._markets)):
                continue
            if self._columns.quiet(
                    self.boards, [int(x) for x in lows], [int(x) for x in highs], self._horizon_root,
                    self._settings.chain["closeout"]):
                return width
        return 1

    def _step(self, step: int, width: int) -> None:
        """The world at one price of the path."""
        self._advance(self._base.tape.start_ms + step * STEP_MS)
        prices, vol = [int(x) for x in self._base.path[:, step]], [float(x) for x in self._base.vol[:, step]]
        self._anchor(max(vol))
        self._makers.quote(prices, vol)
        self.publish(step)
        self._columns.refresh(self._chain, range(1, MAKERS + 1))
        self._keeper.round(self.boards)
        if any(self._held_back(step)):
            self.outcome.held_back_ms += width * STEP_MS
        self.outcome.steps += 1
        self._audit()
        self._track(step)

    def _advance(self, time_ms: int) -> None:
        if time_ms > self._chain.time:
            self._chain.block(time_ms - self._chain.time)

    def _pokes(self, step: int) -> None:
        """Buffers run on between two prices."""
        for offset in range(POKE_MS, STEP_MS, POKE_MS):
            if self._keeper.buffered():
                self._advance(self._base.tape.start_ms + step * STEP_MS + offset)
                self._keeper.poke(self.boards)
                self._chain.conserve()

    def _anchor(self, vol: float) -> None:
        wait = ANCHOR_ROUGH_MS if vol > ROUGH * CALM else ANCHOR_MS
        if self._chain.time - self._anchored >= wait:
            self._chain.anchor()
            self._anchored = self._chain.time

    def publish(self, step: int) -> None:
        """One price a market from every publisher; the last one is a step late."""
        path, markets = self._base.path, list(range(self._markets))
        for slot in range(PUBLISHERS):
            seen = path[:, max(0, step - 1) if slot == PUBLISHERS - 1 else step]
            prices = [max(1, round(int(p) * (1 + e))) for p, e in zip(seen, self._noise[slot, :, step], strict=True)]
            self._chain.publish(slot, PUBLISHER + slot, markets, prices)
        self._look()

    def _look(self) -> None:
        markets = range(self._markets)
        self.boards = [self._chain.board(market) for market in markets]
        self._columns.haircuts = [self._chain.haircut(market) for market in markets]

    def _held_back(self, step: int) -> list[bool]:
        """Of every market: whether its mark stands far from the path."""
        return [abs(board.mark - int(price)) * 33 > int(price)
                for board, price in zip(self.boards, self._base.path[:, step], strict=True)]

    # --- people -------------------------------------------------------------------------------------------------------

    def opt_in(self, index: int) -> None:
        """Consent to predictive reduction."""
        self._chain.actions(MAKERS + 1 + index, OWNER + index, [Action(op=OPTIONS, opt_in=1)])

    def open_wave(self, wave: int, step: int) -> None:
        """Let everybody of a wave open a position against the dealer."""
        people, prices = self._base.people, [int(x) for x in self._base.path[:, step]]
        chosen = [int(index) for index in np.flatnonzero(people.wave == wave)]
        wanted = (people.collateral * people.leverage)[chosen].sum() * USD
        self._makers.deal(prices, 2 * int(wanted) // min(prices) + 10)
        for index in chosen:
            self._open(index, prices)
        self._makers.withdraw()
        self._columns.refresh(self._chain, [*range(1, MAKERS + 1), *[MAKERS + 1 + index for index in chosen]])

    def _open(self, index: int, prices: list[int]) -> None:
        people = self._base.people
        scale = 1.0
        todo = [market for market in range(self._markets) if people.weights[index, market]]
        reason = Status.OK
        for _ in range(TRIES):
            listed = [self._order(index, market, prices[market], scale) for market in todo]
            receipt = self._chain.actions(MAKERS + 1 + index, OWNER + index, listed)
            results = receipt.action_statuses or [receipt.status] * len(listed)
            todo = [market for market, status in zip(todo, results, strict=True) if status != Status.OK]
            if not todo:
                self.outcome.opened += 1
                return
            reason = next(status for status in results if status != Status.OK)
            scale *= 2 / 3
        self.outcome.refused[reason.name] += 1

    def _order(self, index: int, market: int, price: int, scale: float) -> Action:
        people = self._base.people
        weight = float(people.weights[index, market])
        exposure = float(people.collateral[index] * people.leverage[index]) * abs(weight) * USD * 0.97 * scale
        away = 1.002 if weight > 0 else 0.998
        return Action(
            op=PLACE, market=market, side=BUY if weight > 0 else SELL, price=round(price * away),
            lots=max(1, int(exposure / price)), tif=IOC, client_id=1)

    # --- books --------------------------------------------------------------------------------------------------------

    def _insurance(self) -> int:
        return sum(insurance_worth(self._chain, market) for market in range(self._markets))

    def _audit(self) -> None:
        """All money, all sizes, and the screen against the rules on a few accounts."""
        self._look()
        self._chain.conserve()
        self._columns.audit(self._chain)
        count = len(self._columns.collateral)
        self._columns.compare(self._chain, self.boards, {int(x) + 1 for x in self._random.integers(0, count, SAMPLES)})
        self.outcome.checks += 1
        self.outcome.insurance_low = min(self.outcome.insurance_low, self._insurance())

    def _track(self, step: int) -> None:
        if self._chain.time < self._tracked + TRACK_MS:
            return
        self._tracked = self._chain.time
        cases = self.outcome.cases
        for name, value in (
            ("hour", (self._chain.time - self._base.tape.low_ms) / 3_600_000),
            ("index", float(self._base.path[0, step]) / float(self._base.path[0, 0])),
            ("mark", self.boards[0].mark / float(self._base.path[0, 0])),
            ("liquidated", sum(case.stage >= Stage.SPENT for case in cases)),
            ("insurance", self._insurance() / USD),
            ("buffered", len(self._keeper.buffered())),
        ):
            self.outcome.track[name].append(float(value))
