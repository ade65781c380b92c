"""Keepers without a network: prices that everyone sees alike, accounts that may be liquidated, ladders that fit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio

from node.keeper.bots import LADDER, Bot, Maker, Taker
from node.keeper.figures import Figures, percentile
from node.keeper.liquidator import ACCOUNTS_MAX, PAGE, REPEATS, TASKS_MAX, Liquidator
from node.keeper.oracle import LAG_MS, Constant, Publisher, Walk
from node.l1.keys import LocalSigner
from node.rpc.methods.duties import AccountDuty, DutiesInfo, MarketDuty
from node.rpc.methods.shapes import FillInfo
from node.sdk.client import Network
from node.sdk.errors import AnchorlineError, ConnectionLost, NotFound
from node.sdk.trader import Sent
from node.stf import encoding
from node.stf.types import BUY, CANCEL, PLACE
from tests.stf.world import address, private_key

NETWORK = Network(901, bytes(20), encoding.domain_separator(901, 0), None)


class FakeClient:
    """Answers from a table; remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.network = NETWORK
        self.answers = answers
        self.calls: list[tuple[str, Any]] = []

    async def call(self, method: str, params: Any = None, kind: Any = None) -> Any:
        self.calls.append((method, params))
        answer = self.answers.get(method)
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    async def status(self) -> Any:
        return await self.call("status")

    async def account(self, number: int) -> Any:
        return await self.call("account", number)


def test_a_walk_is_the_same_for_everyone_whenever_they_look() -> None:
    def walk() -> Walk:
        return Walk({0: 600_000, 1: 300_000}, seed=7, begin_ms=1_000, step_ms=100)

    every, rare = walk(), walk()
    seen = [every.price(0, moment) for moment in range(1_000, 21_000, 50)]
    assert rare.price(0, 20_950) == seen[-1] and rare.price(1, 20_950) == walk().price(1, 20_950)
    assert len(set(seen)) > 50 and all(500_000 < price < 700_000 for price in seen)
    assert Walk({0: 600_000}, seed=8, begin_ms=1_000, step_ms=100).price(0, 20_950) != seen[-1]


async def test_a_publisher_signs_for_its_slot_and_outlives_refusals(autojump_clock: trio.abc.Clock) -> None:
    client = FakeClient()
    key = private_key("publisher 1")
    publisher = Publisher(client, LocalSigner(key.secret), 1, [1, 0], Constant({0: 5, 1: 6}),  # type: ignore[arg-type]
                          clock=lambda: 50_000)
    await publisher.publish()
    params = client.calls[0][1]
    assert params["time"] == 50_000 - LAG_MS
    assert params["prices"] == [{"market": 0, "price": 5}, {"market": 1, "price": 6}]
    signature = bytes.fromhex(params["signature"][2:])
    encoding.set_domain(NETWORK.domain)
    digest = encoding.oracle_price_digest(1, params["time"], [0, 1], [5, 6])
    vs = int.from_bytes(signature[32:64], "big") | signature[64] << 255
    assert encoding.recover_now(digest, int.from_bytes(signature[:32], "big"), vs) == address(key)
    client.answers["al_sendOraclePrice"] = AnchorlineError("no", kind="BadTransaction")
    with trio.move_on_after(10):
        await publisher.run()
    assert publisher.refused == 10 and publisher.published == 1
    client.answers["al_sendOraclePrice"] = ConnectionLost("gone")
    with pytest.raises(ConnectionLost):
        await publisher.run()


def duties(*accounts: AccountDuty, markets: tuple[MarketDuty, ...] = (), after: int = 0) -> DutiesInfo:
    return DutiesInfo(list(accounts), list(markets), after, 0, 0)


def duty(account: int, rung: str, equity: int = 50, markets: tuple[int, ...] = (0,)) -> AccountDuty:
    return AccountDuty(account, rung, list(markets), equity, 100)


def sent(client: FakeClient) -> list[tuple[str, Any]]:
    """Transactions, without the reads."""
    return [call for call in client.calls if call[0] != "al_duties"]


OK = {"status": "OK", "position": 1}
IDLE = {"status": "NO_LIQUIDITY", "position": 1}


async def test_the_worst_comes_first_and_each_rung_has_its_call() -> None:
    client = FakeClient(al_duties=duties(
        duty(1, "buffered"), duty(2, "threatened", 60), duty(3, "threatened", 55), duty(4, "debt", -5, (1, 0)),
        duty(5, "hard", 5), duty(6, "settle", 500, (2,)), duty(7, "recovered", 200),
        markets=(MarketDuty(0, -7, [1], [3]),)), al_liquidate=OK, al_settle=OK, al_fireTrigger=IDLE, al_sweep=IDLE)
    liquidator = Liquidator(client)  # type: ignore[arg-type]
    await liquidator.round()
    assert sent(client) == [
        ("al_liquidate", {"account": 4, "market": 1}), ("al_liquidate", {"account": 4, "market": 0}),
        *[("al_liquidate", {"account": 5, "market": 0})] * REPEATS["hard"],
        ("al_liquidate", {"account": 3, "market": 0}), ("al_liquidate", {"account": 2, "market": 0}),
        ("al_fireTrigger", {"market": 0, "direction": 1}),
        *[("al_liquidate", {"account": 0, "market": 0})] * REPEATS["insurance"],
        ("al_liquidate", {"account": 7, "market": 0}), ("al_liquidate", {"account": 1, "market": 0}),
        ("al_settle", {"account": 6, "market": 2}), ("al_sweep", {"market": 0, "side": 3}),
    ]
    assert liquidator.liquidations == 2 + REPEATS["hard"] + 2


