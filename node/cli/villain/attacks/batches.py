"""Batches that L1 must refuse, or that it cannot refuse and somebody must prove wrong; bytes that nobody could watch.

A refused batch costs its sender the gas of the attempt and nobody anything else, and the honest batch that it was made
from is as welcome afterwards as before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from eth_hash.auto import keccak

from node.cli.villain.catalogue import BOND, SCENE, TENTH, TRADING, attack
from node.cli.villain.draft import Draft
from node.cli.villain.field import Field
from node.cli.villain.l1 import NO_REASON
from node.l1.bindings import CHUNK_BYTES_POSTED_MAX, PostBatch, encode_call
from node.stf import encoding
from node.stf.commitments import globals_tuple, pack_position, unpack_position
from node.stf.transition import INVALID_ROOT

WORD: Final = 32
ANY_ROOT: Final = b"\x17" * 32


def raw(batch: PostBatch, **parts: Any) -> bytes:
    """Calldata of a batch without the encoder's checks; ``lengths`` and ``joined`` may lie about the chunks."""
    lengths = parts.get("lengths", [len(chunk) for chunk in batch.chunks])
    return encode_call("post_batch", batch.number, batch.parent, batch.inbox_cursor, batch.inbox_hash, batch.globals,
                       lengths, batch.roots, parts.get("joined", b"".join(batch.chunks)))


def moved(batch: PostBatch, **fields: int) -> PostBatch:
    """The batch with its header's place (time, block, position) changed, and nothing else."""
    place = replace(unpack_position(batch.globals[0]), **fields)
    return replace(batch, globals=globals_tuple([pack_position(place), *batch.globals[1:]]))


async def refused_then_honest(field: Field, draft: Draft, data: bytes, *reasons: str) -> str:
    """L1 refuses the calldata for one of these reasons, changes nothing, and takes the honest batch."""
    head = await field.ask("head_number")
    said, _receipt = await field.l1.must_fail(field.operator.actor, field.rollup, data)
    field.check(said.split(":")[0] in reasons, f"L1 answered {said!r}, expected: {' or '.join(reasons)}")
    field.check(await field.ask("head_number") == head, "a refused batch moved the head")
    posted = await field.operator.post(draft.batch(), draft)
    await field.stands(posted)
    return said


async def falls(field: Field, wrong: PostBatch, draft: Draft) -> str:
    """L1 cannot know better and takes the batch; a watchtower proves it wrong."""
    posted = await field.operator.post(wrong, draft)
    drop = await field.fallen(posted)
    return f"disproved with {drop.gas_used:,} gas"


def refusal(name: str, summary: str, make: Callable[[Draft], bytes], *reasons: str) -> None:
    """Register an attack that L1 refuses."""
    async def play(field: Field) -> str:
        draft = await field.trade()
        return await refused_then_honest(field, draft, make(draft), *reasons)

    attack("batches", summary, name=name, needs={SCENE}, apart=TRADING)(play)


def fraud(name: str, summary: str, make: Callable[[Draft], PostBatch]) -> None:
    """Register an attack that costs the bond."""
    async def play(field: Field) -> str:
        draft = await field.trade()
        return await falls(field, make(draft), draft)

    attack("batches", summary, name=name, needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH},
           proofs=1)(play)


# --- form -------------------------------------------------------------------------------------------------------------


def _with_gap(draft: Draft) -> bytes:
    """The chunks' bytes one word further back, their offset corrected: valid ABI, but not the plain layout."""
    data = raw(draft.batch())
    at = 4 + 12 * WORD
    offset = int.from_bytes(data[at : at + WORD], "big")
    moved_back = data[:at] + (offset + WORD).to_bytes(WORD, "big") + data[at + WORD :]
    cut = 4 + offset
    return moved_back[:cut] + bytes(WORD) + moved_back[cut:]


def _more_chunks(draft: Draft) -> bytes:
    honest = draft.batch()
    extra = 257 - len(honest.chunks)
    return raw(replace(honest, chunks=honest.chunks + (b"\x02\x00",) * extra, roots=honest.roots + (ANY_ROOT,) * extra))


