"""The liquidity provider as a service: a verifier whose RPC also buys claims, and collects them once L1 pays.

    al_quoteClaim(id)                what we pay for a withdrawal's claim now, and the offer to sign
    al_sellClaim(offer, signature)   check it on our own chain, buy it on L1 in one transaction
    al_claimSale(digest)             how a purchase went

A purchase is an intent named by the offer's digest (node/l1/sender.py), so it reaches L1 exactly once through restarts;
so is a collection. What is held is read from L1's own events, what is under way from the sender's journal. Cancellation
is shutdown; what is in flight then goes on at the next start.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import structlog
import trio

from node.config import Config
from node.errors import Temporary
from node.l1.claims import Offer, decode_buy, digest, encode_buy
from node.l1.fees import FeePolicy
from node.l1.intents import SendAborted, TxReverted
from node.l1.journal import Journal
from node.l1.keys import Signer
from node.l1.sender import Intent, SenderConfig, open_sender
from node.l1.sender_metrics import SenderMetrics
from node.l1.types import CallReverted
from node.liquidity.desk import USD, refuse
from node.liquidity.holdings import Holding
from node.liquidity.shop import Sale, Shop, open_shop
from node.rpc.errors import ErrorKind, fail
from node.rpc.fields import Count, Hash32, HexData, bytes_of, hex_of
from node.rpc.methods.claims import OfferInfo, QuoteInfo, SaleInfo, offer_of
from node.rpc.server import Registry
from node.service import Verifier, run_verifier
from node.transport import Bound

log = structlog.get_logger("liquidity")

ANSWER_S: Final = 20.0  # then a seller is told that the purchase is on its way
SALES_KEPT: Final = 1_024
FAULTY_MAX: Final = 1_024
ASKING_MAX: Final = 16  # quotes and sales that are looked at once
BACKOFF_MAX_S: Final = 30.0
GWEI: Final = 10**9
_BUY: Final = "buy "
_BLAMED: Final = ("NOT_OWNER", "USED")  # what only the seller can bring about while a purchase is on its way

T = TypeVar("T")


async def run(
    config: Config, signer: Signer, *, task_status: trio.TaskStatus[Bound] = trio.TASK_STATUS_IGNORED
) -> None:
    """Provide liquidity until cancelled. started() with the RPC server's address.

    Raises ConfigError, or Critical: another rollup's data, another process on the datadir, no market at the rollup.
    """
    config.check("liquidity")
    provider = Provider(config, signer)
    await run_verifier(config, role="liquidity", on_ready=provider.run, extend=provider.register,
                       task_status=task_status)


class Provider:
    """The RPC methods, and the task that buys and collects. One L1 key, one verifier."""

    def __init__(self, config: Config, signer: Signer) -> None:
        self._config = config.liquidity
        self._poll_s = config.l1.poll_ms / 1_000
        self._datadir = config.datadir
        self._signer = signer
        self._asking = trio.CapacityLimiter(ASKING_MAX)
        self._sales: dict[bytes, Sale] = {}
        self._faulty: dict[bytes, str] = {}
        self._open: Shop | None = None

    # --- RPC ----------------------------------------------------------------------------------------------------------

    def register(self, registry: Registry) -> None:
        """Add the methods to a verifier's RPC."""
        for name, function in (
            ("al_quoteClaim", self.quote_claim), ("al_sellClaim", self.sell_claim), ("al_claimSale", self.claim_sale),
        ):
            registry.add(name, function)

    async def quote_claim(self, id: Count) -> QuoteInfo:
        """What a withdrawal's claim brings now, and the offer that its owner signs for that."""
        async with self._turn():
            shop = self._shop()
            self._check_free(id)
            return await _asked(shop.desk.quote(id, shop.total(self._sales)))

    async def sell_claim(self, offer: OfferInfo, signature: HexData) -> SaleInfo:
        """Sell a claim: checked on our own chain, then bought on L1. The same offer again answers how it went."""
        async with self._turn():
            sale = await self._begin(offer_of(offer), bytes_of(signature))
        with trio.move_on_after(ANSWER_S):
            await sale.done.wait()
        return self._info(sale)

    def claim_sale(self, digest: Hash32) -> SaleInfo:
        """How a purchase of this run went."""
        sale = self._sales.get(bytes_of(digest))
        if sale is None:
            raise fail(ErrorKind.NotFound, "no such purchase since this provider started: L1 knows", param="digest")
        return self._info(sale)

    def _info(self, sale: Sale) -> SaleInfo:
        shop = self._shop()
        state_name: Any = sale.state
        return SaleInfo(hex_of(digest(shop.market, sale.offer)), state_name, hex_of(sale.l1_tx), sale.reason)

    def _turn(self) -> trio.CapacityLimiter:
        """A place among those that are served. Raises RpcError when too many wait."""
        if self._asking.statistics().tasks_waiting >= ASKING_MAX:
            raise fail(ErrorKind.RateLimitExceeded, "too many ask at once: try again in a moment")
        return self._asking

    def _shop(self) -> Shop:
        if self._open is None:
            raise fail(ErrorKind.Syncing, "not ready yet: try again in a moment", reason="SYNCING")
        return self._open

    async def _begin(self, offer: Offer, signature: bytes) -> Sale:
        """The purchase of an offer, sent on its way if it is new and right."""
        shop = self._shop()
        name = digest(shop.market, offer)
        known = self._sales.get(name)
        if known is not None and known.state != "failed":
            return known
        if offer.seller in self._faulty:
            raise refuse("SELLER", "an earlier purchase from this seller failed on L1, at our cost: "
                         f"{self._faulty[offer.seller]}")
        others = {key: sale for key, sale in self._sales.items() if key != name}
        await _asked(shop.desk.check(offer, signature, shop.total(others)))
        await _asked(shop.check_money(offer.price, others))
        # nothing is awaited from here until the sale is noted: two offers cannot share a claim, or the last of a cap
        if self._open is not shop:
            raise fail(ErrorKind.Syncing, "L1 was out of reach for a moment: try again", reason="SYNCING")
        known = self._sales.get(name)
        if known is not None and known.state != "failed":
            return known
        self._check_free(offer.id)
        if shop.count(self._sales) >= self._config.claims_max:
            raise fail(ErrorKind.RateLimitExceeded, "we hold as many claims as we want to", reason="CLAIMS_MAX")
        if shop.total(self._sales) + offer.amount > self._config.max_total_usd * USD:
            raise fail(ErrorKind.RateLimitExceeded, "we hold as much in claims as we want to", reason="MAX_TOTAL")
        return self._note(shop, name, offer, encode_buy(offer, signature))

    def _check_free(self, number: int) -> None:
        if any(sale.offer.id == number for sale in self._sales.values() if sale.state == "sent"):
            raise refuse("BUSY", f"the claim of withdrawal {number} is being bought")

    def _note(self, shop: Shop, name: bytes, offer: Offer, data: bytes) -> Sale:
        """Remember a sale, and send it in a task of its own."""
        sale = self._sales[name] = Sale(offer)
        ended = [key for key, other in self._sales.items() if other.state != "sent"]
        for key in ended[:-SALES_KEPT]:
            del self._sales[key]
        shop.nursery.start_soon(self._buy, shop, name, sale, data)
        return sale

    async def _buy(self, shop: Shop, name: bytes, sale: Sale, data: bytes) -> None:
        offer = sale.offer
        log.info("claim_chosen", withdrawal=offer.id, amount=offer.amount, price=offer.price, digest=name.hex())
        try:
            receipt = await shop.sender.send(Intent(_BUY + name.hex(), shop.market.address, data))
            sale.state, sale.l1_tx = "bought", receipt.tx_hash
            shop.holdings.held[name.hex()] = Holding(
                offer.id, offer.recipient.hex(), offer.amount, offer.price, name.hex())
            shop.verifier.metrics.claims_bought.inc()
            shop.verifier.metrics.claims_fees.inc(offer.amount - offer.price)
            log.info("claim_bought", withdrawal=offer.id, price=offer.price, l1_tx=hex_of(receipt.tx_hash))
        except (CallReverted, Temporary, SendAborted, ValueError) as error:
            sale.state, sale.reason = "failed", str(error)
            log.warning("claim_not_bought", withdrawal=offer.id, reason=str(error))
        except TxReverted as error:
            sale.state, sale.reason, sale.l1_tx = "failed", error.reason, error.receipt.tx_hash
            if error.reason.startswith(_BLAMED) and len(self._faulty) < FAULTY_MAX:
                self._faulty[offer.seller] = error.reason
            log.warning("claim_not_bought", withdrawal=offer.id, reason=error.reason, cost_gas=error.receipt.gas_used)
        finally:
            sale.done.set()

    # --- the shop -----------------------------------------------------------------------------------------------------

    async def run(self, verifier: Verifier) -> None:
        """Keep the shop open beside a verifier; L1 that cannot be reached closes it for a while, loudly."""
        previous = verifier.node.extra
        verifier.node.extra = lambda: previous() | {"liquidity": self.status()}
        journal = verifier.host.open_journal(self._datadir / "liquidity.journal")
        backoff_s = self._poll_s
        try:
            while True:
                begun = trio.current_time()
                try:
                    await self._keep_open(verifier, journal)
                except* Temporary as error:
                    log.error("liquidity_closed", reason=_reason(error), what_to_do="check l1.rpc, and that "
                              f"{hex_of(self._signer.address)} has ether: nothing is bought or collected")
                if trio.current_time() - begun > BACKOFF_MAX_S:
                    backoff_s = self._poll_s
                await trio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        finally:
            journal.close()

    async def _keep_open(self, verifier: Verifier, journal: Journal) -> None:
        config = self._config
        settings = SenderConfig(
            confirmations=config.confirmations, resubmit_s=config.resubmit_ms / 1_000, poll_s=self._poll_s,
            fees=FeePolicy(fee_max=config.fee_max_gwei * GWEI))
        events = SenderMetrics(verifier.metrics)
        async with (
            open_sender(verifier.client, self._signer, journal, settings, events=events) as sender,
            trio.open_nursery() as nursery,
        ):
            shop = await open_shop(verifier, sender, nursery, self._config)
            try:
                self._resume(shop, journal)
                await shop.approve()
                self._open = shop
                log.info("liquidity_opened", account=hex_of(sender.address), held=len(shop.holdings.held),
                         owed=shop.holdings.total)
                await self._keep(shop)
            finally:
                self._close()

    def _close(self) -> None:
        """Purchases under way are forgotten here: the journal knows them, and `_resume` finds them there."""
        self._open = None
        self._sales = {name: sale for name, sale in self._sales.items() if sale.state != "sent"}

    def _resume(self, shop: Shop, journal: Journal) -> None:
        """Purchases that an earlier run has sent: they count, and are waited for."""
        for record in list(journal.records.values()):
            if record.open and record.intent_id.startswith(_BUY) and record.to == shop.market.address:
                name = bytes.fromhex(record.intent_id.removeprefix(_BUY))
                self._note(shop, name, decode_buy(record.data), record.data)

    async def _keep(self, shop: Shop) -> None:
        """At every new L1 block look at what is held, and have L1 pay what is due, all at once."""
        while True:
            if await shop.holdings.refresh():
                await shop.approve()
                async with trio.open_nursery() as nursery:
                    for item, data in shop.due():
                        nursery.start_soon(shop.collect, item, data)
            metrics = shop.verifier.metrics
            metrics.claims_held.set(shop.count(self._sales))
            metrics.claims_exposure.set(shop.total(self._sales))
            await trio.sleep(self._poll_s)

    def status(self) -> dict[str, Any]:
        """What a provider adds to al_status. Money is micro-USD."""
        shop = self._open
        config = self._config
        known = {"open": shop is not None, "account": hex_of(self._signer.address),
                 "max_claim": config.max_claim_usd * USD, "max_total": config.max_total_usd * USD}
        if shop is None:
            return known
        held = shop.holdings
        return known | {
            "market": hex_of(shop.market.address), "held": len(held.held), "owed": held.total,
            "under_way": len([sale for sale in self._sales.values() if sale.state == "sent"]),
            "paid": held.collected, "lost": held.lost}


async def _asked(work: Awaitable[T]) -> T:
    """An answer that needs L1; when L1 cannot be asked, the seller is told so."""
    try:
        return await work
    except Temporary as error:
        raise fail(ErrorKind.ExchangeNotAvailable, f"L1 cannot be asked now: {error}", reason="L1") from None


def _reason(error: BaseException) -> str:
    """The first failure inside nested groups, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
