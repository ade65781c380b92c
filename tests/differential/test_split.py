"""PromiseCourt splits posted chunks into transactions exactly as the rules do, whatever traders send."""

from __future__ import annotations

import pytest

from tests.differential.harness import Court
from tests.differential.soup import Soup
from tests.evm import Contract


def split(promises: Contract, chunk: bytes) -> list[bytes]:
    """A chunk's transactions, as the contract walks over them."""
    found: list[bytes] = []
    at = 0
    while at < len(chunk):
        offset, size = promises.call("transaction_at", chunk, len(found), bytes(32))
        assert offset == at and size > 0
        found.append(chunk[at : at + size])
        at += size
    assert at == len(chunk)
    return found


@pytest.mark.parametrize("seed", [1_002, 1_003])
def test_histories_are_split_alike(court: Court, seed: int) -> None:
    """The pieces are those that were executed one by one: their count is the rules' own, and their bytes are all."""
    soup = Soup(court, seed)
    soup.run(30)
    promises = court.evm.deploy("PromiseCourt", court.rollup, 1, 1)
    pieces = [piece for chunk in soup.world.chunks for piece in split(promises, chunk)]
    assert len(pieces) == soup.world.engine.globals.position
    assert {piece[0] for piece in pieces} >= {1, 5, 6, 8, 9}
    print(f"seed {seed}: {len(pieces)} transactions of kinds {sorted({piece[0] for piece in pieces})}")
