"""A small Prague EVM for contract tests, on pyrevm: `Evm().deploy("Rollup", …).transact("deposit", …)`.

Sources, not artifacts, are deployed: `contracts.build.fresh` recompiles what has changed, so no test runs stale code.

Every message runs in a fresh EVM that holds the state which this object keeps. That makes a message a *transaction*:
transient storage is empty, every slot is cold, "original" values are those before the message, so `gas_used` is what a
chain charges (the EIP-7623 floor, which pyrevm leaves out, is applied here). A state is a plain value: `snapshot()` and
`restore()` are copies. The default gas limit of a transaction is EIP-7825's cap. The sender is always the origin; calls
from contracts need a mock. pyrevm refuses senders with code, EIP-7702 delegations included: test those on anvil.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")

import pyrevm
from eth_abi import decode, encode
from eth_keys import keys
from eth_utils import keccak, to_checksum_address

from contracts import Abi, Artifact, build

TESTS_DIR = Path(__file__).resolve().parent
CACHE_DIR = build.REPO_DIR / ".contracts_cache"
TX_GAS_MAX = 16_777_216  # EIP-7825
BLOCK_GAS = 2**40
WEI_PER_ACTOR = 10**24
ERROR_SELECTOR, PANIC_SELECTOR = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")

_REVERT = re.compile(r"^Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}$")
_ACCOUNT = re.compile(
    r"(0x[0-9a-f]{40}): Account \{ info: AccountInfo \{ balance: (\d+), nonce: (\d+), code_hash: 0x([0-9a-f]{64}), "
    r"code: (.*?) \}, storage: \{(.*?)\}, status: AccountStatus\("
)
_CODE = re.compile(r"bytecode: 0x([0-9a-f]*), state: Analysed \{ len: (\d+)")
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+) \}")


class Revert(Exception):
    """A message reverted. `reason`: the text of a string reason, else the custom error's name, else the data as hex."""

    def __init__(self, reason: str, data: bytes, gas_used: int, args: dict[str, Any] | None = None) -> None:
        super().__init__(f"{reason or 'without data'} {args or ''}".strip())
        self.reason, self.data, self.gas_used, self.error_args = reason, data, gas_used, args or {}


class Halt(Exception):
    """A message stopped without a revert: out of gas, invalid opcode, code too large, or refused as a transaction."""


@dataclass(frozen=True)
class Actor:
    """An externally owned account with a key derived from its name; funded with ether."""

    name: str
    key: bytes = field(repr=False)
    address: str


@dataclass(frozen=True)
class Log:
    """A decoded event; `name` is empty for an event that no deployed contract's ABI declares."""

    address: str
    name: str
    args: dict[str, Any]
    topics: list[bytes]
    data: bytes


