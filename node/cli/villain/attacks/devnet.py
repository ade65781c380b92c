"""The sixteen villains of the devnet: batches that pass every check at posting and are wrong all the same.

Each posts its batch, and a watchtower that knows nothing but L1 proves it wrong in one transaction.
"""

from __future__ import annotations

from functools import partial

from node.cli.villain.catalogue import BOND, SCENE, TENTH, attack
from node.cli.villain.field import Field
from node.cli.villain.operator import Posted
from sequencer.villains import KINDS


async def post_wrong(field: Field, kind: str) -> Posted:
    """Trade, corrupt the batch, post it."""
    draft = await field.trade()
    wrong = await field.operator.corrupt(kind, draft)
    return await field.operator.post(wrong, draft)


async def strike(field: Field, *, kind: str) -> str:
    """Post, fall."""
    posted = await post_wrong(field, kind)
    drop = await field.fallen(posted)
    field.check(await field.ask("head_number") == posted.number - 1, "the head is not the batch before the wrong one")
    field.check(await field.ask("bond_of", field.operator.actor.address) == (0, 0, 0), "the bond was not slashed whole")
    return f"disproved with {drop.gas_used:,} gas"


for _kind in KINDS:
    attack("devnet", f"Post a batch of the kind {_kind} (sequencer/villains.py).", name=_kind, needs={SCENE},
           loses={"operator": BOND}, gains={"watchtower": TENTH}, proofs=1)(partial(strike, kind=_kind))
