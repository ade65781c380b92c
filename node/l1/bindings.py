"""Rollup's ABI in Python: encode calls, decode results, events and the input of `post_batch`. Pure, no network.

Invariant: `decode_post_batch` takes all calldata that the contract takes. Rollup demands the plain ABI layout (every
dynamic part where the plain encoder puts it, nothing else behind it), and this decoder reads the same fixed places, so
nobody can post a batch that the contract reads and a watcher does not. Padding bytes are read by neither.

Addresses and hashes are bytes (20 and 32). tests/contracts/test_rollup_bindings.py compares every signature with the
compiled ABI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from node.errors import Temporary
from node.stf.commitments import (
    CHUNKS_PER_BATCH_MAX,
    GLOBALS_WORDS,
    RULES_VERSION,
    BatchHeader,
    chunks_root,
    decode_header,
    globals_tuple,
    header_hash,
)

CHUNK_BYTES_POSTED_MAX: Final = 24_000
BATCH_BYTES_MAX: Final = 65_536
# a batch that consumes this many messages is never refused for an overdue one
FORCED_PER_BATCH: Final = 64

HEADER: Final = "(uint256,bytes32,uint256,uint256,bytes32,uint256,bytes32,bytes32,uint256[6],uint256,address)"
PARAMS: Final = "(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32,uint256[6],uint256)"
TENURE: Final = "(address,uint256,uint256,uint256,bool)"
SLASH: Final = "(address,uint256,uint256,uint256,uint256)"
CONSTRUCTOR: Final = ("address", "address", PARAMS)

# name → (argument types, result types)
FUNCTIONS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "set_verifier": (("address",), ()),
    "set_courts": (("address", "address", "address"), ()),
    "open": ((), ()),
    "enqueue_admin": (("uint8", "bytes"), ()),
    "propose_admin": (("uint8", "bytes"), ()),
    "execute_admin": (("uint8", "bytes"), ()),
    "cancel_admin": (("bytes32",), ()),
    "offer_admin": (("address",), ()),
    "accept_admin": ((), ()),
    "deposit": (("uint32", "address", "uint256"), ()),
    "deposit_with_permit": (("uint32", "address", "uint256", "uint256", "uint8", "bytes32", "bytes32"), ()),
    "force": (("bytes",), ()),
    "take_seat": (("uint256",), ()),
    "leave_seat": ((), ()),
    "evict": ((), ()),
    "release_bond": ((), ()),
    "claim_reward": ((), ()),
    "post_batch": (
        ("uint256", "bytes32", "uint256", "bytes32", "uint256[6]", "uint256[]", "bytes32[]", "bytes"),
        (),
    ),
    "drop": ((HEADER, HEADER, "address"), ()),
    "finalize": ((HEADER,), ()),
    "notify_paid": (("uint256[]",), ()),
    "withdraw": ((HEADER, "uint256", "address", "uint256", "bytes", "bytes32[]"), ()),
    "freeze": ((), ()),
    "pay_out": (("address", "uint256"), ()),
    "slash_promise": (("uint256", "uint256", "address"), ()),
    "fine_promise": (("uint256",), ()),
    "pay_victim": (("address", "uint256"), ()),
    "transfer_claim": (("uint256", "address", "uint256", "address"), ()),
    "move_claim": (("uint256", "address", "uint256", "address", "address"), ()),
    "header_hash": (("uint256",), ("bytes32",)),
    "is_final": ((HEADER,), ("bool",)),
    "head_number": ((), ("uint256",)),
    "head_position": ((), ("uint256",)),
    "finalized_number": ((), ("uint256",)),
    "verifier": ((), ("address",)),
    "exodus": ((), ("address",)),
    "promise_court": ((), ("address",)),
    "claim_market": ((), ("address",)),
    "frozen_at": ((), ("uint256",)),
    "forced_delay_s": ((), ("uint256",)),
    "inbox_count": ((), ("uint256",)),
    "inbox_hash_at": (("uint256",), ("bytes32",)),
    "inbox_time_s": (("uint256",), ("uint256",)),
    "is_paid": (("uint256",), ("bool",)),
    "claim_owner": (("uint256", "address", "uint256"), ("address",)),
    "seat_holder": ((), ("address",)),
    "seat_epoch": ((), ("uint256",)),
    "vacant_since": ((), ("uint256",)),
    "tenure": (("uint256",), (TENURE,)),
    "slash_count": ((), ("uint256",)),
    "slash_at": (("uint256",), (SLASH,)),
    "bond_of": (("address",), ("(uint256,uint256,uint256)",)),
    "reward_of": (("address",), ("uint256",)),
    "victims_pot": ((), ("uint256",)),
    "burned": ((), ("uint256",)),
    "custody": ((), ("uint256",)),
    "reserved": ((), ("uint256",)),
    "token": ((), ("address",)),
    "admin": ((), ("address",)),
    "is_open": ((), ("bool",)),
    "proposal_executable_at": (("bytes32",), ("uint256",)),
    "params": ((), (PARAMS,)),
}

# name → (indexed types, data types), in the order of the event's arguments
EVENTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "MessageEnqueued": (("uint256",), ("bytes32", "bytes")),
    "BatchPosted": (("uint256", "bytes32"), (HEADER,)),
    "BatchesDropped": (("uint256",), ("uint256", "address")),
    "BatchFinalized": (("uint256",), ()),
    "Withdrawn": (("uint256", "address"), ("uint256",)),
    "ClaimTransferred": (("uint256", "address"), ("address", "uint256")),
    "SeatTaken": (("address", "uint256"), ("uint256",)),
    "SeatLeft": (("address", "uint256"), ()),
    "BondReleased": (("address",), ("uint256",)),
    "BondSlashed": (("address", "address"), ("uint256", "uint256")),
    "VerifierSet": (("address",), ()),
    "CourtsSet": (("address", "address"), ("address",)),
    "Frozen": ((), ("uint256",)),
    "Opened": ((), ()),
    "AdminProposed": (("bytes32",), ("uint256", "uint8", "bytes")),
    "AdminCancelled": (("bytes32",), ()),
    "AdminExecuted": (("bytes32",), ()),
    "AdminOffered": (("address",), ()),
    "AdminChanged": (("address",), ()),
}


class BadEncoding(ValueError):
    """Bytes from L1 are not what Rollup emits or accepts; the message names the part."""


class NoAnswer(BadEncoding, Temporary):
    """A view answered nothing at all: there is no contract, as far as this node knows now. Where the contract is known
    to be there, the node is behind, or in the middle of a reorganisation: ask again."""


def signature(name: str) -> str:
    """`deposit(uint32,address,uint256)`. Raises KeyError for a function that Rollup has not."""
    return f"{name}({','.join(FUNCTIONS[name][0])})"


def selector(name: str) -> bytes:
    """The first four bytes of a function's calldata."""
    return keccak(signature(name).encode())[:4]


