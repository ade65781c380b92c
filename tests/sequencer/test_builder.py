"""What the builder builds replays to the same roots, refuses leave no trace, and one order is one order."""

from __future__ import annotations

import random

import pytest

from node.derive.chain import Chain, execute_chunk
from node.stf import state
from node.stf.types import FOK, LIQUIDATE, Action, Receipt, Status
from node.storage.kv import MemoryKV
from sequencer.admission import REPEAT_MS, REPEATS_MAX, Repeats, check_room
from sequencer.builder import NoRoom, Refused
from sequencer.log import Record
from sequencer.requests import ActionsRequest, LiquidateRequest, OracleRequest, SettleRequest, decode_request
from tests.sequencer.world import DOMAIN, Desk, sign_request
from tests.stf.world import address, buy, cancel, cancel_all, message, private_key, sell


def replay(desk: Desk) -> Chain:
    """A verifier that gets the desk's blocks and nothing else."""
    chain = Chain.open(MemoryKV(), DOMAIN)
    engine = chain.engine(lambda number: desk.inbox[number] if number < len(desk.inbox) else None)
    for number in range(1, desk.chain.head.number + 1):
        block = desk.chain.block(number)
        assert block is not None
        first = chain.head.cursor
        sealed = chain.seal([execute_chunk(engine, chunk.data) for chunk in block.chunks])
        assert sealed.block == block
        chain.commit(sealed, {n: desk.inbox[n] for n in range(first, sealed.block.header.cursor)})
    return chain


def random_trading(desk: Desk, rng: random.Random, steps: int) -> None:
    for client_id in range(1, steps + 1):
        desk.now += rng.randrange(0, 40)
        account = rng.choice(list(desk.keys))
        roll = rng.random()
        if roll < 0.1:
            desk.act(account, cancel(0, 0, 0, 0, rng.randrange(1, client_id + 1)))
        elif roll < 0.12:
            desk.act(account, cancel_all(0))
        elif roll < 0.2:
            with pytest.raises(Refused):
                desk.submit(desk.request(account, buy(0, 600_000, 10), nonce=1), desk.keys[account])
        else:
            side = rng.choice((buy, sell))
            count = rng.choice((1, 1, 5))
            prices = [rng.randrange(599_500, 600_500) for _ in range(count)]
            desk.act(account, *[side(0, price, rng.randrange(1, 60), client_id) for price in prices])
        if rng.random() < 0.05:
            desk.price(rng.randrange(599_000, 601_000))
        desk.builder.tick()


@pytest.mark.parametrize("seed", range(3))
def test_blocks_replay_to_the_same_roots(seed: int) -> None:
    desk = Desk(("alice", "bob", "carol")).start()
    random_trading(desk, random.Random(seed), 150)
    desk.builder.seal()
    assert desk.chain.head.number > 5
    assert replay(desk).head == desk.chain.head


def test_the_log_replays_to_the_same_state_and_goes_on() -> None:
    kv = MemoryKV()
    desk = Desk(("alice", "bob"), kv=kv).start()
    random_trading(desk, random.Random(7), 80)
    desk.act(1, buy(0, 599_000, 10, 1_000))
    records, position = [], 0
    for kind, content in desk.records:
        records.append(Record(kind, content, position))
        position += kind == 1
    old = desk.builder
    assert old.is_open
    # the process dies: the chain has its last block, the log the rest
    desk.chain = Chain.open(kv, DOMAIN)
    head = desk.chain.head.number
    desk.builder = desk.new_builder()
    desk.records = []
    assert desk.builder.replay(records) == old.position - (desk.chain.head.first_position + desk.chain.head.tx_count)
    assert desk.builder.position == old.position and desk.chain.head.number == head
    assert desk.records == []
    random_trading(desk, random.Random(8), 30)
    desk.builder.seal()
    assert replay(desk).head == desk.chain.head


@pytest.mark.parametrize("change", ["nonce", "expiry", "far", "signer", "account"])
def test_an_envelope_that_fails_is_refused_without_a_trace(change: str) -> None:
    desk = Desk().start()
    desk.act(1, buy(0, 599_000, 10, 1))
    used = desk.nonces[1]
    request = desk.request(1, buy(0, 599_000, 10, 2))
    signer = desk.keys[1]
    if change == "nonce":
        request.nonce = used
    elif change == "expiry":
        request.expiry = desk.now - 1
    elif change == "far":
        request.expiry = desk.now + 10**12
    elif change == "signer":
        signer = private_key("mallory")
    else:
        request.account = 77
    sign_request(request, signer)
    mark, position, entries = desk.builder.engine.mark(), desk.builder.position, len(desk.builder.entries)
    with pytest.raises(Refused) as refused:
        desk.submit(request, signer)
    assert refused.value.status in (
        Status.NONCE_USED, Status.EXPIRED, Status.EXPIRY_TOO_FAR, Status.NO_KEY, Status.NO_ACCOUNT)
    assert desk.builder.engine.mark() == mark
    assert (desk.builder.position, len(desk.builder.entries)) == (position, entries)
    desk.builder.seal()
    assert replay(desk).head == desk.chain.head


