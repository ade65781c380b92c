"""The seat: taken, left, lost, and the bonds and rewards behind it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.contracts.machine.base import ROLLUP_LOCK, Bond, Slash, Step, Tenure, low, picks, whos
from tests.contracts.machine.chain import BOND, SHORT
from tests.contracts.machine.users import Users
from tests.evm import Actor, Receipt


class Seat(Users):
    def bond(self, who: Any) -> Bond:
        return self.bonds.setdefault(low(who), Bond())

    def vacate(self, *, excused: bool = False, head: int | None = None) -> None:
        """The seat falls empty; ``head``: the head by then."""
        if self.holder is None:
            return
        number = self.head_number if head is None else head
        bond, tenure = self.bond(self.holder), self.tenures[-1]
        bond.last_batch, bond.left_at, self.holder = number, self.now(), None
        tenure.left_at, tenure.excused, tenure.position = self.now(), excused, self.position(number)
        self.vacant_since = self.now()

    def fine(self, operator: Any) -> None:
        bond = self.bond(operator)
        lost = bond.amount // 10
        bond.amount -= lost
        self.burned += lost
        if self.holder is not None and low(self.holder) == low(operator):
            self.vacate()

    def slash(self, operator: str, prover: Any, position: int, posted_at: int) -> None:
        amount = self.bond(operator).amount
        self.bonds[operator] = Bond()
        tenth = amount // 10
        self.rewards[low(prover)] = self.rewards.get(low(prover), 0) + tenth
        self.burned += amount - 2 * tenth
        self.slashes.append(Slash(operator, tenth, position, posted_at, self.now()))

    # ------------------------------------------------------------------------------------------------------------ fraud

    def a_fraud_proof(self, by: Any, number: int) -> Step:
        """The true proof against batch ``number``, honest or not."""
        honest = self.c.heads[number].lie == ""
        reason = "NO_FRAUD" if honest else "FINAL" if self.is_final(number) else ""
        header = self.c.headers[number]

        def effect(_receipt: Receipt) -> None:
            self.vacate(excused=True, head=number - 1)
            self.slash(low(header.poster), by, self.position(number - 1), header.posted_at)
            self.c.back_to(number - 1)

        return Step(self.c.verifier, self.c.fraud_proof(number), by, reason, effect)

    def disprove(self, number: int, prover: Any) -> None:
        self.take(self.a_fraud_proof(prover, number))

    def pass_time(self, seconds: int) -> None:
        """Let time pass; an honest watchtower proves a lie before it becomes final."""
        lie = next((n for n in self.unfinal() if self.c.heads[n].lie), None)
        end = self.now() + seconds - SHORT.challenge_window_s
        if self.guarded and lie is not None and end >= self.c.headers[lie].posted_at:
            self.disprove(lie, self.people[1])
        self.evm.warp(seconds)
        lies = [n for n, head in enumerate(self.c.heads) if head.lie and self.is_final(n)]
        self.poisoned = self.poisoned or bool(lies)

    # ------------------------------------------------------------------------------------------------------------- seat

    def a_seating(self, by: Any, amount: int) -> Step:
        bond = self.bond(by)
        reason = "FROZEN" if self.frozen_at else "SEAT_TAKEN" if self.holder is not None else ""
        reason = reason or ("BOND_LOW" if bond.amount + amount < BOND else "")
        reason = self.owes(by, reason, amount)

        def effect(_receipt: Receipt) -> None:
            self.bonds[low(by)] = Bond(self.bond(by).amount + amount)
            if low(by) in self.allowances:
                self.allowances[low(by)] -= amount
            self.holder = by
            self.tenures.append(Tenure(by, self.now()))

        return self.step(self.rollup, "take_seat", amount, by=by, reason=reason, effect=effect, enters=ROLLUP_LOCK,
                         moves=amount > 0)

    @rule(who=whos, amount=st.sampled_from((0, 1, BOND - 1, BOND, BOND, BOND, BOND + 7)))
    def take_seat(self, who: int, amount: int) -> None:
        self.take(self.a_seating(self.people[who], amount))

    def a_leaving(self, by: Any) -> Step:
        holds = self.holder is not None and low(self.holder) == low(by)
        return self.step(self.rollup, "leave_seat", by=by, reason="" if holds else "NOT_SEAT",
                         effect=lambda _receipt: self.vacate())

    @rule(who=whos, willing=st.booleans())
    def leave_seat(self, who: int, willing: bool) -> None:
        by: Actor = self.holder if willing and self.holder is not None else self.people[who]
        self.take(self.a_leaving(by))

    def waiting_since(self) -> int | None:
        """L1 time of the oldest message that the head has not consumed."""
        cursor = self.top.globals[0] & 2**64 - 1
        if cursor == len(self.c.inbox):
            return None
        return int.from_bytes(self.c.inbox[cursor][21:29], "big")

    def an_eviction(self, by: Any) -> Step:
        since = self.waiting_since()
        idle = SHORT.seat_idle_s
        reason = "SEAT_EMPTY" if self.holder is None else ""
        reason = reason or ("NOT_IDLE" if self.tenures[-1].taken_at + idle >= self.now() else "")
        reason = reason or ("NOT_IDLE" if since is None or since + idle >= self.now() else "")
        return self.step(self.rollup, "evict", by=by, reason=reason, effect=lambda _receipt: self.fine(self.holder))

    @rule(who=whos)
    def evict(self, who: int) -> None:
        self.take(self.an_eviction(self.people[who]))

    @rule(who=whos)
    def evict_in_time(self, who: int) -> None:
        self.pass_time(SHORT.seat_idle_s + 1)
        self.take(self.an_eviction(self.people[who]))

    def a_release(self, by: Any) -> Step:
        bond = self.bond(by)
        reason = "NO_BOND" if bond.amount == 0 else ""
        reason = reason or ("SEATED" if self.holder is not None and low(self.holder) == low(by) else "")
        free = self.finalized >= min(bond.last_batch, self.head_number)
        free = free and self.now() >= bond.left_at + SHORT.bond_delay_s
        reason = self.gets(by, reason or ("" if free else "BOND_LOCKED"))

        def effect(_receipt: Receipt) -> None:
            self.bonds[low(by)] = Bond()

        return self.step(self.rollup, "release_bond", by=by, reason=reason, effect=effect,
                         enters=ROLLUP_LOCK, moves=True)

    @rule(who=whos, pick=picks, patient=st.sampled_from(("", "waits", "finalizes")))
    def release_bond(self, who: int, pick: int, patient: str) -> None:
        """Somebody who has a bond, or anybody."""
        bonded = [p for p in self.people if self.bond(p).amount and self.bond(p).left_at]
        by = (bonded or self.people)[pick % len(bonded or self.people)] if pick % 3 else self.people[who]
        if patient:
            self.pass_time(SHORT.bond_delay_s)
        if patient == "finalizes":
            self.take(self.a_finalization(self.people[who], self.head_number))
        self.take(self.a_release(by))

    def a_finalization(self, by: Any, number: int) -> Step:
        def effect(_receipt: Receipt) -> None:
            self.finalized = max(self.finalized, number)

        return self.step(self.rollup, "finalize", self.c.headers[number], by=by, effect=effect,
                         reason="" if self.is_final(number) else "NOT_FINAL")

    @rule(who=whos, pick=picks)
    def finalize(self, who: int, pick: int) -> None:
        self.take(self.a_finalization(self.people[who], pick % (self.head_number + 1)))

    def a_reward(self, by: Any) -> Step:
        reason = self.gets(by, "" if self.rewards.get(low(by)) else "NO_REWARD")

        def effect(_receipt: Receipt) -> None:
            self.rewards[low(by)] = 0

        return self.step(self.rollup, "claim_reward", by=by, reason=reason, effect=effect,
                         enters=ROLLUP_LOCK, moves=True)

    @rule(who=whos, willing=st.booleans())
    def claim_reward(self, who: int, willing: bool) -> None:
        owed = [p for p in self.people if self.rewards.get(low(p))]
        self.take(self.a_reward(owed[who % len(owed)] if willing and owed else self.people[who]))
