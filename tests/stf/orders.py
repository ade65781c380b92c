"""Actions beyond plain orders and cancels, and where a ledger keeps what they name."""

from __future__ import annotations

from node.stf.params import PRICE_MAX
from node.stf.state import Ledger
from node.stf.types import AMEND, CANCEL, CANCEL_AT, OPTIONS, TRIGGER, Action, Order


def amend(market: int, side: int, price: int, seq: int, lots: int, client_id: int = 1) -> Action:
    """Make a resting order smaller; it keeps its place."""
    return Action(op=AMEND, market=market, side=side, price=price, seq=seq, lots=lots, client_id=client_id)


def cancel_at(time: int) -> Action:
    """Set the dead man's switch to an L2 time, ms; 0 turns it off."""
    return Action(op=CANCEL_AT, expiry=time)


def trigger(
    market: int,
    side: int,
    direction: int,
    price: int,
    lots: int,
    client_id: int = 1,
    *,
    limit: int = 0,
    expiry: int = 0,
) -> Action:
    """A reduce-only order that waits for the mark to rise (direction 1) or fall (0) to a price."""
    return Action(
        op=TRIGGER, market=market, side=side, direction=direction, price=price, lots=lots, client_id=client_id,
        limit=limit, expiry=expiry,
    )


def cancel_trigger(market: int, direction: int, price: int, seq: int, client_id: int = 1) -> Action:
    """Cancel a waiting trigger: it rests on side 2 (falling) or 3 (rising) of the book."""
    return Action(op=CANCEL, market=market, side=2 + direction, price=price, seq=seq, client_id=client_id)


def options(opt_in: int) -> Action:
    """Ask for predictive reduction also while healthy, or stop it."""
    return Action(op=OPTIONS, opt_in=opt_in)


def place_of(key: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Market, side, price and sequence of an order by its key in a ledger."""
    market, side, place = key
    stored, seq = place >> 64, place & ((1 << 64) - 1)
    return market, side, stored if side & 1 else PRICE_MAX - stored, seq


def find_order(ledger: Ledger, account: int, client_id: int) -> tuple[tuple[int, int, int, int], Order]:
    """The one order or trigger that an account gave a client id. Raises KeyError if it has none, or two."""
    found = [(place_of(key), o) for key, o in ledger.orders.items() if (o.account, o.client_id) == (account, client_id)]
    if len(found) != 1:
        raise KeyError(f"account {account} has {len(found)} orders with client id {client_id}")
    return found[0]
