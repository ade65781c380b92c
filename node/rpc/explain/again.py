"""Executes an explanation's chunk again from nothing but its witness, and writes the explanation anew.

The witness proves its leaves under the chunk's pre-root; the rules, run on them, must touch nothing else, lead to the
post-root, and give the same receipt, the same leaves around the transaction and the same steps, figure by figure. Then
all of it follows from the rules and the two roots, whoever said it. (That L1 has the roots, ``check_explain`` shows.)
"""

from __future__ import annotations

from collections.abc import Iterator

from node.rpc.explain.methods import Explanation
from node.rpc.explain.replay import Layer, Scene
from node.rpc.explain.steps import intent_of, steps_of
from node.rpc.fields import bytes_of
from node.rpc.methods import reads
from node.stf import encoding, state, transition, witness
from node.stf.engine import Engine, MessageAt
from node.stf.params import GLOBAL_WORDS
from node.stf.state import Source
from node.stf.types import INBOX


class Differs(Exception):
    """The explanation is not what its own evidence leads to: says where."""


class WitnessLeaves:
    """The leaves that a witness opens, as a `Source`; what it does not open is taken for absent until it is checked."""

    def __init__(self, shown: witness.Witness) -> None:
        self.known = {key for key, _value in shown.leaves}
        self._values = {key: value for key, value in shown.leaves if value}

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Keys of opened leaves under a prefix, ascending."""
        return iter(sorted(key for key in self._values if key.startswith(prefix)))


async def execute_again(found: Explanation, domain: bytes) -> list[str]:
    """What was shown, line by line. Raises Differs, BadWitness, or InvalidChunk."""
    evidence = found.evidence
    shown = witness.decode(bytes_of(evidence.witness))
    leaves = WitnessLeaves(shown)
    messages = [bytes_of(each) for each in evidence.messages]
    first = state.decode_globals(leaves.get(state.GLOBAL_KEY) or bytes(32 * GLOBAL_WORDS)).cursor

    def message_at(number: int) -> bytes | None:
        return messages[number - first] if 0 <= number - first < len(messages) else None

    engine = Engine(leaves, domain, message_at, strict=True)
    scene = _run(engine, leaves, message_at, found, domain)
    result = engine.end_chunk()
    _need(result.touched <= leaves.known, "executing the chunk needs leaves that the witness does not show")
    root = witness.verify(shown, bytes_of(evidence.pre_root), result.changes, result.ranges)
    _need(root == bytes_of(evidence.post_root), "executing the chunk leads to another root")
    outcome = (found.receipt.kind, found.receipt.status, found.receipt.statuses, found.receipt.fills)
    _need(reads.outcome(scene.receipt) == outcome, "executing the chunk gives the transaction another receipt")
    for moment, source, claimed in (("before", scene.before, evidence.before), ("after", scene.after, evidence.after)):
        wrong = [key for key, value in claimed.items() if (source.get(bytes_of(key)) or b"") != bytes_of(value)]
        _need(not wrong, f"leaves {moment} the transaction are others: {', '.join(wrong)}")
    indexes = [step.index for step in found.steps]
    steps = await steps_of(scene, intent_of(scene), indexes[0] if len(indexes) == 1 else None)
    _need(steps == found.steps, "the steps shown are not those of the execution")
    return [
        f"the {engine.ledger.transactions} transactions of the chunk, executed on {len(leaves.known)} leaves that the "
        "pre-root proves, lead to the post-root",
        f"{len(evidence.before)} leaves before the transaction and {len(evidence.after)} after it, and every figure "
        "shown, are those of this execution"]


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Differs(otherwise)


def _run(engine: Engine, leaves: Source, message_at: MessageAt, found: Explanation, domain: bytes) -> Scene:
    """Execute the whole chunk; the scene of the transaction that is explained."""
    chunk = bytes_of(found.evidence.chunk)
    engine.begin_chunk()
    scene: Scene | None = None
    at = 0
    while at < len(chunk):
        here = engine.globals.position == found.receipt.position
        before = Layer(leaves, engine.end_chunk().changes) if here else leaves
        cursor = engine.globals.cursor
        encoding.load(chunk)
        receipt, end = transition.execute(at)
        if here:
            message = message_at(cursor) if receipt.kind == INBOX else None
            after = Layer(leaves, engine.end_chunk().changes)
            scene = Scene(receipt, chunk[at:end], message, domain, before, after)
        at = end
    if scene is None:
        raise Differs(f"the chunk has no transaction at position {found.receipt.position}")
    return scene
