"""Every attack of the catalogue against the real contracts and a real watchtower, on the embedded L1 and on anvil."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node.cli.villain.catalogue import Attack, Outcome, catalogue, play
from node.cli.villain.report import line, markdown, table
from tests.adversary.ground import Arena, defended, proofs
from tests.adversary.write_catalogue import written

ATTACKS = catalogue()


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    """What was played so far; printed as a table at the end."""
    found: list[Outcome] = []
    yield found
    print("\n" + table(found, {}))


async def held(arena: Arena, folder: Path, attack: Attack, outcomes: list[Outcome]) -> None:
    """Play it; it must hold, exactly as the catalogue says, and no proof of the watchtower may have failed."""
    async with defended(arena, folder) as (field, tower):
        outcome = await play(attack, field)
        outcomes.append(outcome)
        print(line(outcome))
        assert outcome.held, outcome.remark
        assert {proof["outcome"] for proof in await proofs(tower)} <= {"proven", "gone", None}


@pytest.mark.parametrize("name", ATTACKS)
async def test_on_the_embedded_l1(embedded: Arena, tmp_path: Path, outcomes: list[Outcome], name: str) -> None:
    await held(embedded, tmp_path, ATTACKS[name], outcomes)


@pytest.mark.parametrize("name", ATTACKS)
async def test_on_anvil(anvil: Arena, tmp_path: Path, outcomes: list[Outcome], name: str) -> None:
    await held(anvil, tmp_path, ATTACKS[name], outcomes)


def words(text: str) -> list[tuple[str, ...]]:
    """Name, attempt and outcome of every row of the catalogue's tables; the gas is a run's own."""
    return [tuple(line.split(" | ")[:3]) for line in text.splitlines() if line.startswith("| ") and "---" not in line]


def test_the_readme_says_what_the_catalogue_says() -> None:
    assert words(written()) == words(markdown(ATTACKS.values(), {})), "run python -m tests.adversary.write_catalogue"


def test_the_catalogue_holds_at_least_forty_attacks_beside_the_devnets_fifteen() -> None:
    assert len([attack for attack in ATTACKS.values() if attack.group not in ("devnet", "reorgs")]) >= 40
    assert all(len(attack.summary.split()) >= 3 for attack in ATTACKS.values())
