# pragma version 0.4.3
"""
@title Seat: who may post, and the bond behind it
@license Apache-2.0
@notice One seat, first come, first served, for a bond. The holder's address posts batches; a bond belongs to an address
        and answers for every batch that this address posted, seated or not, until the batch is final.
        A slash takes the whole bond: 10% to the prover, 10% to a pot for harmed traders, 80% burned. At most 20% can ever
        come back, so proving one's own fraud never pays.
        An eviction burns 10%: a holder that does nothing would otherwise stop the rollup for the price of waiting, taking
        the seat again in the transaction that evicts it.
@dev While seated, a bond is never smaller than at seating; it leaves whole, by `release` or `slash`.
"""
import vault

uses: vault

PROVER_PERCENT: constant(uint256) = 10
VICTIMS_PERCENT: constant(uint256) = 10
IDLE_PERCENT: constant(uint256) = 10


struct Bond:
    amount: uint256
    # batch head when the holder left; zero while seated
    last_batch: uint256
    left_at: uint256


event SeatTaken:
    holder: indexed(address)
    epoch: indexed(uint256)
    bond: uint256


event SeatLeft:
    holder: indexed(address)
    epoch: indexed(uint256)


event BondReleased:
    holder: indexed(address)
    amount: uint256


event BondSlashed:
    holder: indexed(address)
    prover: indexed(address)
    amount: uint256


BOND_MIN: immutable(uint256)
BOND_DELAY_S: immutable(uint256)

holder: address
# rises with every seating: promises name the epoch they were given in
epoch: uint256
taken_at: uint256
bonds: HashMap[address, Bond]
rewards: HashMap[address, uint256]
victims_pot: public(uint256)
burned: public(uint256)


@deploy
def __init__(bond_min: uint256, bond_delay_s: uint256):
    assert bond_min > 0, "PARAMS: bond_min is zero"
    BOND_MIN = bond_min
    BOND_DELAY_S = bond_delay_s


@internal
def take(operator: address, amount: uint256):
    """
    @dev `amount` is added to what the operator still has in bond from an earlier seating.
    """
    assert self.holder == empty(address), "SEAT_TAKEN: wait until the holder leaves or is slashed"
    total: uint256 = self.bonds[operator].amount + amount
    assert total >= BOND_MIN, "BOND_LOW: bond at least bond_min"
    self.holder = operator
    self.epoch += 1
    self.taken_at = block.timestamp
    self.bonds[operator] = Bond(amount=total, last_batch=0, left_at=0)
    vault.reserved += amount
    if amount > 0:
        vault.pull(operator, amount)
    log SeatTaken(holder=operator, epoch=self.epoch, bond=total)


@internal
def vacate(head: uint256):
    operator: address = self.holder
    if operator == empty(address):
        return
    self.holder = empty(address)
    self.bonds[operator].last_batch = head
    self.bonds[operator].left_at = block.timestamp
    log SeatLeft(holder=operator, epoch=self.epoch)


@internal
def evict(head: uint256):
    """
    @dev The caller has checked that there is a holder, and that it is idle. `reserved` stays, as in `slash`.
    """
    operator: address = self.holder
    fine: uint256 = self.bonds[operator].amount * IDLE_PERCENT // 100
    self.bonds[operator].amount -= fine
    self.burned += fine
    self.vacate(head)


@internal
def release(operator: address, head: uint256, finalized: uint256):
    """
    @dev A rollback may have left `head` below the operator's last batch: what no longer exists needs no bond.
    """
    bond: Bond = self.bonds[operator]
    assert bond.amount > 0, "NO_BOND"
    assert operator != self.holder, "SEATED: call leave_seat first"
    assert finalized >= min(bond.last_batch, head), "BOND_LOCKED: finalize your last batch first"
    assert block.timestamp >= bond.left_at + BOND_DELAY_S, "BOND_LOCKED: the delay after leaving has not passed"
    self.bonds[operator] = empty(Bond)
    vault.reserved -= bond.amount
    log BondReleased(holder=operator, amount=bond.amount)
    vault.pay(operator, bond.amount)


@internal
def slash(operator: address, prover: address):
    """
    @dev Moves no token, so nothing can stop a rollback. `reserved` stays: burned shares remain locked.
    """
    amount: uint256 = self.bonds[operator].amount
    self.bonds[operator] = empty(Bond)
    prover_share: uint256 = amount * PROVER_PERCENT // 100
    victims_share: uint256 = amount * VICTIMS_PERCENT // 100
    self.rewards[prover] += prover_share
    self.victims_pot += victims_share
    self.burned += amount - prover_share - victims_share
    log BondSlashed(holder=operator, prover=prover, amount=amount)


@internal
def claim_reward(prover: address):
    amount: uint256 = self.rewards[prover]
    assert amount > 0, "NO_REWARD"
    self.rewards[prover] = 0
    vault.reserved -= amount
    vault.pay(prover, amount)


@external
@view
def seat_holder() -> address:
    return self.holder


@external
@view
def seat_epoch() -> uint256:
    return self.epoch


@external
@view
def bond_of(operator: address) -> Bond:
    return self.bonds[operator]


@external
@view
def reward_of(prover: address) -> uint256:
    return self.rewards[prover]
