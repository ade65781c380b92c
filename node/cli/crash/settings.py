"""Parameters of a replayed market, and which of them switch a protection off.

One lot is a dollar at the window's first price, whatever the coin: a tick is a millionth of that price, so lot times
price is micro-USD at a tick value of 1, and one table of parameters fits every year.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from node.cli.output import UserError
from node.l1.deployment import ChainSpec, MarketSpec
from node.stf.types import CONFIGURE_CHAIN, CONFIGURE_MARKET, CONFIGURE_RISK, OPEN, SET_PUBLISHER

USD: Final = 1_000_000
PUBLISHERS: Final = 3
DONATION: Final = 0xFFFF0000  # deposits to this plus a market's number are gifts to its insurance

_MARKET_WIDTHS: Final = {
    "tick_value": 4, "mm_base": 4, "mm_cap": 4, "im_base": 4, "im_cap": 4, "impact": 8, "stale_ms": 4, "oi_cap": 8,
    "min_notional": 8, "taker_fee": 4, "maker_fee": 4, "penalty": 4, "band": 4, "quorum": 1,
}
_RISK_WIDTHS: Final = {
    "near_band": 4, "z": 2, "sigma_floor": 4, "addon_cap": 4, "vol_sample_ms": 4, "vol_window": 4, "basis_cap": 4,
    "spread_max": 4, "basis_window": 4, "jump_limit": 4, "jump_hold": 4, "reduce_cap": 4, "expiry": 8,
}
_CHAIN_WIDTHS: Final = {
    "anchor_interval": 4, "tau_reduce": 4, "tau_halt": 4, "buffer_ms": 4, "refill": 2, "horizon_ms": 4, "closeout": 4,
    "outflow_limit": 8,
}

# What a deployment ships, but for what the scale of a replay asks for. stale_ms covers the longest step, so that
# funding accrues over all of it.
_SCALE: Final = {"tick_value": 1, "oi_cap": 500_000_000, "min_notional": 10 * USD, "stale_ms": 1_000_000}


def _shipped(spec: MarketSpec | ChainSpec, widths: dict[str, int]) -> dict[str, int]:
    """A deployment's defaults by name."""
    return {name: _SCALE.get(name, getattr(spec, name)) for name in widths}


@dataclass(frozen=True, slots=True)
class Settings:
    """What one replay runs under. ``insurance``: ppm of the opened interest that insurance starts with."""

    market: dict[str, int] = field(default_factory=lambda: _shipped(MarketSpec(0, ""), _MARKET_WIDTHS))
    risk: dict[str, int] = field(default_factory=lambda: _shipped(MarketSpec(0, ""), _RISK_WIDTHS))
    chain: dict[str, int] = field(default_factory=lambda: _shipped(ChainSpec(), _CHAIN_WIDTHS))
    insurance: int = 10_000

    def with_values(self, values: dict[str, int]) -> Settings:
        """The same with some parameters changed. Raises UserError naming one that does not exist."""
        market, risk, chain, insurance = dict(self.market), dict(self.risk), dict(self.chain), self.insurance
        for name, value in values.items():
            if name == "insurance":
                insurance = value
                continue
            table = next((table for table in (market, risk, chain) if name in table), None)
            if table is None:
                known = sorted([*market, *risk, *chain, "insurance"])
                raise UserError(f"there is no parameter {name}; there are {', '.join(known)}")
            table[name] = value
        return replace(self, market=market, risk=risk, chain=chain, insurance=insurance)

    def value(self, name: str) -> int:
        """One parameter by name."""
        return {**self.market, **self.risk, **self.chain, "insurance": self.insurance}[name]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the same crash. ``values``: what it changes."""

    name: str
    text: str
    values: dict[str, int]


ALL_ON: Final = Variant("all on", "every protection", {})
_OFF: Final = (
    Variant("addon", "no finality add-on: initial margin knows nothing of un-anchored time", {"addon_cap": 0}),
    Variant("buffer", "no latency buffer: hard liquidation at once below maintenance", {"buffer_ms": 0}),
    Variant("predictive", "no predictive reduction", {"horizon_ms": 0}),
    Variant("ramp", "no close-out margin below maintenance: a cliff with the full penalty at once, as most venues have",
            {"closeout": 1_000_000}),
    Variant("jump", "no jump hold: every median is believed at once", {"jump_limit": 0}),
    Variant("basis", "no basis: the mark is the index, and there is no funding", {"basis_window": 0}),
    Variant("tiers", "no size-dependent margin", {"impact": 0}),
    Variant("insurance", "insurance starts empty: what takeovers lack is mutualised at once", {"insurance": 0}),
)
_NOTHING: Final = Variant(
    "everything", "all of these off: index marks, one margin rate, liquidation at maintenance",
    {name: value for variant in _OFF for name, value in variant.values.items()})
OFF: Final = (*_OFF, _NOTHING)


def choose_variants(names: Iterable[str]) -> list[Variant]:
    """Everything on, then what is switched off by name; ``all`` is each in turn, ``none`` nothing. Raises UserError."""
    asked = list(names)
    if not asked or "all" in asked:
        return [ALL_ON, *OFF]
    known = {variant.name: variant for variant in OFF}
    chosen = [ALL_ON]
    for name in dict.fromkeys(asked):
        if name not in known and name != "none":
            raise UserError(f"--features-off {name}: there are all, none, {', '.join(known)}")
        chosen += [known[name]] if name in known else []
    return chosen


# --- admin messages ---------------------------------------------------------------------------------------------------


def market_message(market: int, settings: Settings) -> bytes:
    """Body that creates a market or replaces its parameters."""
    return bytes((CONFIGURE_MARKET,)) + _id(market) + _pack(settings.market, _MARKET_WIDTHS) + bytes((OPEN,))


def risk_message(market: int, settings: Settings) -> bytes:
    """Body that sets a market's risk parameters."""
    return bytes((CONFIGURE_RISK,)) + _id(market) + _pack(settings.risk, _RISK_WIDTHS)


def chain_message(settings: Settings) -> bytes:
    """Body that sets the chain's parameters."""
    return bytes((CONFIGURE_CHAIN,)) + _pack(settings.chain, _CHAIN_WIDTHS)


def publisher_message(market: int, slot: int, address: int) -> bytes:
    """Body that registers a publisher."""
    return bytes((SET_PUBLISHER,)) + _id(market) + bytes((slot,)) + address.to_bytes(20, "big")


def deposit_message(account: int, owner: int, amount: int) -> bytes:
    """Payload of a deposit, micro-USD."""
    return account.to_bytes(4, "big") + owner.to_bytes(20, "big") + amount.to_bytes(8, "big")


def notice_message(batch: int, time: int) -> bytes:
    """Payload of an anchor notice: L2 time up to ``time`` is anchored."""
    return batch.to_bytes(8, "big") + time.to_bytes(8, "big")


def _id(market: int) -> bytes:
    return market.to_bytes(2, "big")


def _pack(values: dict[str, int], widths: dict[str, int]) -> bytes:
    return b"".join([values[name].to_bytes(width, "big") for name, width in widths.items()])
