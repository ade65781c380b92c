"""Random histories of everything that moves tokens or batches, against a plain model.

After every step: tokens held = custody + reserved (+ gifts), custody = deposits - withdrawals, reserved = bonds +
rewards + victims' pot + burned bonds, no token is made or lost, and heads stand where the model says. The model also
predicts for every call whether it is refused, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.contracts.tiny_trie import proof_of, root_of, withdrawal_key, withdrawal_value
from tests.contracts.world import BOND, PARAMS, USD, World
from tests.evm import Actor, reverts

SHORT = replace(PARAMS, challenge_window_s=100, bond_delay_s=50, force_delay_s=40, seat_idle_s=300, timelock_s=200)
BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
amounts = st.integers(1, 900).map(lambda n: n * USD)
picks = st.integers(0, 10**6)


@dataclass
class Payout:
    """A withdrawal that L2 has made: it is in the state of every batch from `batch` on."""

    recipient: Actor
    amount: int


@dataclass
class Bond:
    amount: int = 0
    last_batch: int = 0
    left_at: int = 0


class Money(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.world = World(params=SHORT, seated=False)
        self.actors = [self.world.operator, self.world.trader, self.world.prover, self.world.stranger]
        self.deposited = self.withdrawn = self.burned = self.victims = self.gifts = 0
        self.bonds = {a.name: Bond() for a in self.actors}
        self.rewards = {a.name: 0 for a in self.actors}
        self.holder: Actor | None = None
        self.paid: set[int] = set()
        self.states: list[list[Payout]] = [[]]
        self.posters: list[Actor] = [self.world.operator]
        self.minted = self.world.token.call("totalSupply")
        self.deposit(1, 900 * USD)
        self.take_seat(0, BOND)

    def now(self) -> int:
        return self.world.evm.timestamp

    def is_final(self, number: int) -> bool:
        return self.now() >= self.world.headers[number].posted_at + SHORT.challenge_window_s

    def finalized(self) -> int:
        return int(self.world.rollup.call("finalized_number"))

    # -------------------------------------------------------------------------------------------------------- users

    @rule(who=picks, amount=amounts)
    def deposit(self, who: int, amount: int) -> None:
        self.world.deposit(amount, actor=self.actors[who % 4])
        self.deposited += amount

    @rule(who=picks)
    def force(self, who: int) -> None:
        self.world.do(self.actors[who % 4], "force", b"transaction")

    @rule(amount=amounts)
    def gift(self, amount: int) -> None:
        self.world.token.transact("transfer", self.world.rollup, amount, sender=self.world.trader)
        self.gifts += amount

    @rule(seconds=st.sampled_from((1, 30, 60, 101, 301)))
    def wait(self, seconds: int) -> None:
        self.world.evm.warp(seconds)

    @precondition(lambda self: len(self.world.headers) > 1)
    @rule()
    def wait_until_final(self) -> None:
        left = self.world.head.posted_at + SHORT.challenge_window_s - self.now()
        self.world.evm.warp(max(left, 1))

    # ------------------------------------------------------------------------------------------------------ operator

    @rule(who=picks, amount=st.sampled_from((0, 1, BOND - 1, BOND, BOND + 7)))
    def take_seat(self, who: int, amount: int) -> None:
        actor = self.actors[who % 4]
        bond = self.bonds[actor.name]
        if self.holder is not None:
            with reverts("SEAT_TAKEN"):
                self.world.do(actor, "take_seat", amount)
        elif bond.amount + amount < BOND:
            with reverts("BOND_LOW"):
                self.world.do(actor, "take_seat", amount)
        else:
            self.world.do(actor, "take_seat", amount)
            self.bonds[actor.name] = Bond(bond.amount + amount)
            self.holder = actor

    def vacate(self) -> None:
        assert self.holder is not None
        bond = self.bonds[self.holder.name]
        bond.last_batch, bond.left_at, self.holder = len(self.world.headers) - 1, self.now(), None

    @precondition(lambda self: self.holder is not None)
    @rule(who=picks, willing=st.booleans())
    def leave_seat(self, who: int, willing: bool) -> None:
        actor = self.holder if willing and self.holder else self.actors[who % 4]
        if actor is self.holder:
            self.world.do(actor, "leave_seat")
            self.vacate()
        else:
            with reverts("NOT_SEAT"):
                self.world.do(actor, "leave_seat")

    @precondition(lambda self: any(bond.left_at for bond in self.bonds.values()))
    @rule(who=picks)
    def release_bond(self, who: int) -> None:
        left = [a for a in self.actors if self.bonds[a.name].left_at]
        actor = (left + self.actors)[who % (len(left) + 1)]
        bond = self.bonds[actor.name]
        head = len(self.world.headers) - 1
        if bond.amount == 0:
            reason = "NO_BOND"
        elif actor is self.holder:
            reason = "SEATED"
        elif self.finalized() < min(bond.last_batch, head) or self.now() < bond.left_at + SHORT.bond_delay_s:
            reason = "BOND_LOCKED"
        else:
            self.world.do(actor, "release_bond")
            self.bonds[actor.name] = Bond()
            return
        with reverts(reason):
            self.world.do(actor, "release_bond")

    @precondition(lambda self: self.holder is not None)
    @rule(payouts=st.lists(st.tuples(picks, st.integers(1, 300)), min_size=1, max_size=3))
    def post_owing(self, payouts: list[tuple[int, int]]) -> None:
        self.post(payouts)

    @precondition(lambda self: self.holder is not None)
    @rule(payouts=st.just([]))
    def post(self, payouts: list[tuple[int, int]]) -> None:
        self.world.evm.warp(1)
        state = list(self.states[-1])
        free = self.deposited - sum(p.amount for p in state)
        for who, dollars in payouts:
            if dollars * USD <= free:
                free -= dollars * USD
                state.append(Payout(self.actors[who % 4], dollars * USD))
        root = root_of(self.leaves(state))
        assert self.holder is not None
        self.world.send(self.world.batch(roots=(root,)), sender=self.holder)
        self.states.append(state)
        self.posters.append(self.holder)

    @staticmethod
    def leaves(state: list[Payout]) -> dict[bytes, bytes]:
        leaves = {withdrawal_key(i): withdrawal_value(p.recipient.address, p.amount) for i, p in enumerate(state)}
        return leaves | {b"G".ljust(32, b"\0"): bytes(192)}

    @precondition(lambda self: len(self.world.headers) > 1)
    @rule(pick=picks, who=picks)
    def prove_fraud(self, pick: int, who: int) -> None:
        number = 1 + pick % (len(self.world.headers) - 1)
        prover = self.actors[who % 4]
        if self.is_final(number):
            with reverts("FINAL"):
                self.world.drop(number, prover)
            return
        poster = self.posters[number]
        self.world.drop(number, prover)
        del self.states[number:], self.posters[number:]
        if self.holder is not None:
            self.vacate()
        amount = self.bonds[poster.name].amount
        self.bonds[poster.name] = Bond()
        self.rewards[prover.name] += amount // 10
        self.victims += amount // 10
        self.burned += amount - 2 * (amount // 10)

    @precondition(lambda self: any(self.rewards.values()))
    @rule(who=picks)
    def claim_reward(self, who: int) -> None:
        actor = self.actors[who % 4]
        if self.rewards[actor.name]:
            self.world.do(actor, "claim_reward")
            self.rewards[actor.name] = 0
        else:
            with reverts("NO_REWARD"):
                self.world.do(actor, "claim_reward")

    @precondition(lambda self: len(self.world.headers) > 1)
    @rule(pick=picks)
    def finalize(self, pick: int) -> None:
        number = 1 + pick % (len(self.world.headers) - 1)
        if self.is_final(number):
            self.world.do(self.world.stranger, "finalize", self.world.headers[number])
        else:
            with reverts("NOT_FINAL"):
                self.world.do(self.world.stranger, "finalize", self.world.headers[number])

    @precondition(lambda self: any(self.states))
    @rule(pick=picks, which=picks)
    def withdraw_early_or_late(self, pick: int, which: int) -> None:
        self.withdraw(pick, which)

    @precondition(lambda self: any(s and self.is_final(n) for n, s in enumerate(self.states)))
    @rule(pick=picks, which=picks)
    def withdraw(self, pick: int, which: int) -> None:
        numbers = [n for n, state in enumerate(self.states) if state]
        number = numbers[pick % len(numbers)]
        state = self.states[number]
        index = which % len(state)
        payout = state[index]
        proof = proof_of(self.leaves(state), withdrawal_key(index))
        call = (self.world.headers[number], index, payout.recipient, payout.amount, *proof)
        if not self.is_final(number):
            with reverts("NOT_FINAL"):
                self.world.do(self.world.prover, "withdraw", *call)
        elif index in self.paid:
            with reverts("PAID"):
                self.world.do(self.world.prover, "withdraw", *call)
        else:
            self.world.do(self.world.prover, "withdraw", *call)
            self.paid.add(index)
            self.withdrawn += payout.amount

    # ---------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def money_is_where_the_model_says(self) -> None:
        rollup = self.world.rollup
        reserved = sum(b.amount for b in self.bonds.values()) + sum(self.rewards.values()) + self.victims + self.burned
        assert rollup.call("custody") == self.deposited - self.withdrawn
        assert rollup.call("reserved") == reserved
        assert self.world.held() == self.deposited - self.withdrawn + reserved + self.gifts
        everywhere = sum(self.world.held(a) for a in self.actors) + self.world.held()
        assert everywhere + self.world.token.call("balanceOf", BURN_ADDRESS) == self.minted

    @invariant()
    def heads_are_where_the_model_says(self) -> None:
        rollup = self.world.rollup
        assert rollup.call("head_number") == len(self.world.headers) - 1
        assert rollup.call("head_position") == self.world.head.globals[0]
        assert rollup.call("inbox_count") == len(self.world.messages)
        assert self.finalized() <= len(self.world.headers) - 1
        assert self.finalized() == 0 or self.is_final(self.finalized())


Money.TestCase.settings = settings(max_examples=settings.default.max_examples // 2, stateful_step_count=50)
TestMoney = Money.TestCase
