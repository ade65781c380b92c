"""Order entry and matching: what each kind of order promises, one promise a test.

After every transaction money must be conserved and what positions count as open must be what rests.
"""

from __future__ import annotations

from node.stf import encoding, margin, state
from node.stf.params import REST_FEE
from node.stf.types import (
    BUY,
    CANCEL_BOTH,
    CANCEL_TAKER,
    FOK,
    IOC,
    POST_ONLY,
    SELL,
    TRIGGER_FALL,
    TRIGGER_RISE,
    Action,
    Position,
    Receipt,
    Status,
)
from tests.stf.orders import amend, cancel_at, cancel_trigger, find_order, trigger
from tests.stf.resting import check_resting
from tests.stf.world import World, buy, cancel, cancel_all, configure_market, limit, sell

MARK = 600_000
RICH = 10_000_000_000


class Desk(World):
    """A world with one market, in which every transaction is audited."""

    def __init__(self, **market: object) -> None:
        super().__init__(strict=True)
        self.block(self.l1_time * 1000)
        self.create_market(0, **market)
        self.price({0: MARK})
        self.maker = self.deposit("maker", RICH)
        self.alice = self.deposit("alice", RICH)
        self.bob = self.deposit("bob", RICH)

    def executed(self, transaction: bytes, receipt: Receipt) -> None:
        super().executed(transaction, receipt)
        assert self.conserved()
        check_resting(self)

    def do(self, account: int, *listed: Action) -> list[Status]:
        """Statuses of a list of actions."""
        receipt = self.actions(account, *listed)
        assert receipt.status == Status.OK
        self.last = receipt
        return receipt.action_statuses

    def one(self, account: int, action: Action) -> Status:
        """Status of one action."""
        return self.do(account, action)[0]

    def position(self, account: int) -> Position:
        """The account's position in the market, an empty one if it has no slot."""
        self.engine.bind()
        index = state.find_position(account, 0)
        return Position() if index == 0xFFFF else state.get_position(account, index)

    def collateral(self, account: int) -> int:
        return self.engine.ledger.accounts[account].collateral

    def seq(self, account: int, client_id: int = 1) -> int:
        """Sequence of a resting order."""
        return find_order(self.engine.ledger, account, client_id)[0][3]

    def long(self, account: int, lots: int) -> None:
        """Let an account buy from the maker at the mark."""
        assert self.do(self.maker, sell(0, MARK, lots, 77)) == [Status.OK]
        assert self.do(account, buy(0, MARK, lots, 78, tif=IOC)) == [Status.OK]
        assert self.position(account).size == lots


def reduce_only(side: int, price: int, lots: int, client_id: int = 1, *, tif: int = 0) -> Action:
    action = limit(0, side, price, lots, client_id, tif=tif)
    action.reduce_only = 1
    return action


def mode(action: Action, self_trade: int) -> Action:
    action.self_trade = self_trade
    return action


# --- reduce-only ------------------------------------------------------------------------------------------------------


def test_reduce_only_orders_need_a_position_and_never_exceed_it_together() -> None:
    desk = Desk()
    assert desk.one(desk.alice, reduce_only(SELL, MARK, 100)) == Status.REDUCE_ONLY_SIZE
    assert desk.position(desk.alice) == Position(), "a refused order leaves no slot behind"
    desk.long(desk.alice, 100)
    asked = [reduce_only(SELL, MARK + 10, 60, 1), reduce_only(SELL, MARK + 20, 41, 2), reduce_only(BUY, MARK, 10, 3)]
    assert desk.do(desk.alice, *asked) == [Status.OK, Status.REDUCE_ONLY_SIZE, Status.REDUCE_ONLY_SIZE]
    assert desk.one(desk.alice, reduce_only(SELL, MARK + 20, 40, 2)) == Status.OK
    assert desk.position(desk.alice).reduce_lots == 100
    assert desk.one(desk.alice, cancel(0, SELL, MARK + 10, desk.seq(desk.alice, 1), 1)) == Status.OK
    assert desk.position(desk.alice).reduce_lots == 40


