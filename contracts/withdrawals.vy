# pragma version 0.4.3
"""
@title Withdrawals: one payment per proven `W` leaf
@license Apache-2.0
@notice The key is built here from the id, the value from recipient and amount, so no other leaf passes for a withdrawal.
        Ids are never reused in one history of L2, and only final roots are shown here, so one bit per id suffices.
@dev A claim is bound to id, recipient and amount: after a rollback the id may name another withdrawal, and a claim that
     was sold does not follow it there.
"""
import batch_header
import vault
from stf import path

uses: vault

PATH_MAX: constant(uint256) = 128


event Withdrawn:
    id: indexed(uint256)
    payee: indexed(address)
    amount: uint256


event ClaimTransferred:
    id: indexed(uint256)
    recipient: indexed(address)
    to: address
    amount: uint256


paid: HashMap[uint256, uint256]
claim_owners: HashMap[bytes32, address]


@internal
def pay(
    post_root: bytes32,
    id: uint256,
    recipient: address,
    amount: uint256,
    bits: Bytes[PATH_MAX],
    siblings: DynArray[bytes32, PATH_MAX],
):
    """
    @param post_root a final state root, which the caller has checked
    """
    assert amount <= batch_header.UINT64_MASK and id <= batch_header.UINT64_MASK, "WITHDRAWAL: out of range"
    mask: uint256 = 1 << (id % 256)
    assert self.paid[id // 256] & mask == 0, "PAID: this withdrawal was paid"
    word: uint256 = convert(recipient, uint256) << 64 | amount
    key: bytes32 = convert((convert(b"W", uint256) << 248) | (id << 184), bytes32)
    root: bytes32 = path.fold_path(key, keccak256(convert(word, bytes32)), bits, siblings)
    assert root == post_root, "PROOF: not a leaf of this batch's state"
    self.paid[id // 256] |= mask
    vault.custody -= amount
    payee: address = self._payee(self._claim_key(id, recipient, amount), recipient)
    log Withdrawn(id=id, payee=payee, amount=amount)
    vault.pay(payee, amount)


@internal
@pure
def _claim_key(id: uint256, recipient: address, amount: uint256) -> bytes32:
    return keccak256(abi_encode(id, recipient, amount))


@internal
@view
def _payee(key: bytes32, recipient: address) -> address:
    owner: address = self.claim_owners[key]
    return recipient if owner == empty(address) else owner


@internal
def move(id: uint256, recipient: address, amount: uint256, owner: address, to: address):
    """
    @param owner who gives the claim away, by a transaction or by a signature that the caller has checked
    """
    assert to != empty(address), "TO: zero address"
    key: bytes32 = self._claim_key(id, recipient, amount)
    assert owner == self._payee(key, recipient), "NOT_OWNER: of this claim"
    self.claim_owners[key] = to
    log ClaimTransferred(id=id, recipient=recipient, to=to, amount=amount)


@external
def transfer_claim(id: uint256, recipient: address, amount: uint256, to: address):
    """
    @notice The present owner of a withdrawal (first: its recipient) makes it payable to `to`, before it is paid or even
            final, so that a liquidity provider that runs a verifier can pay at once.
    """
    self.move(id, recipient, amount, msg.sender, to)


@external
@view
def is_paid(id: uint256) -> bool:
    return (self.paid[id // 256] >> (id % 256)) & 1 == 1


@external
@view
def claim_owner(id: uint256, recipient: address, amount: uint256) -> address:
    return self._payee(self._claim_key(id, recipient, amount), recipient)
