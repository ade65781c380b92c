# pragma version 0.4.3
# pragma optimize codesize
"""Runs lists of calls of the price rules on witnessed leaves."""
from stf import finality
from stf import funding
from stf import oracle
from stf import quotes
from stf import state
from stf import trie
from stf import types
from stf import witness

initializes: trie
initializes: witness[trie := trie]
initializes: state[trie := trie]
initializes: quotes[state := state]
initializes: funding[state := state]
initializes: finality[state := state]
initializes: oracle[state := state, funding := funding, quotes := quotes]

struct Call:
    name: uint256  # position in CALLS of tests/stf/prices.py
    args: uint256[5]


@external
def run(keys: DynArray[uint256, 64], calls: DynArray[Call, 100], data: Bytes[60000]) -> (DynArray[uint256[3], 100], DynArray[bytes32, 64], uint256[3]):
    """
    @notice The witness is loaded and not verified: what is compared here are the leaves.
    @return what each call returned, and the gas it took; the hash of each key's leaf; work, proof bytes, leaves touched
    """
    ops: uint256 = witness.load(witness.calldata_argument(2))
    state.begin_chunk()
    results: DynArray[uint256[3], 100] = []
    for call: Call in calls:
        first: uint256 = 0
        second: uint256 = 0
        gas_before: uint256 = msg.gas
        first, second = self._run(call)
        results.append([first, second, gas_before - msg.gas])
    books: uint256[3] = [state.get_work(), state.get_proof(), state.get_leaves()]
    state.end_chunk()
    hashes: DynArray[bytes32, 64] = []
    for key: uint256 in keys:
        hashes.append(trie.new_hash(trie.index_of(key)))
    return results, hashes, books


@internal
def _run(call: Call) -> (uint256, uint256):
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    if call.name == 0:
        return oracle.publish(a, b, call.args[2], call.args[3], call.args[4]), 0
    elif call.name == 1:
        state.set_time(a)
    elif call.name == 2:
        oracle.configure(a)
    elif call.name == 3:
        finality.update()
    elif call.name == 4:
        return finality.market_status(a, state.get_board(a)), 0
    elif call.name == 5:
        return finality.addon(state.get_board(a)), finality.haircut(state.get_board(a))
    elif call.name == 6:
        return self._flag(oracle.is_fresh(state.get_board(a))), 0
    elif call.name == 7:
        return quotes.mid(a)
    elif call.name == 8:
        return quotes.live(a, b), 0
    elif call.name == 9:
        order: types.Order = state.get_order(a, b, call.args[2], call.args[3])
        return self._flag(quotes.is_dead(order.account, a, order, call.args[3], b)), quotes.order_side(order, b)
    elif call.name == 10:
        state.set_last_anchor(a)
    else:
        raise
    return 0, 0


@pure
@internal
def _flag(fact: bool) -> uint256:
    return convert(fact, uint256)
