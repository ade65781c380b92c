"""The accident: a market goes to price 0 for a moment, and an engine that believes it liquidates everybody.

It happened to a venue in a database maintenance. Here a price of 0 is refused and any leap must hold, so publishers,
even all of them, liquidate nobody in a moment; and an operator whose own rules execute it is disproved in one L1
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from node.l1.bindings import PostBatch
from node.rpc.methods.reader import Reader
from node.stf import encoding, state
from node.stf.trie import TrieView
from node.stf.types import FORCED, Receipt, Status, Terms
from sequencer.accident import price_zero
from sequencer.forgery import USD, forge_of
from tests.attacks.test_wrong_batches import disprove, world_reposts
from tests.contracts.world import BOND
from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import Court
from tests.differential.l1 import RollupWorld
from tests.stf import messages
from tests.stf.world import World, buy, configure_market, sell, sign

PRICE = 600_000  # ticks; a lot is 6 USD
LOTS = 10_000
RULES = {
    "jump_limit": 50_000, "jump_hold": 10_000, "vol_window": 600_000, "vol_sample_ms": 10_000, "z": 300,
    "sigma_floor": 10_000, "addon_cap": 100_000, "reduce_cap": 1_000_000,
}
ALL = (0, 1, 2)


def publication(world: World, slot: int, price: int, base: int | None = None) -> bytes:
    """One publisher's own signature over any price."""
    world.engine.bind()
    signature = sign(world.publishers[slot], encoding.oracle_price_digest(slot, world.time, [0], [price]))
    return encoding.write_oracle_price(slot, world.time, [0], [price], signature, world.time if base is None else base)


def publish(world: World, price: int, slots: Sequence[int] = ALL) -> list[Receipt]:
    world.block(1_000)
    return [world.run(publication(world, slot, price)) for slot in slots]


def health(world: World, account: int) -> Terms:
    reader = Reader(world.engine)
    row = reader.account(account)
    assert row is not None
    return reader.health(row)


def mark(world: World) -> int:
    return Reader(world.engine).board(0).mark


def leveraged(world: World, longs: Sequence[int], short: int) -> None:
    """Everybody in ``longs`` holds six times what he owns, against one who is short all of it."""
    for account in longs:
        assert world.actions(short, sell(0, PRICE, LOTS, account)).action_statuses == [Status.OK]
        assert world.actions(account, buy(0, PRICE, LOTS)).action_statuses == [Status.OK]
    world.cut()


# --- the rules --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def court() -> Court:
    return Court()


@pytest.fixture
def market(court: Court) -> DifferentialWorld:
    """Accounts 1 and 2 are long, 3 is short; every chunk is run by the contract too."""
    world = DifferentialWorld(court)
    world.create_market(0, fees=(0, 0))
    assert world.configure_risk(0, **RULES).status == Status.OK
    for name, dollars in (("long", 10_000), ("longer", 10_000), ("short", 100_000)):
        world.deposit(name, dollars * USD)
    world.price({0: PRICE})
    leveraged(world, (1, 2), 3)
    return world


def worth(world: World) -> list[tuple[int, int]]:
    """Equity and maintenance of everybody; initial margin rises with the time that is not anchored."""
    return [(terms.equity, terms.maintenance) for terms in (health(world, account) for account in (1, 2, 3))]


def try_to_liquidate(world: World) -> list[Status]:
    return [world.run(encoding.write_liquidate(account, 0)).status for account in (1, 2, 3)]


def test_a_price_of_zero_is_refused_from_everybody_at_once(market: DifferentialWorld) -> None:
    """The whole quorum says 0: no slot takes it, the mark stays, and stays fresh for who trades on."""
    before = worth(market)
    assert [receipt.status for receipt in publish(market, 0)] == [Status.BAD_PRICE] * 3
    assert mark(market) == PRICE
    assert try_to_liquidate(market) == [Status.NOT_LIQUIDATABLE] * 3
    assert worth(market) == before
    assert market.actions(1, sell(0, PRICE - 100, 10, 9)).action_statuses == [Status.OK]
    market.cut()


def test_zero_through_the_inbox_is_refused_too(market: DifferentialWorld) -> None:
    """Past the operator, signed by every publisher."""
    for slot in ALL:
        market.block(1_000)
        assert market.deliver(FORCED, publication(market, slot, 0, base=0)).status == Status.BAD_PRICE
    assert mark(market) == PRICE and try_to_liquidate(market) == [Status.NOT_LIQUIDATABLE] * 3
    market.cut()


