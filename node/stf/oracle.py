"""Prices: publisher slots of a market, their quorum and median, the mark, and how much it moves.

    index = median of the fresh slots, the mean (rounded down) of the middle two for an even count
    mark  = index + basis rounded toward zero, at least 1 tick

``mark_time`` is the publication time of the quorum-th newest slot, so one comparison tells whether a quorum is fresh
at any later time: a price is fresh while  L2 time - mark_time <= stale_ms.

**Jumps.** A median further than ``jump_limit`` from the index, or from the last volatility sample (so many small steps
inside one sample count as one), is only a candidate. Until it is believed the mark stays but is not fresh: at a price
that everybody knows is gone nobody may trade, withdraw or be liquidated. It is believed once medians have stood beyond
the limit, on that side, for ``jump_hold``: the index then goes to the one of them *nearest* to the old index if the
newest is beyond the limit from that too (it becomes the next candidate), else to the newest. So a wild print (two
cents for a second) moves nothing, not even one that comes in the moment of belief, while a real crash is followed
within two holds however fast it falls on: a lower price does not start the wait again. A median back inside the limit
ends it.

**Basis** b, 2**-16 ticks, is the time-weighted mean of (mid - index), clamped before and after to ``basis_cap`` of
the index:

    b' = (b * T + sample * dt) / (T + dt)       T = basis_window, dt = time since the last look, at most T and stale_ms

the exponential average of the premium that venues add to an index (BitMEX, "Fair Price Marking", 2016). A book
without live quotes on both sides, or wider than ``spread_max``, gives no sample.

**Variance** v, ppb**2 per second: the exponentially weighted mean of squared returns (RiskMetrics Technical Document,
J.P. Morgan 1996, section 5.2), in the form for samples that are unevenly spaced:

    r = min(|P - P0| * 10**9 / P0, 10**9)       v' = div_up(T * v + 1000 * r**2, T + dt)       T = vol_window, dt in ms

at most one sample per ``vol_sample_ms``, of the index; dt counts as VARIANCE_STEP_MAX at most, so a gap on return
from an outage raises v.  risk = z * max(sigma_floor, sqrt(v)) is what margin reads.

**Expiry** of a dated future: its mark becomes the time-weighted mean of the *index* over SETTLE_WINDOW_MS before
expiry, as on Deribit ("Delivery price"), and stays. The index, not the mark: nobody can push a settlement through the
book. Inside the window the mark is what that mean will be if index and basis stay as they are,

    mark = (sum of index * dt so far + (index + basis) * time left) / (time so far + time left)

so it runs into the settlement price: a mark that jumped there at expiry would leave debts that no liquidation could
have come before, and two accounts of one trader could share them out.
"""

from typing import Final

from node.stf import funding, quotes, state
from node.stf.fixed_point import clamp, div_down, div_toward_zero, div_up, root_down
from node.stf.params import PPM, PRICE_MAX, PUBLISHERS_MAX, SETTLE_WINDOW_MS, U64_MAX
from node.stf.types import HALTED, NO_SUCH_MARKET, SETTLING, Board, Market, PriceState, Publisher, Status

RETURN_MAX: Final = 1_000_000_000  # ppb: a return of 100%
VARIANCE_STEP_MAX: Final = 3_600_000  # ms
BASIS_UNIT: Final = 65_536  # of basis per tick


def is_fresh(board: Board) -> bool:
    """Whether a market's mark rests on a quorum of recent prices, or is final."""
    if board.status == SETTLING:
        return True
    return board.mark > 0 and board.mark_time + board.stale_ms >= state.get_time()


def publish(market: int, slot: int, signer: int, time: int, price: int) -> Status:
    """Take one publisher's price for one market and recompute the mark."""
    board = state.get_board(market)
    if board.status == NO_SUCH_MARKET:
        return Status.NO_MARKET
    if board.status == SETTLING:
        return Status.MARKET_EXPIRED
    publisher = state.get_publisher(market, slot)
    if publisher.address == 0 or publisher.address != signer:
        return Status.NO_PUBLISHER
    if time <= publisher.time or time > state.get_time():
        return Status.BAD_TIME
    if price == 0:
        return Status.BAD_PRICE
    publisher.price = price
    publisher.time = time
    state.set_publisher(market, slot, publisher)
    update_mark(market)
    return Status.OK