def test_a_resting_reduce_only_order_is_clipped_to_what_is_left_of_the_position() -> None:
    desk = Desk()
    desk.long(desk.alice, 100)
    assert desk.one(desk.alice, reduce_only(SELL, MARK + 10, 100)) == Status.OK
    assert desk.one(desk.maker, buy(0, MARK, 70, 5)) == Status.OK
    assert desk.one(desk.alice, sell(0, MARK, 70, 2, tif=IOC)) == Status.OK
    assert desk.position(desk.alice).size == 30
    assert desk.one(desk.bob, buy(0, MARK + 10, 80, 3, tif=IOC)) == Status.OK
    assert [f.lots for f in desk.last.fills] == [30], "then it is dead, and the same visit chain removes it"
    assert desk.position(desk.alice) == Position()
    assert desk.position(desk.bob).size == 30


def test_reduce_only_orders_are_outside_margin_and_work_in_a_reduce_only_market() -> None:
    desk = Desk()
    poor = desk.deposit("poor", 310_000_000)
    desk.long(poor, 1_000)  # 6,000 USD of notional on 310 USD: initial margin is 5%, and the size's share of impact
    assert desk.one(poor, buy(0, MARK, 1_000, 2)) == Status.INSUFFICIENT_MARGIN
    assert desk.one(poor, reduce_only(SELL, MARK + 10, 1_000)) == Status.OK
    assert desk.deliver(6, configure_market(0, status=2)).status == Status.OK
    assert desk.one(desk.bob, buy(0, MARK, 10, 2)) == Status.MARKET_REDUCE_ONLY
    assert desk.one(poor, cancel_all(0)) == Status.OK
    assert desk.position(poor).reduce_lots == 0
    assert desk.one(poor, reduce_only(SELL, MARK + 10, 1_000)) == Status.OK


def test_a_reduce_only_order_that_waits_keeps_its_count_and_goes_on() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 40)
    for number in range(20):
        assert desk.one(desk.bob, buy(0, MARK, 2, number)) == Status.OK
    assert desk.one(desk.alice, reduce_only(SELL, MARK, 40, 9)) == Status.PENDING
    assert (desk.position(desk.alice).size, desk.position(desk.alice).reduce_lots) == (8, 8)
    assert desk.one(desk.bob, buy(0, MARK, 2, 50)) == Status.MARKET_BUSY
    assert desk.run(encoding.write_continue(0)).status == Status.OK
    assert desk.position(desk.alice) == Position()


def test_reduce_only_orders_do_not_lend_their_margin_to_plain_ones() -> None:
    """Else twice what initial margin allows: a reduce-only order takes away the position that covers the plain one."""
    for first, second in ((Status.OK, Status.INSUFFICIENT_MARGIN), (Status.INSUFFICIENT_MARGIN, Status.OK)):
        desk = Desk(min_notional=1, impact=0)
        thin = desk.deposit("thin", 310_000_000)  # initial margin of 1,000 lots at the mark, and little more
        desk.long(thin, 1_000)
        plain, reducing = sell(0, MARK + 20, 2_000, 5), reduce_only(SELL, MARK + 10, 1_000, 6)
        if first == Status.OK:
            assert desk.do(thin, plain, reducing) == [first, second]
        else:
            assert desk.do(thin, reducing, plain) == [second, first]
            assert desk.one(thin, sell(0, MARK + 20, 1, 7)) == Status.OK, "what the account has margin for"
        desk.do(desk.bob, buy(0, MARK + 20, 3_000, 7, tif=IOC))
        desk.engine.bind()
        health = margin.health(thin)
        assert health.equity >= health.initial


