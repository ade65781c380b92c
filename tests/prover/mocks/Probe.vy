# pragma version 0.4.3
"""
@title  Probe: looks at another account, and writes its own storage over and back
@license Apache-2.0
"""

word: uint256
other: uint256


@deploy
def __init__(start: uint256):
    self.word = start


@external
def look(who: address) -> (uint256, bytes32, uint256, uint256):
    before: uint256 = self.word
    self.word = 0
    self.other = before
    self.word = before
    return who.codesize, who.codehash, self.word, self.other
