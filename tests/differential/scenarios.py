"""Histories that chance rarely finds, each a function of a world that has traders and a priced market 0.

Every function asserts what it is about; what it executes is compared with the contract chunk by chunk by the world.
"""

from __future__ import annotations

from collections.abc import Callable

from eth_hash.auto import keccak

from node.stf import encoding, margin
from node.stf.engine import Engine
from node.stf.params import CHUNK_BYTES_MAX, CHUNK_TXS_MAX, OPEN_ORDERS_MAX, POSITIONS_MAX, PRICES_MAX
from node.stf.state import GLOBAL_KEY
from node.stf.types import ADMIN, IOC, PAID_NOTICE, POST_ONLY, Status
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf import messages
from tests.stf.world import buy, cancel, cancel_all, configure_market, private_key, sell, sign

RICH = 10**11
PRICE = 600_000


def ready(court: Court) -> DifferentialWorld:
    """Three rich accounts, 1 to 3, and a price in market 0."""
    world = DifferentialWorld(court)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    for name in ("alice", "bob", "carol"):
        world.deposit(name, RICH)
    world.price({0: PRICE})
    world.cut()
    return world


def ladder(world: DifferentialWorld, account: int, count: int, *, first: int = PRICE + 1, lots: int = 10) -> None:
    """Resting asks at rising prices."""
    for at in range(0, count, 10):
        orders = [sell(0, first + at + i, lots, i + 1) for i in range(min(10, count - at))]
        receipt = world.actions(account, *orders)
        assert set(receipt.action_statuses) == {Status.OK}
    world.cut()


def pending_order_goes_on(world: DifferentialWorld) -> None:
    """A buy over 40 makers waits twice; meanwhile the market is busy for orders and liquidations."""
    ladder(world, 1, 40)
    receipt = world.actions(2, buy(0, PRICE + 100, 395))
    assert receipt.action_statuses == [Status.PENDING] and len(receipt.fills) == 16
    assert world.actions(3, buy(0, PRICE, 10)).action_statuses == [Status.MARKET_BUSY]
    assert world.run(encoding.write_liquidate(1, 0)).status == Status.MARKET_BUSY
    world.cut()
    receipt = world.run(encoding.write_continue(0))
    assert receipt.status == Status.PENDING and len(receipt.fills) == 16
    receipt = world.run(encoding.write_continue(0))
    assert receipt.status == Status.OK and len(receipt.fills) == 8
    assert world.run(encoding.write_continue(0)).status == Status.NOT_PENDING
    world.cut()


def pending_order_is_cancelled(world: DifferentialWorld) -> None:
    ladder(world, 1, 20)
    assert world.actions(2, buy(0, PRICE + 100, 500)).action_statuses == [Status.PENDING]
    world.cut()
    assert world.actions(2, cancel_all(0)).action_statuses == [Status.OK]
    assert world.run(encoding.write_continue(0)).status == Status.NOT_PENDING
    world.cut()


def pending_order_meets_a_halt(world: DifferentialWorld) -> None:
    ladder(world, 1, 20)
    assert world.actions(2, buy(0, PRICE + 100, 500)).action_statuses == [Status.PENDING]
    assert world.deliver(ADMIN, configure_market(0, status=3)).status == Status.OK
    assert world.run(encoding.write_continue(0)).status == Status.MARKET_HALTED
    assert world.actions(2, buy(0, PRICE, 10)).action_statuses == [Status.MARKET_HALTED]
    world.cut()


def pending_order_goes_stale(world: DifferentialWorld) -> None:
    ladder(world, 1, 20)
    assert world.actions(2, buy(0, PRICE + 100, 500)).action_statuses == [Status.PENDING]
    world.block(31_000)
    assert world.run(encoding.write_continue(0)).status == Status.STALE_PRICE
    world.cut()


def dead_orders_are_cleared_by_takers(world: DifferentialWorld) -> None:
    """Cancel-all leaves 18 dead orders in the book; two takers find them before a live one."""
    ladder(world, 1, 18)
    assert world.actions(1, cancel_all(0)).action_statuses == [Status.OK]
    ladder(world, 3, 2, first=PRICE + 50)
    receipt = world.actions(2, buy(0, PRICE + 60, 15))
    assert receipt.action_statuses == [Status.PENDING] and not receipt.fills
    receipt = world.run(encoding.write_continue(0))
    assert receipt.status == Status.OK and len(receipt.fills) == 2
    world.cut()


