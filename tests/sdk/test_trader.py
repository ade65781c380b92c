"""The SDK against the real sequencer: what it signs is accepted, its promises are checked, failures have names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from eth_account import Account
from eth_account.messages import encode_typed_data

from node.l1.deployment import USD
from node.l1.keys import LocalSigner
from node.l1.sender import open_sender
from node.sdk import Client, Trader, cancel, connect, place
from node.sdk.errors import (
    AccountNotFound,
    AnchorlineError,
    BadSignature,
    BrokenPromise,
    ExchangeNotAvailable,
    InsufficientMargin,
    InvalidNonce,
    InvalidOrder,
    NotFound,
    OrderImmediatelyFillable,
    OrderNotFound,
)
from node.sdk.l1 import L1Wallet, MemoryJournal
from node.sdk.promises import verify
from node.stf import encoding
from tests.sequencer.l1_world import SENDER, TRADERS, World, deployed
from tests.sequencer.test_service import open_accounts, sequencing
from tests.stf.world import private_key


def signer(name: str) -> LocalSigner:
    return LocalSigner(private_key(name).secret)


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[tuple[World, Client, Trader, Trader]]:
    """A sequencer with a fresh price, a WebSocket client, and two funded traders."""
    async with deployed(folder) as world, sequencing(world) as raw:
        await open_accounts(world, raw)
        await raw.price()
        url = raw.rpc._endpoint.shown.replace("http://", "ws://")
        async with connect(url) as client:
            accounts = {name: (await client.accounts_of(signer(name).address))[0] for name in ("alice", "bob")}
            alice, bob = (Trader(client, signer(name), accounts[name]) for name in ("alice", "bob"))
            yield world, client, alice, bob


async def test_a_trader_s_day(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, client, alice, bob):
        resting = await alice.place(0, "sell", price=600_100, lots=50)
        assert resting.bytes > 64 and resting.fills == []
        crossing = await bob.place(0, "buy", price=600_100, lots=20, tif="IOC")
        assert crossing.filled == 20 and crossing.fills[0].maker == alice.account
        assert (await client.book(0)).asks == [(600_100, 30, 1)]
        await alice.cancel(0, resting.client_ids[0])
        assert (await client.book(0)).asks == []
        listed = await bob.send([
            place(0, "buy", 599_000 - step, 10, client_id=100 + step, tif="POST_ONLY") for step in range(20)])
        assert listed.statuses == ["OK"] * 20 and listed.bytes < 20 * 20
        await bob.cancel_all(0)
        receipt = await client.wait_receipt(listed.position, "safe")
        assert (receipt.hash, receipt.statuses) == (listed.hash, listed.statuses)
        position = next(p for p in (await client.account(bob.account)).positions if p.market == 0)
        assert position.size == 20


async def test_orders_that_know_the_position(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, client, alice, bob):
        resting = (await alice.place(0, "sell", price=600_100, lots=50)).client_ids[0]
        await alice.amend(0, resting, 30)
        with pytest.raises(InvalidOrder):
            await alice.amend(0, resting, 31)
        with pytest.raises(AnchorlineError) as unfilled:
            await bob.place(0, "buy", price=600_100, lots=31, tif="FOK")
        assert unfilled.value.reason == "FOK_UNFILLED"
        taken = await bob.market_order(0, "buy", lots=20)
        assert (taken.filled, taken.fills[0].price) == (20, 600_100)
        with pytest.raises(AnchorlineError) as larger:
            await bob.place(0, "sell", price=600_200, lots=21, reduce_only=True)
        assert larger.value.reason == "REDUCE_ONLY_SIZE"
        stop = await bob.trigger(0, "sell", "below", 590_000, lots=20, limit=589_000)
        twin = await bob.place(0, "sell", price=600_200, lots=20, reduce_only=True)
        rows = {order.client_id: order for order in await client.orders(bob.account)}
        assert (rows[stop.client_ids[0]].trigger, rows[stop.client_ids[0]].limit) == ("below", 589_000)
        assert rows[twin.client_ids[0]].reduce_only and rows[twin.client_ids[0]].side == "sell"
        with pytest.raises(InvalidOrder) as again:
            await bob.trigger(0, "sell", "below", 580_000, lots=20, client_id=stop.client_ids[0])
        assert again.value.kind == "DuplicateOrderId"
        await bob.cancel(0, stop.client_ids[0])
        assert [order.client_id for order in await client.orders(bob.account)] == twin.client_ids
        await bob.cancel_at(client.seen_ms + 3_600_000)
        await bob.cancel_at(0)
        await bob.allow_early_reduction(True)
        with pytest.raises(AnchorlineError) as own:
            await alice.place(0, "buy", price=600_100, lots=5, self_trade="CANCEL_TAKER")
        assert own.value.reason == "SELF_TRADE"
        assert next(item for item in await client.markets() if item.market == 0).flow.gross_lots >= 0


async def test_a_delegated_key_trades_and_cannot_withdraw(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, client, alice, bob):
        await alice.set_key(1, signer("robot").address)
        robot = Trader(client, signer("robot"), alice.account, slot=1)
        assert (await robot.place(0, "buy", price=599_000, lots=10)).status == "OK"
        with pytest.raises(BadSignature):
            await robot.withdraw(USD, bytes(19) + b"\x01")
        with pytest.raises(BadSignature):
            await Trader(client, signer("robot"), bob.account, slot=0).place(0, "buy", price=599_000, lots=10)


async def test_errors_have_names(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, client, alice, bob):
        await alice.place(0, "sell", price=600_100, lots=50)
        with pytest.raises(OrderImmediatelyFillable) as crossing:
            await bob.place(0, "buy", price=600_100, lots=1, tif="POST_ONLY")
        assert crossing.value.reason == "WOULD_CROSS"
        with pytest.raises(OrderNotFound):
            await bob.cancel(0, 12_345)
        with pytest.raises(InsufficientMargin):
            await bob.place(0, "buy", price=600_000, lots=1_000_000)
        with pytest.raises(AccountNotFound):
            await Trader(client, signer("bob"), 999).place(0, "buy", price=599_000, lots=10)
        with pytest.raises(NotFound):
            await client.account(999)
        client.seen_ms = 0
        late = Trader(client, signer("bob"), bob.account, clock=lambda: 1_000_000)
        with pytest.raises(InvalidNonce) as old:
            await late.place(0, "buy", price=599_000, lots=10)
        assert old.value.reason in ("EXPIRED", "NONCE_TOO_OLD")
    with pytest.raises(ExchangeNotAvailable, match="no node answers"):
        async with connect("http://127.0.0.1:1"):
            pass


async def test_a_promise_by_another_or_for_another_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as (_, client, alice, bob):
        sent = await alice.place(0, "sell", price=600_100, lots=50)
        domain, sequencer = client.network.domain, client.network.sequencer
        assert sequencer is not None
        tx_hash = bytes.fromhex(sent.hash[2:])
        now = int(sent.promise["time"])
        verify(domain, sequencer, sent.position, tx_hash, sent.promise, now)
        lies = [
            (domain, bytes(20), sent.position, tx_hash, sent.promise),
            (domain, sequencer, sent.position + 1, tx_hash, sent.promise),
            (domain, sequencer, sent.position, bytes(32), sent.promise),
            (bytes(32), sequencer, sent.position, tx_hash, sent.promise),
            (domain, sequencer, sent.position, tx_hash, sent.promise | {"epoch": 77}),
            (domain, sequencer, sent.position, tx_hash, {}),
        ]
        for lie in lies:
            with pytest.raises(BrokenPromise):
                verify(*lie, now)
        with pytest.raises(BrokenPromise, match="its deadline is too late"):
            verify(domain, sequencer, sent.position, tx_hash, sent.promise, now - 600_001)
        suspicious = Trader(client, signer("bob"), bob.account, sequencer=signer("alice").address)
        with pytest.raises(BrokenPromise, match="not the sequencer"):
            await suspicious.place(0, "buy", price=599_000, lots=10)


async def test_deposit_and_withdrawal_through_l1(tmp_path: Path) -> None:
    async with (
        desk(tmp_path) as (world, client, _, _),
        open_sender(world.chain.client, world.chain.signer(TRADERS[0]), MemoryJournal(), SENDER) as sender,
    ):
        wallet = L1Wallet(world.chain.client, sender, world.deployment)
        known = await client.accounts_of(wallet.address)
        await wallet.deposit(500 * USD)
        account = await client.wait_account(wallet.address, len(known))
        assert (await client.account(account)).collateral == 500 * USD
        owner = Trader(client, world.chain.signer(TRADERS[0]), account)
        before = (await client.status())["withdrawals"]
        sent = await owner.withdraw(120 * USD, wallet.address)
        await client.wait_receipt(sent.position)
        number = await client.find_withdrawal(wallet.address, 120 * USD, before)
        held = await wallet.balance()
        proof = await client.wait_claimable(number, 60)
        await wallet.claim(proof)
        assert await wallet.balance() == held + 120 * USD and await wallet.is_paid(number)


def test_a_stock_wallet_signs_the_same_digest() -> None:
    """What eth_account makes of the typed data is what the SDK signs."""
    action = place(
        3, "sell", 600_100, 7, client_id=9, tif="POST_ONLY", reduce_only=True, expiry=5, self_trade="CANCEL_BOTH")
    domain = {"name": "Anchorline", "version": "1", "chainId": 901, "verifyingContract": "0x" + "12" * 20}
    field = [("action", "string"), ("market", "uint32"), ("side", "string"), ("lots", "uint64"), ("price", "uint32"),
             ("timeInForce", "string"), ("reduceOnly", "bool"), ("selfTrade", "string"), ("limit", "uint32"),
             ("clientId", "uint64"), ("expiry", "uint64")]
    types = {
        "Actions": [{"name": "account", "type": "uint32"}, {"name": "keySlot", "type": "uint8"},
                    {"name": "nonce", "type": "uint64"}, {"name": "expiry", "type": "uint64"},
                    {"name": "actions", "type": "Action[]"}],
        "Action": [{"name": name, "type": kind} for name, kind in field],
    }
    message = {"account": 4, "keySlot": 1, "nonce": 10, "expiry": 11, "actions": [{
        "action": "place", "market": 3, "side": "sell", "lots": 7, "price": 600_100, "timeInForce": "POST_ONLY",
        "reduceOnly": True, "selfTrade": "CANCEL_BOTH", "limit": 0, "clientId": 9, "expiry": 5}]}
    stock = Account.sign_message(
        encode_typed_data(domain_data=domain, message_types=types, message_data=message), private_key("alice").secret)
    encoding.set_domain(encoding.domain_separator(901, int("12" * 20, 16)))
    ours = signer("alice").sign_hash(encoding.actions_digest(4, 1, 10, 11, [action]))
    assert ours[:64] == bytes(stock.signature)[:64] and ours[64] + 27 == stock.v


def test_cancel_names_only_what_is_signed() -> None:
    assert (cancel(1, 2).price, cancel(1, 2).seq) == (0, 0)


async def test_waiting_ends(tmp_path: Path, autojump_clock: trio.abc.Clock) -> None:
    """A wait for something that never comes is bounded (on a clock that jumps)."""
    class Silent:
        async def call(self, method: str, params: object, kind: object) -> list[int]:
            return []

    client = Client(Silent(), None)  # type: ignore[arg-type]
    with pytest.raises(AnchorlineError, match="no account"):
        await client.wait_account(bytes(20), timeout_s=3600)
