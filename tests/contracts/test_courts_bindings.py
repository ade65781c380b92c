"""node/l1/courts.py is the ABI of Exodus, PromiseCourt and ClaimMarket, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest

from node.l1 import courts
from tests.evm import compiled


def _type(parameter: dict[str, Any]) -> str:
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(c) for c in parameter['components'])}){kind[5:]}"


@pytest.mark.parametrize(
    ("name", "functions"),
    [("Exodus", courts.EXODUS), ("PromiseCourt", courts.PROMISE_COURT), ("ClaimMarket", courts.CLAIM_MARKET)])
def test_every_function_is_bound_with_its_types(name: str, functions: courts.Functions) -> None:
    abi = {entry["name"]: entry for entry in compiled(name).abi if entry["type"] == "function"}
    types = {n: (tuple(map(_type, e["inputs"])), tuple(map(_type, e["outputs"]))) for n, e in abi.items()}
    assert types == functions


def test_an_answer_that_does_not_decode_is_named() -> None:
    with pytest.raises(courts.BadEncoding, match="is_due answered 0 bytes"):
        courts.decode_result(courts.EXODUS, "is_due", b"")
