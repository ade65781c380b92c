"""The command line as users meet it: quick help, settings from three places, errors that say what to do."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from node.cli.app import COMMANDS, config_path
from node.cli.devnet import EMBEDDED
from node.cli.l1 import _funded_text, micro_usd
from node.cli.output import UserError
from node.config import load_file
from node.l1.deployment import DeployedMarket, Deployment
from node.l1.keys import LocalSigner
from sequencer.villains import KINDS

REPO = Path(__file__).resolve().parents[2]
ROLLUP = "0x5fbdb2315678afecb367f032d93f642f64180aa3"
THREE_PUBLISHERS = tuple(arg for byte in ("11", "22", "33") for arg in ("--publishers", "0x" + byte * 20))


def anchorline(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANCHORLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "node.cli", *args], capture_output=True, text=True, cwd=REPO, timeout=120,
        env=kept | environment, check=False)


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = ("import sys; from node.cli.app import run_command; run_command(['--help']);"
            "print(sorted({'web3', 'trio', 'py_evm', 'plyvel', 'eth_account'} & set(sys.modules)))")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1  # s of CPU; 0.2 on an idle machine
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself_and_speaks_json(command: str) -> None:
    done = anchorline(command, "--help")
    assert done.returncode == 0 and "--json" in done.stdout, done.stderr


def test_a_section_named_as_a_command_is_read_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[l1]\npoll_ms = 3\n")
    flags = ("--config", str(path), "--l1.rollup", ROLLUP)
    assert "l1.poll_ms: is 3" in anchorline("verifier", *flags).stderr
    assert "l1.poll_ms: is 4" in anchorline("verifier", *flags, ANCHORLINE_L1_POLL_MS="4").stderr
    assert "l1.poll_ms: is 5" in anchorline("verifier", *flags, "--l1.poll-ms", "5", ANCHORLINE_L1_POLL_MS="4").stderr
    assert "l1.poll_ms: is 3" in anchorline("verifier", "--l1.rollup", ROLLUP, ANCHORLINE_CONFIG=str(path)).stderr


def record(rollup: str, start_block: int) -> Deployment:
    market = DeployedMarket(0, "BTC-USD", 10, 600_000)
    return Deployment(1, 2, rollup, ROLLUP, ROLLUP, start_block, "0x", 60, ROLLUP, [], [market], {}, 0)


@pytest.mark.parametrize("role", ["sequencer", "verifier", "watchtower"])
def test_a_deployment_names_the_rollup_unless_something_else_does(role: str, tmp_path: Path) -> None:
    path, config, other = tmp_path / "deployment.json", tmp_path / "x.toml", "0x" + "22" * 20
    record(ROLLUP, -7).save(path)
    config.write_text("[l1]\nstart_block = -8\n")
    flags = (role, "--deployment", str(path))
    assert "l1.start_block: is -7" in anchorline(*flags).stderr
    assert "l1.start_block: is -7" in anchorline(role, ANCHORLINE_DEPLOYMENT=str(path)).stderr
    assert "l1.start_block: is -8" in anchorline(*flags, "--config", str(config)).stderr
    assert "l1.start_block: is -9" in anchorline(*flags, ANCHORLINE_L1_START_BLOCK="-9").stderr
    assert "l1.rollup: '0x1'" in anchorline(*flags, "--l1.rollup", "0x1").stderr
    alone = anchorline(*flags, "--l1.rollup", other, "--rpc.port", "99999").stderr
    assert "rpc.port" in alone  # a start block of another Rollup is not taken
    record("nonsense", 1).save(path)
    assert "l1.rollup: 'nonsense' is no address" in anchorline(*flags).stderr
    path.write_text("{}")
    assert f"{path} is no deployment" in anchorline(*flags).stderr


def test_a_client_s_url_is_no_role_s_section(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[rpc]\nport = 99999\n")
    done = anchorline("verifier", "--config", str(path), "--l1.rollup", ROLLUP, ANCHORLINE_RPC="http://127.0.0.1:9545")
    assert "rpc.port" in done.stderr and "99999" in done.stderr


def test_devnet_defaults_are_the_file_s() -> None:
    file = tomllib.loads((REPO / "configs/devnet.toml").read_text())
    del file["datadir"], file["l1"]["rpc"]  # only the command knows them
    assert tomllib.loads(EMBEDDED) == file


@pytest.mark.parametrize(("args", "environment", "text"), [
    (("verifier", "--config", "nowhere.toml"), {}, "nowhere.toml: cannot be read"),
    (("verifier",), {}, "l1.rollup: '' is no address"),
    (("sequencer", "--l1.rollup", ROLLUP), {}, "ANCHORLINE_SEQUENCER_KEY"),
    (("sequencer", "--l1.rollup", ROLLUP), {"ANCHORLINE_SEQUENCER_KEY": "0xzz5ecret"}, "is not hexadecimal"),
    (("watchtower", "--l1.rollup", ROLLUP, "--watchtower.strategy", "defend"), {}, "ANCHORLINE_WATCHTOWER_KEY"),
    (("deploy",), {}, "give --publishers ADDRESS"),
    (("deploy", "--publishers", "0x12"), {}, "'0x12' is no address"),
    (("deploy", "--publishers", ROLLUP), {}, "a market's quorum is 3"),
    (("deploy", *THREE_PUBLISHERS[:4]), {}, "publishers: 2 cannot make a price"),
    (("mint", "nan"), {}, "not a positive number of dollars"),
    (("mint", "1e99"), {}, "not a positive number of dollars"),
    (("mint", "1", "--deployment", "nowhere.json", "--l1.rpc", "ftp://x"), {}, "nowhere.json cannot be read"),
    (("deploy", *THREE_PUBLISHERS), {}, "set ANCHORLINE_KEYSTORE"),
    (("deploy", *THREE_PUBLISHERS, "--l1.rpc", "ftp://x"),
     {"ANCHORLINE_KEY": "11" * 32}, "l1.rpc must be an http:// or https:// URL; give --l1.rpc"),
    (("cancel",), {}, "give the client id of one order, or --all"),
    (("mint", "0"), {}, "not a positive number of dollars"),
    (("mint", "1", "--deployment", "nowhere.json"), {}, "nowhere.json cannot be read"),
    (("status", "--rpc", "http://127.0.0.1:1"), {}, "no node answers"),
    (("status", "--rpc", "ftp://x"), {}, "http"),
    (("devnet", "--villain", "joker"), {}, "there is no villain 'joker'"),
    (("devnet", "--seconds", "0"), {}, "give 1 to 86,400 seconds"),
    (("devnet", "--dir", "node"), {}, "node is not empty"),
    (("verifier", "--deployment", "nowhere.json"), {}, "nowhere.json cannot be read"),
    (("keeper", "--deployment", "nowhere.json"), {}, "nowhere.json cannot be read"),
])
def test_what_a_user_can_mend_is_one_line_that_says_how(
    args: tuple[str, ...], environment: dict[str, str], text: str
) -> None:
    done = anchorline(*args, **environment)
    assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr
    assert "5ecret" not in done.stderr + done.stdout


@pytest.mark.parametrize(("args", "text"), [
    (("status", "--rpc", "http://127.0.0.1:1"), "no node answers"), (("verifier",), "l1.rollup"),
    (("deploy",), "--publishers"),
])
def test_failures_are_objects_for_programs(args: tuple[str, ...], text: str) -> None:
    done = anchorline(*args, "--json")
    assert done.returncode == 1 and text in json.loads(done.stdout)["error"]["message"] and not done.stderr


@pytest.mark.parametrize("size", ["1.", "-1", "1e3", "²", ".5"])
def test_a_size_is_never_rounded(size: str) -> None:
    done = anchorline("order", "buy", size, "600000", "--rpc", "http://127.0.0.1:1")
    assert done.returncode == 2 and "whole number" in done.stdout + done.stderr


@pytest.mark.parametrize(("command", "text"), [
    ("order", "ANCHORLINE_KEYSTORE"), ("sequencer", "ANCHORLINE_BATCHER_KEY"), ("keeper", "ANCHORLINE_PUBLISHER_KEYS"),
    ("replay", "order_created")])
def test_help_names_keys_and_formats(command: str, text: str) -> None:
    assert text in anchorline(command, "--help").stdout


def test_help_lists_every_villain() -> None:
    shown = re.sub(r"[│\s]+", " ", anchorline("devnet", "--help").stdout)
    assert f"Kinds: {', '.join(KINDS)}." in shown


@pytest.mark.parametrize("command", ["deploy", "devnet", "l1", "replay"])
def test_every_option_of_it_is_explained(command: str) -> None:
    rows = re.findall(r"^│[* ]+(.*?)│$", anchorline(command, "--help", COLUMNS="200").stdout, re.MULTILINE)
    options = [row for row in rows if re.match(r"(FILE )?--", row)]
    assert len(options) > 5
    for row in options:
        explained = re.sub(r"\[(default|env var|required).*", "", re.split(r"\s{2,}", row, maxsplit=1)[1])
        assert explained.strip(), row


def test_l1_shows_whom_it_funds_and_that_the_keys_are_public() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "node.cli", "l1", "--port", "0", "--accounts", "2", "--json"], cwd=REPO,
        stdout=subprocess.PIPE, text=True,
    ) as process:
        try:
            assert process.stdout is not None
            shown = json.loads(process.stdout.readline())
            first, second = (item["address"] for item in shown["accounts"])
            for address in (first, second):
                question = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": [address, "latest"]}
                request = urllib.request.Request(
                    shown["rpc"], json.dumps(question).encode(), {"content-type": "application/json"})
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert int(json.load(answer)["result"], 16) == 10_000 * 10**18
        finally:
            process.terminate()
    assert all(LocalSigner(bytes.fromhex(item["private_key"][2:])).address.hex() == item["address"][2:]
               for item in shown["accounts"])
    text = _funded_text(2)
    assert first in text and second in text and "public" in text and "public" in shown["warning"]


def test_bad_usage_suggests() -> None:
    done = anchorline("order", "bye", "1", "1")
    assert done.returncode == 2 and "Did you mean" in done.stdout + done.stderr
    for_programs = anchorline("order", "bye", "1", "1", "--json")
    assert for_programs.returncode == 2 and "Did you mean" in json.loads(for_programs.stdout)["error"]["message"]


def test_the_config_flag_is_found_before_the_others() -> None:
    assert config_path(["verifier", "--config", "a.toml"]) == Path("a.toml") == config_path(["v", "--config=a.toml"])
    assert config_path(["verifier", "--config"]) is None


@pytest.mark.parametrize("name", ["devnet", "local", "sepolia"])
def test_shipped_configurations_load(name: str) -> None:
    assert load_file(REPO / "configs" / f"{name}.toml").l1.poll_ms > 0


def test_dollars_have_six_decimals() -> None:
    assert (micro_usd(1.5), micro_usd(0.000001), micro_usd(123_456_789.123456)) == (1_500_000, 1, 123_456_789_123_456)
    for wrong in (0.0, -1.0, 0.0000001, 1.0000005):
        with pytest.raises(UserError):
            micro_usd(wrong)
