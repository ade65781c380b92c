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
from node.stf.types import CONFIGURE_CHAIN, CONFIGURE_MARKET, CONFIGURE_RISK, OPEN, SET_PUBLISHER

from .bindings import RollupParams

USD = 1_000_000
L2_CHAIN_ID = 412_346


class MarketSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One market as it is created. ``tick_value``: micro-USD per tick and lot; the rest as in node.stf.types.Market.

    Volatilities are in ppb per square root of a second. What the defaults rest on stands in node/stf/README.md.
    """

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
    quorum: int = 3
    """Publishers that must be fresh. Of two the median is the mean: a liar beside a silent third would own it."""
    near_band: int = 5_000
    z: int = 300
    sigma_floor: int = 50_000
    addon_cap: int = 100_000
    vol_sample_ms: int = 10_000
    vol_window: int = 1_800_000
    basis_cap: int = 5_000
    spread_max: int = 2_000
    basis_window: int = 300_000
    jump_limit: int = 50_000
    jump_hold: int = 10_000
    reduce_cap: int = 20_000
    expiry: int = 0

    def message(self) -> bytes:
        """Body of the admin message that creates it (layout: node.stf.inbox)."""
        widths = (
            (self.market, 2), (self.tick_value, 4), (self.mm_base, 4), (self.mm_cap, 4), (self.im_base, 4),
            (self.im_cap, 4), (self.impact, 8), (self.stale_ms, 4), (self.oi_cap, 8), (self.min_notional, 8),
            (self.taker_fee, 4), (self.maker_fee, 4), (self.penalty, 4), (self.band, 4), (self.quorum, 1), (OPEN, 1),
        )
        return _packed(widths)

    def risk_message(self) -> bytes:
        """Body of the admin message that sets its risk parameters."""
        widths = (
            (self.market, 2), (self.near_band, 4), (self.z, 2), (self.sigma_floor, 4), (self.addon_cap, 4),
            (self.vol_sample_ms, 4), (self.vol_window, 4), (self.basis_cap, 4), (self.spread_max, 4),
            (self.basis_window, 4), (self.jump_limit, 4), (self.jump_hold, 4), (self.reduce_cap, 4), (self.expiry, 8),
        )
        return _packed(widths)


class ChainSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of the whole chain; a feature whose parameters are zero is off. Times in ms, money micro-USD."""

    anchor_interval: int = 120_000
    """How far apart anchors are when all is well: what the add-on counts on top of the un-anchored time."""
    tau_reduce: int = 1_800_000
    """Un-anchored time from which markets are reduce-only, until it is below half of this."""
    tau_halt: int = 7_200_000
    """Un-anchored time from which only cancels and deposits are left."""
    buffer_ms: int = 60_000
    """Fresh time that an account may spend under maintenance margin before liquidation is hard."""
    refill: int = 20
    """Milliseconds of health that give back one of the buffer."""
    horizon_ms: int = 60_000
    """How far ahead early reduction looks."""
    closeout: int = 750_000
    """Share of maintenance margin, ppm, under which liquidation is hard at once."""
    outflow_limit: int = 10_000_000 * USD
    """Most that all accounts together may withdraw in an hour; 0 = no limit."""

    def message(self) -> bytes:
        """Body of the admin message that sets them."""
        widths = (
            (self.anchor_interval, 4), (self.tau_reduce, 4), (self.tau_halt, 4), (self.buffer_ms, 4), (self.refill, 2),
            (self.horizon_ms, 4), (self.closeout, 4), (self.outflow_limit, 8),
        )
        return _packed(widths)


def _packed(widths: tuple[tuple[int, int], ...]) -> bytes:
    """Numbers, big-endian, in so many bytes each."""
    return b"".join([value.to_bytes(width, "big") for value, width in widths])


# BTC: a tick is 0.1 USD and a lot 0.0001 BTC. ETH: a tick is 0.01 USD and a lot 0.001 ETH.
DEFAULT_MARKETS = (
    MarketSpec(0, "BTC-USD", tick_value=10, price=600_000),
    MarketSpec(1, "ETH-USD", tick_value=10, price=300_000, sigma_floor=75_000),
)


class Timings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Immutable parameters of the Rollup; the defaults are for a network that holds value."""

    challenge_window_s: int = 86_400
    bond_min: int = 100_000 * USD
    bond_delay_s: int = 21_600
    """After leaving the seat; not shorter than ``promise_deadline_s``, so that a bond outlasts its promises."""
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

    def check(self) -> None:
        """Raise ValueError if contracts would refuse these only after others were paid for."""
        if self.bond_delay_s < self.promise_deadline_s:
            raise ValueError(
                f"bond_delay_s is {self.bond_delay_s}, shorter than promise_deadline_s, {self.promise_deadline_s}: the "
                "bond could leave before a promise is late; raise the one or lower the other")

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
    """What to deploy. ``token`` empty deploys a TestUSD; publishers (20 bytes) get slots 0, 1, … of every market.

    ``parts``: contracts of the rules (contracts.RULES_PARTS) that are on this L1 already. They keep no state and belong
    to nobody, so any number of rollups can share them.
    """

    publishers: tuple[bytes, ...]
    timings: Timings = Timings()
    markets: tuple[MarketSpec, ...] = DEFAULT_MARKETS
    l2_chain_id: int = L2_CHAIN_ID
    token: bytes = b""
    chain: ChainSpec = ChainSpec()
    parts: dict[str, bytes] = {}

    def messages(self) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
        """Admin messages (sub-kind, body): those that create markets, and those that need them: risk, publishers."""
        markets = [(CONFIGURE_MARKET, spec.message()) for spec in self.markets]
        later = [(CONFIGURE_CHAIN, self.chain.message())]
        later += [(CONFIGURE_RISK, spec.risk_message()) for spec in self.markets]
        later += [
            (SET_PUBLISHER, spec.market.to_bytes(2, "big") + bytes((slot,)) + address)
            for spec in self.markets for slot, address in enumerate(self.publishers)
        ]
        return markets, later


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


class _PlanFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    market: tuple[MarketSpec, ...] = ()
    chain: ChainSpec = ChainSpec()


def load_markets(path: Path) -> tuple[tuple[MarketSpec, ...], ChainSpec]:
    """Markets and chain from a TOML file of [[market]] tables and a [chain] table. Raises Critical: the bad key."""
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=_PlanFile)
    except OSError as error:
        raise Critical(f"markets file {path} cannot be read ({error.strerror})") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise Critical(f"{path}: {error}; expected [[market]] tables and a [chain] table with their keys") from None
    return found.market, found.chain


def genesis_root() -> bytes:
    """State root before the first batch."""
    return trie.root_of(genesis_leaves())


def to_json(deployment: Deployment) -> dict[str, Any]:
    """Plain values, for ``--json``."""
    return msgspec.to_builtins(deployment)  # type: ignore[no-any-return]
