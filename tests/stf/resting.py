"""What accounts' positions say of their resting orders, against the orders that rest."""

from __future__ import annotations

from collections import Counter
from math import isqrt

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


def netted_losses(world: World) -> Counter[int]:
    """By account: what its worst-priced orders would lose against the mark and initial margin does not ask for,
    because orders of the same side at better prices stand against it (the formula's sum is over the side)."""
    engine = world.engine
    mark = engine.mark()
    engine.bind()
    waiting = []
    for key, order in engine.ledger.orders.items():
        market, side, price, seq = place_of(key)
        position = state.get_position(order.account, state.find_position(order.account, market))
        if side <= 1 and not order.flags & ORDER_REDUCE_ONLY and seq >= position.min_seq:
            waiting.append((order.account, market, side, price, order.lots))
    for market in engine.ledger.markets:
        pending = state.get_pending(market) if state.get_board(market).status else None
        if pending is not None and pending.lots and not pending.reduce_only:
            waiting.append((pending.account, market, pending.side, pending.price, pending.lots))
    each: Counter[tuple[int, int, int]] = Counter()
    total: Counter[tuple[int, int, int]] = Counter()
    for account, market, side, price, lots in waiting:
        board = state.get_board(market)
        loss = (price - board.mark) * lots * board.tick_value * (-1 if side else 1)
        each[(account, market, side)] += max(0, loss)
        total[(account, market, side)] += loss
    netted: Counter[int] = Counter()
    for key, loss in each.items():
        netted[key[0]] += loss - max(0, total[key])
    engine.retract(mark)
    return netted


def worst_initial(world: World, account: int) -> tuple[int, int]:
    """Equity, and the initial margin that the worst run of fills of the account's live orders could ask, by own sums.

    For every market the largest position that its buys or its sells can lead to (reduce-only ones fill first, they only
    take away what is there), at the mark and the rates with the add-on, and what their limits lose against the mark.
    """
    engine = world.engine
    mark = engine.mark()
    engine.bind()
    g = engine.globals
    tau = max(0, g.time - g.last_anchor + state.get_chain().anchor_interval)
    equity, asked = state.get_collateral(account), 0
    _resting, lots, notional, reducing = count_orders(world)
    for index in range(state.get_position_count(account)):
        p = state.get_position(account, index)
        board = state.get_board(p.market)
        unit, key = board.mark * board.tick_value, (account, p.market)
        loss = board.loss_long if p.size > 0 else board.loss_short
        equity += p.size * unit - p.cost - p.size * (board.funding - p.funding)
        equity -= abs(p.size) * (loss - p.loss) if p.size else 0
        left = max(0, abs(p.size) - reducing[key]) * (1 if p.size > 0 else -1)
        ends = [start + step for start in (p.size, left) for step in (lots[(*key, 0)], -lots[(*key, 1)])]
        worth = max(abs(end) for end in ends) * unit
        rate = board.im_base if not board.impact else min(board.im_cap, board.im_base + worth // board.impact)
        rate += min(board.addon_cap, -(-board.risk * isqrt(tau * 1_000) // 10**8))
        asked += -(-worth * min(10**6, rate) // 10**6)
        asked += max(0, notional[(*key, 0)] - lots[(*key, 0)] * unit)
        asked += max(0, lots[(*key, 1)] * unit - notional[(*key, 1)])
    engine.retract(mark)
    return equity, asked


def opens(world: World, account: int) -> bool:
    """Whether some of the account's open orders could make a position of its larger, or turn it over."""
    engine = world.engine
    mark = engine.mark()
    engine.bind()
    found = False
    for index in range(state.get_position_count(account)):
        p = state.get_position(account, index)
        grows, falls = (p.buy_lots, p.sell_lots) if p.size >= 0 else (p.sell_lots, p.buy_lots)
        found = found or grows > 0 or falls > abs(p.size)
    engine.retract(mark)
    return found
