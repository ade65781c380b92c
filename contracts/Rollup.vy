# pragma version 0.4.3
"""
@title Rollup: custody, inbox, batches, finality, withdrawals
@license Apache-2.0
@notice Anchors Anchorline's L2: what users, operators, provers and the admin can call, composed from the modules, each of
        which states its own invariants. The one that spans them: tokens held >= custody + reserved (vault.vy).
@dev Functions that move tokens share one re-entrancy lock. contracts/README.md explains the protocol.
"""
from ethereum.ercs import IERC20
from interfaces import IERC20Permit
from interfaces import IRollup

import batch_header
import batches
import governance
import inbox
import powers
import seat
import vault
import withdrawals

implements: IRollup

initializes: inbox
initializes: vault
initializes: seat[vault := vault]
initializes: batches[inbox := inbox, seat := seat]
initializes: withdrawals[inbox := inbox, vault := vault]
initializes: governance[inbox := inbox]
initializes: powers

exports: (
    batches.post_batch,
    batches.drop,
    batches.finalize,
    batches.set_verifier,
    batches.verifier,
    batches.head_number,
    batches.head_position,
    batches.finalized_number,
    batches.forced_delay_s,
    batches.header_hash,
    batches.is_final,
    governance.admin,
    governance.is_open,
    governance.proposal_executable_at,
    governance.enqueue_admin,
    governance.propose_admin,
    governance.execute_admin,
    governance.cancel_admin,
    governance.offer_admin,
    governance.accept_admin,
    inbox.inbox_count,
    inbox.inbox_hash_at,
    inbox.inbox_time_s,
    powers.exodus,
    powers.promise_court,
    powers.claim_market,
    powers.frozen_at,
    seat.seat_holder,
    seat.seat_epoch,
    seat.bond_of,
    seat.reward_of,
    seat.tenure,
    seat.slash_at,
    seat.slash_count,
    seat.vacant_since,
    seat.victims_pot,
    seat.burned,
    vault.custody,
    vault.reserved,
    vault.token,
    withdrawals.transfer_claim,
    withdrawals.is_paid,
    withdrawals.claim_owner,
)

DEPOSIT_MAX: constant(uint256) = 2**53
# totals of L2 stay inside int64 with room for profit and loss
CUSTODY_MAX: constant(uint256) = 2**62
BURN_ADDRESS: constant(address) = 0x000000000000000000000000000000000000dEaD


struct Params:
    challenge_window_s: uint256
    bond_min: uint256
    bond_delay_s: uint256
    seat_idle_s: uint256
    force_delay_s: uint256
    force_fee: uint256
    deposit_min: uint256
    timelock_s: uint256
    l2_chain_id: uint256
    genesis_root: bytes32
    genesis_globals: uint256[6]
    force_floor_s: uint256


event Opened: pass


SEAT_IDLE_S: immutable(uint256)
FORCE_FEE: immutable(uint256)
DEPOSIT_MIN: immutable(uint256)
L2_CHAIN_ID: immutable(uint256)


@deploy
def __init__(token: address, admin: address, params: Params):
    assert params.seat_idle_s > params.force_delay_s, "PARAMS: seat_idle_s must exceed force_delay_s"
    assert params.timelock_s > params.challenge_window_s + params.force_delay_s, "PARAMS: timelock_s too short"
    assert params.deposit_min > 0 and params.deposit_min <= DEPOSIT_MAX, "PARAMS: deposit_min out of range"
    vault.__init__(token)
    seat.__init__(params.bond_min, params.bond_delay_s)
    governance.__init__(admin, params.timelock_s)
    batches.__init__(
        params.challenge_window_s,
        params.force_delay_s,
        params.force_floor_s,
        params.genesis_root,
        params.genesis_globals,
    )
    SEAT_IDLE_S = params.seat_idle_s
    FORCE_FEE = params.force_fee
    DEPOSIT_MIN = params.deposit_min
    L2_CHAIN_ID = params.l2_chain_id


# ------------------------------------------------------------------------------------------------ setup and governance


@external
def set_courts(exodus: address, promise_court: address, claim_market: address):
    """
    @notice Once, by the deployer: who may freeze and pay out (Exodus), who judges promises (PromiseCourt), and who may
            move a claim that its owner sold by signature (ClaimMarket).
    """
    assert msg.sender == batches.DEPLOYER, "NOT_DEPLOYER"
    powers.set_courts(exodus, promise_court, claim_market)


