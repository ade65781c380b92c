"""The default executor: py-evm's Prague state and computation over one in-memory node dictionary.

Only py-evm's EVM and state trie are used. Gas is settled by ``executor.settle_gas``: py-evm's own receipt applies the
refund cap to gas that already includes the EIP-7623 floor difference, so its receipt and its balances can disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.exceptions import Revert, VMError
from eth.rlp.accounts import Account
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor
from eth_hash.auto import keccak
from eth_utils.exceptions import ValidationError

from . import nodes
from .errors import L1RpcError
from .executor import REVERT_ERROR, AccountView, BlockEnv, CallRequest, Outcome, RawLog, settle_gas
from .fastvm import FastComputation
from .transactions import Tx, floor_gas

GARBAGE_NODES_MIN = 50_000
ACCESS_ADDRESS_GAS = 2_400  # EIP-2930
ACCESS_SLOT_GAS = 1_900


class FloorExecutor(PragueTransactionExecutor):
    """py-evm's transaction executor, settling gas exactly as EIP-7623 says (see the module's docstring)."""

    @staticmethod
    def calc_data_floor_gas(transaction: Any, gas_used: int, gas_refund: int) -> int:
        """Gas to add so that ``gas_used - gas_refund`` reaches the floor."""
        return max(floor_gas(transaction.data) - (gas_used - gas_refund), 0)


class State(PragueState):
    """Prague state with our settlement and compiled blocks."""

    transaction_executor_class = FloorExecutor
    computation_class = FastComputation


@dataclass(slots=True)
class _UnsignedCall:
    """The face of a transaction that py-evm's executor reads, for calls that nobody signed."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...]
    intrinsic_gas: int
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    gas_price: int = 0
    nonce: int = 0
    type_id: int = 2


class PyEvm:
    """An ``Executor``; see ``executor.py``. Safe to read from one thread while another runs a block."""

    def __init__(self, chain_id: int, *, state_class: Any = State) -> None:
        self.chain_id = chain_id
        self._state_class = state_class  # py-evm's own PragueState in the tests that compare
        self.nodes: dict[bytes, bytes] = {}
        self._db = AtomicDB(MemoryDB(self.nodes))
        self._live_nodes = GARBAGE_NODES_MIN

    def _state(self, env: BlockEnv, root: bytes) -> Any:
        context_class: Any = ExecutionContext  # py-evm's own types are stricter than bytes and int
        context = context_class(
            coinbase=env.coinbase, timestamp=env.timestamp, block_number=env.number, difficulty=0,
            mix_hash=env.prevrandao, gas_limit=env.gas_limit, prev_hashes=env.prev_hashes, chain_id=self.chain_id,
            base_fee_per_gas=env.base_fee, excess_blob_gas=0,
        )
        return self._state_class(self._db, context, root)

    def genesis(self, balances: dict[bytes, int]) -> bytes:
        """See ``Executor.genesis``."""
        root = nodes.BLANK_ROOT
        for address, balance in balances.items():
            root = self.set_balance(root, address, balance)
        return root

    def block(self, env: BlockEnv, parent_root: bytes) -> PyEvmBlock:
        """See ``Executor.block``."""
        self._require(parent_root)
        return PyEvmBlock(self._state(env, parent_root))

    def call(self, env: BlockEnv, root: bytes, request: CallRequest) -> Outcome:
        """See ``Executor.call``: base fee and gas price read as zero, as geth does for a call without fees."""
        self._require(root)
        free = BlockEnv(env.number, env.timestamp, env.coinbase, env.gas_limit, 0, env.prevrandao, env.prev_hashes)
        state = self._state(free, root)
        owed = _call_intrinsic_gas(request)
        if request.gas < max(owed, floor_gas(request.data)):
            raise L1RpcError(f"intrinsic gas too low: gas {request.gas}, minimum needed "
                             f"{max(owed, floor_gas(request.data))}")
        tx = _UnsignedCall(request.sender, request.to, request.data, request.value, request.gas, request.access_list,
                           owed)
        return _run(state, tx, floor_gas(request.data))

    def account(self, root: bytes, address: bytes) -> AccountView:
        """See ``Executor.account``."""
        self._require(root)
        encoded = self._read(root, address)
        if not encoded:
            return AccountView(0, 0, nodes.EMPTY_CODE_HASH, nodes.BLANK_ROOT)
        account = rlp.decode(encoded, sedes=Account)
        return AccountView(account.nonce, account.balance, bytes(account.code_hash), bytes(account.storage_root))

    def code(self, root: bytes, address: bytes) -> bytes:
        """See ``Executor.code``."""
        digest = self.account(root, address).code_hash
        return b"" if digest == nodes.EMPTY_CODE_HASH else self.nodes[digest]

    def storage(self, root: bytes, address: bytes, slot: int) -> int:
        """See ``Executor.storage``."""
        storage_root = self.account(root, address).storage_root
        encoded = self._read(storage_root, slot.to_bytes(32, "big"))
        return int.from_bytes(rlp.decode(encoded), "big") if encoded else 0

    def proof(self, trie_root: bytes, key: bytes) -> list[bytes]:
        """See ``Executor.proof``."""
        self._require(trie_root)
        return nodes.proof(self.nodes, trie_root, key)

    def set_balance(self, root: bytes, address: bytes, balance: int) -> bytes:
        """See ``Executor.set_balance``."""
        state = self._state(BlockEnv(0, 0, bytes(20), 0, 0, bytes(32), ()), root)
        state.set_balance(address, balance)
        state.persist()
        return bytes(state.state_root)

    def garbage_due(self) -> bool:
        """See ``Executor.garbage_due``: when the nodes have doubled since the last collection."""
        return len(self.nodes) >= 2 * self._live_nodes

    def collect_garbage(self, roots: set[bytes]) -> int:
        """See ``Executor.collect_garbage``."""
        dropped = nodes.sweep(self.nodes, roots)
        self._live_nodes = max(len(self.nodes), GARBAGE_NODES_MIN)
        return dropped

    def _require(self, root: bytes) -> None:
        if root != nodes.BLANK_ROOT and root not in self.nodes:
            raise L1RpcError(f"missing trie node {root.hex()}: state older than the kept history")

    def _read(self, root: bytes, key: bytes) -> bytes:
        """Value at keccak(``key``) in the trie of ``root``; empty if absent."""
        path = nodes.nibbles(keccak(key))
        node: Any = rlp.decode(self.nodes[root]) if root != nodes.BLANK_ROOT else b""
        while node:
            if len(node) == 17:
                child, path = node[path[0]], path[1:]
            else:
                prefix, is_leaf = nodes.compact_path(node[0])
                if path[: len(prefix)] != prefix:
                    return b""
                if is_leaf:
                    return bytes(node[1])
                child, path = node[1], path[len(prefix):]
            node = rlp.decode(self.nodes[child]) if isinstance(child, bytes) and len(child) == 32 else child
        return b""


