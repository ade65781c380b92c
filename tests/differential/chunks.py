"""The test world of the rules, with every chunk that it cuts also executed by the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from node.stf.engine import Engine
from node.stf.trie import MemoryTrie
from node.stf.types import Receipt, Status
from tests.differential.harness import Case, Court, Verdict
from tests.stf.model import Model
from tests.stf.resting import check_resting
from tests.stf.world import World

INVALID = "INVALID"


class DifferentialWorld(World):
    """``cut`` compares; ``seen`` counts the names of all statuses, and INVALID, that the compared chunks had.

    ``model`` audits every transaction; its events are the rungs of the ladder that happened.

    Takes the court over: the inbox of one that is shared begins empty again, so worlds live one after the other.
    """

    def __init__(self, court: Court, *, start: int = 1_700_000_000) -> None:
        self.court = court
        court.reset()
        super().__init__(start=start, strict=True)
        self.trie = MemoryTrie(self.store.leaves)
        self.verdicts: list[Verdict] = []
        self.seen: Counter[str] = Counter()
        self.model = Model(self)

    def new_engine(self) -> Engine:
        return Engine(self.store, self.court.domain, self.message_at, strict=True)

    def cut(self) -> None:
        """End the open chunk and compare it; the state after it must be the one that the contract found."""
        check_resting(self)
        verdict = self.judge(self.open_bytes)
        assert not verdict.invalid, verdict.outcome.reason
        super().cut()
        result = self.results[-1]
        self.trie.apply(result.changes)
        assert self.trie.root() == verdict.outcome.root, "executing by transaction and by chunk is the same"
        found, spent = (result.work, result.proof), (verdict.outcome.work, verdict.outcome.proof)
        assert found == spent, f"work and proof by transaction {found}, by chunk {spent}"

    def judge(self, chunk: bytes, cursor_end: int | None = None) -> Verdict:
        """Compare any bytes as a chunk on the state before the open chunk; nothing changes here."""
        end = len(self.inbox) if cursor_end is None else cursor_end
        verdict = self.court.compare(Case(self.trie, chunk, list(self.inbox), end))
        self.verdicts.append(verdict)
        if verdict.invalid:
            self.seen[INVALID] += 1
        self.count(verdict.outcome.receipts)
        self.engine.bind()
        return verdict

    def count(self, receipts: Iterable[Receipt]) -> None:
        for receipt in receipts:
            for status in (receipt.status, *receipt.action_statuses):
                self.seen[Status(status).name] += 1