def expired_orders_die(world: DifferentialWorld) -> None:
    expiry = world.time + 500
    assert world.actions(1, sell(0, PRICE + 1, 10, expiry=expiry)).action_statuses == [Status.OK]
    world.block(400)
    assert len(world.actions(2, buy(0, PRICE + 1, 4)).fills) == 1
    world.block(400)
    assert not world.actions(2, buy(0, PRICE + 1, 4, tif=IOC)).fills
    assert world.actions(1, sell(0, PRICE + 1, 10, expiry=expiry)).action_statuses == [Status.ORDER_EXPIRED]
    world.cut()


def own_orders_are_not_traded_with(world: DifferentialWorld) -> None:
    ladder(world, 1, 3)
    receipt = world.actions(1, buy(0, PRICE + 2, 50))
    assert receipt.action_statuses == [Status.OK] and not receipt.fills
    assert world.actions(2, sell(0, PRICE + 2, 5, tif=POST_ONLY)).action_statuses == [Status.WOULD_CROSS]
    world.cut()


def an_account_has_so_many_orders(world: DifferentialWorld) -> None:
    placed = 0
    while placed < OPEN_ORDERS_MAX:
        orders = [sell(0, PRICE + 100 + placed + i, 2, i) for i in range(8)]
        assert set(world.actions(1, *orders).action_statuses) == {Status.OK}
        placed += 8
    assert world.actions(1, sell(0, PRICE + 9, 2)).action_statuses == [Status.TOO_MANY_ORDERS]
    assert world.actions(1, sell(0, PRICE + 9, 2, tif=IOC)).action_statuses == [Status.OK]
    world.cut()


def an_account_has_so_many_positions(world: DifferentialWorld) -> None:
    for market in range(1, POSITIONS_MAX + 1):
        world.create_market(market * 3)
        world.price({market * 3: PRICE})
    statuses = [world.actions(1, buy(m * 3, PRICE, 10)).action_statuses[0] for m in range(1, POSITIONS_MAX + 1)]
    assert set(statuses) == {Status.OK}
    assert world.actions(1, buy(0, PRICE, 10)).action_statuses == [Status.TOO_MANY_POSITIONS]
    assert world.actions(2, sell(3, PRICE, 4)).action_statuses == [Status.OK]
    assert world.withdraw(1, 1_000_000).status == Status.OK
    assert world.actions(1, cancel_all(6)).action_statuses == [Status.OK]
    world.cut()


def a_liquidation_finds_nobody(world: DifferentialWorld) -> None:
    """Under maintenance, but the other side of the book is empty, then short, then deep."""
    poor = world.deposit("poor", 400_000_000)
    world.actions(1, sell(0, PRICE, 1_000))
    assert world.actions(poor, buy(0, PRICE, 1_000)).action_statuses == [Status.OK]
    world.price({0: 570_000})
    assert world.run(encoding.write_liquidate(poor, 0)).status == Status.NO_LIQUIDITY
    world.actions(2, buy(0, 569_000, 100))
    receipt = world.run(encoding.write_liquidate(poor, 0))
    assert receipt.status == Status.OK and sum(f.lots for f in receipt.fills) == 100
    world.cut()
    for i in range(6):
        world.actions(2, *[buy(0, 568_000 - 10 * i - j, 40, j) for j in range(10)])
    assert world.run(encoding.write_liquidate(poor, 0)).status == Status.OK
    while world.run(encoding.write_liquidate(poor, 0)).status == Status.OK:
        pass
    world.cut()


def a_maker_that_cannot_pay_is_passed_over(world: DifferentialWorld) -> None:
    poor = world.deposit("poor", 350_000_000)
    assert world.actions(poor, sell(0, 610_000, 1_000)).action_statuses == [Status.OK]
    world.price({0: 625_000})
    world.price({0: 640_000})
    receipt = world.actions(2, buy(0, 640_000, 1_000))
    assert receipt.action_statuses == [Status.OK]
    world.cut()


def keys_trade_but_do_not_withdraw(world: DifferentialWorld) -> None:
    world.engine.bind()
    account, slot, key = 1, 3, private_key("trading key")
    named = int.from_bytes(keccak(key.public_key.format(compressed=False)[1:])[12:], "big")
    def set_key(slot: int, expiry: int = 0) -> Status:
        nonce = world.next_nonce(account, 0)
        signature = sign(
            world.keys[account], encoding.set_key_digest(account, nonce, world.time + 9, slot, named, expiry)
        )
        raw = encoding.write_set_key(account, slot, nonce, world.time + 9, named, expiry, signature, world.time)
        return world.run(raw).status

    assert [set_key(0), set_key(4), set_key(1, 2**48)] == [Status.BAD_SLOT, Status.BAD_SLOT, Status.BAD_TIME]
    world.actions(account, buy(0, PRICE, 10))
    assert set_key(slot) == Status.OK
    world.nonces[(account, slot)] = world.time
    assert world.actions(account, buy(0, PRICE, 10), key=key, slot=slot).status == Status.OK
    assert set_key(slot, world.time + 100) == Status.OK
    world.nonces[(account, slot)] = world.time
    world.block(200)
    assert world.actions(account, buy(0, PRICE, 10), key=key, slot=slot).status == Status.KEY_EXPIRED
    world.cut()


