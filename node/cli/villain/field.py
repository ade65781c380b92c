"""The field: what an attack works on. One deployment on one L1, a cast with fresh keys, an operator who knows all that
L1 knows, and, somewhere out there, watchtowers run by others.

Preparation (money, the seat, accounts, prices) costs the attack nothing; what counts begins with it. The same keys come
back for the same seed, so accounts that an earlier attack opened are used again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import trio
from eth_hash.auto import keccak

from node.cli.villain.catalogue import DEV, ENDS, SCENE, SEAT, Attack, Broken, Terms
from node.cli.villain.draft import Draft, Trader, buy, sell
from node.cli.villain.l1 import Actor, Bill, NotPlayable, VillainL1, call_data
from node.cli.villain.ledger import Ledger
from node.cli.villain.operator import Operator, Posted
from node.derive.exodus import accounts_of
from node.l1 import bindings, courts
from node.l1.courts import EXODUS, PROMISE_COURT
from node.l1.deployment import Deployment
from node.l1.keys import LocalSigner, Signer
from node.l1.types import L1Receipt
from node.stf import state
from node.stf.types import Status

USD: Final = 1_000_000
STAKE: Final = 10_000 * USD  # what each trader of the scene deposits
TRADERS: Final = ("alice", "bob", "carol")
ETHER: Final = 10**18
ALLOWANCE: Final = 2**256 - 1
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.02


@dataclass(frozen=True)
class Purse:
    """Where the villain's money comes from. ``seed``: 32 bytes that his cast's keys derive from (secret wherever ether
    is worth something); ``ether_each``: wei that every actor starts with; ``faucet``: the token mints for anybody."""

    signer: Signer
    seed: bytes
    ether_each: int = 20 * ETHER
    faucet: bool = True


class Field:
    """See the module. Make it with ``open``."""

    def __init__(self, l1: VillainL1, deployment: Deployment, purse: Purse, publishers: Sequence[Signer], terms: Terms,
                 *, to_the_end: bool) -> None:
        self.l1 = l1
        self.deployment = deployment
        self.terms = terms
        self.to_the_end = to_the_end
        self.rollup = bytes.fromhex(deployment.rollup[2:])
        self.token = bytes.fromhex(deployment.token[2:])
        self.courts = {name: bytes.fromhex(address[2:]) for name, address in deployment.contracts.items()}
        self.market = deployment.markets[0].market
        self.traders: dict[str, Trader] = {}
        self.nursery: trio.Nursery | None = None
        self._purse = purse
        self.funder = Actor("funder", purse.signer)
        self._cast: dict[str, Actor] = {}
        publisher_actors = [Actor(f"publisher {slot}", signer) for slot, signer in enumerate(publishers)]
        self.operator = Operator(l1, deployment, self._make("operator", "attack"), publisher_actors)
        self._ledger = Ledger(l1, deployment, self.operator)

    @classmethod
    async def open(cls, l1: VillainL1, deployment: Deployment, purse: Purse, publishers: Sequence[Signer] = (), *,
                   to_the_end: bool = False) -> Field:
        """Read what the deployment stakes. ``publishers``: signers of the slots 0, 1, …, if the villain has them."""
        rollup = bytes.fromhex(deployment.rollup[2:])
        answer = await l1.client.call(rollup, bindings.encode_call("params"))
        p = bindings.decode_result("params", answer)
        exodus = await _timings(l1, deployment, "Exodus", EXODUS)
        court = await _timings(l1, deployment, "PromiseCourt", PROMISE_COURT)
        terms = Terms(
            bond=p[1], force_fee=p[5], deposit_min=p[6], challenge_window_s=p[0], force_delay_s=p[4], seat_idle_s=p[3],
            bond_delay_s=p[2], timelock_s=p[7], exodus_after_s=exodus[0], reseat_s=exodus[1], register_s=exodus[2],
            promise_deadline_s=court[0], claim_s=court[1])
        return cls(l1, deployment, purse, publishers, terms, to_the_end=to_the_end)

    # --- the cast -----------------------------------------------------------------------------------------------------

    def _make(self, name: str, side: str) -> Actor:
        actor = Actor(name, LocalSigner(keccak(self._purse.seed + self.rollup + name.encode())), side)
        self._cast[name] = actor
        return actor

    async def actor(self, name: str, *, usd: int = 0, side: str = "attack") -> Actor:
        """An account by name, with ether, at least ``usd`` dollars, and the rollup's allowance to take them. ``side``:
        whose costs its transactions are."""
        actor = self._cast.get(name) or self._make(name, side)
        actor.side = side
        await self._ledger.join(actor)
        await self._fund(actor, usd * USD)
        return actor

    async def _fund(self, actor: Actor, micro: int) -> None:
        ether = await self.l1.client.balance(actor.address)
        if ether < self._purse.ether_each // 2:
            await self.l1.must(
                self.funder, actor.address, value=self._purse.ether_each - ether, gas=21_000, book=False)
        held = await self._ledger.balance(actor.address)
        if held < micro:
            await self._pay(actor, micro - held)
        if micro and not await self._allowed(actor, micro):
            await self.l1.must(
                actor, self.token, call_data("approve(address,uint256)", self.rollup, ALLOWANCE), book=False)

    async def _pay(self, actor: Actor, micro: int) -> None:
        what = "mint(address,uint256)" if self._purse.faucet else "transfer(address,uint256)"
        await self.l1.must(self.funder, self.token, call_data(what, actor.address, micro), book=False)
        self._ledger.give(actor, micro)

    async def _allowed(self, actor: Actor, micro: int) -> bool:
        data = call_data("allowance(address,address)", actor.address, self.rollup)
        return int.from_bytes(await self.l1.client.call(self.token, data), "big") >= micro

    # --- preparation --------------------------------------------------------------------------------------------------

    async def prepare(self, attack: Attack) -> None:
        """Give an attack what it needs, then start to count. Raises NotPlayable."""
        if ENDS in attack.needs and not self.to_the_end:
            raise NotPlayable("it ends the rollup: play it with --to-the-end, on a network of your own")
        if DEV in attack.needs:
            self.l1.need_dev("held, moved in time or reorganised")
        needed_s = attack.time_s(self.terms)
        if needed_s > self.l1.patience_s and not self.l1.dev:
            raise NotPlayable(f"it needs {needed_s:,} s of L1 time: play it with --patience-s {needed_s} or more")
        if SEAT in attack.needs or SCENE in attack.needs:
            await self.take_seat()
        if SCENE in attack.needs:
            await self.set_scene()
        await self.begin()

    async def begin(self) -> None:
        """From here on losses, transactions and gas count."""
        await self._ledger.begin(list(self._cast.values()))

    async def settle(self) -> tuple[dict[str, int], Bill, Bill]:
        """What everybody lost since ``begin`` (micro-USD), what the attack sent, what the defence."""
        return await self._ledger.settle(list(self._cast.values()))

    async def take_seat(self, name: str = "operator") -> Actor:
        """An actor in the seat, with a whole bond. Raises NotPlayable if somebody else sits there."""
        actor = self._cast.get(name) or self._make(name, "attack")
        await self._clear_seat(actor)
        holder = await self.ask("seat_holder")
        if holder == actor.address:
            return actor
        if any(holder):
            raise NotPlayable(
                f"0x{holder.hex()} holds the seat: stop that sequencer and have it leave (Rollup.leave_seat), or play "
                "the attacks that need no seat")
        missing = max(0, self.terms.bond - (await self.ask("bond_of", actor.address))[0])
        await self.actor(name, usd=-(-missing // USD))
        await self.l1.must(actor, self.rollup, self.call("take_seat", missing), book=False)
        return actor

    async def _clear_seat(self, but: Actor) -> None:
        """Whoever else of the cast sits there gets up."""
        holder = await self.ask("seat_holder")
        for other in list(self._cast.values()):
            if other.address == holder and other is not but:
                await self.l1.must(other, self.rollup, self.call("leave_seat"), book=False)

    async def leave_seat(self) -> None:
        """Leave the seat to others, whoever of the cast holds it."""
        await self._clear_seat(self.funder)

    async def set_scene(self) -> None:
        """Three traders with accounts, a fresh price, and everything of it on L1."""
        if len(self.operator.publishers) < 3:
            raise NotPlayable("it needs the publishers' keys: set ANCHORLINE_PUBLISHER_KEYS")
        await self.operator.sync()
        missing = [name for name in TRADERS if not self._find(name)]
        for name in missing:
            actor = await self.actor(name, usd=STAKE // USD)
            await self.l1.must(actor, self.rollup, self.call("deposit", 0, actor.address, STAKE), book=False)
        if missing:
            await self._anchor()
        for name in TRADERS:
            await self.actor(name)
            self.traders[name] = self._find(name)[0]
        if not self._is_priced():
            await self._anchor()

    async def _anchor(self) -> None:
        """Post what L1 has, and a price: twice, since the first posting's notice is what says that L1 is followed."""
        for _ in range(2):
            draft = await self.operator.draft()
            draft.block()
            draft.consume()
            draft.price({self.market: self.price_ticks(draft)})
            await self.operator.post(draft.batch(), draft)
            await self.operator.sync()

    def _find(self, name: str) -> list[Trader]:
        actor = self._cast.get(name) or self._make(name, "attack")
        return [Trader(actor, account) for account in accounts_of(self.operator.view, actor.address)]

    def _is_priced(self) -> bool:
        """Whether the market has a mark; drafts renew it."""
        self.operator.pipeline.engine.bind()
        return state.get_board(self.market).mark != 0

    def price_ticks(self, draft: Draft) -> int:
        """The market's mark, or where its price path starts."""
        draft.engine.bind()
        mark = state.get_board(self.market).mark
        return mark or self.deployment.markets[0].price

    # --- verbs --------------------------------------------------------------------------------------------------------

    async def trader(self, name: str, usd: int) -> Trader:
        """A new account by deposit; it is on L2 when a batch has consumed it (``traders`` has the scene's)."""
        actor = await self.actor(name, usd=usd)
        await self.l1.must(actor, self.rollup, self.call("deposit", 0, actor.address, usd * USD))
        draft = await self.operator.draft()
        draft.block()
        draft.consume()
        await self.operator.post(draft.batch(), draft)
        await self.operator.sync()
        return self._find(name)[-1]

    async def trade(self, draft: Draft | None = None, *, leave: int = 1) -> Draft:
        """A draft full of life: three blocks, five chunks, resting orders, fills, a withdrawal. The last ``leave``
        inbox messages stay unconsumed."""
        draft = draft or await self.operator.draft()
        alice, bob, carol = (self.traders[name] for name in TRADERS)
        m, p = self.market, self.price_ticks(draft)
        draft.block()
        waiting = self.operator.pipeline.inbox.count - draft.engine.globals.cursor
        draft.consume(max(0, waiting - leave))
        draft.price({m: p})
        draft.ok(draft.actions(alice, sell(m, p + 100, 200), sell(m, p + 300, 100, 2)))
        draft.ok(draft.actions(carol, sell(m, p + 100, 150, 7), buy(m, p - 1_000, 60, 8)))
        draft.cut()
        taken = draft.ok(draft.actions(bob, buy(m, p + 300, 120, 11)))
        assert taken.fills, "villains need a fill to be unfair about"
        draft.cut()
        draft.price({m: p + 50})
        draft.actions(carol, sell(m, p - 1_200, 20, 12))
        draft.ok(draft.withdraw(alice, 5 * USD))
        draft.cut()
        draft.block(1)
        draft.actions(alice, buy(m, p - 2_000, 50, 13), sell(m, p + 900, 60, 14))
        draft.cut()
        return draft

    async def honest(self, *, leave: int = 1) -> tuple[Draft, Posted]:
        """Trade and post it, honestly."""
        draft = await self.trade(leave=leave)
        return draft, await self.operator.post(draft.batch(), draft)

    async def force(self, actor: Actor, transaction: bytes) -> tuple[int, L1Receipt]:
        """Put a transaction into the inbox; the message's number."""
        receipt = await self.l1.must(actor, self.rollup, self.call("force", transaction))
        return self.message_number(receipt), receipt

    def message_number(self, receipt: L1Receipt) -> int:
        """Number of the first inbox message of a transaction."""
        for log in receipt.logs:
            if log.address == self.rollup and log.topics[0] == bindings.topic("MessageEnqueued"):
                return int.from_bytes(log.topics[1], "big")
        raise Broken("the transaction enqueued no message")

    def call(self, name: str, *args: Any) -> bytes:
        """Calldata of a function of the rollup."""
        return bindings.encode_call(name, *args)

    async def ask(self, name: str, *args: Any) -> Any:
        """Any view of the rollup."""
        return await self.operator.ask(name, *args)

    async def ask_court(self, court: str, name: str, *args: Any) -> Any:
        """Any view of "Exodus" or "PromiseCourt"."""
        functions = EXODUS if court == "Exodus" else PROMISE_COURT
        answer = await self.l1.client.call(self.courts[court], courts.encode_call(functions, name, *args))
        return courts.decode_result(functions, name, answer)

    # --- judging ------------------------------------------------------------------------------------------------------

    def check(self, holds: bool, what: str) -> None:
        """Raise Broken unless the protocol held in this point; ``what`` says what happened otherwise."""
        if not holds:
            raise Broken(what)

    async def refused(self, actor: Actor, data: bytes, reason: str, *, to: bytes = b"", pay: bool = True) -> str:
        """Send what a contract must refuse for ``reason`` (the first word of its text); the whole text. With ``pay``
        the transaction is really sent, mined and paid for; else only asked about."""
        where = to or self.rollup
        said = (await self.l1.must_fail(actor, where, data))[0] if pay else await self.l1.refused(actor, where, data)
        self.check(said.split(":")[0] == reason, f"L1 answered {said or 'yes'!r}, {reason} was expected")
        return said

    async def fallen(self, posted: Posted, *, patience_s: float = PATIENCE_S) -> L1Receipt:
        """Wait until somebody has dropped this batch: the transaction that did. Raises Broken if nobody does."""
        topics = [bindings.topic("BatchesDropped")]
        with trio.move_on_after(patience_s):
            while True:
                head = await self.l1.client.head()
                logs = await self.l1.client.logs(self.rollup, posted.receipt.block_number, head.number, topics)
                for log in logs:
                    if int.from_bytes(log.topics[1], "big") <= posted.number:
                        return await self.l1.mined(log.tx_hash)
                await trio.sleep(POLL_S)
        raise Broken(f"batch {posted.number} is wrong and stands: nobody proved it within {patience_s:.0f} s")

    async def stands(self, posted: Posted) -> None:
        """Check that the batch is on L1 and that the rules agree with it."""
        await self.operator.sync()
        record = self.operator.chain.batch(posted.number)
        self.check(record is not None and record.header == posted.header,
                   f"batch {posted.number} is honest, and L1 or the rules do not have it")

    def status(self, found: Status, expected: Status) -> None:
        """Check what the rules answered."""
        self.check(found == expected, f"the rules answered {Status(found).name}, {expected.name} was expected")


async def _timings(l1: VillainL1, deployment: Deployment, name: str, functions: courts.Functions) -> tuple[int, ...]:
    data = courts.encode_call(functions, "timings")
    found: tuple[int, ...] = courts.decode_result(
        functions, "timings", await l1.client.call(bytes.fromhex(deployment.contracts[name][2:]), data))
    return found


__all__ = ["STAKE", "TRADERS", "USD", "Field", "Purse"]
