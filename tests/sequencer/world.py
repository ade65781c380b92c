"""A sequencer's core without network and disk: a builder over a chain in memory, traders who sign, a clock by hand."""

from __future__ import annotations

from typing import TypeVar

from coincurve import PrivateKey

from node.derive.chain import Chain
from node.stf import encoding
from node.stf.types import Action
from node.storage.kv import KV, MemoryKV
from sequencer.builder import Answer, Builder, Limits
from sequencer.requests import ActionsRequest, OracleRequest, Request, WithdrawRequest
from tests.stf.world import DOMAIN, address, configure_market, message, private_key, sign

R = TypeVar("R", bound=Request)
START_MS = 1_700_000_000_000


class Desk:
    """Accounts 1, 2, … belong to the named traders; market 0 is open and priced at 600,000 ticks."""

    def __init__(
        self, names: tuple[str, ...] = ("alice", "bob"), *, kv: KV | None = None, limits: Limits | None = None
    ) -> None:
        self.now = START_MS
        self.names = names
        self.keys: dict[int, PrivateKey] = {number: private_key(name) for number, name in enumerate(names, 1)}
        self.publishers = [private_key(f"publisher {slot}") for slot in range(3)]
        self.records: list[tuple[int, bytes]] = []
        self.inbox = self.make_inbox()
        self.nonces: dict[int, int] = {}
        self.chain = Chain.open(kv or MemoryKV(), DOMAIN)
        self.limits = limits or Limits()
        self.builder = self.new_builder()

    def new_builder(self) -> Builder:
        def record(kind: int, content: bytes) -> None:
            self.records.append((kind, content))

        return Builder(self.chain, self.limits, lambda: self.now, record)

    def make_inbox(self) -> list[bytes]:
        seconds = START_MS // 1000
        inbox = [message(6, configure_market(0), seconds)]
        for slot, key in enumerate(self.publishers):
            body = b"\x02" + bytes(2) + bytes((slot,)) + address(key).to_bytes(20, "big")
            inbox.append(message(6, body, seconds))
        for key in self.keys.values():
            payload = bytes(4) + address(key).to_bytes(20, "big") + (10**12).to_bytes(8, "big")
            inbox.append(message(1, payload, seconds))
        return inbox

    def start(self) -> Desk:
        """Deliver the inbox and the first prices."""
        for number, item in enumerate(self.inbox):
            self.builder.add_message(number, item)
        self.builder.tick()
        self.price()
        return self

    def price(self, ticks: int = 600_000) -> None:
        self.now += 10
        self.builder.seal()
        for slot, key in enumerate(self.publishers):
            request = OracleRequest(slot, self.now, [0], [ticks], 0, 0)
            self.submit(sign_request(request, key), key)

    def submit(self, request: Request, key: PrivateKey) -> Answer:
        return self.builder.submit(request, address(key))

    def request(self, account: int, *actions: Action, nonce: int | None = None) -> ActionsRequest:
        if nonce is None:
            nonce = self.nonces[account] = max(self.nonces.get(account, 0) + 1, self.now)
        request = ActionsRequest(account, 0, nonce, self.now + 60_000, list(actions), 0, 0)
        return sign_request(request, self.keys[account])

    def act(self, account: int, *actions: Action) -> Answer:
        return self.submit(self.request(account, *actions), self.keys[account])

    def withdraw(self, account: int, amount: int, recipient: int = 0xBEEF) -> Answer:
        nonce = self.nonces[account] = max(self.nonces.get(account, 0) + 1, self.now)
        request = WithdrawRequest(account, nonce, self.now + 60_000, recipient, amount, 0, 0)
        return self.submit(sign_request(request, self.keys[account]), self.keys[account])


def sign_request(request: R, key: PrivateKey) -> R:
    encoding.set_domain(DOMAIN)
    signature = sign(key, request.digest())
    request.r, request.vs = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")  # type: ignore
    return request
