"""The L2 chain on disk: state, blocks, receipts, messages and batches of one rollup, one atomic write per block.

    chain = Chain.open(kv, domain)              at genesis, or where the last write left it
    engine = chain.engine(message_at)           the rules over the committed state
    chunk = execute_chunk(engine, data)         as posted; raises InvalidChunk
    sealed = chain.seal([chunk, ...])           roots, header, receipts: nothing is written
    chain.commit(sealed, messages)              trie, block and indexes, together or not at all
    chain.rollback(number)                      exactly the state after that block

Invariants: the head block's state root is the trie's root; positions, block numbers and times rise; money is conserved
after every block:  accounts + insurance + fees - losses = deposits - withdrawn  (the totals of the G leaf).

Records stand in the tables of node.storage.chain_store: header, chunks and receipts by block number, numbers by block
hash, positions by transaction hash, inbox messages and batches by number, facts by name.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.derive.blocks import (
    ZERO32,
    Block,
    BlockHeader,
    Chunk,
    Outcome,
    decode_chunks,
    decode_header,
    decode_outcomes,
    encode_chunks,
    encode_header,
    encode_outcomes,
    header_hash,
)
from node.derive.records import BatchRecord, Recent, decode_batch, encode_batch, named, rebase, slices
from node.errors import Critical
from node.stf import commitments, encoding, state, transition
from node.stf.engine import ChunkResult, Engine, genesis_leaves
from node.stf.params import CHUNK_BYTES_MAX
from node.stf.transition import InvalidChunk
from node.stf.trie import MemoryTrie, keccak
from node.stf.types import Receipt
from node.storage.chain_store import ChainStore, Table, row_key
from node.storage.kv import KV, Change, prefix_end
from node.storage.trie_store import TrieStore

__all__ = [
    "BatchRecord", "Chain", "ExecutedChunk", "SealedBlock", "StoredTransaction", "check_conservation", "execute_chunk",
    "rebase",
]

_CACHED_BLOCKS: Final = 64


@dataclass(frozen=True, slots=True)
class ExecutedChunk:
    """A chunk that the rules accepted: its bytes, each transaction's outcome, and what it did to the state."""

    data: bytes
    outcomes: tuple[Outcome, ...]
    result: ChunkResult


@dataclass(frozen=True, slots=True)
class SealedBlock:
    """A block that can be committed on top of its parent; ``state`` is the state after it, over the parent's."""

    block: Block
    outcomes: tuple[Outcome, ...]
    changes: dict[bytes, bytes | None]
    global_words: tuple[int, ...]
    state: MemoryTrie


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction of a committed block."""

    receipt: Receipt
    data: bytes
    block: int

    @property
    def hash(self) -> bytes:
        """keccak of its bytes in the chunk."""
        return keccak(self.data)


def execute_chunk(engine: Engine, data: bytes) -> ExecutedChunk:
    """Execute a whole chunk as posted. Raises InvalidChunk; the engine's state is then of no more use."""
    engine.begin_chunk()
    if not 0 < len(data) <= CHUNK_BYTES_MAX:
        raise InvalidChunk(f"a chunk has 1 to {CHUNK_BYTES_MAX} bytes, not {len(data)}")
    outcomes: list[Outcome] = []
    at = 0
    while at < len(data):
        encoding.load(data)
        receipt, end = transition.execute(at)
        outcomes.append(Outcome(receipt, end - at))
        at = end
    return ExecutedChunk(data, tuple(outcomes), engine.end_chunk())


def check_conservation(global_words: Sequence[int]) -> None:
    """Raise Critical unless the totals in the G leaf's words balance to the micro-USD."""
    g = state.decode_globals(_pack(global_words))
    held = g.accounts_total + g.insurance_total + g.fees - g.losses_total
    if held != g.deposits - g.withdrawn:
        raise Critical(
            f"money is not conserved at block {g.block_number}: accounts {g.accounts_total} + insurance "
            f"{g.insurance_total} + fees {g.fees} - losses {g.losses_total} = {held}, but deposits {g.deposits} - "
            f"withdrawn {g.withdrawn} = {g.deposits - g.withdrawn}; do not go on, report this with the database")


