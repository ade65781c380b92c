"""What a trader does with orders beyond placing and cancelling them: amend, trigger, switch, early-reduction.

Prices and sizes are ticks and lots, or with a decimal point dollars and units (node/cli/amounts.py). All of it is
signed with the user's key.
"""

from __future__ import annotations

from typing import Literal

from node.cli.amounts import Amount, find_market, show_price, show_size, to_lots, to_ticks
from node.cli.output import emit
from node.cli.trade import DEFAULT_RPC, RpcUrl, Whole, _run, _sent, open_trader


def amend(
    client_id: Whole, lots: Amount, *, market: str = "0", account: Whole | None = None, rpc: RpcUrl = DEFAULT_RPC,
    json: bool = False,
) -> None:
    """Make a resting order smaller; it keeps its place in the book. Signed with your key.

    Parameters
    ----------
    client_id
        The order's name, as `order` printed it and `account` lists it.
    lots
        What is left to rest: lots, or with a decimal point units of the underlying.
    market
        Number or symbol of the market.
    account
        Yours by default: the newest one that the key owns.
    """
    async def command() -> None:
        async with open_trader(rpc, account) as trader:
            info = find_market(await trader.client.markets(), market)
            left = to_lots(lots, info)
            sent = await trader.amend(info.market, client_id, left)
            text = f"order {client_id} rests with {show_size(left, info)}, at position {sent.position:,}"
            emit(json, _sent(sent), text)

    _run(command)


def trigger(
    side: Literal["buy", "sell"], lots: Amount, when: Literal["above", "below"], price: Amount, *, limit: Amount = "0",
    market: str = "0", account: Whole | None = None, client_id: Whole | None = None, rpc: RpcUrl = DEFAULT_RPC,
    json: bool = False,
) -> None:
    """Place a stop or take-profit: once the mark is at a price or beyond, trade your position away.

    It only ever makes the position smaller, however large it is by then. Anyone may fire it; keepers do.

    Parameters
    ----------
    lots
        How much of the position: lots, or with a decimal point units of the underlying.
    when
        Whether the mark must be at the price or above it, or at it or below.
    price
        Where it fires: ticks, or with a decimal point dollars.
    limit
        The worst price it then trades at; 0 for the market's price band.
    market
        Number or symbol of the market.
    account
        Yours by default: the newest one that the key owns.
    client_id
        Your name for it, to cancel it by; keep it unique. Chosen if you give none.
    """
    async def command() -> None:
        async with open_trader(rpc, account) as trader:
            info = find_market(await trader.client.markets(), market)
            at = to_ticks(price, info)
            sent = await trader.trigger(
                info.market, side, when, at, lots=to_lots(lots, info), limit=to_ticks(limit, info), client_id=client_id)
            text = f"trigger {sent.client_ids[0]} waits for {show_price(at, info)} or {when}, at {sent.position:,}"
            emit(json, _sent(sent), text)

    _run(command)


def switch(
    seconds: Whole, *, account: Whole | None = None, rpc: RpcUrl = DEFAULT_RPC, json: bool = False,
) -> None:
    """Set your dead man's switch: in so many seconds all of your orders die, unless you set it again. 0 turns it off.

    Parameters
    ----------
    seconds
        From now, in L2 time. After it has fired, cancel everything in your markets (`cancel --all`) to set it anew.
    account
        Yours by default: the newest one that the key owns.
    """
    async def command() -> None:
        async with open_trader(rpc, account) as trader:
            row = await trader.client.account(trader.account)
            time = row.time + 1_000 * seconds if seconds else 0
            sent = await trader.cancel_at(time)
            text = f"all orders die in {seconds:,} s" if seconds else "the switch is off"
            emit(json, _sent(sent) | {"cancel_at": time}, f"{text}, at position {sent.position:,}")

    _run(command)


def early_reduction(
    choice: Literal["allow", "deny"], *, account: Whole | None = None, rpc: RpcUrl = DEFAULT_RPC, json: bool = False,
) -> None:
    """Allow or deny that small parts of your positions are sold early, at no penalty, when volatility threatens you.

    Parameters
    ----------
    choice
        Below maintenance margin it happens to everybody; this is about the time before.
    account
        Yours by default: the newest one that the key owns.
    """
    async def command() -> None:
        async with open_trader(rpc, account) as trader:
            sent = await trader.allow_early_reduction(choice == "allow")
            done = "allowed" if choice == "allow" else "denied"
            emit(json, _sent(sent), f"early reduction is {done}, at position {sent.position:,}")

    _run(command)
