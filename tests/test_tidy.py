"""The repository's laws, as ordinary tests: names that must match, bounds on size, things that must not be there.

A law that has exceptions lists them here with the reason, so that a new exception is a visible decision.
"""

from __future__ import annotations

import ast
import builtins
import fnmatch
import importlib
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contracts import build

REPO = build.REPO_DIR
PACKAGES = ("node", "sequencer", "prover", "contracts")
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 1_000
SHORT_FILE_LINES = 300  # what most files stay under
TEXT_SUFFIXES = {".py", ".vy", ".vyi", ".md", ".toml", ".json", ".cfg", ".sh", ""}

# Files of the rules that exist in one language only.
PYTHON_ONLY_FILES = {
    "engine": "the rules as the services use them: a state bound, chunks cut, results collected",
    "commitments": "headers and list proofs; the contracts have them outside stf, shared with Rollup",
}
VYPER_ONLY_FILES = {
    "path": "single-leaf proofs for Rollup; in Python a function of witness",
    "parts": "delegatecalls to the rules that live in another contract",
    "job": "the proof in progress that the parts of the verifier hand to each other",
}
# Pairs whose *job* is the same and whose machinery is not: the chain loads leaves into transient storage and verifies a
# witness against a root, a node owns the whole trie and builds witnesses. Only what both call must match.
MACHINERY = {"trie", "witness", "state", "layout"}

# Names that one language has no use for, as globs: functions and constants of otherwise equal files.
ONE_SIDED = {
    # which function an action means is decided on chain by FraudOrders, one call for all of them
    "transition": ("perform",),
    "encoding": (
        # the chain only decodes; a node recovers signatures ahead of execution, in threads
        "write_*", "varint", "relative_time", "recover_now", "note_recovered", "append", "INBOX_TX",
        # type strings and names stand inside the keccak256 of the Vyper constants, which are compared
        "*_TYPE", "*_NAMES", "DOMAIN_HASH", "NAME_HASH", "VERSION_HASH", "EMPTY_HASH",
        # the chain reads all numbers of an action in one loop
        "NUMBERS",
    ),
}

# What a node notes for receipts; the chain only needs the state.
ONE_SIDED_CALLS = {"state": {"note_fill", "note_status", "take_fills", "take_statuses"}}
# Divisions of amounts that are unsigned in the twin, where truncating and flooring are the same.
UNSIGNED_DIVISIONS = {"margin": ("notional // impact",)}

# What may import which third-party library, among the installed packages.
ONLY_IN = {
    "web3": ("node/l1/",),
    "eth": ("node/l1/devchain/",),
    "plyvel": ("node/storage/kv.py",),
    "vyper": ("contracts/build.py",),
    "pyrevm": ("node/l1/devchain/",),
    "titanoboa": (),
    "snekmate": (),
    "asyncio": (),
}
STF_IMPORTS_NOT = {"trio", "plyvel", "web3", "structlog", "time", "random", "os", "threading", "datetime", "secrets"}

# Who may read the environment or argv.
ENVIRONMENT_READERS = ("node/__init__.py", "node/cli/", "node/l1/keys.py", "contracts/build.py", "tests/")
PRINTERS = ("node/cli/", "contracts/build.py", "tests/")


def tracked(*suffixes: str) -> list[Path]:
    """Files of the repository with one of these suffixes: what git knows and what it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=REPO, capture_output=True, check=True).stdout.decode()
    files = [REPO / name for name in listing.split("\0") if name]
    return sorted(f for f in files if f.is_file() and (not suffixes or f.suffix in suffixes))


def name_of(path: Path) -> str:
    """Path from the repository's root, with forward slashes."""
    return path.relative_to(REPO).as_posix()


def sources(*prefixes: str) -> list[Path]:
    """Python files below the given folders."""
    return [f for f in tracked(".py") if name_of(f).startswith(prefixes)]


PACKAGE_PREFIXES = tuple(f"{package}/" for package in PACKAGES)


@cache
def tree_of(path: Path) -> ast.Module:
    """A Python file's syntax tree."""
    return ast.parse(path.read_text(), filename=str(path))


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of absolute imports, with line numbers."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0], node.lineno


def complain(found: list[str], law: str) -> None:
    """Fail with the law and everything that breaks it."""
    assert not found, law + ":\n  " + "\n  ".join(found)


# ---------------------------------------------------------------------------------------------------- the twin rules

def twins() -> list[str]:
    """Names of rule files that exist in both languages."""
    return sorted(_stems("node/stf/", ".py") & _stems("contracts/stf/", ".vy"))