class Chain:
    """See the module. One writer; readers in the same task structure see whole blocks only."""

    def __init__(self, kv: KV, store: TrieStore, domain: bytes, head: BlockHeader) -> None:
        self.kv = kv
        self.store = store
        self.domain = domain
        self.head = head
        self.head_hash = header_hash(head)
        self._outcomes: Recent[tuple[Outcome, ...]] = Recent(_CACHED_BLOCKS)
        self._chunks: Recent[tuple[Chunk, ...]] = Recent(_CACHED_BLOCKS)

    @classmethod
    def open(cls, kv: KV, domain: bytes) -> Chain:
        """The chain in a store; written at genesis if the store is empty. Raises Critical for another rollup's."""
        ChainStore(kv)  # checks the records' schema
        store = TrieStore(kv)
        known = kv.get(row_key(Table.META, "domain"))
        if known is None:
            genesis = genesis_block()
            extra = [*_header_writes(genesis), (row_key(Table.META, "domain"), domain)]
            extra += [(row_key(Table.CHUNKS, 0), encode_chunks(())), (row_key(Table.RECEIPTS, 0), encode_outcomes(()))]
            extra.append((row_key(Table.GLOBALS, 0), genesis_leaves()[state.GLOBAL_KEY]))
            root = store.commit_block(0, genesis_leaves(), extra=extra, sync=True)
            assert root == genesis.state_root, "the store hashes as the rules do"
            return cls(kv, store, domain, genesis)
        if known != domain:
            raise Critical("the database is of another rollup or chain id: use another datadir, or derive anew")
        number = store.head()
        data = None if number is None else kv.get(row_key(Table.BLOCK, number))
        if number is None or data is None:
            raise Critical(f"the database has no header of block {number}: it is damaged, remove it to derive anew")
        head = decode_header(data)
        if head.state_root != store.root():
            raise Critical(f"block {number} and the state differ: the database is damaged, remove it to derive anew")
        return cls(kv, store, domain, head)

    # --- executing ----------------------------------------------------------------------------------------------------

    def engine(self, message_at: Callable[[int], bytes | None], *, strict: bool = False) -> Engine:
        """The rules over the committed state. A rollback makes every engine made before it useless."""
        return Engine(self.store, self.domain, message_at, strict=strict)

    def seal(self, chunks: Sequence[ExecutedChunk]) -> SealedBlock:
        """The block of these chunks on top of the head. Raises Critical if money is not conserved."""
        overlay = MemoryTrie(base=self.store)
        sealed: list[Chunk] = []
        changes: dict[bytes, bytes | None] = {}
        for chunk in chunks:
            sealed.append(Chunk(chunk.data, overlay.apply(chunk.result.changes)))
            changes.update(chunk.result.changes)
        words = chunks[-1].result.global_words
        check_conservation(words)
        place = commitments.unpack_position(words[0])
        outcomes = tuple([outcome for chunk in chunks for outcome in chunk.outcomes])
        header = BlockHeader(
            parent_hash=self.head_hash,
            number=place.block_number,
            time=place.l2_time_ms,
            state_root=sealed[-1].post_root,
            first_position=outcomes[0].receipt.position,
            tx_count=len(outcomes),
            cursor=place.inbox_cursor,
            chunks_root=commitments.chunks_root([c.data for c in sealed], [c.post_root for c in sealed]),
        )
        return SealedBlock(Block(header, tuple(sealed)), outcomes, changes, words, overlay)

    def commit(self, sealed: SealedBlock, messages: Mapping[int, bytes], *, sync: bool = False) -> None:
        """Write a block on top of the head; ``messages`` are the inbox messages it consumed, by number.

        ``sync`` waits for the disk (which then has everything before, too).
        """
        header = sealed.block.header
        assert header.number == self.head.number + 1, "blocks follow each other"
        assert header.parent_hash == self.head_hash, "a block was sealed on the head"
        extra = _header_writes(header)
        extra.append((row_key(Table.CHUNKS, header.number), encode_chunks(sealed.block.chunks)))
        extra.append((row_key(Table.RECEIPTS, header.number), encode_outcomes(sealed.outcomes)))
        extra.append((row_key(Table.GLOBALS, header.number), _pack(sealed.global_words)))
        extra += [(row_key(Table.MESSAGE, number), message) for number, message in messages.items()]
        found = named(sealed.block.chunks, sealed.outcomes)
        extra += [(row_key(Table.TRANSACTION_POSITION, keccak(data)), _u64(position)) for position, data in found]
        root = self.store.commit_block(header.number, sealed.changes, extra=extra, sync=sync, hashed=sealed.state)
        assert root == header.state_root, "the overlay's root is the header's"
        self._outcomes.put(header.number, sealed.outcomes)
        self._chunks.put(header.number, sealed.block.chunks)
        self.head = header
        self.head_hash = header_hash(header)

    def rollback(self, number: int) -> None:
        """Go back to the state after block ``number``. Raises StorageError if undo records do not reach so far."""
        if number > self.head.number:
            raise ValueError(f"cannot roll back to block {number}: the head is {self.head.number}")
        if number == self.head.number:
            return
        target = self.header(number)
        assert target is not None, "blocks up to the head have headers"
        gone: list[Change] = []
        for dropped in range(self.head.number, number, -1):
            gone += self._removals(dropped)
        gone += [(row_key(Table.BATCH, batch.number), None) for batch in self._batches_beyond(number)]
        self.store.rollback(number, extra=gone, sync=True)
        self._outcomes.clear()
        self._chunks.clear()
        self.head = target
        self.head_hash = header_hash(target)

    def _removals(self, number: int) -> list[Change]:
        block = self.block(number)
        assert block is not None, "blocks up to the head are stored"
        tables = (Table.BLOCK, Table.CHUNKS, Table.RECEIPTS, Table.GLOBALS)
        writes: list[Change] = [(row_key(table, number), None) for table in tables]
        writes.append((row_key(Table.BLOCK_NUMBER, block.hash), None))
        for position, data in named(block.chunks, self.outcomes(number)):
            if self.kv.get(row_key(Table.TRANSACTION_POSITION, keccak(data))) == _u64(position):
                writes.append((row_key(Table.TRANSACTION_POSITION, keccak(data)), None))
        return writes

    # --- reading ------------------------------------------------------------------------------------------------------

    def header(self, number: int) -> BlockHeader | None:
        """A committed block's header; None beyond the head."""
        if number == self.head.number:
            return self.head
        data = self.kv.get(row_key(Table.BLOCK, number)) if 0 <= number < self.head.number else None
        return None if data is None else decode_header(data)

    def number_of(self, block_hash: bytes) -> int | None:
        """The number of a committed block."""
        data = self.kv.get(row_key(Table.BLOCK_NUMBER, block_hash))
        number = -1 if data is None else int.from_bytes(data, "big")
        header = self.header(number)
        return number if header is not None and header_hash(header) == block_hash else None

    def block(self, number: int) -> Block | None:
        """A committed block; None beyond the head."""
        header = self.header(number)
        return None if header is None else Block(header, self.chunks(number))

    def chunks(self, number: int) -> tuple[Chunk, ...]:
        """A committed block's chunks. Raises LookupError beyond the head."""
        return self._chunks.get(number, lambda: decode_chunks(self._required(Table.CHUNKS, number)))

    def outcomes(self, number: int) -> tuple[Outcome, ...]:
        """A committed block's receipts with their transactions' sizes, in order. Raises LookupError beyond the head."""
        return self._outcomes.get(number, lambda: decode_outcomes(self._required(Table.RECEIPTS, number)))

    def global_words(self, number: int) -> tuple[int, int, int, int, int, int]:
        """The G leaf's words after a committed block. Raises LookupError beyond the head."""
        data = self._required(Table.GLOBALS, number)
        return commitments.globals_tuple([int.from_bytes(data[at : at + 32], "big") for at in range(0, len(data), 32)])

    def transactions(self, number: int) -> list[StoredTransaction]:
        """A committed block's transactions in order."""
        joined = zip(slices(self.chunks(number), self.outcomes(number)), self.outcomes(number), strict=True)
        return [StoredTransaction(outcome.receipt, data, number) for data, outcome in joined]

    def block_at(self, position: int) -> int | None:
        """The number of the block that holds a transaction position; None if no committed one does."""
        if not 0 <= position < self.head.first_position + self.head.tx_count:
            return None
        headers = _Headers(self)
        return bisect_right(headers, position, key=lambda header: header.first_position) - 1

    def transaction(self, position: int) -> StoredTransaction | None:
        """The transaction at a position; None if no committed block has it."""
        number = self.block_at(position)
        if number is None:
            return None
        header = self.header(number)
        assert header is not None, "block_at finds committed blocks"
        return self.transactions(number)[position - header.first_position]

    def position_of(self, tx_hash: bytes) -> int | None:
        """Position of a signed transaction by the hash of its bytes in the chunk (the last one, if repeated)."""
        data = self.kv.get(row_key(Table.TRANSACTION_POSITION, tx_hash))
        found = None if data is None else self.transaction(int.from_bytes(data, "big"))
        return None if found is None or found.hash != tx_hash else found.receipt.position

    def message(self, number: int) -> bytes | None:
        """An inbox message that a committed block consumed."""
        return self.kv.get(row_key(Table.MESSAGE, number)) if number < self.head.cursor else None

    # --- batches ------------------------------------------------------------------------------------------------------

    def put_batch(self, record: BatchRecord) -> None:
        """Remember a batch, durably, with every block before it. Replaces the record of the same number."""
        self.kv.write([(row_key(Table.BATCH, record.number), encode_batch(record))], sync=True)

    def drop_batches(self, first: int) -> None:
        """Forget the batches from ``first`` on; their blocks stay."""
        self.kv.write([(row_key(Table.BATCH, batch.number), None) for batch in self.batches(first)], sync=True)

    def batch(self, number: int) -> BatchRecord | None:
        """A batch by number."""
        data = self.kv.get(row_key(Table.BATCH, number))
        return None if data is None else decode_batch(data)

    def batches(self, first: int = 1) -> Iterator[BatchRecord]:
        """Batches from ``first`` on, ascending, without a gap."""
        number = max(first, 1)
        while (record := self.batch(number)) is not None:
            yield record
            number += 1

    def last_batch(self) -> BatchRecord | None:
        """The newest batch, None before the first."""
        for _name, value in self.kv.iterate(row_key(Table.BATCH, 0), prefix_end(Table.BATCH.value), reverse=True):
            return decode_batch(value)
        return None

    def batch_of(self, block: int) -> BatchRecord | None:
        """The batch that holds a block."""
        last = self.last_batch()
        if last is None or not 0 < block <= last.last_block:
            return None
        low, high = 1, last.number
        while low < high:
            middle = (low + high) // 2
            record = self.batch(middle)
            assert record is not None, "batches have no gaps"
            low, high = (middle + 1, high) if record.last_block < block else (low, middle)
        return self.batch(low)

    def batch_blocks(self, record: BatchRecord) -> list[Block]:
        """The blocks of a batch. Raises LookupError if one is not committed here."""
        blocks = [self.block(number) for number in range(record.first_block, record.last_block + 1)]
        found = [block for block in blocks if block is not None]
        if len(found) != len(blocks):
            raise LookupError(f"batch {record.number} ends at block {record.last_block}, head is {self.head.number}")
        return found

    def _batches_beyond(self, block: int) -> list[BatchRecord]:
        found: list[BatchRecord] = []
        record = self.last_batch()
        while record is not None and record.last_block > block:
            found.append(record)
            record = self.batch(record.number - 1)
        return found

    # --- facts --------------------------------------------------------------------------------------------------------

    def fact(self, name: str) -> bytes | None:
        """A small fact kept with the chain (a service's cursor, say)."""
        return self.kv.get(row_key(Table.META, name))

    def put_fact(self, name: str, value: bytes, *, sync: bool = False) -> None:
        """Keep a small fact."""
        self.kv.write([(row_key(Table.META, name), value)], sync=sync)

    def _required(self, table: Table, number: int) -> bytes:
        data = self.kv.get(row_key(table, number)) if 0 <= number <= self.head.number else None
        if data is None:
            raise LookupError(f"there is no block {number}: the head is {self.head.number}")
        return data


def genesis_block() -> BlockHeader:
    """Block 0: the global leaf alone, no transactions."""
    root = MemoryTrie(genesis_leaves()).root()
    return BlockHeader(ZERO32, 0, 0, root, 0, 0, 0, ZERO32)


class _Headers(Sequence[BlockHeader]):
    """Headers by number, for bisection."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __len__(self) -> int:
        return self._chain.head.number + 1

    def __getitem__(self, number: int) -> BlockHeader:  # type: ignore[override]
        header = self._chain.header(number)
        if header is None:
            raise IndexError(number)
        return header


def _pack(words: Sequence[int]) -> bytes:
    return b"".join([word.to_bytes(32, "big") for word in words])


def _u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _header_writes(header: BlockHeader) -> list[Change]:
    data = encode_header(header)
    number = _u64(header.number)
    return [(row_key(Table.BLOCK, header.number), data), (row_key(Table.BLOCK_NUMBER, keccak(data)), number)]
