"""A promise holds for exactly one transaction at one position, by one key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.derive.promises import (
    GROUP_MAX,
    BadPromise,
    Promise,
    SignedPromise,
    check_promise,
    decode_promise,
    digest,
    encode_promise,
    group_leaves,
    group_paths,
    make_promise,
    struct_hash,
)
from node.l1.keys import LocalSigner
from node.stf import encoding
from node.stf.commitments import list_proof

CHAIN_ID, ROLLUP = 412_346, 0x1234
DOMAIN = encoding.domain_separator(CHAIN_ID, ROLLUP)
SIGNER = LocalSigner(keccak(b"sequencer"))
HASHES = [keccak(bytes((index,))) for index in range(13)]


def signed(promise: Promise, signer: LocalSigner = SIGNER) -> SignedPromise:
    return SignedPromise(promise, signer.sign_hash(digest(DOMAIN, promise)))


@given(st.integers(1, GROUP_MAX))
def test_paths_are_the_lists_own(count: int) -> None:
    leaves = group_leaves(7, [keccak(index.to_bytes(2, "big")) for index in range(count)])
    paths = group_paths(leaves)
    for index in {0, count // 2, count - 1}:
        assert paths[index] == list_proof(leaves, index)


def test_every_transaction_of_a_group_checks_and_nothing_else() -> None:
    promise = make_promise(3, 100, HASHES, 1_700_000_000_000, bytes(32))
    paths = group_paths(group_leaves(100, HASHES))
    good = signed(promise)
    for index, tx_hash in enumerate(HASHES):
        check_promise(DOMAIN, SIGNER.address, good, 100 + index, tx_hash, paths[index])
    bad: list[tuple[SignedPromise, int, bytes, list[bytes]]] = [
        (good, 101, HASHES[0], paths[0]),
        (good, 100, HASHES[1], paths[0]),
        (good, 100, HASHES[0], paths[1]),
        (good, 100, HASHES[0], [*paths[0], bytes(32)]),
        (good, 99, HASHES[0], paths[0]),
        (good, 113, HASHES[0], paths[0]),
        (signed(promise, LocalSigner(keccak(b"mallory"))), 100, HASHES[0], paths[0]),
        (SignedPromise(replace(promise, epoch=4), good.signature), 100, HASHES[0], paths[0]),
        (SignedPromise(replace(promise, time=promise.time + 1), good.signature), 100, HASHES[0], paths[0]),
        (SignedPromise(replace(promise, previous=b"\x01" * 32), good.signature), 100, HASHES[0], paths[0]),
        (SignedPromise(promise, good.signature[:64] + b"\x02"), 100, HASHES[0], paths[0]),
        (SignedPromise(promise, good.signature[:64]), 100, HASHES[0], paths[0]),
        (SignedPromise(promise, bytes(65)), 100, HASHES[0], paths[0]),
    ]
    for promised, position, tx_hash, path in bad:
        with pytest.raises(BadPromise):
            check_promise(DOMAIN, SIGNER.address, promised, position, tx_hash, path)


def test_the_digest_is_what_wallets_compute() -> None:
    promise = make_promise(3, 100, HASHES, 1_700_000_000_000, b"\x07" * 32)
    message = encode_typed_data(full_message={
        "domain": {"name": "Anchorline", "version": "1", "chainId": CHAIN_ID,
                   "verifyingContract": "0x" + ROLLUP.to_bytes(20, "big").hex()},
        "primaryType": "Promise",
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}],
            "Promise": [
                {"name": "epoch", "type": "uint64"}, {"name": "firstPosition", "type": "uint64"},
                {"name": "count", "type": "uint64"}, {"name": "time", "type": "uint64"},
                {"name": "previous", "type": "bytes32"}, {"name": "root", "type": "bytes32"}],
        },
        "message": {"epoch": 3, "firstPosition": 100, "count": 13, "time": promise.time, "previous": promise.previous,
                    "root": promise.root},
    })
    assert Account.recover_message(message, signature=signed(promise).signature) == Account.from_key(
        keccak(b"sequencer")).address
    assert keccak(b"\x19" + message.version + message.header + message.body) == digest(DOMAIN, promise)


def test_promises_are_a_chain_and_records_round_trip() -> None:
    first = make_promise(1, 0, HASHES, 1_700_000_000_000, bytes(32))
    second = make_promise(1, 13, HASHES, 1_700_000_000_001, struct_hash(first))
    assert second.previous == struct_hash(first) != struct_hash(second)
    assert decode_promise(encode_promise(second)) == second
    with pytest.raises(ValueError, match="96 bytes"):
        decode_promise(encode_promise(second)[:-1])
