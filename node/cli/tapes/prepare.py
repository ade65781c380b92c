"""What a tape leaves out or says too late, put where it belongs before the tape is planned.

* An order whose first event is not its creation was there before the tape began. What its end or change says about its
  price and size is known only later ("hindsight"); placing it first makes the book whole.
* An order whose end arrived before its creation is created at the moment its end arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from node.cli.tapes.events import Event, Op

PRINT_NEAR: Final = 12  # events in which a fill's print is looked for


@dataclass(frozen=True, slots=True)
class Prepared:
    """Events to plan. ``older``: ids of orders from before the tape; ``swapped``: ids that were created too late."""

    events: list[Event]
    older: frozenset[int]
    swapped: frozenset[int]


def prepare(events: Sequence[Event], *, hindsight: bool) -> Prepared:
    """See the module; without ``hindsight`` older orders stay unknown."""
    created: dict[int, int] = {}
    first: dict[int, int] = {}
    for index, event in enumerate(events):
        if event.op in (Op.CREATED, Op.CHANGED, Op.DELETED):
            first.setdefault(event.id, index)
        if event.op is Op.CREATED:
            created.setdefault(event.id, index)
    older = [(index, id) for id, index in first.items() if id not in created]
    swapped = {id: index for id, index in first.items() if id in created and created[id] != index}
    late = {created[id] for id in swapped}
    moved = {index: events[created[id]] for id, index in swapped.items()}
    result = [_seed(events, index) for index, _ in sorted(older)] if hindsight else []
    result = [event for event in result if event.amount > 0]
    for index, event in enumerate(events):
        if index in moved:
            result.append(replace(moved[index], time=event.time))
        if index not in late:
            result.append(event)
    return Prepared(result, frozenset(id for _, id in older), frozenset(swapped))


def _seed(events: Sequence[Event], index: int) -> Event:
    """The order of an event that was there before: as large as what remains and what just was filled."""
    event = events[index]
    filled = 0
    if event.op is Op.CHANGED or event.amount == 0:
        near = events[index + 1 : index + 1 + PRINT_NEAR]
        filled = next((other.amount for other in near if other.op is Op.PRINT and other.price == event.price), 0)
    return replace(event, op=Op.CREATED, time=events[0].time, amount=event.amount + filled)