def topic(name: str) -> bytes:
    """Topic 0 of an event."""
    indexed, plain = EVENTS[name]
    return keccak(f"{name}({','.join(indexed + plain)})".encode())


def encode_call(name: str, *args: Any) -> bytes:
    """Calldata of a call. Headers may be given as `BatchHeader`, addresses as 20 bytes or hex text."""
    kinds = FUNCTIONS[name][0]
    return selector(name) + encode(kinds, [header_tuple(a) if isinstance(a, BatchHeader) else a for a in args])


def decode_result(name: str, data: bytes) -> Any:
    """The decoded result of a view: one value (addresses as 20 bytes), a tuple for a struct, None for none.

    Raises BadEncoding, typically because no Rollup is deployed at the called address (NoAnswer: nothing is).
    """
    kinds = FUNCTIONS[name][1]
    if not kinds:
        return None
    if not data:
        raise NoAnswer(f"{signature(name)} answered 0 bytes; is a Rollup at this address?")
    try:
        (value,) = decode(kinds, data)
    except Exception as error:
        answer = f"{len(data)} bytes that do not decode ({error})"
        raise BadEncoding(f"{signature(name)} answered {answer}; is a Rollup at this address?") from error
    return _address_bytes(value) if kinds == ("address",) else value


def encode_constructor(token: bytes | str, admin: bytes | str, params: RollupParams) -> bytes:
    """Constructor arguments, to be appended to the initcode."""
    return encode(CONSTRUCTOR, [token, admin, params.as_tuple()])


@dataclass(frozen=True, slots=True)
class RollupParams:
    """Rollup's immutable parameters. Times in L1 seconds, amounts in micro-USD."""

    challenge_window_s: int
    bond_min: int
    bond_delay_s: int
    seat_idle_s: int
    force_delay_s: int
    force_fee: int
    deposit_min: int
    timelock_s: int
    l2_chain_id: int
    genesis_root: bytes
    genesis_globals: tuple[int, int, int, int, int, int]
    force_floor_s: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The constructor's struct."""
        return (
            self.challenge_window_s,
            self.bond_min,
            self.bond_delay_s,
            self.seat_idle_s,
            self.force_delay_s,
            self.force_fee,
            self.deposit_min,
            self.timelock_s,
            self.l2_chain_id,
            self.genesis_root,
            self.genesis_globals,
            self.force_floor_s,
        )


