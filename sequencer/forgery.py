"""Lies told by rules that lie: chunks executed on a state that was tampered with before or after, so that what comes
out is a plausible state with a plausible root, and every later chunk of the batch follows from it.

A ``Forge`` replays an honest batch on an overlay of the state before it. A lie changes leaves under the rules' feet
(credit, hidden orders), or tells the rules who signed. Used by ``sequencer/villains.py`` only: to show, on devnets and
in tests, that such batches fall.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from coincurve import PrivateKey
from eth_hash.auto import keccak

from node.l1.bindings import PostBatch
from node.stf import encoding, margin, state, types
from node.stf.engine import ChunkResult, Engine
from node.stf.state import Globals
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie, TrieView
from node.stf.types import Receipt, Status

# known to everybody: signs what must not be believed
STRANGER: Final = PrivateKey(keccak(b"anchorline villain"))
STRANGER_ADDRESS: Final = int.from_bytes(keccak(STRANGER.public_key.format(compressed=False)[1:])[12:], "big")
USD: Final = 1_000_000
LOOT: Final = 1_000 * USD
CANDIDATES_MAX: Final = 256  # accounts, orders or fills that a lie is tried on

Leaves = dict[bytes, bytes | None]


class Unsuitable(Exception):
    """This batch or state has nothing that the lie could be about: try it on a later one."""


@dataclass
class Forge:
    """A batch in the making: the lying state, and the chunks and roots so far."""

    view: TrieView
    domain: bytes
    message_at: Callable[[int], bytes | None]
    cursor_end: int
    state: MemoryTrie = field(init=False)
    chunks: list[bytes] = field(default_factory=list)
    roots: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = MemoryTrie(base=self.view)

    def engine(self, trie: MemoryTrie) -> Engine:
        """The rules over a state."""
        return Engine(trie, self.domain, lambda n: self.message_at(n) if n < self.cursor_end else None, strict=True)

    def run(self, trie: MemoryTrie, chunk: bytes) -> tuple[list[Receipt], ChunkResult]:
        """Execute without keeping anything. Raises Unsuitable if the chunk is INVALID on this state."""
        try:
            return self.engine(trie).execute_chunk(chunk)
        except InvalidChunk as error:
            raise Unsuitable(f"a chunk has no room after the lie ({error})") from None

    def follow(self, chunk: bytes) -> None:
        """Execute a chunk by the rules, on the state as it is now."""
        _receipts, result = self.run(self.state, chunk)
        self.keep(chunk, result.changes)

    def keep(self, chunk: bytes, changes: Leaves) -> None:
        """A chunk with the changes that are claimed for it."""
        self.chunks.append(chunk)
        self.roots.append(self.state.apply(changes))

    def amend(self, changes: Leaves) -> None:
        """Change leaves after the last chunk, as if it had done that."""
        self.roots[-1] = self.state.apply(changes)

    def tampered(self, changes: Leaves) -> MemoryTrie:
        """The state with leaves changed, for one execution."""
        trie = MemoryTrie(base=self.state)
        trie.apply(changes)
        return trie

    def globals(self) -> Globals:
        """Fields of the G leaf now."""
        return state.decode_globals(leaf_of(self.state, state.GLOBAL_KEY))

    def words(self) -> tuple[int, int, int, int, int, int]:
        """Words of the G leaf now, for the header."""
        a, b, c, d, e, f = state.global_words(self.globals())
        return a, b, c, d, e, f

    def append_lie(self, chunk: bytes, changes: Leaves) -> None:
        """Add a chunk of our own. Raises Unsuitable if the rules would lead to the same state."""
        _receipts, honest = self.run(self.state, chunk)
        if self.tampered(honest.changes).root() == self.tampered(changes).root():
            raise Unsuitable("the lie changes nothing")
        self.keep(chunk, changes)


def leaf_of(view: TrieView, key: bytes) -> bytes:
    """Value of a leaf that the view has listed."""
    value = view.get(key)
    assert value is not None, "the key was listed by the same view"
    return value


def accounts(view: TrieView) -> Iterator[int]:
    """Ids of the first accounts."""
    for key, _ in zip(view.keys(b"A"), range(CANDIDATES_MAX), strict=False):
        yield int.from_bytes(key[1:5], "big")


def add_collateral(view: TrieView, account: int, amount: int) -> Leaves:
    """The change that adds to an account, and nothing else."""
    key = state.account_key(account)
    row = state.decode_account(leaf_of(view, key))
    row.collateral += amount
    return {key: state.encode_account(row)}


# --- money ------------------------------------------------------------------------------------------------------------


def credit(forge: Forge) -> None:
    """An account has more than it had; the totals say that it was deposited."""
    account = next(accounts(forge.state), 0)
    if account == 0:
        raise Unsuitable("there is no account yet")
    g = forge.globals()
    g.accounts_total += LOOT
    g.deposits += LOOT
    forge.amend(add_collateral(forge.state, account, LOOT) | {state.GLOBAL_KEY: state.encode_globals(g)})


def undebited_withdrawal(forge: Forge) -> None:
    """A withdrawal that L1 would pay and no account has paid for; the totals say that one has."""
    g = forge.globals()
    key = state.withdrawal_key(g.next_withdrawal)
    g.next_withdrawal += 1
    g.withdrawn += LOOT
    g.accounts_total -= LOOT
    word = STRANGER_ADDRESS << 64 | LOOT
    forge.amend({key: word.to_bytes(32, "big"), state.GLOBAL_KEY: state.encode_globals(g)})


def skipped_margin_check(forge: Forge) -> None:
    """An account that has all the margin it needs is liquidated."""
    for account in accounts(forge.state):
        row = state.decode_account(leaf_of(forge.state, state.account_key(account)))
        for position in row.positions:
            if position.size != 0 and _liquidate(forge, account, position.market):
                return
    raise Unsuitable("no account has a position that could be liquidated")


def _liquidate(forge: Forge, account: int, market: int) -> bool:
    engine = forge.engine(forge.state)
    engine.begin_chunk()
    health = margin.health(account)
    missing = health.equity - health.maintenance // 4  # so little that no buffer delays it: below close-out
    if health.stale != 0 or health.equity < health.maintenance:
        return False
    poor = forge.tampered(add_collateral(forge.state, account, -missing))
    chunk = encoding.write_liquidate(account, market)
    receipts, result = forge.run(poor, chunk)
    if receipts[0].status not in (Status.OK, Status.NO_LIQUIDITY, Status.BUFFERED):
        return False
    poor.apply(result.changes)
    changes = result.changes | add_collateral(poor, account, missing)
    try:
        forge.append_lie(chunk, changes)
    except Unsuitable:
        return False
    return True


# --- signatures -------------------------------------------------------------------------------------------------------


def sign(digest: bytes) -> bytes:
    """The stranger's signature, 64 bytes (EIP-2098)."""
    raw = STRANGER.sign_recoverable(digest, hasher=None)
    vs = int.from_bytes(raw[32:64], "big") | raw[64] << 255
    return raw[:32] + vs.to_bytes(32, "big")


