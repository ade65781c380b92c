"""The standard methods of the embedded L1: ``eth_*``, ``net_*``, ``web3_*``.

Calls and estimates answer as geth does: revert data in ``{code: 3, message, data}``. A gas estimate is the gas of one
run with all the gas, then a search between that and the top, stopped within 1.5%.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from eth_hash.auto import keccak

from node.l1.reverts import revert_reason

from . import wire
from .blocks import Entry, find_logs
from .chain import Devchain, next_base_fee
from .config import TX_GAS_MAX
from .errors import REVERTED, L1RpcError, bad_params
from .executor import BlockEnv, CallRequest, Outcome
from .wire import data, quantity

if TYPE_CHECKING:
    from .service import Service

PRIORITY_FEE_WEI = 1_000_000_000
FEE_HISTORY_MAX = 1_024
ESTIMATE_ROUNDS_MAX = 24


def resolve(chain: Devchain, tag: Any, name: str = "block") -> Entry:
    """The block that a number, a tag or an EIP-1898 object names. Raises L1RpcError when there is none."""
    entry = find(chain, tag, name)
    if entry is None:
        raise L1RpcError("header not found" if tag not in ("safe", "finalized") else f"{tag} block not found")
    return entry


def find(chain: Devchain, tag: Any, name: str = "block") -> Entry | None:
    """As ``resolve``, None when there is no such block. ``pending`` means the head: a block is sealed at once."""
    store, head = chain.store, chain.store.head.number
    if isinstance(tag, dict):
        if "blockHash" in tag:
            return store.by_hash(wire.parse_data(tag["blockHash"], "blockHash", 32))
        tag = tag.get("blockNumber")
    if tag is None or tag in ("latest", "pending"):
        return store.head
    if tag == "earliest":
        return store.entries[0]
    if tag == "safe":
        return store.entries[max(0, head - chain.config.safe_lag_blocks)]
    if tag == "finalized":
        return store.entries[max(0, head - chain.config.finalized_lag_blocks)]
    return store.by_number(wire.parse_quantity(tag, name))


def revert_error(outcome: Outcome) -> L1RpcError:
    """What a failed call answers: the reason in words when it is a standard one, the bytes always."""
    if not outcome.reverted:
        return L1RpcError(outcome.error)
    reason = revert_reason(outcome.output)
    return L1RpcError(f"execution reverted: {reason}" if reason else "execution reverted", REVERTED,
                      data(outcome.output))


def estimate(chain: Devchain, env: BlockEnv, root: bytes, request: CallRequest) -> int:
    """Least gas limit (within 1.5%) under which the call succeeds. Raises L1RpcError when none does.

    A plain transfer costs its intrinsic gas. Otherwise one run with all the gas gives a lower bound, and a search finds
    what calls need in reserve (EIP-150 keeps back 1/64 at each depth).
    """
    executor, top = chain.executor, min(request.gas, TX_GAS_MAX)

    def attempt(gas: int) -> Outcome:
        return executor.call(env, root, CallRequest(request.sender, request.to, request.data, request.value, gas,
                                                    request.access_list))

    first = attempt(top)
    if not first.success:
        raise revert_error(first)
    low, high = max(first.gas_used, first.gas_spent) - 1, top
    guess = max(first.gas_used, first.gas_spent)
    for _ in range(ESTIMATE_ROUNDS_MAX):
        if guess >= high:
            break
        if attempt(guess).success:
            high = guess
        else:
            low = guess
        if high - low <= max(high * 15 // 1000, 1) or low + 1 >= high:
            break
        guess = min((low + high) // 2, low + low // 32 + 2_500)
    return high


def table(service: Service) -> dict[str, Callable[..., Any]]:
    """Method name -> handler (sync, or async when it executes)."""
    chain = service.chain
    return {
        "web3_clientVersion": lambda: "anchorline-devchain/1 (py-evm, prague)",
        "web3_sha3": lambda value: data(keccak(wire.parse_data(value, "data"))),
        "net_version": lambda: str(chain.config.chain_id),
        "net_listening": lambda: True,
        "net_peerCount": lambda: "0x0",
        "eth_chainId": lambda: quantity(chain.config.chain_id),
        "eth_protocolVersion": lambda: "0x44",
        "eth_syncing": lambda: False,
        "eth_mining": lambda: False,
        "eth_accounts": lambda: [],
        "eth_blockNumber": lambda: quantity(chain.store.head.number),
        "eth_gasPrice": lambda: quantity(next_base_fee(chain.store.head) + PRIORITY_FEE_WEI),
        "eth_maxPriorityFeePerGas": lambda: quantity(PRIORITY_FEE_WEI),
        **_state_methods(chain),
        **_block_methods(chain),
        **_execution_methods(service),
    }


def _state_methods(chain: Devchain) -> dict[str, Callable[..., Any]]:
    executor = chain.executor

    def where(who: Any, tag: Any) -> tuple[bytes, bytes]:
        return resolve(chain, tag).state_root, wire.parse_data(who, "address", 20)

    def nonce(who: Any, tag: Any = "latest") -> str:
        root, address = where(who, tag)
        mined = executor.account(root, address).nonce
        return quantity(chain.pool.pending_nonce(address, mined) if tag == "pending" else mined)

    def proof(who: Any, slots: Any, tag: Any = "latest") -> dict[str, Any]:
        root, address = where(who, tag)
        if not isinstance(slots, list) or len(slots) > 1_024:
            raise bad_params("storageKeys: expected an array of at most 1024 slots")
        view = executor.account(root, address)
        storage = []
        for slot in slots:
            number = wire.parse_quantity(slot, "storageKeys")
            storage.append({
                "key": slot, "value": quantity(executor.storage(root, address, number)),
                "proof": [data(node) for node in executor.proof(view.storage_root, number.to_bytes(32, "big"))],
            })
        return {
            "address": wire.address(address), "balance": quantity(view.balance), "nonce": quantity(view.nonce),
            "codeHash": data(view.code_hash), "storageHash": data(view.storage_root),
            "accountProof": [data(node) for node in executor.proof(root, address)], "storageProof": storage,
        }

    def storage(who: Any, slot: Any, tag: Any = "latest") -> str:
        word = executor.storage(*where(who, tag), wire.parse_quantity(slot, "position"))
        return data(word.to_bytes(32, "big"))

    return {
        "eth_getBalance": lambda who, tag="latest": quantity(executor.account(*where(who, tag)).balance),
        "eth_getCode": lambda who, tag="latest": data(executor.code(*where(who, tag))),
        "eth_getStorageAt": storage,
        "eth_getTransactionCount": nonce,
        "eth_getProof": proof,
    }


def _block_methods(chain: Devchain) -> dict[str, Callable[..., Any]]:
    store = chain.store

    def by_number(tag: Any, full: Any = False) -> Any:
        entry = find(chain, tag)
        return None if entry is None else wire.block_json(store, entry, full=bool(full))

    def by_hash(block_hash: Any, full: Any = False) -> Any:
        entry = store.by_hash(wire.parse_data(block_hash, "blockHash", 32))
        return None if entry is None else wire.block_json(store, entry, full=bool(full))

    def tx_count(tag: Any) -> Any:
        entry = find(chain, tag)
        return None if entry is None else quantity(len(entry.tx_hashes))

    def tx_by_hash(tx_hash: Any) -> Any:
        digest = wire.parse_data(tx_hash, "transactionHash", 32)
        at = store.find_tx(digest)
        if at is not None:
            return wire.mined_tx_json(at[0], store.body(at[0]), at[1])
        waiting = chain.pool.by_hash.get(digest)
        return None if waiting is None else wire.tx_json(waiting)

    def raw_tx(tx_hash: Any) -> str | None:
        digest = wire.parse_data(tx_hash, "transactionHash", 32)
        at = store.find_tx(digest)
        if at is not None:
            return data(store.body(at[0]).txs[at[1]])
        waiting = chain.pool.by_hash.get(digest)
        return None if waiting is None else data(waiting.raw)

    def receipt(tx_hash: Any) -> Any:
        at = store.find_tx(wire.parse_data(tx_hash, "transactionHash", 32))
        return None if at is None else wire.receipt_json(at[0], store.body(at[0]), at[1])

    def receipts(tag: Any) -> Any:
        by_its_hash = isinstance(tag, str) and len(tag) == 66
        entry = find(chain, {"blockHash": tag} if by_its_hash else tag)
        if entry is None:
            return None
        body = store.body(entry)
        return [wire.receipt_json(entry, body, index) for index in range(len(body.txs))]

    return {
        "eth_getBlockByNumber": by_number,
        "eth_getBlockByHash": by_hash,
        "eth_getBlockTransactionCountByNumber": tx_count,
        "eth_getTransactionByHash": tx_by_hash,
        "eth_getRawTransactionByHash": raw_tx,
        "eth_getTransactionReceipt": receipt,
        "eth_getBlockReceipts": receipts,
        "eth_getLogs": lambda query: _logs(chain, query),
        "eth_feeHistory": lambda count, newest, percentiles=None: _fee_history(chain, count, newest, percentiles),
    }


def _logs(chain: Devchain, query: Any) -> list[dict[str, Any]]:
    if not isinstance(query, dict):
        raise bad_params("filter: expected an object")
    if query.get("blockHash") is not None:
        entry = chain.store.by_hash(wire.parse_data(query["blockHash"], "blockHash", 32))
        if entry is None:
            raise L1RpcError("unknown block")
        first = last = entry.number
    else:
        first = _range_end(chain, query.get("fromBlock", "latest"), "fromBlock")
        last = min(_range_end(chain, query.get("toBlock", "latest"), "toBlock"), chain.store.head.number)
        if first > last and query.get("toBlock") is not None and first > _range_end(chain, query["toBlock"], "toBlock"):
            raise bad_params("invalid block range params: fromBlock is after toBlock")
    found = find_logs(chain.store, first, last, wire.parse_log_filter(query), chain.config.logs_max)
    return [wire.log_json(item) for item in found]


def _range_end(chain: Devchain, tag: Any, name: str) -> int:
    if isinstance(tag, str) and not tag.startswith("0x"):
        return resolve(chain, tag, name).number
    return wire.parse_quantity(tag, name)


def _fee_history(chain: Devchain, count: Any, newest: Any, percentiles: Any) -> dict[str, Any]:
    """Base fees and gas shares of a run of blocks; rewards are the priority fees actually paid, by gas."""
    last = resolve(chain, newest).number
    length = min(wire.parse_quantity(count, "blockCount"), FEE_HISTORY_MAX, last + 1)
    entries = chain.store.entries[last + 1 - length:last + 1]
    if percentiles is not None and not (isinstance(percentiles, list) and len(percentiles) <= 100):
        raise bad_params("rewardPercentiles: expected an array of at most 100")
    answer: dict[str, Any] = {
        "oldestBlock": quantity(last + 1 - length),
        "baseFeePerGas": [quantity(item.base_fee) for item in entries]
        + [quantity(next_base_fee(chain.store.entries[last]))],
        "gasUsedRatio": [item.gas_used / item.gas_limit for item in entries],
        "baseFeePerBlobGas": ["0x1"] * (length + 1), "blobGasUsedRatio": [0.0] * length,
    }
    if percentiles:
        answer["reward"] = [_rewards(chain, item, percentiles) for item in entries]
    return answer


def _rewards(chain: Devchain, entry: Entry, percentiles: list[Any]) -> list[str]:
    if not entry.tx_hashes:
        return [quantity(PRIORITY_FEE_WEI)] * len(percentiles)
    paid = sorted((item.price - entry.base_fee, item.gas_used) for item in chain.store.body(entry).receipts)
    rewards = []
    for percentile in percentiles:
        if not isinstance(percentile, int | float) or not 0 <= percentile <= 100:
            raise bad_params("rewardPercentiles: expected numbers from 0 to 100")
        wanted, seen, reward = entry.gas_used * percentile / 100, 0, paid[-1][0]
        for tip, gas in paid:
            seen += gas
            if seen >= wanted:
                reward = tip
                break
        rewards.append(quantity(reward))
    return rewards


def _execution_methods(service: Service) -> dict[str, Callable[..., Any]]:
    chain = service.chain

    async def call(request: Any, tag: Any = "latest", overrides: Any = None) -> str:
        if overrides:
            raise bad_params("state overrides are not offered by the embedded L1")
        entry = resolve(chain, tag)
        parsed = wire.parse_call(request, chain.config.call_gas_max)
        env = chain.env_after(entry) if tag == "pending" else chain.env_of(entry)
        outcome = await service.in_thread(chain.executor.call, env, entry.state_root, parsed)
        if not outcome.success:
            raise revert_error(outcome)
        return data(outcome.output)

    async def estimate_gas(request: Any, tag: Any = "latest", overrides: Any = None) -> str:
        if overrides:
            raise bad_params("state overrides are not offered by the embedded L1")
        entry = resolve(chain, tag)
        parsed = wire.parse_call(request, TX_GAS_MAX)
        return quantity(await service.in_thread(estimate, chain, chain.env_after(entry), entry.state_root, parsed))

    async def send_raw(raw: Any) -> str:
        tx_hash = chain.submit(wire.parse_data(raw, "transaction"))
        if service.automine:
            await service.drain()
        return data(tx_hash)

    return {"eth_call": call, "eth_estimateGas": estimate_gas, "eth_sendRawTransaction": send_raw}
