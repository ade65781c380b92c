"""``anchorline replay FILE``: a recorded tape of a real venue, sent as signed orders through the public JSON-RPC.

The command is a trader like any other: it signs, sends over one WebSocket, and knows the book from the answers. With
--local it starts a sequencer of its own (no L1) with a market that any tape fits, and is its price publisher too.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from node.cli.output import UserError, emit, note, run_async
from node.cli.tapes.compare import Comparison, compare_quotes, compare_trades
from node.cli.tapes.events import Event, Quote, TapeError, parse_e8, show_e8
from node.cli.tapes.plan import OI_CAP_MAX, Market, Plan, PlanError, make_plan
from node.cli.tapes.player import Owner, Played, Player, group_steps
from node.cli.tapes.prepare import Prepared, prepare
from node.cli.tapes.venues import Tape, find_quotes, read_quotes, read_tape
from node.l1.keys import LocalSigner

COLLATERAL: Final = 10**17  # micro-USD of each account with --local
PUBLISHERS: Final = 3
TURN: Final = 128  # orders after which another account goes on


@dataclass(frozen=True)
class _Venue:
    """Where orders go. ``publish``: sets the mark, ticks; None if that is not ours to do."""

    ws_url: str
    domain: bytes
    market: int
    owners: list[Owner]
    oi_cap: int
    mark: int
    publish: Callable[[Any, int], Awaitable[None]] | None


def replay(
    file: Path, *, rpc: str = "", local: bool = False, bbo: Path | None = None, symbol: str = "", market: int = 0,
    accounts: int = 8, length: int = 16, tick: str = "0.01", lot: str = "", rescale: bool = False,
    hindsight: bool = True, limit: int = 0, json: bool = False,
) -> None:
    """Send a tape through a running sequencer (--rpc URL), or through one of this command's own (--local).

    Tapes are CSV, plain or gzip; the header line tells which venue's. Order by order, Bitstamp:
    ts_recv_ms,event,id,side,price,amount,order_ts_s (event: order_created, order_changed, order_deleted, trade; amount:
    what remains), Bitfinex: seq,event,order_id,side,price,amount (event: snapshot, add, change, delete). Trades,
    Binance: capture,product,symbol,ts_recv_ns,ts_exch_ms,trade_id,price,qty,taker_side,exec_type. A Bitstamp tape is
    compared with the venue's best bid and offer: ts_recv_ms,bid_px,bid_amt,ask_px,ask_amt.

    With --rpc the orders belong to the accounts of ANCHORLINE_KEY (deposit to open two or more), the market must exist
    and its mark be near the tape's prices, or --rescale moves them there.

    Parameters
    ----------
    file
        The tape.
    rpc
        URL of a running sequencer.
    local
        Start a sequencer without L1, with a market and accounts for the tape.
    bbo
        The venue's best bids and offers; default: the file beside the tape whose name starts with bbo_ instead.
    symbol
        Which of a Binance file's recordings: symbol, product or capture/product/symbol; default: the longest.
    market
        Market that takes the orders.
    accounts
        Accounts that take turns.
    length
        Most actions in one transaction.
    tick
        Price of one tick, in the tape's currency.
    lot
        Size of one lot, in the tape's units; default: the smallest power of ten that fits the rules. Sizes that are no
        whole lot are rounded up.
    rescale
        Scale prices so that the tape starts at the market's mark.
    hindsight
        Place orders from before the tape at its start, as soon as their end tells of them.
    limit
        Only the first events of the tape.
    json
        Print one JSON object.
    """
    if bool(rpc) == local:
        raise UserError("say where the orders go: --rpc URL of a running sequencer, or --local")
    if not 1 <= length <= 16 or not 2 <= accounts <= 1_000 or limit < 0:
        raise UserError("--length is 1 to 16, --accounts 2 to 1000, --limit 0 or more")
    tape, quotes, prepared, units = _read(file, bbo, symbol, limit, hindsight, tick, lot)

    async def main() -> dict[str, Any]:
        async with _local(accounts) if local else _remote(rpc, market, accounts) as venue:
            scaled = _plan(prepared, venue, units, len(venue.owners), rescale)
            played = await _play(venue, scaled, prepared.events, length)
        quoted = [quote for quote in quotes if quote.time <= tape.events[-1].time]
        comparison = compare_quotes(prepared.events, played.tops, quoted, scaled[0], prepared.older)
        return _result(tape, prepared, scaled, played, comparison, length)

    result = run_async(main)
    emit(json, result, lambda: _text(result))


def _read(
    file: Path, bbo: Path | None, symbol: str, limit: int, hindsight: bool, tick: str, lot: str,
) -> tuple[Tape, list[Quote], Prepared, tuple[int, list[int]]]:
    """The tape, the venue's quotes, what is planned, and the units (tick, lots). Raises UserError."""
    try:
        tape = read_tape(file, symbol, limit)
        found = bbo or (find_quotes(file) if tape.venue == "bitstamp" else None)
        quotes = read_quotes(found) if found else []
        units = (parse_e8(tick), [parse_e8(lot)] if lot else [])
    except (TapeError, ValueError) as error:
        raise UserError(str(error)) from None
    if units[0] == 0 or 0 in units[1]:
        raise UserError("--tick and --lot are more than zero")
    return tape, quotes, prepare(tape.events, hindsight=hindsight), units


