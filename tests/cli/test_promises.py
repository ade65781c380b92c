"""`anchorline promises` as a process: what was kept, what was broken, the proof of it, and the victim's part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from eth_hash.auto import keccak

from node.derive.promises import SignedPromise, digest, group_leaves, group_paths, make_promise
from node.sdk.promises import parse_promise
from tests.cli.test_leave import held, shell
from tests.sequencer.l1_world import BOND, OPERATOR, TIMINGS, TRADERS, World, deployed, promise_signer, wait_for
from tests.sequencer.test_service import anchor_all, sequencing

CLAIM_S = 12


def broken(world: World, answer: dict[str, Any]) -> dict[str, Any]:
    """The same answer, had the sequencer promised the trader's order the next position, where another one stands."""
    data = bytes.fromhex(answer["data"][2:])
    signed, _path = parse_promise(answer["promise"])
    position = answer["position"] + 1
    given = make_promise(signed.promise.epoch, position, [keccak(data)], signed.promise.time, bytes(32))
    signature = promise_signer().sign_hash(digest(world.domain, given))
    shared = {name: "0x" + value.hex() for name, value in (("previous", given.previous), ("root", given.root))}
    path = group_paths(group_leaves(position, [keccak(data)]))[0]
    told = {"epoch": given.epoch, "first_position": position, "count": 1, "time": given.time, **shared,
            "signature": "0x" + SignedPromise(given, signature).signature.hex(), "path": path, "index": 0}
    return answer | {"position": position, "promise": told}


async def test_a_broken_promise_is_found_proven_and_paid_for(tmp_path: Path) -> None:
    timings = msgspec.structs.replace(TIMINGS, claim_s=CLAIM_S)
    async with deployed(tmp_path, timings=timings) as world:
        kept = tmp_path / "promises.jsonl"
        async with sequencing(world) as raw:
            alice = shell(world, tmp_path, TRADERS[0], raw.rpc._endpoint.shown)
            alice.environment["ANCHORLINE_PROMISES"] = str(kept)
            await alice.json("deposit", "5000")
            answers = []
            for index in range(3):
                await raw.price()  # on a busy machine a command takes longer than a price lasts
                answers.append(await alice.json("order", "sell", "50", str(600_100 + index)))
            await anchor_all(raw, answers[-1]["position"])
            assert [json.loads(line) for line in kept.read_bytes().splitlines()] == answers
            with kept.open("a") as file:
                file.write(json.dumps({"error": {"kind": "OperationRejected", "message": "refused"}}) + "\n")
            check = ("promises", str(kept), "--datadir", str(tmp_path / "disk"))
            told = await alice.json(*check, "--prove", "--claim")
            assert [row["state"] for row in told["promises"]] == ["kept"] * 3 and told["sent"] == []
            assert all(row["batch"] for row in told["promises"])
        stranger = replace_signature(answers[0])
        kept.write_text(json.dumps(broken(world, answers[0])) + "\n" + json.dumps(stranger) + "\n")
        told = await alice.json(*check)
        assert [row["state"] for row in told["promises"]] == ["broken", "unbound"]
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == BOND
        before = await held(world, TRADERS[0])
        told = await alice.json(*check, "--prove", "--claim")
        assert [item["what"] for item in told["sent"]] == ["proved broken", "claim"]
        assert (await world.view("bond_of", world.chain.signer(OPERATOR).address))[0] == 0
        assert await world.view("seat_holder") == bytes(20)

        async def paid() -> int:
            await alice.json(*check, "--prove", "--claim")
            return await held(world, TRADERS[0]) - before

        assert await wait_for(paid, lambda amount: amount > 0, seconds=60) == BOND // 10
        shown = await alice.run("promises", str(tmp_path / "deployment.json"))
        assert shown.returncode == 1 and b"line 1: no answer with a promise" in shown.stderr


def replace_signature(answer: dict[str, Any]) -> dict[str, Any]:
    """Signed by a key that no bond answers for."""
    signed, _path = parse_promise(answer["promise"])
    forged = replace(signed, signature=bytes(63) + b"\x01\x00")
    return answer | {"promise": answer["promise"] | {"signature": "0x" + forged.signature.hex()}}
