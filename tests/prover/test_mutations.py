"""Nobody is slashed for an honest batch: thousands of seeded lies, told alone or two in one L1 transaction, all revert.

A lie is a proof's calldata with one thing wrong: a value, a path, an element left out, doubled or moved, a key claimed
both existing and absent, another place in the list, another header, messages that the inbox has not, a phantom chunk,
broken bytes. The control at the end shows that the same calls do slash a batch that deserves it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from node.derive.replay import PostedBatch
from node.l1.bindings import PostBatch
from node.stf import state, witness
from node.stf.commitments import BatchHeader, chunk_leaves, list_proof
from node.stf.engine import Engine
from node.stf.trie import MemoryTrie
from prover.proof import Evidence, finish, pack_messages, prove
from tests.evm import Contract, Halt, Revert
from tests.prover.world import CourtWorld
from tests.trie.cases import Case
from tests.trie.mutations import MUTATIONS

SEED = 20_261_122
ROUNDS = 100  # of every mutation, on chunks chosen at random
PAIRS = 150
MOCKS = Path(__file__).parent / "mocks"


@dataclass
class Target:
    """An honest chunk on L1 and the honest arguments of a proof about it."""

    batch: PostedBatch
    parent: BatchHeader
    index: int
    before: MemoryTrie
    arguments: dict[str, Any]
    shown: witness.Witness
    messages: list[bytes]
    case: Case

    def calldata(self, verifier: Contract, **overrides: Any) -> bytes:
        return verifier.calldata("prove_chunk", *(self.arguments | overrides).values())


def leaves_of(trie: MemoryTrie) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for key in trie.keys(b""):
        value = trie.get(key)
        assert value is not None
        found[key] = value
    return found


class Honest:
    """Two honest batches on L1, and every chunk of them as a target."""

    def __init__(self) -> None:
        self.world = CourtWorld()
        self.world.set_up()
        self.world.trade()
        batches = [self.posted_in_set_up(), self.post(self.world.batch())]
        self.verifier = self.world.verifier
        self.targets = [target for batch, parent, first in batches for target in self.aim(batch, parent, first)]

    def posted_in_set_up(self) -> tuple[PostedBatch, BatchHeader, int]:
        world = self.world
        count = world.headers[1].chunk_count
        roots = tuple(state.root() for state in world.states[1 : count + 1])
        batch = PostedBatch(world.headers[1], tuple(world.chunks[:count]), roots, bytes(32), 0)
        return batch, world.headers[0], 0

    def post(self, batch: PostBatch) -> tuple[PostedBatch, BatchHeader, int]:
        first = self.world.taken
        header, _receipt = self.world.post_as(batch)
        return PostedBatch(header, batch.chunks, batch.roots, bytes(32), 0), self.world.headers[-2], first

    def aim(self, batch: PostedBatch, parent: BatchHeader, first: int) -> Iterator[Target]:
        leaves = chunk_leaves(batch.chunks, batch.roots)
        for index, chunk in enumerate(batch.chunks):
            before = self.world.states[first + index]
            engine = Engine(before, self.world.domain, self.world.message_at, strict=True)
            cursor = engine.globals.cursor
            _receipts, result = engine.execute_chunk(chunk)
            messages = self.world.inbox[cursor : engine.globals.cursor]
            shown = witness.build(before, result.touched, result.ranges)
            previous: tuple[Any, ...] = (bytes(32), bytes(32), [])
            if index:
                previous = (keccak(batch.chunks[index - 1]), batch.roots[index - 1], list_proof(leaves, index - 1))
            arguments = {
                "header": batch.header, "parent": parent,
                "claim": (index, batch.roots[index], list_proof(leaves, index)), "before": previous, "chunk": chunk,
                "messages": pack_messages(messages), "witness": witness.encode(shown),
            }
            case = Case(leaves_of(before), sorted(result.touched), list(result.ranges), dict(result.changes))
            yield Target(batch, parent, index, before, arguments, shown, messages, case)

    def refused(self, data: bytes) -> str:
        """Send calldata; it must not succeed. Returns the reason."""
        try:
            self.world.evm.message(self.verifier, data, sender=self.world.prover, keep=False)
        except (Revert, Halt) as error:
            return str(error).partition(":")[0][:24]
        raise AssertionError(f"an honest batch was slashed by {data[:4].hex()}… ({len(data)} bytes)")


@pytest.fixture(scope="module")
def honest() -> Honest:
    return Honest()


# --- lies about the state ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MUTATIONS))
def test_lies_in_the_witness(honest: Honest, name: str) -> None:
    rnd = random.Random(f"{SEED} {name}")
    reasons: dict[str, int] = {}
    for _ in range(ROUNDS):
        target = rnd.choice(honest.targets)
        shown = MUTATIONS[name](rnd, target.case, target.shown)
        try:
            packed = witness.encode(shown)
        except (ValueError, OverflowError):
            packed = rnd.randbytes(len(target.arguments["witness"]))
        reason = honest.refused(target.calldata(honest.verifier, witness=packed))
        reasons[reason] = reasons.get(reason, 0) + 1
    print(f"{name}: {reasons}")


# --- lies about everything else ---------------------------------------------------------------------------------------


def _flip(rnd: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rnd.choice((1, 1, 2, 8))):
        if changed:
            changed[rnd.randrange(len(changed))] ^= 1 << rnd.randrange(8)
    return bytes(changed)


def _other_place(rnd: random.Random, target: Target) -> dict[str, Any]:
    """Another index, a phantom one behind the last, or another chunk's proof."""
    leaves = chunk_leaves(target.batch.chunks, target.batch.roots)
    index = rnd.choice([target.index + 1, target.index - 1, len(leaves), len(leaves) + 1, 255, 2**255, target.index])
    proof = list(list_proof(leaves, rnd.randrange(len(leaves))))
    if rnd.random() < 0.5:
        rnd.shuffle(proof)
    root = rnd.choice([target.batch.roots[target.index], keccak(b"claimed")])
    if index == target.index and root == target.batch.roots[target.index]:
        proof.append(bytes(32))
    return {"claim": (abs(index), root, proof[:8])}


