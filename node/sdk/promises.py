"""Checking what a sequencer promised: the very bytes we signed, at the position it says, under its signature."""

from __future__ import annotations

from typing import Any, Final

from node.derive.promises import BadPromise, Promise, SignedPromise, check_promise
from node.sdk.errors import BrokenPromise


def parse_promise(fields: dict[str, Any]) -> tuple[SignedPromise, list[bytes]]:
    """The promise and the path to its root out of an answer. Raises BrokenPromise if fields are missing or no hex."""
    try:
        promise = Promise(
            int(fields["epoch"]), int(fields["first_position"]), int(fields["count"]), int(fields["time"]),
            _bytes(fields["previous"]), _bytes(fields["root"]))
        return SignedPromise(promise, _bytes(fields["signature"])), [_bytes(item) for item in fields["path"]]
    except (KeyError, ValueError, TypeError) as error:
        raise BrokenPromise(f"the answer's promise is malformed: {error!r}") from None


#: a promise's deadline counts from its time: one far ahead of our clock would bind nobody for long
AHEAD_MAX_MS: Final = 600_000


def verify(
    domain: bytes, sequencer: bytes, position: int, tx_hash: bytes, fields: dict[str, Any], now_ms: int
) -> SignedPromise:
    """The promise, if ``sequencer`` (20 bytes) gave it for this hash and position, about now. Raises BrokenPromise."""
    signed, path = parse_promise(fields)
    ahead = signed.promise.time - now_ms
    if ahead > AHEAD_MAX_MS:
        raise BrokenPromise(f"the promise is dated {ahead // 1_000} s ahead of this clock, its deadline is too late: "
                            "check the clock, or keep away", data={"promise": fields})
    try:
        check_promise(domain, sequencer, signed, position, tx_hash, path)
    except BadPromise as error:
        raise BrokenPromise(str(error), data={"promise": fields}) from None
    return signed


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
