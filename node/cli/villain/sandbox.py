"""A rollup of the villain's own, on a token that does what he wants: real contracts around hostile money.

    token   ERC-20 whose slots anybody sets: HOOK, a contract to call in the middle of every transfer, once;
            FEE, percent that it keeps; LIE, answer false and move nothing; BLOCKED, an address that it does not pay
    hook    tries doors (calls) one after another and remembers which opened and which were shut without a word,
            as a lock shuts them

Balances stay true (what leaves one address arrives at the other, or is the fee), so tokens >= custody + reserved says
something. A forwarder is verifier, promise court and the villain's own contract in one: what it may, he may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from eth_abi.abi import encode

import contracts
from node.cli.villain.evmcode import FORWARDER, Call, assemble, contract, forward
from node.cli.villain.l1 import Actor, VillainL1, call_data
from node.cli.villain.operator import Operator
from node.l1 import bindings
from node.l1.deployment import L2_CHAIN_ID, USD, Deployment, Timings
from node.l1.types import L1Receipt

HOOK, FEE, LIE, BLOCKED = 0, 1, 2, 3  # slots of the token
OPENED, SHUT, RUNS = 0, 1, 2  # slots of the hook
WEALTH: Final = 1_000_000 * USD
TIMINGS: Final = Timings(
    challenge_window_s=10, bond_min=100 * USD, bond_delay_s=10, seat_idle_s=21, force_delay_s=20, timelock_s=31,
    force_floor_s=1, exodus_after_s=52, reseat_s=20, register_s=10)

_TOKEN: Final = """
    0 CALLDATALOAD 224 SHR
    DUP1 0xa9059cbb EQ @transfer JUMPI
    DUP1 0x23b872dd EQ @transfer_from JUMPI
    DUP1 0x70a08231 EQ @balance JUMPI
    DUP1 0xdd62ed3e EQ @allowance JUMPI
    DUP1 0x40c10f19 EQ @mint JUMPI
    DUP1 {set} EQ @set JUMPI
    0 0 REVERT
:balance        4 CALLDATALOAD SLOAD @answer JUMP
:allowance      0 NOT @answer JUMP
:mint           36 CALLDATALOAD 4 CALLDATALOAD SLOAD ADD 4 CALLDATALOAD SSTORE 1 @answer JUMP
:set            36 CALLDATALOAD 4 CALLDATALOAD SSTORE 1 @answer JUMP
:transfer       CALLER 0 MSTORE 4 CALLDATALOAD 32 MSTORE 36 CALLDATALOAD 64 MSTORE @move JUMP
:transfer_from  4 CALLDATALOAD 0 MSTORE 36 CALLDATALOAD 32 MSTORE 68 CALLDATALOAD 64 MSTORE @move JUMP
:move
    2 SLOAD @lie JUMPI
    3 SLOAD 32 MLOAD EQ @refuse JUMPI
    0 SLOAD DUP1 ISZERO @quiet JUMPI
    0 0 SSTORE
    0 0 0 0 0 DUP6 GAS CALL POP
:quiet
    POP
    64 MLOAD 0 MLOAD SLOAD LT @refuse JUMPI
    64 MLOAD 0 MLOAD SLOAD SUB 0 MLOAD SSTORE
    100 1 SLOAD 64 MLOAD MUL DIV 64 MLOAD SUB
    32 MLOAD SLOAD ADD 32 MLOAD SSTORE
    1 @answer JUMP
:lie            0 @answer JUMP
:answer         0 MSTORE 32 0 RETURN
:refuse         0 0 REVERT
"""
TOKEN: Final = contract(assemble(_TOKEN.format(set="0x" + call_data("set(uint256,uint256)", 0, 0)[:4].hex())))


def hook(doors: Sequence[Call]) -> bytes:
    """Initcode of a hook that tries these doors: bit i of OPENED or SHUT is door i's in the last run; RUNS counts."""
    text, data = f"0 {OPENED} SSTORE 0 {SHUT} SSTORE", b""
    for index, door in enumerate(doors):
        size = len(door.data)
        text += f"""
            {size} %{len(data)} 0 CODECOPY
            0 0 {size} 0 0 0x{door.to.hex()} GAS CALL
            DUP1 {index} SHL {OPENED} SLOAD OR {OPENED} SSTORE
            ISZERO RETURNDATASIZE ISZERO AND {index} SHL {SHUT} SLOAD OR {SHUT} SSTORE"""
        data += door.data
    text += f" 1 {RUNS} SLOAD ADD {RUNS} SSTORE STOP"
    return contract(assemble(text, data))


