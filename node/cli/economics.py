"""``anchorline economics``: what attacks bring and cost, and from which bond and window on none of them pays."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from node.cli.economy import report
from node.cli.economy.montecarlo import PATHS_MAX, check_all
from node.cli.economy.settings import Economy, compose, read_file, read_pairs
from node.cli.economy.solve import Verdict, judge_all
from node.cli.l1 import DEFAULT_L1, L1Url
from node.cli.output import UserError, emit, note, run_async

_Pairs = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]
_Chain = Annotated[Path | None, Parameter(name="--deployment", env_var="ANCHORLINE_DEPLOYMENT")]
_FLAGS: Final = (
    "bond_usd", "window_s", "value_locked_usd", "volatility", "anchor_interval_s", "turnover_usd_h", "gas_limit",
    "base_fee_gwei", "ether_usd", "block_s", "proof_fee_max_gwei", "censor_share", "detect_s", "watchtowers")


def economics(
    *, bond_usd: float | None = None, window_s: float | None = None, value_locked_usd: float | None = None,
    volatility: float | None = None, anchor_interval_s: float | None = None, turnover_usd_h: float | None = None,
    gas_limit: float | None = None, base_fee_gwei: float | None = None, ether_usd: float | None = None,
    block_s: float | None = None, proof_fee_max_gwei: float | None = None, censor_share: float | None = None,
    detect_s: float | None = None, watchtowers: int | None = None, set_: _Pairs = None, config: Path | None = None,
    deployment: _Chain = None, l1_rpc: L1Url = DEFAULT_L1, markets: Path | None = None, market: int = 0,
    paths: int = 20_000, seed: int = 1, plot: Path | None = None, strict: bool = False, json: bool = False,
) -> None:
    """State what every attack brings at most, what it costs, and from which bond and window on none of them pays.

    Values come from --markets, then --deployment (read from L1), then --config, then --set and flags; what nobody gives
    is the default of `anchorline deploy` on an L1 like Ethereum. node/cli/economy/README.md has formulas and sources.

    Parameters
    ----------
    bond_usd
        What the operator's bond holds, USD.
    window_s
        Challenge window, seconds.
    value_locked_usd
        What a wrong root could pay out, USD.
    volatility
        Standard deviation of a year's return, as a fraction: 0.6 is 60%.
    anchor_interval_s
        Seconds between two batches when all is well.
    turnover_usd_h
        Notional traded in an hour, USD.
    gas_limit
        Gas of an L1 block.
    base_fee_gwei
        L1's base fee when the attack begins.
    ether_usd
        Price of L1's coin.
    block_s
        Seconds between L1 blocks.
    proof_fee_max_gwei
        Most that a watchtower pays per gas for its proof; 0: up to the value at stake.
    censor_share
        Share of L1's blocks whose builders leave a proof out for a bribe.
    detect_s
        Seconds until a watchtower that works has sent its proof.
    watchtowers
        Independent watchtowers.
    set_
        Any other key of an economy, as name=number; --json shows them all.
    config
        TOML file of such keys.
    deployment
        File that `anchorline deploy` wrote: parameters, custody, bond and fees are read from L1.
    markets
        TOML file of markets, as for `anchorline deploy`: margin, add-on and open interest come from it.
    market
        Which market of that file.
    paths
        Samples of each Monte-Carlo check; 0 leaves it out.
    seed
        Of these samples.
    plot
        PNG file to draw: chances, costs and thresholds. Needs the reports extra.
    strict
        End with status 1 if an attack pays, or a formula and its simulation disagree.
    json
        Print one JSON object.
    """
    if not 0 <= paths <= PATHS_MAX or 0 < paths < 1_000:
        raise UserError(f"--paths is 0, or 1000 to {PATHS_MAX}")
    if plot is not None and importlib.util.find_spec("matplotlib") is None:
        raise UserError("--plot needs matplotlib: install the package with its reports extra, pip install '.[reports]'")
    given = locals()
    flags = {name: given[name] for name in _FLAGS if given[name] is not None}
    economy, origin = _compose(flags, set_ or [], config, deployment, l1_rpc, markets, market)
    verdicts = judge_all(economy)
    checks = check_all(economy, paths, seed) if paths else []
    if plot is not None:
        _draw(economy, verdicts, plot, paths, seed)
    emit(json, report.build(economy, origin, verdicts, checks), lambda: report.text(economy, origin, verdicts, checks))
    if strict and (any(verdict.pays for verdict in verdicts) or any(not check.agrees for check in checks)):
        raise SystemExit(1)


def _compose(
    flags: dict[str, float], pairs: list[str], config: Path | None, deployment: Path | None, url: str,
    markets: Path | None, market: int,
) -> tuple[Economy, dict[str, str]]:
    """All layers, the weakest first."""
    layers: list[tuple[str, dict[str, Any]]] = []
    if markets is not None:
        from node.cli.economy.chain import market_parameters

        layers.append((str(markets), market_parameters(markets, market)))
    if deployment is not None:
        layers.append(("L1", _from_l1(url, deployment)))
    if config is not None:
        layers.append((str(config), read_file(config)))
    return compose(*layers, ("--set", read_pairs(pairs)), ("flag", flags))


def _from_l1(url: str, deployment: Path) -> dict[str, float]:
    from node import log
    from node.cli.economy.chain import read_chain

    log.configure("warning")
    return run_async(lambda: read_chain(url, deployment))


def _draw(economy: Economy, verdicts: list[Verdict], path: Path, paths: int, seed: int) -> None:
    from node.cli.economy.plot import draw

    path.parent.mkdir(parents=True, exist_ok=True)
    draw(economy, verdicts, path, paths=paths or 5_000, seed=seed)
    note(f"economics: {path}")
