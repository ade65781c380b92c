# pragma version 0.4.3
"""
@title  Prices: publisher slots of a market, their quorum and median, the mark, and how much it moves
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/oracle.py, where formulas and sources stand. A price is fresh while
        L2 time - mark_time <= stale_ms, where mark_time is the time of the quorum-th newest slot.
@dev Unchecked arithmetic: prices, windows and limits have at most 32 bits, times 48, variance 64, basis 53 and a sign.
"""
from stf import fixed_point
from stf import funding
from stf import params
from stf import quotes
from stf import state
from stf import types

uses: state
uses: funding
uses: quotes

RETURN_MAX: constant(uint256) = 1_000_000_000  # ppb: a return of 100%
VARIANCE_STEP_MAX: constant(uint256) = 3_600_000  # ms
BASIS_UNIT: constant(uint256) = 65_536  # of basis per tick


@internal
def is_fresh(board: types.Board) -> bool:
    """@notice Whether a market's mark rests on a quorum of recent prices, or is final."""
    if board.status == types.SETTLING:
        return True
    return board.mark > 0 and board.mark_time + board.stale_ms >= state.get_time()


@internal
def publish(market: uint256, slot: uint256, signer: uint256, time: uint256, price: uint256) -> uint256:
    """@notice Takes one publisher's price for one market and recomputes the mark."""
    board: types.Board = state.get_board(market)
    if board.status == types.NO_SUCH_MARKET:
        return types.NO_MARKET
    if board.status == types.SETTLING:
        return types.MARKET_EXPIRED
    publisher: types.Publisher = state.get_publisher(market, slot)
    if publisher.address == 0 or publisher.address != signer:
        return types.NO_PUBLISHER
    if time <= publisher.time or time > state.get_time():
        return types.BAD_TIME
    if price == 0:
        return types.BAD_PRICE
    publisher.price = price
    publisher.time = time
    state.set_publisher(market, slot, publisher)
    self.update_mark(market)
    return types.OK


@internal
def update_mark(market: uint256):
    """
    @notice Brings funding, settlement price, index, basis, variance and mark up to now. The mark stays while fewer than a
            quorum are fresh, or while a jump waits; in a halted market everything stays.
    """
    board: types.Board = state.get_board(market)
    if board.status == types.HALTED:
        return
    config: types.Market = state.get_market(market)
    prices: types.PriceState = state.get_price_state(market)
    if config.expiry != 0:
        self.count_settlement(market, board, prices, config.expiry)
    board, prices = funding.accrue(market, board, prices, config)
    if config.expiry != 0 and state.get_time() >= config.expiry:
        board = self.expire(market, board, prices)
    elif board.status != types.HALTED:
        board, prices = self.reprice(market, board, prices, config)
    state.set_price_state(market, prices)
    state.set_board(market, board)


@internal
def count_settlement(market: uint256, board: types.Board, prices: types.PriceState, expiry: uint256):
    """@notice Adds the time that the index stood since the last look, inside the settlement window and while it was fresh."""
    since: uint256 = max(prices.funding_time, unsafe_sub(expiry, min(expiry, params.SETTLE_WINDOW_MS)))
    elapsed: uint256 = funding.fresh_ms(board, since, min(state.get_time(), expiry))
    if elapsed == 0:
        return
    total: uint256 = 0
    covered_ms: uint256 = 0
    total, covered_ms = state.get_twap(market)
    state.set_twap(market, total + prices.index * elapsed, covered_ms + elapsed)


@internal
def expire(market: uint256, old_board: types.Board, prices: types.PriceState) -> types.Board:
    """@notice Fixes a dated future's mark: the mean index of its settlement window, or the last one if none was fresh."""
    board: types.Board = old_board
    total: uint256 = 0
    covered_ms: uint256 = 0
    total, covered_ms = state.get_twap(market)
    board.status = types.SETTLING
    board.mark = prices.index
    if covered_ms != 0:
        board.mark = unsafe_div(total, covered_ms)
    return board


