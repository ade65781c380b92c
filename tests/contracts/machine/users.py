"""Depositors, traders on L2, owners of withdrawals, and the issuer of the token."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from node.stf import encoding, witness
from node.stf.layout import withdrawal_key
from tests.contracts.machine.base import ROLLUP_LOCK, SILENT, Base, Deposit, Step, low, picks, whos
from tests.contracts.machine.chain import USD, Claim
from tests.evm import Receipt
from tests.stf.world import buy, sell, sign

DEPOSIT, FORCED = 1, 2
DONATION = 0xFFFF0000
amounts = st.integers(1, 900).map(lambda n: n * USD)
odd_amounts = st.one_of(amounts, st.sampled_from((0, USD - 1, 2**53 + 1, 2**256 - 1)))


class Users(Base):
    # ------------------------------------------------------------------------------------------------------------ in

    def a_deposit(self, by: Any, account: int, amount: int, *, v: int = 0, owner: Any = None) -> Step:
        """``v``: with a permit, whose signature says v; 0: without one."""
        owner = by if owner is None else owner
        before = self.allowances.get(low(by), 2**256 - 1)
        permitted = v == 27 and before < amount
        reason = "PERMIT" if v and before < amount and v != 27 else "FROZEN" if self.frozen_at else ""
        reason = reason or ("" if USD <= amount <= 2**53 else "AMOUNT")
        reason = reason or ("OWNER" if owner == bytes(20) else "")
        reason = reason if permitted else self.owes(by, reason, amount)

        def effect(receipt: Receipt) -> None:
            self.deposits.append(Deposit(self.sent(receipt, DEPOSIT), low(by), amount))
            if permitted:
                self.allowances[low(by)] = 0
            elif low(by) in self.allowances:
                self.allowances[low(by)] -= amount

        function, rest = ("deposit_with_permit", (2**64, v, bytes(32), bytes(32))) if v else ("deposit", ())
        return self.step(self.rollup, function, account, owner, amount, *rest, by=by, reason=reason, effect=effect,
                         enters=ROLLUP_LOCK, moves=True)

    @rule(who=whos, account=st.sampled_from((0, 0, 1, 2, 3, 4, 9, DONATION, DONATION + 5)), amount=odd_amounts)
    def deposit(self, who: int, account: int, amount: int) -> None:
        self.take(self.a_deposit(self.people[who], account, amount))

    @rule(who=whos, amount=amounts, v=st.sampled_from((27, 27, 28)))
    def deposit_with_permit(self, who: int, amount: int, v: int) -> None:
        self.take(self.a_deposit(self.people[who], 0, amount, v=v))

    @rule(who=whos)
    def deposit_for_nobody(self, who: int) -> None:
        self.take(self.a_deposit(self.people[who], 0, USD, owner=bytes(20)))

    @rule(who=whos, allowed=st.sampled_from((0, USD, 2**256 - 1)))
    def approve(self, who: int, allowed: int) -> None:
        self.token.transact("approve", self.rollup, allowed, sender=self.people[who])
        self.allowances.pop(low(self.people[who]), None)
        if allowed != 2**256 - 1:
            self.allowances[low(self.people[who])] = allowed

    def a_force(self, by: Any, data: bytes) -> Step:
        reason = self.owes(by, "FROZEN" if self.frozen_at else "" if data else "EMPTY", USD)

        def effect(_receipt: Receipt) -> None:
            if low(by) in self.allowances:
                self.allowances[low(by)] -= USD

        return self.step(self.rollup, "force", data, by=by, reason=reason, effect=effect,
                         enters=ROLLUP_LOCK, moves=True)

    @rule(who=whos, data=st.sampled_from((b"", b"garbage", b"\x03" * 1_024)))
    def force(self, who: int, data: bytes) -> None:
        self.take(self.a_force(self.people[who], data))

    def signed_withdrawal(self, account: int, amount: int, recipient: str, time: int, base: int) -> bytes:
        """A withdrawal's bytes, signed by the account's owner."""
        self.c.engine.bind()
        nonce = self.c.next_nonce(account, 0)
        to = int(recipient, 16)
        digest = encoding.withdraw_digest(account, nonce, time + 60_000, to, amount)
        signature = sign(self.c.keys[account], digest)
        return encoding.write_withdraw(account, nonce, time + 60_000, to, amount, signature, base)

    @rule(who=whos, account=st.integers(1, 4), amount=amounts)
    def force_a_withdrawal(self, who: int, account: int, amount: int) -> None:
        time = self.now() * 1_000
        data = self.signed_withdrawal(account, amount, self.people[who].address, time, 0)
        self.take(self.a_force(self.people[who], data))

    @rule(amount=amounts)
    def gift(self, amount: int) -> None:
        """Tokens that nobody asked for belong to nobody."""
        self.token.transact("transfer", self.rollup, amount, sender=self.people[1])
        self.gifts += amount

    @rule(who=whos, blocked=st.booleans())
    def issuer_blocks(self, who: int, blocked: bool) -> None:
        """The token refuses to pay somebody: that must harm nobody else."""
        self.token.transact("block", self.people[who], blocked)
        (self.blocked.add if blocked else self.blocked.discard)(low(self.people[who]))

    # ------------------------------------------------------------------------------------------------------------ L2

    @rule(buyer=st.integers(1, 4), step=st.integers(1, 3), lots=st.integers(1, 9_000),
          price=st.sampled_from((480_000, 560_000, 600_000, 640_000)))
    def trade(self, buyer: int, step: int, lots: int, price: int) -> None:
        """Two traders meet at the mark, wherever it has moved. The rules may refuse it."""
        self.c.block(max(1, self.now() * 1_000 - self.c.time))
        self.c.price({0: price})
        self.c.actions((buyer + step - 1) % 4 + 1, sell(0, price, lots))
        self.c.actions(buyer, buy(0, price, lots))

    @rule(account=st.integers(1, 4), to=whos, amount=amounts)
    def ask_for_money(self, account: int, to: int, amount: int) -> None:
        """A withdrawal on L2; it may be refused there. Its recipient can be anybody."""
        self.c.block(max(1, self.now() * 1_000 - self.c.time))
        self.c.withdraw(account, amount, int(self.people[to].address, 16))

    # ----------------------------------------------------------------------------------------------------------- out

    def all_claims(self) -> list[tuple[int, Claim]]:
        """(batch, withdrawal under its state) that somebody may show."""
        return [(n, claim) for n, head in enumerate(self.c.heads) for claim in head.claims]

    def a_withdrawal(self, by: Any, number: int, claim: Claim, lie: str = "") -> Step:
        head, header = self.c.heads[number], self.c.headers[number]
        path = witness.build_path(head.trie, withdrawal_key(claim.id))
        shown = [claim.id, claim.recipient, claim.amount]
        if lie == "amount":
            shown[2] = claim.amount + 1
        elif lie == "recipient":
            shown[1] = low(self.people[1]) if claim.recipient != low(self.people[1]) else low(self.people[2])
        elif lie == "range":
            shown[0] = claim.id + 2**64
        reason = "" if self.is_final(number) else "NOT_FINAL"
        reason = reason or ("WITHDRAWAL" if lie == "range" else "")
        reason = reason or ("PAID" if claim.id in self.paid else "PROOF" if lie else "")
        reason = reason or (SILENT if self.custody() < claim.amount else "")
        reason = self.gets(self.owner_of(claim), reason)

        def effect(_receipt: Receipt) -> None:
            self.paid.add(claim.id)
            self.withdrawn += claim.amount
            self.finalized = max(self.finalized, number)

        return self.step(self.rollup, "withdraw", header, *shown, path.bits, path.siblings, by=by, reason=reason,
                         effect=effect,
                         enters=ROLLUP_LOCK, moves=True)

    @rule(who=whos, pick=picks, lie=st.sampled_from(("", "", "", "amount", "recipient", "range")))
    def withdraw(self, who: int, pick: int, lie: str) -> None:
        claims = self.all_claims()
        if claims:
            step = self.a_withdrawal(self.people[who], *claims[pick % len(claims)], lie)
            payee = self.owner_of(claims[pick % len(claims)][1])
            before = self.c.held(payee)
            if self.take(step):
                assert self.c.held(payee) - before == claims[pick % len(claims)][1].amount

    def a_transfer(self, by: Any, claim: Claim, to: Any) -> Step:
        reason = "TO" if to == bytes(20) else "" if low(by) == self.owner_of(claim) else "NOT_OWNER"

        def effect(_receipt: Receipt) -> None:
            self.sold[claim.id, claim.recipient, claim.amount] = low(to)

        return self.step(self.rollup, "transfer_claim", claim.id, claim.recipient, claim.amount, to, by=by,
                         reason=reason, effect=effect)

    @rule(who=whos, to=st.integers(0, 7), pick=picks, willing=st.booleans())
    def transfer_claim(self, who: int, to: int, pick: int, willing: bool) -> None:
        """Also of claims that are paid, dropped or made up: whatever is transferred, nothing is paid twice for it."""
        claims = [claim for _, claim in self.all_claims()] or [Claim(10**6, low(self.people[who]), 5)]
        claim = claims[pick % len(claims)]
        owners = [p for p in self.people if low(p) == self.owner_of(claim)]
        by = owners[0] if willing and owners else self.people[who]
        self.take(self.a_transfer(by, claim, self.people[to] if to < 7 else bytes(20)))


