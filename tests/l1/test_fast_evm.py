"""The compiled EVM against py-evm's interpreter: random programs and real contracts give the same everything."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from eth.vm.forks.prague.computation import PragueComputation
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from node.l1.devchain.accounts import dev_accounts
from node.l1.devchain.chain import Devchain, Plan, seal
from node.l1.devchain.config import DevchainConfig
from node.l1.devchain.executor import BlockEnv, CallRequest, Outcome
from node.l1.devchain.nodes import BLANK_ROOT
from node.l1.devchain.pyevm import PyEvm, State
from tests.l1.contract import call_data, creation_code

ENV = BlockEnv(7, 1_700_000_000, b"\x01" * 20, 30_000_000, 10**9, b"\x02" * 32, (b"\x03" * 32, b"\x04" * 32))
CODE_AT, OTHER_AT = b"\xc0" * 20, b"\xc1" * 20
SENDER = b"\xaa" * 20

EDGE_WORDS = (0, 1, 2, 31, 32, 255, 256, 2**255 - 1, 2**255, 2**255 + 1, 2**256 - 1, 2**256 - 2, 2**128, 0xFF << 248)
COMPUTING = (*range(0x01, 0x0C), *range(0x10, 0x1E))
READING = (0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3A, 0x3D, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x58,
           0x59, 0x5A)


class PlainState(State):
    """Our settlement on py-evm's interpreter."""

    computation_class = PragueComputation


