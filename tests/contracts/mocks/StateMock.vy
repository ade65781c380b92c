# pragma version 0.4.3
# pragma optimize codesize
"""Runs lists of state calls on witnessed leaves.

Arguments and results travel ABI-encoded: records as their fields.
"""
from stf import state
from stf import trie
from stf import types
from stf import witness

initializes: trie
initializes: witness[trie := trie]
initializes: state[trie := trie]

RECORD: constant(uint256) = 19 * 32

struct Call:
    name: uint256  # position in CALLS of tests/stf/test_state_twin.py
    args: uint256[4]
    record: Bytes[RECORD]


@external
def run(keys: DynArray[uint256, 255], calls: DynArray[Call, 100], data: Bytes[60000]) -> (DynArray[Bytes[RECORD], 100], DynArray[bytes32, 255], uint256[4]):
    """
    @notice The witness is loaded and not verified: what is compared here are the leaves.
    @return what each call returned; the hash of each key's leaf (0: absent); work, proof bytes, and the leaves touched, as
            the books count them and as the table marks them
    """
    ops: uint256 = witness.load(witness.calldata_argument(2))
    state.begin_chunk()
    results: DynArray[Bytes[RECORD], 100] = []
    for call: Call in calls:
        if call.name < 30 or call.name >= 60:
            results.append(self._pair(call))
        else:
            results.append(self._records(call))
    books: uint256[4] = [state.get_work(), state.get_proof(), state.get_leaves(), trie.cells[(trie.namespace << trie.TABLE_BITS) + trie.TOUCHED_CELL]]
    state.end_chunk()
    hashes: DynArray[bytes32, 255] = []
    for key: uint256 in keys:
        hashes.append(trie.new_hash(trie.index_of(key)))
    return results, hashes, books


@internal
def _pair(call: Call) -> Bytes[RECORD]:
    first: uint256 = 0
    second: uint256 = 0
    if call.name < 30:
        first, second = self._numbers(call)
    else:
        first, second = self._engine(call)
    return abi_encode(first, second)


@internal
def _globals(call: Call) -> (uint256, uint256):
    """Calls on the chunk's books and the global leaf; two numbers are returned."""
    a: uint256 = call.args[0]
    result: uint256 = 0
    if call.name == 0:
        state.spend_work(a)
    elif call.name == 1:
        state.spend_proof(a)
    elif call.name == 2:
        state.set_transactions(a)
        result = state.get_transactions()
    elif call.name == 3:
        state.set_time(a)
        result = state.get_time()
    elif call.name == 4:
        state.set_block_number(a)
        result = state.get_block_number()
    elif call.name == 5:
        state.set_position_number(a)
        result = state.get_position_number()
    else:
        assert call.name == 6
        state.set_cursor(a)
        result = state.get_cursor()
    return result, 0


@internal
def _numbers(call: Call) -> (uint256, uint256):
    """Calls on plain numbers; two are returned."""
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    result: uint256 = 0
    second: uint256 = 0
    if call.name < 7:
        return self._globals(call)
    elif call.name == 7:
        result = state.get_next_account()
    elif call.name == 8:
        state.set_last_anchor(a)
        result = state.get_last_anchor()
    elif call.name == 9:
        state.add_fees(convert(convert(a, bytes32), int256))
        result = state.get_fees()
    elif call.name == 10:
        state.add_deposits(a)
    elif call.name == 11:
        result = convert(state.account_exists(a), uint256)
    elif call.name == 12:
        result = state.open_account(a)
    elif call.name == 14:
        state.add_collateral(a, convert(convert(b, bytes32), int256))
        result = convert(convert(state.get_collateral(a), bytes32), uint256)
    elif call.name == 16:
        state.add_open_orders(a, convert(convert(b, bytes32), int256))
        result = state.get_open_orders(a)
    elif call.name == 17:
        result = state.get_key_count(a)
    elif call.name == 18:
        result = state.get_position_count(a)
    elif call.name == 19:
        result = state.find_position(a, b)
    elif call.name == 20:
        state.remove_position(a, b)
    elif call.name == 21:
        state.create_market(a)
    elif call.name == 22:
        result = state.get_next_seq(a)
    elif call.name == 23:
        result = state.take_seq(a)
    elif call.name == 24:
        state.add_open_interest(a, convert(convert(b, bytes32), int256))
        result = state.get_open_interest(a)
    elif call.name == 25:
        state.add_insurance(a, convert(convert(b, bytes32), int256))
    elif call.name == 26:
        result = state.get_publisher_count(a)
    elif call.name == 27:
        result, second = state.get_best(a, b)
    else:
        assert call.name == 28
        result = state.create_withdrawal(a, b)
    return result, second


