"""Heads under growth, reorganisation, missing tags and long absence, on both chains."""

from __future__ import annotations

import pytest
import trio

from node.errors import Critical, Reset
from node.l1.heads import Heads, HeadsConfig, HeadTracker, follow_heads
from node.l1.types import L1Block
from tests.l1.chains import KINDS, Chain, l1_chain


async def reorg(chain: Chain, depth: int) -> None:
    """Replace the last blocks by empty ones (on a rising clock, so that hashes differ)."""
    await chain.rpc("evm_increaseTime", hex(7))
    await chain.rpc("anvil_reorg", *((depth,) if chain.kind == "embedded" else (depth, [])))


@pytest.mark.parametrize("kind", KINDS)
async def test_growth_is_reported_once_and_without_reorg(kind: str) -> None:
    async with l1_chain(kind) as chain:
        tracker = HeadTracker(chain.client)
        first = await tracker.poll()
        assert first is not None and first.reorg is None
        assert await tracker.poll() is None
        await chain.mine(3)
        heads = await tracker.poll()
        assert heads is not None and heads.latest.number == first.latest.number + 3 and heads.reorg is None
        assert heads.finalized.number <= heads.safe.number <= heads.latest.number


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 3])
async def test_a_reorg_names_the_newest_common_block(kind: str, depth: int) -> None:
    async with l1_chain(kind) as chain:
        tracker = HeadTracker(chain.client)
        await chain.mine(4)
        await tracker.poll()
        await chain.mine(2)
        before = await tracker.poll()
        assert before is not None
        ancestor = await chain.client.block(before.latest.number - depth)
        await reorg(chain, depth)
        await chain.mine(1)
        heads = await tracker.poll()
        assert heads is not None and heads.reorg is not None
        assert (heads.reorg.old, heads.reorg.ancestor, heads.reorg.depth) == (before.latest, ancestor, depth)
        assert heads.latest.number == before.latest.number + 1
        assert await tracker.poll() is None


async def test_a_shorter_branch_is_a_reorg_too() -> None:
    async with l1_chain("embedded") as chain:
        tracker = HeadTracker(chain.client)
        await chain.mine(6)
        await tracker.poll()
        await chain.rpc("dev_reorg", 3, 1, False)
        heads = await tracker.poll()
        assert heads is not None and heads.reorg is not None
        assert (heads.latest.number, heads.reorg.ancestor.number, heads.reorg.depth) == (4, 3, 3)
        await chain.rpc("anvil_rollback", 1)
        heads = await tracker.poll()
        assert heads is not None and heads.reorg is not None
        assert (heads.latest.number, heads.reorg.ancestor.number, heads.reorg.depth) == (3, 3, 1)


async def test_finality_outlives_a_shorter_branch() -> None:
    """Where the tag goes back with the head, what was final still is: a fork below it is Critical."""
    async with l1_chain("anvil", slots_in_an_epoch=4) as chain:
        tracker = HeadTracker(chain.client)
        await chain.mine(20)
        heads = await tracker.poll()
        assert heads is not None and heads.finalized.number == 12
        await chain.rpc("anvil_rollback", 6)
        heads = await tracker.poll()
        assert heads is not None and heads.finalized.number == 6
        await chain.rpc("anvil_reorg", 4, [])
        with pytest.raises(Critical, match="finalized L1 block changed"):
            await tracker.poll()


async def test_without_tags_heads_are_counted_back() -> None:
    config = HeadsConfig(use_tags=False, safe_depth=2, finalized_depth=5)
    async with l1_chain("embedded") as chain:
        tracker = HeadTracker(chain.client, config)
        await chain.mine(1)
        heads = await tracker.poll()
        assert heads is not None and (heads.safe.number, heads.finalized.number) == (0, 0)
        await chain.mine(9)
        heads = await tracker.poll()
        assert heads is not None and (heads.safe.number, heads.finalized.number) == (8, 5)


async def test_a_changed_finalized_block_is_critical() -> None:
    async with l1_chain("embedded", safe_lag_blocks=1, finalized_lag_blocks=2) as chain:
        tracker = HeadTracker(chain.client)
        await chain.mine(6)
        await tracker.poll()
        await chain.mine(4)
        await tracker.poll()
        await reorg(chain, 4)
        with pytest.raises(Critical, match="finalized"):
            await tracker.poll()


async def test_a_reorg_below_what_is_remembered_resets() -> None:
    config = HeadsConfig(use_tags=False, safe_depth=1, finalized_depth=3, history_max=4)
    async with l1_chain("embedded") as chain:
        tracker = HeadTracker(chain.client, config)
        await chain.mine(8)
        await tracker.poll()
        await reorg(chain, 6)
        with pytest.raises(Reset, match="oldest remembered"):
            await tracker.poll()
        heads = await tracker.poll()
        assert heads is not None and heads.reorg is None


async def test_after_a_long_absence_the_old_head_must_still_stand() -> None:
    config = HeadsConfig(use_tags=False, safe_depth=1, finalized_depth=2, history_max=4)
    async with l1_chain("embedded") as chain:
        tracker = HeadTracker(chain.client, config)
        await chain.mine(2)
        await tracker.poll()
        await chain.mine(20)
        heads = await tracker.poll()
        assert heads is not None and heads.latest.number == 22 and heads.reorg is None
        await chain.rpc("dev_reorg", 3, 20, False)
        with pytest.raises(Reset, match="while we were away"):
            await tracker.poll()


class FlakyClient:
    """Fails as often as told, then shows one block for ever."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.block_zero = L1Block(0, b"\x01" * 32, bytes(32), 1_000, 7)

    async def head(self, tag: str = "latest") -> L1Block:
        from node.errors import Temporary

        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise Temporary("unreachable")
        return self.block_zero


async def test_following_outlives_failures(autojump_clock: trio.testing.MockClock) -> None:
    send, receive = trio.open_memory_channel[Heads](1)
    tracker = HeadTracker(FlakyClient(5))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_heads, tracker, send, 1.0)
        heads = await receive.receive()
        assert heads.latest.number == 0 and trio.current_time() > 2 + 4 + 8 + 16
        nursery.cancel_scope.cancel()
