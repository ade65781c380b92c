"""A second rollup with the terms of the first: for attacks that a rollup does not outlive, and that need no watchtower.

Contracts of the rules and the token are shared (they keep no state of a rollup), the markets are created with the
defaults of `anchorline deploy`, and the villain is admin. Nothing of the first rollup changes.
"""

from __future__ import annotations

from typing import Final

import contracts
from node.cli.villain.catalogue import Terms
from node.cli.villain.field import Field
from node.l1 import bindings
from node.l1.deploy import deploy
from node.l1.deployment import Deployment, MarketSpec, Plan, Timings
from node.l1.sender import SenderConfig, open_sender
from node.sdk.l1 import MemoryJournal

POLL_S: Final = 0.05


async def open_twin(field: Field) -> Field:
    """Deploy it, with the funder as admin, and go there. Raises Refused, Temporary or Critical as deploying does."""
    record = field.deployment
    named = {name: bytes.fromhex(record.contracts[name][2:]) for name in contracts.RULES_PARTS
             if name in record.contracts}
    first = record.markets[0]
    plan = Plan(
        tuple(actor.address for actor in field.operator.publishers), await _timings(field),
        (MarketSpec(first.market, first.symbol, first.tick_value, first.price),), record.l2_chain_id, field.token,
        parts=named)
    async with open_sender(field.l1.client, field.funder.signer, MemoryJournal(),
                           SenderConfig(confirmations=0, poll_s=POLL_S)) as sender:
        twin = await deploy(field.l1.client, sender, plan)
    return await _moved(field, twin)


async def _timings(field: Field) -> Timings:
    """Those of the first rollup."""
    answer = await field.l1.client.call(field.rollup, bindings.encode_call("params"))
    terms: Terms = field.terms
    return Timings(
        terms.challenge_window_s, terms.bond, terms.bond_delay_s, terms.seat_idle_s, terms.force_delay_s,
        terms.force_fee, terms.deposit_min, terms.timelock_s, bindings.decode_result("params", answer)[-1],
        terms.exodus_after_s, terms.reseat_s, terms.register_s, terms.promise_deadline_s, terms.claim_s)


async def _moved(field: Field, twin: Deployment) -> Field:
    signers = [actor.signer for actor in field.operator.publishers]
    there = await Field.open(field.l1, twin, field.cast.purse, signers, to_the_end=True)
    there.defence_s = field.defence_s
    return there