def test_a_stop_that_fires_takes_the_plain_orders_that_would_open_without_margin() -> None:
    for deposit, left in ((310_000_000, 0), (700_000_000, 2_000)):
        desk = Desk(min_notional=1, impact=0)
        thin = desk.deposit("thin", deposit)
        desk.long(thin, 1_000)
        assert desk.do(thin, sell(0, MARK + 20, 2_000, 5), trigger(0, SELL, 0, MARK, 1_000, 6)) == [Status.OK] * 2
        desk.do(desk.maker, buy(0, MARK, 1_000))
        assert [f.lots for f in fire(desk, 0).fills] == [1_000]
        assert (desk.position(thin).size, desk.position(thin).sell_lots) == (0, left)
    desk = Desk(min_notional=1, impact=0)
    thin = desk.deposit("thin", 310_000_000)
    desk.long(thin, 1_000)
    assert desk.do(thin, sell(0, MARK + 20, 400, 5), trigger(0, SELL, 0, MARK - 4_000, 600, 6)) == [Status.OK] * 2
    desk.price({0: MARK - 4_000})  # below initial margin, but all of it together only closes
    desk.do(desk.maker, buy(0, MARK - 4_000, 1_000))
    assert [f.lots for f in fire(desk, 0).fills] == [600]
    assert (desk.position(thin).size, desk.position(thin).sell_lots) == (400, 400)


# --- fill-or-kill -----------------------------------------------------------------------------------------------------


def fok(side: int, price: int, lots: int, client_id: int = 1) -> Action:
    return limit(0, side, price, lots, client_id, tif=FOK)


def test_fill_or_kill_fills_whole_or_not_at_all() -> None:
    desk = Desk(min_notional=1)
    for number in range(3):
        assert desk.one(desk.maker, sell(0, MARK + number, 10, number)) == Status.OK
    assert desk.one(desk.alice, fok(BUY, MARK + 1, 21)) == Status.FOK_UNFILLED
    assert desk.one(desk.alice, fok(BUY, MARK + 2, 31)) == Status.FOK_UNFILLED
    assert desk.position(desk.alice) == Position() and not desk.last.fills
    assert desk.one(desk.alice, fok(BUY, MARK + 2, 25)) == Status.OK
    assert [f.lots for f in desk.last.fills] == [10, 10, 5]


def test_fill_or_kill_looks_at_half_of_the_steps_that_its_list_has_left() -> None:
    desk = Desk(min_notional=1)
    for number in range(12):
        assert desk.one(desk.maker, sell(0, MARK, 1, number)) == Status.OK
    assert desk.one(desk.alice, fok(BUY, MARK, 9)) == Status.FOK_TOO_DEEP
    assert desk.do(desk.alice, fok(BUY, MARK, 8), fok(BUY, MARK, 1)) == [Status.OK, Status.FOK_TOO_DEEP]
    assert desk.position(desk.alice).size == 8


def test_fill_or_kill_is_judged_by_the_account_that_it_leaves() -> None:
    desk = Desk(min_notional=1)
    poor = desk.deposit("poor", 200_000_000)
    desk.do(desk.maker, sell(0, MARK + 20_000, 500))
    refused = desk.one(poor, fok(BUY, MARK + 20_000, 500))
    assert refused == Status.INSUFFICIENT_MARGIN and desk.position(poor) == Position()
    assert desk.one(poor, fok(BUY, MARK + 20_000, 200)) == Status.OK


def test_fill_or_kill_passes_what_is_dead_its_own_and_what_cannot_pay() -> None:
    desk = Desk(min_notional=1)
    broke = desk.deposit("broke", 3_100_000)
    assert desk.one(broke, sell(0, MARK, 10, 1)) == Status.OK
    assert desk.one(desk.alice, sell(0, MARK, 10, 2)) == Status.OK
    assert desk.one(desk.bob, limit(0, SELL, MARK, 10, 3, expiry=desk.time + 5)) == Status.OK
    assert desk.one(desk.maker, sell(0, MARK, 10, 4)) == Status.OK
    desk.price({0: MARK + 30_000})  # the broke maker's sale would leave it under maintenance
    assert desk.one(desk.alice, mode(fok(BUY, MARK, 10), CANCEL_TAKER)) == Status.SELF_TRADE
    assert len(desk.engine.ledger.orders) == 4
    desk.block(10)
    assert desk.one(desk.alice, fok(BUY, MARK, 10)) == Status.OK
    assert [f.maker for f in desk.last.fills] == [desk.maker] and not desk.engine.ledger.orders


