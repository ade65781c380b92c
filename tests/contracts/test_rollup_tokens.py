"""Deposits, forced transactions, and the tokens they are made with."""

from __future__ import annotations

import site
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from node.l1.bindings import encode_call
from node.stf.commitments import (
    MESSAGE_DEPOSIT,
    MESSAGE_FORCED,
    MESSAGE_PAYLOAD_BYTES_MAX,
    Message,
    decode_message,
    deposit_payload,
)
from tests.contracts.world import BOND, PARAMS, USD, World, set_courts
from tests.evm import Actor, Contract, reverts

FEE, LYING, REENTER = 1, 2, 3
BURN_ADDRESS = "0x000000000000000000000000000000000000dEaD"


def test_a_deposit_is_held_and_becomes_a_message() -> None:
    world = World()
    before = world.held()
    owner = world.stranger
    world.do(world.trader, "deposit", 0, owner, 1_234 * USD)
    world.do(world.trader, "deposit", 2**32 - 1, owner, 2 * USD)
    address = bytes.fromhex(owner.address[2:])
    sender = bytes.fromhex(world.trader.address[2:])
    assert [decode_message(m) for m in world.messages] == [
        Message(MESSAGE_DEPOSIT, sender, world.evm.timestamp, deposit_payload(0, address, 1_234 * USD)),
        Message(MESSAGE_DEPOSIT, sender, world.evm.timestamp, deposit_payload(2**32 - 1, address, 2 * USD)),
    ]
    assert world.held() - before == world.rollup.call("custody") == 1_236 * USD


def test_deposits_outside_the_limits_are_refused() -> None:
    world = World()
    trader, zero = world.trader, "0x" + "00" * 20
    for amount in (0, USD - 1, 2**53 + 1, 2**256 - 1):
        with reverts("AMOUNT"):
            world.do(trader, "deposit", 0, trader, amount)
    with reverts("OWNER"):
        world.do(trader, "deposit", 0, zero, USD)
    with reverts("ALLOWANCE"):
        world.token.transact("approve", world.rollup, USD, sender=trader)
        world.do(trader, "deposit", 0, trader, USD + 1)
    poor = world.evm.actor("poor")
    world.token.transact("approve", world.rollup, 2**255, sender=poor)
    with reverts("BALANCE"):
        world.do(poor, "deposit", 0, poor, USD)


