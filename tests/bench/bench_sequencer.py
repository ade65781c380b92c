"""Orders per second in process, relative to this machine's signature recovery in the same run.

    python -m tests.bench.bench_sequencer [--requests 6000]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import trio

from node.log import configure
from sequencer.measure import in_process, recover_ceiling


def main() -> None:
    """Prints the ceiling, then singles and lists of 20, then one request at a time for the latency."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6_000)
    arguments = parser.parse_args()
    configure("warning", "text")
    ceiling = recover_ceiling()
    print(f"recover with address, 2 threads        {ceiling:10,.0f}/s")
    cases = (("single orders", arguments.requests, 1, 1_024), ("lists of 20", arguments.requests // 20, 20, 256),
             ("one at a time", 300, 1, 1))
    for name, requests, listed, in_flight in cases:
        with tempfile.TemporaryDirectory() as folder:
            run = partial(in_process, Path(folder), requests, listed, in_flight=in_flight)
            result = trio.run(run)
        share = result.orders_per_s / ceiling
        print(f"{name:38} {result.orders_per_s:10,.0f}/s  {share:6.2f} of ceiling   promise p50 "
              f"{result.promise_p50_ms:7.2f} ms p99 {result.promise_p99_ms:7.2f} ms   {result.fills} fills   "
              f"{result.bytes_per_order:.1f} bytes/order")


if __name__ == "__main__":
    main()
