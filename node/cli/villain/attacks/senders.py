"""Batches by senders who must not send them, batches sent again, and batches on top of wrong ones.

Watchers read chunks from the input of the transaction that posts them. So only a plain account in the seat may post:
no contract, none under construction, no account with code by EIP-7702.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import rlp
from eth_hash.auto import keccak

from node.cli.villain.attacks.batches import ANY_ROOT, raw
from node.cli.villain.catalogue import BOND, DEV, SCENE, TENTH, TRADING, Amount, attack
from node.cli.villain.draft import Draft
from node.cli.villain.evmcode import FORWARDER, Call, contract, forward, script
from node.cli.villain.field import USD, Field
from node.cli.villain.l1 import Actor, call_data
from node.cli.villain.operator import Posted
from node.l1.bindings import PostBatch, decode_post_batch, encode_post_batch, header_of
from node.stf import encoding
from node.stf.commitments import BatchHeader, globals_tuple, header_hash, pack_position, unpack_position

POST_GAS: Final = 3_000_000  # four such transactions have room in a block
TIP: Final = 9 * 10**9
TWO_BONDS: Final = Amount("two bonds", lambda terms: 2 * terms.bond)
TWO_TENTHS: Final = Amount("two tenths of a bond", lambda terms: 2 * (terms.bond // 10))


@attack("senders", "Post an honest batch without holding the seat.", needs={SCENE})
async def post_without_the_seat(field: Field) -> str:
    thief = await field.actor("thief")
    draft = await field.trade()
    return await field.refused(thief, raw(draft.batch()), "NOT_SEAT")


async def leave(field: Field) -> None:
    """The operator gets up; its bond stays where it is."""
    await field.l1.must(field.operator.actor, field.rollup, field.call("leave_seat"))


def _bonded(field: Field, address: bytes) -> list[Call]:
    """What a contract does to sit down."""
    return [Call(field.token, call_data("approve(address,uint256)", field.rollup, field.terms.bond)),
            Call(field.rollup, field.call("take_seat", field.terms.bond))]


@attack("senders", "Withhold the bytes: a contract takes the seat and posts, so that no transaction's input shows the "
        "batch.", needs={SCENE, DEV}, time_s=lambda terms: terms.challenge_window_s + terms.bond_delay_s)
async def batch_through_a_contract(field: Field) -> str:
    mallory = await field.actor("mallory", usd=field.terms.bond // USD)
    await leave(field)
    proxy = await field.l1.deploy(mallory, contract(FORWARDER))
    await field.l1.must(mallory, field.token, call_data("transfer(address,uint256)", proxy, field.terms.bond))
    for call in _bonded(field, proxy):
        await field.l1.must(mallory, proxy, forward(call.to, call.data))
    draft = await field.trade()
    said = await field.refused(mallory, forward(field.rollup, raw(draft.batch())), "POSTER", to=proxy)
    await _home_again(field, mallory, proxy)
    return said


async def _home_again(field: Field, mallory: Actor, proxy: bytes) -> None:
    """The contract's bond is released as anybody's is, and goes back to who paid it."""
    await field.l1.must(mallory, proxy, forward(field.rollup, field.call("leave_seat")))
    await field.l1.pass_time(field.terms.challenge_window_s + field.terms.bond_delay_s + 1)
    await field.l1.must(mallory, field.rollup, field.call("finalize", field.operator.head))
    await field.l1.must(mallory, proxy, forward(field.rollup, field.call("release_bond")))
    await field.l1.must(mallory, proxy, forward(
        field.token, call_data("transfer(address,uint256)", mallory.address, field.terms.bond)))


@attack("senders", "Post from a constructor, at whose address there is no code yet.", needs={SCENE})
async def batch_from_a_constructor(field: Field) -> str:
    mallory = await field.actor("mallory", usd=field.terms.bond // USD)
    await leave(field)
    proxy = created_by(mallory.address, await field.l1.client.nonce(mallory.address) + 1)
    await field.l1.must(mallory, field.token, call_data("approve(address,uint256)", proxy, field.terms.bond))
    draft = await field.trade()
    pull = Call(field.token, call_data(
        "transferFrom(address,address,uint256)", mallory.address, proxy, field.terms.bond))
    code = script([pull, *_bonded(field, proxy), Call(field.rollup, raw(draft.batch()))])
    said, _receipt = await field.l1.must_fail(mallory, b"", code)
    field.check(said.startswith("POSTER"), f"L1 answered {said!r}")
    field.check(not any(await field.ask("seat_holder")), "a constructor that failed sits in the seat")
    return said


def created_by(sender: bytes, nonce: int) -> bytes:
    """Address of the contract that a transaction with this nonce creates."""
    return keccak(rlp.encode([sender, nonce]))[12:]


@attack("senders", "Give the seat's account code by EIP-7702 and post from it.", needs={SCENE, DEV}, apart=TRADING)
async def batch_from_an_eip7702_account(field: Field) -> str:
    operator = field.operator.actor
    helper = await field.actor("mallory")
    code = await field.l1.deploy(helper, contract(FORWARDER))
    await delegate(field, operator, code, helper)
    field.check(bool(await field.l1.client.code(operator.address)), "this L1 does not delegate accounts")
    draft = await field.trade()
    said = await field.refused(operator, raw(draft.batch()), "POSTER")
    await delegate(field, operator, bytes(20), helper)
    posted = await field.operator.post(draft.batch(), draft)
    await field.stands(posted)
    return said


async def delegate(field: Field, actor: Actor, code: bytes, peer: Actor) -> None:
    """EIP-7702: the account's code is that of a contract (address zero: none) from now on."""
    nonce = await field.l1.client.nonce(actor.address) + 1  # it pays for its own authorization
    signature = actor.signer.sign_hash(keccak(b"\x05" + rlp.encode([field.l1.chain_id, code, nonce])))
    authorization = {
        "chainId": field.l1.chain_id, "address": code, "nonce": nonce, "yParity": signature[64],
        "r": int.from_bytes(signature[:32], "big"), "s": int.from_bytes(signature[32:64], "big")}
    await field.l1.must(actor, peer.address, gas=100_000, type=4, authorizationList=[authorization])