def header_tuple(header: BatchHeader) -> tuple[Any, ...]:
    """The ABI's struct value."""
    return (
        header.number,
        header.parent,
        header.rules,
        header.inbox_cursor,
        header.inbox_hash,
        header.chunk_count,
        header.chunks_root,
        header.post_root,
        header.globals,
        header.posted_at,
        header.poster,
    )


# --------------------------------------------------------------------------------------------------------- post_batch


@dataclass(frozen=True, slots=True)
class PostBatch:
    """The arguments of `post_batch`: chunk i's bytes with the state root claimed after it."""

    number: int
    parent: bytes
    inbox_cursor: int
    inbox_hash: bytes
    globals: tuple[int, int, int, int, int, int]
    chunks: tuple[bytes, ...]
    roots: tuple[bytes, ...]


def encode_post_batch(batch: PostBatch) -> bytes:
    """Calldata of `post_batch`. Raises ValueError for a batch that Rollup would refuse for its form."""
    check_post_batch(batch)
    return encode_call(
        "post_batch",
        batch.number,
        batch.parent,
        batch.inbox_cursor,
        batch.inbox_hash,
        batch.globals,
        [len(chunk) for chunk in batch.chunks],
        batch.roots,
        b"".join(batch.chunks),
    )


def check_post_batch(batch: PostBatch) -> None:
    """Raise ValueError naming the limit that the batch breaks."""
    if not 0 < len(batch.chunks) <= CHUNKS_PER_BATCH_MAX or len(batch.chunks) != len(batch.roots):
        raise ValueError(
            f"{len(batch.chunks)} chunks and {len(batch.roots)} roots: need 1 to {CHUNKS_PER_BATCH_MAX}, one root each"
        )
    for index, chunk in enumerate(batch.chunks):
        if not 0 < len(chunk) <= CHUNK_BYTES_POSTED_MAX:
            raise ValueError(f"chunk {index} has {len(chunk)} bytes: need 1 to {CHUNK_BYTES_POSTED_MAX}")
    total = sum(len(chunk) for chunk in batch.chunks)
    if total > BATCH_BYTES_MAX:
        raise ValueError(f"the chunks have {total} bytes together: at most {BATCH_BYTES_MAX} fit a batch")


_HEAD_WORDS: Final = 7 + GLOBALS_WORDS


def decode_post_batch(calldata: bytes) -> PostBatch:
    """The inverse of `encode_post_batch`, for any input that Rollup accepted. Raises BadEncoding otherwise."""
    if calldata[:4] != selector("post_batch"):
        raise BadEncoding(f"selector 0x{calldata[:4].hex()} is not post_batch")
    lengths = _words(calldata, _HEAD_WORDS * 32, "lengths")
    roots_at = (_HEAD_WORDS + 1 + len(lengths)) * 32
    roots = _words(calldata, roots_at, "roots")
    if not 0 < len(lengths) <= CHUNKS_PER_BATCH_MAX or len(lengths) != len(roots):
        raise BadEncoding(f"{len(lengths)} lengths and {len(roots)} roots")
    chunks_at = roots_at + 32 * (1 + len(roots))
    if [_uint(calldata, 32 * word) for word in (10, 11, 12)] != [_HEAD_WORDS * 32, roots_at, chunks_at]:
        raise BadEncoding("the dynamic parts do not stand where the plain encoder puts them")
    size = _uint(calldata, chunks_at)
    start = 4 + chunks_at + 32
    if len(calldata) != start + (size + 31) // 32 * 32 or sum(map(_to_int, lengths)) != size:
        raise BadEncoding(f"{len(calldata)} bytes of calldata do not fit chunks of {size} bytes")
    chunks: list[bytes] = []
    for length in map(_to_int, lengths):
        chunks.append(calldata[start : start + length])
        start += length
    batch = PostBatch(
        number=_uint(calldata, 0),
        parent=_bytes32(calldata, 32),
        inbox_cursor=_uint(calldata, 64),
        inbox_hash=_bytes32(calldata, 96),
        globals=globals_tuple([_uint(calldata, 32 * word) for word in range(4, 4 + GLOBALS_WORDS)]),
        chunks=tuple(chunks),
        roots=tuple(roots),
    )
    try:
        check_post_batch(batch)
    except ValueError as error:
        raise BadEncoding(str(error)) from None
    return batch