def _stems(folder: str, suffix: str) -> set[str]:
    return {f.stem for f in tracked(suffix) if name_of(f).startswith(folder)} - {"__init__"}


VYPER_CONSTANT = re.compile(r"^(\w+): (?:public\()?constant\([^)]*\)\)? = ", re.MULTILINE)
VYPER_FUNCTION = re.compile(r"^def (\w+)\(", re.MULTILINE)
VYPER_STRUCT = re.compile(r"^struct (\w+):\n((?:    .*\n|\n)+)", re.MULTILINE)


def vyper_constants(name: str) -> dict[str, Any]:
    """Values of a Vyper module's constants; those of imported modules are known as `module.NAME`."""
    text = (REPO / f"contracts/stf/{name}.vy").read_text()
    scope: dict[str, Any] = {"__builtins__": {}, "max_value": _max_value, "min_value": _min_value, "empty": lambda _: 0}
    scope |= {"convert": lambda value, _: value, "True": True, "False": False, "keccak256": _keccak}
    scope |= {kind: kind for kind in re.findall(r"\b(?:u?int\d+|bytes32|address)\b", text)}
    for module in re.findall(r"^(?:from \S+ )?import (\w+)", text, re.MULTILINE):
        if module != name and (REPO / f"contracts/stf/{module}.vy").is_file():
            scope[module] = type(module, (), vyper_constants(module))
    values = {}
    for found in VYPER_CONSTANT.finditer(text):
        values[found[1]] = scope[found[1]] = eval(_expression(text[found.end():]), scope)
    return values


def _expression(text: str) -> str:
    """The source text of the expression that `text` starts with: up to a line's end outside brackets."""
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(re.sub(r"\s*#.*$", "", line))
        joined = " ".join(lines)
        if sum(joined.count(c) for c in "([") == sum(joined.count(c) for c in ")]"):
            return joined
    raise AssertionError(f"brackets do not close: {lines[0]}")


def _max_value(kind: str) -> int:
    bits = int(kind.lstrip("uint"))
    return 2**bits - 1 if kind.startswith("u") else 2 ** (bits - 1) - 1


def _min_value(kind: str) -> int:
    return 0 if kind.startswith("u") else -(2 ** (int(kind.lstrip("uint")) - 1))


def _keccak(text: str | bytes) -> int:
    from eth_utils import keccak

    return int.from_bytes(keccak(text=text) if isinstance(text, str) else keccak(text), "big")


def python_constants(name: str) -> dict[str, Any]:
    """Values of the capitalised constants that a rule file defines itself, and of its integer enumerations' members;
    leading underscores are dropped."""
    module = importlib.import_module(f"node.stf.{name}")
    values: dict[str, Any] = {}
    for node in tree_of(REPO / f"node/stf/{name}.py").body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        for target in targets:
            if isinstance(target, ast.Name) and target.id.isupper():
                values[target.id.lstrip("_")] = getattr(module, target.id)
        if isinstance(node, ast.ClassDef) and any(getattr(b, "id", "") == "IntEnum" for b in node.bases):
            values |= {member.name: int(member) for member in getattr(module, node.name)}
    return values


def python_functions(name: str) -> set[str]:
    """Functions at the top level of a rule file."""
    body = tree_of(REPO / f"node/stf/{name}.py").body
    return {node.name for node in body if isinstance(node, ast.FunctionDef)}


def vyper_functions(name: str) -> set[str]:
    """Functions of a Vyper module, the constructor left out."""
    return set(VYPER_FUNCTION.findall((REPO / f"contracts/stf/{name}.vy").read_text())) - {"__init__"}


def test_rules_exist_in_both_languages() -> None:
    vyper = _stems("contracts/stf/", ".vy") - set(VYPER_ONLY_FILES)
    python = _stems("node/stf/", ".py") - set(PYTHON_ONLY_FILES)
    complain(
        [f"node/stf/{n}.py has no contracts/stf/{n}.vy" for n in sorted(python - vyper)]
        + [f"contracts/stf/{n}.vy has no node/stf/{n}.py" for n in sorted(vyper - python)],
        "every rule file has a twin",
    )


@pytest.mark.parametrize("name", twins())
def test_twin_constants_are_equal(name: str) -> None:
    vyper, python = vyper_constants(name), python_constants(name)
    common = sorted(set(vyper) & set(python))
    differ = [c for c in common if _number(vyper[c]) != _number(python[c])]
    found = [f"{c}: Vyper {vyper[c]!r}, Python {python[c]!r}" for c in differ]
    if name not in MACHINERY:
        found += _one_sided(name, set(vyper), set(python))
    complain(found, f"constants of stf/{name} differ")


