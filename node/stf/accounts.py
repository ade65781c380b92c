"""Accounts: keys and nonces, collateral, position slots, and how a fill moves money.

A fill at price p of q lots changes size by +-q. Opening adds q * p * t to the cost; closing takes the closed share of
the cost out, rounded toward zero, and realizes the difference into collateral. Sum(collateral - cost) of the two sides
is unchanged by any fill; fees move from collateral to the fee total, rounded up, exactly.

Before its size changes, a position is settled: it pays what its market's funding index F and its side's loss index L
have grown by since its snapshots f and l,

    cost += size * (F - f) + |size| * (L - l),    f := F, l := L

exactly, because indices are whole micro-USD per lot.
"""

from node.stf import margin, state
from node.stf.fixed_point import div_down, div_toward_zero, in_range
from node.stf.params import (
    EXPIRY_AHEAD_MS,
    KEYS_MAX,
    NONCE_AHEAD_MS,
    OUTFLOW_WINDOW_MS,
    POSITIONS_MAX,
    TIME_MAX,
    U64_MAX,
)
from node.stf.types import BUY, LEVEL_HALT, NO_INDEX, Board, Key, Position, Status


def authorize(account: int, slot: int, signer: int, nonce: int, expiry: int) -> Status:
    """Check a signed envelope and use its nonce up. Nothing has changed unless OK is returned."""
    if signer == 0:
        return Status.BAD_SIGNATURE
    if not state.account_exists(account):
        return Status.NO_ACCOUNT
    if slot >= KEYS_MAX:
        return Status.NO_KEY
    now = state.get_time()
    key = state.get_key(account, slot)
    if key.address != signer:
        return Status.NO_KEY
    if key.expiry != 0 and key.expiry < now:
        return Status.KEY_EXPIRED
    if expiry < now:
        return Status.EXPIRED
    if expiry > now + EXPIRY_AHEAD_MS:
        return Status.EXPIRY_TOO_FAR
    if nonce > now + NONCE_AHEAD_MS:
        return Status.NONCE_TOO_NEW
    return use_nonce(account, slot, key, nonce)


def use_nonce(account: int, slot: int, key: Key, nonce: int) -> Status:
    """Anti-replay window of RFC 4303 section 3.4.3: the highest nonce and a map of the 64 up to it."""
    if nonce > key.nonce_high:
        shift = nonce - key.nonce_high
        key.nonce_map = (key.nonce_map << shift & U64_MAX) | 1 if shift < 64 else 1
        key.nonce_high = nonce
        state.set_key(account, slot, key)
        return Status.OK
    age = key.nonce_high - nonce
    if age >= 64:
        return Status.NONCE_TOO_OLD
    if key.nonce_map >> age & 1 == 1:
        return Status.NONCE_USED
    key.nonce_map |= 1 << age
    state.set_key(account, slot, key)
    return Status.OK


def set_key(account: int, slot: int, address: int, expiry: int) -> Status:
    """Set or (address 0) disable a trade-only slot.

    Its nonce window starts at the current L2 time, or at the slot's highest nonce if that is later (nonces may be a
    minute ahead), so nothing that was signed for the slot before can be used again.
    """
    if slot == 0 or slot >= KEYS_MAX:
        return Status.BAD_SLOT
    if expiry > TIME_MAX:
        return Status.BAD_TIME
    start = max(state.get_time(), state.get_key(account, slot).nonce_high)
    key = Key(address=address, expiry=expiry, nonce_high=start, nonce_map=U64_MAX)
    state.set_key(account, slot, key)
    return Status.OK


def deposit(account: int, owner: int, amount: int) -> int:
    """Credit a deposit; opens an account for the owner unless the named one is the owner's.

    Ids are given in the order of L1's messages, which a reorganisation may change: it must not give money away.
    """
    target = account
    if not state.account_exists(account) or state.get_key(account, 0).address != owner:
        target = state.open_account(owner)
    state.add_collateral(target, amount)
    state.add_deposits(amount)
    return target


def withdraw(account: int, recipient: int, amount: int) -> Status:
    """Move free realized collateral into a withdrawal leaf."""
    if state.get_level() == LEVEL_HALT:
        return Status.MARKET_HALTED
    if recipient == 0:
        return Status.BAD_RECIPIENT
    if amount == 0 or not in_range(amount):
        return Status.BAD_AMOUNT
    health = margin.health(account)
    if health.stale != 0:
        return Status.STALE_PRICE
    if health.equity - health.initial - health.profit < amount:
        return Status.INSUFFICIENT_FREE
    if not count_outflow(amount):
        return Status.OUTFLOW_LIMIT
    state.add_collateral(account, -amount)
    state.create_withdrawal(recipient, amount)
    return Status.OK


