"""``anchorline explain``: a transaction as a statement to its trader, with the sums that decided, and their proof.

Money is shown in dollars; formulas keep the rules' own units: micro-USD, lots, ticks, ppm, ms.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from io import StringIO
from typing import Annotated, Any, Final

import msgspec
from cyclopts import Parameter
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from node.cli.amounts import show_price, show_size
from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url
from node.cli.output import UserError, emit, run_async
from node.cli.trade import DEFAULT_RPC, RpcUrl, Whole
from node.rpc.explain.lines import Line
from node.rpc.explain.methods import Explanation
from node.rpc.explain.statement import Statement
from node.rpc.explain.steps import AccountStep, FillStep, MarketStep, Step
from node.rpc.methods.shapes import MarketInfo
from node.rpc.statuses import SUCCESSES

_POSITION: Final = re.compile(r"\d{1,18}")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}")
_NUMBER: Final = re.compile(r"\d{4,}")
_WIDTH_PIPED: Final = 150


def _identity(_kind: Any, tokens: Sequence[Any]) -> str:
    text = str(tokens[0].value).replace(",", "").replace("_", "")
    if not (_POSITION.fullmatch(text) or _HASH.fullmatch(text)):
        raise ValueError("give a transaction's position, or its hash as 0x and 64 hex digits")
    return text


def explain(
    id: Annotated[str, Parameter(converter=_identity)], *, action: Whole | None = None, formulas: bool = False,
    check: bool = False, rpc: RpcUrl = DEFAULT_RPC, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False,
) -> None:
    """Show why a transaction did what it did: what decided, what moved, margin before and after.

    With --json, the answer that check_explain.py proves against a header hash of L1.

    Parameters
    ----------
    id
        Position or hash of the transaction, as `order` printed it.
    action
        Only this action of its list, counted from 0.
    formulas
        Also show how each position's margin was calculated.
    check
        Prove it: compare with the batch header that L1 has (--l1-rpc and --deployment say where), and execute the
        chunk again here, on nothing but leaves that its pre-root proves.
    """
    async def command() -> None:
        from node.sdk import connect

        params: dict[str, Any] = {"id": int(id) if _POSITION.fullmatch(id) else id}
        params |= {} if action is None else {"action": action}
        async with connect(rpc) as client:
            answer = await client.call("al_explain", params | ({"witness": True} if check else {}))
            markets = {info.market: info for info in await client.markets()}
        found = msgspec.convert(answer, Explanation)
        proven = await _prove(answer, found, l1_rpc, deployment) if check else []
        emit(json, answer | {"proven": proven} if check else answer,
             lambda: render([*_page(found, markets, formulas), *_proof(proven)]))

    _run(command)


def _run(command: Any) -> None:
    from node import log

    log.configure("warning")
    run_async(command)


async def _prove(answer: dict[str, Any], found: Explanation, l1_rpc: str, deployment: Any) -> list[str]:
    """What check_explain shows with the header hash that L1 has, and what executing the chunk again here shows.

    Raises UserError if something does not fit.
    """
    from node.cli.check_explain import CheckFailed, check
    from node.l1 import bindings
    from node.l1.client import L1Client
    from node.l1.deployment import load_deployment
    from node.rpc.explain.again import Differs, execute_again
    from node.stf import encoding
    from node.stf.transition import InvalidChunk
    from node.stf.witness import BadWitness

    batch = answer["evidence"]["batch"]
    if batch is None:
        raise UserError("its batch is not on L1 yet: there is no root to prove it against; ask again later")
    record = load_deployment(deployment)
    rollup = bytes.fromhex(record.rollup[2:])
    client = L1Client(l1_rpc)
    try:
        data = await client.call(rollup, bindings.encode_call("header_hash", batch["number"]))
    finally:
        client.close()
    header_hash = bytes(bindings.decode_result("header_hash", data))
    try:
        domain = encoding.domain_separator(record.l2_chain_id, int.from_bytes(rollup, "big"))
        return [*check(answer, header_hash), *await execute_again(found, domain)]
    except (CheckFailed, Differs, BadWitness, InvalidChunk, KeyError, IndexError, ValueError, TypeError) as error:
        raise UserError(f"NOT PROVEN: {error!r}: do not trust this node's explanation") from None


# --- the page ---------------------------------------------------------------------------------------------------------


def render(parts: Sequence[RenderableType]) -> str:
    """The parts as text, as wide as the terminal, with colours only there."""
    out = StringIO()
    terminal = sys.stdout.isatty()
    console = Console(file=out, force_terminal=terminal, width=None if terminal else _WIDTH_PIPED)
    for part in parts:
        console.print(part)
    return out.getvalue().rstrip("\n")


def _page(found: Explanation, markets: dict[int, MarketInfo], formulas: bool) -> list[RenderableType]:
    receipt = found.receipt
    where = f"block {receipt.block:,}" + ("" if receipt.batch is None else f", batch {receipt.batch:,}")
    forced = ", forced through L1" if found.forced else ""
    head = Text(f"Position {receipt.position:,}  {receipt.kind}{forced}  {where}, {receipt.head}", style="bold")
    parts: list[RenderableType] = [head, Text(f"L2 time {receipt.time:,} ms, hash {receipt.hash}", style="dim")]
    if receipt.withdrawal is not None:
        parts.append(Text(f"Created withdrawal {receipt.withdrawal}; `anchorline withdraw --claim` or "
                          f"al_withdrawalProof {receipt.withdrawal} pays it once it is final"))
    for step in found.steps:
        parts += _step(step, markets, formulas)
    return parts


def _step(step: Step, markets: dict[int, MarketInfo], formulas: bool) -> list[RenderableType]:
    number = "" if step.index is None else f"Action {step.index}: "
    status = step.status
    good = status.status in SUCCESSES
    parts: list[RenderableType] = [Text(""), Text(f"{number}{step.what}", style="bold")]
    said = status.status if status.status == "OK" else f"{status.status}: {status.meaning}"
    parts.append(Text(f"  {said}", style="green" if good else "red"))
    if not good:
        parts.append(Text(f"  What to do: {status.remedy}"))
    if step.lines:
        parts.append(_lines("What decided", step.lines))
    parts += [_fill(item, markets) for item in step.fills]
    parts += [_market(item, markets) for item in step.markets]
    for account in step.accounts:
        parts += _account(account, markets, formulas)
    if formulas and step.counted_open is not None:
        parts += _positions("with the whole order open", step.counted_open, markets)
    return parts


def _lines(title: str, lines: Sequence[Line]) -> RenderableType:
    table = _table(title)
    table.add_column("", ratio=4)
    table.add_column("result", justify="right", no_wrap=True)
    table.add_column("formula", ratio=5, style="dim")
    table.add_column("with numbers", ratio=5)
    for each in lines:
        table.add_row(each.name, _result(each), _pretty(each.formula), _pretty(each.numbers))
    return Padding(table, (0, 0, 0, 2))


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False,
                 expand=True)


def _result(each: Line) -> Text:
    if each.unit == "condition":
        return Text("yes", style="green") if each.value else Text("no", style="red")
    return Text(f"{_usd(each.value)} USD" if each.unit == "micro-USD" else f"{each.value:,} {each.unit}")


def _pretty(formula: str) -> str:
    """A formula for people: · for *, ^ for powers, thousands apart."""
    text = formula.replace("**", "^").replace(" * ", " · ").replace("*", " · ")
    return _NUMBER.sub(lambda match: f"{int(match.group()):,}", text)


def _usd(micro: int) -> str:
    """Exact dollars: two decimals, or as many of six as are not zero."""
    sign, whole, rest = "-" if micro < 0 else "", abs(micro) // 10**6, f"{abs(micro) % 10**6:06}"
    return f"{sign}{whole:,}.{rest[:2]}{rest[2:].rstrip('0')}"


def _fill(item: FillStep, markets: dict[int, MarketInfo]) -> RenderableType:
    fill = item.fill
    info = markets[fill.market]
    taker = f"account {fill.taker}" if fill.taker else "insurance"
    title = (f"Fill: {taker} {'buys' if fill.taker_side == 'buy' else 'sells'} {show_size(fill.lots, info)} at "
             f"{show_price(fill.price, info)}, resting order {fill.maker_client_id} of account {fill.maker}")
    return _lines(title, item.lines)


def _market(item: MarketStep, markets: dict[int, MarketInfo]) -> RenderableType:
    info = markets[item.market]
    table = _table(f"Market {item.market}, {info.symbol}" + (f": {item.status}" if item.status else ""))
    for name in ("", "before", "after"):
        table.add_column(name, justify="right" if name else "left")
    before, after = item.before, item.after
    table.add_row("mark", show_price(before.mark, info), show_price(after.mark, info))
    for name, field in (("insurance", "insurance_cash"), ("loss index of longs, per lot", "loss_long"),
                        ("loss index of shorts, per lot", "loss_short"), ("funding index, per lot", "funding")):
        old, new = getattr(before, field), getattr(after, field)
        if old or new:
            table.add_row(name, f"{_usd(old)} USD", f"{_usd(new)} USD")
    if before.insurance_size or after.insurance_size:
        table.add_row("insurance's position", f"{before.insurance_size:+,} lots", f"{after.insurance_size:+,} lots")
    return Padding(table, (0, 0, 0, 2))


def _account(item: AccountStep, markets: dict[int, MarketInfo], formulas: bool) -> list[RenderableType]:
    table = _table(f"Account {item.account} ({item.role})")
    for name in ("", "before", "after", "change"):
        table.add_column(name, justify="right" if name else "left", ratio=1)
    before, after = item.before, item.after
    for name, field in (("collateral", "collateral"), ("equity", "equity"), ("haircut of stale prices", "haircut"),
                        ("initial margin", "initial"), ("maintenance margin", "maintenance"),
                        ("close-out", "closeout"), ("free to withdraw", "withdrawable")):
        old, new = (0 if moment is None else getattr(moment, field) for moment in (before, after))
        if old or new or field in ("collateral", "equity"):
            table.add_row(
                name, "" if before is None else f"{_usd(old)} USD", "" if after is None else f"{_usd(new)} USD",
                f"{'+' if new > old else ''}{_usd(new - old)}" if new != old else "")
    if after is not None and (after.buffered or (before is not None and before.buffered)):
        table.add_row("latency buffer left", f"{0 if before is None else before.buffer_left_ms:,} ms",
                      f"{after.buffer_left_ms:,} ms", "")
    for market in sorted({p.market for moment in (before, after) if moment is not None for p in moment.positions}):
        old, new = (_size(moment, market) for moment in (before, after))
        if old or new:
            name = f"position in {markets[market].symbol}"
            table.add_row(name, _signed_size(old, markets[market]), _signed_size(new, markets[market]),
                          f"{new - old:+,} lots" if new != old else "")
    parts: list[RenderableType] = [Padding(table, (0, 0, 0, 2))]
    if formulas:
        for moment, name in ((before, "before"), (after, "after")):
            parts += [] if moment is None else _positions(f"Account {item.account} {name}", moment, markets)
    return parts


def _size(moment: Statement | None, market: int) -> int:
    return sum(p.size for p in moment.positions if p.market == market) if moment is not None else 0


def _signed_size(lots: int, info: MarketInfo) -> str:
    return "none" if lots == 0 else f"{'long' if lots > 0 else 'short'} {show_size(abs(lots), info)}"


def _positions(title: str, moment: Statement, markets: dict[int, MarketInfo]) -> list[RenderableType]:
    parts = [_lines(f"{title}: {markets[p.market].symbol}", p.lines) for p in moment.positions]
    return [*parts, _lines(f"{title}: in all", moment.lines)]


def _proof(lines: Sequence[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [Text(""), Text("Proven against L1", style="bold green"), *[Text(f"  {each}") for each in lines]]