def pretend(digest: bytes, signature: bytes, signer: int) -> None:
    """Let the next execution believe that ``signer`` made a signature."""
    encoding.note_recovered(
        digest, int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"), signer)


def forged_signature(forge: Forge) -> None:
    """A stranger makes himself a key of somebody's account, in the owner's name."""
    forge.engine(forge.state).bind()
    account = next(accounts(forge.state), 0)
    if account == 0:
        raise Unsuitable("there is no account yet")
    owner = state.decode_account(leaf_of(forge.state, state.account_key(account))).keys[0]
    time = forge.globals().time
    nonce, expiry = max(time, owner.nonce_high + 1), time + 60_000
    digest = encoding.set_key_digest(account, nonce, expiry, 1, STRANGER_ADDRESS, 0)
    signature = sign(digest)
    chunk = encoding.write_set_key(account, 1, nonce, expiry, STRANGER_ADDRESS, 0, signature, time)
    _append_forged(forge, chunk, digest, signature, owner.address)


def stranger_oracle(forge: Forge, time_max: int) -> None:
    """A price that no publisher has published, a tenth below the mark; opens a block if the last price is as new."""
    for key in forge.state.keys(b"M"):
        market = int.from_bytes(key[1:3], "big")
        publishers = state.decode_market(leaf_of(forge.state, key)).publishers
        for slot, publisher in enumerate(publishers):
            step = 1 if publisher.time >= forge.globals().time else 0
            time = forge.globals().time + step
            if publisher.address == 0 or publisher.time >= time or time > time_max:
                continue
            price = max(1, publisher.price * 9 // 10)
            forge.engine(forge.state).bind()
            digest = encoding.oracle_price_digest(slot, time, [market], [price])
            signature = sign(digest)
            opening = encoding.write_block(step) if step else b""
            chunk = opening + encoding.write_oracle_price(slot, time, [market], [price], signature, time)
            _append_forged(forge, chunk, digest, signature, publisher.address)
            return
    raise Unsuitable("no market has a publisher whose price could be replaced now")


def _append_forged(forge: Forge, chunk: bytes, digest: bytes, signature: bytes, signer: int) -> None:
    pretend(digest, signature, signer)
    receipts, result = forge.run(forge.state, chunk)
    if receipts[-1].status != Status.OK:
        raise Unsuitable(f"the forged transaction would end in {receipts[-1].status.name}")
    forge.append_lie(chunk, result.changes)


# --- the book ---------------------------------------------------------------------------------------------------------


def pass_over(forge: Forge, chunk: bytes, *, needs_fill: bool) -> bool:
    """Execute a chunk as if the best order that it fills were not there; put it back afterwards.

    With ``needs_fill`` the taker must meet a worse order instead. False if the chunk gives no opportunity.
    """
    receipts, _result = forge.run(forge.state, chunk)
    fills = [(index, fill) for index, receipt in enumerate(receipts) for fill in receipt.fills]
    for index, fill in fills[:CANDIDATES_MAX]:
        key = state.order_key(fill.market, 1 - fill.taker_side, fill.price, fill.maker_seq)
        order = forge.state.get(key)
        if order is None:
            continue  # placed in this very chunk
        try:
            lied, result = forge.run(forge.tampered({key: None}), chunk)
        except Unsuitable:
            continue
        if needs_fill and not any(other.maker_seq != fill.maker_seq for other in lied[index].fills):
            continue
        forge.keep(chunk, result.changes | {key: order})
        return True
    return False


def swap_orders(forge: Forge) -> None:
    """The two best orders of a side change places: who came later goes first."""
    for first, second in _neighbours(forge.state):
        a, b = leaf_of(forge.state, first), leaf_of(forge.state, second)
        if a != b:
            forge.amend({first: b, second: a})
            return
    raise Unsuitable("no side of a book has two orders")


def delete_order(forge: Forge) -> None:
    """A resting order is gone, without its owner's word."""
    key = next(forge.state.keys(b"O"), None)
    if key is None:
        raise Unsuitable("no order rests in any book")
    forge.amend({key: None})


def _neighbours(view: TrieView) -> Iterator[tuple[bytes, bytes]]:
    for market in range(32):
        for side in (types.BUY, types.SELL):
            found = [key for key, _ in zip(view.keys(state.book_prefix(market, side)), range(2), strict=False)]
            if len(found) == 2:
                yield found[0], found[1]


def forge_of(batch: PostBatch, view: TrieView, domain: bytes, message_at: Callable[[int], bytes | None]) -> Forge:
    """A forge for a batch on the state before it."""
    return Forge(view, domain, message_at, batch.inbox_cursor)
