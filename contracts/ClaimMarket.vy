# pragma version 0.4.3
"""
@title  ClaimMarket: withdrawals that are not final yet change hands for money
@author Anchorline contributors
@license Apache-2.0
@notice The owner of a claim (withdrawals.vy) signs a sale offer off chain, for free. Whoever `buy`s it pays the price and owns
        the claim, in one transaction: neither side can have both.

            offer  = ClaimSale(seller, id, recipient, amount, price, buyer, batch, header, deadline)
            digest = keccak(0x1901 ‖ domain(name, version, chain id, this contract) ‖ struct hash)      EIP-712

        Invariants
        - A claim moves only by its present owner's signature, to the buyer that the owner named (or to anybody, if none),
          and only if the owner's balance grew by the price in the same transaction.
        - A digest works once: a claim that its buyer sells back to the seller does not go for the old price again.
        - A purchase stands on the batch that the buyer checked: if L1 reorganised, or the batch was dropped, its header's
          hash is not the stored one, and the buyer pays nothing.
        - This contract holds no token: the price goes from buyer to seller.
@dev It cannot see whether the withdrawal exists: no root is final yet. The buyer must have derived the batch itself and found
     the `W` leaf there (node/sdk/liquidity.py). State changes before the token is called, under a re-entrancy lock.
"""
from ethereum.ercs import IERC20


interface Rollup:
    def header_hash(number: uint256) -> bytes32: view
    def is_paid(id: uint256) -> bool: view
    def move_claim(id: uint256, recipient: address, amount: uint256, owner: address, to: address): nonpayable
    def token() -> address: view


struct Offer:
    # who owns the claim now, and signs
    seller: address
    # the claim, as withdrawals.vy binds it
    id: uint256
    recipient: address
    amount: uint256
    # micro-USD that the buyer pays, 1 to amount
    price: uint256
    # address zero: anybody
    buyer: address
    # where the `W` leaf stands, and the hash of that batch's header
    batch: uint256
    header: bytes32
    # last L1 time, in seconds, at which it can be bought
    deadline: uint256


event ClaimSold:
    digest: indexed(bytes32)
    seller: indexed(address)
    buyer: indexed(address)
    id: uint256
    recipient: address
    amount: uint256
    price: uint256


event OfferCancelled:
    digest: indexed(bytes32)
    seller: indexed(address)


DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
OFFER_TYPE_HASH: constant(bytes32) = keccak256(
    "ClaimSale(address seller,uint256 id,address recipient,uint256 amount,uint256 price,address buyer,uint256 batch,bytes32 header,uint256 deadline)"
)
# EIP-2: a signature with the other s is the same signature, so only the lower half counts
S_MAX: constant(bytes32) = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

ROLLUP: immutable(Rollup)
TOKEN: immutable(address)

# digests that were bought or cancelled
is_used: public(HashMap[bytes32, bool])


@deploy
def __init__(rollup: address):
    ROLLUP = Rollup(rollup)
    TOKEN = staticcall ROLLUP.token()


@internal
@view
def _digest(offer: Offer) -> bytes32:
    """
    @dev The domain is computed at each use, so a chain split changes it. An offer is nine words, as its struct hash wants them.
    """
    domain: bytes32 = keccak256(
        abi_encode(DOMAIN_TYPE_HASH, keccak256("Anchorline Claim Market"), keccak256("1"), chain.id, self)
    )
    return keccak256(concat(b"\x19\x01", domain, keccak256(abi_encode(OFFER_TYPE_HASH, offer))))


@internal
@pure
def _check_signature(digest: bytes32, signature: Bytes[65], seller: address):
    assert len(signature) == 65, "SIGNATURE: 65 bytes, r, s, v"
    r: uint256 = extract32(signature, 0, output_type=uint256)
    s: bytes32 = extract32(signature, 32)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    assert convert(s, uint256) <= convert(S_MAX, uint256), "SIGNATURE: s is in the upper half"
    # anything but 27 and 28 recovers address zero, which nobody is
    signer: address = ecrecover(digest, v, r, convert(s, uint256))
    assert signer == seller and seller != empty(address), "SIGNATURE: not the seller's"


@internal
def _use(digest: bytes32):
    assert not self.is_used[digest], "USED: bought or cancelled"
    self.is_used[digest] = True


@external
@nonreentrant
def buy(offer: Offer, signature: Bytes[65]):
    """
    @notice Pays the seller out of the caller's allowance and makes the claim the caller's. All or nothing.
    @param signature the seller's, over `digest_of(offer)`
    """
    assert block.timestamp <= offer.deadline, "DEADLINE: has passed"
    assert offer.buyer == empty(address) or offer.buyer == msg.sender, "BUYER: the offer is for somebody else"
    assert offer.seller != msg.sender, "BUYER: it is the seller"
    assert offer.price > 0 and offer.price <= offer.amount, "PRICE: 1 to the amount"
    # a header hash of zero would match any number beyond the head
    stored: bytes32 = staticcall ROLLUP.header_hash(offer.batch)
    assert stored == offer.header and stored != empty(bytes32), "HEADER: the batch does not stand"
    paid: bool = staticcall ROLLUP.is_paid(offer.id)
    assert not paid, "PAID: this withdrawal was paid"
    digest: bytes32 = self._digest(offer)
    self._check_signature(digest, signature, offer.seller)
    self._use(digest)
    extcall ROLLUP.move_claim(offer.id, offer.recipient, offer.amount, offer.seller, msg.sender)
    log ClaimSold(
        digest=digest,
        seller=offer.seller,
        buyer=msg.sender,
        id=offer.id,
        recipient=offer.recipient,
        amount=offer.amount,
        price=offer.price,
    )
    self._pay(offer.seller, offer.price)


@internal
def _pay(seller: address, price: uint256):
    before: uint256 = staticcall IERC20(TOKEN).balanceOf(seller)
    moved: bool = extcall IERC20(TOKEN).transferFrom(msg.sender, seller, price, default_return_value=True)
    assert moved, "TRANSFER_FROM: failed, check balance and allowance"
    arrived: uint256 = staticcall IERC20(TOKEN).balanceOf(seller)
    assert arrived >= before + price, "TOKEN_FEE: less than the price arrived"


@external
def cancel(offer: Offer):
    """
    @notice The seller takes a signed offer back, before it was bought.
    """
    assert offer.seller == msg.sender, "SELLER: only the seller cancels"
    digest: bytes32 = self._digest(offer)
    self._use(digest)
    log OfferCancelled(digest=digest, seller=msg.sender)


@external
@view
def digest_of(offer: Offer) -> bytes32:
    """
    @return What the seller signs.
    """
    return self._digest(offer)


@external
@view
def rollup() -> address:
    return ROLLUP.address
