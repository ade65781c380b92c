"""Villains: every kind of wrong batch that an operator could try, each made from an honest one.

``corrupt`` is pure. What it returns passes every check that L1 makes at posting, and is wrong all the same: a devnet
posts it to show that it falls, the tests post it to prove that it does. The honest twin stays postable afterwards.

    wrong-root-*              a post-root that nothing leads to
    credit-from-nothing       an account has money that nobody deposited; totals in G adjusted
    undebited-withdrawal      a withdrawal that no account paid for; totals in G adjusted
    skipped-margin-check      an account with all the margin it needs is liquidated
    broken-priority           a taker is filled against a worse order, or two resting orders change places
    hidden-order              a taker does not meet the best order, or a resting order disappears
    forged-signature          a stranger gets a key of somebody's account, signed by the stranger
    stranger-oracle           a price that no publisher signed
    price-zero                a market's price is 0 for a moment, and whoever is long is liquidated at it
    lying-header-*            the state is right, its mirror in the header is not
    oversized-chunk           more bytes than the rules allow in a chunk (but no more than posting does)
    badly-cut-chunk           a chunk goes on where it has no room, and claims that the rest had no effect
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Final

from eth_hash.auto import keccak

from node.l1.bindings import PostBatch, check_post_batch
from node.stf import encoding, state
from node.stf.commitments import BatchHeader, next_inbox_hash, pack_position, unpack_position
from node.stf.params import CHUNK_BYTES_MAX, PRICES_MAX
from node.stf.transition import InvalidChunk
from node.stf.trie import TrieView
from sequencer.accident import price_zero
from sequencer.forgery import (
    Forge,
    Unsuitable,
    credit,
    delete_order,
    forge_of,
    forged_signature,
    pass_over,
    sign,
    skipped_margin_check,
    stranger_oracle,
    swap_orders,
    undebited_withdrawal,
)

__all__ = ["KINDS", "Context", "Unsuitable", "corrupt"]

OVERFULL: Final = 24  # price transactions: more than a chunk has work for


@dataclass(frozen=True, slots=True)
class Context:
    """What an operator knows when he posts. ``view``: the state before the batch, whose root is ``parent``'s;
    ``message_at`` gives every inbox message that L1 has, consumed or not; ``l1_time_ms``: time of the L1 head."""

    view: TrieView
    domain: bytes
    message_at: Callable[[int], bytes | None]
    l1_time_ms: int
    parent: BatchHeader


def corrupt(kind: str, batch: PostBatch, context: Context) -> PostBatch:
    """An honest batch turned into a wrong one of a kind. Raises Unsuitable if this batch gives no opportunity for it,
    ValueError for an unknown kind."""
    villain = _VILLAINS.get(kind)
    if villain is None:
        raise ValueError(f"there is no villain {kind!r}; kinds: {', '.join(KINDS)}")
    wrong = villain(batch, context)
    assert wrong != batch, "a villain lies"
    try:
        check_post_batch(wrong)
    except ValueError as error:
        raise Unsuitable(f"the wrong batch would be refused for its form: {error}") from None
    return wrong


# --- wrong roots ------------------------------------------------------------------------------------------------------


def _wrong_root(place: Callable[[int], int]) -> Callable[[PostBatch, Context], PostBatch]:
    def villain(batch: PostBatch, _context: Context) -> PostBatch:
        index = place(len(batch.roots))
        roots = list(batch.roots)
        roots[index] = keccak(roots[index])
        return replace(batch, roots=tuple(roots))

    return villain


# --- lies in the rules ------------------------------------------------------------------------------------------------


def _in_the_middle(lie: Callable[[Forge], None]) -> Callable[[PostBatch, Context], PostBatch]:
    """Tell a lie after the middle chunk; the rest of the batch follows from it."""
    def villain(batch: PostBatch, context: Context) -> PostBatch:
        forge = _start(batch, context)
        for index, chunk in enumerate(batch.chunks):
            forge.follow(chunk)
            if index == len(batch.chunks) // 2:
                lie(forge)
        return _finish(batch, forge)

    return villain


def _at_the_end(lie: Callable[[Forge, Context], None]) -> Callable[[PostBatch, Context], PostBatch]:
    """Add a chunk of the villain's own after the honest ones."""
    def villain(batch: PostBatch, context: Context) -> PostBatch:
        forge = _start(batch, context)
        for chunk in batch.chunks:
            forge.follow(chunk)
        lie(forge, context)
        return _finish(batch, forge)

    return villain


def _with_a_fill(*, needs_fill: bool, otherwise: Callable[[Forge], None]) -> Callable[[PostBatch, Context], PostBatch]:
    """Pass over an order in the first chunk that fills one; without such a chunk, touch the book at the end."""
    def villain(batch: PostBatch, context: Context) -> PostBatch:
        forge = _start(batch, context)
        told = False
        for chunk in batch.chunks:
            if not told and pass_over(forge, chunk, needs_fill=needs_fill):
                told = True
            else:
                forge.follow(chunk)
        if not told:
            otherwise(forge)
        return _finish(batch, forge)

    return villain


