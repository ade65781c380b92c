"""Test session: hash backend, hypothesis profiles, seeds, and where anvil and cast are.

Profiles: `ci` (default) is derandomised, so the same examples run everywhere; `long` draws fresh ones, prints the seed
of every failure and runs many more. Choose with `pytest --hypothesis-profile long` or `ANCHORLINE_PROFILE=long`.
"""

from __future__ import annotations

import os

os.environ["ETH_HASH_BACKEND"] = "pysha3"  # before anything imports eth_hash: its own choice is seven times slower

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.evm import Evm

# anvil and cast, as `npm install --prefix .ci` leaves them.
TOOLS = Path(__file__).resolve().parent.parent / ".ci" / "node_modules" / ".bin"
if TOOLS.is_dir():
    os.environ["PATH"] = f"{TOOLS}{os.pathsep}{os.environ.get('PATH', '')}"

PROFILE = os.environ.get("ANCHORLINE_PROFILE", "ci")

_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=40, print_blob=True, suppress_health_check=_CHECKS
)
settings.register_profile(
    "long", deadline=timedelta(minutes=2), max_examples=2_000, print_blob=True, suppress_health_check=_CHECKS
)
settings.load_profile(PROFILE)


def pytest_report_header(config: pytest.Config) -> str:
    """Say which examples this run tries, so that it can be repeated."""
    seed = config.getoption("--hypothesis-seed", None)
    chosen = config.getoption("--hypothesis-profile", None) or PROFILE
    return f"anchorline: hypothesis profile {chosen}, seed {seed if seed is not None else 'derived from each test'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests marked `long` to the long profile."""
    if PROFILE == "long":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def evm() -> Evm:
    """An empty Prague EVM, see tests/evm.py."""
    return Evm()
