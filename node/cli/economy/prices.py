"""What a price can do in a time: the chance to run through a cushion, the loss beyond it, the worth of an option.

A price without drift moves by a normal amount with deviation sigma * sqrt(time) (Bachelier, "Theorie de la
speculation", 1900). Real returns have fatter tails, so chances far out in a tail are too small; `tail_z` and a
stressed `volatility` are what to turn for that.

    touch      P(min over t of X < -c)  =  2 * Phi(-c / d)                       d = N * sigma * sqrt(t)
               reflection principle (Levy 1939; textbook, e.g. Karatzas and Shreve 1991, section 2.6)
    shortfall  E[max(0, |X| - c)]       =  2 * (d * phi(c/d) - c * Phi(-c/d))    Bachelier 1900
    option     E[max(0, X)]             =  d / sqrt(2 * pi)  ~  0.4 * d
               the at-the-money price of Brenner and Subrahmanyam, "A Simple Formula to Compute the Implied Standard
               Deviation", Financial Analysts Journal, 1988
    add-on     min(cap, z * max(floor, sigma) * sqrt(tau))                       node/stf/finality.py
"""

from __future__ import annotations

from math import erfc, exp, pi, sqrt

from node.cli.economy.settings import Economy


def density(x: float) -> float:
    """phi: the standard normal density."""
    return exp(-x * x / 2) / sqrt(2 * pi)


def tail(x: float) -> float:
    """Phi(-x): the chance that a standard normal number exceeds x."""
    return erfc(x / sqrt(2)) / 2


def deviation(economy: Economy, time_s: float) -> float:
    """Standard deviation of the return over a time."""
    return economy.sigma * sqrt(max(0.0, time_s))


def touch_chance(cushion: float, spread: float) -> float:
    """Chance that a price with this deviation at the end has run through the cushion on its way; 1 without one."""
    if cushion <= 0:
        return 1.0
    return 0.0 if spread <= 0 else min(1.0, 2 * tail(cushion / spread))


def shortfall(cushion: float, spread: float) -> float:
    """Expected move beyond a cushion, either way."""
    if spread <= 0:
        return max(0.0, -cushion)
    distance = cushion / spread
    return max(0.0, 2 * (spread * density(distance) - cushion * tail(distance)))


def option_value(spread: float) -> float:
    """Expected worth of being allowed to call a trade off after the price has moved."""
    return spread / sqrt(2 * pi)


def addon(economy: Economy, tau_s: float) -> float:
    """What un-anchored time adds to the rate of initial margin."""
    return min(economy.addon_cap, economy.z * max(economy.sigma_floor, economy.sigma) * sqrt(max(0.0, tau_s)))


def cushion(economy: Economy, tau_s: float, *, with_addon: bool = True) -> float:
    """Share of its notional that a position opened at exactly the initial margin can lose above maintenance."""
    return economy.im_base - economy.mm_base + (addon(economy, tau_s) if with_addon else 0.0)


def stale_chance(economy: Economy, tau_s: float, *, with_addon: bool = True) -> float:
    """Chance that such a position's cushion is gone before L1 knows the state, tau being the un-anchored time."""
    return touch_chance(cushion(economy, tau_s, with_addon=with_addon), deviation(economy, tau_s))
