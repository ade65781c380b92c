"""``anchorline economics``: what attacks bring and cost, and from which bond and window on none of them pays."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from node.cli.economy import report
from node.cli.economy.montecarlo import PATHS_MAX, check_all
from node.cli.economy.settings import KEYS, Economy, compose, read_file, read_pairs
from node.cli.economy.solve import Verdict, judge_all
from node.cli.l1 import DEFAULT_L1, L1Url
from node.cli.output import UserError, emit, note, run_async

_Pairs = Annotated[list[str] | None, Parameter(name="--set", consume_multiple=True)]
_Chain = Annotated[Path | None, Parameter(name="--deployment", env_var="ANCHORLINE_DEPLOYMENT")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Flags:
    """Keys of an economy that have flags of their own; None: not given."""

    bond_usd: Annotated[float | None, Parameter(help=KEYS["bond_usd"])] = None
    window_s: Annotated[float | None, Parameter(help=KEYS["window_s"])] = None
    value_locked_usd: Annotated[float | None, Parameter(help=KEYS["value_locked_usd"])] = None
    volatility: Annotated[float | None, Parameter(help=KEYS["volatility"])] = None
    anchor_interval_s: Annotated[float | None, Parameter(help=KEYS["anchor_interval_s"])] = None
    turnover_usd_h: Annotated[float | None, Parameter(help=KEYS["turnover_usd_h"])] = None
    gas_limit: Annotated[float | None, Parameter(help=KEYS["gas_limit"])] = None
    base_fee_gwei: Annotated[float | None, Parameter(help=KEYS["base_fee_gwei"])] = None
    ether_usd: Annotated[float | None, Parameter(help=KEYS["ether_usd"])] = None
    block_s: Annotated[float | None, Parameter(help=KEYS["block_s"])] = None
    proof_fee_max_gwei: Annotated[float | None, Parameter(help=KEYS["proof_fee_max_gwei"])] = None
    censor_share: Annotated[float | None, Parameter(help=KEYS["censor_share"])] = None
    detect_s: Annotated[float | None, Parameter(help=KEYS["detect_s"])] = None
    watchtowers: Annotated[float | None, Parameter(help=KEYS["watchtowers"])] = None


def economics(
    *, flags: Flags = Flags(), set_: _Pairs = None, config: Path | None = None,
    deployment: _Chain = None, l1_rpc: L1Url = DEFAULT_L1, markets: Path | None = None, market: int = 0,
    paths: int = 20_000, seed: int = 1, plot: Path | None = None, strict: bool = False, json: bool = False,
) -> None:
    """State what every attack brings at most, what it costs, and from which bond and window on none of them pays.

    Values come from --markets, then --deployment (read from L1), then --config, then --set and flags; what nobody gives
    is the default of `anchorline deploy` on an L1 like Ethereum. node/cli/economy/README.md has formulas and sources.

    Parameters
    ----------
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
    given = {name: value for name, value in asdict(flags).items() if value is not None}
    economy, origin = _compose(given, set_ or [], config, deployment, l1_rpc, markets, market)
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
