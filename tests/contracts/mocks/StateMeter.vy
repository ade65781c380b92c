# pragma version 0.4.3
"""Meters the common state calls."""
from stf import state
from stf import trie
from stf import types
from stf import witness

initializes: trie
initializes: witness[trie := trie]
initializes: state[trie := trie]


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
