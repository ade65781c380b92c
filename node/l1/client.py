"""Reading L1: the only module that imports web3.

Requests go through a ``Transport``: usually sync web3 in worker threads behind a limiter, with connections kept alive
in one shared session; a simulated network brings its own. Transport failures are retried with bounded backoff and then
raised as ``Temporary``; the node's own refusals are ``NodeRefused`` (also temporary), reverts are ``CallReverted``.
Everything returned is a plain record of ``types.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import requests
import structlog
import trio
from requests.adapters import HTTPAdapter
from web3 import HTTPProvider
from web3.types import RPCEndpoint

from node.errors import Critical, Temporary

from .reverts import find_revert_data, revert_reason
from .types import (
    CallReverted,
    L1Block,
    L1Log,
    L1Proof,
    L1Receipt,
    L1Transaction,
    NodeRefused,
    TagNotOffered,
    parse_block,
    parse_log,
    parse_proof,
    parse_receipt,
    parse_transaction,
)

log = structlog.get_logger("l1")
T = TypeVar("T")

RETRIES_MAX = 4
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
METHOD_NOT_FOUND = -32_601
INVALID_PARAMS = -32_602
REVERTED = 3
BlockId = int | bytes | str  # number, hash, or tag


def hex_data(value: bytes) -> str:
    """0x and two digits a byte."""
    return "0x" + value.hex()


def block_param(block: BlockId) -> Any:
    """JSON form of a block: number, tag, or EIP-1898 object for a hash."""
    if isinstance(block, int):
        return hex(block)
    return {"blockHash": hex_data(block)} if isinstance(block, bytes) else block


class Transport(Protocol):
    """Carries one JSON-RPC request to the L1 node."""

    async def request(self, method: str, params: list[Any]) -> Any:
        """The answer object. Raises OSError (as requests does) or ValueError if none came: it may be asked again."""
        ...

    def close(self) -> None:
        """Free what is held."""
        ...


class HttpTransport:
    """JSON-RPC over HTTP: web3's provider in worker threads, ``threads`` at once; ``timeout_s`` bounds one request."""

    def __init__(self, url: str, *, threads: int, timeout_s: float) -> None:
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=threads, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._provider = HTTPProvider(url, request_kwargs={"timeout": timeout_s}, session=self._session,
                                      exception_retry_configuration=None)
        self._limiter = trio.CapacityLimiter(threads)

    async def request(self, method: str, params: list[Any]) -> Any:
        """See ``Transport.request``."""
        send = partial(self._provider.make_request, RPCEndpoint(method), params)
        return await trio.to_thread.run_sync(send, limiter=self._limiter, abandon_on_cancel=True)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()


