"""Commands that need no operator: force a transaction through L1, and leave a rollup that has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import trio

from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url, micro_usd, open_l1
from node.cli.output import UserError, emit, note
from node.cli.trade import RpcUrl, Whole, _run, _usd

Forced = Literal["withdraw", "cancel", "cancel-all", "reduce", "liquidate", "continue", "price"]
_NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "withdraw": ("account", "amount"), "cancel": ("account", "side", "price", "sequence", "client_id"),
    "cancel-all": ("account",), "reduce": ("account", "side", "lots", "price"), "liquidate": ("account",),
    "continue": (), "price": ("publisher", "price"),
}


OUTCOME_S: Final = 60.0


def force(
    what: Forced, *, account: Whole | None = None, slot: Whole = 0, amount: float | None = None, to: str = "",
    market: Whole = 0, side: Literal["buy", "sell"] | None = None, lots: Whole | None = None,
    price: Whole | None = None, sequence: Whole | None = None, client_id: Whole | None = None,
    publisher: Whole | None = None, rpc: RpcUrl = "", l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, timeout_s: float = 7_200.0, json: bool = False,
) -> None:
    """Sign a transaction with your key and put it into L1's inbox, past the sequencer; follow it until a batch has it.

    withdraw (--account --amount [--to]), cancel (--account --side --price --sequence --client-id [--market]: as a
    verifier's al_orders shows your order), cancel-all (--account [--market]), reduce (--account --side --lots --price
    [--market]: an order that can only make your position smaller, filled at once or not at all), liquidate (--account
    [--market]: anybody's, as far as the rules allow), continue ([--market]: the rest of an order that waits), price
    (--publisher --price [--market]: a publisher's). `anchorline deposit` goes through the inbox anyway.

    Parameters
    ----------
    account
        Your account on L2, or the one to liquidate; no sequencer is asked for it.
    slot
        Your key's slot in the account; 0 is the owner's, which alone withdraws.
    amount
        Dollars.
    to
        L1 address that is paid; yours by default.
    publisher
        Your publisher slot.
    rpc
        URL of a verifier that tells what the rules made of it: L1 only shows that a batch has consumed it.
    timeout_s
        Seconds to wait for a batch; 0 does not wait.
    """
    given = {
        "account": account, "slot": slot, "amount": amount, "to": to, "market": market, "side": side, "lots": lots,
        "price": price, "sequence": sequence, "client_id": client_id, "publisher": publisher}
    missing = [f"--{name.replace('_', '-')}" for name in _NEEDS[what] if given[name] is None]
    if missing:
        raise UserError(f"force {what}: give {' '.join(missing)}")

    async def command() -> None:
        from node.cli.keys import user_signer
        from node.l1.deployment import load_deployment
        from node.sdk.forced import ForcedSigner
        from node.sdk.l1 import L1Wallet
        from node.stf import encoding

        record = load_deployment(deployment)
        domain = encoding.domain_separator(record.l2_chain_id, int(record.rollup, 16))
        async with open_l1(l1_rpc) as (client, sender):
            wallet = L1Wallet(client, sender, record)
            now_ms = (await client.head()).timestamp * 1_000
            signer = ForcedSigner(user_signer(), domain, account or 0, slot, now_ms, time.time_ns() // 1_000_000)
            transaction = _forced_bytes(what, given, signer, wallet.address)
            receipt = await wallet.force(transaction)
            number = wallet.message_number(receipt)
            result: dict[str, Any] = {
                "message": number, "l1_tx": "0x" + receipt.tx_hash.hex(), "bytes": len(transaction), "batch": None}
            delay_s = await wallet.ask_rollup("forced_delay_s")
            if not json:
                note(f"message {number} is in the inbox; a batch must consume it within {delay_s} s of L2 time")
            result["batch"] = await _follow(wallet, number, timeout_s) if timeout_s else None
        text = f"message {number} waits"
        if timeout_s:
            done = await _outcome(rpc, number, result)
            text = f"batch {result['batch']} or one before it has consumed message {number}: {done}"
        emit(json, result, text)

    _run(command)


def _forced_bytes(what: Forced, given: dict[str, Any], signer: Any, sender: bytes) -> bytes:
    """The transaction that ``what`` names, from checked flags. Raises UserError for an address that is none."""
    from node.cli.keys import parse_address
    from node.stf import encoding
    from node.stf.types import CANCEL, CANCEL_ALL, Action

    market, price, side = given["market"], given["price"], int(given["side"] == "sell")
    if what == "withdraw":
        recipient = parse_address(given["to"], "to") if given["to"] else sender
        found = signer.withdraw(micro_usd(given["amount"]), recipient)
    elif what == "cancel":
        found = signer.actions(
            Action(CANCEL, market, side, price, client_id=given["client_id"], seq=given["sequence"]))
    elif what == "cancel-all":
        found = signer.actions(Action(CANCEL_ALL, market))
    elif what == "reduce":
        found = signer.reduce(market, side, price, given["lots"])
    elif what == "liquidate":
        found = encoding.write_liquidate(given["account"], market)
    elif what == "continue":
        found = encoding.write_continue(market)
    else:
        found = signer.price(given["publisher"], market, price)
    assert isinstance(found, bytes), "every kind is bytes"
    return found


async def _outcome(url: str, number: int, result: dict[str, Any]) -> str:
    """What the rules made of it, in words; into ``result`` too. Raises UserError if they refused it."""
    if not url:
        return "consumed is not done, the rules may have refused it; --rpc URL asks a verifier what they did"
    from node.rpc.client import HttpClient, RpcError, RpcUnavailable
    from node.sdk.forced import find_outcome

    with trio.move_on_after(OUTCOME_S):
        try:
            async with HttpClient(url) as client:
                found = await find_outcome(client, number)
        except (RpcUnavailable, RpcError) as error:  # forcing must work when no node does
            return f"what the rules did is not known, since the node did not say ({error})"
        result |= {"position": found.position, "statuses": list(found.statuses)}
        said = ", ".join(found.statuses)
        if found.done:
            return f"{said} at position {found.position}"
        raise UserError(f"batch {result['batch']} has consumed message {number} ({result['l1_tx']}), and the rules "
                        f"answered {said} (`anchorline explain {found.position} --rpc {url}` says why)")
    return f"the node at {url} has not got it within {OUTCOME_S:.0f} s"


async def _follow(wallet: Any, number: int, timeout_s: float) -> int:
    """The first batch seen to have consumed the message. Raises UserError when time is up."""
    with trio.move_on_after(timeout_s):
        while True:
            head = int(await wallet.ask_rollup("head_number"))
            cursor = int(await wallet.ask_rollup("head_position")) & (2**64 - 1)
            if cursor > number:
                return head
            await trio.sleep(0.5)
    raise UserError(f"no batch has consumed message {number} after {timeout_s:g} s. Batches that leave it too long are "
                    "refused; a seat that is idle can be evicted; after that `anchorline exodus` ends the rollup")


def exodus(
    *, datadir: Path = Path("data"), wait: bool = False, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False,
) -> None:
    """Leave without any operator: freeze the rollup when that is due, get unconsumed deposits and open withdrawals
    back, register your accounts, and claim your share. Does what is possible now; run it again in the next phase.

    Parameters
    ----------
    datadir
        A stopped verifier's data; an empty folder will do, everything is derived from L1.
    wait
        Go on through all phases until nothing is left to do.
    """
    async def command() -> None:
        from node.sdk.exodus import Leaver, derive

        with own_chain(deployment, datadir) as (record, chain):
            rollup = bytes.fromhex(record.rollup[2:])
            async with open_l1(l1_rpc) as (client, sender):
                leaver = Leaver(client, sender, record, chain, sender.address)
                done = await _leave(leaver, lambda: derive(chain, client, rollup, record.start_block), wait, json)
                situation = await leaver.situation()
        steps = [{"what": d.what, "number": d.number, "amount": d.amount, "l1_tx": d.l1_tx} for d in done]
        result = {"phase": situation.phase, "done": steps, "settles_at": situation.settles_at,
                  "claims_at": situation.claims_at}
        emit(json, result, "\n".join([*map(_step_text, done), _phase_text(situation)]))

    _run(command)


@contextmanager
def own_chain(deployment: Path, datadir: Path) -> Iterator[tuple[Any, Any]]:
    """The deployment's record, and the chain in a folder of one's own, to be derived from L1; closed at the end."""
    from node.derive.chain import Chain
    from node.l1.deployment import load_deployment
    from node.stf import encoding
    from node.storage.kv import open_kv

    record = load_deployment(deployment)
    domain = encoding.domain_separator(record.l2_chain_id, int(record.rollup, 16))
    datadir.mkdir(parents=True, exist_ok=True)
    kv = open_kv(datadir / "chain")
    try:
        yield record, Chain.open(kv, domain)
    finally:
        kv.close()


async def _leave(leaver: Any, derive: Any, wait: bool, json: bool) -> list[Any]:
    """One round, or all until the last phase has nothing left."""
    done: list[Any] = []
    while True:
        await derive()
        now = await leaver.go()
        done += now
        situation = await leaver.situation()
        if not wait or situation.phase in ("alive", "due") or (situation.phase == "claims" and not now):
            return done
        if not json:
            note(_phase_text(situation))
        until = situation.settles_at if situation.phase == "disputes" else situation.claims_at
        await trio.sleep(min(30.0, max(0.5, until - situation.now)))


def _step_text(done: Any) -> str:
    names = {"freeze": "the rollup is frozen", "register": "account {n} is registered with {a} USD",
             "claim": "account {n} was paid {a} USD", "refund": "deposit {n} of {a} USD was refunded",
             "withdraw": "withdrawal {n} of {a} USD was paid"}
    return names[done.what].format(n=done.number, a=_usd(done.amount)) + f" in {done.l1_tx}"


def _phase_text(situation: Any) -> str:
    def at(seconds: int) -> str:
        return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))

    return {
        "alive": "the rollup lives: messages are served and the seat is filled; nothing to leave",
        "due": "the rollup can be frozen",
        "disputes": f"frozen; fraud proofs are open until {at(situation.settles_at)}, then accounts register",
        "registration": f"accounts register until {at(situation.claims_at)}, then they are paid",
        "claims": "registration has ended; registered accounts are paid",
    }[situation.phase]
