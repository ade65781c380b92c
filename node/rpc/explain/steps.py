"""What a transaction did, step by step: one step for each action of a list, one for everything else.

A step tells the decisive conditions, the fills with what each moved, and the statement of every account involved before
and after. Statements between two actions of one list come from executing it once more, action by action.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace

import msgspec
import trio

from node.rpc.explain.decode import Intent, describe_action, describe_intent, read_message, read_transaction
from node.rpc.explain.ladder import Rung, explain_liquidation, position_of
from node.rpc.explain.lines import Line, line
from node.rpc.explain.reasons import Case, counted_open, next_fill, why
from node.rpc.explain.replay import Act, Scene
from node.rpc.explain.statement import Statement, account_statement
from node.rpc.fields import hex_of
from node.rpc.methods import shapes
from node.rpc.methods.reader import Reader
from node.rpc.methods.reads import fill_info
from node.rpc.statuses import StatusInfo, describe_status
from node.stf import accounts, types
from node.stf.state import GLOBAL_KEY, account_key, decode_globals
from node.stf.types import BUY, Action, Board, Fill, Position, Status


class FillStep(msgspec.Struct):
    """One match: what the two sides agreed on, and what it moved."""

    fill: shapes.FillInfo
    lines: list[Line]


class AccountStep(msgspec.Struct):
    """An account around a step, with its leaf. None: it does not exist then.

    ``role``: taker, maker, owner, liquidated, settled.
    """

    account: int
    role: str
    before: Statement | None
    after: Statement | None
    leaf_before: str
    leaf_after: str


class MarketView(msgspec.Struct):
    """A market at one moment. Prices are ticks, indices and money micro-USD, sizes lots."""

    mark: int
    mark_time: int
    index: int
    funding: int
    loss_long: int
    loss_short: int
    risk: int
    open_interest: int
    insurance_cash: int
    insurance_size: int
    insurance_cost: int


class MarketStep(msgspec.Struct):
    """A market around a step; ``status`` is that of its price, where one was published."""

    market: int
    status: str
    before: MarketView
    after: MarketView


class Step(msgspec.Struct):
    """``index`` is the action's place in its list, None for what is no list."""

    index: int | None
    what: str
    status: StatusInfo
    lines: list[Line]
    fills: list[FillStep]
    accounts: list[AccountStep]
    counted_open: Statement | None = None
    """The account with the whole order counted as open, which is how it was judged."""
    markets: list[MarketStep] = []


def intent_of(scene: Scene) -> Intent:
    """What a scene's transaction asks for, with what it forces in if it consumes a message."""
    time = decode_globals(scene.before.get(GLOBAL_KEY) or b"").time
    return read_transaction(scene.data, time) if scene.message is None else read_message(scene.message, time)


async def steps_of(scene: Scene, intent: Intent, chosen: int | None) -> list[Step]:
    """All steps of a scene, or the one of the chosen action."""
    receipt = scene.receipt
    if intent.kind != types.ACTIONS or not _is_list(scene, intent):
        return [_whole(scene, intent, receipt.status, receipt.fills)]
    found: list[Step] = []
    for index, act in enumerate(scene.acts(intent.account, intent.actions, intent.time)):
        if chosen is None or index == chosen:
            found.append(_action(scene, intent, index, act))
        if index == chosen:
            break
        await trio.lowlevel.checkpoint()
    return found


def _is_list(scene: Scene, intent: Intent) -> bool:
    """Whether the list was executed: one whose envelope fails has no actions that did anything."""
    return scene.receipt.status == Status.OK and bool(intent.actions)


def _action(scene: Scene, intent: Intent, index: int, act: Act) -> Step:
    action, status, fills = intent.actions[index], act.status, act.fills
    early, late = scene.reader(act.before), scene.reader(act.after)
    case = Case(early, intent, action, action.market)
    lines = why(case, status)
    if status == Status.INSUFFICIENT_MARGIN and all(each.value for each in lines if each.unit == "condition"):
        lines += next_fill(case, late, sum(fill.lots for fill in fills if fill.taker == intent.account))
    opened = counted_open(case) if action.op == types.PLACE and early.board(action.market).status else None
    return Step(
        index, describe_action(action), describe_status(status.name), lines,
        _fills(early, fills), _accounts(early, late, {intent.account: "owner"}, fills), opened)


def _whole(scene: Scene, intent: Intent, status: Status, fills: list[Fill]) -> Step:
    early, late = scene.reader(scene.before), scene.reader(scene.after)
    case = Case(early, intent, None, intent.market)
    lines = why(case, status)
    roles = _roles(intent, early, late)
    if intent.kind in (types.LIQUIDATE, types.SETTLE):
        settles = intent.kind == types.SETTLE
        lines += explain_liquidation(Rung(early, late, intent.account, intent.market, status, fills, settles))
    if intent.kind == types.RESUME and status == Status.INSUFFICIENT_MARGIN:
        lines += _resumed(early, late, intent, fills)
    if intent.message_kind == types.DEPOSIT and status == Status.OK and intent.amount:
        lines.append(line("credited", "amount", amount=intent.amount))
    step = Step(None, describe_intent(intent), describe_status(status.name), lines, _fills(early, fills),
                _accounts(early, late, roles, fills))
    step.markets = _markets(early, late, intent, scene.receipt.action_statuses)
    return step


