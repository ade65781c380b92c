"""Random histories: traders, publishers, an operator and vandals, drawn from one seed.

`Soup(court, seed).run(chunks)` lets them act until that many chunks were compared: honest ones, which the history
goes on from, and spoiled ones (cut short, extended, shuffled, overfull), which are only judged. Prices move, so
accounts fall under maintenance and are liquidated; clocks jump, so prices go stale and orders expire.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from coincurve import PrivateKey

from node.stf import encoding
from node.stf.params import CHUNK_TXS_MAX
from node.stf.state import decode_order
from node.stf.transition import InvalidChunk
from node.stf.types import (
    ADMIN,
    ANCHOR_NOTICE,
    BUY,
    DEPOSIT,
    FOK,
    FORCED,
    GTC,
    IOC,
    PAID_NOTICE,
    POST_ONLY,
    ROLLBACK_NOTICE,
    Action,
    Receipt,
    Status,
)
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf import messages, orders
from tests.stf.world import address, cancel, cancel_all, configure_market, limit, message, private_key, sign

MARKETS = {
    0: {"fees": (500, 100)},
    1: {"tick_value": 3, "quorum": 2, "oi_cap": 4_000, "fees": (700, 0), "impact": 0},
    2: {"tick_value": 100, "oi_cap": 1_000_000, "min_notional": 50_000_000, "band": 20_000, "penalty": 30_000},
    9: {"tick_value": 1, "mm": (50_000, 200_000), "im": (60_000, 300_000), "quorum": 1, "stale_ms": 90_000},
    10: {"impact": 0, "stale_ms": 120_000},
}
DATED = 10  # expires some minutes into the history
# what a market starts with; the admin changes it on the way
RISK = {
    0: {"z": 300, "sigma_floor": 50_000, "addon_cap": 50_000, "vol_window": 60_000, "reduce_cap": 100_000,
        "basis_cap": 5_000, "spread_max": 20_000, "basis_window": 10_000, "near_band": 10_000},
    1: {"jump_limit": 20_000, "jump_hold": 2_000, "near_band": 20_000},
    2: {"z": 100, "sigma_floor": 300_000, "addon_cap": 200_000, "reduce_cap": 20_000, "near_band": 5_000},
    9: {"basis_cap": 20_000, "spread_max": 50_000, "basis_window": 1_000, "vol_window": 1_000, "z": 50,
        "addon_cap": 10_000, "near_band": 40_000},
    10: {"near_band": 10_000},
}  # fmt: skip
CHAIN = {"anchor_interval": 10_000, "tau_reduce": 120_000, "tau_halt": 240_000, "buffer_ms": 6_000, "refill": 3,
         "horizon_ms": 20_000, "closeout": 500_000, "outflow_limit": 200_000_000}  # fmt: skip
START_PRICE = 600_000
FAR = 200_000_000


class Soup:
    """One history. Everything it does follows from the seed."""

    def __init__(self, court: Court, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.world = DifferentialWorld(court)
        self.model = self.world.model
        # where this history happens
        self.markets = [*self.rnd.sample((0, 1, 2, 9), 2), self.rnd.choice((0, 1, 2, 9, DATED))]
        self.prices = dict.fromkeys(self.markets, START_PRICE)
        self.trading_keys: dict[tuple[int, int], PrivateKey] = {}
        self.transactions: list[bytes] = []  # of the open chunk
        self.past: list[bytes] = []
        self._open_markets_and_accounts()

    def run(self, chunks: int) -> None:
        """Act until ``chunks`` more were compared."""
        goal = len(self.world.verdicts) + chunks
        while len(self.world.verdicts) < goal:
            for _ in range(self.rnd.choice((1, 2, 4, 8, 16))):
                self.act()
            if self.world.open_bytes:
                self._spoil()
                self.cut()
            assert self.world.conserved()

    def act(self) -> None:
        """One thing happens."""
        acts: list[tuple[Callable[[], object], int]] = [
            (self.trade, 40),
            (self.stack, 4),
            (self.take, 6),
            (self.sign_badly, 8),
            (self.publish, 12),
            (self.publish_badly, 3),
            (self.tick, 6),
            (self.resume, 5),
            (self.liquidate, 12),
            (self.clear, 8),
            (self.storm, 6),
            (self.meet, 8),
            (self.withdraw, 5),
            (self.set_key, 4),
            (self.l1_message, 10),
        ]
        act = self.rnd.choices([a for a, _ in acts], [weight for _, weight in acts])[0]
        act()

    def cut(self) -> None:
        self.world.cut()
        self.past = (self.past + self.transactions)[-40:]
        self.transactions = []

    def send(self, transaction: bytes) -> Receipt | None:
        """Execute, after a cut if the chunk has no room. None if the rules could not take it at all."""
        world = self.world
        if transaction[:1] == b"\x09" and world.open_bytes:
            self.cut()
        for _ in range(2):
            before = world.open_bytes
            try:
                receipt = world.engine.execute(transaction)
            except InvalidChunk:
                if not before:
                    return None
                self.cut()
                continue
            self.transactions.append(transaction)
            world.executed(transaction, receipt)
            return receipt
        return None

    # --- traders ------------------------------------------------------------------------------------------------------

    def account(self) -> int:
        return self.rnd.choice(list(self.world.keys))

    def market(self) -> int:
        return self.rnd.choice(self.markets) if self.rnd.random() < 0.95 else self.rnd.choice((3, 8, 31, 40, 65_535))

    def trade(self) -> None:
        account = self.account()
        market = self.market()
        listed = []
        for _ in range(self.rnd.choice((1, 1, 1, 2, 3, 6, 20))):
            if self.rnd.random() < 0.1:
                market = self.market()
            listed.append(self.action(market))
        slots = [slot for owner, slot in self.trading_keys if owner == account]
        if slots and self.rnd.random() < 0.3:
            slot = self.rnd.choice(slots)
            self.send(self.signed(account, listed, key=self.trading_keys[(account, slot)], slot=slot))
        else:
            self.send(self.signed(account, listed))

    def stack(self) -> None:
        """Many small orders on one side, close to the mark."""
        market, side = self.rnd.choice(self.markets), self.rnd.randrange(2)
        price = self.prices[market]
        orders = []
        for number in range(self.rnd.choice((8, 20, 32))):
            offset = self.rnd.randrange(1, price // 1_000)
            orders.append(limit(market, side, price + (offset if side else -offset), 5, number, tif=GTC))
        self.send(self.signed(self.account(), orders))

    def take(self) -> None:
        """A large order across the mark, and what may follow it while it is matched."""
        market, side = self.rnd.choice(self.markets), self.rnd.randrange(2)
        offset = self.prices[market] // 200
        price = self.prices[market] + (-offset if side else offset)
        order = limit(market, side, price, self.rnd.choice((100, 300)), 7, tif=self.rnd.choice((GTC, IOC, FOK)))
        receipt = self.send(self.signed(self.account(), [order]))
        if receipt is not None and order.tif == FOK:
            filled = sum(fill.lots for fill in receipt.fills)
            assert filled in (0, order.lots) and Status.PENDING not in receipt.action_statuses, "all or nothing"
        for _ in range(self.rnd.randrange(4)):
            self.rnd.choice((self.resume, self.resume, self.trade, self.liquidate, self.publish))()

    def action(self, market: int) -> Action:
        dice = self.rnd.random()
        if dice < 0.10:
            return self.cancel_some(market)
        if dice < 0.13:
            return cancel_all(market)
        if dice < 0.30:
            return self.special(market)
        price = self.prices.get(market, START_PRICE)
        side = self.rnd.randrange(2)
        offset = round(price * self.rnd.choice((0.0005, 0.001, 0.004, 0.03)) * self.rnd.uniform(-0.5, 1))
        price += -offset if side == BUY else offset
        lots = self.rnd.choice((1, 5, 20, 100, 100, 400, 2_000, 9_000))
        order = limit(market, side, price, lots, self.rnd.randrange(1, 9))
        order.tif = self.rnd.choice((GTC, GTC, GTC, GTC, IOC, IOC, POST_ONLY, FOK))
        order.self_trade = self.rnd.choice((0, 0, 0, 1, 2))
        if self.rnd.random() < 0.15:
            order.expiry = max(1, self.world.time + self.rnd.choice((-1, 1, 500, 5_000, 60_000, 2**48)))
        self.odd(order)
        return order

    def special(self, market: int) -> Action:
        """What only some traders use: reduce-only orders, triggers, amends, the switch, options."""
        rnd, price = self.rnd, self.prices.get(market, START_PRICE)
        kind, side = rnd.randrange(10), rnd.randrange(2)
        lots = rnd.choice((1, 5, 20, 100, 400, 2_000))
        if kind < 4:
            order = limit(market, side, price + rnd.randrange(-3_000, 3_000), lots, rnd.randrange(1, 9))
            order.reduce_only, order.tif = 1, rnd.choice((GTC, GTC, IOC, POST_ONLY, FOK))
            return order
        if kind < 7:
            worst = rnd.choice((0, 0, price - 9_000, price + 9_000))
            expiry = rnd.choice((0, 0, 0, self.world.time + 5_000))
            at = price + rnd.randrange(-4_000, 4_000)
            return orders.trigger(
                market, side, rnd.randrange(2), at, lots, rnd.randrange(1, 9), limit=worst, expiry=expiry
            )
        if kind == 7:
            return self.amend_some(market)
        if kind == 8:
            now = self.world.time
            return orders.cancel_at(rnd.choice((0, 0, 0, 0, now + 3_000, now + 60_000, 1, 2**48)))
        return orders.options(rnd.randrange(4) and 1)

    def amend_some(self, market: int) -> Action:
        named = self.cancel_some(market)
        lots = self.rnd.choice((0, 1, 3, 10, 50, 2**64 - 1))
        return orders.amend(named.market, named.side & 1, named.price, named.seq, lots, named.client_id)

    def odd(self, order: Action) -> None:
        """Rarely something that no sane client sends."""
        dice = self.rnd.random()
        if dice < 0.01:
            order.price = self.rnd.choice((0, 1, 2**32 - 1))
        elif dice < 0.02:
            order.lots = self.rnd.choice((0, 2**40 - 1, 2**40, 2**64 - 1))
        elif dice < 0.025:
            order.reduce_only = 1
        elif dice < 0.03:
            order.client_id = 2**64 - 1

    def cancel_some(self, market: int) -> Action:
        keys = list(self.world.trie.keys(b"O"))
        if not keys or self.rnd.random() < 0.1:
            return cancel(market, self.rnd.randrange(2), START_PRICE, self.rnd.randrange(9), 1)
        key = self.rnd.choice(keys)
        value = self.world.trie.get(key)
        assert value is not None
        place, side = int.from_bytes(key[4:8], "big"), key[3]
        price = place if side & 1 else 2**32 - 1 - place
        client_id = decode_order(value).client_id
        return cancel(int.from_bytes(key[1:3], "big"), side, price, int.from_bytes(key[8:16], "big"), client_id)

    def signed(
        self,
        account: int,
        listed: list[Action],
        *,
        key: PrivateKey | None = None,
        slot: int = 0,
        nonce: int | None = None,
        expiry: int | None = None,
        base: int | None = None,
    ) -> bytes:
        world = self.world
        world.engine.bind()
        nonce = world.next_nonce(account, slot) if nonce is None else nonce
        expiry = world.time + 60_000 if expiry is None else expiry
        digest = encoding.actions_digest(account, slot, nonce, expiry, listed)
        signature = sign(key or world.keys.get(account) or private_key("stranger"), digest)
        base = world.time if base is None else base
        return encoding.write_actions(account, slot, nonce, expiry, listed, signature, base)

    def sign_badly(self) -> None:
        account, now = self.account(), self.world.time
        listed = [self.action(self.market())]
        high = self.world.nonces.get((account, 0), now)
        kind = self.rnd.randrange(10)
        if kind == 0 and self.past:
            past = [tx for tx in self.past + self.transactions if tx[0] in (1, 3, 4)]
            transaction = self.rnd.choice(past) if past else b""
        elif kind == 1:
            transaction = self.signed(account, listed, key=private_key("stranger"))
        elif kind == 2:
            transaction = self.signed(self.rnd.choice((0, 77, 2**32 - 1, 2**32, 2**64 - 1)), listed, nonce=now)
        elif kind == 3:
            transaction = self.signed(account, listed, slot=self.rnd.randrange(1, 8))
        elif kind == 4:
            transaction = self.signed(account, listed, expiry=now - 1)
        elif kind == 5:
            transaction = self.signed(account, listed, expiry=now + FAR)
        elif kind == 6:
            transaction = self.signed(account, listed, nonce=now + 61_000)
        elif kind == 7:
            transaction = self.signed(account, listed, nonce=max(0, high - self.rnd.randrange(200)))
        elif kind == 8:
            transaction = self.signed(account, listed)[:-64] + self.rnd.choice((bytes(64), b"\xff" * 64, b"\x01" * 64))
        else:
            transaction = self.signed(account, listed, nonce=self.rnd.randrange(1000))
        if transaction:
            self.send(transaction)

    def resume(self) -> None:
        self.send(encoding.write_continue(self.market()))

    def liquidate(self) -> None:
        market = self.market()
        if self.rnd.random() < 0.5 and market in self.markets:
            self.screen(market)
        self.send(encoding.write_liquidate(self.account(), market))
        if self.rnd.random() < 0.3:
            self.send(encoding.write_liquidate(self.rnd.choice((0, 0, 99)), market))

    def clear(self) -> None:
        """What keepers do beside liquidating."""
        market, kind = self.market(), self.rnd.randrange(4)
        if kind == 0:
            self.send(encoding.write_sweep(market, self.rnd.choice((0, 1, 2, 3))))
        elif kind == 1:
            self.send(encoding.write_trigger_fire(market, self.rnd.randrange(2)))
        elif kind == 2:
            for account in self.rnd.sample([*self.world.keys, 99], 3):
                self.send(encoding.write_settle(account, DATED if self.rnd.random() < 0.9 else market))
        else:
            for held in self.markets:
                self.send(encoding.write_liquidate(0, held))

    def withdraw(self) -> None:
        world, account = self.world, self.account()
        amount = self.rnd.choice((0, 1, 1_000_000, 50_000_000, 10**10, 2**62, 2**64 - 1))
        recipient = self.rnd.choice((0xBEEF, 0xBEEF, 0xBEEF, 0))
        world.engine.bind()
        nonce, expiry = world.next_nonce(account, 0), world.time + 60_000
        digest = encoding.withdraw_digest(account, nonce, expiry, recipient, amount)
        signature = sign(world.keys[account], digest)
        self.send(encoding.write_withdraw(account, nonce, expiry, recipient, amount, signature, world.time))

    def set_key(self) -> None:
        world, account = self.world, self.account()
        slot = self.rnd.choice((0, 1, 1, 2, 3, 3, 4, 255))
        key = private_key(f"trading {account} {slot} {self.rnd.randrange(3)}")
        named = self.rnd.choice((address(key), address(key), address(key), 0))
        key_expiry = self.rnd.choice((0, 0, world.time + 20_000, world.time - 1, 2**48, 2**64 - 1))
        world.engine.bind()
        nonce, expiry = world.next_nonce(account, 0), world.time + 60_000
        digest = encoding.set_key_digest(account, nonce, expiry, slot, named, key_expiry)
        signature = sign(world.keys[account], digest)
        receipt = self.send(
            encoding.write_set_key(account, slot, nonce, expiry, named, key_expiry, signature, world.time)
        )
        if receipt is not None and receipt.status == 0:
            self.trading_keys[(account, slot)] = key
            world.nonces[(account, slot)] = world.time

    # --- prices and time ----------------------------------------------------------------------------------------------

    def publish(self) -> None:
        shock = self.rnd.random() < 0.15
        for market in self.rnd.sample(self.markets, self.rnd.randrange(1, len(self.markets) + 1)):
            self.move(market, 0.06 if shock else 0.01)
        if self.rnd.random() < 0.9:
            self.send(encoding.write_block(self.rnd.randrange(1, 2_000)))
        for slot in self.rnd.choice(((0, 1, 2), (0, 1, 2), (0, 1, 2), (0, 2), (1,))):
            self.price(slot, self.world.publishers[slot], self.world.time - self.rnd.choice((0, 0, 1, 40)))

    def move(self, market: int, span: float) -> None:
        """Change a price by up to a share."""
        moved = round(self.prices[market] * (1 + self.rnd.uniform(-span, span)))
        self.prices[market] = min(max(moved, 300_000), 1_200_000)

    def storm(self) -> None:
        """A price runs, somebody may quote near it, and keepers ask for everybody after each step."""
        market, quotes = self.rnd.choice(self.markets), self.rnd.random() < 0.6
        for _ in range(self.rnd.randrange(1, 4)):
            self.move(market, self.rnd.choice((0.01, 0.03, 0.08)))
            self.send(encoding.write_block(self.rnd.choice((1_100, 1_100, 4_000))))
            for slot in (0, 1, 2):
                self.price(slot, self.world.publishers[slot], self.world.time)
            if quotes:
                price, lots = self.prices[market], self.rnd.choice((200, 3_000))
                for side, maker in enumerate(self.rnd.sample(list(self.world.keys)[:4], 2)):
                    away = price // 1_000
                    self.send(self.signed(maker, [limit(market, side, price + (away if side else -away), lots, 5)]))
            self.screen(market)

    def screen(self, market: int) -> None:
        """Ask for those whose position is thin, as a keeper would, and for insurance's."""
        for (holder, where), size in list(self.model.sizes.items()):
            if where == market and size and holder < 0:
                self.send(encoding.write_liquidate(0, market))
            elif where == market and size:
                equity, parts = self.model.health(holder, self.model.boards)
                if equity < 1.3 * sum(parts.values()):
                    self.send(encoding.write_liquidate(holder, market))

    def meet(self) -> None:
        """A thin account takes about what its margin allows from a rich one."""
        market, side = self.rnd.choice(self.markets), self.rnd.randrange(2)
        rich, thin = self.rnd.choice(list(self.world.keys)[:3]), self.rnd.choice(list(self.world.keys)[3:])
        unit = self.prices[market] * int(MARKETS[market].get("tick_value", 10))  # type: ignore[call-overload]
        margin = max(0, self.world.engine.ledger.accounts[thin].collateral)
        lots = int(margin * self.rnd.choice((4, 10, 14, 18)) // unit)
        if lots:
            self.send(self.signed(rich, [limit(market, 1 - side, self.prices[market], lots, 3)]))
            self.send(self.signed(thin, [limit(market, side, self.prices[market], lots, 4, tif=IOC)]))

    def price(self, slot: int, key: PrivateKey, time: int, markets: dict[int, int] | None = None) -> None:
        prices = markets or {m: max(1, p + self.rnd.randrange(-20, 21)) for m, p in self.prices.items()}
        named, values = sorted(prices), [prices[market] for market in sorted(prices)]
        self.world.engine.bind()
        digest = encoding.oracle_price_digest(slot, time, named, values)
        self.send(encoding.write_oracle_price(slot, time, named, values, sign(key, digest), self.world.time))

    def publish_badly(self) -> None:
        now, keys = self.world.time, self.world.publishers
        kind = self.rnd.randrange(7)
        if kind == 0:
            self.price(0, keys[1], now)
        elif kind == 1:
            self.price(self.rnd.choice((5, 8, 200)), keys[0], now)
        elif kind == 2:
            self.price(0, keys[0], now + self.rnd.choice((1, 2**48)))
        elif kind == 3:
            self.price(0, keys[0], now - 10**6)
        elif kind == 4:
            self.price(0, keys[0], now, {0: 0, 1: START_PRICE})
        elif kind == 5:
            self.price(0, keys[0], now, {3: 5, 40: 6, 65_535: 7})
        else:
            self.send(encoding.write_oracle_price(0, now, [0], [1], bytes(64), now))

    def tick(self) -> None:
        self.send(encoding.write_block(self.rnd.choice((1, 1, 10, 1_000, 5_000, 31_000, 95_000))))

    # --- L1 -----------------------------------------------------------------------------------------------------------

    def l1_message(self) -> None:
        """Enqueue a message; consume it at once, or later with others, or find none."""
        if self.rnd.random() < 0.9:
            kind, payload = self.message()
            time = self.world.time // 1000 + self.rnd.choice((-5, 0, 0, 1))
            sender = self.rnd.getrandbits(160)
            self.world.inbox.append(message(kind, payload, max(0, time), sender))
        if self.rnd.random() < 0.8:
            receipt = self.send(encoding.INBOX_TX)
            if receipt is not None and receipt.status == Status.NO_MESSAGE:
                self.cut()  # a chunk has one cursor to end at: no message may come after there was none

    def message(self) -> tuple[int, bytes]:
        kind = self.rnd.randrange(16)
        if kind < 3:
            return DEPOSIT, self.deposit()
        if kind < 6:
            return FORCED, self.forced()
        if kind < 11:
            return self.rnd.choice((ANCHOR_NOTICE, ANCHOR_NOTICE, ANCHOR_NOTICE, ROLLBACK_NOTICE)), self.notice()
        if kind < 14:
            return ADMIN, self.administer()
        if kind == 14:
            return PAID_NOTICE, self.paid()
        return self.rnd.randrange(256), self.rnd.randbytes(self.rnd.choice((0, 1, 32, 300, 1_024)))

    def notice(self) -> bytes:
        if self.rnd.random() < 0.05:
            return self.rnd.randbytes(self.rnd.choice((0, 15, 16, 17)))
        return messages.notice(1, max(0, self.world.time - self.rnd.choice((0, 0, 0, 1_000, 60_000, 150_000))))

    def paid(self) -> bytes:
        """Ids as L1 tells them, and as it never would: of the future, twice, too many, cut off."""
        ids = [self.rnd.randrange(self.world.engine.globals.next_withdrawal + 2) for _ in range(self.rnd.randrange(10))]
        payload = messages.paid(*ids)
        return payload if self.rnd.random() < 0.9 else payload[:-1]

    def deposit(self) -> bytes:
        account = self.rnd.choice((0, self.account(), 2**32 - 1, messages.INSURANCE_ACCOUNTS + self.market()))
        owner = self.rnd.choice((address(private_key("late")), 0))
        amount = self.rnd.choice((1, 10**6, 10**9, 0, 2**62, 2**64 - 1))
        payload = account.to_bytes(4, "big") + owner.to_bytes(20, "big") + amount.to_bytes(8, "big")
        return payload if self.rnd.random() < 0.9 else payload + b"\x00"

    def forced(self) -> bytes:
        dice = self.rnd.randrange(8)
        if dice < 4:
            listed = [self.action(self.market()) for _ in range(self.rnd.choice((1, 1, 3, 8)))]
            return self.signed(self.account(), listed, base=0)
        if dice == 4:
            return encoding.write_liquidate(self.rnd.choice((0, self.account())), self.market())
        if dice == 5:
            market = self.market()
            return self.rnd.choice((
                encoding.write_continue(market),
                encoding.write_sweep(market, self.rnd.randrange(5)),
                encoding.write_trigger_fire(market, self.rnd.randrange(3)),
                encoding.write_settle(self.account(), market),
            ))
        if dice == 6:
            return self.rnd.choice((b"", b"\x08", b"\x09\x01", b"\x07", b"\x05\x00", b"\x02\x80", b"\x01" * 30))
        return self.rnd.randbytes(self.rnd.randrange(1, 80))

    def administer(self) -> bytes:
        market = self.rnd.choice((*MARKETS, 5, 31, 32))
        if self.rnd.random() < 0.3:
            slot = self.rnd.choice((0, 1, 2, 3, 7, 8))
            named = address(self.world.publishers[slot % 3])
            return b"\x02" + market.to_bytes(2, "big") + bytes((slot,)) + named.to_bytes(20, "big")
        if self.rnd.random() < 0.4:
            return self.administer_risk(market)
        parameters = dict(MARKETS.get(market, {"tick_value": 7}))
        status = self.rnd.choice((1, 1, 1, 1, 1, 1, 1, 2, 3))
        if self.rnd.random() < 0.3:
            odd = self.rnd.choice(
                ("oi_cap", "min_notional", "stale_ms", "quorum", "band", "penalty", "tick_value", "impact")
            )
            parameters[odd] = self.rnd.choice((0, 1, 9, 255))
            status = self.rnd.choice((0, 1, 2, 3, 4))
        payload = configure_market(market, **parameters, status=status)
        return payload if self.rnd.random() < 0.95 else payload[:-1]

    def administer_risk(self, market: int) -> bytes:
        """Risk parameters of a market or the chain, sane or wild; fees into insurance."""
        rnd = self.rnd
        kind = rnd.randrange(3)
        if kind == 0:
            amount = rnd.choice((1, 10_000, 1_000_000, self.world.engine.globals.fees, 2**62, 2**64 - 1))
            return messages.fund_insurance(market, amount)
        wild = rnd.random() < 0.3
        if kind == 1:
            chain = dict(CHAIN)
            name = rnd.choice(list(CHAIN))
            chain[name] = rnd.choice((0, 1, 2**16 - 1, 10**6 + 1)) if wild else chain[name]
            if name == "refill":
                chain[name] &= 0xFFFF
            return messages.configure_chain(**chain)
        risk = dict(RISK.get(market, {}))
        if market == DATED:
            risk["expiry"] = self.expiry
        if wild:
            name = rnd.choice(list(messages.RISK))
            if name != "expiry" or market == 9:
                risk[name] = rnd.choice((0, 1, 9, 999, 2**16 - 1))
        return messages.configure_risk(market, **risk)

    # --- spoiled chunks -----------------------------------------------------------------------------------------------

    def _spoil(self) -> None:
        """Judge a variant of the open chunk."""
        chunk, rnd = self.world.open_bytes, self.rnd
        kind = rnd.randrange(12)
        cursor_end = None
        if kind == 0:
            chunk = chunk[: rnd.randrange(len(chunk) + 1)]
        elif kind == 1:
            chunk += rnd.randbytes(rnd.randrange(1, 40))
        elif kind == 2:
            at = rnd.randrange(len(chunk))
            chunk = chunk[:at] + bytes((chunk[at] ^ 1 << rnd.randrange(8),)) + chunk[at + 1 :]
        elif kind == 3:
            chunk = b"".join(rnd.sample(self.transactions, len(self.transactions)))
        elif kind == 4:
            chunk += rnd.choice(self.transactions) * rnd.choice((1, 1, 2, 40))
        elif kind == 5:
            chunk += encoding.INBOX_TX * rnd.choice((1, CHUNK_TXS_MAX, 300))
            cursor_end = self.world.engine.globals.cursor
        elif kind == 6:
            cursor_end = max(0, self.world.engine.globals.cursor - 1)
        elif kind == 7:
            chunk += bytes(self._crowd())
        else:
            return
        self.world.judge(chunk, cursor_end)

    def _crowd(self) -> bytes:
        """Transactions until no room is left, whatever limit it is that they meet."""
        rest = bytearray()
        while len(rest) < 9_000:
            listed = [self.action(self.market()) for _ in range(self.rnd.choice((1, 4, 20)))]
            rest += self.signed(self.account(), listed, nonce=self.world.time)
        return bytes(rest)

    def _open_markets_and_accounts(self) -> None:
        world = self.world
        world.block(world.l1_time * 1000)
        for market, parameters in MARKETS.items():
            world.create_market(market, **parameters)
        self.expiry = world.time + self.rnd.choice((100_000, 600_000))
        for market, risk in RISK.items():
            assert world.configure_risk(market, **risk).status == Status.OK
        assert world.configure_risk(DATED, **RISK[DATED], expiry=self.expiry).status == Status.OK
        chain = {**CHAIN, "outflow_limit": self.rnd.choice((0, CHAIN["outflow_limit"]))}
        assert world.configure_chain(**chain).status == Status.OK
        for number, amount in enumerate((10**10, 10**10, 10**10, 3 * 10**9, 10**9, 4 * 10**8, 10**8, 10**7)):
            world.deposit(f"trader {number}", amount)
        world.price(dict(sorted(self.prices.items())))
        world.cut()
