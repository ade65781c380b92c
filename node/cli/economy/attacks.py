"""Every attack that the protocol leaves a price on: what it brings at most, what it costs, by whom, and why.

A flow is (gain, cost, chance): USD, and the chance that the gain comes about. Where an attack may fail, gain and cost
are means over failing and succeeding; where the attacker waits for a price move, gain is the most, at ``tail_z``
deviations, and chance the chance that a move as large as the cost comes within the time. An attack pays when gain >
cost.

What a slash costs its victim: the whole bond, less a tenth as prover of the own fraud and a tenth as only claimant of
the victims' pot (contracts/seat.vy, contracts/PromiseCourt.vy). So 0.8 of the bond, at least. Proving one's own fraud
is known of dispute games generally: Lee, "Hollow Victory", arXiv 2504.05094.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from node.cli.economy import censorship, prices
from node.cli.economy.settings import GWEI, IDLE_SHARE, LOST_SHARE, PROVER_SHARE, VICTIMS_SHARE, Economy

HOUR_S: Final = 3_600.0
CENT: Final = 0.01
#: messages that a batch must consume at most (contracts/inbox.vy: FORCED_PER_BATCH)
MESSAGES_PER_BATCH: Final = 64
#: an Inbox transaction is one non-zero byte of posted data: 40 gas (EIP-7623)
CONSUMED_GAS: Final = 40
STALE_STEPS: Final = 40


@dataclass(frozen=True)
class Flow:
    """What an attack brings and costs, USD; the chance that the gain comes about."""

    gain: float
    cost: float
    chance: float = 1.0

    @property
    def net(self) -> float:
        """What the attacker is left with."""
        return self.gain - self.cost

    @property
    def pays(self) -> bool:
        """Whether it is worth a cent."""
        return self.net > CENT


@dataclass(frozen=True)
class Attack:
    """One way to attack. ``limit`` tells what else than bond and window would stop it, for this economy."""

    name: str
    title: str
    flow: Callable[[Economy], Flow]
    formula: str
    source: str
    limit: Callable[[Economy], str]


# --- a wrong root -----------------------------------------------------------------------------------------------------


def slashed(economy: Economy) -> float:
    """What the owner of a slashed bond loses at least."""
    return LOST_SHARE * economy.bond_usd


def buy_space(economy: Economy) -> Flow:
    """Keep every proof out of L1 by filling blocks, until the window closes. Sure to work, if paid for."""
    return Flow(economy.value_locked_usd, censorship.space_cost(economy, censorship.blocks(economy)))


def bribe(economy: Economy) -> Flow:
    """Pay each builder to leave the proof out; one who does not take it ends the attack, and the bond is gone."""
    count = censorship.blocks(economy)
    chance = censorship.kept_out_chance(economy, count)
    cost = (1 - chance) * slashed(economy) + censorship.expected_bribes(economy, count)
    return Flow(chance * economy.value_locked_usd, cost, chance)


def unseen(economy: Economy) -> Flow:
    """Post a wrong root and hope that nobody looks."""
    chance = censorship.unseen_chance(economy)
    return Flow(chance * economy.value_locked_usd, (1 - chance) * slashed(economy), chance)


# --- promises ---------------------------------------------------------------------------------------------------------


def insider_usd(economy: Economy) -> float:
    """Notional that the operator's trader can open un-anchored: from tau_reduce on, markets open nothing.

    Letting L2 time crawl does not stretch that: publishers' prices carry their time, which L2 time must have reached.
    """
    open_s = min(economy.promise_deadline_s, economy.tau_reduce_s or economy.promise_deadline_s)
    return economy.insider_share * economy.turnover_usd_h * open_s / HOUR_S


def undo_gain(economy: Economy) -> float:
    """The most that calling off all un-anchored trades of his own is worth to the operator, USD.

        N * tail_z * sigma * sqrt(promise_deadline), and no more than traders have: the value locked
    """
    move = economy.tail_z * prices.deviation(economy, economy.promise_deadline_s)
    return min(economy.value_locked_usd, insider_usd(economy) * move)


def _undo(economy: Economy, cost: float) -> Flow:
    spread = insider_usd(economy) * prices.deviation(economy, economy.promise_deadline_s)
    return Flow(undo_gain(economy), cost, prices.touch_chance(cost, spread))


def withhold(economy: Economy) -> Flow:
    """Promise, watch the price, and when the own trader has lost, leave the seat with nothing posted."""
    return _undo(economy, IDLE_SHARE * economy.bond_usd)


def break_promises(economy: Economy) -> Flow:
    """Post another order than was promised."""
    return _undo(economy, slashed(economy))


def self_slash(economy: Economy) -> Flow:
    """Post a wrong root to undo what is un-anchored, prove it oneself, and claim as one's own victim."""
    back = (PROVER_SHARE + VICTIMS_SHARE) * economy.bond_usd
    undone = _undo(economy, economy.bond_usd)
    return Flow(undone.gain + back, economy.bond_usd, _undo(economy, slashed(economy)).chance)


