"""`anchorline promises`: a trader's kept promises, checked against L1, with the proofs and claims that follow."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Any

from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url, open_l1
from node.cli.leave import own_chain
from node.cli.output import UserError, emit, note
from node.cli.trade import _run

LINES_MAX = 100_000


def promises(
    file: Path, *, datadir: Path = Path("data"), prove: bool = False, claim: bool = False, verifier: str = "",
    l1_rpc: L1Url = DEFAULT_L1, deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False,
) -> None:
    """Check the promises that you kept against what was posted on L1.

    Parameters
    ----------
    file
        One answer a line, as `anchorline order … --json` prints them; the trading commands keep theirs in the file that
        the environment's ANCHORLINE_PROMISES names.
    datadir
        A stopped verifier's data; an empty folder will do, everything is derived from L1.
    prove
        Prove the first broken or late promise of each tenure on L1: its operator loses the bond, or the seat.
    claim
        Claim your part of the bonds that were slashed for promises to you, and have due parts paid.
    verifier
        URL of a running verifier that you trust: it keeps them, checks them by itself from now on, and tells what it
        knows. Nothing is derived here, and no key is needed.
    """
    if verifier:
        if prove or claim:
            raise UserError("--prove and --claim send what was checked here: leave --verifier out")
        _hand_over(verifier, _lines(file), json)
        return
    keepsakes = _read(file)

    async def command() -> None:
        from node.l1 import bindings
        from node.sdk.exodus import derive
        from node.sdk.kept import PromiseBook

        with own_chain(deployment, datadir) as (record, chain):
            rollup = bytes.fromhex(record.rollup[2:])
            async with open_l1(l1_rpc) as (client, sender):
                await derive(chain, client, rollup, record.start_block)
                court = await client.call(rollup, bindings.encode_call("promise_court"))
                book = PromiseBook(client, rollup, bindings.decode_result("promise_court", court), chain)
                rows = [await _row(book, keepsake) for keepsake in keepsakes]
                sent = await _prove(book, sender, rows) if prove else []
                if claim:
                    sent += await _claim(book, sender, keepsakes)
        shown = [{name: row[name] for name in ("position", "epoch", "state", "batch")} for row in rows]
        emit(json, {"promises": shown, "sent": sent}, _text(shown, sent))

    _run(command)


def _hand_over(url: str, answers: list[tuple[int, Any]], json: bool) -> None:
    """Have a verifier keep them all, and show its verdicts."""
    async def command() -> None:
        from node.sdk import connect
        from node.sdk.errors import AnchorlineError

        rows = []
        async with connect(url) as client:
            for number, answer in answers:
                try:
                    found = await client.promise_verdict((await client.keep_promise(answer)).id)
                except AnchorlineError as error:
                    raise UserError(f"line {number}: the verifier does not keep it: {error}") from None
                evidence = found.evidence
                rows.append({
                    "id": found.id, "position": found.position, "epoch": found.epoch, "state": found.state,
                    "batch": found.batch, "final": found.final, "evidence": None if evidence is None else
                    {"kind": evidence.kind, "to": evidence.to, "calldata": evidence.calldata}})
        emit(json, {"promises": rows, "sent": []}, _text(rows, []))

    _run(command)


def _lines(file: Path) -> list[tuple[int, Any]]:
    """The answers in a file, with the numbers of their lines. Raises UserError."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); the trading commands keep answers in it when "
                        f"ANCHORLINE_PROMISES={file} is set") from None
    if len(lines) > LINES_MAX:
        raise UserError(f"{file} has {len(lines):,} lines, at most {LINES_MAX:,} are checked at once: split it")
    found, refused = [], 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = json_module.loads(line)
        except ValueError as error:
            raise UserError(f"{file}, line {number}: no answer with a promise ({error!r}); take the line out") from None
        if isinstance(answer, dict) and set(answer) == {"error"}:  # what a refused order prints: nothing was promised
            refused += 1
        else:
            found.append((number, answer))
    if refused:
        note(f"{refused} lines of {file} are refusals: nothing was promised there")
    return found


def _read(file: Path) -> list[Any]:
    from node.sdk.errors import BrokenPromise
    from node.sdk.kept import parse_keepsake

    found = []
    for number, answer in _lines(file):
        try:
            found.append(parse_keepsake(answer))
        except (ValueError, KeyError, TypeError, BrokenPromise) as error:
            raise UserError(f"{file}, line {number}: no answer with a promise ({error!r}); take the line out") from None
    return found


async def _row(book: Any, keepsake: Any) -> dict[str, Any]:
    verdict = await book.check(keepsake)
    return {"position": verdict.position, "epoch": keepsake.kept.signed.promise.epoch, "state": verdict.state,
            "batch": verdict.batch or None, "proof": verdict.proof}


async def _prove(book: Any, sender: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One proof of each kind a tenure: L1 takes no second one."""
    done: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        name = (row["epoch"], row["state"])
        if row["proof"] and name not in done and not await book.is_judged(*name):
            tx = await book.send(sender, f"prove {row['state']}", row["proof"])
            done[name] = {"what": f"proved {row['state']}", "position": row["position"], "l1_tx": tx}
    return list(done.values())


async def _claim(book: Any, sender: Any, keepsakes: list[Any]) -> list[dict[str, Any]]:
    done = []
    for keepsake in keepsakes:
        for slash, what, data in await book.claims(keepsake, sender.address):
            tx = await book.send(sender, f"{what} {slash}", data)
            done.append({"what": what, "slash": slash, "position": keepsake.kept.position, "l1_tx": tx})
    return done


def _text(rows: list[dict[str, Any]], sent: list[dict[str, Any]]) -> str:
    lines = [f"position {row['position']:>10,}  {row['state']}" + (f" in batch {row['batch']}" if row["batch"] else "")
             for row in rows]
    lines += [f"{item['what']} (position {item['position']:,}) in {item['l1_tx']}" for item in sent]
    return "\n".join(lines) or "no promises in the file"