def _other_claim(rnd: random.Random, target: Target) -> dict[str, Any]:
    index, _root, proof = target.arguments["claim"]
    return {"claim": (index, rnd.choice([keccak(b"x"), bytes(32), b"\xff" * 32, *target.batch.roots[:index]]), proof)}


def _other_predecessor(rnd: random.Random, target: Target) -> dict[str, Any]:
    chunk_hash, root, proof = target.arguments["before"]
    lied = rnd.choice([(bytes(32), bytes(32), []), (chunk_hash, keccak(root), proof), (keccak(chunk_hash), root, proof),
                       (chunk_hash, root, [*proof, bytes(32)][-8:]), (chunk_hash, root, proof[1:])])
    return {"before": lied} | ({} if target.index else _other_claim(rnd, target))


def _other_header(rnd: random.Random, target: Target) -> dict[str, Any]:
    header = target.batch.header
    changes: list[dict[str, Any]] = [
        {"number": header.number + 1}, {"number": 0}, {"post_root": keccak(header.post_root)},
        {"chunks_root": bytes(32)}, {"chunk_count": header.chunk_count + 1}, {"posted_at": header.posted_at + 1},
        {"rules": 2}, {"inbox_cursor": header.inbox_cursor + 1}, {"poster": bytes(20)}, {"parent": bytes(32)},
    ]
    lied = replace(header, **rnd.choice(changes))
    return rnd.choice([{"header": lied}, {"parent": header}, {"header": target.parent},
                       {"parent": replace(target.parent, post_root=keccak(b"pre"))}])


