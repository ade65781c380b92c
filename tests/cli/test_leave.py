"""`anchorline force` and `anchorline exodus` as processes: past the operator, and out without one."""

from __future__ import annotations

from pathlib import Path

from node.l1.deployment import Timings
from tests.cli.test_trade import Shell
from tests.sequencer.l1_world import BOND, OPERATOR, TRADERS, World, deployed, wait_for
from tests.sequencer.test_service import anchor_all, sequencing

USD = 10**6
SHORT = Timings(
    challenge_window_s=6, bond_min=BOND, seat_idle_s=60, force_delay_s=50, timelock_s=100,
    force_floor_s=10, exodus_after_s=200, reseat_s=3, register_s=12)


def shell(world: World, folder: Path, index: int, rpc: str = "") -> Shell:
    world.deployment.save(folder / "deployment.json")
    environment = {
        "ANCHORLINE_KEY": world.chain.keys[index].hex(), "ANCHORLINE_L1_RPC": world.chain.url,
        "ANCHORLINE_DEPLOYMENT": str(folder / "deployment.json")}
    return Shell(environment | ({"ANCHORLINE_RPC": rpc} if rpc else {}))


async def test_a_forced_transaction_is_followed_until_a_batch_has_it(tmp_path: Path) -> None:
    async with deployed(tmp_path) as world, sequencing(world) as raw:
        trader = shell(world, tmp_path, TRADERS[0], raw.rpc._endpoint.shown)
        account = (await trader.json("deposit", "5000"))["account"]
        await raw.price()
        await trader.json("order", "sell", "50", "600100", "--client-id", "77")
        forced = await trader.json("force", "cancel-all", "--account", str(account))
        assert forced["batch"] >= 1
        assert [order["live"] for order in await raw.rpc.call("al_orders", [account])] == [False]
        await raw.price()
        await trader.json("order", "sell", "40", "600200", "--client-id", "78")
        one = next(order for order in await raw.rpc.call("al_orders", [account]) if order["live"])
        await trader.json(
            "force", "cancel", "--account", str(account), "--side", "sell", "--price", str(one["price"]),
            "--sequence", str(one["seq"]), "--client-id", "78")
        assert not [order for order in await raw.rpc.call("al_orders", [account]) if order["live"]]
        for nothing in (("liquidate", "--account", str(account)), ("continue",)):  # healthy; nothing waits
            answered = await trader.run("force", *nothing)
            assert answered.returncode == 1 and b"and the rules answered" in answered.stderr
        before = (await trader.json("account", str(account)))["collateral"]
        out = await trader.json("force", "withdraw", "--account", str(account), "--amount", "7.5")
        assert out["batch"] > 0 and out["message"] > forced["message"]
        assert (await trader.json("account", str(account)))["collateral"] == before - 7_500_000
        refused = await trader.run("force", "withdraw", "--account", str(account), "--amount", "999999")
        assert refused.returncode == 1 and b"the rules answered INSUFFICIENT_FREE" in refused.stderr
        assert out["statuses"] == ["OK"] and forced["statuses"] == ["OK", "OK"]
        missing = await trader.run("force", "reduce", "--account", str(account))
        assert missing.returncode == 1 and b"give --side --lots --price" in missing.stderr
        unserved = await trader.run("exodus", "--datadir", str(tmp_path / "empty"))
        assert unserved.returncode == 0 and b"nothing to leave" in unserved.stdout


async def test_everyone_leaves_a_rollup_without_an_operator(tmp_path: Path) -> None:
    """The sequencer is gone for good. From an empty disk: freeze, withdrawal, refund, registration, claim."""
    async with deployed(tmp_path, timings=SHORT) as world:
        async with sequencing(world) as raw:
            alice = shell(world, tmp_path, TRADERS[0], raw.rpc._endpoint.shown)
            account = (await alice.json("deposit", "5000"))["account"]
            sent = await alice.json("withdraw", "20")
            await anchor_all(raw, sent["position"])
        operator = shell(world, tmp_path, OPERATOR)
        assert (await operator.json("seat", "--leave"))["gas"] > 0
        early = await operator.run("seat", "--release")
        assert early.returncode == 1 and b"BOND_LOCKED" in early.stderr
        unclear = await operator.run("seat", "100", "--leave")
        assert unclear.returncode == 1 and b"give the dollars of a bond, or one of" in unclear.stderr
        await world.deposit(TRADERS[0], "late", 30 * USD)
        before = await held(world, TRADERS[0])

        async def due() -> str:
            return str((await alice.json("exodus", "--datadir", str(tmp_path / "out")))["phase"])

        await wait_for(due, lambda phase: phase != "alive", seconds=60)
        result = await alice.json("exodus", "--datadir", str(tmp_path / "out"), "--wait")
        assert result["phase"] == "claims"
        done = {step["what"]: step for step in result["done"]}
        assert set(done) == {"refund", "withdraw", "register", "claim"}
        assert done["register"]["amount"] == done["claim"]["amount"] == 4_980 * USD
        assert done["claim"]["number"] == account
        assert await held(world, TRADERS[0]) - before == (4_980 + 20 + 30) * USD
        assert await world.view("custody") == 0
        again = await alice.json("exodus", "--datadir", str(tmp_path / "out"))
        assert again["done"] == []


async def held(world: World, index: int) -> int:
    token = bytes.fromhex(world.deployment.token[2:])
    owner = world.chain.signer(index).address
    data = await world.chain.client.call(token, bytes.fromhex("70a08231") + owner.rjust(32, b"\0"))
    return int.from_bytes(data, "big")
