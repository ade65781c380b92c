"""A fire drill's request: a file that only the watchtower's own operator can put where the watchtower looks.

    <datadir>/drills/request.json     the request, one at a time; the watchtower removes it when the drill is over
    <datadir>/drills/spent.json       gas that drills took in the last 24 hours of L1 time

A drill makes a watchtower spend gas on a rollup that it does not guard, so who may ask is a matter of security: whoever
can write into the datadir owns the watchtower already, and nobody else is heard. Folder and file must belong to the
watchtower's user (or root), be writable by nobody else, and the file be a plain one, no link, of at most 16 KB.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

FOLDER: Final = "drills"
REQUEST: Final = "request.json"
SPENT: Final = "spent.json"
REQUEST_BYTES_MAX: Final = 16_384
TTL_MAX_S: Final = 3_600
DAY_S: Final = 86_400
ENTRIES_MAX: Final = 1_000


class BadRequest(Exception):
    """A request that is not obeyed; the message says why, and what to do."""


class DrillRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sandbox to watch. Addresses are hex text; ``operator`` is who posts there, ``expires_at`` is L1 time (s).

    Batches up to L1 block ``since_block`` are history, those of earlier drills included.
    """

    id: str
    l1_chain_id: int
    rollup: str
    start_block: int
    contracts: dict[str, str]
    operator: str
    since_block: int
    expires_at: int

    def addresses(self) -> dict[str, bytes]:
        """20 bytes by contract name. Raises BadRequest."""
        return {name: address_of(text, name) for name, text in self.contracts.items()}


def address_of(text: str, what: str) -> bytes:
    """20 bytes. Raises BadRequest."""
    try:
        data = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        data = b""
    if len(data) != 20:
        raise BadRequest(f"{what}: {text[:64]!r} is no address")
    return data


def make_folder(datadir: Path) -> Path:
    """The folder, private to this user."""
    folder = datadir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_request(folder: Path, request: DrillRequest) -> None:
    """Ask for a drill, atomically. Raises BadRequest if the folder is missing or another drill waits there."""
    _check_owner(folder, _stat(folder), "folder")
    fresh = folder / f".{REQUEST}.{os.getpid()}"
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(request))
        if os.geteuid() == 0:  # root asks, say from cron: the watchtower's user must be able to read it
            os.fchown(handle, folder.stat().st_uid, -1)
    try:
        os.link(fresh, folder / REQUEST)
    except FileExistsError:
        raise BadRequest(f"another drill waits in {folder / REQUEST}: let it end, or remove that file") from None
    finally:
        fresh.unlink(missing_ok=True)


def read_request(folder: Path) -> DrillRequest | None:
    """The request, None if there is none. Raises BadRequest for one that nobody but an attacker would write so."""
    try:
        handle = os.open(folder / REQUEST, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadRequest(f"{REQUEST} cannot be opened ({error.strerror}): a link or a device?") from None
    try:
        _check_owner(folder, _stat(folder), "folder")
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise BadRequest(f"{REQUEST} is no plain file")
        _check_owner(folder / REQUEST, status, "file")
        data = os.read(handle, REQUEST_BYTES_MAX + 1)
    finally:
        os.close(handle)
    if len(data) > REQUEST_BYTES_MAX:
        raise BadRequest(f"{REQUEST} has more than {REQUEST_BYTES_MAX:,} bytes")
    try:
        request = msgspec.json.decode(data, type=DrillRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadRequest(f"{REQUEST} is no request ({error}); `anchorline drill` writes them") from None
    if not (0 < len(request.id) <= 64 and request.id.isascii() and request.id.isalnum()):
        raise BadRequest("id: give 1 to 64 letters and digits")
    return request


def remove_request(folder: Path, drill: str | None = None) -> bool:
    """Take a request away; with ``drill``, only the one of that id. False if it could not be."""
    try:
        if drill is not None:
            request = read_request(folder)
            if request is None or request.id != drill:
                return True
        path = folder / REQUEST
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
    except (OSError, BadRequest):
        return False
    return True


def _stat(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as error:
        raise BadRequest(f"{path} cannot be looked at ({error.strerror}): is it the running watchtower's, and is "
                         "watchtower.drill_gas_daily above 0?") from None


def _check_owner(path: Path, status: os.stat_result, kind: str) -> None:
    if kind == "folder" and not stat.S_ISDIR(status.st_mode):
        raise BadRequest(f"{path} is no folder")
    if status.st_uid not in (os.geteuid(), 0):
        raise BadRequest(f"{path} belongs to user {status.st_uid}, not to the watchtower's: only its operator may ask")
    if status.st_mode & 0o022:
        raise BadRequest(f"{path} can be written by others: chmod go-w {path}")


# --- what drills have cost --------------------------------------------------------------------------------------------


def spent_gas(folder: Path, now: int) -> int:
    """Gas of drills in the day before an L1 time (s). Raises BadRequest if the record is damaged."""
    return sum(gas for _time, gas in _entries(folder, now))


def note_gas(folder: Path, now: int, gas: int) -> None:
    """Remember gas that is about to be spent (or negative: that was not). Durable before it returns."""
    entries = [*_entries(folder, now), (now, gas)]
    if len(entries) > ENTRIES_MAX:
        entries[:2] = [(entries[1][0], entries[0][1] + entries[1][1])]
    fresh = folder / f".{SPENT}"
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(entries))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / SPENT)


def _entries(folder: Path, now: int) -> list[tuple[int, int]]:
    try:
        found = msgspec.json.decode((folder / SPENT).read_bytes(), type=list[tuple[int, int]])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise BadRequest(f"{SPENT} cannot be read ({error}): remove it if no drill ran today") from None
    return [entry for entry in found if entry[0] > now - DAY_S]
