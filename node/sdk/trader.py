"""A trader: one account, one key slot, one connection. Signs, sends, checks the promise, and says what came of it.

    trader = Trader(client, signer, account)
    sent = await trader.place(0, "buy", price=600_000, lots=10)
    await trader.cancel(0, sent.client_ids[0])

Nonces are the time in ms (the later of this clock's and L2's, never twice), signatures live a minute. What the rules
refuse for a single action is raised as an error of the tree; a list answers with one status per action.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
from eth_hash.auto import keccak

from node.l1.keys import Signer
from node.rpc.methods.shapes import FillInfo
from node.sdk.client import Client
from node.sdk.errors import BrokenPromise, NotFound, from_status
from node.sdk.orders import SelfTrade, Side, TimeInForce, amend, cancel, cancel_all, fields_of, place, trigger
from node.sdk.promises import verify
from node.stf import encoding
from node.stf.types import AMEND, CANCEL, CANCEL_AT, OPTIONS, Action

EXPIRY_MS: Final = 60_000
SLACK_PPM: Final = 100_000  # of the price band that a market order keeps clear of: the mark moves while it travels
PPM: Final = 1_000_000


class Sent(msgspec.Struct):
    """What the sequencer answered. ``statuses`` has one entry per action; times are L2 ms."""

    position: int
    hash: str
    kind: str
    status: str
    statuses: list[str]
    fills: list[FillInfo]
    time: int
    promise: dict[str, Any]
    bytes: int = 0
    """Size of the transaction on L1; 0 where a cancel or amend left finding the order to the sequencer."""
    client_ids: list[int] = []
    data: str = ""
    """The transaction's bytes, hex, where we know them: a claim after a broken promise needs them."""

    @property
    def filled(self) -> int:
        """Lots filled at once."""
        return sum(fill.lots for fill in self.fills)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Trader:
    """See the module. ``sequencer`` (20 bytes): whose promises count; None takes the node's word for who it is."""

    def __init__(
        self, client: Client, signer: Signer, account: int, *, slot: int = 0, sequencer: bytes | None = None,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self.client = client
        self.account = account
        self._signer = signer
        self._slot = slot
        self._sequencer = sequencer or client.network.sequencer
        self._clock = clock
        self._nonce = 0
        self._client_id = 0

    @property
    def owner(self) -> bytes:
        """Address of the key."""
        return self._signer.address

    def next_client_id(self) -> int:
        """An id that this trader has not used: the time, or one more."""
        self._client_id = max(self._client_id + 1, self._clock() % 2**40)
        return self._client_id

    # --- orders -------------------------------------------------------------------------------------------------------

    async def place(
        self, market: int, side: Side, *, price: int, lots: int, client_id: int | None = None,
        tif: TimeInForce = "GTC", reduce_only: bool = False, self_trade: SelfTrade = "CANCEL_RESTING", expiry: int = 0,
    ) -> Sent:
        """Place one order. Raises an AnchorlineError if the rules refuse it."""
        chosen = self.next_client_id() if client_id is None else client_id
        action = place(
            market, side, price, lots, client_id=chosen, tif=tif, reduce_only=reduce_only, self_trade=self_trade,
            expiry=expiry)
        return _single(await self.send([action]), "the order is refused")

    async def market_order(
        self, market: int, side: Side, *, lots: int, client_id: int | None = None, reduce_only: bool = False,
        slippage_ppm: int | None = None,
    ) -> Sent:
        """Trade at once with whatever the book has: an immediate order whose limit is the market's price band.

        ``slippage_ppm`` bounds how much worse than the mark it may trade; the band, less SLACK_PPM of itself, is the
        most. What the book does not have is cancelled: look at ``filled``. Raises an AnchorlineError.
        """
        found = next((item for item in await self.client.markets() if item.market == market), None)
        if found is None:
            raise NotFound(f"there is no market {market}")
        most = found.band_ppm * (PPM - SLACK_PPM) // PPM
        price = worst_price(side, found.mark, most if slippage_ppm is None else min(most, slippage_ppm))
        return await self.place(
            market, side, price=price, lots=lots, client_id=client_id, tif="IOC", reduce_only=reduce_only)

    async def amend(self, market: int, client_id: int, lots: int) -> Sent:
        """Make a resting order smaller; it keeps its place. Raises an AnchorlineError."""
        return _single(await self.send([amend(market, client_id, lots)]), "the amend is refused")

    async def trigger(
        self, market: int, side: Side, when: Literal["above", "below"], price: int, *, lots: int, limit: int = 0,
        client_id: int | None = None, expiry: int = 0,
    ) -> Sent:
        """A stop or take-profit: once the mark is at ``price`` or beyond, trade up to ``lots`` of the position away.

        ``limit`` bounds the price it trades at (0: the market's band). Anyone may fire it. Raises an AnchorlineError.
        """
        chosen = self.next_client_id() if client_id is None else client_id
        action = trigger(market, side, when, price, lots, client_id=chosen, limit=limit, expiry=expiry)
        return _single(await self.send([action]), "the trigger is refused")

    async def cancel_at(self, time_ms: int) -> Sent:
        """Set the dead man's switch: at this L2 time all of the account's orders die; 0 turns it off.

        Once it has fired, cancel everything in your markets before you set it anew. Raises an AnchorlineError.
        """
        return _single(await self.send([Action(op=CANCEL_AT, expiry=time_ms)]), "the switch is not set")

    async def allow_early_reduction(self, allow: bool) -> Sent:
        """Whether small parts of your positions may be sold early when volatility threatens the account."""
        return _single(await self.send([Action(op=OPTIONS, opt_in=int(allow))]), "the option is not set")

    async def cancel(self, market: int, client_id: int) -> Sent:
        """Cancel one order. Raises OrderNotFound and others."""
        return _single(await self.send([cancel(market, client_id)]), "the cancel is refused")

    async def cancel_all(self, market: int) -> Sent:
        """Cancel every order of the account in a market."""
        return _single(await self.send([cancel_all(market)]), "the cancel is refused")

    async def send(self, actions: Sequence[Action]) -> Sent:
        """1 to 32 actions under one signature; each has its own status. Raises if the whole list is refused."""
        listed = list(actions)
        nonce, expiry = self._stamp()
        signature = self._sign(encoding.actions_digest, self.account, self._slot, nonce, expiry, listed)
        params = {
            "account": self.account, "slot": self._slot, "nonce": nonce, "expiry": expiry,
            "actions": [fields_of(action) for action in listed], **self._claim(signature)}
        sent: Sent = await self.client.call("al_sendActions", params, Sent)
        sent.client_ids = [action.client_id for action in listed]
        found = any(action.op in (CANCEL, AMEND) and action.seq == 0 for action in listed)
        data = b"" if found else encoding.write_actions(
            self.account, self._slot, nonce, expiry, listed, _compact(signature), sent.time)
        return self._checked(sent, data)

    # --- owner --------------------------------------------------------------------------------------------------------

    async def withdraw(self, amount: int, recipient: bytes) -> Sent:
        """Move free collateral (micro-USD) to an L1 address; payable there once the batch is final."""
        nonce, expiry = self._stamp()
        to = int.from_bytes(recipient, "big")
        signature = self._sign(encoding.withdraw_digest, self.account, nonce, expiry, to, amount)
        params = {
            "account": self.account, "nonce": nonce, "expiry": expiry, "recipient": "0x" + recipient.hex(),
            "amount": amount, **self._claim(signature)}
        sent: Sent = await self.client.call("al_sendWithdraw", params, Sent)
        data = encoding.write_withdraw(self.account, nonce, expiry, to, amount, _compact(signature), sent.time)
        return _whole(self._checked(sent, data), "the withdrawal is refused")

    async def set_key(self, slot: int, address: bytes, key_expiry: int = 0) -> Sent:
        """Let a key trade (1 to 3; never withdraw), or disable it with the zero address. ``key_expiry``: L2 ms."""
        nonce, expiry = self._stamp()
        key = int.from_bytes(address, "big")
        signature = self._sign(encoding.set_key_digest, self.account, nonce, expiry, slot, key, key_expiry)
        params = {
            "account": self.account, "slot": slot, "nonce": nonce, "expiry": expiry, "address": "0x" + address.hex(),
            "key_expiry": key_expiry, **self._claim(signature)}
        sent: Sent = await self.client.call("al_sendSetKey", params, Sent)
        data = encoding.write_set_key(
            self.account, slot, nonce, expiry, key, key_expiry, _compact(signature), sent.time)
        return _whole(self._checked(sent, data), "the key is refused")

    # --- parts --------------------------------------------------------------------------------------------------------

    def _stamp(self) -> tuple[int, int]:
        """Nonce and expiry. A key's nonces start at the L2 time of its setting, so that time counts too."""
        now = max(self._clock(), self.client.seen_ms + 1)
        self._nonce = max(self._nonce + 1, now)
        return self._nonce, now + EXPIRY_MS

    def _sign(self, digest: Callable[..., bytes], *args: Any) -> bytes:
        encoding.set_domain(self.client.network.domain)
        return self._signer.sign_hash(digest(*args))

    def _claim(self, signature: bytes) -> dict[str, str]:
        return {"signature": "0x" + signature.hex(), "signer": "0x" + self._signer.address.hex()}

    def _checked(self, sent: Sent, data: bytes) -> Sent:
        """Raises BrokenPromise unless what we signed (where we know its bytes) is what was promised."""
        self.client.seen_ms = max(self.client.seen_ms, sent.time)
        sent.bytes, sent.data = len(data), "0x" + data.hex() if data else ""
        tx_hash = bytes.fromhex(sent.hash[2:])
        if data and keccak(data) != tx_hash:
            raise BrokenPromise("the sequencer promised another transaction than the one that was sent")
        if self._sequencer is not None:
            verify(self.client.network.domain, self._sequencer, sent.position, tx_hash, sent.promise, self._clock())
        return sent


def _single(sent: Sent, what: str) -> Sent:
    _whole(sent, what)
    if sent.statuses and sent.statuses[0] != "OK":
        raise from_status(sent.statuses[0], what)
    return sent


def _whole(sent: Sent, what: str) -> Sent:
    if sent.status != "OK":
        raise from_status(sent.status, what)
    return sent


def _compact(signature: bytes) -> bytes:
    """65 bytes r ‖ s ‖ v as 64 bytes of EIP-2098."""
    vs = int.from_bytes(signature[32:64], "big") | signature[64] << 255
    return signature[:32] + vs.to_bytes(32, "big")


def worst_price(side: Side, mark: int, ppm: int) -> int:
    """The limit in ticks that lets an order trade ``ppm`` worse than the mark, and no further."""
    if side == "buy":
        return mark * (PPM + ppm) // PPM
    return max(1, -(-mark * (PPM - ppm) // PPM))
