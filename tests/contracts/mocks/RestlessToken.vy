# pragma version 0.4.3
"""
@title An ERC-20 that listens: whoever hears of a transfer can act within it
@notice `arm(target, payload)`: in the middle of the next transfer the token itself makes that call, and goes on whatever came
        of it. `heard` notes what: REFUSED without a reason (a re-entrancy lock), REASONED, DONE.
        `block(who)`: transfers to it fail, as a stablecoin's issuer can have it.
"""

REFUSED: constant(uint256) = 1
REASONED: constant(uint256) = 2
DONE: constant(uint256) = 3

target: address
payload: Bytes[4096]
heard: public(uint256)
is_blocked: public(HashMap[address, bool])
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def arm(target: address, payload: Bytes[4096]):
    self.target = target
    self.payload = payload
    self.heard = 0


@external
def block(who: address, blocked: bool):
    self.is_blocked[who] = blocked


@external
def mint(to: address, amount: uint256):
    self.totalSupply += amount
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@external
def permit(owner: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32):
    """
    @notice Of a signature only v is looked at.
    """
    assert v == 27, "PERMIT: not the owner's signature"
    self.allowance[owner][spender] = amount


@internal
def _listen():
    target: address = self.target
    if target == empty(address):
        return
    self.target = empty(address)
    done: bool = False
    answer: Bytes[128] = b""
    done, answer = raw_call(target, self.payload, max_outsize=128, revert_on_failure=False)
    self.heard = DONE if done else (REASONED if len(answer) > 0 else REFUSED)


@internal
def _move(sender: address, to: address, amount: uint256) -> bool:
    assert not self.is_blocked[to], "BLOCKED: by the issuer"
    self._listen()
    self.balanceOf[sender] -= amount
    self.balanceOf[to] += amount
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    allowed: uint256 = self.allowance[owner][msg.sender]
    assert allowed >= amount, "ALLOWANCE: too low, approve first"
    if allowed != max_value(uint256):
        self.allowance[owner][msg.sender] = allowed - amount
    return self._move(owner, to, amount)
