"""Tells stories to a world, criterion by criterion; each ends its chunk, which the contract then executes too."""

from __future__ import annotations

from pathlib import Path

from tests.differential.chunks import DifferentialWorld
from tests.differential.harness import shared_court
from tests.scenarios.reader import Criterion, Story, StoryError
from tests.scenarios.stage import Stage
from tests.scenarios.verbs import perform
from tests.stf.world import World

STORIES = sorted(Path(__file__).parent.glob("S*.md"))


def tell(story: Story, world: World) -> None:
    """Tell all of a story. Raises StoryError where a row does not come true."""
    stage = Stage(world)
    for criterion in story.criteria:
        play(story, criterion, stage)


def play(story: Story, criterion: Criterion, stage: Stage) -> None:
    """One criterion."""
    for row in criterion.rows:
        try:
            stage.play(row, perform)
        except (AssertionError, ValueError, KeyError) as error:
            place = f"{story.path.name}:{row.line}: {criterion.number} {criterion.text}"
            raise StoryError(f"{place}\n    {row}\n    {error or repr(error)}") from error
    if stage.world.open_bytes:
        stage.world.cut()


class Telling:
    """One story being told; the world lives from its first criterion on."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.told = 0
        self.broken = ""  # the criterion that did not come true: what follows it means nothing
        self.stage: Stage | None = None

    def tell(self, index: int) -> None:
        """Play up to a criterion. Raises StoryError where a row does not come true."""
        if index < self.told:
            raise StoryError(f"{self.story.number}: its criteria run in their order, each once")
        if self.broken:
            raise StoryError(f"not told, because {self.broken} did not come true")
        if self.stage is None:
            self.stage = Stage(DifferentialWorld(shared_court()))
        while self.told <= index:
            self.told += 1
            self.broken = self.story.criteria[self.told - 1].number
            play(self.story, self.story.criteria[self.told - 1], self.stage)
            self.broken = ""
