"""Witnesses: honest ones give the true root whatever is touched, dishonest ones give nothing."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stf import witness
from node.stf.trie import EMPTY_ROOT, MemoryTrie, root_of
from node.stf.witness import BadWitness, Witness
from tests.trie.cases import Case, random_case, random_key, slow_root
from tests.trie.mutations import MUTATIONS, lies


def shown(case: Case) -> Witness:
    return witness.build(case.old, case.touched, case.ranges)


@given(st.randoms(use_true_random=False))
def test_an_honest_witness_gives_the_true_new_root(rnd: random.Random) -> None:
    case = random_case(rnd)
    built, root = shown(case), slow_root(case.leaves)
    assert lies(case, built) == []
    assert {key for key, _ in built.leaves} >= set(case.touched)
    assert witness.verify(built, root, case.changes, case.ranges) == slow_root(case.after)
    assert witness.verify(built, root, {}, case.ranges) == root
    encoded = witness.encode(built)
    assert witness.decode(encoded) == built
    assert witness.size(built).size_bytes == len(encoded)
    with pytest.raises(BadWitness):
        witness.decode(encoded + b"\x00")


@given(st.randoms(use_true_random=False))
def test_a_witness_is_a_function_of_content_and_request(rnd: random.Random) -> None:
    """Canonical: neither the history of the trie nor the order of the request shows."""
    case = random_case(rnd)
    detour = MemoryTrie()
    detour.apply(dict.fromkeys((random_key(rnd, 1) for _ in range(9)), bytes(32)))
    detour.apply({**dict.fromkeys(detour.keys(b"")), **case.leaves})
    rnd.shuffle(case.touched)
    assert witness.build(detour, case.touched + case.touched[:2], case.ranges[::-1]) == shown(case)


@given(st.randoms(use_true_random=False))
def test_nothing_in_a_witness_can_be_left_out(rnd: random.Random) -> None:
    """Minimal: without any one opened leaf that was not asked for, some request is not shown."""
    case = random_case(rnd, sizes=(10, 40))
    built = shown(case)
    asked = set(case.touched)
    helpers = [
        key for key, _ in built.leaves if key not in asked and not any(lo <= key <= hi for lo, hi in case.ranges)
    ]
    # each helper stands for at least one absent key or range: there are never more helpers than requests, and the root
    # needs one even if nothing is asked for
    absent = sum(1 for key in asked if key not in case.leaves)
    assert len(helpers) <= absent + 2 * len(case.ranges) + (not asked)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_lie_never_verifies(name: str) -> None:
    """An accepted mutant (some change nothing that matters) shows only truth and gives the true root."""
    outcomes: Counter[str] = Counter()
    for seed in range(150):
        rnd = random.Random(f"{name} {seed}")
        case = random_case(rnd)
        honest = shown(case)
        mutant = MUTATIONS[name](rnd, case, honest)
        if mutant == honest:
            outcomes["unchanged"] += 1
            continue
        try:
            root = witness.verify(mutant, slow_root(case.leaves), case.changes, case.ranges)
        except BadWitness:
            outcomes["refused"] += 1
            continue
        outcomes["accepted"] += 1
        assert lies(case, mutant) == []
        assert root == slow_root(case.after)
    assert outcomes["refused"] >= 10, outcomes


def test_the_named_attacks() -> None:
    book = {b"OB" + bytes((price,)) + bytes(29): bytes([price]) * 32 for price in (1, 30, 40)}
    lo, hi = b"OB" + bytes(30), b"OB" + b"\xff" * 14 + bytes(16)
    others = {b"A" + bytes((n,)) + bytes(30): b"\x01" * 32 for n in range(8)}
    trie = MemoryTrie({**book, **others})
    root, (best, second, _) = trie.root(), sorted(book)
    inserted = b"OB\x14" + bytes(29)  # price 20: behind the best, before the second
    new = {inserted: b"\x02" * 32}

    # the better order (price 1) stays closed, so what the chunk inserted looks like the best one
    hiding = witness.build(trie, [inserted, second])
    assert best not in {key for key, _ in hiding.leaves}
    witness.verify(hiding, root, new)  # the insertion is fine, the observation is not
    with pytest.raises(BadWitness, match="observed range"):
        witness.verify(hiding, root, new, [(lo, inserted)])
    open_to_inserted = witness.build(trie, [inserted], [(lo, inserted)])
    assert best in {key for key, _ in open_to_inserted.leaves}

    # looking past live orders: the range reaches to the second order, the witness was opened to the first
    first_only = witness.build(trie, [best], [(lo, best)])
    witness.verify(first_only, root, {}, [(lo, best)])
    with pytest.raises(BadWitness, match="observed range"):
        witness.verify(first_only, root, {}, [(lo, second)])
    partial = witness.build(trie, [second])

    # emptiness claimed after an insertion: the book is not empty below the closed subtree
    with pytest.raises(BadWitness, match="observed range"):
        witness.verify(witness.build(trie, [min(others)]), root, {}, [(lo, hi)])

    # a leaf that execution touches and the witness lacks
    with pytest.raises(BadWitness, match="lacks leaf"):
        witness.verify(partial, root, {inserted: b"\x02" * 32})


def test_one_leaf_and_no_leaf() -> None:
    key, other = b"A" + bytes(31), b"B" + bytes(31)
    empty = witness.build(MemoryTrie(), [key, other])
    assert empty.hashes == [] and witness.size(empty).size_bytes == len(witness.encode(empty))
    single = witness.verify(empty, EMPTY_ROOT, {key: b"\x01" * 32})
    assert single == root_of({key: b"\x01" * 32})
    assert witness.verify(witness.build(MemoryTrie({key: b"\x01" * 32}), [other]), single, {}) == single
    gone = witness.build(MemoryTrie({key: b"\x01" * 32}), [key])
    assert witness.verify(gone, single, {key: None}) == EMPTY_ROOT
    with pytest.raises(BadWitness, match="old root"):
        witness.verify(empty, single, {})


def test_limits_are_refused_when_building() -> None:
    many = {b"A" + n.to_bytes(4, "big") + bytes(27): b"\x01" * 32 for n in range(256)}
    with pytest.raises(ValueError, match="over a witness's limits"):
        witness.build(MemoryTrie(many), many)
    too_low, too_high = (bytes(31) + b"\x01", bytes(32)), (b"\xff" + bytes(31), bytes(32))
    for key, value in (too_low, too_high, (b"A" + bytes(31), bytes(41 * 32))):
        with pytest.raises(ValueError, match="outside the key space"):
            witness.build(MemoryTrie({key: value}), [key])
