"""Translates EVM basic blocks to Python functions, so that the embedded L1 runs proofs in seconds.

py-evm interprets one opcode in 2–4 µs. Here a *block* (straight-line code up to a jump, a JUMPDEST or an opcode left to
py-evm) becomes one Python function over a symbolic stack: PUSH, DUP, SWAP and POP vanish, arithmetic becomes
expressions on integers. Compiled lazily, cached per code.

What keeps it exact:
- Static gas and stack bounds of a block are checked on entry. Failing early instead of in the middle changes nothing:
  out of gas, underflow and overflow all burn the frame's gas and revert its effects. GAS, calls and everything else
  that can *see* gas or outside state is left to py-evm and ends the block, so it always sees exact gas.
- Dynamic gas (memory growth, hashed and copied words) is charged where it arises.
- Gas costs are read from py-evm's own opcode table.
- tests/l1/test_fast_evm.py runs both engines on random programs and on compiled Vyper and compares everything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from eth.vm.forks.prague.opcodes import PRAGUE_OPCODES
from eth.vm.logic.invalid import InvalidOpcode
from eth_hash.auto import keccak

WORD = (1 << 256) - 1
SIGN = 1 << 255
BLOCK_OPS_MAX = 512
PROGRAMS_MAX = 64

JUMP, JUMPI, PC, JUMPDEST, PUSH0 = 0x56, 0x57, 0x58, 0x5B, 0x5F


def _signed(word: int) -> int:
    return word - (1 << 256) if word >= SIGN else word


def sdiv(a: int, b: int) -> int:
    """Signed division, truncating (Yellow Paper 0x05)."""
    x, y = _signed(a), _signed(b)
    if y == 0:
        return 0
    quotient = abs(x) // abs(y)
    return (quotient if (x < 0) == (y < 0) else -quotient) & WORD


def smod(a: int, b: int) -> int:
    """Signed remainder with the dividend's sign (0x07)."""
    x, y = _signed(a), _signed(b)
    if y == 0:
        return 0
    rest = abs(x) % abs(y)
    return (rest if x >= 0 else -rest) & WORD


def signextend(size: int, word: int) -> int:
    """Extend the sign of the lowest ``size`` + 1 bytes (0x0B)."""
    if size >= 31:
        return word
    bit = 8 * size + 7
    low = word & ((1 << (bit + 1)) - 1)
    return (low | (WORD ^ ((1 << bit + 1) - 1))) if low >> bit & 1 else low


# Expressions of the opcodes that only compute; a is the top of the stack, b below it, c below that.
EXPRESSIONS: dict[int, tuple[int, str]] = {
    0x01: (2, "({a} + {b}) & M"),
    0x02: (2, "({a} * {b}) & M"),
    0x03: (2, "({a} - {b}) & M"),
    0x04: (2, "{a} // {b} if {b} else 0"),
    0x05: (2, "sdiv({a}, {b})"),
    0x06: (2, "{a} % {b} if {b} else 0"),
    0x07: (2, "smod({a}, {b})"),
    0x08: (3, "({a} + {b}) % {c} if {c} else 0"),
    0x09: (3, "{a} * {b} % {c} if {c} else 0"),
    0x0B: (2, "signextend({a}, {b})"),
    0x10: (2, "1 if {a} < {b} else 0"),
    0x11: (2, "1 if {a} > {b} else 0"),
    0x12: (2, "1 if ({a} ^ S) < ({b} ^ S) else 0"),
    0x13: (2, "1 if ({a} ^ S) > ({b} ^ S) else 0"),
    0x14: (2, "1 if {a} == {b} else 0"),
    0x15: (1, "0 if {a} else 1"),
    0x16: (2, "{a} & {b}"),
    0x17: (2, "{a} | {b}"),
    0x18: (2, "{a} ^ {b}"),
    0x19: (1, "{a} ^ M"),
    0x1A: (2, "({b} >> (248 - 8 * {a})) & 255 if {a} < 32 else 0"),
    0x1B: (2, "({b} << {a}) & M if {a} < 256 else 0"),
    0x1C: (2, "{b} >> {a} if {a} < 256 else 0"),
    0x1D: (2, "((({b} ^ S) - S) >> ({a} if {a} < 256 else 256)) & M"),
    0x30: (0, "vm.address"),
    0x33: (0, "vm.caller"),
    0x34: (0, "vm.value"),
    0x35: (1, "read(data[{a}:{a} + 32].ljust(32, ZERO), 'big')"),
    0x36: (0, "len(data)"),
}

