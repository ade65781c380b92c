"""Room for kept promises: who may stay when it is short, what is never given up, and what a restart finds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.derive import keeping
from node.derive.chain import Chain
from node.derive.evidence import KeptPromise
from node.derive.keeping import Entry, Keeping, NotKept
from node.derive.kept import Keepsake, Verdict
from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise
from node.l1.keys import LocalSigner
from node.stf import encoding
from node.stf.types import ACTIONS
from node.storage.kv import MemoryKV

DOMAIN = encoding.domain_separator(7, 0x77)
SIGNER = LocalSigner(keccak(b"sequencer"))
NOW_MS = 1_700_000_000_000


@dataclass
class FakeBook:
    """The court's word, scripted: what became of a position, and which epochs are bound."""

    fates: dict[int, Verdict] = field(default_factory=dict)
    epochs: frozenset[int] = frozenset((1,))
    looks: int = 0

    async def binds(self, keepsake: Keepsake) -> bool:
        return keepsake.kept.signed.promise.epoch in self.epochs

    async def overdue_before(self, epoch: int) -> int:
        return 2**64

    async def check(self, keepsake: Keepsake, *, prove: bool = True) -> Verdict:
        self.looks += 1
        return self.fates.get(keepsake.kept.position, Verdict(keepsake.kept.position, "waiting", 0))


@dataclass
class Scene:
    kept_max: int = 8
    kv: MemoryKV = field(default_factory=MemoryKV)
    book: FakeBook = field(default_factory=FakeBook)
    changed: list[tuple[int, str]] = field(default_factory=list)
    finalized: int = 0

    def __post_init__(self) -> None:
        self.store = self.open()

    def open(self) -> Keeping:
        book: Any = self.book
        return Keeping(
            Chain.open(self.kv, DOMAIN), book, finalized=lambda: self.finalized, kept_max=self.kept_max,
            changed=lambda entry: self.changed.append((entry.position, entry.state)))

    async def keep(self, account: int, position: int, note: int = 0, epoch: int = 1) -> Entry:
        return await self.store.keep(keepsake(account, position, note, epoch))

    def accounts(self) -> Counter[int]:
        return Counter(entry.account for entry in self.store._entries.values())

    def settle(self, entry: Entry, state: str = "kept") -> None:
        """As if its batch had come, and become final."""
        self.store._set(entry, state, 1, 1)
        self.store._count(entry, lambda each: setattr(each, "final", True))

    def check(self) -> None:
        """What is counted is what there is, in memory and on disk."""
        store = self.store
        assert len(store) <= self.kept_max
        assert store._open == Counter(e.account for e in store._entries.values() if not e.settled)
        assert sorted(store._entries) == sorted(self.open()._entries)
        assert sorted(id for ids in store._places.values() for id in ids) == sorted(store._entries)


def keepsake(account: int, position: int, note: int = 0, epoch: int = 1) -> Keepsake:
    """A signed promise for some list of an account."""
    data = bytes((ACTIONS,)) + encoding.varint(account) + note.to_bytes(4, "big")
    tx_hash = keccak(data)
    promise = make_promise(epoch, position, [tx_hash], NOW_MS, bytes(32))
    path = group_paths(group_leaves(position, [tx_hash]))[0]
    signed = SignedPromise(promise, SIGNER.sign_hash(digest(DOMAIN, promise)))
    return Keepsake(KeptPromise(signed, position, tx_hash, path), NOW_MS, data)


async def test_a_flood_from_one_account_pushes_out_its_own_only() -> None:
    scene = Scene()
    victim = await scene.keep(1, 100)
    for position in range(8):
        with_room = len(scene.store) < scene.kept_max
        if with_room:
            await scene.keep(2, position)
        else:
            with pytest.raises(NotKept, match="none can go"):
                await scene.keep(2, position)
    newcomer = await scene.keep(3, 200)
    assert scene.accounts() == {1: 1, 2: 6, 3: 1}
    assert {victim.id, newcomer.id} <= set(scene.store._entries)
    assert [e.position for e in scene.store.of_account(2)] == [0, 1, 2, 3, 4, 5], "its newest went"
    scene.check()


