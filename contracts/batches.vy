# pragma version 0.4.3
"""
@title Batches: anchoring, finality, rollback
@license Apache-2.0
@notice A batch's commitments are computed here from the posted bytes, so what can be proven is what was posted. Finality is
        a function of time alone: a batch is final once the challenge window has passed since its posting and nobody proved
        it wrong; `finalize` only writes that down.

        Invariants
        - head's header is stored; headers[n].parent = hash of headers[n-1] for every n <= head; headers beyond head are dead.
        - posted_at, L2 time, block number and transaction position rise with the number; the inbox cursor never falls.
        - no batch whose window has passed can be dropped; every batch <= finalized has passed its window.
@dev Storage written by a posting: header hash, head number, head position, and one anchor notice in the inbox.
"""
import batch_header
import inbox
import merkle_list
import seat

uses: inbox
uses: seat

CHUNK_BYTES_MAX: constant(uint256) = 24_000
BATCH_BYTES_MAX: constant(uint256) = 65_536
CHUNKS_PER_BATCH_MAX: constant(uint256) = 256
# what the rules answer for an INVALID chunk: posting it is refused, so posting such a chunk at all is provable
INVALID_ROOT: constant(bytes32) = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff


event VerifierSet:
    verifier: indexed(address)


event BatchPosted:
    number: indexed(uint256)
    header_hash: indexed(bytes32)
    header: batch_header.BatchHeader


event BatchesDropped:
    first: indexed(uint256)
    head: uint256
    prover: address


event BatchFinalized:
    number: indexed(uint256)


DEPLOYER: immutable(address)
CHALLENGE_WINDOW_S: immutable(uint256)
FORCE_DELAY_S: immutable(uint256)
FORCE_FLOOR_S: immutable(uint256)

verifier: public(address)
head_number: public(uint256)
# word 0 of the head's globals: time, block, transaction position, inbox cursor
head_position: public(uint256)
finalized_number: public(uint256)
headers: HashMap[uint256, bytes32]
# how long a message may wait now, and the L2 time, ms, of the delay's last change
forced_delay_s: public(uint256)
delay_changed_ms: uint256


@deploy
def __init__(
    challenge_window_s: uint256, force_delay_s: uint256, force_floor_s: uint256, root: bytes32, words: uint256[6]
):
    assert challenge_window_s > 0, "PARAMS: challenge_window_s is zero"
    assert force_delay_s > 0, "PARAMS: force_delay_s is zero"
    assert 0 < force_floor_s and force_floor_s <= force_delay_s, "PARAMS: force_floor_s not in 1 to force_delay_s"
    assert root != empty(bytes32), "PARAMS: genesis_root is zero"
    assert batch_header.inbox_cursor(words[0]) == 0, "PARAMS: genesis has consumed messages"
    DEPLOYER = msg.sender
    CHALLENGE_WINDOW_S = challenge_window_s
    FORCE_DELAY_S = force_delay_s
    FORCE_FLOOR_S = force_floor_s
    self.forced_delay_s = force_delay_s
    self.headers[0] = batch_header.header_hash(batch_header.genesis(root, words))
    self.head_position = words[0]


@external
def set_verifier(verifier: address):
    """
    @notice Once, by the deployer: the two contracts know each other, and nobody can change it later.
    """
    assert msg.sender == DEPLOYER, "NOT_DEPLOYER"
    assert self.verifier == empty(address), "VERIFIER_SET: it cannot change"
    assert verifier.is_contract, "VERIFIER: not a contract"
    self.verifier = verifier
    log VerifierSet(verifier=verifier)


@internal
@view
def _check_poster():
    """
    @dev Watchers read chunks from transaction input. A direct call from an account without code (EIP-7702 included) is
         always the transaction itself.
    """
    assert msg.sender == seat.holder, "NOT_SEAT: call take_seat first"
    assert msg.sender == tx.origin and not msg.sender.is_contract, "POSTER: must be a plain account, no code"


