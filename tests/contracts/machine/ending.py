"""Exodus: freeze, registration, shares and refunds."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from node.stf import margin, state, witness
from node.stf.engine import Engine
from tests.contracts.machine.base import ROLLUP_LOCK, SILENT, Share, Step, picks, whos
from tests.contracts.machine.chain import SHORT, TIMES, Head
from tests.contracts.machine.promises import Promises
from tests.evm import Receipt

EXODUS_LOCK = frozenset({"Exodus"})
accounts = st.integers(1, 6)


class Ending(Promises):
    def is_due(self) -> bool:
        if self.holder is None and self.vacant_since + TIMES.reseat_s < self.now():
            return True
        since = self.waiting_since()
        return since is not None and max(since, self.tenures[0].taken_at) + TIMES.exodus_after_s < self.now()

    def a_freeze(self, by: Any) -> Step:
        reason = "NOT_DUE" if not self.is_due() else "FROZEN" if self.frozen_at else ""

        def effect(_receipt: Receipt) -> None:
            self.frozen_at = self.now()
            self.vacate(excused=True)

        return self.step(self.c.exodus, "freeze", by=by, reason=reason, effect=effect)

    @rule(who=whos, surely=st.integers(0, 5))
    def freeze(self, who: int, surely: int) -> None:
        if surely == 0 and not self.frozen_at:
            self.pass_time(TIMES.exodus_after_s + 1)
        self.take(self.a_freeze(self.people[who]))

    @precondition(lambda self: self.frozen_at and self.phase() != "over")
    @rule(most=st.booleans())
    def pass_phase(self, most: bool) -> None:
        self.pass_time(max(SHORT.challenge_window_s, TIMES.register_s) if most else 60)

    def shown(self, head: Head, account: int) -> bytes:
        """A witness of what a registration reads, also of accounts that have nothing."""
        engine = Engine(head.trie, bytes(32), lambda _number: None, strict=True)
        engine.begin_chunk()
        keys = {state.GLOBAL_KEY, state.account_key(account)}
        if state.account_exists(account) and margin.health(account).equity > 0:
            state.get_key(account, 0)
        return witness.encode(witness.build(head.trie, keys | engine.end_chunk().touched))

    def a_registration(self, by: Any, account: int, number: int, alias: int = 0) -> Step:
        head = self.c.heads[number]
        equity, owner = self.equity(head, account)
        phase = self.phase()
        reason = phase if phase.startswith("NOT") else "TOO_LATE" if phase == "over" else ""
        reason = reason or ("ACCOUNT" if alias else "REGISTERED" if account in self.shares else "")
        reason = reason or ("" if number == self.head_number else "HEADER")
        reason = reason or ("" if equity > 0 else "NO_EQUITY")

        def effect(_receipt: Receipt) -> None:
            self.shares[account] = Share(equity, owner)

        return self.step(self.c.exodus, "register", self.c.headers[number], account + alias, self.shown(head, account),
                         by=by, reason=reason, effect=effect)

    @rule(who=whos, account=accounts, pick=picks, alias=st.sampled_from((0, 0, 0, 2**32)))
    def register(self, who: int, account: int, pick: int, alias: int) -> None:
        if self.frozen_at or pick % 5 == 0:
            number = pick % (self.head_number + 1) if pick % 3 == 0 else self.head_number
            if number:
                self.take(self.a_registration(self.people[who], account, number, alias))

    @precondition(lambda self: self.frozen_at and self.phase() != "over")
    @rule(who=whos)
    def register_everyone(self, who: int) -> None:
        """The common way, which single steps rarely find."""
        if self.phase() == "NOT_SETTLED":
            self.pass_time(self.frozen_at + SHORT.challenge_window_s - self.now())
        for account in range(1, 7):
            self.take(self.a_registration(self.people[who], account, self.head_number))

    def pool(self) -> int:
        """What the accounts own together, by the last state."""
        g = self.c.heads[-1].globals
        return g.deposits - g.withdrawn

    def part(self, share: Share) -> int:
        registered = sum(one.equity for one in self.shares.values())
        return share.equity * min(self.pool(), registered) // registered

    def a_claim(self, by: Any, account: int) -> Step:
        phase = self.phase()
        share = self.shares.get(account)
        reason = phase if phase.startswith("NOT") else "TOO_EARLY" if phase == "open" else ""
        reason = reason or ("NOT_REGISTERED" if share is None else "CLAIMED" if share.claimed else "")
        amount = self.part(share) if share is not None else 0
        reason = reason or (SILENT if amount > self.custody() else "")
        reason = self.gets(share.owner, reason) if share is not None else reason

        def effect(_receipt: Receipt) -> None:
            assert share is not None
            share.claimed = True
            self.paid_out += amount

        return self.step(self.c.exodus, "claim", account, by=by, reason=reason, effect=effect, enters=EXODUS_LOCK,
                         needs=ROLLUP_LOCK, moves=True)

    @rule(who=whos, account=accounts, pick=picks)
    def claim_share(self, who: int, account: int, pick: int) -> None:
        if self.frozen_at or pick % 5 == 0:
            self.take(self.a_claim(self.people[who], account))

    @precondition(lambda self: self.frozen_at and self.shares)
    @rule(first=st.integers(0, 5))
    def claim_everyone(self, first: int) -> None:
        if self.phase() == "open":
            self.pass_time(TIMES.register_s)
        for step in range(6):
            self.take(self.a_claim(self.people[step], 1 + (first + step) % 6))

    def a_refund(self, by: Any, pick: int) -> Step:
        deposit = self.deposits[pick % len(self.deposits)]
        phase = self.phase()
        reason = phase if phase.startswith("NOT") else ""
        consumed = deposit.number < self.top.globals[0] & 2**64 - 1
        reason = reason or ("CONSUMED" if consumed else "REFUNDED" if deposit.refunded else "")
        reason = reason or (SILENT if deposit.amount > self.custody() else "")
        reason = self.gets(deposit.sender, reason)

        def effect(_receipt: Receipt) -> None:
            deposit.refunded = True
            self.paid_out += deposit.amount

        return self.step(self.c.exodus, "refund", deposit.number, self.c.inbox[deposit.number], by=by, reason=reason,
                         effect=effect, enters=EXODUS_LOCK, needs=ROLLUP_LOCK, moves=True)

    @rule(who=whos, pick=picks)
    def refund(self, who: int, pick: int) -> None:
        if self.frozen_at or pick % 5 == 0:
            waiting = [i for i, d in enumerate(self.deposits) if d.number >= self.top.globals[0] & 2**64 - 1]
            self.take(self.a_refund(self.people[who], waiting[pick % len(waiting)] if waiting and pick % 3 else pick))

    @precondition(lambda self: self.frozen_at)
    @rule(who=whos, pick=picks)
    def refund_what_is_none(self, who: int, pick: int) -> None:
        """Other bytes, another kind of message, a number beyond the inbox: nobody is paid for those."""
        phase = self.phase()
        cursor = self.top.globals[0] & 2**64 - 1
        by, settled = self.people[who], phase if phase.startswith("NOT") else ""
        number = pick % (len(self.c.inbox) + 1)
        message = self.c.inbox[number][:61] if number < len(self.c.inbox) else self.c.inbox[-1][:61]
        consumed = "CONSUMED" if number < cursor else ""
        if number == len(self.c.inbox):
            reason = settled or consumed or "INBOX_CURSOR"
        elif self.c.inbox[number][0] == 1:
            if any(deposit.number == number and deposit.refunded for deposit in self.deposits):
                return
            message, reason = message[:-1] + bytes((message[-1] ^ 1,)), settled or consumed or "MESSAGE"
        else:
            reason = settled or consumed or "MESSAGE"
        self.take(self.step(self.c.exodus, "refund", number, message, by=by, reason=reason))
