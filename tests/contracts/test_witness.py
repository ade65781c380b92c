"""The witness verifier in Vyper against its Python twin: same roots, same refusals, and what it costs."""

from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.stf import witness
from node.stf.trie import EMPTY_ROOT, MemoryTrie, keccak
from node.stf.witness import BadWitness
from tests.contracts.witness_driver import MOCK, Verified, outcome, run
from tests.evm import Contract, Evm, Revert, reverts
from tests.trie.cases import Case, Leaves, random_case, random_key, slow_root
from tests.trie.mutations import MUTATIONS, lies

GAS_SAME, GAS_NEW = 1_600, 1_850  # bounds for one opaque subtree
CALLDATA_GAS = 16  # for a byte that is not zero


@cache
def mock() -> Contract:
    return Evm().deploy(MOCK, gas=2**25)


def number(key: bytes) -> int:
    return int.from_bytes(key, "big")


def python_outcome(case: Case, mutant: witness.Witness) -> bytes | None:
    try:
        return witness.verify(mutant, slow_root(case.leaves), case.changes, case.ranges)
    except BadWitness:
        return None


@given(st.randoms(use_true_random=False))
def test_the_contract_gives_the_true_new_root(rnd: random.Random) -> None:
    case = random_case(rnd)
    shown = witness.build(case.old, case.touched, case.ranges)
    answer = run(mock(), witness.encode(shown), slow_root(case.leaves), case.changes, case.ranges)
    assert answer.root == slow_root(case.after)
    live = {key for key in case.after if any(lo <= key <= hi for lo, hi in case.ranges)}
    assert answer.touched == len({*case.changes, *live})


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_lie_is_refused_as_in_python(name: str) -> None:
    """Mutants that both languages accept show only truth; they disagree about none that can be encoded."""
    outcomes: Counter[str] = Counter()
    for seed in range(80):
        rnd = random.Random(f"{name} {seed}")
        case = random_case(rnd, sizes=(0, 1, 2, 3, 10, 40))
        honest = witness.build(case.old, case.touched, case.ranges)
        mutant = MUTATIONS[name](rnd, case, honest)
        data = witness.encode(mutant)
        root = outcome(mock(), data, slow_root(case.leaves), case.changes, case.ranges)
        outcomes["refused" if root is None else "accepted"] += 1
        if root is not None:
            assert lies(case, mutant) == []
            assert root == slow_root(case.after)
        assert root == python_outcome(case, mutant), "the two verifiers disagree"
    assert outcomes["refused"] >= 5, outcomes


def test_random_bytes_in_a_witness_never_give_another_root() -> None:
    """Mutations of the encoding itself: the contract reverts or gives the only true root; it never halts."""
    outcomes: Counter[bool] = Counter()
    for seed in range(400):
        rnd = random.Random(seed)
        case = random_case(rnd, sizes=(1, 3, 10))
        data = bytearray(witness.encode(witness.build(case.old, case.touched, case.ranges)))
        for _ in range(rnd.choice((1, 1, 2))):
            kind, at = rnd.randrange(4), rnd.randrange(len(data))
            if kind == 0:
                data[at] = rnd.randrange(256)
            elif kind == 1:
                data[at] ^= 1 << rnd.randrange(8)
            elif kind == 2:
                data.insert(at, rnd.randrange(256))
            elif len(data) > 40:
                del data[at]
        root = outcome(mock(), bytes(data), slow_root(case.leaves), case.changes, case.ranges)
        outcomes[root is None] += 1
        assert root in (None, slow_root(case.after))
    assert outcomes[True] > 200, outcomes


def test_nothing_survives_in_transient_storage() -> None:
    """Two proofs in one L1 transaction: what the first one loaded is not there for the second."""
    key, other = b"A" + bytes(31), b"B" + bytes(31)
    trie = MemoryTrie({key: b"\x01" * 32, other: b"\x02" * 32})
    with_key = witness.encode(witness.build(trie, [key]))
    without_key = witness.encode(witness.build(trie, [other]))
    assert mock().call("run_twice", with_key, with_key, trie.root(), number(key)) == trie.root()
    with reverts("BAD_WITNESS: a leaf that execution touches is missing"):
        mock().call("run_twice", with_key, without_key, trie.root(), number(key))


