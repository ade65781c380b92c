"""Claims that were bought and are not paid yet. L1 is the record: the market's events name every purchase.

What is kept on disk, beside the chain, only saves reading L1 from the start. The newest blocks are read again each
time, since a reorganisation may have moved purchases. A claim leaves when L1 has paid it, or says that it is not ours.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import structlog
from eth_abi.abi import decode
from eth_hash.auto import keccak

from node.derive.chain import Chain
from node.l1 import bindings
from node.l1.claims import OFFER_SOLD
from node.l1.client import L1Client
from node.l1.types import L1Log

log = structlog.get_logger("liquidity")

REORG_BLOCKS: Final = 128  # read again each time
RANGE_MAX: Final = 10_000  # L1 blocks in one look
_FACT: Final = "liquidity/holdings"
_SOLD_TOPIC: Final = keccak(OFFER_SOLD.encode())


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """A claim of ours: amounts in micro-USD, ``digest`` of the offer under which it was bought, in hex."""

    id: int
    recipient: str
    amount: int
    price: int
    digest: str

    @property
    def claim(self) -> tuple[int, bytes, int]:
        """As Rollup names it."""
        return self.id, bytes.fromhex(self.recipient), self.amount


class _Record(msgspec.Struct):
    """``scanned``: the last L1 block that was read."""

    owner: str
    market: str
    scanned: int
    held: list[Holding]


class Holdings:
    """See the module. ``refresh`` by one task at a time."""

    def __init__(self, client: L1Client, chain: Chain, rollup: bytes, market: bytes, owner: bytes, start: int) -> None:
        self._client = client
        self._chain = chain
        self._rollup = rollup
        self._market = market
        self._owner = owner
        self._start = start
        known = self._load()
        self._scanned = start - 1 if known is None else known.scanned
        self.held: dict[str, Holding] = {} if known is None else {item.digest: item for item in known.held}
        self._seen = b""
        self.lost = 0
        self.collected = 0

    @property
    def total(self) -> int:
        """Micro-USD that L1 owes us."""
        return sum(item.amount for item in self.held.values())

    async def refresh(self) -> bool:
        """Read what was bought, ask which of it is still owed, and remember; False while L1 has no new block.

        Raises Temporary.
        """
        block = await self._client.head()
        if block.hash == self._seen:
            return False
        head = block.number
        first = max(self._start, self._scanned + 1 - REORG_BLOCKS)
        while first <= head:
            last = min(head, first + RANGE_MAX - 1)
            topics = [_SOLD_TOPIC, None, None, self._owner.rjust(32, b"\0")]
            for entry in await self._client.logs(self._market, first, last, topics):
                await self._bought(entry)
            self._scanned, first = last, last + 1
        for item in list(self.held.values()):
            await self._look(item)
        self._save()
        self._seen = block.hash
        return True

    async def _bought(self, entry: L1Log) -> None:
        number, recipient, amount, price = decode(["uint256", "address", "uint256", "uint256"], entry.data)
        item = Holding(number, recipient.removeprefix("0x"), amount, price, entry.topics[1].hex())
        if item.digest in self.held or await self._view("is_paid", number):
            return
        if await self._view("claim_owner", *item.claim) == self._owner:
            self.held[item.digest] = item

    async def _look(self, item: Holding) -> None:
        if await self._view("is_paid", item.id):
            del self.held[item.digest]
            self.collected += 1
            log.info("claim_paid", withdrawal=item.id, amount=item.amount, earned=item.amount - item.price)
        elif await self._view("claim_owner", *item.claim) != self._owner:
            del self.held[item.digest]
            self.lost += 1
            log.error("claim_gone", withdrawal=item.id, amount=item.amount, price=item.price,
                      what_to_do="L1 reorganised the purchase away, or the claim was sold on with this key")

    async def _view(self, name: str, *args: Any) -> Any:
        return bindings.decode_result(name, await self._client.call(self._rollup, bindings.encode_call(name, *args)))

    # --- on disk ------------------------------------------------------------------------------------------------------

    def _load(self) -> _Record | None:
        data = self._chain.fact(_FACT)
        record = None if data is None else msgspec.json.decode(data, type=_Record)
        fits = record is not None and (record.owner, record.market) == (self._owner.hex(), self._market.hex())
        return record if fits else None

    def _save(self) -> None:
        record = _Record(self._owner.hex(), self._market.hex(), self._scanned, list(self.held.values()))
        self._chain.put_fact(_FACT, msgspec.json.encode(record))