def early_payment(economy: Economy) -> Flow:
    """Sell claims on withdrawals of a wrong root to liquidity providers that run no verifier."""
    return Flow(economy.lp_exposure_usd, slashed(economy))


def at_once(economy: Economy) -> Flow:
    """Break promises, sell false claims and hope to stay unseen, all against one bond."""
    lucky = unseen(economy)
    return Flow(lucky.gain + undo_gain(economy) + economy.lp_exposure_usd, lucky.cost, lucky.chance)


# --- the market -------------------------------------------------------------------------------------------------------


def stale_margin(economy: Economy) -> Flow:
    """Long in one account, short in another, both at the initial margin: one wins, the other walks away from its debt.

    Assumes what favours the attacker: nobody liquidates until L1 knows the state. The worst un-anchored time counts.
    """
    gain = economy.open_interest_usd * max(
        prices.shortfall(economy.im_base + prices.addon(economy, tau), prices.deviation(economy, tau))
        for tau in stale_times(economy))
    spread = prices.deviation(economy, economy.tau_reduce_s or economy.tau_halt_s or economy.promise_deadline_s)
    reach = economy.im_base + prices.addon(economy, economy.tau_reduce_s)
    return Flow(gain, 2 * economy.taker_fee * economy.open_interest_usd, prices.touch_chance(reach, spread))


def stale_times(economy: Economy, steps: int = STALE_STEPS) -> list[float]:
    """Un-anchored times at which a position can be opened: from one anchor to tau_reduce, evenly in the logarithm."""
    first = economy.anchor_interval_s
    last = max(first, economy.tau_reduce_s or economy.tau_halt_s or economy.promise_deadline_s)
    return [first * (last / first) ** (step / (steps - 1)) for step in range(steps)]


def one_publisher(economy: Economy) -> Flow:
    """One bought publisher of three or more moves the median between honest ones, and trades the way there and back."""
    return Flow(
        economy.open_interest_usd * economy.publisher_spread, 2 * economy.taker_fee * economy.open_interest_usd)


# --- standing in the way ----------------------------------------------------------------------------------------------


def squat(economy: Economy) -> Flow:
    """Sit in the seat and do nothing; evicted for a tenth of the bond, sit down again, until the rollup freezes."""
    rounds = max(1.0, economy.exodus_after_s / economy.seat_idle_s)
    gain = economy.halt_value_usd_h * economy.exodus_after_s / HOUR_S
    return Flow(gain, rounds * IDLE_SHARE * economy.bond_usd)


def flood(economy: Economy) -> Flow:
    """An hour of forced messages, as many as batches must take: what each costs the operator to consume."""
    count = MESSAGES_PER_BATCH * HOUR_S / economy.anchor_interval_s
    gas_usd = economy.base_fee_gwei * GWEI * economy.ether_usd
    cost = count * (economy.message_gas * gas_usd + economy.force_fee_usd)
    return Flow(count * CONSUMED_GAS * gas_usd, cost)


# --- the table --------------------------------------------------------------------------------------------------------


def _usd(value: float) -> str:
    return f"{value:,.0f} USD"


def _insider_limit(economy: Economy, cost: float) -> str:
    move = economy.tail_z * prices.deviation(economy, economy.promise_deadline_s)
    return "no volatility, no gain" if move == 0 else (
        f"the bond covers {_usd(cost / move)} of the operator's own un-anchored trades; assumed: "
        f"{_usd(insider_usd(economy))}")


def _space_limit(economy: Economy) -> str:
    if 2 * economy.proof_gas >= economy.gas_limit:
        return "a proof of more than half an L1 block may be kept out for nothing: the L1 needs larger blocks"
    count = censorship.space_blocks(economy, economy.value_locked_usd)
    return "no proof is paid for at this base fee: raise proof_fee_max_gwei" if count is None else (
        f"{count:,} L1 blocks, against {censorship.blocks(economy):,} in the window")


def _flood_limit(economy: Economy) -> str:
    flow = flood(economy)
    return f"costs {flow.cost / flow.gain:,.0f} times what it harms" if flow.gain else "harms nobody"


