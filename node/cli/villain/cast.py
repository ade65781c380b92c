"""The villain's cast: accounts with parts to play, their keys from one seed, their money from one purse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from node.cli.villain.l1 import GWEI, Actor, VillainL1, call_data
from node.l1.keys import LocalSigner, Signer

ETHER: Final = 10**18
USD: Final = 1_000_000
ALLOWANCE: Final = 2**256 - 1
TRANSFER_GAS: Final = 21_000
TIP_ROOM: Final = 3  # times the base fee now that a last transfer leaves for its own gas
STAYS: Final = frozenset(("operator",))  # has a bond, which outlasts an episode


@dataclass(frozen=True)
class Purse:
    """Where the villain's money comes from. ``seed``: 32 bytes that his cast's keys derive from (secret wherever ether
    is worth something); ``ether_each``: wei that every actor starts with; ``faucet``: the token mints for anybody."""

    signer: Signer
    seed: bytes
    ether_each: int = 20 * ETHER
    faucet: bool = True


class Cast:
    """Actors by name; the same seed, rollup and episode bring back the same ones. What they get is not booked on
    anybody. In a new episode everybody but the operator is somebody new under the old name: no positions, no money, no
    history."""

    def __init__(self, l1: VillainL1, rollup: bytes, token: bytes, purse: Purse) -> None:
        self._l1 = l1
        self._rollup = rollup
        self._token = token
        self.purse = purse
        self._actors: dict[str, Actor] = {}
        self._past: list[Actor] = []
        self._episode = b""
        self.funder = Actor("funder", purse.signer)

    @property
    def all(self) -> list[Actor]:
        """Everybody who has appeared in this episode, and the operator."""
        return list(self._actors.values())

    @property
    def known(self) -> dict[bytes, Actor]:
        """Everybody who has ever appeared, by address."""
        return {actor.address: actor for actor in (*self._past, *self._actors.values())}

    def begin(self, episode: int) -> None:
        """A new episode; each has a number of its own, L1's height say."""
        self._past += [actor for name, actor in self._actors.items() if name not in STAYS]
        self._actors = {name: actor for name, actor in self._actors.items() if name in STAYS}
        self._episode = episode.to_bytes(8, "big")

    def get(self, name: str, side: str = "attack") -> Actor:
        """The actor of this name, without any money yet."""
        if name not in self._actors:
            episode = b"" if name in STAYS else self._episode
            key = keccak(self.purse.seed + self._rollup + episode + name.encode())
            self._actors[name] = Actor(name, LocalSigner(key), side)
        return self._actors[name]

    async def fund(self, actor: Actor, micro: int) -> int:
        """See that the actor has ether, this many tokens, and the rollup's allowance; tokens that he got for it."""
        ether = await self._l1.client.balance(actor.address)
        if ether < self.purse.ether_each // 2:
            await self._l1.must(
                self.funder, actor.address, value=self.purse.ether_each - ether, gas=TRANSFER_GAS, book=False)
        missing = max(0, micro - await self.balance(actor.address))
        if missing:
            what = "mint(address,uint256)" if self.purse.faucet else "transfer(address,uint256)"
            await self._l1.must(self.funder, self._token, call_data(what, actor.address, missing), book=False)
        if micro and await self._ask("allowance(address,address)", actor.address, self._rollup) < micro:
            await self._l1.must(
                actor, self._token, call_data("approve(address,uint256)", self._rollup, ALLOWANCE), book=False)
        return missing

    async def give_back(self) -> None:
        """Where ether is worth something, whoever has played returns what is left of it, and the tokens."""
        if self._l1.dev:
            return
        for actor in [actor for name, actor in self._actors.items() if name not in STAYS]:
            tokens = await self.balance(actor.address)
            if tokens and not self.purse.faucet:
                await self._l1.must(actor, self._token, call_data("transfer(address,uint256)", self.funder.address,
                                                                  tokens), book=False)
            head = await self._l1.client.head()
            left = await self._l1.client.balance(actor.address) - TRANSFER_GAS * (TIP_ROOM * head.base_fee + GWEI)
            if left > 0:
                await self._l1.must(actor, self.funder.address, value=left, gas=TRANSFER_GAS, book=False)

    async def balance(self, address: bytes) -> int:
        """Tokens of an address, micro-USD."""
        return await self._ask("balanceOf(address)", address)

    async def _ask(self, signature: str, *args: bytes) -> int:
        return int.from_bytes(await self._l1.client.call(self._token, call_data(signature, *args)), "big")
