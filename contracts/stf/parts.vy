# pragma version 0.4.3
"""
@title  The way to those parts of the rules that live in other contracts
@author Anchorline contributors
@license Apache-2.0
@notice All rules do not fit into 24,576 bytes, so they run in several contracts, by delegatecall: their code on this contract's
        transient storage. Where its twin calls `oracle.publish(…)`, transition.vy calls `parts.publish(…)`.

        FraudRules        transition, encoding          calls all others but FraudFok
        FraudAccounts     accounts, oracle, funding, quotes, margin
        FraudOrders       orders                        calls FraudBook and FraudFok
        FraudBook         book
        FraudFok          fok
        FraudLiquidation  liquidation, insurance, settlement     calls FraudBook
        FraudInbox        inbox

        A failed call is never caught: it means a witness that lacks a leaf, and the whole proof reverts. A part that a contract
        does not call is the zero address there.
@dev Signatures are written out: a record that gets a field changes them. A wrong one reverts, which no test misses.
"""
from stf import types

PAYLOAD_WORDS: constant(uint256) = 32

ACCOUNTS: immutable(address)
ORDERS: immutable(address)
BOOK: immutable(address)
FOK: immutable(address)
LIQUIDATION: immutable(address)
INBOX: immutable(address)


@deploy
def __init__(accounts: address, orders: address, book: address, fok: address, liquidation: address, inbox: address):
    ACCOUNTS = accounts
    ORDERS = orders
    BOOK = book
    FOK = fok
    LIQUIDATION = liquidation
    INBOX = inbox


# --- FraudAccounts ----------------------------------------------------------------------------------------------------


@internal
def authorize(account: uint256, slot: uint256, signer: uint256, nonce: uint256, expiry: uint256) -> uint256:
    call: Bytes[164] = abi_encode(
        account, slot, signer, nonce, expiry, method_id=method_id("authorize(uint256,uint256,uint256,uint256,uint256)")
    )
    return self._ask(ACCOUNTS, call)


@internal
def set_key(account: uint256, slot: uint256, key: uint256, expiry: uint256) -> uint256:
    call: Bytes[132] = abi_encode(
        account, slot, key, expiry, method_id=method_id("set_key(uint256,uint256,uint256,uint256)")
    )
    return self._ask(ACCOUNTS, call)


@internal
def withdraw(account: uint256, recipient: uint256, amount: uint256) -> uint256:
    call: Bytes[100] = abi_encode(account, recipient, amount, method_id=method_id("withdraw(uint256,uint256,uint256)"))
    return self._ask(ACCOUNTS, call)


@internal
def publish(market: uint256, slot: uint256, signer: uint256, time: uint256, price: uint256) -> uint256:
    call: Bytes[164] = abi_encode(
        market, slot, signer, time, price, method_id=method_id("publish(uint256,uint256,uint256,uint256,uint256)")
    )
    return self._ask(ACCOUNTS, call)


# --- FraudOrders ------------------------------------------------------------------------------------------------------


@internal
def perform(account: uint256, action: types.Action, steps: uint256) -> (uint256, uint256):
    """@notice One action of an authorized list. @return its status and the match steps left."""
    answer: Bytes[64] = raw_call(
        ORDERS,
        abi_encode(
            account,
            action,
            steps,
            method_id=method_id(
                "perform(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),uint256)"
            ),
        ),
        max_outsize=64,
        is_delegate_call=True,
    )
    return abi_decode(answer, (uint256, uint256))


@internal
def sweep(market: uint256, side: uint256) -> uint256:
    return self._ask(ORDERS, abi_encode(market, side, method_id=method_id("sweep(uint256,uint256)")))


@internal
def fire(market: uint256, direction: uint256) -> uint256:
    return self._ask(ORDERS, abi_encode(market, direction, method_id=method_id("fire(uint256,uint256)")))


# --- FraudBook, FraudFok ----------------------------------------------------------------------------------------------


@internal
def resume(market: uint256, steps: uint256) -> uint256:
    return self._ask(BOOK, abi_encode(market, steps, method_id=method_id("resume(uint256,uint256)")))


@internal
def run(market: uint256, taker: types.Pending, health: types.Terms, steps: uint256) -> (uint256, uint256):
    answer: Bytes[64] = raw_call(
        BOOK,
        abi_encode(
            market,
            taker,
            health,
            steps,
            method_id=method_id(
                "run(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),(int256,int256,int256,int256,uint256,int256,int256),uint256)"
            ),
        ),
        max_outsize=64,
        is_delegate_call=True,
    )
    return abi_decode(answer, (uint256, uint256))


@internal
def scan(market: uint256, taker: types.Pending, health: types.Terms, steps: uint256) -> (uint256, uint256):
    answer: Bytes[64] = raw_call(
        FOK,
        abi_encode(
            market,
            taker,
            health,
            steps,
            method_id=method_id(
                "scan(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),(int256,int256,int256,int256,uint256,int256,int256),uint256)"
            ),
        ),
        max_outsize=64,
        is_delegate_call=True,
    )
    return abi_decode(answer, (uint256, uint256))


@internal
def fill_slice(market: uint256, taker: types.Pending, health: types.Terms) -> (types.Terms, uint256, uint256):
    answer: Bytes[288] = raw_call(
        BOOK,
        abi_encode(
            market,
            taker,
            health,
            method_id=method_id(
                "fill_slice(uint256,(uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256,uint256),(int256,int256,int256,int256,uint256,int256,int256))"
            ),
        ),
        max_outsize=288,
        is_delegate_call=True,
    )
    return abi_decode(answer, (types.Terms, uint256, uint256))


# --- FraudLiquidation, FraudInbox -------------------------------------------------------------------------------------


@internal
def liquidate(account: uint256, market: uint256, forced: bool) -> uint256:
    call: Bytes[100] = abi_encode(account, market, forced, method_id=method_id("liquidate(uint256,uint256,bool)"))
    return self._ask(LIQUIDATION, call)


@internal
def settle(account: uint256, market: uint256) -> uint256:
    return self._ask(LIQUIDATION, abi_encode(account, market, method_id=method_id("settle(uint256,uint256)")))


@internal
def deliver(kind: uint256, position: uint256, size: uint256) -> uint256:
    """
    @notice A message of L1 other than a forced transaction.
    @param position, size of its payload in msg.data; 32 bytes of calldata follow it
    """
    words: uint256[PAYLOAD_WORDS] = empty(uint256[PAYLOAD_WORDS])
    for word: uint256 in range((size + 31) // 32, bound=PAYLOAD_WORDS):
        words[word] = convert(convert(slice(msg.data, position + 32 * word, 32), bytes32), uint256)
    payload: Bytes[1024] = slice(abi_encode(words), 0, size)
    # nothing follows the payload but this empty argument: reading is by whole words
    call: Bytes[1220] = abi_encode(kind, payload, b"", method_id=method_id("deliver(uint256,bytes,bytes)"))
    answer: Bytes[32] = raw_call(INBOX, call, max_outsize=32, is_delegate_call=True)
    return abi_decode(answer, uint256)


@internal
def _ask(part: address, call: Bytes[164]) -> uint256:
    """@notice A function that answers with one number."""
    answer: Bytes[32] = raw_call(part, call, max_outsize=32, is_delegate_call=True)
    return abi_decode(answer, uint256)
