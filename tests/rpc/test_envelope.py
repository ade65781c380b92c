"""JSON-RPC envelopes: what is answered to what."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from node.transport import Deferred, Limits
from tests.rpc.world import World, ask, call, post, read_response


@pytest.mark.parametrize("call_id", [0, 7, -3, 1.5, "a", "", "ü\"\\", None, 2**70])
async def test_ids_are_echoed_as_they_came(call_id: Any) -> None:
    async with World().connected() as stream:
        assert await ask(stream, call("echo", ["x"], call_id)) == {"jsonrpc": "2.0", "id": call_id, "result": "x"}


@pytest.mark.parametrize(
    ("body", "code", "call_id"),
    [
        (b"", -32700, None),
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"a":' * 100_000, -32700, None),
        (b"1", -32600, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc":"2.0","id":5}', -32600, 5),
        (b'{"jsonrpc":"1.0","id":5,"method":"echo"}', -32600, 5),
        (b'{"id":"x","method":"echo"}', -32600, "x"),
        (b'{"jsonrpc":"2.0","id":5,"method":7}', -32600, 5),
        (b'{"jsonrpc":"2.0","id":{},"method":"echo"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"echo"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":"' + b"x" * 200 + b'","method":"echo"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":5,"method":"nothing"}', -32601, 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"echo","params":[1,2]}', -32602, 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"echo","params":"x"}', -32602, 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"broken"}', -32603, 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"unencodable"}', -32603, 5),
    ],
)
async def test_bad_calls_have_the_standard_codes(body: bytes, code: int, call_id: Any) -> None:
    async with World().connected() as stream:
        answer = await ask(stream, body)
        assert (answer["jsonrpc"], answer["id"], answer["error"]["code"]) == ("2.0", call_id, code)
        assert "result" not in answer and "secret detail" not in json.dumps(answer)


async def test_a_notification_runs_and_is_not_answered() -> None:
    world = World()
    async with world.connected() as stream:
        await stream.send_all(post(b'{"jsonrpc":"2.0","method":"note","params":[4]}'))
        status, _, body = await read_response(stream, bytearray())
        assert (status, body) == (200, b"")
    assert world.calls == [4]


async def test_a_batch_is_answered_in_order_without_its_notifications() -> None:
    world = World()
    async with world.connected() as stream:
        silent = b'{"jsonrpc":"2.0","method":"note","params":[1]}'
        parts = [call("slow_echo", ["a"], 1), silent, b"3", call("poor", None, 2), call("note", [2], "z")]
        answers = await ask(stream, b"[" + b",".join(parts) + b"]")
        assert [answer["id"] for answer in answers] == [1, None, 2, "z"]
        assert [answer.get("error", {}).get("code") for answer in answers] == [None, -32600, 13_000, None]
        await stream.send_all(post(b"[" + silent + b"]"))
        assert (await read_response(stream, bytearray()))[2] == b""
    assert world.calls == [1, 2, 1]


async def test_batches_and_answers_are_bounded() -> None:
    async with World().connected(Limits(batch_calls_max=3, answer_bytes_max=1_000)) as stream:
        many = await ask(stream, b"[" + b",".join([call("echo")] * 4) + b"]")
        assert many["error"]["code"] == -32005 and "more than 3" in many["error"]["message"]
        assert (await ask(stream, call("zeros", [1_001])))["error"]["code"] == -32005
        together = await ask(stream, b"[" + b",".join(call("zeros", [400], n) for n in range(3)) + b"]")
        assert [answer["id"] for answer in together] == [0, 1, 2]
        assert ["error" in answer for answer in together] == [False, False, True]


async def test_errors_reach_the_caller_whole() -> None:
    async with World().connected() as stream:
        assert (await ask(stream, call("poor")))["error"] == {
            "code": 13_000, "message": "12 micro-USD are free, 15 are needed",
            "data": {"kind": "InsufficientFunds", "reason": "INSUFFICIENT_FREE"},
        }


async def test_one_commit_completes_many_deferred_calls() -> None:
    world = World()
    async with world.connected() as stream:
        await stream.send_all(b"".join(post(call("commit", None, n)) for n in range(5)))
        await trio.testing.wait_all_tasks_blocked()
        for number, deferred in enumerate(world.deferred):
            deferred.resolve(f"position {number}") if number != 3 else deferred.fail(ValueError("secret detail"))
        buffer = bytearray()
        answers = [json.loads((await read_response(stream, buffer))[2]) for _ in range(5)]
    results = [answer.get("result") for answer in answers]
    assert results == ["position 0", "position 1", "position 2", None, "position 4"]
    assert answers[3]["error"]["code"] == -32603 and "secret" not in str(answers)


def test_a_deferred_is_completed_once() -> None:
    deferred = Deferred()
    deferred.resolve(1)
    with pytest.raises(AssertionError):
        deferred.resolve(2)


@pytest.mark.parametrize("name", ["body_bytes_max", "write_timeout_s", "batch_calls_max"])
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 0}).check()
