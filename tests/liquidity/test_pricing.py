"""The fee: time and risk, or flat; rounded up, never more than the claim is worth."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from node.liquidity.pricing import YEAR_S, Terms

RATES = st.integers(0, 999_999)


def test_examples() -> None:
    day = Terms(fee_ppm=0, rate_ppm=100_000, risk_ppm=300, fee_min=0)
    assert day.fee(1_000_000_000, 86_400) == 273_973 + 300_000  # 1,000 USD for a day: 10% a year, and 3 basis points
    assert day.fee(1_000_000_000, YEAR_S) == 100_300_000
    assert day.fee(1_000_000_000, 0) == day.fee(1_000_000_000, -5) == 300_000
    assert Terms(2_000, 100_000, 300, 0).fee(100_000_000, 86_400) == 200_000
    least = Terms(2_000, 0, 0, 500_000)
    assert least.fee(100_000_000, 0) == 500_000 and least.fee(400_000, 0) == 399_999 and least.fee(1, 0) == 0


@given(amount=st.integers(1, 2**63), wait_s=st.integers(-10, 10 * YEAR_S), flat=RATES, rate=RATES, risk=RATES,
       least=st.integers(0, 10**10))
def test_it_is_the_formula_rounded_up_within_its_limits(
    amount: int, wait_s: int, flat: int, rate: int, risk: int, least: int
) -> None:
    fee = Terms(flat, rate, risk, least).fee(amount, wait_s)
    ppm = Fraction(flat) if flat else rate * Fraction(max(0, wait_s), YEAR_S) + risk
    wanted = max(amount * ppm / 10**6, least)
    assert fee == min(-(-wanted.numerator // wanted.denominator), amount - 1)
    assert 0 <= fee < amount, "the price is above zero, and not above the amount"
