# pragma version 0.4.3
"""
@title  Accounts: keys and nonces, collateral, position slots, and how a fill moves money
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/accounts.py. A fill never changes the two sides' sum of (collateral - cost); fees move from
        collateral to the fee total, rounded up, exactly. Before its size changes, a position is settled to the indices.
@dev Unchecked arithmetic on positions: fields of leaves have at most 64 bits, so a product of two has at most 128.
"""
from stf import fixed_point
from stf import margin
from stf import params
from stf import state
from stf import types

uses: state
uses: margin


@internal
def authorize(account: uint256, slot: uint256, signer: uint256, nonce: uint256, expiry: uint256) -> uint256:
    """@notice Checks a signed envelope and uses its nonce up. Nothing has changed unless OK is returned."""
    if signer == 0:
        return types.BAD_SIGNATURE
    if not state.account_exists(account):
        return types.NO_ACCOUNT
    if slot >= params.KEYS_MAX:
        return types.NO_KEY
    now: uint256 = state.get_time()
    key: types.Key = state.get_key(account, slot)
    if key.address != signer:
        return types.NO_KEY
    if key.expiry != 0 and key.expiry < now:
        return types.KEY_EXPIRED
    if expiry < now:
        return types.EXPIRED
    if expiry > now + params.EXPIRY_AHEAD_MS:
        return types.EXPIRY_TOO_FAR
    if nonce > now + params.NONCE_AHEAD_MS:
        return types.NONCE_TOO_NEW
    return self.use_nonce(account, slot, key, nonce)


@internal
def use_nonce(account: uint256, slot: uint256, key: types.Key, nonce: uint256) -> uint256:
    """@notice Anti-replay window of RFC 4303 section 3.4.3: the highest nonce and a map of the 64 up to it."""
    used: types.Key = key
    if nonce > key.nonce_high:
        ahead: uint256 = nonce - key.nonce_high
        used.nonce_map = 1
        if ahead < 64:
            used.nonce_map = ((key.nonce_map << ahead) & params.U64_MAX) | 1
        used.nonce_high = nonce
        state.set_key(account, slot, used)
        return types.OK
    age: uint256 = key.nonce_high - nonce
    if age >= 64:
        return types.NONCE_TOO_OLD
    if (key.nonce_map >> age) & 1 == 1:
        return types.NONCE_USED
    used.nonce_map |= 1 << age
    state.set_key(account, slot, used)
    return types.OK


@internal
def set_key(account: uint256, slot: uint256, key_address: uint256, expiry: uint256) -> uint256:
    """@notice Sets or (address 0) disables a trade-only slot: nothing signed for it before can be used again."""
    if slot == 0 or slot >= params.KEYS_MAX:
        return types.BAD_SLOT
    if expiry > params.TIME_MAX:
        return types.BAD_TIME
    start: uint256 = max(state.get_time(), (state.get_key(account, slot)).nonce_high)
    key: types.Key = types.Key(address=key_address, expiry=expiry, nonce_high=start, nonce_map=params.U64_MAX)
    state.set_key(account, slot, key)
    return types.OK


@internal
def deposit(account: uint256, owner: uint256, amount: uint256) -> uint256:
    """@notice Credits a deposit; opens an account for the owner unless the named one is the owner's."""
    target: uint256 = account
    if not state.account_exists(account) or (state.get_key(account, 0)).address != owner:
        target = state.open_account(owner)
    state.add_collateral(target, convert(amount, int256))
    state.add_deposits(amount)
    return target


@internal
def withdraw(account: uint256, recipient: uint256, amount: uint256) -> uint256:
    """@notice Moves free realized collateral into a withdrawal leaf."""
    if state.get_level() == types.LEVEL_HALT:
        return types.MARKET_HALTED
    if recipient == 0:
        return types.BAD_RECIPIENT
    if amount == 0 or not fixed_point.in_range(convert(amount, int256)):
        return types.BAD_AMOUNT
    health: types.Terms = margin.health(account)
    if health.stale != 0:
        return types.STALE_PRICE
    if health.equity - health.initial - health.profit < convert(amount, int256):
        return types.INSUFFICIENT_FREE
    if not self.count_outflow(amount):
        return types.OUTFLOW_LIMIT
    state.add_collateral(account, -convert(amount, int256))
    state.create_withdrawal(recipient, amount)
    return types.OK


@internal
def count_outflow(amount: uint256) -> bool:
    """@notice Counts a withdrawal against the limit of all accounts together, if it fits: a leaky bucket."""
    limit: uint256 = state.get_outflow_limit()
    if limit == 0:
        return True
    level: uint256 = 0
    at: uint256 = 0
    level, at = state.get_outflow()
    now: uint256 = state.get_time()
    elapsed: int256 = convert((now - at) * limit, int256)
    drained: int256 = fixed_point.div_down(elapsed, convert(params.OUTFLOW_WINDOW_MS, int256))
    level = convert(max(0, convert(level, int256) - drained), uint256) + amount
    if level > limit:
        return False
    state.set_outflow(level, now)
    return True


