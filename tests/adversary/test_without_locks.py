"""The attacks by hostile tokens bite: the same contracts without their locks do not hold, and the attack says why."""

from __future__ import annotations

from pathlib import Path

import pytest

import contracts
from contracts.build import CONTRACTS_DIR, compile_file
from node.cli.villain.catalogue import catalogue, play
from tests.adversary.ground import Arena, undefended


@pytest.mark.parametrize(("name", "attack", "complaint"), [
    ("Rollup", "reentrant-token", "was entered from within withdraw"),
    ("Rollup", "reentrant-token-at-the-end", "was entered from within a withdrawal"),
    ("ClaimMarket", "reentrant-purchase", "the same purchase was not locked"),
])
async def test_a_contract_without_its_lock_is_found_out(
    embedded: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, attack: str, complaint: str,
) -> None:
    source = (CONTRACTS_DIR / f"{name}.vy").read_text()
    assert "@nonreentrant\n" in source
    open_doors = tmp_path / f"{name}.vy"
    open_doors.write_text(source.replace("@nonreentrant\n", ""))
    mutant = compile_file(open_doors)
    load = contracts.load
    monkeypatch.setattr(contracts, "load", lambda wanted: mutant if wanted == name else load(wanted))
    async with undefended(embedded) as field:
        outcome = await play(catalogue()[attack], field)
    assert not outcome.held and complaint in outcome.remark, outcome.remark