def test_idle_transactions_of_anyone_are_refused() -> None:
    desk = Desk().start()
    with pytest.raises(Refused) as refused:
        desk.builder.submit(LiquidateRequest(1, 0), 0)
    assert refused.value.status == Status.NO_POSITION
    stranger = private_key("stranger")
    with pytest.raises(Refused) as refused:
        desk.submit(sign_request(OracleRequest(0, desk.now, [0], [1], 0, 0), stranger), stranger)
    assert refused.value.statuses == [Status.NO_PUBLISHER]
    desk.builder.seal()
    assert replay(desk).head == desk.chain.head


def snapshot(desk: Desk) -> dict[bytes, bytes | None]:
    """Every row that the ledger holds, as leaves."""
    ledger = desk.builder.engine.ledger
    desk.builder.engine.bind()
    keys = [state.GLOBAL_KEY, *map(state.account_key, ledger.accounts), *map(state.market_key, ledger.markets)]
    keys += [state.board_key(group) for group in ledger.boards if ledger.boards[group]]
    return {key: state.encode_leaf(key) for key in keys}


@pytest.mark.parametrize(("account", "market", "stale", "status"), [
    (1, 0, False, Status.NOT_LIQUIDATABLE),
    (3, 0, False, Status.NO_POSITION),
    (9, 0, False, Status.NO_ACCOUNT),
    (1, 5, False, Status.NO_MARKET),
    (1, 0, True, Status.STALE_PRICE),
])
def test_a_refused_liquidation_changes_no_row(account: int, market: int, stale: bool, status: Status) -> None:
    desk = Desk(("alice", "bob", "carol")).start()
    desk.act(1, sell(0, 600_000, 50, 1))
    desk.act(2, buy(0, 600_000, 50, 1))
    if stale:
        desk.now += 10 * 60_000
        desk.builder.seal()
        desk.withdraw(3, 1)
    before, mark = snapshot(desk), desk.builder.engine.mark()
    with pytest.raises(Refused) as refused:
        desk.builder.submit(LiquidateRequest(account, market), 0)
    assert refused.value.status == status
    assert snapshot(desk) == before and desk.builder.engine.mark() == mark
    desk.builder.seal()
    assert replay(desk).head == desk.chain.head


def test_requests_that_had_to_wait_cannot_be_repeated_at_once() -> None:
    """Nobody can fill the chain with a Liquidate that finds no liquidity; other accounts and markets are free."""
    repeats = Repeats()
    request = LiquidateRequest(1, 0)
    repeats.check(request, 10_000)
    repeats.note(request, Receipt(request.kind, 0, 10_000, Status.NO_LIQUIDITY))
    for time in (10_000, 10_000 + REPEAT_MS - 1):
        with pytest.raises(Refused) as refused:
            repeats.check(request, time)
        assert refused.value.status == Status.NO_LIQUIDITY
    repeats.check(request, 10_000 + REPEAT_MS)
    repeats.check(request, 9_000)  # a reset took time back
    repeats.check(LiquidateRequest(1, 1), 10_000)
    repeats.check(LiquidateRequest(2, 0), 10_000)
    repeats.check(SettleRequest(1, 0), 10_000)
    repeats.note(request, Receipt(request.kind, 1, 10_500, Status.OK))
    repeats.check(request, 10_500)


def test_what_repeats_are_remembered_is_bounded() -> None:
    repeats = Repeats()
    for account in range(REPEATS_MAX + 1):
        repeats.note(LiquidateRequest(account, 0), Receipt(LIQUIDATE, account, 0, Status.BUFFERED))
    repeats.check(LiquidateRequest(0, 0), 0)
    with pytest.raises(Refused):
        repeats.check(LiquidateRequest(1, 0), 0)


def test_refused_prices_change_no_row() -> None:
    desk = Desk().start()
    key = desk.publishers[0]
    late = OracleRequest(0, desk.now + 10**6, [0], [5], 0, 0)
    nowhere = OracleRequest(0, desk.now, [7], [5], 0, 0)
    zero = OracleRequest(0, desk.now + 1, [0], [0], 0, 0)
    before, mark = snapshot(desk), desk.builder.engine.mark()
    for request in (late, nowhere, zero):
        with pytest.raises(Refused):
            desk.submit(sign_request(request, key), key)
    assert snapshot(desk) == before and desk.builder.engine.mark() == mark


