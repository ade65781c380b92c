"""Rows of Rollup and the token."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from eth_hash.auto import keccak

from node.l1.bindings import PostBatch, encode_post_batch
from node.l1.claims import NOBODY
from node.stf import witness
from node.stf.commitments import BatchHeader
from node.stf.layout import withdrawal_key
from tests.contracts.gas.table import Row
from tests.contracts.test_claim_market import Sales
from tests.contracts.test_rollup_tokens import _permit
from tests.contracts.tiny_trie import proof_of, root_of
from tests.contracts.world import BOND, PARAMS, USD, World
from tests.evm import Actor, Receipt

PATH_MAX, DEEP = 128, 25  # the longest path that is looked at; the one among 10**7 leaves
BATCH_BYTES, CHUNKS = 65_536, 256
FULL = 1_023  # bytes of the longest admin message
FOURTH = "its L1 time begins a new slot, as every fourth message's does"
FIRST = "the first one: every slot was zero"


def full(size: int, seed: int = 1) -> bytes:
    """Bytes without a zero."""
    rnd = random.Random(seed)
    return bytes(rnd.randrange(1, 256) for _ in range(size))


def path(key: bytes, value_hash: bytes, depth: int) -> tuple[bytes, list[bytes], bytes]:
    """A path of so many siblings and the root that it leads to. A poster can claim any root."""
    bits = bytes(range(depth))[::-1]
    siblings = [full(32, depth + i) for i in range(depth)]
    return bits, siblings, witness.fold_path(key, value_hash, bits, siblings)


def gas(receipt: Receipt) -> int:
    return receipt.gas_used


def align(world: World) -> None:
    """Fill the inbox so that the next message's time begins a slot."""
    while len(world.messages) % 4:
        world.do(world.trader, "force", b"x")


def governance() -> list[Row]:
    """Two admin messages each: a short one, and the longest."""
    world = World()
    fresh = world.evm.deploy("Rollup", world.token, world.admin, PARAMS)
    admin = world.admin
    for _ in range(4):
        fresh.transact("enqueue_admin", 1, full(60), sender=admin)
    long, short = [gas(fresh.transact("enqueue_admin", 1, full(size), sender=admin)) for size in (FULL, 60)]
    rows = [Row("Rollup", "enqueue_admin", short, long, f"1,023 bytes; {FOURTH}")]
    setup = {
        "set_verifier": (world.evm.default, (world.verifier,)),
        "set_courts": (world.evm.default, (world.exodus, world.promise_court, world.claim_market)),
        "open": (admin, ()),
    }
    for name, (by, arguments) in setup.items():
        once = gas(fresh.transact(name, *arguments, sender=by))
        rows.append(Row("Rollup", name, once, once, "happens once"))
    proposed = [gas(world.do(admin, "propose_admin", 1, full(size))) for size in (60, FULL)]
    dropped = world.rollup.transact("propose_admin", 2, b"x", sender=admin).events("AdminProposed")[0]["proposal"]
    cancelled = gas(world.do(admin, "cancel_admin", dropped))
    world.evm.warp(PARAMS.timelock_s)
    align(world)
    executed = [gas(world.do(admin, "execute_admin", 1, full(size))) for size in (FULL, 60)]
    offered = gas(world.do(admin, "offer_admin", world.trader))
    accepted = gas(world.do(world.trader, "accept_admin"))
    return [
        *rows,
        Row("Rollup", "propose_admin", *proposed, "1,023 bytes of message"),
        Row("Rollup", "execute_admin", *executed[::-1], f"1,023 bytes; {FOURTH}"),
        Row("Rollup", "cancel_admin", cancelled, cancelled, "costs always the same"),
        Row("Rollup", "offer_admin", offered, offered, "costs always the same"),
        Row("Rollup", "accept_admin", accepted, accepted, "costs always the same"),
    ]


def deposits() -> list[Row]:
    """The first deposit of all, and one in a rollup that lives."""
    account, owner, amount = 2**32 - 1, "0x" + full(20).hex(), 9_000_000 * USD + 1
    rows = []
    for function in ("deposit", "deposit_with_permit"):
        costs = []
        for first in (False, True):
            world = World(seated=False)
            permit: tuple[Any, ...] = ()
            if not first:
                for _ in range(2):
                    world.deposit()
            if function == "deposit_with_permit":
                world.token.transact("approve", world.rollup, 0, sender=world.trader)
                value = amount if first else 500 * USD
                permit = _permit(world.token, world.trader, world.rollup, value, "Anchorline Test USD")
            arguments = (account, owner, amount) if first else (0, world.trader, 500 * USD)
            costs.append(gas(world.do(world.trader, function, *arguments, *permit)))
        rows.append(Row("Rollup", function, *costs, FIRST))
    world = World()
    first_forced = gas(world.do(world.trader, "force", full(1_024)))
    world.do(world.trader, "force", full(100))
    typical = gas(world.do(world.trader, "force", full(100)))
    return [*rows, Row("Rollup", "force", typical, first_forced, "1,024 bytes, and nothing was ever burned")]


