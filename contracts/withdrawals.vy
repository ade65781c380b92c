# pragma version 0.4.3
"""
@title Withdrawals: one payment per proven `W` leaf
@license Apache-2.0
@notice The key is built here from the id, the value from recipient and amount, so no other leaf passes for a withdrawal.
        Ids are never reused in one history of L2, and only final roots are shown here, so one bit per id suffices. What
        was paid under a final root stands in every history of L2 from then on, so telling L2 to forget it (`notify`) can
        never be wrong later; a second bit keeps each id from being told twice.
@dev A claim is bound to id, recipient and amount: after a rollback the id may name another withdrawal, and a claim that
     was sold does not follow it there.
"""
import batch_header
import inbox
import vault
from stf import path

uses: inbox
uses: vault

PATH_MAX: constant(uint256) = 128
# what one inbox message, which L2 must have room for, may delete
NOTICE_IDS_MAX: constant(uint256) = 8


event Withdrawn:
    id: indexed(uint256)
    payee: indexed(address)
    amount: uint256


event ClaimTransferred:
    id: indexed(uint256)
    recipient: indexed(address)
    to: address
    amount: uint256


# two bits an id, 128 ids a word: 1 paid, 2 L2 was told
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
    assert self._mark(id, 1) == 0, "PAID: this withdrawal was paid"
    word: uint256 = convert(recipient, uint256) << 64 | amount
    key: bytes32 = convert((convert(b"W", uint256) << 248) | (id << 184), bytes32)
    root: bytes32 = path.fold_path(key, keccak256(convert(word, bytes32)), bits, siblings)
    assert root == post_root, "PROOF: not a leaf of this batch's state"
    vault.custody -= amount
    payee: address = self._payee(self._claim_key(id, recipient, amount), recipient)
    log Withdrawn(id=id, payee=payee, amount=amount)
    vault.pay(payee, amount)


@internal
def notify(ids: DynArray[uint256, NOTICE_IDS_MAX]):
    """
    @notice Tells L2, in one message of 8 bytes an id, that these withdrawals are paid: it deletes their leaves.
    """
    assert len(ids) > 0, "EMPTY: no id"
    # eight ids of 64 bits, the first one highest
    low: uint256 = 0
    high: uint256 = 0
    for id: uint256 in ids:
        assert self._mark(id, 2) == 1, "NOT_PAID: or L2 was told before"
        high = high << 64 | low >> 192
        low = low << 64 | id
    size: uint256 = len(ids) * 8
    payload: Bytes[64] = slice(abi_encode(high, low), 64 - size, size)
    inbox.enqueue(inbox.KIND_PAID, self, payload)


@internal
def _mark(id: uint256, bit: uint256) -> uint256:
    """
    @return the id's bits before.
    """
    before: uint256 = self._bits(id)
    self.paid[id // 128] |= bit << (id % 128 * 2)
    return before


@internal
@view
def _bits(id: uint256) -> uint256:
    return (self.paid[id // 128] >> (id % 128 * 2)) & 3


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
    return self._bits(id) != 0


@external
@view
def claim_owner(id: uint256, recipient: address, amount: uint256) -> address:
    return self._payee(self._claim_key(id, recipient, amount), recipient)
