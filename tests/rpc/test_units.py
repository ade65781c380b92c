"""Names and decimals of markets: exact both ways, refused where they cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.amounts import find_market, show_price, show_size, to_lots, to_ticks, units_of
from node.cli.output import UserError
from node.config import Config, ConfigError, RpcConfig
from node.rpc.methods.reads import Node, Reads
from node.rpc.methods.shapes import MarketInfo
from node.units import MarketUnits, UnitsError, parse_markets
from tests.explain.world import STORIES, chain_of, played

BTC = "0=BTC-USD:0.1:0.0001"


def info(*entries: str, market: int = 0) -> MarketInfo:
    """What al_markets says of a story's market, with these units configured."""
    chain = chain_of(played(next(path for path in STORIES if path.stem == "S6_mutualised")))
    node = Node("verifier", chain, chain.engine(chain.message), "0x" + "12" * 20, 901, units=parse_markets(entries))
    return next(found for found in Reads(node).markets() if found.market == market)


def test_al_markets_shows_names_and_dollars_where_they_fit() -> None:
    tick_value = info().tick_value
    known = info(BTC) if tick_value == 10 else info(f"0=BTC-USD:{tick_value}:0.000001")
    units = units_of(known)
    assert known.symbol == "BTC-USD" and units is not None and units.fits(tick_value)
    assert known.price == units.price(known.mark)
    plain = info()
    assert (plain.symbol, plain.tick, plain.lot, plain.price) == ("M0", "", "", "") and units_of(plain) is None
    wrong = info("0=BTC-USD:7:0.0001")
    assert (wrong.symbol, wrong.tick) == ("BTC-USD", ""), "decimals that do not fit the market are not shown"


@pytest.mark.parametrize("entry", [
    "BTC:0.1:0.1", "0=BTC:0.1", "0=BTC:0:1", "0=BTC:1e-3:1", "0=:1:1", "x=BTC:1:1", "0=BTC:-1:1", "0=BTC:1:1:1", "",
    "0=BTC:0.1234567890123:1"])
def test_units_that_say_nothing_stop_the_start(entry: str) -> None:
    with pytest.raises(UnitsError, match="="):
        parse_markets([entry])
    rollup = replace(Config().l1, rollup="0x" + "12" * 20)
    with pytest.raises(ConfigError, match=r"rpc\.markets"):
        replace(Config(), l1=rollup, rpc=RpcConfig(markets=(entry,))).check("verifier")


@pytest.mark.parametrize("second", ["0=ETH:1:1", "1=btc-usd:1:1"])
def test_a_market_or_symbol_named_twice_stops_the_start(second: str) -> None:
    with pytest.raises(UnitsError, match="twice"):
        parse_markets([BTC, second])


@given(st.integers(0, 2**32 - 1), st.sampled_from(["0.1", "0.01", "0.5", "1", "0.00025", "10"]))
def test_a_price_that_is_shown_is_read_back(ticks: int, tick: str) -> None:
    units = parse_markets([f"0=X:{tick}:0.001"])[0]
    assert units.ticks(units.price(ticks)) == ticks


def test_amounts_are_exact_or_refused() -> None:
    units = parse_markets([BTC])[0]
    assert (units.ticks("60010.5"), units.lots("0.0100"), units.lots("2")) == (600_105, 100, 20_000)
    for wrong in ("60010.55", "nan", "-1", "1e400", "inf", ""):
        with pytest.raises(UnitsError):
            units.ticks(wrong)
    with pytest.raises(UnitsError, match=r"multiple of 0.0001; next to it are 0.0001 and 0.0002"):
        units.lots("0.00015")


def typed(units: MarketUnits | None) -> MarketInfo:
    plain = info()
    if units is None:
        return plain
    plain.symbol, plain.tick, plain.lot = units.symbol, str(units.tick), str(units.lot)
    return plain


def test_the_command_line_takes_and_shows_both() -> None:
    known, unknown = typed(parse_markets([BTC])[0]), typed(None)
    assert to_ticks("600105", known) == to_ticks("60010.5", known) == 600_105
    assert to_lots("100", known) == to_lots("0.01", known) == to_lots("100", unknown) == 100
    assert show_price(600_105, known) == "60,010.5 USD (600,105 ticks)" and show_price(5, unknown) == "5 ticks"
    assert show_size(100, known) == "0.0100 BTC-USD (100 lots)" and show_size(100, unknown) == "100 lots"
    with pytest.raises(UserError, match=r"rpc\.markets"):
        to_ticks("60010.5", unknown)
    with pytest.raises(UserError, match=r"multiple of 0\.1"):
        to_ticks("60010.55", known)
    assert find_market([known], "btc-usd") is find_market([known], "0") is known
    with pytest.raises(UserError, match=r"no market ETH; markets: 0 \(BTC-USD\)"):
        find_market([known], "ETH")