def structure_makes_a_chunk_invalid(world: DifferentialWorld) -> None:
    """Every reason that InvalidChunk has, and the last chunk before each limit."""
    reasons = {
        b"": "bytes",
        b"\x08" * (CHUNK_BYTES_MAX + 1): "bytes",
        b"\x07": "decode",
        b"\x00\x00": "decode",
        b"\x09\x00": "decode",
        b"\x02\x80\x00": "decode",
        b"\x08" * (CHUNK_TXS_MAX + 1): "more than",
        b"\x08\x09\x01": "middle",
        b"\x09\x01\x09\x01": "middle",
    }
    for chunk, reason in reasons.items():
        verdict = world.judge(chunk)
        assert verdict.invalid and reason in verdict.outcome.reason, (chunk[:9], verdict.outcome.reason)
    assert not world.judge(b"\x08" * CHUNK_TXS_MAX).invalid
    assert not world.judge(b"\x09\x01").invalid
    many = [cancel(0, 1, PRICE + i, i) for i in range(32)]
    limits = {
        b"".join(oracle_price(world, list(range(PRICES_MAX))) for _ in range(30)): "work",
        b"".join(world.sign_actions(1, tuple(many)) for _ in range(2)): "proof",
    }
    for chunk, reason in limits.items():
        verdict = world.judge(chunk)
        assert verdict.invalid and f"transaction's {reason}" in verdict.outcome.reason, verdict.outcome.reason


def oracle_price(world: DifferentialWorld, markets: list[int]) -> bytes:
    """A publisher's price for markets, whether they exist or not."""
    world.engine.bind()
    prices = [PRICE] * len(markets)
    digest = encoding.oracle_price_digest(0, world.time, markets, prices)
    signature = sign(world.publishers[0], digest)
    return encoding.write_oracle_price(0, world.time, markets, prices, signature, world.time)


def messages_of_any_kind(world: DifferentialWorld) -> None:
    """Forced transactions that fail have no effect; the message is consumed."""
    world.engine.bind()
    good = world.sign_actions(1, (buy(0, PRICE, 10),), base=0)
    crowd = world.sign_actions(2, tuple(buy(m, PRICE, 10) for m in range(20)), base=0)
    expected = {
        good: Status.OK,
        good + b"\x00": Status.FORCED_INVALID,
        good[:-1]: Status.FORCED_INVALID,
        crowd: Status.FORCED_INVALID,
        b"": Status.FORCED_INVALID,
        b"\x08": Status.FORCED_INVALID,
        b"\x09\x05": Status.FORCED_INVALID,
        b"\x02\x00": Status.NOT_PENDING,
        b"\x06\x01\x00": Status.NO_POSITION,
    }
    for payload, status in expected.items():
        receipt = world.deliver(2, payload)
        assert receipt.status == status, (payload[:4], receipt)
    assert world.deliver(0, b"").status == Status.BAD_MESSAGE
    assert world.deliver(255, bytes(1_024)).status == Status.BAD_MESSAGE
    assert world.run(encoding.INBOX_TX).status == Status.NO_MESSAGE
    world.cut()


def long_and_poor(world: DifferentialWorld, market: int = 0) -> int:
    """An account that is long 1,000 lots from 600,000 on 400 USD: under maintenance when the mark is 570,000."""
    poor = world.deposit("poor", 400_000_000)
    world.actions(1, sell(market, PRICE, 1_000))
    assert world.actions(poor, buy(market, PRICE, 1_000)).action_statuses == [Status.OK]
    return poor


def a_maker_under_maintenance_may_reduce(world: DifferentialWorld) -> None:
    """Its resting order fills above the mark: it stays under maintenance, but gets no worse."""
    poor = long_and_poor(world)
    assert world.actions(poor, sell(0, 575_000, 100)).action_statuses == [Status.OK]
    world.price({0: 565_000})
    assert len(world.actions(2, buy(0, 575_000, 100)).fills) == 1
    assert world.engine.ledger.accounts[poor].positions[0].size == 900
    world.cut()


