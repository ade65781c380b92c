"""An L2 of four accounts without markets, for random histories of L1: balances and withdrawals in the real layouts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from node.stf import state, witness
from node.stf.state import AccountRow, Globals
from node.stf.trie import MemoryTrie
from node.stf.types import Key
from tests.contracts.tiny_trie import withdrawal_key, withdrawal_value
from tests.evm import Actor


@dataclass(frozen=True)
class Payout:
    """A withdrawal that L2 has made: it is in the state of every batch from then on."""

    recipient: Actor
    amount: int


@dataclass(frozen=True)
class L2:
    """One state. ``balances[i]`` is account i + 1's, below zero if it lost more than it had; ``credited``: deposits;
    ``forgotten``: payouts whose leaves are gone, since L1 said that they are paid."""

    owners: Sequence[Actor]
    balances: tuple[int, ...] = (0, 0, 0, 0)
    payouts: tuple[Payout, ...] = ()
    credited: int = 0
    forgotten: frozenset[int] = frozenset()
    cache: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def withdrawn(self) -> int:
        return sum(payout.amount for payout in self.payouts)

    @property
    def pool(self) -> int:
        """What the accounts own together: it always sums up."""
        return self.credited - self.withdrawn

    def credit(self, account: int, amount: int) -> L2:
        return replace(self, balances=self._with(account, amount), credited=self.credited + amount, cache={})

    def pay(self, account: int, recipient: Actor, amount: int) -> L2:
        payouts = (*self.payouts, Payout(recipient, amount))
        return replace(self, balances=self._with(account, -amount), payouts=payouts, cache={})

    def win(self, winner: int, loser: int, amount: int) -> L2:
        """One gains what the other loses, be it more than the loser has."""
        return replace(replace(self, balances=self._with(winner, amount))._lost(loser, amount), cache={})

    def forget(self, numbers: Iterable[int]) -> L2:
        return replace(self, forgotten=self.forgotten | frozenset(numbers), cache={})

    def leaves(self) -> dict[bytes, bytes]:
        g = Globals()
        g.next_account, g.deposits, g.withdrawn = len(self.balances) + 1, self.credited, self.withdrawn
        leaves = {state.GLOBAL_KEY: state.encode_globals(g)}
        for index, balance in enumerate(self.balances):
            row = AccountRow()
            row.collateral = balance
            row.keys.append(Key(int(self.owners[index].address, 16)))
            leaves[state.account_key(index + 1)] = state.encode_account(row)
        for number, payout in enumerate(self.payouts):
            if number in self.forgotten:
                continue
            leaves[withdrawal_key(number)] = withdrawal_value(payout.recipient.address, payout.amount)
        return leaves

    @property
    def root(self) -> bytes:
        if "root" not in self.cache:
            self.cache["root"] = MemoryTrie(self.leaves()).root()
        return self.cache["root"]

    def witness(self, account: int) -> bytes:
        """What Exodus wants to see of an account: it touches nothing else."""
        shown = witness.build(MemoryTrie(self.leaves()), [state.GLOBAL_KEY, state.account_key(account + 1)])
        return witness.encode(shown)

    def _with(self, account: int, amount: int) -> tuple[int, ...]:
        return tuple(balance + (amount if index == account else 0) for index, balance in enumerate(self.balances))

    def _lost(self, account: int, amount: int) -> L2:
        return replace(self, balances=self._with(account, -amount))