def _other_chunk(rnd: random.Random, target: Target) -> dict[str, Any]:
    chunk = target.arguments["chunk"]
    return {"chunk": rnd.choice([chunk[:-1], chunk + b"\x08", b"", _flip(rnd, chunk), *target.batch.chunks])
            } | _other_claim(rnd, target)


def _other_messages(rnd: random.Random, target: Target) -> dict[str, Any]:
    messages = list(target.messages) or [b"\x01" + rnd.randbytes(60)]
    lie = rnd.randrange(5)
    if lie == 0:
        at = rnd.randrange(len(messages))
        messages[at] = _flip(rnd, messages[at])
    elif lie == 1:
        del messages[rnd.randrange(len(messages))]
    elif lie == 2:
        messages.insert(rnd.randrange(len(messages) + 1), rnd.choice(messages))
    elif lie == 3:
        messages = [*messages, b"\x06" + rnd.randbytes(rnd.randrange(28, 1_100))]
    return {"messages": pack_messages(messages) if lie < 4 else _flip(rnd, pack_messages(messages))}


def _broken_witness(rnd: random.Random, target: Target) -> dict[str, Any]:
    data = target.arguments["witness"]
    return {"witness": rnd.choice([_flip(rnd, data), data[: rnd.randrange(len(data))], data + rnd.randbytes(32), b""])}


def _other_witness(rnd: random.Random, target: Target) -> dict[str, Any]:
    """True, but of another moment, or of fewer keys."""
    if rnd.random() < 0.5:
        return {"witness": witness.encode(witness.build(target.before, [state.GLOBAL_KEY]))}
    some = [key for key in target.case.touched if rnd.random() < 0.8]
    return {"witness": witness.encode(witness.build(target.before, [*some, state.GLOBAL_KEY]))}


LIES: dict[str, Callable[[random.Random, Target], dict[str, Any]]] = {
    "another place": _other_place, "another claim": _other_claim, "another predecessor": _other_predecessor,
    "another header": _other_header, "another chunk": _other_chunk, "other messages": _other_messages,
    "a broken witness": _broken_witness, "another witness": _other_witness,
}


@pytest.mark.parametrize("name", sorted(LIES))
def test_lies_about_the_batch(honest: Honest, name: str) -> None:
    rnd = random.Random(f"{SEED} {name}")
    reasons: dict[str, int] = {}
    for _ in range(ROUNDS):
        target = rnd.choice(honest.targets)
        reason = honest.refused(target.calldata(honest.verifier, **LIES[name](rnd, target)))
        reasons[reason] = reasons.get(reason, 0) + 1
    print(f"{name}: {reasons}")


def test_broken_calldata(honest: Honest) -> None:
    rnd = random.Random(SEED)
    for _ in range(2 * ROUNDS):
        target = rnd.choice(honest.targets)
        data = target.calldata(honest.verifier)
        honest.refused(data[:4] + _flip(rnd, data[4:]) if rnd.random() < 0.7 else data[: rnd.randrange(len(data))])


def test_lies_about_the_mirror(honest: Honest) -> None:
    rnd = random.Random(SEED)
    header, parent, trie = honest.world.headers[2], honest.world.headers[1], honest.world.trie
    keys = [key for key in trie.keys(b"")]
    for _ in range(2 * ROUNDS):
        key = rnd.choice([state.GLOBAL_KEY, rnd.choice(keys)])
        path = witness.build_path(trie, key)
        words = [int.from_bytes(path.value[i : i + 32], "big") for i in range(0, 192, 32)]
        bits, siblings = bytearray(path.bits), list(path.siblings)
        lie = rnd.randrange(5) if key == state.GLOBAL_KEY else 5
        if lie in (0, 1):
            words[rnd.randrange(6)] ^= 1 << rnd.randrange(256)
        elif lie == 2:
            bits[rnd.randrange(len(bits))] ^= 1 << rnd.randrange(8)
        elif lie == 3:
            siblings[rnd.randrange(len(siblings))] = rnd.randbytes(32)
        elif lie == 4:
            at = rnd.randrange(len(siblings))
            del siblings[at], bits[at]
        words = words if rnd.random() < 0.9 else [0] * 6
        honest.refused(
            honest.verifier.calldata("prove_header", header, parent, words, bytes(bits), siblings))
    honest.refused(honest.verifier.calldata(
        "prove_header", header, parent, list(header.globals), *_path(trie)))