# Statements of the opcodes that touch memory: pops, lines, whether {r} is a result.
STATEMENTS: dict[int, tuple[int, tuple[str, ...], bool]] = {
    0x20: (2, ("if {b}:", " vm.pay(6 * (({b} + 31) >> 5))", " if {a} + {b} > len(mem): vm.grow({a} + {b})",
               "{r} = read(keccak(bytes(mem[{a}:{a} + {b}])), 'big')"), True),
    0x37: (3, ("if {c}:", " vm.pay(3 * (({c} + 31) >> 5))", " if {a} + {c} > len(mem): vm.grow({a} + {c})",
               " mem[{a}:{a} + {c}] = data[{b}:{b} + {c}].ljust({c}, ZERO)"), False),
    0x51: (1, ("if {a} + 32 > len(mem): vm.grow({a} + 32)", "{r} = read(mem[{a}:{a} + 32], 'big')"), True),
    0x52: (2, ("if {a} + 32 > len(mem): vm.grow({a} + 32)", "mem[{a}:{a} + 32] = ({b}).to_bytes(32, 'big')"), False),
    0x53: (2, ("if {a} + 1 > len(mem): vm.grow({a} + 1)", "mem[{a}] = {b} & 255"), False),
    0x5E: (3, ("if {c}:", " vm.pay(3 * (({c} + 31) >> 5))",
               " if max({a}, {b}) + {c} > len(mem): vm.grow(max({a}, {b}) + {c})",
               " mem[{a}:{a} + {c}] = mem[{b}:{b} + {c}]"), False),
}

_OPCODES: dict[int, Any] = PRAGUE_OPCODES
STATIC_GAS = {op: int(opcode.gas_cost) for op, opcode in _OPCODES.items() if hasattr(opcode, "gas_cost")}

SCOPE: dict[str, Any] = {
    "M": WORD, "S": SIGN, "ZERO": b"\0", "read": int.from_bytes, "keccak": keccak, "sdiv": sdiv, "smod": smod,
    "signextend": signextend,
}


class Block(NamedTuple):
    """A compiled block: static gas, stack items it needs, most items it adds, and the opcode py-evm runs after it.

    ``run(vm, stack)`` returns the next program counter.
    """

    gas: int
    need: int
    grow: int
    run: Callable[[Any, list[int]], int]
    after: Any | None


