# pragma version 0.4.3
"""
@title  Accounts: keys and nonces, collateral, position slots, and how a fill moves money
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/accounts.py. A fill never changes the two sides' sum of (collateral - cost); fees move from
        collateral to the fee total, rounded up, exactly.
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
    if recipient == 0:
        return types.BAD_RECIPIENT
    if amount == 0 or not fixed_point.in_range(convert(amount, int256)):
        return types.BAD_AMOUNT
    health: types.Terms = margin.health(account)
    if health.stale != 0:
        return types.STALE_PRICE
    if health.equity - health.initial - health.profit < convert(amount, int256):
        return types.INSUFFICIENT_FREE
    state.add_collateral(account, -convert(amount, int256))
    state.create_withdrawal(recipient, amount)
    return types.OK


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
    if position.size == 0 and position.open_orders == 0 and position.buy_lots == 0 and position.sell_lots == 0:
        state.remove_position(account, index)


@pure
@internal
def settle(position: types.Position, funding: int256) -> types.Position:
    """@notice Pays funding since the last touch: cost += size * (F - snapshot). Conserves size * snapshot - cost."""
    settled: types.Position = position
    settled.cost = unsafe_add(settled.cost, unsafe_mul(position.size, unsafe_sub(funding, position.funding)))
    settled.funding = funding
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


@pure
@internal
def fill(position: types.Position, lots: int256, price: uint256, tick_value: uint256) -> (types.Position, int256):
    """@notice Trades `lots` (signed, + buys) at a price. @return the position and the realized profit, micro-USD, signed."""
    filled: types.Position = position
    size: int256 = position.size
    unit: int256 = convert(price * tick_value, int256)
    filled.size = unsafe_add(size, lots)
    if size == 0 or (size > 0) == (lots > 0):
        filled.cost = unsafe_add(filled.cost, unsafe_mul(lots, unit))
        return filled, 0
    if abs(lots) <= abs(size):
        closed: int256 = fixed_point.div_toward_zero(unsafe_mul(position.cost, abs(lots)), abs(size))
        filled.cost = unsafe_sub(filled.cost, closed)
        return filled, unsafe_sub(unsafe_sub(0, unsafe_mul(lots, unit)), closed)
    filled.cost = unsafe_mul(filled.size, unit)
    return filled, unsafe_sub(unsafe_mul(size, unit), position.cost)


@pure
@internal
def falls(size: int256, lots: int256) -> bool:
    """@notice Whether a trade of signed `lots` makes |size| smaller without turning it over."""
    return size != 0 and (size > 0) != (lots > 0) and abs(lots) <= abs(size)
