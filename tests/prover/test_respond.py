"""What a responder does when L1 is away, refuses, forgets, or was faster: with fakes, on a clock that jumps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import structlog
import trio
from eth_abi.abi import encode
from structlog.testing import capture_logs

from node.derive.replay import Fraud, PostedBatch
from node.errors import Temporary
from node.l1 import bindings
from node.l1.sender import Intent, TxReverted
from node.l1.types import CallReverted, L1Receipt
from node.metrics import Metrics
from node.stf.commitments import BatchHeader, genesis_header, header_hash
from node.stf.trie import MemoryTrie
from prover.dry_run import Rehearsal
from prover.proof import Evidence, Proof
from prover.respond import LOUD_AFTER, NAMES_MAX, OVERTIME_S, Answer, Court, Responder

ROLLUP, VERIFIER, ACCOUNT = b"\x01" * 20, b"\x02" * 20, b"\x03" * 20
WINDOW_S = 3_600
TRUE_ROOT = b"\x07" * 32
GENESIS = genesis_header(b"\x05" * 32, [0] * 6)
HEADER = BatchHeader(1, header_hash(GENESIS), 1, 0, bytes(32), 1, bytes(32), b"\x06" * 32, (0,) * 6, 1, bytes(20))


@dataclass
class FakeL1:
    """Answers the dry run, ``header_hash`` and ``reward_of``; any of them may be scripted to fail."""

    dry_run: Callable[[], bytes] = lambda: TRUE_ROOT
    stored: bytes = header_hash(HEADER)
    away: int = 0  # calls that find nobody

    async def call(self, to: bytes, data: bytes, *, sender: bytes | None = None) -> bytes:
        if self.away:
            self.away -= 1
            raise Temporary("L1 node does not answer eth_call")
        if to == VERIFIER:
            return self.dry_run()
        if data[:4] == bindings.selector("header_hash"):
            return self.stored
        assert data[:4] == bindings.selector("reward_of")
        return encode(["uint256"], [0])


@dataclass
class FakeSender:
    """Remembers ids as the journal does; ``outcomes`` are what a send of each comes to (default: mined)."""

    outcomes: dict[str, Callable[[], Awaitable[L1Receipt]]] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    address: bytes = ACCOUNT
    in_flight: int = 0
    mined: bool = False

    def known(self, intent_id: str) -> bool:
        return intent_id in self.sent

    async def send(self, intent: Intent) -> L1Receipt:
        if intent.id not in self.sent:
            self.sent.append(intent.id)
        outcome = self.outcomes.get(intent.id)
        if outcome is not None:
            return await outcome()
        self.mined = True
        return receipt(True)


def rehearsal(output: bytes = TRUE_ROOT, error: str = "") -> Rehearsal:
    return Rehearsal(output, 999_999, error, 21, 0.5)


@dataclass
class FakeRehearsal:
    """The local EVM's word on every proof; None: it could not be asked."""

    word: Rehearsal | None = field(default_factory=rehearsal)
    seen: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)

    async def run(self, to: bytes, data: bytes, sender: bytes) -> Rehearsal | None:
        self.seen.append((to, data, sender))
        return self.word


def receipt(success: bool) -> L1Receipt:
    return L1Receipt(b"\x09" * 32, success, 7, bytes(32), 1_000_000, 1, None, ())


def reverting(name: str) -> Callable[[], Awaitable[L1Receipt]]:
    async def outcome() -> L1Receipt:
        raise TxReverted(name, receipt(False), "out of gas")

    return outcome


def refusing(reason: str) -> Callable[[], bytes]:
    def dry_run() -> bytes:
        raise CallReverted(reason, b"")

    return dry_run


@dataclass
class Scene:
    l1: FakeL1 = field(default_factory=FakeL1)
    sender: FakeSender = field(default_factory=FakeSender)
    rehearses: FakeRehearsal = field(default_factory=FakeRehearsal)
    is_open: bool = True  # until a proof is mined

    async def respond(self) -> Answer:
        batch = PostedBatch(HEADER, (b"chunk",), (HEADER.post_root,), bytes(32), 5)
        evidence = Evidence(batch, GENESIS, MemoryTrie(), bytes(32), lambda number: None)
        proof = Proof(Fraud.ROOT, 0, b"calldata", TRUE_ROOT, 3, 500)
        answer = Answer(evidence.name, 1, proof.kind.value, 0, "chunk 0 leads elsewhere")
        court = Court(ROLLUP, VERIFIER, WINDOW_S)
        metrics = Metrics("watchtower", "test")
        responder = Responder(self.l1, self.sender, court, self.rehearses, metrics, pause_s=1)  # type: ignore[arg-type]
        await responder.respond(evidence, proof, answer, lambda: self.is_open and not self.sender.mined)
        return answer

    @property
    def name(self) -> str:
        return f"fraud-1-{header_hash(HEADER).hex()}"


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    structlog.reset_defaults()


