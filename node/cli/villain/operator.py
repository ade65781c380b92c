"""The villain as an operator: a chain of his own derived from L1, honest drafts on it, postings, promises, proofs.

He knows what every verifier knows, and follows L1 with the product's own pipeline, so his honest work is honest by the
rules, and what the pipeline disputes is what a watchtower would prove.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from node.cli.villain.draft import Draft
from node.cli.villain.l1 import Actor, Refused, VillainL1
from node.derive.chain import Chain
from node.derive.evidence import KeptPromise
from node.derive.pipeline import Pipeline
from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise
from node.derive.replay import PostedBatch
from node.l1 import bindings
from node.l1.bindings import PostBatch, decode_post_batch, encode_post_batch, header_of
from node.l1.deployment import Deployment
from node.l1.types import L1Receipt
from node.stf import encoding
from node.stf.commitments import ZERO32, BatchHeader, decode_message, unpack_position
from node.stf.trie import TrieView, keccak
from node.storage.kv import MemoryKV
from prover.proof import Evidence, Proof, finish, prove
from sequencer.villains import Context, corrupt

LEAP_MS: Final = 60_000
STEPS_MAX: Final = 10_000  # L1 ranges in one catch-up: five million blocks


@dataclass(frozen=True)
class Posted:
    """A batch on L1: what was posted, and the true state before it."""

    batch: PostBatch
    header: BatchHeader
    parent: BatchHeader
    receipt: L1Receipt
    view: TrieView

    @property
    def number(self) -> int:
        """The batch's number."""
        return self.header.number

    @property
    def seen(self) -> PostedBatch:
        """The batch as derivation has it."""
        return PostedBatch(self.header, self.batch.chunks, self.batch.roots, self.receipt.tx_hash,
                           self.receipt.block_number)


class Operator:
    """See the module. ``actor`` holds the seat and signs promises; ``publishers``: whose prices he can sign."""

    def __init__(self, l1: VillainL1, deployment: Deployment, actor: Actor, publishers: Sequence[Actor]) -> None:
        self.l1 = l1
        self.actor = actor
        self.publishers = tuple(publishers)
        self.rollup = bytes.fromhex(deployment.rollup[2:])
        self.domain = encoding.domain_separator(deployment.l2_chain_id, int.from_bytes(self.rollup, "big"))
        self.chain = Chain.open(MemoryKV(), self.domain)
        self.pipeline = Pipeline(
            self.chain, l1.client, self.rollup, start_block=deployment.start_block, confirmations=0)

    async def sync(self) -> None:
        """Derive all that L1 has."""
        for _ in range(STEPS_MAX):
            if not await self.pipeline.step():
                return
        raise Refused(f"L1 has more than {STEPS_MAX} ranges to derive: use a younger deployment")

    @property
    def head(self) -> BatchHeader:
        """The newest batch that L1 has and that is right."""
        last = self.chain.last_batch()
        header = self.pipeline.header(0 if last is None else last.number)
        assert header is not None, "agreed batches have headers"
        return header

    @property
    def view(self) -> TrieView:
        """The state after that batch; later changes of the chain leave it as it is."""
        return self.chain.store.at_block(self.chain.head.number)

    async def draft(self, *, synced: bool = True) -> Draft:
        """An empty draft on the head, after catching up with L1 (or on what was derived before). L1's clock is past all
        that it consumes, so its milliseconds are not ahead of L1."""
        if synced:
            await self.sync()
        inbox = self.pipeline.inbox
        last = inbox.message(inbox.count - 1)
        newest = 0 if last is None else decode_message(last).l1_time_s
        head = await self.l1.reach(max(self.chain.head.time // 1_000, newest) + 2)
        return Draft(self.view, self.domain, self.pipeline.inbox, self.head, head.timestamp, self.publishers)

    # --- posting ------------------------------------------------------------------------------------------------------

    async def post(self, batch: PostBatch, draft: Draft, *, actor: Actor | None = None) -> Posted:
        """Post a batch built on a draft's state. Raises Refused with Rollup's reason."""
        data = encode_post_batch(batch)
        await self._let_l1_follow(unpack_position(batch.globals[0]).l2_time_ms)
        receipt = await self.l1.must(actor or self.actor, self.rollup, data)
        return await self.posted(batch, draft, receipt, actor)

    async def _let_l1_follow(self, l2_time_ms: int) -> None:
        """Two blocks of anvil may have one time; a batch whose last block is milliseconds younger than L1's head then
        needs a later one. Real chains' next block is later anyway."""
        head = await self.l1.client.head()
        if self.l1.dev and head.timestamp * 1_000 < l2_time_ms <= head.timestamp * 1_000 + LEAP_MS:
            await self.l1.set_next_time(-(-l2_time_ms // 1_000))

    async def posted(self, batch: PostBatch, draft: Draft, receipt: L1Receipt, actor: Actor | None = None) -> Posted:
        """The record of a posting that was mined."""
        block = await self.l1.client.block(receipt.block_number)
        assert block is not None, "a mined transaction's block"
        again = decode_post_batch(encode_post_batch(batch))
        header = header_of(again, block.timestamp, (actor or self.actor).address)
        return Posted(batch, header, draft.parent, receipt, draft.views[0])

    async def corrupt(self, kind: str, draft: Draft) -> PostBatch:
        """The draft's batch turned into one of the devnet's villains (sequencer/villains.py). Raises Unsuitable."""
        honest = draft.batch()
        head = await self.l1.reach(draft.time // 1_000 + 2)  # some lies want a time that is not over yet
        context = Context(draft.views[0], self.domain, draft.message_at, head.timestamp * 1_000, draft.parent)
        return corrupt(kind, honest, context)

    # --- proofs -------------------------------------------------------------------------------------------------------

    def proof(self, posted: Posted) -> Proof:
        """The prover's proof against a posted batch. Raises Critical if nothing is wrong with it."""
        return finish(prove(self.evidence(posted)))

    def evidence(self, posted: Posted) -> Evidence:
        """All that a proof is made from."""
        return Evidence(posted.seen, posted.parent, posted.view, self.domain, self.pipeline.inbox.message)

    # --- promises -----------------------------------------------------------------------------------------------------

    async def promise(self, transactions: Sequence[bytes], first_position: int, *, epoch: int | None = None,
                      time_ms: int | None = None, previous: bytes = ZERO32, signer: Actor | None = None,
                      domain: bytes | None = None) -> list[KeptPromise]:
        """Sign one promise for a group of transactions; what each one's trader keeps. ``epoch``: the seat's now;
        ``time_ms``: L1's now."""
        now = (await self.l1.client.head()).timestamp * 1_000 if time_ms is None else time_ms
        seated = await self.ask("seat_epoch") if epoch is None else epoch
        hashes = [keccak(transaction) for transaction in transactions]
        promise = make_promise(seated, first_position, hashes, now, previous)
        signature = (signer or self.actor).signer.sign_hash(digest(domain or self.domain, promise))
        signed = SignedPromise(promise, signature)
        paths = group_paths(group_leaves(first_position, hashes))
        return [KeptPromise(signed, first_position + index, tx_hash, path)
                for index, (tx_hash, path) in enumerate(zip(hashes, paths, strict=True))]

    async def ask(self, name: str, *args: Any) -> Any:
        """Any view of the rollup."""
        answer = await self.l1.client.call(self.rollup, bindings.encode_call(name, *args))
        return bindings.decode_result(name, answer)