@internal
def _engine(call: Call) -> (uint256, uint256):
    """Calls of the derivatives engine on plain numbers; two are returned."""
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    c: uint256 = call.args[2]
    result: uint256 = 0
    second: uint256 = 0
    if call.name == 61:
        state.set_sqrt_tau(a)
        result = state.get_sqrt_tau()
    elif call.name == 62:
        state.set_level(a)
        result = state.get_level()
    elif call.name == 63:
        state.set_outflow(a, b)
        result, second = state.get_outflow()
    elif call.name == 65:
        state.set_outflow_limit(a)
        result = state.get_outflow_limit()
    elif call.name == 67:
        state.set_account_flags(a, b)
        result = state.get_account_flags(a)
    elif call.name == 68:
        state.set_cancel_at(a, b)
        result = state.get_cancel_at(a)
    elif call.name == 69:
        state.set_buffer(a, b, c)
        result, second = state.get_buffer(a)
    elif call.name == 71:
        state.add_side_lots(a, convert(convert(b, bytes32), int256), convert(convert(c, bytes32), int256))
    elif call.name == 72:
        state.add_loss(a, b, convert(convert(c, bytes32), int256), convert(convert(call.args[3], bytes32), int256))
    elif call.name == 73:
        state.set_reduced(a, b, c)
        result, second = state.get_reduced(a)
    elif call.name == 75:
        state.set_twap(a, b, c)
        result, second = state.get_twap(a)
    elif call.name == 77:
        result, second = state.get_next(a, b, c, call.args[3])
    elif call.name == 78:
        result = state.get_resting()
    elif call.name == 79:
        result = state.get_jump_price(a)
    elif call.name == 80:
        result = state.get_expiry(a)
    else:
        assert call.name == 81
        state.remove_withdrawal(a)
    return result, second


@internal
def _records(call: Call) -> Bytes[RECORD]:
    """Calls on records; only getters and add_position return something."""
    a: uint256 = call.args[0]
    b: uint256 = call.args[1]
    if call.name == 30:
        return abi_encode(state.get_key(a, b))
    elif call.name == 31:
        state.set_key(a, b, abi_decode(call.record, types.Key))
    elif call.name == 32:
        return abi_encode(state.get_position(a, b))
    elif call.name == 33:
        state.set_position(a, b, abi_decode(call.record, types.Position))
    elif call.name == 34:
        return abi_encode(state.add_position(a, abi_decode(call.record, types.Position)))
    elif call.name == 35:
        return abi_encode(state.get_market(a))
    elif call.name == 36:
        state.set_market(a, abi_decode(call.record, types.Market))
    elif call.name == 37:
        return abi_encode(state.get_pending(a))
    elif call.name == 38:
        state.set_pending(a, abi_decode(call.record, types.Pending))
    elif call.name == 39:
        return abi_encode(state.get_publisher(a, b))
    elif call.name == 40:
        state.set_publisher(a, b, abi_decode(call.record, types.Publisher))
    elif call.name == 41:
        return abi_encode(state.get_board(a))
    elif call.name == 42:
        state.set_board(a, abi_decode(call.record, types.Board))
    elif call.name == 43:
        return abi_encode(state.get_order(a, b, call.args[2], call.args[3]))
    elif call.name == 44:
        state.set_order(a, b, call.args[2], call.args[3], abi_decode(call.record, types.Order))
    elif call.name == 45:
        return abi_encode(state.get_insurance(a))
    elif call.name == 46:
        state.set_insurance(a, abi_decode(call.record, types.Insurance))
    elif call.name == 47:
        return abi_encode(state.get_price_state(a))
    elif call.name == 48:
        state.set_price_state(a, abi_decode(call.record, types.PriceState))
    elif call.name == 49:
        return abi_encode(state.get_chain())
    else:
        assert call.name == 50
        state.set_chain(abi_decode(call.record, types.Chain))
    return b""
