"""What accounts' positions say of their resting orders, against the orders that rest."""

from __future__ import annotations

from collections import Counter

from node.stf import state
from node.stf.types import ORDER_REDUCE_ONLY
from tests.stf.orders import place_of
from tests.stf.world import World


def check_resting(world: World) -> None:
    """Open lots, notionals and counts of every position slot; every book sorted and uncrossed among the living."""
    engine = world.engine
    mark = engine.mark()
    engine.bind()
    resting, open_lots, notional, reducing = count_orders(world)
    seen = set()
    for account in range(1, engine.globals.next_account):
        total = 0
        for index in range(state.get_position_count(account)):
            p = state.get_position(account, index)
            key = (account, p.market)
            seen.add(key)
            assert p.open_orders == resting[key], f"{key} rests {resting[key]} orders, not {p.open_orders}"
            assert (p.buy_lots, p.sell_lots) == (open_lots[(*key, 0)], open_lots[(*key, 1)]), key
            assert (p.buy_notional, p.sell_notional) == (notional[(*key, 0)], notional[(*key, 1)]), key
            assert p.reduce_lots == reducing[key], f"{key} reduces by {reducing[key]}, not {p.reduce_lots}"
            used = p.size or p.open_orders or p.buy_lots or p.sell_lots or p.reduce_lots
            assert used, f"the empty slot {key} was not freed"
            total += p.open_orders
        assert state.get_open_orders(account) == total
    homeless = set(resting) - seen
    assert not homeless, f"orders without a slot: {homeless}"
    engine.retract(mark)


def count_orders(world: World) -> tuple[Counter, Counter, Counter, Counter]:  # type: ignore[type-arg]
    """By account and market (and side): leaves, open lots, open notional at the limit, reduce-only lots."""
    resting: Counter[tuple[int, int]] = Counter()
    open_lots: Counter[tuple[int, int, int]] = Counter()
    notional: Counter[tuple[int, int, int]] = Counter()
    reducing: Counter[tuple[int, int]] = Counter()
    for key, order in world.engine.ledger.orders.items():
        market, side, price, seq = place_of(key)
        position = state.get_position(order.account, state.find_position(order.account, market))
        resting[(order.account, market)] += 1
        if side > 1:
            continue
        if order.flags & ORDER_REDUCE_ONLY:
            reducing[(order.account, market)] += order.lots if seq >= position.reduce_min_seq else 0
        elif seq >= position.min_seq:
            open_lots[(order.account, market, side)] += order.lots
            notional[(order.account, market, side)] += order.lots * price * state.get_board(market).tick_value
    for market in world.engine.ledger.markets:
        if state.get_board(market).status:
            pending = state.get_pending(market)
            if pending.lots and pending.reduce_only:
                reducing[(pending.account, market)] += pending.lots
            elif pending.lots:
                key = (pending.account, market, pending.side)
                open_lots[key] += pending.lots
                notional[key] += pending.lots * pending.price * state.get_board(market).tick_value
    return resting, open_lots, notional, reducing