@pytest.mark.parametrize("price", [1, PRICE // 1_000, PRICE * 1_000], ids=["one tick", "a thousandth", "thousandfold"])
def test_a_leap_that_does_not_hold_liquidates_nobody(market: DifferentialWorld, price: int) -> None:
    """The maintenance of nine seconds: the last true mark stays but serves nobody, then all is as it was."""
    before = worth(market)
    for _ in range(9):
        assert [receipt.status for receipt in publish(market, price)] == [Status.OK] * 3
        assert mark(market) == PRICE
        assert try_to_liquidate(market) == [Status.STALE_PRICE] * 3
        assert market.actions(3, buy(0, PRICE, 10, 5)).action_statuses == [Status.STALE_PRICE]
        assert market.withdraw(3, 1).status == Status.STALE_PRICE
    publish(market, PRICE)
    assert mark(market) == PRICE and try_to_liquidate(market) == [Status.NOT_LIQUIDATABLE] * 3
    assert worth(market) == before
    assert market.conserved()
    market.cut()


def test_an_outage_that_follows_takes_nothing_from_the_buffer_of_anybody(market: DifferentialWorld) -> None:
    """Zeros, then silence for an hour: a stale price liquidates nobody, and the first true one ends it."""
    publish(market, 0)
    for _ in range(60):
        market.block(60_000)
        assert try_to_liquidate(market) == [Status.STALE_PRICE] * 3
    publish(market, PRICE)
    assert try_to_liquidate(market) == [Status.NOT_LIQUIDATABLE] * 3
    market.cut()


@pytest.mark.parametrize("liars", [(0,), (1, 2)])
def test_part_of_the_publishers_cannot_even_make_it_wait(market: DifferentialWorld, liars: tuple[int, ...]) -> None:
    """Zeros are not counted: the slots keep what they had, and the others' prices move the mark as ever."""
    honest = [slot for slot in ALL if slot not in liars]
    for step in range(5):
        assert {receipt.status for receipt in publish(market, 0, liars)} == {Status.BAD_PRICE}
        assert {receipt.status for receipt in publish(market, PRICE + step, honest)} == {Status.OK}
        assert abs(mark(market) - PRICE) <= step
    assert try_to_liquidate(market) == [Status.NOT_LIQUIDATABLE] * 3
    market.cut()


def test_what_a_quorum_can_do_that_lies_for_longer_than_the_hold(market: DifferentialWorld) -> None:
    """The limit of all this: prices that all publishers hold up for ten seconds are the price, as a true crash is. Zero
    is not even then; one tick is. Operators choose ``jump_hold`` for the time that they need to halt a market."""
    for _ in range(12):
        publish(market, 1)
    assert mark(market) == 1
    assert try_to_liquidate(market)[:2] == [Status.OK] * 2
    assert market.conserved()
    market.cut()


# --- an operator with rules of his own --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def anchored() -> RollupWorld:
    """Bob is long with six times what he owns, in a batch on L1; an honest batch waits to be posted."""
    world = RollupWorld()
    world.do(world.admin, "enqueue_admin", 1, configure_market(0, fees=(0, 0))[1:])
    world.do(world.admin, "enqueue_admin", 3, messages.configure_risk(0, **RULES)[1:])
    world.open()
    world.price({0: PRICE})
    world.actions(1, sell(0, PRICE, LOTS, 1))
    assert world.actions(2, buy(0, PRICE, LOTS, 2)).action_statuses == [Status.OK]
    world.post(world.batch())
    return world


def honest(world: RollupWorld) -> PostBatch:
    world.price({0: PRICE + 50})
    return world.batch()


def zeros_of_a_stranger(world: RollupWorld) -> list[bytes]:
    return []  # the forger's own signatures


def zeros_of_all_publishers(world: RollupWorld) -> list[bytes]:
    return [publication(world, slot, 0) for slot in ALL]


def one_tick_of_all_publishers(world: RollupWorld) -> list[bytes]:
    """What the rules take, but make wait: the villain's do not wait."""
    return [encoding.write_block(1_000), *[_later(world, slot) for slot in ALL]]


def _later(world: RollupWorld, slot: int) -> bytes:
    world.engine.bind()
    time = world.time + 1_000
    signature = sign(world.publishers[slot], encoding.oracle_price_digest(slot, time, [0], [1]))
    return encoding.write_oracle_price(slot, time, [0], [1], signature, time)


Signed = Callable[[RollupWorld], list[bytes]]


@pytest.mark.parametrize("signed", [zeros_of_a_stranger, zeros_of_all_publishers, one_tick_of_all_publishers])
def test_the_court_undoes_it_in_one_transaction(anchored: RollupWorld, signed: Signed) -> None:
    world = anchored
    batch = honest(world)
    collateral, custody = collateral_of(world.trie, 2), world.rollup.call("custody")
    forge = forge_of(batch, world.states[world.taken], world.domain, world.message_at)
    for chunk in batch.chunks:
        forge.follow(chunk)
    price_zero(forge, signed(world))
    robbed = collateral_of(forge.state, 2)
    assert robbed < collateral // 100 and forge.words() != batch.globals, "it would have taken all that he has"
    wrong = replace(batch, globals=forge.words(), chunks=tuple(forge.chunks), roots=tuple(forge.roots))
    posted = world.post(wrong)
    assert world.rollup.call("head_number") == posted.header.number, "L1 takes it: nothing shows from outside"

    receipt = disprove(world, posted)
    print(f"{signed.__name__}: {receipt.gas_used:,} gas")
    assert world.rollup.call("reward_of", world.prover) >= BOND // 10
    assert world.rollup.call("custody") == custody
    again = world_reposts(world, batch)
    assert again.header.post_root == world.trie.root()
    assert collateral_of(world.trie, 2) == collateral
    position = health(world, 2)
    assert position.maintenance > 0 and position.equity > position.maintenance
    assert world.actions(2, sell(0, PRICE, 10, 9)).action_statuses == [Status.OK], "Bob trades on"


def collateral_of(view: TrieView, account: int) -> int:
    value = view.get(state.account_key(account))
    assert value is not None
    return state.decode_account(value).collateral
