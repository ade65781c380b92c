"""What each status of the rules means to whoever gets it, and what to do: one sentence each.

One table for receipts, RPC errors and the command line. ``tests/rpc/test_statuses.py`` holds it complete.
"""

from __future__ import annotations

from typing import Final

import msgspec

from node.stf.types import Status


class StatusInfo(msgspec.Struct, frozen=True):
    """A status in words."""

    status: str
    meaning: str
    remedy: str


_PRICE_REMEDY: Final = "wait for the market's publishers; whoever runs them starts `anchorline keeper`"

#: status -> (what happened, what to do about it)
_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "OK": ("done", "nothing to do"),
    # the envelope
    "BAD_SIGNATURE": ("no key recovers from the signature", "sign the EIP-712 digest of exactly these fields again"),
    "NO_ACCOUNT": ("there is no such account", "deposit on L1 to open one, or correct the account number"),
    "NO_KEY": ("the signer is not the key of this account and slot", "sign with that key, or set the slot's key"),
    "KEY_EXPIRED": ("the trading key has expired", "set it again with the owner's key"),
    "EXPIRED": ("the signature's own expiry has passed", "sign again with a later expiry"),
    "EXPIRY_TOO_FAR": ("the expiry is more than two days ahead of L2 time", "sign with an expiry within two days"),
    "NONCE_USED": ("the nonce was used before, so this is in already or a replay", "use a fresh one: the time in ms"),
    "NONCE_TOO_OLD": ("the nonce is more than 63 below the highest used one", "use a fresh one: the time in ms"),
    "NONCE_TOO_NEW": ("the nonce is more than 60 s ahead of L2 time", "use the present time in ms; check your clock"),
    # orders
    "NO_MARKET": ("there is no such market", "`anchorline status` or al_markets lists the markets"),
    "MARKET_HALTED": (
        "the market is halted: it neither trades nor liquidates",
        "cancelling, amending and depositing still work; wait for the rest"),
    "MARKET_REDUCE_ONLY": (
        "the market only takes orders that make a position smaller",
        "place no more than closes your position, open orders included, or wait"),
    "MARKET_BUSY": ("a large order is still being matched", "send again in the next block"),
    "STALE_PRICE": (
        "a price that this needs is too old, or has jumped and must hold first",
        "after a jump wait some seconds; else " + _PRICE_REMEDY),
    "BAD_PRICE": ("the price is zero or no price at all", "give a price in ticks above 0"),
    "PRICE_BAND": ("the limit is further from the mark than the market's band", "move the limit towards the mark"),
    "BAD_LOTS": ("the size is zero, or does not make an amended order smaller", "give a size in lots that does"),
    "MIN_NOTIONAL": ("the order is worth less than the market's least notional", "order more lots"),
    "TOO_LARGE": ("an amount would leave the range that the rules can hold", "order fewer lots"),
    "OI_CAP": ("the order or fill would exceed the market's cap on open interest", "order fewer lots, or wait"),
    "TOO_MANY_ORDERS": ("the account has 256 resting orders", "cancel some, or have dead ones swept"),
    "TOO_MANY_POSITIONS": ("the account already trades in 8 markets", "close a position, or use another account"),
    "INSUFFICIENT_MARGIN": (
        "equity would not cover initial margin with this order open, or after its fill; or, settling, it is below zero",
        "deposit, order less, or cancel other orders; `anchorline account` shows the margin, Liquidate ends a debt"),
    "WOULD_CROSS": ("a post-only order would have taken from the book", "move the limit away from the other side"),
    "ORDER_NOT_FOUND": (
        "no such order rests: it was filled, cancelled, or never rested", "`anchorline account` lists open orders"),
    "NOT_YOUR_ORDER": ("the order is another account's, or has another client id", "name market and client id again"),
    "ORDER_EXPIRED": ("the order's good-till time has passed", "give a later expiry, or none"),
    "PENDING": (
        "accepted: more resting orders cross than one transaction visits, so matching goes on",
        "nothing to do: the sequencer continues it at once, and anyone may"),
    # the other kinds
    "BAD_SLOT": ("there is no such key slot for a trading key", "use slot 1 to 3"),
    "BAD_RECIPIENT": ("the recipient is the zero address", "name an L1 address that can receive the collateral"),
    "BAD_AMOUNT": ("the amount is zero or beyond all bounds", "give an amount in micro-USD above 0"),
    "INSUFFICIENT_FREE": (
        "less is free than asked for: equity less initial margin less unrealized profit",
        "`anchorline account` shows what is free; close positions or cancel orders to free more"),
    "NO_PUBLISHER": ("the signer is not the publisher of this slot", "publish with the registered key and slot"),
    "BAD_TIME": ("the time is not after the last one, ahead of L2 time, or beyond all bounds", "use L2's present time"),
    "NOT_PENDING": ("no order waits to be continued in this market", "nothing to do"),
    "NO_POSITION": ("the account has no position in this market", "name a market in which it has one"),
    "NOT_LIQUIDATABLE": ("the account's equity covers its maintenance margin", "nothing to do"),
    "NO_LIQUIDITY": (
        "no resting order could be filled without making the account worse off",
        "try again as soon as the book has orders nearer to the mark"),
    "NO_MESSAGE": ("no L1 message waits to be consumed", "nothing to do"),
    "BAD_MESSAGE": ("the L1 message is malformed or breaks a bound, and had no effect", "send a corrected message"),
    "FORCED_INVALID": (
        "the transaction forced through L1 does not decode, or needs more room than a forced one may",
        "force a shorter list, with times relative to 0"),
    "BUFFERED": (
        "the account is under maintenance margin and uses up its latency buffer; its risk-increasing orders are gone",
        "deposit before the buffer is spent, or reduce while prices are fresh and the market trades"),
    "RECOVERED": ("the account meets maintenance margin again and its buffer refills", "nothing to do"),
    "REDUCE_ONLY_SIZE": (
        "reduce-only orders would together exceed the position that they may close",
        "order no more lots than the position has, less what reduce-only orders rest"),
    "FOK_UNFILLED": ("the book could not fill the whole order at once, so none of it was", "order less, or as IOC"),
    "FOK_TOO_DEEP": (
        "filling the whole order would visit more resting orders than one transaction may",
        "order less, or as IOC"),
    "SWITCH_FIRED": (
        "the account's cancel-at time has passed: its orders are dead and new ones are refused",
        "cancel all orders in each market, then set a later cancel-at time or clear it"),
    "TRIGGER_NOT_REACHED": ("the mark has not reached the best trigger", "wait until it does"),
    "NOTHING_TO_SWEEP": ("the order at the edge of that side is alive, or there is none", "nothing to do"),
    "MARKET_EXPIRED": (
        "the dated market's expiry has passed", "trade a later expiry; positions settle at its final price"),
    "NOT_SETTLING": (
        "the market is not being settled yet",
        "wait for its expiry, the price after it, and a minute more for liquidations"),
    "OUTFLOW_LIMIT": (
        "withdrawals of all accounts have reached the limit of this hour",
        "withdraw less, or again later: the limit frees up steadily"),
    "REDUCED_ENOUGH": (
        "this block has already reduced as much of the market ahead of time as it may", "try again in the next block"),
    "SELF_TRADE": (
        "the order met one of the account's own, and asked to be cancelled then",
        "cancel the resting order, or choose another self-trade mode"),
}

#: statuses that are no failures
SUCCESSES: Final = frozenset(("OK", "PENDING", "BUFFERED", "RECOVERED"))


def describe_status(name: str) -> StatusInfo:
    """A status by name in words. Raises KeyError for a name that is no status."""
    meaning, remedy = _TEXTS[name]
    return StatusInfo(name, meaning, remedy)


def sentence(name: str) -> str:
    """Meaning and remedy as one line."""
    meaning, remedy = _TEXTS[name]
    return f"{meaning}: {remedy}"


def notable(statuses: list[Status]) -> list[StatusInfo]:
    """Those worth explaining, each once, in order: all but OK."""
    return [describe_status(name) for name in dict.fromkeys(status.name for status in statuses) if name != "OK"]


def known_names() -> frozenset[str]:
    """All names that the table explains."""
    return frozenset(_TEXTS)
