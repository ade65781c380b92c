# pragma version 0.4.3
"""Runs lists of state calls on witnessed leaves, and meters the common ones.

Records travel as arrays of 15 words in the order of their fields, signed ones in two's complement.
"""
from stf import fixed_point
from stf import params
from stf import state
from stf import trie
from stf import types
from stf import witness

initializes: trie
initializes: witness[trie := trie]
initializes: state[trie := trie]

FIELDS: constant(uint256) = 15

struct Call:
    name: uint256  # position in CALLS of tests/stf/test_state_twin.py
    args: uint256[4]
    record: uint256[FIELDS]


@pure
@internal
def _int(bits: uint256) -> int256:
    return convert(convert(bits, bytes32), int256)


@pure
@internal
def _bits(number: int256) -> uint256:
    return convert(convert(number, bytes32), uint256)


@external
def run(old_root: bytes32, calls: DynArray[Call, 100], data: Bytes[60000]) -> (DynArray[uint256[FIELDS], 100], bytes32, uint256[4]):
    """@return what each call returned; the new root; work, proof bytes, leaves touched as the books and as the table say"""
    ops: uint256 = witness.load(witness.calldata_argument(2))
    state.begin_chunk()
    results: DynArray[uint256[FIELDS], 100] = []
    for call: Call in calls:
        if call.name < 30:
            results.append(self._numbers(call))
        else:
            results.append(self._records(call))
    books: uint256[4] = [state.get_work(), state.get_proof(), state.get_leaves(), trie.touched_count()]
    state.end_chunk()
    return results, witness.verify(ops, old_root), books


@internal
def _numbers(call: Call) -> uint256[FIELDS]:
    """Calls on plain numbers."""
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    result: uint256[FIELDS] = empty(uint256[FIELDS])
    if call.name == 0:
        state.spend_work(a)
    elif call.name == 1:
        state.spend_proof(a)
    elif call.name == 2:
        state.set_transactions(a)
        result[0] = state.get_transactions()
    elif call.name == 3:
        state.set_time(a)
        result[0] = state.get_time()
    elif call.name == 4:
        state.set_block_number(a)
        result[0] = state.get_block_number()
    elif call.name == 5:
        state.set_position_number(a)
        result[0] = state.get_position_number()
    elif call.name == 6:
        state.set_cursor(a)
        result[0] = state.get_cursor()
    elif call.name == 7:
        result[0] = state.get_next_account()
    elif call.name == 8:
        state.set_last_anchor(a)
    elif call.name == 9:
        state.add_fees(self._int(a))
    elif call.name == 10:
        state.add_deposits(a)
    elif call.name == 11:
        result[0] = convert(state.account_exists(a), uint256)
    elif call.name == 12:
        result[0] = state.open_account(a)
    elif call.name == 13:
        result[0] = self._bits(state.get_collateral(a))
    elif call.name == 14:
        state.add_collateral(a, self._int(b))
    elif call.name == 15:
        result[0] = state.get_open_orders(a)
    elif call.name == 16:
        state.add_open_orders(a, self._int(b))
    elif call.name == 17:
        result[0] = state.get_key_count(a)
    elif call.name == 18:
        result[0] = state.get_position_count(a)
    elif call.name == 19:
        result[0] = state.find_position(a, b)
    elif call.name == 20:
        state.remove_position(a, b)
    elif call.name == 21:
        state.create_market(a)
    elif call.name == 22:
        result[0] = state.get_next_seq(a)
    elif call.name == 23:
        result[0] = state.take_seq(a)
    elif call.name == 24:
        state.add_open_interest(a, self._int(b))
        result[0] = state.get_open_interest(a)
    elif call.name == 25:
        state.add_insurance(a, self._int(b))
        result[0] = self._bits(state.get_insurance(a))
    elif call.name == 26:
        result[0] = state.get_publisher_count(a)
    elif call.name == 27:
        result[0], result[1] = state.get_best(a, b)
    elif call.name == 28:
        result[0] = state.create_withdrawal(a, b)
    else:
        raise "no such call"
    return result


