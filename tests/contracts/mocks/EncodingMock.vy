# pragma version 0.4.3
"""Calls the decoders, digests and recovery of encoding.vy on calldata, and the divisions of fixed_point.vy."""
from stf import encoding
from stf import fixed_point
from stf import params
from stf import types

initializes: encoding

READS: constant(uint256) = 16
VARINT: constant(uint256) = 100
TIME: constant(uint256) = 101
BYTE: constant(uint256) = 102


@view
@internal
def _start(data: uint256) -> uint256:
    """@return position of the content of the dynamic argument with this head index."""
    head: uint256 = 4 + 32 * data
    return 36 + convert(convert(slice(msg.data, head, 32), bytes32), uint256)


@internal
def _load(size: uint256, base_time: uint256) -> uint256:
    start: uint256 = self._start(0)
    encoding.load(start, size)
    encoding.set_base_time(base_time)
    return start


@view
@internal
def _relative(pos: uint256, start: uint256) -> uint256:
    return pos if pos == encoding.BAD else pos - start


@external
def read(data: Bytes[2000], base_time: uint256, kinds: DynArray[uint256, READS], tail: Bytes[32]) -> (DynArray[uint256, READS], DynArray[uint256, READS], DynArray[uint256, READS]):
    """
    @param kinds one read each: a size of 1..32 bytes, or VARINT, TIME, BYTE
    @return values, positions relative to the data (or BAD), gas
    """
    start: uint256 = self._load(len(data), base_time)
    values: DynArray[uint256, READS] = []
    ends: DynArray[uint256, READS] = []
    gas: DynArray[uint256, READS] = []
    pos: uint256 = start
    for kind: uint256 in kinds:
        content: uint256 = 0
        before: uint256 = msg.gas
        if kind == VARINT:
            content, pos = encoding.read_varint(pos)
        elif kind == TIME:
            content, pos = encoding.read_time(pos)
        elif kind == BYTE:
            content, pos = encoding.read_byte(pos)
        else:
            content, pos = encoding.read_fixed(pos, kind)
        gas.append(before - msg.gas)
        values.append(content)
        ends.append(self._relative(pos, start))
    return values, ends, gas


@external
def bounds(data: Bytes[100], end: uint256, tail: Bytes[32]) -> (uint256, uint256):
    """@return where the buffer ends, relative to the data: as loaded, and after set_end(data + end)"""
    start: uint256 = self._load(len(data), 0)
    loaded: uint256 = encoding.get_end()
    encoding.set_end(start + end)
    return loaded - start, encoding.get_end() - start


@external
def read_actions(data: Bytes[2000], base_time: uint256, count: uint256, tail: Bytes[32]) -> (DynArray[types.Action, params.ACTIONS_MAX], uint256, uint256):
    """@return actions, position after them relative to the data (or BAD), gas"""
    start: uint256 = self._load(len(data), base_time)
    actions: DynArray[types.Action, params.ACTIONS_MAX] = []
    pos: uint256 = 0
    before: uint256 = msg.gas
    actions, pos = encoding.read_actions(start, count)
    gas: uint256 = before - msg.gas
    return actions, self._relative(pos, start), gas


@external
def read_prices(data: Bytes[200], count: uint256, tail: Bytes[32]) -> (DynArray[uint256, params.PRICES_MAX], DynArray[uint256, params.PRICES_MAX], uint256, uint256):
    start: uint256 = self._load(len(data), 0)
    markets: DynArray[uint256, params.PRICES_MAX] = []
    prices: DynArray[uint256, params.PRICES_MAX] = []
    pos: uint256 = 0
    before: uint256 = msg.gas
    markets, prices, pos = encoding.read_prices(start, count)
    gas: uint256 = before - msg.gas
    return markets, prices, self._relative(pos, start), gas


@external
@pure
def domain_separator(chain_id: uint256, rollup: uint256) -> bytes32:
    return encoding.domain_separator(chain_id, rollup)


@external
@pure
def action_hash(action: types.Action) -> (bytes32, uint256):
    return encoding.action_hash(action), 0


@external
def actions_digest(domain: bytes32, fields: uint256[4], actions: DynArray[types.Action, params.ACTIONS_MAX]) -> (bytes32, uint256):
    encoding.set_domain(domain)
    before: uint256 = msg.gas
    digest: bytes32 = encoding.actions_digest(fields[0], fields[1], fields[2], fields[3], actions)
    return digest, before - msg.gas


@external
def withdraw_digest(domain: bytes32, fields: uint256[5]) -> bytes32:
    encoding.set_domain(domain)
    return encoding.withdraw_digest(fields[0], fields[1], fields[2], fields[3], fields[4])


@external
def set_key_digest(domain: bytes32, fields: uint256[6]) -> bytes32:
    encoding.set_domain(domain)
    return encoding.set_key_digest(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5])


@external
def oracle_price_digest(domain: bytes32, fields: uint256[2], markets: DynArray[uint256, params.PRICES_MAX], prices: DynArray[uint256, params.PRICES_MAX]) -> (bytes32, uint256):
    encoding.set_domain(domain)
    before: uint256 = msg.gas
    digest: bytes32 = encoding.oracle_price_digest(fields[0], fields[1], markets, prices)
    return digest, before - msg.gas


@external
@view
def recover(digest: bytes32, r: uint256, vs: uint256) -> (uint256, uint256):
    before: uint256 = msg.gas
    signer: uint256 = encoding.recover(digest, r, vs)
    return signer, before - msg.gas


@external
@pure
def divide(a: int256, b: int256) -> (int256, int256, int256):
    """@return rounded down, up, toward zero"""
    return fixed_point.div_down(a, b), fixed_point.div_up(a, b), fixed_point.div_toward_zero(a, b)


@external
@pure
def in_range(amount: int256) -> bool:
    return fixed_point.in_range(amount)
