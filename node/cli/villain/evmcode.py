"""Small contracts that villains put between themselves and ours, assembled by hand so that nothing needs a compiler.

    forwarder   calldata = to:32 ‖ gas:32 ‖ data: calls ``to`` with all value, answers or reverts with what came back
    script      initcode that makes calls one after another, from the address that is being created

``assemble`` turns larger ones into code: names of instructions, numbers (pushed), ``:name`` to jump to, ``@name`` its
place, ``%n`` the place of the n-th byte of the data behind the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

ALL_GAS: Final = 2**256 - 1

CALLVALUE, CALLDATALOAD, CALLDATASIZE, CALLDATACOPY, CODECOPY = "34", "35", "36", "37", "39"
RETURNDATASIZE, RETURNDATACOPY, SUB, ISZERO, JUMPI, JUMPDEST, DUP1 = "3d", "3e", "03", "15", "57", "5b", "80"
PUSH0, CALL, RETURN, REVERT, POP = "5f", "f1", "f3", "fd", "50"

OPS: Final = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "LT": 0x10, "EQ": 0x14, "ISZERO": 0x15,
    "AND": 0x16, "OR": 0x17, "NOT": 0x19, "SHL": 0x1B, "SHR": 0x1C, "CALLER": 0x33, "CALLDATALOAD": 0x35,
    "CODECOPY": 0x39, "RETURNDATASIZE": 0x3D, "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "SLOAD": 0x54, "SSTORE": 0x55,
    "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "DUP1": 0x80, "DUP6": 0x85, "CALL": 0xF1, "RETURN": 0xF3, "REVERT": 0xFD}
PLACE: Final = 3  # bytes of a PUSH2


def assemble(text: str, data: bytes = b"") -> bytes:
    """Runtime code, see the module. Raises KeyError for an instruction or a name that there is not."""
    pieces: list[str] = []
    names: dict[str, int] = {}
    size = 0
    for word in text.split():
        if word[0] == ":":
            names[word[1:]] = size
        piece = word if word[0] in "@%" else _piece(word)
        size += PLACE if piece[0] in "@%" else len(piece) // 2
        pieces.append(piece)
    places = {f"@{name}": at for name, at in names.items()}
    code = "".join(f"61{places[piece] if piece[0] == '@' else size + int(piece[1:]):04x}" if piece[0] in "@%" else piece
                   for piece in pieces)
    return bytes.fromhex(code) + data


def _piece(word: str) -> str:
    if word[0] == ":":
        return JUMPDEST
    return push(int(word, 0)) if word[0].isdigit() else f"{OPS[word]:02x}"


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
