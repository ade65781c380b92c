"""Batches that L1 must refuse, or whose bytes nobody could watch: who pays for the attempt, and L1's reason."""

from __future__ import annotations

from dataclasses import replace

from node.cli.villain.catalogue import SCENE, TRADING, attack
from node.cli.villain.field import Field
from node.l1.bindings import encode_post_batch


@attack("batches", "Post an honest batch without holding the seat.", needs={SCENE})
async def post_without_the_seat(field: Field) -> str:
    thief = await field.actor("thief")
    draft = await field.trade()
    return await field.refused(thief, encode_post_batch(draft.batch()), "NOT_SEAT")


@attack("batches", "Commit to another inbox hash than L1's.", needs={SCENE}, apart=TRADING)
async def wrong_inbox_hash(field: Field) -> str:
    draft = await field.trade()
    wrong = replace(draft.batch(), inbox_hash=b"\x17" * 32)
    said = await field.refused(field.operator.actor, encode_post_batch(wrong), "INBOX_HASH")
    await field.operator.post(draft.batch(), draft)  # the honest one is still welcome
    return said
