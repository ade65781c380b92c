"""contracts/build.py: limits are errors, artifacts are reproducible, delegatecall layouts agree."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import contracts
from contracts import build
from tests.evm import Evm

SMALL = """# pragma version 0.4.3
import part
initializes: part
word: uint256
scratch: transient(uint256)
# @error Refused(uint256 code)
@external
def ask() -> uint256:
    self.scratch += 1
    return part.answer() + self.word + self.scratch
"""
PART = """# pragma version 0.4.3
seen: transient(uint256)
@internal
def answer() -> uint256:
    self.seen += 1
    return 42
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A contract with a module beside it."""
    (tmp_path / "part.vy").write_text(PART)
    path = tmp_path / "Small.vy"
    path.write_text(SMALL)
    return path


def test_an_artifact_survives_its_file(small: Path) -> None:
    artifact = build.compile_file(small)
    assert contracts.parse_artifact(artifact.to_json()) == artifact
    assert {entry.get("name") for entry in artifact.abi} >= {"ask", "Refused"}
    assert set(artifact.layout["transient"]) == {"part.seen", "scratch"}


def with_immutables(words: int) -> str:
    """A contract whose deployed code is a little more than this many words."""
    return (
        f"# pragma version 0.4.3\nA: immutable(uint256[{words}])\n"
        f"@deploy\ndef __init__(a: uint256[{words}]):\n    A = a\n"
        "@external\n@view\ndef at(i: uint256) -> uint256:\n    return A[i]\n"
    )


def test_code_over_the_limit_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "Large.vy"
    path.write_text(with_immutables(767))
    with pytest.raises(build.BuildError, match=r"Large: deployed code is 24,\d+ bytes, \d+ over the limit of 24,576"):
        build.compile_file(path)


def test_immutables_count_as_code(tmp_path: Path) -> None:
    path = tmp_path / "Fixed.vy"
    path.write_text(with_immutables(50))
    artifact = build.compile_file(path)
    assert artifact.deployed_bytes == len(artifact.runtime) + 50 * 32
    evm = Evm()
    assert len(evm.code(evm.deploy(artifact, list(range(50))))) == artifact.deployed_bytes


def test_a_compile_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "Wrong.vy"
    path.write_text("# pragma version 0.4.3\n@external\ndef f() -> uint256:\n    return nothing\n")
    with pytest.raises(build.BuildError, match=r"Wrong\.vy does not compile(.|\n)*nothing"):
        build.compile_file(path)


def test_the_cache_follows_imports(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    first = build.fresh(small, cache)
    stamp = cache.stat().st_mtime_ns
    assert build.fresh(small, cache) == first
    assert cache.stat().st_mtime_ns == stamp
    (tmp_path / "part.vy").write_text(PART.replace("42", "43"))
    second = build.fresh(small, cache)
    assert second.bytecode != first.bytecode
    assert contracts.parse_artifact(cache.read_text()) == second


def test_a_damaged_cache_is_rebuilt(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    cache.write_text('{"abi": [], "name"')
    assert build.fresh(small, cache) == build.compile_file(small)


def test_bytecode_does_not_depend_on_where_it_is_built(small: Path, tmp_path: Path) -> None:
    here = build.compile_file(small)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("Small.vy", "part.vy"):
        (elsewhere / name).write_text((tmp_path / name).read_text())
    script = (
        "from contracts import build; from pathlib import Path; "
        "print(build.compile_file(Path('Small.vy')).bytecode.hex())"
    )
    environment = {**os.environ, "PYTHONPATH": str(build.REPO_DIR), "PYTHONHASHSEED": "7"}
    other = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == here.bytecode.hex()


def test_layouts_that_disagree_are_found(small: Path) -> None:
    one = build.compile_file(small)
    two = dataclasses.replace(one, name="Other")
    assert build.layout_conflicts(one, two) == []
    moved = {**one.layout, "transient": {"scratch": {"slot": 9, "n_slots": 1, "type": "uint256"}}}
    assert len(build.layout_conflicts(one, dataclasses.replace(two, layout=moved))) == 1
    start = one.layout["transient"]["scratch"]["slot"]
    overlapping = {**one.layout, "transient": {"array": {"slot": start, "n_slots": 3, "type": "uint256[3]"}}}
    assert "overlaps" in build.layout_conflicts(one, dataclasses.replace(two, layout=overlapping))[0]
    fraud = {n: dataclasses.replace(one, name=n) for n in ("FraudVerifier", "FraudRules")}
    build.check_layouts(fraud)
    fraud["FraudRules"] = dataclasses.replace(fraud["FraudRules"], layout=moved)
    with pytest.raises(build.BuildError, match="scratch"):
        build.check_layouts(fraud)


def test_every_contract_fits_and_its_artifact_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    stale = []
    for path in build.deployable():
        if not build.is_current(contracts.load(path.stem), path):
            stale.append(path.stem)
    assert not stale, f"run python -m contracts.build: {stale}"
    artifacts = {path.stem: contracts.load(path.stem) for path in build.deployable()}
    build.check_layouts(artifacts)
    for artifact in artifacts.values():
        build.check_sizes(artifact)
    with capsys.disabled():
        print("\n" + build.size_table(artifacts.values()))


def test_a_missing_artifact_says_what_to_do() -> None:
    with pytest.raises(contracts.ArtifactMissing, match=r"'Nothing'.*python -m contracts\.build"):
        contracts.load("Nothing")


def test_a_changed_artifact_fails_the_check(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "artifacts"
    monkeypatch.setattr(build, "deployable", lambda: [small])
    monkeypatch.setattr(build, "ARTIFACTS_DIR", folder)
    assert build.main([]) == 0
    assert build.main(["--check"]) == 0
    file = folder / "Small.json"
    file.write_text(file.read_text().replace('"deployed_bytes": ', '"deployed_bytes": 1'))
    assert build.main(["--check"]) == 1
    assert "Small: the artifact differs" in capsys.readouterr().err
    (folder / "Gone.json").write_text("{}")
    assert build.main(["--check"]) == 1
    assert "Gone: artifact without a contract" in capsys.readouterr().err
    assert build.main([]) == 0
    assert not (folder / "Gone.json").exists()
    assert build.main(["Nope"]) == 1
    assert "no contract named Nope" in capsys.readouterr().err
