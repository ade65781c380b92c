"""The drill's operator: takes the sandbox's seat, posts an honest batch, then one that is wrong in a named way.

He derives the sandbox from L1 into memory, as any verifier would, and drafts honest batches on it with traders and
publishers of his own, so that every kind of villain finds what it needs: accounts, a market with prices, resting
orders, a fill. Their keys follow from his key, so a sandbox can be used again from its addresses alone.
"""

from __future__ import annotations

import random
import secrets
from typing import Any, Final

import trio

from node.cli.villain.draft import Draft, Trader, buy, sell
from node.cli.villain.l1 import Actor
from node.derive.chain import Chain
from node.derive.pipeline import Pipeline
from node.errors import Critical, Temporary
from node.l1 import bindings
from node.l1.bindings import PostBatch, encode_post_batch
from node.l1.client import L1Client
from node.l1.deployment import Deployment, MarketSpec
from node.l1.keys import LocalSigner, Signer
from node.l1.sender import Intent, TxSender
from node.l1.types import L1Receipt
from node.sdk.l1 import L1Wallet
from node.stf import encoding, state
from node.stf.commitments import BatchHeader, unpack_position
from node.stf.trie import TrieView, keccak
from node.stf.types import CANCEL_ALL, Action
from node.storage.kv import MemoryKV
from sequencer.villains import KINDS, Context, Unsuitable, corrupt

USD: Final = 1_000_000
BOND: Final = 1_000 * USD
PURSE: Final = 1_000_000 * USD  # of sandbox dollars, minted when less than a bond is left
STAKE: Final = 10_000 * USD
PUBLISHERS: Final = 3
TRADERS: Final = ("maker", "rival", "taker")
PRICE: Final = 600_000
MARKET: Final = MarketSpec(0, "DRILL", price=PRICE)
STEPS_MAX: Final = 1_000
ACCOUNTS_MAX: Final = 64
BLOCK_WAIT_S: Final = 120.0
ROOM_MS: Final = 10  # of L2 time, for the blocks of a draft


def actor(signer: Signer, name: str) -> Actor:
    """A key of the drill's own, secret because the operator's signature is: the same one every time."""
    return Actor(name, LocalSigner(keccak(signer.sign_hash(keccak(b"anchorline drill: " + name.encode())))))


def publishers(signer: Signer) -> list[Actor]:
    """Who signs the sandbox's prices."""
    return [actor(signer, f"publisher {slot}") for slot in range(PUBLISHERS)]


