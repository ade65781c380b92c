# pragma version 0.4.3
"""
@title Powers: what Exodus, PromiseCourt and ClaimMarket may do to Rollup, and nobody else
@license Apache-2.0
@notice All are set once, by the deployer, before opening, and nobody can change them later. Exodus ends the rollup and pays its
        accounts out of custody; PromiseCourt slashes, fines and pays victims. Neither can touch more than the pot that its
        function names: each amount is taken off a counter that cannot go below zero. ClaimMarket moves claims that
        their owners sold it by signature, and no money.
"""

event CourtsSet:
    exodus: indexed(address)
    promise_court: indexed(address)
    claim_market: address


event Frozen:
    head: uint256


exodus: public(address)
promise_court: public(address)
claim_market: public(address)
# L1 time of the freeze; zero: the rollup lives
frozen_at: public(uint256)


@internal
def set_courts(exodus: address, promise_court: address, claim_market: address):
    assert self.exodus == empty(address), "COURTS_SET: they cannot change"
    assert exodus.is_contract and promise_court.is_contract and claim_market.is_contract, "COURTS: not contracts"
    self.exodus = exodus
    self.promise_court = promise_court
    self.claim_market = claim_market
    log CourtsSet(exodus=exodus, promise_court=promise_court, claim_market=claim_market)


@internal
@view
def check_exodus():
    assert msg.sender == self.exodus, "NOT_EXODUS"


@internal
@view
def check_promise_court():
    assert msg.sender == self.promise_court, "NOT_PROMISE_COURT"


@internal
@view
def check_claim_market():
    assert msg.sender == self.claim_market, "NOT_CLAIM_MARKET"


@internal
def freeze(head: uint256):
    assert self.frozen_at == 0, "FROZEN: already"
    self.frozen_at = block.timestamp
    log Frozen(head=head)
