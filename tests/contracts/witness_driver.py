"""Runs a witness through WitnessMock as a fraud proof would: load, apply new values, observe ranges, verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.evm import Contract, Halt, Revert

MOCK = "mocks/WitnessMock.vy"
SET_WORD, SET_SIZE = 0, 1


@dataclass(frozen=True)
class Verified:
    """What the contract answered."""

    root: bytes
    load_gas: int
    verify_gas: int
    touched: int


def words(value: bytes) -> list[int]:
    return [int.from_bytes(value[i : i + 32], "big") for i in range(0, len(value), 32)]


def steps(changes: Mapping[bytes, bytes | None]) -> list[list[int]]:
    """Calls on the leaf table that write these values; each leaf passes through absence, to clear what it held."""
    calls = []
    for key, value in changes.items():
        number = int.from_bytes(key, "big")
        calls += [[SET_SIZE, number, 0, 0], [SET_SIZE, number, len(value or b"") // 32, 0]]
        calls += [[SET_WORD, number, at, word] for at, word in enumerate(words(value or b""))]
    return calls


def run(
    mock: Contract, data: bytes, old_root: bytes, changes: Mapping[bytes, bytes | None],
    ranges: Sequence[tuple[bytes, bytes]],
) -> Verified:
    """Raises `Revert` if the contract refuses the witness."""
    bounds = [[int.from_bytes(lo, "big"), int.from_bytes(hi, "big")] for lo, hi in ranges]
    return Verified(*mock.call("run", old_root, steps(changes), bounds, data))


def outcome(
    mock: Contract, data: bytes, old_root: bytes, changes: Mapping[bytes, bytes | None],
    ranges: Sequence[tuple[bytes, bytes]],
) -> bytes | None:
    """The new root, or None if the contract refused; anything but a revert is a bug."""
    try:
        return run(mock, data, old_root, changes, ranges).root
    except Revert:
        return None
    except Halt as halt:
        raise AssertionError(f"the contract halted instead of reverting: {halt}") from halt