class _Writer:
    """Collects a block's Python lines over a symbolic stack; ``taken`` real items have been popped so far."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stack: list[str] = []
        self.taken = 0
        self.names = 0
        self.grow = 0

    def fresh(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def reach(self, depth: int) -> None:
        """Make sure that the symbolic stack holds ``depth`` items, taking real ones from below."""
        while len(self.stack) < depth:
            name = self.fresh()
            self.lines.append(f"{name} = pop()")
            self.stack.insert(0, name)
            self.taken += 1

    def pop(self) -> str:
        self.reach(1)
        return self.stack.pop()

    def push(self, what: str) -> None:
        self.stack.append(what)
        self.grow = max(self.grow, len(self.stack) - self.taken)

    def flush(self) -> None:
        """Write the symbolic stack back."""
        if len(self.stack) == 1:
            self.lines.append(f"stack.append({self.stack[0]})")
        elif self.stack:
            self.lines.append(f"stack += ({', '.join(self.stack)})")
        self.stack = []

    def compute(self, op: int) -> None:
        """One opcode of EXPRESSIONS or STATEMENTS."""
        pops = EXPRESSIONS[op][0] if op in EXPRESSIONS else STATEMENTS[op][0]
        names = dict(zip("abc", [self.pop() for _ in range(pops)], strict=False))
        if op in EXPRESSIONS:
            result = self.fresh()
            self.lines.append(f"{result} = " + EXPRESSIONS[op][1].format(**names))
            self.push(result)
            return
        _, lines, has_result = STATEMENTS[op]
        names["r"] = self.fresh() if has_result else ""
        self.lines += [line.format(**names) for line in lines]
        if has_result:
            self.push(names["r"])

    def shuffle(self, op: int) -> None:
        """DUP1…16 and SWAP1…16."""
        depth = op - 0x7F if op < 0x90 else op - 0x8E
        self.reach(depth)
        if op < 0x90:
            self.push(self.stack[-depth])
        else:
            self.stack[-1], self.stack[-depth] = self.stack[-depth], self.stack[-1]


class Program:
    """One contract's code and its blocks by program counter."""

    def __init__(self, code: bytes) -> None:
        self.code = code + bytes(33)
        self.dests = _jump_destinations(code)
        self.blocks: dict[int, Block] = {}

    def block(self, start: int) -> Block:
        """Compile (and remember) the block that starts at ``start``."""
        writer, gas, after = _Writer(), 0, None
        pc, end = start, start + BLOCK_OPS_MAX
        tail = ""
        while not tail:
            op = self.code[pc]
            if pc >= end or (op == JUMPDEST and pc != start):
                writer.flush()
                tail = f"return {pc}"
            elif op in (JUMP, JUMPI):
                gas += STATIC_GAS[op]
                tail = _jump(writer, op, pc)
            elif PUSH0 <= op <= 0x7F:
                size = op - PUSH0
                writer.push(str(int.from_bytes(self.code[pc + 1:pc + 1 + size], "big")))
                pc += size
            elif not _translate(writer, op, pc):
                after = _OPCODES[op] if op in _OPCODES else InvalidOpcode(op)
                writer.flush()
                tail = f"return {pc + 1}"
            if not tail:
                gas += STATIC_GAS[op]
            pc += 1
        run = _function([*writer.lines, tail])
        found = Block(gas, writer.taken, max(writer.grow, 0), run, after)
        self.blocks[start] = found
        return found


def _translate(writer: _Writer, op: int, pc: int) -> bool:
    """Write one opcode; False if it is left to py-evm."""
    if op in EXPRESSIONS or op in STATEMENTS:
        writer.compute(op)
    elif 0x80 <= op <= 0x9F:
        writer.shuffle(op)
    elif op == 0x50:
        writer.pop()
    elif op == PC:
        writer.push(str(pc))
    elif op != JUMPDEST:
        return False
    return True


def _jump(writer: _Writer, op: int, pc: int) -> str:
    target = writer.pop()
    if op == JUMP:
        writer.flush()
        return f"return vm.jump({target})"
    condition = writer.pop()
    writer.flush()
    return f"return vm.jump({target}) if {condition} else {pc + 1}"


def _function(lines: list[str]) -> Callable[[Any, list[int]], int]:
    """Compile a block's lines. They consist of the templates above and of decimal integers: nothing foreign gets in."""
    body = "\n ".join(["pop = stack.pop", "mem = vm.memory", "data = vm.data", *lines])
    scope = dict(SCOPE)
    exec(compile(f"def block(vm, stack):\n {body}\n", "<evm block>", "exec"), scope)
    function: Callable[[Any, list[int]], int] = scope["block"]
    return function


def _jump_destinations(code: bytes) -> frozenset[int]:
    found = set()
    pc = 0
    while pc < len(code):
        op = code[pc]
        if op == JUMPDEST:
            found.add(pc)
        pc += op - PUSH0 + 1 if PUSH0 < op <= 0x7F else 1
    return frozenset(found)


@lru_cache(maxsize=PROGRAMS_MAX)
def program_of(code: bytes) -> Program:
    """The (cached) program of a contract's code."""
    return Program(code)