def seat() -> list[Row]:
    world = World(seated=False)
    first = gas(world.do(world.operator, "take_seat", BOND))
    world.post()
    left = gas(world.do(world.operator, "leave_seat"))
    again = gas(world.do(world.operator, "take_seat", 0))
    world.evm.warp(PARAMS.seat_idle_s + 1)
    evicted = gas(world.do(world.stranger, "evict"))
    world.do(world.operator, "take_seat", BOND)
    world.do(world.operator, "leave_seat")
    world.finalize_head()
    world.evm.warp(PARAMS.bond_delay_s)
    released = gas(world.do(world.operator, "release_bond"))
    world.do(world.operator, "take_seat", BOND)
    world.post()
    world.drop(2)
    rewarded = gas(world.do(world.prover, "claim_reward"))
    # paying an address whose balance was zero costs 17,100 more
    poor = _rewards_of_the_poor()
    return [
        Row("Rollup", "take_seat", again, first, FIRST),
        Row("Rollup", "leave_seat", left, left, "costs always the same"),
        Row("Rollup", "evict", evicted, evicted, "the first bond burned in part"),
        Row("Rollup", "release_bond", released, poor[0], "the owner's balance was zero"),
        Row("Rollup", "claim_reward", rewarded, poor[1], "the prover's balance was zero"),
    ]


def _rewards_of_the_poor() -> tuple[int, int]:
    world = World()
    for who in (world.operator, world.prover):
        world.token.transact("transfer", world.stranger, world.held(who), sender=who)
    world.post()
    world.do(world.operator, "leave_seat")
    world.finalize_head()
    world.evm.warp(PARAMS.bond_delay_s)
    released = gas(world.do(world.operator, "release_bond"))
    world.do(world.operator, "take_seat", BOND)
    world.token.transact("mint", world.operator, 0)
    world.post()
    world.drop(2)
    return released, gas(world.do(world.prover, "claim_reward"))


def batches() -> list[Row]:
    world = World()
    world.post()
    world.evm.warp(12)
    typical = gas(world.send(world.batch(chunks=(full(4_000), full(4_000, 2)))))
    waiting = len(world.messages)
    for _ in range(3):
        world.deposit()
    # leaves a message in the last quarter of the delay, so that the next batch halves it: two slots more
    world.evm.warp(PARAMS.force_delay_s - 10)
    world.send(world.batch(inbox_cursor=waiting))
    align(world)
    world.evm.warp(12)
    posted = _largest(world)
    worst = gas(world.send(posted))
    header = world.headers[1]
    world.evm.warp(PARAMS.challenge_window_s)
    first = gas(world.do(world.stranger, "finalize", header))
    later = gas(world.do(world.stranger, "finalize", world.head))
    return [
        Row("Rollup", "post_batch", typical, worst, "65,536 bytes in 256 chunks, no byte zero: calldata's floor"),
        Row("Rollup", "finalize", later, first, FIRST),
    ]


def _largest(world: World) -> PostBatch:
    size = BATCH_BYTES // CHUNKS
    chunks = tuple(full(size, i) for i in range(CHUNKS))
    batch = world.batch(chunks=chunks, roots=tuple(full(32, i) for i in range(CHUNKS)))
    assert sum(map(len, chunks)) == BATCH_BYTES and len(encode_post_batch(batch)) > BATCH_BYTES
    return replace(batch, globals=(batch.globals[0], *(int.from_bytes(full(32, i), "big") for i in range(5))))


