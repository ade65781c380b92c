"""The actions of a list, as traders sign them and as ``al_sendActions`` takes them: orders, cancels, triggers."""

from __future__ import annotations

from typing import Any, Final, Literal

from node.stf import encoding
from node.stf.types import (
    AMEND,
    BUY,
    CANCEL,
    CANCEL_ALL,
    CANCEL_AT,
    OPTIONS,
    PLACE,
    SELL,
    TRIGGER,
    TRIGGER_FALL,
    Action,
)

Side = Literal["buy", "sell"]
TimeInForce = Literal["GTC", "IOC", "FOK", "POST_ONLY"]
SelfTrade = Literal["CANCEL_RESTING", "CANCEL_TAKER", "CANCEL_BOTH"]

# sides of the book, as a cancel names them
_SIDES: Final = (*encoding.SIDE_NAMES, "triggerBelow", "triggerAbove")


def place(
    market: int, side: Side, price: int, lots: int, *, client_id: int, tif: TimeInForce = "GTC",
    reduce_only: bool = False, self_trade: SelfTrade = "CANCEL_RESTING", expiry: int = 0,
) -> Action:
    """An order to place: price in ticks, ``expiry`` in L2 ms (0: good till cancelled).

    ``tif`` FOK fills whole or not at all. ``reduce_only`` orders make the position smaller, need no margin, and may
    together not exceed it. ``self_trade``: what goes when the order meets one of the same account's.
    """
    return Action(
        op=PLACE, market=market, side=BUY if side == "buy" else SELL, price=price, lots=lots,
        tif=encoding.TIF_NAMES.index(tif), reduce_only=int(reduce_only), client_id=client_id, expiry=expiry,
        self_trade=encoding.SELF_TRADE_NAMES.index(self_trade))


def cancel(market: int, client_id: int) -> Action:
    """Cancel the order or trigger with this client id."""
    return Action(op=CANCEL, market=market, client_id=client_id)


def cancel_all(market: int) -> Action:
    """Cancel every order and trigger of the account in a market."""
    return Action(op=CANCEL_ALL, market=market)


def amend(market: int, client_id: int, lots: int) -> Action:
    """Make the order with this client id smaller: ``lots`` is what is left to rest."""
    return Action(op=AMEND, market=market, client_id=client_id, lots=lots)


def trigger(
    market: int, side: Side, when: Literal["above", "below"], price: int, lots: int, *, client_id: int, limit: int = 0,
    expiry: int = 0,
) -> Action:
    """A reduce-only order that waits until the mark is at ``price`` or beyond, then trades at ``limit`` or better."""
    return Action(
        op=TRIGGER, market=market, side=BUY if side == "buy" else SELL, direction=int(when == "above"), price=price,
        lots=lots, limit=limit, client_id=client_id, expiry=expiry)


def fields_of(action: Action) -> dict[str, Any]:
    """An action as al_sendActions takes it; fields that its op does not use are left out, as they are not signed."""
    fields: dict[str, Any] = {"action": encoding.ACTION_NAMES[encoding.action_name(action)]}
    if action.op == CANCEL_AT:
        return fields | {"expiry": action.expiry}
    if action.op == OPTIONS:
        return fields
    fields["market"] = action.market
    if action.op == CANCEL_ALL:
        return fields
    fields["clientId"] = action.client_id
    if action.op in (PLACE, TRIGGER):
        fields |= {
            "side": encoding.SIDE_NAMES[action.side], "lots": action.lots, "price": action.price,
            "expiry": action.expiry,
        }
    if action.op == PLACE:
        fields |= {
            "timeInForce": encoding.TIF_NAMES[action.tif], "reduceOnly": bool(action.reduce_only),
            "selfTrade": encoding.SELF_TRADE_NAMES[action.self_trade],
        }
    elif action.op == TRIGGER:
        fields["limit"] = action.limit
    elif action.op == AMEND:
        fields["lots"] = action.lots
    if action.op in (CANCEL, AMEND) and action.seq:
        side = _SIDES[action.side] if action.op == CANCEL or action.side < TRIGGER_FALL else ""
        fields |= {"side": side, "price": action.price, "seq": action.seq}
    return fields
