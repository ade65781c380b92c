"""Following L1's heads: latest, safe, finalized, and every reorganisation with its common ancestor.

Invariants: the remembered blocks are one parent-linked run that ends at the latest head; an update that reports no
reorg extends the previous head; a reorg names the newest block that both branches share. A branch that forks below what
is remembered raises ``Reset``; a changed finalized block raises ``Critical``.

Chains without ``safe``/``finalized`` tags: heads are counted back from the latest block by configured depths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog
import trio

from node.errors import Critical, Reset, Temporary

from .client import L1Client
from .types import L1Block, TagNotOffered

log = structlog.get_logger("l1_heads")

FINALITY_BROKEN = "a finalized L1 block changed; check the L1 node: nothing built on it can be trusted"


@dataclass(frozen=True, slots=True)
class HeadsConfig:
    """``safe_depth``/``finalized_depth`` are used where the chain lacks the tags; ``history_max`` bounds memory."""

    poll_s: float = 1.0
    use_tags: bool = True
    safe_depth: int = 16
    finalized_depth: int = 64
    history_max: int = 512

    def check(self) -> None:
        """Raise ValueError that names the first bad key."""
        if self.poll_s <= 0:
            raise ValueError(f"heads.poll_s is {self.poll_s}; it must be above 0")
        if not 0 <= self.safe_depth <= self.finalized_depth:
            raise ValueError("heads.safe_depth must be from 0 to heads.finalized_depth")
        if self.history_max <= self.finalized_depth:
            raise ValueError("heads.history_max must be above heads.finalized_depth")


@dataclass(frozen=True, slots=True)
class Reorg:
    """``old`` was the latest head; ``ancestor`` is the newest block that survived; ``depth`` blocks were lost."""

    old: L1Block
    ancestor: L1Block
    depth: int


@dataclass(frozen=True, slots=True)
class Heads:
    """One observation. ``reorg`` is set when the latest head does not descend from the previous one."""

    latest: L1Block
    safe: L1Block
    finalized: L1Block
    reorg: Reorg | None = None


class HeadTracker:
    """Remembers recent blocks and turns polls into ``Heads``. A poll that raises Temporary changes nothing."""

    def __init__(self, client: L1Client, config: HeadsConfig | None = None) -> None:
        self._client = client
        self._config = config or HeadsConfig()
        self._config.check()
        self._known: dict[int, L1Block] = {}
        self._tags_offered = self._config.use_tags
        self._final: L1Block | None = None  # the highest finalized block that was seen
        self.heads: Heads | None = None

    async def poll(self) -> Heads | None:
        """Look once; None when nothing changed. Raises Temporary, Reset (see the module) or Critical.

        After a Reset the tracker has forgotten everything: the next poll starts afresh.
        """
        before = self.heads
        latest = await self._client.head("latest")
        known = self._known
        reorg: Reorg | None = None
        if before is None:
            known = {latest.number: latest}
        elif latest != before.latest:
            known, reorg = await self._link(before.latest, latest)
        safe, finalized = await self._settled(latest, known)
        self._check_finalized(finalized, known, reorg)
        if before is None:
            known = await self._backfill(latest, finalized)
        self._known = known
        self.heads = Heads(latest, safe, finalized, reorg)
        if reorg is not None:
            log.warning("l1_reorged", depth=reorg.depth, ancestor=reorg.ancestor.number, head=latest.number)
        return None if before is not None and replace(before, reorg=None) == self.heads else self.heads

    async def _backfill(self, latest: L1Block, finalized: L1Block) -> dict[int, L1Block]:
        """At the start: remember everything that can still be reorganised, within ``history_max``."""
        known = {latest.number: latest}
        block = latest
        while block.number > finalized.number and len(known) < self._config.history_max:
            block = await self._parent(block)
            known[block.number] = block
        return known

    async def _link(self, old: L1Block, latest: L1Block) -> tuple[dict[int, L1Block], Reorg | None]:
        """The remembered run, extended or replaced so that it ends at ``latest``; and the reorg, if it is one."""
        if latest.number > old.number + self._config.history_max:
            return await self._jump(old, latest), None
        branch: list[L1Block] = []
        block, lowest = latest, min(self._known)
        while self._known.get(block.number) != block:
            branch.append(block)
            if block.number <= lowest:
                if self._tags_offered and self._final is not None and lowest <= self._final.number:
                    raise Critical(FINALITY_BROKEN)
                self._forget()
                raise Reset(f"L1 reorganised below block {lowest}, the oldest remembered; derive from finalized again")
            block = await self._parent(block)
        known = {number: item for number, item in self._known.items() if number <= block.number}
        known.update((item.number, item) for item in branch)
        for number in sorted(known)[:-self._config.history_max]:
            del known[number]
        return known, None if block == old else Reorg(old, block, old.number - block.number)

    async def _jump(self, old: L1Block, latest: L1Block) -> dict[int, L1Block]:
        """After a long sleep: the old head must still be canonical, then remembering starts again at the new head."""
        if await self._client.block(old.number) != old:
            self._forget()
            raise Reset(f"L1 block {old.number} was replaced while we were away; derive from finalized again")
        return await self._backfill(latest, old)

    async def _parent(self, block: L1Block) -> L1Block:
        parent = await self._client.block(block.parent_hash)
        if parent is None or parent.number != block.number - 1:
            raise Temporary(f"L1 node does not know the parent of block {block.number}; it may be reorganising")
        return parent

    async def _settled(self, latest: L1Block, known: dict[int, L1Block]) -> tuple[L1Block, L1Block]:
        if self._tags_offered:
            try:
                return await self._client.head("safe"), await self._client.head("finalized")
            except TagNotOffered as error:
                self._tags_offered = False
                log.warning("l1_tags_missing", reason=str(error), safe_depth=self._config.safe_depth,
                            finalized_depth=self._config.finalized_depth)
        return (await self._at_depth(latest, known, self._config.safe_depth),
                await self._at_depth(latest, known, self._config.finalized_depth))

    async def _at_depth(self, latest: L1Block, known: dict[int, L1Block], depth: int) -> L1Block:
        number = max(0, latest.number - depth)
        if number in known:
            return known[number]
        block = await self._client.block(number)
        if block is None:
            raise Temporary(f"L1 node has no block {number}; it may be behind")
        return block

    def _check_finalized(self, finalized: L1Block, known: dict[int, L1Block], reorg: Reorg | None) -> None:
        """Finality must not change. (It may seem to move back when a node behind a balancer lags, or when a branch is
        shorter: then the highest that was seen still holds.)"""
        before = self._final
        lost = before is not None and reorg is not None and reorg.ancestor.number < before.number
        changed = before is not None and finalized.number == before.number and finalized.hash != before.hash
        if lost or changed:
            raise Critical(FINALITY_BROKEN)
        if finalized.number in known and known[finalized.number] != finalized:
            raise Temporary("L1 reorganised while its heads were read; looking again")
        if before is None or finalized.number > before.number:
            self._final = finalized

    def _forget(self) -> None:
        self._known = {}
        self._final = None
        self.heads = None


async def follow_heads(tracker: HeadTracker, channel: trio.MemorySendChannel[Heads], poll_s: float) -> None:
    """Poll for ever and send what changed; temporary failures are logged and retried with backoff to 30 s.

    The channel is bounded by its creator: a slow reader makes polls wait, and misses nothing that matters, because
    every update carries the reorg since the update before it. Reset and Critical propagate.
    """
    failures = 0
    async with channel:
        while True:
            try:
                heads = await tracker.poll()
                failures = 0
            except Temporary as error:
                failures += 1
                log.warning("l1_unreachable", failures=failures, reason=str(error))
                await trio.sleep(min(poll_s * 2**min(failures, 10), 30.0))
                continue
            if heads is not None:
                await channel.send(heads)
            await trio.sleep(poll_s)
