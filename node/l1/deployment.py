"""What a deployment is: its plan (parameters, markets, publishers), and the record that every role and client reads.

The record is a JSON file without secrets: addresses, chain ids, the genesis root, the first L1 block to read. Amounts
are micro-USD, times seconds, rates ppm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from node.errors import Critical
from node.stf import state, trie
from node.stf.engine import genesis_leaves
from node.stf.state import Globals
from node.stf.types import CONFIGURE_MARKET, OPEN, SET_PUBLISHER

from .bindings import RollupParams

USD = 1_000_000
L2_CHAIN_ID = 412_346


class MarketSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One market as it is created. ``tick_value``: micro-USD per tick and lot."""

    market: int
    symbol: str
    tick_value: int = 10
    price: int = 600_000
    """Ticks; only where a devnet's price path starts."""
    mm_base: int = 25_000
    mm_cap: int = 500_000
    im_base: int = 50_000
    im_cap: int = 1_000_000
    impact: int = 50_000_000
    stale_ms: int = 30_000
    oi_cap: int = 10_000_000
    min_notional: int = USD
    taker_fee: int = 500
    maker_fee: int = 100
    penalty: int = 10_000
    band: int = 50_000
    quorum: int = 2

    def message(self) -> bytes:
        """Body of the admin message that creates it (layout: node.stf.inbox)."""
        widths = (
            (self.market, 2), (self.tick_value, 4), (self.mm_base, 4), (self.mm_cap, 4), (self.im_base, 4),
            (self.im_cap, 4), (self.impact, 8), (self.stale_ms, 4), (self.oi_cap, 8), (self.min_notional, 8),
            (self.taker_fee, 4), (self.maker_fee, 4), (self.penalty, 4), (self.band, 4), (self.quorum, 1), (OPEN, 1),
        )
        return b"".join([value.to_bytes(width, "big") for value, width in widths])


# BTC: a tick is 0.1 USD and a lot 0.0001 BTC. ETH: a tick is 0.01 USD and a lot 0.001 ETH.
DEFAULT_MARKETS = (
    MarketSpec(0, "BTC-USD", tick_value=10, price=600_000),
    MarketSpec(1, "ETH-USD", tick_value=10, price=300_000),
)


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable parameters of the Rollup; the defaults are for a network that holds value."""

    challenge_window_s: int = 86_400
    bond_min: int = 100_000 * USD
    bond_delay_s: int = 3_600
    seat_idle_s: int = 21_600
    force_delay_s: int = 7_200
    force_fee: int = USD
    deposit_min: int = USD
    timelock_s: int = 172_800
    force_floor_s: int = 900
    """What the forced delay can fall to."""
    exodus_after_s: int = 604_800
    """A message that has waited this long lets anyone freeze the rollup; so does a seat empty for ``reseat_s``."""
    reseat_s: int = 259_200
    register_s: int = 1_209_600
    promise_deadline_s: int = 21_600
    """From a promise to its posting; then the seat is lost."""
    claim_s: int = 604_800
    """For victims of a slash to come forward."""

    def params(self, l2_chain_id: int) -> RollupParams:
        """The constructor's struct."""
        words = state.global_words(Globals())
        return RollupParams(
            challenge_window_s=self.challenge_window_s, bond_min=self.bond_min, bond_delay_s=self.bond_delay_s,
            seat_idle_s=self.seat_idle_s, force_delay_s=self.force_delay_s, force_fee=self.force_fee,
            deposit_min=self.deposit_min, timelock_s=self.timelock_s, l2_chain_id=l2_chain_id,
            genesis_root=genesis_root(), genesis_globals=(words[0], words[1], words[2], words[3], words[4], words[5]),
            force_floor_s=self.force_floor_s,
        )


class Plan(msgspec.Struct, frozen=True):
    """What to deploy. ``token`` empty deploys a TestUSD; publishers (20 bytes) get slots 0, 1, … of every market."""

    publishers: tuple[bytes, ...]
    timings: Timings = Timings()
    markets: tuple[MarketSpec, ...] = DEFAULT_MARKETS
    l2_chain_id: int = L2_CHAIN_ID
    token: bytes = b""

    def messages(self) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        """Admin messages (sub-kind, body): those that create markets, those that register publishers."""
        markets = [(CONFIGURE_MARKET, spec.message()) for spec in self.markets]
        publishers = [
            (SET_PUBLISHER, spec.market.to_bytes(2, "big") + bytes((slot,)) + address)
            for spec in self.markets for slot, address in enumerate(self.publishers)
        ]
        return markets, publishers


class DeployedMarket(msgspec.Struct, frozen=True):
    """A market by id and name."""

    market: int
    symbol: str
    tick_value: int
    price: int


class Deployment(msgspec.Struct, frozen=True):
    """The record of a deployment. Addresses are hex text."""

    l1_chain_id: int
    l2_chain_id: int
    rollup: str
    token: str
    verifier: str
    start_block: int
    genesis_root: str
    challenge_window_s: int
    admin: str
    publishers: list[str]
    markets: list[DeployedMarket]
    contracts: dict[str, str]
    gas_used: int

    def save(self, path: Path) -> None:
        """Write the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")


def load_deployment(path: Path) -> Deployment:
    """Read the file. Raises Critical with what is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Deployment)
    except OSError as error:
        raise Critical(f"deployment {path} cannot be read ({error.strerror}); `anchorline deploy` writes one") from None
    except msgspec.MsgspecError as error:
        raise Critical(f"{path} is no deployment ({error}); `anchorline deploy` writes one") from None


def load_markets(path: Path) -> tuple[MarketSpec, ...]:
    """Markets from a TOML file of [[market]] tables. Raises Critical naming the bad key."""
    try:
        found: dict[str, list[MarketSpec]] = msgspec.toml.decode(path.read_bytes(), type=dict[str, list[MarketSpec]])
    except OSError as error:
        raise Critical(f"markets file {path} cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Critical(f"{path}: {error}; expected [[market]] tables with the keys of a market") from None
    return tuple(found.get("market", ()))


def genesis_root() -> bytes:
    """State root before the first batch."""
    return trie.root_of(genesis_leaves())


def to_json(deployment: Deployment) -> dict[str, Any]:
    """Plain values, for ``--json``."""
    return msgspec.to_builtins(deployment)  # type: ignore[no-any-return]
