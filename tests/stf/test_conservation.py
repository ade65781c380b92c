"""Money is conserved to the micro-USD and the books agree with an independent model, under random histories.

Five traders with thin collateral, three markets (one dated), every kind of transaction. After each transaction the
model (`tests/stf/model.py`) compares all money, sizes and totals, and each chunk is executed by the contract too.
`ANCHORLINE_PROFILE=long` takes 100,000 steps.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.stf import encoding
from node.stf.params import REST_FEE
from node.stf.state import book_key
from node.stf.types import ADMIN, BUY, FOK, FORCED, GTC, IOC, POST_ONLY, SELL, Action, Receipt, Status
from tests.conftest import PROFILE
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import shared_court
from tests.stf import messages
from tests.stf.orders import amend, cancel_at, options, place_of, trigger
from tests.stf.resting import check_resting, netted_losses, opens, worst_initial
from tests.stf.world import address, cancel, cancel_all, configure_market, limit, private_key, sign

NAMES = ("alice", "bob", "carol", "dave", "erin")
ACCOUNTS = st.integers(1, len(NAMES))
DATED = 2
MARKETS = st.sampled_from((0, 0, 0, 1, 1, DATED))
OFFSETS = st.sampled_from((-40, -20, -3, -1, 0, 0, 1, 3, 20, 40))
LOTS = st.sampled_from((1, 7, 40, 200, 999, 1500, 4000))
SIDES = st.sampled_from((BUY, SELL))
IDS = st.integers(1, 4)

EXAMPLES, STEPS = (1_000, 100) if PROFILE == "long" else (40, 50)


class Venue(RuleBasedStateMachine):
    """A venue whose prices walk and jump."""

    @initialize(
        collateral=st.lists(st.sampled_from((10**9, 10**9, 2 * 10**9, 10**10)), min_size=5, max_size=5),
        insured=st.sampled_from((0, 10**8)),
        buffer_ms=st.sampled_from((0, 0, 3_000)),
        jump=st.sampled_from((0, 30_000)),
    )
    def open(self, collateral: list[int], insured: int, buffer_ms: int, jump: int) -> None:
        world = self.world = DifferentialWorld(shared_court())
        self.model = world.model
        self.mark = {0: 600_000, 1: 30_000, DATED: 500_000}
        world.block(world.l1_time * 1000)
        for market, parameters in {0: {}, 1: {"fees": (333, 77), "impact": 1_000_000}, DATED: {"fees": (0, 0)}}.items():
            world.create_market(market, **parameters)
        common = {"near_band": 10_000, "z": 300, "sigma_floor": 100_000, "addon_cap": 50_000, "vol_window": 30_000}
        basis = {"basis_cap": 5_000, "spread_max": 50_000, "basis_window": 5_000}
        world.configure_risk(0, **common, **basis, reduce_cap=100_000, jump_limit=jump, jump_hold=2_000)
        world.configure_risk(1, **common)
        world.configure_risk(DATED, **common, expiry=world.time + 40_000)
        world.configure_chain(
            anchor_interval=5_000, tau_reduce=60_000, tau_halt=300_000, buffer_ms=buffer_ms, refill=2,
            horizon_ms=10_000, closeout=500_000, outflow_limit=3 * 10**9,
        )
        for name, amount in zip(NAMES, collateral, strict=True):
            world.deposit(name, amount)
        if insured:
            world.donate(0, insured)
        world.price(self.mark)
        for short, long in ((1, 2), (3, 4)):
            self.act(short, limit(0, SELL, 600_000, 3_000))
            self.act(long, limit(0, BUY, 600_000, 3_000))

    def act(self, account: int, *listed: object) -> Receipt:
        """Send actions, and the Continues that they ask for."""
        sizes = dict(self.model.sizes)
        before = {a: worst_initial(self.world, a) for a in range(1, self.world.engine.globals.next_account)}
        netted = netted_losses(self.world)
        receipts = [self.world.actions(account, *listed), *self.go_on()]  # type: ignore[arg-type]
        for a, (equity, asked) in before.items():
            if equity >= asked:
                self.stays_covered(a, sizes, receipts, len(listed), netted[a])
        return receipts[0]

    def go_on(self) -> list[Receipt]:
        """The Continues that pending orders ask for."""
        receipts = []
        for market in self.mark:
            while self.world.engine.ledger.markets[market].pending.lots:  # type: ignore[union-attr]
                receipts.append(self.world.run(encoding.write_continue(market)))
        return receipts

    def stays_covered(
        self, account: int, sizes: dict[tuple[int, int], int], receipts: list[Receipt], n: int, netted: int
    ) -> None:
        """An account whose equity covers its worst fills still does after orders, but for fees, and for the losses
        that better-priced orders of the same side stood against.

        Not one that reduced: a fill that reduces must leave no smaller share of maintenance, which is another measure;
        nor one that has nothing but reducing orders, which need no margin whatever their price.
        """
        fell = any(abs(self.model.sizes[(account, m)]) < abs(sizes.get((account, m), 0)) for m in self.mark)
        if fell or not opens(self.world, account):
            return
        fees = n * REST_FEE
        for fill in (fill for receipt in receipts for fill in receipt.fills):
            fees += fill.taker_fee * (fill.taker == account) + fill.maker_fee * (fill.maker == account)
        equity, asked = worst_initial(self.world, account)
        assert equity + fees + netted >= asked, f"account {account} was covered and now has {equity} for {asked}"

    def price_at(self, market: int, offset: int) -> int:
        return max(1, self.mark[market] + offset * self.mark[market] // 2000)

    # --- traders ------------------------------------------------------------------------------------------------------

    @rule(
        account=ACCOUNTS, market=MARKETS, side=SIDES, offset=OFFSETS, lots=LOTS, client_id=IDS,
        tif=st.sampled_from((GTC, GTC, GTC, IOC, POST_ONLY, FOK)), ttl=st.sampled_from((0, 0, 0, 1500)),
        reduce_only=st.sampled_from((0, 0, 1)), self_trade=st.sampled_from((0, 0, 1, 2)),
    )
    def place(
        self, account: int, market: int, side: int, offset: int, lots: int, client_id: int, tif: int, ttl: int,
        reduce_only: int, self_trade: int,
    ) -> None:
        expiry = self.world.time + ttl if ttl else 0
        order = limit(market, side, self.price_at(market, offset), lots, client_id, tif=tif, expiry=expiry)
        order.reduce_only, order.self_trade = reduce_only, self_trade
        before = self.model.sizes[(account, market)]
        receipt = self.act(account, order)
        filled = sum(fill.lots for fill in receipt.fills)
        if tif == FOK:
            assert filled in (0, lots) and Status.PENDING not in receipt.action_statuses, "all or nothing"
        if reduce_only:
            after = self.model.sizes[(account, market)]
            assert abs(after) <= abs(before) and after * before >= 0, "reduce-only orders only reduce"

    @rule(
        maker=ACCOUNTS, distance=st.integers(1, 4), market=MARKETS, side=SIDES, offset=st.sampled_from((-2, 0, 0, 2)),
        lots=st.sampled_from((40, 300, 1_500, 3_000)),
    )
    def trade(self, maker: int, distance: int, market: int, side: int, offset: int, lots: int) -> None:
        """Two accounts meet near the mark: positions come from here."""
        price = self.price_at(market, offset)
        self.act(maker, limit(market, side, price, lots, 1))
        self.act((maker + distance - 1) % len(NAMES) + 1, limit(market, 1 - side, price, lots, 2, tif=IOC))

    @rule(
        market=MARKETS, moves=st.lists(st.sampled_from((-60, -30, -30, -10, 10, 30, 30, 60)), min_size=1, max_size=6),
        quotes=st.booleans(), forced=st.sampled_from((False, False, True)),
    )
    def slide(self, market: int, moves: list[int], quotes: bool, forced: bool) -> None:
        """The price runs, somebody may quote near it, and keepers ask for everybody after each move, or L1 does."""
        for move in moves:
            self.mark[market] += self.mark[market] * move // 1000
            self.world.block(1_100)
            self.world.price(self.mark)
            if quotes:
                price, lots = self.mark[market], 700
                for account, side in ((1, BUY), (2, SELL), (3, BUY), (4, SELL)):
                    away = price * (account - 2) // 2_000
                    self.act(account, limit(market, side, price + (away if side else -away), lots, 3))
            for account in range(len(NAMES) + 1):
                transaction = encoding.write_liquidate(account, market)
                (self.force if forced else self.world.run)(transaction)

    @rule()
    def calm(self) -> None:
        """L1 answers, publishers publish, markets are open, switches are off."""
        self.world.anchor()
        for market in (0, 1):
            self.configure(market, 1)
        self.world.price(self.mark)
        for account in range(1, len(NAMES) + 1):
            for market in self.mark:
                self.act(account, cancel_all(market))
            self.act(account, cancel_at(0))

    @rule(
        account=ACCOUNTS, market=MARKETS, side=SIDES, count=st.integers(2, 12), lots=st.integers(1, 50), offset=OFFSETS
    )
    def ladder(self, account: int, market: int, side: int, count: int, lots: int, offset: int) -> None:
        price = self.price_at(market, offset)
        self.act(account, *[limit(market, side, price - i, lots, i) for i in range(count)])

    @rule(
        account=ACCOUNTS, market=MARKETS, side=SIDES, direction=st.integers(0, 1), offset=OFFSETS, lots=LOTS,
        client_id=IDS, worst=st.sampled_from((0, 0, -30, 30)),
    )
    def stop(
        self, account: int, market: int, side: int, direction: int, offset: int, lots: int, client_id: int, worst: int
    ) -> None:
        limited = self.price_at(market, worst) if worst else 0
        price = self.price_at(market, offset)
        self.act(account, trigger(market, side, direction, price, lots, client_id, limit=limited))

    @precondition(lambda self: self.world.engine.ledger.orders)
    @rule(pick=st.integers(0, 10**6), thief=st.booleans())
    def cancel_one(self, pick: int, thief: bool) -> None:
        key, order = self.pick_order(pick)
        market, side, price, seq = place_of(key)
        assert book_key(side, price, seq) == key[2]
        account = order.account % len(NAMES) + 1 if thief else order.account
        receipt = self.act(account, cancel(market, side, price, seq, order.client_id))
        assert receipt.action_statuses == [Status.NOT_YOUR_ORDER if thief else Status.OK]

    @precondition(lambda self: self.world.engine.ledger.orders)
    @rule(pick=st.integers(0, 10**6), share=st.integers(0, 10))
    def amend_one(self, pick: int, share: int) -> None:
        key, order = self.pick_order(pick)
        market, side, price, seq = place_of(key)
        if side < 2:
            self.act(order.account, amend(market, side, price, seq, order.lots * share // 10, order.client_id))

    def pick_order(self, pick: int) -> tuple[tuple[int, int, int], object]:
        orders = sorted(self.world.engine.ledger.orders.items(), key=lambda item: item[0])
        return orders[pick % len(orders)]

    @rule(account=ACCOUNTS, market=MARKETS)
    def kill_all(self, account: int, market: int) -> None:
        self.act(account, cancel_all(market))

    @rule(account=ACCOUNTS, ahead=st.sampled_from((0, 0, 4_000, 100_000)))
    def switch(self, account: int, ahead: int) -> None:
        self.act(account, cancel_at(self.world.time + ahead if ahead else 0))

    @rule(account=ACCOUNTS, market=MARKETS, first=st.booleans())
    def overdo(self, account: int, market: int, first: bool) -> None:
        """Turn a position over by a plain order, and close it by a reduce-only one too: both may fill."""
        size = self.model.sizes[(account, market)]
        side = SELL if size > 0 else BUY
        price = self.price_at(market, 2 if side else -2)
        closing = limit(market, side, price, abs(size), 1)
        closing.reduce_only = 1
        orders = [closing, limit(market, side, price, 2 * abs(size), 2)]
        self.act(account, *(orders if first else orders[::-1]))

    @rule(account=ACCOUNTS, opt_in=st.sampled_from((0, 1, 1, 1)))
    def opt(self, account: int, opt_in: int) -> None:
        self.act(account, options(opt_in))

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**9))
    def withdraw(self, account: int, amount: int) -> None:
        self.world.withdraw(account, amount)

    @rule(
        account=ACCOUNTS, slot=st.integers(0, 5), named=st.sampled_from((1, 1, 0)),
        ahead=st.sampled_from((None, None, 20_000, -1)), market=MARKETS, side=SIDES,
    )
    def set_key(self, account: int, slot: int, named: int, ahead: int | None, market: int, side: int) -> None:
        """A trading key, and an order by it."""
        world = self.world
        key = private_key(f"trading {account} {slot}")
        expiry = 0 if ahead is None else world.time + ahead
        collateral = world.engine.globals.accounts_total
        receipt = world.set_key(account, slot, named * address(key), expiry)
        assert world.engine.globals.accounts_total == collateral, "keys cost nothing"
        if receipt.status == Status.OK and slot:
            listed = (limit(market, side, self.price_at(market, 0), 7, 4, tif=IOC),)
            world.nonces[(account, slot)] = max(world.nonces.get((account, slot), 0), world.time)
            status = world.run(world.sign_actions(account, listed, key=key, slot=slot)).status
            self.go_on()
            assert (status == Status.OK) == (named == 1 and ahead != -1), Status(status).name

    # --- through L1 ---------------------------------------------------------------------------------------------------

    def force(self, transaction: bytes) -> Receipt:
        """Deliver a transaction by the inbox. It is well-formed and fits, so it is judged as any other."""
        receipt = self.world.deliver(FORCED, transaction)
        assert receipt.status != Status.FORCED_INVALID
        self.go_on()
        return receipt

    @rule(account=ACCOUNTS, market=MARKETS, side=SIDES, offset=OFFSETS, lots=LOTS, closes=st.booleans())
    def forced_actions(self, account: int, market: int, side: int, offset: int, lots: int, closes: bool) -> None:
        """An order, with a cancel of everything before it; or one that closes."""
        listed: tuple[Action, ...] = (
            cancel_all(market), limit(market, side, self.price_at(market, offset), lots, 2),
        )
        size = self.model.sizes[(account, market)]
        if closes and size:
            side = SELL if size > 0 else BUY
            closing = limit(market, side, self.price_at(market, -20 if side == SELL else 20), abs(size), 1, tif=IOC)
            closing.reduce_only = 1
            listed = (closing,)
        self.force(self.world.sign_actions(account, listed, base=0))

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**9))
    def forced_withdraw(self, account: int, amount: int) -> None:
        world = self.world
        world.engine.bind()
        nonce, expiry = world.next_nonce(account, 0), world.time + 60_000
        digest = encoding.withdraw_digest(account, nonce, expiry, 0xBEEF, amount)
        signature = sign(world.keys[account], digest)
        before = world.engine.globals.withdrawn
        receipt = self.force(encoding.write_withdraw(account, nonce, expiry, 0xBEEF, amount, signature, 0))
        paid = world.engine.globals.withdrawn - before
        assert paid == (amount if receipt.status == Status.OK else 0), "all of it or nothing"

    @rule(account=ACCOUNTS, slot=st.integers(1, 3))
    def forced_set_key(self, account: int, slot: int) -> None:
        world, key = self.world, address(private_key(f"trading {account} {slot}"))
        world.engine.bind()
        nonce, expiry = world.next_nonce(account, 0), world.time + 60_000
        digest = encoding.set_key_digest(account, nonce, expiry, slot, key, 0)
        signature = sign(world.keys[account], digest)
        self.force(encoding.write_set_key(account, slot, nonce, expiry, key, 0, signature, 0))

    @rule(account=st.integers(0, len(NAMES)), market=MARKETS)
    def forced_liquidate(self, account: int, market: int) -> None:
        self.force(encoding.write_liquidate(account, market))

    @rule(account=ACCOUNTS, amount=st.integers(1, 10**8))
    def deposit(self, account: int, amount: int) -> None:
        owner = address(private_key(NAMES[account - 1]))
        self.world.deliver(1, messages.deposit(account, owner, amount))

    # --- prices, time, L1 ---------------------------------------------------------------------------------------------

    @rule(
        market=MARKETS,
        move=st.sampled_from((-90, -40, -10, -1, 1, 10, 40, 90)),
        slots=st.sampled_from(((0, 1, 2), (0, 1, 2), (1,))),
    )
    def move_price(self, market: int, move: int, slots: tuple[int, ...]) -> None:
        self.mark[market] += self.mark[market] * move // 1000
        self.world.price(self.mark, slots)

    @rule(step=st.sampled_from((1, 200, 1_500, 1_500, 1_500, 9_000, 35_000)))
    def wait(self, step: int) -> None:
        self.world.block(step)

    @rule(ago=st.sampled_from((0, 0, 0, 3_000, 90_000)), rollback=st.sampled_from((False, False, True)))
    def anchor(self, ago: int, rollback: bool) -> None:
        self.world.anchor(self.world.time - ago, rollback=rollback)

    @rule(market=MARKETS, amount=st.integers(1, 10**8))
    def donate(self, market: int, amount: int) -> None:
        self.world.donate(market, amount)

    @rule(market=MARKETS, share=st.sampled_from((1, 50, 100, 101)))
    def fund(self, market: int, share: int) -> None:
        amount = max(1, self.world.engine.globals.fees * share // 100)
        self.world.deliver(ADMIN, messages.fund_insurance(market, amount))

    @rule(market=st.sampled_from((0, 1)), status=st.sampled_from((1, 1, 1, 1, 2, 3)))
    def configure(self, market: int, status: int) -> None:
        parameters = {"fees": (333, 77), "impact": 1_000_000} if market else {}
        self.world.deliver(ADMIN, configure_market(market, **parameters, status=status))  # type: ignore[arg-type]

    # --- keepers ------------------------------------------------------------------------------------------------------

    @rule()
    def liquidate(self) -> None:
        for account in range(len(NAMES) + 1):
            for market in self.mark:
                self.world.run(encoding.write_liquidate(account, market))

    @rule(market=MARKETS, side=st.integers(0, 3))
    def sweep(self, market: int, side: int) -> None:
        self.world.run(encoding.write_sweep(market, side))

    @rule(market=MARKETS, direction=st.integers(0, 1))
    def fire(self, market: int, direction: int) -> None:
        self.world.run(encoding.write_trigger_fire(market, direction))

    @rule()
    def settle(self) -> None:
        for account in range(1, len(NAMES) + 1):
            self.world.run(encoding.write_settle(account, DATED))

    # --- what must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def books_agree(self) -> None:
        check_resting(self.world)

    def teardown(self) -> None:
        """What is left is a chunk too."""
        if self.world.open_bytes:
            self.world.cut()


TestVenue = Venue.TestCase
TestVenue.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS)
