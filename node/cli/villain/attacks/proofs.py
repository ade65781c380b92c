"""Fraud proofs: raced, starved, copied, mixed, invented.

A wrong batch falls whoever proves it and whatever is thrown at the proof; an honest one stands whatever it is accused
of. An accusation costs its sender gas, and there is no bond in it for anybody to take.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

import trio

from node.cli.villain.catalogue import BOND, DEV, SCENE, TENTH, TRADING, attack
from node.cli.villain.evmcode import FORWARDER, Call, contract, forward, script
from node.cli.villain.field import Field
from node.cli.villain.l1 import Actor
from node.cli.villain.operator import Posted
from node.l1.bindings import PostBatch, encode_post_batch
from prover.proof import Proof, accuse

POLL_S: Final = 0.02
POOL_S: Final = 30.0
TIP: Final = 50 * 10**9
MUTATIONS: Final = 80
PROOF_GAS: Final = 4_000_000


async def wrong_batch_in_the_open(field: Field, kind: str = "undebited-withdrawal") -> Posted:
    """Post a wrong batch on an L1 that is held, so that every proof is seen in the mempool before it is mined."""
    draft = await field.trade()
    wrong = await field.operator.corrupt(kind, draft)
    data = encode_post_batch(wrong)
    sent = await field.l1.publish(field.operator.actor, field.rollup, data, gas=8_000_000)
    await field.l1.mine()
    return await field.operator.posted(wrong, draft, await field.l1.mined(sent))


async def honest_proof_waits(field: Field, transactions: int) -> None:
    """Until the mempool holds so many transactions: ours and the watchtower's."""
    with trio.move_on_after(POOL_S):
        while int((await field.l1.client.rpc("txpool_status"))["pending"], 16) < transactions:
            await trio.sleep(POLL_S)
        return
    field.check(False, "no watchtower has answered with a proof")


@attack("proofs", "Copy a watchtower's proof out of the mempool and pay more, to take its reward.", needs={SCENE, DEV},
        loses={"operator": BOND}, gains={"rival": TENTH})
async def proof_front_run(field: Field) -> str:
    rival = await field.actor("rival")
    async with field.l1.held():
        posted = await wrong_batch_in_the_open(field)
        await honest_proof_waits(field, 1)
        copy = field.operator.proof(posted).calldata
        await field.l1.publish(rival, field.courts["FraudVerifier"], copy, gas=PROOF_GAS, tip=TIP)
        await field.l1.mine(2)
    await field.fallen(posted)
    field.check(await field.ask("reward_of", rival.address) > 0, "the copy was to be first")
    return "the batch falls all the same; the watchtower loses the gas of a reverted transaction"


@attack("proofs", "Prove one's own fraud before the watchtower does, to get a part of the bond back.",
        needs={SCENE, DEV}, loses={"operator": BOND}, gains={"accomplice": TENTH})
async def operator_proves_himself(field: Field) -> str:
    accomplice = await field.actor("accomplice")
    async with field.l1.held():
        posted = await wrong_batch_in_the_open(field, "credit-from-nothing")
        await honest_proof_waits(field, 1)
        own = field.operator.proof(posted).calldata
        await field.l1.publish(accomplice, field.courts["FraudVerifier"], own, gas=PROOF_GAS, tip=TIP)
        await field.l1.mine(2)
    await field.fallen(posted)
    await field.l1.must(accomplice, field.rollup, field.call("claim_reward"))
    return "a tenth comes back, nine tenths do not"


@attack("proofs", "Send the right proof with too little gas through a contract, again and again, hoping for a verdict.",
        needs={SCENE, DEV}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1)
async def starved_proof(field: Field) -> str:
    mallory = await field.actor("mallory")
    proxy = await field.l1.deploy(mallory, contract(FORWARDER))
    court = field.courts["FraudVerifier"]
    async with field.l1.held():
        posted = await wrong_batch_in_the_open(field)
        await honest_proof_waits(field, 1)
        data = field.operator.proof(posted).calldata
        for part in (1, 2, 3, 4):
            starved = forward(court, data, gas=part * 100_000)
            await field.l1.publish(mallory, proxy, starved, gas=PROOF_GAS, tip=TIP)
        await field.l1.mine(4)
    await field.fallen(posted)
    return "each attempt reverts whole"


@attack("proofs", "Accuse every chunk of an honest batch, with perfect witnesses.", needs={SCENE}, apart=TRADING)
async def accusing_the_honest(field: Field) -> str:
    mallory = await field.actor("mallory")
    _draft, posted = await field.honest()
    for index in range(len(posted.batch.chunks)):
        data = accusation(field, posted, index).calldata
        await field.refused(mallory, data, "NO_FRAUD", to=field.courts["FraudVerifier"])
    await field.stands(posted)
    return f"{len(posted.batch.chunks)} accusations, each costs its sender the gas of a proof"


@attack("proofs", "Accuse an honest batch with bent witnesses, wrong roots and shuffled calldata.", needs={SCENE},
        apart=TRADING)