class PyEvmBlock:
    """A ``BlockRun`` on py-evm."""

    def __init__(self, state: Any) -> None:
        self._state = state

    def apply(self, tx: Tx) -> Outcome:
        """See ``BlockRun.apply``."""
        self._state.lock_changes()
        checkpoint = self._state.snapshot()
        try:
            self._state.validate_transaction(tx.evm)
            outcome = _run(self._state, tx.evm, tx.floor_gas)
        except (ValidationError, L1RpcError) as error:
            self._state.revert(checkpoint)
            raise L1RpcError(str(error)) from error
        self._state.commit(checkpoint)
        return outcome

    def finish(self) -> bytes:
        """See ``BlockRun.finish``."""
        self._state.persist()
        return bytes(self._state.state_root)


def _call_intrinsic_gas(request: CallRequest) -> int:
    """EIP-2028/2930 intrinsic gas; py-evm charges the initcode words itself while it runs."""
    zeros = request.data.count(0)
    slots = sum(len(keys) for _, keys in request.access_list)
    create = 32_000 if request.to == b"" else 0
    listed = ACCESS_ADDRESS_GAS * len(request.access_list) + ACCESS_SLOT_GAS * slots
    return 21_000 + 4 * zeros + 16 * (len(request.data) - zeros) + create + listed


def _run(state: Any, tx: Any, floor: int) -> Outcome:
    """Execute on ``state`` through py-evm's own steps, without its signature checks."""
    executor = state.get_transaction_executor()
    try:
        message = executor.build_evm_message(tx)
        computation = executor.finalize_computation(tx, executor.build_computation(message, tx))
    except VMError as error:  # raised before the first opcode: a value that the balance cannot cover
        raise L1RpcError(f"insufficient funds for transfer: {error}") from error
    finally:
        state.clear_transient_storage()
    spent = tx.gas - computation.get_gas_remaining()
    success = bool(computation.is_success)
    error_text = ""
    if not success:
        cause = computation.error
        error_text = REVERT_ERROR if isinstance(cause, Revert) else _describe(cause)
    logs = tuple(
        RawLog(bytes(address), tuple(topic.to_bytes(32, "big") for topic in topics), bytes(data))
        for address, topics, data in computation.get_log_entries()
    )
    return Outcome(
        success=success, gas_used=settle_gas(spent, computation.get_gas_refund(), floor), gas_spent=spent,
        output=bytes(computation.output), error=error_text, logs=logs,
        created=bytes(message.storage_address) if tx.to == b"" else b"",
    )


def _describe(cause: Exception) -> str:
    """geth's words for the common failures, py-evm's for the rest."""
    kind = type(cause).__name__
    if kind == "OutOfGas":
        return f"out of gas: {cause}"
    return f"{kind}: {cause}"
