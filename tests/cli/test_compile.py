"""Compiled rules are the same rules: vectors, state calls and random histories, judged against the contracts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JUDGES = ("tests/stf/test_vectors.py", "tests/stf/test_state_twin.py", "tests/stf/test_conservation.py",
          "tests/differential/test_random.py", "tests/trie/test_trie.py", "tests/sequencer/test_builder.py")
INSPECTING = "not test_leaves and not fields_of_the_layouts"  # they read __slots__, which compiled classes lack
PROBE = "from node.cli.compile import is_compiled; from node.stf import trie; print(is_compiled(), trie.__file__)"


def run(*args: str, cwd: Path = ROOT, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "ETH_HASH_BACKEND": "pysha3", "PYTHONPATH": path, "ANCHORLINE_PROFILE": "ci"}
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, timeout=1_800, check=False, cwd=cwd, env=environment)


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    done = run("-m", "node.cli", "compile", "--target", str(tmp_path))
    assert done.returncode == 1 and "is not empty" in done.stderr and "Traceback" not in done.stderr
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]


@pytest.mark.long
def test_compiled_rules_agree_with_vectors_and_contracts(tmp_path: Path) -> None:
    target = tmp_path / "fast"
    done = run("-m", "node.cli", "compile", "--target", str(target), "--json")
    assert done.returncode == 0, done.stderr
    assert "node/stf/book" in json.loads(done.stdout.splitlines()[-1])["compiled"]
    path = f"{target}{os.pathsep}{ROOT}"
    probe = run("-c", PROBE, cwd=target, path=path)
    compiled, file = probe.stdout.split()
    assert compiled == "True" and file.startswith(str(target)) and file.endswith(".so"), "the compiled copy is used"
    judged = run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "pythonpath=", "--rootdir", str(ROOT), "-c",
        str(ROOT / "pyproject.toml"), "-k", INSPECTING, *[str(ROOT / name) for name in JUDGES], cwd=target, path=path)
    assert judged.returncode == 0, judged.stdout[-3_000:]
