# pragma version 0.4.3
"""
@title TestUSD: the devnet's settlement token
@license Apache-2.0
@notice ERC-20 with 6 decimals, EIP-2612 permit, and an open faucet. Worthless by construction: never deploy it where
        value is expected.
@dev Standards: ERC-20, EIP-712, EIP-2612. The domain separator is computed at each use, so a chain split changes it.
"""
from ethereum.ercs import IERC20

implements: IERC20


event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256


event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256


name: public(constant(String[19])) = "Anchorline Test USD"
symbol: public(constant(String[4])) = "tUSD"
decimals: public(constant(uint8)) = 6
# one faucet call, micro-USD: ten million dollars
FAUCET_MAX: public(constant(uint256)) = 10_000_000 * 10**6

DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
PERMIT_TYPE_HASH: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
# EIP-2: a signature with the other s is the same signature, so only the lower half counts
S_MAX: constant(bytes32) = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: public(HashMap[address, uint256])


@external
def mint(to: address, amount: uint256):
    """
    @notice The faucet: anyone, any time, at most FAUCET_MAX a call.
    """
    assert to != empty(address), "TO: zero address"
    assert amount <= FAUCET_MAX, "AMOUNT: above FAUCET_MAX, mint in several calls"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@internal
def _transfer(sender: address, to: address, amount: uint256):
    assert to != empty(address), "TO: zero address"
    assert self.balanceOf[sender] >= amount, "BALANCE: too low"
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    log Transfer(sender=sender, receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._transfer(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @dev An allowance of 2**256 - 1 never shrinks.
    """
    allowed: uint256 = self.allowance[owner][msg.sender]
    assert allowed >= amount, "ALLOWANCE: too low, approve first"
    if allowed != max_value(uint256):
        self.allowance[owner][msg.sender] = allowed - amount
    self._transfer(owner, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, value=amount)
    return True


@view
@internal
def _domain_separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE_HASH, keccak256(name), keccak256("1"), chain.id, self))


@view
@external
def DOMAIN_SEPARATOR() -> bytes32:
    return self._domain_separator()


@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    """
    @notice EIP-2612: `owner`'s signature stands for `approve(spender, value)`, once, until `deadline` (seconds).
    """
    assert block.timestamp <= deadline, "PERMIT: deadline has passed"
    assert convert(s, uint256) <= convert(S_MAX, uint256), "PERMIT: s is in the upper half"
    nonce: uint256 = self.nonces[owner]
    self.nonces[owner] = nonce + 1
    struct_hash: bytes32 = keccak256(abi_encode(PERMIT_TYPE_HASH, owner, spender, amount, nonce, deadline))
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._domain_separator(), struct_hash))
    signer: address = ecrecover(digest, convert(v, uint256), convert(r, uint256), convert(s, uint256))
    assert signer == owner and owner != empty(address), "PERMIT: not the owner's signature"
    self.allowance[owner][spender] = amount
    log Approval(owner=owner, spender=spender, value=amount)
