"""Compile the contracts: `python -m contracts.build [--check] [NAME …]`.

Every CamelCase `contracts/*.vy` is deployable and gets `artifacts/NAME.json`; snake_case files are modules. Without
arguments all of them are built, skipping those whose sources have not changed. `--check` recompiles from scratch and
compares with the committed artifacts byte for byte.

Laws, each an error here although the compiler at most warns:
- deployed code <= 24,576 bytes, immutables included (EIP-170); initcode <= 49,152 bytes (EIP-3860);
- contracts that delegatecall each other (`DELEGATE_GROUPS`) agree on every storage and transient slot.

Optimisation is for gas; a contract that must be small says `#pragma optimize codesize` itself. A comment line
`# @error NoFraud(uint256 batch)` in a contract or in a module that it imports adds that custom error to the ABI, since
Vyper has no syntax for errors.

Module names that begin with `math` are taken by the compiler's own library; imports inside `contracts/stf` are relative
(`from . import trie`), because an absolute import is searched from the deployable contract's folder.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts import ARTIFACTS_DIR, CONTRACTS_DIR, Abi, Artifact, parse_artifact

REPO_DIR = CONTRACTS_DIR.parent
CODE_BYTES_MAX = 24_576
INITCODE_BYTES_MAX = 49_152
EVM_VERSION = "cancun"

# Contracts that run in each other's storage by delegatecall, as globs over contract names.
DELEGATE_GROUPS: dict[str, tuple[str, ...]] = {"fraud verifier": ("FraudVerifier", "Fraud*")}

_ERROR_LINE = re.compile(r"^[ \t]*#[ \t]*@error[ \t]+(\w+)\(([^)]*)\)[ \t]*$", re.MULTILINE)


class BuildError(Exception):
    """A contract does not compile, breaks a law above, or differs from its artifact."""


def deployable(folder: Path = CONTRACTS_DIR) -> list[Path]:
    """The contracts to build: `.vy` files of `folder` whose name starts with a capital letter, sorted."""
    return sorted(p for p in folder.glob("*.vy") if p.stem[0].isupper())


def compile_file(path: Path, search_paths: Sequence[Path] = ()) -> Artifact:
    """Compile one deployable file; imports resolve in its own folder, `contracts/`, then `search_paths`.

    Raises `BuildError` with the compiler's own message, or naming the size limit that is broken.
    """
    from vyper.compiler.input_bundle import FilesystemInputBundle
    from vyper.compiler.output import build_abi_output
    from vyper.compiler.phases import CompilerData
    from vyper.compiler.settings import Settings
    from vyper.exceptions import VyperException

    path = path.resolve()
    bundle = FilesystemInputBundle([*reversed(list(search_paths)), CONTRACTS_DIR])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = bundle.load_file(path)
            data = CompilerData(source, bundle, Settings(evm_version=EVM_VERSION))
            bytecode, runtime, abi = data.bytecode, data.bytecode_runtime, build_abi_output(data)
    except VyperException as error:
        raise BuildError(f"{_relative(path)} does not compile:\n{error}") from error
    # hashes of what was compiled, not of what the files hold by now
    inputs = [source, *(f for f in data.resolved_imports.compiler_inputs if not f.from_builtin)]
    sources = {_relative(Path(f.resolved_path).resolve()): _digest(f.contents.encode()) for f in inputs}
    files = [path, *(Path(f.resolved_path) for f in inputs[1:])]
    artifact = Artifact(
        name=path.stem,
        abi=abi + _custom_errors(files),
        bytecode=bytecode,
        runtime=runtime,
        deployed_bytes=len(runtime) + data.global_ctx.immutable_section_bytes,
        layout=_layout(data.storage_layout),
        compiler=_compiler_id(),
        settings={"evm_version": EVM_VERSION, "optimize": str(data.settings.optimize),
                  "codegen": "venom" if data.settings.experimental_codegen else "legacy"},
        sources=dict(sorted(sources.items())),
    )
    check_sizes(artifact)
    return artifact


def fresh(path: Path, cache: Path, search_paths: Sequence[Path] = ()) -> Artifact:
    """The artifact of the source `path`, from the file `cache` if no source has changed since, else compiled anew.

    A new result is written to `cache` atomically, so processes may share a cache folder.
    """
    cached = _read(cache)
    if cached is not None and is_current(cached, path):
        return cached
    artifact = compile_file(path, search_paths)
    _write(cache, artifact.to_json())
    return artifact


def is_current(artifact: Artifact, path: Path) -> bool:
    """Whether `artifact` was compiled from exactly today's sources by today's compiler and settings."""
    if artifact.compiler != _compiler_id() or artifact.settings.get("evm_version") != EVM_VERSION:
        return False
    if _relative(path.resolve()) not in artifact.sources:
        return False
    files = {REPO_DIR / name: digest for name, digest in artifact.sources.items()}
    return all(file.is_file() and _sha256(file) == digest for file, digest in files.items())


def check_sizes(artifact: Artifact) -> None:
    """Raise `BuildError` if the code or the initcode is larger than a chain accepts."""
    for what, size, limit in (
        ("deployed code", artifact.deployed_bytes, CODE_BYTES_MAX),
        ("initcode", len(artifact.bytecode), INITCODE_BYTES_MAX),
    ):
        if size > limit:
            raise BuildError(
                f"{artifact.name}: {what} is {size:,} bytes, {size - limit:,} over the limit of {limit:,}; "
                "split it by delegatecall or try '#pragma optimize codesize'"
            )


def delegate_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """The contracts among `names` that share storage, per group; groups of fewer than two are left out."""
    known = sorted(names)
    groups = {
        group: [n for n in known if any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)]
        for group, patterns in DELEGATE_GROUPS.items()
    }
    return {group: members for group, members in groups.items() if len(members) > 1}


def layout_conflicts(one: Artifact, two: Artifact) -> list[str]:
    """How two contracts that delegatecall each other disagree about storage or transient slots; empty if they agree.

    A variable that both declare must have the same slot, size and type; different variables must not overlap.
    """
    found = []
    for area in ("storage", "transient"):
        left, right = one.layout[area], two.layout[area]
        for a, spec in left.items():
            for b, other in right.items():
                same, overlap = a == b, _overlaps(spec, other)
                if same and spec != other:
                    found.append(f"{area} {a}: {one.name} has {spec}, {two.name} has {other}")
                if not same and overlap:
                    found.append(f"{area}: {one.name}.{a} {spec} overlaps {two.name}.{b} {other}")
    return found


def check_layouts(artifacts: Mapping[str, Artifact]) -> None:
    """Raise `BuildError` naming every slot on which contracts that delegatecall each other disagree."""
    found = []
    for members in delegate_groups(artifacts).values():
        first = artifacts[members[0]]
        for name in members[1:]:
            found += layout_conflicts(first, artifacts[name])
        for name in members[1:]:
            for other in members[members.index(name) + 1:]:
                found += layout_conflicts(artifacts[name], artifacts[other])
    if found:
        raise BuildError("delegatecall layouts disagree:\n  " + "\n  ".join(found))


def size_table(artifacts: Iterable[Artifact]) -> str:
    """A table of code sizes and of the room that is left under the limits, in bytes."""
    rows = [f"{'contract':<24}{'deployed':>10}{'left':>10}{'initcode':>10}{'left':>10}  optimize"]
    for a in artifacts:
        rows.append(
            f"{a.name:<24}{a.deployed_bytes:>10,}{CODE_BYTES_MAX - a.deployed_bytes:>10,}"
            f"{len(a.bytecode):>10,}{INITCODE_BYTES_MAX - len(a.bytecode):>10,}  {a.settings['optimize']}"
        )
    return "\n".join(rows)


def build(names: Sequence[str] = ()) -> dict[str, Artifact]:
    """Compile the named contracts (default: all) whose sources changed, and write their artifacts."""
    built = {p.stem: fresh(p, ARTIFACTS_DIR / f"{p.stem}.json") for p in _select(names)}
    if not names:
        for stale in ARTIFACTS_DIR.glob("*.json"):
            if stale.stem not in built:
                stale.unlink()
    check_layouts(built)
    return built


def check(names: Sequence[str] = ()) -> dict[str, Artifact]:
    """Recompile and compare with the artifacts on disk; raises `BuildError` naming every difference."""
    built, wrong = {}, []
    for path in _select(names):
        artifact = built[path.stem] = compile_file(path)
        file = ARTIFACTS_DIR / f"{path.stem}.json"
        if not file.is_file():
            wrong.append(f"{path.stem}: has no artifact")
        elif file.read_text() != artifact.to_json():
            wrong.append(f"{path.stem}: the artifact differs from what its source compiles to")
    if not names:
        wrong += [f"{f.stem}: artifact without a contract" for f in ARTIFACTS_DIR.glob("*.json") if f.stem not in built]
    if wrong:
        raise BuildError("artifacts are out of date; run python -m contracts.build\n  " + "\n  ".join(sorted(wrong)))
    check_layouts(built)
    return built


def _select(names: Sequence[str]) -> list[Path]:
    paths = {p.stem: p for p in deployable()}
    unknown = [n for n in names if n not in paths]
    if unknown:
        raise BuildError(f"no contract named {', '.join(unknown)} (there are: {', '.join(paths) or 'none'})")
    return [p for name, p in paths.items() if not names or name in names]


def _layout(export: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    areas = {"storage": "storage_layout", "transient": "transient_storage_layout", "code": "code_layout"}
    return {area: dict(sorted(_flatten(export.get(key, {})))) for area, key in areas.items()}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Leaves of the compiler's layout tree by dotted path; an imported module is an inner node."""
    leaves = []
    for name, node in tree.items():
        if "slot" in node or "offset" in node:
            leaves.append((prefix + name, dict(node)))
        else:
            leaves += _flatten(node, f"{prefix}{name}.")
    return leaves