def test_fill_or_kill_counts_a_maker_on_from_its_own_earlier_fills() -> None:
    desk = Desk(min_notional=1, impact=0)
    thin = desk.deposit("thin", 310_500_000)  # margin for 1,000 lots at the mark, and little more
    assert desk.do(thin, sell(0, MARK, 500, 1), sell(0, MARK, 500, 2)) == [Status.OK, Status.OK]
    desk.price({0: MARK + 28_000})
    # either fill alone would do; after the first, the second no longer meets maintenance
    assert desk.one(desk.alice, fok(BUY, MARK, 1_000)) == Status.FOK_UNFILLED
    assert not desk.last.fills
    assert desk.one(desk.alice, buy(0, MARK, 1_000, 3, tif=IOC)) == Status.OK
    assert [f.lots for f in desk.last.fills] == [500], "the same visits as an immediate order makes"


# --- self-trade -------------------------------------------------------------------------------------------------------


def test_self_trade_modes_cancel_the_resting_the_taker_or_both() -> None:
    desk = Desk(min_notional=1)
    for self_trade, left in ((0, 0), (CANCEL_TAKER, 1), (CANCEL_BOTH, 0)):
        assert desk.one(desk.alice, cancel_all(0)) == Status.OK
        desk.run(encoding.write_sweep(0, SELL))
        assert desk.one(desk.alice, sell(0, MARK, 10)) == Status.OK
        status = desk.one(desk.alice, mode(buy(0, MARK, 10, 2, tif=IOC), self_trade))
        assert status == (Status.SELF_TRADE if self_trade else Status.OK)
        assert len(desk.engine.ledger.orders) == left and not desk.last.fills


# --- amend and cancel -------------------------------------------------------------------------------------------------


def test_amend_makes_an_order_smaller_and_keeps_its_place() -> None:
    desk = Desk(min_notional=20 * MARK)
    desk.do(desk.alice, sell(0, MARK, 30, 1))
    desk.do(desk.bob, sell(0, MARK, 30, 2))
    seq = desk.seq(desk.alice)
    for lots, status in ((0, Status.BAD_LOTS), (30, Status.BAD_LOTS), (31, Status.BAD_LOTS), (1, Status.MIN_NOTIONAL)):
        assert desk.one(desk.alice, amend(0, SELL, MARK, seq, lots)) == status
    assert desk.one(desk.bob, amend(0, SELL, MARK, seq, 20)) == Status.NOT_YOUR_ORDER
    assert desk.one(desk.alice, amend(0, SELL, MARK, seq + 9, 20)) == Status.ORDER_NOT_FOUND
    assert desk.one(desk.alice, amend(0, SELL, MARK, seq, 20)) == Status.OK
    assert desk.position(desk.alice).sell_lots == 20
    assert desk.one(desk.maker, buy(0, MARK, 25, tif=IOC)) == Status.OK
    assert [(f.maker, f.lots) for f in desk.last.fills] == [(desk.alice, 20), (desk.bob, 5)]


def test_a_dead_order_is_not_amended_and_reduce_only_ones_are() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 100)
    desk.do(desk.alice, sell(0, MARK, 30, 1), cancel_all(0), reduce_only(SELL, MARK + 5, 100, 2))
    assert desk.one(desk.alice, amend(0, SELL, MARK, desk.seq(desk.alice), 20)) == Status.ORDER_NOT_FOUND
    assert desk.one(desk.alice, amend(0, SELL, MARK + 5, desk.seq(desk.alice, 2), 20, 2)) == Status.OK
    assert desk.position(desk.alice).reduce_lots == 20


