"""What commands print, how they fail, and how they stop.

A command prints lines for people, or one JSON object with ``--json``. A failure that a user can do something about is
one line on stderr that names what is wrong and what to do (an ``error`` object with ``--json``) and exit status 1; 2 is
bad usage; an interrupt ends cleanly with 130. Only a bug shows a traceback.
"""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

from node.config import ConfigError
from node.errors import Critical, Reset, Temporary

T = TypeVar("T")

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
#: set by a parent process: the command ends as soon as its standard input does
STOP_WITH_STDIN: Final = "ANCHORLINE_STOP_WITH_STDIN"


#: what to do about a refusal that is no status of the rules, by its kind
HINTS: Final = {
    "MethodNotFound": "this kind of node does not have it: orders go to a sequencer, claims to a liquidity provider",
}


class UserError(Exception):
    """Something the user can do something about; the message says what."""


class Interrupted(Exception):
    """SIGINT or SIGTERM came."""


def emit(json: bool, result: Any, text: str | Callable[[], str]) -> None:
    """Print a result: as one JSON line, or as text."""
    if json:
        print(json_module.dumps(result), flush=True)
    else:
        print(text() if callable(text) else text, flush=True)


def note(text: str) -> None:
    """Progress, for people; on stderr, so that stdout holds results only."""
    print(text, file=sys.stderr, flush=True)


def fail(json: bool, error: BaseException) -> int:
    """Print a known failure; returns the exit status."""
    if json:
        print(json_module.dumps({"error": {"kind": type(error).__name__, "message": describe(error)}}), flush=True)
    else:
        print(f"anchorline: {describe(error)}", file=sys.stderr, flush=True)
    return EXIT_FAILED


def describe(error: BaseException) -> str:
    """An error in words."""
    from node.rpc.statuses import known_names, sentence
    from node.sdk.errors import AnchorlineError
    from node.transport import RpcError

    if isinstance(error, AnchorlineError):
        details = [part for part in (error.kind, error.reason) if part and part not in str(error)]
        said = f"{error} ({', '.join(details)})" if details else str(error)
        hint = sentence(error.reason) if error.reason in known_names() else HINTS.get(error.kind, "")
        return f"{said}: {hint}" if hint and hint not in said else said
    if isinstance(error, RpcError):
        data = error.data if isinstance(error.data, dict) else {}
        details = [str(data[name]) for name in ("kind", "reason", "param") if data.get(name)]
        return f"{error.message} ({', '.join(details)})" if details else error.message
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def known_errors() -> tuple[type[BaseException], ...]:
    """Failures that are no bugs."""
    from node.rpc.wire import RpcUnavailable
    from node.sdk.errors import AnchorlineError
    from node.transport import RpcError

    ours = (UserError, ConfigError, Temporary, Reset, Critical, AnchorlineError, Interrupted)
    return (*ours, RpcError, RpcUnavailable, OSError)


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions inside nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def run_async(main: Callable[[], Awaitable[T]]) -> T:
    """Run a command's coroutine. Groups of known failures become their first one; an interrupt becomes Interrupted."""
    try:
        return trio.run(_guarded, main)
    except BaseExceptionGroup as group:
        found = leaves(group)
        bugs = [error for error in found if not isinstance(error, known_errors())]
        if bugs:
            raise
        raise next((error for error in found if not isinstance(error, Interrupted)), found[0]) from None


async def _guarded(main: Callable[[], Awaitable[T]]) -> T:
    results: list[T] = []
    interrupted = False

    async def watch(scope: trio.CancelScope) -> None:
        nonlocal interrupted
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                interrupted = True
                scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, nursery.cancel_scope)
        if os.environ.get(STOP_WITH_STDIN):
            _stop_with_stdin()
        results.append(await main())
        nursery.cancel_scope.cancel()
    if not results or interrupted:
        raise Interrupted("interrupted")
    return results[0]


def _stop_with_stdin() -> None:
    """End this process when its parent does: the parent holds the other end of stdin."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="stdin").start()
