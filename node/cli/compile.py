"""``anchorline compile --target DIR``: the same node with its rules, codec and trie compiled to C by mypyc.

The sources are the ones that run interpreted; nothing is rewritten, so there is one set of rules. They are copied
before they are compiled: what was compiled can never be older than the source beside it without being another folder.

    anchorline compile --target fast
    PYTHONPATH=fast python -m node.cli sequencer …

Needs a C compiler and mypy (the ``test`` extra). ``anchorline bench`` says which build it measured.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from node.cli.output import UserError, emit, note

PACKAGES: Final = ("node", "sequencer", "prover", "contracts")
#: what every order passes through, and little else: the rest of a node waits for disk and network
MODULES: Final = (
    "node/stf/params", "node/stf/fixed_point", "node/stf/types", "node/stf/encoding", "node/stf/layout",
    "node/stf/state", "node/stf/quotes", "node/stf/funding", "node/stf/oracle", "node/stf/finality", "node/stf/margin",
    "node/stf/accounts", "node/stf/book", "node/stf/fok", "node/stf/orders", "node/stf/insurance",
    "node/stf/liquidation", "node/stf/settlement", "node/stf/inbox", "node/stf/transition", "node/stf/engine",
    "node/stf/trie", "node/derive/blocks",
)
COMPILE_S: Final = 900
#: mypyc trusts annotations; strictness is the type checker's business, not this build's
CONFIG: Final = "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"


def compile_rules(*, target: Path, json: bool = False) -> None:
    """Copy this installation into a folder and compile its hot modules there.

    Parameters
    ----------
    target
        A folder that does not exist yet, or is empty.
    json
        Print one JSON object.
    """
    target = target.resolve()
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} is not empty: name a new folder (a compiled copy is replaced, not patched)")
    if importlib.util.find_spec("mypyc") is None:
        raise UserError("mypyc is not installed: install the package with its test extra, or mypy")
    target.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        _copy(package, target)
    note(f"compile: {len(MODULES)} modules into {target}")
    _compile(target)
    built = [name for name in MODULES if list(target.glob(f"{name}.*.so"))]
    missing = sorted(set(MODULES) - set(built))
    if missing:
        raise UserError(f"these modules were not built: {', '.join(missing)}")
    result: dict[str, Any] = {"target": str(target), "compiled": built}
    emit(json, result, f"{len(built)} modules compiled; run with PYTHONPATH={target}")


def _copy(package: str, target: Path) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, "this program's own packages are importable"
    shutil.copytree(
        Path(spec.origin).parent, target / package, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.md"))


def _compile(target: Path) -> None:
    (target / "mypy.ini").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "-m", "mypyc", *[f"{name}.py" for name in MODULES]], cwd=target, capture_output=True,
        text=True, timeout=COMPILE_S, check=False, env=os.environ | {"MYPYPATH": str(target)})
    if done.returncode != 0:
        log = target / "compile.log"
        log.write_text(done.stdout + done.stderr)
        raise UserError(f"mypyc failed; a C compiler and Python's headers are needed. Its output is in {log}")
    shutil.rmtree(target / "build", ignore_errors=True)


def is_compiled() -> bool:
    """Whether this process runs compiled rules."""
    from node.stf import book

    return not str(book.__file__).endswith(".py")