def header_of(batch: PostBatch, posted_at: int, poster: bytes) -> BatchHeader:
    """The header that Rollup stores for this posting at L1 time `posted_at` (seconds)."""
    return BatchHeader(
        number=batch.number,
        parent=batch.parent,
        rules=RULES_VERSION,
        inbox_cursor=batch.inbox_cursor,
        inbox_hash=batch.inbox_hash,
        chunk_count=len(batch.chunks),
        chunks_root=chunks_root(batch.chunks, batch.roots),
        post_root=batch.roots[-1],
        globals=batch.globals,
        posted_at=posted_at,
        poster=poster,
    )


# ------------------------------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class MessageEnqueued:
    """`message` is the encoded message (commitments.decode_message); `running_hash` is the inbox hash after it."""

    number: int
    running_hash: bytes
    message: bytes


@dataclass(frozen=True, slots=True)
class BatchPosted:
    """A batch's header; its chunks are in the transaction's input (`decode_post_batch`)."""

    header_hash: bytes
    header: BatchHeader


@dataclass(frozen=True, slots=True)
class BatchesDropped:
    """Batches from number `first` on are gone; `head` is the surviving head."""

    first: int
    head: int
    prover: bytes


@dataclass(frozen=True, slots=True)
class BatchFinalized:
    """Batch `number` and all before it are final."""

    number: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Withdrawal `id` was paid to `payee` (micro-USD)."""

    id: int
    payee: bytes
    amount: int


Event: TypeAlias = MessageEnqueued | BatchPosted | BatchesDropped | BatchFinalized | Withdrawn

DERIVATION_EVENTS: Final = ("MessageEnqueued", "BatchPosted", "BatchesDropped")


def decode_event(topics: Sequence[bytes], data: bytes) -> Event | None:
    """The typed event of a Rollup log; None for an event that has no class above. Raises BadEncoding if malformed."""
    if not topics:
        return None
    decoder = _DECODERS.get(bytes(topics[0]))
    if decoder is None:
        return None
    try:
        return decoder([bytes(t) for t in topics[1:]], bytes(data))
    except BadEncoding:
        raise
    except Exception as error:
        raise BadEncoding(f"log with topic 0x{bytes(topics[0]).hex()} does not decode: {error}") from error


def _message_enqueued(topics: list[bytes], data: bytes) -> MessageEnqueued:
    running_hash, message = decode(EVENTS["MessageEnqueued"][1], data)
    return MessageEnqueued(_to_int(topics[0]), running_hash, message)


def _batch_posted(topics: list[bytes], data: bytes) -> BatchPosted:
    header = decode_header(data)
    if header_hash(header) != topics[1] or header.number != _to_int(topics[0]):
        raise BadEncoding(f"BatchPosted {_to_int(topics[0])}: the header does not have the hash in its topic")
    return BatchPosted(topics[1], header)


def _batches_dropped(topics: list[bytes], data: bytes) -> BatchesDropped:
    head, prover = decode(EVENTS["BatchesDropped"][1], data)
    return BatchesDropped(_to_int(topics[0]), head, _address_bytes(prover))


def _batch_finalized(topics: list[bytes], data: bytes) -> BatchFinalized:
    return BatchFinalized(_to_int(topics[0]))


def _withdrawn(topics: list[bytes], data: bytes) -> Withdrawn:
    return Withdrawn(_to_int(topics[0]), topics[1][12:], _to_int(data))


_DECODERS: Final[dict[bytes, Callable[[list[bytes], bytes], Event]]] = {
    topic("MessageEnqueued"): _message_enqueued,
    topic("BatchPosted"): _batch_posted,
    topic("BatchesDropped"): _batches_dropped,
    topic("BatchFinalized"): _batch_finalized,
    topic("Withdrawn"): _withdrawn,
}


# -------------------------------------------------------------------------------------------------------------- words


def _to_int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _bytes32(calldata: bytes, at: int) -> bytes:
    """The argument word at byte `at`, counted behind the selector."""
    word = calldata[4 + at : 36 + at]
    if len(word) != 32:
        raise BadEncoding(f"calldata ends before argument byte {at + 32}")
    return word


def _uint(calldata: bytes, at: int) -> int:
    return _to_int(_bytes32(calldata, at))


def _words(calldata: bytes, at: int, what: str) -> list[bytes]:
    """The words of the array whose count stands at `at`."""
    count = _uint(calldata, at)
    if count > CHUNKS_PER_BATCH_MAX:
        raise BadEncoding(f"{count} {what}: at most {CHUNKS_PER_BATCH_MAX}")
    return [_bytes32(calldata, at + 32 * (1 + i)) for i in range(count)]


def _address_bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])
