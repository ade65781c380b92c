# pragma version 0.4.3
"""
@title An ERC-20 with one oddity, chosen at deployment
@notice FEE keeps 1% of every transfer; LYING answers false and moves nothing; REENTER calls back into `target` with
        `payload` during a transfer and reverts unless that call was refused without a reason, as the lock refuses;
        BLOCKED refuses to pay one address.
"""

PLAIN: constant(uint256) = 0
FEE: constant(uint256) = 1
LYING: constant(uint256) = 2
REENTER: constant(uint256) = 3
BLOCKED: constant(uint256) = 4

mode: public(uint256)
target: address
payload: Bytes[4096]
refused: public(uint256)
blocked: address
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@external
def set_mode(mode: uint256, target: address, payload: Bytes[4096]):
    self.mode = mode
    self.target = target
    self.payload = payload
    self.blocked = target


@external
def approve_for_self(spender: address):
    self.allowance[self][spender] = max_value(uint256)


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount
    return True


@internal
def _move(sender: address, to: address, amount: uint256) -> bool:
    if self.mode == LYING:
        return False
    assert self.mode != BLOCKED or to != self.blocked, "blocked"
    if self.mode == REENTER:
        self.mode = PLAIN
        done: bool = False
        answer: Bytes[128] = b""
        done, answer = raw_call(self.target, self.payload, max_outsize=128, revert_on_failure=False)
        assert not done and len(answer) == 0, "re-entered"
        self.refused += 1
    self.balanceOf[sender] -= amount
    fee: uint256 = amount // 100 if self.mode == FEE else 0
    self.balanceOf[to] += amount - fee
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    self.allowance[owner][msg.sender] -= amount
    return self._move(owner, to, amount)
