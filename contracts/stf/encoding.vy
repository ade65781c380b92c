# pragma version 0.4.3
"""
@title  Wire format of transactions, and the EIP-712 digests their signatures cover
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/encoding.py, where the format is written down.

        The buffer is msg.data itself: a position is a position in this call's calldata, so a chunk is never copied.
        `load` bounds reads to a chunk, `set_end` to a message; both must have at least 32 bytes of calldata behind them,
        which ABI encoding gives when another dynamic argument follows (otherwise a read at the end reverts).
        Readers return the value and the next position, or BAD as position once anything was malformed or out of bounds;
        BAD passes through every later read, so a decoder checks once, at its end.
"""

from stf import params
from stf import types

BAD: constant(uint256) = 4_294_967_295

DOMAIN_HASH: constant(bytes32) = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
ACTION_HASH: constant(bytes32) = keccak256("Action(string action,uint32 market,string side,uint64 lots,uint32 price,string timeInForce,bool reduceOnly,string selfTrade,uint32 limit,uint64 clientId,uint64 expiry)")
ACTIONS_HASH: constant(bytes32) = keccak256("Actions(uint32 account,uint8 keySlot,uint64 nonce,uint64 expiry,Action[] actions)Action(string action,uint32 market,string side,uint64 lots,uint32 price,string timeInForce,bool reduceOnly,string selfTrade,uint32 limit,uint64 clientId,uint64 expiry)")
WITHDRAW_HASH: constant(bytes32) = keccak256("Withdraw(uint32 account,uint64 nonce,uint64 expiry,address recipient,uint64 amount)")
SET_KEY_HASH: constant(bytes32) = keccak256("SetKey(uint32 account,uint64 nonce,uint64 expiry,uint8 keySlot,address key,uint64 keyExpiry)")
PRICE_HASH: constant(bytes32) = keccak256("Price(uint32 market,uint32 price)")
ORACLE_PRICE_HASH: constant(bytes32) = keccak256("OraclePrice(uint8 publisher,uint64 time,Price[] prices)Price(uint32 market,uint32 price)")

NAME_HASH: constant(bytes32) = keccak256("Anchorline")
VERSION_HASH: constant(bytes32) = keccak256("1")
EMPTY_HASH: constant(bytes32) = keccak256("")
# by op; a trigger's and options' follow with their bit added (`action_name`)
ACTION_NAME_HASHES: constant(bytes32[10]) = [
    EMPTY_HASH, keccak256("place"), keccak256("cancel"), keccak256("cancelAll"), keccak256("amend"), keccak256("cancelAt"),
    keccak256("triggerBelow"), keccak256("triggerAbove"), keccak256("denyEarlyReduction"), keccak256("allowEarlyReduction"),
]
SIDE_HASHES: constant(bytes32[2]) = [keccak256("buy"), keccak256("sell")]
TIF_HASHES: constant(bytes32[4]) = [keccak256("GTC"), keccak256("IOC"), keccak256("FOK"), keccak256("POST_ONLY")]
SELF_TRADE_HASHES: constant(bytes32[3]) = [keccak256("CANCEL_RESTING"), keccak256("CANCEL_TAKER"), keccak256("CANCEL_BOTH")]

# bits of an action's first byte that must be zero, and how many numbers follow it (a time is extra): a byte for each op
RESERVED_BITS: constant(uint256) = 31 | 7 << 16 | 31 << 24 | 15 << 32 | 30 << 40 | 5 << 48 | 30 << 56
NUMBERS: constant(uint256) = 4 << 8 | 4 << 16 | 1 << 24 | 5 << 32 | 5 << 48

# secp256k1 group order: r and s are in [1, N), s in the lower half (EIP-2)
CURVE_ORDER: constant(uint256) = 115_792_089_237_316_195_423_570_985_008_687_907_852_837_564_279_074_904_382_605_163_141_518_161_494_337
HALF_ORDER: constant(uint256) = 57_896_044_618_658_097_711_785_492_504_343_953_926_418_782_139_537_452_191_302_581_570_759_080_747_168

end: transient(uint256)
base_time: transient(uint256)
domain: transient(bytes32)


# --- the buffer -------------------------------------------------------------------------------------------------------

@internal
def load(start: uint256, size: uint256):
    """
    @notice Makes `size` bytes of msg.data from position `start` the buffer; reading begins at `start`.
    @dev 32 <= start and start + size < 2^32 - 2^16: far from BAD.
    """
    assert start >= 32 and start < 2**30 and size < 2**30
    self.end = unsafe_add(start, size)


@view
@internal
def get_end() -> uint256:
    return self.end


@internal
def set_end(end: uint256):
    """@notice Bounds reads to positions below `end`."""
    self.end = end


