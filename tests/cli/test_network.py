"""The devnet, whole: real processes that trade, disprove, agree and pay; and that never outlive the command."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from node.cli.network.processes import processes
from node.cli.network.summary import in_words, succeeded
from node.cli.output import UserError

REPO = Path(__file__).resolve().parents[2]
DEADLINE_S = 60


def command(folder: Path, *args: str) -> list[str]:
    return [sys.executable, "-m", "node.cli", "devnet", "--dir", str(folder), *args]


def children(folder: Path) -> list[int]:
    """Processes that were started with this folder in their arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in line:
                found.append(int(entry.name))
    return found


def eventually(what: Callable[[], object], seconds: float = DEADLINE_S) -> None:
    """Poll a real process until it is so."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_devnet_with_villains_agrees_and_pays(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    kinds = ("credit-from-nothing", "lying-header-totals")
    done = subprocess.run(
        command(folder, "--seconds", "4", "--challenge-window-s", "6", "--villain", ",".join(kinds), "--json"),
        capture_output=True, text=True, cwd=REPO, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["orders"] > 50 and summary["fills"] > 0 and summary["batches"] >= 2
    assert summary["roots_agreed"] > 0 and summary["roots_disagreed"] == 0 and summary["conserved"] is True
    assert summary["withdrawals_paid"] == 1
    assert [strike["kind"] for strike in summary["villains"]] == list(kinds)
    for strike in summary["villains"]:
        assert strike["disproved"] and strike["l1_transactions"] == 1 and 0 < strike["gas"] < 12_000_000
    assert all(item["batches_refuted"] == 2 for item in summary["verifiers"]) and len(summary["verifiers"]) == 3
    assert 64 < summary["bytes_per_order"] <= 90 and summary["bytes_per_listed_order"] < 20
    assert "credit-from-nothing" in in_words(summary, 2) and "conserved" in in_words(summary, 2)
    assert not succeeded(summary | {"roots_disagreed": 1}, 2) and not succeeded(summary, 3)
    assert children(folder) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_child_outlives_the_command(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "net"
    running = subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=REPO, text=True)
    try:
        eventually(lambda: len(children(folder)) >= 3)  # the command itself, and roles
        os.kill(running.pid, how)
        status = running.wait(DEADLINE_S)
        assert status == (130 if how == signal.SIGINT else -signal.SIGKILL)
        eventually(lambda: not children(folder))
    finally:
        running.kill()
        output, _ = running.communicate()
    assert "Traceback" not in output


async def test_a_child_that_fails_is_shown_with_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = r"l1: cannot listen on 127\.0\.0\.1:\d+: Address already in use"
        with pytest.RaisesGroup(pytest.RaisesExc(UserError, match=text), flatten_subgroups=True):
            async with processes(tmp_path) as group:
                await group.start("l1", "l1", "--port", str(taken.getsockname()[1]))


async def test_a_child_that_ends_by_itself_ends_the_network(tmp_path: Path) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(UserError, match="l1 ended with status"), flatten_subgroups=True):
        async with processes(tmp_path) as group:
            child = await group.start("l1", "l1", "--port", "0")
            child.process.kill()
            with trio.fail_after(DEADLINE_S):
                await trio.sleep_forever()
