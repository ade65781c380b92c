"""JSON shapes of the Ethereum RPC: hexadecimal quantities and data, blocks, transactions, receipts, logs.

cast refuses integers where quantities belong and web3 refuses odd-length data, so everything goes through here.
"""

from __future__ import annotations

from typing import Any

from eth_utils.address import to_checksum_address

from .blocks import BlockStore, Body, Entry, FoundLog, LogFilter, ReceiptRecord, block_logs, logs_bloom
from .errors import bad_params
from .executor import CallRequest
from .transactions import Tx, decode

EMPTY_UNCLES_HASH = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
ZERO_WORD = "0x" + "00" * 32
TOPICS_MAX = 4
OPTIONS_MAX = 256  # alternatives per topic, and addresses per filter


def quantity(value: int) -> str:
    """Minimal hexadecimal integer."""
    return hex(value)


def data(value: bytes) -> str:
    """0x and two digits a byte."""
    return "0x" + value.hex()


def address(value: bytes) -> str:
    """Checksummed address."""
    return to_checksum_address(value)


# -- parsing


def parse_data(value: Any, name: str, length: int | None = None) -> bytes:
    """Bytes from 0x…; ``length`` in bytes when fixed. Raises L1RpcError naming ``name``."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise bad_params(f"{name}: expected a 0x-prefixed hexadecimal string")
    try:
        raw = bytes.fromhex(value[2:])
    except ValueError:
        raise bad_params(f"{name}: odd length or not hexadecimal") from None
    if length is not None and len(raw) != length:
        raise bad_params(f"{name}: expected {length} bytes, got {len(raw)}")
    return raw


def parse_quantity(value: Any, name: str) -> int:
    """Non-negative integer below 2^256 from 0x… (a plain JSON integer is taken too, for the dev methods)."""
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        try:
            number = int(value, 16 if value.startswith("0x") else 10)
        except ValueError:
            number = None
    if number is None or not 0 <= number < 1 << 256:
        raise bad_params(f"{name}: expected a hexadecimal quantity of at most 256 bits")
    return number


def parse_call(value: Any, gas_max: int) -> CallRequest:
    """Call object {from, to, data | input, value, gas, accessList}; fees and nonce are ignored."""
    if not isinstance(value, dict):
        raise bad_params("call: expected an object")
    payload = value.get("input") if value.get("input") is not None else value.get("data")
    gas = parse_quantity(value["gas"], "gas") if value.get("gas") is not None else gas_max
    listed = value.get("accessList") or []
    if not isinstance(listed, list):
        raise bad_params("accessList: expected an array")
    return CallRequest(
        sender=parse_data(value["from"], "from", 20) if value.get("from") else bytes(20),
        to=parse_data(value["to"], "to", 20) if value.get("to") else b"",
        data=parse_data(payload, "data") if payload is not None else b"",
        value=parse_quantity(value["value"], "value") if value.get("value") is not None else 0,
        gas=min(gas, gas_max),
        access_list=tuple(_access(item) for item in listed),
    )


def _access(item: Any) -> tuple[bytes, tuple[int, ...]]:
    if not isinstance(item, dict):
        raise bad_params("accessList: expected objects {address, storageKeys}")
    keys = item.get("storageKeys") or []
    return (parse_data(item.get("address"), "accessList.address", 20),
            tuple(int.from_bytes(parse_data(key, "accessList.storageKeys", 32), "big") for key in keys))


def parse_log_filter(value: dict[str, Any]) -> LogFilter:
    """The address and topics of a log filter object."""
    wanted = value.get("address")
    addresses = wanted if isinstance(wanted, list) else [wanted] if wanted is not None else []
    topics = value.get("topics") or []
    if not isinstance(topics, list) or len(topics) > TOPICS_MAX:
        raise bad_params(f"topics: expected an array of at most {TOPICS_MAX}")
    if len(addresses) > OPTIONS_MAX:
        raise bad_params(f"address: at most {OPTIONS_MAX} addresses")
    return LogFilter(frozenset(parse_data(item, "address", 20) for item in addresses),
                     tuple(_topic_options(item) for item in topics))


def _topic_options(item: Any) -> frozenset[bytes] | None:
    if item is None:
        return None
    options = item if isinstance(item, list) else [item]
    if len(options) > OPTIONS_MAX:
        raise bad_params(f"topics: at most {OPTIONS_MAX} alternatives")
    if not options or None in options:
        return None
    return frozenset(parse_data(option, "topics", 32) for option in options)


# -- formatting


def block_json(store: BlockStore, entry: Entry, *, full: bool) -> dict[str, Any]:
    """A block as eth_getBlockBy… gives it."""
    header, body = store.header(entry), store.body(entry)
    txs: list[Any] = [data(tx_hash) for tx_hash in entry.tx_hashes]
    if full:
        txs = [mined_tx_json(entry, body, index) for index in range(len(body.txs))]
    return {
        "number": quantity(entry.number), "hash": data(entry.hash), "parentHash": data(bytes(header.parent_hash)),
        "sha3Uncles": EMPTY_UNCLES_HASH, "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": data(bytes(header.transaction_root)), "stateRoot": data(entry.state_root),
        "receiptsRoot": data(bytes(header.receipt_root)), "miner": address(bytes(header.coinbase)),
        "difficulty": "0x0", "totalDifficulty": "0x0", "extraData": data(bytes(header.extra_data)),
        "size": quantity(entry.length), "gasLimit": quantity(entry.gas_limit), "gasUsed": quantity(entry.gas_used),
        "timestamp": quantity(entry.timestamp), "mixHash": data(bytes(header.mix_hash)),
        "nonce": data(bytes(header.nonce)), "baseFeePerGas": quantity(entry.base_fee), "uncles": [],
        "transactions": txs, "withdrawals": [], "withdrawalsRoot": data(bytes(header.withdrawals_root)),
        "blobGasUsed": "0x0", "excessBlobGas": "0x0", "parentBeaconBlockRoot": ZERO_WORD,
        "requestsHash": data(bytes(header.requests_hash)),
    }


def mined_tx_json(entry: Entry, body: Body, index: int) -> dict[str, Any]:
    """A mined transaction; the sender comes from its receipt, so nothing is recovered again."""
    receipt = body.receipts[index]
    shape = tx_json(decode(body.txs[index], receipt.sender))
    shape |= {"blockHash": data(entry.hash), "blockNumber": quantity(entry.number),
              "transactionIndex": quantity(index), "gasPrice": quantity(receipt.price)}
    return shape


def tx_json(tx: Tx) -> dict[str, Any]:
    """A waiting transaction."""
    evm = tx.evm
    shape: dict[str, Any] = {
        "hash": data(tx.hash), "type": quantity(tx.type), "from": address(tx.sender), "nonce": quantity(tx.nonce),
        "to": address(tx.to) if tx.to else None, "value": quantity(tx.value), "input": data(tx.data),
        "gas": quantity(tx.gas), "chainId": quantity(tx.chain_id), "gasPrice": quantity(tx.fee_max),
        "r": quantity(evm.r), "s": quantity(evm.s), "blockHash": None, "blockNumber": None, "transactionIndex": None,
    }
    if tx.type == 0:
        return shape | {"v": quantity(evm.v)}
    shape |= {"v": quantity(evm.y_parity), "yParity": quantity(evm.y_parity), "accessList": [
        {"address": address(bytes(where)), "storageKeys": [data(key.to_bytes(32, "big")) for key in keys]}
        for where, keys in evm.access_list
    ]}
    if tx.type >= 2:
        shape |= {"maxFeePerGas": quantity(tx.fee_max), "maxPriorityFeePerGas": quantity(tx.tip_max)}
    if tx.type == 4:
        shape["authorizationList"] = [
            {"chainId": quantity(item.chain_id), "address": address(bytes(item.address)),
             "nonce": quantity(item.nonce), "yParity": quantity(item.y_parity), "r": quantity(item.r),
             "s": quantity(item.s)}
            for item in evm.authorization_list
        ]
    return shape


def receipt_json(entry: Entry, body: Body, index: int) -> dict[str, Any]:
    """A receipt as eth_getTransactionReceipt gives it."""
    receipt: ReceiptRecord = body.receipts[index]
    tx = decode(body.txs[index], receipt.sender)
    logs = [log_json(item) for item in block_logs(entry, body) if item.tx_index == index]
    return {
        "transactionHash": data(tx.hash), "transactionIndex": quantity(index), "blockHash": data(entry.hash),
        "blockNumber": quantity(entry.number), "from": address(tx.sender), "to": address(tx.to) if tx.to else None,
        "contractAddress": address(receipt.created) if receipt.created else None,
        "cumulativeGasUsed": quantity(receipt.gas_cumulative), "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(receipt.price), "logs": logs,
        "logsBloom": data(logs_bloom(receipt.logs).to_bytes(256, "big")), "type": quantity(receipt.tx_type),
        "status": quantity(int(receipt.success)),
    }


def log_json(found: FoundLog) -> dict[str, Any]:
    """An event as eth_getLogs gives it."""
    return {
        "address": address(found.log.address), "topics": [data(topic) for topic in found.log.topics],
        "data": data(found.log.data), "blockNumber": quantity(found.entry.number),
        "blockHash": data(found.entry.hash), "blockTimestamp": quantity(found.entry.timestamp),
        "transactionHash": data(found.entry.tx_hashes[found.tx_index]),
        "transactionIndex": quantity(found.tx_index), "logIndex": quantity(found.log_index), "removed": False,
    }
