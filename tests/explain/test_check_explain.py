"""The small script: it believes what L1's header hash proves, and nothing else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import trio

from node.cli import check_explain
from node.cli.check_explain import CheckFailed, check
from tests.explain.world import as_json, derived, everything, explainer, header_hash_on_l1, tell

SCRIPT = Path(check_explain.__file__)


@pytest.fixture(scope="module")
def proofs() -> list[tuple[dict[str, Any], bytes]]:
    """Every transaction's explanation with the header hash that L1 has for its batch."""

    async def explain() -> list[tuple[dict[str, Any], bytes]]:
        chain = (await derived(tell())).chain
        found = []
        for explained in await everything(explainer(chain)):
            answer = as_json(explained)
            found.append((answer, header_hash_on_l1(chain, answer["evidence"]["batch"]["number"])))
        return found

    return trio.run(explain)


def test_the_script_is_small_and_needs_nothing_of_this_project() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 150
    tree = list(ast.walk(ast.parse(text)))
    imported = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in tree if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names | {"eth_hash"}


def test_every_explanation_is_proven_by_the_header_that_l1_has(proofs: list[tuple[dict[str, Any], bytes]]) -> None:
    rooted = inside = chunks = 0
    for answer, header_hash in proofs:
        lines = check(answer, header_hash)
        rooted += sum("(proven, as the chunk" in text for text in lines)
        inside += sum("(inside the chunk" in text for text in lines)
        chunks += answer["evidence"]["batch"]["previous"] is not None
    assert rooted > 10 and inside > 10 and chunks > 10


def liquidation(proofs: list[tuple[dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    """A liquidation that filled, in a chunk that is not its batch's first."""
    answer, header_hash = next(
        (answer, header_hash) for answer, header_hash in proofs
        if answer["receipt"]["kind"] == "Liquidate" and answer["steps"][0]["fills"])
    assert answer["evidence"]["batch"]["previous"] is not None
    return deepcopy(answer), header_hash


def _flip(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "header": lambda e: e["batch"].update(header=_flip(e["batch"]["header"])),
    "chunk": lambda e: e.update(chunk=_flip(e["chunk"])),
    "chunk and its hash": lambda e: e.update(chunk="0x00") or e["batch"]["chunk"].update(
        chunk_hash="0x" + check_explain.keccak(b"\0").hex()),
    "post-root": lambda e: e.update(post_root=e["pre_root"]),
    "pre-root": lambda e: e.update(pre_root=e["post_root"]),
    "place": lambda e: e["batch"]["chunk"].update(index=e["batch"]["chunk"]["index"] + 1),
    "place before": lambda e: e["batch"]["previous"].update(index=e["batch"]["previous"]["index"] - 1),
    "list proof cut": lambda e: e["batch"]["chunk"]["proof"].pop(),
    "list proof longer": lambda e: e["batch"]["chunk"]["proof"].append("0x" + "11" * 32),
    "leaf": lambda e: e["chunk_start"][1].update(value=_flip(e["chunk_start"][1]["value"])),
    "leaf's key": lambda e: e["chunk_start"][0].update(key="0x41000000ff" + "00" * 27),
    "sibling": lambda e: e["chunk_end"][0]["siblings"].__setitem__(0, "0x" + "22" * 32),
    "path's bits": lambda e: e["chunk_end"][0].update(bits="0x" + e["chunk_end"][0]["bits"][2:][::-1]),
    "no batch": lambda e: e.update(batch=None),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_lie_about_the_evidence_is_found(lie: str, proofs: list[tuple[dict[str, Any], bytes]]) -> None:
    answer, header_hash = liquidation(proofs)
    LIES[lie](answer["evidence"])
    with pytest.raises(CheckFailed):
        check(answer, header_hash)


@pytest.mark.parametrize("figure", ["equity", "maintenance"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_wrong_figure_is_found(figure: str, moment: str, proofs: list[tuple[dict[str, Any], bytes]]) -> None:
    answer, header_hash = liquidation(proofs)
    answer["steps"][0]["accounts"][0][moment][figure] += 1
    with pytest.raises(CheckFailed, match="not what is shown"):
        check(answer, header_hash)


def test_another_account_s_leaf_or_board_is_not_called_proven(proofs: list[tuple[dict[str, Any], bytes]]) -> None:
    """What is shown for the state right before may be anything; it is then not said to be under a root."""
    for answer, header_hash in proofs:
        lines = check(answer, header_hash)
        begins = [text for text in lines if "(proven, as the chunk began)" in text]
        if not begins or not answer["steps"][0]["accounts"][0]["before"]["positions"]:
            continue
        forged = deepcopy(answer)
        before = forged["evidence"]["before"]
        (board,) = [key for key in before if key.startswith("0x42")]
        word = bytearray.fromhex(before[board][2:])
        word[15] ^= 1  # the market's status: no figure depends on it
        before[board] = "0x" + word.hex()
        shown = check(forged, header_hash)
        assert not any("as the chunk began" in text for text in shown)
        return
    pytest.fail("no transaction begins a chunk")


def test_it_runs_as_a_program_anywhere(tmp_path: Path, proofs: list[tuple[dict[str, Any], bytes]]) -> None:
    answer, header_hash = liquidation(proofs)
    script, file = tmp_path / "check_explain.py", tmp_path / "explanation.json"
    script.write_text(SCRIPT.read_text())

    def run(hash_hex: str) -> subprocess.CompletedProcess[str]:
        file.write_text(json.dumps(answer))
        return subprocess.run([sys.executable, str(script), str(file), hash_hex], capture_output=True, text=True,
                              cwd=tmp_path, check=False, env={"ETH_HASH_BACKEND": "pysha3", "PATH": ""})

    good = run("0x" + header_hash.hex())
    assert good.returncode == 0 and "batch 2 on L1 has the chunk" in good.stdout, good.stderr
    other = run("0x" + "33" * 32)
    assert other.returncode == 1 and "NOT PROVEN: the header is not the one that L1 has" in other.stderr
    del answer["evidence"]["before"]
    assert run("0x" + header_hash.hex()).returncode == 1
