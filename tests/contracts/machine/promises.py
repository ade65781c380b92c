"""Promises that are broken every way, and the victims of those who broke them."""

from __future__ import annotations

from typing import Any

from coincurve import PrivateKey
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from node.derive import evidence
from node.derive.evidence import KeptPromise
from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise
from node.derive.replay import PostedBatch
from node.stf.trie import keccak
from tests.contracts.machine.base import ROLLUP_LOCK, Slash, Step, Tenure, low, picks, whos
from tests.contracts.machine.chain import TIMES, TRADERS, trader
from tests.contracts.machine.governance import Governance
from tests.evm import Actor, Receipt

FAR = 2**40
COURT_LOCK = frozenset({"PromiseCourt"})


class Promises(Governance):
    def promise(
        self, epoch: int, signer: Actor, first: int, listed: list[bytes], time: int = 0
    ) -> list[KeptPromise]:
        """What a group's traders keep, signed by ``signer``."""
        hashes = [keccak(data) for data in listed]
        given = make_promise(epoch, first, hashes, time, bytes(32))
        raw = PrivateKey(signer.key).sign_recoverable(digest(self.c.domain, given), hasher=None)
        paths = group_paths(group_leaves(first, hashes))
        return [KeptPromise(SignedPromise(given, raw), first + i, hashes[i], paths[i]) for i in range(len(hashes))]

    def signer(self, epoch: int, pick: int) -> tuple[Actor, str]:
        """Who signs for a tenure, and what the court says to it: mostly the operator, or a bound key, or somebody."""
        operator = self.tenures[epoch - 1].operator
        if pick % 4:
            return operator, ""
        other = self.people[pick // 4 % 7]
        known = low(other) == low(operator) or (low(operator), low(other)) in self.signers
        return other, "" if known else "SIGNATURE"

    @rule(who=whos, signer=whos)
    def authorize_signer(self, who: int, signer: int) -> None:
        by, key = self.people[who], self.people[signer]
        if signer == 6:
            self.take(self.step(self.c.promise_court, "authorize_signer", bytes(20), by=by, reason="SIGNER"))
            return
        self.take(self.step(self.c.promise_court, "authorize_signer", key, by=by,
                            effect=lambda _receipt: self.signers.add((low(by), low(key)))))

    def broken(self, epoch: int, prover: Any, position: int) -> None:
        """A promise of this tenure was proven broken at a position."""
        tenure = self.tenures[epoch - 1]
        tenure.slashed = True
        if self.holder is not None and low(self.holder) == low(tenure.operator):
            self.vacate()
        self.slash(low(tenure.operator), prover, position, tenure.taken_at)

    def an_equivocation(self, by: Any, epoch: int, pick: int) -> Step:
        signer, reason = self.signer(epoch, pick)
        self.salt += 1
        position = FAR + self.salt
        kept = [self.promise(epoch, signer, position, [text]) for text in (b"one", b"other")]
        reason = reason or ("SLASHED" if self.tenures[epoch - 1].slashed else "")
        return Step(self.c.promise_court, evidence.equivocation(kept[0][0], kept[1][0]), by, reason,
                    lambda _receipt: self.broken(epoch, by, position))

    @rule(pick=picks, who=whos, rarely=st.integers(0, 2))
    def equivocate(self, pick: int, who: int, rarely: int) -> None:
        if not rarely:
            epoch = len(self.tenures) if pick % 2 else 1 + pick % len(self.tenures)
            self.take(self.an_equivocation(self.people[who], epoch, pick))

    def a_late_proof(self, by: Any, epoch: int, pick: int, first: int, time: int) -> Step:
        tenure = self.tenures[epoch - 1]
        signer, reason = self.signer(epoch, pick)
        reached = tenure.position
        reason = reason or ("FINED" if tenure.fined else "")
        if not tenure.left_at:
            reached = self.position()
            late = self.now() * 1_000 > time + TIMES.promise_deadline_s * 1_000
            reason = reason or ("" if late else "NOT_LATE")
        reason = reason or ("EXCUSED" if tenure.excused else "POSTED" if reached >= first + 1 else "")

        def effect(_receipt: Receipt) -> None:
            tenure.fined = True
            self.fine(tenure.operator)

        data = evidence.late(self.promise(epoch, signer, first, [b"never"], time)[0].signed)
        return Step(self.c.promise_court, data, by, reason, effect)

    @rule(pick=picks, who=whos, first=st.sampled_from((0, FAR, FAR)), fresh=st.booleans())
    def be_late(self, pick: int, who: int, first: int, fresh: bool) -> None:
        epoch = len(self.tenures) if pick % 2 else 1 + pick % len(self.tenures)
        time = self.now() * 1_000 if fresh else 0
        self.take(self.a_late_proof(self.people[who], epoch, pick, first, time))

    # -------------------------------------------------------------------------------------------------------- conflicts

    def sizes(self, number: int) -> list[int]:
        """How many transactions each chunk of a batch holds; lies about chunks hold none."""
        counts, posted = [], self.c.posted[number - 1]
        for before, after in zip(posted.states, posted.states[1:], strict=False):
            words = [view.get(b"G" + bytes(31)) for view in (before, after)]
            first, end = (int.from_bytes(word[8:24], "big") & 2**64 - 1 for word in words if word)
            counts.append(end - first)
        return counts

    def judged_by(self, number: int) -> list[int]:
        """Epochs whose promises this batch is judged by: its poster's, at its time. Seconds are coarse: two may be."""
        header = self.c.headers[number]
        return [
            epoch for epoch, tenure in enumerate(self.tenures, 1)
            if low(tenure.operator) == low(header.poster) and tenure.taken_at <= header.posted_at
            and (not tenure.left_at or header.posted_at <= tenure.left_at)]

    def a_conflict(self, by: Any, epoch: int, number: int, pick: int, kept: bool) -> Step | None:
        """A promise for a position in batch ``number``, true (``kept``) or not."""
        posted = self.c.posted[number - 1]
        counts = self.sizes(number)
        index = pick % len(counts)
        if counts[index] == 0:
            return None
        position = self.position(number - 1) + sum(counts[:index]) + pick // 7 % counts[index]
        true = self.c.order[position]
        signer, reason = self.signer(epoch, pick)
        group = self.promise(epoch, signer, position, [true if kept else b"another", b"next"])
        reason = reason or ("" if epoch in self.judged_by(number) else "TENURE")
        reason = reason or ("NO_CONFLICT" if kept else "SLASHED" if self.tenures[epoch - 1].slashed else "")
        seen = PostedBatch(posted.header, posted.chunks, posted.roots, bytes(32), 0)
        data = evidence.conflict(group[0], seen, posted.parent, index, posted.states[index])
        return Step(self.c.promise_court, data, by, reason, lambda _receipt: self.broken(epoch, by, position))

    @rule(pick=picks, who=whos, kept=st.booleans(), fitting=st.booleans())
    def prove_conflict(self, pick: int, who: int, kept: bool, fitting: bool) -> None:
        """Every posted transaction was promised, or another one in its place."""
        number = 1 + pick % self.head_number
        fit = self.judged_by(number)
        epoch = fit[0] if fitting and fit else 1 + pick % len(self.tenures)
        step = self.a_conflict(self.people[who], epoch, number, pick, kept)
        if step is not None:
            self.take(step)

    @rule(pick=picks, who=whos)
    def split(self, pick: int, who: int) -> None:
        """The court's view of a chunk; a call that changes nothing."""
        chunk = self.c.posted[pick % len(self.c.posted)].chunks[0]
        self.take(self.step(self.c.promise_court, "transaction_at", chunk, 0, bytes(32), by=self.people[who]))

    # ---------------------------------------------------------------------------------------------------------- victims

    def tenure_of(self, slash: Slash, tenure: Tenure) -> bool:
        inside = not tenure.left_at or slash.posted_at <= tenure.left_at
        return low(tenure.operator) == slash.operator and tenure.taken_at <= slash.posted_at and inside

    def a_harm(
        self, number: int, account: int, near: int, epoch: int, pick: int, *, by: Any = None
    ) -> Step:
        """A trader's claim of a part of a slash's pot, for a withdrawal promised ``near`` the broken position; ``by``:
        somebody who copied it."""
        slash = self.slashes[number]
        fits = self.tenure_of(slash, self.tenures[epoch - 1])
        owner = trader(TRADERS[account - 1])
        position = max(0, slash.position + near)
        time = 1_600_000_000_000
        transaction = self.signed_withdrawal(account, 5, owner.address, time, time)
        signer, unsigned = self.signer(epoch, pick)
        kept = self.promise(epoch, signer, position, [transaction])[0]
        sender = by or owner
        reason = "TOO_LATE" if self.now() >= slash.at + TIMES.claim_s else unsigned
        reason = reason or ("" if fits else "TENURE")
        reason = reason or ("KEPT" if position < slash.position else "" if sender is owner else "SIGNER")
        name = (number, position, keccak(transaction))
        reason = reason or ("CLAIMED" if name in self.used_harm else "")

        def effect(_receipt: Receipt) -> None:
            self.used_harm.add(name)
            slash.parts[low(sender)] = slash.parts.get(low(sender), 0) + 1
            slash.total += 1

        return Step(self.c.promise_court, evidence.claim(number, kept, time, transaction), sender, reason, effect)

    @precondition(lambda self: self.slashes)
    @rule(pick=picks, account=st.integers(1, 4), near=st.sampled_from((-1, 0, 1, 2)), theirs=st.booleans(),
          copied=st.booleans())
    def claim_harm(self, pick: int, account: int, near: int, theirs: bool, copied: bool) -> None:
        number = pick % len(self.slashes)
        fit = [e for e, tenure in enumerate(self.tenures, 1) if self.tenure_of(self.slashes[number], tenure)]
        epoch = fit[0] if fit and theirs else 1 + pick % len(self.tenures)
        step = self.a_harm(number, account, near, epoch, pick, by=self.people[1] if copied else None)
        self.take(step)
        if not step.reason:
            step.reason = "CLAIMED"
            self.take(step)

    @rule(who=whos, pick=picks, harmed=st.lists(st.integers(1, 4), max_size=3), conflict=st.booleans())
    def crime_and_compensation(self, who: int, pick: int, harmed: list[int], conflict: bool) -> None:
        """The common way, which single steps rarely find: a broken promise, its victims, their shares."""
        if self.holder is None or self.tenures[-1].slashed:
            return
        by, epoch, number = self.people[who], len(self.tenures), len(self.slashes)
        proof = self.a_conflict(by, epoch, self.head_number, pick | 1, False) if conflict else None
        self.take(proof or self.an_equivocation(by, epoch, pick | 1))
        if len(self.slashes) == number:
            return
        for account in harmed:
            self.take(self.a_harm(number, account, 1, epoch, pick | 1))
        self.pass_time(TIMES.claim_s)
        for account in {*harmed, 1}:
            self.take(self.a_payment(by, number, trader(TRADERS[account - 1])))
        self.take(self.a_burning(by, number))

    def a_payment(self, by: Any, number: int, victim: Any) -> Step:
        slash = self.slashes[number]
        parts = slash.parts.get(low(victim), 0)
        amount = slash.pot * parts // slash.total if slash.total else 0
        reason = "TOO_EARLY" if self.now() < slash.at + TIMES.claim_s else "" if parts else "NOTHING"
        reason = self.gets(victim, reason)

        def effect(_receipt: Receipt) -> None:
            slash.parts[low(victim)] = 0
            slash.paid += amount

        return self.step(self.c.promise_court, "pay", number, victim, by=by, reason=reason, effect=effect,
                         enters=COURT_LOCK, needs=ROLLUP_LOCK, moves=True)

    @precondition(lambda self: self.slashes)
    @rule(pick=picks, who=whos, victim=whos, patient=st.booleans())
    def pay_victim(self, pick: int, who: int, victim: int, patient: bool) -> None:
        claimed = [n for n, slash in enumerate(self.slashes) if any(slash.parts.values())]
        number = claimed[pick % len(claimed)] if claimed else pick % len(self.slashes)
        harmed = [p for p in self.people if self.slashes[number].parts.get(low(p))]
        if patient:
            self.pass_time(TIMES.claim_s)
        if number < len(self.slashes):
            to = harmed[victim % len(harmed)] if harmed and pick % 4 else self.people[victim]
            self.take(self.a_payment(self.people[who], number, to))

    def a_burning(self, by: Any, number: int) -> Step:
        slash = self.slashes[number]
        reason = "TOO_EARLY" if self.now() < slash.at + TIMES.claim_s else ""
        reason = reason or ("CLAIMED" if slash.total else "BURNED" if slash.burned else "")

        def effect(_receipt: Receipt) -> None:
            slash.burned = True
            self.burned += slash.pot

        return self.step(self.c.promise_court, "burn", number, by=by, reason=reason, effect=effect, needs=ROLLUP_LOCK)

    @precondition(lambda self: self.slashes)
    @rule(pick=picks, who=whos, patient=st.booleans())
    def burn_pot(self, pick: int, who: int, patient: bool) -> None:
        if patient:
            self.pass_time(TIMES.claim_s)
        self.take(self.a_burning(self.people[who], pick % len(self.slashes)))