@external
def open():
    """
    @notice Ends the setup: deposits and batches start, admin messages need the timelock from here on.
    """
    governance.check_admin()
    assert not governance.is_open, "OPEN: already"
    assert batches.verifier != empty(address), "VERIFIER: call set_verifier first"
    assert powers.exodus != empty(address), "COURTS: call set_courts first"
    governance.is_open = True
    seat.vacant_since = block.timestamp
    log Opened()


@internal
@view
def _check_open():
    assert governance.is_open, "NOT_OPEN: wait until the admin opens the rollup"
    assert powers.frozen_at == 0, "FROZEN: the rollup has ended, see Exodus"


# --------------------------------------------------------------------------------------------------- messages from users


@internal
def _deposit(account: uint32, owner: address, amount: uint256):
    self._check_open()
    assert amount >= DEPOSIT_MIN and amount <= DEPOSIT_MAX, "AMOUNT: outside deposit_min to 2**53"
    assert vault.custody + amount <= CUSTODY_MAX, "CUSTODY_FULL"
    assert owner != empty(address), "OWNER: zero address"
    vault.custody += amount
    vault.pull(msg.sender, amount)
    payload: Bytes[32] = concat(
        convert(account, bytes4), convert(owner, bytes20), convert(convert(amount, uint64), bytes8)
    )
    inbox.enqueue(inbox.KIND_DEPOSIT, msg.sender, payload)


@external
@nonreentrant
def deposit(account: uint32, owner: address, amount: uint256):
    """
    @param account L2 account to credit; 0 opens a new one for `owner`
    @param amount micro-USD, taken from the caller
    """
    self._deposit(account, owner, amount)


@external
@nonreentrant
def deposit_with_permit(
    account: uint32, owner: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32
):
    """
    @dev A permit that somebody else has already submitted must not block the deposit: only the allowance counts.
    """
    if staticcall IERC20(vault.TOKEN).allowance(msg.sender, self) < amount:
        extcall IERC20Permit(vault.TOKEN).permit(msg.sender, self, amount, deadline, v, r, s)
    self._deposit(account, owner, amount)


@external
@nonreentrant
def force(transaction: Bytes[inbox.PAYLOAD_BYTES_MAX]):
    """
    @notice Puts one signed L2 transaction into the inbox, past the operator. `force_fee` is burned: an operator that
            floods its own inbox to delay others pays as anybody does.
    """
    self._check_open()
    assert len(transaction) > 0, "EMPTY: no transaction"
    if FORCE_FEE > 0:
        moved: bool = extcall IERC20(vault.TOKEN).transferFrom(
            msg.sender, BURN_ADDRESS, FORCE_FEE, default_return_value=True
        )
        assert moved, "TRANSFER_FROM: failed, check balance and allowance"
    inbox.enqueue(inbox.KIND_FORCED, msg.sender, transaction)


# --------------------------------------------------------------------------------------------------------- seat and bond


@external
@nonreentrant
def take_seat(amount: uint256):
    """
    @param amount micro-USD added to the caller's bond; the whole must reach bond_min
    """
    self._check_open()
    seat.take(msg.sender, amount)


@external
def leave_seat():
    assert msg.sender == seat.holder, "NOT_SEAT: only the holder leaves"
    seat.vacate(batches.head_number, batch_header.tx_position(batches.head_position), False)


@external
def evict():
    """
    @notice Anyone empties the seat of a holder that, seated for `seat_idle_s`, leaves a message unconsumed for as long, in
            L1 time. Every posting enqueues a notice, so a silent holder qualifies, and so does one that posts but lets
            L2 time crawl to dodge forced inclusion. A tenth of the bond is burned.
    """
    assert seat.holder != empty(address), "SEAT_EMPTY"
    assert seat.taken_at + SEAT_IDLE_S < block.timestamp, "NOT_IDLE: a new holder has time to catch up"
    cursor: uint256 = batch_header.inbox_cursor(batches.head_position)
    assert cursor < inbox.count, "NOT_IDLE: every message is consumed"
    assert inbox.time_s_of(cursor) + SEAT_IDLE_S < block.timestamp, "NOT_IDLE: the oldest message is younger"
    seat.fine(seat.holder, batches.head_number, batch_header.tx_position(batches.head_position))


