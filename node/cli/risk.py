"""``anchorline risk``: how likely an account's cushion is to break before L1 knows its state (``al_risk``)."""

from __future__ import annotations

import msgspec

from node.cli.output import UserError, emit
from node.cli.trade import DEFAULT_RPC, RpcUrl, Whole, _run, _trader, _usd
from node.rpc.methods.shapes import RiskInfo


def risk(
    number: Whole | None = None, *, within_s: float | None = None, rpc: RpcUrl = DEFAULT_RPC, json: bool = False,
) -> None:
    """Show the chance that the price runs through an account's cushion before the next anchor, and all it rests on.

    Parameters
    ----------
    number
        The account; by default the newest one that your key owns.
    within_s
        Seconds to look ahead, instead of the time until L1 knows.
    """
    if within_s is not None and not 0 <= within_s <= 1e9:
        raise UserError("--within-s is 0 to 1,000,000,000 seconds")

    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            chosen = number if number is not None else (await _trader(client, None)).account
            found = await client.risk(chosen, None if within_s is None else round(within_s * 1_000))
        emit(json, msgspec.to_builtins(found), lambda: _text(found))

    _run(command)


def _text(found: RiskInfo) -> str:
    lines = [
        f"account {found.account}: {found.probability:.4%} that its cushion breaks "
        f"within {found.tau_ms / 1_000:,.1f} s",
        f"  equity {_usd(found.equity)} - maintenance {_usd(found.maintenance)} = cushion {_usd(found.cushion)} USD",
        f"  one standard deviation of equity in that time: {_usd(found.deviation)} USD",
    ]
    lines += [
        f"  position: market {p.market}  {p.size:+,} lots  {_usd(p.notional)} USD, "
        f"volatility {p.sigma_ppb / 1e7:.4f}% per square root of a second" for p in found.positions]
    if not found.prices_fresh:
        lines.append("  STALE prices: equity is already worsened by their age")
    lines += [f"  probability = {found.formula}", f"  source: {found.source}"]
    return "\n".join(lines)
