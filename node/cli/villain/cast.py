"""The villain's cast: accounts with parts to play, their keys from one seed, their money from one purse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from node.cli.villain.l1 import Actor, VillainL1, call_data
from node.l1.keys import LocalSigner, Signer

ETHER: Final = 10**18
USD: Final = 1_000_000
ALLOWANCE: Final = 2**256 - 1


@dataclass(frozen=True)
class Purse:
    """Where the villain's money comes from. ``seed``: 32 bytes that his cast's keys derive from (secret wherever ether
    is worth something); ``ether_each``: wei that every actor starts with; ``faucet``: the token mints for anybody."""

    signer: Signer
    seed: bytes
    ether_each: int = 20 * ETHER
    faucet: bool = True


class Cast:
    """Actors by name; the same seed and rollup bring back the same ones. What they get is not booked on anybody."""

    def __init__(self, l1: VillainL1, rollup: bytes, token: bytes, purse: Purse) -> None:
        self._l1 = l1
        self._rollup = rollup
        self._token = token
        self._purse = purse
        self._actors: dict[str, Actor] = {}
        self.funder = Actor("funder", purse.signer)

    @property
    def all(self) -> list[Actor]:
        """Everybody who has appeared so far."""
        return list(self._actors.values())

    def get(self, name: str, side: str = "attack") -> Actor:
        """The actor of this name, without any money yet."""
        if name not in self._actors:
            self._actors[name] = Actor(name, LocalSigner(keccak(self._purse.seed + self._rollup + name.encode())), side)
        return self._actors[name]

    async def fund(self, actor: Actor, micro: int) -> int:
        """See that the actor has ether, this many tokens, and the rollup's allowance; tokens that he got for it."""
        ether = await self._l1.client.balance(actor.address)
        if ether < self._purse.ether_each // 2:
            await self._l1.must(
                self.funder, actor.address, value=self._purse.ether_each - ether, gas=21_000, book=False)
        missing = max(0, micro - await self.balance(actor.address))
        if missing:
            what = "mint(address,uint256)" if self._purse.faucet else "transfer(address,uint256)"
            await self._l1.must(self.funder, self._token, call_data(what, actor.address, missing), book=False)
        if micro and await self._ask("allowance(address,address)", actor.address, self._rollup) < micro:
            await self._l1.must(
                actor, self._token, call_data("approve(address,uint256)", self._rollup, ALLOWANCE), book=False)
        return missing

    async def balance(self, address: bytes) -> int:
        """Tokens of an address, micro-USD."""
        return await self._ask("balanceOf(address)", address)

    async def _ask(self, signature: str, *args: bytes) -> int:
        return int.from_bytes(await self._l1.client.call(self._token, call_data(signature, *args)), "big")
