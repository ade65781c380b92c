"""A stock wallet signs what it shows, and the rules accept it: eth_account with human-readable messages, end to end."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from node.stf import encoding
from node.stf.types import Action, Status
from tests.stf.world import World, buy, cancel, cancel_all, private_key, sell
from tests.vectors.generate import TYPES, USES, shown

DOMAIN = {"name": "Anchorline", "version": "1", "chainId": 901, "verifyingContract": "0x" + f"{0x1234:040x}"}


def wallet(name: str) -> LocalAccount:
    return Account.from_key(private_key(name).secret)


def sign(signer: LocalAccount, kind: str, message: dict[str, Any]) -> bytes:
    """The wallet's signature as it goes on the wire: r and yParityAndS of EIP-2098."""
    types = {name: TYPES[name] for name in USES.get(kind, (kind,))}
    signed = signer.sign_message(encode_typed_data(DOMAIN, types, message))
    return signed.r.to_bytes(32, "big") + (signed.s | (signed.v - 27) << 255).to_bytes(32, "big")


def words_of(action: Action) -> dict[str, Any]:
    return shown({name: getattr(action, name) for name in Action.__slots__})


@pytest.fixture
def world() -> World:
    world = World(strict=True)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    assert all(receipt.status == Status.OK for receipt in world.price({0: 600_000}))
    return world


def test_orders_and_cancels(world: World) -> None:
    account = world.deposit("alice", 10_000_000_000)
    listed = [
        buy(0, 599_000, 100, 2**64 - 1, expiry=world.time + 60_000),
        sell(0, 601_000, 7, 2, tif=3),
        cancel(0, 0, 599_000, 1, 2**64 - 1),
        cancel_all(0),
        buy(0, 598_000, 50, 4, tif=1),
    ]
    nonce, expiry = world.time, world.time + 1_000
    message = {"account": account, "keySlot": 0, "nonce": nonce, "expiry": expiry, "actions": [*map(words_of, listed)]}
    signature = sign(wallet("alice"), "Actions", message)
    receipt = world.run(encoding.write_actions(account, 0, nonce, expiry, listed, signature, world.time))
    assert (receipt.status, receipt.action_statuses) == (Status.OK, [Status.OK] * 5)


def test_what_is_not_shown_is_not_accepted(world: World) -> None:
    """One changed word makes it another key's signature."""
    account = world.deposit("alice", 10_000_000_000)
    order = buy(0, 599_000, 100)
    nonce, expiry = world.time, world.time + 1_000
    message = {"account": account, "keySlot": 0, "nonce": nonce, "expiry": expiry}
    for change in ({"lots": 101}, {"side": "sell"}, {"timeInForce": "IOC"}, {"price": 599_001}, {"action": "cancel"}):
        signature = sign(wallet("alice"), "Actions", message | {"actions": [words_of(order) | change]})
        receipt = world.run(encoding.write_actions(account, 0, nonce, expiry, [order], signature, world.time))
        assert receipt.status == Status.NO_KEY, change


def test_session_key(world: World) -> None:
    """The owner's wallet admits a trade-only key, whose signatures then count in its slot."""
    account = world.deposit("alice", 10_000_000_000)
    session, nonce, expiry = wallet("session"), world.time, world.time + 1_000
    message = {
        "account": account, "nonce": nonce, "expiry": expiry, "keySlot": 2, "key": session.address, "keyExpiry": 0,
    }  # fmt: skip
    signature = sign(wallet("alice"), "SetKey", message)
    key = int(session.address, 16)
    transaction = encoding.write_set_key(account, 2, nonce, expiry, key, 0, signature, world.time)
    assert world.run(transaction).status == Status.OK
    order, nonce = buy(0, 599_000, 1_000), world.time + 1
    message = {"account": account, "keySlot": 2, "nonce": nonce, "expiry": expiry, "actions": [words_of(order)]}
    signature = sign(session, "Actions", message)
    receipt = world.run(encoding.write_actions(account, 2, nonce, expiry, [order], signature, world.time))
    assert (receipt.status, receipt.action_statuses) == (Status.OK, [Status.OK])


def test_withdrawal(world: World) -> None:
    account = world.deposit("alice", 10_000_000_000)
    nonce, expiry, recipient = world.time, world.time + 1_000, wallet("carol").address
    message = {"account": account, "nonce": nonce, "expiry": expiry, "recipient": recipient, "amount": 5_000_000}
    signature = sign(wallet("alice"), "Withdraw", message)
    transaction = encoding.write_withdraw(account, nonce, expiry, int(recipient, 16), 5_000_000, signature, world.time)
    assert world.run(transaction).status == Status.OK


def test_prices(world: World) -> None:
    world.block(5)
    message = {"publisher": 0, "time": world.time, "prices": [{"market": 0, "price": 600_500}]}
    signature = sign(wallet("publisher 0"), "OraclePrice", message)
    transaction = encoding.write_oracle_price(0, world.time, [0], [600_500], signature, world.time)
    assert world.run(transaction).status == Status.OK


def test_type_strings_are_the_wallets() -> None:
    """What the rules hash is what EIP-712 derives from the fields a wallet is given."""
    constants = {
        "Action": encoding.ACTION_TYPE, "Actions": encoding.ACTIONS_TYPE, "Withdraw": encoding.WITHDRAW_TYPE,
        "SetKey": encoding.SET_KEY_TYPE, "Price": encoding.PRICE_TYPE, "OraclePrice": encoding.ORACLE_PRICE_TYPE,
    }  # fmt: skip
    for name, fields in TYPES.items():
        assert constants[name] == f"{name}({','.join(f['type'] + ' ' + f['name'] for f in fields)})"
