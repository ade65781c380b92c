"""Driving the ladder of liquidation: asks a node what waits, and sends what the rules would let anybody do.

Anyone may send these transactions; the rules decide. A round looks at ACCOUNTS_MAX accounts and sends at most TASKS_MAX
transactions, in the order debt, hard, threatened, triggers, insurance's own position, buffers, settlement, sweeps;
within a rung the account whose equity covers the smallest share of its maintenance comes first, and of shares that are
alike (to COVERAGE_STEP) the one whose positions the order flow is against. What was refused, or did nothing, waits
before it is tried again; a latency buffer is looked at every POKE_S seconds, since one look counts five at most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import structlog
import trio

from node.rpc.methods.duties import AccountDuty, DutiesInfo, MarketDuty
from node.sdk.client import Client
from node.sdk.errors import AnchorlineError, ConnectionLost

log = structlog.get_logger("liquidator")

ACCOUNTS_MAX: Final = 5_000  # looked at in one round; the next one goes on after them
PAGE: Final = 100  # so few that a sequencer answers in a few milliseconds
TASKS_MAX: Final = 256  # transactions sent in one round
COVERAGE_STEP: Final = 50_000  # ppm of maintenance
POKE_S: Final = 4.0
IDLE_S: Final = 2.0
RANKS: Final = (
    "debt", "hard", "threatened", "fire", "insurance", "recovered", "buffered", "settle", "sweep",
)
# how often one task may be repeated in a round while each time does something
REPEATS: Final = {"hard": 16, "fire": 16, "insurance": 4, "sweep": 4}


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to send, to each of ``calls`` in turn until one does something (``every``: to each of them)."""

    rung: str
    name: tuple[str, int]
    coverage: int  # ppm of maintenance that equity covers
    calls: list[tuple[str, dict[str, int]]]
    every: bool = False
    pressure: int = 0  # ppm of the account's notional that order flow is against, signed

    @property
    def order(self) -> tuple[int, int, int, int, int]:
        """Worst first."""
        alike = self.coverage // COVERAGE_STEP
        return RANKS.index(self.rung), alike, -self.pressure, self.coverage, self.name[1]


class Liquidator:
    """See the module."""

    def __init__(
        self, client: Client, *, period_s: float = 1.0, clock: Callable[[], float] = trio.current_time
    ) -> None:
        self._client = client
        self._period_s = period_s
        self._clock = clock
        self._after = 0
        self._waiting: dict[tuple[str, str, int], float] = {}
        self.done: Counter[str] = Counter()

    @property
    def liquidations(self) -> int:
        """Reductions and takeovers that did something."""
        return self.done["debt"] + self.done["hard"] + self.done["threatened"]

    async def run(self) -> None:
        """Look for ever; what the node cannot answer now is asked again. Raises ConnectionLost."""
        while True:
            try:
                await self.round()
            except ConnectionLost:
                raise
            except AnchorlineError as error:
                log.warning("round_failed", reason=str(error))
            await trio.sleep(self._period_s)

    async def round(self) -> int:
        """Look at the next accounts and at all markets, and act; returns how many transactions did something."""
        now = self._clock()
        self._waiting = {name: until for name, until in self._waiting.items() if until > now}
        tasks = sorted((task for task in plan(await self._look()) if self._is_due(task)), key=lambda task: task.order)
        sent = done = 0
        for task in tasks:
            if sent >= TASKS_MAX:
                log.warning("tasks_left", tasks=len(tasks), sent=sent)
                break
            tried, fruitful = await self._work(task, TASKS_MAX - sent)
            sent, done = sent + tried, done + fruitful
        return done

    async def _look(self) -> DutiesInfo:
        """What waits, of at most ACCOUNTS_MAX accounts."""
        found: list[AccountDuty] = []
        for _ in range(ACCOUNTS_MAX // PAGE):
            page: DutiesInfo = await self._client.call(
                "al_duties", {"after": self._after, "count": PAGE}, DutiesInfo)
            found += page.accounts
            self._after = page.next
            if page.next == 0:
                break
        page.accounts = found
        return page

    def _is_due(self, task: Task) -> bool:
        return (task.rung, *task.name) not in self._waiting

    async def _work(self, task: Task, sends_max: int) -> tuple[int, int]:
        """Send a task, again while it does something; returns transactions sent, and how many did something."""
        sent = done = 0
        statuses: list[str] = []
        for _ in range(REPEATS.get(task.rung, 1)):
            statuses = []
            for method, params in task.calls:
                if sent == sends_max:
                    return sent, done
                sent += 1
                statuses.append(await self._send(task, method, params))
                if statuses[-1] and not task.every:
                    break
            done += sum(status != "" for status in statuses)
            if "OK" not in statuses:
                break
        if task.rung == "buffered" or not any(statuses):
            pause = POKE_S if task.rung == "buffered" else IDLE_S
            self._waiting[(task.rung, *task.name)] = self._clock() + pause
        return sent, done

    async def _send(self, task: Task, method: str, params: dict[str, int]) -> str:
        """The status if it did something; empty if it was refused or found nothing to do. Raises ConnectionLost."""
        try:
            answer: dict[str, Any] = await self._client.call(method, params)
        except ConnectionLost:
            raise
        except AnchorlineError as error:
            log.debug("task_refused", rung=task.rung, reason=error.reason, **params)
            return ""
        status: str = answer["status"]
        if status not in ("OK", "BUFFERED", "RECOVERED", "PENDING"):
            log.debug("task_idle", rung=task.rung, status=status, **params)
            return ""
        did = {"BUFFERED": "buffered", "RECOVERED": "recovered"}.get(status, task.rung)
        self.done[did] += 1
        level = log.debug if did == "buffered" else log.info
        level("task_done", rung=did, position=answer["position"], **params)
        return status


def plan(duties: DutiesInfo) -> Iterator[Task]:
    """What to send for what waits."""
    for account in duties.accounts:
        yield account_task(account)
    for market in duties.markets:
        yield from market_tasks(market)


def account_task(duty: AccountDuty) -> Task:
    """One account's next step. A debt is in all of its markets; else the dearest market that lets us comes first."""
    method = "al_settle" if duty.rung == "settle" else "al_liquidate"
    calls = [(method, {"account": duty.account, "market": market}) for market in duty.markets]
    coverage = duty.equity * 1_000_000 // max(1, duty.maintenance)
    every = duty.rung in ("debt", "settle")
    return Task(duty.rung, ("account", duty.account), coverage, calls, every=every, pressure=duty.pressure)


def market_tasks(duty: MarketDuty) -> Iterator[Task]:
    """Insurance's own position, triggers, and dead orders of one market."""
    market = duty.market
    if duty.insured:
        yield Task("insurance", ("market", market), 0, [("al_liquidate", {"account": 0, "market": market})])
    for direction in duty.fires:
        call = ("al_fireTrigger", {"market": market, "direction": direction})
        yield Task("fire", (f"trigger {direction}", market), 0, [call])
    for side in duty.sweeps:
        yield Task("sweep", (f"side {side}", market), 0, [("al_sweep", {"market": market, "side": side})])
