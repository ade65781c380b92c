"""The chain on disk: what goes in comes back, all or nothing, and a rollback is exact."""

import random
from pathlib import Path

import pytest

from node.derive.blocks import decode_header, encode_header, split_blocks
from node.derive.chain import BatchRecord, Chain, check_conservation, execute_chunk
from node.errors import Critical
from node.stf import commitments
from node.storage.kv import MemoryKV, open_kv
from tests.stf.world import DOMAIN, World, buy, cancel_all, sell


def make_world(blocks: int = 6, seed: int = 1) -> World:
    """Some blocks of trading, as chunks."""
    world = World()
    rng = random.Random(seed)
    world.block(world.l1_time * 1000)
    world.create_market(0)
    traders = [world.deposit(name, 10_000_000_000) for name in ("alice", "bob", "carol")]
    world.price({0: 600_000})
    for _ in range(blocks):
        world.block(rng.randrange(1, 500))
        for _ in range(rng.randrange(1, 60)):
            side = rng.choice((buy, sell))
            world.actions(rng.choice(traders), side(0, rng.randrange(599_000, 601_000), rng.randrange(10, 50)))
        world.actions(traders[0], cancel_all(0))
    world.cut()
    return world


def replay(chain: Chain, world: World, until: int | None = None) -> None:
    """Commit the world's chunks block by block, from where the chain stands."""
    engine = chain.engine(world.message_at)
    ranges = split_blocks(world.chunks)
    for block in ranges[chain.head.number : until]:
        first = chain.head.cursor
        executed = [execute_chunk(engine, world.chunks[index]) for index in block]
        sealed = chain.seal(executed)
        messages = {number: world.inbox[number] for number in range(first, sealed.block.header.cursor)}
        chain.commit(sealed, messages)


def fingerprint(kv: MemoryKV) -> dict[bytes, bytes]:
    return dict(kv.iterate(b"\x00", b"\xff"))


def test_chain_replays_to_the_same_state_and_reads_back() -> None:
    world = make_world()
    chain = Chain.open(MemoryKV(), DOMAIN)
    replay(chain, world)
    assert {key: chain.store.get(key) for key in world.store.leaves} == world.store.leaves
    assert chain.head.number == world.engine.globals.block_number
    position = 0
    for number in range(1, chain.head.number + 1):
        block = chain.block(number)
        assert block is not None and block.header.parent_hash == chain.block(number - 1).hash  # type: ignore[union-attr]
        assert decode_header(encode_header(block.header)) == block.header
        assert chain.number_of(block.hash) == number
        roots = [chunk.post_root for chunk in block.chunks]
        assert commitments.chunks_root([chunk.data for chunk in block.chunks], roots) == block.header.chunks_root
        for stored in chain.transactions(number):
            assert stored.receipt.position == position
            assert chain.transaction(position) == stored
            assert chain.block_at(position) == number
            position += 1
    assert position == world.engine.globals.position and chain.transaction(position) is None
    signed = [tx for number in range(1, chain.head.number + 1) for tx in chain.transactions(number) if tx.receipt.fills]
    assert signed and all(chain.position_of(tx.hash) == tx.receipt.position for tx in signed)
    assert [chain.message(n) for n in range(chain.head.cursor)] == world.inbox


@pytest.mark.parametrize("to_block", [0, 1, 3])
def test_rollback_is_exact_and_the_way_forward_the_same(to_block: int) -> None:
    world = make_world()
    kv, other = MemoryKV(), MemoryKV()
    chain, short = Chain.open(kv, DOMAIN), Chain.open(other, DOMAIN)
    replay(chain, world)
    end = fingerprint(kv)
    replay(short, world, to_block)
    chain.put_batch(BatchRecord(1, 1, to_block + 1, b"\x01" * 32))
    chain.rollback(to_block)
    # inbox messages are L1's: those of dropped blocks may stay until they are overwritten
    assert {k: v for k, v in fingerprint(kv).items() if k[:2] != b"Ci"} == {
        k: v for k, v in fingerprint(other).items() if k[:2] != b"Ci"}
    assert chain.head == short.head and chain.last_batch() is None
    replay(chain, world)
    assert fingerprint(kv) == end


def test_reopening_resumes_and_refuses_another_rollup(tmp_path: Path) -> None:
    world = make_world(2)
    kv = open_kv(tmp_path / "db")
    chain = Chain.open(kv, DOMAIN)
    replay(chain, world, 2)
    head = chain.head
    kv.close()
    kv = open_kv(tmp_path / "db")
    chain = Chain.open(kv, DOMAIN)
    assert chain.head == head
    replay(chain, world)
    assert chain.store.get(b"G" + bytes(31)) == world.store.leaves[b"G" + bytes(31)]
    with pytest.raises(Critical, match="another rollup"):
        Chain.open(kv, bytes(32))
    kv.close()


def test_batches_are_found_by_block() -> None:
    chain = Chain.open(MemoryKV(), DOMAIN)
    header = commitments.genesis_header(b"\x05" * 32, (1, 2, 3, 4, 5, 6))
    records = [
        BatchRecord(n, 3 * n - 2, 3 * n, bytes([n]) * 32, 1, header if n < 4 else None, b"tx", 7, 8)
        for n in range(1, 5)
    ]
    for record in records:
        chain.put_batch(record)
    assert list(chain.batches()) == records and chain.last_batch() == records[-1]
    assert [chain.batch_of(block) for block in range(1, 13)] == [records[(block - 1) // 3] for block in range(1, 13)]
    assert chain.batch_of(0) is None and chain.batch_of(13) is None
    chain.drop_batches(3)
    assert list(chain.batches()) == records[:2]


def test_lost_money_stops_the_chain() -> None:
    world = make_world(1)
    words = list(world.results[-1].global_words)
    check_conservation(words)
    words[3] += 1 << 192
    with pytest.raises(Critical, match="not conserved"):
        check_conservation(words)


def test_chunks_before_the_first_block_belong_to_it() -> None:
    assert split_blocks([b"\x01", b"\x09\x01", b"\x02", b"\x09\x02", b"\x09\x03"]) == [
        range(0, 3), range(3, 4), range(4, 5)]
    assert split_blocks([b"\x09\x01"]) == [range(0, 1)]
    assert split_blocks([]) == []
    assert split_blocks([b"\x01"]) == [range(0, 1)]
