# pragma version 0.4.3
"""
@title  A prover that is a contract: several calls in one L1 transaction
@notice Transient storage outlives a call within a transaction, so what one proof leaves behind is there for the next.
"""


@external
def run(target: address, first: Bytes[60000], second: Bytes[60000]) -> bytes32:
    """
    @notice The first call may fail, for its traces are kept only if it does not; the second may not.
    """
    ok: bool = raw_call(target, first, revert_on_failure=False)
    answer: Bytes[32] = raw_call(target, second, max_outsize=32)
    return convert(answer, bytes32)
