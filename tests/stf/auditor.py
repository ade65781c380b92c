"""An independent model of a venue's books: cash, positions and resting orders, kept from receipts alone.

It knows nothing of costs, snapshots or tries: cash moves by price times size, positions by size. What it says of an
account's equity must equal what the rules say, to the micro-USD.
"""

from collections import defaultdict

from node.stf.params import REST_FEE
from node.stf.state import Ledger
from node.stf.types import Fill

TICK_VALUE = 10


class Auditor:
    """Cash and sizes per account, from deposits, fills, penalties and withdrawals."""

    def __init__(self) -> None:
        self.cash: dict[int, int] = defaultdict(int)
        self.sizes: dict[tuple[int, int], int] = defaultdict(int)

    def deposit(self, account: int, amount: int) -> None:
        self.cash[account] += amount

    def withdraw(self, account: int, amount: int) -> None:
        self.cash[account] -= amount

    def fill(self, fill: Fill) -> None:
        """Both sides of a trade."""
        value = fill.price * fill.lots * TICK_VALUE
        sign = 1 if fill.taker_side == 0 else -1
        self.cash[fill.taker] -= sign * value + fill.taker_fee
        self.cash[fill.maker] += sign * value - fill.maker_fee
        self.sizes[(fill.taker, fill.market)] += sign * fill.lots
        self.sizes[(fill.maker, fill.market)] -= sign * fill.lots


def check(ledger: Ledger, auditor: Auditor) -> None:
    """Every invariant of the books, on all accounts."""
    g = ledger.g
    assert g.accounts_total + g.insurance_total + g.fees - g.losses_total == g.deposits - g.withdrawn
    lots: dict[tuple[int, int, int], int] = defaultdict(int)
    notional: dict[tuple[int, int, int], int] = defaultdict(int)
    resting: dict[tuple[int, int], int] = defaultdict(int)
    for (market, side, place), order in ledger.orders.items():
        row = ledger.accounts[order.account]
        position = next(p for p in row.positions if p.market == market)
        resting[(order.account, market)] += 1
        if place & ((1 << 64) - 1) >= position.min_seq:
            price = place >> 64 if side else 0xFFFFFFFF - (place >> 64)
            lots[(order.account, market, side)] += order.lots
            notional[(order.account, market, side)] += order.lots * price * TICK_VALUE
    for market, market_row in ledger.markets.items():
        assert market_row is not None
        pending = market_row.pending
        if pending.lots:
            lots[(pending.account, market, pending.side)] += pending.lots
            notional[(pending.account, market, pending.side)] += pending.lots * pending.price * TICK_VALUE
    net: dict[int, int] = defaultdict(int)
    longs: dict[int, int] = defaultdict(int)
    held = 0
    for account, row in ledger.accounts.items():
        cash = row.collateral - sum(p.cost for p in row.positions)
        count = 0
        for p in row.positions:
            net[p.market] += p.size
            longs[p.market] += max(0, p.size)
            key = (account, p.market)
            assert p.size == auditor.sizes[key], (account, p)
            assert p.open_orders == resting[key]
            assert (p.buy_lots, p.sell_lots) == (lots[(*key, 0)], lots[(*key, 1)])
            assert (p.buy_notional, p.sell_notional) == (notional[(*key, 0)], notional[(*key, 1)])
            assert p.size != 0 or p.cost == 0
            assert p.size or p.open_orders or p.buy_lots or p.sell_lots, "empty slots are freed"
            count += p.open_orders
        assert row.open_orders == count
        held += REST_FEE * count
        # fees held for resting orders are the account's until it is known who gets them
        assert cash + REST_FEE * count <= auditor.cash[account]
    assert all(total == 0 for total in net.values())
    for market, market_row in ledger.markets.items():
        assert market_row is not None
        assert market_row.open_interest == longs[market]
    assert g.fees >= held
