"""The stores: exact rollback, past states, crashes, damage, and the same behaviour on disk and in memory."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stf import witness
from node.stf.trie import EMPTY_ROOT, MemoryTrie, root_of
from node.storage.chain_store import ChainStore, Table, delete, number, put, records
from node.storage.kv import KV, MemoryKV, StorageError, open_kv, prefix_end
from node.storage.trie_store import TrieStore
from tests.storage.crash_writer import changes_of
from tests.trie.cases import random_key, random_value

ROOT = Path(__file__).resolve().parents[2]
Leaves = dict[bytes, bytes]


@pytest.fixture(params=["memory", "leveldb"])
def kv(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KV]:
    store: KV = MemoryKV() if request.param == "memory" else open_kv(tmp_path / "db")
    yield store
    store.close()


def content(kv: KV) -> dict[bytes, bytes]:
    return dict(kv.iterate(b"", b"\xff" * 40))


def history(seed: int, blocks: int) -> Iterator[tuple[dict[bytes, bytes | None], Leaves]]:
    """Blocks of changes, each with all leaves after it; some blocks empty the state."""
    rnd = random.Random(seed)
    leaves: Leaves = {}
    for _ in range(blocks):
        if rnd.random() < 0.08:
            changes: dict[bytes, bytes | None] = dict.fromkeys(leaves)
        else:
            changes = {
                random_key(rnd, 1): None if rnd.random() < 0.4 else random_value(rnd) for _ in range(rnd.randrange(12))
            }
        merged = {**leaves, **changes}
        leaves = {key: value for key, value in merged.items() if value is not None}
        yield changes, leaves


def test_every_block_has_the_root_of_its_leaves_and_every_rollback_is_exact(kv: KV) -> None:
    store = TrieStore(kv, cache_nodes=20)  # a cache this small evicts all the time
    snapshots = []
    for block, (changes, leaves) in enumerate(history(1, 40)):
        assert store.commit_block(block, changes) == store.root() == root_of(leaves)
        assert list(store.keys(b"A")) == sorted(key for key in leaves if key.startswith(b"A"))
        snapshots.append((content(kv), leaves))
    rnd = random.Random(2)
    head = 39
    while head > 0:
        head = rnd.randrange(max(0, head - 9), head)
        store.rollback(head)
        assert store.head() == head
        assert content(kv) == snapshots[head][0], f"the store after the rollback to {head} is not the store of then"
        # the cache agrees with the disk: a fresh store computes the same next root
        extra = {b"A" + bytes(31): b"\x07" * 32}
        assert store.commit_block(head + 1, extra) == root_of({**snapshots[head][1], **extra})
        store.rollback(head)


def test_past_states_stay_readable_while_the_head_moves_on(kv: KV) -> None:
    store = TrieStore(kv)
    states = []
    for block, (changes, leaves) in enumerate(history(3, 25)):
        store.commit_block(block, changes)
        states.append(leaves)
    views = [(block, store.at_block(block)) for block in (0, 7, 23, 24)]
    for block, (changes, _) in enumerate(history(4, 5), start=25):
        store.commit_block(block, changes)
    for block, view in views:
        leaves = states[block]
        assert view.root() == root_of(leaves)
        assert list(view.keys(b"")) == sorted(leaves)
        assert all(view.get(key) == value for key, value in leaves.items())
        touched = [*sorted(leaves)[:3], b"Z" + bytes(31)]
        shown = witness.build(view, touched)
        gone = dict.fromkeys(touched)
        expected = root_of({key: value for key, value in leaves.items() if key not in gone})
        assert witness.verify(shown, view.root(), gone) == expected


def test_an_extra_record_is_in_the_same_write(kv: KV) -> None:
    store = TrieStore(kv)
    store.commit_block(0, {b"A" + bytes(31): b"\x01" * 32}, [(b"Cmfirst", b"1")])
    with pytest.raises(ValueError, match="32-byte words"):
        store.commit_block(1, {b"A" + bytes(31): b"odd"}, [(b"Cmsecond", b"2")])
    assert (store.head(), kv.get(b"Cmfirst"), kv.get(b"Cmsecond")) == (0, b"1", None)
    with pytest.raises(ValueError, match="cannot follow"):
        store.commit_block(5, {})


def test_pruned_blocks_cannot_be_reached_and_say_so(kv: KV) -> None:
    store = TrieStore(kv)
    assert (store.head(), store.root(), store.oldest_block()) == (None, EMPTY_ROOT, None)
    for block, (changes, _) in enumerate(history(5, 20)):
        store.commit_block(block, changes)
    assert store.oldest_block() == 0
    assert store.prune_undo(below=12, limit=5) == 5
    assert store.prune_undo(below=12) == 8
    assert store.oldest_block() == 12
    root = store.at_block(12).root()
    with pytest.raises(StorageError, match="pruned"):
        store.at_block(11)
    with pytest.raises(StorageError, match="pruned"):
        store.rollback(3)
    assert store.rollback(12) == root
    with pytest.raises(StorageError, match="head is 12"):
        store.rollback(13)


def test_a_killed_writer_leaves_a_whole_block(tmp_path: Path) -> None:
    """kill -9 at five arbitrary moments: the store opens at the last printed block or the one after it, whole."""
    path, rnd = tmp_path / "db", random.Random(6)
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.storage.crash_writer", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        printed = ""
        for _ in range(rnd.randrange(3, 12)):
            printed = writer.stdout.readline()
        writer.kill()
        writer.stdout.close()
        writer.wait()
        block, root = int(printed.split()[0]), printed.split()[1]
        kv = open_kv(path)
        store = TrieStore(kv)
        head = store.head()
        assert head is not None and head >= block
        assert kv.get(b"Cmlast") == b"%d" % head
        reference = MemoryTrie()
        roots = [reference.apply(changes_of(n)).hex() for n in range(head + 1)]
        assert (roots[head], roots[block]) == (store.root().hex(), root)
        assert store.rollback(block // 2).hex() == roots[block // 2]
        kv.close()


def test_a_locked_or_damaged_directory_is_explained(tmp_path: Path) -> None:
    kv = open_kv(tmp_path / "db")
    with pytest.raises(StorageError, match="in use by another process"):
        open_kv(tmp_path / "db")
    TrieStore(kv).commit_block(0, {b"A" + bytes(31): b"\x01" * 32})
    kv.write([(b"mtrie", b"\xc3\x09\x80\x80")])
    with pytest.raises(StorageError, match="schema 9"):
        TrieStore(kv)
    kv.close()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot open"):
        open_kv(tmp_path / "file" / "db")


def test_chain_records(kv: KV) -> None:
    chain = ChainStore(kv)
    store = TrieStore(kv)
    for block in range(5):
        digest = bytes([block]) * 32
        record = [block, digest, ["chunk", b"\x01\x02"]]
        extra = [put(Table.BLOCK, block, record), put(Table.BLOCK_NUMBER, digest, [block])]
        store.commit_block(block, {b"A" + bytes(31): bytes([block + 1]) * 32}, extra)
    assert chain.get(Table.BLOCK, 3) == [b"\x03", b"\x03" * 32, [b"chunk", b"\x01\x02"]]
    assert chain.number_of(Table.BLOCK_NUMBER, b"\x04" * 32) == 4
    assert chain.get(Table.BLOCK, 9) is None
    assert [block for block, _ in chain.iterate(Table.BLOCK, 1, 3)] == [1, 2, 3]
    assert [block for block, _ in chain.iterate(Table.BLOCK, 2, reverse=True)] == [4, 3, 2]
    assert (chain.last(Table.BLOCK), chain.last(Table.BATCH)) == (4, None)
    store.rollback(2, [*chain.drop_after(Table.BLOCK, 2), delete(Table.BLOCK_NUMBER, b"\x04" * 32)])
    assert (chain.last(Table.BLOCK), store.head()) == (2, 2)
    assert [name for name, _ in records(kv, Table.BLOCK_NUMBER)] == [bytes([n]) * 32 for n in range(4)]
    chain.write([put(Table.META, "cursor", [2**64 - 1])], sync=True)
    assert number((ChainStore(kv).get(Table.META, "cursor") or [b""])[0]) == 2**64 - 1
    chain.write([put(Table.META, "schema", [7])])
    with pytest.raises(StorageError, match="schema 7"):
        ChainStore(kv)
    with pytest.raises(ValueError, match="negative"):
        put(Table.META, "x", [-1])


keys = st.binary(min_size=1, max_size=3)


@given(st.lists(st.lists(st.tuples(keys, st.none() | st.binary(max_size=3)), max_size=6), max_size=8), keys, keys)
def test_the_store_in_memory_behaves_like_a_sorted_dict(
    batches: list[list[tuple[bytes, bytes | None]]], start: bytes, stop: bytes
) -> None:
    kv, model = MemoryKV(), dict[bytes, bytes]()
    for batch in batches:
        frozen, before = kv.snapshot(), dict(model)
        kv.write(batch)
        for key, value in batch:
            if value is None:
                model.pop(key, None)
            else:
                model[key] = value
        expected = sorted((key, value) for key, value in model.items() if start <= key < stop)
        assert list(kv.iterate(start, stop)) == expected
        assert list(kv.iterate(start, stop, reverse=True)) == expected[::-1]
        assert dict(frozen.iterate(b"", b"\xff" * 4)) == before
        assert all(kv.get(key) == model.get(key) for key, _ in batch)


def test_leveldb_and_memory_agree(tmp_path: Path) -> None:
    rnd = random.Random(8)
    level, memory = open_kv(tmp_path / "db"), MemoryKV()
    frozen: list[tuple[Callable[..., object], dict[bytes, bytes]]] = []
    for _ in range(30):
        batch = [(rnd.randbytes(1), None if rnd.random() < 0.4 else rnd.randbytes(2)) for _ in range(9)]
        level.write(batch)
        memory.write(batch)
        assert content(level) == content(memory)
        start, stop = sorted((rnd.randbytes(1), rnd.randbytes(1)))
        for reverse in (False, True):
            found = list(level.iterate(start, stop, reverse=reverse))
            assert found == list(memory.iterate(start, stop, reverse=reverse))
        frozen.append((level.snapshot().iterate, content(memory)))
    for iterate, expected in frozen:
        assert dict(iterate(b"", b"\xff" * 4)) == expected  # type: ignore[call-overload]
    level.close()


def test_prefix_end() -> None:
    assert (prefix_end(b"a"), prefix_end(b"a\xff\xff")) == (b"b", b"b")
    with pytest.raises(ValueError, match="no upper end"):
        prefix_end(b"\xff")


def test_a_range_backwards_finds_its_only_entry(tmp_path: Path) -> None:
    """Also where that is the range's first key, and something else lies beyond its end (plyvel alone misses it)."""
    for kv in (open_kv(tmp_path / "db"), MemoryKV()):
        kv.write([(b"a0", b"x"), (b"a2", b"y"), (b"b", b"z")])
        for source in (kv, kv.snapshot()):
            assert list(source.iterate(b"a0", b"a1", reverse=True)) == [(b"a0", b"x")]
            assert list(source.iterate(b"a1", b"a2", reverse=True)) == []
            assert list(source.iterate(b"a0", b"b", reverse=True)) == [(b"a2", b"y"), (b"a0", b"x")]
        kv.close()
