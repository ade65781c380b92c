"""The catalogue: every attack under a stable name, with what it needs and what it is known to cost whom.

    @attack("batches", "Post a batch whose last root is made up.", needs={SEAT}, loses={"operator": BOND},
            gains={"watchtower": TENTH}, proofs=1)
    async def wrong_root_last(field: Field) -> str:
        ...                                   # plays, checks with field.check(…), returns a remark (or "")

The name is the function's with hyphens. ``play`` measures who lost what on L1 and L2, and compares it with the entry:
an attack *held* when no check failed and everybody lost exactly what the entry says (``SOME``: any positive amount).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from node.cli.villain.l1 import Bill, NotPlayable, Refused

if TYPE_CHECKING:
    from node.cli.villain.field import Field

# what an attack needs
SEAT: Final = "seat"  # the villain holds the sequencer's seat
SCENE: Final = "scene"  # funded traders, a priced market: needs the seat and the publishers' keys
DEV: Final = "dev"  # an L1 whose mining, time and branch can be changed
ENDS: Final = "ends"  # the rollup does not outlive it
# the scene's traders: what they pay each other and in fees while an operator is honest
TRADING: Final = frozenset(("alice", "bob", "carol"))
NEEDS: Final = frozenset((SEAT, SCENE, DEV, ENDS))
PATIENCE_S: Final = 600.0


class Broken(Exception):
    """The protocol did not hold: what happened that must not."""


@dataclass(frozen=True)
class Terms:
    """What a deployment stakes, micro-USD and seconds."""

    bond: int
    force_fee: int
    deposit_min: int
    challenge_window_s: int
    force_delay_s: int
    seat_idle_s: int
    bond_delay_s: int
    timelock_s: int
    exodus_after_s: int
    reseat_s: int
    register_s: int
    promise_deadline_s: int
    claim_s: int


@dataclass(frozen=True)
class Amount:
    """An amount in words and, per deployment, in micro-USD; ``of`` None: any positive amount."""

    words: str
    of: Callable[[Terms], int] | None = None

    def fits(self, micro: int, terms: Terms) -> bool:
        """Whether it is what was measured."""
        return micro > 0 if self.of is None else micro == self.of(terms)


BOND: Final = Amount("the bond", lambda terms: terms.bond)
TENTH: Final = Amount("a tenth of the bond", lambda terms: terms.bond // 10)
FEE: Final = Amount("the fee of a forced message", lambda terms: terms.force_fee)
SOME: Final = Amount("some money")


def share(percent: int, words: str) -> Amount:
    """So many percent of the bond."""
    return Amount(words, lambda terms: terms.bond * percent // 100)


def fees(count: int) -> Amount:
    """The fees of so many forced messages."""
    return Amount(f"the fees of {count} forced messages", lambda terms: count * terms.force_fee)


def dollars(amount: int) -> Amount:
    """An exact amount in USD."""
    return Amount(f"{amount:,} USD", lambda _terms: amount * 1_000_000)


Play = Callable[["Field"], Awaitable[str]]


@dataclass(frozen=True)
class Attack:
    """An entry. ``loses`` and ``gains``: parties and amounts, everybody else neither; ``apart``: parties whose honest
    trading meanwhile is not the attack's matter; ``proofs``: transactions that the defence sent; ``time_s``: L1 seconds
    that must pass."""

    name: str
    group: str
    summary: str
    play: Play
    needs: frozenset[str]
    loses: Mapping[str, Amount]
    gains: Mapping[str, Amount]
    proofs: int | None
    time_s: Callable[[Terms], int]
    apart: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What came of an attack. ``lost``: micro-USD by party, negative where it gained. ``remark``: why it did not hold,
    or what the attack wants to say."""

    name: str
    held: bool
    lost: Mapping[str, int]
    attack: Bill
    defence: Bill
    seconds: float
    remark: str

    def row(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "attack": self.name, "held": self.held, "lost": dict(self.lost), "seconds": round(self.seconds, 2),
            "attack_l1_transactions": self.attack.transactions, "attack_gas": self.attack.gas,
            "defence_l1_transactions": self.defence.transactions, "defence_gas": self.defence.gas,
            "remark": self.remark}


@dataclass
class _Registry:
    attacks: dict[str, Attack] = field(default_factory=dict)


_REGISTRY: Final = _Registry()


