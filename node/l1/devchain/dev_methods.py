"""Development methods under the names that hardhat and anvil made common: time, mining, snapshots, reorganisations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import wire
from .errors import bad_params
from .wire import data, quantity

if TYPE_CHECKING:
    from .service import Service

MINE_BLOCKS_MAX = 10_000


def table(service: Service) -> dict[str, Callable[..., Any]]:
    """Method name -> handler."""
    methods = {**_time_methods(service), **_mining_methods(service), **_rewind_methods(service)}
    methods["anvil_mine"] = methods["hardhat_mine"]
    for name in ("increaseTime", "setNextBlockTimestamp", "snapshot", "revert", "setAutomine",
                 "setIntervalMining"):
        methods[f"anvil_{name}"] = methods[f"evm_{name}"]
    return methods


def _time_methods(service: Service) -> dict[str, Callable[..., Any]]:
    chain = service.chain

    def increase_time(seconds: Any) -> str:
        chain.time_offset_s += wire.parse_quantity(seconds, "seconds")
        return quantity(chain.time_offset_s)

    def set_next_timestamp(timestamp: Any) -> None:
        chain.set_next_timestamp(wire.parse_quantity(timestamp, "timestamp"))

    return {"evm_increaseTime": increase_time, "evm_setNextBlockTimestamp": set_next_timestamp}


def _mining_methods(service: Service) -> dict[str, Callable[..., Any]]:
    chain = service.chain

    async def mine(options: Any = None) -> str:
        """hardhat's evm_mine: an optional timestamp, or {timestamp, blocks}."""
        count, timestamp = 1, None
        if isinstance(options, dict):
            count = wire.parse_quantity(options.get("blocks") or 1, "blocks")
            timestamp = wire.parse_quantity(options["timestamp"], "timestamp") if options.get("timestamp") else None
        elif options is not None:
            timestamp = wire.parse_quantity(options, "timestamp")
        await service.mine(_bounded(count), timestamp=timestamp)
        return "0x0"

    async def mine_many(count: Any = 1, interval: Any = None) -> None:
        """anvil_mine: a number of blocks, and the seconds between them."""
        blocks, step = _bounded(wire.parse_quantity(count, "blocks")), wire.parse_quantity(interval or 0, "interval")
        for _ in range(blocks):
            await service.mine(timestamp=chain.store.head.timestamp + step if step else None)

    async def set_automine(on: Any) -> None:
        service.automine = bool(on)
        if service.automine:
            await service.drain()

    def set_interval(seconds: Any) -> None:
        service.set_interval(wire.parse_quantity(seconds, "seconds"))

    async def set_balance(who: Any, wei: Any) -> None:
        """Takes effect in a block of its own, so that every state root stays one of a sealed block."""
        address, amount = wire.parse_data(who, "address", 20), wire.parse_quantity(wei, "balance")
        await service.mine_balance(address, amount)

    def drop(tx_hash: Any) -> str | None:
        digest = wire.parse_data(tx_hash, "transactionHash", 32)
        known = digest in chain.pool.by_hash
        chain.pool.remove(digest)
        return data(digest) if known else None

    def pool_status() -> dict[str, str]:
        root = chain.store.head.state_root
        runs = {who: chain.executor.account(root, who).nonce for who in chain.pool.by_sender}
        pending = sum(chain.pool.pending_nonce(who, nonce) - nonce for who, nonce in runs.items())
        return {"pending": quantity(pending), "queued": quantity(len(chain.pool.by_hash) - pending)}

    return {
        "evm_mine": mine, "hardhat_mine": mine_many, "evm_setAutomine": set_automine,
        "evm_setIntervalMining": set_interval, "anvil_setBalance": set_balance, "anvil_dropTransaction": drop,
        "txpool_status": pool_status, "anvil_getAutomine": lambda: service.automine,
        "anvil_getIntervalMining": lambda: service.interval_s or None,
    }


def _rewind_methods(service: Service) -> dict[str, Callable[..., Any]]:
    chain = service.chain

    async def reorg(depth: int, blocks: int, *, return_txs: bool) -> None:
        async with service.mining:
            chain.rewind(chain.store.head.number - depth, return_txs=return_txs)
        await service.mine(blocks, empty=True)

    async def anvil_reorg(options: Any, pairs: Any = None) -> None:
        """Replace the last ``depth`` blocks by as many empty ones; their transactions are lost, as in anvil."""
        if isinstance(options, dict):
            options, pairs = options.get("depth"), options.get("txBlockPairs")
        if pairs:
            raise bad_params("txBlockPairs are not offered: send the transactions again after the reorg")
        depth = wire.parse_quantity(options, "depth")
        await reorg(depth, depth, return_txs=False)

    async def dev_reorg(depth: Any, blocks: Any, return_txs: Any = True) -> None:
        """Put ``blocks`` empty blocks in place of the last ``depth``; the pool regains what they held, if asked."""
        await reorg(wire.parse_quantity(depth, "depth"), _bounded(wire.parse_quantity(blocks, "blocks")),
                    return_txs=bool(return_txs))

    async def rollback(depth: Any = 1) -> None:
        """Cut blocks off without replacing them."""
        async with service.mining:
            chain.rewind(chain.store.head.number - wire.parse_quantity(depth, "depth"), return_txs=False)

    async def revert(snapshot_id: Any) -> bool:
        async with service.mining:
            return chain.restore(wire.parse_quantity(snapshot_id, "snapshot id"))

    return {
        "anvil_reorg": anvil_reorg, "dev_reorg": dev_reorg, "anvil_rollback": rollback,
        "evm_snapshot": lambda: quantity(chain.snapshot()), "evm_revert": revert,
    }


def _bounded(blocks: int) -> int:
    if blocks > MINE_BLOCKS_MAX:
        raise bad_params(f"blocks: at most {MINE_BLOCKS_MAX} at once")
    return blocks
