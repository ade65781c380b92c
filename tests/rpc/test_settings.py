"""Config, log and metrics: one tree for flag, environment and file; no secret in a log; the expected metric names."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from node import log
from node.config import KEY_VARIABLES, BatcherConfig, Config, ConfigError, L1Config, from_mapping, load_file
from node.metrics import Metrics

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ROLLUP = "0x" + "ab" * 20
GOOD = Config(l1=L1Config(rollup=ROLLUP))
ROLES: tuple[Any, ...] = ("sequencer", "verifier", "watchtower", "liquidity")


@pytest.mark.parametrize("name", ["devnet", "local", "sepolia"])
def test_the_shipped_files_work_for_every_role_and_hold_no_secret(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    config = load_file(path)
    config = replace(config, l1=replace(config.l1, rollup=ROLLUP))
    for role in ROLES:
        config.check(role)
    assert "key =" not in path.read_text() and "password" not in path.read_text()


@pytest.mark.parametrize(
    ("tree", "key"),
    [
        ({"l1": {"rpc": "localhost:8545"}}, "l1.rpc"),
        ({"l1": {"rpc": "http://x:99999"}}, "l1.rpc"),
        ({"l1": {"rollup": ""}}, "l1.rollup"),
        ({"l1": {"rollup": "0x" + "0" * 40}}, "l1.rollup"),
        ({"l1": {"rollup": "0x" + "g" * 40}}, "l1.rollup"),
        ({"l1": {"confirmations": -1}}, "l1.confirmations"),
        ({"l1": {"poll_ms": 0}}, "l1.poll_ms"),
        ({"l1": {"threads": 0}}, "l1.threads"),
        ({"rpc": {"port": 65_536}}, "rpc.port"),
        ({"rpc": {"origins": ["desk.example"]}}, "rpc.origins"),
        ({"metrics": {"enabled": True, "port": 9_545}}, "metrics.port"),
        ({"sequencer": {"block_ms": 0}}, "sequencer.block_ms"),
        ({"sequencer": {"unanchored_ms_max": 15_000}}, "sequencer.unanchored_ms_max"),
        ({"sequencer": {"keystore": "/no/such/file"}}, "sequencer.keystore"),
        ({"batcher": {"chunks_max": 257}}, "batcher.chunks_max"),
        ({"batcher": {"post_bytes": 128_000}}, "batcher.post_bytes"),
        ({"datadir": __file__}, "datadir"),
    ],
)
def test_a_value_that_cannot_work_is_named(tree: dict[str, Any], key: str) -> None:
    tree = {**tree, "l1": {"rollup": ROLLUP, **tree.get("l1", {})}}
    with pytest.raises(ConfigError) as caught:
        from_mapping(tree, source="test").check("sequencer")
    assert caught.value.key == key and "; " in str(caught.value)


def test_sections_of_other_roles_are_not_judged() -> None:
    config = replace(GOOD, batcher=BatcherConfig(chunks_max=0))
    config.check("verifier")
    with pytest.raises(ConfigError):
        config.check("sequencer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[l1]\nrcp = 'x'", r"l1\.rcp: unknown key; did you mean l1\.rpc"),
        ("[layer1]\nrpc = 'x'", r"layer1: unknown key"),
        ("[l1]\npoll_ms = 'soon'", r"l1\.poll_ms: Expected `int`, got `str`"),
        ("datadir = 5", r"datadir: Expected `Path`"),
        ("l1 = 5", r"l1: Expected"),
        ("this is no toml", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused_with_the_key(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_file(path)
    with pytest.raises(ConfigError, match="name an existing TOML file"):
        load_file(tmp_path / "missing.toml")


def test_an_access_key_in_a_url_is_not_shown() -> None:
    config = replace(GOOD, l1=replace(GOOD.l1, rpc="https://node.example/v3/SECRET"))
    assert "SECRET" not in repr(config)
    with pytest.raises(ConfigError) as caught:
        replace(GOOD, l1=replace(GOOD.l1, rpc="wss://node.example/v3/SECRET")).check("verifier")
    assert "SECRET" not in str(caught.value)
    assert KEY_VARIABLES["batcher"] == ("ANCHORLINE_BATCHER_KEY", "ANCHORLINE_BATCHER_PASSWORD")


PROGRAM = """
import sys
from typing import Annotated
import cyclopts
from node.config import Config
def role(*, config: Annotated[Config, cyclopts.Parameter(name="*")] = Config()) -> None:
    print(config.l1.poll_ms, config.l1.confirmations, config.l1.start_block, config.rpc.origins, config.datadir)