@dataclass(frozen=True)
class Sandbox:
    """See the module. ``proxy`` is the forwarder, ``owner`` deployed everything, has the seat and the money."""

    l1: VillainL1
    owner: Actor
    token: bytes
    proxy: bytes
    rollup: bytes
    exodus: bytes
    operator: Operator

    @classmethod
    async def open(cls, l1: VillainL1, owner: Actor) -> Sandbox:
        """Deploy it all, sit down, and be rich. Nothing of it is booked."""
        token = await _create(l1, owner, TOKEN)
        proxy = await _create(l1, owner, contract(FORWARDER))
        arguments = bindings.encode_constructor(token, owner.address, TIMINGS.params(L2_CHAIN_ID))
        start = (await l1.client.head()).number
        rollup = await _create(l1, owner, contracts.load("Rollup").bytecode + arguments)
        times = [TIMINGS.exodus_after_s, TIMINGS.reseat_s, TIMINGS.register_s]
        arguments = encode(["address", "uint256", "uint256", "uint256"], [rollup, *times])
        exodus = await _create(l1, owner, contracts.load("Exodus").bytecode + arguments)
        record = await _record(l1, owner, start, {"rollup": rollup, "token": token, "verifier": proxy})
        box = cls(l1, owner, token, proxy, rollup, exodus, Operator(l1, record, owner, ()))
        for who in (owner.address, proxy):
            await l1.must(owner, token, call_data("mint(address,uint256)", who, WEALTH), book=False)
        for name, values in (("set_verifier", (proxy,)), ("set_courts", (exodus, proxy)), ("open", ()),
                             ("take_seat", (TIMINGS.bond_min,))):
            await l1.must(owner, rollup, bindings.encode_call(name, *values), book=False)
        return box

    async def set(self, slot: int, value: int) -> None:
        """Change what the token does."""
        await self.l1.must(self.owner, self.token, call_data("set(uint256,uint256)", slot, value), book=False)

    async def do(self, to: bytes, data: bytes) -> L1Receipt:
        """A call from the proxy, which must succeed."""
        return await self.l1.must(self.owner, self.proxy, forward(to, data))

    async def balance(self, who: bytes) -> int:
        """Tokens, micro-USD."""
        return int.from_bytes(await self.l1.client.call(self.token, call_data("balanceOf(address)", who)), "big")

    async def ask(self, name: str, *args: Any) -> Any:
        """Any view of the rollup."""
        return await self.operator.ask(name, *args)

    async def excess(self) -> int:
        """Tokens that the rollup has beyond custody and reserved; negative if any are missing."""
        held = await self.balance(self.rollup)
        return held - int(await self.ask("custody")) - int(await self.ask("reserved"))

    async def hang(self, doors: Sequence[Call]) -> bytes:
        """Deploy a hook."""
        return await _create(self.l1, self.owner, hook(doors))

    async def read(self, address: bytes, slot: int) -> int:
        """A slot of a contract."""
        return await self.l1.client.storage(address, slot)


async def _create(l1: VillainL1, owner: Actor, initcode: bytes) -> bytes:
    receipt = await l1.must(owner, b"", initcode, book=False)
    assert receipt.created is not None, "a creation that succeeds creates"
    return receipt.created


async def _record(l1: VillainL1, owner: Actor, start: int, parts: dict[str, bytes]) -> Deployment:
    return Deployment(
        l1_chain_id=await l1.client.chain_id(), l2_chain_id=L2_CHAIN_ID, start_block=start, genesis_root="",
        challenge_window_s=TIMINGS.challenge_window_s, admin="0x" + owner.address.hex(), publishers=[], markets=[],
        contracts={}, gas_used=0, **{name: "0x" + address.hex() for name, address in parts.items()})
