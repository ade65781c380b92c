"""The pure parts of L1 access: fees, journal, keys, pool, logs filter, garbage collection."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio.testing
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.errors import Critical
from node.l1.devchain.accounts import dev_accounts
from node.l1.devchain.blocks import LogFilter, LogRecord, logs_bloom
from node.l1.devchain.config import DevchainConfig
from node.l1.devchain.errors import L1RpcError
from node.l1.devchain.executor import settle_gas
from node.l1.devchain.mempool import Mempool
from node.l1.devchain.nodes import BLANK_ROOT, reachable, sweep
from node.l1.devchain.pyevm import PyEvm
from node.l1.devchain.service import make_service
from node.l1.fees import FeePolicy, Fees, bumped, first_offer, next_offer
from node.l1.journal import FileJournal, Record, Version
from node.l1.keys import LocalSigner, open_keystore, signer_from_environment

GWEI = 10**9
fee = st.integers(0, 10**12)


# -- fees


@given(fee, fee, fee, fee)
def test_replacements_satisfy_pools_and_limits(cap: int, tip: int, base: int, suggested: int) -> None:
    policy = FeePolicy(tip_min=1, fee_max=10**12, limit_multiplier=5)
    last = Fees(max(cap, tip), min(cap, tip))
    offer = next_offer(policy, last, base, suggested)
    fresh = first_offer(policy, base, suggested)
    assert fresh.tip <= fresh.cap <= policy.fee_max
    if offer is not None:
        assert offer.cap * 10 >= last.cap * 11 and offer.tip * 10 >= last.tip * 11 and offer.tip <= offer.cap
        assert offer.cap <= min(policy.fee_max, 5 * max(fresh.cap, 1))
        assert offer.cap > last.cap and offer.tip > last.tip


def test_small_fees_rise_by_one_at_least() -> None:
    assert [bumped(value) for value in (0, 1, 9, 10, 11, 100)] == [1, 2, 10, 11, 13, 110]


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(21_000, 10**6))
def test_gas_is_never_under_the_floor_and_refunds_are_capped(spent: int, refunds: int, floor: int) -> None:
    used = settle_gas(spent, refunds, floor)
    assert used >= floor and used >= spent - spent // 5 and used <= max(spent, floor)


# -- journal


def record(name: str, nonce: int) -> Record:
    return Record(name, 1, b"\x01" * 20, nonce, b"\x02" * 20, b"data", 10**19, 50_000)


def test_a_journal_remembers_across_openings(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sent.jsonl"
    journal = FileJournal(path)
    first, second = record("a", 0), record("b", 1)
    journal.assign(first)
    journal.assign(second)
    journal.publish(first, Version("aa", 2, 1))
    journal.publish(second, Version("bb", 2, 1))
    journal.publish(second, Version("cc", 4, 2))
    journal.finish(first, tx_hash=b"\xaa")
    journal.close()
    for _ in range(2):  # the second opening reads what the first one rewrote
        journal = FileJournal(path)
        assert not journal.records["a"].open and journal.records["a"].tx_hash == b"\xaa"
        assert journal.records["b"] == second and journal.records["b"].value == 10**19
        journal.close()


def test_a_torn_last_line_is_ignored_and_other_damage_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sent.jsonl"
    journal = FileJournal(path)
    journal.assign(record("a", 0))
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole + whole[:cut])
        journal = FileJournal(path)
        assert list(journal.records) == ["a"]
        journal.close()
    path.write_bytes(b"{broken}\n" + whole)
    with pytest.raises(Critical, match="line 1 is damaged"):
        FileJournal(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "sent.jsonl")
    with pytest.raises(Critical, match="in use by another process"):
        FileJournal(tmp_path / "sent.jsonl")
    journal.close()
    FileJournal(tmp_path / "sent.jsonl").close()


# -- keys


def test_keys_come_from_keystores_or_environment_and_never_show(tmp_path: Path) -> None:
    secret = bytes(range(1, 33))
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(secret, "pass word", iterations=2)))
    signer = open_keystore(path, "pass word")
    assert signer.address == LocalSigner(secret).address
    assert secret.hex() not in repr(signer) and not hasattr(signer, "__dict__")
    with pytest.raises(Critical, match="does not open") as caught:
        open_keystore(path, "wrong")
    assert "wrong" not in str(caught.value)
    from_env = signer_from_environment({"KEY": "0x" + secret.hex()}, "KEY", "PASSWORD", None)
    assert from_env.address == signer.address
    for environment, keystore, words in (({}, None, "PASSWORD"), ({"KEY": "zz"}, None, "KEY is not hex"),
                                         ({"KEY": "00" * 32}, None, "not a valid"), ({}, path, "set PASSWORD")):
        with pytest.raises(Critical, match=words):
            signer_from_environment(environment, "KEY", "PASSWORD", keystore)


def test_signatures_recover_to_the_address() -> None:
    from eth_keys.datatypes import Signature

    signer = LocalSigner(b"\x07" * 32)
    signature = signer.sign_hash(b"\x08" * 32)
    assert len(signature) == 65
    assert Signature(signature).recover_public_key_from_msg_hash(b"\x08" * 32).to_canonical_address() == signer.address
    with pytest.raises(TypeError):
        signer.__reduce__()


def test_dev_accounts_are_the_well_known_ones() -> None:
    assert dev_accounts(2)[0].address.hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert dev_accounts(2)[1].address.hex() == "70997970c51812dc3a010c7d01b50e0d17dc79c8"
    assert dev_accounts(1)[0].key.hex() not in repr(dev_accounts(1))


# -- pool


@dataclass(frozen=True)
class Waiting:
    """What the pool reads of a transaction."""

    hash: bytes
    sender: bytes
    nonce: int
    fee_max: int
    tip_max: int
    gas: int = 21_000
    value: int = 0

    def price(self, base_fee: int) -> int:
        return min(self.fee_max, base_fee + self.tip_max)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40)), max_size=40),
       st.integers(0, 30))
def test_the_pool_yields_each_senders_run_in_order(entries: list[tuple[int, int, int, int]], base_fee: int) -> None:
    pool = Mempool(txs_max=16, txs_per_sender_max=4)
    for number, (who, nonce, cap, tip) in enumerate(entries):
        tx = Waiting(number.to_bytes(32, "big"), bytes([who]), nonce, max(cap, tip), min(cap, tip))
        old = pool.by_sender.get(tx.sender, {}).get(nonce)
        try:
            pool.add(tx, 0, 10**9)  # type: ignore[arg-type]
        except L1RpcError as error:
            assert "underpriced" in error.message or "full" in error.message
            assert old is None or pool.by_sender[tx.sender][nonce] is old
        else:
            assert old is None or (tx.fee_max * 10 >= old.fee_max * 11 and tx.tip_max * 10 >= old.tip_max * 11)
    assert len(pool.by_hash) == sum(map(len, pool.by_sender.values())) <= 16
    assert set(pool.arrivals) == set(pool.by_hash)
    assert all(len(queue) <= 4 for queue in pool.by_sender.values())
    next_nonce: dict[bytes, int] = {}
    for ready in pool.ready(base_fee, lambda _: 0):
        assert ready.nonce == next_nonce.get(ready.sender, 0) and ready.fee_max >= base_fee
        next_nonce[ready.sender] = ready.nonce + 1
    for sender in pool.by_sender:
        reached, end = next_nonce.get(sender, 0), pool.pending_nonce(sender, 0)
        assert reached <= end
        assert reached == end or pool.by_sender[sender][reached].fee_max < base_fee


def test_the_pool_names_what_it_refuses() -> None:
    pool = Mempool(txs_max=2, txs_per_sender_max=2)
    pool.add(Waiting(b"1", b"a", 5, 10, 1), 5, 10**9)  # type: ignore[arg-type]
    for tx, balance, words in ((Waiting(b"1", b"a", 5, 10, 1), 10**9, "already known"),
                               (Waiting(b"2", b"a", 4, 10, 1), 10**9, "nonce too low: next nonce 5, tx nonce 4"),
                               (Waiting(b"3", b"a", 6, 10, 1), 209_999, "insufficient funds"),
                               (Waiting(b"4", b"a", 5, 11, 1), 10**9, "replacement transaction underpriced")):
        with pytest.raises(L1RpcError, match=words):
            pool.add(tx, 5, balance)  # type: ignore[arg-type]
    pool.add(Waiting(b"5", b"b", 0, 10, 1), 0, 10**9)  # type: ignore[arg-type]
    with pytest.raises(L1RpcError, match="txpool is full"):
        pool.add(Waiting(b"6", b"c", 0, 10, 1), 0, 10**9)  # type: ignore[arg-type]


# -- blocks and state


@given(st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 3), max_size=4)), max_size=6), st.integers(0, 3),
       st.lists(st.one_of(st.none(), st.sets(st.integers(0, 3), min_size=1)), max_size=4))
def test_the_bloom_never_hides_a_matching_log(
    logs: list[tuple[int, list[int]]], address: int, topics: list[set[int] | None]
) -> None:
    records = [LogRecord(bytes([who]) * 20, [bytes([topic]) * 32 for topic in about], b"") for who, about in logs]
    wanted = LogFilter(frozenset([bytes([address]) * 20]),
                       tuple(None if item is None else frozenset(bytes([n]) * 32 for n in item) for item in topics))
    expected = [
        who == address and len(topics) <= len(about)
        and all(item is None or about[i] in item for i, item in enumerate(topics))
        for who, about in logs
    ]
    assert [wanted.matches(item) for item in records] == expected
    assert wanted.may_match(logs_bloom(records)) or not any(expected)


def test_garbage_collection_keeps_exactly_what_roots_reach() -> None:
    evm = PyEvm(1)
    root = BLANK_ROOT
    roots = []
    holders = {keccak(number.to_bytes(2, "big"))[:20]: number for number in range(1, 300)}
    for address, balance in holders.items():
        root = evm.set_balance(root, address, balance)
        roots.append(root)
    before = len(evm.nodes)
    assert sweep(evm.nodes, {roots[-1], roots[-2]}) > 0
    for address, balance in holders.items():
        assert evm.account(roots[-1], address).balance == balance
        assert evm.account(roots[-2], address).balance == (balance if balance < 299 else 0)
    assert set(evm.nodes) == reachable(evm.nodes, {roots[-1], roots[-2]}) and len(evm.nodes) < before
    assert sweep(evm.nodes, {roots[-1], roots[-2]}) == 0
    with pytest.raises(L1RpcError, match="older than the kept history"):
        evm.account(roots[0], b"\x01" * 20)


async def test_blocks_come_on_the_clock(autojump_clock: trio.testing.MockClock) -> None:
    service = make_service(DevchainConfig(block_time_s=12), clock=lambda: 1_000 + trio.current_time())
    store = service.chain.store
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.mine_on_clock)
        await trio.sleep_until(start + 3_600.5)
        assert store.head.number == 300
        service.set_interval(0)
        await trio.sleep(100)
        assert store.head.number == 300
        service.set_interval(1)
        await trio.sleep(10.5)
        assert store.head.number == 310
        nursery.cancel_scope.cancel()
    times = [entry.timestamp for entry in store.entries]
    assert all(later - earlier == 12 for earlier, later in itertools.pairwise(times[:301]))
    assert sum(entry.length for entry in store.entries) < 310 * 1_000
    store.close()


@pytest.mark.parametrize(("changes", "words"), [
    ({"chain_id": 0}, "l1.chain_id"), ({"block_time_s": -1}, "l1.block_time_s"), ({"port": 70_000}, "l1.port"),
    ({"safe_lag_blocks": 9}, "finality implies safety"), ({"gas_limit": 1_000}, "l1.gas_limit"),
    ({"accounts": 1_000}, "l1.accounts"),
])
def test_bad_settings_are_named(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DevchainConfig(**changes).check()