@dataclass(frozen=True)
class Receipt:
    """What a transaction did: its decoded return value, gas after refunds and with the calldata floor, and logs."""

    value: Any
    gas_used: int
    logs: list[Log]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The arguments of every event with this name, in order."""
        return [log.args for log in self.logs if log.name == name]


@dataclass
class _Account:
    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    slots: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Contract:
    """A deployed contract, bound to its EVM; anything that takes an address takes a `Contract` or an `Actor` too."""

    evm: Evm = field(repr=False)
    address: str
    abi: Abi = field(repr=False)
    name: str = ""

    def call(self, function: str, *args: Any, sender: Any = None, value: int = 0, gas: int = BLOCK_GAS // 2) -> Any:
        """Run `function`, keep nothing, return the decoded result; raises `Revert` or `Halt`."""
        return self._run(function, args, sender, value, gas, keep=False).value

    def transact(self, function: str, *args: Any, sender: Any = None, value: int = 0, gas: int = TX_GAS_MAX) -> Receipt:
        """Run `function` as a transaction and keep its effects; raises `Revert` or `Halt` and then keeps nothing."""
        return self._run(function, args, sender, value, gas, keep=True)

    def calldata(self, function: str, *args: Any) -> bytes:
        """Selector and ABI-encoded arguments."""
        entry = self._function(function, len(args))
        return selector(entry) + _encode(entry["inputs"], args)

    def at(self, address: Any) -> Contract:
        """The same interface at another address."""
        return dataclasses.replace(self, address=address_of(address))

    def _run(self, function: str, args: Sequence[Any], sender: Any, value: int, gas: int, keep: bool) -> Receipt:
        data, entry = self.calldata(function, *args), self._function(function, len(args))
        receipt = self.evm.message(self.address, data, sender=sender, value=value, gas=gas, keep=keep)
        return dataclasses.replace(receipt, value=_decode_result(entry["outputs"], receipt.value))

    def _function(self, name: str, count: int) -> dict[str, Any]:
        same = self._functions.get(name, [])
        fitting = [entry for entry in same if len(entry["inputs"]) == count]
        if not fitting:
            takes = [len(entry["inputs"]) for entry in same]
            raise LookupError(f"{self.name or self.address} has no {name} with {count} arguments (takes: {takes})")
        return fitting[0]

    @cached_property
    def _functions(self) -> dict[str, list[dict[str, Any]]]:
        table: dict[str, list[dict[str, Any]]] = {}
        for entry in self.abi:
            if entry["type"] == "function":
                table.setdefault(entry["name"], []).append(entry)
        return table


class Evm:
    """State, block environment and known ABIs; see the module's docstring."""

    def __init__(self, *, chain_id: int = 31337, timestamp: int = 1_700_000_000, number: int = 1) -> None:
        self.chain_id, self.timestamp, self.number = chain_id, timestamp, number
        self.abis: list[Abi] = []
        self._accounts: dict[str, _Account] = {}
        self._codes: dict[str, bytes] = {}
        self.default = self.actor("deployer")

    def actor(self, name: str) -> Actor:
        """The account of this name, funded on first use; the same name has the same key in every EVM."""
        key = keccak(text=f"anchorline test actor {name}")
        actor = Actor(name, key, keys.PrivateKey(key).public_key.to_checksum_address())
        self._accounts.setdefault(actor.address.lower(), _Account(balance=WEI_PER_ACTOR))
        return actor

    def deploy(
        self, what: str | Path | Artifact, *args: Any, sender: Any = None, value: int = 0, gas: int = TX_GAS_MAX,
        search_paths: Sequence[Path] = (),
    ) -> Contract:
        """Compile if needed and deploy: a contract's name, a source path (absolute, or from `tests/contracts`) or an
        `Artifact`. Raises `Revert` or `Halt` as the constructor does."""
        artifact = what if isinstance(what, Artifact) else compiled(what, search_paths)
        inputs = next((e["inputs"] for e in artifact.abi if e["type"] == "constructor"), [])
        return self.deploy_code(
            artifact.bytecode + _encode(inputs, args), artifact.abi, artifact.name, sender=sender, value=value, gas=gas
        )[0]

    def deploy_code(
        self, initcode: bytes, abi: Abi, name: str = "", *, sender: Any = None, value: int = 0, gas: int = TX_GAS_MAX
    ) -> tuple[Contract, Receipt]:
        """Deploy raw initcode with its arguments appended; the receipt tells the gas."""
        if abi not in self.abis:
            self.abis.append(abi)
        machine, origin = self._machine(), address_of(sender or self.default)
        with self._errors():
            address = machine.deploy(origin, initcode, value, gas)
        receipt = self._receipt(machine, initcode, b"", creates=True)
        self._harvest(machine)
        return Contract(self, to_checksum_address(address), abi, name), receipt

    def message(
        self, to: Any, data: bytes = b"", *, sender: Any = None, value: int = 0, gas: int = TX_GAS_MAX,
        keep: bool = True,
    ) -> Receipt:
        """A raw transaction (or, with `keep=False`, a call); the receipt's value is the returned bytes."""
        machine = self._machine()
        with self._errors():
            returned = machine.message_call(address_of(sender or self.default), address_of(to), data, value, gas)
        receipt = self._receipt(machine, data, bytes(returned), creates=False)
        if keep:
            self._harvest(machine)
        return receipt

    def warp(self, seconds: int, blocks: int = 1) -> None:
        """Move the clock on, and the block number."""
        self.timestamp += seconds
        self.number += blocks

    def balance(self, who: Any) -> int:
        """Wei held by `who`."""
        return self._account(who).balance

    def set_balance(self, who: Any, wei: int) -> None:
        """Give `who` exactly this much ether."""
        self._account(who).balance = wei

    def code(self, who: Any) -> bytes:
        """The runtime code at an address."""
        return self._account(who).code

    def set_code(self, who: Any, code: bytes) -> None:
        """Put runtime code at an address (its constructor does not run)."""
        account = self._account(who)
        account.code, account.nonce = code, max(account.nonce, 1)

    def storage(self, who: Any, slot: int) -> int:
        """A storage word."""
        return self._account(who).slots.get(slot, 0)

    def set_storage(self, who: Any, slot: int, word: int) -> None:
        """Overwrite a storage word."""
        self._account(who).slots[slot] = word

    def snapshot(self) -> object:
        """An opaque copy of state and clock, for `restore`, any number of times."""
        accounts = {a: dataclasses.replace(x, slots=dict(x.slots)) for a, x in self._accounts.items()}
        return accounts, self.timestamp, self.number

    def restore(self, snapshot: Any) -> None:
        """Go back to a `snapshot()`."""
        accounts, self.timestamp, self.number = snapshot
        self._accounts = {a: dataclasses.replace(x, slots=dict(x.slots)) for a, x in accounts.items()}

    def machine(self) -> pyrevm.EVM:
        """A pyrevm EVM of its own that goes on from this state; nothing comes back from it."""
        return self._machine()

    def _account(self, who: Any) -> _Account:
        return self._accounts.setdefault(address_of(who).lower(), _Account())

    def _machine(self) -> pyrevm.EVM:
        block = pyrevm.BlockEnv(number=self.number, timestamp=self.timestamp, gas_limit=BLOCK_GAS, prevrandao=bytes(32))
        machine = pyrevm.EVM(pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=self.chain_id), block=block), spec_id="PRAGUE")
        for address, account in self._accounts.items():
            machine.insert_account_info(
                address, pyrevm.AccountInfo(balance=account.balance, nonce=account.nonce, code=account.code or None)
            )
            for slot, word in account.slots.items():
                # Only the first write to an account that is not in the journal reaches the database and so stays cold;
                # it also puts the account into the journal, which the checkpoint takes back.
                checkpoint = machine.snapshot()
                machine.insert_account_storage(address, slot, word)
                machine.revert(checkpoint)
        return machine

    def _harvest(self, machine: pyrevm.EVM) -> None:
        """Copy what the message touched out of pyrevm, whose only complete view of it is its journal's debug text."""
        state = machine.journal_str.partition("}, transient_storage: {")[0]
        for address, balance, nonce, code_hash, code, slots in _ACCOUNT.findall(state):
            account = self._accounts.setdefault(address, _Account())
            account.balance, account.nonce = int(balance), int(nonce)
            if code_hash not in self._codes and (found := _CODE.search(code)):
                self._codes[code_hash] = bytes.fromhex(found[1])[: int(found[2])]
            account.code = self._codes.get(code_hash, account.code)
            for slot, word in _SLOT.findall(slots):
                account.slots[int(slot)] = int(word)

    def _receipt(self, machine: pyrevm.EVM, data: bytes, returned: bytes, *, creates: bool) -> Receipt:
        result = machine.result
        assert result is not None and result.is_success
        zeros = data.count(0)
        floor = 21_000 + 10 * (zeros + 4 * (len(data) - zeros))  # EIP-7623
        logs = [self._log(log.address, *log.data) for log in result.logs]
        return Receipt(returned, max(result.gas_used, floor), logs)

    def _log(self, address: str, topics: list[bytes], data: bytes) -> Log:
        raw = [bytes(topic) for topic in topics]
        for abi in self.abis:
            for entry in abi:
                if entry["type"] == "event" and raw and raw[0] == keccak(text=_signature(entry)):
                    return Log(address, entry["name"], _decode_event(entry, raw, bytes(data)), raw, bytes(data))
        return Log(address, "", {}, raw, bytes(data))

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            found = _REVERT.match(str(error))
            if found is None:
                raise Halt(str(error)) from None
            data = bytes.fromhex(found[2])
            reason, args = self._reason(data)
            raise Revert(reason, data, int(found[1]), args) from None

    def _reason(self, data: bytes) -> tuple[str, dict[str, Any]]:
        if data[:4] == ERROR_SELECTOR:
            return decode(["string"], data[4:])[0], {}
        if data[:4] == PANIC_SELECTOR:
            return f"Panic({int.from_bytes(data[4:], 'big')})", {}
        for abi in self.abis:
            for entry in abi:
                if entry["type"] == "error" and selector(entry) == data[:4]:
                    values = decode([_type(i) for i in entry["inputs"]], data[4:])
                    return entry["name"], {i["name"]: v for i, v in zip(entry["inputs"], values, strict=True)}
        return data.hex(), {}


