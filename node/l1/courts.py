"""ABI of Exodus, PromiseCourt and ClaimMarket in Python: calldata and results. Pure, no network.

Addresses and hashes are bytes (20 and 32), headers ``BatchHeader``. tests/contracts/test_courts_bindings.py compares
every signature with the compiled ABI. What the arguments must be is built in node/derive/exodus.py and
node/derive/evidence.py; offers in node/l1/claims.py.
"""

from __future__ import annotations

from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from node.l1.bindings import HEADER, BadEncoding, NoAnswer, header_tuple
from node.stf.commitments import BatchHeader

Functions = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

PROMISE: Final = "(uint256,uint256,uint256,uint256,bytes32,bytes32,uint256,uint256,uint256)"
ENTRY: Final = "(uint256,bytes32,bytes32[])"
CHUNK_PLACE: Final = "(uint256,bytes32,bytes32[],bytes32,bytes32,bytes32[])"
SHARE: Final = "(address,uint256,bool)"
OFFER: Final = "(address,uint256,address,uint256,uint256,address,uint256,bytes32,uint256)"

EXODUS: Final[Functions] = {
    "freeze": ((), ()),
    "is_due": ((), ("bool",)),
    "phases": ((), ("uint256", "uint256")),
    "register": ((HEADER, "uint256", "bytes"), ()),
    "claim": (("uint256",), ()),
    "refund": (("uint256", "bytes"), ()),
    "share_of": (("uint256",), (SHARE,)),
    "registered": ((), ("uint256",)),
    "pool": ((), ("uint256",)),
    "is_refunded": (("uint256",), ("bool",)),
    "timings": ((), ("uint256", "uint256", "uint256")),
}
PROMISE_COURT: Final[Functions] = {
    "authorize_signer": (("address",), ()),
    "may_sign": (("address", "address"), ("bool",)),
    "prove_equivocation": ((PROMISE, ENTRY, PROMISE, ENTRY), ()),
    "prove_conflict": (
        (PROMISE, ENTRY, HEADER, HEADER, CHUNK_PLACE, "bytes", "uint256[6]", "bytes", "bytes32[]"), ()),
    "prove_late": ((PROMISE,), ()),
    "transaction_at": (("bytes", "uint256", "bytes"), ("uint256", "uint256")),
    "claim": (("uint256", PROMISE, "uint256", "uint256", "bytes", "bytes32[]"), ()),
    "pay": (("uint256", "address"), ()),
    "burn": (("uint256",), ()),
    "slashed": (("uint256",), ("bool",)),
    "fined": (("uint256",), ("bool",)),
    "claims_of": (("uint256", "address"), ("uint256",)),
    "claims_total": (("uint256",), ("uint256",)),
    "is_burned": (("uint256",), ("bool",)),
    "timings": ((), ("uint256", "uint256")),
}
CLAIM_MARKET: Final[Functions] = {
    "buy": ((OFFER, "bytes"), ()),
    "cancel": ((OFFER,), ()),
    "is_used": (("bytes32",), ("bool",)),
    "digest_of": ((OFFER,), ("bytes32",)),
    "rollup": ((), ("address",)),
}


def encode_call(functions: Functions, name: str, *args: Any) -> bytes:
    """Calldata of a call of one of the tables above. Raises KeyError for a function that there is not."""
    kinds = functions[name][0]
    plain = [header_tuple(each) if isinstance(each, BatchHeader) else each for each in args]
    return keccak(f"{name}({','.join(kinds)})".encode())[:4] + encode(kinds, plain)


def decode_result(functions: Functions, name: str, data: bytes) -> Any:
    """One value, or a tuple for several. Raises BadEncoding, typically because another contract is at the address
    (NoAnswer: none is)."""
    kinds = functions[name][1]
    if kinds and not data:
        raise NoAnswer(f"{name} answered 0 bytes; is the deployment of this version?")
    try:
        values = decode(kinds, data)
    except Exception as error:
        raise BadEncoding(f"{name} answered {len(data)} bytes that do not decode ({error}): is the deployment of this "
                          "version?") from error
    return values[0] if len(values) == 1 else values
