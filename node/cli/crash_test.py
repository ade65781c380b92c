"""``anchorline crash-test``: crashes of the past through the real rules, with each protection on and off.

No network and no L1: a chain in memory per crash, thousands of accounts, makers, publishers, a keeper. Needs the
``reports`` extra (numpy, matplotlib). See node/cli/crash/README.md for what is assumed of whom.
"""

from __future__ import annotations

import importlib.util
import json as json_module
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import cyclopts

from node.cli.output import UserError, emit, note

if TYPE_CHECKING:
    from node.cli.crash.outcome import Outcome

WORK_S: Final = 36_000
_Names = Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)]


def crash_test(
    *, data: Path = Path("data/crashes"), windows: _Names = None, whole: bool = False, accounts: int = 5_000,
    seed: int = 1, features_off: _Names = None, every_variant: bool = False,
    set_: Annotated[_Names, cyclopts.Parameter(name="--set")] = None, processes: int = 2,
    out: Path = Path("crash-test"), json: bool = False,
) -> None:
    """Replay crashes of the past through the rules and say who was liquidated, what it cost, and who paid.

    Writes a table (Markdown), all figures (JSON), plots (PNG) and a page with everything (HTML) into --out.

    Parameters
    ----------
    data
        Folder with the recordings: px_1m_bitfinex_….csv.gz, px_5m_binance_spot_….csv.gz, px_3m_binance_usdm_….csv.gz.
    windows
        Which crashes, by name; default: all.
    whole
        All of every recording, instead of the 24 hours around its low.
    accounts
        Traders in each crash.
    seed
        Of the traders and of the publishers' errors.
    features_off
        Protections that are switched off in turn in every chosen crash: addon buffer predictive ramp jump basis tiers
        insurance everything, or all, or none. Default: all in the crashes that --windows names; without --windows, all
        in six of the eighteen, and the other twelve with everything on only.
    every_variant
        The same as --features-off all: every protection off in turn in every chosen crash.
    set_
        Parameters to change, as name=value.
    processes
        Crashes replayed at once.
    out
        Folder for the results.
    json
        Print one JSON object.
    """
    if importlib.util.find_spec("numpy") is None or importlib.util.find_spec("matplotlib") is None:
        raise UserError("crash-test needs numpy and matplotlib: install the package with its reports extra")
    if not 10 <= accounts <= 1_000_000 or not 1 <= processes <= 64:
        raise UserError("--accounts is 10 to 1000000, --processes 1 to 64")
    from node.cli.crash import plots, report
    from node.cli.crash.settings import Settings

    planned = plan(windows or [], features_off or [], every_variant=every_variant)
    settings = Settings().with_values(_values(set_ or []))
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    jobs = [(str(data), name, whole, accounts, seed, off, _values(set_ or [])) for name, off in planned]
    done = _run_all(jobs, processes)
    falls = {name: fall for name, fall, _found, _cpu in done}
    outcomes = [outcome for _name, _fall, found, _cpu in done for outcome in found]
    result = report.as_json(
        outcomes, falls, settings, accounts=accounts, seed=seed, whole=whole,
        seconds=round(time.monotonic() - began, 1), cpu_seconds=round(sum(cpu for *_rest, cpu in done), 1))
    _write(out / "crashes.json", json_module.dumps(result, indent=1) + "\n")
    _write(out / "crashes.md", report.markdown(result))
    pictures = plots.draw_all(result, outcomes, out)
    _write(out / "crashes.html", report.page(result, pictures))
    emit(json, result, lambda: report.markdown(result) + f"\nwritten to {out}, {result['seconds']} s")


def plan(windows: list[str], features_off: list[str], *, every_variant: bool) -> list[tuple[str, list[str]]]:
    """Which crashes run, and which protections are off in turn in each (``["none"]``: no one). Raises UserError."""
    from node.cli.crash import tape
    from node.cli.crash.settings import choose_variants

    asked = ["all"] if every_variant else features_off
    off = [variant.name for variant in choose_variants(asked)[1:]] or ["none"]
    chosen = tape.choose(windows)
    everywhere = bool(asked) or len(chosen) < len(tape.WINDOWS)
    return [(window.name, off if everywhere or window.name in tape.VARIED else ["none"]) for window in chosen]


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    note(f"crash-test: {path}")


def _values(pairs: Iterable[str]) -> dict[str, int]:
    values = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            values[name] = int(value)
        except ValueError:
            raise UserError(f"--set {pair}: expected name=integer") from None
    return values


# --- one process a crash ----------------------------------------------------------------------------------------------

#: name, how far each symbol fell, what happened in each variant, CPU seconds
_Done = tuple[str, dict[str, float], "list[Outcome]", float]


def _run_all(jobs: list[tuple[Any, ...]], processes: int) -> list[_Done]:
    if processes == 1 or len(jobs) == 1:
        return [run_window(*job) for job in jobs]
    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(_run_apart, jobs))


def _run_apart(job: tuple[Any, ...]) -> _Done:
    """``run_window`` in a process of its own: the rules' state is one a process."""
    import pickle

    with tempfile.TemporaryDirectory(prefix="anchorline-crash-") as folder:
        result = Path(folder) / "result"
        command = [sys.executable, "-c", "from node.cli import crash_test; crash_test.work()", str(result)]
        done = subprocess.run(
            command, input=json_module.dumps(job).encode(), timeout=WORK_S, check=False,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})
        if done.returncode != 0:
            raise UserError(f"the replay of {job[1]} failed; its messages are above")
        found: _Done = pickle.loads(result.read_bytes())
        return found


def work() -> None:
    """What such a process does: the job is JSON on stdin, the result a file that argv names."""
    import pickle

    done = run_window(*json_module.loads(sys.stdin.read()))
    Path(sys.argv[1]).write_bytes(pickle.dumps(done))


def run_window(
    data: str, name: str, whole: bool, accounts: int, seed: int, variants: list[str], values: dict[str, int]
) -> _Done:
    """One crash with its variants: its name, how far each symbol fell, what happened, CPU seconds."""
    from node.cli.crash import drive, tape
    from node.cli.crash.settings import Settings, choose_variants

    settings = Settings().with_values(values)
    recorded = tape.read_tape(Path(data), tape.choose([name])[0], whole=whole)
    began, worked = time.monotonic(), time.process_time()
    base = drive.prepare(recorded, accounts, seed, settings)
    found = []
    for variant in choose_variants(variants):
        found.append(drive.run(base, settings, variant))
    note(f"crash-test: {name}, {len(found)} replays in {time.monotonic() - began:.0f} s")
    return name, dict(zip(recorded.symbols, recorded.fall, strict=True)), found, time.process_time() - worked