@internal
def set_base_time(time: uint256):
    """@notice What the times that follow are relative to, ms."""
    self.base_time = time


@view
@internal
def read_byte(pos: uint256) -> (uint256, uint256):
    if pos >= self.end:
        return 0, BAD
    # the word that ends with this byte: it never passes the end of calldata
    return convert(slice(msg.data, unsafe_sub(pos, 31), 32), uint256) & 255, unsafe_add(pos, 1)


@view
@internal
def read_varint(pos: uint256) -> (uint256, uint256):
    """@notice Minimal LEB128, at most 64 bits."""
    return self._varint(pos, self.end)


@view
@internal
def _varint(pos: uint256, end: uint256) -> (uint256, uint256):
    """@dev May look at bytes from `end` on, but refuses them."""
    if pos >= end:
        return 0, BAD
    value: uint256 = 0
    size: uint256 = 0
    value, size = self._number(convert(slice(msg.data, pos, 32), uint256))
    size = unsafe_add(pos, size)
    if size == pos or size > end:
        return 0, BAD
    return value, size


@pure
@internal
def _number(word: uint256) -> (uint256, uint256):
    """@return the varint that a word begins with, and its bytes; 0 bytes if it is malformed."""
    if word < 2**255:
        return word >> 248, 1
    # seven bits of each byte, moved to their places; the last byte must not be zero
    value: uint256 = ((word >> 248) & 127) | ((word >> 233) & (127 << 7))
    size: uint256 = 2
    if word & 2**247 != 0:
        value |= (word >> 218) & (127 << 14)
        size = 3
        if word & 2**239 != 0:
            value |= (word >> 203) & (127 << 21)
            size = 4
            if word & 2**231 != 0:
                value |= ((word >> 188) & (127 << 28)) | ((word >> 173) & (127 << 35)) | ((word >> 158) & (127 << 42))
                value |= ((word >> 143) & (127 << 49)) | ((word >> 128) & (127 << 56)) | ((word >> 113) & (127 << 63))
                size = self._long(word)
                above: uint256 = 1 << unsafe_mul(size, 7)
                value &= unsafe_sub(above, 1)
    if value >> unsafe_mul(unsafe_sub(size, 1), 7) == 0 or value > params.U64_MAX:
        return 0, 0
    return value, size


@pure
@internal
def _long(word: uint256) -> uint256:
    """@return bytes of a varint of at least five; 0 if there are more than ten."""
    if word & 2**223 == 0:
        return 5
    if word & 2**215 == 0:
        return 6
    if word & 2**207 == 0:
        return 7
    if word & 2**199 == 0:
        return 8
    if word & 2**191 == 0:
        return 9
    if word & 2**183 == 0:
        return 10
    return 0


@view
@internal
def read_time(pos: uint256) -> (uint256, uint256):
    """@notice A time or nonce relative to the base time; in [0, 2^64)."""
    value: uint256 = 0
    next: uint256 = 0
    value, next = self._varint(pos, self.end)
    value = self._time_at(value)
    if next == BAD or value > params.U64_MAX:
        return 0, BAD
    return value, next


@view
@internal
def _time_at(zigzag: uint256) -> uint256:
    """@return the time that a zigzag number below 2^64 stands for; above U64_MAX if there is none."""
    base: uint256 = self.base_time
    # base < 2^48: the sum stays below 2^64, and a difference below zero wraps far above it
    if zigzag & 1 == 1:
        return unsafe_add(base, unsafe_add(zigzag, 1) >> 1)
    return unsafe_sub(base, zigzag >> 1)


@view
@internal
def read_fixed(pos: uint256, size: uint256) -> (uint256, uint256):
    """@notice Big-endian unsigned integer of `size` bytes, 1 to 32."""
    next: uint256 = unsafe_add(pos, size)
    if next > self.end:
        return 0, BAD
    return convert(slice(msg.data, unsafe_sub(next, 32), 32), uint256) & (max_value(uint256) >> unsafe_sub(256, size << 3)), next


# --- actions ----------------------------------------------------------------------------------------------------------

