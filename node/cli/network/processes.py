"""Child processes that are `anchorline` commands: started with their keys in the environment, stopped in order.

A child prints JSON lines on stdout (the first says that it is up) and logs to a file. It ends when its stdin does, so
it never outlives this process, however this process ends. A child that ends before it is told to is a failure of the
network, shown with the end of its log.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

import node
from node.cli.output import STOP_WITH_STDIN, UserError

START_S: Final = 90.0
STOP_S: Final = 10.0
LINE_BYTES_MAX: Final = 1_000_000
OnLine = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Child:
    """A running command. ``up`` is its first line."""

    name: str
    process: trio.Process
    log: Path
    up: dict[str, Any] = field(default_factory=dict)
    stopping: bool = False

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


class Processes:
    """The children of one network, in the order of their start."""

    def __init__(self, nursery: trio.Nursery, folder: Path) -> None:
        self._nursery = nursery
        self.folder = folder
        self.children: list[Child] = []

    async def start(
        self, name: str, *args: str, keys: dict[str, str] | None = None, on_line: OnLine | None = None
    ) -> Child:
        """Start `anchorline ARGS --json` and wait until it is up. Raises UserError with its log if it is not."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as errors:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "node.cli", *args, "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, env=_environment(keys or {}), start_new_session=True)
        child = Child(name, process, log)
        self.children.append(child)
        ready = trio.Event()
        self._nursery.start_soon(self._read, child, ready, on_line)
        with trio.move_on_after(START_S):
            await ready.wait()
            return child
        raise UserError(f"{name} is not up after {START_S} s; end of {log}:\n{child.tail()}")

    async def _read(self, child: Child, ready: trio.Event, on_line: OnLine | None) -> None:
        """Take its lines; notice its end."""
        assert child.process.stdout is not None, "stdout is a pipe"
        buffer = b""
        async for data in child.process.stdout:
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            if len(buffer) > LINE_BYTES_MAX:
                buffer = b""
            for line in lines:
                self._take(child, line, ready, on_line)
        status = await child.process.wait()
        if not child.stopping:
            raise UserError(f"{child.name} ended with status {status}; end of {child.log}:\n{child.tail()}")

    @staticmethod
    def _take(child: Child, line: bytes, ready: trio.Event, on_line: OnLine | None) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            return
        if not isinstance(found, dict):
            return
        if "error" in found and not ready.is_set():
            raise UserError(f"{child.name}: {found['error'].get('message')}; see {child.log}")
        if not ready.is_set():
            child.up = found
            ready.set()
        if on_line is not None:
            on_line(found)

    async def stop(self, child: Child) -> None:
        """End one child: politely, then for certain."""
        child.stopping = True
        with trio.CancelScope(shield=True):
            if child.process.stdin is not None:
                await child.process.stdin.aclose()
            with trio.move_on_after(STOP_S):
                await child.process.wait()
            if child.process.returncode is None:
                child.process.kill()
                await child.process.wait()

    async def stop_all(self) -> None:
        """End all children: what talks to the first one (L1) together, then it."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for child in self.children[1:]:
                    nursery.start_soon(self.stop, child)
            for child in self.children[:1]:
                await self.stop(child)


@asynccontextmanager
async def processes(folder: Path) -> AsyncIterator[Processes]:
    """Children log into ``folder`` and are all stopped at the end, whichever way it comes."""
    folder.mkdir(parents=True, exist_ok=True)
    async with trio.open_nursery() as nursery:
        group = Processes(nursery, folder)
        try:
            yield group
        finally:
            await group.stop_all()
        nursery.cancel_scope.cancel()


def _environment(keys: dict[str, str]) -> dict[str, str]:
    """Ours, without our settings and secrets, with the child's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORLINE_")}
    source = str(Path(node.__file__).resolve().parents[1])
    path = os.pathsep.join([source, *filter(None, [kept.get("PYTHONPATH")])])
    return kept | {"PYTHONPATH": path, STOP_WITH_STDIN: "1"} | keys
