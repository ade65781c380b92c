"""A small world for tests of the rules: keys, a leaf store, an inbox, and chunks built from signed transactions."""

from collections.abc import Callable, Iterator

from coincurve import PrivateKey
from eth_hash.auto import keccak

from node.stf import encoding
from node.stf.engine import ChunkResult, Engine, genesis_leaves
from node.stf.params import PRICES_MAX
from node.stf.transition import InvalidChunk
from node.stf.types import (
    ADMIN,
    ANCHOR_NOTICE,
    BUY,
    CANCEL,
    CANCEL_ALL,
    DEPOSIT,
    GTC,
    PAID_NOTICE,
    PLACE,
    ROLLBACK_NOTICE,
    Action,
    Receipt,
)
from tests.stf import messages

DOMAIN = encoding.domain_separator(901, 0x1234)


class LeafStore:
    """Committed leaves in a dict."""

    def __init__(self, leaves: dict[bytes, bytes]) -> None:
        self.leaves = dict(leaves)

    def get(self, key: bytes) -> bytes | None:
        return self.leaves.get(key)

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return iter(sorted(key for key in self.leaves if key.startswith(prefix)))

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.leaves.pop(key, None)
            else:
                self.leaves[key] = value


def private_key(name: str) -> PrivateKey:
    return PrivateKey(keccak(name.encode()))


def address(key: PrivateKey) -> int:
    return int.from_bytes(keccak(key.public_key.format(compressed=False)[1:])[12:], "big")


def sign(key: PrivateKey, digest: bytes) -> bytes:
    """64-byte EIP-2098 signature."""
    raw = key.sign_recoverable(digest, hasher=None)
    vs = int.from_bytes(raw[32:64], "big") | raw[64] << 255
    return raw[:32] + vs.to_bytes(32, "big")


def message(kind: int, payload: bytes, l1_time: int, sender: int = 0) -> bytes:
    return bytes((kind,)) + sender.to_bytes(20, "big") + l1_time.to_bytes(8, "big") + payload


def configure_market(
    market: int,
    *,
    tick_value: int = 10,
    mm: tuple[int, int] = (25_000, 500_000),
    im: tuple[int, int] = (50_000, 1_000_000),
    impact: int = 50_000_000,
    stale_ms: int = 30_000,
    oi_cap: int = 10_000_000,
    min_notional: int = 1_000_000,
    fees: tuple[int, int] = (500, 100),
    penalty: int = 10_000,
    band: int = 50_000,
    quorum: int = 3,
    status: int = 1,
) -> bytes:
    """Payload of an admin message that creates or changes a market."""
    return b"".join(
        (
            b"\x01",
            market.to_bytes(2, "big"),
            tick_value.to_bytes(4, "big"),
            mm[0].to_bytes(4, "big"),
            mm[1].to_bytes(4, "big"),
            im[0].to_bytes(4, "big"),
            im[1].to_bytes(4, "big"),
            impact.to_bytes(8, "big"),
            stale_ms.to_bytes(4, "big"),
            oi_cap.to_bytes(8, "big"),
            min_notional.to_bytes(8, "big"),
            fees[0].to_bytes(4, "big"),
            fees[1].to_bytes(4, "big"),
            penalty.to_bytes(4, "big"),
            band.to_bytes(4, "big"),
            bytes((quorum, status)),
        )
    )


def limit(
    market: int, side: int, price: int, lots: int, client_id: int = 1, *, tif: int = GTC, expiry: int = 0
) -> Action:
    return Action(PLACE, market, side, price, lots, tif, client_id=client_id, expiry=expiry)


def cancel(market: int, side: int, price: int, seq: int, client_id: int = 1) -> Action:
    return Action(op=CANCEL, market=market, side=side, price=price, seq=seq, client_id=client_id)


def cancel_all(market: int) -> Action:
    return Action(op=CANCEL_ALL, market=market)


