# pragma version 0.4.3
"""
@title Two calls to one contract within one L1 transaction: what does the second find of the first's transient storage?
"""


@external
def run(target: address, first: Bytes[65536], second: Bytes[65536]) -> (bool, bool):
    first_done: bool = raw_call(target, first, revert_on_failure=False)
    second_done: bool = raw_call(target, second, revert_on_failure=False)
    return first_done, second_done
