"""Attempts to jam the inbox: whatever L1 lets anybody enqueue, a chunk of its own can consume it, whatever it does."""

from __future__ import annotations

import random

from node.stf import encoding
from node.stf.params import MARKETS_MAX, MESSAGE_BYTES_MAX, PRICES_MAX
from node.stf.types import ADMIN, ANCHOR_NOTICE, DEPOSIT, FORCED, PAID_NOTICE, ROLLBACK_NOTICE, Receipt, Status
from tests.stf.messages import paid
from tests.stf.world import World, buy, cancel_all, configure_market, sell, sign

MARK = 600_000
PAYLOAD_MAX = MESSAGE_BYTES_MAX - 29


def world_of(markets: int) -> World:
    world = World(strict=True)
    world.block(world.l1_time * 1000)
    for market in range(markets):
        world.create_market(market)
    for name in ("alice", "bob"):
        world.deposit(name, 1_000_000_000_000)
    world.price(dict.fromkeys(range(markets), MARK))
    return world


def alone(world: World, kind: int, payload: bytes) -> Receipt:
    """Consume a message in a chunk that holds nothing else than the block's opening; raises if it does not fit."""
    world.block(1)
    cuts = len(world.chunks)
    receipt = world.deliver(kind, payload)
    assert len(world.chunks) == cuts, "it fits behind the opening of a block"
    return receipt


def forced_price(world: World, markets: int) -> bytes:
    numbers, prices = list(range(markets)), [MARK] * markets
    world.engine.bind()
    signature = sign(world.publishers[0], encoding.oracle_price_digest(0, world.time, numbers, prices))
    return encoding.write_oracle_price(0, world.time, numbers, prices, signature, 0)


def test_every_forced_transaction_that_a_user_needs_has_room() -> None:
    """Cancels, four orders at once, a withdrawal's worth of everything: none is refused for its worst case."""
    world = world_of(PRICES_MAX)
    wanted = [
        encoding.write_continue(0),
        encoding.write_liquidate(1, 0),
        forced_price(world, PRICES_MAX),
        world.sign_actions(1, tuple(cancel_all(market) for market in range(PRICES_MAX)), base=0),
        world.sign_actions(1, tuple(buy(0, MARK, 10, i) for i in range(4)), base=0),
        world.sign_actions(2, (sell(0, MARK, 40),), base=0),
    ]
    world.block(2)
    statuses = [alone(world, FORCED, payload).status for payload in wanted]
    assert Status.FORCED_INVALID not in statuses
    assert statuses[3:] == [Status.OK] * 3


def test_the_largest_message_of_every_kind_is_consumed() -> None:
    world = world_of(1)
    for kind in (DEPOSIT, FORCED, ANCHOR_NOTICE, ROLLBACK_NOTICE, ADMIN, PAID_NOTICE, 0, 255):
        for payload in (b"", bytes(PAYLOAD_MAX), b"\xff" * PAYLOAD_MAX, b"\x01" * PAYLOAD_MAX):
            assert alone(world, kind, payload).status in (Status.BAD_MESSAGE, Status.FORCED_INVALID)
    for kind in range(12):
        alone(world, FORCED, bytes((kind,)) + bytes(PAYLOAD_MAX - 1))


def broken(rng: random.Random, data: bytes) -> bytes:
    """The bytes with a few changed, cut off, or followed by others."""
    out = bytearray(data)
    for _ in range(rng.randint(0, 3)):
        if out:
            out[rng.randrange(len(out))] = rng.randrange(256)
    if rng.random() < 0.2:
        del out[rng.randrange(len(out) + 1) :]
    if rng.random() < 0.1:
        out += rng.randbytes(rng.randint(1, 30))
    return bytes(out[:PAYLOAD_MAX])


def hostile(rng: random.Random, world: World) -> tuple[int, bytes]:
    kind = rng.choice((DEPOSIT, FORCED, FORCED, FORCED, FORCED, ANCHOR_NOTICE, ADMIN, ADMIN, PAID_NOTICE, 0, 255))
    if kind == FORCED:
        orders = [rng.choice((buy, sell))(0, MARK + rng.randint(-9_000, 9_000), rng.randint(1, 500), rng.randint(0, 9))
                  for _ in range(rng.randint(1, 6))]
        payload = rng.choice((
            world.sign_actions(rng.randint(1, 2), tuple(orders), base=0),
            encoding.write_continue(rng.choice((0, 1, 40))),
            encoding.write_liquidate(1, 0),
            b"\x05" + bytes((rng.randrange(9), rng.randrange(256))) + rng.randbytes(200),
            bytes((rng.randrange(12),)) + rng.randbytes(rng.randint(0, 300)),
        ))
    elif kind == ADMIN:
        payload = configure_market(
            rng.choice((0, 1, MARKETS_MAX - 1, MARKETS_MAX)), tick_value=rng.choice((10, 0, 2**32 - 1)),
            oi_cap=rng.choice((10**7, 2**64 - 1, 1)), quorum=rng.choice((3, 0, 8, 9)), status=rng.choice((1, 2, 3, 0)))
    elif kind == PAID_NOTICE:
        payload = paid(*(rng.choice((0, 1, 2, 2**63)) for _ in range(rng.randint(0, 9))))
    else:
        payload = rng.randbytes(rng.choice((0, 16, 32, 33, PAYLOAD_MAX)))
    return kind, broken(rng, payload)


def test_nothing_that_can_be_enqueued_stops_the_inbox() -> None:
    """Broken and hostile messages of all kinds: each has a status, money is conserved, the cursor goes on."""
    rng, world = random.Random(5), world_of(1)
    for number in range(600):
        if number % 40 == 0:
            world.price({0: MARK + rng.randint(-2_000, 2_000)})
        cursor = world.engine.globals.cursor
        world.deliver(*hostile(rng, world))
        assert world.engine.globals.cursor == cursor + 1
        assert world.conserved()
