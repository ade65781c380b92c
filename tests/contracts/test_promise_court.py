"""PromiseCourt: a promise that a posted batch breaks costs the bond, and nothing costs an honest operator's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_hash.auto import keccak

from node.derive import evidence
from node.derive.evidence import KeptPromise
from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise, struct_hash
from node.derive.replay import PostedBatch
from node.stf import encoding
from tests.contracts.world import BOND, CLAIM_S, PROMISE_DEADLINE_S
from tests.differential.l1 import Posted, RollupWorld
from tests.evm import Actor, Receipt, Revert, reverts
from tests.stf.world import buy, sell

WRONG = b"\x17" * 32
TENTH = BOND // 10


def split(world: RollupWorld, chunk: bytes) -> list[bytes]:
    """A chunk's transactions, as the contract splits it."""
    found = []
    at = 0
    while at < len(chunk):
        offset, size = world.promise_court.call("transaction_at", chunk, len(found), bytes(32))
        assert offset == at and size > 0
        found.append(chunk[at : at + size])
        at += size
    return found


class Promising(RollupWorld):
    """A world whose operator promises what it cuts. ``order[p]``: the transaction at position p."""

    def start(self) -> Promising:
        self.open()
        self.signer = PrivateKey(self.operator.key)
        self.post(self.batch())
        self.block(1_000)
        self.actions(1, sell(0, 600_100, 1_000, 11))
        self.actions(2, buy(0, 590_000, 7, 12))
        self.cut()
        self.actions(2, buy(0, 590_100, 7, 13))
        assert self.withdraw(1, 5).status == 0
        self.cut()
        return self

    @property
    def epoch(self) -> int:
        return int(self.rollup.call("seat_epoch"))

    def order(self) -> dict[int, bytes]:
        """What was cut, by position."""
        found: dict[int, bytes] = {}
        for chunk in self.chunks:
            for data in split(self, chunk):
                found[len(found)] = data
        return found

    def promise(
        self, first: int, listed: Sequence[bytes], *, epoch: int | None = None, time: int | None = None,
        signer: PrivateKey | None = None,
    ) -> list[KeptPromise]:
        """What each trader of a group keeps."""
        hashes = [keccak(data) for data in listed]
        given = make_promise(
            self.epoch if epoch is None else epoch, first, hashes, self.evm.timestamp * 1000 if time is None else time,
            bytes(32))
        raw = (signer or self.signer).sign_recoverable(digest(self.domain, given), hasher=None)
        paths = group_paths(group_leaves(first, hashes))
        return [KeptPromise(SignedPromise(given, raw), first + i, hashes[i], paths[i]) for i in range(len(hashes))]

    def conflict(self, kept: KeptPromise, posted: Posted, index: int) -> bytes:
        seen = PostedBatch(posted.header, posted.chunks, posted.roots, bytes(32), 0)
        return evidence.conflict(kept, seen, posted.parent, index, posted.states[index])

    def tell(self, data: bytes, sender: Actor | None = None) -> Receipt:
        return self._take(self.evm.message(self.promise_court, data, sender=sender or self.prover))

    def bond(self) -> int:
        return int(self.rollup.call("bond_of", self.operator)[0])


@pytest.fixture(scope="module")
def scene() -> tuple[Promising, object]:
    world = Promising().start()
    return world, world.evm.snapshot()


@pytest.fixture
def world(scene: tuple[Promising, object]) -> Promising:
    """One batch is posted; a block of two chunks waits."""
    world, snapshot = scene
    world.evm.restore(snapshot)
    del world.headers[2:], world.posted[1:]
    world.taken = len(world.posted[0].chunks)
    return world


def first_waiting(world: Promising) -> int:
    return world.headers[1].globals[0] >> 64 & 2**64 - 1


# ------------------------------------------------------------------------------------------------------------ splitting


def test_the_contract_splits_chunks_as_the_rules_do(world: Promising) -> None:
    """As many transactions as the rules have counted, and together they are all bytes."""
    order = world.order()
    assert len(order) == world.engine.globals.position
    assert {data[0] for data in order.values()} >= {1, 3, 8, 9}


# ------------------------------------------------------------------------------------------------------------ conflicts


