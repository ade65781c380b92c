"""One court for all differential tests of a session."""

import pytest

from tests.differential.harness import Court, shared_court


@pytest.fixture(scope="session")
def court() -> Court:
    return shared_court()
