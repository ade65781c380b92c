"""The transaction manager: gets an intent onto L1 exactly once, at a fee that the market takes.

Semantics follow op-service/txmgr. An *intent* has a caller-chosen id; the id gets a nonce once, durably, before
anything is published, so a second ``send`` of the same id (from a retry or after a restart) continues the same
transaction and can never post a second one. While a transaction waits it is replaced with +10% fees every
``resubmit_s`` up to a limit, published again when a reorg takes it off the chain, and done when ``confirmations``
blocks lie on top. When its nonce turns out to be used by a transaction that is not ours (the node says "nonce too low"
repeatedly, no version has a receipt, and the confirmed nonce is past), the intent is given up, loudly; it is given up
for the caller to send under another id when an older transaction of ours, which a reorg had taken, is mined again under
its nonce.

What can be refused is refused before a nonce is taken (a revert, no money, too large), so it costs nothing and leaves
no gap. After that an intent stays in flight until it is mined, whatever the network does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog
import trio
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address

from node.errors import Critical, Temporary

from .client import L1Client
from .fees import Fees, first_offer, next_offer
from .intents import (
    TX_GAS_MAX,
    Intent,
    SendAborted,
    SendDisplaced,
    SenderConfig,
    SenderEvents,
    TxReverted,
    check_size,
)
from .journal import Journal, Record, Version
from .keys import Signer
from .types import CallReverted, L1Receipt, NodeRefused

log = structlog.get_logger("l1_sender")

__all__ = [
    "Intent", "SendAborted", "SendDisplaced", "SenderConfig", "SenderEvents", "TxReverted", "TxSender", "open_sender",
]

DISPLACED: Final = "an earlier transaction"  # how the reason begins, in the journal too
GAP_MAX = 64  # nonces that a reorganisation gives back
UNDERPRICED = ("underpriced", "less than block base fee", "fee too low", "fee cap less")


@dataclass(slots=True)
class _Flight:
    """An intent on its way, and who waits for it."""

    record: Record
    done: trio.Event = field(default_factory=trio.Event)
    receipt: L1Receipt | None = None
    failure: Exception | None = None
    on_wire: bool = False  # the node took the newest version
    underpriced: bool = False  # the node wants more than the newest version pays
    too_low: int = 0  # times the node said that the nonce is used
    resubmit_at: float = 0.0


class TxSender:
    """One key's transactions. Make it with ``open_sender``; ``send`` may be called from many tasks."""

    def __init__(self, client: L1Client, signer: Signer, journal: Journal, config: SenderConfig, chain_id: int,
                 nursery: trio.Nursery, events: SenderEvents | None = None) -> None:
        self._client = client
        self._signer = signer
        self._journal = journal
        self._config = config
        self._chain_id = chain_id
        self._nursery = nursery
        self._events = events
        self._flights: dict[str, _Flight] = {}
        self._assigning = trio.Lock()
        self._slots = trio.Semaphore(config.in_flight_max)

    @property
    def address(self) -> bytes:
        """The account that pays."""
        return self._signer.address

    @property
    def in_flight(self) -> int:
        """Intents that are published and not finished."""
        return len(self._flights)

    def known(self, intent_id: str) -> bool:
        """Whether this intent was ever given a nonce (finished ones included)."""
        return intent_id in self._journal.records

    async def send(self, intent: Intent) -> L1Receipt:
        """Get ``intent`` mined and confirmed; returns its receipt. Idempotent in ``intent.id``.

        Raises CallReverted (it would revert now), Temporary or ValueError (nothing was sent in these cases), TxReverted
        (it was mined and failed), SendAborted. Cancelling the caller does not stop the transaction.
        """
        flight = self._flights.get(intent.id) or await self._start(intent)
        if flight is None:
            return await self._past(self._journal.records[intent.id])
        await flight.done.wait()
        return _outcome(flight)

    async def _start(self, intent: Intent) -> _Flight | None:
        """A new flight, or the one that another task started meanwhile; None when the intent has ended before."""
        if intent.id in self._journal.records:
            return None
        await self._slots.acquire()
        try:
            async with self._assigning:
                if intent.id in self._journal.records:
                    self._slots.release()
                    return self._flights.get(intent.id)
                return await self._take_off(intent)
        except BaseException:
            self._slots.release()
            raise

    def resume(self) -> int:
        """Continue what a previous run left in flight; returns how many. Called once by ``open_sender``."""
        waiting = [record for record in self._journal.records.values() if record.open]
        for record in waiting:
            if record.chain_id != self._chain_id or record.sender != self.address:
                raise Critical(f"the journal's transaction {record.intent_id} is of another key or chain; "
                               "use the journal with the key and chain that it was written with")
        for record in sorted(waiting, key=lambda item: item.nonce):
            flight = _Flight(record)
            self._flights[record.intent_id] = flight
            self._nursery.start_soon(self._fly, flight, False)
        self._report_pending()
        return len(waiting)

    def _report_pending(self) -> None:
        if self._events is not None:
            self._events.pending(len(self._flights))

    # -- taking off

    async def _take_off(self, intent: Intent) -> _Flight:
        """Check, take a nonce durably, hand over to a task of its own. Nothing is awaited once the nonce is known."""
        check_size(intent)
        gas = await self._gas(intent)
        offer = await self._first_offer()
        balance = await self._client.balance(self.address, block="pending")
        if balance < gas * offer.cap + intent.value:
            raise Temporary(f"account 0x{self.address.hex()} has {balance} wei, {intent.id} needs "
                            f"{gas * offer.cap + intent.value}; fund it")
        nonce = await self._next_nonce()
        record = Record(intent.id, self._chain_id, self.address, nonce, intent.to, intent.data, intent.value, gas)
        self._journal.assign(record)
        flight = _Flight(record)
        self._flights[intent.id] = flight
        self._report_pending()
        self._nursery.start_soon(self._fly, flight, True)
        return flight

    async def _gas(self, intent: Intent) -> int:
        if intent.gas is not None:
            return min(intent.gas, TX_GAS_MAX)
        to = intent.to or None
        estimate = await self._client.estimate_gas(to, intent.data, sender=self.address, value=intent.value)
        return min(estimate * (100 + self._config.gas_margin_percent) // 100, TX_GAS_MAX)

    async def _next_nonce(self) -> int:
        """The first one that neither L1 nor an intent in flight has: a gap that a reorganisation left is filled, or
        nothing after it would ever be mined."""
        nonce = await self._client.nonce(self.address, block="pending")
        ours = {flight.record.nonce for flight in self._flights.values()}
        while nonce in ours:
            nonce += 1
        return nonce

    async def _first_offer(self) -> Fees:
        head = await self._client.head()
        return first_offer(self._config.fees, head.base_fee, await self._client.priority_fee())

    # -- publishing

    async def _publish(self, flight: _Flight, offer: Fees) -> None:
        """Sign, remember, send one version. Raises NodeRefused or Temporary; "already known" is success."""
        record = flight.record
        raw = self._signed(record, offer)
        version = Version(keccak(raw).hex(), offer.cap, offer.tip)
        bump = bool(record.versions)
        if version not in record.versions:
            self._journal.publish(record, version)
        log.info("tx_published", intent=record.intent_id, nonce=record.nonce, tx=version.tx_hash, fee_cap=offer.cap,
                 tip=offer.tip, gas=record.gas, bump=bump)
        try:
            await self._client.send_raw(raw)
        except NodeRefused as error:
            if not _already_known(error):
                raise
        if self._events is not None:
            self._events.published(bump)

    def _signed(self, record: Record, offer: Fees) -> bytes:
        """One version's bytes; the same every time."""
        fields = {
            "type": 2, "chainId": self._chain_id, "nonce": record.nonce, "gas": record.gas, "value": record.value,
            "data": record.data, "maxFeePerGas": offer.cap, "maxPriorityFeePerGas": offer.tip,
        }
        if record.to:
            fields["to"] = to_checksum_address(record.to)
        return self._signer.sign_transaction(fields)

    async def _republish(self, flight: _Flight, *, bump: bool) -> None:
        """Publish the newest version again, or one that pays more if the market and the limits let it.

        A refusal is noted in the flight; Temporary propagates.
        """
        last = _last_offer(flight.record)
        offer = last
        if last is None or bump:
            head, tip = await self._client.head(), await self._client.priority_fee()
            offer = (next_offer(self._config.fees, last, head.base_fee, tip) if last
                     else first_offer(self._config.fees, head.base_fee, tip))
        if offer is None:
            log.warning("fee_limit_reached", intent=flight.record.intent_id, fee_cap=last.cap if last else 0)
            offer = last
        assert offer is not None, "there is a last offer when the next one is refused"
        flight.on_wire = flight.underpriced = False
        try:
            await self._publish(flight, offer)
        except NodeRefused as error:
            flight.too_low += "nonce too low" in error.message
            flight.underpriced = any(words in error.message for words in UNDERPRICED)
            log.warning("tx_refused", intent=flight.record.intent_id, reason=error.message, too_low=flight.too_low)
        else:
            flight.on_wire = True

    # -- flying

    async def _fly(self, flight: _Flight, holds_slot: bool) -> None:
        """Drive one intent to its end; whatever happens on the way, the record stays for a restart."""
        try:
            while not flight.done.is_set():
                try:
                    await self._step(flight)
                except Temporary as error:
                    log.warning("tx_check_failed", intent=flight.record.intent_id, reason=str(error))
                if not flight.done.is_set():
                    await trio.sleep(self._config.poll_s)
        finally:
            if flight.done.is_set():
                self._flights.pop(flight.record.intent_id, None)
                self._report_pending()
                if holds_slot:
                    self._slots.release()

    async def _step(self, flight: _Flight) -> None:
        """One look: finish, wait, or publish (again)."""
        receipt = await self._find_receipt(flight.record)
        if receipt is not None:
            flight.on_wire, flight.too_low = False, 0  # should a reorg undo it, it is published again at once
            head = await self._client.head()
            if head.number >= receipt.block_number + self._config.confirmations:
                await self._land(flight, receipt)
            return
        if flight.too_low >= self._config.nonce_too_low_max and await self._nonce_is_past(flight.record):
            await self._abort(flight)
            return
        overdue = trio.current_time() >= flight.resubmit_at
        if flight.on_wire and overdue:
            await self._fill_gap(flight.record)
        if not flight.on_wire or overdue:
            replace = bool(flight.record.versions) and ((flight.on_wire and overdue) or flight.underpriced)
            flight.resubmit_at = trio.current_time() + self._config.resubmit_s
            await self._republish(flight, bump=replace)

    async def _fill_gap(self, record: Record) -> None:
        """What a reorganisation took of our finished transactions below this nonce is published again, as it was:
        nobody waits for it, but nothing after it can be mined. (Many nodes put it back into their pool themselves.)"""
        first = await self._client.nonce(self.address)
        flying = {flight.record.nonce for flight in self._flights.values()}
        lost = {other.nonce: other for other in self._journal.records.values() if other.versions and not other.open}
        for nonce in range(first, min(record.nonce, first + GAP_MAX)):
            if nonce not in flying and nonce in lost:
                last = _last_offer(lost[nonce])
                assert last is not None, "it has versions"
                log.warning("tx_lost_published_again", intent=lost[nonce].intent_id, nonce=nonce,
                            waiting=record.intent_id)
                try:
                    await self._client.send_raw(self._signed(lost[nonce], last))
                except NodeRefused as error:
                    log.warning("tx_refused", intent=lost[nonce].intent_id, reason=error.message)

    async def _nonce_is_past(self, record: Record) -> bool:
        """Whether a confirmed block already used this nonce (a node that is merely ahead does not count)."""
        head = await self._client.head()
        depth = min(self._config.confirmations, head.number)
        return await self._client.nonce(self.address, block=head.number - depth) > record.nonce

    async def _find_receipt(self, record: Record) -> L1Receipt | None:
        """Any version may have been mined; the newest is the likeliest."""
        for version in reversed(record.versions):
            receipt = await self._client.receipt(bytes.fromhex(version.tx_hash))
            if receipt is not None:
                return receipt
        return None

    async def _land(self, flight: _Flight, receipt: L1Receipt) -> None:
        record = flight.record
        if not receipt.success:
            flight.failure = TxReverted(record.intent_id, receipt, await self._why(record, receipt))
        self._journal.finish(record, tx_hash=receipt.tx_hash)
        flight.receipt = receipt
        log.info("tx_confirmed", intent=record.intent_id, tx=receipt.tx_hash.hex(), block=receipt.block_number,
                 gas_used=receipt.gas_used, success=receipt.success)
        if self._events is not None:
            self._events.finished(receipt)
        flight.done.set()

    async def _why(self, record: Record, receipt: L1Receipt) -> str:
        """Replay a failed call on the state before its block; the best that is known without tracing."""
        if not record.to:
            return "contract creation failed"
        try:
            await self._client.call(record.to, record.data, sender=self.address, value=record.value, gas=record.gas,
                                    block=receipt.block_number - 1)
        except CallReverted as error:
            return error.reason or f"0x{error.data.hex()}"
        except Temporary:
            return "not known: the L1 node could not replay it"
        return "out of gas" if receipt.gas_used >= record.gas * 63 // 64 else "another transaction came first"

    async def _abort(self, flight: _Flight) -> None:
        record = flight.record
        ours = await self._mined_with(record.nonce)
        if ours:
            reason = f"{DISPLACED} of nonce {record.nonce} is on L1: {ours}, which a reorganisation had taken"
            flight.failure = SendDisplaced(reason)
        else:
            reason = (f"L1 transaction {record.intent_id}: nonce {record.nonce} was used by a transaction that is not "
                      f"ours; is the key of 0x{self.address.hex()} used elsewhere?")
            flight.failure = SendAborted(reason)
        self._journal.finish(record, failure=reason)
        log.error("tx_aborted", intent=record.intent_id, nonce=record.nonce, mined_instead=ours)
        if self._events is not None:
            self._events.finished(None)
        flight.done.set()

    async def _mined_with(self, nonce: int) -> str:
        """The intent of ours that L1 has under a nonce; empty if there is none. Raises Temporary."""
        for record in reversed(self._journal.records.values()):
            if record.nonce == nonce and await self._find_receipt(record) is not None:
                return record.intent_id
        return ""

    async def _past(self, record: Record) -> L1Receipt:
        """The outcome of an intent that ended before."""
        if record.failure.startswith(DISPLACED):
            raise SendDisplaced(record.failure)
        if record.failure:
            raise SendAborted(record.failure)
        receipt = await self._client.receipt(record.tx_hash)
        if receipt is None:
            raise Temporary(f"L1 node does not know 0x{record.tx_hash.hex()}, which was confirmed; it may be behind")
        if not receipt.success:
            raise TxReverted(record.intent_id, receipt, "it was mined and failed")
        return receipt


def _outcome(flight: _Flight) -> L1Receipt:
    if flight.failure is not None:
        raise flight.failure
    assert flight.receipt is not None, "a finished flight has a receipt or a failure"
    return flight.receipt


def _last_offer(record: Record) -> Fees | None:
    if not record.versions:
        return None
    return Fees(record.versions[-1].cap, record.versions[-1].tip)


def _already_known(error: NodeRefused) -> bool:
    text = error.message.lower()
    return "already known" in text or "already imported" in text or "alreadyknown" in text


@asynccontextmanager
async def open_sender(client: L1Client, signer: Signer, journal: Journal, config: SenderConfig, *,
                      events: SenderEvents | None = None) -> AsyncIterator[TxSender]:
    """A running sender; continues what the journal says is in flight. Leaving cancels its tasks, not the transactions.

    Raises Temporary when L1 cannot be reached, Critical for a journal of another key or chain.
    """
    config.check()
    chain_id = await client.chain_id()
    async with trio.open_nursery() as nursery:
        sender = TxSender(client, signer, journal, config, chain_id, nursery, events)
        resumed = sender.resume()
        if resumed:
            log.info("txs_resumed", count=resumed)
        yield sender
        nursery.cancel_scope.cancel()