def test_another_transaction_at_a_promised_position_costs_the_bond(world: Promising) -> None:
    """The operator promised two orders one way round and posted them the other."""
    first = first_waiting(world)
    order = world.order()
    kept = world.promise(first, [order[first], order[first + 2], order[first + 1]])
    posted = world.post(world.batch())
    for one in (1, 2):
        snapshot = world.evm.snapshot()
        receipt = world.tell(world.conflict(kept[one], posted, 0))
        assert receipt.events("PromiseBroken")[0]["position"] == first + one
        assert world.bond() == 0 and int(world.rollup.call("seat_holder"), 16) == 0
        assert world.rollup.call("reward_of", world.prover) == world.rollup.call("victims_pot") == TENTH
        assert world.rollup.call("head_number") == 2, "the batch is right: it stands"
        assert world.rollup.call("tenure", world.epoch)[4] is False
        world.evm.restore(snapshot)
    with reverts("NO_CONFLICT: the promised"):
        world.tell(world.conflict(kept[0], posted, 0))


def test_every_kept_promise_is_safe_in_every_chunk(world: Promising) -> None:
    first = first_waiting(world)
    order = world.order()
    listed = [order[position] for position in range(first, len(order))]
    kept = world.promise(first, listed)
    posted = world.post(world.batch())
    place = first
    for index, chunk in enumerate(posted.chunks):
        count = len(split(world, chunk))
        for one in kept:
            inside = place <= one.position < place + count
            reason = "NO_CONFLICT" if inside else "POSITION: before" if one.position < place else "POSITION: after"
            with reverts(reason):
                world.tell(world.conflict(one, posted, index))
        place += count


def test_a_promise_in_a_later_chunk_counts_from_its_own_start(world: Promising) -> None:
    order = world.order()
    position = len(order) - 1
    kept = world.promise(position, [b"another"])[0]
    posted = world.post(world.batch())
    world.tell(world.conflict(kept, posted, len(posted.chunks) - 1))
    assert world.bond() == 0


def test_a_proof_is_tied_to_what_was_posted(world: Promising) -> None:
    """Another chunk, place, batch, root or G leaf than the posted ones proves nothing."""
    order = world.order()
    kept = world.promise(len(order) - 1, [b"another"])[0]
    posted = world.post(world.batch())
    last = len(posted.chunks) - 1
    lies = {
        "HEADER": replace(posted, header=replace(posted.header, posted_at=posted.header.posted_at + 1)),
        "PARENT": replace(posted, parent=world.headers[0]),
        "CHUNK": replace(posted, chunks=(*posted.chunks[:-1], posted.chunks[-1] + b"\x02\x00")),
        "BEFORE": replace(posted, chunks=(*posted.chunks[:-2], posted.chunks[-2] + b"\x02\x00", posted.chunks[-1])),
        "PROOF": replace(posted, states=[*posted.states[:-2], posted.states[0], posted.states[-1]]),
    }
    honest = evidence.chunk_leaves

    def leaves_of_the_posted(_chunks: Any, _roots: Any) -> list[bytes]:
        return honest(posted.chunks, posted.roots)

    for reason, lie in lies.items():
        with pytest.MonkeyPatch.context() as patch, reverts(reason):
            patch.setattr(evidence, "chunk_leaves", leaves_of_the_posted)
            world.tell(world.conflict(kept, lie, last))
    assert world.bond() == BOND


def test_only_the_operators_keys_promise(world: Promising) -> None:
    """A separate key promises once the operator has bound itself to it; nobody else can bind the operator."""
    order = world.order()
    position = len(order) - 1
    key = PrivateKey(keccak(b"promises"))
    kept = world.promise(position, [b"another"], signer=key)[0]
    posted = world.post(world.batch())
    proof = world.conflict(kept, posted, len(posted.chunks) - 1)
    with reverts("SIGNATURE"):
        world.tell(proof)
    address = keccak(key.public_key.format(compressed=False)[1:])[12:]
    world.promise_court.transact("authorize_signer", address, sender=world.prover)
    with reverts("SIGNATURE"):
        world.tell(proof)
    world.promise_court.transact("authorize_signer", address, sender=world.operator)
    assert world.promise_court.call("may_sign", world.operator, address)
    world.tell(proof)
    assert world.bond() == 0
    with reverts("SIGNER"):
        world.promise_court.transact("authorize_signer", bytes(20), sender=world.operator)


