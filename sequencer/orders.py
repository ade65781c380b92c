"""Finding a resting order or trigger by what its owner calls it, so that a cancel needs to name only a client id.

Follows the leaves of the books: at chunk ends from the chunk's changes, inside the open chunk from its dirty keys (a
chunk touches few leaves, so that is a short scan). Of orders that share account, market and client id, the newest wins;
they come about only through L1, because the way in refuses a name that a live order has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from node.stf.params import PRICE_MAX
from node.stf.state import Ledger, Source, book_key, decode_order, order_key
from node.stf.types import (
    CANCEL,
    CANCEL_ALL,
    ORDER_REDUCE_ONLY,
    PLACE,
    SELL,
    TRIGGER,
    TRIGGER_FALL,
    Action,
    Order,
    Position,
)

Name = tuple[int, int, int]  # account, market, client id
Place = tuple[int, int, int]  # side, price, sequence


class OrderIndex:
    """Places of resting orders by name; bounded by the orders that rest."""

    def __init__(self, source: Source) -> None:
        self._keys: dict[Name, bytes] = {}
        self._names: dict[bytes, Name] = {}
        self._fresh: set[Name] = set()  # names placed in the open chunk
        self._blurred = False  # whether orders may have come into the open chunk under other names
        for key in source.keys(b"O"):
            value = source.get(key)
            assert value is not None, "a listed key has a leaf"
            self._put(key, value)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Follow a chunk's changes; the next one is open and empty."""
        self._fresh.clear()
        self._blurred = False
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

    def note(self, account: int, actions: Sequence[Action]) -> None:
        """Remember the names of a list that was executed."""
        self._fresh.update(
            (account, action.market, action.client_id) for action in actions if action.op in (PLACE, TRIGGER))

    def blur(self) -> None:
        """Something else was executed that may leave orders in a book: a message, a Continue, a record of the log."""
        self._blurred = True

    def find_duplicate(self, ledger: Ledger, account: int, actions: Sequence[Action], time: int) -> int | None:
        """Index of the first place under a name that rests at L2 time ``time``, or that the list has given already.

        A cancel or cancel-all earlier in the list frees what it takes, so that one list can replace an order.
        """
        given: set[Name] = set()
        freed: set[Name] = set()
        swept: set[int] = set()
        for index, action in enumerate(actions):
            name = (account, action.market, action.client_id)
            if action.op == CANCEL_ALL:
                swept.add(action.market)
                given = {other for other in given if other[1] != action.market}
            elif action.op == CANCEL:
                if action.seq == 0 or self.find(ledger, *name) == (action.side, action.price, action.seq):
                    freed.add(name)
            elif action.op not in (PLACE, TRIGGER):
                continue
            elif name in given or (not (action.market in swept or name in freed) and self._rests(ledger, name, time)):
                return index
            else:
                given.add(name)
        return None

    def _rests(self, ledger: Ledger, name: Name, time: int) -> bool:
        """Whether a live order has the name. Most names are new, which two look-ups show."""
        if name not in self._keys and name not in self._fresh and not self._blurred:
            return False
        place = self.find(ledger, *name)
        row = ledger.accounts.get(name[0])
        if place is None or row is None:
            return False
        order = ledger.orders.get((name[1], place[0], book_key(*place)))
        if order is None:
            key = order_key(name[1], *place)
            value = None if key in ledger.dirty else ledger.source.get(key)
            if value is None:
                return False
            order = decode_order(value)
        if 0 < order.expiry < time or 0 < row.cancel_at <= time:
            return False
        return any(p.market == name[1] and place[2] >= _least_seq(p, order, place[0]) for p in row.positions)

    def _put(self, key: bytes, value: bytes) -> None:
        order = decode_order(value)
        name = (order.account, int.from_bytes(key[1:3], "big"), order.client_id)
        known = self._keys.get(name)
        self._names[key] = name
        if known is None or known == key or _place(known)[2] < _place(key)[2]:
            self._keys[name] = key


def _least_seq(position: Position, order: Order, side: int) -> int:
    """The sequence under which cancel-all has killed orders of this kind."""
    reducing = side >= TRIGGER_FALL or order.flags & ORDER_REDUCE_ONLY
    return position.reduce_min_seq if reducing else position.min_seq


def _place(key: bytes) -> Place:
    """Side, price and sequence in an order's key."""
    side = key[3]
    price = int.from_bytes(key[4:8], "big")
    return side, price if side & 1 == SELL else PRICE_MAX - price, int.from_bytes(key[8:16], "big")
