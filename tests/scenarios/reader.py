"""Stories as text: a Markdown file with numbered criteria, each a table of who does what and what must then be true."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_TITLE = re.compile(r"^# (S\d+) (.+)$")
_CRITERION = re.compile(r"^## (S\d+\.\d+) (.+)$")
_HEAD = ["who", "does", "then"]


class StoryError(Exception):
    """A story that cannot be read, or a row that did not come true; names file and line."""


@dataclass(frozen=True)
class Row:
    line: int
    who: str
    does: str
    then: tuple[str, ...]

    def __str__(self) -> str:
        return f"| {self.who} | {self.does} | {'; '.join(self.then)} |"


@dataclass
class Criterion:
    number: str  # S4.2
    text: str
    rows: list[Row] = field(default_factory=list)


@dataclass
class Story:
    path: Path
    number: str
    title: str
    criteria: list[Criterion] = field(default_factory=list)


def read_story(path: Path) -> Story:
    """Parse a file. Raises StoryError for anything that would make a row go unread."""
    story: Story | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if title := _TITLE.match(line):
            story = Story(path, *title.groups())
        elif criterion := _CRITERION.match(line):
            if story is None or not criterion[1].startswith(story.number + "."):
                raise StoryError(f"{path.name}:{number}: criterion {criterion[1]} stands in another story")
            story.criteria.append(Criterion(*criterion.groups()))
        elif line.startswith("|"):
            row = read_row(path, number, line)
            if row is not None:
                if story is None or not story.criteria:
                    raise StoryError(f"{path.name}:{number}: a table stands before the first criterion")
                story.criteria[-1].rows.append(row)
        elif line.startswith("#"):
            raise StoryError(f"{path.name}:{number}: a heading is `# S1 Title` or `## S1.1 Criterion`, not {line!r}")
    if story is None or not story.criteria or not all(c.rows for c in story.criteria):
        raise StoryError(f"{path.name}: a story has a title and criteria, and each criterion a table")
    numbers = [c.number for c in story.criteria]
    if len(set(numbers)) != len(numbers):
        raise StoryError(f"{path.name}: criteria are numbered once: {numbers}")
    return story


def read_row(path: Path, number: int, line: str) -> Row | None:
    """One line of a table; None for its head and the line under it."""
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if cells == _HEAD or all(re.fullmatch(r":?-+:?", cell) for cell in cells):
        return None
    if len(cells) != len(_HEAD):
        raise StoryError(f"{path.name}:{number}: a row has three cells, who, does and then; this one has {len(cells)}")
    who, does, then = cells
    return Row(number, who, does, tuple(part.strip() for part in then.split(";") if part.strip()))
