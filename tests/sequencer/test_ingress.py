"""The way in: wrong signatures are explained, bad fields named, a full queue and a closed door say so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from eth_hash.auto import keccak

from node.l1.keys import LocalSigner
from node.rpc.errors import ErrorKind, RpcError, fail
from node.rpc.server import Registry
from node.stf.types import BUY, SELL, Action
from node.storage.kv import MemoryKV
from node.transport import Deferred
from sequencer import ingress as ingress_module
from sequencer.builder import Limits
from sequencer.core import Core
from sequencer.methods import ActionFields, Submissions, to_action
from sequencer.requests import ActionsRequest
from tests.sequencer.world import START_MS, Desk, sign_request
from tests.stf.world import DOMAIN, address, limit, private_key


class Client:
    """Calls the registry as the transport does."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.registry = Registry("test", "0")
        Submissions(core.ingress, core.chain).register(self.registry)
        self.nonce = START_MS

    def params(self, *actions: Action, account: int = 1, name: str = "alice", **changes: Any) -> dict[str, Any]:
        self.nonce += 1
        key = private_key(name)
        request = ActionsRequest(account, 0, self.nonce, START_MS + 50_000, list(actions), 0, 0)
        sign_request(request, key)
        fields = [{"action": "place", "market": a.market, "side": ("buy", "sell")[a.side], "price": a.price,
                   "lots": a.lots, "clientId": a.client_id, "timeInForce": "GTC"} for a in actions]
        return {
            "account": account, "slot": 0, "nonce": self.nonce, "expiry": START_MS + 50_000, "actions": fields,
            "signer": "0x" + address(key).to_bytes(20, "big").hex(),
            "signature": "0x" + (request.r.to_bytes(32, "big") + request.vs.to_bytes(32, "big")).hex()} | changes

    def start(self, method: str, params: Any) -> Deferred[Any]:
        deferred = self.registry.start(method, msgspec.Raw(msgspec.json.encode(params)), None)  # type: ignore[arg-type]
        assert isinstance(deferred, Deferred)
        return deferred

    async def call(self, method: str, params: Any) -> Any:
        outcome: list[Any] = []
        done = trio.Event()

        def answered(result: Any) -> None:
            outcome.append(result)
            done.set()

        self.start(method, params).on_done(answered)
        with trio.fail_after(10):
            await done.wait()
        error = getattr(outcome[0], "error", None)
        if error is not None:
            raise error
        return outcome[0]


@asynccontextmanager
async def client(folder: Path, *, running: bool = True) -> AsyncIterator[Client]:
    desk = Desk()
    core = Core(MemoryKV(), folder / "log", DOMAIN, LocalSigner(keccak(b"s")), Limits(), epoch=1, group_ms=0,
                clock=lambda: START_MS + 20)
    for number, message in enumerate(desk.inbox):
        core.add_message(number, message)
    core.builder.tick()
    desk.builder = core.builder
    desk.chain = core.chain
    desk.now = START_MS + 5
    desk.price()
    async with trio.open_nursery() as nursery:
        if running:
            await nursery.start(core.run)
        yield Client(core)
        nursery.cancel_scope.cancel()
    core.close()


def order(price: int, side: int = BUY, client_id: int = 1) -> Action:
    return limit(0, side, price, 10, client_id)


async def test_an_order_is_answered_with_its_promise(tmp_path: Path) -> None:
    async with client(tmp_path) as rpc:
        answer = await rpc.call("al_sendActions", rpc.params(order(600_000)))
        assert (answer.status, answer.statuses, answer.promise["count"] > 0) == ("OK", ["OK"], True)
        later = await rpc.call("al_sendActions", rpc.params(order(600_000, SELL), account=2, name="bob"))
        assert later.position == answer.position + 1 and later.fills[0].maker == 1


async def test_a_wrong_signature_names_what_was_expected(tmp_path: Path) -> None:
    async with client(tmp_path) as rpc:
        good = rpc.params(order(600_000))
        with pytest.raises(RpcError) as caught:
            await rpc.call("al_sendActions", good | {"expiry": START_MS + 49_999})
        data = caught.value.data
        assert data["kind"] == "BadSignature" and data["claimed"] == good["signer"] != data["recovered"]
        assert len(data["expected_digest"]) == 66
        with pytest.raises(RpcError) as caught:
            await rpc.call("al_sendActions", rpc.params(order(600_000), account=2))
        assert caught.value.data["reason"] == "NO_KEY"


@pytest.mark.parametrize(("changes", "param"), [
    ({"signature": "0x1234"}, "signature"),
    ({"signature": "0x" + "11" * 64 + "05"}, "signature"),
    ({"account": -1}, "account"),
    ({"slot": 8}, "slot"),
    ({"actions": []}, "actions"),
    ({"actions": [{"action": "place", "market": 0}]}, "actions[0].side"),
    ({"actions": [{"action": "buy", "market": 0}]}, "actions[0].action"),
    ({"actions": [{"action": "cancel", "market": 70_000}]}, "actions[0].market"),
    ({"unknown": 1}, "unknown"),
])
async def test_bad_fields_are_named(tmp_path: Path, changes: dict[str, Any], param: str) -> None:
    async with client(tmp_path, running=False) as rpc:
        with pytest.raises(RpcError) as caught:
            rpc.start("al_sendActions", rpc.params(order(600_000)) | changes)
        assert caught.value.data["param"] == param


