"""What an order costs on the wire, and so on L1: bytes a transaction, with numbers as traders send them."""

import pytest

from node.stf import encoding
from node.stf.types import POST_ONLY, Action
from tests.stf.world import buy, cancel, private_key, sell, sign

NOW = 1_700_000_000_000  # ms
ACCOUNT = 48_213
PRICE = 600_000  # ticks: 60,000.0 at a tenth of a dollar
SINGLE_BYTES_MAX = 84
LISTED_BYTES_MAX = 14


def size(listed: list[Action], *, delay_ms: int = 350) -> int:
    """Bytes of a transaction signed ``delay_ms`` before the chunk's time, valid for 30 s."""
    nonce, expiry = NOW - delay_ms, NOW + 30_000
    digest = encoding.actions_digest(ACCOUNT, 1, nonce, expiry, listed)
    return len(encoding.write_actions(ACCOUNT, 1, nonce, expiry, listed, sign(private_key("trader"), digest), NOW))


def test_single_order(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {
        "limit order": size([buy(0, PRICE, 1_500, 7_012)]),
        "order with expiry": size([sell(12, PRICE + 37, 250, 12_001, expiry=NOW + 60_000)]),
        "cancel": size([cancel(0, 1, PRICE, 812_345, 7_012)]),
    }
    with capsys.disabled():
        print("\nbytes of a transaction:", ", ".join(f"{name} {count}" for name, count in sizes.items()))
    assert sizes["limit order"] <= SINGLE_BYTES_MAX
    assert max(sizes.values()) <= SINGLE_BYTES_MAX + 6


def test_order_in_a_list_of_twenty(capsys: pytest.CaptureFixture[str]) -> None:
    """A market maker's ladder, ten levels on each side."""
    listed = [buy(3, PRICE - 10 * i, 1_000 + 10 * i, 4_000 + i, tif=POST_ONLY) for i in range(10)]
    listed += [sell(3, PRICE + 10 * i, 1_000 + 10 * i, 4_010 + i, tif=POST_ONLY) for i in range(10)]
    total = size(listed)
    with capsys.disabled():
        print(f"\nbytes of an order in a list of twenty: {total / len(listed):.2f}")
    assert total <= LISTED_BYTES_MAX * len(listed)
