"""A trader's commands over the SDK: deposit, order, cancel, book, account, withdraw, status.

Prices and sizes are ticks and lots, or with a decimal point dollars and units (node/cli/amounts.py); money is given and
shown in dollars. JSON has ticks, lots and micro-USD.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from node.cli.amounts import Amount, find_market, show_price, show_size, to_lots, to_ticks, units_of
from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url, micro_usd, need_dollars, open_l1
from node.cli.output import UserError, emit, note, run_async

RpcUrl = Annotated[str, Parameter(name="--rpc", env_var="ANCHORLINE_RPC", help="URL of a node's RPC.")]
DEFAULT_RPC = "http://127.0.0.1:9545"


def _whole(_kind: Any, tokens: Sequence[Any]) -> int:
    """A whole number as it stands: never one that is rounded to it, nor a negative one."""
    digits = tokens[0].value.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("give a whole number that is not negative")
    return int(digits)


Whole = Annotated[int, Parameter(converter=_whole)]


def _usd(micro: int) -> str:
    """Dollars of an amount in micro-USD."""
    return f"{micro / 1_000_000:,.2f}"


def _run(command: Callable[[], Awaitable[None]]) -> None:
    """Run with a quiet log. A bad URL is the user's."""
    from node import log

    log.configure("warning")

    async def main() -> None:
        try:
            await command()
        except ValueError as error:
            raise UserError(str(error)) from None

    run_async(main)


async def _trader(client: Any, account: int | None) -> Any:
    """A trader with the user's key, on the given account or the newest one that the key owns."""
    from node.cli.keys import user_signer
    from node.sdk.trader import Trader, now_ms
    from node.stf.params import NONCE_AHEAD_MS

    signer = user_signer()
    # L2 time may be ahead of this clock, and so may what was signed before, forced through L1 say. A node that claims
    # more than nonces may be ahead is not believed: the signature would live as long as it claims.
    client.seen_ms = min((await client.call("al_block", ["unsafe"]))["time"], now_ms() + NONCE_AHEAD_MS)
    if account is None:
        owned = await client.accounts_of(signer.address)
        if not owned:
            raise UserError(f"0x{signer.address.hex()} owns no account: deposit, or give --account for a trading key")
        return Trader(client, signer, owned[-1])
    row = await client.account(account)
    for key in row.keys:
        if key.address == "0x" + signer.address.hex():
            return Trader(client, signer, account, slot=key.slot)
    raise UserError(f"0x{signer.address.hex()} is no key of account {account}; its owner is {row.owner}")


@asynccontextmanager
async def open_trader(rpc: str, account: int | None) -> AsyncIterator[Any]:
    """A trader with the user's key over a connection of its own."""
    from node.sdk import connect

    async with connect(rpc) as client:
        yield await _trader(client, account)


def _sent(sent: Any) -> dict[str, Any]:
    """What the sequencer answered, for --json; kept, with its promise, in the file that ANCHORLINE_PROMISES names."""
    answer: dict[str, Any] = msgspec.to_builtins(sent)
    if file := os.environ.get("ANCHORLINE_PROMISES"):
        try:
            with open(file, "ab") as kept:
                kept.write(msgspec.json.encode(answer) + b"\n")
        except OSError as error:
            note(f"the promise is not kept: {file} cannot be written ({error.strerror}); ANCHORLINE_PROMISES names it")
    return answer


def _fills(sent: Any, info: Any) -> str:
    if not sent.fills:
        return ""
    lots = sum(fill.lots for fill in sent.fills)
    worst, best = max(fill.price for fill in sent.fills), min(fill.price for fill in sent.fills)
    at = show_price(best, info) if best == worst else f"{show_price(best, info)} to {show_price(worst, info)}"
    return f"; {show_size(lots, info)} filled at {at}"


