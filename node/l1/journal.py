"""What was signed, on disk before it is on the wire: the memory that keeps a restarted sender from posting twice.

One record per line (JSON), each synced before the sender goes on:
  ``assigned``   an intent got its nonce (and gas); from now on this id means this nonce, for ever;
  ``published``  a version of it, by hash and fees, is about to be published;
  ``finished``   one of its versions is confirmed (``tx_hash``), or the intent was given up (``failure``).
A line cut short by a crash is the last one and is ignored; anything else malformed stops the node. At opening the file
is rewritten without old finished intents. One process at a time holds the file's lock.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

import msgspec

from node.errors import Critical

FINISHED_KEPT = 4_096


class Version(msgspec.Struct, frozen=True):
    """A signed version of an intent: its hash (hex) and fees (wei per gas)."""

    tx_hash: str
    cap: int
    tip: int


class Line(msgspec.Struct, omit_defaults=True):
    """One journal line; ``kind`` says which fields count."""

    kind: str
    intent_id: str
    chain_id: int = 0
    sender: str = ""
    nonce: int = -1
    to: str = ""
    data: str = ""
    value: str = "0"
    gas: int = 0
    version: Version | None = None
    tx_hash: str = ""
    failure: str = ""


@dataclass(slots=True)
class Record:
    """An intent's whole history."""

    intent_id: str
    chain_id: int
    sender: bytes
    nonce: int
    to: bytes
    data: bytes
    value: int
    gas: int
    versions: list[Version] = field(default_factory=list)
    tx_hash: bytes = b""
    failure: str = ""

    @property
    def open(self) -> bool:
        """Not finished yet."""
        return not self.tx_hash and not self.failure


class Journal(Protocol):
    """Durable memory of a sender. Every method returns only when the fact would survive a crash."""

    records: dict[str, Record]

    def assign(self, record: Record) -> None:
        """Remember that the record's id has its nonce."""
        ...

    def publish(self, record: Record, version: Version) -> None:
        """Remember a version, before it is sent."""
        ...

    def finish(self, record: Record, *, tx_hash: bytes = b"", failure: str = "") -> None:
        """Remember how it ended."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class FileJournal:
    """A ``Journal`` in one file. Raises Critical if another process has it, or if it is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.records: dict[str, Record] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        try:
            self._load()
            self._file = self._rewrite()
        except BaseException:
            self._lock.close()
            raise

    def assign(self, record: Record) -> None:
        """See ``Journal.assign``."""
        self.records[record.intent_id] = record
        self._append(_assigned(record))

    def publish(self, record: Record, version: Version) -> None:
        """See ``Journal.publish``."""
        record.versions.append(version)
        self._append(Line("published", record.intent_id, version=version))

    def finish(self, record: Record, *, tx_hash: bytes = b"", failure: str = "") -> None:
        """See ``Journal.finish``."""
        record.tx_hash, record.failure = tx_hash, failure
        record.data = b""  # a finished batch's calldata need not stay in memory
        self._append(Line("finished", record.intent_id, tx_hash=tx_hash.hex(), failure=failure))
        self._forget_old()

    def close(self) -> None:
        """See ``Journal.close``."""
        self._file.close()
        self._lock.close()

    def _take_lock(self) -> IO[str]:
        lock = open(self._path.with_suffix(".lock"), "w")  # noqa: SIM115 - held until close()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise Critical(f"{self._path} is in use by another process: two senders with one key would post twice; "
                           "stop one of them") from None
        return lock

    def _load(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole = content[:content.rfind(b"\n") + 1]  # a torn last line was never acted upon
        for number, text in enumerate(whole.splitlines(), 1):
            try:
                self._apply(msgspec.json.decode(text, type=Line))
            except (msgspec.MsgspecError, KeyError, ValueError) as error:
                raise Critical(f"{self._path} line {number} is damaged ({error}); restore it from a backup, or check "
                               "on L1 that nothing is in flight and remove the file") from error

    def _apply(self, line: Line) -> None:
        if line.kind == "assigned":
            self.records[line.intent_id] = Record(
                line.intent_id, line.chain_id, bytes.fromhex(line.sender), line.nonce, bytes.fromhex(line.to),
                bytes.fromhex(line.data), int(line.value), line.gas)
            return
        record = self.records[line.intent_id]
        if line.kind == "published" and line.version is not None:
            record.versions.append(line.version)
        elif line.kind == "finished":
            record.tx_hash, record.failure, record.data = bytes.fromhex(line.tx_hash), line.failure, b""
        else:
            raise ValueError(f"unknown kind {line.kind!r}")

    def _forget_old(self) -> None:
        finished = [record.intent_id for record in self.records.values() if not record.open]
        for intent_id in finished[:-FINISHED_KEPT]:
            del self.records[intent_id]

    def _rewrite(self) -> IO[bytes]:
        """Compact into a fresh file, atomically; returns it opened for appending."""
        self._forget_old()
        fresh = self._path.with_suffix(".new")
        with open(fresh, "wb") as file:
            for record in self.records.values():
                for line in _lines(record):
                    file.write(msgspec.json.encode(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return open(self._path, "ab")

    def _append(self, line: Line) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _assigned(record: Record) -> Line:
    return Line("assigned", record.intent_id, record.chain_id, record.sender.hex(), record.nonce, record.to.hex(),
                record.data.hex(), str(record.value), record.gas)


def _lines(record: Record) -> list[Line]:
    lines = [_assigned(record)]
    lines += [Line("published", record.intent_id, version=version) for version in record.versions]
    if not record.open:
        lines.append(Line("finished", record.intent_id, tx_hash=record.tx_hash.hex(), failure=record.failure))
    return lines
