# pragma version 0.4.3
"""
@title  The ladder that an account under margin goes down
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/liquidation.py, where the ladder, its formulas and its reasons stand: buffer, early reduction, hard
        liquidation, takeover by insurance. Rungs go by equity with stale markets worsened; fills, penalties and takeovers by
        equity at last marks.
"""
from stf import accounts
from stf import book
from stf import fixed_point
from stf import insurance
from stf import margin
from stf import params
from stf import parts
from stf import state
from stf import types

uses: state
uses: margin
uses: accounts
uses: parts
uses: insurance


@internal
def liquidate(account: uint256, market: uint256, forced: bool) -> uint256:
    """@notice Takes the next step with one position of an account; account 0 is the market's insurance."""
    if account == 0:
        return insurance.work_off(market)
    if not state.account_exists(account):
        return types.NO_ACCOUNT
    status: uint256 = insurance.may_act(market)
    if status != types.OK:
        return status
    flags: uint256 = state.get_account_flags(account)
    index: uint256 = state.find_position(account, market)
    held: bool = False
    if index != types.NO_INDEX:
        held = state.get_position(account, index).size != 0
    if not held and flags & types.FLAG_BUFFERED == 0:
        return types.NO_POSITION
    health: types.Terms = margin.health(account)
    if health.equity >= health.maintenance:
        return self.spare(account, market, health, flags, forced)
    if not held:
        return types.NO_POSITION
    if health.equity + health.haircut < 0:
        return self.take_over(account, market, health)
    if state.get_board(market).status == types.SETTLING:
        return types.NOT_LIQUIDATABLE
    return self.descend(account, market, health, flags, forced)


@internal
def spare(account: uint256, market: uint256, health: types.Terms, flags: uint256, forced: bool) -> uint256:
    """@notice An account that meets maintenance: its buffer ends; if it asked for it, it is reduced early."""
    if flags & types.FLAG_BUFFERED != 0:
        used: uint256 = 0
        at: uint256 = 0
        used, at = state.get_buffer(account)
        now: uint256 = state.get_time()
        state.set_buffer(account, self.refilled(used, now - at, state.get_chain().refill), now)
        state.set_account_flags(account, flags - types.FLAG_BUFFERED)
        return types.RECOVERED
    if flags & types.FLAG_OPT_IN == 0 or state.get_board(market).status == types.SETTLING:
        return types.NOT_LIQUIDATABLE
    if not margin.is_threatened(health):
        return types.NOT_LIQUIDATABLE
    return self.reduce_early(account, market, health, forced)


@internal
def descend(account: uint256, market: uint256, health: types.Terms, flags: uint256, forced: bool) -> uint256:
    """@notice An account between bankruptcy and maintenance."""
    if self.use_buffer(account, health.stale == 0, flags, state.get_chain()) or health.equity < margin.closeout(health):
        accounts.kill_orders(account, market, False)
        return self.reduce_hard(account, market, health)
    if self.adds_risk(state.get_position(account, state.find_position(account, market))):
        accounts.kill_orders(account, market, False)
    if margin.is_threatened(health):
        return self.reduce_early(account, market, health, forced)
    return types.BUFFERED


@internal
def use_buffer(account: uint256, fresh: bool, flags: uint256, rules: types.Chain) -> bool:
    """@notice Counts the time since the last call against the account's buffer. @return whether none is left."""
    if rules.buffer_ms == 0:
        return True
    used: uint256 = 0
    at: uint256 = 0
    used, at = state.get_buffer(account)
    now: uint256 = state.get_time()
    if flags & types.FLAG_BUFFERED == 0:
        used = self.refilled(used, now - at, rules.refill)
        state.set_account_flags(account, flags | types.FLAG_BUFFERED)
    elif fresh:
        used = min(rules.buffer_ms, used + min(now - at, params.BUFFER_STEP_MS))
    state.set_buffer(account, used, now)
    return used >= rules.buffer_ms


@pure
@internal
def refilled(used: uint256, healthy: uint256, refill: uint256) -> uint256:
    """@return buffer used up after so many ms of health; `refill` 0 gives all back at once."""
    if refill == 0:
        return 0
    back: int256 = fixed_point.div_down(convert(healthy, int256), convert(refill, int256))
    return convert(max(0, convert(used, int256) - back), uint256)


@pure
@internal
def adds_risk(position: types.Position) -> bool:
    """@notice Whether the account's open orders could make |size| larger than it is."""
    lots: int256 = abs(position.size)
    if abs(position.size + convert(position.buy_lots, int256)) > lots:
        return True
    return abs(position.size - convert(position.sell_lots, int256)) > lots


