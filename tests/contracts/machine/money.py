"""The machine: every rule, what must hold after each of them, and in the end everybody's money on the table."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from tests.contracts.machine.base import low
from tests.contracts.machine.chain import BOND, RICH, SHORT, TIMES, USD
from tests.contracts.machine.hostile import Hostile
from tests.contracts.machine.promises import FAR
from tests.contracts.machine.users import amounts

BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"


class Money(Hostile):
    @initialize(guarded=st.sampled_from((True, True, False)), past=st.sampled_from(("", "crimes", "end", "end")),
                lost=amounts, drained=st.booleans())
    def start(self, guarded: bool, past: str, lost: int, drained: bool) -> None:
        self.begin(guarded)
        self.drained = drained
        if past == "end":
            self.live_and_end(lost)
        elif past == "crimes":
            self.live_with_crimes(lost)

    def live_with_crimes(self, lost: int) -> None:
        """What an operator can be punished for, once each; other histories go on from there."""
        self.ask_for_money(1, 2, 30 * USD)
        self.post()
        self.finalize(5, self.head_number)
        self.crime_and_compensation(5, lost, [1, 1, 2], lost % 2 == 0)
        self.take_seat(1, BOND)
        self.ask_for_money(2, 3, 9 * USD)
        self.post_a_lie("mirror", 4, lost)
        self.sell_claim(2, len(self.all_claims()) - 1, 5, "", 0)
        self.prove_fraud(0, 5, True)
        self.buy_again(2, 0)
        self.offer_admin(3, False, 4)
        self.leave_seat(5, False)
        self.usurp(5)
        self.freeze(1, 1)
        self.administer("propose_admin", 3, False, b"garbage")
        self.administer("propose_admin", 0, True, b"garbage")
        self.administer("cancel_admin", 0, True, b"garbage")
        self.offer_admin(0, True, 4)
        self.accept_admin(0, True)
        self.take_seat(2, BOND + 7)
        self.post()
        self.evict_in_time(lost % 7)
        self.take_seat(3, BOND)
        self.be_late(5, lost % 7, FAR, False)
        self.take_seat(3, BOND)
        self.leave_seat(0, True)
        self.post_malformed("NOT_SEAT", 0)
        self.take_seat(0, BOND)
        self.approve(1, 0)
        self.deposit_with_permit(1, 5 * USD, 27)
        self.approve(1, 2**256 - 1)
        self.force(2, b"garbage")
        self.authorize_signer(0, 6)
        self.transfer_claim(4, 3, 0, True)
        self.sell_claim(1, 0, 9, "", 1)
        self.buy_again(2, 1)
        self.cancel_offer(0, 0, False, False)
        self.cancel_offer(0, 0, True, True)
        self.move_claim(1)
        self.notify_paid(1, [0])
        self.post()
        self.release_bond(2, 1, "waits")
        self.release_bond(2, 1, "finalizes")
        self.withdraw(5, 0, "")
        if self.paid - self.told:
            self.notify_all_paid(5, 8)
        self.claim_reward(0, True)

    def live_and_end(self, lost: int) -> None:
        """A short life, with all that an exodus has to sort out; half of the histories begin behind it."""
        self.pass_time(5)
        self.ask_for_money(1, 2, 30 * USD)
        self.trade(1, 1, 9_000, 600_000)
        self.post()
        self.ask_for_money(2, 3, 20 * USD)
        self.c.price({0: 480_000 if lost % 2 else 560_000})
        self.post_a_lie("money", 4, lost)
        self.prove_fraud(0, 5, True)
        self.take_seat(1, BOND)
        self.ask_for_money(3, 5, 7 * USD)
        self.post()
        self.deposit(3, 0, 40 * USD)
        self.freeze(0, 0)

    @rule(seconds=st.sampled_from((1, 30, 60, 101, 160, 301)))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @rule()
    def wait_until_final(self) -> None:
        left = self.top.posted_at + SHORT.challenge_window_s - self.now()
        self.pass_time(max(left, 1))

    # ------------------------------------------------------------------------------------------------------- invariants

    def reserved(self) -> int:
        """Bonds, rewards, victims' pots and what is locked for ever, by the model."""
        pots = sum(slash.pot - slash.paid for slash in self.slashes if not slash.burned)
        return sum(b.amount for b in self.bonds.values()) + sum(self.rewards.values()) + pots + self.burned

    @invariant()
    def tokens_held_are_at_least_claims(self) -> None:
        held, owed = self.held_and_owed()
        for name, expected in (("vault.custody", self.custody()), ("vault.reserved", self.reserved()),
                               ("seat.burned", self.burned)):
            assert self.c.word(name) == expected, f"{name} is {self.c.word(name)}, the model says {expected}"
        assert held == owed + self.gifts, f"{held} held, {owed} on the books, {self.gifts} given"
        claims = self.claims() + self.reserved()
        assert held >= claims, f"{held} held, {claims} claimed"

    def claims(self) -> int:
        """All that anybody can still ask for besides bonds, rewards and pots: unpaid withdrawals and the accounts' pool
        under the last true state, and deposits that it has not consumed. Nothing if a lie has become final: then the
        accounts' money is whoever's comes first, and only the rest is safe."""
        if self.poisoned:
            return 0
        number, head = self.true_head()
        cursor, g = head.globals.cursor, head.globals
        unpaid = sum(claim.amount for claim in head.claims if claim.id not in self.paid)
        deposits = sum(d.amount for d in self.deposits if d.number >= cursor and not d.refunded)
        total = unpaid + deposits + g.deposits - g.withdrawn
        if self.phase() in ("open", "over") and number == self.head_number:
            taken = sum(self.part(share) for share in self.shares.values() if share.claimed)
            assert sum(self.part(share) for share in self.shares.values()) <= self.pool()
            total -= taken
        assert total == self.custody()
        return total

    @invariant()
    def no_token_is_made_or_lost(self) -> None:
        everywhere = [*self.people, self.rollup, self.token, BURN_ADDRESS]
        assert sum(map(self.c.held, everywhere)) == self.token.call("totalSupply") == 7 * RICH + 10 * BOND

    @invariant()
    def heads_are_where_the_model_says(self) -> None:
        word = self.c.word
        assert word("batches.head_number") == self.head_number
        assert word("batches.head_position") == self.top.globals[0]
        assert word("batches.finalized_number") == self.finalized <= self.head_number
        assert word("inbox.count") == len(self.c.inbox)
        assert word("seat.holder") == (int(self.holder.address, 16) if self.holder else 0)
        assert word("seat.epoch") == len(self.tenures)
        assert word("seat.slash_count") == len(self.slashes)
        assert word("powers.frozen_at") == self.frozen_at

    # ---------------------------------------------------------------------------------------------------------- the end

    def teardown(self) -> None:
        """Everybody takes what is theirs, in turn, and gets it: claims are not only covered but payable."""
        if not hasattr(self, "drained"):
            return
        if self.drained and not self.poisoned:
            self.settle_everything()
            self.tokens_held_are_at_least_claims()
        super().teardown()

    def settle_everything(self) -> None:
        self.guarded = True
        for person in self.people:
            self.token.transact("block", person, False)
        self.blocked.clear()
        lie = next((n for n in self.unfinal() if self.c.heads[n].lie), None)
        if lie is not None:
            self.disprove(lie, self.people[1])
        if self.phase() in ("open", "over") or not self.frozen_at:
            self.pass_time(TIMES.claim_s)
        if not self.frozen_at:
            if self.holder is not None:
                self.take(self.a_leaving(self.holder))
            self.pass_time(TIMES.reseat_s + 1)
            self.take(self.a_freeze(self.people[2]))
        if self.phase() == "NOT_SETTLED":
            self.pass_time(SHORT.challenge_window_s)
        by = self.people[0]
        for claim in self.c.heads[-1].claims:
            if claim.id not in self.paid:
                self.take(self.a_withdrawal(by, self.head_number, claim))
        for account in range(1, self.c.heads[-1].globals.next_account):
            if self.phase() == "open" and account not in self.shares:
                self.take(self.a_registration(by, account, self.head_number))
        for pick in range(len(self.deposits)):
            self.take(self.a_refund(by, pick))
        self.pass_time(max(TIMES.register_s, SHORT.bond_delay_s, TIMES.claim_s))
        for account in self.shares:
            self.take(self.a_claim(by, account))
        self.take(self.a_finalization(by, self.head_number))
        for person in self.people:
            self.take(self.a_release(person))
            self.take(self.a_reward(person))
        for number, slash in enumerate(self.slashes):
            for victim in list(slash.parts):
                self.take(self.a_payment(by, number, victim))
            self.take(self.a_burning(by, number))
        left = sum(slash.pot - slash.paid for slash in self.slashes if not slash.burned)
        mine = sum(amount for who, amount in self.rewards.items() if who == low(self.token))
        assert self.reserved() == self.burned + left + mine and left < 10 * len(self.slashes) + 1
