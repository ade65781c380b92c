"""``al_*`` read methods over a chain and an engine: accounts, markets, books, receipts, blocks, withdrawals, heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from node.derive.blocks import BlockHeader, header_hash
from node.derive.chain import BatchRecord, Chain, StoredTransaction
from node.rpc.errors import ErrorKind, RpcError, fail
from node.rpc.fields import Count, Hash32, bytes_of, hex_of
from node.rpc.methods import shapes
from node.rpc.methods.duties import DutiesInfo, find_duties
from node.rpc.methods.flow import FlowMeter
from node.rpc.methods.reader import Reader
from node.rpc.methods.risk import account_risk, prices_info, status_now
from node.rpc.methods.withdrawals import created_withdrawal
from node.rpc.server import Registry
from node.rpc.statuses import notable
from node.stf import commitments, quotes, state, types, witness
from node.stf.engine import Engine
from node.stf.state import AccountRow
from node.stf.types import BUY, SELL, Board, Fill, Receipt, Status
from node.units import MarketUnits

Head = Literal["unsafe", "safe", "finalized"]
Depth = Annotated[int, Meta(ge=1, le=500)]
Market = Annotated[int, Meta(ge=0, le=65_535)]

KIND_NAMES: Final = {
    types.ACTIONS: "Actions", types.RESUME: "Continue", types.WITHDRAW: "Withdraw", types.SET_KEY: "SetKey",
    types.ORACLE_PRICE: "OraclePrice", types.LIQUIDATE: "Liquidate", types.SWEEP: "Sweep",
    types.TRIGGER_FIRE: "TriggerFire", types.SETTLE: "Settle", types.INBOX: "Inbox", types.BLOCK: "Block",
}
MARKET_STATUS: Final = {
    types.OPEN: "open", types.REDUCE_ONLY: "reduce-only", types.HALTED: "halted", types.SETTLING: "settling",
}
SIDES: Final = {BUY: "buy", SELL: "sell"}
TRIGGERS: Final = {types.TRIGGER_FALL: "below", types.TRIGGER_RISE: "above"}


@dataclass(slots=True)
class Heads:
    """Block numbers of the two heads that L1 decides; ``safe`` <= the chain's own head."""

    safe: int = 0
    finalized: int = 0


@dataclass(slots=True)
class Node:
    """What the read methods look at. The service keeps ``heads`` and ``engine`` current."""

    role: str
    chain: Chain
    engine: Engine
    rollup: str
    chain_id: int
    heads: Heads = field(default_factory=Heads)
    units: dict[int, MarketUnits] = field(default_factory=dict)
    extra: Callable[[], dict[str, Any]] = dict

    def head_of(self, block: int) -> Head:
        """How settled a block is."""
        if block <= self.heads.finalized:
            return "finalized"
        return "safe" if block <= self.heads.safe else "unsafe"


def address(value: int) -> str:
    return hex_of(value.to_bytes(20, "big"))


def head_info(header: BlockHeader) -> shapes.HeadInfo:
    return shapes.HeadInfo(header.number, hex_of(header_hash(header)), header.time, hex_of(header.state_root))


def fill_info(fill: Fill) -> shapes.FillInfo:
    return shapes.FillInfo(
        fill.market, fill.price, fill.lots, fill.maker, fill.maker_client_id, fill.maker_seq, fill.taker,
        SIDES[fill.taker_side], fill.taker_fee, fill.maker_fee,
    )


def receipt_info(node: Node, found: StoredTransaction) -> shapes.ReceiptInfo:
    batch = node.chain.batch_of(found.block)
    return shapes.ReceiptInfo(
        found.receipt.position, hex_of(found.hash), *outcome(found.receipt), found.receipt.time, found.block,
        node.head_of(found.block), None if batch is None else batch.number,
        notable([found.receipt.status, *found.receipt.action_statuses]), created_withdrawal(node.chain, found),
    )


def outcome(receipt: Receipt) -> tuple[str, str, list[str], list[shapes.FillInfo]]:
    """Kind, status, action statuses and fills of a receipt, in words."""
    return (
        KIND_NAMES[receipt.kind],
        Status(receipt.status).name,
        [Status(status).name for status in receipt.action_statuses],
        [fill_info(fill) for fill in receipt.fills],
    )


