"""A liquidity provider and its sellers with the real services, on the embedded L1 and on anvil; and who cheats them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from eth_hash.auto import keccak

from node.l1 import bindings, claims
from node.l1.claims import Offer
from node.l1.keys import LocalSigner
from node.l1.types import CallReverted
from node.rpc.client import RpcError
from node.rpc.methods.claims import QuoteInfo, SaleInfo, offer_of
from node.sdk.l1 import header_argument
from node.stf.commitments import header_hash
from sequencer.forgery import LOOT
from tests.l1.chains import KINDS
from tests.liquidity.world import SLOW, USD, Bench, Desk, bench, network, providing, selling
from tests.prover.test_service import villainous, watching
from tests.sequencer.l1_world import TRADERS, deployed, wait_for
from tests.sequencer.test_service import anchor_all, sequencing

STRANGER = LocalSigner(keccak(b"anchorline villain"))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_trader_is_paid_at_once_and_the_provider_after_the_window(tmp_path: Path, kind: str) -> None:
    async with network(tmp_path, kind) as net, providing(net) as desk, selling(net, desk) as (_, seller):
        trader, provider = await net.tokens(net.seller.address), await net.tokens(net.provider.address)
        number = await net.withdraw(100, posted=False)
        sold = await seller.sell(number, net.seller.address, 100 * USD, price_min=99 * USD, timeout_s=60)
        price = 100 * USD - 200_000  # 2,000 ppm
        assert (sold.price, sold.buyer) == (price, net.provider.address)
        assert await net.tokens(net.seller.address) == trader + price
        assert await net.world.view("claim_owner", number, net.seller.address, 100 * USD) == net.provider.address
        assert not await net.world.view("is_paid", number)
        status = await desk.status()
        assert (status["held"], status["owed"]) == (1, 100 * USD)
        await net.pass_window()
        await wait_for(desk.status, lambda now: now["held"] == 0 and now["paid"] == 1)
        assert await net.tokens(net.provider.address) == provider + 200_000
        assert await net.world.view("is_paid", number) and len(await net.sold()) == 1


async def villains_offer(net: Bench) -> Offer:
    """The wrong batch's withdrawal, offered with everything that L1 shows about it."""
    client, rollup = net.world.chain.client, net.world.rollup

    async def posted() -> list[Offer]:
        head = await client.head()
        found = []
        for entry in await client.logs(rollup, 0, head.number, [bindings.topic("BatchPosted")]):
            event = bindings.decode_event(entry.topics, entry.data)
            assert isinstance(event, bindings.BatchPosted)
            header = event.header
            if await net.world.view("header_hash", header.number) == header_hash(header):
                number = (header.globals[1] >> 128 & 2**64 - 1) - 1
                found.append(Offer(
                    STRANGER.address, number, STRANGER.address, LOOT, 1, net.provider.address, header.number,
                    header_hash(header), head.timestamp + 600))
        return [offer for offer in found if offer.id > 0]

    return (await wait_for(posted, lambda offers: offers))[0]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_villains_claim_is_refused(tmp_path: Path, kind: str) -> None:
    """The operator posts a withdrawal that nobody paid for, and sells it for nearly nothing, before anyone has proven
    it wrong. Nothing on L1 would stop the purchase; the provider's own chain does."""
    async with deployed(tmp_path, kind, timings=SLOW) as world, villainous(world, ("undebited-withdrawal",)) as raw:
        net = await bench(world, raw)
        async with providing(net) as desk:
            offer = await villains_offer(net)
            signature = net.sign(offer, STRANGER)
            await wait_for(lambda: desk.rpc.call("al_status"), lambda s: s["batches"]["disputed"] is not None)
            buy = claims.encode_buy(offer, signature)
            assert await world.chain.client.call(net.market.address, buy, sender=net.provider.address) == b""
            before = await net.tokens(net.provider.address)
            assert await desk.refusal(desk.sell(offer, signature)) == "DISPUTED"
            assert await desk.refusal(desk.quote(offer.id)) == "DISPUTED"
            async with watching(world, world.chain.signer(6)):
                await wait_for(
                    lambda: desk.rpc.call("al_status"), lambda s: s["batches"]["disputed"] is None, seconds=60)
                assert await desk.refusal(desk.sell(offer, signature)) in ("NotFound", "SYNCING")
                with pytest.raises(CallReverted, match="HEADER: the batch does not stand"):
                    await world.chain.client.call(net.market.address, buy, sender=net.provider.address)
            assert await net.tokens(net.provider.address) == before and await net.sold() == []


