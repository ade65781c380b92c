"""The chain under the machine: RollupWorld with short times, a token that calls back, and batches that lie.

Rules and courts are the real ones: honest batches are right in every root, so nobody can drop them, and a lie costs its
prover a real proof. ``heads[n]`` is what is true behind batch n: a proven lie takes the L2 back to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from contracts import Artifact
from node.l1.bindings import PostBatch
from node.stf import state, witness
from node.stf.encoding import INBOX_TX
from node.stf.layout import decode_globals, withdrawal_key
from node.stf.state import Globals
from node.stf.trie import MemoryTrie, keccak
from tests.contracts.world import BOND, PARAMS, USD, CourtTimes
from tests.differential.l1 import Posted, RollupWorld
from tests.evm import Actor, Contract, Evm, Halt, Receipt, Revert, address_of, compiled
from tests.stf.world import LeafStore, address, private_key

SHORT = replace(PARAMS, challenge_window_s=100, bond_delay_s=200, force_delay_s=40, seat_idle_s=300, timelock_s=200,
                force_floor_s=10)
TIMES = CourtTimes(exodus_after_s=450, reseat_s=400, register_s=120, promise_deadline_s=200, claim_s=150)
TRADERS = ("alice", "bob", "carol", "dave")  # accounts 1 to 4
RICH = 10**9 * USD


class CountingEvm(Evm):
    """Counts what was called, and with what success; deploys ``variants`` in place of contracts of these names."""

    def __init__(self, variants: Mapping[str, Artifact]) -> None:
        super().__init__()
        self.variants = variants
        self.counting = True
        self.names: dict[tuple[str, bytes], str] = {}
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def deploy(self, what: Any, *args: Any, **options: Any) -> Contract:
        contract = super().deploy(self.variants.get(str(what), what), *args, **options)
        for name, entries in contract._functions.items():
            if entries[0]["stateMutability"] == "nonpayable":
                data = contract.calldata(name, *map(_zero, entries[0]["inputs"]))
                self.names[contract.address, data[:4]] = f"{contract.name}.{name}"
        return contract

    def message(self, to: Any, data: bytes = b"", *, keep: bool = True, **options: Any) -> Receipt:
        name = self.names.get((address_of(to), data[:4]), "?")
        try:
            receipt = super().message(to, data, keep=keep, **options)
        except (Revert, Halt):
            self.refused[name] += keep and self.counting
            raise
        self.done[name] += keep and self.counting
        return receipt


def _zero(parameter: dict[str, Any]) -> Any:
    kind: str = parameter["type"]
    if kind.endswith("]"):
        size = kind[kind.rindex("[") + 1 : -1]
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_zero(inner)] * int(size or 0)
    if kind == "tuple":
        return {part["name"]: _zero(part) for part in parameter["components"]}
    if kind == "address":
        return bytes(20)
    if kind == "bytes32":
        return bytes(32)
    return b"" if kind == "bytes" else False if kind == "bool" else 0


@dataclass(frozen=True)
class Claim:
    """A ``W`` leaf."""

    id: int
    recipient: str
    amount: int


@dataclass(frozen=True)
class Head:
    """The L2 behind a batch. ``lie``: what is wrong with the batch itself ("" when nothing is)."""

    trie: MemoryTrie
    leaves: dict[bytes, bytes]
    nonces: dict[tuple[int, int], int]
    chunks: int
    transactions: int
    lie: str

    @property
    def globals(self) -> Globals:
        return decode_globals(self.leaves[state.GLOBAL_KEY])

    @property
    def claims(self) -> list[Claim]:
        """Withdrawals that stand in this state, by id."""
        found = []
        for key, value in sorted(self.leaves.items()):
            if key[:1] == b"W":
                word = int.from_bytes(value, "big")
                recipient = "0x" + (word >> 64).to_bytes(20, "big").hex()
                found.append(Claim(int.from_bytes(key[1:9], "big"), recipient, word & 2**64 - 1))
        return found


class Chain(RollupWorld):
    """See the module. Batch 1 is posted: it opens four traders' accounts."""

    def __init__(self, variants: Mapping[str, Artifact]) -> None:
        super().__init__(params=SHORT, times=TIMES, token="mocks/RestlessToken.vy", evm=CountingEvm(variants))
        self.order: list[bytes] = []  # executed transactions, by position
        self.observers.append(lambda transaction, _receipt: self.order.append(transaction))
        self.heads = [self.head()]
        self.open()
        for name in TRADERS[2:]:
            owner = "0x" + address(private_key(name)).to_bytes(20, "big").hex()
            self.do(self.operator, "deposit", 0, owner, 1_000 * USD)
            self.keys[len(self.keys) + 1] = private_key(name)
        self.consume()
        self.price({0: 600_000})
        self.evm.warp(1)
        self.publish(self.batch(), self.operator)
        people = [self.operator, self.prover, self.admin, *map(trader, TRADERS)]
        for person in people:
            self.token.transact("mint", person, RICH)
            for spender in (self.rollup, self.claim_market):
                self.token.transact("approve", spender, 2**256 - 1, sender=person)
        self.people: list[Actor] = people
        self.layout = slots(variants.get("Rollup") or compiled("Rollup"))
        self.balances = slots(compiled("mocks/RestlessToken.vy"))["balanceOf"]
        assert self.held(self.prover) == self.token.call("balanceOf", self.prover) == RICH
        self.start = self.evm.snapshot(), len(self.inbox)

    @property
    def counts(self) -> CountingEvm:
        assert isinstance(self.evm, CountingEvm)
        return self.evm

    def reset(self) -> None:
        """Back to where the constructor ended."""
        snapshot, messages = self.start
        self.evm.restore(snapshot)
        del self.inbox[messages:]
        self.back_to(1)

    def head(self, lie: str = "") -> Head:
        """The L2 as it is now, between chunks."""
        return Head(self.trie, dict(self.store.leaves), dict(self.nonces), len(self.chunks), len(self.order), lie)

    def back_to(self, number: int) -> None:
        """Forget every batch after this one; the inbox stays."""
        head = self.heads[number]
        self.nonces = dict(head.nonces)
        self.trie, self.taken = head.trie, head.chunks
        del self.heads[number + 1 :], self.headers[number + 1 :], self.posted[number:], self.order[head.transactions :]
        del self.chunks[head.chunks :], self.results[head.chunks :], self.states[head.chunks + 1 :]
        self.states[-1] = head.trie
        self._open = bytearray()
        self.load(dict(head.leaves))

    def load(self, leaves: dict[bytes, bytes]) -> None:
        """Go on from these leaves."""
        self.store = LeafStore(leaves)
        self.engine = self.new_engine()
        self.engine.begin_chunk()

    # ---------------------------------------------------------------------------------------------------------- batches

    def catch_up(self) -> None:
        """A block at L1's time that consumes every message."""
        self.block(max(1, self.evm.timestamp * 1_000 - self.time))
        while self.engine.globals.cursor < len(self.inbox):
            self.run(INBOX_TX)

    def publish(self, batch: PostBatch, poster: Actor, lie: str = "") -> Posted:
        """Post a batch, which Rollup must accept, and note what is true behind it."""
        posted = self.post(batch, sender=poster, after_s=0)
        self.heads.append(self.head(lie))
        return posted

    def out_of_thin_air(self, batch: PostBatch, claim: Claim) -> PostBatch:
        """The batch with a withdrawal in its last root that nobody was debited for; the L2 goes on from there."""
        value = (int(claim.recipient, 16) << 64 | claim.amount).to_bytes(32, "big")
        changes: dict[bytes, bytes | None] = {withdrawal_key(claim.id): value}
        after = MemoryTrie(base=self.trie)
        after.apply(changes)
        self.store.apply(changes)
        self.trie = self.states[-1] = after
        self.load(self.store.leaves)
        return replace(batch, roots=(*batch.roots[:-1], after.root()))

    def with_garbage(self, batch: PostBatch) -> PostBatch:
        """The batch with a last chunk that is no chunk, said to change nothing."""
        self.chunks.append(b"\xff\xff")
        self.results.append(self.results[-1])
        self.states.append(self.trie)
        return replace(batch, chunks=(*batch.chunks, b"\xff\xff"), roots=(*batch.roots, self.trie.root()))

    def fraud_proof(self, number: int) -> bytes:
        """Calldata against batch ``number``, or what would be it if the batch had lied."""
        posted = self.posted[number - 1]
        if self.heads[number].lie != "mirror":
            return self.proof(posted, len(posted.chunks) - 1)
        path = witness.build_path(self.heads[number].trie, state.GLOBAL_KEY)
        words = [int.from_bytes(path.value[at : at + 32], "big") for at in range(0, len(path.value), 32)]
        return self.verifier.calldata("prove_header", posted.header, posted.parent, words, path.bits, path.siblings)

    def header_proof(self, number: int) -> bytes:
        """Calldata of prove_header with the true leaf, whatever the header says."""
        posted = self.posted[number - 1]
        path = witness.build_path(self.heads[number].trie, state.GLOBAL_KEY)
        words = [int.from_bytes(path.value[at : at + 32], "big") for at in range(0, len(path.value), 32)]
        return self.verifier.calldata("prove_header", posted.header, posted.parent, words, path.bits, path.siblings)

    # ------------------------------------------------------------------------------------------------------------ reads

    def word(self, name: str) -> int:
        """A storage word of Rollup by its variable's name: a look costs no call."""
        return self.evm.storage(self.rollup, self.layout[name])

    def held(self, who: Any) -> int:
        """Tokens of an address."""
        slot = self.balances.to_bytes(32, "big") + int(address_of(who), 16).to_bytes(32, "big")
        return self.evm.storage(self.token, int.from_bytes(keccak(slot), "big"))


def slots(artifact: Artifact) -> dict[str, int]:
    """Where a contract keeps its variables."""
    return {name: spec["slot"] for name, spec in artifact.layout["storage"].items()}


@cache
def trader(name: str) -> Actor:
    """A trader's own key as an account on L1."""
    key = private_key(name)
    return Actor(name, key.secret, "0x" + address(key).to_bytes(20, "big").hex())


@cache
def plain_chain() -> Chain:
    """The one chain of the contracts as they are; ``reset`` it before use."""
    return Chain({})


__all__ = ["BOND", "SHORT", "TIMES", "USD", "Chain", "Claim", "Head", "plain_chain", "trader"]