def _one_sided(name: str, vyper: set[str], python: set[str]) -> list[str]:
    """Names that only one language has, without those that `ONE_SIDED` explains and without private helpers, which may
    differ; a name may be private in one language and public in the other."""
    found = []
    for what in sorted(vyper ^ python):
        if what.startswith("_") or ({what, f"_{what}"} & vyper and {what, f"_{what}"} & python):
            continue
        if not any(fnmatch.fnmatchcase(what, pattern) for pattern in ONE_SIDED.get(name, ())):
            found.append(f"{what}: only in {'Vyper' if what in vyper else 'Python'}")
    return found


def _number(value: Any) -> Any:
    """A value as both languages can have it: words as integers, sequences as tuples."""
    if isinstance(value, bytes):
        return int.from_bytes(value, "big")
    return tuple(_number(item) for item in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", [n for n in twins() if n not in MACHINERY])
def test_twin_functions_have_the_same_names(name: str) -> None:
    complain(_one_sided(name, vyper_functions(name), python_functions(name)), f"functions of stf/{name} differ")


@pytest.mark.parametrize("name", [n for n in twins() if n in MACHINERY])
def test_machinery_that_the_rules_call_has_the_same_names(name: str) -> None:
    """For machinery: whatever a Vyper rule file calls on the module, Python's has too, and the other way round."""
    found = []
    callers = [n for n in twins() if n not in MACHINERY]
    for caller in callers:
        vyper = _calls((REPO / f"contracts/stf/{caller}.vy").read_text(), name)
        python = _calls((REPO / f"node/stf/{caller}.py").read_text(), name)
        found += [f"{caller} uses {name}.{f} in Vyper only" for f in sorted(vyper - python)]
        explained = ONE_SIDED_CALLS.get(name, set())
        found += [f"{caller} uses {name}.{f} in Python only" for f in sorted(python - vyper - explained)]
    complain(found, f"call sites of stf/{name} differ")


def _calls(text: str, module: str) -> set[str]:
    return set(re.findall(rf"\b{module}\.([a-z]\w*)\(", text)) - ONE_SIDED_CALLS.get(module, set())


@pytest.mark.parametrize("name", twins())
def test_twin_structs_have_the_same_fields(name: str) -> None:
    classes = {
        node.name: [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        for node in tree_of(REPO / f"node/stf/{name}.py").body
        if isinstance(node, ast.ClassDef)
    }
    found = []
    for struct, body in VYPER_STRUCT.findall((REPO / f"contracts/stf/{name}.vy").read_text()):
        fields = re.findall(r"^    (\w+):", body, re.MULTILINE)
        if struct in classes and classes[struct] != fields:
            found.append(f"{struct}: Vyper {fields}, Python {classes[struct]}")
        if struct not in classes and name not in MACHINERY:
            found.append(f"{struct}: only in Vyper")
    complain(found, f"records of stf/{name} differ")


# ---------------------------------------------------------------------------------------------------- the rules alone

def test_rules_use_integers_only() -> None:
    found = []
    for path in sources("node/stf/"):
        for node in ast.walk(tree_of(path)):
            where = f"{name_of(path)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
                found.append(f"{where} float literal {node.value}")
            if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
                found.append(f"{where} true division")
            if isinstance(node, ast.Name) and node.id in ("float", "round", "Decimal", "Fraction"):
                found.append(f"{where} {node.id}")
    complain(found, "the rules are integers only; divide through fixed_point")


def test_rules_divide_through_fixed_point() -> None:
    """Floor division of signed amounts rounds differently in Vyper; outside fixed_point only `// constant` is clear."""
    allowed = {"fixed_point", "trie", "witness", "commitments", "encoding", "params", "types", "state"}
    found = [
        f"{name_of(path)}:{node.lineno} {ast.unparse(node)}"
        for path in sources("node/stf/") if path.stem not in allowed
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.FloorDiv | ast.Mod)
        and not (isinstance(node.right, ast.Constant) or ast.unparse(node.right).split(".")[-1].isupper())
        and ast.unparse(node) not in UNSIGNED_DIVISIONS.get(path.stem, ())
    ]
    complain(found, "divisions name their rounding: use fixed_point")


def test_rules_have_no_io_clock_or_chance() -> None:
    found = [
        f"{name_of(path)}:{line} imports {module}"
        for path in sources("node/stf/") for module, line in imports_of(path) if module in STF_IMPORTS_NOT
    ]
    complain(found, "node/stf is pure")


# ---------------------------------------------------------------------------------------------------- the whole tree

def test_functions_are_short() -> None:
    found = []
    for path in sources(*PACKAGE_PREFIXES, "tests/"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(f"{name_of(path)}:{node.lineno} {node.name} has {lines}")
    for path in tracked(".vy"):
        found += [f"{name_of(path)} {name} has {n}" for name, n in _vyper_lengths(path) if n > FUNCTION_LINES_MAX]
    complain(found, f"functions have at most {FUNCTION_LINES_MAX} lines")


def _vyper_lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Names and line counts of a Vyper file's functions, documentation and trailing blanks left out."""
    blocks = re.split(r"^(?=def )", path.read_text(), flags=re.MULTILINE)[1:]
    for block in blocks:
        body = re.split(r"^(?=[^\s)#])", block[3:], flags=re.MULTILINE)[0]
        code = re.sub(r'""".*?"""\n', "", body, count=1, flags=re.DOTALL)
        yield VYPER_FUNCTION.findall(block)[0], len(code.rstrip().splitlines())


def test_files_are_short() -> None:
    lines = {name_of(path): len(path.read_text().splitlines()) for path in tracked(".py", ".vy")}
    complain([f"{n} has {x}" for n, x in lines.items() if x > FILE_LINES_MAX], f"at most {FILE_LINES_MAX} lines a file")
    long = [f"{n} has {x}" for n, x in lines.items() if x > SHORT_FILE_LINES]
    assert 4 * len(long) <= len(lines), f"most files stay under {SHORT_FILE_LINES} lines:\n  " + "\n  ".join(long)


def test_only_their_owners_import_heavy_libraries() -> None:
    found = []
    for path in sources(*PACKAGE_PREFIXES):
        for module, line in imports_of(path):
            owners = ONLY_IN.get(module)
            if owners is not None and not name_of(path).startswith(owners or ("/",)):
                found.append(f"{name_of(path)}:{line} imports {module} (belongs to {', '.join(owners) or 'nobody'})")
    complain(found, "each of these libraries has one owner")


def test_packages_do_not_import_tests() -> None:
    found = [
        f"{name_of(path)}:{line}" for path in sources(*PACKAGE_PREFIXES) for module, line in imports_of(path)
        if module == "tests"
    ]
    complain(found, "tests are not installed")


def test_only_the_command_line_reads_the_environment() -> None:
    found = []
    for path in sources(*PACKAGE_PREFIXES):
        if not name_of(path).startswith(ENVIRONMENT_READERS):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "sys.argv", "os.getenv"):
                    found.append(f"{name_of(path)}:{node.lineno} {ast.unparse(node)}")
    complain(found, f"only these read the environment and argv: {', '.join(ENVIRONMENT_READERS)}")


def test_only_the_command_line_prints() -> None:
    found = []
    for path in sources(*PACKAGE_PREFIXES):
        if not name_of(path).startswith(PRINTERS):
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                    found.append(f"{name_of(path)}:{node.lineno}")
    complain(found, "services log, they do not print")


def test_no_inheritance_but_protocols_and_exceptions() -> None:
    roots = {"Protocol", "Generic", "Enum", "IntEnum", "StrEnum", "IntFlag", "NamedTuple", "TypedDict", "Struct"}
    classes = {
        node.name: ([ast.unparse(b).split("[")[0].split(".")[-1] for b in node.bases], f"{name_of(path)}:{node.lineno}")
        for path in sources(*PACKAGE_PREFIXES) for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef)
    }
    fine = roots | {n for n in dir(builtins) if n.endswith(("Error", "Exception"))}
    while more := {name for name, (bases, _) in classes.items() if name not in fine and bases and fine >= set(bases)}:
        fine |= {name for name in more if not {"Struct", "NamedTuple"} & set(classes[name][0])}
        if fine.isdisjoint(more):
            break
    found = [
        f"{where} class {name}({', '.join(bases)})"
        for name, (bases, where) in sorted(classes.items())
        if any(base in classes and base not in fine for base in bases)
    ]
    complain(found, "compose, do not inherit")


