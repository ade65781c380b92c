"""Evidence that a promise was broken, from what a trader keeps and what L1 shows.

A promise names a transaction's position; a batch's chunk starts at the position that the ``G`` leaf before it names.
From there the contract walks the chunk's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from node.derive.promises import Promise, SignedPromise
from node.derive.replay import PostedBatch
from node.l1 import courts
from node.l1.courts import PROMISE_COURT
from node.stf import state, witness
from node.stf.commitments import BatchHeader, chunk_leaves, list_proof
from node.stf.trie import TrieView, keccak


@dataclass(frozen=True, slots=True)
class KeptPromise:
    """What a trader keeps of an answer: the promise, its transaction's place and hash, and the path to the root."""

    signed: SignedPromise
    position: int
    tx_hash: bytes
    path: Sequence[bytes]

    @property
    def entry(self) -> tuple[Any, ...]:
        """The contract's struct."""
        return self.position, self.tx_hash, list(self.path)


def promise_tuple(signed: SignedPromise) -> tuple[Any, ...]:
    """The contract's struct: promise and signature."""
    promise: Promise = signed.promise
    signature = signed.signature
    return (
        promise.epoch, promise.first_position, promise.count, promise.time, promise.previous, promise.root,
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64],
    )


def conflict(
    kept: KeptPromise, batch: PostedBatch, parent: BatchHeader, index: int, before: TrieView
) -> bytes:
    """Calldata of prove_conflict: chunk ``index`` of the batch has another transaction at the promised position.

    ``before``: the state that the chunk starts from.
    """
    leaves = chunk_leaves(batch.chunks, batch.roots)
    previous: tuple[Any, ...] = (bytes(32), bytes(32), [])
    if index:
        previous = (keccak(batch.chunks[index - 1]), batch.roots[index - 1], list_proof(leaves, index - 1))
    path = witness.build_path(before, state.GLOBAL_KEY)
    words = [int.from_bytes(path.value[at : at + 32], "big") for at in range(0, len(path.value), 32)]
    return courts.encode_call(
        PROMISE_COURT, "prove_conflict", promise_tuple(kept.signed), kept.entry, batch.header, parent,
        (index, batch.roots[index], list_proof(leaves, index), *previous), batch.chunks[index], words, path.bits,
        path.siblings)


def equivocation(one: KeptPromise, other: KeptPromise) -> bytes:
    """Calldata of prove_equivocation: both promise the same position of one tenure to different transactions."""
    return courts.encode_call(
        PROMISE_COURT, "prove_equivocation", promise_tuple(one.signed), one.entry, promise_tuple(other.signed),
        other.entry)


def late(signed: SignedPromise) -> bytes:
    """Calldata of prove_late."""
    return courts.encode_call(PROMISE_COURT, "prove_late", promise_tuple(signed))


def claim(slash: int, kept: KeptPromise, time_ms: int, transaction: bytes) -> bytes:
    """Calldata of claim: a part of a slash's pot for the signer of ``transaction``, executed at L2 time ``time_ms``."""
    return courts.encode_call(
        PROMISE_COURT, "claim", slash, promise_tuple(kept.signed), kept.position, time_ms, transaction, list(kept.path))