class L1Client:
    """A connection to one L1 node. ``timeout_s`` bounds one request; close() frees the sockets."""

    def __init__(self, url: str, *, threads: int = 4, timeout_s: float = 60.0, logs_range_max: int = 2_000,
                 transport: Transport | None = None) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("l1.rpc must be an http:// or https:// URL")
        self._place = urlsplit(url).netloc.rpartition("@")[2]  # without what may be secret
        self._transport = transport or HttpTransport(url, threads=threads, timeout_s=timeout_s)
        self._logs_range_max = logs_range_max

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # -- transport

    async def rpc(self, method: str, *params: Any, retries: int = RETRIES_MAX) -> Any:
        """One JSON-RPC call. Raises Temporary, NodeRefused or CallReverted; ``retries`` are for transport failures."""
        backoff = BACKOFF_FIRST_S
        for attempt in range(retries + 1):
            try:
                return self._unwrap(method, await self._transport.request(method, list(params)))
            except (requests.RequestException, OSError, ValueError) as error:
                # the URL may hold an access key, so the exception's own text stays out of logs and messages
                kind = _describe(error)
                if attempt == retries:
                    raise Temporary(f"L1 node {self._place} does not answer {method} ({kind}, {retries + 1} attempts); "
                                    "check l1.rpc and that the node runs") from None
                log.debug("l1_retried", method=method, error=kind, attempt=attempt + 1)
            await trio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_MAX_S)
        raise AssertionError("the loop returns or raises")

    @staticmethod
    def _unwrap(method: str, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise ValueError("answer is not a JSON object")
        error = answer.get("error")
        if error is None:
            return answer.get("result")
        if not isinstance(error, dict):
            raise NodeRefused(method, 0, str(error))
        code, message, data = int(error.get("code", 0)), str(error.get("message", "")), error.get("data")
        if code == REVERTED or "execution reverted" in message or "VM Exception" in message:
            output = find_revert_data(data)
            raise CallReverted(revert_reason(output) or message.partition("execution reverted: ")[2], output)
        if code == METHOD_NOT_FOUND:
            raise Critical(f"L1 node has no method {method}; use a node that offers the standard Ethereum RPC")
        raise NodeRefused(method, code, message, data)

    async def _parsed(self, parse: Callable[[Any], T], method: str, *params: Any) -> T | None:
        """Call and parse; None for a null answer. A malformed answer is Temporary: another node may serve us next."""
        raw = await self.rpc(method, *params)
        if raw is None:
            return None
        try:
            return parse(raw)
        except (KeyError, ValueError, TypeError) as error:
            raise Temporary(f"L1 node's answer to {method} is malformed: {error!r}") from error

    async def _required(self, parse: Callable[[Any], T], method: str, *params: Any) -> T:
        parsed = await self._parsed(parse, method, *params)
        if parsed is None:
            raise Temporary(f"L1 node answers {method} with null; it may be behind")
        return parsed

    # -- blocks and events

    async def chain_id(self) -> int:
        """EIP-155 chain id."""
        return await self._required(_quantity, "eth_chainId")

    async def check_chain(self, expected: int) -> None:
        """Raise Critical unless the node serves the chain we were told of."""
        found = await self.chain_id()
        if found != expected:
            raise Critical(f"L1 node serves chain {found}, configured is {expected}; check l1.rpc")

    async def head(self, tag: str = "latest") -> L1Block:
        """The block of a tag: latest, safe, finalized. Raises TagNotOffered on chains without the tag."""
        try:
            block = await self._parsed(parse_block, "eth_getBlockByNumber", tag, False)
        except NodeRefused as error:
            if tag == "latest":
                raise
            raise TagNotOffered(f"L1 has no {tag} block: {error.message}") from error
        if block is None:
            raise TagNotOffered(f"L1 has no {tag} block")
        return block

    async def block(self, block: int | bytes) -> L1Block | None:
        """A canonical block by number or hash; None if there is none."""
        if isinstance(block, bytes):
            return await self._parsed(parse_block, "eth_getBlockByHash", hex_data(block), False)
        return await self._parsed(parse_block, "eth_getBlockByNumber", hex(block), False)

    async def logs(self, address: bytes | Sequence[bytes], first: int, last: int,
                   topics: Sequence[bytes | Sequence[bytes] | None] = ()) -> list[L1Log]:
        """Events of [first, last] in chain order, asked for in ranges that shrink when the node says too many.

        Memory grows with the answer: callers bound ``last - first``.
        """
        wanted: dict[str, Any] = {"topics": [_topic(topic) for topic in topics]}
        wanted["address"] = hex_data(address) if isinstance(address, bytes) else [hex_data(item) for item in address]
        found: list[L1Log] = []
        span = self._logs_range_max
        while first <= last:
            end = min(last, first + span - 1)
            try:
                part = await self._required(_logs, "eth_getLogs",
                                            wanted | {"fromBlock": hex(first), "toBlock": hex(end)})
            except NodeRefused:
                if span == 1:
                    raise
                span = max(1, span // 4)
                continue
            found += part
            first = end + 1
        return found

    async def block_logs(self, address: bytes | Sequence[bytes], block_hash: bytes,
                         topics: Sequence[bytes | Sequence[bytes] | None] = ()) -> list[L1Log]:
        """Events of exactly this block, by hash, so that a reorg cannot slip another block in between."""
        wanted: dict[str, Any] = {"topics": [_topic(topic) for topic in topics], "blockHash": hex_data(block_hash)}
        wanted["address"] = hex_data(address) if isinstance(address, bytes) else [hex_data(item) for item in address]
        return await self._required(_logs, "eth_getLogs", wanted)

    # -- transactions

    async def transaction(self, tx_hash: bytes) -> L1Transaction | None:
        """A transaction with its input; None when the node does not know it."""
        return await self._parsed(parse_transaction, "eth_getTransactionByHash", hex_data(tx_hash))

    async def receipt(self, tx_hash: bytes) -> L1Receipt | None:
        """A mined transaction's outcome; None while it waits (or after a reorg took it away)."""
        return await self._parsed(parse_receipt, "eth_getTransactionReceipt", hex_data(tx_hash))

    async def send_raw(self, raw: bytes) -> bytes:
        """Publish signed bytes; returns the hash. Raises NodeRefused in the node's words. Not retried."""
        return await self._required(_data, "eth_sendRawTransaction", hex_data(raw))

    # -- state

    async def call(self, to: bytes, data: bytes, *, sender: bytes | None = None, value: int = 0,
                   gas: int | None = None, block: BlockId = "latest") -> bytes:
        """Execute without a transaction. Raises CallReverted."""
        return await self._required(_data, "eth_call", _call(to, data, sender, value, gas), block_param(block))

    async def estimate_gas(self, to: bytes | None, data: bytes, *, sender: bytes, value: int = 0) -> int:
        """Gas limit under which the transaction would succeed now. Raises CallReverted."""
        return await self._required(_quantity, "eth_estimateGas", _call(to, data, sender, value, None))

    async def code(self, address: bytes, *, block: BlockId = "latest") -> bytes:
        """Runtime code; empty when there is no contract."""
        return await self._required(_data, "eth_getCode", hex_data(address), block_param(block))

    async def storage(self, address: bytes, slot: int, *, block: BlockId = "latest") -> int:
        """One storage word."""
        return await self._required(_quantity, "eth_getStorageAt", hex_data(address), hex(slot), block_param(block))

    async def nonce(self, address: bytes, *, block: BlockId = "latest") -> int:
        """Transactions sent; ``pending`` counts the waiting ones too."""
        return await self._required(_quantity, "eth_getTransactionCount", hex_data(address), block_param(block))

    async def balance(self, address: bytes, *, block: BlockId = "latest") -> int:
        """Balance in wei."""
        return await self._required(_quantity, "eth_getBalance", hex_data(address), block_param(block))

    async def priority_fee(self) -> int:
        """Tip (wei per gas) that the node suggests."""
        return await self._required(_quantity, "eth_maxPriorityFeePerGas")

    async def proof(self, address: bytes, slots: Sequence[int], *, block: BlockId = "latest") -> L1Proof:
        """Account and storage proofs under the state root of ``block``."""
        keys = [hex_data(slot.to_bytes(32, "big")) for slot in slots]
        return await self._required(parse_proof, "eth_getProof", hex_data(address), keys, block_param(block))


def _describe(error: Exception) -> str:
    """Kind of a transport failure, with the HTTP status if there was one."""
    response = error.response if isinstance(error, requests.RequestException) else None
    return type(error).__name__ if response is None else f"HTTP {response.status_code}"


def _quantity(raw: Any) -> int:
    return int(raw, 16)


def _data(raw: Any) -> bytes:
    return bytes.fromhex(raw[2:])


def _logs(raw: Any) -> list[L1Log]:
    return [parse_log(item) for item in raw]


def _topic(topic: bytes | Sequence[bytes] | None) -> Any:
    if topic is None or isinstance(topic, bytes):
        return None if topic is None else hex_data(topic)
    return [hex_data(item) for item in topic]


def _call(to: bytes | None, data: bytes, sender: bytes | None, value: int, gas: int | None) -> dict[str, str]:
    request = {"data": hex_data(data)}
    if to is not None:
        request["to"] = hex_data(to)
    if sender is not None:
        request["from"] = hex_data(sender)
    if value:
        request["value"] = hex(value)
    if gas is not None:
        request["gas"] = hex(gas)
    return request
