"""Exodus: the rollup freezes, settles, and pays everyone what the last state owes, on the real rules and contracts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from node.derive.exodus import accounts_of, registration
from node.l1.bindings import encode_post_batch
from node.stf import state, witness
from node.stf.commitments import header_hash
from node.stf.params import ACCOUNTS_MAX
from tests.contracts.world import BOND, EXODUS_AFTER_S, REGISTER_S, RESEAT_S, USD, World
from tests.differential.l1 import RollupWorld
from tests.evm import Receipt, reverts
from tests.stf.world import address as address_number
from tests.stf.world import buy, private_key, sell

WRONG = b"\x17" * 32


def owner_of(name: str) -> str:
    return "0x" + address_number(private_key(name)).to_bytes(20, "big").hex()


class Leaving(RollupWorld):
    """A rollup with two traders, a withdrawal that nobody has paid, and a deposit that no batch has consumed."""

    def trade(self, fall_to: int) -> None:
        """Bob buys 10,000 lots of alice, the mark falls; then one batch, and the deposit behind it."""
        self.open()
        self.price({0: 600_000})
        self.actions(1, sell(0, 600_000, 10_000))
        self.actions(2, buy(0, 600_000, 10_000))
        assert self.withdraw(1, 5 * USD, address_number(private_key("carol"))).status == 0
        self.price({0: fall_to})
        self.last = self.post(self.batch())
        self.do(self.operator, "deposit", 0, owner_of("dave"), 7 * USD)
        self.deposit_number = len(self.inbox) - 1

    @property
    def window_s(self) -> int:
        return self.params.challenge_window_s

    def freeze(self) -> Receipt:
        self.evm.warp(EXODUS_AFTER_S + 1)
        return self._take(self.exodus.transact("freeze", sender=self.prover))

    def settle(self) -> None:
        self.freeze()
        self.evm.warp(self.window_s)

    def register(self, account: int, **overrides: object) -> Receipt:
        arguments = {"header": self.headers[-1], "name": account} | overrides
        if "witness" not in arguments:
            arguments["witness"] = registration(self.states[self.taken], account).witness
        return self.exodus.transact("register", *arguments.values(), sender=self.prover)

    def equity(self, account: int) -> int:
        return registration(self.states[self.taken], account).equity

    def held(self, who: object) -> int:
        return int(self.token.call("balanceOf", who))

    def pay_withdrawal(self) -> None:
        view = self.states[self.taken]
        path = witness.build_path(view, state.withdrawal_key(1))
        word = int.from_bytes(path.value[:32], "big")
        recipient = "0x" + (word >> 64).to_bytes(20, "big").hex()
        header = self.headers[-1]
        self.do(self.prover, "withdraw", header, 1, recipient, word & (2**64 - 1), path.bits, path.siblings)


@pytest.fixture(scope="module")
def calm() -> tuple[Leaving, object, int]:
    world = Leaving()
    world.trade(590_000)
    return world, world.evm.snapshot(), len(world.inbox)


@pytest.fixture(scope="module")
def crash() -> tuple[Leaving, object, int]:
    """The mark falls so far that bob owes more than he has."""
    world = Leaving()
    world.trade(480_000)
    return world, world.evm.snapshot(), len(world.inbox)


def restored(scene: tuple[Leaving, object, int]) -> Leaving:
    world, snapshot, messages = scene
    world.evm.restore(snapshot)
    del world.inbox[messages:]
    del world.headers[2:]
    return world


def solvent(world: Leaving) -> bool:
    return world.held(world.rollup) >= world.rollup.call("custody") + world.rollup.call("reserved")


@pytest.fixture
def world(calm: tuple[Leaving, object, int]) -> Iterator[Leaving]:
    """Whatever a test did, the tokens are there."""
    world = restored(calm)
    yield world
    assert solvent(world)


@pytest.fixture
def fresh() -> Leaving:
    """For tests that go on posting."""
    world = Leaving()
    world.trade(590_000)
    return world


@pytest.fixture
def fallen(crash: tuple[Leaving, object, int]) -> Iterator[Leaving]:
    world = restored(crash)
    yield world
    assert solvent(world)


# ------------------------------------------------------------------------------------------------------------- freezing


def test_the_rollup_freezes_only_when_a_message_has_waited_too_long(world: Leaving) -> None:
    # the first unconsumed message is the batch's own notice
    since = world.headers[-1].posted_at
    world.evm.warp(since + EXODUS_AFTER_S - world.evm.timestamp)
    assert not world.exodus.call("is_due")
    with reverts("NOT_DUE"):
        world.exodus.transact("freeze")
    world.evm.warp(1)
    assert world.exodus.call("is_due")
    receipt = world.exodus.transact("freeze", sender=world.prover)
    assert receipt.events("Frozen") == [{"head": 1}]
    assert world.rollup.call("frozen_at") == world.evm.timestamp
    assert not world.exodus.call("is_due")
    with reverts("FROZEN: already"):
        world.exodus.transact("freeze")


def test_batches_that_flow_do_not_hide_a_message_that_waits(fresh: Leaving) -> None:
    """L2 time that crawls keeps every batch within forced inclusion: the freeze counts L1's time."""
    world = fresh
    waiting = world.headers[-1].inbox_cursor
    for _ in range(3):
        world.evm.warp(EXODUS_AFTER_S // 3)
        world.block(1)
        world.cut()
        world.post(world.batch())
    assert world.headers[-1].inbox_cursor == waiting
    world.exodus.transact("freeze")


def test_an_empty_seat_freezes_too() -> None:
    world = World()
    world.post()
    world.post()
    world.do(world.operator, "leave_seat")
    world.evm.warp(RESEAT_S)
    with reverts("NOT_DUE"):
        world.exodus.transact("freeze")
    world.evm.warp(1)
    world.exodus.transact("freeze")


def test_whoever_sits_is_not_frozen_for_the_seats_past() -> None:
    world = World()
    world.post()
    world.do(world.operator, "leave_seat")
    world.evm.warp(RESEAT_S)
    world.do(world.prover, "take_seat", BOND)
    world.evm.warp(2)
    with reverts("NOT_DUE"):
        world.exodus.transact("freeze")


def test_messages_of_the_setup_do_not_freeze_what_was_never_seated() -> None:
    """Admin messages may be older than the opening: they count from the first operator on, the seat from opening."""
    world = World(seated=False)
    world.evm.warp(RESEAT_S)
    with reverts("NOT_DUE"):
        world.exodus.transact("freeze")
    world.deposit()
    world.evm.warp(1)
    world.exodus.transact("freeze")
    world.evm.warp(world.params.challenge_window_s)
    world.exodus.transact("refund", 0, world.messages[0])
    assert world.rollup.call("custody") == 0


def test_a_frozen_rollup_takes_nothing_more(fresh: Leaving) -> None:
    world = fresh
    world.freeze()
    for function, arguments in (("deposit", (0, owner_of("dave"), USD)), ("force", (b"tx",)), ("take_seat", (BOND,))):
        with reverts("FROZEN"):
            world.do(world.operator, function, *arguments)
    world.block(1_000)
    batch = world.batch()
    world.evm.warp(60)
    with reverts("NOT_SEAT"):
        world.evm.message(world.rollup, encode_post_batch(batch), sender=world.operator)


def test_only_the_courts_and_the_market_have_their_powers(world: Leaving) -> None:
    for function, arguments, reason in (
        ("freeze", (), "NOT_EXODUS"), ("pay_out", (world.prover, 1), "NOT_EXODUS"),
        ("slash_promise", (1, 0, world.prover), "NOT_PROMISE_COURT"), ("fine_promise", (1,), "NOT_PROMISE_COURT"),
        ("pay_victim", (world.prover, 1), "NOT_PROMISE_COURT"),
        ("move_claim", (1, world.prover, 1, world.prover, world.admin), "NOT_CLAIM_MARKET"),
        ("set_courts", (world.token, world.token, world.token), "NOT_DEPLOYER"),
    ):
        for who in (world.operator, world.admin, world.prover):
            with reverts(reason):
                world.rollup.transact(function, *arguments, sender=who)
    with reverts("COURTS_SET"):
        world.rollup.transact("set_courts", world.token, world.token, world.token)


# ---------------------------------------------------------------------------------------------------------------- fraud


def test_fraud_proofs_stay_open_after_the_freeze(fresh: Leaving) -> None:
    """A last garbage batch gives its poster nothing: it falls in its window; the exodus is from the state before."""
    world = fresh
    world.evm.warp(EXODUS_AFTER_S)
    world.block(1_000)
    good = world.batch()
    garbage = world.post(replace(good, roots=(*good.roots[:-1], WRONG)))
    world.taken -= len(garbage.chunks)
    world._take(world.exodus.transact("freeze"))
    world.evm.warp(world.window_s - 1)
    world.prove(garbage, len(garbage.chunks) - 1)
    assert world.rollup.call("head_number") == 1
    assert world.rollup.call("reward_of", world.prover) == BOND // 10
    world.headers.pop()
    with reverts("NOT_SETTLED"):
        world.register(1)
    world.evm.warp(1)
    with reverts("HEADER: not the head"):
        world.register(1, header=garbage.header)
    world.register(1)


# ----------------------------------------------------------------------------------------------------------- paying out


def test_everyone_gets_all_when_all_is_there(world: Leaving) -> None:
    world.settle()
    equities = {account: world.equity(account) for account in (1, 2)}
    assert equities[1] == 10_000 * USD + 1_000 * USD - 5 * USD - 60_000 * USD * 100 // 10**6
    for account in (1, 2):
        world.register(account)
    assert world.exodus.call("registered") == sum(equities.values())
    assert world.exodus.call("pool") == 20_000 * USD - 5 * USD
    with reverts("TOO_EARLY"):
        world.exodus.transact("claim", 1)
    world.exodus.transact("refund", world.deposit_number, world.inbox[world.deposit_number])
    world.evm.warp(REGISTER_S)
    before = {name: world.held(owner_of(name)) for name in ("alice", "bob")}
    for account in (2, 1):
        world.exodus.transact("claim", account, sender=world.prover)
    assert world.held(owner_of("alice")) - before["alice"] == equities[1]
    assert world.held(owner_of("bob")) - before["bob"] == equities[2]
    # what stays: fees and the withdrawal, which is payable as ever
    world.pay_withdrawal()
    fees = 20_000 * USD - 5 * USD - sum(equities.values())
    assert world.rollup.call("custody") == fees == 60_000 * USD * 600 // 10**6


def test_a_hole_is_shared_in_proportion(fallen: Leaving) -> None:
    """Bob owes 2,036 USD more than he has: what alice won on paper is not all there."""
    world = fallen
    world.settle()
    won = world.equity(1)
    assert world.equity(2) < 0 < won
    with reverts("NO_EQUITY"):
        world.register(2)
    world.register(1)
    pool = world.exodus.call("pool")
    assert pool < won
    world.evm.warp(REGISTER_S)
    world.exodus.transact("claim", 1)
    assert world.held(owner_of("alice")) == pool
    # others' claims are untouched by hers
    world.exodus.transact("refund", world.deposit_number, world.inbox[world.deposit_number])
    world.pay_withdrawal()
    assert world.rollup.call("custody") == 0


def test_the_owner_is_key_slot_zero_of_the_proven_account(world: Leaving) -> None:
    world.settle()
    world.register(2)
    assert world.exodus.call("share_of", 2) == (owner_of("bob"), world.equity(2), False)
    assert accounts_of(world.states[world.taken], bytes.fromhex(owner_of("bob")[2:])) == [2]


def test_registration_and_claims_keep_their_times(world: Leaving) -> None:
    with reverts("NOT_FROZEN"):
        world.register(1)
    with reverts("NOT_FROZEN"):
        world.exodus.transact("claim", 1)
    assert world.exodus.call("phases") == (0, 0)
    world.freeze()
    frozen_at = world.evm.timestamp
    assert world.exodus.call("phases") == (frozen_at + world.window_s, frozen_at + world.window_s + REGISTER_S)
    with reverts("NOT_SETTLED"):
        world.register(1)
    with reverts("NOT_SETTLED"):
        world.exodus.transact("refund", world.deposit_number, world.inbox[world.deposit_number])
    world.evm.warp(world.window_s)
    world.register(1)
    world.evm.warp(REGISTER_S)
    with reverts("TOO_LATE"):
        world.register(2)
    world.exodus.transact("claim", 1)
    with reverts("CLAIMED"):
        world.exodus.transact("claim", 1)
    with reverts("NOT_REGISTERED"):
        world.exodus.transact("claim", 2)


# ------------------------------------------------------------------------------------------------------------- attempts


def test_an_account_registers_once_under_any_name(world: Leaving) -> None:
    """The account's key has 32 bits of id: a greater number would name the same leaf again."""
    world.settle()
    world.register(1)
    with reverts("REGISTERED"):
        world.register(1)
    for alias in (1 + 2**32, 1 + 2**40, 1 + 2**248, ACCOUNTS_MAX + 1):
        with reverts("ACCOUNT: ids have 32 bits"):
            world.register(1, name=alias)


def test_a_witness_of_another_account_or_state_is_refused(world: Leaving) -> None:
    world.settle()
    view = world.states[world.taken]
    shown = registration(view, 2)
    with reverts("BAD_WITNESS: a leaf that execution touches is missing"):
        world.register(1, witness=shown.witness)
    older = registration(world.states[world.taken - 1], 1)
    if older.witness != registration(view, 1).witness:
        with reverts("BAD_WITNESS: the old root does not match"):
            world.register(1, witness=older.witness)
    mine = bytearray(registration(view, 1).witness)
    at = mine.index((10_000 * USD).to_bytes(8, "big")) if (10_000 * USD).to_bytes(8, "big") in mine else len(mine) - 40
    mine[at] ^= 1
    with reverts("BAD_WITNESS"):
        world.register(1, witness=bytes(mine))


def test_no_flipped_bit_of_a_witness_registers(world: Leaving) -> None:
    world.settle()
    good = registration(world.states[world.taken], 1).witness
    snapshot = world.evm.snapshot()
    for at in range(0, len(good), 37):
        bad = good[:at] + bytes((good[at] ^ 4,)) + good[at + 1 :]
        with pytest.raises(Exception, match=r"BAD_WITNESS|NO_EQUITY|without data|Halt"):
            world.register(1, witness=bad)
        world.evm.restore(snapshot)
    world.register(1)


def test_an_account_that_does_not_exist_registers_nothing(world: Leaving) -> None:
    world.settle()
    with pytest.raises(LookupError, match="ids go from 1 to 2"):
        registration(world.states[world.taken], 3)
    shown = witness.build(world.states[world.taken], [state.GLOBAL_KEY, state.account_key(3)])
    with reverts("NO_EQUITY"):
        world.register(3, witness=witness.encode(shown))


def test_only_unconsumed_deposits_are_refunded_and_once(world: Leaving) -> None:
    world.settle()
    number = world.deposit_number
    message = world.inbox[number]
    consumed = next(i for i, m in enumerate(world.inbox) if m[0] == 1)
    with reverts("CONSUMED"):
        world.exodus.transact("refund", consumed, world.inbox[consumed])
    with reverts("MESSAGE: not the inbox's"):
        world.exodus.transact("refund", number, message[:-1] + b"\xff")
    notice = number - 1
    with reverts("MESSAGE: no deposit"):
        world.exodus.transact("refund", notice, world.inbox[notice])
    with reverts("INBOX_CURSOR"):
        world.exodus.transact("refund", number + 1, message)
    before = world.held(world.operator)
    world.exodus.transact("refund", number, message, sender=world.prover)
    assert world.held(world.operator) - before == 7 * USD and world.exodus.call("is_refunded", number)
    with reverts("REFUNDED"):
        world.exodus.transact("refund", number, message)


def test_a_seat_is_vacated_and_its_bond_released(world: Leaving) -> None:
    world.freeze()
    assert int(world.rollup.call("seat_holder"), 16) == 0
    assert world.rollup.call("tenure", 1)[4] is True
    world.evm.warp(world.window_s)
    assert header_hash(world.headers[-1]) == world.rollup.call("header_hash", 1)
    world.do(world.operator, "finalize", world.headers[-1])
    world.evm.warp(world.params.bond_delay_s)
    world.do(world.operator, "release_bond")
