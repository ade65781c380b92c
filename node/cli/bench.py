"""``anchorline bench``: what this machine can do, in one run. Ratios within a run are what to compare with other runs.

The ceiling of an optimistic rollup's sequencer is signature recovery: every order that comes alone needs one. So each
rate is shown as a share of the recoveries (to an address) that the same cores do in the same run.
"""

from __future__ import annotations

import os
import platform
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.cli.output import UserError, emit, note, run_async

if TYPE_CHECKING:
    from sequencer.measure import Result

LISTED: Final = 20
SINGLES_PER_S: Final = 4_000  # requests prepared for each second of measuring, about what is executed in one
LISTS_PER_S: Final = 400
ALONE_PER_S: Final = 300
TRIE_LEAVES: Final = 100_000
TRIE_BATCH: Final = 10_000
VALUE_BYTES: Final = 96

Run = Callable[..., Awaitable["Result"]]


def bench(*, seconds: float = 2.0, gas: bool = True, json: bool = False) -> None:
    """Measure this machine: recovery ceiling, orders in process and over WebSocket, promises, trie, fraud proof gas.

    Parameters
    ----------
    seconds
        About how long each measurement takes.
    gas
        Measure the gas of fraud proofs.
    json
        Print one JSON object.
    """
    if not 0.1 <= seconds <= 600:
        raise UserError("--seconds is 0.1 to 600")
    from node import log
    from node.cli.compile import is_compiled
    from sequencer.measure import recover_ceiling

    log.configure("warning", "text")
    note("bench: recovery ceiling")
    ceilings = {threads: recover_ceiling(seconds / 2, threads) for threads in (1, 2)}
    result: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()},
        "rules": "compiled" if is_compiled() else "interpreted",
        "recover_per_s": {f"{threads}_threads": round(rate) for threads, rate in ceilings.items()},
        "in_process": _orders("in process", _in_process, seconds, ceilings[2]),
        "websocket": _orders("over WebSocket", _over_websocket, seconds, ceilings[2]),
        "trie_leaves_per_s": _trie(),
    }
    if gas:
        note("bench: gas of fraud proofs")
        from node.cli.bench_fraud import fraud_gas

        result["fraud_proofs"] = [asdict(row) for row in fraud_gas()]
    emit(json, result, lambda: _text(result))


# --- orders -----------------------------------------------------------------------------------------------------------


async def _in_process(requests: int, listed: int, in_flight: int) -> Result:
    from sequencer.measure import in_process

    with tempfile.TemporaryDirectory(prefix="anchorline-bench-") as folder:
        return await in_process(Path(folder), requests, listed, in_flight=in_flight)


async def _over_websocket(requests: int, listed: int, in_flight: int) -> Result:
    from node.cli.bench_load import over_websocket

    return await over_websocket(requests, listed, in_flight=in_flight)


def _orders(where: str, run: Run, seconds: float, ceiling: float) -> dict[str, Any]:
    """Singles, lists, and one request at a time (for the latency of an idle sequencer)."""
    cases = (("single", SINGLES_PER_S, 1, 512), ("lists_of_20", LISTS_PER_S, LISTED, 128), ("alone", ALONE_PER_S, 1, 1))
    found: dict[str, Any] = {}
    for name, per_s, listed, in_flight in cases:
        note(f"bench: orders {where}, {name.replace('_', ' ')}")
        result = run_async(partial(run, max(20, int(per_s * seconds)), listed, in_flight))
        found[name] = {
            "orders_per_s": round(result.orders_per_s), "share_of_ceiling": round(result.orders_per_s / ceiling, 3),
            "promise_ms": {"p50": round(result.promise_p50_ms, 2), "p99": round(result.promise_p99_ms, 2)},
            "bytes_per_order": round(result.bytes_per_order, 1), "fills": result.fills, "in_flight": in_flight,
        }
    return found


# --- the trie ---------------------------------------------------------------------------------------------------------


def _trie() -> dict[str, int]:
    """Leaf updates a second in batches of TRIE_BATCH into TRIE_LEAVES leaves: in memory, and committed to LevelDB."""
    from node.stf.state import account_key
    from node.stf.trie import MemoryTrie
    from node.storage.kv import open_kv
    from node.storage.trie_store import TrieStore

    note("bench: trie")
    keys = [account_key(number) for number in range(1, TRIE_LEAVES + 1)]
    memory = MemoryTrie(dict.fromkeys(keys, bytes(VALUE_BYTES)))
    with tempfile.TemporaryDirectory(prefix="anchorline-bench-") as folder:
        kv = open_kv(Path(folder) / "db")
        store = TrieStore(kv)
        store.commit_block(0, dict.fromkeys(keys, bytes(VALUE_BYTES)))
        rates = {"memory": _rate(memory.apply, keys), "leveldb": _rate(partial(store.commit_block, 1), keys)}
        kv.close()
    return rates


def _rate(apply: Callable[[dict[bytes, bytes | None]], object], keys: list[bytes]) -> int:
    rng = random.Random(1)
    changes: dict[bytes, bytes | None] = dict.fromkeys(rng.sample(keys, TRIE_BATCH), rng.randbytes(VALUE_BYTES))
    begun = time.perf_counter()
    apply(changes)
    return round(TRIE_BATCH / (time.perf_counter() - begun))


# --- the report -------------------------------------------------------------------------------------------------------


def _text(result: dict[str, Any]) -> str:
    machine, ceiling = result["machine"], result["recover_per_s"]
    lines = [
        f"{machine['cpus']} processors ({machine['machine']}), Python {machine['python']}, rules {result['rules']}",
        f"signatures recovered to addresses: {ceiling['1_threads']:,} a second by one thread, "
        f"{ceiling['2_threads']:,} by two (the ceiling)", "",
        f"{'orders a second':26}{'orders/s':>10}{'share':>8}{'promise p50':>14}{'p99 ms':>10}{'bytes/order':>13}"]
    for key, where in (("in_process", "in process"), ("websocket", "WebSocket")):
        for name, row in result[key].items():
            promise = row["promise_ms"]
            lines.append(
                f"{where + ', ' + name.replace('_', ' '):26}{row['orders_per_s']:>10,}{row['share_of_ceiling']:>8.2f}"
                f"{promise['p50']:>14.2f}{promise['p99']:>10.2f}{row['bytes_per_order']:>13.1f}")
    trie = result["trie_leaves_per_s"]
    lines += ["", f"trie: {trie['memory']:,} leaf updates a second in memory, {trie['leveldb']:,} committed to LevelDB"]
    if "fraud_proofs" in result:
        lines += ["", f"{'fraud proof of':26}{'leaves':>8}{'fills':>7}{'calldata':>10}{'gas':>12}{'gas/leaf':>10}"]
        for row in result["fraud_proofs"]:
            what = f"{row['orders']} orders" + (f" in lists of {row['listed']}" if row["listed"] > 1 else "")
            lines.append(f"{what:26}{row['leaves']:>8}{row['fills']:>7}{row['calldata_bytes']:>10,}{row['gas']:>12,}"
                         f"{row['gas'] // row['leaves']:>10,}")
    return "\n".join(lines)