async def test_a_claim_is_bought_once(tmp_path: Path) -> None:
    """The same offer again, a second offer for the same claim, and two offers at the same time."""
    async with network(tmp_path) as net, providing(net) as desk:
        number = await net.withdraw(100)
        offer = await desk.ready_offer(number)
        cheaper = replace(offer, price=offer.price - USD)
        answers: list[str] = []

        async def sell(each: Offer) -> None:
            try:
                answers.append((await desk.sell(each, net.sign(each))).state)
            except RpcError as error:
                answers.append(error.data["reason"])

        async with trio.open_nursery() as nursery:
            for each in (offer, cheaper, offer):
                nursery.start_soon(sell, each)
        assert sorted(answers) in (["BUSY", "bought", "bought"], ["BUSY", "BUSY", "bought"],
                                   ["NOT_OWNER", "bought", "bought"])
        bought = (await net.sold())[0].topics[1]
        first, second = (offer, cheaper) if bought == claims.digest(net.market, offer) else (cheaper, offer)
        assert (await desk.sell(first, net.sign(first))).state == "bought"
        assert await desk.refusal(desk.sell(second, net.sign(second))) == "NOT_OWNER"
        assert await desk.refusal(desk.quote(number)) == "OWNED"
        assert len(await net.sold()) == 1


async def test_a_claim_waits_until_its_batch_is_deep_enough(tmp_path: Path) -> None:
    async with network(tmp_path) as net, providing(net, min_depth=40) as desk:
        number = await net.withdraw(100)
        quote = await wait_for(partial(known_quote, desk, number), lambda found: found is not None)
        assert "L1 blocks deep" in quote.waits_for
        offer = offer_of(quote.offer)
        assert await desk.refusal(desk.sell(offer, net.sign(offer))) == "DEPTH"
        await net.world.chain.mine(40)
        offer = await desk.ready_offer(number)
        assert (await desk.sell(offer, net.sign(offer))).state == "bought"


async def known_quote(desk: Desk, number: int) -> QuoteInfo | None:
    """A quote, or None while the provider does not know the batch."""
    try:
        return await desk.quote(number)
    except RpcError:
        return None


async def test_what_is_refused_and_why(tmp_path: Path) -> None:
    async with network(tmp_path) as net, providing(net, max_claim_usd=150, max_total_usd=200) as desk:
        number = await net.withdraw(100)
        offer = await desk.ready_offer(number)
        now = (await net.world.chain.client.head()).timestamp
        other = net.world.chain.signer(TRADERS[1])
        for changed, reason in (
            (replace(offer, price=offer.price + 1), "PRICE"), (replace(offer, amount=offer.amount + 1), "WITHDRAWAL"),
            (replace(offer, recipient=other.address), "WITHDRAWAL"), (replace(offer, id=number + 1), "NotFound"),
            (replace(offer, buyer=other.address), "BUYER"), (replace(offer, buyer=bytes(20)), "BUYER"),
            (replace(offer, batch=offer.batch + 1), "HEADER"), (replace(offer, header=bytes(32)), "HEADER"),
            (replace(offer, deadline=now + 10), "DEADLINE"),
        ):
            assert await desk.refusal(desk.sell(changed, net.sign(changed))) == reason
        assert await desk.refusal(desk.sell(offer, net.sign(replace(offer, price=1)))) == "BadSignature"
        thief = replace(offer, seller=other.address)
        assert await desk.refusal(desk.sell(thief, net.sign(thief, other))) == "NOT_OWNER"
        assert await desk.refusal(desk.quote(await net.withdraw(151))) == "MAX_CLAIM"
        second = await net.withdraw(101)
        assert await desk.refusal(desk.quote(2**62)) == "NotFound"
        assert (await desk.sell(offer, net.sign(offer))).state == "bought"
        assert await desk.refusal(desk.quote(second)) == "MAX_TOTAL"
        assert len(await net.sold()) == 1


async def test_a_claim_that_changed_hands_or_was_paid_meanwhile_is_not_bought(tmp_path: Path) -> None:
    async with network(tmp_path) as net, providing(net) as desk:
        number = await net.withdraw(100)
        offer = await desk.ready_offer(number)
        claim = (number, net.seller.address, 100 * USD)
        other = net.world.chain.signer(TRADERS[1]).address
        await net.world.send(TRADERS[0], [(net.world.rollup, bindings.encode_call("transfer_claim", *claim, other))])
        assert await desk.refusal(desk.sell(offer, net.sign(offer))) == "NOT_OWNER"
        second = await net.withdraw(50)
        offer = replace(await desk.ready_offer(second), deadline=2**40)
        await net.pass_window()
        assert await desk.refusal(desk.sell(offer, net.sign(offer))) == "FINAL"
        async with selling(net, desk) as (client, _):
            proof = await client.wait_claimable(second)
            data = bindings.encode_call(
                "withdraw", header_argument(proof.header), second, net.seller.address, 50 * USD,
                bytes.fromhex(proof.bits[2:]), [bytes.fromhex(item[2:]) for item in proof.siblings])
            await net.world.send(TRADERS[0], [(net.world.rollup, data)])
        assert await desk.refusal(desk.sell(offer, net.sign(offer))) == "PAID"
        assert await net.sold() == []