async def test_a_proof_is_sent_once(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene()
    answer = await scene.respond()
    assert (answer.outcome, answer.gas, answer.attempts) == ("proven", 1_000_000, 1)
    assert answer.dry_run_gas == 999_999
    assert scene.sender.sent == [scene.name]
    assert scene.rehearses.seen == [(VERIFIER, b"calldata", ACCOUNT)], "the very transaction, from our account"


async def test_an_l1_that_is_away_is_waited_for_loudly(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeL1(away=5))
    with capture_logs() as logs:
        answer = await scene.respond()
    assert (answer.outcome, answer.attempts) == ("proven", 6)
    delayed = [entry["log_level"] for entry in logs if entry["event"] == "proof_delayed"]
    assert delayed == ["warning"] * (LOUD_AFTER - 1) + ["error"] * (6 - LOUD_AFTER)
    assert answer.seconds < 60


async def test_an_l1_that_never_comes_back_is_given_up_after_the_window(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeL1(away=10**9))
    answer = await scene.respond()
    assert answer.outcome == "late"
    assert WINDOW_S + OVERTIME_S <= answer.seconds < WINDOW_S + OVERTIME_S + 60
    assert scene.sender.sent == []


async def test_what_somebody_else_has_proven_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeL1(refusing("HEADER: not the stored one"), stored=bytes(32)))

    async def follow() -> None:
        await trio.sleep(10)
        scene.is_open = False

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        answer = await scene.respond()
    assert answer.outcome == "gone"
    assert 10 <= answer.seconds < 60
    assert scene.sender.sent == []


@pytest.mark.parametrize("reason", ["NO_FRAUD: the claimed root is right", "BAD_WITNESS: not the old root", "HEADER"])
async def test_a_refused_proof_is_never_sent_and_never_forgotten(
    autojump_clock: trio.testing.MockClock, reason: str
) -> None:
    """The batch stands and L1 would refuse: wrong or behind, the node is asked again until the window is over."""
    scene = Scene(FakeL1(refusing(reason)))
    with capture_logs() as logs:
        answer = await scene.respond()
    assert answer.outcome == "late"
    assert scene.sender.sent == []
    assert [entry for entry in logs if entry["log_level"] == "critical"], "and somebody must be told"


async def test_after_the_window_nothing_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeL1(refusing("FINAL: the challenge window has passed")))
    answer = await scene.respond()
    assert (answer.outcome, answer.attempts, scene.sender.sent) == ("late", 1, [])


async def test_a_proof_that_was_mined_and_failed_is_sent_again_under_a_new_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scene = Scene()
    scene.sender.outcomes = {scene.name: reverting(scene.name)}
    answer = await scene.respond()
    assert answer.outcome == "proven"
    assert scene.sender.sent == [scene.name, f"{scene.name}#2"]


async def test_a_proof_that_always_fails_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene()
    names = [scene.name, *(f"{scene.name}#{number}" for number in range(2, NAMES_MAX + 1))]
    scene.sender.outcomes = {name: reverting(name) for name in names}
    with capture_logs() as logs:
        answer = await scene.respond()
    assert answer.outcome == "failed"
    assert scene.sender.sent == names
    assert "proof_failed" in {entry["event"] for entry in logs}


async def test_an_l1_that_has_no_contracts_for_a_moment_ends_no_watch(autojump_clock: trio.testing.MockClock) -> None:
    """In the middle of a reorganisation anvil answers as if nothing were deployed; a watchtower must outlive that."""
    l1 = FakeL1(refusing("HEADER: not the stored one"), stored=b"")
    scene = Scene(l1)

    async def recover() -> None:
        await trio.sleep(10)
        l1.stored, l1.dry_run = header_hash(HEADER), lambda: TRUE_ROOT

    async with trio.open_nursery() as nursery:
        nursery.start_soon(recover)
        answer = await scene.respond()
    assert (answer.outcome, scene.sender.sent) == ("proven", [scene.name])


async def test_a_proof_that_failed_because_another_was_first_is_no_failure(
    autojump_clock: trio.testing.MockClock,
) -> None:
    scene = Scene(FakeL1(stored=bytes(32)))
    scene.sender.outcomes = {scene.name: reverting(scene.name)}
    answer = await scene.respond()
    assert (answer.outcome, scene.sender.sent) == ("gone", [scene.name])


