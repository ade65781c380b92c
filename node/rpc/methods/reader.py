"""Looks at a ledger without touching it: what a read would cost a chunk must never depend on who asks.

The rules' getters keep the books of the chunk being executed, so queries go around them: rows that the ledger has
decoded, or committed leaves decoded for the query. Margin is the rules' own arithmetic (``margin.terms``).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from node.stf import margin, oracle, quotes, state
from node.stf.engine import Engine
from node.stf.params import BOARD_MARKETS, MARKETS_MAX, PRICE_MAX
from node.stf.state import AccountRow, Ledger, MarketRow
from node.stf.types import (
    NO_SUCH_MARKET,
    ORDER_REDUCE_ONLY,
    SELL,
    TRIGGER_FALL,
    TRIGGER_RISE,
    Board,
    Order,
    Position,
    Terms,
)

_SEQ_MASK = (1 << 64) - 1


class Reader:
    """Read-only view of one engine's state."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def ledger(self) -> Ledger:
        return self._engine.ledger

    def account(self, account: int) -> AccountRow | None:
        """An account's row; not to be changed."""
        ledger = self.ledger
        if not 0 < account < ledger.g.next_account:
            return None
        row = ledger.accounts.get(account)
        if row is None:
            value = ledger.source.get(state.account_key(account))
            row = None if value is None else state.decode_account(value)
        return row

    def market(self, market: int) -> MarketRow | None:
        """A market's row; not to be changed."""
        row = self.ledger.markets.get(market)
        if row is None:
            value = self.ledger.source.get(state.market_key(market))
            row = None if value is None else state.decode_market(value)
        return row

    def board(self, market: int) -> Board:
        """A market's board entry, an empty one where there is no such market."""
        if not 0 <= market < MARKETS_MAX:
            return Board()
        group = market // BOARD_MARKETS
        boards = self.ledger.boards.get(group)
        if boards is None:
            value = self.ledger.source.get(state.board_key(group))
            boards = [] if value is None else state.decode_boards(value)
        index = market % BOARD_MARKETS
        return boards[index] if index < len(boards) else Board()

    def markets(self) -> list[int]:
        """Ids of the markets that exist."""
        return [market for market in range(MARKETS_MAX) if self.board(market).status != NO_SUCH_MARKET]

    def is_fresh(self, board: Board) -> bool:
        """Whether a mark rests on recent prices, at this state's L2 time."""
        self._engine.bind()
        return oracle.is_fresh(board)

    def health(self, row: AccountRow) -> Terms:
        """Equity and margin of an account, micro-USD."""
        self._engine.bind()
        total = Terms(equity=row.collateral)
        for position in row.positions:
            total = margin.add(total, margin.terms(position, self.board(position.market)))
        return total

    def terms(self, position: Position, board: Board) -> Terms:
        """What one position adds to its account's margin."""
        self._engine.bind()
        return margin.terms(position, board)

    def side(self, market: int, side: int) -> Iterator[tuple[int, int, Order]]:
        """(price, sequence, order) of a side of the book, best first; sides 2 and 3 are triggers."""
        for place in self._places(market, side):
            order = self.ledger.orders.get((market, side, place))
            price = place >> 64 if side & 1 == SELL else PRICE_MAX - (place >> 64)
            seq = place & _SEQ_MASK
            if order is None:
                value = self.ledger.source.get(state.order_key(market, side, price, seq))
                if value is None:
                    continue
                order = state.decode_order(value)
            yield price, seq, order

    def _places(self, market: int, side: int) -> Iterator[int]:
        book = self.ledger.books.get((market, side))
        if book is not None:
            return (-place for place in reversed(book))
        keys = self.ledger.source.keys(state.book_prefix(market, side))
        return (int.from_bytes(key[4:16], "big") for key in keys)

    def live(self, market: int, side: int, order: Order, seq: int) -> bool:
        """Whether a resting order or trigger would fill, were it reached now: ``quotes.is_dead`` without a trace."""
        row, now = self.account(order.account), self.ledger.g.time
        if row is None or 0 < order.expiry < now or 0 < row.cancel_at <= now:
            return False
        position = next((p for p in row.positions if p.market == market), None)
        if position is None:
            return False
        if side < TRIGGER_FALL and not order.flags & ORDER_REDUCE_ONLY:
            return seq >= position.min_seq
        held = position.size if quotes.order_side(order, side) == SELL else -position.size
        return seq >= position.reduce_min_seq and held > 0

    def levels(self, market: int, side: int, depth: int, visits_max: int = 20_000) -> list[tuple[int, int, int]]:
        """The best ``depth`` price levels of live orders: (price, lots, orders); visits ``visits_max`` at most."""
        levels: list[tuple[int, int, int]] = []
        for price, seq, order in islice(self.side(market, side), visits_max):
            if not self.live(market, side, order, seq):
                continue
            if levels and levels[-1][0] == price:
                levels[-1] = (price, levels[-1][1] + order.lots, levels[-1][2] + 1)
            elif len(levels) == depth:
                break
            else:
                levels.append((price, order.lots, 1))
        return levels

    def orders(
        self, account: int, markets: list[int], visits_max: int = 200_000
    ) -> Iterator[tuple[int, int, int, int, Order]]:
        """(market, side, price, sequence, order) of an account's resting orders and triggers (sides 2 and 3)."""
        row = self.account(account)
        wanted = {p.market for p in row.positions if p.open_orders} if row is not None else set()
        for market in markets:
            if market not in wanted:
                continue
            for side in range(TRIGGER_RISE + 1):
                for price, seq, order in islice(self.side(market, side), visits_max):
                    if order.account == account:
                        yield market, side, price, seq, order
