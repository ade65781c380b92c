"""Who lost what, measured: tokens, bonds and rewards on L1, and everything on L2 that L1's head would grant.

    wealth = tokens + bond + reward + Σ equity of one's L2 accounts, at last marks
           + deposits that L2 has not consumed + withdrawals that L1 has not paid

In a rollup that has ended, what Exodus has paid for an account, or refunded of a deposit, is in tokens already; and a
debt is nobody's claim any more, since L1 collects none: equity counts from zero up.

Minted or given tokens are entered as such, so a loss is a loss whatever faucet filled the account. Gas is not in it: it
is counted in transactions and gas, because its price is another chain's matter.
"""

from __future__ import annotations

from typing import Any, Final

from node.cli.villain.l1 import Actor, Bill, VillainL1, call_data
from node.cli.villain.operator import Operator
from node.l1 import bindings, courts
from node.l1.deployment import Deployment
from node.stf import margin, state
from node.stf.commitments import decode_message
from node.stf.engine import Engine
from node.stf.trie import TrieView

MESSAGE_DEPOSIT: Final = 1
LEAVES_MAX: Final = 10_000
BLOCKS_MAX: Final = 20_000
PROVER_PERCENT: Final = 10


class Ledger:
    """Wealth of the villain's cast between two moments."""

    def __init__(self, l1: VillainL1, deployment: Deployment, operator: Operator) -> None:
        self._l1 = l1
        self._operator = operator
        self._token = bytes.fromhex(deployment.token[2:])
        self._courts = {bytes.fromhex(deployment.contracts[name][2:])
                        for name in ("FraudVerifier", "PromiseCourt", "Exodus")}
        self._exodus_at = bytes.fromhex(deployment.contracts["Exodus"][2:])
        self._before: dict[bytes, int] = {}
        self._given: dict[bytes, int] = {}
        self._start_block = 0

    async def begin(self, actors: list[Actor]) -> None:
        """From here on it counts."""
        self._start_block = (await self._l1.client.head()).number
        self._l1.forget_costs()
        self._given = {}
        await self._operator.sync()
        self._before = {actor.address: await self.wealth(actor) for actor in actors}

    async def join(self, actor: Actor) -> None:
        """An actor that appears later has what it has."""
        self._before.setdefault(actor.address, await self.wealth(actor))

    def give(self, actor: Actor, amount: int) -> None:
        """Tokens that came from outside the game."""
        self._given[actor.address] = self._given.get(actor.address, 0) + amount

    async def balance(self, address: bytes) -> int:
        """Tokens of an address."""
        return int.from_bytes(await self._l1.client.call(self._token, call_data("balanceOf(address)", address)), "big")

    async def wealth(self, actor: Actor) -> int:
        """See the module; micro-USD."""
        bond = await self._operator.ask("bond_of", actor.address)
        on_l1: int = await self.balance(actor.address) + bond[0] + await self._operator.ask("reward_of", actor.address)
        view = self._operator.view
        ended = await self._operator.ask("frozen_at") != 0
        on_l2 = [equity for account, equity in equities_of(view, actor.address)
                 if not ended or (equity > 0 and not (await self._exodus("share_of", account))[2])]
        return on_l1 + sum(on_l2) + await self._waiting(view, actor.address, ended) + await self._unpaid(
            view, actor.address)

    async def _exodus(self, name: str, number: int) -> Any:
        data = courts.encode_call(courts.EXODUS, name, number)
        return courts.decode_result(courts.EXODUS, name, await self._l1.client.call(self._exodus_at, data))

    async def _waiting(self, view: TrieView, owner: bytes, ended: bool) -> int:
        """Deposits in the inbox that the head has not consumed, and that were not refunded."""
        inbox = self._operator.pipeline.inbox
        total = 0
        for number in range(self._operator.chain.head.cursor, inbox.count):
            message = decode_message(inbox.message(number) or bytes(29))
            if message.kind == MESSAGE_DEPOSIT:
                account, named = int.from_bytes(message.payload[:4], "big"), message.payload[4:24]
                whose = message.sender if ended else named if account == 0 else owner_of(view, account)
                refunded = ended and whose == owner and await self._exodus("is_refunded", number)
                total += int.from_bytes(message.payload[24:32], "big") if whose == owner and not refunded else 0
        return total

    async def _unpaid(self, view: TrieView, owner: bytes) -> int:
        """Withdrawals that would be paid to the owner, transferred claims included."""
        total = 0
        for key, _ in zip(view.keys(b"W"), range(LEAVES_MAX), strict=False):
            word = int.from_bytes((view.get(key) or bytes(32))[:32], "big")
            number, recipient, amount = int.from_bytes(key[1:9], "big"), (word >> 64).to_bytes(20, "big"), word % 2**64
            payee = await self._payee(number, recipient, amount)
            if payee == owner and not await self._operator.ask("is_paid", number):
                total += amount
        return total

    async def _payee(self, number: int, recipient: bytes, amount: int) -> bytes:
        found: bytes = await self._operator.ask("claim_owner", number, recipient, amount)
        return found

    async def settle(self, actors: list[Actor]) -> tuple[dict[str, int], Bill, Bill]:
        """What everybody lost since ``begin`` (only those who lost or gained), and what both sides sent."""
        await self._operator.sync()
        lost: dict[str, int] = {}
        for actor in actors:
            before = self._before.get(actor.address, 0) + self._given.get(actor.address, 0)
            change = before - await self.wealth(actor)
            if change:
                lost[actor.name] = lost.get(actor.name, 0) + change
        ours = {actor.address for actor in actors}
        await self._l1.book_published()
        gained = await self._rewards_of_others(ours)
        if gained:
            lost["watchtower"] = -gained
        bills = self._l1.bills
        await self._bill_others(ours, bills["defence"])
        self._l1.forget_costs()
        return lost, bills["attack"], bills["defence"]

    async def _rewards_of_others(self, ours: set[bytes]) -> int:
        """What slashes since the beginning have promised to provers that are none of the villain's."""
        head = await self._l1.client.head()
        logs = await self._l1.client.logs(
            self._operator.rollup, self._start_block + 1, head.number, [bindings.topic("BondSlashed")])
        return sum(int.from_bytes(log.data[:32], "big") * PROVER_PERCENT // 100
                   for log in logs if log.topics[2][12:] not in ours)

    async def _bill_others(self, ours: set[bytes], bill: Bill) -> None:
        """Transactions to the courts that others have sent."""
        head = (await self._l1.client.head()).number
        for number in range(max(self._start_block + 1, head - BLOCKS_MAX), head + 1):
            block = await self._l1.client.rpc("eth_getBlockByNumber", hex(number), True)
            for item in (block or {}).get("transactions", ()):
                to = bytes.fromhex((item.get("to") or "0x")[2:])
                if to in self._courts and bytes.fromhex(item["from"][2:]) not in ours:
                    receipt = await self._l1.mined(bytes.fromhex(item["hash"][2:]))
                    if receipt.success:  # a rival who came too late is no part of the defence
                        bill.add(receipt)


def equities_of(view: TrieView, owner: bytes) -> list[tuple[int, int]]:
    """Every account that the address owns, with its equity at last marks, micro-USD."""
    wanted = int.from_bytes(owner, "big")
    engine = Engine(view, bytes(32), lambda _number: None)
    found = []
    for account in range(1, engine.globals.next_account):
        engine.begin_chunk()
        if state.get_key(account, 0).address == wanted:
            health = margin.health(account)
            found.append((account, health.equity + health.haircut))
    return found


def owner_of(view: TrieView, account: int) -> bytes:
    """The address of an account's owner key; empty if there is no such account."""
    leaf = view.get(state.account_key(account))
    return b"" if leaf is None else state.decode_account(leaf).keys[0].address.to_bytes(20, "big")
