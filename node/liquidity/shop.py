"""An open shop: desk, sender and holdings that belong together while L1 can be reached, and what they do with money."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak

from node.config import LiquidityConfig
from node.derive.records import BatchRecord
from node.errors import Critical, Temporary
from node.l1 import bindings
from node.l1.claims import Market, Offer
from node.l1.intents import SendAborted, TxReverted
from node.l1.sender import Intent, TxSender
from node.l1.types import CallReverted
from node.liquidity.desk import USD, Desk
from node.liquidity.holdings import Holding, Holdings
from node.rpc.errors import ErrorKind, fail
from node.service import Verifier
from node.stf import state, witness

log = structlog.get_logger("liquidity")

ATTEMPTS_MAX: Final = 8  # collections of one claim that may fail on L1 before somebody has to look


@dataclass(slots=True)
class Sale:
    """A purchase since this start. ``done`` once it has ended one way or the other, or the shop has closed."""

    offer: Offer
    state: str = "sent"
    l1_tx: bytes = b""
    reason: str = ""
    done: trio.Event = field(default_factory=trio.Event)


Sales = Mapping[bytes, Sale]


@dataclass(slots=True)
class Shop:
    """See the module. ``nursery`` holds the purchases; ``max_total`` micro-USD is what the market may ever be owed."""

    verifier: Verifier
    sender: TxSender
    nursery: trio.Nursery
    market: Market
    token: bytes
    desk: Desk
    holdings: Holdings
    max_total: int

    # --- what is at stake ---------------------------------------------------------------------------------------------

    def total(self, sales: Sales) -> int:
        """Micro-USD held or being bought."""
        return self.holdings.total + sum(offer.amount for offer in self._under_way(sales))

    def count(self, sales: Sales) -> int:
        """Claims held or being bought."""
        return len(self.holdings.held) + len(self._under_way(sales))

    def _under_way(self, sales: Sales) -> list[Offer]:
        """Offers on their way; L1's events may show a purchase before its sender calls it done."""
        held = self.holdings.held
        return [sale.offer for name, sale in sales.items() if sale.state == "sent" and name.hex() not in held]

    async def check_money(self, price: int, sales: Sales) -> None:
        """Raise RpcError unless the account can pay ``price`` on top of what is on its way."""
        needed = price + sum(offer.price for offer in self._under_way(sales))
        if min(await self._balance(), await self._allowance()) < needed:
            raise fail(ErrorKind.ExchangeNotAvailable, "we have not enough money at hand for this claim: try again "
                       "later, or ask another provider", reason="BALANCE")

    async def approve(self) -> None:
        """See that the market may take what the caps allow, and little more. Raises Temporary."""
        if await self._allowance() < self.max_total:
            data = _call("approve(address,uint256)", ["address", "uint256"], self.market.address, 4 * self.max_total)
            await self.sender.send(Intent(f"approve {secrets.token_hex(8)}", self.token, data))
            log.info("market_approved", market="0x" + self.market.address.hex(), amount=4 * self.max_total)

    async def _balance(self) -> int:
        return await self._token("balanceOf(address)", ["address"], self.sender.address)

    async def _allowance(self) -> int:
        return await self._token(
            "allowance(address,address)", ["address", "address"], self.sender.address, self.market.address)

    async def _token(self, signature: str, kinds: list[str], *args: Any) -> int:
        return int.from_bytes(await self.verifier.client.call(self.token, _call(signature, kinds, *args)), "big")

    # --- collecting ---------------------------------------------------------------------------------------------------

    def due(self) -> list[tuple[Holding, bytes]]:
        """Claims that L1 pays now, with the call that makes it."""
        record = self._final_batch()
        if record is None or record.header is None:
            return []
        view = self.verifier.chain.store.at_block(record.last_block)
        found = []
        for item in self.holdings.held.values():
            number, recipient, amount = item.claim
            key = state.withdrawal_key(number)
            word = int.from_bytes(recipient, "big") << 64 | amount
            if view.get(key) == word.to_bytes(32, "big"):
                path = witness.build_path(view, key)
                found.append((item, bindings.encode_call(
                    "withdraw", record.header, number, recipient, amount, path.bits, path.siblings)))
        return found

    def _final_batch(self) -> BatchRecord | None:
        """The newest batch that nothing can drop any more."""
        chain, finalized = self.verifier.chain, self.verifier.node.heads.finalized
        record = chain.batch_of(min(finalized, chain.head.number))
        if record is not None and record.last_block > finalized:
            record = chain.batch(record.number - 1)
        return record

    async def collect(self, item: Holding, data: bytes) -> None:
        """Have L1 pay a claim, exactly once; a failure that only time mends is tried again at the next look."""
        for attempt in range(ATTEMPTS_MAX):
            try:
                await self.sender.send(Intent(f"collect {item.digest} {attempt}", self.verifier.contract.address, data))
                return
            except TxReverted as error:
                log.warning("claim_not_collected", withdrawal=item.id, reason=error.reason, attempt=attempt + 1)
            except (CallReverted, Temporary, SendAborted) as error:
                log.warning("claim_not_collected", withdrawal=item.id, reason=str(error))
                return
        log.error("claim_stuck", withdrawal=item.id, amount=item.amount,
                  what_to_do="have L1 pay it by hand: `anchorline withdraw`, or Rollup.withdraw")


async def open_shop(
    verifier: Verifier, sender: TxSender, nursery: trio.Nursery, config: LiquidityConfig
) -> Shop:
    """Find the rollup's market and what we own there. Raises Critical if there is no market, Temporary."""
    client, rollup = verifier.client, verifier.contract.address

    async def ask(name: str) -> bytes:
        return bytes(bindings.decode_result(name, await client.call(rollup, bindings.encode_call(name))))

    try:
        address, token = await ask("claim_market"), await ask("token")
    except (CallReverted, bindings.BadEncoding):
        raise Critical(f"the Rollup at 0x{rollup.hex()} has no claim market: it is of an older version") from None
    market = Market(address, await client.chain_id())
    holdings = Holdings(client, verifier.chain, rollup, address, sender.address, verifier.config.l1.start_block)
    await holdings.refresh()
    desk = Desk(verifier, market, sender.address, config)
    return Shop(verifier, sender, nursery, market, token, desk, holdings, config.max_total_usd * USD)


def _call(signature: str, kinds: list[str], *args: Any) -> bytes:
    return keccak(signature.encode())[:4] + encode(kinds, args)
