"""Accounts: keys and nonces, collateral, position slots, and how a fill moves money.

A fill at price p of q lots changes size by +-q. Opening adds q * p * t to the cost; closing takes the closed share of
the cost out, rounded toward zero, and realizes the difference into collateral. Sum(collateral - cost) of the two sides
is unchanged by any fill; fees move from collateral to the fee total, rounded up, exactly.
"""

from node.stf import margin, state
from node.stf.fixed_point import div_toward_zero, in_range
from node.stf.params import (
    EXPIRY_AHEAD_MS,
    KEYS_MAX,
    NONCE_AHEAD_MS,
    POSITIONS_MAX,
    TIME_MAX,
    U64_MAX,
)
from node.stf.types import BUY, NO_INDEX, Key, Position, Status


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
    if recipient == 0:
        return Status.BAD_RECIPIENT
    if amount == 0 or not in_range(amount):
        return Status.BAD_AMOUNT
    health = margin.health(account)
    if health.stale != 0:
        return Status.STALE_PRICE
    if health.equity - health.initial - health.profit < amount:
        return Status.INSUFFICIENT_FREE
    state.add_collateral(account, -amount)
    state.create_withdrawal(recipient, amount)
    return Status.OK


def ensure_position(account: int, market: int) -> int:
    """Index of the account's slot in a market, a new one if needed; NO_INDEX if all are taken."""
    index = state.find_position(account, market)
    if index != NO_INDEX:
        return index
    if state.get_position_count(account) == POSITIONS_MAX:
        return NO_INDEX
    board = state.get_board(market)
    position = Position(market=market, funding=board.funding, min_seq=0)
    return state.add_position(account, position)


def release_position(account: int, index: int) -> None:
    """Free the slot if nothing is left in it: no size, and no resting order, dead ones included."""
    position = state.get_position(account, index)
    if position.size == 0 and position.open_orders == 0 and position.buy_lots == 0 and position.sell_lots == 0:
        state.remove_position(account, index)


def settle(position: Position, funding: int) -> Position:
    """Pay funding since the last touch: cost += size * (F - snapshot). Conserves size * snapshot - cost."""
    position.cost += position.size * (funding - position.funding)
    position.funding = funding
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


def fill(position: Position, lots: int, price: int, tick_value: int) -> tuple[Position, int]:
    """Trade ``lots`` (signed, + buys) at a price. Returns the position and the realized profit, micro-USD, signed."""
    size = position.size
    if size == 0 or (size > 0) == (lots > 0):
        position.size = size + lots
        position.cost += lots * price * tick_value
        return position, 0
    if abs(lots) <= abs(size):
        closed = div_toward_zero(position.cost * abs(lots), abs(size))
        position.size = size + lots
        position.cost -= closed
        return position, -lots * price * tick_value - closed
    realized = size * price * tick_value - position.cost
    position.size = size + lots
    position.cost = position.size * price * tick_value
    return position, realized


def falls(size: int, lots: int) -> bool:
    """Whether a trade of signed ``lots`` makes |size| smaller without turning it over."""
    return size != 0 and (size > 0) != (lots > 0) and abs(lots) <= abs(size)