def _resumed(early: Reader, late: Reader, intent: Intent, fills: Sequence[Fill]) -> list[Line]:
    """Why the order that a market waited for stopped."""
    row = early.market(intent.market)
    assert row is not None, "a market that waits has a leaf"
    order = row.pending
    action = Action(types.PLACE, intent.market, order.side, order.price, order.lots, order.tif, order.reduce_only)
    case = Case(early, replace(intent, account=order.account), action, intent.market)
    return next_fill(case, late, sum(fill.lots for fill in fills))


def _roles(intent: Intent, early: Reader, late: Reader) -> dict[int, str]:
    """Accounts that a transaction without a list is about."""
    if intent.message_kind == types.DEPOSIT:
        opened = late.ledger.g.next_account - 1
        return {intent.account if opened < early.ledger.g.next_account else opened: "owner"}
    if intent.kind in (types.LIQUIDATE, types.SETTLE):
        return {intent.account: "liquidated" if intent.kind == types.LIQUIDATE else "settled"}
    if intent.kind == types.RESUME:
        row = early.market(intent.market) if early.board(intent.market).status else None
        return {row.pending.account: "owner"} if row is not None and row.pending.lots else {}
    return {intent.account: "owner"} if intent.account else {}


def _accounts(early: Reader, late: Reader, roles: dict[int, str], fills: Iterable[Fill]) -> list[AccountStep]:
    roles = dict(roles)
    for fill in fills:
        if roles.get(fill.taker, "owner") == "owner":
            roles[fill.taker] = "taker"
        roles.setdefault(fill.maker, "maker")
    known = {account: role for account, role in roles.items() if late.account(account) is not None}
    return [AccountStep(account, role, account_statement(early, account), account_statement(late, account),
                        _leaf(early, account), _leaf(late, account)) for account, role in known.items()]


def _leaf(reader: Reader, account: int) -> str:
    return hex_of(reader.ledger.source.get(account_key(account)) or b"")


# --- fills ------------------------------------------------------------------------------------------------------------


def _fills(early: Reader, fills: Sequence[Fill]) -> list[FillStep]:
    """The fills in order; positions are followed from one to the next."""
    positions: dict[tuple[int, int], Position] = {}
    found: list[FillStep] = []
    for fill in fills:
        board = early.board(fill.market)
        lines = [line("notional", "lots * price * tick_value", lots=fill.lots, price=fill.price,
                      tick_value=board.tick_value)]
        for role, account, side, fee in (
            ("taker", fill.taker, fill.taker_side, fill.taker_fee),
            ("maker", fill.maker, 1 - fill.taker_side, fill.maker_fee),
        ):
            position = positions.setdefault((account, fill.market), _position(early, account, fill.market))
            lines += _side(role, position, fill, fill.lots if side == BUY else -fill.lots, board)
            lines.append(_fee(early, role, fill, fee, lines[0]))
        found.append(FillStep(fill_info(fill), lines))
    return found


def _position(early: Reader, account: int, market: int) -> Position:
    board = early.board(market)
    if account != 0:
        return accounts.settle(copy(position_of(early.account(account), market)), board)
    row = early.market(market)
    assert row is not None, "a market that fills has a leaf"
    held = row.insurance
    return Position(size=held.size, cost=held.cost + held.size * (board.funding - held.funding), market=market)


def _side(role: str, position: Position, fill: Fill, lots: int, board: Board) -> list[Line]:
    """What one side of a fill realizes (accounts.fill): only closing does. Moves the position on."""
    size, cost = position.size, position.cost
    _moved, realized = accounts.fill(position, lots, fill.price, board)
    if size == 0 or (size > 0) == (lots > 0):
        return [line(f"{role}'s size", "size + lots", "lots", size=size, lots=lots)]
    if abs(lots) <= abs(size):
        formula = "-lots * price * tick_value - div_toward_zero(cost * abs(lots), abs(size))"
    else:
        formula = "size * price * tick_value - cost"
    shown = line(f"{role}'s realized profit", formula, lots=lots, price=fill.price, tick_value=board.tick_value,
                 cost=cost, size=size)
    assert shown.value == realized, "the formula is accounts.fill's"
    return [line(f"{role}'s size", "size + lots", "lots", size=size, lots=lots), shown]


def _fee(early: Reader, role: str, fill: Fill, fee: int, notional: Line) -> Line:
    row = early.market(fill.market)
    assert row is not None, "a market that fills has a leaf"
    rate = row.config.taker_fee if role == "taker" else row.config.maker_fee
    shown = line(f"{role}'s fee", "div_up(notional * fee_ppm, 10**6)", notional=notional.value, fee_ppm=rate)
    return shown if shown.value == fee else line(f"{role}'s fee: none, a liquidation pays a penalty instead", "0")


def _markets(early: Reader, late: Reader, intent: Intent, statuses: Sequence[Status]) -> list[MarketStep]:
    """The markets that a transaction without a list may move: their prices, their insurance, their shared losses."""
    named = {market: status.name for (market, _price), status in zip(intent.prices, statuses, strict=False)}
    if intent.kind in (types.LIQUIDATE, types.SETTLE):
        named[intent.market] = ""
    return [MarketStep(market, status, _market_view(early, market), _market_view(late, market))
            for market, status in named.items() if early.board(market).status]


def _market_view(reader: Reader, market: int) -> MarketView:
    board, row = reader.board(market), reader.market(market)
    assert row is not None, "a market with a board entry has a leaf"
    held = row.insurance
    return MarketView(
        board.mark, board.mark_time, row.prices.index, board.funding, board.loss_long, board.loss_short, board.risk,
        row.open_interest, held.cash, held.size, held.cost)
