"""``al_explain``: the answer to "why?", for any transaction of a sealed block that undo records still reach."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from node.derive.chain import StoredTransaction
from node.errors import Critical
from node.rpc.errors import ErrorKind, fail
from node.rpc.explain.decode import Intent
from node.rpc.explain.evidence import Evidence, evidence_of
from node.rpc.explain.replay import replay
from node.rpc.explain.steps import Step, intent_of, steps_of
from node.rpc.fields import Count, Hash32, bytes_of
from node.rpc.methods import shapes
from node.rpc.methods.reads import Node, receipt_info
from node.rpc.server import Registry
from node.stf import types

log = structlog.get_logger("explain")

WAITING_MAX: Final = 16


class Explanation(msgspec.Struct):
    """A transaction's receipt, what it did step by step, and evidence. Money is micro-USD, sizes lots, prices ticks."""

    receipt: shapes.ReceiptInfo
    forced: bool
    time: int
    steps: list[Step]
    evidence: Evidence


class Explain:
    """The method over one node's chain."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._turn = trio.Lock()  # one at a time: each holds a state in memory

    def register(self, registry: Registry) -> None:
        """Add the method."""
        registry.add("al_explain", self.explain)

    async def explain(self, id: Count | Hash32, action: Count | None = None, witness: bool = False) -> Explanation:
        """Why a transaction (by position or hash; optionally one action of its list) did what it did.

        Executes its chunk again from the state before: formulas with numbers, margin before and after, and proofs of
        the leaves under the chunk's roots; with ``witness``, of all that executing the chunk needs.
        """
        waiting = self._turn.statistics().tasks_waiting
        if waiting >= WAITING_MAX:
            raise fail(ErrorKind.RateLimitExceeded, f"{waiting} explanations wait already: ask again in a moment")
        async with self._turn:
            return await self._explain(self._find(id), action, witness)

    async def _explain(self, found: StoredTransaction, action: int | None, witness: bool) -> Explanation:
        try:
            scene, setting = await replay(self._node.chain, found)
            intent = intent_of(scene)
            _check_action(action, intent)
            steps = await steps_of(scene, intent, action)
            evidence = evidence_of(self._node.chain, found.block, scene, setting, steps, whole=witness)
        except Critical as error:
            log.error("explain_failed", position=found.receipt.position, reason=str(error))
            raise fail(ErrorKind.InternalError, str(error)) from None
        return Explanation(receipt_info(self._node, found), intent.forced, found.receipt.time, steps, evidence)

    def _find(self, id: int | str) -> StoredTransaction:
        chain = self._node.chain
        position = chain.position_of(bytes_of(id)) if isinstance(id, str) else id
        found = None if position is None else chain.transaction(position)
        if found is None:
            raise fail(ErrorKind.NotFound, f"no transaction {id} in a sealed block here", param="id")
        return found


def _check_action(action: int | None, intent: Intent) -> None:
    if action is None or (intent.kind == types.ACTIONS and action < len(intent.actions)):
        return
    what = f"its list has {len(intent.actions)} actions" if intent.actions else "it is no list of actions"
    raise fail(ErrorKind.InvalidParams, f"the transaction has no action {action}: {what}", param="action")
