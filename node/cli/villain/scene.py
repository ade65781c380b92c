"""What earlier attacks have left behind: orders in the book, and a mark that was moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from node.cli.villain.draft import Trader
from node.cli.villain.l1 import Actor, NotPlayable, VillainL1
from node.cli.villain.ledger import owner_of
from node.cli.villain.operator import Operator
from node.stf import state
from node.stf.trie import TrieView
from node.stf.types import BUY, CANCEL, SELL, Action

ORDERS_TIDY: Final = 100  # before an account may place no more
LIST_MAX: Final = 16
STEPS_MAX: Final = 60
PPM: Final = 1_000_000
FAR: Final = 3
MARK_PERCENT: Final = 1  # the cap of the basis, which the market forgets by itself, and a little


async def clear_book(operator: Operator, market: int, cast: Mapping[bytes, Actor], kept: set[int]) -> None:
    """Cancel what the cast (by address) has left in the book: it would trade with this attack's. The accounts ``kept``
    may leave some."""
    left = cast_orders(operator.view, market, cast)
    if not any(account not in kept or len(orders) >= ORDERS_TIDY for account, (_who, orders) in left.items()):
        return
    draft = await operator.draft()
    draft.block()
    for account, (actor, orders) in left.items():
        for at in range(0, len(orders), LIST_MAX):
            draft.actions(Trader(actor, account), *orders[at : at + LIST_MAX])
    await operator.post(draft.batch(), draft)
    await operator.sync()


async def bring_mark_back(l1: VillainL1, operator: Operator, market: int, start: int) -> None:
    """Publish the mark back to ``start`` (ticks), if an attack has moved it. Raises NotPlayable if it stays away."""
    for _ in range(STEPS_MAX):
        operator.pipeline.engine.bind()
        board, prices = state.get_board(market), state.get_price_state(market)
        if abs(board.mark - start) * 100 <= start * MARK_PERCENT and prices.jump_price == 0:
            return
        config = state.get_market(market)
        # half a limit, which also counts from the last volatility sample; from far away only a jump gets there
        most = prices.index * (config.jump_limit or PPM) // PPM // 2
        near = start <= FAR * prices.index and prices.index <= FAR * start
        price = max(prices.index - most, min(prices.index + most, start)) if near else start
        await l1.reach((await l1.client.head()).timestamp + config.jump_hold // 1_000 + 1)
        draft = await operator.draft()
        draft.block()
        draft.price({market: price})
        await operator.post(draft.batch(), draft)
        await operator.sync()
    raise NotPlayable("an earlier attack has moved the mark, and publishing does not bring it back: play it alone")



def cast_orders(view: TrieView, market: int, cast: Mapping[bytes, Actor]) -> dict[int, tuple[Actor, list[Action]]]:
    """Cancels for all that accounts of the cast (by address) have resting in a market, by account."""
    found: dict[int, tuple[Actor, list[Action]]] = {}
    for side in (BUY, SELL):
        for key in view.keys(state.book_prefix(market, side)):
            order = state.decode_order(view.get(key) or b"")
            actor = cast.get(owner_of(view, order.account))
            if actor is not None:
                price = int.from_bytes(key[4:8], "big") ^ (0xFFFFFFFF if side == BUY else 0)
                found.setdefault(order.account, (actor, []))[1].append(Action(
                    CANCEL, market, side, price, seq=int.from_bytes(key[8:16], "big"), client_id=order.client_id))
    return found