async def bent_witnesses(field: Field) -> str:
    mallory = await field.actor("mallory")
    _draft, posted = await field.honest()
    rng = random.Random(7)
    answers: dict[str, int] = {}
    proofs = [accusation(field, posted, index).calldata for index in range(len(posted.batch.chunks))]
    for _ in range(MUTATIONS):
        data = bent(rng, rng.choice(proofs), rng.choice(proofs))
        said = await field.l1.refused(mallory, field.courts["FraudVerifier"], data)
        field.check(bool(said), "L1 would accept a false accusation")
        answers[said.split(":")[0]] = answers.get(said.split(":")[0], 0) + 1
    for _ in range(2):
        await field.l1.must_fail(mallory, field.courts["FraudVerifier"], bent(rng, proofs[0], proofs[1]))
    await field.stands(posted)
    return f"{MUTATIONS} refused for {len(answers)} reasons"


def bent(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Calldata with a few bytes changed, words moved, or a part of another proof's in it."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(4, len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            size = rng.randint(1, 64)
            out[at : at + size] = other[at : at + size].ljust(min(size, len(out) - at), b"\0")
        elif kind == 2:
            word = 4 + 32 * rng.randrange((len(out) - 4) // 32)
            out[word : word + 32] = bytes(32) if rng.random() < 0.5 else b"\xff" * 32
        else:
            out[at : at + 32] = out[at : at + 32][::-1]
    return bytes(out) if bytes(out) != data else data[:-1]


@attack("proofs", "Accuse an honest batch with every amount of gas, so that execution stops where it suits.",
        needs={SCENE}, apart=TRADING)
async def starved_accusation(field: Field) -> str:
    mallory = await field.actor("mallory")
    proxy = await field.l1.deploy(mallory, contract(FORWARDER))
    _draft, posted = await field.honest()
    court = field.courts["FraudVerifier"]
    data = accusation(field, posted, 1).calldata
    for gas in range(20_000, 900_000, 20_000):
        said = await field.l1.refused(mallory, proxy, forward(court, data, gas=gas))
        field.check(bool(said), f"an honest batch falls with {gas:,} gas")
    await field.l1.must_fail(mallory, proxy, forward(court, data, gas=300_000))
    await field.stands(posted)
    return "45 gas limits, nothing but reverts"


@attack("proofs", "Show the proof of a batch that fell once more, and against the honest batch in its place.",
        needs={SCENE}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1, apart=TRADING)
async def proof_shown_again(field: Field) -> str:
    mallory = await field.actor("mallory")
    draft = await field.trade()
    honest = draft.batch()
    posted = await field.operator.post(replace(honest, roots=(*honest.roots[:-1], b"\x17" * 32)), draft)
    data = field.operator.proof(posted).calldata
    await field.fallen(posted)
    court = field.courts["FraudVerifier"]
    await field.refused(mallory, data, "HEADER", to=court)
    await field.take_seat("operator")
    again = await rebuilt(field, honest)
    await field.refused(mallory, data, "HEADER", to=court)
    await field.stands(again)
    return "a proof names one header"


@attack("proofs", "After a true proof, accuse an honest batch in the same L1 transaction, amid what the first one left "
        "behind.", needs={SCENE, DEV}, loses={"operator": BOND}, gains={"watchtower": TENTH}, apart=TRADING)
async def two_accusations_in_one_transaction(field: Field) -> str:
    mallory = await field.actor("mallory")
    _draft, right = await field.honest()
    await field.operator.sync()
    accusations = [accusation(field, right, index).calldata for index in range(len(right.batch.chunks))]
    court = field.courts["FraudVerifier"]
    async with field.l1.held():
        wrong = await wrong_batch_in_the_open(field, "wrong-root-first")
        await honest_proof_waits(field, 1)
        true = Call(court, field.operator.proof(wrong).calldata)
        calls = [true, *(Call(court, data, must=False) for data in accusations), *(Call(court, true.data, must=False),)]
        both = await field.l1.publish(mallory, b"", script(calls), gas=15_000_000, tip=TIP)
        await field.l1.mine(3)
    field.check((await field.l1.mined(both)).success, "the first proof was true")
    await field.fallen(wrong)
    await field.stands(right)
    return "each accusation has its own namespace"


@attack("proofs", "Accuse a batch after its window.", needs={SCENE}, apart=TRADING,
        time_s=lambda terms: terms.challenge_window_s)
async def accusation_after_the_window(field: Field) -> str:
    mallory = await field.actor("mallory")
    _draft, posted = await field.honest()
    data = accusation(field, posted, 0).calldata
    await field.l1.pass_time(field.terms.challenge_window_s + 1)
    said, _receipt = await field.l1.must_fail(mallory, field.courts["FraudVerifier"], data)
    field.check(said.split(":")[0] in ("FINAL", "NO_FRAUD"), f"L1 answered {said!r}")
    return said


def accusation(field: Field, posted: Posted, index: int) -> Proof:
    """What shows a chunk to L1, with a witness that is right."""
    return accuse(field.operator.evidence(posted), index)


async def rebuilt(field: Field, honest: PostBatch, actor: Actor | None = None) -> Posted:
    """The honest twin of a batch that fell, on the same parent. What L1 added to the inbox since changes nothing."""
    draft = await field.operator.draft()
    return await field.operator.post(honest, draft, actor=actor)