def test_the_best_order_is_the_leftmost_live_leaf() -> None:
    """Matching a whole side away, order by order; the last observation is that nothing is left."""
    rnd = random.Random(21)
    orders = sorted({b"O\x00\x01\x00" + rnd.randbytes(2) + bytes(26) for _ in range(40)})
    rest = {b"A" + bytes((n,)) + bytes(30): b"\x01" * 32 for n in range(20)}
    trie = MemoryTrie({**dict.fromkeys(orders, b"\x05" * 32), **rest})
    lo, hi = b"O\x00\x01\x00" + bytes(28), b"O\x00\x01\x00" + b"\xff" * 28
    shown = witness.encode(witness.build(trie, [], [(lo, hi)]))
    for removed in (0, 1, 17, 39, 40):
        key, gas, root = mock().call("best", 2, number(lo), number(hi), removed, trie.root(), shown)
        assert key == (number(orders[removed]) if removed < 40 else 0)
        assert root == MemoryTrie({**dict.fromkeys(orders[removed:], b"\x05" * 32), **rest}).root()
        assert gas < (2_500 if removed else 8_000)  # the first observation looks up where the side's leaves are

    # only as much of the book must be open as was observed
    third = witness.encode(witness.build(trie, [], [(lo, orders[2])]))
    assert mock().call("best", 2, number(lo), number(hi), 2, trie.root(), third)[0] == number(orders[2])
    with reverts("BAD_WITNESS"):
        mock().call("best", 2, number(lo), number(hi), 3, trie.root(), third)


def test_a_better_order_cannot_hide_behind_an_inserted_one() -> None:
    best, second = b"O\x00\x00\x01\x01" + bytes(27), b"O\x00\x00\x01\x1e" + bytes(27)
    inserted = b"O\x00\x00\x01\x14" + bytes(27)
    accounts = {b"A" + bytes((n,)) + bytes(30): b"\x01" * 32 for n in range(4)}
    trie = MemoryTrie({best: b"\x01" * 32, second: b"\x02" * 32, **accounts})
    side = (b"O\x00\x00\x01" + bytes(28), b"O\x00\x00\x01" + b"\xff" * 28)
    hiding = witness.build(trie, [inserted, second])
    assert best not in {key for key, _ in hiding.leaves}
    new: dict[bytes, bytes | None] = {inserted: b"\x03" * 32}
    assert outcome(mock(), witness.encode(hiding), trie.root(), new, []) is not None
    with reverts("BAD_WITNESS: a closed subtree meets an observed range"):
        run(mock(), witness.encode(hiding), trie.root(), new, [side])
    # emptiness after an insertion and its cancellation
    with reverts("BAD_WITNESS: a closed subtree meets an observed range"):
        run(mock(), witness.encode(hiding), trie.root(), {inserted: None, second: None}, [side])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes((1, 0, 1, 0)) + b"A" + bytes(15) + bytes((41,)) + bytes(41 * 32), "more than 40 words"),
        (bytes((1, 0, 1, 0)) + bytes(16) + bytes((1,)) + bytes(64), "keys not ascending"),
        (bytes((1, 0, 1, 0)) + b"\x80" + bytes(15) + bytes((1,)) + bytes(64), "keys not ascending"),
        (bytes((0, 0, 1, 0)) + bytes(64), "more leaf ops than leaves"),
        (bytes((1, 0, 0)) + b"A" + bytes(15) + bytes((0,)) + bytes(64), "fewer leaf ops than leaves"),
        (bytes((0, 0, 1, 5)) + b"\x01" * 64, "no leaf for a right subtree"),
        (bytes((0, 0, 1, 133)) + b"\x01" * 64, "no leaf for a left subtree"),
        (bytes((0, 0, 1, 128)) + b"\x01" * 64, "no leaf for a left subtree"),
        (bytes((1, 0, 1, 0)) + b"A" + bytes(15) + bytes((1,)) + bytes(64), "the old root does not match"),
        (bytes((1, 0, 2, 0, 3)) + b"A" + bytes(15) + bytes((1,)) + bytes(96), "a subtree without hash"),
    ],
)
def test_each_refusal_names_its_cause(data: bytes, reason: str) -> None:
    with reverts(f"BAD_WITNESS: {reason}" if "40 words" not in reason else "BAD_WITNESS: more than 40 words in a leaf"):
        run(mock(), data, EMPTY_ROOT, {}, [])


def test_truncated_witnesses_revert() -> None:
    case = random_case(random.Random(3), sizes=(40,))
    data = witness.encode(witness.build(case.old, case.touched, case.ranges))
    for length in range(0, len(data) - 32, 97):
        assert outcome(mock(), data[:length], slow_root(case.leaves), {}, []) is None


def test_a_single_leaf_is_proven_by_its_path() -> None:
    rnd = random.Random(12)
    for _ in range(25):
        case = random_case(rnd, sizes=(1, 2, 10, 60))
        key = rnd.choice(sorted(case.leaves))
        proof, root = witness.build_path(case.old, key), slow_root(case.leaves)
        value_hash = keccak(proof.value)
        assert mock().call("fold_path", key, value_hash, proof.bits, proof.siblings) == root
        assert mock().call("fold_path", random_key(rnd, 3), value_hash, proof.bits, proof.siblings) != root
        for bits in (proof.bits + b"\x01", proof.bits[::-1]):
            if len(bits) != len(proof.bits) or len(bits) > 1:
                with reverts("BAD_PROOF"):
                    mock().call("fold_path", key, value_hash, bits, proof.siblings)


