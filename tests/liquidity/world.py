"""A rollup with a sequencer, a funded provider and a trader whose withdrawals can be sold, on a real L1."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio
from eth_abi.abi import encode
from eth_hash.auto import keccak
from msgspec.structs import replace as replace_struct

from node.config import Config
from node.l1 import bindings, claims
from node.l1.claims import OFFER_SOLD, Market, Offer
from node.l1.keys import LocalSigner
from node.l1.types import L1Log
from node.liquidity import service
from node.rpc.client import HttpClient, RpcError
from node.rpc.fields import hex_of
from node.rpc.methods.claims import QuoteInfo, SaleInfo, offer_info, offer_of
from node.sdk.client import Client, connect
from node.sdk.liquidity import ClaimSeller
from node.sdk.trader import Trader as SdkTrader
from tests.sequencer.l1_world import TIMINGS, TRADERS, Trader, World, deployed, wait_for
from tests.sequencer.test_service import anchor_all, sequencing

USD = 10**6
PROVIDER = 5
WINDOW_S = 600
SLOW = replace_struct(TIMINGS, challenge_window_s=WINDOW_S)


@dataclass
class Bench:
    """A network whose trader (account 1) can withdraw; what is asked of L1 is asked of L1."""

    world: World
    raw: Trader
    rpc: str
    market: Market

    @property
    def seller(self) -> LocalSigner:
        """The trader's key: its account's owner, and the recipient of its withdrawals."""
        return self.world.chain.signer(TRADERS[0])

    @property
    def provider(self) -> LocalSigner:
        return self.world.chain.signer(PROVIDER)

    async def withdraw(self, dollars: int, *, posted: bool = True) -> int:
        """A withdrawal of the trader's to its own address; its id. ``posted``: wait until its batch is on L1."""
        async with connect(self.rpc) as client:
            sent = await SdkTrader(client, self.seller, 1).withdraw(dollars * USD, self.seller.address)
            number = (await client.wait_receipt(sent.position)).withdrawal
            assert number is not None
        if posted:
            await anchor_all(self.raw, sent.position)
        return number

    async def tokens(self, owner: bytes) -> int:
        token = bytes.fromhex(self.world.deployment.token[2:])
        data = await self.world.chain.client.call(token, call("balanceOf(address)", ["address"], owner))
        return int.from_bytes(data, "big")

    async def sold(self) -> list[L1Log]:
        """Every purchase in the market's events."""
        client = self.world.chain.client
        head = (await client.head()).number
        return await client.logs(self.market.address, 0, head, [keccak(OFFER_SOLD.encode())])

    async def pass_window(self) -> None:
        """L1's clock goes past the challenge window; its blocks may have been a little ahead of it."""
        client = self.world.chain.client
        past = (await client.head()).timestamp + WINDOW_S + 1
        await self.world.chain.rpc("evm_increaseTime", WINDOW_S + 60)
        await self.world.chain.mine()
        assert (await client.head()).timestamp >= past

    async def mining(self, on: bool) -> None:
        """A block a second, or none: what is sent then waits in the pool."""
        if not on:
            await self.world.chain.automine(False)
        await self.world.chain.rpc("evm_setIntervalMining", 1 if on else 0)

    def config(self, name: str = "provider", **settings: Any) -> Config:
        config = replace(self.world.config(), datadir=self.world.folder / name)
        chosen: dict[str, Any] = {
            "fee_ppm": 2_000, "fee_min_cents": 0, "confirmations": 0, "resubmit_ms": 2_000, "quote_s": 600}
        return replace(config, liquidity=replace(config.liquidity, **(chosen | settings)))

    def sign(self, offer: Offer, signer: LocalSigner | None = None) -> bytes:
        return claims.sign(self.market, offer, signer or self.seller)


class Desk:
    """A running provider, asked over its RPC."""

    def __init__(self, rpc: HttpClient, url: str) -> None:
        self.rpc = rpc
        self.url = url

    async def quote(self, number: int) -> QuoteInfo:
        found: QuoteInfo = await self.rpc.call("al_quoteClaim", {"id": number}, kind=QuoteInfo)
        return found

    async def ready_offer(self, number: int) -> Offer:
        """The offer of the first quote that waits for nothing."""
        quotes: list[QuoteInfo] = []

        async def look() -> bool:
            try:
                quotes.append(await self.quote(number))
            except RpcError as error:
                if error.data.get("kind") not in ("NotFound", "Syncing"):
                    raise
                return False
            return not quotes[-1].waits_for

        await wait_for(look, lambda ready: ready)
        return offer_of(quotes[-1].offer)

    async def sell(self, offer: Offer, signature: bytes) -> SaleInfo:
        params = {"offer": offer_info(offer), "signature": hex_of(signature)}
        answer: SaleInfo = await self.rpc.call("al_sellClaim", params, kind=SaleInfo)
        return answer

    async def refusal(self, work: Any) -> str:
        """The reason (or kind) of the refusal that must come."""
        try:
            answer = await work
        except RpcError as error:
            return str(error.data.get("reason") or error.data["kind"])
        raise AssertionError(f"bought: {answer}")

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.rpc.call("al_status"))["liquidity"]
        return found


def call(signature: str, kinds: list[str], *args: Any) -> bytes:
    return keccak(signature.encode())[:4] + encode(kinds, args)


@asynccontextmanager
async def network(folder: Path, kind: str = "embedded") -> AsyncIterator[Bench]:
    """Everything but the provider."""
    async with deployed(folder, kind, timings=SLOW) as world, sequencing(world) as raw:
        yield await bench(world, raw)


async def bench(world: World, raw: Trader) -> Bench:
    """Open the trader's account, fund the provider."""
    await world.fund(PROVIDER)
    owner = world.chain.signer(TRADERS[0]).address
    await world.send(TRADERS[0], [(world.rollup, bindings.encode_call("deposit", 0, owner, 10_000 * USD))])
    await wait_for(lambda: raw.rpc.call("al_status"), lambda status: status["accounts"] == 1)
    market = Market(bytes.fromhex(world.deployment.contracts["ClaimMarket"][2:]), await world.chain.client.chain_id())
    return Bench(world, raw, raw.rpc._endpoint.shown, market)


@asynccontextmanager
async def providing(bench: Bench, name: str = "provider", **settings: Any) -> AsyncIterator[Desk]:
    """A running provider; leaving shuts it down."""
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(partial(service.run, bench.config(name, **settings), bench.provider))
        async with HttpClient(bound.http_url) as rpc:
            desk = Desk(rpc, bound.http_url)
            await wait_for(desk.status, lambda status: status["open"])
            yield desk
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def selling(bench: Bench, desk: Desk) -> AsyncIterator[tuple[Client, ClaimSeller]]:
    """The trader's side, with its own view of L1."""
    async with connect(desk.url) as client:
        yield client, await ClaimSeller.open(client, bench.world.chain.client, bench.world.rollup, bench.seller)