def _order_line(row: Any, info: Any) -> str:
    """A resting order or trigger."""
    size = show_size(row.lots, info)
    if row.trigger:
        limit = f" at {show_price(row.limit, info)} or better" if row.limit else ""
        kind = "trigger"
        where = f"{row.side} {size}{limit} once the mark is at {show_price(row.price, info)} or {row.trigger}"
    else:
        kind, where = "order", f"{row.side} {size} at {show_price(row.price, info)}"
        where += " reduce-only" if row.reduce_only else ""
    return f"  {kind} {row.client_id}: market {row.market}  {where}" + ("" if row.live else "  DEAD")


def order(
    side: Literal["buy", "sell"], lots: Amount, price: Amount | None = None, *, market: str = "0",
    account: Whole | None = None, tif: Literal["GTC", "IOC", "FOK", "POST_ONLY"] = "GTC", reduce_only: bool = False,
    self_trade: Literal["CANCEL_RESTING", "CANCEL_TAKER", "CANCEL_BOTH"] = "CANCEL_RESTING",
    client_id: Whole | None = None, rpc: RpcUrl = DEFAULT_RPC, json: bool = False,
) -> None:
    """Place an order, signed with your key (ANCHORLINE_KEY or ANCHORLINE_KEYSTORE).

    Without a price it is a market order: it trades at once with what the book has inside the market's price band, and
    the rest is cancelled.

    Parameters
    ----------
    lots
        Size in lots; with a decimal point (0.0100) in units of the underlying.
    price
        Limit in ticks; with a decimal point (60010.0) in dollars; none for a market order.
    market
        Number or symbol of the market; `anchorline status` lists them.
    tif
        Time in force: good till cancelled, immediate or cancel, whole or nothing, or only if it rests in the book.
    reduce_only
        Only make your position smaller: needs no margin, and is clipped to the position.
    self_trade
        What is cancelled if it meets an order of yours: that one, this one, or both.
    account
        Yours by default: the newest one that the key owns.
    client_id
        Your name for the order, to cancel it by; keep it unique. Chosen if you give none.
    """
    if price is None and tif not in ("GTC", "IOC"):
        raise UserError(f"a market order trades at once: give a price for {tif}")

    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            trader = await _trader(client, account)
            info = find_market(await client.markets(), market)
            size = to_lots(lots, info)
            if price is None:
                sent = await trader.market_order(
                    info.market, side, lots=size, client_id=client_id, reduce_only=reduce_only)
            else:
                sent = await trader.place(
                    info.market, side, price=to_ticks(price, info), lots=size, tif=tif, client_id=client_id,
                    reduce_only=reduce_only, self_trade=self_trade)
            filled = _fills(sent, info) or ("; nothing filled" if tif == "IOC" or price is None else "")
            text = f"order {sent.client_ids[0]} promised at position {sent.position:,}{filled}"
            emit(json, _sent(sent), text)

    _run(command)


def cancel(
    client_id: Whole | None = None, *, market: str = "0", all: bool = False, account: Whole | None = None,
    rpc: RpcUrl = DEFAULT_RPC, json: bool = False,
) -> None:
    """Cancel one order or trigger by its client id, or with --all everything in a market. Signed with your key.

    Parameters
    ----------
    client_id
        The order's name, as `order` printed it and `account` lists it.
    market
        Number or symbol of the market.
    all
        Cancel all of your orders in the market.
    account
        Yours by default: the newest one that the key owns.
    """
    if (client_id is None) != all:
        raise UserError("give the client id of one order, or --all")

    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            trader = await _trader(client, account)
            number = find_market(await client.markets(), market).market
            sent = await (trader.cancel_all(number) if client_id is None else trader.cancel(number, client_id))
            what = f"all orders in market {number}" if client_id is None else f"order {client_id}"
            emit(json, _sent(sent), f"{what} cancelled at position {sent.position:,}")

    _run(command)


def book(market: str = "0", *, depth: Whole = 10, rpc: RpcUrl = DEFAULT_RPC, json: bool = False) -> None:
    """Show a market's book: prices, sizes, orders; asks above, bids below. In dollars where the node knows decimals.

    Parameters
    ----------
    market
        Number or symbol of the market.
    depth
        Levels of each side, at most 500.
    """
    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            info = find_market(await client.markets(), market)
            found = await client.book(info.market, depth)
        emit(json, msgspec.to_builtins(found), "\n".join(_book_lines(found, info)))

    _run(command)


