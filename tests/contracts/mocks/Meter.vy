# pragma version 0.4.3
"""
@title  One function per thing that gas depends on, to compare tests/evm.py with a real chain
@license Apache-2.0
"""

event Touched:
    who: indexed(address)
    words: uint256[2]

interface Other:
    def read() -> uint256: nonpayable

# @error TooMuch(uint256 wanted, address by)

word: uint256
list: uint256[8]
scratch: transient(uint256)


@external
def write(amount: uint256):
    self.word = amount


@external
def fill(count: uint256, amount: uint256):
    for i: uint256 in range(count, bound=8):
        self.list[i] = amount


@external
def read() -> uint256:
    return self.word


@external
def read_other(other: address) -> uint256:
    return extcall Other(other).read()


@external
def remember(amount: uint256) -> uint256:
    old: uint256 = self.scratch
    self.scratch = amount
    log Touched(who=msg.sender, words=[old, amount])
    return old


@external
def swallow(data: Bytes[20000]) -> bytes32:
    return keccak256(data)


@external
def refuse(wanted: uint256):
    raw_revert(abi_encode(wanted, msg.sender, method_id=method_id("TooMuch(uint256,address)")))


@external
def complain():
    raise "TOO_LATE: come earlier"


@external
@payable
def keep():
    pass


@external
def burn(rounds: uint256) -> bytes32:
    digest: bytes32 = empty(bytes32)
    for i: uint256 in range(rounds, bound=1_000_000):
        digest = keccak256(digest)
    return digest