ATTACKS: Final = (
    Attack("buy-space", "wrong root; L1's blocks filled until the window closes", buy_space,
           "V against s*b*(rho^k - 1)/(rho - 1) + (n - k)*T*(7/8*p* - b)",
           "EIP-1559; node/cli/economy/censorship.py", _space_limit),
    Attack("bribe", "wrong root; L1's builders bribed", bribe,
           "q^n * V against (1 - q^n)*0.8*B + w*q*(1 - q^n)/(1 - q)",
           "arXiv 2301.13321, 2502.20334; q: arXiv 2407.13931",
           lambda e: f"each of {censorship.blocks(e):,} L1 blocks lets the proof in with a chance of "
           f"{100 * (1 - e.censor_share):.3g}%"),
    Attack("unseen", "wrong root; all watchtowers blind", unseen,
           "P*V against (1 - P)*0.8*B, P = c + (1 - c)*(u*e^(-W/r))^m",
           "after Mamageishvili and Felten, arXiv 2308.02880: one who checks is enough",
           lambda e: f"chance that nobody looks: {censorship.unseen_chance(e):.2g}"),
    Attack("withhold", "promised trades never posted, after the price has moved", withhold,
           "N*z*sigma*sqrt(deadline) against 0.1*B", "Bachelier 1900; contracts/PromiseCourt.vy: prove_late",
           lambda e: _insider_limit(e, withhold(e).cost)),
    Attack("break-promises", "another order posted than promised", break_promises,
           "N*z*sigma*sqrt(deadline) against 0.8*B", "Bachelier 1900; contracts/PromiseCourt.vy: prove_conflict",
           lambda e: _insider_limit(e, slashed(e))),
    Attack("self-slash", "own fraud proven by oneself, victims' pot claimed", self_slash,
           "0.2*B + N*z*sigma*sqrt(deadline) against B", "arXiv 2504.05094; contracts/seat.vy",
           lambda e: _insider_limit(e, slashed(e))),
    Attack("early-payment", "false claims sold to who pays early and checks nothing", early_payment,
           "L against 0.8*B", "contracts/withdrawals.vy: transfer_claim",
           lambda e: f"who runs no verifier should pay out at most {_usd(slashed(e))} in a window"),
    Attack("at-once", "broken promises, false claims and luck, against one bond", at_once,
           "P*V + N*z*sigma*sqrt(deadline) + L against (1 - P)*0.8*B", "a bond can be lost only once",
           lambda e: "the bond must cover the sum, not the largest"),
    Attack("stale-margin", "long and short in two accounts, the loser's debt left behind", stale_margin,
           "OI*max_tau E[max(0, |X| - im - addon(tau))] against 2*fee*OI", "Bachelier 1900; node/stf/finality.py",
           lambda e: f"chance of a debt by tau_reduce if nobody liquidates: {stale_margin(e).chance:.0e}"),
    Attack("one-publisher", "one price publisher bought", one_publisher, "OI*spread against 2*fee*OI",
           "the median of 2k + 1 prices lies between honest ones while k lie (node/stf/oracle.py)",
           lambda e: f"taker fees of {e.publisher_spread / 2:.4%} stop it, {e.taker_fee:.4%} are charged"),
    Attack("squat", "seat held idle again and again until the freeze", squat,
           "h*exodus_after against 0.1*B a seat_idle", "contracts/Rollup.vy: evict",
           lambda e: f"pays who gains {_usd(squat(e).cost / (e.exodus_after_s / HOUR_S))} an hour from standstill"),
    Attack("flood", "inbox flooded with forced messages, an hour", flood, "m*40*b against m*(gas*b + fee)",
           "contracts/inbox.vy: FORCED_PER_BATCH; EIP-7623", _flood_limit),
)


@dataclass(frozen=True)
class Bound:
    """What nothing in the protocol charges for, and what bounds it."""

    name: str
    title: str
    gain: float
    per: str
    holds: str


def bounds(economy: Economy) -> list[Bound]:
    """Harm that no bond prices, with its bound in USD."""
    look = economy.turnover_usd_h * prices.option_value(prices.deviation(economy, economy.order_expiry_s))
    hours = 1 + economy.react_s / HOUR_S
    paid = economy.outflow_limit_usd * hours if economy.outflow_limit_usd else economy.value_locked_usd
    long_enough = "long enough" if economy.window_s >= economy.social_s else "TOO SHORT"
    return [
        Bound("last-look", "an order held back before it is promised", look, "an hour",
              "the order's expiry: a promise binds, waiting for one does not"),
        Bound("inbox-only", "the seat's holder serves the inbox alone, as slowly as it may", economy.halt_value_usd_h,
              "an hour", f"forced transactions, each within {economy.seat_idle_s / HOUR_S:g} h; then withdrawals"),
        Bound("most-publishers", "a majority of price publishers bought", min(economy.value_locked_usd, paid), "in all",
              f"the outflow limit, for the {economy.react_s / HOUR_S:g} h until somebody reacts"),
        Bound("l1-majority", "a majority of L1's validators censors", economy.value_locked_usd, "in all",
              f"a window above the {economy.social_s / 86_400:g} days of a fork (forum.l2beat.com/t/425): this one is "
              f"{long_enough}"),
    ]
