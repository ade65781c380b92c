# pragma version 0.4.3
"""
@title A contract that takes the seat and forwards calls: a poster whose batches no transaction shows
"""


@external
def run(target: address, payload: Bytes[8192]):
    raw_call(target, payload)