sources = [cyclopts.config.Env("ANCHORLINE_", command=False), cyclopts.config.Toml(sys.argv[1])]
app = cyclopts.App(config=sources)
app.default(role)
app(sys.argv[2:])
"""


def test_a_flag_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('datadir = "d"\n[l1]\npoll_ms = 11\nconfirmations = 12\nstart_block = 13\n[rpc]\norigins = ["http://a"]\n')
    environment = {**os.environ, "ANCHORLINE_L1_POLL_MS": "21", "ANCHORLINE_L1_CONFIRMATIONS": "22"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), "--l1.poll-ms", "31"],
        capture_output=True, text=True, env=environment, cwd=CONFIGS.parent, check=True, timeout=60)
    assert done.stdout == "31 22 13 ('http://a',) d\n"


@pytest.fixture
def lines() -> Iterator[Any]:
    """Configures logging into memory; returns a function that gives what was written."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level
    out = io.StringIO()

    def configure(form: str, level: str = "info") -> io.StringIO:
        log.configure(level, form, out)
        return out

    yield configure
    structlog.configure(**before)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


SECRET = "5ec2e7" * 10


@pytest.mark.parametrize("form", ["text", "logfmt", "json"])
def test_no_secret_reaches_a_log(form: str, lines: Any) -> None:
    out = lines(form)
    logger = structlog.get_logger("test").bind(password=SECRET)
    logger.info("key_loaded", private_key=SECRET, url=f"https://user:{SECRET}@node.example/v3/{SECRET}?k={SECRET}",
                settings={"mnemonic": SECRET, "rpc": f"wss://node.example/{SECRET}"}, order_key=b"\x4f", count=3)
    local_secret = SECRET
    try:
        raise ConnectionError(f"host=node.example Max retries exceeded with url: /v3/{local_secret}")
    except ConnectionError as error:
        logger.exception("l1_unreachable", error=error)
    logging.getLogger("urllib3").warning("Retrying https://node.example/v3/%s", SECRET)
    text = out.getvalue()
    assert SECRET not in text
    for shown in ("key_loaded", "node.example", "0x4f", "l1_unreachable", "Retrying", "ConnectionError"):
        assert shown in text


def test_json_lines_are_json_and_levels_filter(lines: Any) -> None:
    out = lines("json", "warning")
    structlog.get_logger("test").info("block_sealed", number=1)
    structlog.get_logger("test").warning("anchor_late", number=2)
    entries = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(entry["event"], entry["level"], entry["number"]) for entry in entries] == [("anchor_late", "warning", 2)]


def test_unknown_log_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"log\.level: 'loud'"):
        log.configure("loud")
    with pytest.raises(ValueError, match=r"log\.format: 'xml'"):
        log.configure("info", "xml")


def test_metrics_have_the_names_operators_expect() -> None:
    metrics = Metrics("verifier", "1.2.3")
    other = Metrics("sequencer", "1.2.3")
    metrics.set_ref("l2", "safe", 7, 100, 103.5)
    metrics.up.set(1)
    text = metrics.render().decode()
    for name in (
        'anchorline_info{role="verifier",version="1.2.3"} 1.0', "anchorline_up 1.0",
        'anchorline_refs_number{layer="l2",type="safe"} 7.0', 'anchorline_refs_latency{layer="l2",type="safe"} 3.5',
        "anchorline_derivation_idle", "anchorline_l1_reorg_depth_bucket", "anchorline_txmgr_pending_txs",
        "anchorline_oldest_unchecked_batch", "anchorline_last_valid_batch", "process_resident_memory_bytes",
    ):
        assert name in text
    assert 'type="safe"' not in other.render().decode()