# --- again ------------------------------------------------------------------------------------------------------------


@attack("senders", "Post the same honest batch twice.", needs={SCENE}, apart=TRADING)
async def batch_posted_twice(field: Field) -> str:
    _draft, posted = await field.honest()
    said = await field.refused(field.operator.actor, encode_post_batch(posted.batch), "PARENT")
    await field.stands(posted)
    return said


@attack("senders", "Post a disproved batch again with a new bond, byte for byte.", needs={SCENE},
        loses={"operator": TWO_BONDS}, gains={"watchtower": TWO_TENTHS}, proofs=2)
async def wrong_batch_posted_again(field: Field) -> str:
    draft = await field.trade()
    wrong = await field.operator.corrupt("credit-from-nothing", draft)
    first = await field.operator.post(wrong, draft)
    await field.fallen(first)
    await field.take_seat()
    second = await field.operator.post(wrong, draft)
    drop = await field.fallen(second)
    return f"the second time with {drop.gas_used:,} gas"


@attack("senders", "Build a second batch on a wrong one.", needs={SCENE, DEV}, loses={"operator": BOND},
        gains={"watchtower": TENTH}, proofs=1)
async def child_of_a_wrong_batch(field: Field) -> str:
    operator = field.operator.actor
    draft = await field.trade()
    wrong = await field.operator.corrupt("undebited-withdrawal", draft)
    async with field.l1.held():
        header = await _next_block(field, draft, wrong)
        parent = await field.l1.publish(operator, field.rollup, encode_post_batch(wrong), gas=POST_GAS)
        child = await field.l1.publish(operator, field.rollup, encode_post_batch(_child_of(header)), gas=POST_GAS)
        await field.l1.mine()
    posted = await _both(field, wrong, draft, header, parent, child)
    await field.fallen(posted)
    field.check(await field.ask("head_number") == posted.number - 1, "the child of a dropped batch survived")
    return "both fell by one proof"


async def _next_block(field: Field, draft: Draft, batch: PostBatch) -> BatchHeader:
    """Fix the next block's time; the header that the batch will have in it. So its child can be in the same block,
    before any watchtower has seen the parent."""
    now = max((await field.l1.client.head()).timestamp, draft.l1_time_s) + 10
    await field.l1.set_next_time(now)
    return header_of(decode_post_batch(encode_post_batch(batch)), now, field.operator.actor.address)


async def _both(field: Field, wrong: PostBatch, draft: Draft, header: BatchHeader, parent: bytes, child: bytes
                ) -> Posted:
    """The record of the parent; its child stands on it."""
    posted = await field.operator.posted(wrong, draft, await field.l1.mined(parent))
    field.check(posted.receipt.success and posted.header == header, "the wrong batch was not posted as it was to be")
    field.check((await field.l1.mined(child)).success, "no child was built on the wrong batch")
    return posted


def _child_of(parent: BatchHeader) -> PostBatch:
    """Some block on top of a batch, with any root."""
    place = unpack_position(parent.globals[0])
    after = replace(place, l2_time_ms=place.l2_time_ms + 1, block_number=place.block_number + 1,
                    tx_position=place.tx_position + 1)
    return PostBatch(
        parent.number + 1, header_hash(parent), parent.inbox_cursor, parent.inbox_hash,
        globals_tuple([pack_position(after), *parent.globals[1:]]), (encoding.write_block(1),), (ANY_ROOT,))


@attack("senders", "Leave the seat right after a wrong batch, so that an innocent successor builds on it.",
        needs={SCENE, DEV}, loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1)
async def innocent_successor(field: Field) -> str:
    heir = await field.actor("heir", usd=field.terms.bond // USD)
    draft = await field.trade()
    wrong = await field.operator.corrupt("credit-from-nothing", draft)
    operator, take_seat = field.operator.actor, field.call("take_seat", field.terms.bond)
    async with field.l1.held():
        header = await _next_block(field, draft, wrong)
        first = await field.l1.publish(operator, field.rollup, encode_post_batch(wrong), gas=POST_GAS, tip=TIP)
        await field.l1.publish(operator, field.rollup, field.call("leave_seat"), gas=POST_GAS, tip=TIP)
        await field.l1.publish(heir, field.rollup, take_seat, gas=POST_GAS)
        built = await field.l1.publish(heir, field.rollup, encode_post_batch(_child_of(header)), gas=POST_GAS)
        await field.l1.mine()
    posted = await _both(field, wrong, draft, header, first, built)
    await field.fallen(posted)
    field.check((await field.ask("bond_of", heir.address))[0] == field.terms.bond, "the successor's bond was touched")
    field.check(await field.ask("head_number") == posted.number - 1, "the successor's batch survived")
    return "the successor loses its batch and the seat, not the bond"
