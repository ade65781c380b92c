"""Random histories of everything that moves tokens or batches, against a plain model.

After every step: tokens held = custody + reserved (+ gifts), custody = deposits - withdrawals - what the exodus paid,
reserved = bonds + rewards + victims' pot + burned bonds, no token is made or lost, heads stand where the model says.
After the freeze custody also covers everyone's claims: unpaid withdrawals, refunds, and shares. The model also predicts
for every call whether it is refused, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coincurve import PrivateKey
from eth_hash.auto import keccak
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.derive import evidence
from node.derive.evidence import KeptPromise
from node.derive.promises import SignedPromise, digest, group_leaves, make_promise
from node.l1 import claims
from node.l1.claims import NOBODY, Market, Offer
from node.l1.keys import LocalSigner
from node.stf import encoding
from node.stf.commitments import MESSAGE_PAID, header_hash
from node.stf.params import PAID_MAX
from tests.contracts.tiny_l2 import L2
from tests.contracts.tiny_trie import proof_of, withdrawal_key
from tests.contracts.world import BOND, PARAMS, USD, CourtTimes, World
from tests.evm import Actor, reverts

SHORT = replace(PARAMS, challenge_window_s=100, bond_delay_s=200, force_delay_s=40, seat_idle_s=300, timelock_s=200,
                force_floor_s=10)
OFFER_S = 150  # how long offers stand
TIMES = CourtTimes(exodus_after_s=450, reseat_s=400, register_s=120, promise_deadline_s=200, claim_s=150)
BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"
amounts = st.integers(1, 900).map(lambda n: n * USD)
picks = st.integers(0, 10**6)


Claim = tuple[int, Actor, int]  # a withdrawal's id, recipient and amount


@dataclass
class Bond:
    amount: int = 0
    last_batch: int = 0
    left_at: int = 0


@dataclass
class Tenure:
    operator: Actor
    taken_at: int
    left_at: int = 0
    excused: bool = False
    slashed: bool = False
    fined: bool = False


@dataclass
class Slash:
    pot: int
    at: int
    burned: bool = False


@dataclass
class Deposit:
    number: int
    account: int
    amount: int
    refunded: bool = False


def raw(actor: Actor) -> bytes:
    return bytes.fromhex(actor.address[2:])


class Money(RuleBasedStateMachine):
    @initialize(ended=st.booleans(), lost=amounts)
    def start(self, ended: bool, lost: int) -> None:
        self.world = World(params=SHORT, seated=False, times=TIMES)
        self.actors = [self.world.operator, self.world.trader, self.world.prover, self.world.stranger]
        self.deposited = self.withdrawn = self.burned = self.victims = self.gifts = 0
        self.frozen_at = self.vacant_since = self.paid_out = 0
        self.vacant_since = self.now()
        self.deposits: list[Deposit] = []
        self.tenures: list[Tenure] = []
        self.slashes: list[Slash] = []
        self.shares: dict[int, tuple[int, bool]] = {}  # account → equity, claimed
        self.promised = 0
        chain_id = SHORT.l2_chain_id
        self.domain = encoding.domain_separator(chain_id, int(self.world.rollup.address, 16))
        self.bonds = {a.name: Bond() for a in self.actors}
        self.rewards = {a.name: 0 for a in self.actors}
        self.holder: Actor | None = None
        self.paid: set[int] = set()
        self.told: set[int] = set()
        self.owners: dict[Claim, Actor] = {}  # claims that changed hands
        self.offers: list[Offer] = []
        self.used: set[Offer] = set()
        self.market = Market(bytes.fromhex(self.world.claim_market.address[2:]), self.world.evm.chain_id)
        for actor in self.actors:
            self.world.token.transact("approve", self.world.claim_market, 2**255, sender=actor)
        self.states: list[L2] = [L2(self.actors)]
        self.posters: list[Actor] = [self.world.operator]
        self.minted = self.world.token.call("totalSupply")
        self.deposit(1, 900 * USD)
        self.take_seat(0, BOND)
        if ended:
            self.live_and_end(lost)

    def live_and_end(self, lost: int) -> None:
        """A short life, with all that an exodus has to sort out; half of the histories begin behind it."""
        for who, dollars in enumerate((300, 200, 100, 0)):
            self.deposit(who, (dollars + 1) * USD)
        self.post()
        self.post_owing([(1, 30), (6, 20)])
        self.post_loss(0, 2, lost)
        self.deposit(3, 40 * USD)
        self.freeze(0)

    def now(self) -> int:
        return self.world.evm.timestamp

    def is_final(self, number: int) -> bool:
        return self.now() >= self.world.headers[number].posted_at + SHORT.challenge_window_s

    def finalized(self) -> int:
        return int(self.world.rollup.call("finalized_number"))

    # -------------------------------------------------------------------------------------------------------- users

    @rule(who=picks, amount=amounts)
    def deposit(self, who: int, amount: int) -> None:
        if self.frozen_at:
            with reverts("FROZEN"):
                self.world.deposit(amount, actor=self.actors[who % 4])
            return
        self.world.deposit(amount, actor=self.actors[who % 4])
        self.deposits.append(Deposit(len(self.world.messages) - 1, who % 4, amount))
        self.deposited += amount

    @rule(who=picks)
    def force(self, who: int) -> None:
        if self.frozen_at:
            with reverts("FROZEN"):
                self.world.do(self.actors[who % 4], "force", b"transaction")
            return
        self.world.do(self.actors[who % 4], "force", b"transaction")

    @rule(amount=amounts)
    def gift(self, amount: int) -> None:
        self.world.token.transact("transfer", self.world.rollup, amount, sender=self.world.trader)
        self.gifts += amount

    @rule(seconds=st.sampled_from((1, 30, 60, 101, 301, 451)))
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
        if self.frozen_at:
            with reverts("FROZEN"):
                self.world.do(actor, "take_seat", amount)
        elif self.holder is not None:
            with reverts("SEAT_TAKEN"):
                self.world.do(actor, "take_seat", amount)
        elif bond.amount + amount < BOND:
            with reverts("BOND_LOW"):
                self.world.do(actor, "take_seat", amount)
        else:
            self.world.do(actor, "take_seat", amount)
            self.bonds[actor.name] = Bond(bond.amount + amount)
            self.holder = actor
            self.tenures.append(Tenure(actor, self.now()))

    def vacate(self, excused: bool = False) -> None:
        assert self.holder is not None
        bond = self.bonds[self.holder.name]
        bond.last_batch, bond.left_at, self.holder = len(self.world.headers) - 1, self.now(), None
        self.tenures[-1].left_at, self.tenures[-1].excused = self.now(), excused
        self.vacant_since = self.now()

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
        l2 = self.credited()
        for who, dollars in payouts:
            account = who // 4 % 4
            if dollars * USD <= l2.balances[account]:
                l2 = l2.pay(account, self.actors[who % 4], dollars * USD)
        self.post_state(l2)

    @precondition(lambda self: self.holder is not None)
    @rule(winner=st.integers(0, 3), step=st.integers(1, 3), amount=amounts)
    def post_loss(self, winner: int, step: int, amount: int) -> None:
        """Trading: one account wins what another loses, which may end below zero."""
        self.post_state(self.credited().win(winner, (winner + step) % 4, amount))

    @precondition(lambda self: self.holder is not None)
    @rule()
    def post(self) -> None:
        self.post_state(self.credited())

    def credited(self) -> L2:
        """The head's state with every deposit that has come since."""
        l2 = self.states[-1]
        for deposit in self.deposits:
            if deposit.number >= self.world.head.inbox_cursor:
                l2 = l2.credit(deposit.account, deposit.amount)
        for message in self.world.messages[self.world.head.inbox_cursor :]:
            if message[0] == MESSAGE_PAID:
                l2 = l2.forget(int.from_bytes(message[i : i + 8], "big") for i in range(29, len(message), 8))
        return l2

    def post_state(self, l2: L2) -> None:
        self.world.evm.warp(1)
        assert self.holder is not None
        self.world.send(self.world.batch(roots=(l2.root,)), sender=self.holder)
        self.states.append(l2)
        self.posters.append(self.holder)

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
            self.vacate(excused=True)
        self.take_bond(poster, prover)

    def take_bond(self, operator: Actor, prover: Actor) -> None:
        amount = self.bonds[operator.name].amount
        self.bonds[operator.name] = Bond()
        self.rewards[prover.name] += amount // 10
        self.victims += amount // 10
        self.burned += amount - 2 * (amount // 10)
        self.slashes.append(Slash(amount // 10, self.now()))

    # ------------------------------------------------------------------------------------------------------ promises

    def promise(self, epoch: int, operator: Actor, position: int, text: bytes) -> KeptPromise:
        given = make_promise(epoch, position, [keccak(text)], 0, bytes(32))
        raw = PrivateKey(operator.key).sign_recoverable(digest(self.domain, given), hasher=None)
        assert given.root == group_leaves(position, [keccak(text)])[0]
        return KeptPromise(SignedPromise(given, raw), position, keccak(text), [])

    @precondition(lambda self: self.tenures)
    @rule(pick=picks, who=picks, rarely=st.integers(0, 3))
    def equivocate(self, pick: int, who: int, rarely: int) -> None:
        if rarely:
            return
        epoch = 1 + pick % len(self.tenures)
        tenure, prover = self.tenures[epoch - 1], self.actors[who % 4]
        self.promised += 1
        one, other = (self.promise(epoch, tenure.operator, 2**40 + self.promised, text) for text in (b"one", b"other"))
        proof = evidence.equivocation(one, other)
        if tenure.slashed:
            with reverts("SLASHED"):
                self.world.evm.message(self.world.promise_court, proof, sender=prover)
            return
        self.world.evm.message(self.world.promise_court, proof, sender=prover)
        tenure.slashed = True
        if self.holder is tenure.operator:
            self.vacate()
        self.take_bond(tenure.operator, prover)

    @precondition(lambda self: self.tenures)
    @rule(pick=picks)
    def be_late(self, pick: int) -> None:
        epoch = 1 + pick % len(self.tenures)
        tenure = self.tenures[epoch - 1]
        proof = evidence.late(self.promise(epoch, tenure.operator, 2**41, b"never").signed)
        reason = "FINED" if tenure.fined else "EXCUSED" if tenure.excused else ""
        if reason:
            with reverts(reason):
                self.world.evm.message(self.world.promise_court, proof)
            return
        self.world.evm.message(self.world.promise_court, proof)
        tenure.fined = True
        bond = self.bonds[tenure.operator.name]
        fine = bond.amount // 10
        bond.amount -= fine
        self.burned += fine
        if self.holder is tenure.operator:
            self.vacate()

    @precondition(lambda self: self.slashes)
    @rule(pick=picks)
    def burn_unclaimed(self, pick: int) -> None:
        number = pick % len(self.slashes)
        slash = self.slashes[number]
        reason = "TOO_EARLY" if self.now() < slash.at + TIMES.claim_s else "BURNED" if slash.burned else ""
        if reason:
            with reverts(reason):
                self.world.promise_court.transact("burn", number)
            return
        self.world.promise_court.transact("burn", number)
        slash.burned = True
        self.victims -= slash.pot
        self.burned += slash.pot

    # -------------------------------------------------------------------------------------------------------- exodus

    def is_due(self) -> bool:
        cursor = self.world.head.inbox_cursor
        if self.holder is None and self.vacant_since + TIMES.reseat_s < self.now():
            return True
        if cursor == len(self.world.messages) or not self.tenures:
            return False
        sent = int.from_bytes(self.world.messages[cursor][21:29], "big")
        return max(sent, self.tenures[0].taken_at) + TIMES.exodus_after_s < self.now()

    @precondition(lambda self: not self.frozen_at and len(self.states) > 3)
    @rule(surely=st.integers(0, 2))
    def freeze(self, surely: int) -> None:
        if not self.is_due():
            with reverts("NOT_DUE"):
                self.world.exodus.transact("freeze")
            if surely:
                return
            self.world.evm.warp(TIMES.exodus_after_s + 1)
            if not self.is_due():
                return
        self.world.exodus.transact("freeze")
        self.frozen_at = self.now()
        if self.holder is not None:
            self.vacate(excused=True)

    @precondition(lambda self: self.frozen_at and self.phase() != "over")
    @rule()
    def pass_phase(self) -> None:
        self.world.evm.warp(max(SHORT.challenge_window_s, TIMES.register_s))

    def phase(self) -> str:
        if not self.frozen_at:
            return "NOT_FROZEN"
        if self.now() < self.frozen_at + SHORT.challenge_window_s:
            return "NOT_SETTLED"
        return "open" if self.now() < self.frozen_at + SHORT.challenge_window_s + TIMES.register_s else "over"

    @precondition(lambda self: self.frozen_at and len(self.states) > 1)
    @rule(account=st.integers(0, 3))
    def register(self, account: int) -> None:
        l2, phase = self.states[-1], self.phase()
        equity = l2.balances[account]
        reason = phase if phase.startswith("NOT") else "TOO_LATE" if phase == "over" else ""
        reason = reason or ("REGISTERED" if account in self.shares else "" if equity > 0 else "NO_EQUITY")
        call = (self.world.head, account + 1, l2.witness(account))
        if reason:
            with reverts(reason):
                self.world.exodus.transact("register", *call)
            return
        self.world.exodus.transact("register", *call)
        self.shares[account] = (equity, False)

    @precondition(lambda self: self.frozen_at)
    @rule(account=st.integers(0, 3))
    def claim(self, account: int) -> None:
        phase = self.phase()
        reason = phase if phase.startswith("NOT") else "TOO_EARLY" if phase == "open" else ""
        equity, claimed = self.shares.get(account, (0, False))
        reason = reason or ("NOT_REGISTERED" if account not in self.shares else "CLAIMED" if claimed else "")
        if reason:
            with reverts(reason):
                self.world.exodus.transact("claim", account + 1)
            return
        before = self.world.held(self.actors[account])
        self.world.exodus.transact("claim", account + 1)
        self.shares[account] = (equity, True)
        total = sum(equity for equity, _ in self.shares.values())
        amount = equity * min(total, self.states[-1].pool) // total
        assert self.world.held(self.actors[account]) - before == amount
        self.paid_out += amount

    @precondition(lambda self: self.frozen_at and self.phase() != "over" and len(self.states) > 1)
    @rule()
    def register_everyone(self) -> None:
        """The common way, which single steps rarely find."""
        if self.phase() == "NOT_SETTLED":
            self.world.evm.warp(self.frozen_at + SHORT.challenge_window_s - self.now())
        for account in range(4):
            self.register(account)

    @precondition(lambda self: self.frozen_at and self.shares)
    @rule(first=st.integers(0, 3))
    def claim_everyone(self, first: int) -> None:
        if self.phase() == "open":
            self.world.evm.warp(TIMES.register_s)
        for step in range(4):
            self.claim((first + step) % 4)

    @precondition(lambda self: self.frozen_at and self.deposits)
    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        deposit = self.deposits[pick % len(self.deposits)]
        phase = self.phase()
        reason = phase if phase.startswith("NOT") else ""
        consumed = deposit.number < self.world.head.inbox_cursor
        reason = reason or ("CONSUMED" if consumed else "REFUNDED" if deposit.refunded else "")
        call = (deposit.number, self.world.messages[deposit.number])
        if reason:
            with reverts(reason):
                self.world.exodus.transact("refund", *call)
            return
        self.world.exodus.transact("refund", *call)
        deposit.refunded = True
        self.paid_out += deposit.amount

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

    @precondition(lambda self: any(l2.payouts for l2 in self.states))
    @rule(pick=picks, which=picks)
    def withdraw_early_or_late(self, pick: int, which: int) -> None:
        self.withdraw(pick, which)

    @precondition(lambda self: any(l2.payouts and self.is_final(n) for n, l2 in enumerate(self.states)))
    @rule(pick=picks, which=picks)
    def withdraw(self, pick: int, which: int) -> None:
        numbers = [n for n, l2 in enumerate(self.states) if l2.payouts]
        number = numbers[pick % len(numbers)]
        l2 = self.states[number]
        index = which % len(l2.payouts)
        payout = l2.payouts[index]
        proof = proof_of(l2.leaves(), withdrawal_key(index))
        call = (self.world.headers[number], index, payout.recipient, payout.amount, *proof)
        if not self.is_final(number):
            with reverts("NOT_FINAL"):
                self.world.do(self.world.prover, "withdraw", *call)
        elif index in self.paid:
            with reverts("PAID"):
                self.world.do(self.world.prover, "withdraw", *call)
        else:
            payee = self.owner((index, payout.recipient, payout.amount))
            before = self.world.held(payee)
            self.world.do(self.world.prover, "withdraw", *call)
            assert self.world.held(payee) - before == payout.amount, "the claim's owner is paid, nobody else"
            self.paid.add(index)
            self.withdrawn += payout.amount

    # -------------------------------------------------------------------------------------------------------- claims

    def owner(self, claim: Claim) -> Actor:
        """Who is paid: whoever bought the claim or was given it last, else the withdrawal's recipient."""
        return self.owners.get(claim, claim[1])

    def actor_at(self, address: bytes) -> Actor:
        return next(actor for actor in self.actors if raw(actor) == address)

    def some_claim(self, pick: int, which: int) -> tuple[int, Claim]:
        """A batch that owes something, and one of the claims in its state."""
        numbers = [n for n, l2 in enumerate(self.states) if l2.payouts]
        number = numbers[pick % len(numbers)]
        payouts = self.states[number].payouts
        payout = payouts[which % len(payouts)]
        return number, (which % len(payouts), payout.recipient, payout.amount)

    @precondition(lambda self: any(l2.payouts for l2 in self.states))
    @rule(trades=st.lists(
        st.tuples(picks, picks, st.integers(0, 19), picks, st.integers(1, 100)), min_size=1, max_size=6))
    def trade_claims(self, trades: list[tuple[int, int, int, int, int]]) -> None:
        """Claims change hands, some more than once, and now and then an old offer is shown again."""
        for pick, which, thief, buyer, cents in trades:
            self.sell_claim(pick, which, thief, buyer, cents)
            if cents % 4 == 0:
                self.show_an_offer_again(pick, buyer)

    def sell_claim(self, pick: int, which: int, thief: int, buyer: int, cents: int) -> None:
        """Mostly the owner sells; sometimes somebody tries who is not."""
        number, claim = self.some_claim(pick, which)
        seller = self.actors[thief - 16] if thief >= 16 else self.owner(claim)
        buyer += self.actors.index(seller) + (buyer % 8 > 0)  # rarely the seller itself
        offer = Offer(
            raw(seller), claim[0], raw(claim[1]), claim[2], claim[2] * cents // 100, NOBODY, number,
            header_hash(self.world.headers[number]), self.now() + OFFER_S)
        self.offers.append(offer)
        self.buy(offer, self.actors[buyer % 4])

    @precondition(lambda self: self.offers)
    @rule(pick=picks, buyer=picks)
    def show_an_offer_again(self, pick: int, buyer: int) -> None:
        """After a sale, a rollback, a payment, or too late."""
        self.buy(self.offers[-1 - pick % min(8, len(self.offers))], self.actors[buyer % 4])

    def buy(self, offer: Offer, buyer: Actor) -> None:
        seller = self.actor_at(offer.seller)
        claim = (offer.id, self.actor_at(offer.recipient), offer.amount)
        stands = offer.batch < len(self.world.headers) and (
            header_hash(self.world.headers[offer.batch]) == offer.header)
        reason = "DEADLINE" if self.now() > offer.deadline else "BUYER" if buyer is seller else ""
        reason = reason or ("HEADER" if not stands else "PAID" if offer.id in self.paid else "")
        reason = reason or ("USED" if offer in self.used else "" if self.owner(claim) is seller else "NOT_OWNER")
        data = claims.encode_buy(offer, claims.sign(self.market, offer, LocalSigner(seller.key)))
        if reason:
            with reverts(reason):
                self.world.evm.message(self.world.claim_market, data, sender=buyer)
            return
        before = self.world.held(seller), self.world.held(buyer)
        self.world.evm.message(self.world.claim_market, data, sender=buyer)
        assert self.world.held(seller) - before[0] == offer.price == before[1] - self.world.held(buyer)
        self.used.add(offer)
        self.owners[claim] = buyer

    @precondition(lambda self: any(l2.payouts for l2 in self.states))
    @rule(pick=picks, which=picks, who=picks, to=picks)
    def transfer_claim(self, pick: int, which: int, who: int, to: int) -> None:
        _, claim = self.some_claim(pick, which)
        actor, heir = self.actors[who % 4], self.actors[to % 4]
        if self.owner(claim) is not actor:
            with reverts("NOT_OWNER"):
                self.world.do(actor, "transfer_claim", *claim, heir)
            return
        self.world.do(actor, "transfer_claim", *claim, heir)
        self.owners[claim] = heir

    @precondition(lambda self: self.offers)
    @rule(who=picks)
    def only_the_market_moves_claims(self, who: int) -> None:
        offer, actor = self.offers[-1], self.actors[who % 4]
        claim = (offer.id, offer.recipient, offer.amount)
        with reverts("NOT_CLAIM_MARKET"):
            self.world.do(actor, "move_claim", *claim, offer.seller, actor)

    @precondition(lambda self: self.paid)
    @rule(who=picks, ids=st.lists(st.integers(0, 9), max_size=9))
    def notify_paid(self, who: int, ids: list[int]) -> None:
        """L2 is told of each paid withdrawal once, and of no other."""
        fresh = len(set(ids)) == len(ids) and set(ids) <= self.paid - self.told
        reason = "FROZEN" if self.frozen_at else "EMPTY" if not ids else "" if fresh else "NOT_PAID"
        if reason or len(ids) > PAID_MAX:
            with reverts(reason if len(ids) <= PAID_MAX else ""):
                self.world.do(self.actors[who % 4], "notify_paid", ids)
            return
        self.world.do(self.actors[who % 4], "notify_paid", ids)
        self.told |= set(ids)

    @precondition(lambda self: self.paid - self.told)
    @rule(who=picks, most=st.integers(1, PAID_MAX))
    def notify_all_paid(self, who: int, most: int) -> None:
        self.notify_paid(who, sorted(self.paid - self.told)[:most])

    # ---------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def money_is_where_the_model_says(self) -> None:
        rollup = self.world.rollup
        reserved = sum(b.amount for b in self.bonds.values()) + sum(self.rewards.values()) + self.victims + self.burned
        custody = self.deposited - self.withdrawn - self.paid_out
        assert rollup.call("custody") == custody
        assert rollup.call("reserved") == reserved
        assert self.world.held() == custody + reserved + self.gifts
        everywhere = sum(self.world.held(a) for a in self.actors) + self.world.held()
        assert everywhere + self.world.token.call("balanceOf", BURN_ADDRESS) == self.minted

    @precondition(lambda self: self.phase() in ("open", "over"))
    @invariant()
    def everyone_can_still_be_paid(self) -> None:
        """Once the head stands for ever: unpaid withdrawals, unconsumed deposits and open shares fit into custody."""
        l2, cursor = self.states[-1], self.world.head.inbox_cursor
        unpaid = sum(p.amount for index, p in enumerate(l2.payouts) if index not in self.paid)
        refunds = sum(d.amount for d in self.deposits if d.number >= cursor and not d.refunded)
        total = sum(equity for equity, _ in self.shares.values())
        shares = sum(
            equity * min(total, l2.pool) // total for equity, claimed in self.shares.values() if not claimed)
        assert self.world.rollup.call("custody") >= unpaid + refunds + shares

    @invariant()
    def no_state_forgets_what_is_not_paid(self) -> None:
        assert all(l2.forgotten <= self.told for l2 in self.states) and self.told <= self.paid

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