def test_custody_is_capped_so_that_totals_stay_inside_int64() -> None:
    world = World(token="mocks/SilentToken.vy")
    world.token.transact("mint", world.trader, 2**63)
    for _ in range(2**62 // 2**53):
        world.evm.message(world.rollup, encode_call("deposit", 0, world.trader.address, 2**53), sender=world.trader)
    assert world.rollup.call("custody") == 2**62
    with reverts("CUSTODY_FULL"):
        world.do(world.trader, "deposit", 0, world.trader, USD)


def test_nothing_moves_before_opening() -> None:
    world = World()
    rollup = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    for function, args in (("deposit", (0, world.trader, USD)), ("force", (b"tx",)), ("take_seat", (BOND,))):
        with reverts("NOT_OPEN"):
            rollup.transact(function, *args, sender=world.trader)


def test_a_token_of_somebody_else_works() -> None:
    """snekmate's ERC-20, a test-only dependency, so that Rollup is not tested with our own token alone."""
    packages = Path(next(p for p in site.getsitepackages() if (Path(p) / "snekmate").is_dir()))
    world = World()
    token = world.evm.deploy("mocks/IndependentToken.vy", search_paths=[packages])
    rollup = world.evm.deploy("Rollup", token, world.admin, PARAMS)
    rollup.transact("set_verifier", world.verifier)
    set_courts(world.evm, rollup)
    rollup.transact("open", sender=world.admin)
    token.transact("mint", world.trader, 10 * USD)
    with reverts("erc20: insufficient allowance"):
        rollup.transact("deposit", 0, world.trader, USD, sender=world.trader)
    data = _permit(token, world.trader, rollup, 5 * USD, "Independent")
    rollup.transact("deposit_with_permit", 0, world.trader, 5 * USD, *data, sender=world.trader)
    assert token.call("balanceOf", rollup) == rollup.call("custody") == 5 * USD


def test_a_token_that_returns_nothing_works() -> None:
    world = World(token="mocks/SilentToken.vy")
    world.deposit()
    world.do(world.trader, "force", b"tx")
    assert world.held() == BOND + 1_000 * USD
    world.do(world.operator, "leave_seat")
    world.evm.warp(PARAMS.bond_delay_s)
    world.do(world.operator, "release_bond")
    assert world.held() == 1_000 * USD


def test_a_token_that_keeps_a_fee_is_refused() -> None:
    world = World(token="mocks/OddToken.vy")
    world.token.transact("set_mode", FEE, world.trader, b"")
    with reverts("TOKEN_FEE"):
        world.deposit()
    assert world.rollup.call("custody") == 0 and not world.messages


def test_a_token_that_answers_false_is_refused() -> None:
    world = World(token="mocks/OddToken.vy")
    world.token.transact("set_mode", LYING, world.trader, b"")
    for call in (("deposit", 0, world.trader, USD), ("force", b"tx")):
        with reverts("TRANSFER_FROM"):
            world.do(world.trader, *call)
    world.do(world.operator, "leave_seat")
    world.evm.warp(PARAMS.bond_delay_s)
    with reverts("TRANSFER"):
        world.do(world.operator, "release_bond")
    assert world.rollup.call("bond_of", world.operator)[0] == BOND


def test_every_token_moving_function_is_locked_against_reentrancy() -> None:
    """During any transfer, a call back into any of the six fails; the outer call still succeeds."""
    world = World(token="mocks/OddToken.vy")
    world.deposit()
    world.post()
    inner = {
        "deposit": encode_call("deposit", 0, world.trader.address, USD),
        "force": encode_call("force", b"tx"),
        "take_seat": encode_call("take_seat", BOND),
        "release_bond": encode_call("release_bond"),
        "claim_reward": encode_call("claim_reward"),
        "withdraw": encode_call("withdraw", world.head, 0, world.trader.address, USD, b"", []),
    }
    target = world.rollup.address
    # without the lock, the token's own deposit would succeed and the other calls would answer with a reason
    world.token.transact("mint", world.token, 10 * BOND)
    world.token.transact("approve_for_self", target)
    for count, (name, payload) in enumerate(inner.items(), 1):
        world.token.transact("set_mode", REENTER, target, payload)
        world.deposit(amount=USD)
        assert world.token.call("refused") == count, name
    assert world.held() == world.rollup.call("custody") + world.rollup.call("reserved")


def _permit(token: Contract, owner: Actor, spender: Contract, amount: int, name: str) -> tuple[int, int, bytes, bytes]:
    """(deadline, v, r, s) by eth-account, which knows nothing of our contracts."""
    addresses, numbers = ("owner", "spender"), ("value", "nonce", "deadline")
    fields = [(name, "address") for name in addresses] + [(name, "uint256") for name in numbers]
    deadline = token.evm.timestamp + 60
    message = encode_typed_data(
        {"name": name, "version": "1", "chainId": token.evm.chain_id, "verifyingContract": token.address},
        {"Permit": [{"name": n, "type": t} for n, t in fields]},
        {
            "owner": owner.address,
            "spender": spender.address,
            "value": amount,
            "nonce": token.call("nonces", owner),
            "deadline": deadline,
        },
    )
    signed = Account.sign_message(message, owner.key)
    return deadline, signed.v, signed.r.to_bytes(32, "big"), signed.s.to_bytes(32, "big")


def test_deposit_with_permit() -> None:
    world = World()
    world.token.transact("approve", world.rollup, 0, sender=world.trader)
    data = _permit(world.token, world.trader, world.rollup, 50 * USD, "Anchorline Test USD")
    world.do(world.trader, "deposit_with_permit", 0, world.trader, 50 * USD, *data)
    assert world.rollup.call("custody") == 50 * USD
    with reverts("PERMIT"):
        world.do(world.trader, "deposit_with_permit", 0, world.trader, 50 * USD, *data)


def test_a_permit_that_somebody_submitted_first_does_not_block_the_deposit() -> None:
    world = World()
    world.token.transact("approve", world.rollup, 0, sender=world.trader)
    deadline, v, r, s = _permit(world.token, world.trader, world.rollup, 50 * USD, "Anchorline Test USD")
    world.token.transact("permit", world.trader, world.rollup, 50 * USD, deadline, v, r, s, sender=world.stranger)
    world.do(world.trader, "deposit_with_permit", 0, world.trader, 50 * USD, deadline, v, r, s)
    assert world.rollup.call("custody") == 50 * USD


def test_a_forced_transaction_burns_its_fee_and_keeps_its_bytes() -> None:
    world = World()
    before = world.held(world.trader)
    raw = bytes(range(256)) * 4
    assert len(raw) == MESSAGE_PAYLOAD_BYTES_MAX
    world.do(world.trader, "force", raw)
    sender = bytes.fromhex(world.trader.address[2:])
    assert decode_message(world.messages[0]) == Message(MESSAGE_FORCED, sender, world.evm.timestamp, raw)
    assert before - world.held(world.trader) == PARAMS.force_fee == world.token.call("balanceOf", BURN_ADDRESS)
    with reverts("EMPTY"):
        world.do(world.trader, "force", b"")
    with reverts(""):
        world.do(world.trader, "force", raw + b"x")


def test_forcing_is_free_where_the_fee_is_zero() -> None:
    world = World(params=replace(PARAMS, force_fee=0))
    poor = world.evm.actor("poor")
    world.do(poor, "force", b"tx")
    assert len(world.messages) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"challenge_window_s": 0}, "PARAMS: challenge_window_s"),
        ({"bond_min": 0}, "PARAMS: bond_min"),
        ({"force_delay_s": 0}, "PARAMS: force_delay_s"),
        ({"seat_idle_s": 600}, "PARAMS: seat_idle_s"),
        ({"timelock_s": 4_200}, "PARAMS: timelock_s"),
        ({"deposit_min": 0}, "PARAMS: deposit_min"),
        ({"deposit_min": 2**53 + 1}, "PARAMS: deposit_min"),
        ({"genesis_root": bytes(32)}, "PARAMS: genesis_root"),
        ({"genesis_globals": (1, 0, 0, 0, 0, 0)}, "PARAMS: genesis has consumed messages"),
    ],
)
def test_bad_parameters_cannot_be_deployed(change: dict[str, object], reason: str) -> None:
    world = World()
    try:
        world.evm.deploy("Rollup", world.token, world.admin, replace(PARAMS, **change))  # type: ignore[arg-type]
    except Exception as error:
        assert str(error).startswith(reason), error
    else:
        raise AssertionError("deployed")
    for token, admin, why in ((world.trader, world.admin, "TOKEN"), (world.token, bytes(20), "ADMIN")):
        with reverts(why):
            world.evm.deploy("Rollup", token, admin, PARAMS)


def test_no_promise_outlasts_the_bond() -> None:
    world = World()
    world.evm.deploy("PromiseCourt", world.rollup, PARAMS.bond_delay_s, 1)
    with reverts("PARAMS: bond_delay_s too short"):
        world.evm.deploy("PromiseCourt", world.rollup, PARAMS.bond_delay_s + 1, 1)


def test_the_parameters_can_be_read_back() -> None:
    values = World().rollup.call("params")
    assert values == (*PARAMS.as_tuple()[:9], bytes(32), (0,) * 6, PARAMS.force_floor_s)