async def test_settled_promises_go_first_and_provable_ones_never() -> None:
    scene = Scene()
    entries = [await scene.keep(1, position) for position in range(8)]
    for entry in entries[:3]:
        scene.store._set(entry, "broken", 1, 1)
    scene.settle(entries[5])
    scene.settle(entries[4])
    for position in (20, 21):
        await scene.keep(2, position)
    left = {entry.position for entry in scene.store._entries.values()}
    assert left == {0, 1, 2, 3, 6, 7, 20, 21}, "kept for good: of no use any more"
    for account in (3, 4):
        await scene.keep(account, 30 + account)
    assert {0, 1, 2} <= {entry.position for entry in scene.store._entries.values()}
    scene.check()


async def test_an_account_has_its_share_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "PER_ACCOUNT_MAX", 3)
    scene = Scene()
    entries = [await scene.keep(1, position) for position in range(3)]
    with pytest.raises(NotKept, match="account 1 has 3 open promises"):
        await scene.keep(1, 4)
    scene.settle(entries[0])
    await scene.keep(1, 4)
    scene.check()


async def test_conflicting_promises_are_broken_at_once_and_after_a_restart() -> None:
    scene = Scene()
    one, other = await scene.keep(1, 5, note=1), await scene.keep(2, 5, note=2)
    assert (one.state, other.state) == ("broken", "broken")
    assert scene.changed == [(5, "broken")] * 2
    scene.store = scene.open()
    await scene.store.watch(0)
    assert scene.store.counts() == {"broken": 2}
    found = await scene.store.verdict(one.id)
    assert found is not None and found.kind == "equivocation" and found.proof


async def test_verdicts_come_by_themselves_once_and_follow_a_rollback() -> None:
    scene = Scene()
    entry = await scene.keep(1, 5)
    await scene.store.watch(0)
    assert scene.changed == []
    scene.book.fates[5] = Verdict(5, "kept", 3)
    await scene.store.watch(0)
    await scene.store.watch(0)
    assert scene.changed == [(5, "kept")] and entry.batch == 3
    del scene.book.fates[5]
    await scene.store.watch(1)
    assert scene.changed == [(5, "kept"), (5, "waiting")], "the batch was dropped"
    scene.book.fates[5] = Verdict(5, "late", 0, b"proof")
    await scene.store.watch(1)
    assert entry.state == "late"
    scene.book.fates[5] = Verdict(5, "kept", 4)
    await scene.store.watch(1)
    assert entry.state == "late", "its position is not posted yet"
    scene.store = scene.open()
    assert scene.store.counts() == {"waiting": 1}, "what it was is found anew"


async def test_what_no_bond_answers_for_is_not_taken_in() -> None:
    scene = Scene()
    with pytest.raises(NotKept) as refused:
        await scene.keep(1, 5, epoch=2)
    assert refused.value.kind == "unbound" and len(scene.store) == 0
    await scene.keep(1, 5)
    again = await scene.keep(1, 5)
    assert len(scene.store) == 1 and scene.store.of_account(1) == [again]


async def test_a_promise_without_its_transaction_gets_its_account_when_that_comes() -> None:
    scene = Scene()
    whole = keepsake(1, 5)
    bare = await scene.store.keep(Keepsake(whole.kept, whole.time, b""))
    assert bare.account == 0
    entry = await scene.store.keep(whole)
    assert (entry.account, entry.id) == (1, bare.id) and len(scene.store) == 1
    assert await scene.store.keep(Keepsake(whole.kept, whole.time, b"")) is entry
    scene.check()


@given(steps=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30), st.sampled_from(
    ("keep", "keep", "keep", "settle", "break", "rollback"))), max_size=60))
def test_whatever_happens_room_is_bounded_and_the_counts_are_right(steps: list[tuple[int, int, str]]) -> None:
    async def run() -> None:
        scene = Scene()
        for upheavals, (account, position, what) in enumerate(steps):
            entries = list(scene.store._entries.values())
            broken = {e.id for e in entries if e.state == "broken"}
            if what == "keep":
                try:
                    await scene.keep(account, position)
                except NotKept as refused:
                    assert refused.kind == "full"
                assert broken <= set(scene.store._entries), "what can be proven stays"
            elif what == "rollback":
                await scene.store.watch(upheavals + 1)
            elif entries:
                entry = entries[position % len(entries)]
                scene.settle(entry) if what == "settle" else scene.store._set(entry, "broken", 1, 1)
            scene.check()

    trio.run(run)
