"""The submission methods: parameters in traders' words, checked here, into requests.

Money is micro-USD, sizes lots, prices ticks, times ms. Signatures are 65 bytes (r ‖ s ‖ v, v = 0, 1, 27 or 28) or 64
(EIP-2098) over the EIP-712 digest; ``signer`` is the address the client believes it signed with.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from node.derive.chain import Chain
from node.rpc.errors import ErrorKind, fail
from node.rpc.fields import Address, Count, HexData, bytes_of
from node.rpc.server import Registry
from node.stf.params import ACTIONS_MAX, PRICES_MAX, PUBLISHERS_MAX
from node.stf.types import (
    AMEND,
    BUY,
    CANCEL,
    CANCEL_ALL,
    CANCEL_AT,
    CANCEL_BOTH,
    CANCEL_RESTING,
    CANCEL_TAKER,
    FOK,
    GTC,
    IOC,
    OPTIONS,
    PLACE,
    POST_ONLY,
    SELL,
    TRIGGER,
    TRIGGER_FALL,
    TRIGGER_RISE,
    Action,
)
from node.transport import Deferred
from sequencer.ingress import Ingress, Submitted
from sequencer.promises import find_promise, promise_info
from sequencer.requests import (
    ActionsRequest,
    BadRequest,
    LiquidateRequest,
    OracleRequest,
    SetKeyRequest,
    SettleRequest,
    SweepRequest,
    TriggerFireRequest,
    WithdrawRequest,
    decode_request,
)

U8 = Annotated[int, Meta(ge=0, le=255)]
U16 = Annotated[int, Meta(ge=0, le=65_535)]
U32 = Annotated[int, Meta(ge=0, le=4_294_967_295)]
Slot = Annotated[int, Meta(ge=0, le=7)]
Publisher = Annotated[int, Meta(ge=0, le=PUBLISHERS_MAX - 1)]
Signature = Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{128}([0-9a-fA-F]{2})?$", title="64 or 65 bytes in hex")]

# an action's op, and the bit that goes with it: a trigger's direction, or what an option is set to
_OPS: Final = {
    "place": (PLACE, 0), "cancel": (CANCEL, 0), "cancelAll": (CANCEL_ALL, 0), "amend": (AMEND, 0),
    "cancelAt": (CANCEL_AT, 0), "triggerBelow": (TRIGGER, 0), "triggerAbove": (TRIGGER, 1),
    "denyEarlyReduction": (OPTIONS, 0), "allowEarlyReduction": (OPTIONS, 1),
}
_SIDES: Final = {"": BUY, "buy": BUY, "sell": SELL, "triggerBelow": TRIGGER_FALL, "triggerAbove": TRIGGER_RISE}
_TIMES_IN_FORCE: Final = {"": GTC, "GTC": GTC, "IOC": IOC, "FOK": FOK, "POST_ONLY": POST_ONLY}
_SELF_TRADES: Final = {
    "": CANCEL_RESTING, "CANCEL_RESTING": CANCEL_RESTING, "CANCEL_TAKER": CANCEL_TAKER, "CANCEL_BOTH": CANCEL_BOTH,
}
_ORDERING: Final = ("place", "triggerBelow", "triggerAbove")


class ActionFields(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """One action. A cancel needs market and clientId (price, side and seq are found), an amend its new lots too;
    cancelAll needs the market; cancelAt sets the dead man's switch to ``expiry`` (0: off).

    A trigger is a reduce-only order that waits until the mark is at ``price`` or beyond; its ``limit`` (0: the market's
    band) bounds what it then trades at. A trigger that a cancel names by its place has triggerBelow or triggerAbove as
    side. An order or trigger whose clientId a live one of the account and market has is refused: DuplicateOrderId.
    """

    action: Literal[
        "place", "cancel", "cancelAll", "amend", "cancelAt", "triggerBelow", "triggerAbove", "denyEarlyReduction",
        "allowEarlyReduction",
    ]
    market: U16 | None = None
    side: Literal["buy", "sell", "triggerBelow", "triggerAbove", ""] = ""
    lots: Count = 0
    price: U32 = 0
    time_in_force: Literal["GTC", "IOC", "FOK", "POST_ONLY", ""] = ""
    reduce_only: bool = False
    self_trade: Literal["CANCEL_RESTING", "CANCEL_TAKER", "CANCEL_BOTH", ""] = ""
    limit: U32 = 0
    client_id: Count = 0
    expiry: Count = 0
    seq: Count = 0


class PriceFields(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One market's price, ticks."""

    market: U16
    price: U32


Listed = Annotated[list[ActionFields], Meta(min_length=1, max_length=ACTIONS_MAX)]
Prices = Annotated[list[PriceFields], Meta(min_length=1, max_length=PRICES_MAX)]


def compact(signature: str) -> tuple[int, int]:
    """(r, yParityAndS) of a signature in hex. Raises RpcError for a recovery byte that is none."""
    data = bytes.fromhex(signature[2:])
    r, s = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:64], "big")
    if len(data) == 64:
        return r, s
    if data[64] not in (0, 1, 27, 28) or s >> 255:
        raise fail(ErrorKind.BadSignature, "the signature's last byte must be 0, 1, 27 or 28, and s below 2**255",
                   param="signature")
    return r, s | (data[64] - 27 if data[64] >= 27 else data[64]) << 255