def _book_lines(found: Any, info: Any) -> list[str]:
    units = units_of(info)

    def row(price: int, lots: int, orders: int) -> str:
        human = "" if units is None else f"{units.price(price):>14} {units.size(lots):>14}  "
        return f"{human}{price:>12,} {lots:>14,} {orders:>6}"

    head = "" if units is None else f"{'USD':>14} {info.symbol:>14}  "
    lines = [f"{head}{'ticks':>12} {'lots':>14} {'orders':>6}", *(row(*level) for level in reversed(found.asks))]
    return [*lines, "-" * len(lines[0]) + f" market {info.market}", *(row(*level) for level in found.bids)]


def account(number: Whole | None = None, *, rpc: RpcUrl = DEFAULT_RPC, json: bool = False) -> None:
    """Show an account (by default the newest one that your key owns): collateral, margin, positions, orders."""
    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            chosen = number if number is not None else (await _trader(client, None)).account
            row = await client.account(chosen)
            orders = await client.orders(chosen)
            named = {info.market: info for info in await client.markets()}
        result = msgspec.to_builtins(row) | {"orders": msgspec.to_builtins(orders)}
        lines = [
            f"account {row.account} of {row.owner}",
            f"  collateral {_usd(row.collateral)}  equity {_usd(row.equity)}  free {_usd(row.withdrawable)} USD",
            f"  initial margin {_usd(row.initial)}  maintenance {_usd(row.maintenance)} USD",
        ]
        lines += [f"  position: market {p.market}  {'long' if p.size > 0 else 'short'} "
                  f"{show_size(abs(p.size), named[p.market])}  unrealized {_usd(p.unrealized)} USD"
                  for p in row.positions if p.size]
        lines += [_order_line(o, named[o.market]) for o in orders]
        emit(json, result, "\n".join(lines))

    _run(command)


def status(*, rpc: RpcUrl = DEFAULT_RPC, json: bool = False) -> None:
    """Show a node's heads, totals, markets and health."""
    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            found, markets = await client.status(), await client.markets()
        totals = found["totals"]
        lines = [f"{found['role']} of rollup {found['rollup']} (chain {found['chain_id']})"]
        lines += [f"  {name:<10} block {head['number']:>8,}  {head['state_root']}"
                  for name, head in found["heads"].items()]
        lines += [
            f"  {found['accounts']:,} accounts, {found['position']:,} transactions, "
            f"{_usd(totals['deposits'] - totals['withdrawn'])} USD held; "
            + ("money is conserved" if found["conserved"] else "MONEY IS NOT CONSERVED")]
        if found.get("roots"):
            lines.append(f"  {found['roots']['agreed']:,} roots agree with L1, {found['roots']['disagreed']:,} do not")
        lines += [
            f"  market {item.market}, {item.symbol}: mark {show_price(item.mark, item)}, "
            f"a lot is worth {_usd(item.mark * item.tick_value)} USD, "
            f"funding {item.prices.funding_bps_8h:+.2f} bp per 8 h"
            + ("" if item.status == "open" else f"; {item.status.upper()}")
            + ("" if item.fresh else "; STALE, no new orders") for item in markets]
        if found.get("problem"):
            lines.append(f"  problem: {found['problem']}")
        emit(json, found, "\n".join(lines))

    _run(command)