def count_outflow(amount: int) -> bool:
    """Count a withdrawal against the limit of all accounts together, if it fits.

    A leaky bucket (Turner, "New directions in communications", 1986): what was withdrawn drains at
    limit / OUTFLOW_WINDOW_MS, rounded down, so many small withdrawals drain no faster than few.
    """
    limit = state.get_outflow_limit()
    if limit == 0:
        return True
    level, at = state.get_outflow()
    now = state.get_time()
    level = max(0, level - div_down((now - at) * limit, OUTFLOW_WINDOW_MS)) + amount
    if level > limit:
        return False
    state.set_outflow(level, now)
    return True


def ensure_position(account: int, market: int) -> int:
    """Index of the account's slot in a market, a new one if needed; NO_INDEX if all are taken."""
    index = state.find_position(account, market)
    if index != NO_INDEX:
        return index
    if state.get_position_count(account) == POSITIONS_MAX:
        return NO_INDEX
    board = state.get_board(market)
    position = Position(market=market, funding=board.funding)
    return state.add_position(account, position)


def release_position(account: int, index: int) -> None:
    """Free the slot if nothing is left in it: no size, and no resting order, dead ones included."""
    position = state.get_position(account, index)
    if position.size != 0 or position.open_orders != 0 or position.reduce_lots != 0:
        return
    if position.buy_lots == 0 and position.sell_lots == 0:
        state.remove_position(account, index)


def kill_orders(account: int, market: int, reduce_too: bool) -> None:
    """Kill the account's resting orders in a market: the sequence that they must have rises past them.

    Reduce-only orders and triggers live on unless ``reduce_too``. Dead orders hold their slot until they are removed.
    """
    index = state.find_position(account, market)
    if index == NO_INDEX:
        return
    position = state.get_position(account, index)
    position.min_seq = state.get_next_seq(market)
    position.buy_lots = 0
    position.sell_lots = 0
    position.buy_notional = 0
    position.sell_notional = 0
    if reduce_too:
        position.reduce_min_seq = position.min_seq
        position.reduce_lots = 0
    state.set_position(account, index, position)
    release_position(account, index)


def settle(position: Position, board: Board) -> Position:
    """Pay funding and mutualised losses since the last touch. Conserves size * f - cost plus |size| * l."""
    loss = margin.loss_index(position.size, board)
    position.cost += position.size * (board.funding - position.funding) + abs(position.size) * (loss - position.loss)
    position.funding = board.funding
    position.loss = loss
    return position


def add_open(position: Position, side: int, lots: int, notional: int) -> Position:
    """Count an order's lots as open. ``notional`` is at its limit price."""
    if side == BUY:
        position.buy_lots += lots
        position.buy_notional += notional
    else:
        position.sell_lots += lots
        position.sell_notional += notional
    return position


def sub_open(position: Position, side: int, lots: int, notional: int) -> Position:
    """Count lots as open no more."""
    if side == BUY:
        position.buy_lots -= lots
        position.buy_notional -= notional
    else:
        position.sell_lots -= lots
        position.sell_notional -= notional
    return position


def fill(position: Position, lots: int, price: int, board: Board) -> tuple[Position, int]:
    """Trade ``lots`` (signed, + buys) of a settled position at a price; a side it enters charges losses from now on.

    Returns the position and the realized profit, micro-USD, signed.
    """
    size = position.size
    unit = price * board.tick_value
    realized = 0
    position.size = size + lots
    position.loss = margin.loss_index(position.size, board)
    if size == 0 or (size > 0) == (lots > 0):
        position.cost += lots * unit
    elif abs(lots) <= abs(size):
        closed = div_toward_zero(position.cost * abs(lots), abs(size))
        position.cost -= closed
        realized = -lots * unit - closed
    else:
        realized = size * unit - position.cost
        position.cost = position.size * unit
    return position, realized


def falls(size: int, lots: int) -> bool:
    """Whether a trade of signed ``lots`` makes |size| smaller without turning it over."""
    return size != 0 and (size > 0) != (lots > 0) and abs(lots) <= abs(size)
