"""The field: what an attack works on. One deployment on one L1, a cast with fresh keys, an operator who knows all that
L1 knows, and, somewhere out there, watchtowers run by others.

Preparation (money, the seat, accounts, prices) costs the attack nothing; what counts begins with it. ``new_episode``
gives the next attack a scene of its own: new accounts under the old names, an empty book (as far as it was the cast's),
the mark where it started. Within an episode the same names are the same accounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from node.cli.villain.cast import USD, Cast, Purse
from node.cli.villain.catalogue import DEV, ENDS, SCENE, SEAT, Attack, Broken, Terms
from node.cli.villain.draft import Draft, Trader, buy, sell
from node.cli.villain.l1 import Actor, Bill, NotPlayable, VillainL1
from node.cli.villain.ledger import Ledger
from node.cli.villain.operator import Operator, Posted
from node.cli.villain.scene import bring_mark_back, clear_book
from node.derive.exodus import accounts_of
from node.l1 import bindings, courts
from node.l1.courts import EXODUS, PROMISE_COURT
from node.l1.deployment import Deployment
from node.l1.keys import Signer
from node.l1.types import L1Receipt
from node.stf import state
from node.stf.types import Status

STAKE: Final = 10_000 * USD  # what each trader of the scene deposits
TRADERS: Final = ("alice", "bob", "carol")
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.02


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
        self.defence_s = PATIENCE_S
        self.cast = Cast(l1, self.rollup, self.token, purse)
        self.funder = self.cast.funder
        publisher_actors = [Actor(f"publisher {slot}", signer) for slot, signer in enumerate(publishers)]
        self.operator = Operator(l1, deployment, self.cast.get("operator"), publisher_actors)
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

    async def actor(self, name: str, *, usd: int = 0, side: str = "attack") -> Actor:
        """An account by name, with ether, at least ``usd`` dollars, and the rollup's allowance to take them. ``side``:
        whose costs its transactions are."""
        actor = self.cast.get(name, side)
        actor.side = side
        await self._ledger.join(actor)
        self._ledger.give(actor, await self.cast.fund(actor, usd * USD))
        return actor

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
        await self._ledger.begin(self.cast.all)

    async def settle(self) -> tuple[dict[str, int], Bill, Bill]:
        """What everybody lost since ``begin`` (micro-USD), what the attack sent, what the defence."""
        return await self._ledger.settle(self.cast.all)

    async def take_seat(self, name: str = "operator") -> Actor:
        """An actor in the seat, with a whole bond. Raises NotPlayable if somebody else sits there."""
        actor = self.cast.get(name)
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
        other = self.cast.known.get(await self.ask("seat_holder"))
        if other is not None and other is not but:
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
        async with trio.open_nursery() as nursery:  # on an L1 with a block time each step of one takes a block
            for name in missing:
                nursery.start_soon(self._stake, name)
        if missing:
            await self._anchor()
        for name in TRADERS:
            await self.actor(name)
            self.traders[name] = self._find(name)[0]
        if await self._needs_anchor():
            await self._anchor()
        await self._tidy()
        await bring_mark_back(self.l1, self.operator, self.market, self.deployment.markets[0].price)

    async def _tidy(self) -> None:
        kept = {trader.account for trader in self.traders.values()}
        await clear_book(self.operator, self.market, self.cast.known, kept)

    async def _stake(self, name: str) -> None:
        actor = await self.actor(name, usd=STAKE // USD)
        await self.l1.must(actor, self.rollup, self.call("deposit", 0, actor.address, STAKE), book=False)

    async def clear(self) -> None:
        """Take what the cast has left out of the book, if the seat is ours: nobody could do so later."""
        self.traders = {}
        if await self.ask("seat_holder") == self.operator.actor.address:
            await self.operator.sync()
            await self._tidy()

    async def new_episode(self) -> None:
        """Everybody but the operator gives back what is left and is somebody new from here on."""
        await self.cast.give_back()
        self.traders = {}
        self.cast.begin((await self.l1.client.head()).number)

    async def _needs_anchor(self) -> bool:
        """Whether the market has no fresh mark, or too much time is un-anchored for orders to be welcome."""
        head = await self.l1.client.head()
        engine = self.operator.pipeline.engine
        engine.bind()
        g = engine.globals
        now, limit = head.timestamp * 1_000, g.chain.tau_reduce
        board = state.get_board(self.market)
        stale = board.mark == 0 or now - board.mark_time > board.stale_ms // 2
        return stale or g.level != 0 or (limit > 0 and now - g.last_anchor > limit // 2)

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
        actor = self.cast.get(name)
        return [Trader(actor, account) for account in accounts_of(self.operator.view, actor.address)]

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

    async def fallen(self, posted: Posted) -> L1Receipt:
        """Wait until somebody has dropped this batch: the transaction that did. Raises Broken if nobody does within
        ``defence_s``."""
        topics = [bindings.topic("BatchesDropped")]
        with trio.move_on_after(self.defence_s):
            while True:
                head = await self.l1.client.head()
                logs = await self.l1.client.logs(self.rollup, posted.receipt.block_number, head.number, topics)
                for log in logs:
                    if int.from_bytes(log.topics[1], "big") <= posted.number:
                        return await self.l1.mined(log.tx_hash)
                await trio.sleep(POLL_S)
        raise Broken(f"batch {posted.number} is wrong and stands: nobody proved it within {self.defence_s:.0f} s")

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
