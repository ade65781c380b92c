"""Fraud proofs: from a batch that disagrees with the rules to the calldata of one L1 transaction.

    evidence = the posted batch, its parent, the state before it, the inbox
    proof    = prove_chunk(first chunk whose posted root is not the rules' own) or prove_header(the G leaf)

The prover trusts nobody's verdict, the verifier's included: it executes the batch again, chunk by chunk, with getters
that return copies as the contract's do, and stops at the first chunk that differs. Everything before it is then what
the batch itself claims, so the chunk's old root is the predecessor's posted one, as FraudVerifier wants it. Of that
chunk it keeps what execution touched and observed (where it stopped, if the chunk is INVALID), and shows exactly that.

Every proof is checked before it leaves this module: the witness is verified against the old root by the Python twin of
the contract's verifier, and must lead to the root that execution led to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.derive.chain import Chain
from node.derive.inbox import Inbox
from node.derive.replay import Dispute, Fraud, PostedBatch
from node.errors import Critical
from node.l1.bindings import HEADER, header_tuple
from node.stf import state, witness
from node.stf.commitments import BatchHeader, chunk_leaves, header_hash, list_proof
from node.stf.engine import ChunkResult, Engine
from node.stf.transition import INVALID_ROOT, InvalidChunk
from node.stf.trie import MemoryTrie, TrieView

PLACE: Final = "(uint256,bytes32,bytes32[])"
PREDECESSOR: Final = "(bytes32,bytes32,bytes32[])"
PROVE_CHUNK: Final = (HEADER, HEADER, PLACE, PREDECESSOR, "bytes", "bytes", "bytes")
PROVE_HEADER: Final = (HEADER, HEADER, "uint256[6]", "bytes", "bytes32[]")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a proof is made from. ``view``: the state before the batch; ``message_at`` gives every inbox message."""

    batch: PostedBatch
    parent: BatchHeader
    view: TrieView
    domain: bytes
    message_at: Callable[[int], bytes | None]

    @property
    def header_hash(self) -> bytes:
        """The batch's name on L1."""
        return header_hash(self.batch.header)

    @property
    def name(self) -> str:
        """One name per posted batch: a number posted anew after a rollback is another batch."""
        return f"fraud-{self.batch.header.number}-{self.header_hash.hex()}"


@dataclass(frozen=True, slots=True)
class Proof:
    """Calldata for FraudVerifier, and what it shows. ``true``: the right post-root (INVALID_ROOT: there is none)."""

    kind: Fraud
    chunk: int
    calldata: bytes
    true: bytes
    leaves: int
    witness_bytes: int


def gather(dispute: Dispute, chain: Chain, inbox: Inbox) -> Evidence:
    """Evidence of a dispute, unaffected by whatever the chain does later."""
    view = chain.store.at_block(dispute.base_block)
    return Evidence(dispute.batch, dispute.parent, view, chain.domain, inbox.message)


def prove(evidence: Evidence) -> Iterator[Proof | None]:
    """Execute the batch and prove what is wrong with it: None between chunks, the proof last.

    Raises Critical if nothing is wrong, or if the evidence does not start from the parent's root.
    """
    header = evidence.batch.header
    if evidence.view.root() != evidence.parent.post_root:
        raise Critical(f"the state before batch {header.number} has root 0x{evidence.view.root().hex()}, its parent "
                       f"0x{evidence.parent.post_root.hex()}: this is not the state that the batch builds on")
    overlay = MemoryTrie(base=evidence.view)

    def message_at(number: int) -> bytes | None:
        return evidence.message_at(number) if number < header.inbox_cursor else None

    engine = Engine(overlay, evidence.domain, message_at, strict=True)
    for index, chunk in enumerate(evidence.batch.chunks):
        cursor = engine.globals.cursor
        result, valid = _execute(engine, chunk)
        root = MemoryTrie(base=overlay).apply(result.changes) if valid else INVALID_ROOT
        if root != evidence.batch.roots[index]:
            messages = _consumed(message_at, cursor, engine.globals.cursor + (0 if valid else 1))
            yield _chunk_proof(evidence, index, overlay, result, root, messages)
            return
        overlay.apply(result.changes)
        yield None
    yield _header_proof(evidence, overlay)


