"""What clients ask the sequencer to include: transactions without the L2 time that their encoding is relative to.

A request knows the digest its signature covers and how to write itself for a given L2 time. ``Raw`` bytes (times
relative to 0, as in a message forced through L1) become the same requests. All fields are in the ranges of the wire
format: constructors here take what the RPC layer has checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from node.stf import encoding
from node.stf.encoding import BAD
from node.stf.types import (
    ACTIONS,
    LIQUIDATE,
    ORACLE_PRICE,
    SET_KEY,
    SETTLE,
    SWEEP,
    TRIGGER_FIRE,
    TRIGGER_RISE,
    WITHDRAW,
    Action,
)


class BadRequest(ValueError):
    """The bytes are no transaction that can be submitted; the message says why."""


class Request(Protocol):
    """One transaction to be."""

    @property
    def kind(self) -> int:
        """The transaction's kind."""
        ...

    @property
    def signature(self) -> tuple[int, int] | None:
        """(r, yParityAndS), None for kinds that nobody signs."""
        ...

    def digest(self) -> bytes:
        """What the signature covers; the rules' domain must be set."""
        ...

    def write(self, base: int) -> bytes:
        """The transaction for a chunk whose L2 time is ``base``, ms."""
        ...


def _signature_bytes(r: int, vs: int) -> bytes:
    return r.to_bytes(32, "big") + vs.to_bytes(32, "big")


@dataclass(slots=True)
class ActionsRequest:
    """Orders and cancels. A cancel with seq 0 names only its client id: the builder finds the order."""

    account: int
    slot: int
    nonce: int
    expiry: int
    actions: list[Action]
    r: int
    vs: int

    kind = ACTIONS

    @property
    def signature(self) -> tuple[int, int] | None:
        return self.r, self.vs

    def digest(self) -> bytes:
        return encoding.actions_digest(self.account, self.slot, self.nonce, self.expiry, self.actions)

    def write(self, base: int) -> bytes:
        signature = _signature_bytes(self.r, self.vs)
        return encoding.write_actions(
            self.account, self.slot, self.nonce, self.expiry, self.actions, signature, base)


@dataclass(slots=True)
class WithdrawRequest:
    """Free collateral to an L1 address."""

    account: int
    nonce: int
    expiry: int
    recipient: int
    amount: int
    r: int
    vs: int

    kind = WITHDRAW

    @property
    def signature(self) -> tuple[int, int] | None:
        return self.r, self.vs

    def digest(self) -> bytes:
        return encoding.withdraw_digest(self.account, self.nonce, self.expiry, self.recipient, self.amount)

    def write(self, base: int) -> bytes:
        signature = _signature_bytes(self.r, self.vs)
        return encoding.write_withdraw(
            self.account, self.nonce, self.expiry, self.recipient, self.amount, signature, base)


@dataclass(slots=True)
class SetKeyRequest:
    """Set or (address 0) disable a trade-only key."""

    account: int
    slot: int
    nonce: int
    expiry: int
    address: int
    key_expiry: int
    r: int
    vs: int

    kind = SET_KEY

    @property
    def signature(self) -> tuple[int, int] | None:
        return self.r, self.vs

    def digest(self) -> bytes:
        return encoding.set_key_digest(
            self.account, self.nonce, self.expiry, self.slot, self.address, self.key_expiry)

    def write(self, base: int) -> bytes:
        signature = _signature_bytes(self.r, self.vs)
        return encoding.write_set_key(
            self.account, self.slot, self.nonce, self.expiry, self.address, self.key_expiry, signature, base)


@dataclass(slots=True)
class OracleRequest:
    """One publisher's prices; markets ascending."""

    publisher: int
    time: int
    markets: list[int]
    prices: list[int]
    r: int
    vs: int

    kind = ORACLE_PRICE

    @property
    def signature(self) -> tuple[int, int] | None:
        return self.r, self.vs

    def digest(self) -> bytes:
        return encoding.oracle_price_digest(self.publisher, self.time, self.markets, self.prices)

    def write(self, base: int) -> bytes:
        signature = _signature_bytes(self.r, self.vs)
        return encoding.write_oracle_price(self.publisher, self.time, self.markets, self.prices, signature, base)


@dataclass(slots=True)
class LiquidateRequest:
    """Reduce an account under maintenance."""

    account: int
    market: int

    kind = LIQUIDATE

    @property
    def signature(self) -> tuple[int, int] | None:
        return None

    def digest(self) -> bytes:
        raise AssertionError("nobody signs a Liquidate")

    def write(self, base: int) -> bytes:
        return encoding.write_liquidate(self.account, self.market)