def _path(trie: MemoryTrie) -> tuple[bytes, list[bytes]]:
    path = witness.build_path(trie, state.GLOBAL_KEY)
    return path.bits, path.siblings


# --- two in one transaction -------------------------------------------------------------------------------------------


def dry_run(honest: Honest, target: Target, trie: MemoryTrie) -> bytes:
    """A call of execute_chunk, which anybody may make on any state, invented ones included."""
    return honest.verifier.calldata(
        "execute_chunk", trie.root(), target.batch.header.inbox_cursor, target.arguments["chunk"],
        target.arguments["messages"], witness.encode(witness.build(trie, target.case.touched, target.case.ranges)))


def invented(rnd: random.Random, target: Target) -> MemoryTrie:
    """The state before a chunk, with an account or an order that is not like that."""
    trie = MemoryTrie(base=target.before)
    for key in target.case.touched:
        value = trie.get(key)
        if value is not None and key[:1] in (b"A", b"M", b"O", b"G") and rnd.random() < 0.5:
            word = int.from_bytes(value[:32], "big") + (1 << rnd.choice((168, 120, 64)))
            trie.apply({key: word.to_bytes(32, "big") + value[32:]})
    return trie


def test_nothing_of_one_proof_helps_the_next_in_the_same_transaction(honest: Honest) -> None:
    """The first call loads leaves (of the true state, or of an invented one), the second leaves them out."""
    rnd = random.Random(SEED)
    relay = honest.world.evm.deploy(MOCKS / "TwoCalls.vy")
    succeeded = 0
    for _ in range(PAIRS):
        target = rnd.choice(honest.targets)
        first = dry_run(honest, target, rnd.choice([target.before, invented(rnd, target)]))
        lies = LIES[rnd.choice(["another witness", "a broken witness", "other messages"])]
        second = target.calldata(honest.verifier, **lies(rnd, target))
        data = relay.calldata("run", honest.verifier, first, second)
        receipt = honest.world.evm.message(relay, data, sender=honest.world.prover, keep=False)
        first_done, second_done = (bool(receipt.value[at]) for at in (31, 63))
        succeeded += first_done
        assert not second_done, "an honest batch was slashed after another call in the same transaction"
    assert succeeded > PAIRS // 2, "most first calls must leave something behind to be misused"


def test_the_same_calls_slash_a_batch_that_deserves_it_and_only_once() -> None:
    """The control: proofs made by the prover land, and their repetition in the same transaction does nothing more."""
    world = CourtWorld()
    world.set_up()
    world.trade()
    honest = world.batch()
    wrong = replace(honest, roots=(*honest.roots[:-1], keccak(honest.roots[-1])))
    view, parent = world.states[world.taken], world.headers[-1]
    header, _receipt = world.post_as(wrong, honest=False)
    posted = PostedBatch(header, wrong.chunks, wrong.roots, bytes(32), 0)
    proof = finish(prove(Evidence(posted, parent, view, world.domain, world.message_at)))
    relay = world.evm.deploy(MOCKS / "TwoCalls.vy")
    data = relay.calldata("run", world.verifier, proof.calldata, proof.calldata)
    receipt = world.evm.message(relay, data, sender=world.prover)
    assert [bool(receipt.value[at]) for at in (31, 63)] == [True, False]
    assert world.rollup.call("head_number") == 1
    assert len(receipt.events("BondSlashed")) == 1
