"""A deployed Rollup with its token, actors and the Python twin of what it stores; shared by the contract tests.

`World.post()` posts a batch as an honest operator would, any part overridden, and keeps the header that the Python side
computes from the calldata, so every test that posts also compares the twins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eth_hash.auto import keccak

from node.l1.bindings import PostBatch, RollupParams, decode_event, decode_post_batch, encode_post_batch, header_of
from node.stf.commitments import BatchHeader, Position, genesis_header, header_hash, inbox_hash, pack_position
from tests.evm import Actor, Contract, Evm, Receipt

USD = 10**6
GENESIS_ROOT = keccak(b"genesis")
GENESIS_TIME_MS = 1_600_000_000_000
BOND = 100_000 * USD

PARAMS = RollupParams(
    challenge_window_s=3_600,
    bond_min=BOND,
    bond_delay_s=20_000,
    seat_idle_s=86_400,
    force_delay_s=600,
    force_fee=USD,
    deposit_min=USD,
    timelock_s=7_200,
    l2_chain_id=412_346,
    genesis_root=GENESIS_ROOT,
    genesis_globals=(pack_position(Position(GENESIS_TIME_MS, 0, 0, 0)), 11, 22, 33, 44, 55),
    force_floor_s=150,
)
EXODUS_AFTER_S, RESEAT_S, REGISTER_S = 200_000, 50_000, 10_000
PROMISE_DEADLINE_S, CLAIM_S = 20_000, 30_000


@dataclass(frozen=True)
class CourtTimes:
    """Constructor arguments of Exodus and PromiseCourt, seconds."""

    exodus_after_s: int = EXODUS_AFTER_S
    reseat_s: int = RESEAT_S
    register_s: int = REGISTER_S
    promise_deadline_s: int = PROMISE_DEADLINE_S
    claim_s: int = CLAIM_S


def set_courts(evm: Evm, rollup: Contract, times: CourtTimes = CourtTimes()) -> tuple[Contract, Contract, Contract]:
    """Deploy Exodus, PromiseCourt and ClaimMarket for a rollup, and tell it."""
    exodus = evm.deploy("Exodus", rollup, times.exodus_after_s, times.reseat_s, times.register_s)
    court = evm.deploy("PromiseCourt", rollup, times.promise_deadline_s, times.claim_s)
    market = evm.deploy("ClaimMarket", rollup)
    rollup.transact("set_courts", exodus, court, market)
    return exodus, court, market


class World:
    """One L1 with everything deployed and opened. `headers[n]` is batch n, `messages` the inbox, both in Python."""

    def __init__(
        self, *, token: str = "TestUSD", params: RollupParams = PARAMS, seated: bool = True,
        times: CourtTimes = CourtTimes(),
    ) -> None:
        self.evm = Evm()
        self.params = params
        self.admin, self.operator, self.trader, self.prover, self.stranger = map(
            self.evm.actor, ("admin", "operator", "trader", "prover", "stranger")
        )
        self.token = self.evm.deploy(token)
        self.rollup = self.evm.deploy("Rollup", self.token, self.admin, params)
        self.verifier = self.evm.deploy("mocks/DropCaller.vy")
        self.headers = [genesis_header(params.genesis_root, params.genesis_globals)]
        self.messages: list[bytes] = []
        for actor in (self.operator, self.trader, self.prover, self.stranger):
            self.fund(actor)
        self.rollup.transact("set_verifier", self.verifier)
        self.exodus, self.promise_court, self.claim_market = set_courts(self.evm, self.rollup, times)
        self.rollup.transact("open", sender=self.admin)
        if seated:
            self.rollup.transact("take_seat", BOND, sender=self.operator)

    def fund(self, actor: Actor, amount: int = 10_000_000 * USD) -> None:
        """Give an actor tokens and let the rollup pull them."""
        self.token.transact("mint", actor, amount)
        self.token.transact("approve", self.rollup, 2**256 - 1, sender=actor)

    @property
    def head(self) -> BatchHeader:
        return self.headers[-1]

    def keep(self, receipt: Receipt) -> Receipt:
        """Take the messages of a receipt into the Python inbox, checking number and running hash."""
        for log in receipt.logs:
            event = decode_event(log.topics, log.data)
            if type(event).__name__ == "MessageEnqueued":
                assert event.number == len(self.messages)
                self.messages.append(event.message)
                assert event.running_hash == inbox_hash(self.messages)
        return receipt

    def do(self, actor: Actor, function: str, *args: Any) -> Receipt:
        """A transaction to the rollup."""
        return self.keep(self.rollup.transact(function, *args, sender=actor))

    def deposit(self, amount: int = 1_000 * USD, account: int = 0, actor: Actor | None = None) -> Receipt:
        actor = actor or self.trader
        return self.do(actor, "deposit", account, actor, amount)

    def batch(self, **overrides: Any) -> PostBatch:
        """The next honest batch: one chunk, all messages consumed, L2 time = L1 time."""
        chunks = overrides.get("chunks", (b"chunk of batch %d" % len(self.headers),))
        roots = overrides.get("roots", tuple(keccak(b"root" + bytes([i]) + chunk) for i, chunk in enumerate(chunks)))
        cursor = overrides.get("inbox_cursor", len(self.messages))
        last = self.head.globals[0]
        position = overrides.pop("position", None) or Position(
            l2_time_ms=overrides.pop("l2_time_ms", self.evm.timestamp * 1000),
            block_number=(last >> 128 & 2**64 - 1) + 1,
            tx_position=(last >> 64 & 2**64 - 1) + 1,
            inbox_cursor=cursor,
        )
        batch = PostBatch(
            number=self.head.number + 1,
            parent=header_hash(self.head),
            inbox_cursor=cursor,
            inbox_hash=inbox_hash(self.messages[:cursor]),
            globals=(pack_position(position), 1, 2, 3, 4, 5),
            chunks=chunks,
            roots=roots,
        )
        return replace(batch, **overrides)

    def send(self, batch: PostBatch, sender: Actor | None = None) -> Receipt:
        """Post a batch that must be accepted; compare what both sides make of it."""
        return self.send_raw(encode_post_batch(batch), sender)

    def send_raw(self, calldata: bytes, sender: Actor | None = None) -> Receipt:
        sender = sender or self.operator
        receipt = self.keep(self.evm.message(self.rollup, calldata, sender=sender))
        header = header_of(decode_post_batch(calldata), self.evm.timestamp, bytes.fromhex(sender.address[2:]))
        posted = next(e for e in (decode_event(x.topics, x.data) for x in receipt.logs) if hasattr(e, "header"))
        assert posted.header == header
        assert self.rollup.call("header_hash", header.number) == header_hash(header) == posted.header_hash
        self.headers.append(header)
        return receipt

    def post(self, **overrides: Any) -> BatchHeader:
        """Post the next honest batch, a second later; its header."""
        self.evm.warp(1)
        self.send(self.batch(**overrides))
        return self.head

    def drop(self, number: int, prover: Actor | None = None) -> Receipt:
        """Drop batch `number` through the verifier."""
        header, survivor = self.headers[number], self.headers[number - 1]
        receipt = self.keep(
            self.verifier.transact("prove", self.rollup, header, survivor, sender=prover or self.prover)
        )
        del self.headers[number:]
        return receipt

    def finalize_head(self) -> None:
        """Let the head's window pass and finalize it."""
        self.evm.warp(self.params.challenge_window_s)
        self.do(self.stranger, "finalize", self.head)

    def held(self, who: Actor | Contract | None = None) -> int:
        """Tokens of an actor, or of the rollup."""
        return int(self.token.call("balanceOf", who or self.rollup))
