"""The trie against its definition: roots, node records, key order, single-leaf proofs."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stf.trie import (
    EMPTY_ROOT,
    MemoryTrie,
    hash_of,
    is_leaf,
    keccak,
    key_path,
    leaf_hash,
    lowest_leaf,
    node_hash,
    path_key,
    root_of,
    split_bit,
    update,
)
from node.stf.witness import BadWitness, build_path, fold_path
from tests.trie.cases import Case, Leaves, random_case, random_key, random_value, slow_root

# whole 256-bit keys too, not only those of the state: few distinct bytes, so that long prefixes are shared
wide_keys = st.lists(st.sampled_from([0, 1, 128, 255]), min_size=32, max_size=32).map(bytes)
near_keys = st.tuples(st.sampled_from([0, 1, 127, 128, 254, 255]), st.sampled_from([0, 1, 255])).map(
    lambda pair: (pair[0] << 248 | pair[1]).to_bytes(32, "big")
)
keys = st.one_of(wide_keys, near_keys)
values = st.integers(0, 3).map(lambda n: bytes([n]) * 32)


@given(st.lists(st.dictionaries(keys, st.none() | values, max_size=8), max_size=8))
def test_any_history_has_the_root_and_the_nodes_of_its_content(batches: list[dict[bytes, bytes | None]]) -> None:
    trie, leaves = MemoryTrie(), Leaves()
    for batch in batches:
        root = trie.apply(batch)
        merged = {**leaves, **batch}
        leaves = {key: value for key, value in merged.items() if value is not None}
        assert root == trie.root() == slow_root(leaves) == root_of(leaves)
        fresh = MemoryTrie(leaves)
        assert trie.nodes == fresh.nodes, "records depend on history"
        assert len(trie.nodes) == max(0, 2 * len(leaves) - 1)
        assert list(trie.keys(b"")) == sorted(leaves)


@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_keys_under_a_prefix_come_in_order(rnd: random.Random, length: int) -> None:
    case = random_case(rnd)
    trie, prefix = case.old, random_key(rnd, 1)[:length]
    assert list(trie.keys(prefix)) == sorted(key for key in case.leaves if key.startswith(prefix))
    if case.leaves:
        assert lowest_leaf(trie, 1) == min(case.leaves)


@given(st.randoms(use_true_random=False))
def test_an_overlay_leaves_its_base_alone(rnd: random.Random) -> None:
    case = random_case(rnd)
    base = case.old
    before = (base.root(), dict(base.nodes), dict(base.values))
    over = MemoryTrie(base=base)
    assert over.apply(case.changes) == slow_root(case.after)
    assert list(over.keys(b"")) == sorted(case.after)
    assert all(over.get(key) == case.after.get(key) for key in {*case.leaves, *case.changes})
    assert (base.root(), base.nodes, base.values) == before


def test_the_hashes_are_those_of_the_definition() -> None:
    a, b = b"A" + bytes(31), b"A" + bytes(30) + b"\x01"
    x, y = bytes(31) + b"\x01", bytes(31) + b"\x02"
    left, right = keccak(a + keccak(x)), keccak(b + keccak(y))
    assert root_of({}) == EMPTY_ROOT == bytes(32)
    assert root_of({a: x}) == left == leaf_hash(a, keccak(x))
    assert root_of({a: x, b: y}) == keccak(b"\xff" + left + right) == node_hash(255, left, right)
    assert (split_bit(key_path(a), key_path(b)), path_key(key_path(a))) == (255, a)
    # keccak-256, not SHA3-256 (vector: the empty string)
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"
    node = MemoryTrie({a: x, b: y}).get_node(1)
    assert node is not None and not is_leaf(node) and hash_of(node) == root_of({b: y, a: x})


def test_bad_input_and_a_damaged_store_are_named() -> None:
    trie = MemoryTrie({bytes([n]) * 32: b"\x01" * 32 for n in range(4)})
    with pytest.raises(ValueError, match="32 bytes, this one has 3"):
        trie.apply({b"abc": b"\x01" * 32})
    for value in (b"", b"\x01" * 33):
        with pytest.raises(ValueError, match="32-byte words"):
            trie.apply({bytes(32): value})
    inner = next(address for address in trie.nodes if address != 1)
    del trie.nodes[inner]
    with pytest.raises(LookupError, match="damaged"):
        update(trie, {bytes([n]) * 32: None for n in range(4)})


def test_a_single_leaf_is_proven_by_its_path_and_nothing_else_is() -> None:
    rnd = random.Random(11)
    for _ in range(60):
        case = random_case(rnd, sizes=(1, 2, 10, 60))
        trie = case.old
        key = rnd.choice(sorted(case.leaves))
        proof = build_path(trie, key)
        assert proof.value == case.leaves[key]
        root, value_hash = trie.root(), keccak(proof.value)
        assert fold_path(key, value_hash, proof.bits, proof.siblings) == root
        assert fold_path(key, keccak(random_value(rnd)), proof.bits, proof.siblings) != root
        other = random_key(rnd, 2)
        if other not in case.leaves:
            assert fold_path(other, value_hash, proof.bits, proof.siblings) != root
            with pytest.raises(KeyError, match="no leaf"):
                build_path(trie, other)
        if proof.siblings:
            with pytest.raises(BadWitness):
                fold_path(key, value_hash, proof.bits[:-1], proof.siblings)
            with pytest.raises(BadWitness):
                fold_path(key, value_hash, proof.bits + proof.bits[-1:], [*proof.siblings, bytes(32)])


def test_a_case_can_empty_the_trie() -> None:
    """The generator of the witness tests reaches what those tests are for."""
    cases: list[Case] = [random_case(random.Random(seed)) for seed in range(300)]
    assert any(case.leaves and not case.after for case in cases)
    assert any(not case.leaves and case.after for case in cases)
    assert any(case.ranges and case.leaves for case in cases)