def deep(depth: int) -> tuple[bytes, Leaves]:
    """A leaf whose path has this many siblings on both sides, and all of its neighbours."""
    base = number(b"O" + random.Random(3).randbytes(15) + bytes(16))
    leaves = {base.to_bytes(32, "big"): b"\x01" * 32}
    for bit in range(128 - depth, 128):
        leaves[(base ^ 1 << (255 - bit)).to_bytes(32, "big")] = b"\x02" * 32
    return base.to_bytes(32, "big"), leaves


def verify_gas(depth: int, new: bytes | None) -> int:
    key, leaves = deep(depth)
    trie = MemoryTrie(leaves)
    changes: dict[bytes, bytes | None] = {} if new is None else {key: new}
    return run(mock(), witness.encode(witness.build(trie, [key])), trie.root(), changes, []).verify_gas


def load_bound(words: int) -> int:
    """Gas of loading one open leaf, at most."""
    return 1_750 + 395 * words


def verify_bound(words: int) -> int:
    """Gas of verifying one open leaf, changed or not, at most."""
    return 4_950 + 250 * words


def leaf_calldata(words: int) -> int:
    """Bytes of one open leaf: its op, its head, its words."""
    return 18 + 32 * words


def leaf_gas(words: int, new: bytes | None) -> tuple[int, int]:
    """Gas of (load, verify) of one more open leaf; ``new`` None leaves it as it is, b"" takes it away."""
    leaves = {b"A" + n.to_bytes(4, "big") + bytes(27): b"\x01" * (32 * words) for n in range(16)}
    trie = MemoryTrie(leaves)

    def shown(count: int) -> Verified:
        keys = sorted(leaves)[:count]
        changes = {} if new is None else dict.fromkeys(keys, new or None)
        return run(mock(), witness.encode(witness.build(trie, keys)), trie.root(), changes, [])

    few, many = shown(2), shown(12)
    return (many.load_gas - few.load_gas) // 10, (many.verify_gas - few.verify_gas) // 10


def insert_gas(count: int, words: int, neighbour_words: int) -> int:
    """Gas of the witness, calldata included, that adds leaves to 2**24 - 1 with dense ids, less a one-leaf witness's.

    The first one has 24 subtrees beside its path, each of them one leaf here; the lowest one, its neighbour, is open.
    """
    first = 2**24 - 1
    ids = {first ^ 1 << level for level in range(24)}
    old = b"\x02" * (32 * neighbour_words)
    added: dict[bytes, bytes | None] = {dense(first + n): b"\x03" * (32 * words) for n in range(count)}
    least = dense(0)
    return total_gas({dense(n): old for n in ids}, added) - total_gas({least: b"\x02" * 32}, {least: b"\x03" * 32})


def dense(number: int) -> bytes:
    return b"W" + number.to_bytes(8, "big") + bytes(23)


def total_gas(leaves: Leaves, new: dict[bytes, bytes | None]) -> int:
    trie = MemoryTrie(leaves)
    data = witness.encode(witness.build(trie, sorted(new)))
    answer = run(mock(), data, trie.root(), new, [])
    return answer.load_gas + answer.verify_gas + CALLDATA_GAS * len(data)


def test_what_a_witness_costs() -> None:
    print(f"\n{'gas of the witness pass':40} {'depth 24':>9} {'depth 70':>9}")
    rows = (("a subtree, root unchanged", None, GAS_SAME), ("a subtree, root changed", b"\x03" * 32, GAS_NEW))
    for name, new, bound in rows:
        per = [(verify_gas(depth, new) - verify_gas(1, new)) // (depth - 1) for depth in (24, 70)]
        print(f"{name:40} {per[0]:9} {per[1]:9}")
        assert max(per) <= bound
    print(f"{'gas of a leaf':40} {'load':>9} {'verify':>9}")
    for size in (1, 6, 40):
        for name, new in (("", None), (", changed", b"\x03" * (32 * size)), (", taken away", b"")):
            load, verify = leaf_gas(size, new)
            print(f"{f'{size} words{name}':40} {load:9} {verify:9}")
            assert load <= load_bound(size) and verify <= verify_bound(size)


def test_deploying_the_mock_needs_no_more_than_a_contract_may_have() -> None:
    assert len(mock().evm.code(mock())) <= 24_576
    with pytest.raises(Revert):
        mock().call("run", EMPTY_ROOT, [], [], b"")