def update_mark(market: int) -> None:
    """Bring funding, settlement price, index, basis, variance and mark up to now. The mark stays while fewer than a
    quorum are fresh, or while a jump waits; in a halted market everything stays."""
    board = state.get_board(market)
    if board.status == HALTED:
        return
    config = state.get_market(market)
    prices = state.get_price_state(market)
    if config.expiry != 0:
        count_settlement(market, board, prices, config.expiry)
    board, prices = funding.accrue(market, board, prices, config)
    if config.expiry != 0 and state.get_time() >= config.expiry:
        board = expire(market, board, prices)
    elif board.status != HALTED:
        board, prices = reprice(market, board, prices, config)
    state.set_price_state(market, prices)
    state.set_board(market, board)


def count_settlement(market: int, board: Board, prices: PriceState, expiry: int) -> None:
    """Add the time that the index stood since the last look, inside the settlement window and while it was fresh."""
    since = max(prices.funding_time, expiry - min(expiry, SETTLE_WINDOW_MS))
    elapsed = funding.fresh_ms(board, since, min(state.get_time(), expiry))
    if elapsed == 0:
        return
    total, covered_ms = state.get_twap(market)
    state.set_twap(market, total + prices.index * elapsed, covered_ms + elapsed)


def expire(market: int, board: Board, prices: PriceState) -> Board:
    """Fix a dated future's mark: the mean index of its settlement window, or the last one if none was fresh."""
    total, covered_ms = state.get_twap(market)
    board.status = SETTLING
    board.mark = prices.index if covered_ms == 0 else div_down(total, covered_ms)
    return board


def reprice(market: int, board: Board, prices: PriceState, config: Market) -> tuple[Board, PriceState]:
    """The index from the slots, if a quorum is fresh and no jump waits; then all that follows from it."""
    values, times, count = fresh_slots(market, board.stale_ms)
    if count == 0 or count < config.quorum:
        return board, prices
    sort(values, count)
    sort(times, count)
    index, prices = believe(median(values, count), prices, config)
    if index != 0:
        prices.index = index
        prices = sample_variance(prices, config)
        prices = sample_basis(market, prices, config, board.stale_ms)
        board.mark = fair_price(market, prices, config)
        board.mark_time = times[count - config.quorum]
        board.risk = risk_of(prices, config)
    if prices.jump_price != 0:
        board.mark_time = min(board.mark_time, last_stale(board.stale_ms))
    return board, prices


def last_stale(stale_ms: int) -> int:
    """The newest time at which a price would be too old now, ms."""
    return max(0, state.get_time() - stale_ms - 1)


def fair_price(market: int, prices: PriceState, config: Market) -> int:
    """Index and basis, ticks; for a dated future inside its settlement window, the mean that they would lead to."""
    price = clamp(prices.index + div_toward_zero(prices.basis, BASIS_UNIT), 1, PRICE_MAX)
    now = state.get_time()
    if config.expiry == 0 or now + SETTLE_WINDOW_MS <= config.expiry:
        return price
    left = config.expiry - now
    total, covered_ms = state.get_twap(market)
    return max(1, div_down(total + price * left, covered_ms + left))


def believe(price: int, prices: PriceState, config: Market) -> tuple[int, PriceState]:
    """The index that a median leads to, 0 while it must still hold; and what the market remembers of it."""
    limit = config.jump_limit
    # a limit that was lowered under what has been believed since the sample makes no jump of it
    drifts = is_beyond(price, prices.sample_price, limit) and not is_beyond(prices.index, prices.sample_price, limit)
    if not drifts and not is_beyond(price, prices.index, limit):
        prices.jump_price = 0
        return price, prices
    rises = price > prices.index
    now = state.get_time()
    if prices.jump_price == 0 or (prices.jump_price > prices.index) != rises:
        prices.jump_price = price
        prices.jump_at = now
        return 0, prices
    prices.jump_price = min(prices.jump_price, price) if rises else max(prices.jump_price, price)
    if now - prices.jump_at < config.jump_hold:
        return 0, prices
    if not is_beyond(price, prices.jump_price, limit):
        prices.jump_price = 0
        return price, prices
    index = prices.jump_price
    prices.jump_price = price
    prices.jump_at = now
    return index, prices