def _start(batch: PostBatch, context: Context) -> Forge:
    assert context.view.root() == context.parent.post_root, "the view is the state before the batch"
    return forge_of(batch, context.view, context.domain, context.message_at)


def _finish(batch: PostBatch, forge: Forge) -> PostBatch:
    return replace(batch, globals=forge.words(), chunks=tuple(forge.chunks), roots=tuple(forge.roots))


# --- lying headers ----------------------------------------------------------------------------------------------------


def _lying_cursor(batch: PostBatch, context: Context) -> PostBatch:
    """Claim one message more than was consumed. (Claiming fewer would make its Inbox transaction wrong.)"""
    message = context.message_at(batch.inbox_cursor)
    if message is None:
        raise Unsuitable("the batch has consumed every message that L1 has")
    place = unpack_position(batch.globals[0])
    cursor = batch.inbox_cursor + 1
    words = (pack_position(replace(place, inbox_cursor=cursor)), *batch.globals[1:])
    running = next_inbox_hash(batch.inbox_hash, message)
    return replace(batch, inbox_cursor=cursor, inbox_hash=running, globals=words)


def _lying_time(batch: PostBatch, context: Context) -> PostBatch:
    """Claim a millisecond less, or one more where the parent's time or L1's forbids that."""
    place = unpack_position(batch.globals[0])
    before = unpack_position(context.parent.globals[0]).l2_time_ms
    time = place.l2_time_ms - 1 if place.l2_time_ms - 1 > before else place.l2_time_ms + 1
    if time > context.l1_time_ms:
        raise Unsuitable("no other time than the right one would be accepted")
    return replace(batch, globals=(pack_position(replace(place, l2_time_ms=time)), *batch.globals[1:]))


def _lying_totals(batch: PostBatch, _context: Context) -> PostBatch:
    """Claim that a dollar more was deposited."""
    words = list(batch.globals)
    words[3] += 1_000_000 << 128
    return replace(batch, globals=(words[0], words[1], words[2], words[3], words[4], words[5]))


# --- chunks that may not be -------------------------------------------------------------------------------------------


def _oversized(batch: PostBatch, context: Context) -> PostBatch:
    """All chunks in one, and again, until it is too long; claims the state that the honest ones lead to."""
    joined = bytearray()
    for chunk in cycle(batch.chunks):
        if len(joined) > CHUNK_BYTES_MAX:
            break
        joined += chunk
    return replace(batch, chunks=(bytes(joined[: CHUNK_BYTES_MAX + 1]),), roots=batch.roots[-1:])


def _badly_cut(forge: Forge, context: Context) -> None:
    """Somebody's prices until there is no more work in the chunk, and some more: "void", says the villain."""
    engine = forge.engine(forge.state)
    engine.begin_chunk()
    g = forge.globals()
    markets, prices = list(range(PRICES_MAX)), [1] * PRICES_MAX
    signature = sign(encoding.oracle_price_digest(0, g.time, markets, prices))
    one = encoding.write_oracle_price(0, g.time, markets, prices, signature, g.time)
    fitting = 0
    for _ in range(OVERFULL):
        try:
            engine.execute(one)
        except InvalidChunk:
            break
        fitting += 1
    assert 0 < fitting < OVERFULL, "some of it fits a chunk, not all"
    changes = engine.end_chunk().changes
    assert state.GLOBAL_KEY in changes, "every chunk writes G"
    forge.keep(one * OVERFULL, changes)


_VILLAINS: Final[dict[str, Callable[[PostBatch, Context], PostBatch]]] = {
    "wrong-root-first": _wrong_root(lambda count: 0),
    "wrong-root-middle": _wrong_root(lambda count: count // 2),
    "wrong-root-last": _wrong_root(lambda count: count - 1),
    "credit-from-nothing": _in_the_middle(credit),
    "skipped-margin-check": _at_the_end(lambda forge, context: skipped_margin_check(forge)),
    "broken-priority": _with_a_fill(needs_fill=True, otherwise=swap_orders),
    "hidden-order": _with_a_fill(needs_fill=False, otherwise=delete_order),
    "forged-signature": _at_the_end(lambda forge, context: forged_signature(forge)),
    "stranger-oracle": _at_the_end(lambda forge, context: stranger_oracle(forge, context.l1_time_ms)),
    "price-zero": _at_the_end(lambda forge, context: price_zero(forge)),
    "undebited-withdrawal": _in_the_middle(undebited_withdrawal),
    "lying-header-cursor": _lying_cursor,
    "lying-header-time": _lying_time,
    "lying-header-totals": _lying_totals,
    "oversized-chunk": _oversized,
    "badly-cut-chunk": _at_the_end(_badly_cut),
}
KINDS: Final = tuple(_VILLAINS)
