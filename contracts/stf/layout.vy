# pragma version 0.4.3
"""
@title  Keys of leaves, and signed fields in their words
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/layout.py, where the layouts of all leaves are written down; words are packed and unpacked in state.vy,
        in place.
"""

from stf import params
from stf import types

GLOBAL_KEY: constant(uint256) = 71 << 248  # "G"
BOARD_KEY: constant(uint256) = 66 << 248  # "B"
MARKET_KEY: constant(uint256) = 77 << 248  # "M"
ACCOUNT_KEY: constant(uint256) = 65 << 248  # "A"
BOOK_KEY: constant(uint256) = 79 << 248  # "O"
WITHDRAWAL_KEY: constant(uint256) = 87 << 248  # "W"


# --- keys of leaves ---------------------------------------------------------------------------------------------------

@pure
@internal
def account_key(account: uint256) -> uint256:
    return ACCOUNT_KEY | account << 216


@pure
@internal
def board_key(group: uint256) -> uint256:
    return BOARD_KEY | group << 240


@pure
@internal
def market_key(market: uint256) -> uint256:
    return MARKET_KEY | market << 232


@pure
@internal
def book_prefix(market: uint256, side: uint256) -> uint256:
    return BOOK_KEY | market << 232 | side << 224


@pure
@internal
def book_key(side: uint256, price: uint256, seq: uint256) -> uint256:
    """@notice Order of a resting order within its side: lower is better. 96 bits: price (on even sides inverted), sequence."""
    if side & 1 == types.SELL:
        return price << 64 | seq
    return (params.PRICE_MAX - price) << 64 | seq


@pure
@internal
def order_key(market: uint256, side: uint256, price: uint256, seq: uint256) -> uint256:
    return self.book_prefix(market, side) | self.book_key(side, price, seq) << 128


@pure
@internal
def withdrawal_key(withdrawal: uint256) -> uint256:
    return WITHDRAWAL_KEY | withdrawal << 184


# --- bits -------------------------------------------------------------------------------------------------------------

@pure
@internal
def signed(word: uint256, at: uint256) -> int256:
    """@return the signed 64-bit field that starts at bit `at`: moved to the top, then back with its sign."""
    return convert(convert(word << unsafe_sub(192, at), bytes32), int256) >> 192


@pure
@internal
def signed128(word: uint256, at: uint256) -> int256:
    return convert(convert(word << unsafe_sub(128, at), bytes32), int256) >> 128


@pure
@internal
def bits(number: int256) -> uint256:
    """@return two's complement."""
    return convert(convert(number, bytes32), uint256)
