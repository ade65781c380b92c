"""Proofs in one L1 transaction share its transient storage and must not meet."""

from __future__ import annotations

from itertools import permutations

from node.stf import encoding, witness
from node.stf.transition import INVALID_ROOT
from node.stf.types import Status
from tests.differential.harness import Case, Court, execute, pack_messages
from tests.differential.scenarios import PRICE, ready
from tests.evm import Revert
from tests.stf.world import buy, cancel_all, sell


def call(court: Court, case: Case) -> tuple[bytes, bytes]:
    """Calldata of a dry run, and the root that it must answer with."""
    outcome = execute(case, court.domain)
    data = court.verifier.calldata(
        "execute_chunk",
        case.trie.root(),
        case.cursor_end,
        case.chunk,
        pack_messages(outcome.messages),
        witness.encode(outcome.witness),
    )
    return data, outcome.root


def test_proofs_in_one_transaction_do_not_meet(court: Court) -> None:
    """Valid, INVALID and unprovable ones in every order: each answers as if it were alone."""
    world = ready(court)
    end = len(world.inbox)

    def of(chunk: bytes) -> tuple[bytes, bytes]:
        return call(court, Case(world.trie, chunk, list(world.inbox), end))

    sale = world.sign_actions(1, (sell(0, PRICE, 10), sell(0, PRICE + 5, 10), cancel_all(0)))
    purchase = world.sign_actions(2, (buy(0, PRICE - 5, 20),))
    cases = [of(b"\x09\x05" + sale), of(purchase), of(purchase + b"\x07"), of(encoding.INBOX_TX * 9)]
    broken = bytearray(cases[1][0])
    broken[-40] ^= 1  # in the witness: the old root cannot match
    expected = [*cases, (bytes(broken), b"")]
    assert cases[2][1] == INVALID_ROOT
    batch = court.evm.deploy("mocks/ProofBatch.vy")
    for order in permutations(range(len(expected)), 3):
        calls = [expected[i][0] for i in order]
        answers = batch.call("run", court.verifier, calls)
        assert [answer[:32] for answer in answers] == [expected[i][1] for i in order], order


def test_the_same_state_again_and_a_later_one(court: Court) -> None:
    """A chunk, then the chunk after it, then the first one again: leaves of one table are not in the next."""
    world = ready(court)
    cases = []
    for number in range(3):
        world.actions(1, sell(0, PRICE + number, 10, number))
        cases.append(call(court, Case(world.trie, world.open_bytes, list(world.inbox), len(world.inbox))))
        world.cut()
    batch = court.evm.deploy("mocks/ProofBatch.vy")
    sequence = [cases[i] for i in (0, 1, 2, 0, 2, 1, 0, 0)]
    answers = batch.call("run", court.verifier, [data for data, _ in sequence])
    assert [answer[:32] for answer in answers] == [root for _, root in sequence]


def test_parts_called_directly_do_nothing(court: Court) -> None:
    """Nobody's own transient storage is a state: without a leaf table, the parts revert."""
    for part, function, arguments in (
        ("FraudBook", "resume", (0, 1)),
        ("FraudInbox", "deliver", (1, bytes(32), b"")),
        ("FraudAccounts", "authorize", (1, 0, 1, 1, 1)),
        ("FraudAccounts", "publish", (0, 0, 1, 1, 1)),
    ):
        contract = court.evm.deploy(part)
        try:
            answer = contract.call(function, *arguments)
        except Revert as revert:
            assert revert.reason.startswith("BAD_WITNESS")
        else:
            assert answer in (Status.NO_ACCOUNT, Status.BAD_MESSAGE), "nothing can succeed on no state"
