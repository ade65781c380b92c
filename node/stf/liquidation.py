"""The ladder that an account under margin goes down. Anyone may ask for the next step; the rules decide which it is.

With equity E, maintenance M and close-out C = c * M (``margin``):

| where | what a call does |
|---|---|
| E >= M | ends the latency buffer (it refills); an account that opted in is reduced early when threatened |
| C <= E < M, buffer left | *buffered*: kills orders that could add risk; reduces early who is threatened |
| E < C, or buffer used up | *hard*: closes a slice against the book, for a penalty |
| E < 0 at last marks | *takeover*: insurance takes the position at the mark and pays its share of the debt |

**Buffer.** ``buffer_ms`` of time under M, counted from call to call, at most BUFFER_STEP_MS each, and only while all of
the account's prices are fresh: an outage, or nobody looking, costs nobody his buffer. Health gives 1 ms back per
``refill`` ms.

**Early (predictive) reduction.** Threatened: z standard deviations of the horizon would take E under C. Small slices
within ``near_band`` of the mark, no penalty, no fee, and no more lots of a market per block than ``reduce_cap`` of its
open interest, so that the remedy does not become the move that it fears. A forced call is not capped.

**Hard.** A slice within ``band`` of the mark; each fill of it, early or hard, must leave the account no worse: E' * M
>= E * M', E' >= 0 and |size| falls. Otherwise whoever is alone in the book could liquidate an account into debt, and
take from all others what it never had. The penalty goes to the market's insurance, grows from nothing at M to all of it
at C, and never makes an improving reduction worse:

    penalty = notional * penalty_ppm * min(M - E, M - C) / (M - C),   at most max(0, E' - div_up(E * M', M))

**Takeover.** The debt -E is shared by its markets' maintenance: D = div_up(-E * M_market, M), all of what is left for
the last.

Rungs go by E, in which a stale market is worth its last mark worsened, so one silent market shields nobody. Fills,
penalties and takeovers go by equity at last marks: a fear may cost a position, never money.
"""

from node.stf import accounts, book, insurance, margin, state
from node.stf.fixed_point import div_down, div_up
from node.stf.params import BUFFER_STEP_MS, LIQUIDATION_SLICE_PPM, PPM, PREDICT_SLICE_PPM, WORK_ACTION, WORK_TERM
from node.stf.types import (
    BUY,
    FLAG_BUFFERED,
    FLAG_OPT_IN,
    LIQUIDATION,
    NO_INDEX,
    SELL,
    SETTLING,
    Chain,
    Pending,
    Position,
    Status,
    Terms,
)


def liquidate(account: int, market: int, forced: bool) -> Status:
    """Take the next step with one position of an account; account 0 is the market's insurance."""
    if account == 0:
        return insurance.work_off(market)
    if not state.account_exists(account):
        return Status.NO_ACCOUNT
    status = insurance.may_act(market)
    if status != Status.OK:
        return status
    flags = state.get_account_flags(account)
    index = state.find_position(account, market)
    held = index != NO_INDEX and state.get_position(account, index).size != 0
    if not held and flags & FLAG_BUFFERED == 0:
        return Status.NO_POSITION
    health = margin.health(account)
    if health.equity >= health.maintenance:
        return spare(account, market, health, flags, forced)
    if not held:
        return Status.NO_POSITION
    if health.equity + health.haircut < 0:
        return take_over(account, market, health)
    if state.get_board(market).status == SETTLING:
        return Status.NOT_LIQUIDATABLE
    return descend(account, market, health, flags, forced)


def spare(account: int, market: int, health: Terms, flags: int, forced: bool) -> Status:
    """An account that meets maintenance: its buffer ends; if it asked for it, it is reduced early."""
    if flags & FLAG_BUFFERED != 0:
        used, at = state.get_buffer(account)
        now = state.get_time()
        state.set_buffer(account, refilled(used, now - at, state.get_chain().refill), now)
        state.set_account_flags(account, flags - FLAG_BUFFERED)
        return Status.RECOVERED
    if flags & FLAG_OPT_IN == 0 or state.get_board(market).status == SETTLING or not margin.is_threatened(health):
        return Status.NOT_LIQUIDATABLE
    return reduce_early(account, market, health, forced)


def descend(account: int, market: int, health: Terms, flags: int, forced: bool) -> Status:
    """An account between bankruptcy and maintenance."""
    chain = state.get_chain()
    if use_buffer(account, health.stale == 0, flags, chain) or health.equity < margin.closeout(health):
        accounts.kill_orders(account, market, False)
        return reduce_hard(account, market, health)
    if adds_risk(state.get_position(account, state.find_position(account, market))):
        accounts.kill_orders(account, market, False)
    if margin.is_threatened(health):
        return reduce_early(account, market, health, forced)
    return Status.BUFFERED


