"""Transactions in traders' words: who, what, with which numbers. Read with the rules' own decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from node.stf import encoding, types
from node.stf.commitments import MESSAGE_HEAD_BYTES
from node.stf.types import Action

_ACTIONS_MAX_MASK: Final = 0x1F
_TIF: Final = {types.GTC: "GTC", types.IOC: "IOC", types.FOK: "FOK", types.POST_ONLY: "POST_ONLY"}
SIDES: Final = {types.BUY: "buy", types.SELL: "sell"}


@dataclass(slots=True)
class Intent:
    """What a transaction asks for. Fields that its kind does not have are 0. ``time``: the L2 time it ran at."""

    kind: int
    time: int = 0
    forced: bool = False
    account: int = 0
    slot: int = 0
    nonce: int = 0
    expiry: int = 0
    market: int = 0
    amount: int = 0
    recipient: int = 0
    address: int = 0
    step: int = 0
    actions: list[Action] = field(default_factory=list)
    prices: list[tuple[int, int]] = field(default_factory=list)
    message_kind: int = 0


def read_transaction(data: bytes, base_time: int) -> Intent:
    """A transaction as it stands in a chunk; times in it are relative to ``base_time``."""
    encoding.load(data)
    encoding.set_base_time(base_time)
    kind, pos = encoding.read_byte(0)
    intent = Intent(kind, base_time)
    if kind == types.ACTIONS:
        intent.account, pos = encoding.read_varint(pos)
        packed, pos = encoding.read_byte(pos)
        intent.slot = packed >> 5
        intent.nonce, pos = encoding.read_time(pos)
        intent.expiry, pos = encoding.read_time(pos)
        intent.actions, pos = encoding.read_actions(pos, (packed & _ACTIONS_MAX_MASK) + 1)
    elif kind == types.WITHDRAW:
        intent.account, pos = encoding.read_varint(pos)
        intent.nonce, pos = encoding.read_time(pos)
        intent.expiry, pos = encoding.read_time(pos)
        intent.recipient, pos = encoding.read_fixed(pos, 20)
        intent.amount, pos = encoding.read_varint(pos)
    elif kind == types.SET_KEY:
        intent.account, pos = encoding.read_varint(pos)
        intent.slot, pos = encoding.read_byte(pos)
        intent.nonce, pos = encoding.read_time(pos)
        intent.expiry, pos = encoding.read_time(pos)
        intent.address, pos = encoding.read_fixed(pos, 20)
    elif kind == types.ORACLE_PRICE:
        intent.slot, pos = encoding.read_byte(pos)
        count, pos = encoding.read_byte(pos)
        _time, pos = encoding.read_time(pos)
        markets, prices, pos = encoding.read_prices(pos, count)
        intent.prices = list(zip(markets, prices, strict=True))
    elif kind == types.LIQUIDATE:
        intent.account, pos = encoding.read_varint(pos)
        intent.market, pos = encoding.read_varint(pos)
    elif kind == types.RESUME:
        intent.market, pos = encoding.read_varint(pos)
    elif kind == types.BLOCK:
        intent.step, pos = encoding.read_varint(pos)
    return intent


def read_message(message: bytes, time_before: int) -> Intent:
    """What a consumed message asks for; its L1 time lifts L2 time."""
    seconds = int.from_bytes(message[21:MESSAGE_HEAD_BYTES], "big")
    time = max(time_before, seconds * 1_000)
    payload = message[MESSAGE_HEAD_BYTES:]
    if message[0] == types.FORCED:
        intent = read_transaction(payload, 0)
        intent.forced = True
    else:
        intent = Intent(types.INBOX)
        if message[0] == types.DEPOSIT and len(payload) == 32:
            intent.account = int.from_bytes(payload[:4], "big")
            intent.address = int.from_bytes(payload[4:24], "big")
            intent.amount = int.from_bytes(payload[24:], "big")
    intent.message_kind = message[0]
    intent.time = time
    return intent


def describe_action(action: Action) -> str:
    """An action in words."""
    side = SIDES[action.side & 1]
    if action.op == types.PLACE:
        until = f", good till {action.expiry}" if action.expiry else ""
        return (f"{side} {action.lots:,} lots of market {action.market} at {action.price:,} ticks, "
                f"{_TIF[action.tif]}{until}, client id {action.client_id}")
    if action.op == types.CANCEL:
        return (f"cancel the {side} order {action.client_id} of market {action.market} at {action.price:,} ticks "
                f"(sequence {action.seq})")
    return f"cancel all orders in market {action.market}"


def describe_intent(intent: Intent) -> str:
    """A whole transaction in words; a list of actions is described action by action."""
    kind = intent.kind
    if kind == types.ACTIONS:
        return f"{len(intent.actions)} actions of account {intent.account}"
    if kind == types.WITHDRAW:
        return f"withdraw {intent.amount:,} micro-USD of account {intent.account} to 0x{intent.recipient:040x}"
    if kind == types.SET_KEY:
        return f"set key {intent.slot} of account {intent.account} to 0x{intent.address:040x}"
    if kind == types.ORACLE_PRICE:
        return f"publisher {intent.slot} says " + ", ".join(f"{p:,} ticks in market {m}" for m, p in intent.prices)
    if kind == types.LIQUIDATE:
        return f"liquidate account {intent.account} in market {intent.market}"
    if kind == types.RESUME:
        return f"go on with the order that market {intent.market} waits for"
    if kind == types.BLOCK:
        return f"open a block {intent.step:,} ms later"
    return _describe_message(intent)


def _describe_message(intent: Intent) -> str:
    if intent.message_kind == types.DEPOSIT:
        return f"deposit {intent.amount:,} micro-USD for 0x{intent.address:040x}, to account {intent.account or 'anew'}"
    names = {types.ANCHOR_NOTICE: "a notice that a batch is on L1", types.ROLLBACK_NOTICE: "a notice that a batch is gone",
             types.ADMIN: "an administration message"}
    return names.get(intent.message_kind, "a message of no known kind")
