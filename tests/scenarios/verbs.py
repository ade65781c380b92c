"""What the people of a story can do: one function for each sentence, registered with its pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy

from node.stf import encoding
from node.stf.types import ADMIN, FOK, GTC, IOC, POST_ONLY, Status
from tests.scenarios import units
from tests.scenarios.stage import NUMBER, Stage
from tests.stf import messages
from tests.stf.orders import amend, cancel_at, cancel_trigger, find_order, options, trigger
from tests.stf.world import address, cancel, cancel_all, configure_market, limit, private_key

TIF = {"gtc": GTC, "ioc": IOC, "fok": FOK, "post-only": POST_ONLY}
SELF_TRADE = {"resting": 0, "taker": 1, "both": 2}
BOOK_SIDES = {"bids": 0, "asks": 1, "falling triggers": 2, "rising triggers": 3}
LIQUIDATIONS_MAX = 60

Verb = Callable[..., None]
_verbs: dict[str, list[tuple[re.Pattern[str], Verb]]] = {}


def verb(who: str, pattern: str) -> Callable[[Verb], Verb]:
    """Register what a row whose first cell is ``who`` (any trader: "trader") may say."""

    def register(function: Verb) -> Verb:
        _verbs.setdefault(who, []).append((re.compile(pattern), function))
        return function

    return register


def perform(stage: Stage, who: str, does: str) -> None:
    """Let somebody do something. Raises ValueError for a sentence that nobody knows."""
    role = who if who in _verbs else "trader"
    for pattern, function in _verbs[role]:
        if match := pattern.fullmatch(does):
            function(stage, *((who,) if role == "trader" else ()), *match.groups())
            return
    raise ValueError(f"nobody knows how {who!r} {does!r}; the vocabulary is in tests/scenarios/verbs.py")


def vocabulary() -> dict[str, list[str]]:
    """Every sentence there is, by who says it."""
    return {who: [pattern.pattern for pattern, _ in verbs] for who, verbs in _verbs.items()}


# --- traders ----------------------------------------------------------------------------------------------------------


@verb("trader", rf"deposits ({NUMBER})")
def deposits(stage: Stage, who: str, amount: str) -> None:
    world, key = stage.world, private_key(who)
    if who not in stage.accounts:
        stage.accounts[who] = world.engine.globals.next_account
        world.keys[stage.accounts[who]] = key
    payload = messages.deposit(stage.accounts[who], address(key), units.money(amount))
    stage.receipts.append(world.deliver(1, payload))


_EXTRAS = r"((?: (?:ioc|fok|post-only|reduce-only|for \d+ m?s|cancel (?:resting|taker|both)|as \d+))*)"


@verb("trader", rf"(buys|sells) ({NUMBER}) (\w+) at ({NUMBER}){_EXTRAS}")
def places(stage: Stage, who: str, side: str, size: str, market: str, price: str, extras: str) -> None:
    order = limit(stage.market(market), int(side == "sells"), units.price(price), units.lots(size))
    named = re.search(r" as (\d+)", extras)
    order.client_id = stage.client_id(named and named[1])
    order.reduce_only = int("reduce-only" in extras)
    order.tif = next((tif for name, tif in TIF.items() if f" {name}" in extras), GTC)
    if lives := re.search(r" for (\d+ m?s)", extras):
        order.expiry = stage.world.time + units.duration(lives[1])
    if mode := re.search(r" cancel (\w+)", extras):
        order.self_trade = SELF_TRADE[mode[1]]
    stage.orders(who, order)


@verb("trader", rf"(\w+) ladder of (\d+) x ({NUMBER}) (\w+) from ({NUMBER}) by ({NUMBER})")
def ladders(stage: Stage, who: str, side: str, count: str, size: str, market: str, price: str, step: str) -> None:
    """`asks ladder of 20 x 0.1 BTC from 60,000 by 10`."""
    sell = side in ("asks", "sells")
    first, gap = units.price(price), units.price(step) * (1 if sell else -1)
    for at in range(0, int(count), 10):
        listed = [
            limit(stage.market(market), int(sell), first + i * gap, units.lots(size), stage.client_id(None))
            for i in range(at, min(at + 10, int(count)))
        ]
        stage.orders(who, *listed)


@verb("trader", r"cancels (\d+)")
def cancels(stage: Stage, who: str, client_id: str) -> None:
    (market, side, price, seq), _order = find_order(stage.world.engine.ledger, stage.account(who), int(client_id))
    if side > 1:
        stage.orders(who, cancel_trigger(market, side - 2, price, seq, int(client_id)))
    else:
        stage.orders(who, cancel(market, side, price, seq, int(client_id)))


@verb("trader", r"cancels all (\w+)")
def cancels_all(stage: Stage, who: str, market: str) -> None:
    stage.orders(who, cancel_all(stage.market(market)))


@verb("trader", rf"amends (\d+) to ({NUMBER})")
def amends(stage: Stage, who: str, client_id: str, size: str) -> None:
    (market, side, price, seq), _order = find_order(stage.world.engine.ledger, stage.account(who), int(client_id))
    stage.orders(who, amend(market, side, price, seq, units.lots(size), int(client_id)))


_LIMITED = rf"(?: limit ({NUMBER}))?(?: as (\d+))?"


@verb("trader", rf"(buys|sells) ({NUMBER}) (\w+) when it (rises|falls) to ({NUMBER}){_LIMITED}")
def triggers(
    stage: Stage,
    who: str,
    side: str,
    size: str,
    market: str,
    way: str,
    price: str,
    worst: str | None,
    named: str | None,
) -> None:
    action = trigger(
        stage.market(market), int(side == "sells"), int(way == "rises"), units.price(price), units.lots(size),
        stage.client_id(named), limit=units.price(worst) if worst else 0,
    )
    stage.orders(who, action)


@verb("trader", r"sets the switch to (\d+ (?:ms|s|min))")
def sets_switch(stage: Stage, who: str, time: str) -> None:
    stage.orders(who, cancel_at(stage.world.time + units.duration(time)))


@verb("trader", r"turns the switch off")
def switch_off(stage: Stage, who: str) -> None:
    stage.orders(who, cancel_at(0))


@verb("trader", r"opts (in|out)")
def opts(stage: Stage, who: str, way: str) -> None:
    stage.orders(who, options(int(way == "in")))


@verb("trader", rf"withdraws ({NUMBER})")
def withdraws(stage: Stage, who: str, amount: str) -> None:
    stage.receipts.append(stage.world.withdraw(stage.account(who), units.money(amount)))


# --- anybody ----------------------------------------------------------------------------------------------------------


@verb("keeper", r"liquidates (\w+) in (\w+)( until nothing more)?")
def liquidates(stage: Stage, who: str, market: str, repeat: str | None) -> None:
    _liquidate(stage, stage.account(who), stage.market(market), repeat is not None)


@verb("keeper", r"works off (\w+)'s insurance( until nothing more)?")
def works_off(stage: Stage, market: str, repeat: str | None) -> None:
    _liquidate(stage, 0, stage.market(market), repeat is not None)


def _liquidate(stage: Stage, account: int, market: int, repeat: bool) -> None:
    """Ask once, or for as long as it does something."""
    for _ in range(LIQUIDATIONS_MAX if repeat else 1):
        if stage.run(encoding.write_liquidate(account, market)).status != Status.OK:
            return


@verb("keeper", r"sweeps (\w+)'s (bids|asks|falling triggers|rising triggers)")
def sweeps(stage: Stage, market: str, side: str) -> None:
    stage.run(encoding.write_sweep(stage.market(market), BOOK_SIDES[side]))


@verb("keeper", r"fires (\w+)'s (rising|falling) trigger")
def fires(stage: Stage, market: str, way: str) -> None:
    stage.run(encoding.write_trigger_fire(stage.market(market), int(way == "rising")))


@verb("keeper", r"settles (\w+) in (\w+)")
def settles(stage: Stage, who: str, market: str) -> None:
    stage.run(encoding.write_settle(stage.account(who), stage.market(market)))


@verb("keeper", r"continues (\w+)")
def continues(stage: Stage, market: str) -> None:
    stage.run(encoding.write_continue(stage.market(market)))


@verb("donor", rf"gives ({NUMBER}) to (\w+)'s insurance")
def gives(stage: Stage, amount: str, market: str) -> None:
    stage.receipts.append(stage.world.donate(stage.market(market), units.money(amount)))


# --- time, prices and L1 ----------------------------------------------------------------------------------------------

_TIME = r"\d[\d,]* (?:ms|s|min|h)"


@verb("clock", rf"({_TIME}) pass(?:es)?")
def passes(stage: Stage, time: str) -> None:
    stage.world.block(units.duration(time))


@verb("clock", rf"({_TIME}) pass(?:es)?, each ({_TIME}) (\w+) at ({NUMBER})(?: and the keeper on (\w+))?")
def passes_priced(stage: Stage, time: str, step: str, market: str, price: str, watched: str | None) -> None:
    """Publications at a steady pace; the keeper asks for a liquidation after each, and the last answer counts."""
    for _ in range(units.duration(time) // units.duration(step)):
        stage.world.block(units.duration(step) - 1)
        _publish(stage, {stage.market(market): units.price(price)}, (0, 1, 2))
        if watched:
            stage.run(encoding.write_liquidate(stage.account(watched), stage.market(market)))


@verb("oracle", rf"prices ((?:\w+ at {NUMBER}(?:, )?)+)(?: from ([\d, ]+))?")
def prices(stage: Stage, named: str, slots: str | None) -> None:
    values = {
        stage.market(market): units.price(price) for market, price in re.findall(rf"(\w+) at ({NUMBER})(?:, |$)", named)
    }
    _publish(stage, values, tuple(int(s) - 1 for s in slots.split(",")) if slots else (0, 1, 2))


def _publish(stage: Stage, values: dict[int, int], slots: tuple[int, ...]) -> None:
    for receipt in stage.world.price(values, slots):
        assert receipt.status == Status.OK, receipt


@verb("L1", rf"anchors up to (now|{_TIME} ago)")
def anchors(stage: Stage, until: str) -> None:
    _notice(stage, until, False)


@verb("L1", rf"rolls back to ({_TIME} ago)")
def rolls_back(stage: Stage, until: str) -> None:
    _notice(stage, until, True)


def _notice(stage: Stage, until: str, rollback: bool) -> None:
    ago = 0 if until == "now" else units.duration(until.removesuffix(" ago"))
    stage.receipts.append(stage.world.anchor(stage.world.time - ago, rollback=rollback))


# --- the admin --------------------------------------------------------------------------------------------------------


def _parameters(text: str | None) -> dict[str, object]:
    """`band 5%, mm 2.5% 50%` by name; a parameter with two values is a pair."""
    found: dict[str, object] = {}
    for part in (text or "").split(", "):
        if not part:
            continue
        name, _, rest = part.partition(" ")
        pair = re.fullmatch(r"(\S+%?) (\S+%)", rest)
        found[name] = tuple(units.parameter(v) for v in pair.groups()) if pair else units.parameter(rest)
    return found


@verb("admin", r"opens (\w+)(?: with (.+))?")
def opens(stage: Stage, market: str, parameters: str | None) -> None:
    number = len(stage.markets)
    stage.base[market] = _parameters(parameters)
    stage.world.create_market(number, **stage.base[market])
    stage.markets[market] = number


@verb("admin", r"(halts|reopens|reduces) (\w+)")
def changes(stage: Stage, how: str, market: str) -> None:
    status = {"reopens": 1, "reduces": 2, "halts": 3}[how]
    payload = configure_market(stage.market(market), **stage.base[market], status=status)  # type: ignore[arg-type]
    stage.receipts.append(stage.world.deliver(ADMIN, payload))


@verb("admin", r"sets (\w+)'s risk to (.+)")
def sets_risk(stage: Stage, market: str, parameters: str) -> None:
    values = copy(_parameters(parameters))
    if "expiry" in values:
        values["expiry"] = stage.world.time + values["expiry"]  # type: ignore[operator]
    stage.receipts.append(stage.world.configure_risk(stage.market(market), **values))  # type: ignore[arg-type]


@verb("admin", r"sets the chain to (.+)")
def sets_chain(stage: Stage, parameters: str) -> None:
    stage.receipts.append(stage.world.configure_chain(**_parameters(parameters)))  # type: ignore[arg-type]


@verb("admin", rf"moves ({NUMBER}) of fees to (\w+)'s insurance")
def moves_fees(stage: Stage, amount: str, market: str) -> None:
    payload = messages.fund_insurance(stage.market(market), units.money(amount))
    stage.receipts.append(stage.world.deliver(ADMIN, payload))
