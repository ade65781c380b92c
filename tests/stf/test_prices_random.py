"""Random histories of prices, quotes, anchors and parameters: both languages agree after every few calls, and what the
rules promise holds after each."""

from __future__ import annotations

from random import Random

import pytest

from node.stf import oracle, state
from node.stf.params import EXPOSURE_MAX, FUNDING_UNIT, PPM, PRICE_MAX, U64_MAX
from node.stf.types import HALTED, ORDER_REDUCE_ONLY, SETTLING, Order
from tests.conftest import PROFILE
from tests.stf.prices import START, Prices

SEEDS = 1_000 if PROFILE == "long" else 25

EDGES = {  # parameter: values that it takes
    "z": (0, 1, 300, 65_535), "sigma_floor": (0, 1_000, 2**32 - 1), "vol_sample_ms": (0, 1_000, 2**32 - 1),
    "vol_window": (0, 1, 600_000, 2**32 - 1), "basis_cap": (0, 5_000, PPM), "spread_max": (0, 10_000, 2**24 - 1),
    "basis_window": (0, 1, 60_000, 2**32 - 1), "jump_limit": (0, 1, 50_000, 2**24 - 1),
    "jump_hold": (0, 5_000, 2**32 - 1), "expiry": (0, 0, 0, START + 2_000_000, START + 10**9),
}


class History:
    """Draws what publishers, traders, L1 and the admin may do."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        rng = self.rng
        cap = rng.choice((1, 1_000_000))
        slots = rng.randint(1, 8)
        self.world = Prices(
            slots=slots, quorum=rng.randint(1, slots), stale_ms=rng.choice((0, 1_000, 30_000, 2**32 - 1)),
            tick_value=rng.choice((1, 10, EXPOSURE_MAX // 2**32 // cap)), **self.config())
        with self.world.edit():
            config = state.get_market(0)
            config.oi_cap = cap
            state.set_market(0, config)
            board = self.world.board
            board.addon_cap = rng.choice((0, 100_000, 2**24 - 1))
            state.set_board(0, board)
        self.price = rng.choice((1, 150, 100_000, PRICE_MAX))
        self.seq = 0

    def config(self) -> dict[str, int]:
        return {name: self.rng.choice(values) for name, values in EDGES.items()}

    def step(self) -> None:
        rng = self.rng
        pick = rng.random()
        if pick < 0.6:
            self.publish()
        elif pick < 0.8:
            self.world.at(self.world.now + rng.choice((1, 700, 5_000, 31_000, 400_000)))
            self.world.update()
        elif pick < 0.88:
            self.quote()
        elif pick < 0.93:
            self.world.anchor(rng.randint(START, self.world.now + 1_000))
            self.world.update()
        elif pick < 0.95:
            self.world.set_config(**self.config() | {"expiry": self.world.config.expiry})
            self.world.configure()
        elif pick < 0.97:
            self.world.set_chain(anchor_interval=rng.choice((0, 60_000)), tau_reduce=rng.choice((0, 200_000)),
                                 tau_halt=rng.choice((0, 1_000_000)))
        else:
            self.world.mid()
        self.world.rates()
        self.world.status()
        self.world.is_fresh()

    def publish(self) -> None:
        rng = self.rng
        wild = rng.random()
        if wild < 0.9:
            self.price = self.price * rng.randint(980, 1_020) // 1_000
        elif wild < 0.95:
            self.price = self.price * rng.choice((1, 30)) // rng.choice((1, 20))
        self.price = max(1, min(PRICE_MAX, self.price))
        price = rng.choice((self.price, self.price, self.price, 0, 1, PRICE_MAX))
        time = self.world.now - rng.choice((0, 0, 0, 1, 20_000, -1))
        self.world.publish(rng.randrange(8), price, time)

    def quote(self) -> None:
        rng, world = self.rng, self.world
        side = rng.randrange(2)
        with world.peek():
            best, seq = state.get_best(0, side)
            other, _seq = state.get_best(0, 1 - side)
        if best != 0 and rng.random() < 0.4:
            with world.edit():
                state.set_order(0, side, best, seq, Order())
            return
        mark = max(2, world.mark or self.price)
        price = mark - rng.randint(1, max(1, mark // 200)) if side == 0 else mark + rng.randint(1, max(1, mark // 200))
        if other != 0 and (price >= other if side == 0 else price <= other):
            return
        self.seq += 1
        world.quote(side, max(1, min(PRICE_MAX, price)), self.seq, size=rng.choice((-3, 0, 3)),
                    flags=rng.choice((0, 0, ORDER_REDUCE_ONLY)), expiry=rng.choice((0, 0, world.now + 3_000)))

    def check(self) -> None:
        """What holds whatever the history."""
        board, prices, config = self.world.board, self.world.state, self.world.config
        assert board.mark <= PRICE_MAX
        assert abs(board.funding) * config.oi_cap < EXPOSURE_MAX
        assert abs(prices.funding_acc) < FUNDING_UNIT
        assert prices.variance <= U64_MAX
        assert abs(prices.basis) <= prices.index * PPM * oracle.BASIS_UNIT // PPM
        if prices.jump_price != 0 and prices.jump_price == prices.index:
            raise AssertionError("a candidate differs from the index")
        if board.status not in (HALTED, SETTLING) and prices.index != 0:
            assert board.mark >= 1


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_histories_agree(seed: int) -> None:
    history = History(seed)
    for _ in range(250):
        history.step()
        history.check()
    history.world.compare()


@pytest.mark.parametrize("seed", range(20))
def test_one_liar_of_three_never_moves_the_mark_beyond_the_honest_prices(seed: int) -> None:
    """Whatever one publisher says, the index stays between what the two others have said last."""
    rng = Random(seed)
    world = Prices()
    price = 100_000
    world.all(price)
    last = [price, price]
    for _ in range(100):
        world.at(world.now + rng.randint(1, 20_000))
        world.publish(0, rng.choice((1, 2 * price, PRICE_MAX, price - 50)))
        for slot in rng.sample((1, 2), 2):
            price = price * rng.randint(995, 1_005) // 1_000
            world.publish(slot, price)
            last[slot - 1] = price
            assert min(last) <= world.mark <= max(last) or not world.is_fresh()
    world.compare()
