# pragma version 0.4.3
"""
@title  The way to those parts of the rules that live in other contracts
@author Anchorline contributors
@license Apache-2.0
@notice All rules do not fit into 24,576 bytes, so book and liquidation run in FraudBook, accounts and prices in
        FraudAccounts, by delegatecall: their code on this contract's transient storage. Where its twin calls
        `book.place(…)` or `oracle.publish(…)`, transition.vy calls `parts.place(…)` and `parts.publish(…)`.
        A failed call is never caught: it means a witness that lacks a leaf, and the whole proof reverts.
"""
from stf import types

BOOK: immutable(address)
ACCOUNTS: immutable(address)


@deploy
def __init__(book_part: address, accounts_part: address):
    assert book_part.is_contract, "BOOK: not a contract"
    assert accounts_part.is_contract, "ACCOUNTS: not a contract"
    BOOK = book_part
    ACCOUNTS = accounts_part


@internal
def place(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    answer: Bytes[64] = raw_call(
        BOOK,
        abi_encode(
            account,
            action,
            steps,
            method_id=method_id(
                "place(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),uint256)"
            ),
        ),
        max_outsize=64,
        is_delegate_call=True,
    )
    return abi_decode(answer, (uint256, uint256))


@internal
def cancel(account: uint256, action: types.Action) -> uint256:
    answer: Bytes[32] = raw_call(
        BOOK,
        abi_encode(
            account,
            action,
            method_id=method_id(
                "cancel(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256))"
            ),
        ),
        max_outsize=32,
        is_delegate_call=True,
    )
    return abi_decode(answer, uint256)


@internal
def cancel_all(account: uint256, market: uint256) -> uint256:
    return self._call(method_id("cancel_all(uint256,uint256)"), account, market)


@internal
def resume(market: uint256, steps: uint256) -> uint256:
    return self._call(method_id("resume(uint256,uint256)"), market, steps)


@internal
def liquidate(account: uint256, market: uint256) -> uint256:
    return self._call(method_id("liquidate(uint256,uint256)"), account, market)


@internal
def authorize(account: uint256, slot: uint256, signer: uint256, nonce: uint256, expiry: uint256) -> uint256:
    return self._ask(
        abi_encode(
            account,
            slot,
            signer,
            nonce,
            expiry,
            method_id=method_id("authorize(uint256,uint256,uint256,uint256,uint256)"),
        )
    )


@internal
def set_key(account: uint256, slot: uint256, key: uint256, expiry: uint256) -> uint256:
    return self._ask(
        abi_encode(account, slot, key, expiry, method_id=method_id("set_key(uint256,uint256,uint256,uint256)"))
    )


@internal
def deposit(account: uint256, owner: uint256, amount: uint256) -> uint256:
    return self._ask(abi_encode(account, owner, amount, method_id=method_id("deposit(uint256,uint256,uint256)")))


@internal
def withdraw(account: uint256, recipient: uint256, amount: uint256) -> uint256:
    return self._ask(abi_encode(account, recipient, amount, method_id=method_id("withdraw(uint256,uint256,uint256)")))


@internal
def publish(market: uint256, slot: uint256, signer: uint256, time: uint256, price: uint256) -> uint256:
    return self._ask(
        abi_encode(
            market, slot, signer, time, price, method_id=method_id("publish(uint256,uint256,uint256,uint256,uint256)")
        )
    )


@internal
def _ask(call: Bytes[164]) -> uint256:
    """@notice A function of FraudAccounts that answers with one number."""
    return abi_decode(raw_call(ACCOUNTS, call, max_outsize=32, is_delegate_call=True), uint256)


@internal
def _call(method: Bytes[4], first: uint256, second: uint256) -> uint256:
    """@notice A function of FraudBook that takes two numbers and answers with a status."""
    answer: Bytes[32] = raw_call(
        BOOK, concat(method, convert(first, bytes32), convert(second, bytes32)), max_outsize=32, is_delegate_call=True
    )
    return abi_decode(answer, uint256)