def test_tests_do_not_sleep() -> None:
    """Polling a real process is a loop with a deadline; `time.sleep` anywhere else is a guess."""
    found = []
    for path in sources("tests/"):
        tree = tree_of(path)
        polls = {
            id(inner) for loop in ast.walk(tree) if isinstance(loop, ast.While | ast.For) for inner in ast.walk(loop)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep" and id(node) not in polls:
                found.append(f"{name_of(path)}:{node.lineno}")
    complain(found, "tests wait for events, not for time")


# ---------------------------------------------------------------------------------------------------- texts

def _join(*parts: str) -> str:
    """Words that this very file must not contain."""
    return "".join(parts)


FORBIDDEN_WORDS = {
    _join("TO", "DO"): "do it, or write an issue",
    _join("FIX", "ME"): "fix it",
    _join("X", "XX"): "say what is wrong",
    _join("raise NotImplemented", "Error"): "no stubs",
    _join("/wo", "rk/"): "a path outside the repository",
    _join("/ro", "ot/"): "a path outside the repository",
    _join("/ho", "me/"): "a path outside the repository",
    _join("/tm", "p/"): "a path outside the repository; use tmp_path or tempfile",
    _join("py", "pi.org"): "a registry host",
    _join("python", "hosted.org"): "a registry host",
    _join("registry.npm", "js.org"): "a registry host",
    _join("crates", ".io"): "a registry host",
    _join("proxy.go", "lang.org"): "a registry host",
}


def test_no_forbidden_words() -> None:
    found = []
    for path in tracked():
        if path.suffix not in TEXT_SUFFIXES or name_of(path).startswith("contracts/artifacts/"):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found += [
                f"{name_of(path)}:{number} {word!r}: {why}" for word, why in FORBIDDEN_WORDS.items()
                if re.search(rf"(?<![\w.$}}-]){re.escape(word)}", line)
            ]
    complain(found, "words that do not belong into the repository")


def test_contracts_are_our_own_code() -> None:
    """Permissive licence throughout: no contract compiles in a library from elsewhere."""
    foreign = re.compile(r"^(?:from|import) (snekmate\S*|curve\S*)", re.MULTILINE)
    found = []
    for path in tracked(".vy", ".vyi"):
        if not name_of(path).startswith("contracts/"):
            continue
        text = path.read_text()
        if "GPL" in text:
            found.append(f"{name_of(path)} names a copyleft licence")
        found += [f"{name_of(path)} imports {m}" for m in foreign.findall(text)]
    complain(found, "contracts are Apache-2.0")


def test_configs_hold_no_secrets() -> None:
    named = r"(private|secret|password|mnemonic|seed)\w*\s*=\s*[\"'][^\"']+[\"']"
    secret = re.compile(rf"(?i){named}|[\"'](0x)?[0-9a-f]{{64}}[\"']")
    found = [
        f"{name_of(path)}:{number} {line.split('=')[0].strip()}"
        for path in tracked() if name_of(path).startswith("configs/")
        for number, line in enumerate(path.read_text().splitlines(), 1) if secret.search(line) and "_env" not in line
    ]
    complain(found, "secrets come from a keystore or the environment")


def test_folders_explain_themselves() -> None:
    folders = {"node", "sequencer", "prover", "contracts", "tests", "configs"}
    folders |= {name_of(f.parent) for f in sources("node/") if len(f.relative_to(REPO).parts) == 3}
    missing = [folder for folder in sorted(folders) if not (REPO / folder / "README.md").is_file()]
    complain(missing, "each folder has a README.md")


def test_links_in_documents_resolve() -> None:
    found = []
    for path in tracked(".md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            if "://" not in target and not target.startswith("mailto:") and not (path.parent / target).exists():
                found.append(f"{name_of(path)} links to {target}")
    complain(found, "links resolve")


# ---------------------------------------------------------------------------------------------------- packaging

def test_every_package_is_installed() -> None:
    tool = tomllib.loads((REPO / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {
        name_of(f.parent).replace("/", ".") for f in tracked(".py")
        if f.name == "__init__.py" and name_of(f).startswith(PACKAGE_PREFIXES)
    }
    listed = set(tool["packages"]) - set(tool["package-dir"])
    complain(sorted(f"{p}: not in pyproject.toml" for p in on_disk - listed), "packages are listed")
    complain(sorted(f"{p}: not on disk" for p in listed - on_disk), "packages are listed")
    homeless = {name_of(f.parent) for f in sources(*PACKAGE_PREFIXES) if not (f.parent / "__init__.py").is_file()}
    complain(sorted(f"{folder} has Python files and no __init__.py" for folder in homeless), "packages are packages")


def test_top_level_is_fixed() -> None:
    allowed = {"pyproject.toml", "README.md", "LICENSE", "node", "sequencer", "prover", "contracts", "tests", "configs"}
    top = {f.relative_to(REPO).parts[0] for f in tracked()}
    complain(sorted(t for t in top - allowed if not t.startswith(".")), "the top level is fixed")


def test_readme_commands_are_marked() -> None:
    text = (REPO / "README.md").read_text()
    for mark in ("main-command", "test-command"):
        found = re.findall(rf"^<!-- {mark} -->\n```sh\n(.+)\n```$", text, re.MULTILINE)
        assert len(found) == 1, f"README.md: the command after <!-- {mark} --> must be one line in one fenced block"