class DrillOperator:
    """See the module. ``signer``: the key that ``sender`` sends with."""

    def __init__(self, client: L1Client, sender: TxSender, signer: Signer, sandbox: Deployment) -> None:
        self._client = client
        self._sender = sender
        self._signer = signer
        self.sandbox = sandbox
        self.rollup = bytes.fromhex(sandbox.rollup[2:])
        self._domain = encoding.domain_separator(sandbox.l2_chain_id, int.from_bytes(self.rollup, "big"))
        self._chain = Chain.open(MemoryKV(), self._domain)
        self._pipeline = Pipeline(
            self._chain, client, self.rollup, start_block=sandbox.start_block, confirmations=0)
        self.wallet = L1Wallet(client, sender, sandbox)

    @property
    def address(self) -> bytes:
        """Who posts."""
        return self._signer.address

    async def sync(self) -> bool:
        """Derive all that L1 has of the sandbox; whether it is sound, no bad batch standing. Raises Temporary."""
        for _ in range(STEPS_MAX):
            if not await self._pipeline.step():
                return self._pipeline.progress.disputed is None
        return False

    async def serves(self) -> bool:
        """Whether a drill can begin here: everything derives, no bad batch stands, no stranger sits in the seat."""
        return await self.sync() and await self._holder() in (bytes(20), self.address)

    async def _holder(self) -> bytes:
        holder = await self.wallet.ask_rollup("seat_holder")
        return bytes.fromhex(holder[2:]) if isinstance(holder, str) else bytes(holder)

    async def prepare(self) -> None:
        """Money, the seat, and the traders' accounts; only what is missing costs gas."""
        if await self.wallet.balance() < BOND + len(TRADERS) * STAKE:
            await self.wallet.mint(PURSE)
        if await self._holder() != self.address:
            await self.wallet.take_seat(BOND)
        for name in TRADERS:
            if self._account(name, self._chain.store) is None:
                await self.wallet.deposit(STAKE, owner=actor(self._signer, name).address)
        await self.sync()

    # --- batches ------------------------------------------------------------------------------------------------------

    async def post_honest(self) -> tuple[int, L1Receipt]:
        """A batch with prices and resting orders; its number. Raises what the sender raises."""
        draft = await self._draft()
        draft.consume()
        draft.price({MARKET.market: PRICE})
        draft.cut()
        maker, rival, taker = (self._trader(name, draft.view) for name in TRADERS)
        clear = Action(CANCEL_ALL, MARKET.market)
        draft.actions(maker, clear, sell(0, PRICE + 100, 1_000, 1), sell(0, PRICE + 300, 500, 2))
        draft.actions(rival, clear, sell(0, PRICE + 100, 700, 3), buy(0, PRICE - 1_000, 300, 4))
        draft.actions(taker, clear, buy(0, PRICE + 100, 200, 5), buy(0, PRICE - 1_000, 100, 6))
        batch = draft.batch()
        receipt = await self._post("honest", batch)
        if not await self.sync():
            raise Critical("the sandbox's own honest batch is disputed: report this with the sandbox's address")
        return batch.number, receipt

    async def post_wrong(self, kind: str, seed: int) -> tuple[str, int, L1Receipt]:
        """A wrong batch of a kind ("any": a random one that fits); the kind and its number. Raises Unsuitable."""
        honest, context = await self.next_batch()
        kinds = [kind] if kind != "any" else random.Random(seed).sample(KINDS, len(KINDS))
        reason = ""
        for each in kinds:
            try:
                wrong = corrupt(each, honest, context)
            except Unsuitable as error:
                reason = str(error)
                continue
            return each, wrong.number, await self._post(each, wrong)
        raise Unsuitable(f"no batch of kind {kind} can be made in the sandbox: {reason}")

    async def next_batch(self) -> tuple[PostBatch, Context]:
        """An honest batch that could come next, and what its operator knows."""
        draft = await self._draft()
        honest = self._trading(draft)
        head = await self._client.head()
        return honest, Context(
            draft.views[0], self._domain, draft.message_at, head.timestamp * 1_000, draft.parent)

    def _trading(self, draft: Draft) -> PostBatch:
        """Fills, a withdrawal, more orders. One message stays for a header that lies about it."""
        maker, rival, taker = (self._trader(name, draft.view) for name in TRADERS)
        draft.price({MARKET.market: PRICE})
        draft.cut()
        taken = draft.actions(taker, buy(0, PRICE + 300, 400, 7))
        assert taken.fills, "villains need a fill to be unfair about"
        draft.cut()
        draft.price({MARKET.market: PRICE + 50})
        draft.actions(rival, sell(0, PRICE - 1_100, 150, 8))
        draft.withdraw(maker, 5 * USD)
        draft.cut()
        draft.actions(maker, buy(0, PRICE - 2_000, 50, 9), sell(0, PRICE + 900, 60, 10))
        return draft.batch()

    async def _draft(self) -> Draft:
        """A draft with an open block, whose times L1 will accept even if it judges them by its newest block."""
        newest = self._pipeline.inbox.message(self._pipeline.inbox.count - 1) or bytes(29)
        before = unpack_position(self._parent().globals[0]).l2_time_ms
        since = max(int.from_bytes(newest[21:29], "big"), -(-before // 1_000))
        head = await self._client.head()
        with trio.move_on_after(BLOCK_WAIT_S):
            while head.timestamp <= since:
                await trio.sleep(0.2)
                head = await self._client.head()
        if head.timestamp <= since:
            raise Temporary(f"L1 has made no block for {BLOCK_WAIT_S:g} s: a drill needs a chain that goes on")
        view = self._chain.store.at_block(self._chain.head.number)
        draft = Draft(view, self._domain, self._pipeline.inbox, self._parent(), head.timestamp,
                      publishers(self._signer))
        draft.block(head.timestamp * 1_000 - ROOM_MS - draft.time)
        return draft

    def _parent(self) -> BatchHeader:
        last = self._chain.last_batch()
        header = self._pipeline.header(0 if last is None else last.number)
        assert header is not None, "agreed batches have headers"
        return header

    async def _post(self, what: str, batch: PostBatch) -> L1Receipt:
        name = f"drill {what} {batch.number} {secrets.token_hex(8)}"
        return await self._sender.send(Intent(name, self.rollup, encode_post_batch(batch)))

    # --- accounts -----------------------------------------------------------------------------------------------------

    def _trader(self, name: str, view: TrieView) -> Trader:
        account = self._account(name, view)
        assert account is not None, "its deposit was consumed"
        return Trader(actor(self._signer, name), account)

    def _account(self, name: str, view: TrieView) -> int | None:
        """The account that a trader's key owns, among the sandbox's first ones."""
        wanted = int.from_bytes(actor(self._signer, name).address, "big")
        for account in range(1, ACCOUNTS_MAX + 1):
            value = view.get(state.account_key(account))
            if value is not None and state.decode_account(value).keys[0].address == wanted:
                return account
        return None


async def drop_of(client: L1Client, rollup: bytes, number: int, since: int) -> Any:
    """The event that dropped a batch posted in L1 block ``since``; None if it stands. Raises Temporary."""
    head = await client.head()
    topics = [bindings.topic("BatchesDropped"), number.to_bytes(32, "big")]
    found = await client.logs(rollup, since, head.number, topics)
    return found[0] if found else None