class Reads:
    """The methods. One object per server; ``register`` adds them to its registry."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._flow = FlowMeter(node.chain)

    @property
    def _reader(self) -> Reader:
        return Reader(self._node.engine)

    def register(self, registry: Registry) -> None:
        for name, function in (
            ("al_status", self.status), ("al_syncStatus", self.sync_status), ("al_params", self.params),
            ("al_account", self.account), ("al_risk", self.risk), ("al_accountsOf", self.accounts_of),
            ("al_duties", self.duties),
            ("al_orders", self.orders), ("al_markets", self.markets), ("al_book", self.book),
            ("al_receipt", self.receipt),
            ("al_block", self.block), ("al_batches", self.batches), ("al_withdrawalProof", self.withdrawal_proof),
        ):
            registry.add(name, function)

    # --- heads --------------------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Role, heads, totals of the conservation law, and what the role adds of its own."""
        node = self._node
        g = state.decode_globals(node.chain.store.get(state.GLOBAL_KEY) or b"")
        totals = {name: getattr(g, name) for name in (
            "accounts_total", "insurance_total", "fees", "losses_total", "deposits", "withdrawn")}
        held = g.accounts_total + g.insurance_total + g.fees - g.losses_total
        return {
            "role": node.role, "chain_id": node.chain_id, "rollup": node.rollup, "heads": self._heads(),
            "position": g.position, "cursor": g.cursor, "accounts": g.next_account - 1,
            "withdrawals": g.next_withdrawal - 1, "last_anchor": g.last_anchor, "totals": totals,
            "conserved": held == g.deposits - g.withdrawn, **node.extra(),
        }

    def sync_status(self) -> dict[str, Any]:
        """Heads in the shape that rollup tools know."""
        heads = self._heads()
        return {f"{name}_l2": heads[name] for name in ("unsafe", "safe", "finalized")}

    def _heads(self) -> dict[str, shapes.HeadInfo]:
        node = self._node
        return {name: head_info(self._header(name)) for name in ("unsafe", "safe", "finalized")} | (
            {"unsafe": head_info(node.chain.head)})

    def _header(self, at: int | str) -> BlockHeader:
        node = self._node
        numbers = {"unsafe": node.chain.head.number, "safe": node.heads.safe, "finalized": node.heads.finalized}
        number = numbers[at] if isinstance(at, str) else at
        header = node.chain.header(min(number, node.chain.head.number) if isinstance(at, str) else number)
        if header is None:
            problem = f"there is no block {at}: the head is {node.chain.head.number}"
            raise fail(ErrorKind.NotFound, problem, param="block")
        return header

    def params(self) -> dict[str, Any]:
        """What a client must know to sign for this rollup."""
        genesis = self._header(0)
        return {
            "chain_id": self._node.chain_id, "rollup": self._node.rollup, "rules_version": commitments.RULES_VERSION,
            "genesis_hash": hex_of(header_hash(genesis)),
            "domain": {"name": "Anchorline", "version": "1", "chainId": self._node.chain_id,
                       "verifyingContract": self._node.rollup},
        }

    # --- accounts and markets -----------------------------------------------------------------------------------------

    def account(self, account: Count) -> shapes.AccountInfo:
        """Collateral, margin, keys and positions of an account."""
        reader = self._reader
        row = reader.account(account)
        if row is None:
            raise fail(ErrorKind.NotFound, f"there is no account {account}: a deposit opens one", param="account")
        health = reader.health(row)
        g = reader.ledger.g
        return shapes.AccountInfo(
            account=account, owner=address(row.keys[0].address), collateral=row.collateral, equity=health.equity,
            initial=health.initial, maintenance=health.maintenance,
            withdrawable=max(0, health.equity - health.initial - health.profit), prices_fresh=health.stale == 0,
            open_orders=row.open_orders, keys=_keys(row), positions=_positions(reader, row), time=g.time,
            block=self._node.chain.head.number,
        )

    def risk(self, account: Count, tau_ms: Annotated[int, Meta(ge=0, le=10**12)] | None = None) -> shapes.RiskInfo:
        """The chance that an account's cushion breaks before L1 knows, or within ``tau_ms``; with its inputs."""
        reader = self._reader
        row = reader.account(account)
        if row is None:
            raise fail(ErrorKind.NotFound, f"there is no account {account}: a deposit opens one", param="account")
        return account_risk(reader, account, row, tau_ms, self._node.chain.head.number)

    def duties(self, after: Count = 0, count: Depth = 100) -> DutiesInfo:
        """What the rules would let anybody do now: accounts on the ladder beyond ``after``, what waits in markets."""
        reader = self._reader
        found = find_duties(reader, after, count, self._node.chain.head.number)
        self._flow.update()
        for duty in found.accounts:
            duty.pressure = self._flow.pressure(reader, duty.account)
        return found

    def accounts_of(self, owner: Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{40}$")]) -> list[int]:
        """Accounts whose owner key is an address (the newest 10,000 accounts are looked at)."""
        reader = self._reader
        wanted = int(owner, 16)
        newest = reader.ledger.g.next_account - 1
        found = []
        for account in range(max(1, newest - 9_999), newest + 1):
            row = reader.account(account)
            if row is not None and row.keys[0].address == wanted:
                found.append(account)
        return found

    def orders(self, account: Count, market: Market | None = None) -> list[shapes.OrderInfo]:
        """An account's resting orders and triggers, with the keys that a cancel names."""
        reader = self._reader
        markets = reader.markets() if market is None else [market]
        return [
            shapes.OrderInfo(
                m, SIDES[quotes.order_side(order, side)], price, seq, order.lots, order.client_id, order.expiry,
                reader.live(m, side, order, seq), order.flags & types.ORDER_REDUCE_ONLY != 0, TRIGGERS.get(side, ""),
                order.limit)
            for m, side, price, seq, order in reader.orders(account, markets)
        ]

    def markets(self) -> list[shapes.MarketInfo]:
        """Every market: prices, parameters, open interest."""
        reader = self._reader
        self._flow.update()
        return [self._market(reader, market, reader.board(market)) for market in reader.markets()]

    def _market(self, reader: Reader, market: int, board: Board) -> shapes.MarketInfo:
        row = reader.market(market)
        assert row is not None, "a market with a board entry has a leaf"
        config, units = row.config, self._node.units.get(market)
        human = ("", "", "")
        if units is not None and units.fits(board.tick_value):
            human = (f"{units.tick:f}", f"{units.lot:f}", units.price(board.mark))
        return shapes.MarketInfo(
            market=market, symbol=f"M{market}" if units is None else units.symbol, tick=human[0],
            lot=human[1], price=human[2],
            status=MARKET_STATUS[status_now(reader, board, row)],
            tick_value=board.tick_value, mark=board.mark, mark_time=board.mark_time, fresh=reader.is_fresh(board),
            open_interest=row.open_interest, oi_cap=config.oi_cap, min_notional=config.min_notional,
            taker_fee_ppm=config.taker_fee, maker_fee_ppm=config.maker_fee, maintenance_ppm=board.mm_base,
            initial_ppm=board.im_base, band_ppm=config.band, penalty_ppm=config.penalty, insurance=row.insurance.cash,
            pending=row.pending.lots != 0, next_seq=row.next_seq, prices=prices_info(reader, board, row),
            flow=self._flow.info(market, reader.ledger.g.time),
        )

    def book(self, market: Market, depth: Depth = 20) -> shapes.BookInfo:
        """Price levels of live orders, best first: [price, lots, orders]."""
        reader = self._reader
        if reader.market(market) is None:
            raise fail(ErrorKind.NotFound, f"there is no market {market}: see al_markets", param="market")
        g = reader.ledger.g
        return shapes.BookInfo(
            market, reader.levels(market, BUY, depth), reader.levels(market, SELL, depth), g.time, g.position)

    # --- history ------------------------------------------------------------------------------------------------------

    def receipt(self, id: Count | Hash32) -> shapes.ReceiptInfo:
        """A transaction's receipt by position or hash: statuses in words, how settled it is, what it withdrew."""
        chain = self._node.chain
        position = chain.position_of(bytes_of(id)) if isinstance(id, str) else id
        found = None if position is None else chain.transaction(position)
        if found is None:
            raise fail(ErrorKind.NotFound, f"no transaction {id} in a sealed block here", param="id")
        return receipt_info(self._node, found)

    def block(self, number: Count | Head = "unsafe") -> shapes.BlockInfo:
        """A block by number or head."""
        header = self._header(number)
        batch = self._node.chain.batch_of(header.number)
        return shapes.BlockInfo(
            header.number, hex_of(header_hash(header)), hex_of(header.parent_hash), header.time,
            hex_of(header.state_root), hex_of(header.chunks_root), header.first_position, header.tx_count,
            header.cursor, self._node.head_of(header.number), None if batch is None else batch.number,
            [shapes.ChunkInfo(len(c.data), hex_of(c.post_root)) for c in self._node.chain.chunks(header.number)],
        )

    def batches(self, first: Count = 1, count: Depth = 100) -> list[shapes.BatchInfo]:
        """Posted batches, ascending."""
        found: list[shapes.BatchInfo] = []
        for record in self._node.chain.batches(first):
            if len(found) == count:
                break
            found.append(_batch(record, self._node.heads.finalized))
        return found

    # --- withdrawals --------------------------------------------------------------------------------------------------

    def withdrawal_proof(self, id: Count) -> shapes.WithdrawalInfo:
        """A withdrawal and, once finalized, what Rollup.withdraw needs to pay it. One that is paid leaves the state."""
        node = self._node
        key = state.withdrawal_key(id)
        value = node.chain.store.get(key)
        if value is None:
            raise self._no_leaf(id)
        word = int.from_bytes(value, "big")
        recipient, amount = address(word >> 64), word & (1 << 64) - 1
        record = self._finalized_batch_with(id)
        if record is None or record.header is None:
            return shapes.WithdrawalInfo(id, recipient, amount, self._settled(id), None, "0x", [])
        view = node.chain.store.at_block(record.last_block)
        path = witness.build_path(view, key)
        header = record.header
        return shapes.WithdrawalInfo(
            id, recipient, amount, "finalized",
            [header.number, hex_of(header.parent), header.rules, header.inbox_cursor, hex_of(header.inbox_hash),
             header.chunk_count, hex_of(header.chunks_root), hex_of(header.post_root),
             [hex(word) for word in header.globals], header.posted_at, hex_of(header.poster)],
            hex_of(path.bits), [hex_of(sibling) for sibling in path.siblings],
        )

    def _no_leaf(self, withdrawal: int) -> RpcError:
        """Why the state has no such withdrawal: it was not made yet, or L1 said that it is paid."""
        words = self._node.chain.store.get(state.GLOBAL_KEY)
        if words is not None and 0 < withdrawal < state.decode_globals(words).next_withdrawal:
            return fail(
                ErrorKind.WithdrawalPaid, f"withdrawal {withdrawal} was paid on L1 and has left the state: nothing is "
                "left to claim; L1's Withdrawn event shows to whom", param="id")
        return fail(ErrorKind.NotFound, f"there is no withdrawal {withdrawal} in a sealed block here", param="id")

    def _finalized_batch_with(self, withdrawal: int) -> BatchRecord | None:
        """The newest finalized batch, if its state has the withdrawal."""
        chain = self._node.chain
        record = chain.batch_of(self._node.heads.finalized)
        if record is None or record.header is None or record.last_block > self._node.heads.finalized:
            record = None if record is None else chain.batch(record.number - 1)
        if record is None or record.header is None:
            return None
        return record if _next_withdrawal(record) > withdrawal else None

    def _settled(self, withdrawal: int) -> Head:
        safe = self._node.chain.batch_of(self._node.heads.safe)
        if safe is None or safe.header is None:
            return "unsafe"
        return "safe" if _next_withdrawal(safe) > withdrawal else "unsafe"


def _next_withdrawal(record: BatchRecord) -> int:
    """The id that the next withdrawal after a posted batch would get."""
    assert record.header is not None, "posted batches have headers"
    return record.header.globals[1] >> 128 & (1 << 64) - 1


def _keys(row: AccountRow) -> list[shapes.KeyInfo]:
    return [shapes.KeyInfo(slot, address(key.address), key.expiry, key.nonce_high) for slot, key in enumerate(row.keys)]


def _positions(reader: Reader, row: AccountRow) -> list[shapes.PositionInfo]:
    found: list[shapes.PositionInfo] = []
    for p in row.positions:
        board = reader.board(p.market)
        terms = reader.terms(p, board)
        unrealized = terms.equity + terms.haircut
        found.append(shapes.PositionInfo(p.market, p.size, p.cost, unrealized, p.buy_lots, p.sell_lots, p.open_orders))
    return found


def _batch(record: BatchRecord, finalized: int) -> shapes.BatchInfo:
    header_hash_hex = "0x" if record.header is None else hex_of(commitments.header_hash(record.header))
    return shapes.BatchInfo(
        record.number, record.first_block, record.last_block, hex_of(record.l1_tx), record.l1_block, header_hash_hex,
        record.last_block <= finalized,
    )
