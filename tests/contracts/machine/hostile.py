"""The token acts in the middle of transfers, and everybody calls everything with anything."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from eth_abi import encode
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.contracts.machine.base import SILENT, Step, low, picks, whos
from tests.contracts.machine.chain import BOND, USD, Claim
from tests.contracts.machine.market import Selling
from tests.evm import Contract, Halt, Revert, _type, selector

REFUSED, REASONED, DONE = 1, 2, 3
CALLDATA_MAX = 4_096
Maker = Callable[[], Step]


class Hostile(Selling):
    def outer_steps(self, by: Any, pick: int) -> list[Maker]:
        """Calls that move tokens."""
        claims = self.all_claims()
        waiting = [i for i, d in enumerate(self.deposits) if d.number >= self.top.globals[0] & 2**64 - 1]
        makers: list[Maker] = [
            lambda: self.a_deposit(by, 0, 2 * USD),
            lambda: self.a_force(by, b"outer"),
            lambda: self.a_seating(by, BOND),
            lambda: self.a_release(by),
            lambda: self.a_reward(by),
            lambda: self.a_claim(by, 1 + pick % 4),
            lambda: self.a_refund(by, waiting[pick % len(waiting)] if waiting else pick),
        ]
        if claims:
            makers.append(lambda: self.a_withdrawal(by, *claims[pick % len(claims)]))
        if self.offers:
            makers.append(lambda: self.a_sale(by, *self.offers[pick % len(self.offers)]))
        if self.slashes:
            victims = [(n, v) for n, slash in enumerate(self.slashes) for v in slash.parts if slash.parts[v]]
            if victims:
                makers.append(lambda: self.a_payment(by, *victims[pick % len(victims)]))
        return makers

    def inner_steps(self, pick: int) -> list[Maker]:
        """What the token may try meanwhile: everything that moves tokens, and everything that does not."""
        by = self.token
        epoch = 1 + pick % len(self.tenures)
        salt = self.salt
        claims = self.all_claims()
        claim = claims[pick % len(claims)][1] if claims else Claim(1, low(by), 1)

        def equivocation() -> Step:
            self.salt = salt
            return self.an_equivocation(by, epoch, pick | 1)

        makers: list[Maker] = [
            *self.outer_steps(by, pick // 3),
            equivocation, equivocation,
            lambda: self.a_late_proof(by, epoch, pick | 1, 2**40, 0),
            lambda: self.an_eviction(by),
            lambda: self.a_leaving(by),
            lambda: self.a_freeze(by),
            lambda: self.a_finalization(by, self.head_number),
            lambda: self.a_transfer(by, claim, by),
            lambda: self.an_admin_call("propose_admin", by, 9, b"inner"),
            lambda: self.a_notice(by, sorted(self.paid - self.told)[:3]),
        ]
        if self.head_number > 1:
            makers += [lambda: self.a_fraud_proof(by, 1 + pick % self.head_number)] * 2
            makers.append(lambda: self.a_registration(by, 1 + pick % 4, self.head_number))
        if self.slashes:
            makers.append(lambda: self.a_burning(by, pick % len(self.slashes)))
        return makers

    @staticmethod
    def inside(outer: Step, inner: Step) -> int:
        """What the token must hear."""
        if inner.enters & outer.holds:
            return REFUSED
        if inner.reason and not (inner.reason == "BLOCKED" and inner.needs & outer.holds):
            return REFUSED if inner.reason == SILENT else REASONED
        return REFUSED if inner.needs & outer.holds else DONE

    @rule(who=whos, pick=picks, inside=picks)
    def reenter(self, who: int, pick: int, inside: int) -> None:
        """Somebody's transfer lets the token act: as if it had come right after, or not at all."""
        outers = self.outer_steps(self.people[who], pick)
        turned = [make() for make in outers[pick % len(outers) :] + outers]
        outer = next((step for step in turned if not step.reason and step.moves), None)
        if outer is None:
            return
        inners = self.inner_steps(inside)
        inner = inners[inside % len(inners)]
        sent = inner()
        if len(sent.data) > CALLDATA_MAX:
            return
        self.token.transact("arm", sent.target, sent.data)
        self.take(outer)
        heard = self.token.call("heard")
        assert heard != 0, f"{self.named(outer)} moved nothing"
        after = inner()
        judged = after if after.data == sent.data else sent
        expected = self.inside(outer, judged)
        assert heard == expected, f"{self.named(sent)} inside {self.named(outer)}: {heard}, expected {expected}"
        if heard == DONE:
            self.c.counts.done[self.named(sent)] += 1
            judged.effect(None)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------------------------ chaos

    def everything(self) -> list[tuple[Contract, str]]:
        contracts = (self.rollup, self.c.exodus, self.c.promise_court, self.c.verifier, self.c.claim_market)
        return [(c, name) for c in contracts for name, entries in sorted(c._functions.items())
                if entries[0]["stateMutability"] == "nonpayable"]

    def anything(self, rnd: random.Random, parameter: dict[str, Any]) -> Any:
        """A value of this type, often one that means something somewhere."""
        kind: str = parameter["type"]
        if kind.endswith("]"):
            inner, size = {**parameter, "type": kind[: kind.rindex("[")]}, kind[kind.rindex("[") + 1 : -1]
            return [self.anything(rnd, inner) for _ in range(int(size) if size else rnd.randrange(3))]
        if kind == "tuple":
            names = {part["name"] for part in parameter["components"]}
            if "chunks_root" in names and rnd.random() < 0.8:
                header = rnd.choice(self.c.headers)
                return tuple(getattr(header, part["name"]) for part in parameter["components"])
            return tuple(self.anything(rnd, part) for part in parameter["components"])
        if kind == "address":
            return rnd.choice([*(low(p) for p in self.people), low(self.token), low(self.rollup), "0x" + "00" * 20])
        if kind.startswith("uint"):
            top = 2 ** int(kind[4:]) - 1
            claims = [claim.amount for _, claim in self.all_claims()]
            return min(top, rnd.choice([0, 1, 2, 3, 4, USD, BOND, 10**9, 2**63, top, self.custody(), *claims]))
        if kind == "bytes32":
            return rnd.choice([bytes(32), self.top.post_root, rnd.randbytes(32)])
        if kind == "bytes":
            return rnd.choice([b"", b"x", rnd.randbytes(60), rnd.choice(self.c.inbox)[:61], *self.c.chunks[-1:]])
        return rnd.random() < 0.5

    @rule(seed=st.integers(0, 2**32), who=st.integers(0, 8))
    def chaos(self, seed: int, who: int) -> None:
        """Any function, by any role, with any arguments: what goes through moves no token off the books. Taken back
        afterwards, since no model knows what it meant."""
        rnd = random.Random(seed)
        actors = [*self.people, self.evm.default, self.token]
        before, self.c.counts.counting = self.evm.snapshot(), False
        for _ in range(4):
            contract, name = rnd.choice(self.everything())
            inputs = contract._functions[name][0]["inputs"]
            arguments = encode([_type(i) for i in inputs], [self.anything(rnd, i) for i in inputs])
            books = self.held_and_owed()
            try:
                self.evm.message(contract, selector(contract._functions[name][0]) + arguments, sender=actors[who])
            except (Revert, Halt):
                continue
            held, owed = self.held_and_owed()
            assert held - owed == books[0] - books[1], f"{contract.name}.{name} took tokens off the books"
        self.evm.restore(before)
        self.c.counts.counting = True

    def held_and_owed(self) -> tuple[int, int]:
        return self.c.held(self.rollup), self.c.word("vault.custody") + self.c.word("vault.reserved")