def a_liquidation_takes_its_limit_and_not_a_tick_less(world: DifferentialWorld) -> None:
    """A band of 0.2% under a mark of 570,001: the worst price is 568,861, rounded up."""
    world.create_market(5, band=2_000)
    world.price({5: PRICE})
    poor = long_and_poor(world, 5)
    world.price({5: 570_001})
    world.actions(2, buy(5, 568_860, 10))
    assert world.run(encoding.write_liquidate(poor, 5)).status == Status.NO_LIQUIDITY
    world.actions(2, buy(5, 568_861, 10))
    assert len(world.run(encoding.write_liquidate(poor, 5)).fills) == 1
    world.cut()


def a_short_is_liquidated_at_its_limit(world: DifferentialWorld) -> None:
    world.create_market(5, band=2_000)
    world.price({5: PRICE})
    poor = world.deposit("poor", 400_000_000)
    world.actions(1, buy(5, PRICE, 1_000))
    assert world.actions(poor, sell(5, PRICE, 1_000)).action_statuses == [Status.OK]
    world.price({5: 630_003})
    world.actions(2, sell(5, 631_264, 10))
    assert world.run(encoding.write_liquidate(poor, 5)).status == Status.NO_LIQUIDITY
    world.actions(2, sell(5, 631_263, 10))
    assert len(world.run(encoding.write_liquidate(poor, 5)).fills) == 1
    world.cut()


def a_liquidation_does_not_make_debts(world: DifferentialWorld) -> None:
    """A solvent account is not sold at 5% under the mark; one in debt is taken over at the mark instead."""
    poor = long_and_poor(world)
    world.price({0: 570_000})
    world.actions(2, buy(0, 541_500, 250))
    assert world.run(encoding.write_liquidate(poor, 0)).status == Status.NO_LIQUIDITY
    world.actions(2, cancel_all(0))
    world.price({0: 555_000})
    world.actions(2, buy(0, 530_000, 250))
    receipt = world.run(encoding.write_liquidate(poor, 0))
    assert receipt.status == Status.OK and not receipt.fills
    assert world.engine.ledger.accounts[poor].collateral == 0
    world.cut()


def open_interest_has_a_cap(world: DifferentialWorld) -> None:
    world.create_market(5, oi_cap=1_000)
    world.price({5: PRICE})
    world.actions(1, sell(5, PRICE, 600))
    assert len(world.actions(2, buy(5, PRICE, 600)).fills) == 1
    world.actions(1, sell(5, PRICE + 1, 400))
    assert world.actions(3, buy(5, PRICE + 1, 401)).action_statuses == [Status.OK]
    dave = world.deposit("dave", RICH)
    world.actions(1, cancel_all(5))
    world.actions(dave, sell(5, PRICE + 2, 10))
    assert world.actions(3, buy(5, PRICE + 2, 10)).action_statuses == [Status.OI_CAP]
    assert world.actions(1, buy(5, PRICE + 2, 10)).action_statuses == [Status.OK]
    assert world.actions(1, buy(5, PRICE, 1_001)).action_statuses == [Status.OI_CAP]
    world.cut()


def free_collateral_is_exact(world: DifferentialWorld) -> None:
    """Profits, losses and orders away from the mark: the last micro-USD that is free may leave, and no more."""
    world.create_market(9, tick_value=7, impact=33_333_331, im=(51_000, 900_000))
    world.price({9: 123_457})
    for account, trade in ((1, buy(0, PRICE, 777)), (2, sell(0, PRICE, 777)), (1, sell(9, 123_457, 91))):
        world.actions(account, trade)
    world.actions(3, buy(9, 123_457, 91))
    world.actions(1, buy(0, 599_001, 13), sell(0, 611_111, 5), buy(9, 121_212, 3))
    world.price({0: 612_347, 9: 122_229})
    world.cut()
    for account in (1, 2, 3):
        reader = Engine(world.trie, world.court.domain, world.message_at, strict=True)
        reader.bind()
        health = margin.health(account)
        free = health.equity - health.initial - health.profit
        assert free > 0 and (health.profit > 0) == (account == 1)
        assert world.withdraw(account, free + 1).status == Status.INSUFFICIENT_FREE
        assert world.withdraw(account, free).status == Status.OK
        world.cut()


