"""Rows of Exodus, PromiseCourt and FraudVerifier."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from coincurve import PrivateKey
from eth_hash.auto import keccak

from node.derive import evidence
from node.derive.evidence import KeptPromise
from node.derive.exodus import registration
from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise
from node.stf import encoding, state, witness
from node.stf.commitments import chunk_leaves, list_proof
from node.stf.params import CHUNK_BYTES_MAX
from node.stf.trie import TrieView
from node.stf.types import Action
from tests.contracts.gas.rollup import PATH_MAX, align, full, gas, path
from tests.contracts.gas.table import Row
from tests.contracts.test_exodus import Leaving, owner_of
from tests.contracts.test_promise_court import Promising, Victims, first_waiting
from tests.contracts.world import (
    BOND,
    CLAIM_S,
    EXODUS_AFTER_S,
    PARAMS,
    PROMISE_DEADLINE_S,
    REGISTER_S,
    RESEAT_S,
    USD,
    World,
)
from tests.differential.chunks import DifferentialWorld
from tests.differential.gas import crowd, deepen, heavy, ladder, risky
from tests.differential.harness import CHAIN_ID, Court, Outcome, deploy_verifier
from tests.differential.test_gas_bound import fill
from tests.evm import Actor, Evm, Receipt, reverts
from tests.stf.orders import options
from tests.stf.world import sign

GROUP = 256
CHUNKS, BATCH_BYTES, CHUNK_BYTES_POSTED = 256, 65_536, 24_000
TX_BYTES = 4_096


# --------------------------------------------------------------------------------------------------------------- exodus


def exodus(court: Court) -> list[Row]:
    """A small rollup's end, and the end of one with eight-position accounts among 10**7 leaves and every feature on."""
    small = Leaving()
    small.trade(590_000)
    abandoned = World(seated=False)
    abandoned.evm.warp(RESEAT_S + 1)
    froze_empty = gas(abandoned.exodus.transact("freeze"))
    small.evm.warp(EXODUS_AFTER_S + 1)
    froze = gas(small.exodus.transact("freeze"))
    small.evm.warp(PARAMS.challenge_window_s)
    small.register(1)
    typical = gas(small.register(2))
    refund = (small.deposit_number, small.inbox[small.deposit_number])
    refunded = gas(small.exodus.transact("refund", *refund, sender=small.prover))
    small.evm.warp(REGISTER_S)
    small.token.transact("mint", owner_of("bob"), 1)
    claimed = gas(small.exodus.transact("claim", 2))
    worst, first_claim, first_refund = crowded_exodus(court)
    return [
        Row("Exodus", "freeze", froze_empty, froze, "a seat is emptied"),
        Row("Exodus", "register", typical, worst, "eight positions in four boards, all features on, 10**7 leaves"),
        Row("Exodus", "claim", claimed, first_claim, "the owner's balance was zero"),
        Row("Exodus", "refund", refunded, first_refund, "the depositor's balance was zero"),
    ]


def crowded_exodus(court: Court) -> tuple[int, int, int]:
    """register, claim and refund at their dearest."""
    l2 = heavy(court)
    risky(l2)
    crowd(l2)
    world = World()
    world.deposit(9_000_000 * USD)
    world.post(roots=(l2.trie.root(),))
    world.do(world.trader, "deposit", 0, world.trader, world.held(world.trader))
    assert world.held(world.trader) == 0
    waiting = len(world.messages) - 1
    world.evm.warp(EXODUS_AFTER_S + 1)
    world.exodus.transact("freeze")
    world.evm.warp(PARAMS.challenge_window_s)
    costs = []
    for account in range(1, 9):
        shown = registration(l2.trie, account)
        costs.append(gas(world.exodus.transact("register", world.head, account, shown.witness)))
    first_refund = gas(world.exodus.transact("refund", waiting, world.messages[waiting]))
    world.evm.warp(REGISTER_S)
    return max(costs), gas(world.exodus.transact("claim", 1)), first_refund


# ------------------------------------------------------------------------------------------------------------- promises


