"""What it costs to keep one transaction out of L1 for n blocks.

The proof needs g gas. It stays out of a block only if less than g is left over (the attacker bought s = G - g of its
gas limit G), or if the block's base fee is above what its sender pays, p*, or if whoever built the block was bribed.

**Space.** A block in which u gas is used multiplies the base fee by 1 + (u/T - 1)/8, T = G/2, so by 1.125 at most and
7/8 at least (EIP-1559). From this follows, for any pattern of blocks that the attacker buys from base fee b_0 on,

    cost = sum of u_i * b_i = T * (b_0 + ... + b_(n-1)) + 8 * T * (b_n - b_0)

so the cheapest pattern is the one with the lowest base fees. While b_i < p* the attacker must buy s, which multiplies
it by rho = 1 + (s/T - 1)/8 or more; once b_i >= p* it may leave a block empty, and is back at 7/8 * p* at worst. So
b_i >= min(b_0 * rho^i, 7/8 * p*) whatever the pattern, and

    cost(n) >= s * b_0 * (rho^k - 1) / (rho - 1)  +  (n - k) * T * (7/8 * p* - b_0)
    k = min(n, floor(ln(7/8 * p* / b_0) / ln rho))

The "- b_0" grants that others go on spending on blocks what they spent before. Left out, in the attacker's favour:
below p* the proof's sender can offer the difference as a tip, which the attacker has to outbid for all of s; and
whatever others buy beside s makes the base fee rise faster. For a proof larger than half a block (s <= T) nothing
follows, since others' demand may raise the base fee by itself: then the bound is 0.

    p* = max(what the watchtower's fee limit allows, prover's reward / g)

The reward is a tenth of the bond, and the price of exclusion scales with it: knoshua, "Fraud Proof Challenge Period",
hackmd.io/@knoshua/SkjfLZ2Sn. Stuffed blocks are no theory: solmaz.io/2018/10/18/anatomy-block-stuffing (2018, before
EIP-1559, for some 10,000 USD and three minutes).

**Bribes.** A share q of blocks is built by who takes a bribe, each block drawn independently (proposers are). Whoever
leaves the proof out forgoes its tip, w = (p* - b) * g, and wants at least that for each block. Fox, Pai and Resnick,
"Censorship Resistance in On-Chain Auctions", arXiv 2301.13321, define the cost of censorship so; Berger, Felten,
Mamageishvili and Sudakov, "Economic Censorship Games in Fraud Proofs", arXiv 2502.20334, play it as a game of budgets:

    P(kept out) = q^n          E[bribes] = w * (q + ... + q^n) = w * q * (1 - q^n) / (1 - q)
"""

from __future__ import annotations

from math import ceil, exp, floor, inf, log, log1p
from typing import Final

from node.cli.economy.settings import GWEI, PROVER_SHARE, Economy

#: USD; beyond it a cost says nothing more (all ether together is worth 1e12), and sums stay finite
COST_MAX: Final = 1e30
LOG_MAX: Final = 150.0
#: what an empty block leaves of the base fee
FALL: Final = 7 / 8


def blocks(economy: Economy, window_s: float | None = None) -> int:
    """L1 blocks of the window in which the proof must get in, after it was noticed."""
    window = economy.window_s if window_s is None else window_s
    return max(0, floor((window - economy.detect_s) / economy.block_s + 1e-9))


def window_of(economy: Economy, count: int) -> float:
    """The shortest window that leaves so many blocks, seconds."""
    return economy.detect_s + count * economy.block_s


def proof_price_gwei(economy: Economy) -> float:
    """p*: what somebody pays per gas to have the proof included, gwei."""
    per_gas = economy.proof_gas * economy.ether_usd * GWEI
    own = economy.proof_fee_max_gwei or economy.value_locked_usd / per_gas
    return max(own, PROVER_SHARE * economy.bond_usd / per_gas)


def space_gas(economy: Economy) -> float:
    """s: gas of each block that an attacker must buy so that the proof does not fit."""
    return economy.gas_limit - economy.proof_gas


