"""Commands that run a role until interrupted: sequencer, verifier, watchtower, liquidity."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import Parameter

from node import log
from node.cli.output import emit, run_async
from node.config import Config, Role

Flat = Annotated[Config, Parameter(name="*")]
ConfigFile = Annotated[Path | None, Parameter(name="--config")]  # app.py adds ANCHORLINE_CONFIG
DeploymentFile = Annotated[Path | None, Parameter(name="--deployment")]  # app.py reads it, and ANCHORLINE_DEPLOYMENT
Service = Callable[..., Awaitable[None]]

_DEFAULT = Config()


def sequencer(
    *, config: Flat = _DEFAULT, config_file: ConfigFile = None, deployment: DeploymentFile = None,
    villain: list[str] | None = None, json: bool = False,
) -> None:
    """Order, execute and promise transactions; post batches to L1.

    Keys: ANCHORLINE_SEQUENCER_KEY (or sequencer.keystore and ANCHORLINE_SEQUENCER_PASSWORD) signs promises,
    ANCHORLINE_BATCHER_KEY (or batcher.keystore and ANCHORLINE_BATCHER_PASSWORD) posts batches.

    Parameters
    ----------
    config_file
        TOML file with any of these keys; flags and the environment win over it.
    deployment
        File that `anchorline deploy` wrote; gives l1.rollup and l1.start_block where nothing else does.
    villain
        For development networks: post a wrong batch of this kind before an honest one, and lose the bond for it.
    json
        Print one JSON object when the service is up.
    """
    config.check("sequencer")
    from node.cli.keys import role_signer
    from sequencer import service

    promiser = role_signer("sequencer", config.sequencer.keystore)
    poster = role_signer("batcher", config.batcher.keystore)
    kinds = tuple(villain or ())
    _serve("sequencer", config, json, lambda **ready: service.run(config, promiser, poster, villains=kinds, **ready))


def verifier(
    *, config: Flat = _DEFAULT, config_file: ConfigFile = None, deployment: DeploymentFile = None, json: bool = False
) -> None:
    """Rebuild the chain from L1 alone, compare every root, serve reads.

    Parameters
    ----------
    config_file
        TOML file with any of these keys; flags and the environment win over it.
    deployment
        File that `anchorline deploy` wrote; gives l1.rollup and l1.start_block where nothing else does.
    json
        Print one JSON object when the service is up.
    """
    config.check("verifier")
    from node import service

    _serve("verifier", config, json, lambda **ready: service.run_verifier(config, **ready))


def watchtower(
    *, config: Flat = _DEFAULT, config_file: ConfigFile = None, deployment: DeploymentFile = None, json: bool = False
) -> None:
    """A verifier that raises the alarm on a wrong root and, with strategy defend, proves the fraud on L1.

    Key, for strategy defend: ANCHORLINE_WATCHTOWER_KEY (or watchtower.keystore and ANCHORLINE_WATCHTOWER_PASSWORD).

    Parameters
    ----------
    config_file
        TOML file with any of these keys; flags and the environment win over it.
    deployment
        File that `anchorline deploy` wrote; gives l1.rollup and l1.start_block where nothing else does.
    json
        Print one JSON object when the service is up.
    """
    config.check("watchtower")
    from node.cli.keys import role_signer
    from prover import service

    defends = config.watchtower.strategy == "defend"
    signer = role_signer("watchtower", config.watchtower.keystore) if defends else None
    _serve("watchtower", config, json, lambda **ready: service.run(config, signer, **ready))


def liquidity(
    *, config: Flat = _DEFAULT, config_file: ConfigFile = None, deployment: DeploymentFile = None, json: bool = False
) -> None:
    """A verifier that buys withdrawals before their window is over, for a fee, after checking them on its own chain.

    Key: ANCHORLINE_LIQUIDITY_KEY (or liquidity.keystore and ANCHORLINE_LIQUIDITY_PASSWORD); it pays with the rollup's
    token and with ether for gas, and owns the claims. Traders come with `anchorline withdraw … --now URL`.

    Parameters
    ----------
    config_file
        TOML file with any of these keys; flags and the environment win over it.
    deployment
        File that `anchorline deploy` wrote; gives l1.rollup and l1.start_block where nothing else does.
    json
        Print one JSON object when the service is up.
    """
    config.check("liquidity")
    from node.cli.keys import role_signer
    from node.liquidity import service

    signer = role_signer("liquidity", config.liquidity.keystore)
    _serve("liquidity", config, json, lambda **ready: service.run(config, signer, **ready))


def _serve(role: Role, config: Config, json: bool, run: Service) -> None:
    log.configure(config.log.level, config.log.format)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bound: Any = await nursery.start(run)
            place = {"role": role, "rpc": getattr(bound, "http_url", ""), "ws": getattr(bound, "ws_url", "")}
            emit(json, place, f"{role} serves {place['rpc']}")

    run_async(main)

