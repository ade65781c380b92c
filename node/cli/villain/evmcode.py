"""Small contracts that villains put between themselves and ours, assembled by hand so that nothing needs a compiler.

    forwarder   calldata = to:32 ‖ gas:32 ‖ data: calls ``to`` with all value, answers or reverts with what came back
    script      initcode that makes calls one after another, from the address that is being created
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ALL_GAS: Final = 2**256 - 1

CALLVALUE, CALLDATALOAD, CALLDATASIZE, CALLDATACOPY, CODECOPY = "34", "35", "36", "37", "39"
RETURNDATASIZE, RETURNDATACOPY, SUB, ISZERO, JUMPI, JUMPDEST, DUP1 = "3d", "3e", "03", "15", "57", "5b", "80"
PUSH0, CALL, RETURN, REVERT, POP = "5f", "f1", "f3", "fd", "50"


@dataclass(frozen=True)
class Call:
    """A call that a script makes; a failed one ends the script with its reason if ``must``."""

    to: bytes
    data: bytes
    gas: int = ALL_GAS
    must: bool = True


def push(value: int) -> str:
    """The shortest PUSH of a number."""
    if value == 0:
        return PUSH0
    size = (value.bit_length() + 7) // 8
    return f"{0x5F + size:02x}{value:0{2 * size}x}"


def contract(runtime: bytes) -> bytes:
    """Initcode that deploys this runtime code."""
    head = bytes.fromhex(f"{push(len(runtime))}{DUP1}600b{PUSH0}{CODECOPY}{PUSH0}{RETURN}")
    head = head.ljust(11, b"\x5b")
    assert len(head) == 11, "runtime code under 64 KB"
    return head + runtime


def _forwarder() -> bytes:
    size = f"6040{CALLDATASIZE}{SUB}"  # calldata without its two words
    copy = f"{size}6040{PUSH0}{CALLDATACOPY}"
    call = f"{PUSH0}{PUSH0}{size}{PUSH0}{CALLVALUE}{PUSH0}{CALLDATALOAD}6020{CALLDATALOAD}{CALL}"
    answer = f"{RETURNDATASIZE}{PUSH0}{PUSH0}{RETURNDATACOPY}"
    body = f"{copy}{call}{answer}"
    jump = len(body) // 2 + 3 + 3  # behind PUSH1 JUMPI, RETURNDATASIZE PUSH0 REVERT
    return bytes.fromhex(f"{body}{push(jump)}{JUMPI}{RETURNDATASIZE}{PUSH0}{REVERT}"
                         f"{JUMPDEST}{RETURNDATASIZE}{PUSH0}{RETURN}")


FORWARDER: Final = _forwarder()


def forward(to: bytes, data: bytes, gas: int = ALL_GAS) -> bytes:
    """Calldata for a forwarder. ``gas``: what the inner call gets at most."""
    return to.rjust(32, b"\0") + gas.to_bytes(32, "big") + data


def script(calls: Sequence[Call], runtime: bytes = b"") -> bytes:
    """Initcode that makes these calls from the new contract's address, then deploys ``runtime``."""
    code = _script(calls, runtime, 0)
    for _ in range(4):  # where the data stands depends on how long the code is, hardly
        again = _script(calls, runtime, len(code))
        if len(again) == len(code):
            return again + b"".join(call.data for call in calls) + runtime
        code = again
    raise AssertionError("the code's length settles at once")


def _script(calls: Sequence[Call], runtime: bytes, data_at: int) -> bytes:
    code = ""
    for call in calls:
        size = len(call.data)
        code += f"{push(size)}{push(data_at) if data_at else '61ffff'}{PUSH0}{CODECOPY}"
        code += f"{PUSH0}{PUSH0}{push(size)}{PUSH0}{PUSH0}73{call.to.hex()}{push(call.gas)}{CALL}"
        if call.must:
            after = len(code) // 2 + 4 + 7
            code += f"61{after:04x}{JUMPI}{RETURNDATASIZE}{PUSH0}{PUSH0}{RETURNDATACOPY}{RETURNDATASIZE}{PUSH0}{REVERT}"
            code += JUMPDEST
            assert code[2 * after : 2 * after + 2] == JUMPDEST, "jumps land"
        else:
            code += POP
        data_at += size
    size = len(runtime)
    code += f"{push(size)}{push(data_at) if data_at else '61ffff'}{PUSH0}{CODECOPY}{push(size)}{PUSH0}{RETURN}"
    return bytes.fromhex(code)