def deposit(
    amount: float, *, account: Whole = 0, rpc: RpcUrl = DEFAULT_RPC, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, timeout_s: float = 120.0, json: bool = False,
) -> None:
    """Deposit dollars on L1 and wait until they are on L2. Your key pays and owns.

    Parameters
    ----------
    amount
        Dollars.
    account
        Account to credit; 0 opens a new one.
    """
    async def command() -> None:
        from node.l1.deployment import load_deployment
        from node.sdk import connect
        from node.sdk.l1 import L1Wallet

        micro = micro_usd(amount)
        async with connect(rpc) as client, open_l1(l1_rpc) as (l1, sender):
            wallet = L1Wallet(l1, sender, load_deployment(deployment))
            if account:
                await client.account(account)  # an unknown one would open a new account instead
            await need_dollars(wallet, micro)
            known = await client.accounts_of(wallet.address)
            number = await wallet.deposit(micro, account=account)
            if not json:
                note(f"message {number} is in the inbox; waiting for the sequencer")
            found = account or await client.wait_account(wallet.address, len(known), timeout_s)
            await _consumed(client, number, timeout_s)
        emit(json, {"account": found, "message": number, "amount": micro}, f"{_usd(micro)} USD are in account {found}")

    _run(command)


async def _consumed(client: Any, message: int, timeout_s: float) -> None:
    import trio

    with trio.move_on_after(timeout_s):
        while (await client.status())["cursor"] <= message:
            await trio.sleep(0.1)
        return
    raise UserError(f"message {message} is not consumed after {timeout_s} s; is the sequencer following L1?")


def withdraw(
    amount: float, *, to: str = "", account: Whole | None = None, claim: bool = False, now: str = "",
    min: float | None = None, rpc: RpcUrl = DEFAULT_RPC, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, timeout_s: float = 600.0, json: bool = False,
) -> None:
    """Withdraw free collateral to L1. With --claim, wait for finality and have L1 pay it; with --now, sell it at once.

    Parameters
    ----------
    amount
        Dollars.
    to
        L1 address that is paid; yours by default.
    now
        URL of a liquidity provider's RPC: it pays as soon as the batch is deep enough on L1, less its fee.
    min
        With --now, the least that you take, dollars; 99% of the amount by default. A worse price is refused: the
        withdrawal then waits for the window like any other, or is sold by `anchorline sell-claim`.
    """
    if now and (claim or to):
        raise UserError("--now sells what your own key is paid: it goes with neither --claim nor --to")
    if min is not None and not now:
        raise UserError("--min is the least price of a sale: give --now URL, too")

    async def command() -> None:
        from node.cli.keys import parse_address
        from node.cli.liquidity import price_of, sell
        from node.sdk import connect

        least = price_of(min, micro_usd(amount))
        if now:
            async with connect(now) as provider:  # one that is none is better known before the withdrawal
                if (role := (await provider.status())["role"]) != "liquidity":
                    raise UserError(f"{now} is a {role}, not a liquidity provider: nothing was withdrawn")
        async with connect(rpc) as client:
            trader = await _trader(client, account)
            recipient = parse_address(to, "to") if to else trader.owner
            before = (await client.status())["withdrawals"]
            sent = await trader.withdraw(micro_usd(amount), recipient)
            receipt = await client.wait_receipt(sent.position)
            number = receipt.withdrawal or await client.find_withdrawal(recipient, micro_usd(amount), before)
            result = _sent(sent) | {"withdrawal": number}
            if now:
                if not json:
                    note(f"withdrawal {number} is promised; waiting until its batch is deep enough on L1")
                sold, text = await sell(
                    now, l1_rpc, deployment, (number, recipient, micro_usd(amount)), least, timeout_s, ours=True)
                emit(json, result | sold, text)
                return
            if not claim:
                text = f"withdrawal {number} of {amount:,.2f} USD promised; payable on L1 once finalized"
                emit(json, result, text)
                return
            if not json:
                note(f"withdrawal {number} is promised; waiting until its batch is final")
            proof = await client.wait_claimable(number, timeout_s)
            result["l1_tx"] = await _claim(l1_rpc, deployment, proof)
        emit(json, result, f"withdrawal {number}: {amount:,.2f} USD paid on L1 in {result['l1_tx']}")

    _run(command)


async def _claim(l1_rpc: str, deployment: Any, proof: Any) -> str:
    from node.l1.deployment import load_deployment
    from node.sdk.l1 import L1Wallet

    async with open_l1(l1_rpc) as (l1, sender):
        receipt = await L1Wallet(l1, sender, load_deployment(deployment)).claim(proof)
    return "0x" + receipt.tx_hash.hex()