async def test_a_full_queue_and_a_closed_door_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingress_module, "QUEUE_MAX", 3)
    async with client(tmp_path, running=False) as rpc:
        for _ in range(3):
            rpc.start("al_sendActions", rpc.params(order(600_000)))
        with pytest.raises(RpcError) as caught:
            rpc.start("al_sendActions", rpc.params(order(600_000)))
        assert caught.value.code == ErrorKind.RateLimitExceeded.code
    async with client(tmp_path / "other") as rpc:
        rpc.core.closed = lambda: fail(ErrorKind.AnchorLag, "wait")
        with pytest.raises(RpcError) as caught:
            rpc.start("al_sendActions", rpc.params(order(600_000)))
        assert caught.value.code == ErrorKind.AnchorLag.code
        cancel = {"actions": [{"action": "cancelAll", "market": 0}]}
        request = ActionsRequest(1, 0, START_MS + 900, START_MS + 50_000, [Action(op=3, market=0)], 0, 0)
        sign_request(request, private_key("alice"))
        signature = "0x" + (request.r.to_bytes(32, "big") + request.vs.to_bytes(32, "big")).hex()
        params = rpc.params(order(1)) | cancel | {"nonce": START_MS + 900, "signature": signature}
        assert (await rpc.call("al_sendActions", params)).statuses == ["OK"]


def replacing(*fields: dict[str, Any], client_id: int) -> list[dict[str, Any]]:
    """Actions in JSON: these, then an order under a client id."""
    return [*({"market": 0} | field for field in fields), {
        "action": "place", "market": 0, "side": "buy", "price": 599_001, "lots": 10, "clientId": client_id}]


async def send(rpc: Client, account: int, name: str, fields: list[dict[str, Any]]) -> Any:
    """Sign and send actions given in JSON."""
    actions = [to_action(msgspec.convert(field, ActionFields), index) for index, field in enumerate(fields)]
    return await rpc.call("al_sendActions", rpc.params(*actions, account=account, name=name) | {"actions": fields})


@pytest.mark.parametrize("sealed", [False, True], ids=["in the open chunk", "in a sealed block"])
async def test_a_client_id_means_one_order(tmp_path: Path, sealed: bool) -> None:
    async with client(tmp_path) as rpc:
        await rpc.call("al_sendActions", rpc.params(order(599_000, client_id=7), order(599_000, client_id=8)))
        if sealed:
            rpc.core.builder.seal()
        position = rpc.core.builder.position
        again = rpc.params(order(599_002, client_id=9), order(599_001, client_id=7))
        twice = rpc.params(order(599_001, client_id=10), order(599_002, client_id=10))
        for params in (again, twice):
            with pytest.raises(RpcError) as caught:
                await rpc.call("al_sendActions", params)
            assert caught.value.code == ErrorKind.DuplicateOrderId.code
            assert caught.value.data["param"] == "actions[1].clientId"
        assert rpc.core.builder.position == position, "nothing of them was included"
        other = await rpc.call("al_sendActions", rpc.params(order(599_000, client_id=7), account=2, name="bob"))
        assert other.statuses == ["OK"], "another account's names are its own"


@pytest.mark.parametrize("sealed", [False, True], ids=["in the open chunk", "in a sealed block"])
async def test_a_client_id_is_free_again_when_its_order_is_gone(tmp_path: Path, sealed: bool) -> None:
    async def rest() -> None:
        answer = await rpc.call("al_sendActions", rpc.params(order(599_000, client_id=7)))
        assert answer.statuses == ["OK"]
        if sealed:
            rpc.core.builder.seal()

    cancel, cancel_all = {"action": "cancel", "clientId": 7}, {"action": "cancelAll"}
    async with client(tmp_path) as rpc:
        await rest()
        assert (await send(rpc, 2, "bob", [
            {"action": "place", "market": 0, "side": "sell", "price": 599_000, "lots": 10, "clientId": 1}],
        )).fills[0].maker_client_id == 7
        await rest()
        assert (await send(rpc, 1, "alice", [{"market": 0} | cancel_all])).statuses == ["OK"]
        await rest()
        for first in (cancel, cancel_all):
            assert (await send(rpc, 1, "alice", replacing(first, client_id=7))).statuses == ["OK", "OK"]


async def test_a_list_sent_again_is_told_that_it_is_in(tmp_path: Path) -> None:
    async with client(tmp_path) as rpc:
        params = rpc.params(order(599_000, client_id=7))
        await rpc.call("al_sendActions", params)
        with pytest.raises(RpcError) as caught:
            await rpc.call("al_sendActions", params)
        assert caught.value.code == ErrorKind.NonceUsed.code


async def test_order_of_arrival_is_order_of_execution(tmp_path: Path) -> None:
    async with client(tmp_path) as rpc:
        positions: dict[int, int] = {}
        finished = trio.Event()

        def answered(index: int, result: Any) -> None:
            positions[index] = result.position
            if len(positions) == 300:
                finished.set()

        for index in range(300):
            params = rpc.params(order(500_000 + index, client_id=index))
            rpc.start("al_sendActions", params).on_done(partial(answered, index))
        with trio.fail_after(20):
            await finished.wait()
        ordered = [positions[index] for index in range(300)]
        assert ordered == sorted(ordered) and len(set(ordered)) == 300


async def test_raw_bytes_are_accepted_as_forced_ones_are(tmp_path: Path) -> None:
    async with client(tmp_path) as rpc:
        request = ActionsRequest(1, 0, START_MS + 7, START_MS + 50_000, [order(600_000)], 0, 0)
        sign_request(request, private_key("alice"))
        answer = await rpc.call("al_sendRaw", ["0x" + request.write(0).hex()])
        assert answer.statuses == ["OK"]
        with pytest.raises(RpcError, match="does not decode"):
            rpc.start("al_sendRaw", ["0x" + request.write(0)[:-1].hex()])
        with pytest.raises(RpcError, match="kind 8"):
            rpc.start("al_sendRaw", ["0x08"])