@internal
def _records(call: Call) -> uint256[FIELDS]:
    """Calls on records."""
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    r: uint256[FIELDS] = call.record
    result: uint256[FIELDS] = empty(uint256[FIELDS])
    if call.name == 30:
        key: types.Key = state.get_key(a, b)
        result = [key.address, key.expiry, key.nonce_high, key.nonce_map, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    elif call.name == 31:
        state.set_key(a, b, types.Key(address=r[0], expiry=r[1], nonce_high=r[2], nonce_map=r[3]))
    elif call.name == 32:
        p: types.Position = state.get_position(a, b)
        result = [
            self._bits(p.size), self._bits(p.cost), self._bits(p.funding), self._bits(p.loss), p.buy_lots, p.sell_lots,
            p.buy_notional, p.sell_notional, p.min_seq, p.market, p.open_orders, p.reduce_lots, 0, 0, 0,
        ]
    elif call.name == 33:
        state.set_position(a, b, self._position(r))
    elif call.name == 34:
        result[0] = state.add_position(a, self._position(r))
    elif call.name == 35:
        m: types.Market = state.get_market(a)
        result = [m.oi_cap, m.min_notional, m.taker_fee, m.maker_fee, m.penalty, m.band, m.quorum, 0, 0, 0, 0, 0, 0, 0, 0]
    elif call.name == 36:
        state.set_market(a, types.Market(
            oi_cap=r[0], min_notional=r[1], taker_fee=r[2], maker_fee=r[3], penalty=r[4], band=r[5], quorum=r[6]
        ))
    elif call.name == 37:
        n: types.Pending = state.get_pending(a)
        result = [n.account, n.lots, n.price, n.client_id, n.expiry, n.side, n.tif, 0, 0, 0, 0, 0, 0, 0, 0]
    elif call.name == 38:
        state.set_pending(a, types.Pending(
            account=r[0], lots=r[1], price=r[2], client_id=r[3], expiry=r[4], side=r[5], tif=r[6]
        ))
    elif call.name == 39:
        s: types.Publisher = state.get_publisher(a, b)
        result = [s.address, s.price, s.time, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    elif call.name == 40:
        state.set_publisher(a, b, types.Publisher(address=r[0], price=r[1], time=r[2]))
    elif call.name == 41:
        d: types.Board = state.get_board(a)
        result = [
            d.mark, d.mark_time, d.tick_value, d.status, d.mm_base, d.mm_cap, d.im_base, d.im_cap, d.stale_ms,
            self._bits(d.funding), self._bits(d.loss_long), self._bits(d.loss_short), d.impact, d.variance, d.addon,
        ]
    elif call.name == 42:
        state.set_board(a, types.Board(
            mark=r[0], mark_time=r[1], tick_value=r[2], status=r[3], mm_base=r[4], mm_cap=r[5], im_base=r[6],
            im_cap=r[7], stale_ms=r[8], funding=self._int(r[9]), loss_long=self._int(r[10]),
            loss_short=self._int(r[11]), impact=r[12], variance=r[13], addon=r[14],
        ))
    elif call.name == 43:
        o: types.Order = state.get_order(a, b, call.args[2], call.args[3])
        result = [o.account, o.lots, o.client_id, o.expiry, o.flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    elif call.name == 44:
        state.set_order(a, b, call.args[2], call.args[3], types.Order(
            account=r[0], lots=r[1], client_id=r[2], expiry=r[3], flags=r[4]
        ))
    else:
        raise "no such call"
    return result


@pure
@internal
def _position(r: uint256[FIELDS]) -> types.Position:
    return types.Position(
        size=self._int(r[0]), cost=self._int(r[1]), funding=self._int(r[2]), loss=self._int(r[3]), buy_lots=r[4],
        sell_lots=r[5], buy_notional=r[6], sell_notional=r[7], min_seq=r[8], market=r[9], open_orders=r[10],
        reduce_lots=r[11],
    )


@external
def meter(data: Bytes[60000], account: uint256, index: uint256, market: uint256) -> uint256[12]:
    """@return gas of: first touch, get_collateral, get_position, set_position, get_board, get_market, get_best (first, again),
    get_order, set_order, find_position, get_time"""
    ops: uint256 = witness.load(witness.calldata_argument(0))
    state.begin_chunk()
    state.get_board(market)
    state.get_next_seq(market)
    gas: uint256[13] = empty(uint256[13])
    gas[0] = msg.gas
    state.get_open_orders(account)
    gas[1] = msg.gas
    state.get_collateral(account)
    gas[2] = msg.gas
    p: types.Position = state.get_position(account, index)
    gas[3] = msg.gas
    state.set_position(account, index, p)
    gas[4] = msg.gas
    state.get_board(market)
    gas[5] = msg.gas
    state.get_market(market)
    gas[6] = msg.gas
    price: uint256 = 0
    seq: uint256 = 0
    price, seq = state.get_best(market, 0)
    gas[7] = msg.gas
    price, seq = state.get_best(market, 0)
    gas[8] = msg.gas
    o: types.Order = state.get_order(market, 0, price, seq)
    gas[9] = msg.gas
    state.set_order(market, 0, price, seq, o)
    gas[10] = msg.gas
    found: uint256 = state.find_position(account, p.market)
    gas[11] = msg.gas
    now: uint256 = state.get_time()
    gas[12] = msg.gas
    used: uint256[12] = empty(uint256[12])
    for i: uint256 in range(12):
        used[i] = gas[i] - gas[i + 1]
    return used


@external
@pure
def divide(a: int256, b: int256) -> (int256, int256, int256):
    """@return rounded down, up, toward zero"""
    return fixed_point.div_down(a, b), fixed_point.div_up(a, b), fixed_point.div_toward_zero(a, b)


@external
@pure
def in_range(amount: int256) -> bool:
    return fixed_point.in_range(amount)
