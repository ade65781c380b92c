"""States and chunks that cost the contract as much as possible: eight-position traders, deep orders, full lists."""

from __future__ import annotations

from node.stf import encoding
from node.stf.params import PRICE_MAX
from node.stf.state import (
    GLOBAL_KEY,
    AccountRow,
    account_key,
    encode_account,
    encode_globals,
    encode_order,
    order_key,
    withdrawal_key,
)
from node.stf.types import Action, Key, Order
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.stf.world import address, buy, cancel, sell, sign

MARKETS = [0, 1, 8, 9, 16, 17, 24, 25]  # two in each board leaf
HALVES = (MARKETS[:4], MARKETS[4:])  # as many markets as one OraclePrice holds
PRICE = 600_000
STALE_MS = 3_600_000  # longer than any market's prices stay fresh here
TRADERS = 18  # accounts 1 to 18 have eight positions each
RICH = 10**11
SEQ_BITS = 30
DENSE_BITS = 24  # 10**7 leaves with dense ids: a path of 24 levels


def heavy(court: Court) -> DifferentialWorld:
    """All publisher slots in use, eight markets, and traders with a position in each of them."""
    world = DifferentialWorld(court)
    world.block(world.l1_time * 1000)
    for market in MARKETS:
        world.create_market(market)
        for slot in range(3, 8):
            body = market.to_bytes(2, "big") + bytes((slot,)) + address(world.publishers[0]).to_bytes(20, "big")
            assert world.deliver(6, b"\x02" + body).status == 0
    for number in range(TRADERS):
        world.deposit(f"trader {number}", RICH)
    prices = dict.fromkeys(MARKETS, PRICE)
    world.price(prices)
    for market in MARKETS:
        for account in range(1, TRADERS, 2):
            assert set(world.actions(account, sell(market, PRICE, 100)).action_statuses) == {0}
            assert set(world.actions(account + 1, buy(market, PRICE, 100)).action_statuses) == {0}
        world.cut()
    for slot in range(3, 8):
        world.block(1)
        for half in HALVES:
            world.run(publication(world, slot, half))
    world.price(prices)
    world.cut()
    return world


def risky(world: DifferentialWorld) -> None:
    """Every feature on that makes a margin check or a price dearer, and all markets stale but market 0."""
    for market in MARKETS:
        assert world.configure_risk(
            market, z=300, sigma_floor=50_000, addon_cap=100_000, vol_sample_ms=1_000, vol_window=1_800_000,
            basis_cap=5_000, spread_max=2_000, basis_window=300_000, jump_limit=50_000, jump_hold=10_000,
            reduce_cap=1_000_000).status == 0
    assert world.configure_chain(
        anchor_interval=60_000, tau_reduce=10**8, tau_halt=10**9, buffer_ms=60_000, refill=10, horizon_ms=60_000,
        closeout=500_000, outflow_limit=10**15).status == 0
    world.block(STALE_MS)
    world.price({0: PRICE})
    world.cut()


def publication(world: DifferentialWorld, slot: int, markets: list[int], price: int = PRICE) -> bytes:
    """One publisher's prices; slots from 3 on belong to publisher 0."""
    world.engine.bind()
    prices = [price] * len(markets)
    key = world.publishers[slot if slot < 3 else 0]
    signature = sign(key, encoding.oracle_price_digest(slot, world.time, markets, prices))
    return encoding.write_oracle_price(slot, world.time, markets, prices, signature, world.time)


def withdrawal(world: DifferentialWorld, account: int) -> bytes:
    world.engine.bind()
    nonce, expiry = world.next_nonce(account, 0), world.time + 1_000
    digest = encoding.withdraw_digest(account, nonce, expiry, 5, 10)
    return encoding.write_withdraw(account, nonce, expiry, 5, 10, sign(world.keys[account], digest), world.time)


def sign_list(world: DifferentialWorld, account: int, listed: list[Action]) -> bytes:
    return world.sign_actions(account, tuple(listed))


def ladder(world: DifferentialWorld) -> None:
    """One ask in market 0 from each of 16 traders."""
    for number in range(16):
        assert world.actions(number + 1, sell(0, PRICE + 1 + number, 20)).action_statuses == [0]
    world.cut()


def deepen(world: DifferentialWorld, count: int) -> list[Action]:
    """Cancels of ``count`` orders that do not exist, each where neighbours part from it at every bit that an order may
    differ in: 32 of its price and 30 of its sequence. The neighbours are put straight into the state.
    """
    cancels = []
    changes: dict[bytes, bytes | None] = {}
    for number in range(count):
        market, side = MARKETS[number % 8], number // 8 % 2
        price = (0x9E3779B1 * (number + 1)) % PRICE_MAX
        seq = (0x2545F491 * (number + 1)) % (1 << SEQ_BITS)
        cancels.append(cancel(market, side, price, seq, 1))
        places = [(price ^ 1 << bit, seq) for bit in range(32)] + [(price, seq ^ 1 << bit) for bit in range(SEQ_BITS)]
        for near_price, near_seq in places:
            if 0 < near_price <= PRICE_MAX:
                order = Order(account=1, lots=10, client_id=7)
                changes[order_key(market, side, near_price, near_seq)] = encode_order(order)
    for action in cancels:
        changes.pop(order_key(action.market, action.side, action.price, action.seq), None)
    world.trie.apply(changes)
    world.store.apply(changes)
    return cancels


def crowd(world: DifferentialWorld) -> None:
    """Paths to the traders' accounts as long as among 10**7 of them: a neighbour parts from each at every one of the 24
    bits that dense ids differ in. A proof sees no more of the others than their hashes.
    """
    row = AccountRow()
    row.keys.append(Key(address=1))
    stranger = encode_account(row)
    changes: dict[bytes, bytes | None] = {}
    for account in range(1, TRADERS + 1):
        for bit in range(DENSE_BITS):
            near = account ^ 1 << bit
            if near > TRADERS:
                changes[account_key(near)] = stranger
    world.trie.apply(changes)
    world.store.apply(changes)


def owe(world: DifferentialWorld, paid: list[int], gone: list[int]) -> None:
    """Withdrawals ``paid`` among 10**7 others, and ``gone`` ones whose leaves were deleted before: a neighbour parts
    from each at every one of the 24 bits that dense ids differ in. Straight into the state, as if all were given."""
    near = {number ^ 1 << bit for number in (*paid, *gone) for bit in range(DENSE_BITS)} - {0, *gone}
    value = (0xBEEF << 64 | 10).to_bytes(32, "big")
    world.engine.globals.next_withdrawal = 1 << DENSE_BITS
    changes: dict[bytes, bytes | None] = {withdrawal_key(number): value for number in (*near, *paid)}
    changes[GLOBAL_KEY] = encode_globals(world.engine.globals)
    world.trie.apply(changes)
    world.store.apply(changes)