def test_edge_signatures_are_nobodys(world: Promising) -> None:
    kept = world.promise(0, [b"a"])[0]
    signed = kept.signed
    true = signed.signature
    for signature in (bytes(65), b"\xff" * 64 + b"\x00", true[:64] + b"\x02", true[:32] + bytes(33)):
        with reverts("SIGNATURE"):
            world.tell(evidence.late(SignedPromise(signed.promise, signature)))
    # the other half of the curve names the same key: it is refused, so a signature has one form
    s = int.from_bytes(signed.signature[32:64], "big")
    high = signed.signature[:32] + (encoding.CURVE_ORDER - s).to_bytes(32, "big") + bytes((1 - signed.signature[64],))
    with reverts("SIGNATURE"):
        world.tell(evidence.late(SignedPromise(signed.promise, high)))


# --------------------------------------------------------------------------------------------------------- equivocation


def test_two_transactions_for_one_position_cost_the_bond(world: Promising) -> None:
    one = world.promise(100, [b"a", b"b", b"c"])
    other = world.promise(102, [b"x"])
    same = world.promise(102, [b"c", b"d"])
    with reverts("NO_CONFLICT"):
        world.tell(evidence.equivocation(one[2], same[0]))
    with reverts("POSITION"):
        world.tell(evidence.equivocation(one[1], other[0]))
    with reverts("ENTRY"):
        world.tell(evidence.equivocation(replace(one[2], tx_hash=keccak(b"y")), other[0]))
    world.tell(evidence.equivocation(one[2], other[0]))
    assert world.bond() == 0
    assert world.rollup.call("slash_at", 0)[2] == 102


def test_promises_of_two_tenures_do_not_contradict_each_other(world: Promising) -> None:
    """After a rollback or a new seating the same positions are promised anew: that is no crime."""
    one = world.promise(100, [b"a"])[0]
    world.do(world.operator, "leave_seat")
    world.do(world.operator, "take_seat", 0)
    other = world.promise(100, [b"b"])[0]
    assert other.signed.promise.epoch == one.signed.promise.epoch + 1
    with reverts("EPOCH"):
        world.tell(evidence.equivocation(one, other))
    lie = replace(other.signed.promise, epoch=one.signed.promise.epoch)
    with reverts("SIGNATURE"):
        world.tell(evidence.equivocation(one, replace(other, signed=SignedPromise(lie, other.signed.signature))))


# --------------------------------------------------------------------------------------------------- an honest operator


def test_a_rollback_of_others_makes_nobody_guilty(world: Promising) -> None:
    """Fraud takes batches away and ends the tenure; in the next one other things may stand at the same positions."""
    first = first_waiting(world)
    order = world.order()
    other = world.promise(first, [b"what the tenure before promised"])[0]
    beyond = world.promise(len(order), [b"built on what was dropped"])[0]
    honest = world.batch()
    fraud = world.post(replace(honest, roots=(*honest.roots[:-1], WRONG)))
    world.taken -= len(fraud.chunks)
    world.prove(fraud, len(fraud.chunks) - 1)
    world.headers.pop()
    world.do(world.operator, "take_seat", BOND)
    again = world.post(world.batch())
    assert again.header.number == fraud.header.number
    with reverts("TENURE"):
        world.tell(world.conflict(other, again, 0))
    world.evm.warp(PROMISE_DEADLINE_S + 1)
    for signed in (other.signed, beyond.signed):
        with reverts("EXCUSED"):
            world.tell(evidence.late(signed))
    assert world.bond() == BOND


def test_a_reorganisation_that_takes_a_batch_away_makes_nobody_guilty(world: Promising) -> None:
    """The same order is posted again, later, in another batch: every promise holds."""
    first = first_waiting(world)
    order = world.order()
    kept = world.promise(first, [order[position] for position in range(first, len(order))])
    before = world.evm.snapshot()
    batch = world.batch()
    world.post(batch)
    world.evm.restore(before)
    del world.headers[2:], world.posted[1:]
    world.taken -= len(batch.chunks)
    world.evm.warp(500)
    again = world.post(world.batch())
    for one in kept:
        for index in range(len(again.chunks)):
            with pytest.raises(Revert, match=r"NO_CONFLICT|POSITION"):
                world.tell(world.conflict(one, again, index))
    with reverts("POSTED"):
        world.evm.warp(PROMISE_DEADLINE_S + 1)
        world.tell(evidence.late(kept[-1].signed))


