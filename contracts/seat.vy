# pragma version 0.4.3
"""
@title Seat: who may post, and the bond behind it
@license Apache-2.0
@notice One seat, first come, first served, for a bond. The holder's address posts batches; a bond belongs to an address
        and answers for every batch that this address posted, seated or not, until the batch is final.
        A slash takes the whole bond: 10% to the prover, 10% to a pot for harmed traders, 80% burned. At most 20% can ever
        come back, so proving one's own fraud never pays.
        An eviction burns 10%: a holder that does nothing would otherwise stop the rollup for the price of waiting, taking
        the seat again in the transaction that evicts it. So does a promise that is not posted in time (PromiseCourt).
        A seating is a tenure, named by its epoch: promises are judged against what was posted in theirs only.
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


struct Tenure:
    operator: address
    taken_at: uint256
    # zero while seated
    left_at: uint256
    # transactions that the head had executed when it ended
    position: uint256
    # ended by a rollback or the freeze: what was promised and not posted could not be
    excused: bool


struct Slash:
    operator: address
    # what the victims share, micro-USD
    pot: uint256
    # promises of this transaction position and later ones were broken
    position: uint256
    # a time inside the tenure that is answered for: when the wrong batch was posted, or the tenure's begin
    posted_at: uint256
    at: uint256


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
    slash: uint256


BOND_MIN: immutable(uint256)
BOND_DELAY_S: immutable(uint256)

holder: address
# rises with every seating: promises name the epoch they were given in
epoch: uint256
taken_at: uint256
# since when nobody has sat, while nobody sits
vacant_since: public(uint256)
tenures: HashMap[uint256, Tenure]
slashes: HashMap[uint256, Slash]
slash_count: public(uint256)
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
    self.tenures[self.epoch] = Tenure(
        operator=operator, taken_at=block.timestamp, left_at=0, position=0, excused=False
    )
    self.bonds[operator] = Bond(amount=total, last_batch=0, left_at=0)
    vault.reserved += amount
    if amount > 0:
        vault.pull(operator, amount)
    log SeatTaken(holder=operator, epoch=self.epoch, bond=total)


@internal
def vacate(head: uint256, position: uint256, excused: bool):
    """
    @param head its number
    @param position transactions that it has executed
    """
    operator: address = self.holder
    if operator == empty(address):
        return
    self.holder = empty(address)
    self.bonds[operator].last_batch = head
    self.bonds[operator].left_at = block.timestamp
    self.vacant_since = block.timestamp
    tenure: Tenure = self.tenures[self.epoch]
    tenure.left_at = block.timestamp
    tenure.position = position
    tenure.excused = excused
    self.tenures[self.epoch] = tenure
    log SeatLeft(holder=operator, epoch=self.epoch)


@internal
def fine(operator: address, head: uint256, position: uint256):
    """
    @notice Burns a tenth of a bond, and ends the operator's tenure if it sits.
    @dev The caller has checked why. `reserved` stays, as in `slash`.
    """
    fine: uint256 = self.bonds[operator].amount * IDLE_PERCENT // 100
    self.bonds[operator].amount -= fine
    self.burned += fine
    if operator == self.holder:
        self.vacate(head, position, False)


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
def slash(operator: address, prover: address, position: uint256, posted_at: uint256):
    """
    @param position promises from this one on are broken
    @param posted_at in which tenure: see `Slash`
    @dev Moves no token, so nothing can stop a rollback. `reserved` stays: burned shares remain locked.
    """
    amount: uint256 = self.bonds[operator].amount
    self.bonds[operator] = empty(Bond)
    prover_share: uint256 = amount * PROVER_PERCENT // 100
    victims_share: uint256 = amount * VICTIMS_PERCENT // 100
    self.rewards[prover] += prover_share
    self.victims_pot += victims_share
    self.burned += amount - prover_share - victims_share
    number: uint256 = self.slash_count
    self.slashes[number] = Slash(
        operator=operator, pot=victims_share, position=position, posted_at=posted_at, at=block.timestamp
    )
    self.slash_count = number + 1
    log BondSlashed(holder=operator, prover=prover, amount=amount, slash=number)


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
def tenure(epoch: uint256) -> Tenure:
    """
    @return The seating of this epoch, from 1 on; empty beyond the last.
    """
    return self.tenures[epoch]


@external
@view
def slash_at(number: uint256) -> Slash:
    """
    @return Slash `number`, from 0 on; empty beyond the last.
    """
    return self.slashes[number]


@external
@view
def bond_of(operator: address) -> Bond:
    return self.bonds[operator]


@external
@view
def reward_of(prover: address) -> uint256:
    return self.rewards[prover]