def withdrawals() -> list[Row]:
    """Paid at the depth of 10**7 leaves to somebody who has tokens; at the deepest to a buyer who has none."""
    costs = []
    again = moved = 0
    poor = "0x" + full(20).hex()
    for depth, number in ((DEEP, 5), (PATH_MAX, 2**64 - 2)):
        world = World()
        world.deposit(3_000_000 * USD)
        owner: Actor = world.trader
        amount = 50 * USD if depth == DEEP else 2_999_999 * USD + 1
        header, proof = withdrawable(world, number, owner.address, amount, depth)
        world.evm.warp(PARAMS.challenge_window_s)
        if depth == PATH_MAX:
            moved = gas(world.do(owner, "transfer_claim", number, owner, amount, poor))
        else:
            world.do(owner, "transfer_claim", 6, owner, amount, world.prover)
            again = gas(world.do(world.prover, "transfer_claim", 6, owner, amount, owner))
            world.do(world.stranger, "finalize", header)
        costs.append(gas(world.do(owner, "withdraw", header, number, owner, amount, *proof)))
    return [
        Row("Rollup", "withdraw", *costs, "128 siblings; a sold claim, its owner's balance zero, nothing final before"),
        Row("Rollup", "transfer_claim", again, moved, "the claim's first transfer"),
    ]


def notices() -> list[Row]:
    """Three paid withdrawals of one word, and eight of eight words."""
    costs = []
    for ids in ((0, 1, 2), tuple(range(0, 8 * 2**56, 2**56))):
        world = World()
        world.deposit()
        leaves = {withdrawal_key(i): (int(world.trader.address, 16) << 64 | USD).to_bytes(32, "big") for i in ids}
        header = world.post(roots=(root_of(leaves),))
        world.evm.warp(PARAMS.challenge_window_s)
        for i in ids:
            world.do(world.trader, "withdraw", header, i, world.trader, USD, *proof_of(leaves, withdrawal_key(i)))
        align(world)
        if len(ids) < 8:
            world.do(world.trader, "force", b"x")
        costs.append(gas(world.do(world.stranger, "notify_paid", list(ids))))
    return [Row("Rollup", "notify_paid", *costs, f"eight ids far apart; {FOURTH}")]


def market() -> list[Row]:
    """A seller with money, and one without."""
    costs = []
    for first in (False, True):
        world = Sales()
        if first:
            world.token.transact("transfer", world.other, world.held(world.trader), sender=world.trader)
        costs.append(gas(world.buy(world.offer(buyer=bytes.fromhex(world.buyer.address[2:]) if first else NOBODY))))
    cancelled = gas(world.claim_market.transact("cancel", world.offer(price=1).as_tuple(), sender=world.trader))
    return [
        Row("ClaimMarket", "buy", *costs, "the seller's balance was zero; a named buyer"),
        Row("ClaimMarket", "cancel", cancelled, cancelled, "costs always the same"),
    ]


def withdrawable(
    world: World, number: int, owner: str, amount: int, depth: int
) -> tuple[BatchHeader, tuple[bytes, list[bytes]]]:
    """A batch under whose root a withdrawal stands this deep."""
    word = (int(owner, 16) << 64 | amount).to_bytes(32, "big")
    bits, siblings, root = path(withdrawal_key(number), keccak(word), depth)
    return world.post(roots=(root,)), (bits, siblings)


def token() -> list[Row]:
    world = World(seated=False)
    usd, rich, poor = world.token, world.trader, "0x" + full(20).hex()
    minted = gas(usd.transact("mint", rich, USD))
    first_mint = gas(world.evm.deploy("TestUSD").transact("mint", poor, USD))
    moved = gas(usd.transact("transfer", world.prover, 2**40, sender=rich))
    to_nobody = gas(usd.transact("transfer", poor, 2**40 + 2**20 + 257, sender=rich))
    again = gas(usd.transact("approve", world.rollup, 5, sender=rich))
    approved = gas(usd.transact("approve", world.prover, 2**256 - 1, sender=rich))
    usd.transact("approve", world.prover, 2**50, sender=rich)
    pulled = gas(usd.transact("transferFrom", rich, world.stranger, 2**40, sender=world.prover))
    other = "0x" + full(20, 2).hex()
    first_pull = gas(usd.transact("transferFrom", rich, other, 2**40 + 257, sender=world.prover))
    permits = []
    for value in (5 * USD, 6 * USD):
        deadline, v, r, s = _permit(usd, world.stranger, world.prover, value, "Anchorline Test USD")
        permits.append(gas(usd.transact("permit", world.stranger, world.prover, value, deadline, v, r, s)))
    return [
        Row("TestUSD", "mint", minted, first_mint, FIRST),
        Row("TestUSD", "transfer", moved, to_nobody, "the recipient's balance was zero"),
        Row("TestUSD", "transferFrom", pulled, first_pull, "the recipient's balance was zero"),
        Row("TestUSD", "approve", again, approved, "the first approval"),
        Row("TestUSD", "permit", permits[1], permits[0], "the first approval"),
    ]