def test_cancel_all_kills_every_kind_and_a_dead_order_still_gives_its_fee_back() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 100)
    before = desk.collateral(desk.alice)
    listed = [sell(0, MARK + 9, 30, 1), reduce_only(SELL, MARK + 5, 100, 2), trigger(0, SELL, 0, MARK - 9, 100, 3)]
    assert desk.do(desk.alice, *listed, cancel_all(0)) == [Status.OK] * 4
    assert desk.collateral(desk.alice) == before - 3 * REST_FEE
    seqs = [desk.seq(desk.alice, client_id) for client_id in (1, 2, 3)]
    assert desk.one(desk.bob, buy(0, MARK + 9, 50, tif=IOC)) == Status.OK
    assert not desk.last.fills and len(desk.engine.ledger.orders) == 1, "the visits removed two of them"
    assert desk.one(desk.alice, cancel_trigger(0, 0, MARK - 9, seqs[2], 3)) == Status.OK
    assert desk.collateral(desk.alice) == before - 2 * REST_FEE
    assert desk.position(desk.alice).open_orders == 0


def test_sweep_removes_dead_orders_from_an_edge_and_stops_at_a_living_one() -> None:
    desk = Desk(min_notional=1)
    assert desk.run(encoding.write_sweep(7, SELL)).status == Status.NO_MARKET
    assert desk.run(encoding.write_sweep(0, SELL)).status == Status.NOTHING_TO_SWEEP
    desk.do(desk.alice, *[sell(0, MARK, 1, number) for number in range(10)])
    desk.do(desk.alice, *[sell(0, MARK, 1, number) for number in range(10, 18)], cancel_all(0))
    desk.do(desk.bob, sell(0, MARK, 1, 1))
    assert desk.run(encoding.write_sweep(0, SELL)).status == Status.OK
    assert len(desk.engine.ledger.orders) == 3
    assert desk.run(encoding.write_sweep(0, SELL)).status == Status.OK
    assert desk.run(encoding.write_sweep(0, SELL)).status == Status.NOTHING_TO_SWEEP
    assert len(desk.engine.ledger.orders) == 1
    assert desk.collateral(desk.alice) == RICH - 18 * REST_FEE, "what dies pays for its removal"


# --- triggers ---------------------------------------------------------------------------------------------------------


def fire(desk: Desk, direction: int) -> Receipt:
    return desk.run(encoding.write_trigger_fire(0, direction))


def test_a_stop_and_a_take_profit_may_both_cover_the_whole_position() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 100)
    listed = [trigger(0, SELL, 0, MARK - 100, 100, 1), trigger(0, SELL, 1, MARK + 100, 100, 2)]
    assert desk.do(desk.alice, *listed) == [Status.OK, Status.OK]
    assert fire(desk, 0).status == fire(desk, 1).status == Status.TRIGGER_NOT_REACHED
    desk.do(desk.bob, buy(0, MARK - 120, 300))
    desk.price({0: MARK - 100})
    before = desk.collateral(desk.alice)
    fired = fire(desk, 0)
    assert (fired.status, [f.lots for f in fired.fills]) == (Status.OK, [100])
    loss = 120 * 100 * 10 + (MARK - 120) * 100 * 10 * 500 // 1_000_000
    assert desk.collateral(desk.alice) == before - loss + REST_FEE, "fired, it gives its fee back"
    desk.price({0: MARK + 100})
    assert fire(desk, 1).status == Status.OK and not desk.engine.ledger.orders.get((0, TRIGGER_RISE, 0))
    assert desk.position(desk.alice) == Position()
    assert desk.collateral(desk.alice) == before - loss + REST_FEE, "the other one died with the position"


