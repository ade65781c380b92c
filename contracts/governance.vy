# pragma version 0.4.3
"""
@title Governance: admin messages to L2, at once before opening, through a timelock after
@license Apache-2.0
@notice The admin reaches L2 only through the inbox (kind 6: sub-kind:1 ‖ body, opaque here), so every change is ordered,
        proven and visible before it acts. After opening, a change waits `timelock_s`, which is longer than the challenge
        window plus the forced-inclusion delay: whoever dislikes it can leave first. The admin can touch neither tokens,
        batches, bonds nor the verifier.
"""
import inbox

uses: inbox

ADMIN_BODY_BYTES_MAX: constant(uint256) = 1023


event AdminProposed:
    proposal: indexed(bytes32)
    executable_at: uint256
    sub_kind: uint8
    body: Bytes[ADMIN_BODY_BYTES_MAX]


event AdminCancelled:
    proposal: indexed(bytes32)


event AdminExecuted:
    proposal: indexed(bytes32)


event AdminOffered:
    candidate: indexed(address)


event AdminChanged:
    admin: indexed(address)


TIMELOCK_S: immutable(uint256)

admin: public(address)
candidate: address
is_open: public(bool)
# proposal id → earliest time of execution, zero when there is none
proposal_executable_at: public(HashMap[bytes32, uint256])


@deploy
def __init__(admin: address, timelock_s: uint256):
    assert admin != empty(address), "ADMIN: zero address"
    self.admin = admin
    TIMELOCK_S = timelock_s


@internal
@view
def check_admin():
    assert msg.sender == self.admin, "NOT_ADMIN"


@internal
@pure
def proposal_id(sub_kind: uint8, body: Bytes[ADMIN_BODY_BYTES_MAX]) -> bytes32:
    return keccak256(concat(convert(sub_kind, bytes1), body))


@internal
def send(sub_kind: uint8, body: Bytes[ADMIN_BODY_BYTES_MAX]):
    inbox.enqueue(inbox.KIND_ADMIN, self.admin, concat(convert(sub_kind, bytes1), body))


@external
def enqueue_admin(sub_kind: uint8, body: Bytes[ADMIN_BODY_BYTES_MAX]):
    self.check_admin()
    assert not self.is_open, "OPEN: use propose_admin and wait for the timelock"
    self.send(sub_kind, body)


@external
def propose_admin(sub_kind: uint8, body: Bytes[ADMIN_BODY_BYTES_MAX]):
    self.check_admin()
    proposal: bytes32 = self.proposal_id(sub_kind, body)
    assert self.proposal_executable_at[proposal] == 0, "PROPOSED: the same change already waits"
    at: uint256 = block.timestamp + TIMELOCK_S
    self.proposal_executable_at[proposal] = at
    log AdminProposed(proposal=proposal, executable_at=at, sub_kind=sub_kind, body=body)


@external
def execute_admin(sub_kind: uint8, body: Bytes[ADMIN_BODY_BYTES_MAX]):
    self.check_admin()
    proposal: bytes32 = self.proposal_id(sub_kind, body)
    at: uint256 = self.proposal_executable_at[proposal]
    assert at != 0, "NOT_PROPOSED: call propose_admin first"
    assert block.timestamp >= at, "TIMELOCK: too early"
    self.proposal_executable_at[proposal] = 0
    self.send(sub_kind, body)
    log AdminExecuted(proposal=proposal)


@external
def cancel_admin(proposal: bytes32):
    self.check_admin()
    assert self.proposal_executable_at[proposal] != 0, "NOT_PROPOSED"
    self.proposal_executable_at[proposal] = 0
    log AdminCancelled(proposal=proposal)


@external
def offer_admin(candidate: address):
    self.check_admin()
    self.candidate = candidate
    log AdminOffered(candidate=candidate)


@external
def accept_admin():
    assert msg.sender == self.candidate and msg.sender != empty(address), "NOT_CANDIDATE"
    self.admin = msg.sender
    self.candidate = empty(address)
    log AdminChanged(admin=msg.sender)