def accuse(evidence: Evidence, index: int) -> Proof:
    """What shows chunk ``index`` to L1, right or wrong: about a right one L1 answers NO_FRAUD. The chunks before it
    must be right. Raises Critical as ``prove`` does."""
    overlay = MemoryTrie(base=evidence.view)
    end = evidence.batch.header.inbox_cursor
    engine = Engine(overlay, evidence.domain, lambda n: evidence.message_at(n) if n < end else None, strict=True)
    for chunk in evidence.batch.chunks[:index]:
        overlay.apply(_execute(engine, chunk)[0].changes)
    cursor = engine.globals.cursor
    result, valid = _execute(engine, evidence.batch.chunks[index])
    root = MemoryTrie(base=overlay).apply(result.changes) if valid else INVALID_ROOT
    messages = _consumed(evidence.message_at, cursor, engine.globals.cursor + (0 if valid else 1))
    return _chunk_proof(evidence, index, overlay, result, root, messages)


def finish(steps: Iterator[Proof | None]) -> Proof:
    """Run ``prove`` to its end at once."""
    for step in steps:
        if step is not None:
            return step
    raise Critical("a proof ended without a result: report this with the batch")


def _execute(engine: Engine, chunk: bytes) -> tuple[ChunkResult, bool]:
    """A chunk's books and whether it is valid; of an INVALID one, the books where execution stopped."""
    try:
        _receipts, result = engine.execute_chunk(chunk)
    except InvalidChunk:
        return engine.end_chunk(), False
    return result, True


def _consumed(message_at: Callable[[int], bytes | None], first: int, end: int) -> list[bytes]:
    found = [message_at(number) for number in range(first, end)]
    return [message for message in found if message is not None]


def pack_messages(messages: Sequence[bytes]) -> bytes:
    """Messages as FraudVerifier takes them: size:2 and bytes of each."""
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def selector(name: str, kinds: Sequence[str]) -> bytes:
    """The first four bytes of a FraudVerifier call."""
    return keccak(f"{name}({','.join(kinds)})".encode())[:4]


# --- one wrong chunk --------------------------------------------------------------------------------------------------


def _chunk_proof(
    evidence: Evidence, index: int, before: TrieView, result: ChunkResult, root: bytes, messages: Sequence[bytes]
) -> Proof:
    shown = witness.build(before, result.touched, result.ranges)
    _check(shown, before.root(), result, root)
    packed = witness.encode(shown)
    batch = evidence.batch
    leaves = chunk_leaves(batch.chunks, batch.roots)
    claim = (index, batch.roots[index], list_proof(leaves, index))
    previous: tuple[Any, ...] = (bytes(32), bytes(32), [])
    if index:
        previous = (keccak(batch.chunks[index - 1]), batch.roots[index - 1], list_proof(leaves, index - 1))
    arguments = (
        header_tuple(batch.header), header_tuple(evidence.parent), claim, previous, batch.chunks[index],
        pack_messages(messages), packed,
    )
    kind = Fraud.INVALID if root == INVALID_ROOT else Fraud.ROOT
    calldata = selector("prove_chunk", PROVE_CHUNK) + encode(PROVE_CHUNK, arguments)
    return Proof(kind, index, calldata, root, len(shown.leaves), len(packed))


def _check(shown: witness.Witness, old_root: bytes, result: ChunkResult, root: bytes) -> None:
    """The witness proves what execution read, and leads to its root. Raises Critical: rules or store are bad."""
    changes = {} if root == INVALID_ROOT else result.changes
    expected = old_root if root == INVALID_ROOT else root
    try:
        found = witness.verify(shown, old_root, changes, result.ranges)
    except witness.BadWitness as error:
        raise Critical(f"our own witness does not verify ({error}): the state is damaged, derive anew") from error
    if found != expected:
        raise Critical(f"our own witness leads to 0x{found.hex()}, execution to 0x{expected.hex()}: report this")


# --- a lying header ---------------------------------------------------------------------------------------------------


def _header_proof(evidence: Evidence, after: TrieView) -> Proof:
    """All chunks are right, so the header's mirror of G must be wrong, or nothing is."""
    header = evidence.batch.header
    path = witness.build_path(after, state.GLOBAL_KEY)
    words = [int.from_bytes(path.value[at : at + 32], "big") for at in range(0, len(path.value), 32)]
    if tuple(words) == header.globals:
        raise Critical(f"batch {header.number} is right: there is no fraud to prove")
    folded = witness.fold_path(state.GLOBAL_KEY, keccak(path.value), path.bits, path.siblings)
    if folded != header.post_root:
        raise Critical(f"the path of G folds to 0x{folded.hex()}, not to the batch's root: the state is damaged")
    arguments = (header_tuple(header), header_tuple(evidence.parent), words, path.bits, path.siblings)
    calldata = selector("prove_header", PROVE_HEADER) + encode(PROVE_HEADER, arguments)
    index = len(evidence.batch.chunks) - 1
    return Proof(Fraud.HEADER, index, calldata, header.post_root, 1, 33 * len(path.siblings))
