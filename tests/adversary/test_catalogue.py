"""Every attack of the catalogue against the real contracts and a real watchtower, on the embedded L1 and on anvil."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli.villain.catalogue import Attack, catalogue, play
from node.cli.villain.report import line
from tests.adversary.ground import Arena, defended, proofs

ATTACKS = catalogue()


async def held(arena: Arena, folder: Path, attack: Attack) -> None:
    """Play it; it must hold, exactly as the catalogue says, and no proof of the watchtower may have failed."""
    async with defended(arena, folder) as (field, tower):
        outcome = await play(attack, field)
        print(line(outcome))
        assert outcome.held, outcome.remark
        assert {proof["outcome"] for proof in await proofs(tower)} <= {"proven", "gone", None}


@pytest.mark.parametrize("name", ATTACKS)
async def test_on_the_embedded_l1(embedded: Arena, tmp_path: Path, name: str) -> None:
    await held(embedded, tmp_path, ATTACKS[name])


@pytest.mark.parametrize("name", ATTACKS)
async def test_on_anvil(anvil: Arena, tmp_path: Path, name: str) -> None:
    await held(anvil, tmp_path, ATTACKS[name])
