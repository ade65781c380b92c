"""Plans of deployments: the file that explains them is what is deployed without one; the rules take its messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.errors import Critical
from node.l1.deployment import DEFAULT_MARKETS, ChainSpec, Plan, Timings, load_markets
from node.stf import state
from node.stf.types import ADMIN, Status
from tests.stf.world import World

REPO = Path(__file__).resolve().parents[2]


def test_the_file_of_markets_holds_the_defaults() -> None:
    assert load_markets(REPO / "configs" / "markets.toml") == (DEFAULT_MARKETS, ChainSpec())


@pytest.mark.parametrize(("text", "key"), [("[chain]\nspeed = 1\n", "speed"), ("[[market]]\nmarket = 0\n", "symbol")])
def test_a_bad_key_is_named(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "markets.toml").write_text(text)
    with pytest.raises(Critical, match=key):
        load_markets(tmp_path / "markets.toml")


def test_a_bond_outlasts_its_promises() -> None:
    Timings().check()
    Timings(bond_delay_s=10, promise_deadline_s=10).check()
    with pytest.raises(ValueError, match="bond_delay_s is 9, shorter than promise_deadline_s, 10"):
        Timings(bond_delay_s=9, promise_deadline_s=10).check()


def test_the_rules_take_every_message_of_a_plan() -> None:
    world = World()
    world.block(1_700_000_000_000)
    first, later = Plan((b"\x01" * 20, b"\x02" * 20)).messages()
    for kind, body in [*first, *later]:
        assert world.deliver(ADMIN, bytes((kind,)) + body).status == Status.OK
    world.engine.bind()
    for spec in DEFAULT_MARKETS:
        assert spec.quorum >= 3, "of two fresh publishers one liar owns the mean"
        config, board = state.get_market(spec.market), state.get_board(spec.market)
        assert (config.z, config.jump_hold, config.reduce_cap) == (spec.z, spec.jump_hold, spec.reduce_cap)
        assert board.risk == spec.z * spec.sigma_floor and board.addon_cap == spec.addon_cap
    chain = state.get_chain()
    assert (chain.buffer_ms, chain.closeout, chain.tau_halt) == (60_000, 750_000, 7_200_000)
    assert state.get_outflow_limit() == ChainSpec().outflow_limit and state.get_level() == 0