def a_price_is_fresh_to_the_millisecond(world: DifferentialWorld) -> None:
    mark_time = world.engine.ledger.boards[0][0].mark_time
    world.block(mark_time + 30_000 - world.time)
    assert world.actions(1, buy(0, PRICE - 1, 10)).action_statuses == [Status.OK]
    world.block(1)
    assert world.actions(1, buy(0, PRICE - 1, 10)).action_statuses == [Status.STALE_PRICE]
    world.cut()


def parameters_have_bounds(world: DifferentialWorld) -> None:
    """A market that breaks one bound is refused; at the bound it is taken."""
    refused: list[dict[str, object]] = [
        {"band": 1_000_000},
        {"quorum": 0},
        {"quorum": 9},
        {"tick_value": 0},
        {"oi_cap": 0},
        {"oi_cap": 2**61 // (2**32 - 1) // 10 + 1},
        {"min_notional": 2**61},
        {"mm": (0, 1)},
        {"mm": (50_001, 500_000)},
        {"mm": (25_000, 1_000_001)},
        {"mm": (30_000, 20_000)},
        {"im": (50_000, 1_000_001)},
        {"im": (50_000, 40_000)},
        {"fees": (1_000_001, 0)},
        {"fees": (0, 1_000_001)},
        {"penalty": 1_000_001},
        {"status": 0},
        {"status": 4},
    ]
    taken: list[dict[str, object]] = [
        {"band": 999_999},
        {"quorum": 8},
        {"oi_cap": 2**61 // (2**32 - 1) // 10},
        {"min_notional": 2**61 - 1},
        {"mm": (50_000, 1_000_000)},
        {"fees": (1_000_000, 1_000_000)},
        {"penalty": 1_000_000},
    ]
    for expected, list_of in ((Status.BAD_MESSAGE, refused), (Status.OK, taken)):
        for parameters in list_of:
            payload = configure_market(7, **parameters)  # type: ignore[arg-type]
            assert world.deliver(ADMIN, payload).status == expected, parameters
    assert world.deliver(ADMIN, configure_market(7, tick_value=11)).status == Status.BAD_MESSAGE
    assert world.deliver(ADMIN, configure_market(32)).status == Status.BAD_MESSAGE
    world.cut()


def paid_withdrawals_are_forgotten(world: DifferentialWorld) -> None:
    """Present, twice in one notice, gone before, never given, made in the same chunk: all in both languages."""
    for amount in range(1, 21):
        assert world.withdraw(1, amount).status == Status.OK
    world.cut()
    assert world.notify_paid(3).status == Status.OK
    world.cut()
    assert world.notify_paid(*range(1, 9)).status == Status.OK  # the most ids; 3 is gone
    assert world.notify_paid(3, 3, 20, 20).status == Status.OK
    world.cut()
    assert world.notify_paid(0, 21, 2**64 - 1).status == Status.OK  # never given: no leaf is looked at
    world.cut()
    assert world.results[-1].changes.keys() == {GLOBAL_KEY}
    assert world.withdraw(2, 5).status == Status.OK
    assert world.notify_paid(21, 9).status == Status.OK
    assert world.notify_paid(21).status == Status.OK
    world.cut()
    for broken in (b"", bytes(7), bytes(65), messages.paid(*range(10, 19)), messages.paid(10, 11)[:-1]):
        assert world.deliver(PAID_NOTICE, broken).status == Status.BAD_MESSAGE
    world.cut()
    left = [int.from_bytes(key[1:9], "big") for key in world.trie.keys(b"W")]
    assert left == list(range(10, 20)) and world.engine.globals.withdrawn == sum(range(1, 21)) + 5


SCENARIOS: list[Callable[[DifferentialWorld], None]] = [
    pending_order_goes_on,
    pending_order_is_cancelled,
    pending_order_meets_a_halt,
    pending_order_goes_stale,
    dead_orders_are_cleared_by_takers,
    expired_orders_die,
    own_orders_are_not_traded_with,
    an_account_has_so_many_orders,
    an_account_has_so_many_positions,
    a_liquidation_finds_nobody,
    a_maker_that_cannot_pay_is_passed_over,
    a_maker_under_maintenance_may_reduce,
    a_liquidation_takes_its_limit_and_not_a_tick_less,
    a_short_is_liquidated_at_its_limit,
    a_liquidation_does_not_make_debts,
    open_interest_has_a_cap,
    free_collateral_is_exact,
    a_price_is_fresh_to_the_millisecond,
    parameters_have_bounds,
    keys_trade_but_do_not_withdraw,
    structure_makes_a_chunk_invalid,
    messages_of_any_kind,
    paid_withdrawals_are_forgotten,
]
