"""The embedded L1 as stock clients see it: web3 and cast deploy, send, read; proofs verify; public rules hold."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
import rlp
import trio
from eth_account import Account
from eth_hash.auto import keccak
from trie import HexaryTrie
from web3 import HTTPProvider, Web3
from web3.exceptions import ContractLogicError

from node.l1.devchain import dev_accounts
from node.l1.types import NodeRefused
from tests.l1.chains import CHAIN_ID, Chain, l1_chain, tool
from tests.l1.contract import compiled

GWEI = 10**9


def connect(url: str) -> Web3:
    return Web3(HTTPProvider(url, request_kwargs={"timeout": 60}))


def close(w3: Web3) -> None:
    manager = w3.provider._request_session_manager
    for session in list(manager.session_cache._data.values()):
        session.close()


def transfer(index: int, nonce: int, **changes: Any) -> bytes:
    """Signed transfer from a funded account to the next one."""
    fields = {"to": "0x" + dev_accounts(10)[(index + 1) % 10].address.hex(), "value": 1, "nonce": nonce, "gas": 21_000,
              "chainId": CHAIN_ID, "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI} | changes
    fields["to"] = Web3.to_checksum_address(fields["to"])
    return bytes(Account.sign_transaction(fields, dev_accounts(10)[index].key).raw_transaction)


async def in_thread(work: Any, *args: Any) -> Any:
    return await trio.to_thread.run_sync(work, *args)


async def test_web3_deploys_sends_and_reads() -> None:
    def session(url: str) -> None:
        w3 = connect(url)
        account = Account.from_key(dev_accounts(1)[0].key)
        assert w3.is_connected() and w3.eth.chain_id == CHAIN_ID
        factory = w3.eth.contract(abi=compiled()["abi"], bytecode=compiled()["bytecode"])
        tx = factory.constructor().build_transaction({"from": account.address, "nonce": 0})
        receipt = w3.eth.wait_for_transaction_receipt(
            w3.eth.send_raw_transaction(account.sign_transaction(tx).raw_transaction))
        contract = w3.eth.contract(abi=compiled()["abi"], address=receipt.contractAddress)
        tx = contract.functions.store(42).build_transaction({"from": account.address, "nonce": 1})
        receipt = w3.eth.wait_for_transaction_receipt(
            w3.eth.send_raw_transaction(account.sign_transaction(tx).raw_transaction))
        assert receipt.status == 1 and tx["gas"] * 100 <= receipt.gasUsed * 102
        assert contract.functions.value().call() == 42
        (event,) = contract.events.Stored().get_logs(from_block=0)
        assert event.args.note == b"stored" and event.blockNumber == 2
        assert not contract.events.Stored().get_logs(from_block=0, argument_filters={"slot": 41})
        with pytest.raises(ContractLogicError, match="value too big"):
            contract.functions.store(100).call()
        with pytest.raises(ContractLogicError, match="value too big"):
            contract.functions.store(100).estimate_gas({"from": account.address})
        seen = w3.eth.get_transaction(receipt.transactionHash)
        assert seen["from"] == account.address and seen["input"] == bytes.fromhex(tx["data"][2:])
        block = w3.eth.get_block(2, full_transactions=True)
        assert block.transactions[0].hash == receipt.transactionHash
        assert w3.eth.get_block(block.hash).number == 2
        assert w3.eth.fee_history(2, "latest", [50]).reward[1] == [tx["maxPriorityFeePerGas"]]
        close(w3)

    async with l1_chain("embedded") as chain:
        await in_thread(session, chain.url)


async def test_cast_deploys_sends_and_reads() -> None:
    async with l1_chain("embedded") as chain:
        key = "0x" + dev_accounts(1)[0].key.hex()

        async def cast(*args: str) -> str:
            done = await trio.run_process([tool("cast"), *args], capture_stdout=True, stderr=subprocess.STDOUT,
                                          check=False, env=os.environ | {"ETH_RPC_URL": chain.url})
            text = done.stdout.decode()
            assert done.returncode == 0, text
            return text

        await cast("send", "--private-key", key, "--create", compiled()["bytecode"])
        address = "0x" + (await chain.client.receipt((await head_txs(chain))[0])).created.hex()
        await cast("send", "--private-key", key, address, "store(uint256)", "7")
        assert (await cast("call", address, "value()(uint256)")).strip() == "7"
        assert "chainId" in await cast("tx", "0x" + (await head_txs(chain))[0].hex())
        assert (await cast("block-number")).strip() == "2"
        assert "Stored" not in await cast("logs", "--from-block", "0", "--address", address)
        assert await cast("balance", address) == "0\n"


async def head_txs(chain: Chain) -> list[bytes]:
    block = await chain.rpc("eth_getBlockByNumber", "latest", False)
    return [bytes.fromhex(tx[2:]) for tx in block["transactions"]]


async def test_proofs_verify_against_the_block_and_headers_hash_to_their_hash() -> None:
    async with l1_chain("embedded") as chain:
        created = await chain.client.send_raw(bytes(Account.sign_transaction(
            {"data": compiled()["bytecode"], "nonce": 0, "gas": 1_000_000, "chainId": CHAIN_ID, "value": 0,
             "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI}, chain.keys[0]).raw_transaction))
        address = (await chain.client.receipt(created)).created
        from tests.l1.contract import call_data
        await chain.client.send_raw(transfer(0, 1, to="0x" + address.hex(), data=call_data("store", 9), value=0,
                                             gas=100_000))
        proof = await chain.client.proof(address, [0, 5])
        block = await chain.rpc("eth_getBlockByNumber", "latest", False)
        root = bytes.fromhex(block["stateRoot"][2:])
        leaf = HexaryTrie.get_from_proof(root, keccak(address), [rlp.decode(node) for node in proof.account_nodes])
        assert rlp.decode(leaf)[2:] == [proof.storage_hash, proof.code_hash]
        for slot, expected in ((0, 9), (5, 0)):
            value, nodes = proof.slots[slot]
            found = HexaryTrie.get_from_proof(proof.storage_hash, keccak(slot.to_bytes(32, "big")),
                                              [rlp.decode(node) for node in nodes])
            assert value == expected == int.from_bytes(rlp.decode(found) if found else b"", "big")
        absent = await chain.client.proof(b"\x11" * 20, [])
        nodes = [rlp.decode(node) for node in absent.account_nodes]
        assert HexaryTrie.get_from_proof(root, keccak(b"\x11" * 20), nodes) == b""
        assert header_hash(block) == bytes.fromhex(block["hash"][2:])


def header_hash(block: dict[str, Any]) -> bytes:
    """Hash of a Prague header, from its JSON alone."""
    names = (
        ("parentHash sha3Uncles miner stateRoot transactionsRoot receiptsRoot logsBloom", False),
        ("difficulty number gasLimit gasUsed timestamp", True),
        ("extraData mixHash nonce", False),
        ("baseFeePerGas", True),
        ("withdrawalsRoot", False),
        ("blobGasUsed excessBlobGas", True),
        ("parentBeaconBlockRoot requestsHash", False),
    )
    fields = []
    for group, quantity in names:
        for name in group.split():
            raw = block[name][2:]
            fields.append(rlp.sedes.big_endian_int.serialize(int(raw, 16)) if quantity else bytes.fromhex(raw))
    return keccak(rlp.encode(fields))


@pytest.mark.parametrize("kind", ["embedded"])
@pytest.mark.parametrize(("changes", "words"), [
    ({"chainId": 1}, "invalid chain id"),
    ({"gas": 20_000}, "intrinsic gas too low"),
    ({"gas": 16_777_217}, "gas limit too high"),
    ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 2}, "max priority fee per gas higher"),
    ({"value": 10**30}, "insufficient funds"),
    ({"data": "0x" + "ff" * 1000, "gas": 60_000}, "floor data gas"),
    ({"data": "0x" + "ff" * 131_000, "gas": 16_000_000}, "oversized"),
])
async def test_refusals_use_the_words_of_public_nodes(kind: str, changes: dict[str, Any], words: str) -> None:
    async with l1_chain(kind) as chain:
        with pytest.raises(Exception, match=words):
            await chain.client.send_raw(transfer(0, 0, **changes))
        assert await chain.client.nonce(dev_accounts(1)[0].address, block="pending") == 0


async def test_code_over_the_limit_of_eip170_is_not_deployed() -> None:
    def creator(size: int) -> str:
        return "0x61" + size.to_bytes(2, "big").hex() + "5ff3"  # PUSH2 size, PUSH0, RETURN: size zero bytes of code

    async with l1_chain("embedded") as chain:
        for nonce, (size, fits) in enumerate(((24_576, True), (24_577, False))):
            tx_hash = await chain.client.send_raw(bytes(Account.sign_transaction(
                {"data": creator(size), "nonce": nonce, "gas": 8_000_000, "chainId": CHAIN_ID, "value": 0,
                 "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI}, chain.keys[0]).raw_transaction))
            assert (await chain.client.receipt(tx_hash)).success is fits


async def test_calldata_pays_the_floor_of_eip7623() -> None:
    async with l1_chain("embedded") as chain:
        data = b"\x01" * 1_000 + bytes(500)
        tx_hash = await chain.client.send_raw(transfer(0, 0, data="0x" + data.hex(), gas=100_000))
        receipt = await chain.client.receipt(tx_hash)
        assert receipt.gas_used == 21_000 + 10 * (4 * 1_000 + 500)
        paid = 10_000 * 10**18 - 1 - await chain.client.balance(dev_accounts(1)[0].address)
        assert paid == receipt.gas_used * receipt.price


async def test_gas_and_outcomes_equal_anvils() -> None:
    """An independent EVM judges ours: the same transactions, the same gas, statuses and events."""
    from tests.l1.contract import call_data

    calls = [*(call_data("store", value) for value in (5, 0, 99, 100, 7)), call_data("first_wins", 3),
             call_data("spin", 250), b"\x01", b""]
    seen: dict[str, list[Any]] = {}
    for kind in ("embedded", "anvil"):
        async with l1_chain(kind) as chain:
            fields = {"nonce": 0, "gas": 1_500_000, "chainId": CHAIN_ID, "value": 0, "maxFeePerGas": 5 * GWEI,
                      "maxPriorityFeePerGas": GWEI}
            create = fields | {"data": compiled()["bytecode"]}
            tx_hash = await chain.client.send_raw(
                bytes(Account.sign_transaction(create, chain.keys[0]).raw_transaction))
            receipts = [await chain.receipt(tx_hash)]
            target = receipts[0].created
            for nonce, data in enumerate(calls, 1):
                call = fields | {"nonce": nonce, "to": target, "data": data}
                tx_hash = await chain.client.send_raw(
                    bytes(Account.sign_transaction(call, chain.keys[0]).raw_transaction))
                receipts.append(await chain.receipt(tx_hash))
            seen[kind] = [(item.gas_used, item.success, item.created, [(log.topics, log.data) for log in item.logs])
                          for item in receipts]
    assert seen["embedded"] == seen["anvil"]
    assert {success for _, success, _, _ in seen["anvil"]} == {True, False}


async def test_every_transaction_type_is_executed_as_on_anvil() -> None:
    """Legacy, access list, fee market, and EIP-7702 delegation; blobs are refused."""
    fields: dict[str, Any] = {"gas": 200_000, "chainId": CHAIN_ID, "value": 1, "to": b"\x55" * 20}
    fees = {"maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI}
    listed = [{"address": "0x" + "55" * 20, "storageKeys": ["0x" + "01" * 32]}]
    seen: dict[str, list[Any]] = {}
    for kind in ("embedded", "anvil"):
        async with l1_chain(kind) as chain:
            delegate = Account.from_key(chain.keys[3])
            authorization = delegate.sign_authorization({"chainId": CHAIN_ID, "address": b"\x66" * 20, "nonce": 0})
            shapes: list[dict[str, Any]] = [
                {"gasPrice": 5 * GWEI},
                {"gasPrice": 5 * GWEI, "accessList": listed, "type": 1},
                fees | {"accessList": listed},
                fees | {"authorizationList": [authorization]},
                fees | {"to": delegate.address},
            ]
            outcomes: list[Any] = []
            for nonce, shape in enumerate(shapes):
                signed = Account.sign_transaction(fields | {"nonce": nonce} | shape, chain.keys[0])
                tx_hash = await chain.client.send_raw(bytes(signed.raw_transaction))
                receipt = await chain.receipt(tx_hash)
                shown = await chain.rpc("eth_getTransactionByHash", "0x" + tx_hash.hex())
                raw = await chain.rpc("eth_getRawTransactionByHash", "0x" + tx_hash.hex())
                assert bytes.fromhex(raw[2:]) == bytes(signed.raw_transaction)
                outcomes.append((receipt.gas_used, receipt.success, shown["type"], shown.get("accessList"),
                                 shown.get("authorizationList"), shown["r"], shown["s"]))
            outcomes.append(await chain.client.code(bytes.fromhex(delegate.address[2:])))
            own = fields | fees | {"nonce": 1}  # its authorization used nonce 0
            await chain.client.send_raw(bytes(Account.sign_transaction(own, chain.keys[3]).raw_transaction))
            seen[kind] = outcomes
            if kind == "embedded":
                with pytest.raises(NodeRefused, match="no blobs"):
                    await chain.client.send_raw(b"\x03\xc0")
    for ours, theirs in zip(seen["embedded"], seen["anvil"], strict=True):
        assert normal(ours) == normal(theirs)


async def test_a_tool_that_stops_mining_can_put_it_back_as_it_was() -> None:
    for kind in ("embedded", "anvil"):
        async with l1_chain(kind) as chain:
            asked = ("anvil_getAutomine", "anvil_getIntervalMining")
            assert [await chain.rpc(name) for name in asked] == [True, None], kind
            await chain.automine(False)
            await chain.rpc("evm_setIntervalMining", 3)
            assert [await chain.rpc(name) for name in asked] == [False, 3], kind


def normal(value: Any) -> Any:
    """Addresses in JSON differ in case between nodes."""
    return json.loads(json.dumps(value, default=bytes.hex).lower())


async def test_a_full_block_makes_a_sender_wait_in_order() -> None:
    async with l1_chain("embedded", gas_limit=17_000_000) as chain:
        await chain.automine(False)
        burner = {"data": "0x5b5f56", "nonce": 0, "gas": 1_000_000, "chainId": CHAIN_ID, "value": 0,  # loops for ever
                  "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": 3 * GWEI}
        first = await chain.client.send_raw(bytes(Account.sign_transaction(burner, chain.keys[1]).raw_transaction))
        waiting = [await chain.client.send_raw(transfer(0, 0, gas=16_700_000)),
                   await chain.client.send_raw(transfer(0, 1))]
        await chain.mine()
        assert await head_txs(chain) == [first]
        await chain.mine()
        assert await head_txs(chain) == waiting


async def test_nonce_gaps_wait_and_replacements_need_ten_percent() -> None:
    async with l1_chain("embedded") as chain:
        await chain.automine(False)
        who = dev_accounts(1)[0].address
        await chain.client.send_raw(transfer(0, 2))
        await chain.client.send_raw(transfer(0, 0))
        assert await chain.client.nonce(who, block="pending") == 1
        with pytest.raises(Exception, match="replacement transaction underpriced"):
            await chain.client.send_raw(transfer(0, 0, maxFeePerGas=6 * GWEI, maxPriorityFeePerGas=GWEI * 109 // 100))
        better = await chain.client.send_raw(
            transfer(0, 0, maxFeePerGas=5 * GWEI * 11 // 10, maxPriorityFeePerGas=GWEI * 11 // 10))
        await chain.mine()
        assert await head_txs(chain) == [better]
        await chain.client.send_raw(transfer(0, 1))
        await chain.mine()
        assert len(await head_txs(chain)) == 2 and await chain.client.nonce(who) == 3
        with pytest.raises(Exception, match="nonce too low: next nonce 3, tx nonce 1"):
            await chain.client.send_raw(transfer(0, 1, value=2))


async def test_snapshots_rewind_chain_state_and_time() -> None:
    async with l1_chain("embedded") as chain:
        who = dev_accounts(2)[1].address
        start = await chain.client.head()
        snapshot = await chain.rpc("evm_snapshot")
        await chain.client.send_raw(transfer(0, 0))
        await chain.rpc("evm_increaseTime", hex(3_600))
        await chain.mine(3)
        assert (await chain.client.head()).timestamp >= start.timestamp + 3_600
        assert await chain.rpc("evm_revert", snapshot) is True
        assert await chain.client.head() == start and await chain.client.nonce(dev_accounts(1)[0].address) == 0
        assert await chain.client.balance(who) == 10_000 * 10**18
        assert await chain.rpc("evm_revert", snapshot) is False
        await chain.client.send_raw(transfer(0, 0))
        assert (await chain.client.head()).number == start.number + 1


async def test_a_reorg_replaces_blocks_and_may_give_transactions_back() -> None:
    async with l1_chain("embedded") as chain:
        await chain.mine(3)
        tx_hash = await chain.client.send_raw(transfer(0, 0))
        lost = await chain.client.head()
        await chain.automine(False)
        await chain.rpc("dev_reorg", 2, 3, True)
        head = await chain.client.head()
        assert head.number == lost.number + 1 and await chain.client.block(lost.hash) is None
        assert await chain.client.receipt(tx_hash) is None
        assert (await chain.client.transaction(tx_hash)).block_number is None
        await chain.mine()
        assert (await chain.client.receipt(tx_hash)).block_number == head.number + 1


async def test_balances_can_be_set_and_receipts_read_by_block() -> None:
    async with l1_chain("embedded") as chain:
        await chain.rpc("anvil_setBalance", "0x" + "44" * 20, hex(10**20))
        assert await chain.client.balance(b"\x44" * 20) == 10**20
        assert await chain.client.balance(b"\x44" * 20, block=0) == 0
        await chain.automine(False)
        hashes = [await chain.client.send_raw(transfer(index, 0)) for index in (0, 1, 2)]
        assert await chain.rpc("txpool_status") == {"pending": "0x3", "queued": "0x0"}
        await chain.mine()
        receipts = await chain.rpc("eth_getBlockReceipts", "latest")
        assert receipts == [await chain.rpc("eth_getTransactionReceipt", "0x" + tx_hash.hex()) for tx_hash in hashes]
        assert [int(item["cumulativeGasUsed"], 16) for item in receipts] == [21_000, 42_000, 63_000]


async def test_safe_and_finalized_lag_and_timestamps_rise() -> None:
    async with l1_chain("embedded", safe_lag_blocks=2, finalized_lag_blocks=5) as chain:
        assert (await chain.client.head("finalized")).number == 0
        await chain.mine(7)
        numbers = [(await chain.client.head(tag)).number for tag in ("latest", "safe", "finalized")]
        assert numbers == [7, 5, 2]
        times = [(await chain.client.block(number)).timestamp for number in range(8)]
        assert times == sorted(set(times))
        await chain.rpc("evm_setNextBlockTimestamp", hex(times[-1] + 1_000))
        await chain.mine()
        assert (await chain.client.head()).timestamp == times[-1] + 1_000
        with pytest.raises(Exception, match="is not after the head"):
            await chain.rpc("evm_setNextBlockTimestamp", hex(times[-1]))


async def test_a_long_call_does_not_stall_other_requests() -> None:
    from tests.l1.contract import call_data

    async with l1_chain("embedded") as chain:
        created = await chain.client.send_raw(bytes(Account.sign_transaction(
            {"data": compiled()["bytecode"], "nonce": 0, "gas": 1_000_000, "chainId": CHAIN_ID, "value": 0,
             "maxFeePerGas": 5 * GWEI, "maxPriorityFeePerGas": GWEI}, chain.keys[0]).raw_transaction))
        address = (await chain.client.receipt(created)).created
        order: list[str] = []
        async with trio.open_nursery() as nursery:
            async def long_call() -> None:
                await chain.client.call(address, call_data("spin", 150_000))
                order.append("call")

            nursery.start_soon(long_call)
            for _ in range(3):
                await chain.client.head()
            order.append("heads")
        assert order == ["heads", "call"]


@pytest.mark.parametrize(("method", "params", "words"), [
    ("eth_getBalance", ["0x12", "latest"], "address: expected 20 bytes"),
    ("eth_getBalance", [], "wrong number of parameters"),
    ("eth_getLogs", [{"address": "0x00", "fromBlock": "0x0"}], "address: expected 20 bytes"),
    ("eth_sendRawTransaction", ["0x02c0"], "cannot decode"),
    ("eth_nonsense", [], "does not exist"),
    ("anvil_reorg", ["0x7"], "cannot rewind"),
])
async def test_bad_requests_are_named(method: str, params: list[Any], words: str) -> None:
    def ask(url: str) -> None:
        w3 = connect(url)
        answer = w3.provider.make_request(method, params)
        close(w3)
        assert words in answer["error"]["message"]

    async with l1_chain("embedded") as chain:
        await in_thread(ask, chain.url)


