# pragma version 0.4.3
"""
@title A verifier that believes every accusation
@notice Stands where FraudVerifier stands, to show that the simulation notices when a right batch is dropped.
"""
import batch_header


interface Rollup:
    def drop(header: batch_header.BatchHeader, survivor: batch_header.BatchHeader, prover: address): nonpayable


struct Claim:
    index: uint256
    post_root: bytes32
    proof: DynArray[bytes32, 8]


struct Predecessor:
    chunk_hash: bytes32
    post_root: bytes32
    proof: DynArray[bytes32, 8]


ROLLUP: immutable(Rollup)


@deploy
def __init__(rollup: address):
    ROLLUP = Rollup(rollup)


@external
def prove_chunk(
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    claim: Claim,
    before: Predecessor,
    chunk: Bytes[24_000],
    messages: Bytes[131_072],
    witness_data: Bytes[131_072],
) -> bytes32:
    extcall ROLLUP.drop(header, parent, msg.sender)
    return empty(bytes32)