@external
@nonreentrant
def release_bond():
    seat.release(msg.sender, batches.head_number, batches.finalized_number)


@external
@nonreentrant
def claim_reward():
    seat.claim_reward(msg.sender)


# ------------------------------------------------------------------------------------------------------------ withdrawals


@external
@nonreentrant
def withdraw(
    header: batch_header.BatchHeader,
    id: uint256,
    recipient: address,
    amount: uint256,
    bits: Bytes[withdrawals.PATH_MAX],
    siblings: DynArray[bytes32, withdrawals.PATH_MAX],
):
    """
    @notice Pays withdrawal `id`, once, proven by the path of its `W` leaf under a final batch's root. Anyone may call.
    @param bits branch bit of each sibling, from the leaf up
    """
    batches.record_final(header)
    withdrawals.pay(header.post_root, id, recipient, amount, bits, siblings)


@external
def move_claim(id: uint256, recipient: address, amount: uint256, owner: address, to: address):
    """
    @notice Only ClaimMarket, which has checked that `owner` signed the sale. It moves no token.
    """
    powers.check_claim_market()
    withdrawals.move(id, recipient, amount, owner, to)


@external
def notify_paid(ids: DynArray[uint256, withdrawals.NOTICE_IDS_MAX]):
    """
    @notice Anyone tells L2 that withdrawals are paid, so that it forgets them. Each id once. Costs no fee: a flood is bounded by
            what was paid before, and a payment costs more than a deposit, which enqueues a message too.
    """
    self._check_open()
    withdrawals.notify(ids)


# ----------------------------------------------------------------------------------------------------- exodus and promises


@external
def freeze():
    """
    @notice Only Exodus, which checks that it is due. No batch, deposit, message from users or seat from here on; fraud proofs,
            withdrawals and bonds go on.
    """
    powers.check_exodus()
    powers.freeze(batches.head_number)
    seat.vacate(batches.head_number, batch_header.tx_position(batches.head_position), True)


@external
@nonreentrant
def pay_out(to: address, amount: uint256):
    """
    @notice Only Exodus: a share or a refund, out of what accounts and unpaid withdrawals own.
    """
    powers.check_exodus()
    vault.custody -= amount
    vault.pay(to, amount)


@external
def slash_promise(epoch: uint256, position: uint256, prover: address):
    """
    @notice Only PromiseCourt: the operator of this epoch broke a promise at `position`. Its batches stand: they are right.
    """
    powers.check_promise_court()
    tenure: seat.Tenure = seat.tenures[epoch]
    if tenure.operator == seat.holder:
        seat.vacate(batches.head_number, batch_header.tx_position(batches.head_position), False)
    seat.slash(tenure.operator, prover, position, tenure.taken_at)


@external
def fine_promise(epoch: uint256):
    """
    @notice Only PromiseCourt: the operator of this epoch did not post what it promised in time.
    """
    powers.check_promise_court()
    seat.fine(
        seat.tenures[epoch].operator, batches.head_number, batch_header.tx_position(batches.head_position)
    )


@external
@nonreentrant
def pay_victim(to: address, amount: uint256):
    """
    @notice Only PromiseCourt: a share of the victims' pot. For address zero the amount is burned.
    """
    powers.check_promise_court()
    seat.victims_pot -= amount
    if to == empty(address):
        seat.burned += amount
        return
    vault.reserved -= amount
    vault.pay(to, amount)


# ------------------------------------------------------------------------------------------------------------------ views


@external
@view
def params() -> Params:
    """
    @return The constructor's parameters, genesis fields empty: genesis is `header_hash(0)`.
    """
    return Params(
        challenge_window_s=batches.CHALLENGE_WINDOW_S,
        bond_min=seat.BOND_MIN,
        bond_delay_s=seat.BOND_DELAY_S,
        seat_idle_s=SEAT_IDLE_S,
        force_delay_s=batches.FORCE_DELAY_S,
        force_fee=FORCE_FEE,
        deposit_min=DEPOSIT_MIN,
        timelock_s=governance.TIMELOCK_S,
        l2_chain_id=L2_CHAIN_ID,
        genesis_root=empty(bytes32),
        genesis_globals=empty(uint256[6]),
        force_floor_s=batches.FORCE_FLOOR_S,
    )