@dataclass(slots=True)
class SweepRequest:
    """Remove dead orders from the edge of a book's side."""

    market: int
    side: int

    kind = SWEEP

    @property
    def signature(self) -> tuple[int, int] | None:
        return None

    def digest(self) -> bytes:
        raise AssertionError("nobody signs a Sweep")

    def write(self, base: int) -> bytes:
        return encoding.write_sweep(self.market, self.side)


@dataclass(slots=True)
class TriggerFireRequest:
    """Execute the first trigger of a direction."""

    market: int
    direction: int

    kind = TRIGGER_FIRE

    @property
    def signature(self) -> tuple[int, int] | None:
        return None

    def digest(self) -> bytes:
        raise AssertionError("nobody signs a TriggerFire")

    def write(self, base: int) -> bytes:
        return encoding.write_trigger_fire(self.market, self.direction)


@dataclass(slots=True)
class SettleRequest:
    """Close an account's position in a market that settles."""

    account: int
    market: int

    kind = SETTLE

    @property
    def signature(self) -> tuple[int, int] | None:
        return None

    def digest(self) -> bytes:
        raise AssertionError("nobody signs a Settle")

    def write(self, base: int) -> bytes:
        return encoding.write_settle(self.account, self.market)


# --- raw transactions -------------------------------------------------------------------------------------------------


def decode_request(data: bytes, base: int = 0) -> Request:
    """A whole transaction whose times are relative to ``base``, ms. Raises BadRequest. Uses the rules' buffer."""
    encoding.load(data)
    encoding.set_base_time(base)
    kind, pos = encoding.read_byte(0)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise BadRequest(f"transactions of kind {kind} cannot be submitted: send 1, 3 to 7, 10 or 11")
    request, end = decoder(pos)
    if end == BAD or end != len(data) or request is None:
        raise BadRequest("the transaction does not decode: check varints, ranges and length (times relative to 0)")
    return request


def _decode_actions(pos: int) -> tuple[Request | None, int]:
    account, pos = encoding.read_varint(pos)
    packed, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    listed, pos = encoding.read_actions(pos, (packed & 0x1F) + 1)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if account > 0xFFFFFFFF:
        return None, pos
    return ActionsRequest(account, packed >> 5, nonce, expiry, listed, r, vs), pos


def _decode_withdraw(pos: int) -> tuple[Request | None, int]:
    account, pos = encoding.read_varint(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    recipient, pos = encoding.read_fixed(pos, 20)
    amount, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if account > 0xFFFFFFFF:
        return None, pos
    return WithdrawRequest(account, nonce, expiry, recipient, amount, r, vs), pos


def _decode_set_key(pos: int) -> tuple[Request | None, int]:
    account, pos = encoding.read_varint(pos)
    slot, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    address, pos = encoding.read_fixed(pos, 20)
    key_expiry, pos = encoding.read_varint(pos)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    if account > 0xFFFFFFFF:
        return None, pos
    return SetKeyRequest(account, slot, nonce, expiry, address, key_expiry, r, vs), pos


def _decode_oracle(pos: int) -> tuple[Request | None, int]:
    publisher, pos = encoding.read_byte(pos)
    count, pos = encoding.read_byte(pos)
    time, pos = encoding.read_time(pos)
    markets, prices, pos = encoding.read_prices(pos, count)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    return OracleRequest(publisher, time, markets, prices, r, vs), pos


def _decode_liquidate(pos: int) -> tuple[Request | None, int]:
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    if account > 0xFFFFFFFF or market > 0xFFFF:
        return None, pos
    return LiquidateRequest(account, market), pos


def _decode_sweep(pos: int) -> tuple[Request | None, int]:
    market, pos = encoding.read_varint(pos)
    side, pos = encoding.read_byte(pos)
    return (None if market > 0xFFFF or side > TRIGGER_RISE else SweepRequest(market, side)), pos


def _decode_trigger_fire(pos: int) -> tuple[Request | None, int]:
    market, pos = encoding.read_varint(pos)
    direction, pos = encoding.read_byte(pos)
    return (None if market > 0xFFFF or direction > 1 else TriggerFireRequest(market, direction)), pos


def _decode_settle(pos: int) -> tuple[Request | None, int]:
    account, pos = encoding.read_varint(pos)
    market, pos = encoding.read_varint(pos)
    return (None if account > 0xFFFFFFFF or market > 0xFFFF else SettleRequest(account, market)), pos


_DECODERS = {
    ACTIONS: _decode_actions,
    WITHDRAW: _decode_withdraw,
    SET_KEY: _decode_set_key,
    ORACLE_PRICE: _decode_oracle,
    LIQUIDATE: _decode_liquidate,
    SWEEP: _decode_sweep,
    TRIGGER_FIRE: _decode_trigger_fire,
    SETTLE: _decode_settle,
}
