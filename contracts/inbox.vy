# pragma version 0.4.3
"""
@title Inbox: ordered messages from L1 to L2
@license Apache-2.0
@notice message = kind:1 ‖ sender:20 ‖ l1_time_s:8 ‖ payload; running hash h' = keccak(h ‖ keccak(message)), h_0 = 0.
        Every message is emitted in full, so L2 can be rebuilt from L1 logs alone.
@dev Kept per message: its running hash (one slot), and its L1 time (a quarter of a slot) for the forced-inclusion check.
     The time is stored, not supplied by the poster with a preimage: a message that arrives while a batch waits in the
     mempool must not be able to make an honest posting revert.
     Invariant: times never fall along the numbers, so if the first unconsumed message is not overdue, none is.
"""

KIND_DEPOSIT: constant(uint8) = 1
KIND_FORCED: constant(uint8) = 2
KIND_PAID: constant(uint8) = 3
KIND_ANCHOR: constant(uint8) = 4
KIND_ROLLBACK: constant(uint8) = 5
KIND_ADMIN: constant(uint8) = 6

PAYLOAD_BYTES_MAX: constant(uint256) = 1024
MESSAGE_BYTES_MAX: constant(uint256) = 1053

# a batch is never required to consume more than this, so a flooded inbox cannot make posting impossible
FORCED_PER_BATCH: constant(uint256) = 64


event MessageEnqueued:
    number: indexed(uint256)
    running_hash: bytes32
    message: Bytes[MESSAGE_BYTES_MAX]


count: uint256
hashes: HashMap[uint256, bytes32]
times: HashMap[uint256, uint256]


@internal
def enqueue(kind: uint8, sender: address, payload: Bytes[PAYLOAD_BYTES_MAX]):
    number: uint256 = self.count
    now_s: uint64 = convert(block.timestamp, uint64)
    message: Bytes[MESSAGE_BYTES_MAX] = concat(
        convert(kind, bytes1), convert(sender, bytes20), convert(now_s, bytes8), payload
    )
    running: bytes32 = keccak256(concat(self.hashes[number], keccak256(message)))
    self.hashes[number + 1] = running
    self.times[number // 4] |= block.timestamp << (64 * (number % 4))
    self.count = number + 1
    log MessageEnqueued(number=number, running_hash=running, message=message)


@internal
def enqueue_notice(kind: uint8, batch: uint256, l2_time_ms: uint256):
    """
    @dev Anchor and rollback notices: batch:8 ‖ l2_time_ms:8. The sender is the rollup itself.
    """
    payload: Bytes[16] = concat(
        convert(convert(batch, uint64), bytes8), convert(convert(l2_time_ms, uint64), bytes8)
    )
    self.enqueue(kind, self, payload)


@internal
@view
def hash_at(number: uint256) -> bytes32:
    """
    @return The running hash after `number` messages. Numbers beyond the inbox have no hash and revert.
    """
    assert number <= self.count, "INBOX_CURSOR: beyond the inbox"
    return self.hashes[number]


@internal
@view
def time_s_of(number: uint256) -> uint256:
    return (self.times[number // 4] >> (64 * (number % 4))) & (2**64 - 1)


@internal
@view
def is_overdue(cursor: uint256, parent_cursor: uint256, l2_time_ms: uint256, delay_s: uint256) -> bool:
    """
    @notice Whether a batch that ends at `cursor` and `l2_time_ms` left a message waiting longer than `delay_s`, although it
            consumed fewer than FORCED_PER_BATCH.
    """
    if cursor == self.count or cursor >= parent_cursor + FORCED_PER_BATCH:
        return False
    return self.is_older(cursor, l2_time_ms, delay_s)


@internal
@view
def is_older(number: uint256, l2_time_ms: uint256, age_s: uint256) -> bool:
    """
    @notice Whether message `number` has waited longer than `age_s` at an L2 time.
    """
    return (self.time_s_of(number) + age_s) * 1000 < l2_time_ms


@external
@view
def inbox_count() -> uint256:
    return self.count


@external
@view
def inbox_hash_at(number: uint256) -> bytes32:
    return self.hash_at(number)


@external
@view
def inbox_time_s(number: uint256) -> uint256:
    """
    @return L1 time of message `number` (0-based), zero when there is none.
    """
    return self.time_s_of(number)