# --- restarts and reorganisations -------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", [False, True], ids=["same disk", "empty disk"])
async def test_a_provider_that_was_away_collects_what_it_bought(tmp_path: Path, empty: bool) -> None:
    async with network(tmp_path) as net:
        before = await net.tokens(net.provider.address)
        async with providing(net) as desk:
            offer = await desk.ready_offer(await net.withdraw(100))
            assert (await desk.sell(offer, net.sign(offer))).state == "bought"
        await net.pass_window()
        if empty:
            shutil.rmtree(tmp_path / "provider")
        async with providing(net) as desk:
            await wait_for(desk.status, lambda now: now["held"] == 0 and now["paid"] == 1)
        assert await net.tokens(net.provider.address) == before + 200_000
        async with providing(net) as desk:
            assert (await desk.status())["held"] == 0, "what was paid is not held again"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_purchase_that_was_on_its_way_is_finished_after_a_restart(tmp_path: Path, kind: str) -> None:
    """L1 does not mine; the provider publishes, dies twice, and comes back: one purchase, one collection."""
    async with network(tmp_path, kind) as net:
        client = net.world.chain.client
        async with providing(net) as desk:
            offer = await desk.ready_offer(await net.withdraw(100))
            await net.mining(False)
            nonce = await client.nonce(net.provider.address)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(desk.sell, offer, net.sign(offer))
                await wait_for(lambda: client.nonce(net.provider.address, block="pending"), lambda n: n == nonce + 1)
                nursery.cancel_scope.cancel()
        async with providing(net) as desk:
            assert (await desk.status())["under_way"] == 1
            assert await desk.refusal(desk.quote(offer.id)) == "BUSY"
            await net.mining(True)
            await wait_for(desk.status, lambda now: now["held"] == 1 and now["under_way"] == 0)
            assert (await desk.sell(offer, net.sign(offer))).state == "bought"
            await net.pass_window()
            await wait_for(desk.status, lambda now: now["paid"] == 1)
        assert len(await net.sold()) == 1
        assert await client.nonce(net.provider.address) == nonce + 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_that_l1_reorganises_away_under_a_purchase_costs_gas_only(tmp_path: Path, kind: str) -> None:
    """The purchase waits in L1's pool when its batch disappears from the chain. It is mined, and reverts."""
    async with deployed(tmp_path, kind, timings=SLOW) as world:
        async with sequencing(world) as raw:
            net = await bench(world, raw)
        async with providing(net) as desk:
            async with sequencing(world) as raw:
                number = await replace(net, raw=raw, rpc=raw.rpc._endpoint.shown).withdraw(100)
            client, answers = world.chain.client, list[SaleInfo]()
            offer = await desk.ready_offer(number)
            signature, before = net.sign(offer), await net.tokens(net.provider.address)
            await net.mining(False)
            nonce = await client.nonce(net.provider.address)

            async def sell() -> None:
                answers.append(await desk.sell(offer, signature))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(sell)
                await wait_for(lambda: client.nonce(net.provider.address, block="pending"), lambda n: n == nonce + 1)
                await reorganise(net, offer.batch)
                await net.mining(True)
            assert answers[0].state == "failed" and "HEADER: the batch does not stand" in answers[0].reason
            assert await net.tokens(net.provider.address) == before and await net.sold() == []
            assert await desk.refusal(desk.sell(offer, signature)) in ("NotFound", "SYNCING", "HEADER")
            async with sequencing(world) as raw:
                await anchor_all(raw)
                fresh = await desk.ready_offer(number)
                assert fresh.header != offer.header
                assert (await desk.sell(fresh, net.sign(fresh))).state == "bought"


async def reorganise(net: Bench, batch: int) -> None:
    """Take L1 back to before a batch; what was in the lost blocks is lost, what waits in the pool is not."""
    client = net.world.chain.client
    head = (await client.head()).number
    logs = await client.logs(
        net.world.rollup, 0, head, [bindings.topic("BatchPosted"), batch.to_bytes(32, "big")])
    depth = head - logs[-1].block_number + 1
    await net.world.chain.rpc("anvil_reorg", depth, [])
