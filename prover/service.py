"""The watchtower as a service: a verifier with an answer to disputes, in one nursery. Cancellation is shutdown."""

from __future__ import annotations

from functools import partial

import structlog
import trio

from node.config import Config
from node.errors import Critical
from node.l1.keys import Signer
from node.service import MACHINE, Host, run_verifier
from node.transport import Bound
from prover.dry_run import DryRun
from prover.watchtower import Rehearsals, Watchtower

log = structlog.get_logger("watchtower")


async def run(
    config: Config,
    signer: Signer | None,
    *,
    host: Host = MACHINE,
    rehearsals: Rehearsals = DryRun,
    task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Watch until cancelled, and defend if ``watchtower.strategy`` says so. started() with the RPC server's address.

    Raises ConfigError, or Critical: no key for strategy defend, another rollup's data, another process on the datadir.
    """
    config.check("watchtower")
    defends = config.watchtower.strategy == "defend"
    if defends and signer is None:
        raise Critical("watchtower.strategy defend needs a key for its L1 transactions: set watchtower.keystore or "
                       "ANCHORLINE_WATCHTOWER_KEY, or choose strategy watch")
    async with trio.open_nursery() as nursery:
        tower = Watchtower(signer if defends else None, nursery, rehearsals)
        verifier = partial(
            run_verifier, config, role="watchtower", on_dispute=tower.on_dispute, on_ready=tower.run, host=host)
        bound = await nursery.start(verifier)
        log.info("watchtower_started", strategy=config.watchtower.strategy, rpc=bound.http_url)
        task_status.started(bound)
