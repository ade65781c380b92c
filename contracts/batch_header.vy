# pragma version 0.4.3
"""
@title Batch header
@license Apache-2.0
@notice The one struct that names a batch, its hash, and the fields packed into word 0 of the `G` leaf.
@dev Every field is checked by `Rollup.post_batch`, or mirrors the `G` leaf under `post_root` (`globals`) and can be
     refuted by one leaf proof. The struct is static, so abi_encode gives 16 words and the hash has one preimage only.
     Python twin: node/stf/commitments.py.
"""

struct BatchHeader:
    number: uint256
    parent: bytes32
    rules: uint256
    inbox_cursor: uint256
    inbox_hash: bytes32
    chunk_count: uint256
    chunks_root: bytes32
    post_root: bytes32
    globals: uint256[6]
    posted_at: uint256
    poster: address


RULES_VERSION: constant(uint256) = 3
UINT64_MASK: constant(uint256) = 2**64 - 1


@internal
@pure
def header_hash(header: BatchHeader) -> bytes32:
    return keccak256(abi_encode(header))


@internal
@pure
def genesis(root: bytes32, words: uint256[6]) -> BatchHeader:
    """
    @dev Batch 0: no chunk, no poster, time zero, so its hash follows from the genesis state alone.
    """
    return BatchHeader(
        number=0,
        parent=empty(bytes32),
        rules=RULES_VERSION,
        inbox_cursor=0,
        inbox_hash=empty(bytes32),
        chunk_count=0,
        chunks_root=empty(bytes32),
        post_root=root,
        globals=words,
        posted_at=0,
        poster=empty(address),
    )


@internal
@pure
def l2_time_ms(position: uint256) -> uint256:
    return position >> 192


@internal
@pure
def block_number(position: uint256) -> uint256:
    return (position >> 128) & UINT64_MASK


@internal
@pure
def tx_position(position: uint256) -> uint256:
    return (position >> 64) & UINT64_MASK


@internal
@pure
def inbox_cursor(position: uint256) -> uint256:
    return position & UINT64_MASK
