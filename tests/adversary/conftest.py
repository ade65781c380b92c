"""One L1 of each kind for all attacks of the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversary.ground import Arena, arena


@pytest.fixture(scope="session")
def embedded() -> Iterator[Arena]:
    """The embedded chain, in a process of its own."""
    with arena("embedded") as found:
        yield found


@pytest.fixture(scope="session")
def anvil() -> Iterator[Arena]:
    """anvil."""
    with arena("anvil") as found:
        yield found
