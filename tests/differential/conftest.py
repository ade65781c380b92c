"""One court for all differential tests of a session: deploying it compiles four contracts."""

import pytest

from tests.differential.harness import Court


@pytest.fixture(scope="session")
def court() -> Court:
    return Court()