@internal
def reprice(
    market: uint256, old_board: types.Board, old_prices: types.PriceState, config: types.Market
) -> (types.Board, types.PriceState):
    """@notice The index from the slots, if a quorum is fresh and no jump waits; then all that follows from it."""
    board: types.Board = old_board
    prices: types.PriceState = old_prices
    values: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    times: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    count: uint256 = 0
    values, times, count = self.fresh_slots(market, board.stale_ms)
    if count == 0 or count < config.quorum:
        return board, prices
    values = self.sort(values, count)
    times = self.sort(times, count)
    index: uint256 = 0
    index, prices = self.believe(self.median(values, count), prices, config)
    if index == 0:
        return board, prices
    prices.index = index
    prices = self.sample_variance(prices, config)
    prices = self.sample_basis(market, prices, config, board.stale_ms)
    mark: int256 = convert(index, int256) + fixed_point.div_toward_zero(prices.basis, convert(BASIS_UNIT, int256))
    board.mark = convert(fixed_point.clamp(mark, 1, convert(params.PRICE_MAX, int256)), uint256)
    board.mark_time = times[count - config.quorum]
    board.risk = self.risk_of(prices, config)
    return board, prices


@internal
def believe(price: uint256, old_prices: types.PriceState, config: types.Market) -> (uint256, types.PriceState):
    """@return the index that a median leads to, 0 while it must still hold; and what the market remembers of it."""
    prices: types.PriceState = old_prices
    limit: uint256 = config.jump_limit
    # a limit that was lowered under what has been believed since the sample makes no jump of it
    drifts: bool = self.is_beyond(price, prices.sample_price, limit) and not self.is_beyond(prices.index, prices.sample_price, limit)
    if not drifts and not self.is_beyond(price, prices.index, limit):
        prices.jump_price = 0
        return price, prices
    rises: bool = price > prices.index
    now: uint256 = state.get_time()
    if prices.jump_price == 0 or (prices.jump_price > prices.index) != rises:
        prices.jump_price = price
        prices.jump_at = now
        return 0, prices
    if rises:
        prices.jump_price = min(prices.jump_price, price)
    else:
        prices.jump_price = max(prices.jump_price, price)
    if now - prices.jump_at < config.jump_hold:
        return 0, prices
    if not self.is_beyond(price, prices.jump_price, limit):
        prices.jump_price = 0
        return price, prices
    index: uint256 = prices.jump_price
    prices.jump_price = price
    prices.jump_at = now
    return index, prices


@pure
@internal
def is_beyond(price: uint256, base: uint256, limit: uint256) -> bool:
    """@notice Whether a price is further than `limit` ppm from a base. No base, or a limit of 0, puts nothing beyond."""
    if limit == 0 or base == 0:
        return False
    distance: uint256 = unsafe_sub(max(price, base), min(price, base))
    return unsafe_mul(distance, params.PPM) > unsafe_mul(base, limit)


