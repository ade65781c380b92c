"""Every villain of the devnet, with L1 reorganising under him: what was proven is proven again, whatever L1 forgets.

    strike with reorgs    posted → proven → the proof is reorganised away → proven again → posting and proof are
                          reorganised away, the posting comes back at another time → proven a third time

Only the last proof and the last posting are on the chain in the end, and they are what is counted. Depths go from 1 to
64, another one for every kind.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from node.cli.villain.attacks.devnet import post_wrong
from node.cli.villain.catalogue import BOND, DEV, SCENE, TENTH, TRADING, attack
from node.cli.villain.field import Field
from node.cli.villain.operator import Posted
from node.l1.bindings import encode_post_batch
from node.l1.types import L1Receipt
from node.stf.commitments import unpack_position
from sequencer.villains import KINDS

DEPTHS: Final = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64)


async def deepen(field: Field, receipt: L1Receipt, depth: int) -> None:
    """Mine until a reorganisation must replace ``depth`` blocks (or more) to take this transaction away."""
    missing = depth - ((await field.l1.client.head()).number - receipt.block_number + 1)
    if missing > 0:
        await field.l1.mine(missing)


async def strike(field: Field, *, kind: str, depth: int) -> str:
    """Post, fall, fall again without the first proof, fall again at another time."""
    posted = await post_wrong(field, kind)
    first = await field.fallen(posted)
    proof_depth, _none = await field.l1.take_back(first)
    second = await field.fallen(posted)
    await deepen(field, posted.receipt, depth)
    deepest, (again,) = await field.l1.take_back(posted.receipt, keep=[posted.receipt.tx_hash])
    field.check(again.success, "the wrong batch was refused when it came back")
    third = await field.fallen(await reposted(field, posted, again))
    field.check(await field.ask("bond_of", field.operator.actor.address) == (0, 0, 0), "the bond was not slashed whole")
    return f"proofs reorganised away {proof_depth} and {deepest} deep; {second.gas_used:,} and {third.gas_used:,} gas"


async def reposted(field: Field, posted: Posted, receipt: L1Receipt) -> Posted:
    """The record of the same transaction in another block."""
    block = await field.l1.client.block(receipt.block_number)
    assert block is not None, "a mined transaction's block"
    return replace(posted, header=replace(posted.header, posted_at=block.timestamp), receipt=receipt)


for _kind, _depth in zip(KINDS, DEPTHS, strict=True):
    attack("reorgs", f"{_kind}, while L1 takes back the proof, then posting and proof (at least {_depth} deep).",
           name=f"{_kind}-with-reorgs", needs={SCENE, DEV}, loses={"operator": BOND}, gains={"watchtower": TENTH},
           proofs=1)(partial(strike, kind=_kind, depth=_depth))


@attack("reorgs", "Post a wrong batch that L1 takes back for good: there is nothing left to prove, and nothing lost.",
        needs={SCENE, DEV}, apart=TRADING)
async def wrong_batch_reorged_for_good(field: Field) -> str:
    posted = await post_wrong(field, "credit-from-nothing")
    drop = await field.fallen(posted)
    depth, _none = await field.l1.take_back(posted.receipt)
    bond = (await field.ask("bond_of", field.operator.actor.address))[0]
    field.check(bond == field.terms.bond, "the bond was slashed for a batch that L1 does not have")
    _draft, honest = await field.honest()
    await field.stands(honest)
    return f"bond and seat are back, {depth} blocks later; the proof had cost {drop.gas_used:,} gas"


@attack("reorgs", "Reorganise an honest batch away and bring it back later: it stays honest.", needs={SCENE, DEV},
        apart=TRADING)
async def honest_batch_reorged(field: Field) -> str:
    _draft, posted = await field.honest()
    await deepen(field, posted.receipt, 64)
    depth, (again,) = await field.l1.take_back(posted.receipt, keep=[posted.receipt.tx_hash])
    field.check(again.success, "an honest batch was refused when it came back")
    await field.stands(await reposted(field, posted, again))
    return f"{depth} deep"


@attack("reorgs", "Take away, by a reorganisation, the deposit that an honest batch has consumed, and bring the batch "
        "back: posting refuses it, so that it cannot become a provable fraud.", needs={SCENE, DEV}, apart=TRADING)
async def inbox_reorged_under_an_honest_batch(field: Field) -> str:
    alice = field.traders["alice"].actor
    await field.actor("alice", usd=100)
    deposit = await field.l1.must(
        alice, field.rollup, field.call("deposit", field.traders["alice"].account, alice.address, 100_000_000))
    _draft, posted = await field.honest(leave=0)
    _depth, (again,) = await field.l1.take_back(deposit, keep=[posted.receipt.tx_hash])
    field.check(not again.success, "a batch was taken whose inbox L1 does not have")
    await field.l1.reach(unpack_position(posted.header.globals[0]).l2_time_ms // 1_000 + 1)
    said = await field.l1.refused(field.operator.actor, field.rollup, encode_post_batch(posted.batch))
    field.check(said.split(":")[0] in ("INBOX_HASH", "INBOX_CURSOR"), f"L1 answered {said!r}")
    bond = (await field.ask("bond_of", field.operator.actor.address))[0]
    field.check(bond == field.terms.bond, "an honest bond was touched")
    _draft, honest = await field.honest()
    await field.stands(honest)
    return said
