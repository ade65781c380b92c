"""The accident, on purpose: a market's price is zero for a moment, and whoever is long is liquidated at it.

A venue's database maintenance once showed a market at price 0; its engine liquidated thousands of accounts before the
market was halted, and the venue rolled its chain back by hand. Here the rules refuse a price of 0 and make a jump wait,
so it takes an operator whose own rules execute it. This is that operator's chunk, for ``sequencer/villains.py`` and
the tests:

    chunk     the publishers' prices of 0; Liquidate of every account that is long, as many as fit
    claimed   the mark is 1 tick (the least there is), and insurance has taken the positions over at it

The totals stay balanced, so no equation of the header shows it; only executing the chunk does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.stf import encoding, margin, state
from node.stf.params import BOARD_MARKETS
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import Status
from sequencer.forgery import USD, Forge, Leaves, Unsuitable, accounts, add_collateral, leaf_of, sign

VICTIMS_MAX: Final = 8


def price_zero(forge: Forge, published: Sequence[bytes] = ()) -> None:
    """Add the chunk, for the first market that somebody is long in. ``published``: transactions that say 0, by default
    the stranger's in the publishers' names. Raises Unsuitable while nobody is long."""
    for market, longs in sorted(_longs(forge.state).items()):
        if _crash(forge, market, longs[:VICTIMS_MAX], published or _zeros(forge, market)):
            return
    raise Unsuitable("nobody is long in a market whose positions insurance could take over")


def _longs(view: TrieView) -> dict[int, list[int]]:
    """Accounts that are long, by market."""
    found: dict[int, list[int]] = {}
    for account in accounts(view):
        for position in state.decode_account(leaf_of(view, state.account_key(account))).positions:
            if position.size > 0:
                found.setdefault(position.market, []).append(account)
    return found


def _zeros(forge: Forge, market: int) -> list[bytes]:
    """A price of 0 from each publisher, signed by the stranger."""
    forge.engine(forge.state).bind()
    time = forge.globals().time
    publishers = state.decode_market(leaf_of(forge.state, state.market_key(market))).publishers
    return [
        encoding.write_oracle_price(
            slot, time, [market], [0], sign(encoding.oracle_price_digest(slot, time, [market], [0])), time)
        for slot in range(len(publishers))]


def _crash(forge: Forge, market: int, longs: list[int], published: Sequence[bytes]) -> bool:
    """Run the chunk where the mark is 1 tick and every long owes a dollar, then give back what made him owe it.
    False if nobody could be liquidated."""
    changes = _at_one_tick(forge, market)
    crashed = forge.tampered(changes)
    engine = forge.engine(crashed)
    engine.begin_chunk()
    missing = {}
    for account in longs:
        health = margin.health(account)
        missing[account] = max(0, health.equity + health.haircut + USD)
    for account, amount in missing.items():
        crashed.apply(add_collateral(crashed, account, -amount))
    chunk, taken, executed = _liquidate(forge, crashed, market, longs, published)
    spared = {state.account_key(account) for account in longs if account not in taken}
    if not taken or spared & executed.keys():
        return False
    crashed.apply(executed)
    changes |= executed
    for account in taken:
        changes |= add_collateral(crashed, account, missing[account])
    forge.append_lie(chunk, changes)
    return True


def _at_one_tick(forge: Forge, market: int) -> Leaves:
    """The market as an engine leaves it that believes in a price of zero."""
    board_key, market_key = state.board_key(market // BOARD_MARKETS), state.market_key(market)
    boards = state.decode_boards(leaf_of(forge.state, board_key))
    row = state.decode_market(leaf_of(forge.state, market_key))
    board = boards[market % BOARD_MARKETS]
    board.mark, board.mark_time = 1, forge.globals().time
    row.prices.index, row.prices.jump_price = 1, 0
    return {board_key: state.encode_boards(boards), market_key: state.encode_market(row)}


def _liquidate(
    forge: Forge, crashed: MemoryTrie, market: int, longs: list[int], published: Sequence[bytes],
) -> tuple[bytes, list[int], Leaves]:
    """The chunk, who was liquidated in it, and what it changed."""
    engine = forge.engine(crashed)
    engine.begin_chunk()
    chunk, taken = b"", []
    for transaction in published:
        engine.execute(transaction)
        chunk += transaction
    for account in longs:
        one = encoding.write_liquidate(account, market)
        try:
            receipt = engine.execute(one)
        except InvalidChunk:
            break
        chunk += one
        if receipt.status == Status.OK:
            taken.append(account)
    return chunk, taken, engine.end_chunk().changes
