"""The log: what was committed comes back whatever happens to the tail; damage elsewhere is never glossed over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from node.derive.promises import Promise, make_promise, struct_hash
from node.errors import Critical
from sequencer.log import CUT, MESSAGE, TX, Log, read_records
from tests.stf.world import DOMAIN


def write_groups(
    log: Log, rng: random.Random, groups: int, position: int, previous: bytes
) -> tuple[int, bytes, list[int]]:
    """Groups of random transactions, each flushed; returns where each group ends in the file, in transactions."""
    ends = []
    for _ in range(groups):
        promises: list[Promise] = []
        for _ in range(rng.choice((1, 1, 2))):
            txs = [rng.randbytes(rng.randrange(1, 200)) for _ in range(rng.randrange(1, 9))]
            for tx in txs:
                if rng.random() < 0.2:
                    log.append(CUT, b"")
                if rng.random() < 0.2:
                    log.append(MESSAGE, bytes(8) + rng.randbytes(30))
                log.append(TX, tx)
            promises.append(make_promise(1, position, [keccak(tx) for tx in txs], 1_700_000_000_000, previous))
            previous = struct_hash(promises[-1])
            position += len(txs)
        log.append_group(promises)
        log.flush(log.take())
        ends.append(position)
    return position, previous, ends


def test_a_torn_tail_is_cut_at_the_last_whole_group(tmp_path: Path) -> None:
    rng = random.Random(5)
    log = Log(tmp_path / "log", DOMAIN)
    log.recover()
    log.rotate(0, bytes(32))
    _position, _previous, ends = write_groups(log, rng, 12, 0, bytes(32))
    log.close()
    (path,) = (tmp_path / "log").glob("*.log")
    whole = path.read_bytes()
    marks = [end for kind, _content, end in read_records(whole) if kind == 4]
    for _ in range(200):
        cut = rng.randrange(0, len(whole) + 1)
        data = bytearray(whole[:cut])
        if rng.random() < 0.5:
            data += rng.randbytes(rng.randrange(0, 300))
        path.write_bytes(bytes(data))
        found = Log(tmp_path / "log", DOMAIN).recover()
        expected = sum(mark <= cut for mark in marks)
        assert found.position == (ends[expected - 1] if expected else 0)
        assert sum(record.kind == TX for record in found.records) == found.position
        assert not path.exists() or len(path.read_bytes()) in (0, 81, *marks)


def test_segments_follow_each_other_and_are_pruned(tmp_path: Path) -> None:
    rng = random.Random(6)
    log = Log(tmp_path / "log", DOMAIN, segment_bytes=1_000)
    log.recover()
    position, previous = 0, bytes(32)
    starts = []
    for _ in range(4):
        log.rotate(position, previous)
        starts.append(position)
        position, previous, _ends = write_groups(log, rng, 4, position, previous)
    assert log.full
    log.close()
    found = Log(tmp_path / "log", DOMAIN).recover()
    assert (found.position, found.previous) == (position, previous)
    assert log.prune(starts[2]) == 2
    found = Log(tmp_path / "log", DOMAIN).recover()
    assert found.records[0].position == starts[2] and found.position == position


def test_damage_before_the_tail_stops_the_sequencer(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", DOMAIN)
    log.recover()
    log.rotate(0, bytes(32))
    position, previous, _ends = write_groups(log, random.Random(1), 3, 0, bytes(32))
    log.rotate(position, previous)
    write_groups(log, random.Random(2), 3, position, previous)
    log.close()
    first = min((tmp_path / "log").glob("*.log"))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    with pytest.raises(Critical, match="damaged"):
        Log(tmp_path / "log", DOMAIN).recover()


def test_another_rollups_log_is_refused(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", DOMAIN)
    log.recover()
    log.rotate(0, bytes(32))
    log.close()
    with pytest.raises(Critical, match="another rollup"):
        Log(tmp_path / "log", bytes(32)).recover()
