"""One chunk, executed twice: by the Python rules over a trie, and by FraudVerifier over the witness that Python built.

    court = Court()                                    deploys the verifier and its parts, once
    case = Case(trie, chunk, inbox, cursor_end)        a state before, the bytes, all messages from number 0 on
    verdict = court.compare(case)                      raises AssertionError where the two languages differ

Root, work, proof bytes and leaves must agree, and INVALID must be INVALID in both. The witness of an INVALID chunk
holds what execution had touched and observed where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from contracts import RULES_PARTS
from node.stf import encoding, state, transition, witness
from node.stf.engine import Engine
from node.stf.transition import INVALID_ROOT, InvalidChunk
from node.stf.trie import MemoryTrie
from node.stf.types import Receipt
from tests.evm import Contract, Evm

CHAIN_ID = 901
RULES_BASE = 60_000  # gas of the rules that a chunk costs before its first transaction
DECODE_MAX = 300_000  # gas of decoding one transaction that then makes the chunk INVALID: its work is never spent
GAS_MAX = 1_000_000_000  # a test measures gas, it does not run out of it


@dataclass(frozen=True)
class Case:
    """A chunk and all that its meaning depends on. ``inbox`` holds every L1 message from number 0."""

    trie: MemoryTrie
    chunk: bytes
    inbox: Sequence[bytes]
    cursor_end: int

    def message_at(self, number: int) -> bytes | None:
        return self.inbox[number] if number < self.cursor_end else None


@dataclass(frozen=True)
class Outcome:
    """What Python made of a case, and what the contract must be shown to follow it."""

    root: bytes
    work: int
    proof: int
    leaves: int
    receipts: list[Receipt]
    changes: dict[bytes, bytes | None]
    witness: witness.Witness
    messages: list[bytes]
    reason: str = ""  # why the chunk is INVALID


@dataclass(frozen=True)
class Verdict:
    """Both results of one case, which agree."""

    outcome: Outcome
    gas: int  # of the contract, calldata included
    rules_gas: int  # of the rules alone, without loading and verifying the witness
    calldata_bytes: int

    @property
    def invalid(self) -> bool:
        return self.outcome.root == INVALID_ROOT


def pack_messages(messages: Sequence[bytes]) -> bytes:
    """Messages as FraudVerifier takes them: size:2 and bytes of each."""
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


@contextmanager
def rooms_are_kept() -> Iterator[None]:
    """Inside, no transaction of the Python rules may spend more than the room that it began with."""
    begin, run = transition.begin, transition.execute
    limits: list[tuple[int, int, int]] = []

    def noted_begin(start: int, pos: int, forced: bool, work: int, leaves: int, proof: int) -> bool:
        begins = begin(start, pos, forced, work, leaves, proof)
        if begins:
            limits.append((state.get_work() + work, state.get_leaves() + leaves, state.get_proof() + proof))
        return begins

    def checked_run(pos: int) -> tuple[Receipt, int]:
        limits.clear()
        receipt, end = run(pos)
        spent = (state.get_work(), state.get_leaves(), state.get_proof())
        for limit in limits:
            assert all(s <= most for s, most in zip(spent, limit, strict=True)), (
                f"kind {receipt.kind}, {receipt.status.name}: work, leaves, proof {spent} pass their room {limit}")
        return receipt, end

    transition.begin, transition.execute = noted_begin, checked_run
    try:
        yield
    finally:
        transition.begin, transition.execute = begin, run


def execute(case: Case, domain: bytes) -> Outcome:
    """Run a case with the Python rules, getters returning copies as the contract's do."""
    engine = Engine(case.trie, domain, case.message_at, strict=True)
    first = engine.globals.cursor
    receipts: list[Receipt] = []
    reason = ""
    try:
        with rooms_are_kept():
            receipts, _result = engine.execute_chunk(case.chunk)
    except InvalidChunk as error:
        reason = str(error)
    result = engine.end_chunk()
    # a message may be looked at by a transaction that then has no room for it
    last = min(engine.globals.cursor + (1 if reason else 0), case.cursor_end, len(case.inbox))
    after = MemoryTrie(base=case.trie)
    return Outcome(
        root=INVALID_ROOT if reason else after.apply(result.changes),
        work=result.work,
        proof=result.proof,
        leaves=result.leaves,
        receipts=receipts,
        changes=result.changes,
        witness=witness.build(case.trie, result.touched, result.ranges),
        messages=list(case.inbox[first:last]),
        reason=reason,
    )


@dataclass
class Court:
    """A FraudVerifier with its parts on an EVM, before an inbox that anybody may fill."""

    evm: Evm = field(default_factory=Evm)
    rollup: Contract = field(init=False)
    verifier: Contract = field(init=False)
    domain: bytes = field(init=False)
    inbox: list[bytes] = field(default_factory=list)
    _empty: object = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rollup = self.evm.deploy("mocks/RollupMock.vy", CHAIN_ID)
        self.verifier = deploy_verifier(self.evm, self.rollup)
        self.domain = encoding.domain_separator(CHAIN_ID, int(self.rollup.address, 16))
        self._empty = self.evm.snapshot()

    def reset(self) -> None:
        """Start over with an empty inbox."""
        self.evm.restore(self._empty)
        self.inbox = []

    def compare(self, case: Case) -> Verdict:
        """Judge a case in both languages. Raises AssertionError that says how they differ."""
        outcome = execute(case, self.domain)
        return self.follow(case, outcome)

    def follow(self, case: Case, outcome: Outcome) -> Verdict:
        """Let the contract execute what Python has; see ``compare``."""
        self._extend_inbox(case)
        data = self.verifier.calldata(
            "execute_chunk",
            case.trie.root(),
            case.cursor_end,
            case.chunk,
            pack_messages(outcome.messages),
            witness.encode(outcome.witness),
        )
        receipt = self.evm.message(self.verifier, data, gas=GAS_MAX, keep=False)
        words = [int.from_bytes(receipt.value[i : i + 32], "big") for i in range(0, 160, 32)]
        contract = (receipt.value[:32].hex(), *words[1:4])
        python = (outcome.root.hex(), outcome.work, outcome.proof, outcome.leaves)
        assert contract == python, f"contract {contract}, Python {python} {outcome.reason}"
        allowed = outcome.work + RULES_BASE + (DECODE_MAX if outcome.reason else 0)
        assert words[4] <= allowed, f"the rules took {words[4]} gas, their work allows {allowed}"
        return Verdict(outcome, receipt.gas_used, words[4], len(data))

    def _extend_inbox(self, case: Case) -> None:
        """The contract's inbox grows with the case's; both are append-only."""
        shared = min(len(self.inbox), len(case.inbox))
        assert self.inbox[:shared] == list(case.inbox[:shared]), "one court has one inbox"
        for at in range(len(self.inbox), len(case.inbox), 32):
            part = list(case.inbox[at : at + 32])
            self.rollup.transact("enqueue", part)
            self.inbox += part


@cache
def shared_court() -> Court:
    """The one court of a test session: deploying it compiles five contracts. Worlds use it one after the other."""
    return Court()


def deploy_verifier(evm: Evm, rollup: Contract) -> Contract:
    """FraudVerifier and the parts it runs, for a rollup."""
    parts: dict[str, Contract] = {}
    for name, needs in RULES_PARTS.items():
        parts[name] = evm.deploy(name, *[parts[need] for need in needs])
    return evm.deploy("FraudVerifier", rollup, parts["FraudRules"])
