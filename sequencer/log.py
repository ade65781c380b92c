"""The durable log: what was promised, on disk before the promise leaves.

A log is a folder of segments, named by the position of their first transaction. A record is

    kind:1 length:4 content crc32:4          (the checksum covers kind, length and content; numbers are big-endian)

    0 start    domain:32 position:8 previous:32     first in every segment: the next position, the promise before
    1 tx       the transaction's bytes; positions count up from the segment's start
    2 cut      the chunk ends here
    3 message  number:8 bytes                       before the Inbox transaction that consumes it
    4 group    promises (node.derive.promises)      over all transactions since the last one; written with them

A group record is the commit mark: what stands after the last whole one was promised to nobody and is cut at recovery.
Damage anywhere else stops the sequencer. A segment is deleted once the database has, on disk, all it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final
from zlib import crc32

import structlog

from node.derive.promises import PROMISE_BYTES, Promise, decode_promise, encode_promise, struct_hash
from node.errors import Critical

log = structlog.get_logger("sequencer_log")

START: Final = 0
TX: Final = 1
CUT: Final = 2
MESSAGE: Final = 3
GROUP: Final = 4

SEGMENT_BYTES: Final = 64 * 1024 * 1024
RECORD_BYTES_MAX: Final = 1 << 20
_HEAD_BYTES: Final = 5
_TAIL_BYTES: Final = 4
_START_BYTES: Final = 32 + 8 + 32


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read. ``position`` is the transaction's (of a tx) or the next one's."""

    kind: int
    content: bytes
    position: int


@dataclass(slots=True)
class Recovered:
    """What a log holds: records in order, the next position, and the last promise's struct hash."""

    records: list[Record] = field(default_factory=list)
    position: int = 0
    previous: bytes = bytes(32)
    promises: list[Promise] = field(default_factory=list)


def encode_record(kind: int, content: bytes) -> bytes:
    """A record's bytes."""
    if len(content) > RECORD_BYTES_MAX:
        raise ValueError(f"a log record of {len(content)} bytes: at most {RECORD_BYTES_MAX}")
    body = bytes((kind,)) + len(content).to_bytes(4, "big") + content
    return body + crc32(body).to_bytes(4, "big")


def read_records(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """(kind, content, end offset) of every whole record from the start on; stops at the first that is not."""
    at = 0
    while at + _HEAD_BYTES + _TAIL_BYTES <= len(data):
        length = int.from_bytes(data[at + 1 : at + 5], "big")
        end = at + _HEAD_BYTES + length
        if length > RECORD_BYTES_MAX or end + _TAIL_BYTES > len(data) or data[at] > GROUP:
            return
        if crc32(data[at:end]) != int.from_bytes(data[end : end + 4], "big"):
            return
        yield data[at], data[at + _HEAD_BYTES : end], end + _TAIL_BYTES
        at = end + _TAIL_BYTES


class Log:
    """An open log. ``append`` collects, ``flush`` makes durable (call it in a thread: it waits for the disk)."""

    def __init__(self, folder: Path, domain: bytes, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._domain = domain
        self._segment_bytes = segment_bytes
        self._buffer = bytearray()
        self._file = -1
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether the segment has reached its size: time to ``rotate``."""
        return self._size >= self._segment_bytes

    def recover(self) -> Recovered:
        """Read what is committed, cutting a torn tail. Raises Critical on damage, or another rollup's log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = Recovered()
        segments = self._segments()
        for index, (first, path) in enumerate(segments):
            self._read_segment(first, path, found, last=index == len(segments) - 1)
        return found

    def rotate(self, position: int, previous: bytes) -> None:
        """Start a new segment at a group's end: the next transaction's position, the last promise's struct hash."""
        self.close()
        path = self._folder / f"{position:020d}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._buffer[:0] = encode_record(START, self._domain + position.to_bytes(8, "big") + previous)
        self.flush(self.take())
        _sync_folder(self._folder)

    def append(self, kind: int, content: bytes) -> None:
        """Collect a record for the next flush."""
        self._buffer += encode_record(kind, content)

    def append_group(self, promises: Sequence[Promise]) -> None:
        """Collect a group's commit mark: promises over all transactions since the last group, in order."""
        self.append(GROUP, b"".join([encode_promise(promise) for promise in promises]))

    def take(self) -> bytes:
        """What was collected; the caller flushes it."""
        data = bytes(self._buffer)
        self._buffer.clear()
        return data

    def flush(self, data: bytes) -> None:
        """Write and wait for the disk. One call at a time. Raises Critical if the disk refuses."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError as error:
            raise Critical(f"the log in {self._folder} cannot be written ({error.strerror}); no promise can be kept "
                           "without it: free space or repair the disk, then start again") from error
        self._size += len(data)

    def prune(self, position: int) -> int:
        """Delete segments that hold only transactions before ``position``; the caller knows them on disk elsewhere."""
        segments = self._segments()
        removed = 0
        for (_first, path), (following, _) in pairwise(segments):
            if following <= position:
                path.unlink()
                removed += 1
        return removed

    def clear(self) -> None:
        """Forget everything (after a reset to what L1 has)."""
        self.close()
        self._buffer.clear()
        for _first, path in self._segments():
            path.unlink()

    def close(self) -> None:
        """Close the segment's file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _segments(self) -> list[tuple[int, Path]]:
        return sorted((int(path.stem), path) for path in self._folder.glob("*.log"))

    def _read_segment(self, first: int, path: Path, found: Recovered, *, last: bool) -> None:
        data = path.read_bytes()
        waiting: list[Record] = []
        committed = 0
        position = first
        for kind, content, end in read_records(data):
            if kind == START:
                self._check_start(path, content, first)
                found.position, found.previous, committed = first, content[40:], end
            elif kind == GROUP:
                self._read_group(path, content, found, position)
                found.records += waiting
                found.position, committed = position, end
                waiting = []
            else:
                waiting.append(Record(kind, content, position))
                position += kind == TX
        if committed == len(data):
            return
        if not last:
            raise Critical(f"{path} is damaged at byte {committed}: promises in it cannot be kept; restore it")
        log.warning("log_cut", segment=path.name, at=committed, bytes_cut=len(data) - committed)
        if committed == 0:
            path.unlink()
        else:
            os.truncate(path, committed)

    def _check_start(self, path: Path, content: bytes, first: int) -> None:
        if len(content) != _START_BYTES or content[:32] != self._domain:
            raise Critical(f"{path} is the log of another rollup: use another datadir")
        if int.from_bytes(content[32:40], "big") != first:
            raise Critical(f"{path} does not start at the position it is named after; restore it")

    def _read_group(self, path: Path, content: bytes, found: Recovered, position: int) -> None:
        """Take over a group's promises: one chain, over exactly the transactions up to ``position``."""
        covered = found.position
        for at in range(0, len(content), PROMISE_BYTES):
            promise = decode_promise(content[at : at + PROMISE_BYTES])
            if promise.previous != found.previous or promise.first_position != covered:
                raise Critical(f"{path}: promises are not one chain at position {promise.first_position}; restore it")
            found.promises.append(promise)
            found.previous = struct_hash(promise)
            covered += promise.count
        if covered != position:
            raise Critical(f"{path}: a group ends at position {covered}, its transactions at {position}; restore it")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