@internal
def reduce_hard(account: uint256, market: uint256, health: types.Terms) -> uint256:
    """@notice Closes a slice against the book, then takes the penalty."""
    config: types.Market = state.get_market(market)
    before: types.Terms = self.at_last_marks(health)
    size: int256 = state.get_position(account, state.find_position(account, market)).size
    lots: uint256 = insurance.slice_lots(
        size, state.get_board(market), config.min_notional, params.LIQUIDATION_SLICE_PPM
    )
    notional: uint256 = 0
    closed: uint256 = 0
    notional, closed = self.close(account, market, size, lots, config.band, before)
    if closed == 0:
        return types.NO_LIQUIDITY
    span: int256 = before.maintenance - margin.closeout(before)
    ppm: int256 = convert(config.penalty, int256)
    if span != 0:
        ppm = fixed_point.div_up(ppm * min(max(0, before.maintenance - before.equity), span), span)
    penalty: int256 = fixed_point.div_up(convert(notional, int256) * ppm, convert(params.PPM, int256))
    self.take_penalty(account, market, before, penalty)
    return types.OK


@internal
def take_penalty(account: uint256, market: uint256, before: types.Terms, penalty: int256):
    """@notice Moves the penalty into the market's insurance, as far as the account is no worse for it."""
    after: types.Terms = self.at_last_marks(margin.health(account))
    kept: int256 = fixed_point.div_up(before.equity * after.maintenance, before.maintenance)
    taken: int256 = min(penalty, max(0, after.equity - kept))
    state.add_collateral(account, -taken)
    state.add_insurance(market, taken)


@internal
def reduce_early(account: uint256, market: uint256, health: types.Terms, forced: bool) -> uint256:
    """@notice Closes a small slice near the mark, within what a block may close of the market."""
    config: types.Market = state.get_market(market)
    number: uint256 = 0
    reduced: uint256 = 0
    number, reduced = state.get_reduced(market)
    now: uint256 = state.get_block_number()
    if number != now:
        reduced = 0
    size: int256 = state.get_position(account, state.find_position(account, market)).size
    lots: uint256 = insurance.slice_lots(size, state.get_board(market), config.min_notional, params.PREDICT_SLICE_PPM)
    if config.reduce_cap != 0 and not forced:
        share: int256 = convert(state.get_open_interest(market) * config.reduce_cap, int256)
        cap: uint256 = convert(fixed_point.div_up(share, convert(params.PPM, int256)), uint256)
        if cap <= reduced:
            return types.REDUCED_ENOUGH
        lots = min(lots, cap - reduced)
    notional: uint256 = 0
    closed: uint256 = 0
    notional, closed = self.close(account, market, size, lots, config.near_band, self.at_last_marks(health))
    if closed == 0:
        return types.NO_LIQUIDITY
    state.set_reduced(market, now, reduced + closed)
    return types.OK


@internal
def close(
    account: uint256, market: uint256, size: int256, lots: uint256, band: uint256, health: types.Terms
) -> (uint256, uint256):
    """
    @notice Trades lots of a position away by an immediate order.
    @return the notional, micro-USD, and the lots that it filled.
    """
    state.spend_work(params.WORK_ACTION)
    taker: types.Pending = empty(types.Pending)
    taker.account = account
    taker.lots = lots
    taker.side = types.SELL if size > 0 else types.BUY
    taker.price = book.limit_price(taker.side, state.get_board(market).mark, band)
    taker.tif = types.LIQUIDATION
    after: types.Terms = empty(types.Terms)
    notional: uint256 = 0
    left: uint256 = 0
    after, notional, left = parts.fill_slice(market, taker, health)
    index: uint256 = state.find_position(account, market)
    if index != types.NO_INDEX:
        accounts.release_position(account, index)
    return notional, lots - left


@internal
def take_over(account: uint256, market: uint256, health: types.Terms) -> uint256:
    """@notice Insurance takes the position of a bankrupt account and pays this market's share of the debt."""
    index: uint256 = state.find_position(account, market)
    state.spend_work(params.WORK_TERM)
    share: int256 = margin.terms(state.get_position(account, index), state.get_board(market)).maintenance
    debt: int256 = fixed_point.div_up(-(health.equity + health.haircut) * share, health.maintenance)
    accounts.kill_orders(account, market, True)
    status: uint256 = insurance.take_over(account, market, debt)
    if status == types.OK:
        accounts.release_position(account, index)
    return status


@pure
@internal
def at_last_marks(health: types.Terms) -> types.Terms:
    """@return the same account, every market valued at its last mark however stale."""
    plain: types.Terms = health
    plain.equity += health.haircut
    plain.haircut = 0
    return plain