@view
@internal
def read_action(pos: uint256) -> (types.Action, uint256):
    """
    @notice One action. Reserved bits must be zero and ids in range, else BAD.
    @dev The most common transaction by far, so one look at calldata serves the head and all numbers of up to three bytes
         (2 + 6 * 3 <= 32); only longer or malformed ones go through `_number`.
    """
    action: types.Action = empty(types.Action)
    end: uint256 = self.end
    if pos >= end:
        return action, BAD
    word: uint256 = convert(slice(msg.data, pos, 32), uint256)
    head: uint256 = word >> 248
    op: uint256 = head >> 5
    if op == 0 or head & (RESERVED_BITS >> (op << 3)) & 31 != 0:
        return action, BAD
    action.op = op
    count: uint256 = (NUMBERS >> (op << 3)) & 255
    next: uint256 = unsafe_add(pos, 1)
    word <<= 8
    timed: bool = False
    if op == types.PLACE:
        timed = head & 2 != 0
        action.tif = (head >> 2) & 3
        if head & 1 == 1:
            more: uint256 = word >> 248
            if more == 0 or more > 5:
                return action, BAD
            action.reduce_only = more & 1
            action.self_trade = more >> 1
            next = unsafe_add(next, 1)
            word <<= 8
    elif op == types.TRIGGER:
        timed = head & 2 != 0
        action.direction = (head >> 3) & 1
    elif op == types.CANCEL_AT:
        timed = head & 1 == 0
    elif op == types.OPTIONS:
        action.opt_in = head & 1
    if timed:
        count = unsafe_add(count, 1)
    fields: uint256[6] = empty(uint256[6])
    for i: uint256 in range(count, bound=6):
        if word < 2**255:
            fields[i] = word >> 248
            next = unsafe_add(next, 1)
            word <<= 8
        elif word & 2**247 == 0 and (word >> 240) & 127 != 0:
            fields[i] = ((word >> 248) & 127) | ((word >> 233) & (127 << 7))
            next = unsafe_add(next, 2)
            word <<= 16
        elif word & (2**247 | 2**239) == 2**247 and (word >> 232) & 127 != 0:
            fields[i] = ((word >> 248) & 127) | ((word >> 233) & (127 << 7)) | ((word >> 218) & (127 << 14))
            next = unsafe_add(next, 3)
            word <<= 24
        else:
            if next >= end:
                return action, BAD
            # 32 bytes again: after the longest number, 22 are left, and shorter ones that follow take 15 at most
            word = convert(slice(msg.data, next, 32), uint256)
            size: uint256 = 0
            fields[i], size = self._number(word)
            if size == 0:
                return action, BAD
            next = unsafe_add(next, size)
            word <<= size << 3
    if timed:
        action.expiry = self._time_at(fields[unsafe_sub(count, 1)])
    action = self._filled(action, head, fields)
    if next > end or action.market > 65_535 or action.price > params.PRICE_MAX:
        return action, BAD
    if action.limit > params.PRICE_MAX or action.expiry > params.U64_MAX:
        return action, BAD
    return action, next


@pure
@internal
def _filled(read: types.Action, head: uint256, fields: uint256[6]) -> types.Action:
    """@return an action with its numbers in their places."""
    action: types.Action = read
    op: uint256 = action.op
    if op == types.CANCEL_AT:
        return action
    action.market = fields[0]
    action.side = (head >> 4) & 1
    if op == types.PLACE:
        action.price = fields[1]
        action.lots = fields[2]
        action.client_id = fields[3]
    elif op == types.TRIGGER:
        action.price = fields[1]
        action.limit = fields[2]
        action.lots = fields[3]
        action.client_id = fields[4]
    else:
        action.side |= (head >> 2) & types.TRIGGER_FALL  # bit 3, which only a cancel may have
        action.client_id = fields[1]
        action.price = fields[2]
        action.seq = fields[3]
        action.lots = fields[4]
    return action


@view
@internal
def read_actions(pos: uint256, count: uint256) -> (DynArray[types.Action, params.ACTIONS_MAX], uint256):
    """@notice `count` <= ACTIONS_MAX actions in a row."""
    actions: DynArray[types.Action, params.ACTIONS_MAX] = []
    next: uint256 = pos
    for _: uint256 in range(count, bound=params.ACTIONS_MAX):
        action: types.Action = empty(types.Action)
        action, next = self.read_action(next)
        if next == BAD:
            return actions, BAD
        actions.append(action)
    return actions, next


@view
@internal
def read_prices(pos: uint256, count: uint256) -> (DynArray[uint256, params.PRICES_MAX], DynArray[uint256, params.PRICES_MAX], uint256):
    """@notice Markets and prices of an OraclePrice: 1 to PRICES_MAX, markets strictly ascending."""
    markets: DynArray[uint256, params.PRICES_MAX] = []
    prices: DynArray[uint256, params.PRICES_MAX] = []
    if count == 0 or count > params.PRICES_MAX:
        return markets, prices, BAD
    least: uint256 = 0  # what the next market must reach
    next: uint256 = pos
    for _: uint256 in range(count, bound=params.PRICES_MAX):
        market: uint256 = 0
        price: uint256 = 0
        market, next = self.read_varint(next)
        price, next = self.read_varint(next)
        if next == BAD or market < least or market > 65_535 or price > params.PRICE_MAX:
            return markets, prices, BAD
        least = unsafe_add(market, 1)
        markets.append(market)
        prices.append(price)
    return markets, prices, next