@internal
def sample_basis(
    market: uint256, old_prices: types.PriceState, config: types.Market, stale_ms: uint256
) -> types.PriceState:
    """@notice Averages the book's premium over the index into the basis. One sample per L2 time; a window of 0 is off."""
    prices: types.PriceState = old_prices
    if config.basis_window == 0:
        prices.basis = 0
        return prices
    now: uint256 = state.get_time()
    cap: int256 = convert(unsafe_div(unsafe_mul(unsafe_mul(prices.index, config.basis_cap), BASIS_UNIT), params.PPM), int256)
    elapsed: uint256 = min(config.basis_window, min(stale_ms, now - prices.basis_time))
    prices.basis_time = now
    if elapsed != 0:
        twice: uint256 = 0
        spread: uint256 = 0
        twice, spread = quotes.mid(market)
        if twice != 0 and unsafe_mul(unsafe_mul(2, spread), params.PPM) <= unsafe_mul(config.spread_max, twice):
            sample: int256 = unsafe_sub(convert(twice, int256), convert(unsafe_mul(2, prices.index), int256))
            sample = fixed_point.clamp(unsafe_mul(sample, convert(BASIS_UNIT // 2, int256)), -cap, cap)
            sum: int256 = unsafe_mul(prices.basis, convert(config.basis_window, int256))
            sum = unsafe_add(sum, unsafe_mul(sample, convert(elapsed, int256)))
            window: int256 = convert(unsafe_add(config.basis_window, elapsed), int256)
            prices.basis = fixed_point.div_toward_zero(sum, window)
    prices.basis = fixed_point.clamp(prices.basis, -cap, cap)
    return prices


@internal
def sample_variance(old_prices: types.PriceState, config: types.Market) -> types.PriceState:
    """@notice Takes a volatility sample if one is due, or if the index has just been let go beyond the jump limit."""
    prices: types.PriceState = old_prices
    if config.vol_window == 0:
        prices.sample_price = 0
        return prices
    now: uint256 = state.get_time()
    elapsed: uint256 = now - prices.sample_time
    old: uint256 = prices.sample_price
    if old != 0 and elapsed < config.vol_sample_ms and not self.is_beyond(prices.index, old, config.jump_limit):
        return prices
    prices.sample_price = prices.index
    prices.sample_time = now
    if old == 0:
        return prices
    change: uint256 = unsafe_sub(max(prices.index, old), min(prices.index, old))
    change = min(unsafe_div(unsafe_mul(change, RETURN_MAX), old), RETURN_MAX)
    window: uint256 = unsafe_add(config.vol_window, min(elapsed, VARIANCE_STEP_MAX))
    sum: uint256 = unsafe_add(
        unsafe_mul(config.vol_window, prices.variance), unsafe_mul(1_000, unsafe_mul(change, change))
    )
    prices.variance = min(params.U64_MAX, unsafe_div(unsafe_add(sum, unsafe_sub(window, 1)), window))
    return prices


@pure
@internal
def risk_of(prices: types.PriceState, config: types.Market) -> uint256:
    """@return z * max(floor, sigma), in 1/100 ppb per square root of a second."""
    sigma: uint256 = 0
    if config.vol_window != 0:
        sigma = fixed_point.root_down(prices.variance)
    return unsafe_mul(config.z, max(config.sigma_floor, sigma))


@internal
def configure(market: uint256):
    """@notice Lets new risk parameters take effect at once: the risk that margin reads. The rest follows with the next price."""
    board: types.Board = state.get_board(market)
    board.risk = self.risk_of(state.get_price_state(market), state.get_market(market))
    state.set_board(market, board)


@internal
def fresh_slots(
    market: uint256, stale_ms: uint256
) -> (uint256[params.PUBLISHERS_MAX], uint256[params.PUBLISHERS_MAX], uint256):
    """@return prices and times of the slots published within `stale_ms`, and their number."""
    prices: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    times: uint256[params.PUBLISHERS_MAX] = empty(uint256[params.PUBLISHERS_MAX])
    count: uint256 = 0
    now: uint256 = state.get_time()
    slots: uint256 = state.get_publisher_count(market)
    for slot: uint256 in range(slots, bound=params.PUBLISHERS_MAX):
        publisher: types.Publisher = state.get_publisher(market, slot)
        if publisher.address != 0 and publisher.price != 0 and publisher.time + stale_ms >= now:
            prices[count] = publisher.price
            times[count] = publisher.time
            count = unsafe_add(count, 1)
    return prices, times, count


@pure
@internal
def sort(values: uint256[params.PUBLISHERS_MAX], count: uint256) -> uint256[params.PUBLISHERS_MAX]:
    """@return the first `count` values in ascending order (insertion sort: at most 8)."""
    sorted: uint256[params.PUBLISHERS_MAX] = values
    for i: uint256 in range(1, max(1, count), bound=params.PUBLISHERS_MAX):
        value: uint256 = sorted[i]
        at: uint256 = i
        for _: uint256 in range(i, bound=params.PUBLISHERS_MAX):
            below: uint256 = sorted[unsafe_sub(at, 1)]
            if below <= value:
                break
            sorted[at] = below
            at = unsafe_sub(at, 1)
        sorted[at] = value
    return sorted


@pure
@internal
def median(prices: uint256[params.PUBLISHERS_MAX], count: uint256) -> uint256:
    """@return the middle of `count` >= 1 ascending prices; the mean, rounded down, of the middle two of an even count."""
    middle: uint256 = count // 2
    if count % 2 == 1:
        return prices[middle]
    return (prices[middle - 1] + prices[middle]) // 2