def is_beyond(price: int, base: int, limit: int) -> bool:
    """Whether a price is further than ``limit`` ppm from a base. No base, or a limit of 0, puts nothing beyond."""
    return limit != 0 and base != 0 and abs(price - base) * PPM > base * limit


def sample_basis(market: int, prices: PriceState, config: Market, stale_ms: int) -> PriceState:
    """Average the book's premium over the index into the basis. One sample per L2 time; a window of 0 is off."""
    if config.basis_window == 0:
        prices.basis = 0
        return prices
    now = state.get_time()
    cap = div_down(prices.index * config.basis_cap * BASIS_UNIT, PPM)
    elapsed = min(config.basis_window, stale_ms, now - prices.basis_time)
    prices.basis_time = now
    if elapsed != 0:
        twice, spread = quotes.mid(market)
        if twice != 0 and 2 * spread * PPM <= config.spread_max * twice:
            sample = clamp((twice - 2 * prices.index) * (BASIS_UNIT // 2), -cap, cap)
            weighed = prices.basis * config.basis_window + sample * elapsed
            prices.basis = div_toward_zero(weighed, config.basis_window + elapsed)
    prices.basis = clamp(prices.basis, -cap, cap)
    return prices


def sample_variance(prices: PriceState, config: Market) -> PriceState:
    """Take a volatility sample if one is due, or if the index has just been let go beyond the jump limit."""
    if config.vol_window == 0:
        prices.sample_price = 0
        return prices
    now = state.get_time()
    elapsed = now - prices.sample_time
    old = prices.sample_price
    if old != 0 and elapsed < config.vol_sample_ms and not is_beyond(prices.index, old, config.jump_limit):
        return prices
    prices.sample_price = prices.index
    prices.sample_time = now
    if old == 0:
        return prices
    change = min(div_down(abs(prices.index - old) * RETURN_MAX, old), RETURN_MAX)
    window = config.vol_window
    variance = div_up(window * prices.variance + 1_000 * change * change, window + min(elapsed, VARIANCE_STEP_MAX))
    prices.variance = min(U64_MAX, variance)
    return prices


def risk_of(prices: PriceState, config: Market) -> int:
    """z * max(floor, sigma), in 1/100 ppb per square root of a second."""
    sigma = 0 if config.vol_window == 0 else root_down(prices.variance)
    return config.z * max(config.sigma_floor, sigma)


def configure(market: int) -> None:
    """Let new risk parameters take effect at once: the risk that margin reads. The rest follows with the next price."""
    board = state.get_board(market)
    board.risk = risk_of(state.get_price_state(market), state.get_market(market))
    state.set_board(market, board)


def fresh_slots(market: int, stale_ms: int) -> tuple[list[int], list[int], int]:
    """Prices and times of the slots published within ``stale_ms``, and their number. Arrays of PUBLISHERS_MAX."""
    prices = [0] * PUBLISHERS_MAX
    times = [0] * PUBLISHERS_MAX
    count = 0
    now = state.get_time()
    for slot in range(state.get_publisher_count(market)):
        publisher: Publisher = state.get_publisher(market, slot)
        if publisher.address != 0 and publisher.price != 0 and publisher.time + stale_ms >= now:
            prices[count] = publisher.price
            times[count] = publisher.time
            count += 1
    return prices, times, count


def sort(values: list[int], count: int) -> None:
    """Order the first ``count`` <= PUBLISHERS_MAX values, ascending, in place."""
    values[:count] = sorted(values[:count])


def median(prices: list[int], count: int) -> int:
    """Middle of ``count`` >= 1 ascending prices."""
    middle = count // 2
    if count % 2 == 1:
        return prices[middle]
    return (prices[middle - 1] + prices[middle]) // 2