# --- where orders go --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _local(accounts: int) -> AsyncIterator[_Venue]:
    from node.cli import solo

    owners = [LocalSigner(os.urandom(32)) for _ in range(accounts)]
    publishers = [LocalSigner(os.urandom(32)) for _ in range(PUBLISHERS)]
    messages = [solo.market_message(0, oi_cap=OI_CAP_MAX)]
    messages += [solo.publisher_message(0, slot, signer.address) for slot, signer in enumerate(publishers)]
    messages += [solo.deposit_message(signer.address, COLLATERAL) for signer in owners]

    async def publish(client: Any, price: int) -> None:
        await _publish(client, solo.domain(), publishers, price)

    async with solo.solo(messages) as place:
        yield _Venue(
            place.ws_url, solo.domain(), 0,
            [Owner(number, signer) for number, signer in enumerate(owners, 1)], OI_CAP_MAX, 0, publish)


async def _publish(client: Any, domain: bytes, publishers: list[LocalSigner], price: int) -> None:
    """One price from every publisher, dated a second back: the block that takes it may have opened before now."""
    from node.stf import encoding

    moment = time.time_ns() // 1_000_000 - 1_000
    for slot, signer in enumerate(publishers):
        encoding.set_domain(domain)
        digest = encoding.oracle_price_digest(slot, moment, [0], [price])
        await client.call("al_sendOraclePrice", {
            "publisher": slot, "time": moment, "prices": [{"market": 0, "price": price}],
            "signature": "0x" + signer.sign_hash(digest).hex()})


@asynccontextmanager
async def _remote(url: str, market: int, accounts: int) -> AsyncIterator[_Venue]:
    from node.cli.keys import user_signer
    from node.rpc.client import open_websocket
    from node.stf import encoding

    signer = user_signer()
    address = "0x" + signer.address.hex()
    ws_url = "ws" + url.removeprefix("http") if url.startswith("http") else url
    try:
        async with open_websocket(ws_url) as client:
            params = await client.call("al_params")
            markets = {info["market"]: info for info in await client.call("al_markets")}
            mine = await client.call("al_accountsOf", {"owner": address})
    except ValueError as error:
        raise UserError(f"--rpc: {error}") from None
    if market not in markets:
        raise UserError(f"there is no market {market} here; there are {sorted(markets)}")
    if len(mine) < 2:
        raise UserError(f"{address} has {len(mine)} accounts here: deposit to open two or more for a replay")
    info = markets[market]
    domain = encoding.domain_separator(params["chain_id"], int(params["rollup"], 16))
    owners = [Owner(number, signer) for number in mine[:accounts]]
    yield _Venue(ws_url, domain, market, owners, info["oi_cap"], info["mark"], None)


# --- the run ----------------------------------------------------------------------------------------------------------


def _plan(
    prepared: Prepared, venue: _Venue, units: tuple[int, list[int]], accounts: int, rescale: bool
) -> tuple[Market, Plan]:
    numerator = denominator = 1
    if rescale and venue.mark:
        first = Market(units[0], 1).ticks(prepared.events[0].price, prepared.events[0].side)
        numerator, denominator = venue.mark, first
    try:
        return make_plan(
            prepared.events, units[0], accounts=accounts, turn=TURN, lots=units[1], oi_cap=venue.oi_cap,
            numerator=numerator, denominator=denominator)
    except PlanError as error:
        raise UserError(str(error)) from None


