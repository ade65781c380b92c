"""Documents may cite criteria: what they cite exists. Sentences that no story uses would be sentences nobody tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.build import REPO_DIR
from tests.scenarios.reader import Story, StoryError, read_story
from tests.scenarios.verbs import vocabulary

HERE = Path(__file__).parent
FOLDERS = ("node", "sequencer", "prover", "contracts", "tests", "configs")


def stories() -> list[Story]:
    return [read_story(path) for path in sorted(HERE.glob("S*.md"))]


#: what the README of the rules rests on: outage, wick, takeover, shared loss, late anchors, expiry, ladder, orders
FOUNDATIONS = {
    "S2.2", "S2.4", "S3.1", "S3.3", "S3.4", "S3.5", "S4.1", "S4.2", "S4.4", "S5.2", "S6.1", "S9.2", "S9.3", "S9.4",
    "S9.5", "S9.6", "S10.2", "S10.3", "S10.4", "S11.1", "S11.4", "S12.2", "S12.3", "S15.3", "S16.3",
}


def test_the_rules_cite_what_they_rest_on() -> None:
    cited = set(re.findall(r"\bS\d+\.\d+\b", (REPO_DIR / "node" / "stf" / "README.md").read_text()))
    assert cited >= FOUNDATIONS, f"node/stf/README.md no longer cites {sorted(FOUNDATIONS - cited)}"


def test_cited_criteria_exist() -> None:
    numbers = {criterion.number for story in stories() for criterion in story.criteria}
    documents = [REPO_DIR / "README.md", *(f for folder in FOLDERS for f in (REPO_DIR / folder).rglob("*.md"))]
    assert len(documents) > 10
    for document in documents:
        if "node_modules" not in document.parts:
            cited = set(re.findall(r"\bS\d+\.\d+\b", document.read_text()))
            assert cited <= numbers, f"{document.relative_to(REPO_DIR)} cites {sorted(cited - numbers)}"


def test_every_sentence_is_spoken() -> None:
    spoken: dict[str, list[str]] = {}
    for story in stories():
        for criterion in story.criteria:
            for row in criterion.rows:
                spoken.setdefault(row.who, []).append(row.does)
    roles = vocabulary()
    traders = [does for who, said in spoken.items() if who not in roles for does in said]
    for role, patterns in roles.items():
        said = traders if role == "trader" else spoken.get(role, [])
        silent = [pattern for pattern in patterns if not any(re.fullmatch(pattern, does) for does in said)]
        assert not silent, f"no {role} ever says {silent}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# S1 Title\n", "has a title and criteria"),
        ("# S1 Title\n## S2.1 Other\n", "another story"),
        ("# S1 Title\n## S1.1 A\n| clock | 1 s passes |\n", "three cells"),
        ("# S1 Title\n| clock | 1 s passes | |\n", "before the first criterion"),
        ("# S1 Title\n### S1.1 A\n", "a heading is"),
        ("# S1 T\n## S1.1 A\n| a | b | c |\n## S1.1 A\n| a | b | c |\n", "numbered once"),
    ],
)
def test_a_story_that_would_go_unread_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "S1_bad.md"
    path.write_text(text)
    with pytest.raises(StoryError, match=why):
        read_story(path)