def test_triggers_fire_in_the_order_in_which_the_mark_reaches_them() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 100)
    desk.long(desk.bob, 100)
    desk.do(desk.alice, trigger(0, SELL, 0, MARK - 300, 10, 1), trigger(0, SELL, 0, MARK - 100, 11, 2))
    desk.do(desk.bob, trigger(0, SELL, 0, MARK - 100, 12, 3), trigger(0, SELL, 0, MARK - 50, 13, 4))
    desk.do(desk.maker, buy(0, MARK - 400, 300))
    desk.price({0: MARK - 300})
    assert [fire(desk, 0).fills[0].lots for _ in range(4)] == [13, 11, 12, 10]
    assert fire(desk, 0).status == Status.TRIGGER_NOT_REACHED


def test_a_trigger_sells_no_lower_than_its_limit_and_the_band() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 100)
    desk.do(desk.alice, trigger(0, SELL, 0, MARK - 10, 40, 1, limit=MARK - 50), trigger(0, SELL, 0, MARK - 20, 60, 2))
    desk.do(desk.maker, buy(0, MARK - 51, 300))
    desk.price({0: MARK - 20})
    receipt = fire(desk, 0)
    assert receipt.status == Status.OK and not receipt.fills, "its limit is not met: it is gone, and nothing was sold"
    assert [f.price for f in fire(desk, 0).fills] == [MARK - 51]
    assert desk.position(desk.alice).size == 40


def test_what_a_trigger_must_be() -> None:
    desk = Desk()
    assert desk.one(desk.alice, trigger(0, SELL, 0, MARK, 10_000)) == Status.REDUCE_ONLY_SIZE
    desk.long(desk.alice, 1_000)
    refused = {
        Status.NO_MARKET: trigger(5, SELL, 0, MARK, 10),
        Status.BAD_PRICE: trigger(0, SELL, 0, 0, 10),
        Status.BAD_LOTS: trigger(0, SELL, 0, MARK, 0),
        Status.TOO_LARGE: trigger(0, SELL, 0, MARK, 1 << 41),
        Status.OI_CAP: trigger(0, SELL, 0, MARK, 1 << 39),
        Status.REDUCE_ONLY_SIZE: trigger(0, BUY, 1, MARK, 10),
        Status.ORDER_EXPIRED: trigger(0, SELL, 0, MARK, 10, expiry=desk.time - 1),
        Status.BAD_TIME: trigger(0, SELL, 0, MARK, 10, expiry=1 << 49),
        Status.MIN_NOTIONAL: trigger(0, SELL, 0, 1, 10),
    }
    for status, action in refused.items():
        assert desk.one(desk.alice, action) == status
    assert desk.one(desk.alice, trigger(0, SELL, 0, MARK, 1_000)) == Status.OK
    assert desk.deliver(6, configure_market(0, status=3)).status == Status.OK
    assert desk.one(desk.alice, trigger(0, SELL, 0, MARK, 1_000)) == Status.MARKET_HALTED
    assert fire(desk, 0).status == Status.MARKET_HALTED
    assert desk.one(desk.alice, cancel_trigger(0, 0, MARK, desk.seq(desk.alice))) == Status.OK


def test_a_trigger_waits_for_a_fresh_price_and_for_its_turn() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 40)
    desk.do(desk.alice, trigger(0, SELL, 0, MARK, 40))
    desk.block(60_000)
    assert fire(desk, 0).status == Status.STALE_PRICE
    desk.price({0: MARK})
    desk.do(desk.maker, *[buy(0, MARK, 2, number) for number in range(12)])
    desk.do(desk.maker, *[buy(0, MARK, 2, number) for number in range(12, 20)])
    receipt = fire(desk, 0)
    assert receipt.status == Status.PENDING and len(receipt.fills) == 16
    assert fire(desk, 0).status == Status.MARKET_BUSY
    assert desk.run(encoding.write_continue(0)).status == Status.OK
    assert desk.position(desk.alice) == Position()