async def _play(venue: _Venue, scaled: tuple[Market, Plan], events: list[Event], length: int) -> Played:
    from node.rpc.client import open_websocket

    market, plan = scaled
    async with open_websocket(venue.ws_url, in_flight_max=2_048, timeout_s=120) as client:
        async def publish(event: int) -> None:
            if venue.publish is not None:
                await venue.publish(client, market.ticks(mark_of(events, event), 0))

        await publish(0)
        note(f"replay: {len(plan.steps)} actions of {len(events)} events")
        player = Player(client, venue.domain, venue.market, venue.owners, publish=publish)
        return await player.play(plan.steps, length)


def mark_of(events: list[Event], index: int) -> int:
    """Price of the last trade up to an event, or else of the first one after it, or of the first event."""
    from node.cli.tapes.events import Op

    trades = (Op.PRINT, Op.MATCH)
    before = next((event.price for event in reversed(events[: index + 1]) if event.op in trades), 0)
    return before or next((event.price for event in events[index:] if event.op in trades), events[0].price)


# --- the report -------------------------------------------------------------------------------------------------------


def _result(
    tape: Tape, prepared: Prepared, scaled: tuple[Market, Plan], played: Played, comparison: Comparison, length: int
) -> dict[str, Any]:
    market, plan = scaled
    repeated, prints = compare_trades(prepared.events, played.fills, market)
    places = sum(step.op == "place" for step in plan.steps)
    latencies = sorted(played.latencies_ms) or [0.0]
    return {
        "venue": tape.venue, "symbol": tape.symbol, "events": len(tape.events), "actions": len(plan.steps),
        "orders": places, "cancels": len(plan.steps) - places,
        "transactions": sum(1 for _ in group_steps(plan.steps, length)), "seconds": round(played.seconds, 2),
        "orders_per_s": round(len(plan.steps) / max(played.seconds, 1e-9)),
        "answer_ms": {"p50": round(latencies[len(latencies) // 2], 1),
                      "p99": round(latencies[len(latencies) * 99 // 100], 1)},
        "tick": show_e8(market.tick), "lot": show_e8(market.lot), "peak_open_interest_lots": plan.peak_interest,
        "older_orders": len(prepared.older), "created_late": len(prepared.swapped), "repairs": dict(plan.counts),
        "refused": dict(played.refused), "fills": len(played.fills),
        "orders_matched_as_planned": played.as_planned,
        "trades": {"venue": prints, "repeated": repeated},
        "book_checks": {"made": played.checks, "failed": played.check_failures},
        "best_prices": {
            "rows": comparison.rows, "prices_agree": comparison.prices, "sizes_agree_too": comparison.amounts,
            "share": round(comparison.prices / comparison.rows, 5) if comparison.rows else None,
            "causes": dict(comparison.causes), "differences": comparison.examples,
        },
    }


def _text(r: dict[str, Any]) -> str:
    best, trades = r["best_prices"], r["trades"]
    lines = [
        f"{r['venue']} {r['symbol']}: {r['events']} events as {r['orders']} orders and {r['cancels']} cancels in "
        f"{r['transactions']} transactions, {r['seconds']} s ({r['orders_per_s']} a second, answers p50 "
        f"{r['answer_ms']['p50']} ms, p99 {r['answer_ms']['p99']} ms)",
        f"tick {r['tick']}, lot {r['lot']} (sizes rounded up); {r['older_orders']} orders are older than the tape",
        f"{r['orders_matched_as_planned']} of {r['orders']} orders met exactly what a plain price-time book says, in "
        f"{r['fills']} fills; refused: {r['refused'] or 'none'}",
        f"trades: {trades['repeated']} of the venue's {trades['venue']} repeated at price and size",
        f"book: {r['book_checks']['made']} comparisons with al_book, failed: {r['book_checks']['failed'] or 'none'}",
    ]
    lines += [f"repaired: {cause}: {count}" for cause, count in r["repairs"].items()]
    if best["rows"]:
        lines.append(
            f"best bid and offer: {best['prices_agree']} of {best['rows']} rows agree ({100 * best['share']:.2f}%), "
            f"{best['sizes_agree_too']} in size too")
        lines += [f"  {count} differ: {cause}" for cause, count in best["causes"].items()]
        lines += [f"    row {d['row']}: ours {d['ours']}, venue {d['venue']}: {d['cause']}"
                  for d in best["differences"][:20]]
    return "\n".join(lines)
