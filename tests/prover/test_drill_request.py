"""Who may ask a watchtower for a fire drill: files that an operator would write, and files that only others would."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from prover.drill_request import (
    DAY_S,
    ENTRIES_MAX,
    REQUEST,
    REQUEST_BYTES_MAX,
    SPENT,
    BadRequest,
    DrillRequest,
    make_folder,
    note_gas,
    read_request,
    remove_request,
    spent_gas,
    write_request,
)

GOOD = DrillRequest("ab12", 1, "0x" + "11" * 20, 5, {"Rollup": "0x" + "11" * 20}, "0x" + "22" * 20, 6, 7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


def test_a_request_comes_through_once(folder: Path) -> None:
    assert read_request(folder) is None
    write_request(folder, GOOD)
    with pytest.raises(BadRequest, match="another drill waits"):
        write_request(folder, msgspec.structs.replace(GOOD, id="other"))
    assert read_request(folder) == GOOD
    assert remove_request(folder, "other") and read_request(folder) == GOOD, "another drill's is not ours to remove"
    assert remove_request(folder, GOOD.id) and read_request(folder) is None
    assert os.listdir(folder) == []


def _huge(file: Path) -> None:
    file.write_bytes(msgspec.json.encode(GOOD) + b" " * REQUEST_BYTES_MAX)


def _linked(file: Path) -> None:
    target = file.with_name("target")
    target.write_bytes(msgspec.json.encode(GOOD))
    file.symlink_to(target)


def _writable(file: Path) -> None:
    file.write_bytes(msgspec.json.encode(GOOD))
    file.chmod(0o666)


def _open_folder(file: Path) -> None:
    file.write_bytes(msgspec.json.encode(GOOD))
    file.parent.chmod(0o777)


def _text(text: bytes) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        file.write_bytes(text)
        file.chmod(0o600)

    return write


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "huge": (_huge, "more than 16,384 bytes"),
    "link": (_linked, "cannot be opened"),
    "pipe": (os.mkfifo, "no plain file"),
    "folder": (lambda file: file.mkdir(), "no plain file"),
    "writable by others": (_writable, "can be written by others"),
    "folder writable by others": (_open_folder, "can be written by others"),
    "no JSON": (_text(b"\xff\xfe{"), "is no request"),
    "deep JSON": (_text(b"[" * 10_000), "is no request"),
    "unknown field": (_text(msgspec.json.encode(GOOD)[:-1] + b',"gas_max":1}'), "is no request"),
    "missing field": (_text(b'{"id":"ab"}'), "is no request"),
    "odd id": (_text(msgspec.json.encode(msgspec.structs.replace(GOOD, id="../x"))), "letters and digits"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_no_operator_writes_is_refused_and_can_be_removed(folder: Path, kind: str) -> None:
    make, why = BAD[kind]
    make(folder / REQUEST)
    with pytest.raises(BadRequest, match=why):
        read_request(folder)
    assert remove_request(folder)
    assert not os.path.lexists(folder / REQUEST)


def test_another_user_s_request_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root gives the file away; anybody else is told to be somebody else."""
    write_request(folder, GOOD)
    if os.geteuid() == 0:
        os.chown(folder / REQUEST, 12_345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)
    with pytest.raises(BadRequest, match=r"belongs to user .* only its operator may ask"):
        read_request(folder)


def test_addresses_are_addresses() -> None:
    assert GOOD.addresses() == {"Rollup": b"\x11" * 20}
    with pytest.raises(BadRequest, match="Rollup: '0x12' is no address"):
        msgspec.structs.replace(GOOD, contracts={"Rollup": "0x12"}).addresses()


def test_gas_is_remembered_for_a_day(folder: Path) -> None:
    assert spent_gas(folder, 1_000_000) == 0
    note_gas(folder, 1_000_000, 3_000)
    note_gas(folder, 1_000_000, -1_000)
    note_gas(folder, 1_000_500, 500)
    assert spent_gas(folder, 1_000_500) == 2_500
    assert spent_gas(folder, 1_000_000 + DAY_S) == 500
    (folder / SPENT).write_text(f"[{','.join(['[1000600,1]'] * ENTRIES_MAX)}]")
    note_gas(folder, 1_000_600, 7)
    assert spent_gas(folder, 1_000_600) == ENTRIES_MAX + 7, "a full record forgets no gas"
    assert (folder / SPENT).read_bytes().count(b"[") == ENTRIES_MAX + 1
    (folder / SPENT).write_text("[")
    with pytest.raises(BadRequest, match="cannot be read"):
        spent_gas(folder, 1_000_600)
