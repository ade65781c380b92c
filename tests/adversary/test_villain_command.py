"""`anchorline villain` as its users start it, against L1 and a watchtower that others run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio
from eth_hash.auto import keccak

from node.cli.villain.catalogue import catalogue, play
from node.cli.villain.field import Field
from tests.adversary.ground import Arena, defended, undefended
from tests.l1.chains import REPO

DEADLINE_S = 120


async def villain(arena: Arena, folder: Path, *words: str, **settings: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of one run of the command."""
    file = folder / "deployment.json"
    arena.deployment.save(file)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORLINE_")}
    environment |= {"PYTHONPATH": str(REPO), "ETH_HASH_BACKEND": "pysha3"} | settings
    command = [sys.executable, "-m", "node.cli", "villain", *words, "--deployment", str(file), "--l1.rpc", arena.url]
    with trio.fail_after(DEADLINE_S):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, cwd=folder,
                                      env=environment, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def publisher_keys() -> str:
    """The publishers' keys as an operator of the network would set them."""
    return ",".join("0x" + keccak(b"publisher" + bytes((slot,))).hex() for slot in range(3))


async def test_it_plays_against_a_running_network_and_says_who_lost_what(embedded: Arena, tmp_path: Path) -> None:
    async with defended(embedded, tmp_path / "tower") as (field, _tower):
        await field.leave_seat()
        status, out, _progress = await villain(
            embedded, tmp_path, "wrong-root-last", "post-without-the-seat", "--json",
            ANCHORLINE_PUBLISHER_KEYS=publisher_keys())
        assert not any(await field.ask("seat_holder")), "the villain leaves the seat to others"
    result: dict[str, Any] = json.loads(out)
    assert status == 0 and (result["held"], result["broken"], result["not_played"]) == (2, 0, [])
    wrong, thief = result["played"]
    bond = field.terms.bond
    assert wrong["lost"] == {"operator": bond, "watchtower": -bond // 10}
    assert (wrong["attack_l1_transactions"], wrong["defence_l1_transactions"]) == (1, 1)
    assert wrong["defence_gas"] > 100_000
    assert thief["lost"] == {} and thief["remark"].startswith("NOT_SEAT")


async def test_what_cannot_be_played_is_listed_and_not_held(embedded: Arena, tmp_path: Path) -> None:
    """Somebody else sits; the publishers' keys are missing; the end was not asked for."""
    ending = next(name for name, attack in catalogue().items() if "ends" in attack.needs)
    async with undefended(embedded) as field:
        status, out, _progress = await villain(embedded, tmp_path, "wrong-root-last", ending)
        assert status == 1 and "0 of 0 attacks that were played held; 2 were not played" in out
        assert "holds the seat" in out and "--to-the-end" in out
        await field.leave_seat()
        _status, out, _progress = await villain(embedded, tmp_path, "wrong-root-last")
        assert "set ANCHORLINE_PUBLISHER_KEYS" in out


async def test_a_network_that_gives_in_ends_the_command_with_status_1(embedded: Arena, tmp_path: Path) -> None:
    """Nobody defends here: the wrong batch stands."""
    async with undefended(embedded) as field:
        await field.leave_seat()
        status, out, _progress = await villain(
            embedded, tmp_path, "wrong-root-last", "--defence-s", "2", ANCHORLINE_PUBLISHER_KEYS=publisher_keys())
    assert status == 1 and "DID NOT HOLD" in out and "is wrong and stands" in out


async def test_it_shows_the_catalogue_and_names_what_it_does_not_know(embedded: Arena, tmp_path: Path) -> None:
    status, out, _progress = await villain(embedded, tmp_path, "--list", "--json")
    listed = json.loads(out)["attacks"]
    assert status == 0 and [row["attack"] for row in listed] == list(catalogue())
    status, _out, said = await villain(embedded, tmp_path, "wrong-rot-last")
    assert status == 1 and "did you mean wrong-root-last?" in said
    status, _out, said = await villain(embedded, tmp_path)
    assert status == 1 and "--list shows them" in said


async def test_in_a_campaign_every_attack_has_a_scene_of_its_own(embedded: Arena, tmp_path: Path) -> None:
    """Positions, orders, a mark that was walked away and an ended rollup are nothing that the next attack would see."""
    names = ["thief-liquidates", "wash-trades", "compromised-quorum", "one-liar-of-three", "price-of-zero",
             "prices-out-of-time", "price-of-a-stranger", "garbage-before-the-freeze", "first-at-the-exit",
             "withdrawn-and-claimed"]
    async with defended(embedded, tmp_path / "tower") as (field, _tower):
        await field.leave_seat()
        status, out, progress = await villain(
            embedded, tmp_path, *reversed(names), "--to-the-end", "--json", ANCHORLINE_PUBLISHER_KEYS=publisher_keys())
    result: dict[str, Any] = json.loads(out)
    assert (status, result["broken"], result["not_played"]) == (0, 0, []), progress
    assert {row["attack"] for row in result["played"]} == set(names)


async def fails(field: Field) -> str:
    """An attack that stumbles over an honest step."""
    field.operator.publishers[7]
    return ""


async def test_an_attack_that_fails_in_any_way_has_not_held(embedded: Arena) -> None:
    entry = next(iter(catalogue().values()))
    async with undefended(embedded) as field:
        outcome = await play(replace(entry, play=fails), field)
    assert not outcome.held and outcome.remark.endswith("IndexError: tuple index out of range")


async def test_the_cast_of_another_episode_has_the_same_names_and_other_keys(embedded: Arena) -> None:
    async with undefended(embedded) as field:
        before = {name: field.cast.get(name).address for name in ("operator", "alice", "heir")}
        await field.new_episode()
        after = {name: field.cast.get(name).address for name in before}
        assert after["operator"] == before["operator"] and not {after["alice"], after["heir"]} & set(before.values())
        assert {*before.values(), *after.values()} <= set(field.cast.known)
