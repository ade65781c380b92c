"""What an explanation rests on: leaves under the chunk's two roots, and the chunk's place in a posted batch.

    L1's header hash --keccak--> header --list proofs--> pre-root, chunk, post-root --paths--> leaves

``node/cli/check_explain.py`` checks exactly this, with nothing but keccak. States inside a chunk have no root: the
leaves right before and after the transaction are given as well, and follow from the chunk by executing it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from eth_hash.auto import keccak

from node.derive.chain import BatchRecord, Chain
from node.rpc.explain.replay import Scene, Setting
from node.rpc.explain.steps import Step
from node.rpc.fields import hex_of
from node.stf import commitments, state, witness
from node.stf.commitments import BatchHeader
from node.stf.params import BOARD_MARKETS
from node.stf.state import Source
from node.stf.trie import TrieView


class LeafProof(msgspec.Struct):
    """A leaf with its siblings from the leaf up; ``bits`` has the branch bit of each."""

    key: str
    value: str
    bits: str
    siblings: list[str]


class ListProof(msgspec.Struct):
    """A chunk's place in its batch: keccak of its bytes, the root after it, and the Merkle path of both."""

    index: int
    chunk_hash: str
    post_root: str
    proof: list[str]


class BatchProof(msgspec.Struct):
    """The batch on L1. ``header`` is 16 words; the pre-root is in ``previous`` chunk or, for chunk 0, in ``parent``."""

    number: int
    header_hash: str
    header: str
    parent: str
    chunk: ListProof
    previous: ListProof | None


class Evidence(msgspec.Struct):
    """Roots, leaves under them, and the leaves around the transaction. ``batch`` is None until L1 has the chunk."""

    pre_root: str
    post_root: str
    chunk: str
    messages: list[str]
    chunk_start: list[LeafProof]
    chunk_end: list[LeafProof]
    before: dict[str, str]
    after: dict[str, str]
    batch: BatchProof | None
    witness: str = "0x"
    """A partial trie of the state at the chunk's start: all leaves that executing it needs, if they were asked for."""


def evidence_of(
    chain: Chain, block: int, scene: Scene, setting: Setting, steps: Iterable[Step], *, whole: bool
) -> Evidence:
    """Evidence for the leaves that the steps speak of; ``whole``: for all that the chunk's execution needs as well."""
    keys = leaf_keys(steps)
    shown = witness.build(setting.start, {*keys, *setting.touched}, setting.ranges) if whole else None
    return Evidence(
        hex_of(setting.start.root()), hex_of(setting.end.root()), hex_of(setting.chunk.data),
        [hex_of(message) for message in setting.messages], _proofs(setting.start, keys), _proofs(setting.end, keys),
        _values(scene.before, keys), _values(scene.after, keys), _batch_proof(chain, block, setting),
        "0x" if shown is None else hex_of(witness.encode(shown)))


def leaf_keys(steps: Iterable[Step]) -> list[bytes]:
    """The leaves that decide: G, the accounts involved, boards, markets, and the orders that were met."""
    accounts: set[int] = set()
    markets: set[int] = set()
    keys: set[bytes] = {state.GLOBAL_KEY}
    for step in steps:
        for item in step.accounts:
            accounts.add(item.account)
            statements = (item.before, item.after, step.counted_open)
            markets.update(p.market for statement in statements if statement for p in statement.positions)
        markets.update(item.market for item in step.markets)
        for fill in step.fills:
            markets.add(fill.fill.market)
            side = 1 if fill.fill.taker_side == "buy" else 0
            keys.add(state.order_key(fill.fill.market, side, fill.fill.price, fill.fill.maker_seq))
    keys.update(state.account_key(account) for account in accounts)
    keys.update(state.board_key(market // BOARD_MARKETS) for market in markets)
    keys.update(state.market_key(market) for market in markets)
    return sorted(keys)


def _proofs(view: TrieView, keys: Iterable[bytes]) -> list[LeafProof]:
    found: list[LeafProof] = []
    for key in keys:
        if view.get(key) is None:
            continue
        path = witness.build_path(view, key)
        found.append(LeafProof(hex_of(key), hex_of(path.value), hex_of(path.bits), [hex_of(s) for s in path.siblings]))
    return found


def _values(source: Source, keys: Iterable[bytes]) -> dict[str, str]:
    found = {key: source.get(key) for key in keys}
    return {hex_of(key): hex_of(value) for key, value in found.items() if value is not None}


def _batch_proof(chain: Chain, block: int, setting: Setting) -> BatchProof | None:
    record = chain.batch_of(block)
    if record is None or record.header is None:
        return None
    parent = _parent(chain, record)
    blocks = chain.batch_blocks(record)
    chunks = [chunk for each in blocks for chunk in each.chunks]
    index = setting.index + sum(len(each.chunks) for each in blocks if each.header.number < block)
    if index >= len(chunks) or chunks[index] != setting.chunk:
        return None  # L1 has changed its mind since the chunk was executed again
    leaves = commitments.chunk_leaves([c.data for c in chunks], [c.post_root for c in chunks])

    def place(at: int) -> ListProof:
        path = [hex_of(sibling) for sibling in commitments.list_proof(leaves, at)]
        return ListProof(at, hex_of(keccak(chunks[at].data)), hex_of(chunks[at].post_root), path)

    return BatchProof(
        record.number, hex_of(commitments.header_hash(record.header)),
        hex_of(commitments.encode_header(record.header)), hex_of(commitments.encode_header(parent)), place(index),
        place(index - 1) if index else None)


def _parent(chain: Chain, record: BatchRecord) -> BatchHeader:
    if record.number == 1:
        genesis = chain.header(0)
        assert genesis is not None, "a chain has a genesis block"
        return commitments.genesis_header(genesis.state_root, chain.global_words(0))
    parent = chain.batch(record.number - 1)
    assert parent is not None and parent.header is not None, "a batch on L1 builds on one that is there"
    return parent.header
