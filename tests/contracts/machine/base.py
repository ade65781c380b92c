"""What the machine believes: everybody's claims, kept from what calls should do, never from what the contracts say.

A `Step` is one call with the outcome that the model predicts: refused with this reason, or done with this effect. Every
step can be taken by a person, or by the token in the middle of somebody else's transfer (``hostile``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from node.l1.bindings import decode_event
from node.stf import margin, state
from node.stf.commitments import BatchHeader
from node.stf.engine import Engine
from tests.contracts.machine.chain import SHORT, TIMES, Chain, Head, plain_chain
from tests.evm import Actor, Contract, Receipt, Revert, address_of

SILENT = "without a reason"
whos = st.integers(0, 6)
picks = st.integers(0, 10**6)
ROLLUP_LOCK = frozenset({"Rollup"})
NO_LOCK: frozenset[str] = frozenset()


def low(who: Any) -> str:
    """An address as a name."""
    return address_of(who).lower()


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
    position: int = 0
    excused: bool = False
    slashed: bool = False
    fined: bool = False


@dataclass
class Slash:
    operator: str
    pot: int
    position: int
    posted_at: int
    at: int
    parts: dict[str, int] = field(default_factory=dict)  # victim → unpaid parts
    total: int = 0
    paid: int = 0
    burned: bool = False


@dataclass
class Deposit:
    number: int
    sender: str
    amount: int
    refunded: bool = False


@dataclass
class Share:
    equity: int
    owner: str
    claimed: bool = False


@dataclass
class Step:
    """One call and its predicted outcome. ``enters``: locks that it takes at once; ``needs``: locks of those
    that it calls on the way; both are held while it moves tokens, if it does (``moves``)."""

    target: Contract
    data: bytes
    sender: Any
    reason: str
    effect: Callable[[Receipt], None] = lambda _receipt: None
    enters: frozenset[str] = NO_LOCK
    needs: frozenset[str] = NO_LOCK
    moves: bool = False

    @property
    def holds(self) -> frozenset[str]:
        return self.enters | self.needs


class Base(RuleBasedStateMachine):
    """The model's books, and how a step is taken and judged."""

    make_chain: ClassVar[Callable[[], Chain]] = staticmethod(plain_chain)

    def begin(self, guarded: bool) -> None:
        """Start over; ``guarded``: an honest watchtower lets no lie become final."""
        self.c = type(self).make_chain()
        self.c.reset()
        self.evm, self.rollup, self.token = self.c.evm, self.c.rollup, self.c.token
        self.guarded, self.poisoned = guarded, False
        self.people = self.c.people
        self.admin, self.candidate = self.c.admin, ""
        self.proposals: dict[tuple[int, bytes], int] = {}
        self.deposits = [
            Deposit(number, "0x" + message[1:21].hex(), int.from_bytes(message[-8:], "big"))
            for number, message in enumerate(self.c.inbox) if message[0] == 1]
        self.withdrawn = self.paid_out = self.burned = self.gifts = 0
        self.paid: set[int] = set()
        self.told: set[int] = set()
        self.sold: dict[tuple[int, str, int], str] = {}  # claim → owner
        operator = self.people[0]
        self.bonds: dict[str, Bond] = {low(operator): Bond(SHORT.bond_min)}
        self.rewards: dict[str, int] = {}
        self.holder: Actor | None = operator
        self.tenures = [Tenure(operator, int(self.rollup.call("tenure", 1)[1]))]
        self.slashes: list[Slash] = []
        self.signers: set[tuple[str, str]] = set()
        self.frozen_at = self.vacant_since = self.finalized = 0
        self.shares: dict[int, Share] = {}
        self.blocked: set[str] = set()
        self.used_harm: set[tuple[int, int, bytes]] = set()
        self.allowances: dict[str, int] = {}
        self.salt = 0

    # ----------------------------------------------------------------------------------------------------------- steps

    def step(
        self, contract: Contract, function: str, *args: Any, by: Any, reason: str = "",
        effect: Callable[[Receipt], None] = lambda _receipt: None, enters: frozenset[str] = NO_LOCK,
        needs: frozenset[str] = NO_LOCK, moves: bool = False,
    ) -> Step:
        data = contract.calldata(function, *args)
        return Step(contract, data, by, reason, effect, enters, needs, moves)

    def take(self, step: Step) -> Receipt | None:
        """Make the call; it must end as predicted. The receipt, None if it was refused."""
        try:
            receipt = self.evm.message(step.target, step.data, sender=step.sender)
        except Revert as revert:
            expected = "" if step.reason == SILENT else step.reason
            assert step.reason, f"{self.named(step)} was refused ({revert.reason!r}), the model lets it go through"
            assert revert.reason == expected or revert.reason.startswith((f"{expected}:", f"{expected} ")), (
                f"{self.named(step)} was refused with {revert.reason!r}, the model expects {step.reason!r}")
            return None
        assert not step.reason, f"{self.named(step)} went through, the model expects {step.reason!r}"
        self.c._take(receipt)
        step.effect(receipt)
        return receipt

    def named(self, step: Step) -> str:
        return self.c.counts.names.get((step.target.address, step.data[:4]), step.target.name)

    def sent(self, receipt: Receipt, kind: int) -> int:
        """Number of the one message of this kind in a receipt."""
        events = [decode_event(log.topics, log.data) for log in receipt.logs if log.name == "MessageEnqueued"]
        [number] = [int(event.number) for event in events if event.message[0] == kind]
        return number

    def owes(self, who: Any, reason: str, amount: int = 1) -> str:
        """``reason``, else what the token answers when ``who`` has to pay."""
        allowed = self.allowances.get(low(who), 2**256 - 1)
        return reason or ("" if allowed >= amount else "ALLOWANCE")

    def gets(self, who: Any, reason: str) -> str:
        """``reason``, else what the token answers when ``who`` is to be paid."""
        return reason or ("BLOCKED" if low(who) in self.blocked else "")

    # ------------------------------------------------------------------------------------------------------------ time

    def now(self) -> int:
        return self.evm.timestamp

    def is_final(self, number: int) -> bool:
        return self.now() >= self.c.headers[number].posted_at + SHORT.challenge_window_s

    def unfinal(self) -> list[int]:
        """Numbers of the batches that can still be dropped."""
        return [n for n in range(1, len(self.c.headers)) if not self.is_final(n)]

    # ------------------------------------------------------------------------------------------------------------- L2

    @property
    def top(self) -> BatchHeader:
        return self.c.headers[-1]

    @property
    def head_number(self) -> int:
        return len(self.c.headers) - 1

    def position(self, number: int = -1) -> int:
        """Transactions that the L2 has executed behind a batch."""
        return self.c.headers[number].globals[0] >> 64 & 2**64 - 1

    def true_head(self) -> tuple[int, Head]:
        """The last batch before the first lie."""
        number = next((n for n, head in enumerate(self.c.heads) if head.lie), len(self.c.heads)) - 1
        return number, self.c.heads[number]

    def equity(self, head: Head, account: int) -> tuple[int, str]:
        """Equity and owner of an account by the rules, under a state."""
        engine = Engine(head.trie, bytes(32), lambda _number: None, strict=True)
        engine.begin_chunk()
        if not state.account_exists(account):
            return 0, ""
        return margin.health(account).equity, "0x" + state.get_key(account, 0).address.to_bytes(20, "big").hex()

    def owner_of(self, claim: Any) -> str:
        """To whom a withdrawal is payable."""
        return self.sold.get((claim.id, claim.recipient, claim.amount), claim.recipient)

    # ---------------------------------------------------------------------------------------------------------- phases

    def phase(self) -> str:
        if not self.frozen_at:
            return "NOT_FROZEN"
        if self.now() < self.frozen_at + SHORT.challenge_window_s:
            return "NOT_SETTLED"
        return "open" if self.now() < self.frozen_at + SHORT.challenge_window_s + TIMES.register_s else "over"

    def custody(self) -> int:
        """What the rollup must hold for depositors and withdrawals."""
        deposited = sum(deposit.amount for deposit in self.deposits)
        return deposited - self.withdrawn - self.paid_out
