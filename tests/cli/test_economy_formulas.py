"""What `anchorline economics` computes: figures by hand, properties, thresholds, simulations, ties to the contracts."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from math import exp, log, sqrt
from pathlib import Path
from random import Random

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.economy import attacks, censorship, montecarlo, prices, settings
from node.cli.economy.attacks import ATTACKS
from node.cli.economy.settings import GWEI, YEAR_S, Economy
from node.cli.economy.solve import judge, judge_all, least, overall
from node.config import WatchtowerConfig
from node.l1.deployment import USD, ChainSpec, MarketSpec, Timings
from node.rpc.methods.risk import break_probability
from node.stf import finality
from node.stf.fixed_point import root_down
from node.stf.types import Board

REPO = Path(__file__).resolve().parents[2]
BY_NAME = {attack.name: attack for attack in ATTACKS}
DEFAULT = Economy()

economies = st.builds(
    Economy,
    bond_usd=st.floats(0, 1e7), window_s=st.floats(0, 1e6), value_locked_usd=st.floats(0, 1e9),
    volatility=st.floats(0, 5), turnover_usd_h=st.floats(0, 1e8), base_fee_gwei=st.floats(0.01, 500),
    gas_limit=st.floats(15e6, 120e6), proof_gas=st.floats(1e5, 14e6), proof_fee_max_gwei=st.floats(0, 10_000),
    ether_usd=st.floats(1, 1e5), censor_share=st.floats(0, 1), detect_s=st.floats(0, 20_000),
    blind_share=st.floats(0, 1), watchtowers=st.integers(1, 9), common_failure=st.floats(0, 1),
    lp_exposure_usd=st.floats(0, 1e6), halt_value_usd_h=st.floats(0, 1e5), tau_reduce_s=st.floats(0, 20_000))


# --- figures by hand --------------------------------------------------------------------------------------------------


def test_space_in_blocks_by_hand() -> None:
    """24 of 36 million gas are bought at 5 gwei and 3,000 USD: 360 USD; used / target = 4/3, the fee rises by 1/24."""
    assert censorship.growth(DEFAULT) == pytest.approx(1 + 1 / 24)
    assert censorship.fill_cost(DEFAULT, 1) == pytest.approx(360)
    assert censorship.fill_cost(DEFAULT, 3) == pytest.approx(360 + 375 + 390.625)
    assert censorship.growth(replace(DEFAULT, proof_gas=21_000)) == pytest.approx(1.125, rel=1e-3)
    assert censorship.ramp_blocks(DEFAULT) == int(log(350) / log(25 / 24)) == 143
    assert censorship.hold_cost(DEFAULT) == pytest.approx(18e6 * 1_745e-9 * 3_000)
    expected = 360 * ((25 / 24) ** 143 - 1) * 24 + (6_900 - 143) * 94_230
    assert attacks.buy_space(DEFAULT).cost == pytest.approx(expected)


def test_bribes_by_hand() -> None:
    """(2,000 - 5) gwei of 12 million gas are 71,820 USD forgone a block; nine of ten take it."""
    assert censorship.bribe_usd(DEFAULT) == pytest.approx(71_820)
    assert censorship.expected_bribes(DEFAULT, 2) == pytest.approx(71_820 * (0.9 + 0.81))
    assert censorship.expected_bribes(replace(DEFAULT, censor_share=1), 5) == pytest.approx(5 * 71_820)
    assert censorship.kept_out_chance(DEFAULT, 3) == pytest.approx(0.729)
    short = attacks.bribe(replace(DEFAULT, window_s=3_600 + 24))
    assert short.gain == pytest.approx(8_100_000)
    assert short.cost == pytest.approx(0.19 * 80_000 + 71_820 * 1.71)


def test_prices_by_hand() -> None:
    """60% a year over six hours are 1.57%; five of it on a quarter of a million half held are 9,811 USD."""
    move = 0.6 * sqrt(21_600 / 31_557_600)
    assert prices.deviation(DEFAULT, 21_600) == pytest.approx(move) == pytest.approx(0.0156973, rel=1e-5)
    assert attacks.insider_usd(DEFAULT) == 125_000
    assert attacks.undo_gain(DEFAULT) == pytest.approx(125_000 * 5 * move) == pytest.approx(9_810.8, abs=0.1)
    assert prices.touch_chance(1.5, 1) == pytest.approx(0.1336144)
    assert prices.shortfall(1, 1) == pytest.approx(2 * (0.2419707 - 0.1586553))
    assert prices.option_value(1) == pytest.approx(0.3989423)
    assert prices.addon(DEFAULT, 120) == pytest.approx(3 * 0.6 / sqrt(YEAR_S) * sqrt(120))
    assert prices.addon(DEFAULT, 1e9) == 0.1


@pytest.mark.parametrize(("name", "bond"), [
    ("withhold", 98_108.4), ("break-promises", 12_263.5), ("self-slash", 12_263.5), ("early-payment", 62_500),
    ("squat", 30_000), ("unseen", 10_000_000 * 1.00000e-4 / (0.8 * (1 - 1e-4))),
    ("at-once", (1_000 + 9_810.84 + 50_000) / (0.8 * (1 - 1e-4))),
    ("buy-space", 0), ("bribe", 0), ("stale-margin", 0), ("one-publisher", 0), ("flood", 0),
])
def test_least_bonds_by_hand(name: str, bond: float) -> None:
    assert judge(BY_NAME[name], DEFAULT).least_bond_usd == pytest.approx(bond, rel=1e-4)


def test_shortest_windows_by_hand() -> None:
    """A block has 18 million gas at its target; a price of 1,745 gwei over today's is 94,230 USD a block."""
    ramp = 360 * ((25 / 24) ** 143 - 1) * 24
    count = 143 + -(-(10_000_000 - ramp) // 94_230)
    assert censorship.space_blocks(DEFAULT, 10_000_000) == count
    found = judge(BY_NAME["buy-space"], DEFAULT).shortest_window_s
    assert found == pytest.approx(3_600 + 12 * count, abs=0.1) == censorship.window_of(DEFAULT, int(count))
    bribed = judge(BY_NAME["bribe"], DEFAULT).shortest_window_s
    assert bribed is not None
    blocks = round((bribed - 3_600) / 12)
    nets = [0.9**n * 1e7 - (1 - 0.9**n) * 80_000 - 71_820 * 9 * (1 - 0.9**n) for n in (blocks - 1, blocks)]
    assert nets[0] > 0 >= nets[1]


def test_a_bond_is_lost_once() -> None:
    parts = [BY_NAME[name].flow(DEFAULT).gain for name in ("unseen", "break-promises", "early-payment")]
    together = BY_NAME["at-once"].flow(DEFAULT)
    assert together.gain == pytest.approx(sum(parts))
    assert together.cost <= BY_NAME["break-promises"].flow(DEFAULT).cost


# --- ties to what is deployed -----------------------------------------------------------------------------------------


def test_shares_are_the_contracts() -> None:
    seat = (REPO / "contracts/seat.vy").read_text()
    percents = dict(re.findall(r"^(\w+)_PERCENT: constant\(uint256\) = (\d+)$", seat, re.MULTILINE))
    shares = {"PROVER": settings.PROVER_SHARE, "VICTIMS": settings.VICTIMS_SHARE, "IDLE": settings.IDLE_SHARE}
    assert {name: int(value) / 100 for name, value in percents.items()} == shares
    inbox = (REPO / "contracts/inbox.vy").read_text()
    assert f"FORCED_PER_BATCH: constant(uint256) = {attacks.MESSAGES_PER_BATCH}\n" in inbox


def test_defaults_are_those_of_deploy() -> None:
    timings, chain, market = Timings(), ChainSpec(), MarketSpec(0, "BTC-USD")
    assert replace(
        DEFAULT, bond_usd=timings.bond_min / USD, window_s=timings.challenge_window_s, seat_idle_s=timings.seat_idle_s,
        promise_deadline_s=timings.promise_deadline_s, exodus_after_s=timings.exodus_after_s,
        force_fee_usd=timings.force_fee / USD, anchor_interval_s=chain.anchor_interval / 1e3,
        tau_reduce_s=chain.tau_reduce / 1e3, tau_halt_s=chain.tau_halt / 1e3,
        outflow_limit_usd=chain.outflow_limit / USD,
        im_base=market.im_base / 1e6, mm_base=market.mm_base / 1e6, taker_fee=market.taker_fee / 1e6, z=market.z / 100,
        sigma_floor=market.sigma_floor / 1e9, addon_cap=market.addon_cap / 1e6,
        proof_fee_max_gwei=WatchtowerConfig().fee_max_gwei) == DEFAULT


@given(st.floats(0.01, 3), st.integers(1, 7_200_000))
def test_the_addon_is_the_rules(volatility: float, tau_ms: int) -> None:
    economy = replace(DEFAULT, volatility=volatility)
    board = Board()
    board.risk, board.addon_cap = round(economy.z * 100 * max(economy.sigma_floor, economy.sigma) * 1e9), 100_000
    ppm = finality.rate(board, root_down(tau_ms * 1_000))
    assert ppm == pytest.approx(prices.addon(economy, tau_ms / 1_000) * 1e6, rel=0.002, abs=35)


@given(st.integers(0, 10**12), st.floats(1, 1e12))
def test_the_chance_is_the_one_that_nodes_serve(cushion: int, spread: float) -> None:
    assert prices.touch_chance(cushion, spread) == pytest.approx(break_probability(cushion, spread), abs=1e-15)


# --- properties -------------------------------------------------------------------------------------------------------


@given(economies, st.sampled_from(ATTACKS), st.floats(0, 1e8))
def test_more_bond_never_helps(economy: Economy, attack: attacks.Attack, more: float) -> None:
    before, after = (attack.flow(each).net for each in (economy, replace(economy, bond_usd=economy.bond_usd + more)))
    assert after <= before + 1e-6 * (1 + abs(before))


@given(economies, st.sampled_from(ATTACKS), st.floats(0, 1e7))
def test_a_longer_window_never_helps(economy: Economy, attack: attacks.Attack, more: float) -> None:
    before, after = (attack.flow(each).net for each in (economy, replace(economy, window_s=economy.window_s + more)))
    assert after <= before + 1e-6 * (1 + abs(before))


@given(economies, st.sampled_from(ATTACKS), st.floats(0, 10))
def test_more_volatility_never_hurts_an_attacker(economy: Economy, attack: attacks.Attack, more: float) -> None:
    if attack.name == "stale-margin":
        return  # there the add-on rises too
    before, after = (attack.flow(each).net for each in (
        economy, replace(economy, volatility=economy.volatility + more)))
    assert after >= before - 1e-6 * (1 + abs(before))


@given(economies)
def test_thresholds_are_thresholds(economy: Economy) -> None:
    for verdict in judge_all(economy):
        flow, bond, window = verdict.attack.flow, verdict.least_bond_usd, verdict.shortest_window_s
        if bond:
            assert not flow(replace(economy, bond_usd=bond)).pays and flow(replace(economy, bond_usd=bond * 0.99)).pays
        if window:
            assert not flow(replace(economy, window_s=window)).pays
            assert flow(replace(economy, window_s=max(0.0, window * 0.99 - 2 * economy.block_s))).pays
        assert verdict.pays == (verdict.flow.net > attacks.CENT)
        assert verdict.pays or (bond is not None and bond <= economy.bond_usd * (1 + 1e-6) + 1e-6)
        assert isinstance(verdict.attack.limit(economy), str)


@given(economies, st.floats(1, 1e5), st.floats(1.01, 50))
def test_chances_grow_with_time_and_the_addon_only_lowers_them(economy: Economy, tau: float, factor: float) -> None:
    for with_addon in (False, True):
        early, late = (prices.stale_chance(economy, time, with_addon=with_addon) for time in (tau, tau * factor))
        assert early <= late + 1e-12
    assert prices.stale_chance(economy, tau) <= prices.stale_chance(economy, tau, with_addon=False)
    if prices.addon(economy, tau) < economy.addon_cap:
        assert prices.stale_chance(economy, tau) <= 2 * prices.tail(economy.z) + 1e-12, "never more than z deviations'"


@given(
    st.floats(20e6, 120e6), st.floats(0.05, 0.95), st.floats(1.2, 40), st.floats(0, 1), st.integers(1, 80),
    st.integers(0, 2**32))
@hypothesis.settings(max_examples=400)
def test_no_pattern_of_blocks_is_cheaper_than_the_bound(
    gas_limit: float, proof_share: float, deterrent: float, others: float, count: int, seed: int,
) -> None:
    """An attacker plays: full and partial blocks, empty ones while the base fee deters the proof; others spend what
    they spent before, or less."""
    economy = replace(
        DEFAULT, gas_limit=gas_limit, proof_gas=proof_share * gas_limit, base_fee_gwei=5, bond_usd=0,
        proof_fee_max_gwei=5 * deterrent)
    random = Random(seed)
    habit = random.random()
    bought, target = censorship.space_gas(economy), gas_limit / 2
    fee, paid = 5.0, 0.0
    for _ in range(count):
        freely = 0.0 if random.random() < habit else random.random() * gas_limit
        own = freely if fee >= 5 * deterrent else bought + random.random() ** 4 * (gas_limit - bought)
        rest = min(gas_limit - own, others * target * 5 / fee)
        paid += own * fee * GWEI * economy.ether_usd
        fee *= 1 + ((own + rest) / target - 1) / 8
    assert paid >= censorship.space_cost(economy, count) * (1 - 1e-9)


@given(economies, st.floats(0, 1e9))
def test_blocks_bought_are_the_cost_the_other_way_round(economy: Economy, usd: float) -> None:
    count = censorship.space_blocks(economy, usd)
    if count is None:
        assert censorship.space_cost(economy, 10**6) < usd
    else:
        assert censorship.space_cost(economy, count) >= usd * (1 - 1e-9)
        assert count == 0 or censorship.space_cost(economy, count - 1) <= usd * (1 + 1e-9)


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limits() -> None:
    calm, rich = replace(DEFAULT, volatility=0), replace(DEFAULT, censor_share=1)
    assert attacks.withhold(calm).gain == prices.stale_chance(calm, 7_200) == 0
    assert "no volatility" in BY_NAME["withhold"].limit(calm)
    assert attacks.bribe(rich).chance == 1 and attacks.bribe(replace(DEFAULT, censor_share=0)).gain == 0
    assert attacks.buy_space(replace(DEFAULT, window_s=0)).net == DEFAULT.value_locked_usd
    cheap = replace(DEFAULT, proof_fee_max_gwei=1, bond_usd=0)
    assert attacks.buy_space(cheap).cost == 0, "nobody sends a proof at this base fee, so nothing needs to be bought"
    assert "raise proof_fee_max_gwei" in BY_NAME["buy-space"].limit(cheap)
    paid = judge(BY_NAME["buy-space"], cheap)
    deterrent = (10_000_000 / 6_900 / (18e6 * 3_000 * GWEI) + 5) / (7 / 8)  # gwei; a tenth of the bond pays it
    assert paid.pays and paid.shortest_window_s is None
    assert paid.least_bond_usd == pytest.approx(10 * 36 * deterrent, rel=0.01)
    assert censorship.proof_price_gwei(replace(DEFAULT, proof_fee_max_gwei=0)) == pytest.approx(1e7 / 36)
    narrow = replace(DEFAULT, gas_limit=20e6)
    assert attacks.buy_space(narrow).pays and "larger blocks" in BY_NAME["buy-space"].limit(narrow)
    assert censorship.fill_cost(DEFAULT, 10**7) == censorship.COST_MAX, "finite, whatever the window"
    broken = replace(DEFAULT, common_failure=1)
    assert judge(BY_NAME["unseen"], broken).least_bond_usd is None and overall([1.0, None]) == 1
    assert least(lambda value: value >= 5, 4, 1e-9) is None and overall([0.0, 3.0, 1.0]) == 3


def test_a_majority_of_l1_is_no_matter_of_bonds() -> None:
    short, long = (attacks.bounds(replace(DEFAULT, window_s=days * 86_400))[-1].holds for days in (1, 7))
    assert "TOO SHORT" in short and "long enough" in long


# --- simulation -------------------------------------------------------------------------------------------------------

PLACES = {
    "default": DEFAULT, "stressed": replace(DEFAULT, volatility=4, tau_reduce_s=7_200),
    "small blocks": replace(DEFAULT, gas_limit=15e6), "half censored": replace(DEFAULT, censor_share=0.5),
    "all censored": replace(DEFAULT, censor_share=1), "nobody censored": replace(DEFAULT, censor_share=0),
    "calm": replace(DEFAULT, volatility=0), "often blind": replace(DEFAULT, blind_share=0.4, tau_reduce_s=0),
}


@pytest.mark.parametrize("place", PLACES)
def test_formulas_agree_with_their_simulation(place: str) -> None:
    checks = montecarlo.check_all(PLACES[place], 4_000, 7)
    assert len({check.name for check in checks}) == 7
    assert [check.name for check in checks if not check.agrees] == []


@pytest.mark.parametrize("number", range(7))
def test_a_formula_that_is_a_quarter_off_is_caught(number: int) -> None:
    check = montecarlo.check_all(DEFAULT, 20_000, 7)[number]
    assert check.formula > 0 and check.error > 0
    assert check.agrees and not replace(check, formula=check.formula * 1.25).agrees


def test_the_same_seed_is_the_same_report() -> None:
    first, again, other = (montecarlo.check_all(DEFAULT, 1_000, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_walked_paths_are_the_chance_of_a_finer_walk() -> None:
    """The bridge between steps makes 2 steps as good as 64; without it a coarse walk misses touches."""
    chances = []
    for steps in (2, 64):
        random = Random(3)
        chances.append(sum(montecarlo.touches(random, 1.0, 1.0, steps) for _ in range(6_000)) / 6_000)
    exact = prices.touch_chance(1, 1)
    assert all(abs(chance - exact) < 4 * sqrt(exact * (1 - exact) / 6_000) for chance in chances)


def test_unseen_by_hand() -> None:
    assert censorship.unseen_chance(DEFAULT) == pytest.approx(1e-4 + (1 - 1e-4) * (0.01 * exp(-6)) ** 3)
    alone = replace(DEFAULT, watchtowers=1, common_failure=0, window_s=14_400)
    assert censorship.unseen_chance(alone) == pytest.approx(0.01 / 2.718281828)


def test_every_key_has_words_and_bounds() -> None:
    for item in fields(Economy):
        assert item.metadata["least"] <= item.default <= item.metadata["most"] and len(settings.KEYS[item.name]) > 8
