"""The admin, who can send messages to L2 after a timelock and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from node.stf.trie import keccak
from tests.contracts.machine.base import Step, low, whos
from tests.contracts.machine.chain import SHORT
from tests.contracts.machine.posting import Posting
from tests.evm import Receipt
from tests.stf.messages import configure_chain

BODIES = (b"garbage", configure_chain()[1:], b"\x00" * 40, configure_chain(outflow_limit=10**9)[1:])


class Governance(Posting):
    def an_admin_call(self, function: str, by: Any, kind: int, body: bytes) -> Step:
        """propose_admin, execute_admin or cancel_admin."""
        name = (kind, body)
        at = self.proposals.get(name, 0)
        reason = "" if low(by) == low(self.admin) else "NOT_ADMIN"
        if function == "propose_admin":
            reason = reason or ("PROPOSED" if at else "")
        else:
            reason = reason or ("" if at else "NOT_PROPOSED")
        if function == "execute_admin":
            reason = reason or ("TIMELOCK" if self.now() < at else "")

        def effect(_receipt: Receipt) -> None:
            self.proposals[name] = self.now() + SHORT.timelock_s if function == "propose_admin" else 0

        arguments = (keccak(bytes((kind,)) + body),) if function == "cancel_admin" else (kind, body)
        return self.step(self.rollup, function, *arguments, by=by, reason=reason, effect=effect)

    @rule(function=st.sampled_from(("propose_admin", "execute_admin", "cancel_admin")), who=whos, willing=st.booleans(),
          body=st.sampled_from(BODIES))
    def administer(self, function: str, who: int, willing: bool, body: bytes) -> None:
        kind = 4 if body in BODIES[1::2] else 9
        self.take(self.an_admin_call(function, self.admin if willing else self.people[who], kind, body))

    @rule(body=st.sampled_from(BODIES))
    def administer_in_time(self, body: bytes) -> None:
        kind = 4 if body in BODIES[1::2] else 9
        if not self.proposals.get((kind, body)):
            self.take(self.an_admin_call("propose_admin", self.admin, kind, body))
        self.pass_time(SHORT.timelock_s)
        self.take(self.an_admin_call("execute_admin", self.admin, kind, body))

    @rule(who=whos, willing=st.booleans(), to=whos)
    def offer_admin(self, who: int, willing: bool, to: int) -> None:
        by = self.admin if willing else self.people[who]
        candidate = self.people[to]

        def effect(_receipt: Receipt) -> None:
            self.candidate = low(candidate)

        self.take(self.step(self.rollup, "offer_admin", candidate, by=by, effect=effect,
                            reason="" if low(by) == low(self.admin) else "NOT_ADMIN"))

    @rule(who=whos, willing=st.booleans())
    def accept_admin(self, who: int, willing: bool) -> None:
        named = [p for p in self.people if low(p) == self.candidate]
        by = named[0] if willing and named else self.people[who]

        def effect(_receipt: Receipt) -> None:
            self.admin, self.candidate = by, ""

        self.take(self.step(self.rollup, "accept_admin", by=by, effect=effect,
                            reason="" if low(by) == self.candidate else "NOT_CANDIDATE"))
