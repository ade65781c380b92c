"""A small contract for L1 tests: storage, an event, a revert with a reason, and work to burn gas on."""

from __future__ import annotations

from functools import cache
from typing import Any

SOURCE = """
value: public(uint256)

event Stored:
    slot: indexed(uint256)
    note: Bytes[64]

@external
def store(v: uint256) -> uint256:
    assert v < 100, "value too big"
    self.value = v
    log Stored(slot=v, note=b"stored")
    return v

@external
def first_wins(v: uint256):
    assert self.value == 0, "somebody was first"
    self.value = v

@view
@external
def spin(n: uint256) -> bytes32:
    h: bytes32 = empty(bytes32)
    for i: uint256 in range(n, bound=200000):
        h = keccak256(concat(h, convert(i, bytes32)))
    return h
"""


@cache
def compiled() -> dict[str, Any]:
    """ABI and creation bytecode."""
    import vyper

    return vyper.compile_code(SOURCE, output_formats=["abi", "bytecode"])


def creation_code() -> bytes:
    """Creation bytecode."""
    return bytes.fromhex(compiled()["bytecode"][2:])


def call_data(name: str, value: int | None = None) -> bytes:
    """Encoded call of a function with at most one uint256."""
    from eth_hash.auto import keccak

    signature = f"{name}({'uint256' if value is not None else ''})"
    return keccak(signature.encode())[:4] + (value.to_bytes(32, "big") if value is not None else b"")
