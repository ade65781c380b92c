# pragma version 0.4.3
"""
@title Vault: the only place that moves the settlement token
@license Apache-2.0
@notice Invariant: token.balanceOf(rollup) >= custody + reserved, where custody is what L2 accounts and unpaid withdrawals
        own, and reserved is bonds, rewards, the victims' pot and burned bonds (burning is locking forever: a transfer
        could be made to fail, a counter cannot).
@dev Tokens that return nothing are accepted; a transfer that moves another amount than asked (fees, rebasing on
     transfer) reverts. Callers hold the re-entrancy lock, and change their own books before `pay`.
"""
from ethereum.ercs import IERC20

TOKEN: immutable(address)

custody: public(uint256)
reserved: public(uint256)


@deploy
def __init__(token: address):
    assert token.is_contract, "TOKEN: not a contract"
    TOKEN = token


@internal
def pull(payer: address, amount: uint256):
    before: uint256 = staticcall IERC20(TOKEN).balanceOf(self)
    moved: bool = extcall IERC20(TOKEN).transferFrom(payer, self, amount, default_return_value=True)
    assert moved, "TRANSFER_FROM: failed, check balance and allowance"
    arrived: uint256 = staticcall IERC20(TOKEN).balanceOf(self)
    assert arrived == before + amount, "TOKEN_FEE: another amount arrived, such tokens are not supported"


@internal
def pay(recipient: address, amount: uint256):
    moved: bool = extcall IERC20(TOKEN).transfer(recipient, amount, default_return_value=True)
    assert moved, "TRANSFER: failed"


@external
@view
def token() -> address:
    return TOKEN