def growth(economy: Economy, fill: float = 0.0) -> float:
    """rho: what a block with s bought, and a share ``fill`` of the rest by others, multiplies the base fee with."""
    bought = space_gas(economy)
    used = bought + fill * (economy.gas_limit - bought)
    return 1 + max(0.0, 2 * used / economy.gas_limit - 1) / 8


def ramp_blocks(economy: Economy) -> float:
    """k: blocks with s bought until the base fee is at 7/8 of p*; infinite if it never rises."""
    rho, price = growth(economy), FALL * proof_price_gwei(economy)
    if price <= economy.base_fee_gwei:
        return 0
    return floor(log(price / economy.base_fee_gwei) / log(rho) + 1e-9) if rho > 1 else inf


def fill_cost(economy: Economy, count: float, fill: float = 0.0) -> float:
    """USD for ``count`` blocks in a row with s bought in each: the geometric sum."""
    rho = growth(economy, fill)
    first = _block_usd(economy)
    if rho == 1:
        return min(COST_MAX, first * count)
    if count * log(rho) > LOG_MAX:
        return COST_MAX
    return min(COST_MAX, first * (exp(count * log(rho)) - 1) / (rho - 1))


def _block_usd(economy: Economy) -> float:
    """USD for s in the first block."""
    return space_gas(economy) * economy.base_fee_gwei * GWEI * economy.ether_usd


def hold_cost(economy: Economy) -> float:
    """USD a block for keeping the base fee where nobody pays for the proof, at least."""
    over = max(0.0, FALL * proof_price_gwei(economy) - economy.base_fee_gwei)
    return economy.gas_limit / 2 * over * GWEI * economy.ether_usd


def space_cost(economy: Economy, count: int) -> float:
    """Least USD for which bought space keeps a proof out for ``count`` blocks; 0 if nobody would pay for the proof, or
    where no bound is known."""
    if proof_price_gwei(economy) <= economy.base_fee_gwei or growth(economy) == 1:
        return 0.0
    ramp = min(float(count), ramp_blocks(economy))
    return min(COST_MAX, fill_cost(economy, ramp) + (count - ramp) * hold_cost(economy))


def space_blocks(economy: Economy, usd: float) -> int | None:
    """Fewest blocks whose space costs ``usd`` or more: `space_cost` the other way round. None: no number does."""
    if usd <= 0:
        return 0
    ramp, rho = ramp_blocks(economy), growth(economy)
    if rho == 1 or (ramp == 0 and hold_cost(economy) == 0):
        return None
    climb = log1p(usd * (rho - 1) / _block_usd(economy)) / log(rho)
    if climb <= ramp:
        return max(1, ceil(climb - 1e-9))
    return ceil(ramp + (usd - fill_cost(economy, ramp)) / hold_cost(economy) - 1e-9)


def kept_out_chance(economy: Economy, count: int, share: float | None = None) -> float:
    """q^n: the chance that bribed builders make ``count`` blocks in a row."""
    q = economy.censor_share if share is None else share
    return 1.0 if count == 0 or q == 1 else q**count


def bribe_usd(economy: Economy) -> float:
    """w: what a builder forgoes by leaving the proof out, USD a block."""
    over = max(0.0, proof_price_gwei(economy) - economy.base_fee_gwei)
    return over * economy.proof_gas * GWEI * economy.ether_usd


def expected_bribes(economy: Economy, count: int) -> float:
    """Mean USD in bribes until the first block that takes none, ``count`` at most."""
    q = economy.censor_share
    runs = count if q == 1 else q * (1 - q**count) / (1 - q)
    return bribe_usd(economy) * runs


def unseen_chance(economy: Economy, window_s: float | None = None) -> float:
    """Chance that no watchtower works in a whole window: a fault they share, or each blind and not repaired in time.

        P = c + (1 - c) * (u * exp(-W / r))^m        repair times without memory, watchtowers independent
    """
    window = economy.window_s if window_s is None else window_s
    alone = economy.blind_share * exp(-min(700.0, window / economy.repair_s))
    return economy.common_failure + (1 - economy.common_failure) * alone ** int(economy.watchtowers)
