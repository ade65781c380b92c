# pragma version 0.4.3
# pragma optimize codesize
"""
@title  Exodus: the rollup's end, when its operators fail, and what everyone gets
@author Anchorline contributors
@license Apache-2.0
@notice freeze    anyone, once a message has waited for `exodus_after_s` of L1 time, or nobody has sat for `reseat_s`
        settle    fraud proofs stay open for a challenge window after the freeze; then the head is final for ever
        register  for `register_s` from then on, anyone shows an account under the head's root; its equity, by the rules' own
                  formula at the proven marks, is entered for its owner (key slot 0)
        claim     after that: equity * min(1, pool / sum of what is registered), once per account
        refund    deposits that no batch of the head has consumed go back to their depositors, from settlement on

        pool = deposits - withdrawals of the `G` leaf: what L2 owed to accounts, insurance and fees. Withdrawals that L2 made but
        L1 has not paid, and unconsumed deposits, are outside of it, so they are always covered, whoever comes first:
            custody = pool + unpaid withdrawals + unconsumed deposits.
        Sizes sum to zero in every market, so equities at one mark sum to what L2 owes; the sum of the positive ones, which
        alone can be registered, may be more: that is what the factor is for.

        Invariants
        - An account is registered at most once, at the state of the one head that cannot be dropped any more.
        - The sum of claims is at most the pool. Books change before tokens move, so re-entrancy finds nothing left.
@dev A claim of state is verified (witness.verify) before anything follows from it, as in FraudVerifier.
"""
import batch_header
from stf import finality
from stf import funding
from stf import margin
from stf import oracle
from stf import params
from stf import quotes
from stf import state
from stf import trie
from stf import witness

initializes: trie
initializes: state[trie := trie]
initializes: finality[state := state]
initializes: funding[state := state]
initializes: quotes[state := state]
initializes: oracle[state := state, funding := funding, quotes := quotes]
initializes: margin[state := state, oracle := oracle, finality := finality]
initializes: witness[trie := trie]


interface Rollup:
    def freeze(): nonpayable
    def pay_out(to: address, amount: uint256): nonpayable
    def frozen_at() -> uint256: view
    def head_number() -> uint256: view
    def head_position() -> uint256: view
    def header_hash(number: uint256) -> bytes32: view
    def inbox_count() -> uint256: view
    def inbox_hash_at(number: uint256) -> bytes32: view
    def inbox_time_s(number: uint256) -> uint256: view
    def seat_holder() -> address: view
    def vacant_since() -> uint256: view
    def tenure(epoch: uint256) -> Tenure: view
    def params() -> RollupParams: view


struct RollupParams:
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


struct Tenure:
    operator: address
    taken_at: uint256
    left_at: uint256
    position: uint256
    excused: bool


struct Share:
    owner: address
    equity: uint256
    claimed: bool


event Registered:
    account: indexed(uint256)
    owner: indexed(address)
    equity: uint256


event Claimed:
    account: indexed(uint256)
    owner: indexed(address)
    amount: uint256


event Refunded:
    number: indexed(uint256)
    depositor: indexed(address)
    amount: uint256


WITNESS_BYTES_MAX: constant(uint256) = 24_576
WITNESS_HEAD: constant(uint256) = 17  # a header has 16 words, the account one
KIND_DEPOSIT: constant(uint256) = 1
DEPOSIT_BYTES: constant(uint256) = 61  # kind:1 sender:20 time:8 account:4 owner:20 amount:8

ROLLUP: immutable(Rollup)
WINDOW_S: immutable(uint256)
EXODUS_AFTER_S: immutable(uint256)
RESEAT_S: immutable(uint256)
REGISTER_S: immutable(uint256)

share_of: public(HashMap[uint256, Share])
registered: public(uint256)
pool: public(uint256)
refunded: HashMap[uint256, uint256]


@deploy
def __init__(rollup: address, exodus_after_s: uint256, reseat_s: uint256, register_s: uint256):
    """
    @param exodus_after_s L1 time that a message may wait; longer than a rollback and a change of operators take
    @param reseat_s L1 time that the seat may be empty
    @param register_s how long accounts can be registered
    """
    limits: RollupParams = staticcall Rollup(rollup).params()
    longest_s: uint256 = limits.challenge_window_s + limits.force_delay_s + limits.seat_idle_s
    assert exodus_after_s > longest_s, "PARAMS: exodus_after_s within window + force_delay + seat_idle"
    assert reseat_s > 0, "PARAMS: reseat_s is zero"
    assert register_s > 0, "PARAMS: register_s is zero"
    ROLLUP = Rollup(rollup)
    WINDOW_S = limits.challenge_window_s
    EXODUS_AFTER_S = exodus_after_s
    RESEAT_S = reseat_s
    REGISTER_S = register_s


# ----------------------------------------------------------------------------------------------------------------- freeze


@internal
@view
def _is_unserved() -> bool:
    """
    @notice Whether the oldest unconsumed message has waited too long. What waits before the first operator sat counts from
            then: admin messages are older than the opening.
    """
    cursor: uint256 = batch_header.inbox_cursor(staticcall ROLLUP.head_position())
    since: uint256 = (staticcall ROLLUP.tenure(1)).taken_at
    if since == 0 or cursor >= staticcall ROLLUP.inbox_count():
        return False
    return max(since, staticcall ROLLUP.inbox_time_s(cursor)) + EXODUS_AFTER_S < block.timestamp


@internal
@view
def _is_abandoned() -> bool:
    since: uint256 = staticcall ROLLUP.vacant_since()
    return since > 0 and staticcall ROLLUP.seat_holder() == empty(address) and since + RESEAT_S < block.timestamp


