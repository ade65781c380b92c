"""What an economics report is about: a deployment, its market, its L1, and what is assumed of the attacker.

One flat frozen record. Values come from the chain, a TOML file and flags, each over the one before; every value has
bounds, and a value outside them is an error that names the key. The defaults are those of `anchorline deploy` on an L1
like Ethereum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from math import isfinite, sqrt
from pathlib import Path
from typing import Any, Final

from node.cli.output import UserError

YEAR_S: Final = 31_557_600.0  # 365.25 days
GWEI: Final = 1e-9  # ether
PROVER_SHARE: Final = 0.1  # contracts/seat.vy: PROVER_PERCENT
VICTIMS_SHARE: Final = 0.1  # VICTIMS_PERCENT
IDLE_SHARE: Final = 0.1  # IDLE_PERCENT: an eviction, a promise that is late
#: of a slashed bond, what its owner cannot get back even as prover and only victim
LOST_SHARE: Final = 1 - PROVER_SHARE - VICTIMS_SHARE


def _key(default: float, least: float, most: float, text: str) -> float:
    return field(default=default, metadata={"least": least, "most": most, "text": text})


@dataclass(frozen=True)
class Economy:
    """Everything that the formulas read. Money in USD, times in seconds, shares as fractions."""

    # the rollup's contracts
    bond_usd: float = _key(100_000, 0, 1e15, "what the operator's bond holds")
    window_s: float = _key(86_400, 0, YEAR_S * 10, "challenge window, seconds")
    value_locked_usd: float = _key(10_000_000, 0, 1e15, "custody: what a wrong root could pay out")
    promise_deadline_s: float = _key(21_600, 1, YEAR_S, "from a promise to its posting")
    seat_idle_s: float = _key(21_600, 1, YEAR_S, "a message unconsumed for so long lets anyone evict the operator")
    exodus_after_s: float = _key(604_800, 1, YEAR_S, "a message unconsumed for so long lets anyone freeze the rollup")
    force_fee_usd: float = _key(1, 0, 1e9, "burned by each forced transaction")
    # the rules of the chain
    anchor_interval_s: float = _key(120, 0.001, 86_400 * 30, "between two batches when all is well")
    tau_reduce_s: float = _key(1_800, 0, 86_400 * 30, "un-anchored time that makes markets reduce-only; 0 = never")
    tau_halt_s: float = _key(7_200, 0, 86_400 * 30, "un-anchored time that halts trading; 0 = never")
    outflow_limit_usd: float = _key(10_000_000, 0, 1e15, "withdrawals of all accounts in an hour; 0 = no limit")
    im_base: float = _key(0.05, 1e-6, 1, "initial margin of a small position")
    mm_base: float = _key(0.025, 1e-6, 1, "maintenance margin of a small position")
    taker_fee: float = _key(0.0005, 0, 1, "share of the notional")
    z: float = _key(3, 0, 100, "standard deviations that the finality add-on covers")
    sigma_floor: float = _key(5e-5, 0, 1, "least volatility per square root of a second that the add-on takes")
    addon_cap: float = _key(0.1, 0, 1, "most that un-anchored time adds to initial margin")
    # the market
    volatility: float = _key(0.6, 0, 100, "standard deviation of a year's return; 0.6 is 60%")
    turnover_usd_h: float = _key(500_000, 0, 1e15, "notional traded in an hour")
    open_interest_usd: float = _key(10_000_000, 0, 1e15, "largest position that one attacker can hold")
    insider_share: float = _key(0.5, 0, 1, "share of un-anchored trades that are the operator's own")
    tail_z: float = _key(5, 0, 40, "standard deviations of a price move that count as the most")
    publisher_spread: float = _key(0.0005, 0, 1, "how far honest publishers' prices lie apart")
    order_expiry_s: float = _key(60, 0, 172_800, "how long an order's signature is good")
    lp_exposure_usd: float = _key(50_000, 0, 1e15, "what liquidity providers without a verifier have paid out early")
    halt_value_usd_h: float = _key(500, 0, 1e15, "what an hour of standstill is worth to somebody")
    # L1
    block_s: float = _key(12, 0.001, 86_400, "between two L1 blocks")
    gas_limit: float = _key(36e6, 1e6, 1e12, "of an L1 block")
    base_fee_gwei: float = _key(5, 1e-9, 1e9, "L1's base fee when the attack begins")
    ether_usd: float = _key(3_000, 1e-9, 1e9, "price of L1's coin")
    proof_gas: float = _key(12e6, 21_000, 1e9, "gas of a fraud proof; the attacker chooses, so the worst legal chunk")
    proof_fee_max_gwei: float = _key(2_000, 0, 1e12, "most a watchtower pays per gas; 0 = up to the value at stake")
    message_gas: float = _key(85_000, 21_000, 1e9, "gas of one forced transaction on L1")
    # censorship and watching
    censor_share: float = _key(0.9, 0, 1, "share of L1 blocks whose builders leave a proof out for a bribe")
    detect_s: float = _key(3_600, 0, YEAR_S, "until a watchtower that works has sent its proof, restarts included")
    watchtowers: float = _key(3, 1, 1_000, "independent watchtowers")
    blind_share: float = _key(0.01, 0, 1, "share of time in which one of them does not work")
    repair_s: float = _key(14_400, 1, YEAR_S, "mean time until it works again")
    common_failure: float = _key(1e-4, 0, 1, "chance that one fault blinds all of them for a whole window")
    social_s: float = _key(604_800, 1, YEAR_S, "what a community needs to fork away from a censoring majority of L1")
    react_s: float = _key(3_600, 0, YEAR_S, "until bought prices are noticed and withdrawals stop")

    @property
    def sigma(self) -> float:
        """Volatility per square root of a second."""
        return self.volatility / sqrt(YEAR_S)

    def check(self) -> None:
        """Raises UserError for the first value outside its bounds, and for margins that contradict each other."""
        for item in fields(self):
            value, least, most = getattr(self, item.name), item.metadata["least"], item.metadata["most"]
            if not (isfinite(value) and least <= value <= most):
                raise UserError(f"{item.name}: {value:g} is outside {least:g} to {most:g} ({item.metadata['text']})")
        if self.mm_base > self.im_base:
            raise UserError(f"mm_base: {self.mm_base:g} is above im_base, {self.im_base:g}; maintenance cannot exceed "
                            "initial margin")
        if self.watchtowers != int(self.watchtowers):
            raise UserError(f"watchtowers: {self.watchtowers:g} is no whole number")
        if self.proof_gas >= self.gas_limit:
            raise UserError(
                f"proof_gas: {self.proof_gas:,.0f} does not fit an L1 block of gas_limit {self.gas_limit:,.0f}")


KEYS: Final = {item.name: str(item.metadata["text"]) for item in fields(Economy)}


def compose(*layers: tuple[str, Mapping[str, Any]]) -> tuple[Economy, dict[str, str]]:
    """An economy from named layers, later ones over earlier ones, and for each key the layer that it came from.

    Raises UserError for an unknown key, a value that is no number, or one outside its bounds.
    """
    values: dict[str, float] = {}
    origin = dict.fromkeys(KEYS, "default")
    for name, layer in layers:
        for key, value in layer.items():
            if key not in KEYS:
                near = get_close_matches(key, KEYS, 1)
                raise UserError(f"{name}: {key} is no key of an economy" + (f"; did you mean {near[0]}?" if near else
                                "; `anchorline economics --json` shows all of them"))
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"{name}: {key} is {value!r}, expected a number")
            values[key], origin[key] = float(value), name
    economy = Economy(**values)
    economy.check()
    return economy, origin


def read_file(path: Path) -> dict[str, Any]:
    """Keys of a TOML file. Raises UserError when it cannot be read."""
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a TOML file of keys such as window_s = 86400") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not TOML ({error}); expected lines such as window_s = 86400") from None


def read_pairs(pairs: list[str]) -> dict[str, float]:
    """``name=number`` pairs. Raises UserError."""
    found = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise UserError(f"--set {pair}: expected name=number") from None
    return found
