"""One kept promise: what may be taken in, its id, its record on disk, and what is remembered of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from node.derive.blocks import rlp_bytes, rlp_int, rlp_list
from node.derive.evidence import KeptPromise
from node.derive.kept import Keepsake
from node.derive.promises import (
    GROUP_MAX,
    BadPromise,
    SignedPromise,
    check_promise,
    decode_promise,
    digest,
    encode_promise,
    recover_signer,
)
from node.stf import encoding
from node.stf.trie import keccak
from node.stf.types import ACTIONS, SET_KEY, WITHDRAW

DATA_BYTES_MAX: Final = 2_048  # a list of 32 orders has less
PATH_MAX: Final = 8  # of a group of 256


class NotKept(Exception):
    """A promise that is not taken in. ``kind``: bad (it is none), unbound (nobody answers for it), full, busy."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Entry:
    """What is remembered of a kept promise; the rest is on disk. ``block``: where its position was found."""

    id: bytes
    serial: int
    account: int
    epoch: int
    position: int
    tx_hash: bytes
    time: int
    state: str = "waiting"
    batch: int = 0
    block: int = 0
    final: bool = False

    @property
    def settled(self) -> bool:
        """Nothing can come of it any more."""
        return self.state in ("void", "elsewhere", "unbound") or (self.state == "kept" and self.final)


def entry_of(identity: bytes, keepsake: Keepsake, serial: int, account: int) -> Entry:
    """What memory holds of a keepsake."""
    kept, promise = keepsake.kept, keepsake.kept.signed.promise
    return Entry(identity, serial, account, promise.epoch, kept.position, kept.tx_hash, promise.time)


def name_of(domain: bytes, keepsake: Keepsake) -> bytes:
    """A kept promise's id: what was signed, the place in it, and the transaction."""
    kept = keepsake.kept
    return keccak(digest(domain, kept.signed.promise) + kept.position.to_bytes(8, "big") + kept.tx_hash)


def check_form(domain: bytes, keepsake: Keepsake) -> int:
    """The account whose transaction was promised. Raises NotKept unless it all hangs together and is of legal size."""
    kept = keepsake.kept
    promise = kept.signed.promise
    if not 1 <= promise.count <= GROUP_MAX or len(kept.path) > PATH_MAX:
        raise NotKept("bad", f"a promise is for 1 to {GROUP_MAX} transactions")
    if len(keepsake.data) > DATA_BYTES_MAX or (keepsake.data and keccak(keepsake.data) != kept.tx_hash):
        raise NotKept("bad", f"data: give the transaction that was promised, at most {DATA_BYTES_MAX} bytes, or none")
    try:
        check_promise(domain, recover_signer(domain, kept.signed), kept.signed, kept.position, kept.tx_hash, kept.path)
    except BadPromise as error:
        raise NotKept("bad", str(error)) from None
    return account_of(keepsake.data)


def account_of(transaction: bytes) -> int:
    """Whose transaction it is; 0 for none, and those that no account signs. Raises NotKept if none can be read."""
    if not transaction or transaction[0] not in (ACTIONS, WITHDRAW, SET_KEY):
        return 0
    encoding.load(transaction)
    account, end = encoding.read_varint(1)
    if end == encoding.BAD or account == 0:
        raise NotKept("bad", "data: no transaction of an account")
    return account


def encode_keepsake(keepsake: Keepsake, serial: int) -> bytes:
    """The record of a keepsake, with its place in the order of arrival."""
    kept = keepsake.kept
    return rlp_list((
        rlp_bytes(encode_promise(kept.signed.promise)), rlp_bytes(kept.signed.signature), rlp_int(kept.position),
        rlp_bytes(kept.tx_hash), rlp_bytes(b"".join(kept.path)), rlp_int(keepsake.time), rlp_bytes(keepsake.data),
        rlp_int(serial)))


def decode_keepsake(row: list[Any]) -> tuple[Keepsake, int]:
    """The inverse of ``encode_keepsake``, from its RLP fields."""
    promise, signature, position, tx_hash, joined, time, data, serial = row
    path = [joined[at : at + 32] for at in range(0, len(joined), 32)]
    signed = SignedPromise(decode_promise(promise), signature)
    kept = KeptPromise(signed, int.from_bytes(position, "big"), tx_hash, path)
    return Keepsake(kept, int.from_bytes(time, "big"), data), int.from_bytes(serial, "big")