def _overlaps(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    a, b = int(one["slot"]), int(two["slot"])
    return a < b + int(two["n_slots"]) and b < a + int(one["n_slots"])


def _custom_errors(files: Iterable[Path]) -> Abi:
    found: dict[str, list[dict[str, str]]] = {}
    for file in sorted(set(files)):
        for name, arguments in _ERROR_LINE.findall(file.read_text()):
            words = [argument.split() for argument in arguments.split(",") if argument.strip()]
            found[name] = [{"name": w[1] if len(w) > 1 else "", "type": w[0]} for w in words]
    return [{"type": "error", "name": name, "inputs": inputs} for name, inputs in sorted(found.items())]


def _compiler_id() -> str:
    import vyper

    return f"vyper {vyper.__version__}"


def _relative(path: Path) -> str:
    """Path from the repository's root, so that artifacts do not depend on where it is checked out."""
    return Path(os.path.relpath(path, REPO_DIR)).as_posix()


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()


def _sha256(path: Path) -> str:
    return _digest(path.read_bytes())


def _read(path: Path) -> Artifact | None:
    try:
        return parse_artifact(path.read_text())
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description="compile the L1 contracts")
    parser.add_argument("names", nargs="*", metavar="NAME", help="contracts to build (default: all)")
    parser.add_argument("--check", action="store_true", help="recompile and compare, write nothing")
    options = parser.parse_args(argv)
    try:
        artifacts = check(options.names) if options.check else build(options.names)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(size_table(artifacts.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
