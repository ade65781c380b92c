# pragma version 0.4.3
"""
@title Somebody else's ERC-20, from the test-only dependency snekmate
@notice Shows that Rollup works with a token that we did not write. Never shipped.
"""
from snekmate.auth import ownable
from snekmate.tokens import erc20

initializes: ownable
initializes: erc20[ownable := ownable]

exports: erc20.__interface__


@deploy
def __init__():
    ownable.__init__()
    erc20.__init__("Independent", "IND", 6, "Independent", "1")