def test_a_trigger_of_a_position_that_turned_is_only_removed() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 40)
    desk.do(desk.alice, trigger(0, SELL, 0, MARK, 40))
    desk.do(desk.maker, buy(0, MARK, 300))
    desk.do(desk.alice, sell(0, MARK, 50, 2, tif=IOC))
    assert desk.position(desk.alice).size == -10
    receipt = fire(desk, 0)
    assert receipt.status == Status.OK and not receipt.fills
    assert desk.position(desk.alice).open_orders == 0
    assert desk.engine.ledger.books[(0, TRIGGER_FALL)] == []


# --- the dead man's switch --------------------------------------------------------------------------------------------


def test_the_switch_kills_resting_orders_and_refuses_new_ones_until_it_is_set_anew() -> None:
    desk = Desk(min_notional=1)
    assert desk.do(desk.alice, sell(0, MARK, 10, 1), cancel_at(desk.time + 2_000)) == [Status.OK, Status.OK]
    desk.block(1_000)
    assert desk.one(desk.alice, cancel_at(desk.time + 2_000)) == Status.OK, "in time"
    desk.block(2_500)
    assert desk.one(desk.alice, sell(0, MARK, 10, 2)) == Status.SWITCH_FIRED
    assert desk.one(desk.alice, cancel_at(0)) == Status.SWITCH_FIRED
    assert desk.do(desk.alice, cancel_all(0), cancel_at(0), sell(0, MARK, 5, 2)) == [Status.OK] * 3
    assert desk.one(desk.bob, buy(0, MARK, 15, tif=IOC)) == Status.OK
    assert [f.lots for f in desk.last.fills] == [5], "what died stays dead"
    assert desk.one(desk.alice, cancel_at(1 << 48)) == Status.BAD_TIME


def test_a_pending_order_does_not_outlive_the_switch_the_halt_or_its_reduce_only_market() -> None:
    for after, status in ((None, Status.SWITCH_FIRED), (3, Status.MARKET_HALTED), (2, Status.MARKET_REDUCE_ONLY)):
        desk = Desk(min_notional=1)
        desk.do(desk.maker, *[sell(0, MARK, 2, number) for number in range(12)])
        desk.do(desk.maker, *[sell(0, MARK, 2, number) for number in range(12, 20)])
        if after is None:
            desk.do(desk.alice, cancel_at(desk.time + 500))
        assert desk.one(desk.alice, buy(0, MARK, 40, 9)) == Status.PENDING
        desk.block(1_000)
        if after is not None:
            assert desk.deliver(6, configure_market(0, status=after, min_notional=1)).status == Status.OK
        assert desk.run(encoding.write_continue(0)).status == status
        assert desk.run(encoding.write_continue(0)).status == Status.NOT_PENDING
        assert (desk.position(desk.alice).size, desk.position(desk.alice).buy_lots) == (32, 0)


def test_cancel_all_drops_a_pending_order_of_any_kind() -> None:
    desk = Desk(min_notional=1)
    desk.long(desk.alice, 40)
    desk.do(desk.maker, *[buy(0, MARK, 2, number) for number in range(12)])
    desk.do(desk.maker, *[buy(0, MARK, 2, number) for number in range(12, 20)])
    assert desk.one(desk.alice, reduce_only(SELL, MARK, 40, 9)) == Status.PENDING
    assert desk.one(desk.alice, cancel_all(0)) == Status.OK
    assert desk.position(desk.alice).reduce_lots == 0
    assert desk.run(encoding.write_continue(0)).status == Status.NOT_PENDING


def test_post_only_and_what_may_rest_at_all() -> None:
    desk = Desk()
    desk.do(desk.maker, sell(0, MARK, 100))
    assert desk.one(desk.alice, buy(0, MARK, 100, tif=POST_ONLY)) == Status.WOULD_CROSS
    assert desk.one(desk.alice, buy(0, MARK - 1, 100, tif=POST_ONLY)) == Status.OK
    assert desk.one(desk.alice, buy(0, MARK, 0, tif=POST_ONLY)) == Status.BAD_LOTS
    assert desk.one(desk.alice, buy(0, 1, 100)) == Status.MIN_NOTIONAL
