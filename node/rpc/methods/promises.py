"""Traders' promises, kept and checked by a verifier: take one in, ask what became of it, follow an account's.

A verifier takes nobody's word: it looks at the chain that it derived from L1, and at L1's record of seats and bonds
(node/derive/keeping.py, which also says what is admitted and what is given up when room is short).
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from node.derive.evidence import KeptPromise
from node.derive.keeping import Entry, Keeping, NotKept
from node.derive.kept import Keepsake
from node.derive.promises import Promise, SignedPromise
from node.errors import Temporary
from node.rpc.errors import ErrorKind, RpcError, fail
from node.rpc.fields import Count, Hash32, bytes_of, hex_of
from node.rpc.server import Registry
from node.rpc.subscriptions import Hub

LISTED_MAX: Final = 500
CHANNEL: Final = "promises"

Path = Annotated[list[Hash32], Meta(max_length=8)]
Data = Annotated[str, Meta(pattern="^(0x([0-9a-fA-F]{2})*)?$", max_length=4_098, title="bytes in hex, or empty")]
Signature = Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{130}$", title="65 bytes in hex")]
State = Literal["waiting", "kept", "broken", "late", "void", "elsewhere", "unbound"]

_KINDS: Final = {
    "bad": ErrorKind.BadRequest, "unbound": ErrorKind.BadSignature, "full": ErrorKind.LimitExceeded,
    "busy": ErrorKind.RateLimitExceeded,
}


class SignedGroup(msgspec.Struct):
    """A sequencer's promise for a group, and one transaction's path to its root, as an answer's ``promise`` has it."""

    epoch: Count
    first_position: Count
    count: Count
    time: Count
    previous: Hash32
    root: Hash32
    signature: Signature
    path: Path


class Answer(msgspec.Struct):
    """What a trader keeps of a sequencer's answer; other fields of it may stay. ``data``: the transaction's bytes,
    where they are known; promises without them share one account's room."""

    position: Count
    hash: Hash32
    time: Count
    promise: SignedGroup
    data: Data = ""


class Evidence(msgspec.Struct):
    """Calldata that proves it on L1: conflict or equivocation (the bond is lost), late (the seat, and a tenth)."""

    kind: Literal["conflict", "equivocation", "late"]
    to: str
    calldata: str


class PromiseVerdict(msgspec.Struct):
    """``state``: waiting, kept, broken, late, void, elsewhere, unbound (node/derive/kept.py). ``final``: its batch can
    be dropped no more."""

    id: str
    account: int
    position: int
    epoch: int
    hash: str
    state: State
    batch: int | None
    final: bool
    evidence: Evidence | None = None


def verdict_of(entry: Entry, evidence: Evidence | None = None) -> PromiseVerdict:
    """An entry for JSON."""
    return PromiseVerdict(
        hex_of(entry.id), entry.account, entry.position, entry.epoch, hex_of(entry.tx_hash),
        entry.state, entry.batch or None, entry.final, evidence)  # type: ignore[arg-type]


class Promises:
    """The methods of one verifier. ``court``: PromiseCourt's address."""

    def __init__(self, keeping: Keeping, court: bytes) -> None:
        self._keeping = keeping
        self._court = court

    def register(self, registry: Registry, hub: Hub) -> None:
        """Add the methods and the channel family."""
        registry.add("al_keepPromise", self.keep)
        registry.add("al_promiseVerdict", self.verdict)
        registry.add("al_keptPromises", self.of_account)
        hub.family(CHANNEL, self._snapshot, "verdicts of an account's kept promises, as they change: promises.ACCOUNT")

    async def keep(self, answer: Answer) -> PromiseVerdict:
        """Keep a promise for its trader and check it from now on; ``answer`` as the sequencer gave it."""
        try:
            return verdict_of(await self._keeping.keep(_keepsake(answer)))
        except NotKept as error:
            raise fail(_KINDS[error.kind], str(error), param="answer") from None
        except Temporary as error:
            raise _unreachable(error) from None

    async def verdict(self, id: Hash32) -> PromiseVerdict:
        """What became of a kept promise, with calldata for PromiseCourt where something can be proven."""
        try:
            found = await self._keeping.verdict(bytes_of(id))
        except Temporary as error:
            raise _unreachable(error) from None
        if found is None:
            raise fail(ErrorKind.NotFound, "no such promise is kept here: al_keepPromise takes one in", param="id")
        if not found.proof:
            return verdict_of(found.entry)
        kind: Any = found.kind
        return verdict_of(found.entry, Evidence(kind, hex_of(self._court), hex_of(found.proof)))

    def of_account(self, account: Count) -> list[PromiseVerdict]:
        """An account's kept promises with their last known verdicts: the newest 500, by position."""
        return [verdict_of(entry) for entry in self._keeping.of_account(account)[-LISTED_MAX:]]

    def _snapshot(self, argument: str) -> Any:
        if not argument.isdecimal() or len(argument) > 18:
            raise fail(ErrorKind.BadRequest, f"give an account, as in {CHANNEL}.7", param="channels")
        return self.of_account(int(argument))


def _keepsake(answer: Answer) -> Keepsake:
    group = answer.promise
    promise = Promise(
        group.epoch, group.first_position, group.count, group.time, bytes_of(group.previous), bytes_of(group.root))
    signed = SignedPromise(promise, bytes_of(group.signature))
    kept = KeptPromise(signed, answer.position, bytes_of(answer.hash), [bytes_of(item) for item in group.path])
    return Keepsake(kept, answer.time, bytes_of(answer.data))


def _unreachable(error: Temporary) -> RpcError:
    return fail(ErrorKind.ExchangeNotAvailable, f"L1 cannot be asked just now ({error}): try again")