@contextlib.contextmanager
def reverts(reason: str | None = None) -> Iterator[None]:
    """Assert that the block reverts, whose reason is `reason` or begins with `reason` and a colon or space."""
    try:
        yield
    except Revert as revert:
        actual = revert.reason
        if reason is not None and actual != reason and not actual.startswith((f"{reason}:", f"{reason} ")):
            raise AssertionError(f"reverted with {actual!r}, expected {reason!r}") from revert
        return
    raise AssertionError(f"did not revert, expected {reason or 'a revert'!r}")


def compiled(what: str | Path, search_paths: Sequence[Path] = ()) -> Artifact:
    """Today's artifact of a contract's name or of a source path (absolute, or from `tests/contracts`)."""
    path = Path(what)
    if path.suffix != ".vy":
        path = build.CONTRACTS_DIR / f"{what}.vy"
    elif not path.is_absolute():
        path = TESTS_DIR / "contracts" / path
    if not path.is_file():
        raise FileNotFoundError(f"no contract source {path}")
    digest = keccak(text=str(path.resolve())).hex()[:12]
    return build.fresh(path, CACHE_DIR / f"{path.stem}-{digest}.json", search_paths)


def address_of(who: Any) -> str:
    """The 0x address of an `Actor`, a `Contract`, 20 bytes or a string."""
    if isinstance(who, Actor | Contract):
        return who.address
    if isinstance(who, bytes):
        assert len(who) == 20, f"{len(who)} bytes are no address"
        return "0x" + who.hex()
    assert isinstance(who, str), f"{who!r} is no address"
    return who


