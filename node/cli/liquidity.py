"""Selling a withdrawal that is not final yet: `anchorline sell-claim`, and `withdraw --now`. Money is in dollars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url, micro_usd
from node.cli.output import UserError, emit, note
from node.cli.trade import DEFAULT_RPC, RpcUrl, Whole, _run, _usd

PRICE_MIN_PERCENT: Final = 99
ProviderUrl = Annotated[
    str, Parameter(name="--provider", env_var="ANCHORLINE_PROVIDER", help="URL of a liquidity provider's RPC.")]


def sell_claim(
    withdrawal: Whole, *, provider: ProviderUrl, min_price: float | None = None, quote: bool = False,
    rpc: RpcUrl = DEFAULT_RPC, l1_rpc: L1Url = DEFAULT_L1, deployment: DeploymentFile = DEFAULT_DEPLOYMENT,
    timeout_s: float = 600.0, json: bool = False,
) -> None:
    """Sell a withdrawal's claim to a liquidity provider, signed with the key that owns it, and wait for the money.

    Parameters
    ----------
    withdrawal
        Its id, as `anchorline withdraw` printed it.
    min_price
        The least that you take, dollars; 99% of the amount by default. A worse quote is refused.
    quote
        Only show what the provider would pay; sign nothing.
    timeout_s
        Seconds to wait until the withdrawal's batch is deep enough on L1.
    """
    async def command() -> None:
        from node.sdk import connect

        async with connect(rpc) as client:
            row = await client.withdrawal(withdrawal)
        claim = (row.id, bytes.fromhex(row.recipient[2:]), row.amount)
        least = price_of(min_price, row.amount)
        if quote:
            await _show(provider, withdrawal, json)
            return
        sold, text = await sell(provider, l1_rpc, deployment, claim, least, timeout_s)
        emit(json, sold, text)

    _run(command)


def price_of(dollars: float | None, amount: int) -> int:
    """The least price, micro-USD. Raises UserError for one above the amount: nobody would pay that."""
    least = -(-amount * PRICE_MIN_PERCENT // 100) if dollars is None else micro_usd(dollars)
    if least > amount:
        raise UserError(f"the least price, {_usd(least)} USD, is more than the withdrawal's {_usd(amount)} USD")
    return least


async def sell(
    provider: str, l1_rpc: str, deployment: Path, claim: tuple[int, bytes, int], least: int, timeout_s: float, *,
    ours: bool = False,
) -> tuple[dict[str, Any], str]:
    """Sell a claim (id, recipient, micro-USD); the result for --json, and in words. ``ours``: the withdrawal was just
    made, so that it is certainly still the caller's where it could not be sold."""
    from node.cli.keys import user_signer
    from node.l1.client import L1Client
    from node.l1.deployment import load_deployment
    from node.sdk import connect
    from node.sdk.errors import AnchorlineError
    from node.sdk.liquidity import ClaimSeller

    number, recipient, amount = claim
    def shown(offer: Any) -> None:
        note(f"0x{offer.buyer.hex()} pays {_usd(offer.price)} of {_usd(amount)} USD; signing")

    signer = user_signer()
    rollup = bytes.fromhex(load_deployment(deployment).rollup[2:])
    l1 = L1Client(l1_rpc)
    try:
        async with connect(provider) as client:
            seller = await ClaimSeller.open(client, l1, rollup, signer)
            sold = await seller.sell(number, recipient, amount, price_min=least, timeout_s=timeout_s, shown=shown)
    except AnchorlineError:
        if ours:
            note(f"withdrawal {number} is not sold and still yours: sell it with `anchorline sell-claim {number}`, or "
                 "have L1 pay it after its window")
        raise
    finally:
        l1.close()
    result = {"withdrawal": number, "amount": amount, "price": sold.price, "fee": amount - sold.price,
              "buyer": "0x" + sold.buyer.hex(), "l1_tx": sold.l1_tx}
    return result, (f"withdrawal {number} sold: {_usd(sold.price)} of {_usd(amount)} USD paid on L1 in {sold.l1_tx} "
                    f"(fee {_usd(amount - sold.price)} USD)")


async def _show(provider: str, number: int, json: bool) -> None:
    import msgspec

    from node.rpc.methods.claims import QuoteInfo
    from node.sdk import connect

    async with connect(provider) as client:
        found: QuoteInfo = await client.call("al_quoteClaim", {"id": number}, QuoteInfo)
    waits = f"; it waits: {found.waits_for}" if found.waits_for else ""
    text = f"{_usd(found.price)} of {_usd(found.amount)} USD for withdrawal {number}, fee {_usd(found.fee)} USD{waits}"
    emit(json, msgspec.to_builtins(found), text)
