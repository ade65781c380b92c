"""Collects `S*.md` in this folder: one test for each numbered criterion, found by `pytest -k S4.2`.

A criterion goes on where the one before it ended; run alone, it plays those before it first. Each ends its chunk, which
the contract then executes too.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.reader import StoryError, read_story
from tests.scenarios.telling import Telling


class CriterionItem(pytest.Item):
    """One numbered criterion."""

    def __init__(self, *, telling: Telling, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.telling, self.index = telling, index
        self.obj = self.runtest  # pytest-trio looks at every item's function

    def runtest(self) -> None:
        self.telling.tell(self.index)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, StoryError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        rows = self.telling.story.criteria[self.index].rows
        return self.path, rows[0].line, self.name


class StoryFile(pytest.File):
    """A story."""

    def collect(self) -> Iterator[CriterionItem]:
        story = read_story(self.path)
        telling = Telling(story)
        for index, criterion in enumerate(story.criteria):
            name = f"{criterion.number} {criterion.text}"
            yield CriterionItem.from_parent(self, name=name, telling=telling, index=index)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> StoryFile | None:
    """Stories are the Markdown files named after their number."""
    if file_path.suffix == ".md" and file_path.name.startswith("S"):
        return StoryFile.from_parent(parent, path=file_path)
    return None
