"""Transactions in traders' words: who, what, with which numbers. Read with the rules' own decoder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from node.stf import encoding, types
from node.stf.commitments import MESSAGE_HEAD_BYTES
from node.stf.types import Action

_COUNT_MASK: Final = 0x1F
_DIRECTIONS: Final = ("falls to", "rises to")


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
    side: int = 0
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
    if kind in (types.ACTIONS, types.WITHDRAW, types.SET_KEY):
        intent.account, pos = encoding.read_varint(pos)
        _read_signed(intent, pos)
    elif kind == types.ORACLE_PRICE:
        intent.slot, pos = encoding.read_byte(pos)
        count, pos = encoding.read_byte(pos)
        _time, pos = encoding.read_time(pos)
        markets, prices, pos = encoding.read_prices(pos, count)
        intent.prices = list(zip(markets, prices, strict=True))
    elif kind in (types.LIQUIDATE, types.SETTLE):
        intent.account, pos = encoding.read_varint(pos)
        intent.market, pos = encoding.read_varint(pos)
    elif kind in (types.SWEEP, types.TRIGGER_FIRE):
        intent.market, pos = encoding.read_varint(pos)
        intent.side, pos = encoding.read_byte(pos)
    elif kind == types.RESUME:
        intent.market, pos = encoding.read_varint(pos)
    elif kind == types.BLOCK:
        intent.step, pos = encoding.read_varint(pos)
    return intent


def _read_signed(intent: Intent, pos: int) -> None:
    """What an account's own transaction says behind its account."""
    count = 0
    if intent.kind == types.ACTIONS:
        packed, pos = encoding.read_byte(pos)
        intent.slot, count = packed >> 5, (packed & _COUNT_MASK) + 1
    elif intent.kind == types.SET_KEY:
        intent.slot, pos = encoding.read_byte(pos)
    intent.nonce, pos = encoding.read_time(pos)
    intent.expiry, pos = encoding.read_time(pos)
    if intent.kind == types.ACTIONS:
        intent.actions, pos = encoding.read_actions(pos, count)
    elif intent.kind == types.SET_KEY:
        intent.address, pos = encoding.read_fixed(pos, 20)
    else:
        intent.recipient, pos = encoding.read_fixed(pos, 20)
        intent.amount, pos = encoding.read_varint(pos)


def read_message(message: bytes, time_before: int) -> Intent:
    """What a consumed message asks for; its L1 time lifts L2 time."""
    seconds = int.from_bytes(message[21:MESSAGE_HEAD_BYTES], "big")
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
    intent.time = max(time_before, seconds * 1_000)
    return intent


# --- in words ---------------------------------------------------------------------------------------------------------


def describe_action(action: Action) -> str:
    """An action in words."""
    side = encoding.SIDE_NAMES[action.side & 1]
    if action.op == types.PLACE:
        return (f"{side} {action.lots:,} lots of market {action.market} at {action.price:,} ticks, "
                f"{encoding.TIF_NAMES[action.tif]}{', reduce-only' if action.reduce_only else ''}{_until(action)}, "
                f"client id {action.client_id}")
    if action.op == types.TRIGGER:
        limit = f"at {action.limit:,} ticks or better" if action.limit else "within the band"
        return (f"once the mark of market {action.market} {_DIRECTIONS[action.direction]} {action.price:,} ticks, "
                f"{side} {action.lots:,} lots {limit}, reduce-only{_until(action)}, client id {action.client_id}")
    if action.op in (types.CANCEL, types.AMEND):
        what = "trigger" if action.side >= types.TRIGGER_FALL else f"{side} order"
        does = f"make it {action.lots:,} lots: " if action.op == types.AMEND else "cancel "
        return (f"{does}the {what} {action.client_id} of market {action.market} at {action.price:,} ticks "
                f"(sequence {action.seq})")
    if action.op == types.CANCEL_ALL:
        return f"cancel all orders in market {action.market}"
    if action.op == types.CANCEL_AT:
        return f"cancel everything at L2 time {action.expiry}" if action.expiry else "turn the dead man's switch off"
    return f"{'allow' if action.opt_in else 'deny'} early reduction while margin is met"


def _until(action: Action) -> str:
    return f", good till {action.expiry}" if action.expiry else ""


def describe_intent(intent: Intent) -> str:
    """A whole transaction in words; a list of actions is described action by action."""
    kind, market = intent.kind, intent.market
    words = {
        types.ACTIONS: f"{len(intent.actions)} actions of account {intent.account}",
        types.WITHDRAW: f"withdraw {intent.amount:,} micro-USD of account {intent.account} to "
                        f"0x{intent.recipient:040x}",
        types.SET_KEY: f"set key {intent.slot} of account {intent.account} to 0x{intent.address:040x}",
        types.ORACLE_PRICE: f"publisher {intent.slot} says "
                            + ", ".join(f"{price:,} ticks in market {at}" for at, price in intent.prices),
        types.LIQUIDATE: f"liquidate account {intent.account} in market {market}" if intent.account
                         else f"work off the position of market {market}'s insurance",
        types.SETTLE: f"settle account {intent.account} in market {market}",
        types.RESUME: f"go on with the order that market {market} waits for",
        types.SWEEP: f"remove dead orders from side {intent.side} of market {market}",
        types.TRIGGER_FIRE: f"fire market {market}'s first trigger for a mark that {_DIRECTIONS[intent.side & 1]} it",
        types.BLOCK: f"open a block {intent.step:,} ms later",
    }
    return words.get(kind) or _describe_message(intent)


def _describe_message(intent: Intent) -> str:
    if intent.message_kind == types.DEPOSIT:
        to = f"account {intent.account}" if intent.account else "a new account"
        return f"deposit {intent.amount:,} micro-USD for 0x{intent.address:040x}, to {to}"
    names = {types.ANCHOR_NOTICE: "a notice that a batch is on L1", types.ADMIN: "an administration message",
             types.PAID_NOTICE: "a notice that withdrawals are paid",
             types.ROLLBACK_NOTICE: "a notice that a batch is gone"}
    return names.get(intent.message_kind, "a message of no known kind")