@external
@view
def is_due() -> bool:
    """
    @return Whether `freeze` would succeed.
    """
    return staticcall ROLLUP.frozen_at() == 0 and (self._is_unserved() or self._is_abandoned())


@external
def freeze():
    """
    @notice Ends the rollup: no batch, deposit or seat any more. Anyone may call.
    """
    assert self._is_unserved() or self._is_abandoned(), "NOT_DUE: messages are served and the seat is filled in time"
    extcall ROLLUP.freeze()


@internal
@view
def _settled_at() -> uint256:
    """@return from when on the head cannot be dropped: every batch's window has passed."""
    frozen_at: uint256 = staticcall ROLLUP.frozen_at()
    assert frozen_at != 0, "NOT_FROZEN: the rollup lives"
    settled_at: uint256 = frozen_at + WINDOW_S
    assert block.timestamp >= settled_at, "NOT_SETTLED: fraud proofs are open until the last batch's window has passed"
    return settled_at


@external
@view
def phases() -> (uint256, uint256):
    """
    @return L1 times at which registration begins, and at which it ends and claims begin; zero while the rollup lives.
    """
    frozen_at: uint256 = staticcall ROLLUP.frozen_at()
    if frozen_at == 0:
        return 0, 0
    return frozen_at + WINDOW_S, frozen_at + WINDOW_S + REGISTER_S


# --------------------------------------------------------------------------------------------------------------- accounts


@external
def register(header: batch_header.BatchHeader, account: uint256, witness_data: Bytes[WITNESS_BYTES_MAX]):
    """
    @notice Enters an account's equity for its owner. Anyone may call, for anyone.
    @param header the head's
    @param account its L2 id
    @param witness_data the `G` leaf, the account and the boards of its markets, as node/stf/witness.py encodes them
    """
    assert block.timestamp < self._settled_at() + REGISTER_S, "TOO_LATE: registration has ended"
    # a greater number would be another name for the same leaf
    assert account <= params.ACCOUNTS_MAX, "ACCOUNT: ids have 32 bits"
    assert self.share_of[account].owner == empty(address), "REGISTERED: already"
    number: uint256 = staticcall ROLLUP.head_number()
    assert header.number == number, "HEADER: not the head"
    assert batch_header.header_hash(header) == staticcall ROLLUP.header_hash(number), "HEADER: not the stored one"

    cursor: uint256 = witness.load(witness.calldata_argument(WITNESS_HEAD))
    state.begin_chunk()
    equity: int256 = margin.health(account).equity
    owner: uint256 = 0
    if equity > 0:
        owner = state.get_key(account, 0).address
    pool: uint256 = state.deposits - state.withdrawn
    # nothing that was read counts before this
    root: bytes32 = witness.verify(cursor, header.post_root)
    assert root == header.post_root, "BAD_WITNESS: reading changed the state"
    assert equity > 0 and owner != 0, "NO_EQUITY: nothing to register"

    amount: uint256 = convert(equity, uint256)
    payee: address = convert(owner, address)
    self.share_of[account] = Share(owner=payee, equity=amount, claimed=False)
    self.registered += amount
    self.pool = pool
    log Registered(account=account, owner=payee, equity=amount)


@external
@nonreentrant
def claim(account: uint256):
    """
    @notice Pays a registered account's owner, after the registration period. Anyone may call.
    """
    assert block.timestamp >= self._settled_at() + REGISTER_S, "TOO_EARLY: registration is open"
    share: Share = self.share_of[account]
    assert share.owner != empty(address), "NOT_REGISTERED"
    assert not share.claimed, "CLAIMED: already"
    self.share_of[account].claimed = True
    amount: uint256 = share.equity * min(self.pool, self.registered) // self.registered
    log Claimed(account=account, owner=share.owner, amount=amount)
    extcall ROLLUP.pay_out(share.owner, amount)


# --------------------------------------------------------------------------------------------------------------- deposits


@external
@nonreentrant
def refund(number: uint256, message: Bytes[DEPOSIT_BYTES]):
    """
    @notice Pays a deposit that the head has not consumed back to its depositor. Anyone may call.
    @param number of the inbox message
    @param message its bytes, from the event that announced it
    """
    self._settled_at()
    cursor: uint256 = batch_header.inbox_cursor(staticcall ROLLUP.head_position())
    assert number >= cursor, "CONSUMED: L2 has credited this deposit"
    mask: uint256 = 1 << (number % 256)
    assert self.refunded[number // 256] & mask == 0, "REFUNDED: already"
    running: bytes32 = keccak256(concat(staticcall ROLLUP.inbox_hash_at(number), keccak256(message)))
    assert running == staticcall ROLLUP.inbox_hash_at(number + 1), "MESSAGE: not the inbox's"
    assert len(message) == DEPOSIT_BYTES and convert(slice(message, 0, 1), uint256) == KIND_DEPOSIT, "MESSAGE: no deposit"
    self.refunded[number // 256] |= mask
    depositor: address = convert(convert(slice(message, 1, 20), uint160), address)
    amount: uint256 = convert(slice(message, 53, 8), uint256)
    log Refunded(number=number, depositor=depositor, amount=amount)
    extcall ROLLUP.pay_out(depositor, amount)


@external
@view
def is_refunded(number: uint256) -> bool:
    return (self.refunded[number // 256] >> (number % 256)) & 1 == 1


@external
@view
def timings() -> (uint256, uint256, uint256):
    """
    @return exodus_after_s, reseat_s, register_s.
    """
    return EXODUS_AFTER_S, RESEAT_S, REGISTER_S
