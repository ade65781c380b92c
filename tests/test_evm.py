"""tests/evm.py against anvil: the same transactions must cost the same gas, return and log the same."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.evm import Contract, Evm, Halt, Revert, address_of, compiled, reverts
from tests.l1.chains import tool

METER = "mocks/Meter.vy"
STEPS: list[tuple[str, tuple[Any, ...]]] = [
    ("write", (7,)),  # 0 -> x
    ("write", (9,)),  # x -> y
    ("write", (9,)),  # no change
    ("write", (0,)),  # x -> 0: refund
    ("fill", (8, 1)),
    ("fill", (8, 2)),
    ("fill", (8, 0)),  # refund above a fifth: capped
    ("read_other", ("SECOND",)),  # cold account, cold slot
    ("remember", (5,)),  # log, transient storage
    ("remember", (6,)),  # empty again
    ("swallow", (bytes(20_000),)),  # zeros
    ("swallow", (b"\xff" * 20_000,)),  # floor price of calldata
]


@pytest.fixture(scope="module")
def anvil() -> Iterator[str]:
    """The URL of an anvil at Prague rules, one block per transaction."""
    program = tool("anvil")
    command = [program, "--port", "0", "--hardfork", "prague", "--gas-limit", str(2**32)]
    # its own process group: npm's anvil is a script around the program, and both must end
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        address = next((line.split()[-1] for line in process.stdout if line.startswith("Listening on")), None)
        assert address, "anvil did not start"
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


def rpc(url: str, method: str, *params: Any) -> Any:
    answer = httpx.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).json()
    assert "result" in answer, answer
    return answer["result"]


def send(url: str, sender: str, data: bytes, to: str | None = None) -> dict[str, Any]:
    """Send from anvil's unlocked account; the receipt."""
    transaction = {"from": sender, "data": "0x" + data.hex(), "gas": hex(16_000_000), **({"to": to} if to else {})}
    receipt: dict[str, Any] = rpc(url, "eth_getTransactionReceipt", rpc(url, "eth_sendTransaction", transaction))
    assert receipt["status"] == "0x1", receipt
    return receipt


def test_gas_and_logs_are_those_of_a_chain(anvil: str) -> None:
    sender = rpc(anvil, "eth_accounts")[0]
    evm, artifact = Evm(), compiled(METER)
    here, there = [], []
    for _ in range(2):
        contract, receipt = evm.deploy_code(artifact.bytecode, artifact.abi, "Meter")
        remote = send(anvil, sender, artifact.bytecode)
        assert receipt.gas_used == int(remote["gasUsed"], 16)
        here.append(contract)
        there.append(remote["contractAddress"])
    for function, args in STEPS:
        local = here[0].transact(function, *[here[1] if a == "SECOND" else a for a in args])
        data = here[0].calldata(function, *[there[1] if a == "SECOND" else a for a in args])
        remote = send(anvil, sender, data, there[0])
        # the deployers' addresses differ, and so may their number of zero bytes
        slack = 24 * (address_of(here[1]).count("00") + there[1].count("00")) if "SECOND" in args else 0
        assert abs(local.gas_used - int(remote["gasUsed"], 16)) <= slack, function
        assert [log.data.hex() for log in local.logs] == [log["data"][2:] for log in remote["logs"]]


@pytest.fixture
def meter(evm: Evm) -> Contract:
    return evm.deploy(METER)


def test_transient_storage_is_empty_in_every_transaction(meter: Contract) -> None:
    assert meter.transact("remember", 5).value == 0
    receipt = meter.transact("remember", 6)
    assert receipt.value == 0
    assert receipt.events("Touched") == [{"who": meter.evm.default.address.lower(), "words": (0, 6)}]


def test_calls_keep_nothing_and_transactions_do(meter: Contract) -> None:
    meter.call("write", 3)
    assert meter.call("read") == 0
    meter.transact("write", 4)
    assert meter.call("read") == 4


def test_snapshots_restore_state_and_clock(meter: Contract) -> None:
    evm = meter.evm
    meter.transact("write", 1)
    before, then = evm.snapshot(), evm.timestamp
    for value in (2, 3):
        meter.transact("write", value)
        evm.warp(60)
        evm.restore(before)
        assert (meter.call("read"), evm.timestamp) == (1, then)


def test_reasons_and_custom_errors_are_decoded(meter: Contract) -> None:
    with reverts("TOO_LATE"):
        meter.transact("complain")
    with pytest.raises(Revert) as caught:
        meter.transact("refuse", 11, sender=meter.evm.actor("alice"))
    assert caught.value.reason == "TooMuch"
    assert caught.value.error_args == {"wanted": 11, "by": meter.evm.actor("alice").address.lower()}
    with pytest.raises(AssertionError, match="expected 'SOONER'"), reverts("SOONER"):
        meter.transact("complain")
    with pytest.raises(AssertionError, match="did not revert"), reverts():
        meter.transact("write", 1)


def test_a_failed_transaction_changes_nothing(meter: Contract) -> None:
    meter.transact("write", 1)
    with pytest.raises(Halt, match="OutOfGas"):
        meter.transact("fill", 8, 1, gas=60_000)
    with reverts():
        meter.transact("write", 2, value=1)  # not payable
    assert meter.call("read") == 1


def test_ether_moves_and_code_stays_exact(meter: Contract) -> None:
    evm, alice = meter.evm, meter.evm.actor("alice")
    before, code = evm.balance(alice), evm.code(meter)
    meter.transact("keep", sender=alice, value=10**18)
    assert evm.balance(meter) == 10**18
    assert before - evm.balance(alice) == 10**18
    for value in range(5):
        meter.transact("write", value)
    assert evm.code(meter) == code == compiled(METER).runtime


def test_transactions_have_the_gas_cap_and_calls_do_not(meter: Contract) -> None:
    assert meter.call("burn", 200_000) != bytes(32)
    with pytest.raises(Halt, match="OutOfGas"):
        meter.transact("burn", 200_000)
