"""Random histories in both languages. Seeds are in the tests' names; `ANCHORLINE_PROFILE=long` tries 20,000 chunks."""

from __future__ import annotations

import pytest

from tests.conftest import PROFILE
from tests.differential.harness import Court
from tests.differential.soup import Soup

LONG = PROFILE == "long"
HISTORIES = 50 if LONG else 8
CHUNKS = 400 if LONG else 100


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_histories_agree(court: Court, seed: int) -> None:
    soup = Soup(court, seed)
    soup.run(CHUNKS)
    verdicts = soup.world.verdicts
    gas, size = max(v.gas for v in verdicts), max(v.calldata_bytes for v in verdicts)
    invalid = sum(v.invalid for v in verdicts)
    print(f"seed {seed}: {len(verdicts)} chunks, {invalid} of them INVALID, at most {gas:,} gas and {size:,} bytes")
    assert len(verdicts) >= CHUNKS
