"""No legal chunk is too expensive to prove: work bounds the gas of the rules, proof bytes bound the rest, and both fit.

    gas <= BASE + CHUNK_WORK_MAX + RULES_BASE + DECODE_MAX + CHUNK_PROOF_MAX * gas per proof byte

`pytest -s tests/differential/test_gas_bound.py` prints what everything costs. `harness.Court.follow` asserts the first
half, rules gas <= work, for every chunk of every differential test.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from node.stf import encoding
from node.stf.params import (
    CHUNK_BYTES_MAX,
    CHUNK_PROOF_MAX,
    CHUNK_WORK_MAX,
    PAID_MAX,
    PROOF_BASE,
    PROOF_DENSE,
    PROOF_VISIT,
    PROOF_WORD,
)
from node.stf.types import FOK, PAID_NOTICE, Action, Status
from tests.conftest import PROFILE
from tests.contracts.test_witness import (
    CALLDATA_GAS,
    GAS_NEW,
    insert_gas,
    leaf_calldata,
    load_bound,
    verify_bound,
)
from tests.differential.chunks import DifferentialWorld
from tests.differential.gas import (
    DENSE_BITS,
    HALVES,
    MARKETS,
    PRICE,
    crowd,
    deepen,
    heavy,
    ladder,
    owe,
    publication,
    risky,
    sign_list,
    withdrawal,
)
from tests.differential.harness import DECODE_MAX, RULES_BASE, Court, Verdict
from tests.stf import messages
from tests.stf.orders import cancel_at, options, trigger
from tests.stf.world import buy, cancel, cancel_all, configure_market, message

TX_GAS_MAX = 16_777_216  # EIP-7825
FOUND_MAX = 12_000_000  # what the search below may find
STATIC_MAX = 12_000_000
CALLDATA_MAX = 110_000
# one closed subtree: 33 bytes of calldata, 34 proof bytes (tests/contracts/test_witness.py bounds its gas)
SUBTREE_GAS = GAS_NEW + 33 * CALLDATA_GAS
SUBTREE_PROOF = 34
ARGUMENTS_BYTES = 3_000  # headers, list proofs and ABI words around chunk, messages and witness
NEW_ACCOUNT = 3  # words: itself, its owner's key
BASE = 380_000  # a transaction, its memory at full size, headers, list proofs, the drop


def shown(name: str, verdict: Verdict) -> str:
    o = verdict.outcome
    return (
        f"{name:44} gas {verdict.gas:>10,}  rules {verdict.rules_gas:>9,}  work {o.work:>9,}  "
        f"{verdict.rules_gas / o.work:5.2f}  proof {o.proof:>7,}  calldata {verdict.calldata_bytes:>7,}  {o.reason}"
    )


@pytest.fixture
def world(court: Court) -> DifferentialWorld:
    return heavy(court)


def test_work_is_an_upper_bound_of_gas(world: DifferentialWorld) -> None:
    """Each kind at its most expensive; the court asserts rules gas <= work + base."""
    rows = {
        "a block": b"\x09\x01",
        "256 x no message": b"\x08" * 256,
        "100 x nothing pending": b"\x02\x00" * 100,
        "4 prices, 8 publishers": publication(world, 0, HALVES[0]),
        "5 withdrawals, eight positions": b"".join(withdrawal(world, 1) for _ in range(5)),
        "32 unknown markets": sign_list(world, 1, [cancel_all(40)] * 32),
        "20 orders, refused": sign_list(world, 1, [buy(0, PRICE - 9_000, 900_000)] * 20),
        "20 orders, resting": sign_list(world, 1, [buy(0, PRICE - 9_000 - i, 10, 2**31 + i) for i in range(20)]),
        "8 orders in 3 markets": sign_list(world, 1, [buy(MARKETS[i % 3], PRICE - 9_000, 10) for i in range(8)]),
        "a liquidation, refused": encoding.write_liquidate(1, 0) * 10,
    }
    for name, chunk in rows.items():
        print(shown(name, world.judge(chunk)))
    ladder(world)
    takers: dict[str, list[Action]] = {
        "16 fills": [buy(0, PRICE + 100, 320)],
        "16 fills, one by one": [buy(0, PRICE + 100, 10)] * 16,
        "16 orders that must wait": [buy(0, PRICE + 100, 330), *[buy(0, PRICE + 100, 330)] * 15],
    }
    for name, listed in takers.items():
        print(shown(name, world.judge(sign_list(world, 17, listed))))
    for number in range(16):
        world.actions(number + 1, cancel_all(0))
    world.cut()
    print(shown("16 dead orders", world.judge(sign_list(world, 17, [buy(0, PRICE + 100, 320)]))))


def test_work_bounds_gas_with_every_feature_on(world: DifferentialWorld) -> None:
    """Add-on, haircuts of stale markets, basis samples, cancel times: what makes checks dearer."""
    ladder(world)
    risky(world)
    stop = trigger(0, 1, 0, PRICE - 500, 10, 7)
    rows = {
        "4 prices after long": publication(world, 0, HALVES[0]),
        "20 orders, resting": sign_list(world, 1, [buy(0, PRICE - 900 - i, 10, 2**31 + i) for i in range(20)]),
        "20 triggers": sign_list(world, 2, [stop] * 20),
        "32 dead man's switches": sign_list(world, 3, [cancel_at(world.time + 10**6)] * 32),
        "32 options": sign_list(world, 4, [options(1)] * 32),
        "16 fills": sign_list(world, 17, [buy(0, PRICE + 100, 320)]),
        "16 fills, one by one": sign_list(world, 17, [buy(0, PRICE + 100, 10)] * 16),
        "fill or kill": sign_list(world, 17, [replace(buy(0, PRICE + 100, 160), tif=FOK)]),
        "an empty sweep": encoding.write_sweep(0, 1) * 10,
        "no trigger reached": encoding.write_trigger_fire(0, 1) * 10,
        "not settling": encoding.write_settle(1, 0) * 10,
        "a liquidation, refused": encoding.write_liquidate(1, 0) * 10,
    }
    for name, chunk in rows.items():
        verdict = world.judge(chunk)
        print(shown(name, verdict))
        assert not verdict.invalid or "no room" in verdict.outcome.reason, name


def test_messages_cost_no_more_than_their_work(world: DifferentialWorld) -> None:
    forced = world.sign_actions(17, (buy(0, PRICE - 9_000, 10),) * 4, base=0)
    kinds: dict[str, tuple[int, bytes]] = {
        "deposit that opens": (1, bytes(4) + b"\x01" * 20 + (10**6).to_bytes(8, "big")),
        "garbage": (77, b"\xff" * 1_024),
        "anchor": (4, bytes(16)),
        "market": (6, configure_market(0)),
        "new market": (6, configure_market(30)),
        "publisher": (6, b"\x02" + bytes(3) + b"\x01" * 20),
        "forced garbage": (2, b"\x01" + b"\x81" * 1_000),
        "forced orders": (2, forced),
    }
    for name, (kind, payload) in kinds.items():
        world.inbox.append(message(kind, payload, world.time // 1000))
        print(shown(name, world.judge(encoding.INBOX_TX)))
        world.run(encoding.INBOX_TX)
        world.cut()
    for count in (10, 40):
        for _ in range(count):
            world.inbox.append(message(1, bytes(4) + b"\x01" * 20 + (10**6).to_bytes(8, "big"), world.time // 1000))
        print(shown(f"{count} deposits", world.judge(encoding.INBOX_TX * count)))


def test_notices_of_paid_withdrawals_cost_no_more_than_their_work(world: DifferentialWorld) -> None:
    """Eight ids spread over 10**7: leaves that are there, leaves that are gone, and as many messages as fit a chunk."""
    many = 13 * PAID_MAX  # more than fit a chunk
    spread = [0x9E3779B1 * (number + 1) % (1 << DENSE_BITS) for number in range(2 * (many + PAID_MAX))]
    assert len(set(spread)) == len(spread)
    there, gone = spread[::2], spread[1::2]
    owe(world, there, gone)
    rows = {"8 paid, there": there[:PAID_MAX], "8 paid, gone": gone[:PAID_MAX],
            "full of notices, there": there[PAID_MAX:], "full of notices, gone": gone[PAID_MAX:]}
    for name, ids in rows.items():
        for at in range(0, len(ids), PAID_MAX):
            world.inbox.append(message(PAID_NOTICE, messages.paid(*ids[at : at + PAID_MAX]), world.time // 1000))
        count = len(ids) // PAID_MAX
        while (verdict := world.judge(encoding.INBOX_TX * count)).invalid:
            count -= 1
        print(shown(f"{name}: {count}", verdict))
        assert count == 1 or count * PAID_MAX < len(ids), "the chunk is full"
        assert {receipt.status for receipt in verdict.outcome.receipts} == {Status.OK}
        assert verdict.calldata_bytes <= verdict.outcome.proof + ARGUMENTS_BYTES and verdict.gas <= FOUND_MAX
        for _ in range(0, len(ids), PAID_MAX):
            world.run(encoding.INBOX_TX)
        world.cut()


def test_the_worst_chunk_of_all_fits_a_transaction() -> None:
    gas = BASE + CHUNK_WORK_MAX + RULES_BASE + DECODE_MAX + CHUNK_PROOF_MAX * SUBTREE_GAS // SUBTREE_PROOF
    print(f"static bound: {gas:,} gas, {CHUNK_PROOF_MAX + ARGUMENTS_BYTES:,} bytes of calldata")
    assert gas <= STATIC_MAX < TX_GAS_MAX
    assert CHUNK_PROOF_MAX + ARGUMENTS_BYTES <= CALLDATA_MAX


def leaf_total(words: int) -> int:
    return load_bound(words) + verify_bound(words) + CALLDATA_GAS * leaf_calldata(words)


def test_a_closed_subtree_is_the_dearest_element_per_proof_byte() -> None:
    """So the static bound may charge every proof byte as if it were of a closed subtree."""
    rate = SUBTREE_GAS / SUBTREE_PROOF
    rows = {
        "an order at the book's edge": (leaf_total(1), PROOF_VISIT),
        "a leaf of 40 words, without its path": (leaf_total(40), PROOF_DENSE - 24 * SUBTREE_PROOF + 40 * PROOF_WORD),
    }
    # the first new account and the first new withdrawal also open their neighbours: the chunk's base pays for both
    for count in (1, 2, 12):
        gas = insert_gas(count, NEW_ACCOUNT, 40) + insert_gas(count, 1, 1)
        rows[f"{count} new accounts, {count} withdrawals"] = (gas, PROOF_BASE + 2 * count * PROOF_DENSE)
    for name, (gas, proof) in rows.items():
        print(f"{name:40} gas {gas:>9,}  proof {proof:>7,}  gas per byte {gas / proof:5.1f} of {rate:5.1f}")
        assert gas * SUBTREE_PROOF <= SUBTREE_GAS * proof, name


def fill(world: DifferentialWorld, rnd: random.Random, cancels: list[Action]) -> bytes:
    """A chunk as full as a random mix gets it: the last transaction that still fits stays."""
    pieces: list[Callable[[], bytes]] = [
        lambda: sign_list(world, rnd.randrange(1, 17), [buy(0, PRICE - 9_000, 900_000)] * rnd.randrange(1, 21)),
        lambda: sign_list(world, rnd.randrange(1, 17), rnd.sample(cancels, rnd.randrange(1, 21))),
        lambda: sign_list(world, 17, [buy(0, PRICE + 100, 10)] * rnd.randrange(1, 17)),
        lambda: sign_list(world, 18, [cancel(m, 1, rnd.getrandbits(31), rnd.getrandbits(30)) for m in MARKETS]),
        lambda: publication(world, 0, rnd.choice(HALVES)),
        lambda: withdrawal(world, rnd.randrange(1, 17)),
        lambda: encoding.write_liquidate(rnd.randrange(1, 17), rnd.choice(MARKETS)),
    ]
    weights = [rnd.random() ** 2 for _ in pieces]
    chunk = b""
    misses = 0
    while misses < 6:
        piece = rnd.choices(pieces, weights)[0]()
        if len(chunk) + len(piece) > CHUNK_BYTES_MAX or world.judge(chunk + piece).invalid:
            misses += 1
            continue
        chunk += piece
    return chunk


def test_a_search_for_expensive_chunks_finds_none_too_expensive(world: DifferentialWorld) -> None:
    """Among 10**7 leaves: deep orders, eight-position makers, long lists, mixed at random until a chunk is full."""
    ladder(world)
    crowd(world)
    cancels = deepen(world, 44)
    rnd = random.Random(20_26)
    found: list[Verdict] = []
    for _ in range(60 if PROFILE == "long" else 6):
        chunk = fill(world, rnd, cancels)
        found.append(world.judge(chunk))
    for verdict in sorted(found, key=lambda v: -v.gas)[:3]:
        print(shown("among the most expensive", verdict))
    print(shown("16 fills", world.judge(sign_list(world, 17, [buy(0, PRICE + 100, 320)]))))
    for number in (20, 43):
        chunk = sign_list(world, 1, cancels[: number // 2]) + sign_list(world, 2, cancels[number // 2 : number])
        print(shown(f"{number} deep cancels", world.judge(chunk)))
    worst = max(world.verdicts, key=lambda v: v.gas)
    largest = max(world.verdicts, key=lambda v: v.calldata_bytes)
    print(shown("the worst of all", worst))
    assert worst.gas <= FOUND_MAX
    assert largest.calldata_bytes <= CALLDATA_MAX
    assert all(v.calldata_bytes <= v.outcome.proof + ARGUMENTS_BYTES for v in world.verdicts if not v.invalid)
