"""`anchorline economics` as an operator meets it: where values come from, what it says, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from node.cli.app import run_command
from node.cli.economics import Flags, economics
from node.cli.economy.attacks import ATTACKS
from node.cli.economy.chain import chain_parameters, market_parameters
from node.cli.economy.settings import KEYS, Economy
from node.cli.output import UserError
from node.l1.deployment import ChainSpec
from node.stf import state
from node.stf.commitments import BatchHeader
from node.stf.state import Globals
from tests.cli.test_leave import shell
from tests.sequencer.l1_world import BOND, TRADERS, deployed
from tests.sequencer.test_service import anchor_all, sequencing

REPO = Path(__file__).resolve().parents[2]
USD = 10**6


def report(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert run_command(["economics", "--json", "--paths", "0", *args]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANCHORLINE_DEPLOYMENT", raising=False)


def test_the_report_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = report(capsys)
    assert [row["name"] for row in found["attacks"]] == [attack.name for attack in ATTACKS]
    assert set(found["economy"]) == set(found["origin"]) == set(KEYS)
    assert found["pays"] == [] and found["most"] == "buy-space" and found["checks"] == []
    assert found["least_bond_usd"] == pytest.approx(98_108.4, rel=1e-5)
    assert found["shortest_window_s"] == pytest.approx(3_600 + 218 * 12)
    for row in found["attacks"]:
        assert row["net_usd"] == pytest.approx(row["gain_usd"] - row["cost_usd"])
        assert row["formula"] and row["source"] and row["title"]
    chances = [row["chance_without"] for row in found["stale"]]
    assert chances == sorted(chances) and len(chances) >= 5
    assert found["no_bond_helps"] == found["no_window_helps"] == []
    assert found["facts"]["proof_pays_up_to_gwei"] == pytest.approx(10_000 / 36)


def test_the_bond_it_names_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    poor = report(capsys, "--bond-usd", "20000", "--volatility", "1.2")
    assert poor["pays"] == ["withhold", "break-promises", "self-slash", "early-payment", "at-once", "squat"]
    least = poor["least_bond_usd"]
    assert report(capsys, "--bond-usd", str(least), "--volatility", "1.2")["pays"] == []
    assert report(capsys, "--bond-usd", str(least - 5), "--volatility", "1.2")["pays"] == ["withhold"]
    assert poor["shortest_window_s"] == pytest.approx(3_600 + 218 * 12)
    assert poor["no_window_helps"] == poor["pays"] and poor["no_bond_helps"] == []


def test_the_window_it_names_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    window = report(capsys)["shortest_window_s"]
    assert report(capsys, "--window-s", str(window))["pays"] == []
    assert report(capsys, "--window-s", str(window - 12))["pays"] == ["buy-space"]


def test_flags_beat_the_file_and_the_file_the_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "economy.toml"
    path.write_text("window_s = 7200\nbond_usd = 5e5\nreact_s = 60\n")
    found = report(capsys, "--config", str(path), "--window-s", "9000", "--set", "react_s=30", "z=2")
    assert (found["economy"]["window_s"], found["origin"]["window_s"]) == (9_000, "flag")
    assert (found["economy"]["bond_usd"], found["origin"]["bond_usd"]) == (500_000, str(path))
    assert (found["economy"]["react_s"], found["origin"]["react_s"]) == (30, "--set")
    assert found["economy"]["z"] == 2 and found["origin"]["ether_usd"] == "default"


def test_the_example_file_is_a_markets_file() -> None:
    path = REPO / "configs/markets.toml"
    assert market_parameters(path, 0) == pytest.approx({
        name: getattr(Economy(), name) for name in market_parameters(path, 0)} | {"open_interest_usd": 60_000_000})
    assert market_parameters(path, 1)["sigma_floor"] == pytest.approx(7.5e-5)
    with pytest.raises(UserError, match="has no market 9: give --market with one of 0, 1"):
        market_parameters(path, 9)
    assert market_parameters(None, 0) == {}


@pytest.mark.parametrize(("args", "said"), [
    (["--window-s", "-1"], "window_s: -1 is outside 0 to"),
    (["--censor-share", "1.5"], "censor_share: 1.5 is outside 0 to 1"),
    (["--bond-usd", "nan"], "bond_usd: nan is outside"),
    (["--gas-limit", "5e6"], "proof_gas: 12,000,000 does not fit"),
    (["--set", "mm_base=0.5"], "mm_base: 0.5 is above im_base"),
    (["--set", "watchtowers=1.5"], "watchtowers: 1.5 is no whole number"),
    (["--set", "windows_s=3"], "did you mean window_s?"),
    (["--set", "xyz=3"], "xyz is no key"),
    (["--set", "z=high"], "--set z=high: expected name=number"),
    (["--paths", "10"], "--paths is 0, or 1000 to"),
    (["--config", "missing.toml"], "missing.toml: No such file"),
    (["--markets", "missing.toml"], "missing.toml cannot be read"),
    (["--deployment", "missing.json"], "missing.json cannot be read"),
])
def test_what_cannot_be_is_said(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["economics", *args]) == 1
    output = capsys.readouterr()
    assert said in output.err and output.out == "" and output.err.count("\n") == 1


@pytest.mark.parametrize("text", ["bond_usd = \"much\"", "bond_usd = true", "[bond]\nusd = 1", "bond_usd ="])
def test_a_file_that_says_no_numbers(text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "economy.toml"
    path.write_text(text)
    assert run_command(["economics", "--json", "--config", str(path)]) == 1
    assert str(path) in json.loads(capsys.readouterr().out)["error"]["message"]


def test_strict_ends_with_1_after_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    economics(strict=True, paths=0)
    with pytest.raises(SystemExit) as ended:
        economics(flags=Flags(bond_usd=1_000), strict=True, paths=0)
    assert ended.value.code == 1
    first, second = capsys.readouterr().out.split("VERDICT")[1:]
    assert first.startswith(": no attack pays.") and "\nLeast bond" in first
    assert second.startswith(": these attacks pay: unseen, withhold, break-promises")


def test_the_text_says_all_in_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "118")  # narrower tables break their cells, and sentences with them
    economics(flags=Flags(bond_usd=50_000), paths=1_000)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 118
    words = " ".join(shown.split())
    for attack in ATTACKS:
        assert attack.title.split()[0] in words and shown.count(f"\n{attack.name} ") == 2
    assert "withhold promised trades never posted" in words
    assert "PAYS 4,811 USD until there is a bond of 98,109 USD" in words
    assert "never pays from a window of 1.727 h on" in words
    assert "bond_usd 50,000 flag what the operator's bond holds" in words
    assert "a majority of L1's validators censors" in words and "this one is TOO SHORT" in words
    assert "Monte-Carlo check, 1,000 samples each" in words and "DISAGREE" not in words
    assert "worth its tenth of the bond come 16 times a year" in words  # 1,461 deadlines, 2.55 deviations
    assert "earns its prover 5,000 USD: worth it up to 139 gwei" in words


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = Flags(volatility=0, value_locked_usd=0, window_s=0)
    for name, flags in (("usual", Flags()), ("still", still)):
        path = tmp_path / "new" / f"{name}.png"
        economics(flags=flags, plot=path, paths=1_000)
        with Image.open(path) as picture:
            assert picture.format == "PNG" and picture.size == (1125, 810)
            assert len(picture.convert("RGB").getcolors(1 << 20) or ()) > 50, "not empty"
    assert f"economics: {path}" in capsys.readouterr().err


def test_a_picture_without_matplotlib_is_refused_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where the extra is not installed
    assert run_command(["economics", "--plot", str(tmp_path / "x.png")]) == 1
    assert "needs matplotlib: install the package with its reports extra" in capsys.readouterr().err
    economics(paths=0)


def test_nothing_heavy_is_loaded_without_a_chain() -> None:
    code = ("import sys; from node.cli.app import run_command; run_command(['economics', '--paths', '0']);"
            "print(sorted({'web3', 'numpy', 'matplotlib', 'plyvel'} & set(sys.modules)))")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_chain_parameters_are_read_from_a_header() -> None:
    g = Globals()
    spec = ChainSpec()
    g.chain.anchor_interval, g.chain.tau_reduce, g.chain.tau_halt = 90_000, spec.tau_reduce, spec.tau_halt
    g.chain.buffer_ms, g.chain.refill, g.chain.closeout = 1, 2, 4
    g.level, g.resting, g.outflow_limit, g.losses_total, g.outflow_at = 1, 77, 123 * USD, -5, 999
    words = tuple(state.global_words(g))
    assert len(words) == 6
    header = BatchHeader(
        number=1, parent=bytes(32), rules=2, inbox_cursor=0, inbox_hash=bytes(32), chunk_count=1,
        chunks_root=bytes(32), post_root=bytes(32), globals=words, posted_at=0, poster=bytes(20))
    assert chain_parameters(header) == {
        "anchor_interval_s": 90, "tau_reduce_s": 1_800, "tau_halt_s": 7_200, "outflow_limit_usd": 123}


async def test_a_deployment_is_read_from_l1(tmp_path: Path) -> None:
    """Before the first batch and after it: parameters, bond, custody and blocks are the chain's own."""
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        trader = shell(world, tmp_path, TRADERS[0], raw.rpc._endpoint.shown)
        sent = await trader.json("deposit", "5000")
        await raw.price()
        placed = await trader.json("order", "sell", "50", "600100", "--account", str(sent["account"]))
        await anchor_all(raw, placed["position"])
        found = await trader.json("economics", "--paths", "0", "--ether-usd", "2500")
        economy, origin = found["economy"], found["origin"]
        params = await world.view("params")
        assert economy["window_s"] == params[0] and economy["seat_idle_s"] == params[3]
        assert economy["value_locked_usd"] == 5_000 and economy["bond_usd"] == BOND / USD
        assert economy["anchor_interval_s"] == ChainSpec().anchor_interval / 1e3
        assert {name for name, where in origin.items() if where == "L1"} >= {
            "window_s", "bond_usd", "value_locked_usd", "promise_deadline_s", "exodus_after_s", "gas_limit",
            "base_fee_gwei", "anchor_interval_s", "tau_reduce_s", "tau_halt_s", "outflow_limit_usd"}
        assert (economy["ether_usd"], origin["ether_usd"]) == (2_500, "flag") and economy["gas_limit"] >= 30e6
        wrong = await trader.run("economics", "--l1.rpc", "http://127.0.0.1:1")
        assert wrong.returncode == 1 and b"does not answer" in wrong.stderr
