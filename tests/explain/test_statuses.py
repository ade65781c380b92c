"""Every status that the rules can answer is met and explained: directed and random histories, stories, L1 and all."""

from __future__ import annotations

import msgspec

from node.derive.chain import Chain
from node.rpc.explain.again import execute_again
from node.rpc.explain.methods import Explanation
from node.stf import encoding
from node.stf.params import LOTS_MAX
from node.stf.types import BUY, FORCED, Status
from tests.explain.world import (
    STORIES,
    as_json,
    chain_of,
    derived,
    everything,
    explainer,
    forced_withdraw,
    histories,
    played,
    tell,
)
from tests.stf.world import DOMAIN, World, buy, cancel, private_key


async def statuses_of(chain: Chain, *, every: int = 1) -> set[str]:
    """Explains a chain, checks each explanation by its witness (of every n-th), and says what it met."""
    explain = explainer(chain)
    seen: set[str] = set()
    for index, explained in enumerate(await everything(explain)):
        seen.update(step.status.status for step in explained.steps)
        for step in explained.steps:
            if step.status.status == "INSUFFICIENT_MARGIN":
                missed = [each.name for each in step.lines if each.unit == "condition" and not each.value]
                assert missed, (explained.receipt.position, step.what, step.lines)
        if index % every == 0:
            answer = as_json(await explain.explain(explained.receipt.position, None, True))
            assert await execute_again(msgspec.convert(answer, Explanation), DOMAIN)
    return seen


async def test_every_status_is_met_and_explained() -> None:
    seen: set[str] = set()
    for world in histories(range(1_000, 1_004), 60):
        if world.open_bytes:
            world.cut()
        seen |= await statuses_of(chain_of(world), every=7)
    for path in STORIES:
        seen.update(status for explained in await everything(explainer(chain_of(played(path))))
                    for status in (step.status.status for step in explained.steps))
    seen |= await statuses_of((await derived(tell())).chain)
    seen |= await statuses_of(chain_of(oddities()))
    assert seen == set(Status.__members__), set(Status.__members__) ^ seen


def oddities() -> World:
    """What only vandals send, most of it forced through L1, and a block that asks for a message where none waits."""
    world = World()
    world.block(world.l1_time * 1000)
    world.create_market(0)
    alice, bob = world.deposit("alice", 10**10), world.deposit("bob", 10**10)
    world.price({0: 600_000})
    orders = world.actions(alice, buy(0, 0, 10), buy(0, 600_000, LOTS_MAX + 1), buy(0, 600_000, 10, 7))
    statuses = [*orders.action_statuses, *world.actions(bob, cancel(0, BUY, 600_000, 1, 7)).action_statuses]
    statuses.append(world.run(encoding.write_liquidate(99, 0)).status)
    used = forced_withdraw(world, alice, 10**6)
    day = 86_400_000
    for data in (
        used, used, used[:-1] + b"\0", used[:-64] + bytes(64), forced_withdraw(world, alice, 10**6, recipient=0),
        forced_withdraw(world, alice, 0), forced_withdraw(world, alice, 10**6, expiry=3 * day),
        forced_withdraw(world, alice, 10**6, ahead=day), forced_withdraw(world, alice, 10**6, ahead=-1_000),
    ):
        statuses.append(world.deliver(FORCED, data).status)
    world.publishers[0] = private_key("nobody")
    statuses.append(world.price({0: 600_000}, slots=(0,))[0].status)
    statuses.append(world.run(encoding.INBOX_TX).status)
    assert statuses == [
        Status.BAD_PRICE, Status.TOO_LARGE, Status.OK, Status.NOT_YOUR_ORDER, Status.NO_ACCOUNT, Status.OK,
        Status.NONCE_USED, Status.NO_KEY, Status.BAD_SIGNATURE, Status.BAD_RECIPIENT, Status.BAD_AMOUNT,
        Status.EXPIRY_TOO_FAR, Status.NONCE_TOO_NEW, Status.NONCE_TOO_OLD, Status.NO_PUBLISHER, Status.NO_MESSAGE,
    ], statuses
    world.cut()
    return world
