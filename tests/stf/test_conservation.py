"""Money is conserved exactly, and the books agree with an independent model, under random histories."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.stf import encoding
from node.stf.state import book_key
from node.stf.types import GTC, IOC, POST_ONLY, Receipt, Status
from tests.stf.auditor import Auditor, check
from tests.stf.world import World, buy, cancel, cancel_all, sell

NAMES = ("alice", "bob", "carol", "dave", "erin")
ACCOUNTS = st.integers(1, len(NAMES))
MARKETS = st.integers(0, 1)
PRICES = st.sampled_from((-40, -20, -3, -1, 0, 1, 3, 20, 40))


class Venue(RuleBasedStateMachine):
    """Five traders with thin collateral in two markets whose price walks."""

    @initialize(collateral=st.lists(st.integers(10**9, 2 * 10**9), min_size=5, max_size=5))
    def open(self, collateral: list[int]) -> None:
        self.world = World(strict=True)
        self.auditor = Auditor()
        self.mark = {0: 600_000, 1: 30_000}
        self.world.block(self.world.l1_time * 1000)
        self.world.create_market(0)
        self.world.create_market(1, fees=(333, 77), impact=1_000_000)
        for name, amount in zip(NAMES, collateral, strict=True):
            self.auditor.deposit(self.world.deposit(name, amount), amount)
        self.world.price(self.mark)
        for short, long in ((1, 2), (3, 4)):
            self.note(self.world.actions(short, sell(0, 600_000, 3_000)))
            self.note(self.world.actions(long, buy(0, 600_000, 3_000)))

    def note(self, receipt: Receipt) -> Receipt:
        for fill in receipt.fills:
            self.auditor.fill(fill)
        for market in (0, 1):
            row = self.world.engine.ledger.markets[market]
            assert row is not None
            if row.pending.lots and receipt.kind == 1 and Status.PENDING in receipt.action_statuses:
                self.note(self.world.run(encoding.write_continue(market)))
        return receipt

    @rule(
        account=ACCOUNTS,
        market=MARKETS,
        side=st.booleans(),
        offset=PRICES,
        lots=st.sampled_from((1, 7, 40, 200, 999, 1500, 4000)),
        tif=st.sampled_from((GTC, GTC, GTC, IOC, POST_ONLY)),
        ttl=st.sampled_from((0, 0, 0, 1500)),
    )
    def place(self, account: int, market: int, side: bool, offset: int, lots: int, tif: int, ttl: int) -> None:
        price = self.mark[market] + offset * self.mark[market] // 2000
        expiry = self.world.time + ttl if ttl else 0
        order = (buy if side else sell)(market, price, lots, tif=tif, expiry=expiry)
        self.note(self.world.actions(account, order))

    @rule(account=ACCOUNTS, market=MARKETS, count=st.integers(2, 12), lots=st.integers(1, 50), offset=PRICES)
    def ladder(self, account: int, market: int, count: int, lots: int, offset: int) -> None:
        price = self.mark[market] + offset * self.mark[market] // 2000
        self.note(self.world.actions(account, *[buy(market, price - i, lots, i) for i in range(count)]))

    @precondition(lambda self: self.world.engine.ledger.orders)
    @rule(pick=st.integers(0, 10**6), thief=st.booleans())
    def cancel_one(self, pick: int, thief: bool) -> None:
        orders = sorted(self.world.engine.ledger.orders.items(), key=lambda item: item[0])
        (market, side, place), order = orders[pick % len(orders)]
        price, seq = place >> 64, place & ((1 << 64) - 1)
        price = price if side else 0xFFFFFFFF - price
        assert book_key(side, price, seq) == place
        account = order.account % len(NAMES) + 1 if thief else order.account
        receipt = self.note(self.world.actions(account, cancel(market, side, price, seq, order.client_id)))
        assert receipt.action_statuses == [Status.NOT_YOUR_ORDER if thief else Status.OK]

    @rule(account=ACCOUNTS, market=MARKETS)
    def kill_all(self, account: int, market: int) -> None:
        self.note(self.world.actions(account, cancel_all(market)))

    @rule(market=MARKETS, move=st.sampled_from((-90, -40, -10, -1, 1, 10, 40, 90)))
    def move_price(self, market: int, move: int) -> None:
        self.mark[market] += self.mark[market] * move // 1000
        self.world.price(self.mark)

    @rule()
    def liquidate(self) -> None:
        for account in range(1, len(NAMES) + 1):
            for market in (0, 1):
                before = self.world.engine.globals.insurance_total
                self.note(self.world.run(encoding.write_liquidate(account, market)))
                penalty = self.world.engine.globals.insurance_total - before
                assert penalty >= 0
                self.auditor.withdraw(account, penalty)

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**9))
    def withdraw(self, account: int, amount: int) -> None:
        if self.world.withdraw(account, amount).status == Status.OK:
            self.auditor.withdraw(account, amount)

    @rule(step=st.integers(1, 9_000))
    def wait(self, step: int) -> None:
        self.world.block(step)

    @invariant()
    def books_agree(self) -> None:
        check(self.world.engine.ledger, self.auditor)

    def teardown(self) -> None:
        """Whatever happened, the chunks replay from genesis to the same leaves."""
        self.world.cut()
        fresh = World()
        fresh.inbox = self.world.inbox
        for chunk, result in zip(self.world.chunks, self.world.results, strict=True):
            if chunk:
                _receipts, replayed = fresh.engine.execute_chunk(chunk)
                assert replayed == result
                fresh.store.apply(replayed.changes)
        assert fresh.store.leaves == self.world.store.leaves


TestVenue = Venue.TestCase
TestVenue.settings = settings(stateful_step_count=50)
