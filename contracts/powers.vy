# pragma version 0.4.3
"""
@title Powers: what Exodus and PromiseCourt may do to Rollup, and nobody else
@license Apache-2.0
@notice Both are set once, by the deployer, before opening, and nobody can change them later. Exodus ends the rollup and pays its
        accounts out of custody; PromiseCourt slashes, fines and pays victims. Neither can touch more than the pot that its
        function names: each amount is taken off a counter that cannot go below zero.
"""

event CourtsSet:
    exodus: indexed(address)
    promise_court: indexed(address)


event Frozen:
    head: uint256


exodus: public(address)
promise_court: public(address)
# L1 time of the freeze; zero: the rollup lives
frozen_at: public(uint256)


@internal
def set_courts(exodus: address, promise_court: address):
    assert self.exodus == empty(address), "COURTS_SET: they cannot change"
    assert exodus.is_contract and promise_court.is_contract, "COURTS: not contracts"
    self.exodus = exodus
    self.promise_court = promise_court
    log CourtsSet(exodus=exodus, promise_court=promise_court)


@internal
@view
def check_exodus():
    assert msg.sender == self.exodus, "NOT_EXODUS"


@internal
@view
def check_promise_court():
    assert msg.sender == self.promise_court, "NOT_PROMISE_COURT"


@internal
def freeze(head: uint256):
    assert self.frozen_at == 0, "FROZEN: already"
    self.frozen_at = block.timestamp
    log Frozen(head=head)