def attack(group: str, summary: str, *, needs: frozenset[str] | set[str] = frozenset(), name: str = "",
           loses: Mapping[str, Amount] | None = None, gains: Mapping[str, Amount] | None = None,
           proofs: int | None = 0, time_s: Callable[[Terms], int] = lambda _terms: 0,
           apart: frozenset[str] | set[str] = frozenset()) -> Callable[[Play], Play]:
    """Register a function as an attack; see the module and ``Attack``. ``proofs`` None: any number."""
    unknown = set(needs) - NEEDS
    if unknown:
        raise ValueError(f"there is no need {sorted(unknown)}; needs: {sorted(NEEDS)}")

    def register(play: Play) -> Play:
        called = name or play.__name__.replace("_", "-")
        if called in _REGISTRY.attacks:
            raise ValueError(f"two attacks are called {called!r}")
        _REGISTRY.attacks[called] = Attack(
            called, group, summary, play, frozenset(needs), dict(loses or {}), dict(gains or {}), proofs, time_s,
            frozenset(apart))
        return play

    return register


def catalogue() -> dict[str, Attack]:
    """Every attack by name, in the order of its module and place."""
    from node.cli.villain import attacks

    attacks.load()
    return dict(_REGISTRY.attacks)


async def play(entry: Attack, ground: Field) -> Outcome:
    """Prepare what the attack needs, play it, measure. Raises NotPlayable where the network does not offer it, and
    whatever went wrong in the preparation; from there on nothing but an outcome comes of it."""
    await ground.prepare(entry)
    began = trio.current_time()
    remark = await _played(entry, ground)
    broken = remark if isinstance(remark, Broken) else None
    seconds = trio.current_time() - began
    try:
        lost, attackers, defenders = await ground.settle()
    except Exception as error:
        why = str(broken or f"who lost what cannot be measured: {said(error)}")
        return Outcome(entry.name, False, {}, Bill(), Bill(), seconds, why)
    lost = {party: micro for party, micro in lost.items() if party not in entry.apart}
    wrong = str(broken) if broken else unexpected(entry, lost, defenders, ground.terms)
    return Outcome(entry.name, not wrong, lost, attackers, defenders, seconds, wrong or str(remark))


async def _played(entry: Attack, ground: Field) -> str | Broken:
    """The attack's remark, or what happened that must not; an attack that fails in any way has not shown that the
    protocol holds. Raises NotPlayable and Unsuitable: there is no such attack on this network."""
    from sequencer.forgery import Unsuitable

    try:
        with trio.fail_after(PATIENCE_S):
            return await entry.play(ground)
    except (NotPlayable, Unsuitable):
        raise
    except Broken as error:
        return error
    except Refused as error:
        return Broken(f"L1 refused what it should have taken: {error}")
    except trio.TooSlowError:
        return Broken(f"nothing came of it within {PATIENCE_S:.0f} s: is a watchtower running?")
    except Exception as error:
        return Broken(f"it went on in no way that the catalogue knows: {said(error)}")


def said(error: BaseException) -> str:
    """An exception in one line, the first of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def unexpected(entry: Attack, lost: Mapping[str, int], defence: Bill, terms: Terms) -> str:
    """In which point an outcome is not what the entry says; empty if in none."""
    for party in sorted({*lost, *entry.loses, *entry.gains}):
        micro = lost.get(party, 0)
        expected = entry.loses.get(party) or entry.gains.get(party)
        amount = -micro if party in entry.gains else micro
        if expected is None and micro != 0:
            return f"{party} lost {micro / 1_000_000:,.6f} USD, nothing was expected"
        if expected is not None and not expected.fits(amount, terms):
            verb = "gains" if party in entry.gains else "loses"
            return f"{party} {verb} {amount / 1_000_000:,.6f} USD, expected: {expected.words}"
    if entry.proofs is not None and defence.transactions != entry.proofs:
        return f"the defence needed {defence.transactions} transactions, expected: {entry.proofs}"
    return ""


__all__ = ["BOND", "DEV", "ENDS", "FEE", "SCENE", "SEAT", "SOME", "TENTH", "TRADING", "Amount", "Attack", "Broken",
           "NotPlayable", "Outcome", "Terms", "attack", "catalogue", "dollars", "fees", "play", "said", "share",
           "unexpected"]
