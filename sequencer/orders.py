"""Finding a resting order by what its owner calls it, so that a cancel needs to name only a client id.

Follows the leaves of the books: at chunk ends from the chunk's changes, inside the open chunk from its dirty keys (a
chunk touches few leaves, so that is a short scan). Of orders that share account, market and client id, the newest wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.stf.params import PRICE_MAX
from node.stf.state import Ledger, Source, decode_order
from node.stf.types import SELL

Name = tuple[int, int, int]  # account, market, client id
Place = tuple[int, int, int]  # side, price, sequence


class OrderIndex:
    """Places of resting orders by name; bounded by the orders that rest."""

    def __init__(self, source: Source) -> None:
        self._keys: dict[Name, bytes] = {}
        self._names: dict[bytes, Name] = {}
        for key in source.keys(b"O"):
            value = source.get(key)
            assert value is not None, "a listed key has a leaf"
            self._put(key, value)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Follow a chunk's changes."""
        for key, value in changes.items():
            if key[0] != 0x4F:
                continue
            if value is not None:
                self._put(key, value)
                continue
            name = self._names.pop(key, None)
            if name is not None and self._keys.get(name) == key:
                del self._keys[name]

    def find(self, ledger: Ledger, account: int, market: int, client_id: int) -> Place | None:
        """Side, price and sequence of the order, None if none rests under this name."""
        newest: Place | None = None
        for key in ledger.dirty:
            if key[0] != 0x4F or int.from_bytes(key[1:3], "big") != market:
                continue
            order = ledger.orders.get((market, key[3], int.from_bytes(key[4:16], "big")))
            if order is not None and order.account == account and order.client_id == client_id:
                place = _place(key)
                if newest is None or place[2] > newest[2]:
                    newest = place
        if newest is not None:
            return newest
        known = self._keys.get((account, market, client_id))
        return None if known is None else _place(known)

    def _put(self, key: bytes, value: bytes) -> None:
        order = decode_order(value)
        name = (order.account, int.from_bytes(key[1:3], "big"), order.client_id)
        known = self._keys.get(name)
        self._names[key] = name
        if known is None or known == key or _place(known)[2] < _place(key)[2]:
            self._keys[name] = key


def _place(key: bytes) -> Place:
    """Side, price and sequence in an order's key."""
    side = key[3]
    price = int.from_bytes(key[4:8], "big")
    return side, price if side == SELL else PRICE_MAX - price, int.from_bytes(key[8:16], "big")