# ------------------------------------------------------------------------------------------------------------ deadlines


def test_a_promise_unposted_at_its_deadline_costs_the_seat(world: Promising) -> None:
    first = first_waiting(world)
    signed = world.promise(first, [b"never posted"])[0].signed
    world.evm.warp(PROMISE_DEADLINE_S)
    with reverts("NOT_LATE"):
        world.tell(evidence.late(signed))
    world.evm.warp(1)
    receipt = world.tell(evidence.late(signed))
    assert receipt.events("PromiseLate")[0]["position"] == first
    assert world.bond() == BOND - TENTH and world.rollup.call("burned") == TENTH
    assert int(world.rollup.call("seat_holder"), 16) == 0
    with reverts("FINED"):
        world.tell(evidence.late(signed))
    with reverts("BOND_LOW"):
        world.do(world.operator, "take_seat", TENTH - 1)


def test_what_was_posted_in_time_is_not_late(world: Promising) -> None:
    first = first_waiting(world)
    order = world.order()
    signed = world.promise(first, [order[first]])[0].signed
    world.post(world.batch())
    world.evm.warp(PROMISE_DEADLINE_S + 1)
    with reverts("POSTED"):
        world.tell(evidence.late(signed))


def test_leaving_the_seat_does_not_shake_promises_off(world: Promising) -> None:
    """Nobody can post for a tenure that has ended: what it promised beyond its head is broken at once, as its bond is
    still there."""
    first = first_waiting(world)
    signed = world.promise(first, [b"never posted"])[0].signed
    world.do(world.operator, "leave_seat")
    world.tell(evidence.late(signed))
    assert world.bond() == BOND - TENTH
    with reverts("FINED"):
        world.tell(evidence.late(world.promise(first + 5, [b"nor this"], epoch=1)[0].signed))


def test_a_conflict_is_provable_after_leaving(world: Promising) -> None:
    order = world.order()
    kept = world.promise(len(order) - 1, [b"another"])[0]
    posted = world.post(world.batch())
    world.do(world.operator, "leave_seat")
    world.tell(world.conflict(kept, posted, len(posted.chunks) - 1))
    assert world.bond() == 0


def test_a_proof_cannot_be_replayed_against_a_new_bond(world: Promising) -> None:
    order = world.order()
    kept = world.promise(len(order) - 1, [b"another"])[0]
    posted = world.post(world.batch())
    proof = world.conflict(kept, posted, len(posted.chunks) - 1)
    world.tell(proof)
    world.do(world.operator, "take_seat", BOND)
    with reverts("SLASHED"):
        world.tell(proof)
    assert world.bond() == BOND


def test_nobody_is_judged_for_an_epoch_that_nobody_sat_in(world: Promising) -> None:
    for epoch in (0, world.epoch + 1, 2**63):
        with reverts("EPOCH"):
            world.tell(evidence.late(world.promise(0, [b"a"], epoch=epoch)[0].signed))


# -------------------------------------------------------------------------------------------------------------- victims


def trader(name: str) -> bytes:
    return keccak(name.encode())


class Victims:
    """Alice's and bob's promised orders, which the operator swaps; both can speak for themselves on L1."""

    def __init__(self, world: Promising) -> None:
        self.world = world
        self.first = first_waiting(world)
        order = world.order()
        self.listed = [order[self.first], order[self.first + 2], order[self.first + 1]]
        self.kept = world.promise(self.first, self.listed)
        self.time = world.headers[1].globals[0] >> 192
        self.posted = world.post(world.batch())
        self.actors = {name: as_actor(name) for name in ("alice", "bob")}

    def slash(self) -> None:
        self.world.tell(self.world.conflict(self.kept[1], self.posted, 0))

    def claim(self, name: str, which: int, *, slash: int = 0, time: int | None = None, sender: Any = None) -> Receipt:
        block_time = self.time + 1_000 if time is None else time
        data = evidence.claim(slash, self.kept[which], block_time, self.listed[which])
        return self.world.tell(data, sender or self.actors[name])