def _long_chunk(draft: Draft) -> bytes:
    honest = draft.batch()
    chunk = b"\x02\x00" * (CHUNK_BYTES_POSTED_MAX // 2) + b"\x02"
    return raw(replace(honest, chunks=(*honest.chunks, chunk), roots=(*honest.roots, ANY_ROOT)))


def _too_long(draft: Draft) -> bytes:
    honest = draft.batch()
    long = (b"\x02\x00" * 11_000,) * 3
    return raw(replace(honest, chunks=honest.chunks + long, roots=honest.roots + (ANY_ROOT,) * 3))


def _phantom(draft: Draft) -> bytes:
    honest = draft.batch()
    return raw(replace(honest, chunks=(*honest.chunks, b""), roots=(*honest.roots, honest.roots[-1])))


def _short_of_a_byte(draft: Draft) -> bytes:
    honest = draft.batch()
    lengths = [len(chunk) for chunk in honest.chunks]
    return raw(honest, lengths=[*lengths[:-1], lengths[-1] + 1])


refusal("truncated-calldata", "Cut the last word off the calldata: the chunks end in the middle.",
        lambda draft: raw(draft.batch())[:-WORD], "CALLDATA", NO_REASON)
refusal("truncated-chunks", "Name a length that the posted bytes do not have.", _short_of_a_byte,
        "CHUNK_BYTES", NO_REASON)
refusal("trailing-calldata", "Append a word behind the calldata, where a decoder might look.",
        lambda draft: raw(draft.batch()) + bytes(WORD), "CALLDATA")
refusal("shifted-calldata", "Put the chunks where the ABI allows and a watcher does not look.", _with_gap, "CALLDATA")
refusal("empty-batch", "Post no chunk at all.",
        lambda draft: raw(replace(draft.batch(), chunks=(), roots=())), "CHUNKS")
refusal("too-many-chunks", "Post 257 chunks.", _more_chunks, "CHUNKS", NO_REASON)
refusal("too-long-a-chunk", "Post a chunk of 24,001 bytes.", _long_chunk, "CHUNK_BYTES")
refusal("oversized-batch", "Post 66,000 bytes of chunks more than honest ones.", _too_long, "CHUNK_BYTES", NO_REASON)
refusal("phantom-last-chunk", "End with a chunk of no bytes, which claims that nothing happened.", _phantom,
        "CHUNK_BYTES")
refusal("invalid-as-a-root", "Claim the root that the rules keep for INVALID chunks.",
        lambda draft: raw(replace(draft.batch(), roots=(*draft.batch().roots[:-1], INVALID_ROOT))), "POST_ROOT")
refusal("zero-as-a-root", "Claim the root of nothing.",
        lambda draft: raw(replace(draft.batch(), roots=(*draft.batch().roots[:-1], bytes(32)))), "POST_ROOT")

# --- place ------------------------------------------------------------------------------------------------------------

refusal("wrong-inbox-hash", "Commit to another inbox than L1's.",
        lambda draft: raw(replace(draft.batch(), inbox_hash=b"\x17" * 32)), "INBOX_HASH")
refusal("inbox-beyond-its-end", "Claim to have consumed messages that L1 does not have.",
        lambda draft: _cursor(draft, 1_000), "INBOX_CURSOR")
refusal("inbox-backwards", "Claim an inbox cursor before the parent's.",
        lambda draft: _cursor(draft, -draft.batch().inbox_cursor), "INBOX_CURSOR")
refusal("batch-on-a-wrong-parent", "Build on a parent that L1 does not have.",
        lambda draft: raw(replace(draft.batch(), parent=keccak(b"another branch"))), "PARENT")
refusal("batch-number-skipped", "Skip a batch number.",
        lambda draft: raw(replace(draft.batch(), number=draft.batch().number + 1)), "PARENT")
refusal("time-ahead-of-l1", "Claim an L2 time in L1's future, to expire orders and move funding early.",
        lambda draft: raw(moved(draft.batch(), l2_time_ms=(draft.l1_time_s + 3_600) * 1_000)), "L2_TIME")
refusal("time-backwards", "Claim an L2 time before the parent's.",
        lambda draft: raw(moved(draft.batch(), l2_time_ms=unpack_position(draft.parent.globals[0]).l2_time_ms - 1)),
        "L2_TIME")
refusal("time-standing-still", "Claim the parent's L2 time once more.",
        lambda draft: raw(moved(draft.batch(), l2_time_ms=unpack_position(draft.parent.globals[0]).l2_time_ms)),
        "L2_TIME")


def _cursor(draft: Draft, step: int) -> bytes:
    honest = draft.batch()
    cursor = honest.inbox_cursor + step
    return raw(replace(moved(honest, inbox_cursor=cursor), inbox_cursor=cursor))


# --- what L1 cannot refuse --------------------------------------------------------------------------------------------


def _with_chunk(draft: Draft, chunk: bytes, root: bytes | None = None) -> PostBatch:
    """The honest batch with one more chunk, which claims to have changed nothing."""
    honest = draft.batch()
    return replace(honest, chunks=(*honest.chunks, chunk), roots=(*honest.roots, root or honest.roots[-1]))


def _silent_message(draft: Draft) -> PostBatch:
    """A chunk that consumes a message; the header says that nobody did, so that it can be consumed once more."""
    return _with_chunk(draft, encoding.INBOX_TX)


fraud("block-time-standing-still", "Open a block at the time of the last one, so that nothing ages.",
      lambda draft: _with_chunk(draft, encoding.write_block(0)))
fraud("block-in-the-future", "Open a block an hour ahead of L1 and claim in the header that it was now.",
      lambda draft: _with_chunk(draft, encoding.write_block(3_600_000)))
fraud("header-of-another-block", "Claim a block number that no chunk opened.",
      lambda draft: moved(draft.batch(), block_number=unpack_position(draft.batch().globals[0]).block_number + 1))
fraud("header-of-another-position", "Claim more transactions than were executed, to promise their places to others.",
      lambda draft: moved(draft.batch(), tx_position=unpack_position(draft.batch().globals[0]).tx_position + 1))
fraud("chunk-posted-twice", "Repeat the last chunk and claim that it had no effect.",
      lambda draft: _with_chunk(draft, draft.chunks[-1] if draft.chunks else b""))
fraud("message-consumed-in-silence", "Consume a message that the header leaves unconsumed.", _silent_message)
fraud("chunk-of-noise", "Append bytes that are no transaction.", lambda draft: _with_chunk(draft, b"\xff" * 64))
