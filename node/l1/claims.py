"""Offers to sell a withdrawal's claim (contracts/ClaimMarket.vy) as values: what is signed, who signed, calldata. Pure.

    digest    = keccak(0x1901 ‖ domain ‖ keccak(type hash ‖ nine words))                              EIP-712
    domain    = keccak(EIP712Domain type hash ‖ keccak(name) ‖ keccak(version) ‖ L1 chain id ‖ market's address)
    signature = r ‖ s ‖ v, 65 bytes, s in the lower half, v = 27 or 28: what every wallet makes

Amounts are micro-USD, addresses 20 bytes, the deadline seconds of L1 time.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, Final

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from node.l1 import courts
from node.l1.keys import Signer
from node.stf import encoding

NAME: Final = "Anchorline Claim Market"
VERSION: Final = "1"
NOBODY: Final = bytes(20)

_FIELDS: Final = (
    ("address", "seller"), ("uint256", "id"), ("address", "recipient"), ("uint256", "amount"), ("uint256", "price"),
    ("address", "buyer"), ("uint256", "batch"), ("bytes32", "header"), ("uint256", "deadline"),
)
_DOMAIN_FIELDS: Final = (
    ("string", "name"), ("string", "version"), ("uint256", "chainId"), ("address", "verifyingContract"))
#: the event of a purchase; digest, seller and buyer are indexed
OFFER_SOLD: Final = "ClaimSold(bytes32,address,address,uint256,address,uint256,uint256)"
OFFER_TYPE: Final = f"ClaimSale({','.join(f'{kind} {name}' for kind, name in _FIELDS)})"
_DOMAIN_TYPE: Final = f"EIP712Domain({','.join(f'{kind} {name}' for kind, name in _DOMAIN_FIELDS)})"
_KINDS: Final = ["bytes32", *(kind for kind, _ in _FIELDS)]
# EIP-2: the other half of s signs the same
_S_MAX: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


class BadOffer(Exception):
    """An offer or its signature is not what the market takes; the message says in which point."""


@dataclass(frozen=True, slots=True)
class Offer:
    """``seller`` gives the claim (id, recipient, amount) to ``buyer`` (NOBODY: to anybody) for ``price``.

    ``batch`` and ``header``: the batch under whose state the withdrawal was seen, and its header's hash. ``deadline``:
    the last L1 time (seconds) at which it can be bought.
    """

    seller: bytes
    id: int
    recipient: bytes
    amount: int
    price: int
    buyer: bytes
    batch: int
    header: bytes
    deadline: int

    def as_tuple(self) -> tuple[Any, ...]:
        """The contract's struct."""
        return astuple(self)


_EMPTY: Final = Offer(NOBODY, 0, NOBODY, 0, 0, NOBODY, 0, bytes(32), 0)


@dataclass(frozen=True, slots=True)
class Market:
    """One ClaimMarket on one L1: what a signature is bound to."""

    address: bytes
    l1_chain_id: int

    @property
    def domain(self) -> bytes:
        """The EIP-712 domain separator."""
        words = [keccak(_DOMAIN_TYPE.encode()), keccak(NAME.encode()), keccak(VERSION.encode()), self.l1_chain_id,
                 self.address]
        return keccak(encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], words))


def digest(market: Market, offer: Offer) -> bytes:
    """What the seller signs. Raises BadOffer for a field out of range."""
    try:
        words = encode(_KINDS, [keccak(OFFER_TYPE.encode()), *offer.as_tuple()])
    except Exception as error:
        raise BadOffer(f"an offer's field is out of range: {error}") from None
    return keccak(b"\x19\x01" + market.domain + keccak(words))


def typed_data(market: Market, offer: Offer) -> dict[str, Any]:
    """The same for a wallet (eth_signTypedData_v4)."""
    def shown(value: Any) -> Any:
        return "0x" + value.hex() if isinstance(value, bytes) else value

    def fields(of: tuple[tuple[str, str], ...]) -> list[dict[str, str]]:
        return [{"name": name, "type": kind} for kind, name in of]

    return {
        "types": {"EIP712Domain": fields(_DOMAIN_FIELDS), "ClaimSale": fields(_FIELDS)},
        "primaryType": "ClaimSale",
        "domain": {"name": NAME, "version": VERSION, "chainId": market.l1_chain_id,
                   "verifyingContract": shown(market.address)},
        "message": {name: shown(value) for (_, name), value in zip(_FIELDS, offer.as_tuple(), strict=True)},
    }


def sign(market: Market, offer: Offer, signer: Signer) -> bytes:
    """The 65-byte signature of the offer's seller. Raises BadOffer if the key is another's."""
    if signer.address != offer.seller:
        raise BadOffer(f"0x{offer.seller.hex()} sells, the key is of 0x{signer.address.hex()}")
    signature = signer.sign_hash(digest(market, offer))
    return signature[:64] + bytes((27 + signature[64],))


def check_signature(market: Market, offer: Offer, signature: bytes) -> None:
    """Raise BadOffer unless the contract will take this for the seller's signature."""
    if len(signature) != 65 or signature[64] not in (27, 28):
        raise BadOffer("a signature has 65 bytes, r ‖ s ‖ v, and v is 27 or 28")
    r, s = (int.from_bytes(signature[at : at + 32], "big") for at in (0, 32))
    if s > _S_MAX:
        raise BadOffer("the signature's s is in the upper half")
    found = encoding.recover_now(digest(market, offer), r, s | (signature[64] - 27) << 255)
    if found == 0 or found.to_bytes(20, "big") != offer.seller:
        raise BadOffer(f"the signature is 0x{found:040x}'s, not the seller's 0x{offer.seller.hex()}: another offer was "
                       "signed, or for another market or chain")


def encode_buy(offer: Offer, signature: bytes) -> bytes:
    """Calldata that buys the claim."""
    return courts.encode_call(courts.CLAIM_MARKET, "buy", offer.as_tuple(), signature)


def decode_buy(data: bytes) -> Offer:
    """The offer in such calldata. Raises BadOffer for other bytes."""
    if data[:4] != courts.encode_call(courts.CLAIM_MARKET, "buy", _EMPTY.as_tuple(), b"")[:4]:
        raise BadOffer("this calldata does not buy a claim")
    fields, _signature = decode(courts.CLAIM_MARKET["buy"][0], data[4:])
    plain: list[Any] = [bytes.fromhex(value[2:]) if isinstance(value, str) else value for value in fields]
    return Offer(*plain)


def encode_cancel(offer: Offer) -> bytes:
    """Calldata that takes a signed offer back."""
    return courts.encode_call(courts.CLAIM_MARKET, "cancel", offer.as_tuple())
