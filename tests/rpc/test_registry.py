"""Typed methods: parameters by name and position, errors that name the culprit, self-description, metrics."""

from __future__ import annotations

from typing import Any

import pytest

from node.rpc.errors import ErrorKind, RpcError, fail, fail_status, kind_of, kind_of_status
from node.rpc.server import Registry
from node.stf.types import Status
from tests.rpc.world import World, ask, call

ORDER = {"market": 1, "lots": 2}


@pytest.mark.parametrize(
    "params",
    [[ORDER, 7], [ORDER, 7, ""], {"order": ORDER, "account": 7}, {"account": 7, "label": "", "order": ORDER}],
)
async def test_parameters_come_by_position_or_by_name(params: Any) -> None:
    async with World().connected() as stream:
        answer = await ask(stream, call("place", params))
        assert answer["result"] == {"market": 1, "account": 7, "label": ""}


@pytest.mark.parametrize(
    ("params", "param", "reason"),
    [
        ({"order": ORDER}, "account", "is missing"),
        ({"order": {"market": 1}, "account": 7}, "order.lots", "is missing"),
        ({"order": {**ORDER, "leverage": 9}, "account": 7}, "order.leverage", "is unknown"),
        ({"order": ORDER, "account": 7, "acount": 7}, "acount", "is unknown"),
        ({"order": ORDER, "account": "7"}, "account", "Expected `int`, got `str`"),
        ([{"market": 1, "lots": 0}, 7], "order.lots", "Expected `int` >= 1"),
        ([ORDER, 7.5], "account", "Expected `int`, got `float`"),
        ([ORDER], "", "order, account, [label]"),
        ([ORDER, 7, "", 1], "", "order, account, [label]"),
        (None, "", "order, account, [label]"),
        ("order", "", "order, account, [label]"),
    ],
)
async def test_a_misfit_names_the_parameter_and_the_reason(params: Any, param: str, reason: str) -> None:
    async with World().connected() as stream:
        error = (await ask(stream, call("place", params)))["error"]
        assert error["code"] == -32602 and error["data"]["kind"] == "InvalidParams"
        assert error["data"].get("param", "") == param
        assert reason in error["message"] and error["message"].startswith("place: ")


async def test_an_unknown_method_is_told_the_nearest_one() -> None:
    async with World().connected() as stream:
        error = (await ask(stream, call("palce")))["error"]
        assert error["code"] == -32601 and "did you mean place?" in error["message"]
        assert "discover" in (await ask(stream, call("x" * 70)))["error"]["message"]


async def test_discovery_lists_every_method_with_schemas_that_resolve() -> None:
    world = World()
    async with world.connected() as stream:
        document = (await ask(stream, call("rpc.discover")))["result"]
        modules = (await ask(stream, call("rpc_modules")))["result"]
    methods = {method["name"]: method for method in document["methods"]}
    assert set(methods) == set(world.registry.names)
    place = methods["place"]
    assert place["summary"] == "Places an order."
    assert [(param["name"], param["required"]) for param in place["params"]] == [
        ("order", True), ("account", True), ("label", False)]
    reference = place["params"][0]["schema"]["$ref"].removeprefix("#/components/schemas/")
    assert document["components"]["schemas"][reference]["properties"]["lots"]["minimum"] == 1
    assert modules["eth"] == "1.0" and modules["web3"] == "1.0"


async def test_requests_errors_and_times_are_counted() -> None:
    world = World()
    async with world.connected() as stream:
        for body in (call("echo"), call("echo"), call("slow_echo"), call("poor"), call("broken"), call("nothing")):
            await ask(stream, body)

    def value(name: str, **labels: str) -> float | None:
        return world.metrics.registry.get_sample_value(f"anchorline_rpc_server_{name}", labels)

    assert value("requests_total", method="echo") == 2
    assert value("requests_total", method="slow_echo") == 1
    assert value("request_duration_seconds_count", method="slow_echo") == 1
    assert value("errors_total", method="poor", kind="InsufficientFunds") == 1
    assert value("errors_total", method="broken", kind="InternalError") == 1
    assert value("errors_total", method="unknown", kind="MethodNotFound") == 1
    assert value("requests_total", method="nothing") is None


def test_registration_refuses_what_could_not_work() -> None:
    registry = Registry("x", "0")
    registry.add("one", lambda: 1)
    with pytest.raises(ValueError, match="registered already"):
        registry.add("one", lambda: 2)
    for name in ("", "9lives", "with space", "x" * 65):
        with pytest.raises(ValueError, match="method name"):
            registry.add(name, lambda: 1)
    with pytest.raises(TypeError, match="parameter value has no annotation"):
        registry.add("two", lambda value: value)

    def three(value: object) -> None: ...

    with pytest.raises(TypeError, match="method three: a parameter or the result has no JSON form"):
        registry.add("three", three)


def test_error_codes_are_distinct_and_the_tree_has_two_roots() -> None:
    assert len({kind.code for kind in ErrorKind}) == len(list(ErrorKind)) == len(ErrorKind.__members__)
    roots = {kind.ancestry[-1] for kind in ErrorKind}
    assert roots == {"ExchangeError", "OperationFailed"}
    assert ErrorKind.OrderNotFound.ancestry == ("OrderNotFound", "InvalidOrder", "ExchangeError")
    assert ErrorKind.RateLimitExceeded.temporary and not ErrorKind.InsufficientFunds.temporary


def test_error_codes_of_released_kinds_do_not_move() -> None:
    released = {"InsufficientFunds": 13_000, "InvalidOrder": 14_000, "OrderNotFound": 14_001, "InvalidNonce": 12_000,
                "RateLimitExceeded": 16_006, "InvalidParams": -32602, "MarketBusy": 15_000, "BadSignature": 11_001}
    assert {name: ErrorKind[name].code for name in released} == released


def test_every_refusal_of_the_rules_has_a_kind_of_its_own_choice() -> None:
    successes = {Status.OK, Status.PENDING, Status.BUFFERED, Status.RECOVERED}
    from node.rpc import errors

    assert set(errors._KIND_BY_STATUS) == {status.name for status in Status if status not in successes}
    error = fail_status(Status.INSUFFICIENT_MARGIN, "no", account=7)
    assert error.data == {"kind": "InsufficientMargin", "reason": "INSUFFICIENT_MARGIN", "account": 7}
    assert kind_of_status(Status.NONCE_USED) is ErrorKind.NonceUsed


def test_kinds_are_read_back_from_errors() -> None:
    assert kind_of(fail(ErrorKind.OrderNotFound, "x")) is ErrorKind.OrderNotFound
    assert kind_of(RpcError(-32601, "x")) is ErrorKind.MethodNotFound
    assert kind_of(RpcError(-1, "x", {"kind": "Strange"})) is None
