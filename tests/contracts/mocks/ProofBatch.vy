# pragma version 0.4.3
"""
@title  Several calls to one contract within one L1 transaction
@notice Transient storage outlives a call: what one proof leaves there must not reach the next.
"""


@external
def run(target: address, calls: DynArray[Bytes[40000], 8]) -> DynArray[Bytes[160], 8]:
    """@return the first 160 bytes of each answer; empty for a call that reverted."""
    answers: DynArray[Bytes[160], 8] = []
    for call: Bytes[40000] in calls:
        success: bool = False
        answer: Bytes[160] = b""
        success, answer = raw_call(target, call, max_outsize=160, revert_on_failure=False)
        answers.append(answer if success else b"")
    return answers
