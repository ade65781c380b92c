"""Attempts to leave with more than one's own, or to keep others in: who loses what, in how many transactions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.stf import encoding
from tests.contracts.test_exodus import WRONG, Leaving, owner_of
from tests.contracts.tiny_l2 import L2
from tests.contracts.world import BOND, EXODUS_AFTER_S, REGISTER_S, USD, World
from tests.evm import reverts

REENTER, BLOCKED = 3, 4


class Ended(World):
    """A settled rollup on a token that does what a thief wants: two accounts, one open withdrawal, one refund."""

    def __init__(self) -> None:
        super().__init__(token="mocks/OddToken.vy")
        owners = [self.trader, self.prover, self.stranger, self.operator]
        self.deposit(100 * USD)
        self.deposit(100 * USD)
        self.l2 = L2(owners).credit(0, 100 * USD).credit(1, 100 * USD)
        self.post(roots=(self.l2.root,))
        self.deposit(30 * USD)
        self.late = len(self.messages) - 1
        self.evm.warp(EXODUS_AFTER_S + 1)
        self.exodus.transact("freeze")
        self.evm.warp(self.params.challenge_window_s)
        for account in (0, 1):
            self.exodus.transact("register", self.head, account + 1, self.l2.witness(account))


@pytest.fixture
def ended() -> Ended:
    return Ended()


def test_reentering_through_the_token_finds_every_door_locked(ended: Ended) -> None:
    """The token calls back while it pays a claim or a refund: into the same claim, another's, a refund, a withdrawal.
    Each is refused by the locks of Exodus and Rollup (the token itself checks: refused, without a reason)."""
    refund = (ended.late, ended.messages[ended.late])
    doors = [(ended.exodus, ended.exodus.calldata("claim", 1)), (ended.exodus, ended.exodus.calldata("claim", 2)),
             (ended.exodus, ended.exodus.calldata("refund", *refund)),
             (ended.rollup, ended.rollup.calldata("claim_reward")),
             (ended.rollup, ended.rollup.calldata("release_bond"))]
    ended.evm.warp(REGISTER_S)
    before = ended.evm.snapshot()
    for target, payload in doors:
        for way, arguments in (("claim", (1,)), ("refund", refund)):
            ended.evm.restore(before)
            ended.token.transact("set_mode", REENTER, target, payload)
            ended.exodus.transact(way, *arguments)
            assert ended.token.call("refused") == 1
            assert ended.rollup.call("custody") == 230 * USD - (100 * USD if way == "claim" else 30 * USD)


def test_whoever_the_token_refuses_to_pay_stops_nobody_else(ended: Ended) -> None:
    """A frozen owner loses its own share for as long as the token refuses it; the others' do not wait."""
    ended.token.transact("set_mode", BLOCKED, ended.trader, b"")
    ended.evm.warp(REGISTER_S)
    with reverts("blocked"):
        ended.exodus.transact("claim", 1)
    before = ended.held(ended.prover)
    ended.exodus.transact("claim", 2)
    assert ended.held(ended.prover) - before == 100 * USD
    ended.token.transact("set_mode", 0, ended.trader, b"")
    ended.exodus.transact("claim", 1)
    assert ended.rollup.call("custody") == 30 * USD


def test_a_thief_who_registers_claims_and_refunds_for_others_pays_them(ended: Ended) -> None:
    """Front-running any step of an exodus costs the thief gas and saves the owner as much: payees are proven."""
    thief = ended.stranger
    ended.evm.warp(REGISTER_S)
    before = [ended.held(who) for who in (ended.trader, ended.prover, thief)]
    for account in (1, 2):
        ended.exodus.transact("claim", account, sender=thief)
    ended.exodus.transact("refund", ended.late, ended.messages[ended.late], sender=thief)
    gained = [ended.held(who) - was for who, was in zip((ended.trader, ended.prover, thief), before, strict=True)]
    assert gained == [130 * USD, 100 * USD, 0]


def test_registering_twice_takes_nothing(ended: Ended) -> None:
    """Again, and under the numbers whose low 32 bits name the same leaf: the first registration stands alone."""
    again = (ended.head, 1, ended.l2.witness(0))
    with reverts("REGISTERED"):
        ended.exodus.transact("register", *again)
    for bits in range(32, 256):
        with reverts("ACCOUNT"):
            ended.exodus.transact("register", ended.head, 1 + 2**bits, ended.l2.witness(0))
    assert ended.exodus.call("registered") == 200 * USD


def test_a_garbage_batch_before_the_end_costs_its_poster_the_bond() -> None:
    """An operator that sees the freeze come posts a state in which it owns everything. One transaction, any watcher's:
    the operator loses 100% of its bond, the accounts nothing. Nobody can register against it meanwhile."""
    world = Leaving()
    world.trade(590_000)
    world.evm.warp(EXODUS_AFTER_S)
    world.block(1_000)
    honest = world.batch()
    garbage = world.post(replace(honest, roots=(*honest.roots[:-1], WRONG)))
    world._take(world.exodus.transact("freeze"))
    receipt = world.prove(garbage, len(garbage.chunks) - 1)
    assert world.rollup.call("bond_of", world.operator)[0] == 0 and world.rollup.call("burned") == BOND - BOND // 5
    print(f"garbage before the end: bond of {BOND // USD:,} USD lost in 1 transaction, {receipt.gas_used:,} gas")
    world.headers.pop()
    world.taken -= len(garbage.chunks)
    world.evm.warp(world.window_s)
    for account in (1, 2):
        world.register(account)
    world.evm.warp(REGISTER_S)
    paid = [world.held(owner_of(name)) for name in ("alice", "bob")]
    for account in (1, 2):
        world.exodus.transact("claim", account)
    gained = [world.held(owner_of(name)) - was for name, was in zip(("alice", "bob"), paid, strict=True)]
    assert gained == [world.equity(1), world.equity(2)]


def test_the_frozen_operator_cannot_take_its_bond_before_its_last_batch_is_final() -> None:
    world = Leaving()
    world.trade(590_000)
    world.freeze()
    with reverts("BOND_LOCKED"):
        world.do(world.operator, "release_bond")


def test_a_flooded_inbox_does_not_freeze_a_rollup_that_is_served() -> None:
    """A griefer fills the inbox and pays for every message; the operator consumes in order, and nothing gets old."""
    world = World()
    paid = world.held(world.stranger)
    for _ in range(3):
        for _ in range(70):
            world.do(world.stranger, "force", encoding.write_continue(0))
        world.evm.warp(world.params.force_delay_s)
        world.post(inbox_cursor=world.head.inbox_cursor + 64)
        world.post()
        with reverts("NOT_DUE"):
            world.exodus.transact("freeze")
    spent = paid - world.held(world.stranger)
    assert spent == 210 * world.params.force_fee


def test_the_largest_account_registers_within_a_transaction() -> None:
    """Gas of a registration with a position, on the real rules; printed, since everyone pays it once."""
    world = Leaving()
    world.trade(590_000)
    world.settle()
    receipt = world.register(1)
    print(f"registration: {receipt.gas_used:,} gas")
    assert receipt.gas_used < 2_000_000