async def test_the_next_market_is_tried_where_one_refuses() -> None:
    answers = iter([NotFound("MARKET_BUSY"), OK, NotFound("NOT_LIQUIDATABLE"), NotFound("NOT_LIQUIDATABLE")])
    client = FakeClient(al_duties=duties(duty(1, "hard", 5, (1, 0))))
    client.answers["al_liquidate"] = lambda: raise_or_return(next(answers))
    await Liquidator(client).round()  # type: ignore[arg-type]
    assert [params["market"] for _method, params in sent(client)] == [1, 0, 1, 0]


def raise_or_return(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


async def test_what_does_nothing_waits_and_a_buffer_is_looked_at_every_few_seconds() -> None:
    clock = [0.0]
    client = FakeClient(al_duties=duties(duty(1, "hard", 5), duty(2, "buffered")))
    client.answers["al_liquidate"] = IDLE
    liquidator = Liquidator(client, clock=lambda: clock[0])  # type: ignore[arg-type]
    looked = []
    for second in range(9):
        clock[0] = float(second)
        client.calls.clear()
        await liquidator.round()
        looked += [(second, params["account"]) for _method, params in sent(client)]
    assert [second for second, account in looked if account == 1] == [0, 2, 4, 6, 8]
    assert [second for second, account in looked if account == 2] == [0, 4, 8]


async def test_a_round_is_bounded_and_the_next_one_goes_on_after_it() -> None:
    page = duties(*[duty(number, "hard", 5) for number in range(1, 41)], after=PAGE)
    client = FakeClient(al_duties=lambda: msgspec.structs.replace(page, accounts=list(page.accounts)), al_liquidate=OK)
    assert await Liquidator(client).round() == TASKS_MAX  # type: ignore[arg-type]
    reads = [params for method, params in client.calls if method == "al_duties"]
    assert len(reads) == ACCOUNTS_MAX // PAGE and reads[1] == {"after": PAGE, "count": PAGE}


async def test_a_lost_connection_ends_the_keeper_and_a_failure_does_not(autojump_clock: trio.abc.Clock) -> None:
    client = FakeClient(al_duties=AnchorlineError("busy", kind="ExchangeError"))
    liquidator = Liquidator(client)  # type: ignore[arg-type]
    with trio.move_on_after(3.5):
        await liquidator.run()
    assert len(client.calls) == 4
    client.answers["al_duties"] = ConnectionLost("gone")
    with pytest.raises(ConnectionLost):
        await liquidator.run()


class FakeTrader:
    """Accepts everything; fills what is immediate-or-cancel."""

    def __init__(self, status: str = "OK") -> None:
        self.sent: list[list[Any]] = []
        self.status = status
        self._id = 0

    def next_client_id(self) -> int:
        self._id += 1
        return self._id

    async def send(self, actions: Any) -> Sent:
        self.sent.append(list(actions))
        fills = [FillInfo(a.market, a.price, a.lots, 1, 1, 1, 2, "buy", 0, 0) for a in actions if a.tif == 1]
        return Sent(1, "0x", "Actions", "OK", [self.status] * len(actions), fills, 0, {}, bytes=80)


async def test_a_maker_cancels_what_rests_before_it_quotes_anew() -> None:
    trader, figures = FakeTrader(), Figures()
    maker = Maker(Bot(trader, figures), 0, Constant({0: 600_000}), clock=lambda: 0)  # type: ignore[arg-type]
    await maker.quote()
    await maker.quote()
    first, cancels, second = trader.sent
    assert [a.op for a in cancels] == [CANCEL] * 2 * LADDER
    assert {a.client_id for a in cancels} == {a.client_id for a in first} and len(second) == 2 * LADDER
    bids, asks = [a.price for a in first if a.side == BUY], [a.price for a in first if a.side != BUY]
    assert max(bids) < 600_000 < min(asks) and len(set(bids)) == LADDER == len(set(asks))
    assert (figures.orders, figures.cancels, figures.listed) == (4 * LADDER, 2 * LADDER, 4 * LADDER)


async def test_a_taker_leans_against_what_it_holds() -> None:
    trader, figures = FakeTrader(), Figures()
    taker = Taker(Bot(trader, figures), [0], Constant({0: 600_000}), seed=3, clock=lambda: 0)  # type: ignore[arg-type]
    for _ in range(2_000):
        await taker.trade()
    placed = [a for actions in trader.sent for a in actions if a.op == PLACE]
    held = sum(a.lots if a.side == BUY else -a.lots for a in placed if a.tif == 1)
    assert figures.singles == 2_000 and figures.fills > 1_000 and abs(held) < 3_000


def test_percentiles_are_nearest_ranks() -> None:
    assert percentile([], 50) is None
    assert [percentile([float(n) for n in range(1, 101)], p) for p in (0, 50, 99)] == [1.0, 51.0, 100.0]
