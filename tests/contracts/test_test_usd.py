"""TestUSD: ERC-20 rules, the bounded faucet, permits."""

from __future__ import annotations

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.evm import Actor, Contract, Evm, reverts

USD = 10**6
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ZERO = "0x" + "00" * 20


@pytest.fixture
def token(evm: Evm) -> Contract:
    return evm.deploy("TestUSD")


@pytest.fixture
def alice(evm: Evm, token: Contract) -> Actor:
    alice = evm.actor("alice")
    token.transact("mint", alice, 100 * USD)
    return alice


def test_what_wallets_show(token: Contract) -> None:
    assert [token.call(f) for f in ("name", "symbol", "decimals")] == ["Anchorline Test USD", "tUSD", 6]


def test_the_faucet_is_open_but_bounded(evm: Evm, token: Contract) -> None:
    limit = token.call("FAUCET_MAX")
    receipt = token.transact("mint", evm.actor("bob"), limit, sender=evm.actor("anyone"))
    bob = evm.actor("bob").address.lower()
    assert receipt.events("Transfer") == [{"sender": ZERO, "receiver": bob, "value": limit}]
    assert token.call("totalSupply") == limit
    with reverts("AMOUNT"):
        token.transact("mint", evm.actor("bob"), limit + 1)
    with reverts("TO"):
        token.transact("mint", ZERO, 1)


def test_transfers_move_exactly_and_never_more_than_there_is(evm: Evm, token: Contract, alice: Actor) -> None:
    bob = evm.actor("bob")
    assert token.transact("transfer", bob, 30 * USD, sender=alice).value is True
    assert token.transact("transfer", bob, 0, sender=alice).value is True
    assert (token.call("balanceOf", alice), token.call("balanceOf", bob)) == (70 * USD, 30 * USD)
    token.transact("transfer", alice, 70 * USD, sender=alice)
    assert token.call("balanceOf", alice) == 70 * USD
    with reverts("BALANCE"):
        token.transact("transfer", bob, 70 * USD + 1, sender=alice)
    with reverts("TO"):
        token.transact("transfer", ZERO, 1, sender=alice)


def test_allowances_are_used_up_unless_infinite(evm: Evm, token: Contract, alice: Actor) -> None:
    bob = evm.actor("bob")
    with reverts("ALLOWANCE"):
        token.transact("transferFrom", alice, bob, 1, sender=bob)
    token.transact("approve", bob, 10, sender=alice)
    token.transact("transferFrom", alice, bob, 4, sender=bob)
    assert token.call("allowance", alice, bob) == 6
    with reverts("ALLOWANCE"):
        token.transact("transferFrom", alice, bob, 7, sender=bob)
    token.transact("approve", bob, 2**256 - 1, sender=alice)
    token.transact("transferFrom", alice, bob, 7, sender=bob)
    assert token.call("allowance", alice, bob) == 2**256 - 1
    with reverts("BALANCE"):
        token.transact("transferFrom", alice, bob, 101 * USD, sender=bob)


def _sign(token: Contract, owner: Actor, spender: Actor, amount: int, **changes: Any) -> list[Any]:
    """Arguments of `permit`, signed by eth-account; `changes` alter what is signed."""
    deadline = token.evm.timestamp + 100
    message = {
        "owner": owner.address,
        "spender": spender.address,
        "value": amount,
        "nonce": token.call("nonces", owner),
        "deadline": deadline,
    } | {k: v for k, v in changes.items() if k not in ("chainId", "verifyingContract")}
    domain = {"name": "Anchorline Test USD", "version": "1", "chainId": 31337, "verifyingContract": token.address}
    domain |= {k: v for k, v in changes.items() if k in domain}
    kinds = {"owner": "address", "spender": "address", "value": "uint256", "nonce": "uint256", "deadline": "uint256"}
    types = {"Permit": [{"name": k, "type": v} for k, v in kinds.items()]}
    signed = Account.sign_message(encode_typed_data(domain, types, message), owner.key)
    return [owner, spender, amount, deadline, signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")]


def test_a_permit_is_an_approval_once(evm: Evm, token: Contract, alice: Actor) -> None:
    bob = evm.actor("bob")
    permit = _sign(token, alice, bob, 55)
    token.transact("permit", *permit, sender=bob)
    assert (token.call("allowance", alice, bob), token.call("nonces", alice)) == (55, 1)
    with reverts("PERMIT"):
        token.transact("permit", *permit, sender=bob)


@pytest.mark.parametrize(
    "changes", [{"value": 56}, {"nonce": 1}, {"deadline": 2**40}, {"chainId": 1}, {"verifyingContract": ZERO}]
)
def test_other_permits_are_refused(evm: Evm, token: Contract, alice: Actor, changes: dict[str, Any]) -> None:
    with reverts("PERMIT"):
        token.transact("permit", *_sign(token, alice, evm.actor("bob"), 55, **changes))


def test_edge_signatures_are_refused(evm: Evm, token: Contract, alice: Actor) -> None:
    bob = evm.actor("bob")
    good = _sign(token, alice, bob, 55)
    v, r, s = good[4:]
    other_s = (N - int.from_bytes(s, "big")).to_bytes(32, "big")
    zero = bytes(32)
    for signature in ((55 - v, r, other_s), (v, zero, s), (v, r, zero), (0, r, s), (29, r, s), (55 - v, r, s)):
        with reverts("PERMIT"):
            token.transact("permit", *good[:4], *signature)
    with reverts("PERMIT"):  # ecrecover answers zero for a bad signature: zero must not count as an owner
        token.transact("permit", ZERO, *good[1:4], 27, zero, zero)
    evm.warp(101)
    with reverts("PERMIT: deadline has passed"):
        token.transact("permit", *good)


def test_the_domain_follows_the_chain(evm: Evm, token: Contract) -> None:
    before = token.call("DOMAIN_SEPARATOR")
    evm.chain_id = 1
    assert token.call("DOMAIN_SEPARATOR") != before