def selector(entry: dict[str, Any]) -> bytes:
    """The first four bytes of a function's or error's signature hash."""
    return keccak(text=_signature(entry))[:4]


def _signature(entry: dict[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type(i) for i in entry['inputs'])})"


def _type(parameter: dict[str, Any]) -> str:
    """The canonical type, tuples spelled out."""
    kind: str = parameter["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(c) for c in parameter['components'])}){kind[5:]}"


def _encode(inputs: list[dict[str, Any]], args: Sequence[Any]) -> bytes:
    if len(inputs) != len(args):
        raise TypeError(f"takes {len(inputs)} arguments ({[i['name'] for i in inputs]}), got {len(args)}")
    return encode([_type(i) for i in inputs], [_plain(i, a) for i, a in zip(inputs, args, strict=True)])


def _plain(parameter: dict[str, Any], value: Any) -> Any:
    """Turn actors and contracts into addresses, dataclasses and dicts into tuples, as the ABI encoder wants them."""
    kind: str = parameter["type"]
    if kind.endswith("]"):
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_plain(inner, item) for item in value]
    if kind == "address":
        return address_of(value)
    if kind == "tuple":
        parts = parameter["components"]
        if dataclasses.is_dataclass(value):
            value = [getattr(value, part["name"]) for part in parts]
        elif isinstance(value, dict):
            value = [value[part["name"]] for part in parts]
        return tuple(_plain(part, item) for part, item in zip(parts, value, strict=True))
    return value


def _decode_result(outputs: list[dict[str, Any]], data: bytes) -> Any:
    """None, the single value, or a tuple of values."""
    values = decode([_type(o) for o in outputs], data)
    if not values:
        return None
    return values[0] if len(values) == 1 else values


def _decode_event(entry: dict[str, Any], topics: list[bytes], data: bytes) -> dict[str, Any]:
    plain = [i for i in entry["inputs"] if not i["indexed"]]
    values = dict(zip([i["name"] for i in plain], decode([_type(i) for i in plain], data), strict=True))
    for parameter, topic in zip([i for i in entry["inputs"] if i["indexed"]], topics[1:], strict=True):
        dynamic = _type(parameter).endswith(("]", ")")) or parameter["type"] in ("bytes", "string")
        values[parameter["name"]] = topic if dynamic else decode([_type(parameter)], topic)[0]
    return values
