"""How likely an account's cushion is to break before L1 knows its state.

    P  ~=  2 * Phi(-(E - M) / (sum |N| * sigma * sqrt(tau)))        Phi: the standard normal distribution

E equity, M maintenance margin, N the notional of each position, sigma its market's volatility per square root of a
second, tau the un-anchored time. By the reflection principle a driftless Brownian motion that ends below a level with
probability p has touched it with 2p (Bachelier, "Theorie de la speculation", 1900; Levy 1939). Adding the positions'
standard deviations is adding them at correlation one in the worst direction: no correlation makes the sum's deviation
larger. Returns have fatter tails than a normal distribution, so the figure is a ranking and a warning, never a rule:
nothing in the rules reads it.
"""

from __future__ import annotations

from math import erfc, isqrt, sqrt
from typing import Final

from node.rpc.methods import shapes
from node.rpc.methods.reader import Reader
from node.stf import finality
from node.stf.oracle import BASIS_UNIT
from node.stf.state import AccountRow, MarketRow
from node.stf.types import Board, Market, PriceState

FORMULA: Final = "2*Phi(-(equity - maintenance) / (sum of |notional|*sigma * sqrt(tau)))"
SOURCE: Final = "reflection principle of Brownian motion (Bachelier 1900, Levy 1939); correlation one between markets"


def account_risk(reader: Reader, account: int, row: AccountRow, tau_ms: int | None, block: int) -> shapes.RiskInfo:
    """The figure with all that it rests on. ``tau_ms``: None for what the chain's distance to L1 is now."""
    g = reader.ledger.g
    health = reader.health(row)
    tau = max(0, g.time - g.last_anchor + g.chain.anchor_interval) if tau_ms is None else tau_ms
    positions = [
        position_risk(reader, position.market, position.size) for position in row.positions if position.size != 0]
    per_root_second = sum(position.notional * position.sigma_ppb / 1e9 for position in positions)
    deviation = per_root_second * sqrt(tau / 1_000)
    cushion = health.equity - health.maintenance
    return shapes.RiskInfo(
        account=account, probability=break_probability(cushion, deviation), equity=health.equity,
        maintenance=health.maintenance, cushion=cushion, tau_ms=tau, deviation=round(deviation), positions=positions,
        prices_fresh=health.stale == 0, formula=FORMULA, source=SOURCE, time=g.time, block=block)


def position_risk(reader: Reader, market: int, size: int) -> shapes.PositionRisk:
    """Notional and volatility of one position."""
    row = reader.market(market)
    assert row is not None, "a position's market exists"
    board = reader.board(market)
    notional = abs(size) * board.mark * board.tick_value
    return shapes.PositionRisk(market, size, notional, sigma_ppb(row.prices, row.config))


def sigma_ppb(prices: PriceState, config: Market) -> int:
    """A market's volatility, ppb per square root of a second, as margin takes it."""
    return max(config.sigma_floor, 0 if config.vol_window == 0 else isqrt(prices.variance))


def break_probability(cushion: int, deviation: float) -> float:
    """2 * Phi(-cushion / deviation), at most 1; 1 if the cushion is gone, 0 if nothing moves."""
    if cushion <= 0:
        return 1.0
    if deviation <= 0:
        return 0.0
    return erfc(cushion / deviation / sqrt(2))


def status_now(reader: Reader, board: Board, row: MarketRow) -> int:
    """What trading a market allows at this state's L2 time."""
    g = reader.ledger.g
    expired = row.config.expiry != 0 and g.time >= row.config.expiry
    return finality.least_status(board.status, g.level, expired or row.prices.jump_price != 0)


def prices_info(reader: Reader, board: Board, row: MarketRow) -> shapes.PricesInfo:
    """How a market's mark comes about."""
    prices, config = row.prices, row.config
    ticks = prices.basis / BASIS_UNIT
    perpetual = config.expiry == 0 and prices.index != 0
    return shapes.PricesInfo(
        index=prices.index, basis=ticks, funding_bps_8h=ticks / prices.index * 10_000 if perpetual else 0.0,
        funding=board.funding, sigma_ppb=sigma_ppb(prices, config),
        addon_ppm=finality.rate(board, reader.ledger.g.sqrt_tau), jump_price=prices.jump_price, expiry=config.expiry)