# --- digests and signatures -------------------------------------------------------------------------------------------

@pure
@internal
def domain_separator(chain_id: uint256, rollup: uint256) -> bytes32:
    """@notice EIP-712 domain of one rollup."""
    return keccak256(abi_encode(DOMAIN_HASH, NAME_HASH, VERSION_HASH, chain_id, rollup))


@internal
def set_domain(separator: bytes32):
    """@notice The domain that digests are made for."""
    self.domain = separator


@view
@internal
def _digest(struct_hash: bytes32) -> bytes32:
    return keccak256(concat(b"\x19\x01", self.domain, struct_hash))


@pure
@internal
def action_name(action: types.Action) -> uint256:
    """@return index of an action's name in ACTION_NAME_HASHES."""
    if action.op == types.OPTIONS:
        return unsafe_add(8, action.opt_in)
    return unsafe_add(action.op, action.direction)  # only a trigger has a direction


@pure
@internal
def action_hash(action: types.Action) -> bytes32:
    """
    @notice EIP-712 struct hash of one action, as its owner signed it: fields that its op does not use are zero.
    @param action as decoded: where an order stands that is cancelled or amended is not signed
    """
    side: bytes32 = EMPTY_HASH
    tif: bytes32 = EMPTY_HASH
    self_trade: bytes32 = EMPTY_HASH
    price: uint256 = 0
    reduce_only: uint256 = action.reduce_only
    if action.op == types.PLACE or action.op == types.TRIGGER:
        side = SIDE_HASHES[action.side]
        price = action.price
    if action.op == types.PLACE:
        tif = TIF_HASHES[action.tif]
        self_trade = SELF_TRADE_HASHES[action.self_trade]
    elif action.op == types.TRIGGER:
        reduce_only = 1
    return keccak256(abi_encode(
        ACTION_HASH, ACTION_NAME_HASHES[self.action_name(action)], action.market, side, action.lots, price,
        tif, reduce_only, self_trade, action.limit, action.client_id, action.expiry,
    ))


@view
@internal
def actions_digest(account: uint256, slot: uint256, nonce: uint256, expiry: uint256, actions: DynArray[types.Action, params.ACTIONS_MAX]) -> bytes32:
    hashes: bytes32[params.ACTIONS_MAX] = empty(bytes32[params.ACTIONS_MAX])
    count: uint256 = len(actions)
    for i: uint256 in range(count, bound=params.ACTIONS_MAX):
        hashes[i] = self.action_hash(actions[i])
    list_hash: bytes32 = keccak256(slice(abi_encode(hashes), 0, count << 5))
    return self._digest(keccak256(abi_encode(ACTIONS_HASH, account, slot, nonce, expiry, list_hash)))


@view
@internal
def withdraw_digest(account: uint256, nonce: uint256, expiry: uint256, recipient: uint256, amount: uint256) -> bytes32:
    return self._digest(keccak256(abi_encode(WITHDRAW_HASH, account, nonce, expiry, recipient, amount)))


@view
@internal
def set_key_digest(account: uint256, nonce: uint256, expiry: uint256, slot: uint256, key: uint256, key_expiry: uint256) -> bytes32:
    return self._digest(keccak256(abi_encode(SET_KEY_HASH, account, nonce, expiry, slot, key, key_expiry)))


@view
@internal
def oracle_price_digest(publisher: uint256, time: uint256, markets: DynArray[uint256, params.PRICES_MAX], prices: DynArray[uint256, params.PRICES_MAX]) -> bytes32:
    hashes: bytes32[params.PRICES_MAX] = empty(bytes32[params.PRICES_MAX])
    count: uint256 = len(markets)
    for i: uint256 in range(count, bound=params.PRICES_MAX):
        hashes[i] = keccak256(abi_encode(PRICE_HASH, markets[i], prices[i]))
    list_hash: bytes32 = keccak256(slice(abi_encode(hashes), 0, count << 5))
    return self._digest(keccak256(abi_encode(ORACLE_PRICE_HASH, publisher, time, list_hash)))


@view
@internal
def recover(digest: bytes32, r: uint256, vs: uint256) -> uint256:
    """
    @notice Address that signed a digest, 0 if none: the one bad signature has. s must be in the lower half of the group.
    @param vs yParity and s as in EIP-2098.
    """
    s: uint256 = vs & (max_value(uint256) >> 1)
    if r == 0 or r >= CURVE_ORDER or s == 0 or s > HALF_ORDER:
        return 0
    return convert(ecrecover(digest, unsafe_add(27, vs >> 255), r, s), uint256)
