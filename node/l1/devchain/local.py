"""One call on a chain's state, executed here: the embedded L1's EVM over code and storage that a source provides.

    outcome = call_on(source, chain_id, env, CallRequest(sender, to, data, 0, gas))

What the call reads is asked of the source when it is first needed, so nobody has to know beforehand which contracts and
slots a transaction touches; writes stay in memory and are forgotten. Gas, errors and output are a transaction's own:
addresses and slots are cold, original values are the source's, the calldata floor applies.

Balances and nonces read as zero and are not asked for: calls without value and without fees do not look at them.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, Protocol

import rlp
from eth.db.account import AccountDB
from eth.db.cache import CacheDB
from eth.db.journal import JournalDB
from eth.db.storage import AccountStorageDB, StorageLookup
from eth_hash.auto import keccak

from . import nodes
from .executor import BlockEnv, CallRequest, Outcome
from .pyevm import PyEvm, State

PRECOMPILES_END: Final = 0x100  # addresses below have no code, and nobody is asked for it


class Source(Protocol):
    """A chain's state at one block. Whatever these raise ends the call and is raised by ``call_on``."""

    def code(self, address: bytes) -> bytes:
        """Runtime code at a 20-byte address; empty if there is none."""
        ...

    def storage(self, address: bytes, slot: int) -> int:
        """A storage word."""
        ...


def call_on(source: Source, chain_id: int, env: BlockEnv, request: CallRequest) -> Outcome:
    """Execute ``request`` on the source's state. Blocks as long as the EVM and the source take.

    Raises L1RpcError if ``request.gas`` is below the intrinsic gas, and what the source raises.
    """
    evm = PyEvm(chain_id, state_class=partial(_local_state, source))
    return evm.call(env, nodes.BLANK_ROOT, request)


def _local_state(source: Source, db: Any, context: Any, root: Any) -> State:
    """The embedded L1's state, with accounts that come from a source."""
    state = State(db, context, root)
    accounts: Any = _LocalAccounts(source, db, root)
    state._account_db = accounts
    return state


class _LocalAccounts(AccountDB):
    """Accounts whose code and storage are a source's until they are written."""

    def __init__(self, source: Source, db: Any, root: Any) -> None:
        super().__init__(db, root)
        self._source = source
        self._codes: dict[bytes, bytes] = {}

    def get_code(self, address: Any) -> bytes:
        return self._given(address) or bytes(super().get_code(address))

    def get_code_hash(self, address: Any) -> Any:
        code = self._given(address)
        return keccak(code) if code else super().get_code_hash(address)

    def _given(self, address: bytes) -> bytes:
        """The source's code; empty where the call itself may create some."""
        if int.from_bytes(address, "big") < PRECOMPILES_END:
            return b""
        if address not in self._codes:
            self._codes[address] = self._source.code(address)
        return self._codes[address]

    def _get_address_store(self, address: Any) -> Any:
        if address not in self._account_stores:
            self._account_stores[address] = _LocalStorage(self._source, self._raw_store_db, address)
        return self._account_stores[address]


class _LocalStorage(AccountStorageDB):
    """An account's storage in py-evm's own layers, the lowest of which is a source: originals stay originals."""

    def __init__(self, source: Source, db: Any, address: Any) -> None:
        root: Any = nodes.BLANK_ROOT
        super().__init__(db, root, address)
        self._storage_lookup = _SourceLookup(source, db, address)
        self._storage_cache = CacheDB(self._storage_lookup)
        self._locked_changes = JournalDB(self._storage_cache)
        self._journal_storage = JournalDB(self._locked_changes)


class _SourceLookup(StorageLookup):
    """Reads words of a source; py-evm keeps RLP, and an empty value for zero."""

    def __init__(self, source: Source, db: Any, address: Any) -> None:
        root: Any = nodes.BLANK_ROOT
        super().__init__(db, root, address)
        self._source = source

    def __getitem__(self, key: bytes) -> bytes:
        word = self._source.storage(bytes(self._address), int.from_bytes(key, "big"))
        return bytes(rlp.encode(word)) if word else b""

    def _exists(self, key: bytes) -> bool:
        return self[key] != b""
