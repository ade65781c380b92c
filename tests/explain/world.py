"""Histories worth explaining: every story of tests/scenarios, and one that an L1 posted in batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from node.derive.chain import Chain
from node.rpc.explain.methods import Explain, Explanation
from node.rpc.methods.reads import Node
from node.stf import encoding
from node.stf.commitments import header_hash
from node.stf.types import BLOCK, FORCED, IOC, ORACLE_PRICE, POST_ONLY
from node.storage.kv import MemoryKV
from tests.derive.story import Story
from tests.derive.test_chain import replay
from tests.derive.test_pipeline import Follower
from tests.differential.harness import Case, Verdict, execute
from tests.differential.scenarios import SCENARIOS, ready
from tests.differential.soup import Soup
from tests.scenarios.reader import read_story
from tests.scenarios.stage import Stage
from tests.scenarios.verbs import perform
from tests.stf.world import DOMAIN, World, buy, cancel, cancel_all, sell, sign

DOLLAR = 10**6
STORIES = sorted(Path(__file__).resolve().parents[1].glob("scenarios/S*.md"))


def explainer(chain: Chain) -> Explain:
    """The method over a chain that stands still."""
    return Explain(Node("verifier", chain, chain.engine(chain.message), "0x" + "12" * 20, 901))


@cache
def played(path: Path) -> World:
    """A story of tests/scenarios, told to its end."""
    world = World()
    stage = Stage(world)
    for criterion in read_story(path).criteria:
        for row in criterion.rows:
            stage.play(row, perform)
    world.cut()
    return world


def chain_of(world: World) -> Chain:
    """The chain of a world whose chunks are all cut."""
    chain = Chain.open(MemoryKV(), DOMAIN)
    replay(chain, world)
    return chain


async def everything(explain: Explain) -> list[Explanation]:
    """Every transaction's explanation, in order; of blocks and prices, which repeat, every tenth."""
    chain = explain._node.chain
    found = [stored.receipt for number in range(1, chain.head.number + 1) for stored in chain.transactions(number)]
    return [await explain.explain(receipt.position) for receipt in found
            if receipt.kind not in (BLOCK, ORACLE_PRICE) or receipt.status != 0 or receipt.position % 10 == 0]


def as_json(explanation: Explanation) -> Any:
    """As a client gets it."""
    return msgspec.json.decode(msgspec.json.encode(explanation))


# --- on an L1 ---------------------------------------------------------------------------------------------------------


def tell() -> Story:
    """Two batches: quiet trading with refusals of many kinds; then a fall that liquidates carol."""
    story = Story()
    story.open_market()
    carol = story.deposit("carol", 500 * DOLLAR)
    story.trade()
    story.block(250)
    story.actions(
        story.alice, sell(0, 600_100, 10, 50), buy(0, 900_000, 10, 51), buy(0, 599_000, 0, 52), sell(7, 1, 1, 53),
        buy(0, 600_100, 1, 54, tif=POST_ONLY), cancel(0, 1, 600_100, 9_999, 50), buy(0, 1, 10, 55))
    story.post(story.batch())
    fall(story, carol)
    story.post(story.batch())
    return story


def fall(story: Story, carol: int) -> None:
    """Carol buys all she can, asks for too much, withdraws through L1, and the price falls."""
    story.block(250)
    story.actions(story.bob, cancel_all(0))
    story.actions(story.alice, cancel_all(0))
    story.price({0: 600_000})
    story.actions(story.alice, sell(0, 600_000, 1_000, 60), sell(0, 600_100, 1_500, 61))
    story.actions(carol, buy(0, 600_000, 900, 1), buy(0, 600_000, 2_000, 2), buy(0, 600_100, 300, 3, tif=IOC))
    story.run(encoding.write_continue(0))
    story.withdraw(carol, 10_000 * DOLLAR)
    story.withdraw(story.alice, 5 * DOLLAR)
    story.deliver(FORCED, forced_withdraw(story, story.alice, 7 * DOLLAR))
    story.deliver(FORCED, forced_withdraw(story, story.alice, 9 * DOLLAR, expiry=-1))
    story.price({0: 570_000})
    story.actions(story.bob, buy(0, 570_000, 5_000, 70), buy(0, 565_000, 5_000, 71))
    story.run(encoding.write_liquidate(carol, 0))
    story.run(encoding.write_liquidate(carol, 0))


def forced_withdraw(
    world: World, account: int, amount: int, *, expiry: int = 60_000, recipient: int = 0xBEEF, ahead: int = 0
) -> bytes:
    """A signed withdrawal as L1 forces it in: its times are relative to 0."""
    world.engine.bind()
    nonce, until = world.next_nonce(account, 0) + ahead, world.time + expiry
    signature = sign(world.keys[account], encoding.withdraw_digest(account, nonce, until, recipient, amount))
    return encoding.write_withdraw(account, nonce, until, recipient, amount, signature, 0)


async def derived(story: Story) -> Follower:
    """A verifier that has derived it all."""
    follower = Follower(story.l1)
    await follower.follow()
    return follower


def header_hash_on_l1(chain: Chain, number: int) -> bytes:
    """What Rollup.header_hash says."""
    record = chain.batch(number)
    assert record is not None and record.header is not None
    return header_hash(record.header)


# --- what the two languages are compared on ---------------------------------------------------------------------------


class Alone:
    """A court of one language: the differential histories without the contract."""

    domain = DOMAIN

    def reset(self) -> None:
        """Nothing is kept here."""

    def compare(self, case: Case) -> Verdict:
        """What Python made of it."""
        return Verdict(execute(case, self.domain), 0, 0, 0)


def histories(seeds: range, chunks: int) -> Iterator[World]:
    """Every directed history, and random ones in which no message was consumed before it was there."""
    court: Any = Alone()
    for scenario in SCENARIOS:
        world = ready(court)
        scenario(world)
        yield world
    for seed in seeds:
        soup = Soup(court, seed)
        soup.run(chunks)
        if not soup.world.seen["NO_MESSAGE"]:
            yield soup.world