def as_actor(name: str) -> Actor:
    """The trader's own key as an account on L1."""
    key = PrivateKey(trader(name))
    address = "0x" + keccak(key.public_key.format(compressed=False)[1:])[12:].hex()
    return Actor(name, trader(name), address)


@pytest.fixture
def victims(world: Promising) -> Victims:
    return Victims(world)


def test_victims_share_a_tenth_after_the_claim_period(victims: Victims) -> None:
    world = victims.world
    victims.slash()
    victims.claim("bob", 1)
    victims.claim("alice", 2)
    assert world.promise_court.call("claims_total", 0) == 2
    with reverts("TOO_EARLY"):
        world.promise_court.transact("pay", 0, victims.actors["bob"])
    world.evm.warp(CLAIM_S)
    with reverts("TOO_LATE"):
        victims.claim("bob", 1)
    for name in ("bob", "alice"):
        before = world.token.call("balanceOf", victims.actors[name])
        world.promise_court.transact("pay", 0, victims.actors[name], sender=world.prover)
        assert world.token.call("balanceOf", victims.actors[name]) - before == TENTH // 2
        with reverts("NOTHING"):
            world.promise_court.transact("pay", 0, victims.actors[name])
    with reverts("CLAIMED: victims"):
        world.promise_court.transact("burn", 0)
    world.do(world.prover, "claim_reward")
    # 20% came back, 80% is gone
    assert world.rollup.call("reserved") == world.rollup.call("burned") == BOND - 2 * TENTH


def test_an_unclaimed_pot_burns(victims: Victims) -> None:
    world = victims.world
    victims.slash()
    with reverts("TOO_EARLY"):
        world.promise_court.transact("burn", 0)
    world.evm.warp(CLAIM_S)
    world.promise_court.transact("burn", 0)
    assert world.rollup.call("victims_pot") == 0 and world.rollup.call("burned") == BOND - TENTH
    with reverts("BURNED"):
        world.promise_court.transact("burn", 0)
    with reverts("SLASH"):
        world.promise_court.transact("burn", 1)


def test_nobody_claims_for_somebody_else_or_twice(victims: Victims) -> None:
    """A claim copied from the mempool is worth nothing to who copies it, and cannot stop its owner."""
    victims.slash()
    with reverts("SIGNER"):
        victims.claim("bob", 1, sender=victims.world.prover)
    with reverts("SIGNER"):
        victims.claim("alice", 1)
    with reverts("SIGNER"):
        victims.claim("bob", 1, time=victims.time + 999)
    victims.claim("bob", 1)
    with reverts("CLAIMED"):
        victims.claim("bob", 1)
    with reverts("SLASH"):
        victims.claim("alice", 2, slash=1)


def test_a_promise_before_the_broken_one_was_kept(victims: Victims) -> None:
    world = victims.world
    world.tell(world.conflict(victims.kept[2], victims.posted, 0))
    with reverts("KEPT"):
        victims.claim("bob", 1)
    victims.claim("alice", 2)


def test_traders_whose_promises_fall_with_a_dropped_batch_claim(world: Promising) -> None:
    first = first_waiting(world)
    order = world.order()
    kept = world.promise(first, [order[position] for position in range(first, len(order))])
    honest = world.batch()
    fraud = world.post(replace(honest, roots=(*honest.roots[:-1], WRONG)))
    world.prove(fraud, len(fraud.chunks) - 1)
    time = (world.headers[1].globals[0] >> 192) + 1_000
    alice = as_actor("alice")
    world.tell(evidence.claim(0, kept[1], time, order[first + 1]), alice)
    withdrawn = kept[-1]
    world.tell(evidence.claim(0, withdrawn, time, order[withdrawn.position]), alice)
    with reverts("TRANSACTION: not one that a trader signs"):
        world.tell(evidence.claim(0, kept[0], time, order[first]), alice)
    world.evm.warp(CLAIM_S)
    world.promise_court.transact("pay", 0, alice)
    assert world.token.call("balanceOf", alice) == TENTH


def test_the_chain_of_promises_is_one_hash() -> None:
    given = make_promise(1, 0, [keccak(b"a")], 5, bytes(32))
    assert struct_hash(given) != struct_hash(replace(given, time=6))