@internal
def ensure_position(account: uint256, market: uint256) -> uint256:
    """@return index of the account's slot in a market, a new one if needed; NO_INDEX if all are taken."""
    index: uint256 = state.find_position(account, market)
    if index != types.NO_INDEX:
        return index
    if state.get_position_count(account) == params.POSITIONS_MAX:
        return types.NO_INDEX
    position: types.Position = empty(types.Position)
    position.market = market
    position.funding = state.get_board(market).funding
    return state.add_position(account, position)


@internal
def release_position(account: uint256, index: uint256):
    """@notice Frees the slot if nothing is left in it: no size, and no resting order, dead ones included."""
    position: types.Position = state.get_position(account, index)
    if position.size != 0 or position.open_orders != 0 or position.reduce_lots != 0:
        return
    if position.buy_lots == 0 and position.sell_lots == 0:
        state.remove_position(account, index)


@internal
def kill_orders(account: uint256, market: uint256, reduce_too: bool):
    """
    @notice Kills the account's resting orders in a market: the sequence that they must have rises past them. Reduce-only orders
            and triggers live on unless `reduce_too`. Dead orders hold their slot until they are removed.
    """
    index: uint256 = state.find_position(account, market)
    if index == types.NO_INDEX:
        return
    position: types.Position = state.get_position(account, index)
    position.min_seq = state.get_next_seq(market)
    position.buy_lots = 0
    position.sell_lots = 0
    position.buy_notional = 0
    position.sell_notional = 0
    if reduce_too:
        position.reduce_min_seq = position.min_seq
        position.reduce_lots = 0
    state.set_position(account, index, position)
    self.release_position(account, index)


@internal
def settle(position: types.Position, board: types.Board) -> types.Position:
    """@notice Pays funding and mutualised losses since the last touch. Conserves size * f - cost plus |size| * l."""
    settled: types.Position = position
    loss: int256 = margin.loss_index(position.size, board)
    paid: int256 = unsafe_mul(position.size, unsafe_sub(board.funding, position.funding))
    paid = unsafe_add(paid, unsafe_mul(abs(position.size), unsafe_sub(loss, position.loss)))
    settled.cost = unsafe_add(settled.cost, paid)
    settled.funding = board.funding
    settled.loss = loss
    return settled


@pure
@internal
def add_open(position: types.Position, side: uint256, lots: uint256, notional: uint256) -> types.Position:
    """@notice Counts an order's lots as open. `notional` is at its limit price."""
    opened: types.Position = position
    if side == types.BUY:
        opened.buy_lots += lots
        opened.buy_notional += notional
    else:
        opened.sell_lots += lots
        opened.sell_notional += notional
    return opened


@pure
@internal
def sub_open(position: types.Position, side: uint256, lots: uint256, notional: uint256) -> types.Position:
    """@notice Counts lots as open no more."""
    closed: types.Position = position
    if side == types.BUY:
        closed.buy_lots -= lots
        closed.buy_notional -= notional
    else:
        closed.sell_lots -= lots
        closed.sell_notional -= notional
    return closed


@internal
def fill(position: types.Position, lots: int256, price: uint256, board: types.Board) -> (types.Position, int256):
    """
    @notice Trades `lots` (signed, + buys) of a settled position at a price; a side that it enters charges losses from now on.
    @return the position and the realized profit, micro-USD, signed.
    """
    filled: types.Position = position
    size: int256 = position.size
    unit: int256 = convert(price * board.tick_value, int256)
    realized: int256 = 0
    filled.size = unsafe_add(size, lots)
    filled.loss = margin.loss_index(filled.size, board)
    if size == 0 or (size > 0) == (lots > 0):
        filled.cost = unsafe_add(filled.cost, unsafe_mul(lots, unit))
    elif abs(lots) <= abs(size):
        closed: int256 = fixed_point.div_toward_zero(unsafe_mul(position.cost, abs(lots)), abs(size))
        filled.cost = unsafe_sub(filled.cost, closed)
        realized = unsafe_sub(unsafe_sub(0, unsafe_mul(lots, unit)), closed)
    else:
        realized = unsafe_sub(unsafe_mul(size, unit), position.cost)
        filled.cost = unsafe_mul(filled.size, unit)
    return filled, realized


@pure
@internal
def falls(size: int256, lots: int256) -> bool:
    """@notice Whether a trade of signed `lots` makes |size| smaller without turning it over."""
    return size != 0 and (size > 0) != (lots > 0) and abs(lots) <= abs(size)