def promises() -> list[Row]:
    world = Promising().start()
    authorized = gas(world.promise_court.transact("authorize_signer", full(20), sender=world.operator))
    four = [world.promise(1_000, [text, b"2", b"3", b"4"])[0] for text in (b"a", b"b")]
    before = world.evm.snapshot()
    equivocation = gas(world.tell(evidence.equivocation(*four)))
    world.evm.restore(before)
    many = [bytes([i]) for i in range(GROUP)]
    groups = [world.promise(1_000, [*many[:-1], last])[GROUP - 1] for last in (b"a", b"b")]
    worst_equivocation = gas(world.tell(evidence.equivocation(*groups)))
    world.evm.restore(before)
    world.evm.warp(PROMISE_DEADLINE_S + 1)
    late = gas(world.tell(evidence.late(world.promise(1_000, [b"never"], time=0)[0].signed)))
    world.evm.restore(before)
    return [
        Row("PromiseCourt", "authorize_signer", authorized, authorized, "costs always the same"),
        Row("PromiseCourt", "prove_equivocation", equivocation, worst_equivocation, "two groups of 256"),
        Row("PromiseCourt", "prove_late", late, late, "a tenure that sits: its end is stored"),
        conflict(world), *harm(),
    ]


def conflict(world: Promising) -> Row:
    first = first_waiting(world)
    order = world.order()
    kept = world.promise(first, [order[first], order[first + 2], order[first + 1]])
    posted = world.post(world.batch())
    typical = gas(world.tell(world.conflict(kept[1], posted, 0)))
    with reverts("CHUNK"):
        worst_conflict(CHUNK_BYTES_POSTED)
    return Row("PromiseCourt", "prove_conflict", typical, worst_conflict(CHUNK_BYTES_MAX),
               "8,192 bytes of one-byte actions, walked to their end; longer chunks are the fraud verifier's")


def signed_promise(world: World, first: int, listed: list[bytes], place: int) -> KeptPromise:
    """A promise by the world's operator in its first tenure."""
    domain = encoding.domain_separator(PARAMS.l2_chain_id, int(world.rollup.address, 16))
    hashes = [keccak(data) for data in listed]
    given = make_promise(1, first, hashes, 2**63 - 1, full(32))
    raw = PrivateKey(world.operator.key).sign_recoverable(digest(domain, given), hasher=None)
    paths = group_paths(group_leaves(first, hashes))
    return KeptPromise(SignedPromise(given, raw), first + place, hashes[place], paths[place])


def dense_chunk(size: int) -> tuple[bytes, int]:
    """As many one-byte actions as so many bytes hold, and how many transactions that makes."""
    listed = [options(1)] * 32
    one = encoding.write_actions(1, 0, 1, 1, listed, full(64), 0)
    count = size // len(one)
    return one * count, count