def push(value: int, width: int | None = None) -> bytes:
    size = width or max(1, (value.bit_length() + 7) // 8)
    return bytes([0x5F + size]) + value.to_bytes(size, "big")


class Generator:
    """Random programs that mostly do not fail at once: arguments in range, jumps to real destinations, some noise."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.dests: list[int] = []

    def word(self) -> int:
        kind = self.dice.random()
        if kind < 0.4:
            return self.dice.choice(EDGE_WORDS)
        return self.dice.getrandbits(8 if kind < 0.7 else 256)

    def offset(self) -> int:
        return self.dice.choice((0, 1, 31, 32, 33, 64, 100, 200, self.dice.getrandbits(9)))

    def memory_op(self) -> bytes:
        small, size = self.offset(), self.offset()
        args = {0x20: (size, small), 0x37: (size, self.offset(), small), 0x39: (size, self.offset(), small),
                0x51: (small,), 0x52: (self.word(), small), 0x53: (self.word(), small), 0x35: (self.offset(),),
                0x5E: (size, self.offset(), small), 0xA0: (size, small), 0xA2: (self.word(), self.word(), size, small)}
        op = self.dice.choice(list(args))
        return b"".join(map(push, args[op])) + bytes([op])

    def state_op(self) -> bytes:
        slot = self.dice.randrange(4)
        op, args = self.dice.choice(((0x54, (slot,)), (0x55, (self.word(), slot)), (0x5C, (slot,)),
                                     (0x5D, (self.word(), slot)), (0x31, (int.from_bytes(CODE_AT, "big"),))))
        return b"".join(map(push, args)) + bytes([op])

    def call_op(self) -> bytes:
        op = self.dice.choice((0xF1, 0xF2, 0xF4, 0xFA))
        target = self.dice.choice((int.from_bytes(OTHER_AT, "big"), 2, 4, 0xDEAD))
        args = [self.offset(), self.offset(), self.offset(), self.offset()]  # out size, out, in size, in
        if op in (0xF1, 0xF2):
            args.append(self.dice.choice((0, 0, 1)))
        return b"".join(map(push, [*args, target, self.dice.choice((0, 3_000, 60_000))])) + bytes([op])

    def jump_op(self, here: int) -> bytes:
        if self.dice.random() < 0.75:
            head = b"\x42\x50" + push(self.dice.randrange(2))
            return head + push(here + len(head) + 5, 2) + bytes([0x57, 0x00, 0x5B])  # skip the STOP, or meet it
        target = self.dice.choice([*self.dests, self.dice.getrandbits(9)])
        return push(self.dice.randrange(2)) + push(target, 2) + b"\x57"

    def program(self, pieces: int, calls: bool) -> bytes:
        code = b""
        for _ in range(pieces):
            kind = self.dice.randrange(100)
            if kind < 45:
                code += b"".join(push(self.word()) for _ in range(3)) + bytes([self.dice.choice(COMPUTING)])
            elif kind < 55:
                code += bytes([self.dice.choice(COMPUTING)])
            elif kind < 65:
                code += bytes([self.dice.randrange(0x80, 0xA0)])
            elif kind < 78:
                code += self.memory_op()
            elif kind < 84:
                code += self.state_op()
            elif kind < 89:
                code += bytes([self.dice.choice(READING)])
            elif kind < 92:
                code += self.jump_op(len(code))
            elif kind < 95:
                self.dests.append(len(code))
                code += b"\x5b"
            elif kind < 98 and calls:
                code += self.call_op()
            elif kind == 99:
                code += bytes([self.dice.getrandbits(8)])
        top = b"".join(push(32 * i) + b"\x52" for i in range(8))
        return code + top + self.dice.choice((b"\x61\x01\x00\x5f\xf3", b"\x61\x01\x00\x5f\xfd", b""))


@dataclass(frozen=True)
class Result:
    """All that an execution leaves behind."""

    outcome: Outcome
    root: bytes


def run(state_class: type, codes: dict[bytes, bytes], request: CallRequest) -> Result:
    evm = PyEvm(1, state_class=state_class)
    state = evm._state(ENV, BLANK_ROOT)
    state.set_balance(SENDER, 10**18)
    for address, code in codes.items():
        state.set_code(address, code)
        state.set_balance(address, 1_000)
        state.set_storage(address, 1, 77)
    state.persist()
    root = state.state_root
    outcome = evm.call(ENV, root, request)
    # once more with its effects kept, to compare the state that it leaves
    from node.l1.devchain.pyevm import _run, _UnsignedCall

    kept = evm._state(BlockEnv(7, 1_700_000_000, b"\x01" * 20, 30_000_000, 0, b"\x02" * 32, ENV.prev_hashes), root)
    _run(kept, _UnsignedCall(request.sender, request.to, request.data, request.value, request.gas, (), 21_000), 0)
    kept.persist()
    return Result(outcome, bytes(kept.state_root))


def same(codes: dict[bytes, bytes], request: CallRequest) -> Result:
    """Run on both engines; returns the common result."""
    fast, plain = run(State, codes, request), run(PlainState, codes, request)
    assert fast.root == plain.root
    a, b = fast.outcome, plain.outcome
    assert (a.success, a.gas_used, a.gas_spent, a.output, a.logs, a.created) == (
        b.success, b.gas_used, b.gas_spent, b.output, b.logs, b.created)
    if a.success or a.reverted or b.reverted:
        assert a.error == b.error
    return fast


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from((30_000, 60_000, 200_000, 1_000_000)),
       st.integers(0, 80))
def test_random_programs_agree(seed: int, pieces: int, gas: int, size: int) -> None:
    generator = Generator(seed)
    code = generator.program(pieces, calls=True)
    other = Generator(seed + 1).program(10, calls=False)
    data = generator.dice.randbytes(size)
    same({CODE_AT: code, OTHER_AT: other}, CallRequest(SENDER, CODE_AT, data, generator.dice.choice((0, 5)), gas))


def test_many_seeded_programs_agree_and_most_of_them_run() -> None:
    succeeded = reverted = 0
    for seed in range(400):
        generator = Generator(seed)
        codes = {CODE_AT: generator.program(25, calls=True), OTHER_AT: Generator(~seed).program(8, calls=False)}
        result = same(codes, CallRequest(SENDER, CODE_AT, generator.dice.randbytes(70), 0, 300_000))
        succeeded += result.outcome.success
        reverted += result.outcome.reverted
    assert succeeded > 60 and reverted > 20 and succeeded + reverted < 400, (succeeded, reverted)


@pytest.mark.parametrize("op", COMPUTING)
def test_each_computing_opcode_on_edge_words(op: int) -> None:
    code, at = b"", 64
    for a in EDGE_WORDS:
        for b in EDGE_WORDS:
            constant = push(3) + push(b) + push(a)
            from_memory = constant + b"\x5f\x52\x5f\x51"  # so that one operand is not a literal
            for operands in (constant, from_memory):
                code += operands + bytes([op]) + push(at, 3) + b"\x52"
                at += 32
            code += b"\x5b"
    code += push(at) + b"\x5f\xf3"
    assert len(same({CODE_AT: code}, CallRequest(SENDER, CODE_AT, b"", 0, 1_000_000)).outcome.output) == at


@pytest.mark.parametrize(("code", "gas"), [
    (b"\x5b\x60\x01\x5f\x56", 60_000),  # grows the stack until it is full
    (b"\x01", 60_000),  # underflow
    (b"\x60\x01" * 1_023 + b"\x80\x00", 60_000), (b"\x60\x01" * 1_024 + b"\x80\x00", 60_000),  # exactly full, overfull
    (b"\x60\x01" * 1_100 + b"\x00", 60_000),
    (b"\x60\x04\x56\x60\x5b\x00", 60_000),  # a JUMPDEST byte inside a PUSH is none
    (b"\x60\x03\x56\x5b\x00", 60_000), (b"\x60\x04\x56\x5b\x00", 60_000), (b"\x7f\xff", 60_000),
    (push(2**255) + b"\x51", 60_000), (push(2**64) + push(0) + b"\x52", 60_000),  # memory nobody can pay
    (push(2**255) + b"\x35\x00", 60_000), (push(0) + push(2**255) + push(3) + b"\x37\x00", 60_000),
    (push(0) + push(2**255) + b"\x20\x00", 60_000), (b"\x0c", 60_000), (b"\xfe", 60_000), (b"", 60_000),
    (b"\x5a\x5f\x52\x60\x20\x5f\xf3", 60_000), (b"\x5b" * 600 + b"\x5a\x5f\x52\x60\x20\x5f\xf3", 60_000),
    (b"\x60\x00\x60\x00\x50\x50" * 300 + b"\x5a\x5f\x52\x60\x20\x5f\xfd", 60_000),
])
def test_edges_agree(code: bytes, gas: int) -> None:
    same({CODE_AT: code}, CallRequest(SENDER, CODE_AT, b"\x01\x02", 0, gas))


@pytest.mark.parametrize("gas", range(21_000, 26_000, 97))
def test_every_gas_limit_agrees(gas: int) -> None:
    """Out of gas at any opcode, with memory, storage and hashing on the way."""
    code = (b"\x5a\x60\x00\x52" + b"\x60\x40\x60\x20\x20" + push(9) + push(1) + b"\x5d" + push(1) + b"\x5c"
            + push(300) + b"\x51\x5a\x01\x5f\x52\x60\x40\x5f\xf3")
    same({CODE_AT: code}, CallRequest(SENDER, CODE_AT, b"", 0, gas))


def test_vyper_contracts_agree_block_by_block() -> None:
    """Deploy and use a contract on both engines; headers (so: roots, receipts, gas) are equal."""
    account = dev_accounts(1)[0]
    chain = Devchain(DevchainConfig(genesis_time_s=1_000), clock=lambda: 2_000)
    plain = PyEvm(chain.config.chain_id, state_class=PlainState)
    plain.genesis({item.address: chain.config.balance_wei for item in chain.accounts})

    def mine(**changes: object) -> bytes:
        fields = {"value": 0, "nonce": chain.store.head.number, "gas": 2_000_000, "chainId": 31_337,
                  "maxFeePerGas": 5 * 10**9, "maxPriorityFeePerGas": 10**9, "data": b""} | changes
        chain.submit(bytes(Account.sign_transaction(fields, account.key).raw_transaction))
        plan: Plan = chain.plan()
        fast, slow = seal(chain.executor, plan), seal(plain, plan)
        assert fast == slow and len(fast.sealed.tx_hashes) == 1
        chain.commit(fast)
        return fast.sealed.body.receipts[0].created

    target = mine(data=creation_code())
    for value in (5, 0, 99, 100, 7):
        mine(to=target, data=call_data("store", value))
    mine(to=target, data=call_data("first_wins", 3))
    mine(to=target, data=call_data("spin", 300))
    mine(to=target, data=b"\x00\x01")
    chain.store.close()