def to_action(fields: ActionFields, index: int) -> Action:
    """The rules' action. Raises RpcError naming the field that it lacks."""
    op, bit = _OPS[fields.action]
    side = _SIDES[fields.side]
    if fields.market is None and op not in (CANCEL_AT, OPTIONS):
        raise fail(ErrorKind.InvalidParams, f"{fields.action} needs a market", param=f"actions[{index}].market")
    if fields.action in _ORDERING and fields.side not in ("buy", "sell"):
        problem = f"{fields.action} needs a side: buy or sell"
        raise fail(ErrorKind.InvalidParams, problem, param=f"actions[{index}].side")
    if side > SELL and op != CANCEL:
        raise fail(ErrorKind.InvalidParams, "only a cancel names a trigger's side", param=f"actions[{index}].side")
    return Action(
        op=op, market=fields.market or 0, side=side, price=fields.price, lots=fields.lots,
        tif=_TIMES_IN_FORCE[fields.time_in_force], reduce_only=int(fields.reduce_only), client_id=fields.client_id,
        expiry=fields.expiry, seq=fields.seq, self_trade=_SELF_TRADES[fields.self_trade], limit=fields.limit,
        direction=bit if op == TRIGGER else 0, opt_in=bit if op == OPTIONS else 0)


def _address(text: str) -> int:
    return int(text, 16)


class Submissions:
    """The methods over one ingress."""

    def __init__(self, ingress: Ingress, chain: Chain) -> None:
        self._ingress = ingress
        self._chain = chain

    def register(self, registry: Registry) -> None:
        """Add the methods."""
        for name, function in (
            ("al_sendActions", self.send_actions), ("al_sendWithdraw", self.send_withdraw),
            ("al_sendSetKey", self.send_set_key), ("al_sendOraclePrice", self.send_oracle_price),
            ("al_liquidate", self.liquidate), ("al_sweep", self.sweep), ("al_fireTrigger", self.fire_trigger),
            ("al_settle", self.settle), ("al_sendRaw", self.send_raw), ("al_promise", self.promise),
        ):
            registry.add(name, function)

    def send_actions(
        self, account: U32, slot: Slot, nonce: Count, expiry: Count, actions: Listed, signature: Signature,
        signer: Address,
    ) -> Deferred[Submitted]:
        """Orders and cancels under one signature: answers position, statuses, fills and the promise."""
        listed = [to_action(fields, index) for index, fields in enumerate(actions)]
        r, vs = compact(signature)
        return self._ingress.offer(ActionsRequest(account, slot, nonce, expiry, listed, r, vs), _address(signer))

    def send_withdraw(
        self, account: U32, nonce: Count, expiry: Count, recipient: Address, amount: Count, signature: Signature,
        signer: Address,
    ) -> Deferred[Submitted]:
        """Free collateral to an L1 address, payable once its batch is final."""
        r, vs = compact(signature)
        request = WithdrawRequest(account, nonce, expiry, _address(recipient), amount, r, vs)
        return self._ingress.offer(request, _address(signer))

    def send_set_key(
        self, account: U32, slot: U8, nonce: Count, expiry: Count, address: Address, key_expiry: Count,
        signature: Signature, signer: Address,
    ) -> Deferred[Submitted]:
        """Set a trade-only key, or disable it with the zero address."""
        r, vs = compact(signature)
        request = SetKeyRequest(account, slot, nonce, expiry, _address(address), key_expiry, r, vs)
        return self._ingress.offer(request, _address(signer))

    def send_oracle_price(
        self, publisher: Publisher, time: Count, prices: Prices, signature: Signature, signer: Address | None = None,
    ) -> Deferred[Submitted]:
        """A publisher's prices; markets ascending."""
        markets = [item.market for item in prices]
        if any(a >= b for a, b in pairwise(markets)):
            raise fail(ErrorKind.InvalidParams, "markets must be in ascending order, each once", param="prices")
        r, vs = compact(signature)
        request = OracleRequest(publisher, time, markets, [item.price for item in prices], r, vs)
        return self._ingress.offer(request, _address(signer) if signer else 0)

    def liquidate(self, account: U32, market: U16) -> Deferred[Submitted]:
        """The next step down the ladder of liquidation, or up again; account 0 is the market's insurance."""
        return self._ingress.offer(LiquidateRequest(account, market), 0)

    def sweep(self, market: U16, side: Annotated[int, Meta(ge=0, le=3)]) -> Deferred[Submitted]:
        """Remove dead orders from the edge of a book: side 0 bids, 1 asks, 2 falling triggers, 3 rising ones."""
        return self._ingress.offer(SweepRequest(market, side), 0)

    def fire_trigger(self, market: U16, direction: Annotated[int, Meta(ge=0, le=1)]) -> Deferred[Submitted]:
        """Execute the first trigger that the mark has risen to (direction 1) or fallen to (0)."""
        return self._ingress.offer(TriggerFireRequest(market, direction), 0)

    def settle(self, account: U32, market: U16) -> Deferred[Submitted]:
        """Close an account's position in a market that settles."""
        return self._ingress.offer(SettleRequest(account, market), 0)

    def send_raw(self, transaction: HexData, signer: Address | None = None) -> Deferred[Submitted]:
        """A transaction as it would be forced through L1: its times are relative to 0."""
        try:
            request = decode_request(bytes_of(transaction))
        except BadRequest as error:
            raise fail(ErrorKind.BadTransaction, str(error), param="transaction") from None
        return self._ingress.offer(request, _address(signer) if signer else 0)

    def promise(self, position: Count) -> dict[str, Any]:
        """The promise that a position was given, with the path to its root; once its block is sealed."""
        kept = find_promise(self._chain, position)
        if kept is None:
            raise fail(ErrorKind.NotFound, f"no sealed block has a promised position {position}", param="position")
        return promise_info(kept)