def worst_conflict(size: int) -> int:
    world = World()
    chunk, count = dense_chunk(size)
    small = [full((BATCH_BYTES - len(chunk)) // (CHUNKS - 1), i) for i in range(CHUNKS - 1)]
    first = 2**40
    words = [first << 64, *(int.from_bytes(full(32, i), "big") for i in range(5))]
    leaf = keccak(b"".join(word.to_bytes(32, "big") for word in words))
    bits, siblings, root = path(state.GLOBAL_KEY, leaf, PATH_MAX)
    chunks = (*small, chunk)
    roots = (*(full(32, i) for i in range(CHUNKS - 2)), root, full(32))
    world.evm.warp(1)
    world.send(world.batch(chunks=chunks, roots=roots))
    listed = [bytes([i]) for i in range(GROUP)]
    kept = signed_promise(world, first + count - GROUP, listed, GROUP - 1)
    view = _Path(bits, siblings, words)
    data = evidence_of(kept, world, chunks, roots, view)
    return gas(world.evm.message(world.promise_court, data, sender=world.prover))


@dataclass(frozen=True)
class _Path:
    bits: bytes
    siblings: list[bytes]
    words: list[int]


def evidence_of(
    kept: KeptPromise, world: World, chunks: tuple[bytes, ...], roots: tuple[bytes, ...], view: _Path
) -> bytes:
    leaves = chunk_leaves(chunks, roots)
    last = len(chunks) - 1
    place = (last, roots[last], list_proof(leaves, last), keccak(chunks[last - 1]), roots[last - 1],
             list_proof(leaves, last - 1))
    return world.promise_court.calldata(
        "prove_conflict", evidence.promise_tuple(kept.signed), kept.entry, world.head, world.headers[-2], place,
        chunks[last], view.words, view.bits, view.siblings)


def harm() -> list[Row]:
    """Victims: a short list of orders, and the longest transaction that anybody can have signed."""
    world = Promising().start()
    victims = Victims(world)
    victims.slash()
    typical = gas(victims.claim("bob", 1))
    claimed = gas(longest_claim(world, victims.posted.header.globals[0] >> 192, victims.actors["alice"]))
    world.evm.warp(CLAIM_S)
    for who in victims.actors.values():
        assert world.token.call("balanceOf", who) == 0
    first = gas(world.promise_court.transact("pay", 0, victims.actors["alice"]))
    world.token.transact("mint", victims.actors["bob"], 1)
    paid = gas(world.promise_court.transact("pay", 0, victims.actors["bob"]))
    burned = _burned()
    return [
        Row("PromiseCourt", "claim", typical, claimed, "32 orders with the longest numbers, in a group of 256"),
        Row("PromiseCourt", "pay", paid, first, "the victim's balance was zero"),
        Row("PromiseCourt", "burn", burned, burned, "costs always the same"),
    ]


def longest_claim(world: Promising, time: int, victim: Actor) -> Receipt:
    order = Action(op=1, market=31, side=1, price=2**32 - 1, lots=2**40 - 1, client_id=2**64 - 1, expiry=time + 10**9,
                   reduce_only=1, self_trade=1)
    listed = [order] * 32
    number = encoding.actions_digest(2**32 - 1, 7, time, time + 10**9, listed)
    signature = sign(PrivateKey(victim.key), number)
    transaction = encoding.write_actions(2**32 - 1, 7, time, time + 10**9, listed, signature, time)
    assert len(transaction) <= TX_BYTES
    others = [bytes([i]) for i in range(GROUP - 1)]
    kept = world.promise(2**40, [*others, transaction])[GROUP - 1]
    return world.tell(evidence.claim(0, kept, time, transaction), victim)


def _burned() -> int:
    world = Promising().start()
    world.tell(evidence.equivocation(*(world.promise(1_000, [text])[0] for text in (b"a", b"b"))))
    world.evm.warp(CLAIM_S)
    return gas(world.promise_court.transact("burn", 0))


# ---------------------------------------------------------------------------------------------------------------- fraud


def fraud(court: Court) -> list[Row]:
    world = Promising().start()
    honest = world.batch()
    before = world.evm.snapshot()
    posted = world.post(replace(honest, roots=(*honest.roots[:-1], full(32))))
    typical = gas(world.prove(posted, len(posted.chunks) - 1))
    world.evm.restore(before)
    del world.headers[2:], world.posted[1:]
    world.taken = len(world.posted[0].chunks)
    words = honest.globals
    posted = world.post(replace(honest, globals=(words[0], words[1] ^ 1, *words[2:])))
    shown = witness.build_path(posted.states[-1], state.GLOBAL_KEY)
    data = world.verifier.calldata(
        "prove_header", posted.header, posted.parent, list(words), shown.bits, shown.siblings)
    header = gas(world.evm.message(world.verifier, data, sender=world.prover))
    return [
        Row("FraudVerifier", "prove_chunk", typical, worst_chunk(court),
            "the dearest chunk that a search finds among 10**7 leaves; no legal one reaches 12,000,000"),
        Row("FraudVerifier", "prove_header", header, worst_header(), "128 siblings; the first slash"),
    ]


def worst_header() -> int:
    world = World()
    rollup = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    verifier = deploy_verifier(world.evm, rollup)
    rollup.transact("set_verifier", verifier)
    rollup.transact("set_courts", world.exodus, world.promise_court, world.claim_market)
    rollup.transact("open", sender=world.admin)
    for who in (world.operator, world.trader):
        world.token.transact("approve", rollup, 2**256 - 1, sender=who)
    rollup.transact("take_seat", BOND, sender=world.operator)
    world.rollup = rollup
    words = [int.from_bytes(full(32, i), "big") for i in range(6)]
    leaf = keccak(b"".join(word.to_bytes(32, "big") for word in words))
    bits, siblings, root = path(state.GLOBAL_KEY, leaf, PATH_MAX)
    world.post(roots=(root,))
    align(world)
    data = verifier.calldata("prove_header", world.head, world.headers[-2], words, bits, siblings)
    return gas(world.evm.message(verifier, data, sender=world.prover))


def search(l2: DifferentialWorld) -> tuple[bytes, Outcome]:
    """The dearest of the chunks that the gas bound's search tries."""
    seen: list[tuple[int, bytes, Outcome]] = []
    judge = l2.judge

    def noted(chunk: bytes, cursor_end: int | None = None) -> Any:
        verdict = judge(chunk, cursor_end)
        seen.append((verdict.gas, chunk, verdict.outcome))
        return verdict

    l2.judge = noted  # type: ignore[method-assign]
    ladder(l2)
    crowd(l2)
    cancels = deepen(l2, 44)
    rnd = random.Random(20_26)
    for _ in range(6):
        fill(l2, rnd, cancels)
    _gas, chunk, outcome = max(seen, key=lambda one: one[0])
    return chunk, outcome


def worst_chunk(court: Court) -> int:
    """The dearest chunk as the last of 256 in a batch of a real Rollup, which stands where the court's inbox stood, so
    that signatures hold."""
    l2 = heavy(court)
    chunk, outcome = search(l2)
    view: TrieView = l2.trie
    g = l2.engine.globals
    evm = Evm(timestamp=g.time // 1000 + 60)
    admin, operator, prover = map(evm.actor, ("admin", "operator", "prover"))
    token = evm.deploy("TestUSD", sender=admin)
    params = replace(PARAMS, l2_chain_id=CHAIN_ID)
    rollup = evm.deploy("Rollup", token, admin, params)
    assert rollup.address == court.rollup.address
    verifier = deploy_verifier(evm, rollup)
    world = World.__new__(World)
    world.evm, world.rollup, world.params, world.messages, world.token = evm, rollup, params, [], token
    world.operator, world.headers = operator, World(seated=False).headers
    rollup.transact("set_verifier", verifier)
    rollup.transact("set_courts", token, token, token)
    for number in range(g.cursor):
        world.do(admin, "enqueue_admin", 1, bytes([number % 255 + 1]))
    rollup.transact("open", sender=admin)
    world.fund(operator)
    rollup.transact("take_seat", BOND, sender=operator)
    words = [int.from_bytes((view.get(state.GLOBAL_KEY) or b"")[at : at + 32], "big") for at in range(0, 192, 32)]
    world.send(world.batch(roots=(view.root(),), globals=tuple(words), inbox_cursor=g.cursor))
    world.evm.warp(60)
    small = [full((BATCH_BYTES - len(chunk)) // (CHUNKS - 1), i) for i in range(CHUNKS - 1)]
    roots = (*(full(32, i) for i in range(CHUNKS - 2)), view.root(), full(32, 999))
    chunks = (*small, chunk)
    world.send(world.batch(chunks=chunks, roots=roots, inbox_cursor=g.cursor))
    leaves = chunk_leaves(chunks, roots)
    last = CHUNKS - 1
    data = verifier.calldata(
        "prove_chunk", world.head, world.headers[-2], (last, roots[last], list_proof(leaves, last)),
        (keccak(chunks[last - 1]), roots[last - 1], list_proof(leaves, last - 1)), chunk, b"",
        witness.encode(outcome.witness))
    return gas(evm.message(verifier, data, sender=prover))

