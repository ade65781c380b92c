"""Ways to lie with a witness: each takes an honest one, and the truth to lie close to it, and returns a changed one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from node.stf import witness
from node.stf.trie import keccak, leaf_hash, node_hash
from node.stf.witness import LEAF, Witness
from tests.trie.cases import Case, random_key, random_value

Mutation = Callable[[random.Random, Case, Witness], Witness]
Element = tuple[int, bytes, bytes]  # op, key or hash, value


def elements_of(shown: Witness) -> list[Element]:
    leaves, hashes = iter(shown.leaves), iter(shown.hashes)
    return [(op, *next(leaves)) if op == LEAF else (op, next(hashes), b"") for op in shown.ops]


def witness_of(elements: Sequence[Element]) -> Witness:
    return Witness(
        [(key, value) for op, key, value in elements if op == LEAF],
        bytes(op for op, _, _ in elements),
        [digest for op, digest, _ in elements if op != LEAF],
    )


def _pick(rnd: random.Random, elements: Sequence[Element], leaf: bool | None = None) -> int | None:
    found = [at for at, element in enumerate(elements) if leaf is None or (element[0] == LEAF) == leaf]
    return rnd.choice(found) if found else None


def _edit(leaf: bool | None, change: Callable[[random.Random, Case, Element], list[Element]]) -> Mutation:
    """A mutation of one element (leaf, subtree or any)."""

    def mutate(rnd: random.Random, case: Case, shown: Witness) -> Witness:
        elements = elements_of(shown)
        at = _pick(rnd, elements, leaf)
        if at is not None:
            elements[at : at + 1] = change(rnd, case, elements[at])
        return witness_of(elements)

    return mutate


def _other_value(rnd: random.Random, case: Case, element: Element) -> list[Element]:
    value = element[2]
    choices = [random_value(rnd), value + bytes(32), value[:-32], value[32:], case.leaves.get(element[1], b"")]
    return [(LEAF, element[1], rnd.choice(choices))]


def _other_key(rnd: random.Random, case: Case, element: Element) -> list[Element]:
    bit = 1 << rnd.randrange(1, 128)
    near = (int.from_bytes(element[1][:16], "big") ^ bit).to_bytes(16, "big") + bytes(16)
    return [(LEAF, rnd.choice([near, random_key(rnd, 1), *sorted(case.leaves)]), element[2])]


def _other_op(rnd: random.Random, case: Case, element: Element) -> list[Element]:
    op = rnd.choice([element[0] ^ 128, element[0] ^ (1 << rnd.randrange(8)), rnd.randrange(1, 256)])
    return [(op or 128, element[1], b"")]


def _other_hash(rnd: random.Random, case: Case, element: Element) -> list[Element]:
    leaves = [leaf_hash(key, keccak(value)) for key, value in case.leaves.items()]
    return [(element[0], rnd.choice([bytes(32), rnd.randbytes(32), *leaves]), b"")]


def _leaf_to_subtree(rnd: random.Random, case: Case, element: Element) -> list[Element]:
    """Hide a leaf behind its own hash."""
    digest = leaf_hash(element[1], keccak(element[2])) if element[2] else bytes(32)
    return [(rnd.randrange(1, 256), digest, b"")]


def _swap(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    elements = elements_of(shown)
    if len(elements) > 1:
        at = rnd.randrange(len(elements) - 1)
        elements[at], elements[at + 1] = elements[at + 1], elements[at]
    return witness_of(elements)


def _join_subtrees(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    """Close two neighbouring elements to one subtree, as if what lies in it were none of the proof's business."""
    elements = elements_of(shown)
    pairs = [at for at in range(len(elements) - 1) if rnd.random() < 0.7]
    if pairs:
        at = rnd.choice(pairs)
        left, right = (
            leaf_hash(key, keccak(value)) if op == LEAF else key for op, key, value in elements[at : at + 2]
        )
        bit = rnd.choice([elements[at][0] % 128, elements[at + 1][0] % 128, rnd.randrange(1, 128)])
        elements[at : at + 2] = [(rnd.randrange(1, 256), node_hash(bit, left, right), b"")]
    return witness_of(elements)


def _deny(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    """An honest witness of a part of what is touched, with the rest claimed absent."""
    partial = witness.build(case.old, [key for key in case.touched if rnd.random() < 0.5])
    elements = elements_of(partial)
    denied = [key for key in {*case.touched, *rnd.sample(sorted(case.leaves), min(2, len(case.leaves)))}]
    known = {key for key, _ in partial.leaves}
    for key in sorted(set(denied) - known):
        at = sum(1 for op, name, _ in elements if op == LEAF and name < key)
        places = [i for i, element in enumerate(elements) if element[0] == LEAF]
        low = places[at - 1] + 1 if at else 0
        high = places[at] if at < len(places) else len(elements)
        elements.insert(rnd.randint(low, high), (LEAF, key, b""))
    return witness_of(elements)


def _add_absent(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    elements = elements_of(shown)
    elements.insert(rnd.randint(0, len(elements)), (LEAF, random_key(rnd, 1), b""))
    return witness_of(elements)


def _existing_and_absent(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    elements = elements_of(shown)
    at = _pick(rnd, elements, True)
    if at is not None:
        elements.insert(at + rnd.randrange(2), (LEAF, elements[at][1], b""))
    return witness_of(elements)


def _without_ranges(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    return witness.build(case.old, case.touched)


def _miscount(rnd: random.Random, case: Case, shown: Witness) -> Witness:
    if rnd.random() < 0.5:
        return replace(shown, ops=shown.ops + bytes((rnd.randrange(256),)))
    return replace(shown, ops=shown.ops[:-1])


MUTATIONS: dict[str, Mutation] = {
    "another value": _edit(True, _other_value),
    "another key": _edit(True, _other_key),
    "existing claimed absent": _edit(True, lambda rnd, case, e: [(LEAF, e[1], b"")]),
    "absent claimed existing": _edit(True, lambda rnd, case, e: [(LEAF, e[1], e[2] or random_value(rnd))]),
    "another bit or side": _edit(False, _other_op),
    "another hash": _edit(False, _other_hash),
    "element omitted": _edit(None, lambda rnd, case, e: []),
    "element twice": _edit(None, lambda rnd, case, e: [e, e]),
    "leaf hidden as a subtree": _edit(True, _leaf_to_subtree),
    "neighbours swapped": _swap,
    "neighbours closed to a subtree": _join_subtrees,
    "existing denied": _deny,
    "absent added": _add_absent,
    "both existing and absent": _existing_and_absent,
    "range not opened": _without_ranges,
    "counts disagree": _miscount,
}


def lies(case: Case, shown: Witness) -> list[str]:
    """What a witness claims that is not so in the old state (empty: everything it shows is true)."""
    false = [f"{key.hex()}: {value.hex()}" for key, value in shown.leaves if case.leaves.get(key, b"") != value]
    opened = {key for key, _ in shown.leaves}
    hidden = [key for key in case.leaves if key not in opened and any(lo <= key <= hi for lo, hi in case.ranges)]
    return false + [f"{key.hex()} is hidden in an observed range" for key in hidden]
