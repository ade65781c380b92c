"""py-evm's Prague computation with its opcode loop replaced by compiled blocks (``blockcode.py``)."""

from __future__ import annotations

from typing import Any

from eth.exceptions import FullStack, Halt, InsufficientStack, InvalidJumpDestination, OutOfGas
from eth.vm.computation import NO_RESULT
from eth.vm.forks.prague.computation import PragueComputation

from .blockcode import program_of

STACK_MAX = 1_024
GAS_REASON = "not enough gas for the next block of code"


class Machine:
    """What a compiled block reads and calls besides the stack: one message's memory, input, identity and gas."""

    __slots__ = ("address", "caller", "data", "dests", "memory", "meter", "value")

    def __init__(self, computation: Any, dests: frozenset[int]) -> None:
        message = computation.msg
        self.memory: bytearray = computation._memory._bytes
        self.meter = computation._gas_meter
        self.data = bytes(message.data)
        self.address = int.from_bytes(message.storage_address, "big")
        self.caller = int.from_bytes(message.sender, "big")
        self.value = message.value
        self.dests = dests

    def pay(self, gas: int) -> None:
        """Charge dynamic gas."""
        if gas > self.meter.gas_remaining:
            raise OutOfGas(GAS_REASON)
        self.meter.gas_remaining -= gas

    def grow(self, end: int) -> None:
        """Extend memory to hold byte ``end - 1``, at 3 gas a word plus words² / 512 (Yellow Paper, C_mem)."""
        before, after = len(self.memory) >> 5, (end + 31) >> 5
        self.pay(3 * (after - before) + after * after // 512 - before * before // 512)
        self.memory.extend(bytes((after - before) << 5))

    def jump(self, target: int) -> int:
        """A checked jump destination."""
        if target not in self.dests:
            raise InvalidJumpDestination("Invalid Jump Destination")
        return target


def execute(computation: Any) -> None:
    """Run a message's code to its halt; errors propagate as py-evm's own."""
    program = program_of(bytes(computation.msg.code))
    vm = Machine(computation, program.dests)
    stack: list[Any] = computation._stack.values
    meter, stream, blocks = computation._gas_meter, computation.code, program.blocks
    pc = 0
    while True:
        block = blocks.get(pc) or program.block(pc)
        left = meter.gas_remaining - block.gas
        if left < 0:
            raise OutOfGas(GAS_REASON)
        depth = len(stack)
        if depth < block.need:
            raise InsufficientStack(f"Wanted {block.need} stack items, only had {depth}")
        if depth + block.grow > STACK_MAX:
            raise FullStack("Stack limit reached")
        meter.gas_remaining = left
        pc = block.run(vm, stack)
        if block.after is not None:
            stream.program_counter = pc
            try:
                block.after(computation=computation)
            except Halt:
                return
            if stack and type(stack[-1]) is not int:
                stack[-1] = int.from_bytes(stack[-1], "big")  # py-evm pushes bytes where that suits it
            vm.memory = computation._memory._bytes  # py-evm may have replaced it


class FastComputation(PragueComputation):
    """Prague, fast. The frame around the loop (creation bookkeeping, precompiles, error handling) is py-evm's."""

    @classmethod
    def apply_computation(cls, state: Any, message: Any, transaction_context: Any,
                          parent_computation: Any = None) -> Any:
        """As ``BaseComputation.apply_computation``, whose steps these are."""
        with cls(state, message, transaction_context) as computation:
            if computation.is_origin_computation:
                computation.contracts_created = []
                if message.is_create:
                    cls.consume_initcode_gas_cost(computation)
            if parent_computation is not None:
                computation.contracts_created = parent_computation.contracts_created
            if message.is_create:
                computation.contracts_created.append(message.storage_address)
            precompile = computation.precompiles.get(message.code_address, NO_RESULT)
            if precompile is not NO_RESULT:
                if not message.is_delegation:
                    precompile(computation)
                return computation
            execute(computation)
        return computation
