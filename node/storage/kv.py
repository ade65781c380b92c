"""Ordered key-value stores: LevelDB on disk (the only place that imports plyvel) and its twin in memory.

A write is one batch and atomic; with ``sync`` it has reached the disk when the call returns. Keys and values are bytes,
keys are ordered as bytes. One process owns a database: LevelDB locks its directory.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import plyvel

from node.errors import Critical

Change = tuple[bytes, bytes | None]  # None = delete

BLOCK_CACHE_BYTES = 64 * 1024 * 1024
WRITE_BUFFER_BYTES = 16 * 1024 * 1024


class StorageError(Critical):
    """The store cannot do its work; the message says which one and what to do."""


class Reader(Protocol):
    """What a store and a snapshot of it have in common."""

    def get(self, key: bytes) -> bytes | None: ...

    def iterate(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Entries with start <= key < stop, ascending (descending if ``reverse``)."""
        ...


class KV(Reader, Protocol):
    """An ordered store."""

    def write(self, changes: Iterable[Change], *, sync: bool = False) -> None:
        """Apply all changes or none; a later change of the same key wins."""
        ...

    def snapshot(self) -> Reader:
        """The present content, whatever is written afterwards."""
        ...

    def close(self) -> None: ...


def prefix_end(prefix: bytes) -> bytes:
    """The least key above all keys with this (not empty, not all 0xff) prefix."""
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        raise ValueError("a prefix of 0xff bytes has no upper end")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))


class LevelKV:
    """A LevelDB directory; `open_kv` makes it."""

    __slots__ = ("_db", "path")

    def __init__(self, db: Any, path: Path) -> None:
        self._db = db
        self.path = path

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def iterate(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _entries(self._db, start, stop, reverse)

    def write(self, changes: Iterable[Change], *, sync: bool = False) -> None:
        try:
            with self._db.write_batch(transaction=True, sync=sync) as batch:
                for key, value in changes:
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)
        except plyvel.Error as error:
            raise StorageError(f"cannot write to {self.path}: {error}; check free space and permissions") from error

    def snapshot(self) -> Reader:
        return _LevelSnapshot(self._db.snapshot())

    def close(self) -> None:
        self._db.close()


class _LevelSnapshot:
    __slots__ = ("_view",)

    def __init__(self, view: Any) -> None:
        self._view = view

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._view.get(key)
        return value

    def iterate(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _entries(self._view, start, stop, reverse)


def _entries(source: Any, start: bytes, stop: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
    if not reverse:
        with source.iterator(start=start, stop=stop) as entries:
            yield from entries
        return
    # plyvel 1.5.1 finds nothing backwards where `start` itself is the only entry: so the lower end is ours to watch
    with source.iterator(stop=stop, reverse=True) as entries:
        for key, value in entries:
            if key < start:
                return
            yield key, value


def open_kv(path: str | Path) -> LevelKV:
    """Open or create a LevelDB directory. Raises StorageError: locked by another process, damaged, or no permission."""
    directory = Path(path)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        db = plyvel.DB(
            str(directory), create_if_missing=True, lru_cache_size=BLOCK_CACHE_BYTES,
            write_buffer_size=WRITE_BUFFER_BYTES, bloom_filter_bits=10,
        )
    except plyvel.CorruptionError as error:
        raise StorageError(f"{directory} is damaged ({error}); delete it, the node rebuilds it from L1") from error
    except (plyvel.Error, OSError) as error:
        if "already held" in str(error) or "temporarily unavailable" in str(error):  # this process, another process
            raise StorageError(
                f"{directory} is in use by another process; stop that one, or give this one its own --datadir"
            ) from error
        raise StorageError(f"cannot open {directory}: {error}; check the path and its permissions") from error
    return LevelKV(db, directory)


class MemoryKV:
    """The same in memory, for tests and short-lived nodes. Nothing survives the process."""

    __slots__ = ("_data", "_order")

    def __init__(self, data: dict[bytes, bytes] | None = None) -> None:
        self._data = dict(data or {})
        self._order = sorted(self._data)

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def iterate(self, start: bytes, stop: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        # like LevelDB, an iterator sees the content of the moment when it was made
        keys = self._order[bisect_left(self._order, start) : bisect_left(self._order, stop)]
        found = [(key, self._data[key]) for key in keys]
        return iter(found[::-1] if reverse else found)

    def write(self, changes: Iterable[Change], *, sync: bool = False) -> None:
        for key, value in list(changes):
            if value is None:
                if self._data.pop(key, None) is not None:
                    del self._order[bisect_left(self._order, key)]
            else:
                if key not in self._data:
                    insort(self._order, key)
                self._data[key] = value

    def snapshot(self) -> Reader:
        return MemoryKV(self._data)

    def close(self) -> None:
        pass
