"""A history worth explaining, derived from an L1: refusals, fills, deposits, withdrawals, a liquidation."""

from __future__ import annotations

from eth_hash.auto import keccak

from node.rpc.explain.methods import Explain, Explanation
from node.rpc.methods.reads import Node
from node.stf import encoding
from node.stf.types import IOC, POST_ONLY
from tests.derive.story import Story
from tests.derive.test_pipeline import Follower
from tests.stf.world import buy, cancel, cancel_all, sell

DOLLAR = 10**6


def tell() -> Story:
    """Two batches: quiet trading, then a crash that liquidates carol."""
    story = Story()
    story.open_market()
    story.carol = story.deposit("carol", 500 * DOLLAR)  # type: ignore[attr-defined]
    story.trade()
    story.block(250)
    story.actions(
        story.alice, sell(0, 600_100, 10, 50), buy(0, 900_000, 10, 51), buy(0, 599_000, 0, 52), sell(7, 1, 1, 53),
        buy(0, 600_100, 1, 54, tif=POST_ONLY), cancel(0, 1, 600_100, 9_999, 50), buy(0, 1, 10, 55))
    story.post(story.batch())
    crash(story)
    story.post(story.batch())
    return story


def crash(story: Story) -> None:
    """Carol buys all she can, asks for too much, and the price falls."""
    carol = story.carol  # type: ignore[attr-defined]
    story.block(250)
    story.actions(story.bob, cancel_all(0))
    story.actions(story.alice, cancel_all(0))
    story.price({0: 600_000})
    story.block(250)
    story.actions(story.alice, sell(0, 600_000, 1_500, 60), sell(0, 600_100, 1_500, 61))
    story.actions(carol, buy(0, 600_000, 800, 1), buy(0, 600_000, 2_000, 2), buy(0, 600_050, 100, 3, tif=IOC))
    story.withdraw(carol, 10_000 * DOLLAR)
    story.withdraw(story.alice, 5 * DOLLAR)
    story.actions(story.bob, buy(0, 585_000, 5_000, 70), buy(0, 580_000, 5_000, 71))
    story.price({0: 590_000})
    story.run(encoding.write_liquidate(carol, 0))
    story.price({0: 587_000})
    story.run(encoding.write_liquidate(carol, 0))


async def explained(story: Story) -> tuple[Follower, Explain]:
    """A verifier that has derived it all."""
    follower = Follower(story.l1)
    await follower.follow()
    node = Node("verifier", follower.chain, follower.pipeline.engine, "0x" + "12" * 20, 901)
    return follower, Explain(node)


async def everything(explain: Explain, follower: Follower) -> list[Explanation]:
    """Every transaction's explanation."""
    head = follower.chain.head
    return [await explain.explain(position) for position in range(head.first_position + head.tx_count)]


def header_hash_on_l1(follower: Follower, number: int) -> bytes:
    """What Rollup.header_hash says."""
    from node.stf.commitments import encode_header

    record = follower.chain.batch(number)
    assert record is not None and record.header is not None
    return keccak(encode_header(record.header))
