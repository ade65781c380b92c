"""Logging, configured once a process: structlog to stderr as text, logfmt or json.

Invariants: events are `noun_verb`; no secret is printed, whatever a caller passes: fields whose name says secret are
blanked, URLs are cut to scheme and host (providers put access keys in their path), tracebacks carry no local values.
Lines of the standard library's loggers (web3, urllib3) take the same way.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR,
                  "critical": logging.CRITICAL}
_SECRET_NAMES: Final = frozenset((
    "key", "secret", "password", "passphrase", "mnemonic", "seed", "token", "authorization", "jwt", "keystore_json",
))
_SECRET_ENDS: Final = ("_key", "_secret", "_password", "_passphrase", "_mnemonic", "_token")
_PUBLIC_NAMES: Final = frozenset(("public_key", "order_key", "leaf_key", "trie_key"))
_URL: Final = re.compile(r"\b(https?|wss?)://(?:[^\s/@'\"<>]*@)?([^\s/?#'\"<>]+)([/?#][^\s'\"<>]*)?")
#: requests and urllib3 print the path apart from its host
_URL_PATH: Final = re.compile(r"(with url: )\S+")
BLANK: Final = "[redacted]"

Event = MutableMapping[str, Any]


def redact_url(text: str) -> str:
    """`text` with every URL cut to scheme and host: user names, paths and queries may be access keys."""
    short = _URL.sub(lambda match: f"{match[1]}://{match[2]}{'/…' if len(match[3] or '') > 1 else ''}", text)
    return _URL_PATH.sub(rf"\1{BLANK}", short)


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """The structlog processor that keeps secrets out; also makes bytes readable."""
    for name, value in event.items():
        event[name] = BLANK if _is_secret(name) else _clean(value)
    return event


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return lower not in _PUBLIC_NAMES and (lower in _SECRET_NAMES or lower.endswith(_SECRET_ENDS))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact_url(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "0x" + bytes(value).hex()
    if isinstance(value, dict):
        return {name: BLANK if _is_secret(str(name)) else _clean(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_url(str(value))


def _dump_json(event: Event, **options: Any) -> str:
    return json.dumps(event, separators=(",", ":"), **options)


def _renderer(form: str, stream: TextIO) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_dump_json)
    if form == "logfmt":
        return structlog.processors.LogfmtRenderer(key_order=("timestamp", "level", "event"), drop_missing=True)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=28,
    )


def configure(level: str = "info", form: str = "text", stream: TextIO | None = None) -> None:
    """Sets up logging for the process. Raises ValueError for an unknown level or form. Later calls replace it."""
    if level not in _LEVELS:
        raise ValueError(f"log.level: {level!r} is unknown; choose from {', '.join(_LEVELS)}")
    if form not in ("text", "logfmt", "json"):
        raise ValueError(f"log.format: {form!r} is unknown; choose from text, logfmt, json")
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer = _renderer(form, out)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    ))
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[handler], force=True)
