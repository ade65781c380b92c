"""The auditor: looks at every block of every branch, executes every batch again, and says what must never be.

It shares no code with the watchtower beyond the rules: a batch is right if its parent is right, every chunk is valid
and leads to the root that it claims, and the header's mirror is the ``G`` leaf. All else is asked of the contracts:

- no wrong batch is ever final (``Rollup.is_final``, the event ``BatchFinalized``);
- no right batch is ever dropped;
- no honest operator's bond is ever slashed;
- tokens held >= custody + reserved.

A branch of L1 has a ledger of its own, so a reorganisation is judged like any other history.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from eth_hash.auto import keccak

from node.l1.bindings import (
    BatchesDropped,
    BatchFinalized,
    BatchPosted,
    MessageEnqueued,
    PostBatch,
    decode_event,
    decode_post_batch,
    decode_result,
    encode_call,
    header_tuple,
)
from node.stf import state
from node.stf.commitments import BatchHeader, header_hash, next_inbox_hash
from node.stf.engine import Engine
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie
from tests.simulation.blocks import Block, Tx
from tests.simulation.node import Node

BOND_SLASHED = keccak(b"BondSlashed(address,address,uint256,uint256)")
BALANCE_OF = keccak(b"balanceOf(address)")[:4]
LEDGERS_KEPT = 64  # blocks: more than a branch can be long
NOBODY = bytes(20)

Leaves = dict[bytes, bytes]


class Violation(AssertionError):
    """What must never be."""


@dataclass(frozen=True)
class Entry:
    """A batch on one branch of L1. ``wrong`` says why, and is empty for a right one."""

    header: BatchHeader
    wrong: str
    block: int


@dataclass(frozen=True)
class Ledger:
    """One branch up to one block: batches that can still be dropped (after the last final one), and counts.

    ``piled``: batches that were built on wrong ones; ``wrong`` counts the others.
    """

    standing: tuple[Entry, ...]
    inbox: bytes  # running hash
    right: int = 0
    wrong: int = 0
    piled: int = 0
    dropped: int = 0
    final: int = 0


@dataclass
class Findings:
    """For the report: seconds from the posting of a wrong batch to its fall, who proved it, and how it was wrong."""

    seconds: list[int] = field(default_factory=list)
    provers: dict[bytes, int] = field(default_factory=dict)
    wrongs: dict[str, int] = field(default_factory=dict)
    slashed: int = 0


class Auditor:
    """``rollup`` and ``token`` are addresses; ``operators`` are the honest ones; ``first`` is the head at the start."""

    def __init__(
        self, rollup: bytes, token: bytes, domain: bytes, operators: Collection[bytes], start: Block,
        first: BatchHeader, leaves: Leaves, messages: list[bytes],
    ) -> None:
        self._rollup, self._token, self._domain, self._honest = rollup, token, domain, operators
        self._states: dict[bytes, Leaves] = {header_hash(first): leaves}
        # messages by the running hash after them, with the one before them: branches share a past
        self._messages: dict[bytes, tuple[bytes, bytes]] = {}
        running = bytes(32)
        for message in messages:
            before, running = running, next_inbox_hash(running, message)
            self._messages[running] = (before, message)
        self.ledgers = {start.hash: Ledger((Entry(first, "", start.number),), running)}
        self.findings = Findings()
        self._order = [start.hash]

    def ledger(self, block: Block) -> Ledger:
        """The books of the branch that ends here."""
        return self.ledgers[block.hash]

    def inspect(self, node: Node, block: Block) -> None:
        """A block that a node has just executed. Raises Violation."""
        assert block.parent is not None, "the first block is not new"
        ledger = self.ledgers[block.parent.hash]
        for tx, outcome in zip(block.txs, block.outcomes, strict=True):
            for log in outcome.logs:
                if log.address == self._rollup:
                    ledger = self._event(ledger, block, tx, log.topics, log.data)
        ledger = self._ask(ledger, node, block)
        self.ledgers[block.hash] = ledger
        self._order.append(block.hash)
        if len(self._order) > LEDGERS_KEPT:
            del self.ledgers[self._order.pop(0)]

    # --- events -------------------------------------------------------------------------------------------------------

    def _event(self, ledger: Ledger, block: Block, tx: Tx, topics: tuple[bytes, ...], data: bytes) -> Ledger:
        if topics[0] == BOND_SLASHED:
            self.findings.slashed += 1
            if topics[1][12:] in self._honest:
                raise Violation(f"block {block.number}: the bond of an honest operator is slashed")
        event = decode_event(topics, data)
        if isinstance(event, MessageEnqueued):
            self._messages[event.running_hash] = (ledger.inbox, event.message)
            return replace(ledger, inbox=event.running_hash)
        if isinstance(event, BatchPosted):
            return self._posted(ledger, block, event.header, decode_post_batch(tx.data))
        if isinstance(event, BatchesDropped):
            return self._dropped(ledger, block, event)
        if isinstance(event, BatchFinalized):
            for entry in ledger.standing:
                if entry.header.number <= event.number and entry.wrong:
                    raise Violation(f"block {block.number}: wrong batch {entry.header.number} is written down as final")
        return ledger

    def _posted(self, ledger: Ledger, block: Block, header: BatchHeader, batch: PostBatch) -> Ledger:
        parent = ledger.standing[-1]
        wrong = "built on a wrong batch" if parent.wrong else self.judge(parent.header, header, batch)
        entry = Entry(header, wrong, block.number)
        if parent.wrong:
            return replace(ledger, standing=(*ledger.standing, entry), piled=ledger.piled + 1)
        if wrong:
            return replace(ledger, standing=(*ledger.standing, entry), wrong=ledger.wrong + 1)
        return replace(ledger, standing=(*ledger.standing, entry), right=ledger.right + 1)

    def _dropped(self, ledger: Ledger, block: Block, event: BatchesDropped) -> Ledger:
        gone = [entry for entry in ledger.standing if entry.header.number >= event.first]
        for entry in gone:
            if not entry.wrong:
                raise Violation(f"block {block.number}: right batch {entry.header.number} is dropped")
            kind = entry.wrong.partition(":")[0]
            self.findings.wrongs[kind] = self.findings.wrongs.get(kind, 0) + 1
        self.findings.seconds.append(block.timestamp - gone[0].header.posted_at)
        self.findings.provers[event.prover] = self.findings.provers.get(event.prover, 0) + 1
        kept = ledger.standing[: len(ledger.standing) - len(gone)]
        return replace(ledger, standing=kept, dropped=ledger.dropped + len(gone))

    # --- what the contracts say ---------------------------------------------------------------------------------------

    def _ask(self, ledger: Ledger, node: Node, block: Block) -> Ledger:
        def rollup(name: str, *args: Any) -> Any:
            outcome = node.machine.call(NOBODY, self._rollup, encode_call(name, *args))
            assert outcome.success, f"{name}: {outcome.reason}"
            return decode_result(name, outcome.output)

        head = ledger.standing[-1].header
        assert rollup("head_number") == head.number, "the ledger follows the contract"
        assert rollup("header_hash", head.number) == header_hash(head), "the ledger follows the contract"
        final = 0
        for index, entry in enumerate(ledger.standing):
            if (entry.wrong or index == final) and rollup("is_final", header_tuple(entry.header)):
                if entry.wrong:
                    raise Violation(f"block {block.number}: wrong batch {entry.header.number} is final ({entry.wrong})")
                final = index + 1
        kept = max(0, final - 1)  # the last final one stays, as the parent of the next
        for entry in ledger.standing[:kept]:
            self._states.pop(header_hash(entry.header), None)
        balance = node.machine.call(NOBODY, self._token, BALANCE_OF + self._rollup.rjust(32, b"\0"))
        if int.from_bytes(balance.output, "big") < rollup("custody") + rollup("reserved"):
            raise Violation(f"block {block.number}: Rollup holds less than it owes")
        return replace(ledger, standing=ledger.standing[kept:], final=ledger.final + kept)

    # --- the oracle ---------------------------------------------------------------------------------------------------

    def judge(self, parent: BatchHeader, header: BatchHeader, batch: PostBatch) -> str:
        """Why a batch on a right parent is wrong; empty if it is right, and then its state is kept."""
        trie = MemoryTrie(self._states[header_hash(parent)])
        messages = self._consumed(parent, header)

        def message_at(number: int) -> bytes | None:
            place = number - parent.inbox_cursor
            return messages[place] if 0 <= place < len(messages) else None

        engine = Engine(trie, self._domain, message_at, strict=True)
        for index, chunk in enumerate(batch.chunks):
            try:
                _receipts, result = engine.execute_chunk(chunk)
            except InvalidChunk as error:
                return f"invalid chunk: {error}"
            if trie.apply(result.changes) != batch.roots[index]:
                return f"wrong root: of chunk {index}"
        if tuple(state.global_words(engine.globals)) != header.globals:
            return "lying header:"
        self._states[header_hash(header)] = {key: value for key, value in trie.values.items() if value is not None}
        return ""

    def _consumed(self, parent: BatchHeader, header: BatchHeader) -> list[bytes]:
        """Messages that the batch may consume, from the running hash that L1 has compared."""
        found: list[bytes] = []
        running = header.inbox_hash
        for _ in range(header.inbox_cursor - parent.inbox_cursor):
            running, message = self._messages[running]
            found.append(message)
        assert running == parent.inbox_hash, "the inbox of a branch only grows"
        return found[::-1]

    def state_root(self, header: BatchHeader) -> bytes:
        """The root after a right batch, from its leaves."""
        return MemoryTrie(self._states[header_hash(header)]).root()