@internal
@view
def _check_position(position: uint256, cursor: uint256, cursor_hash: bytes32):
    """
    @dev What the batch says about time, order and inbox, against the head and L1.
    """
    head: uint256 = self.head_position
    head_cursor: uint256 = batch_header.inbox_cursor(head)
    time_ms: uint256 = batch_header.l2_time_ms(position)
    assert time_ms <= block.timestamp * 1000, "L2_TIME: ahead of L1"
    assert time_ms > batch_header.l2_time_ms(head), "L2_TIME: not after the head"
    assert batch_header.block_number(position) > batch_header.block_number(head), "L2_BLOCK: not after the head"
    assert batch_header.tx_position(position) > batch_header.tx_position(head), "TX_POSITION: not after the head"
    assert batch_header.inbox_cursor(position) == cursor, "INBOX_CURSOR: differs from globals"
    assert cursor >= head_cursor, "INBOX_CURSOR: before the head"
    assert inbox.hash_at(cursor) == cursor_hash, "INBOX_HASH: inbox changed, derive again from L1"
    assert not inbox.is_overdue(cursor, head_cursor, time_ms, self.forced_delay_s), "FORCED_OVERDUE: consume older messages"


@internal
def _adapt_delay(time_ms: uint256, cursor: uint256):
    """
    @notice The delay for later batches. It halves, down to the floor, when this one consumes a message that the batch before
            had left in the last quarter of its delay; it doubles, up to force_delay_s, when this one leaves none older than a
            quarter and force_delay_s of L2 time has passed since the last change.
    @dev Whoever never leaves a message longer than half of the delay never halves it, however late its batches are posted.
    """
    delay_s: uint256 = self.forced_delay_s
    head: uint256 = self.head_position
    oldest: uint256 = batch_header.inbox_cursor(head)
    adapted_s: uint256 = delay_s
    if cursor > oldest and inbox.is_older(oldest, batch_header.l2_time_ms(head), delay_s * 3 // 4):
        adapted_s = max(FORCE_FLOOR_S, delay_s // 2)
    elif delay_s < FORCE_DELAY_S and time_ms >= self.delay_changed_ms + FORCE_DELAY_S * 1000:
        if cursor == inbox.count or not inbox.is_older(cursor, time_ms, delay_s // 4):
            adapted_s = min(FORCE_DELAY_S, delay_s * 2)
    if adapted_s != delay_s:
        self.forced_delay_s = adapted_s
        self.delay_changed_ms = time_ms


@internal
@view
def _check_canonical(count: uint256, chunk_bytes: uint256):
    """
    @dev The arguments' dynamic parts stand where the plain encoder puts them, and nothing else is in the calldata. A
         watcher that reads fixed places then reads exactly the bytes that are hashed here.
    """
    lengths_at: uint256 = 13 * 32
    roots_at: uint256 = lengths_at + 32 * (count + 1)
    chunks_at: uint256 = roots_at + 32 * (count + 1)
    end: uint256 = 4 + chunks_at + 32 + (chunk_bytes + 31) // 32 * 32
    assert convert(slice(msg.data, 324, 32), uint256) == lengths_at, "CALLDATA: not canonical"
    assert convert(slice(msg.data, 356, 32), uint256) == roots_at, "CALLDATA: not canonical"
    assert convert(slice(msg.data, 388, 32), uint256) == chunks_at, "CALLDATA: not canonical"
    assert len(msg.data) == end, "CALLDATA: not canonical"


@external
def post_batch(
    number: uint256,
    parent: bytes32,
    inbox_cursor: uint256,
    inbox_hash: bytes32,
    globals: uint256[6],
    lengths: DynArray[uint256, CHUNKS_PER_BATCH_MAX],
    roots: DynArray[bytes32, CHUNKS_PER_BATCH_MAX],
    chunks: Bytes[BATCH_BYTES_MAX],
):
    """
    @notice Anchors a run of whole L2 blocks. Reverts only for causes that an honest, synced operator cannot meet.
    @param number head + 1; with `parent` (hash of the head's header) this makes an L1 reorg revert, never mis-anchor
    @param inbox_hash the running hash after `inbox_cursor` messages
    @param globals mirror of the `G` leaf's words under the last root
    @param lengths bytes of each chunk, 1 to 24,000
    @param roots state root claimed after each chunk
    @param chunks all chunks, concatenated
    """
    self._check_poster()
    assert number == self.head_number + 1 and parent == self.headers[number - 1], "PARENT: not the head, derive again"
    self._check_position(globals[0], inbox_cursor, inbox_hash)
    count: uint256 = len(lengths)
    assert count > 0 and count == len(roots), "CHUNKS: one length and one root each, at least one"
    self._check_canonical(count, len(chunks))

    # memory costs by the highest address touched: slice's buffer is as large as `chunks`, so it must come last in this
    # frame, and everything else happens in callees, whose frames are below
    leaves: DynArray[bytes32, CHUNKS_PER_BATCH_MAX] = []
    start: uint256 = 0
    length: uint256 = 0
    chunk_hash: bytes32 = empty(bytes32)
    for i: uint256 in range(count, bound=CHUNKS_PER_BATCH_MAX):
        length = lengths[i]
        self._check_chunk(length, roots[i])
        chunk_hash = keccak256(slice(chunks, start, length))
        leaves.append(merkle_list.chunk_leaf(i, chunk_hash, roots[i]))
        start += length
    assert start == len(chunks), "CHUNKS: lengths do not add up"
    self._append(number, parent, inbox_cursor, inbox_hash, count, merkle_list.list_root(leaves), roots[count - 1], globals)


@internal
@pure
def _check_chunk(length: uint256, root: bytes32):
    assert length > 0 and length <= CHUNK_BYTES_MAX, "CHUNK_BYTES: outside 1 to 24,000"
    assert root != empty(bytes32) and root != INVALID_ROOT, "POST_ROOT: not a state root"


@internal
def _append(
    number: uint256,
    parent: bytes32,
    inbox_cursor: uint256,
    inbox_hash: bytes32,
    chunk_count: uint256,
    chunks_root: bytes32,
    post_root: bytes32,
    globals: uint256[6],
):
    header: batch_header.BatchHeader = batch_header.BatchHeader(
        number=number,
        parent=parent,
        rules=batch_header.RULES_VERSION,
        inbox_cursor=inbox_cursor,
        inbox_hash=inbox_hash,
        chunk_count=chunk_count,
        chunks_root=chunks_root,
        post_root=post_root,
        globals=globals,
        posted_at=block.timestamp,
        poster=msg.sender,
    )
    header_hash: bytes32 = batch_header.header_hash(header)
    self._adapt_delay(batch_header.l2_time_ms(header.globals[0]), inbox_cursor)
    self.headers[header.number] = header_hash
    self.head_number = header.number
    self.head_position = header.globals[0]
    log BatchPosted(number=header.number, header_hash=header_hash, header=header)
    inbox.enqueue_notice(inbox.KIND_ANCHOR, header.number, batch_header.l2_time_ms(header.globals[0]))


@internal
@view
def _check_stored(header: batch_header.BatchHeader):
    assert header.number <= self.head_number, "HEADER: beyond the head"
    assert batch_header.header_hash(header) == self.headers[header.number], "HEADER: not the stored one"


@internal
@view
def _is_final(header: batch_header.BatchHeader) -> bool:
    return block.timestamp >= header.posted_at + CHALLENGE_WINDOW_S


@external
def drop(header: batch_header.BatchHeader, survivor: batch_header.BatchHeader, prover: address):
    """
    @notice Proven fraud: `header` and all later batches are gone, `survivor` is the head, the poster's bond is slashed and
            the seat is free. Moves no token and has no condition that anyone could spoil.
    """
    assert msg.sender == self.verifier, "NOT_VERIFIER"
    self._check_stored(header)
    assert header.number > 0 and not self._is_final(header), "FINAL: the challenge window has passed"
    assert batch_header.header_hash(survivor) == header.parent, "SURVIVOR: not the parent"
    self.head_number = survivor.number
    self.head_position = survivor.globals[0]
    position: uint256 = batch_header.tx_position(survivor.globals[0])
    seat.vacate(survivor.number, position, True)
    seat.slash(header.poster, prover, position, header.posted_at)
    log BatchesDropped(first=header.number, head=survivor.number, prover=prover)
    inbox.enqueue_notice(inbox.KIND_ROLLBACK, header.number, batch_header.l2_time_ms(survivor.globals[0]))


@internal
def record_final(header: batch_header.BatchHeader):
    self._check_stored(header)
    assert self._is_final(header), "NOT_FINAL: the challenge window is open"
    if header.number > self.finalized_number:
        self.finalized_number = header.number
        log BatchFinalized(number=header.number)


@external
def finalize(header: batch_header.BatchHeader):
    """
    @notice Anyone records that a batch, and all before it, is final. Nothing can stop it.
    """
    self.record_final(header)


@external
@view
def header_hash(number: uint256) -> bytes32:
    """
    @return The batch's header hash; zero for dropped or future numbers.
    """
    return self.headers[number] if number <= self.head_number else empty(bytes32)


@external
@view
def is_final(header: batch_header.BatchHeader) -> bool:
    self._check_stored(header)
    return self._is_final(header)