class World:
    """Runs transactions through an engine, chunk after chunk, cutting chunks where the rules ask for it."""

    def __init__(self, *, start: int = 1_700_000_000, strict: bool = False) -> None:
        self.store = LeafStore(genesis_leaves())
        self.inbox: list[bytes] = []
        self.l1_time = start
        self.strict = strict
        self.engine = self.new_engine()
        self.nonces: dict[tuple[int, int], int] = {}
        self.keys: dict[int, PrivateKey] = {}
        self.chunks: list[bytes] = []
        self.results: list[ChunkResult] = []
        self._open = bytearray()
        self.observers: list[Callable[[bytes, Receipt], None]] = []  # told of every executed transaction
        self.publishers = [private_key(f"publisher {i}") for i in range(3)]
        self.engine.begin_chunk()

    def new_engine(self) -> Engine:
        return Engine(self.store, DOMAIN, self.message_at, strict=self.strict)

    def message_at(self, number: int) -> bytes | None:
        return self.inbox[number] if number < len(self.inbox) else None

    @property
    def time(self) -> int:
        return self.engine.globals.time

    def run(self, transaction: bytes) -> Receipt:
        """Execute, in a new chunk if this one has no room."""
        if transaction[:1] == b"\x09" and self._open:
            self.cut()
        try:
            receipt = self.engine.execute(transaction)
        except InvalidChunk:
            if not self._open:
                raise
            self.cut()
            receipt = self.engine.execute(transaction)
        self.executed(transaction, receipt)
        return receipt

    def executed(self, transaction: bytes, receipt: Receipt) -> None:
        """Note a transaction that the engine has executed as the open chunk's last."""
        self._open += transaction
        for observer in self.observers:
            observer(transaction, receipt)

    def cut(self) -> None:
        """End the open chunk."""
        result = self.engine.end_chunk()
        self.store.apply(result.changes)
        self.chunks.append(bytes(self._open))
        self.results.append(result)
        self._open = bytearray()
        self.engine.begin_chunk()

    @property
    def open_bytes(self) -> bytes:
        """The chunk under construction."""
        return bytes(self._open)

    def block(self, step: int = 1_000) -> Receipt:
        return self.run(encoding.write_block(step))

    def deliver(self, kind: int, payload: bytes) -> Receipt:
        """Enqueue an L1 message and consume it."""
        self.inbox.append(message(kind, payload, self.l1_time))
        return self.run(encoding.INBOX_TX)

    def create_market(self, market: int = 0, **parameters: object) -> None:
        receipt = self.deliver(6, configure_market(market, **parameters))  # type: ignore[arg-type]
        assert receipt.status == 0, receipt
        for slot, key in enumerate(self.publishers):
            body = b"\x02" + market.to_bytes(2, "big") + bytes((slot,)) + address(key).to_bytes(20, "big")
            assert self.deliver(6, body).status == 0

    def configure_risk(self, market: int, **parameters: int) -> Receipt:
        """Replace a market's risk parameters; what is not named is off."""
        return self.deliver(ADMIN, messages.configure_risk(market, **parameters))

    def configure_chain(self, **parameters: int) -> Receipt:
        """Replace the chain's parameters; what is not named is off."""
        return self.deliver(ADMIN, messages.configure_chain(**parameters))

    def donate(self, market: int, amount: int) -> Receipt:
        """Deposit into a market's insurance."""
        return self.deliver(DEPOSIT, messages.donation(market, amount))

    def anchor(self, time: int | None = None, *, rollback: bool = False) -> Receipt:
        """Let L1 say that L2 time up to ``time`` (default: now) is anchored."""
        kind = ROLLBACK_NOTICE if rollback else ANCHOR_NOTICE
        return self.deliver(kind, messages.notice(1, self.time if time is None else time))

    def notify_paid(self, *ids: int) -> Receipt:
        """Let L1 say that withdrawals are paid."""
        return self.deliver(PAID_NOTICE, messages.paid(*ids))

    def deposit(self, name: str, amount: int) -> int:
        """Open an account for a named key; returns its id."""
        key = private_key(name)
        account = self.engine.globals.next_account
        payload = bytes(4) + address(key).to_bytes(20, "big") + amount.to_bytes(8, "big")
        assert self.deliver(1, payload).status == 0
        self.keys[account] = key
        return account

    def price(self, prices: dict[int, int], slots: tuple[int, ...] = (0, 1, 2)) -> list[Receipt]:
        """Publish prices of some markets from some publishers, at the current L2 time."""
        receipts = []
        self.block(1)
        for slot in slots:
            for at in range(0, len(prices), PRICES_MAX):
                markets, values = list(prices)[at : at + PRICES_MAX], list(prices.values())[at : at + PRICES_MAX]
                self.engine.bind()
                digest = encoding.oracle_price_digest(slot, self.time, markets, values)
                signature = sign(self.publishers[slot], digest)
                tx = encoding.write_oracle_price(slot, self.time, markets, values, signature, self.time)
                receipts.append(self.run(tx))
        return receipts

    def next_nonce(self, account: int, slot: int) -> int:
        nonce = max(self.nonces.get((account, slot), 0) + 1, self.time)
        self.nonces[(account, slot)] = nonce
        return nonce

    def actions(self, account: int, *listed: Action, key: PrivateKey | None = None, slot: int = 0) -> Receipt:
        return self.run(self.sign_actions(account, listed, key=key, slot=slot))

    def sign_actions(
        self,
        account: int,
        listed: tuple[Action, ...],
        *,
        key: PrivateKey | None = None,
        slot: int = 0,
        base: int | None = None,
    ) -> bytes:
        self.engine.bind()
        nonce = self.next_nonce(account, slot)
        expiry = self.time + 60_000
        digest = encoding.actions_digest(account, slot, nonce, expiry, list(listed))
        signature = sign(key or self.keys[account], digest)
        base = self.time if base is None else base
        return encoding.write_actions(account, slot, nonce, expiry, list(listed), signature, base)

    def withdraw(self, account: int, amount: int, recipient: int = 0xBEEF) -> Receipt:
        self.engine.bind()
        nonce = self.next_nonce(account, 0)
        expiry = self.time + 60_000
        digest = encoding.withdraw_digest(account, nonce, expiry, recipient, amount)
        signature = sign(self.keys[account], digest)
        return self.run(encoding.write_withdraw(account, nonce, expiry, recipient, amount, signature, self.time))

    def set_key(self, account: int, slot: int, key_address: int, key_expiry: int = 0) -> Receipt:
        self.engine.bind()
        nonce = self.next_nonce(account, 0)
        expiry = self.time + 60_000
        digest = encoding.set_key_digest(account, nonce, expiry, slot, key_address, key_expiry)
        signature = sign(self.keys[account], digest)
        return self.run(
            encoding.write_set_key(account, slot, nonce, expiry, key_address, key_expiry, signature, self.time)
        )

    def conserved(self) -> bool:
        g = self.engine.globals
        return g.accounts_total + g.insurance_total + g.fees - g.losses_total == g.deposits - g.withdrawn


def buy(market: int, price: int, lots: int, client_id: int = 1, **rest: int) -> Action:
    return limit(market, BUY, price, lots, client_id, **rest)


def sell(market: int, price: int, lots: int, client_id: int = 1, **rest: int) -> Action:
    return limit(market, 1, price, lots, client_id, **rest)
