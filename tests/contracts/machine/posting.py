"""Batches: honest ones, four kinds of lie, malformed ones, and real fraud proofs against all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from node.l1.bindings import PostBatch
from node.stf import witness
from tests.contracts.machine.base import Step, low, picks, whos
from tests.contracts.machine.chain import Claim
from tests.contracts.machine.seat import Seat
from tests.contracts.machine.users import amounts
from tests.differential.harness import pack_messages

BREAKS = ("NOT_SEAT", "PARENT", "L2_TIME", "INBOX_CURSOR", "INBOX_HASH", "CHUNKS", "POST_ROOT", "CHUNK_BYTES")


class Posting(Seat):
    def next_batch(self) -> PostBatch:
        self.c.catch_up()
        return self.c.batch()

    @precondition(lambda self: self.holder is not None)
    @rule()
    def post(self) -> None:
        self.pass_time(2)
        if self.holder is not None:
            self.c.publish(self.next_batch(), self.holder)

    @precondition(lambda self: self.holder is not None)
    @rule(lie=st.sampled_from(("money", "money", "more money", "mirror", "garbage")), who=whos, amount=amounts)
    def post_a_lie(self, lie: str, who: int, amount: int) -> None:
        """Whoever holds the seat credits somebody with money from nowhere, or states what is not so."""
        self.pass_time(2)
        if self.holder is None:
            return
        batch = self.next_batch()
        if lie == "garbage":
            batch = self.c.with_garbage(batch)
        elif lie == "mirror":
            words = batch.globals
            batch = replace(batch, globals=(words[0], *words[1:3], words[3] ^ amount << 64, *words[4:]))
        else:
            claims = self.c.head().claims
            known = lie == "more money" and claims
            number = claims[who % len(claims)].id if known else self.c.engine.globals.next_withdrawal
            batch = self.c.out_of_thin_air(batch, Claim(number, self.people[who].address, amount))
        self.c.publish(batch, self.holder, lie)

    @rule(broken=st.sampled_from(BREAKS), who=whos)
    def post_malformed(self, broken: str, who: int) -> None:
        """Refused, by whomever; nothing that was not posted leaves a trace in the L2."""
        self.pass_time(2)
        batch = self.next_batch()
        broken_batch = {
            "NOT_SEAT": batch,
            "PARENT": replace(batch, number=batch.number + 1),
            "L2_TIME": replace(batch, globals=(batch.globals[0] + (10**6 << 192), *batch.globals[1:])),
            "INBOX_CURSOR": replace(batch, inbox_cursor=batch.inbox_cursor - 1),
            "INBOX_HASH": replace(batch, inbox_hash=bytes(32)),
            "CHUNKS": replace(batch, roots=(*batch.roots, bytes(32))),
            "POST_ROOT": replace(batch, roots=(*batch.roots[:-1], b"\xff" * 32)),
            "CHUNK_BYTES": replace(batch, chunks=(b"", *batch.chunks), roots=(batch.roots[0], *batch.roots)),
        }[broken]
        others = [p for p in self.people if p is not self.holder]
        by = self.holder if self.holder is not None and broken != "NOT_SEAT" else others[who % len(others)]
        reason = broken if by is self.holder else "NOT_SEAT"
        try:
            self.take(Step(self.rollup, self.plain(broken_batch), by, reason))
        finally:
            self.c.back_to(self.head_number)

    def plain(self, batch: PostBatch) -> bytes:
        """Calldata without the encoder's checks."""
        return self.rollup.calldata(
            "post_batch", batch.number, batch.parent, batch.inbox_cursor, batch.inbox_hash, batch.globals,
            [len(chunk) for chunk in batch.chunks], batch.roots, b"".join(batch.chunks))

    # ---------------------------------------------------------------------------------------------------------- proofs

    @precondition(lambda self: self.head_number > 1)
    @rule(pick=picks, who=whos, willing=st.booleans())
    def prove_fraud(self, pick: int, who: int, willing: bool) -> None:
        lies = [n for n, head in enumerate(self.c.heads) if head.lie]
        number = lies[pick % len(lies)] if willing and lies else 1 + pick % self.head_number
        self.take(self.a_fraud_proof(self.people[who], number))

    @precondition(lambda self: self.head_number > 1)
    @rule(pick=picks, who=whos)
    def prove_header(self, pick: int, who: int) -> None:
        """The true leaf against a header: only a false mirror falls."""
        number = 1 + pick % self.head_number
        if self.c.heads[number].lie == "mirror":
            return
        self.take(Step(self.c.verifier, self.c.header_proof(number), self.people[who], "NO_FRAUD"))

    @rule(pick=picks, who=whos)
    def dry_run(self, pick: int, who: int) -> None:
        """execute_chunk tells what a proof would find; nothing follows from it."""
        posted = self.c.posted[pick % len(self.c.posted)]
        case, outcome = self.c.case(posted, 0)
        self.take(self.step(
            self.c.verifier, "execute_chunk", case.trie.root(), case.cursor_end, case.chunk,
            pack_messages(outcome.messages), witness.encode(outcome.witness), by=self.people[who]))

    # ---------------------------------------------------------------------------------------------------------- powers

    @rule(who=whos)
    def usurp(self, who: int) -> None:
        """Nobody but the contracts that have them uses powers; what is set once is set."""
        by, header = self.people[who], self.top
        parent = self.c.headers[max(0, self.head_number - 1)]
        calls: list[tuple[str, tuple[Any, ...], str]] = [
            ("drop", (header, parent, by), "NOT_VERIFIER"),
            ("freeze", (), "NOT_EXODUS"),
            ("pay_out", (by, 1), "NOT_EXODUS"),
            ("slash_promise", (len(self.tenures), 0, by), "NOT_PROMISE_COURT"),
            ("fine_promise", (len(self.tenures),), "NOT_PROMISE_COURT"),
            ("pay_victim", (by, 1), "NOT_PROMISE_COURT"),
            ("set_verifier", (self.token,), "NOT_DEPLOYER"),
            ("set_courts", (self.token,) * 3, "NOT_DEPLOYER"),
            ("open", (), "OPEN" if low(by) == low(self.admin) else "NOT_ADMIN"),
            ("enqueue_admin", (1, b"x"), "OPEN" if low(by) == low(self.admin) else "NOT_ADMIN"),
        ]
        for function, arguments, reason in calls:
            self.take(self.step(self.rollup, function, *arguments, by=by, reason=reason))
        for once, arguments in (("set_verifier", (self.token,)), ("set_courts", (self.token,) * 3)):
            reason = "VERIFIER_SET" if once == "set_verifier" else "COURTS_SET"
            self.take(self.step(self.rollup, once, *arguments, by=self.evm.default, reason=reason))
