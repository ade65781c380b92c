"""Directed histories in both languages, and the proof that together with random ones they reach every status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from node.stf.types import Status
from tests.differential.chunks import INVALID, DifferentialWorld
from tests.differential.harness import Court
from tests.differential.scenarios import SCENARIOS, ready
from tests.differential.soup import Soup
from tests.scenarios.reader import read_story
from tests.scenarios.telling import STORIES, tell
from tests.stf.model import RUNGS


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_scenario(court: Court, scenario: Callable[[DifferentialWorld], None]) -> None:
    world = ready(court)
    scenario(world)
    assert world.conserved()


def test_every_status_and_rung_occurs(court: Court) -> None:
    """A status or a rung of the ladder that no compared chunk had would be a branch that nobody compared."""
    seen: Counter[str] = Counter()
    rungs: set[str] = set()
    for scenario in SCENARIOS:
        world = ready(court)
        scenario(world)
        seen += world.seen
        rungs.update(world.model.events)
    for path in STORIES:
        world = DifferentialWorld(court)
        tell(read_story(path), world)
        seen += world.seen
        rungs.update(world.model.events)
    for seed in range(1_000, 1_006):
        soup = Soup(court, seed)
        soup.run(100)
        seen += soup.world.seen
        rungs.update(soup.model.events)
    assert {status.name for status in Status} | {INVALID} == set(seen), "never happened"
    assert set(RUNGS) <= rungs, f"never happened: {set(RUNGS) - rungs}"