@pytest.mark.parametrize("in_flight", [0, 1])
async def test_a_confirmed_proof_that_a_reorganisation_took_is_sent_anew(
    autojump_clock: trio.testing.MockClock, in_flight: int
) -> None:
    """Also while another transaction waits, for the nonce that went with the proof: nobody else would fill it."""
    scene = Scene()
    scene.sender.in_flight = in_flight

    async def forgotten() -> L1Receipt:
        raise Temporary("L1 node does not know the transaction, which was confirmed; it may be behind")

    scene.sender.sent.append(scene.name)
    scene.sender.outcomes = {scene.name: forgotten}
    answer = await scene.respond()
    assert answer.outcome == "proven"
    assert scene.sender.sent == [scene.name, f"{scene.name}#2"]


async def test_a_proof_that_reorganisations_take_again_and_again_is_sent_as_often(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """L1 forgetting is no failure of the proof's: a villain who can reorganise must not exhaust the watchtower."""
    scene = Scene()
    names = [scene.name, *(f"{scene.name}#{number}" for number in range(2, 3 * NAMES_MAX))]

    async def forgotten() -> L1Receipt:
        raise Temporary("L1 node does not know the transaction, which was confirmed; it may be behind")

    scene.sender.sent += names
    scene.sender.outcomes = {name: forgotten for name in names}
    answer = await scene.respond()
    assert answer.outcome == "proven"
    assert scene.sender.sent == [*names, f"{scene.name}#{3 * NAMES_MAX}"]


async def test_a_proof_that_a_reorganisation_took_before_it_was_followed_is_sent_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Confirmed, then gone, and derivation saw neither: the dispute it has is still this one, nobody opens another."""
    scene = Scene()
    looks: list[float] = []

    async def confirmed_then_forgotten() -> L1Receipt:
        looks.append(trio.current_time())
        if len(looks) > 2:
            raise Temporary("L1 node does not know the transaction, which was confirmed; it may be behind")
        return receipt(True)

    scene.sender.outcomes = {scene.name: confirmed_then_forgotten}
    answer = await scene.respond()
    assert (answer.outcome, answer.name) == ("proven", f"{scene.name}#2")
    assert scene.sender.sent == [scene.name, f"{scene.name}#2"]


async def test_an_l1_that_finds_a_third_root_is_reported_and_used(autojump_clock: trio.testing.MockClock) -> None:
    """The batch falls either way; that two implementations differ must be known."""
    scene = Scene(FakeL1(lambda: b"\x08" * 32))
    with capture_logs() as logs:
        answer = await scene.respond()
    assert answer.outcome == "proven"
    assert "twins_differ" in {entry["event"] for entry in logs if entry["log_level"] == "critical"}


def critical(logs: list[structlog.typing.EventDict]) -> set[str]:
    return {entry["event"] for entry in logs if entry["log_level"] == "critical"}


@pytest.mark.parametrize(("word", "alarms"), [
    (rehearsal(), set()),
    (None, set()),
    (rehearsal(b"", ""), set()),
    (rehearsal(b"\x08" * 32), {"twins_differ"}),
    (rehearsal(b"", "BAD_WITNESS: not the old root"), {"evms_differ"}),
    (rehearsal(b"", "out of gas: not enough gas for the next block of code"), {"evms_differ"}),
], ids=["agrees", "not run", "no root", "third root", "reverts", "out of gas"])
async def test_l1_decides_and_a_local_evm_that_differs_is_heard(
    autojump_clock: trio.testing.MockClock, word: Rehearsal | None, alarms: set[str]
) -> None:
    """The batch falls by L1's word; a watchtower that kept its doubts to itself would leave it standing."""
    scene = Scene(rehearses=FakeRehearsal(word))
    with capture_logs() as logs:
        answer = await scene.respond()
    assert (answer.outcome, scene.sender.sent) == ("proven", [scene.name])
    assert critical(logs) == alarms


async def test_a_proof_that_both_evms_refuse_is_not_sent(autojump_clock: trio.testing.MockClock) -> None:
    scene = Scene(FakeL1(refusing("HEADER: not the stored one"), stored=bytes(32)),
                  rehearses=FakeRehearsal(rehearsal(b"", "HEADER: not the stored one")), is_open=False)
    with capture_logs() as logs:
        answer = await scene.respond()
    assert (answer.outcome, scene.sender.sent) == ("gone", [])
    assert critical(logs) == set(), "somebody else was first: no alarm"