def test_a_cancel_needs_only_the_client_id() -> None:
    desk = Desk().start()
    desk.act(1, buy(0, 599_000, 10, 41), buy(0, 599_100, 10, 42))
    assert desk.act(1, cancel(0, 0, 0, 0, 42)).receipt.action_statuses == [Status.OK]
    desk.builder.seal()
    desk.now += 1
    assert desk.act(1, cancel(0, 0, 0, 0, 41)).receipt.action_statuses == [Status.OK]
    assert desk.act(1, cancel(0, 0, 0, 0, 41)).receipt.action_statuses == [Status.ORDER_NOT_FOUND]
    assert desk.act(2, cancel(0, 0, 0, 0, 41)).receipt.action_statuses == [Status.ORDER_NOT_FOUND]


def test_names_are_taken_however_the_order_came_to_rest() -> None:
    """Forced through L1, left by an order that met many makers, or executed again from the log: in the open chunk."""
    desk = Desk().start()

    def duplicate(account: int, client_id: int) -> int | None:
        request = desk.request(account, buy(0, 599_000, 10, client_id))
        return desk.builder.find_duplicate(request, address(desk.keys[account]))

    desk.builder.seal()
    forced = desk.request(1, buy(0, 599_000, 10, 7))
    desk.inbox.append(message(2, forced.write(0), desk.now // 1000))
    desk.builder.add_message(len(desk.inbox) - 1, desk.inbox[-1])
    desk.builder.tick()
    assert duplicate(1, 7) == 0 and duplicate(1, 8) is None and duplicate(2, 7) is None

    for client_id in range(100, 140):
        desk.act(1, sell(0, 600_000, 10, client_id))
    assert desk.act(2, buy(0, 600_000, 450, 9)).more
    assert duplicate(2, 9) == 0 and duplicate(1, 100) is None

    desk.builder.seal()
    desk.records.clear()
    start = desk.builder.position
    desk.act(1, buy(0, 599_000, 10, 11))
    txs = [content for kind, content in desk.records if kind == 1]
    desk.builder = desk.new_builder()
    desk.builder.replay([Record(1, content, start + at) for at, content in enumerate(txs)])
    assert desk.builder.is_open and duplicate(1, 11) == 0 and duplicate(1, 12) is None


def test_an_order_that_meets_many_makers_is_one_order() -> None:
    desk = Desk().start()
    for client_id in range(1, 41):
        desk.act(1, sell(0, 600_000 + client_id % 3, 10, client_id))
    answer = desk.act(2, buy(0, 600_010, 400, 1))
    assert answer.receipt.action_statuses == [Status.PENDING]
    fills = answer.receipt.fills + [fill for receipt in answer.more for fill in receipt.fills]
    assert sum(fill.lots for fill in fills) == 400 and len(fills) == 40
    assert answer.more[-1].status == Status.OK
    assert desk.act(1, sell(0, 600_000, 10, 99)).receipt.action_statuses == [Status.OK]
    desk.builder.seal()
    assert replay(desk).head == desk.chain.head


def test_notices_alone_wait_for_company() -> None:
    desk = Desk().start()
    desk.builder.seal()
    head = desk.chain.head.number
    desk.inbox.append(message(4, bytes(16), desk.now // 1000))
    desk.builder.add_message(len(desk.inbox) - 1, desk.inbox[-1])
    for _ in range(3):
        desk.now += 10_000
        desk.builder.tick()
    assert desk.chain.head.number == head and not desk.builder.is_open
    desk.now += 60_000
    desk.builder.tick()
    assert desk.builder.is_open and desk.builder.engine.globals.cursor == len(desk.inbox)


def test_a_list_that_fits_no_chunk_is_refused_and_cuts_nothing() -> None:
    desk = Desk().start()
    wide = [buy(market, 1, 1, market) for market in range(32)]
    open_before = desk.builder.engine.mark()
    with pytest.raises(NoRoom):
        desk.act(1, *wide)
    assert desk.builder.engine.mark() == open_before
    assert desk.act(1, *[buy(0, 599_000, 10, n) for n in range(20)]).receipt.action_statuses == [Status.OK] * 20


@pytest.mark.parametrize(("markets", "orders"), [(2, 14), (3, 11), (4, 8), (5, 5)])
def test_a_list_over_several_markets_is_as_long_as_the_rules_readme_says(markets: int, orders: int) -> None:
    desk = Desk().start()

    def listed(count: int) -> ActionsRequest:
        return desk.request(1, *[buy(n * markets // count, 600_000, 10, n + 1) for n in range(count)])

    check_room(listed(orders), desk.now)
    with pytest.raises(NoRoom, match="split it"):
        check_room(listed(orders + 1), desk.now)


def test_raw_bytes_are_the_same_requests() -> None:
    desk = Desk().start()
    request = desk.request(1, buy(0, 599_000, 10, 5), Action(op=1, market=0, tif=FOK, price=3, lots=2, client_id=7))
    assert decode_request(request.write(0)) == request
