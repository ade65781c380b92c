"""The judge of a drill: follows the watchtower's own words, and believes L1 alone.

Passed means: L1 dropped the wrong batch in a transaction that the watchtower's account sent, before the deadline.
Everything else is a failure with a reason that names who did what instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import trio

from node.cli.fire.operator import drop_of
from node.errors import Temporary
from node.l1.client import L1Client
from node.l1.types import L1Receipt
from node.rpc.client import HttpClient, RpcError, RpcUnavailable

POLL_S: Final = 0.25
ENDED: Final = ("refused", "broken", "expired", "failed", "beaten")


class NotPassed(Exception):
    """The drill failed; the message says why."""


@dataclass(slots=True)
class Tower:
    """A running watchtower, over its RPC. ``account``: where it sends proofs from; ``gas_max``: what one may take."""

    rpc: HttpClient
    account: bytes
    gas_max: int
    lost: str = ""
    newest: dict[str, Any] = field(default_factory=dict)

    async def look(self, drill: str) -> dict[str, Any]:
        """What it says of a drill now; empty if it does not know it, or does not answer (``lost``)."""
        try:
            status = await self.rpc.call("al_status", timeout_s=5.0)
        except (RpcError, RpcUnavailable) as error:
            self.lost = str(error) or type(error).__name__
            return {}
        self.lost = ""
        newest = (status.get("drills") or {}).get("newest") or {}
        if newest.get("id") in (drill, "") and newest:  # "": a request that could not even be read
            self.newest = newest
            return self.newest
        return {}

    async def until_following(self, drill: str, block: int, batch: int, deadline_s: float) -> None:
        """Wait until it has found an honest batch of the sandbox right. Raises NotPassed."""
        with trio.move_on_after(deadline_s):
            while True:
                seen = await self.look(drill)
                self.check(seen)
                if seen.get("l1_derived", 0) >= block and seen.get("agreed", 0) >= batch:
                    return
                await trio.sleep(POLL_S)
        if self.lost:
            raise NotPassed(f"the watchtower stopped answering ({self.lost}): is it running?")
        state = self.newest.get("state")
        raise NotPassed("the watchtower did not take up the request: --datadir must be that of the running watchtower"
                        if state is None else f"the watchtower did not catch up with the sandbox (state {state})")

    def check(self, seen: dict[str, Any]) -> None:
        """Raises NotPassed if the watchtower has given the drill up."""
        if seen.get("state") in ENDED and seen["state"] != "beaten":
            raise NotPassed(f"the watchtower's drill is {seen['state']}: {seen.get('reason') or 'see its log'}")


@dataclass(frozen=True, slots=True)
class Disproof:
    """The transaction that dropped the wrong batch."""

    receipt: L1Receipt
    sender: bytes
    calldata_bytes: int
    l1_transactions: int


async def await_disproof(
    client: L1Client, tower: Tower, drill: str, rollup: bytes, batch: int, posted: L1Receipt, deadline_s: float
) -> Disproof:
    """The end of a wrong batch, by whomever. Raises NotPassed when the deadline passes, or hope is lost before."""
    with trio.move_on_after(deadline_s):
        while True:
            found = await _end_of(client, tower, rollup, batch, posted)
            if found is not None:
                return found
            tower.check(await tower.look(drill))
            await trio.sleep(POLL_S)
    if tower.lost:
        raise NotPassed(f"nobody disproved the batch within {deadline_s:g} s, and the watchtower stopped answering "
                        f"({tower.lost})")
    raise NotPassed(f"nobody disproved the batch within {deadline_s:g} s; the watchtower's drill is "
                    f"{tower.newest.get('state', 'unknown to it')}: see its log")


async def _end_of(client: L1Client, tower: Tower, rollup: bytes, batch: int, posted: L1Receipt) -> Disproof | None:
    try:
        drop = await drop_of(client, rollup, batch, posted.block_number)
        if drop is None:
            return None
        receipt, transaction = await client.receipt(drop.tx_hash), await client.transaction(drop.tx_hash)
        if receipt is None or transaction is None:
            return None
        sent = [await client.nonce(tower.account, block=block) for block in (posted.block_number, drop.block_number)]
    except Temporary:
        return None  # asked again until the deadline
    return Disproof(receipt, transaction.sender, len(transaction.input), sent[1] - sent[0])


def judge(disproof: Disproof, tower: Tower) -> None:
    """Raises NotPassed unless it was the watchtower's own transaction."""
    if disproof.sender != tower.account:
        raise NotPassed(
            f"the batch was disproved, but by 0x{disproof.sender.hex()} and not by the watchtower's account "
            f"0x{tower.account.hex()}: yours was slower, or did nothing")