def use_buffer(account: int, fresh: bool, flags: int, chain: Chain) -> bool:
    """Count the time since the last call against the account's buffer; returns whether none is left."""
    if chain.buffer_ms == 0:
        return True
    used, at = state.get_buffer(account)
    now = state.get_time()
    if flags & FLAG_BUFFERED == 0:
        used = refilled(used, now - at, chain.refill)
        state.set_account_flags(account, flags | FLAG_BUFFERED)
    elif fresh:
        used = min(chain.buffer_ms, used + min(now - at, BUFFER_STEP_MS))
    state.set_buffer(account, used, now)
    return used >= chain.buffer_ms


def refilled(used: int, healthy: int, refill: int) -> int:
    """Buffer used up after so many ms of health; ``refill`` 0 gives all back at once."""
    if refill == 0:
        return 0
    return max(0, used - div_down(healthy, refill))


def adds_risk(position: Position) -> bool:
    """Whether the account's open orders could make |size| larger than it is."""
    lots = abs(position.size)
    return abs(position.size + position.buy_lots) > lots or abs(position.size - position.sell_lots) > lots


def reduce_hard(account: int, market: int, health: Terms) -> Status:
    """Close a slice against the book, then take the penalty."""
    board = state.get_board(market)
    config = state.get_market(market)
    before = at_last_marks(health)
    size = state.get_position(account, state.find_position(account, market)).size
    lots = insurance.slice_lots(size, board, config.min_notional, LIQUIDATION_SLICE_PPM)
    notional, closed = close(account, market, size, lots, config.band, before)
    if closed == 0:
        return Status.NO_LIQUIDITY
    span = before.maintenance - margin.closeout(before)
    ppm = config.penalty
    if span != 0:
        ppm = div_up(ppm * min(max(0, before.maintenance - before.equity), span), span)
    take_penalty(account, market, before, div_up(notional * ppm, PPM))
    return Status.OK


def take_penalty(account: int, market: int, before: Terms, penalty: int) -> None:
    """Move the penalty into the market's insurance, as far as the account is no worse for it."""
    after = at_last_marks(margin.health(account))
    kept = div_up(before.equity * after.maintenance, before.maintenance)
    penalty = min(penalty, max(0, after.equity - kept))
    state.add_collateral(account, -penalty)
    state.add_insurance(market, penalty)


def reduce_early(account: int, market: int, health: Terms, forced: bool) -> Status:
    """Close a small slice near the mark, within what a block may close of the market."""
    board = state.get_board(market)
    config = state.get_market(market)
    block, reduced = state.get_reduced(market)
    now = state.get_block_number()
    if block != now:
        reduced = 0
    size = state.get_position(account, state.find_position(account, market)).size
    lots = insurance.slice_lots(size, board, config.min_notional, PREDICT_SLICE_PPM)
    if config.reduce_cap != 0 and not forced:
        lots = min(lots, div_up(state.get_open_interest(market) * config.reduce_cap, PPM) - reduced)
    if lots <= 0:
        return Status.REDUCED_ENOUGH
    _notional, closed = close(account, market, size, lots, config.near_band, at_last_marks(health))
    if closed == 0:
        return Status.NO_LIQUIDITY
    state.set_reduced(market, now, reduced + closed)
    return Status.OK


def close(account: int, market: int, size: int, lots: int, band: int, health: Terms) -> tuple[int, int]:
    """Trade lots of a position away by an immediate order; returns notional, micro-USD, and lots that it filled."""
    state.spend_work(WORK_ACTION)
    side = SELL if size > 0 else BUY
    price = book.limit_price(side, state.get_board(market).mark, band)
    _after, notional, left = book.fill_slice(market, Pending(account, lots, price, 0, 0, side, LIQUIDATION), health)
    index = state.find_position(account, market)
    if index != NO_INDEX:
        accounts.release_position(account, index)
    return notional, lots - left


def take_over(account: int, market: int, health: Terms) -> Status:
    """Insurance takes the position of a bankrupt account and pays this market's share of the debt."""
    index = state.find_position(account, market)
    state.spend_work(WORK_TERM)
    share = margin.terms(state.get_position(account, index), state.get_board(market)).maintenance
    debt = div_up(-(health.equity + health.haircut) * share, health.maintenance)
    accounts.kill_orders(account, market, True)
    status = insurance.take_over(account, market, debt)
    if status == Status.OK:
        accounts.release_position(account, index)
    return status


def at_last_marks(health: Terms) -> Terms:
    """The same account, every market valued at its last mark however stale."""
    return Terms(
        equity=health.equity + health.haircut,
        initial=health.initial,
        maintenance=health.maintenance,
        profit=health.profit,
        stale=health.stale,
        shock=health.shock,
    )
