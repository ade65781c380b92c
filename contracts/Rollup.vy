# pragma version 0.4.3
"""
@title Rollup: custody, inbox, batches, finality, withdrawals
@license Apache-2.0
@notice Anchors Anchorline's L2. A batch's commitments are computed here from the posted bytes, so what can be proven is
        what was posted. Finality is a function of time alone: a batch is final once `challenge_window_s` has passed since
        its posting and nobody proved it wrong; `finalize` only writes that down.

        Invariants
        - head's header is stored; headers[n].parent = hash of headers[n-1] for every n <= head; headers beyond head are dead.
        - posted_at, L2 time, block number and transaction position rise with the batch number; the inbox cursor never falls.
        - no batch whose window has passed can be dropped; every batch <= finalized has passed its window.
        - tokens held >= custody + reserved (vault.vy).
@dev Storage written by a posting: header hash, head number, head position, and one anchor notice in the inbox.
     Numbers refer to contracts/README.md. Modules hold the parts; this file orders the checks.
"""
from ethereum.ercs import IERC20
from interfaces import IERC20Permit
from interfaces import IRollup

import batch_header
import governance
import inbox
import merkle_list
import seat
import vault
from stf import path

implements: IRollup

initializes: inbox
initializes: vault
initializes: seat[vault := vault]
initializes: governance[inbox := inbox]

CHUNK_BYTES_MAX: constant(uint256) = 24_000
BATCH_BYTES_MAX: constant(uint256) = 65_536
CHUNKS_PER_BATCH_MAX: constant(uint256) = 256
# what the rules answer for an INVALID chunk: posting it is refused, so posting such a chunk at all is provable
INVALID_ROOT: constant(bytes32) = 0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
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


event VerifierSet:
    verifier: indexed(address)


event Opened: pass


event BatchPosted:
    number: indexed(uint256)
    header_hash: indexed(bytes32)
    header: batch_header.BatchHeader


event BatchesDropped:
    first: indexed(uint256)
    head: uint256
    prover: address


event BatchFinalized:
    number: indexed(uint256)


event Withdrawn:
    id: indexed(uint256)
    payee: indexed(address)
    amount: uint256


event ClaimTransferred:
    id: indexed(uint256)
    recipient: indexed(address)
    to: address
    amount: uint256


DEPLOYER: immutable(address)
CHALLENGE_WINDOW_S: immutable(uint256)
SEAT_IDLE_S: immutable(uint256)
FORCE_DELAY_S: immutable(uint256)
FORCE_FEE: immutable(uint256)
DEPOSIT_MIN: immutable(uint256)
L2_CHAIN_ID: immutable(uint256)

verifier: public(address)
head_number: public(uint256)
# word 0 of the head's globals: time, block, transaction position, inbox cursor
head_position: public(uint256)
finalized_number: public(uint256)
headers: HashMap[uint256, bytes32]
paid: HashMap[uint256, uint256]
claim_owners: HashMap[bytes32, address]


@deploy
def __init__(token: address, admin: address, params: Params):
    assert params.challenge_window_s > 0, "PARAMS: challenge_window_s is zero"
    assert params.force_delay_s > 0, "PARAMS: force_delay_s is zero"
    assert params.seat_idle_s > params.force_delay_s, "PARAMS: seat_idle_s must exceed force_delay_s"
    assert params.timelock_s > params.challenge_window_s + params.force_delay_s, "PARAMS: timelock_s too short"
    assert params.deposit_min > 0 and params.deposit_min <= DEPOSIT_MAX, "PARAMS: deposit_min out of range"
    assert params.genesis_root != empty(bytes32), "PARAMS: genesis_root is zero"
    vault.__init__(token)
    seat.__init__(params.bond_min, params.bond_delay_s)
    governance.__init__(admin, params.timelock_s)
    DEPLOYER = msg.sender
    CHALLENGE_WINDOW_S = params.challenge_window_s
    SEAT_IDLE_S = params.seat_idle_s
    FORCE_DELAY_S = params.force_delay_s
    FORCE_FEE = params.force_fee
    DEPOSIT_MIN = params.deposit_min
    L2_CHAIN_ID = params.l2_chain_id
    genesis: batch_header.BatchHeader = batch_header.genesis(params.genesis_root, params.genesis_globals)
    self.headers[0] = batch_header.header_hash(genesis)
    self.head_position = params.genesis_globals[0]


# ------------------------------------------------------------------------------------------------ setup and governance


@external
def set_verifier(verifier: address):
    """
    @notice Once, by the deployer: the two contracts know each other, and nobody can change it later.
    """
    assert msg.sender == DEPLOYER, "NOT_DEPLOYER"
    assert self.verifier == empty(address), "VERIFIER_SET: it cannot change"
    assert verifier.is_contract, "VERIFIER: not a contract"
    self.verifier = verifier
    log VerifierSet(verifier=verifier)


@external
def open():
    """
    @notice Ends the setup: deposits and batches start, admin messages need the timelock from here on.
    """
    governance.check_admin()
    assert not governance.is_open, "OPEN: already"
    assert self.verifier != empty(address), "VERIFIER: call set_verifier first"
    governance.is_open = True
    log Opened()


@external
def enqueue_admin(sub_kind: uint8, body: Bytes[governance.ADMIN_BODY_BYTES_MAX]):
    governance.enqueue_now(sub_kind, body)


@external
def propose_admin(sub_kind: uint8, body: Bytes[governance.ADMIN_BODY_BYTES_MAX]):
    governance.propose(sub_kind, body)


@external
def execute_admin(sub_kind: uint8, body: Bytes[governance.ADMIN_BODY_BYTES_MAX]):
    governance.execute(sub_kind, body)


@external
def cancel_admin(proposal: bytes32):
    governance.cancel(proposal)


@external
def offer_admin(candidate: address):
    governance.offer(candidate)


@external
def accept_admin():
    governance.accept()


# --------------------------------------------------------------------------------------------------- messages from users


@internal
def _deposit(account: uint32, owner: address, amount: uint256):
    assert governance.is_open, "NOT_OPEN: wait until the admin opens the rollup"
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
    assert governance.is_open, "NOT_OPEN: wait until the admin opens the rollup"
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
    assert governance.is_open, "NOT_OPEN: wait until the admin opens the rollup"
    seat.take(msg.sender, amount)


@external
def leave_seat():
    assert msg.sender == seat.holder, "NOT_SEAT: only the holder leaves"
    seat.vacate(self.head_number)


@external
def evict():
    """
    @notice Anyone empties the seat of a holder that, seated for `seat_idle_s`, leaves a message unconsumed for as long, in
            L1 time. Every posting enqueues a notice, so a silent holder qualifies, and so does one that posts but lets
            L2 time crawl to dodge forced inclusion. The bond is not slashed.
    """
    assert seat.holder != empty(address), "SEAT_EMPTY"
    assert seat.taken_at + SEAT_IDLE_S < block.timestamp, "NOT_IDLE: a new holder has time to catch up"
    cursor: uint256 = batch_header.inbox_cursor(self.head_position)
    assert cursor < inbox.count, "NOT_IDLE: every message is consumed"
    assert inbox.time_s_of(cursor) + SEAT_IDLE_S < block.timestamp, "NOT_IDLE: the oldest message is younger"
    seat.vacate(self.head_number)


@external
@nonreentrant
def release_bond():
    seat.release(msg.sender, self.head_number, self.finalized_number)


@external
@nonreentrant
def claim_reward():
    seat.claim_reward(msg.sender)


# ---------------------------------------------------------------------------------------------------------------- batches


@internal
@view
def _check_poster():
    """
    @dev Watchers read chunks from transaction input. A direct call from an account without code (EIP-7702 included) is
         always the transaction itself.
    """
    assert msg.sender == seat.holder, "NOT_SEAT: call take_seat first"
    assert msg.sender == tx.origin and not msg.sender.is_contract, "POSTER: must be a plain account, no code"


@internal
@view
def _check_position(position: uint256, cursor: uint256, cursor_hash: bytes32):
    """
    @dev What the batch says about time, order and inbox, against the head and L1.
    """
    head: uint256 = self.head_position
    head_cursor: uint256 = batch_header.inbox_cursor(head)
    time_ms: uint256 = batch_header.l2_time_ms(position)
    assert time_ms <= block.timestamp * 1000, "L2_TIME: ahead of L1"
    assert time_ms > batch_header.l2_time_ms(head), "L2_TIME: not after the head"
    assert batch_header.block_number(position) > batch_header.block_number(head), "L2_BLOCK: not after the head"
    assert batch_header.tx_position(position) > batch_header.tx_position(head), "TX_POSITION: not after the head"
    assert batch_header.inbox_cursor(position) == cursor, "INBOX_CURSOR: differs from globals"
    assert cursor >= head_cursor, "INBOX_CURSOR: before the head"
    assert inbox.hash_at(cursor) == cursor_hash, "INBOX_HASH: inbox changed, derive again from L1"
    assert not inbox.is_overdue(cursor, head_cursor, time_ms, FORCE_DELAY_S), "FORCED_OVERDUE: consume older messages"


@internal
@view
def _check_canonical(count: uint256, chunk_bytes: uint256):
    """
    @dev The arguments' dynamic parts stand where the plain encoder puts them, and nothing else is in the calldata. A
         watcher that reads fixed places then reads exactly the bytes that are hashed here.
    """
    lengths_at: uint256 = 13 * 32
    roots_at: uint256 = lengths_at + 32 * (count + 1)
    chunks_at: uint256 = roots_at + 32 * (count + 1)
    end: uint256 = 4 + chunks_at + 32 + (chunk_bytes + 31) // 32 * 32
    assert convert(slice(msg.data, 324, 32), uint256) == lengths_at, "CALLDATA: not canonical"
    assert convert(slice(msg.data, 356, 32), uint256) == roots_at, "CALLDATA: not canonical"
    assert convert(slice(msg.data, 388, 32), uint256) == chunks_at, "CALLDATA: not canonical"
    assert len(msg.data) == end, "CALLDATA: not canonical"


@external
def post_batch(
    number: uint256,
    parent: bytes32,
    inbox_cursor: uint256,
    inbox_hash: bytes32,
    globals: uint256[6],
    lengths: DynArray[uint256, CHUNKS_PER_BATCH_MAX],
    roots: DynArray[bytes32, CHUNKS_PER_BATCH_MAX],
    chunks: Bytes[BATCH_BYTES_MAX],
):
    """
    @notice Anchors a run of whole L2 blocks. Reverts only for causes that an honest, synced operator cannot meet.
    @param number head + 1; with `parent` (hash of the head's header) this makes an L1 reorg revert, never mis-anchor
    @param inbox_hash the running hash after `inbox_cursor` messages
    @param globals mirror of the `G` leaf's words under the last root
    @param lengths bytes of each chunk, 1 to 24,000
    @param roots state root claimed after each chunk
    @param chunks all chunks, concatenated
    """
    self._check_poster()
    assert number == self.head_number + 1 and parent == self.headers[number - 1], "PARENT: not the head, derive again"
    self._check_position(globals[0], inbox_cursor, inbox_hash)
    count: uint256 = len(lengths)
    assert count > 0 and count == len(roots), "CHUNKS: one length and one root each, at least one"
    self._check_canonical(count, len(chunks))

    # memory costs by the highest address touched: slice's buffer is as large as `chunks`, so it must come last in this
    # frame, and everything else happens in callees, whose frames are below
    leaves: DynArray[bytes32, CHUNKS_PER_BATCH_MAX] = []
    start: uint256 = 0
    length: uint256 = 0
    chunk_hash: bytes32 = empty(bytes32)
    for i: uint256 in range(count, bound=CHUNKS_PER_BATCH_MAX):
        length = lengths[i]
        self._check_chunk(length, roots[i])
        chunk_hash = keccak256(slice(chunks, start, length))
        leaves.append(merkle_list.chunk_leaf(i, chunk_hash, roots[i]))
        start += length
    assert start == len(chunks), "CHUNKS: lengths do not add up"
    self._append(number, parent, inbox_cursor, inbox_hash, count, merkle_list.list_root(leaves), roots[count - 1], globals)


@internal
@pure
def _check_chunk(length: uint256, root: bytes32):
    assert length > 0 and length <= CHUNK_BYTES_MAX, "CHUNK_BYTES: outside 1 to 24,000"
    assert root != empty(bytes32) and root != INVALID_ROOT, "POST_ROOT: not a state root"


@internal
def _append(
    number: uint256,
    parent: bytes32,
    inbox_cursor: uint256,
    inbox_hash: bytes32,
    chunk_count: uint256,
    chunks_root: bytes32,
    post_root: bytes32,
    globals: uint256[6],
):
    header: batch_header.BatchHeader = batch_header.BatchHeader(
        number=number,
        parent=parent,
        rules=batch_header.RULES_VERSION,
        inbox_cursor=inbox_cursor,
        inbox_hash=inbox_hash,
        chunk_count=chunk_count,
        chunks_root=chunks_root,
        post_root=post_root,
        globals=globals,
        posted_at=block.timestamp,
        poster=msg.sender,
    )
    header_hash: bytes32 = batch_header.header_hash(header)
    self.headers[header.number] = header_hash
    self.head_number = header.number
    self.head_position = header.globals[0]
    log BatchPosted(number=header.number, header_hash=header_hash, header=header)
    inbox.enqueue_notice(inbox.KIND_ANCHOR, header.number, batch_header.l2_time_ms(header.globals[0]))


@internal
@view
def _check_stored(header: batch_header.BatchHeader):
    assert header.number <= self.head_number, "HEADER: beyond the head"
    assert batch_header.header_hash(header) == self.headers[header.number], "HEADER: not the stored one"


@internal
@view
def _is_final(header: batch_header.BatchHeader) -> bool:
    return block.timestamp >= header.posted_at + CHALLENGE_WINDOW_S


@external
def drop(header: batch_header.BatchHeader, survivor: batch_header.BatchHeader, prover: address):
    """
    @notice Proven fraud: `header` and all later batches are gone, `survivor` is the head, the poster's bond is slashed and
            the seat is free. Moves no token and has no condition that anyone could spoil.
    """
    assert msg.sender == self.verifier, "NOT_VERIFIER"
    self._check_stored(header)
    assert header.number > 0 and not self._is_final(header), "FINAL: the challenge window has passed"
    assert batch_header.header_hash(survivor) == header.parent, "SURVIVOR: not the parent"
    self.head_number = survivor.number
    self.head_position = survivor.globals[0]
    seat.vacate(survivor.number)
    seat.slash(header.poster, prover)
    log BatchesDropped(first=header.number, head=survivor.number, prover=prover)
    inbox.enqueue_notice(inbox.KIND_ROLLBACK, header.number, batch_header.l2_time_ms(survivor.globals[0]))


@internal
def _finalize(header: batch_header.BatchHeader):
    self._check_stored(header)
    assert self._is_final(header), "NOT_FINAL: the challenge window is open"
    if header.number > self.finalized_number:
        self.finalized_number = header.number
        log BatchFinalized(number=header.number)


@external
def finalize(header: batch_header.BatchHeader):
    """
    @notice Anyone records that a batch, and all before it, is final. Nothing can stop it.
    """
    self._finalize(header)


# ------------------------------------------------------------------------------------------------------------ withdrawals


@internal
@pure
def _claim_key(id: uint256, recipient: address, amount: uint256) -> bytes32:
    return keccak256(abi_encode(id, recipient, amount))


@internal
@view
def _payee(key: bytes32, recipient: address) -> address:
    owner: address = self.claim_owners[key]
    return recipient if owner == empty(address) else owner


@external
@nonreentrant
def withdraw(
    header: batch_header.BatchHeader,
    id: uint256,
    recipient: address,
    amount: uint256,
    bits: Bytes[path.MAX_PATH],
    siblings: DynArray[bytes32, path.MAX_PATH],
):
    """
    @notice Pays withdrawal `id`, once, proven by the path of its `W` leaf under a final batch's root. Anyone may call.
    @param bits branch bit of each sibling, from the leaf up
    """
    self._finalize(header)
    assert amount <= batch_header.UINT64_MASK and id <= batch_header.UINT64_MASK, "WITHDRAWAL: out of range"
    mask: uint256 = 1 << (id % 256)
    assert self.paid[id // 256] & mask == 0, "PAID: this withdrawal was paid"
    word: uint256 = convert(recipient, uint256) << 64 | amount
    key: bytes32 = convert((convert(b"W", uint256) << 248) | (id << 184), bytes32)
    root: bytes32 = path.fold_path(key, keccak256(convert(word, bytes32)), bits, siblings)
    assert root == header.post_root, "PROOF: not a leaf of this batch's state"
    self.paid[id // 256] |= mask
    vault.custody -= amount
    payee: address = self._payee(self._claim_key(id, recipient, amount), recipient)
    log Withdrawn(id=id, payee=payee, amount=amount)
    vault.pay(payee, amount)


@external
def transfer_claim(id: uint256, recipient: address, amount: uint256, to: address):
    """
    @notice The present owner of a withdrawal (first: its recipient) makes it payable to `to`, before it is paid or even
            final, so that a liquidity provider that runs a verifier can pay at once. Bound to id, recipient and amount.
    """
    assert to != empty(address), "TO: zero address"
    key: bytes32 = self._claim_key(id, recipient, amount)
    assert msg.sender == self._payee(key, recipient), "NOT_OWNER: of this claim"
    self.claim_owners[key] = to
    log ClaimTransferred(id=id, recipient=recipient, to=to, amount=amount)


# ------------------------------------------------------------------------------------------------------------------ views


@external
@view
def header_hash(number: uint256) -> bytes32:
    """
    @return The batch's header hash; zero for dropped or future numbers.
    """
    return self.headers[number] if number <= self.head_number else empty(bytes32)


@external
@view
def is_final(header: batch_header.BatchHeader) -> bool:
    self._check_stored(header)
    return self._is_final(header)


@external
@view
def inbox_count() -> uint256:
    return inbox.count


@external
@view
def inbox_hash_at(number: uint256) -> bytes32:
    return inbox.hash_at(number)


@external
@view
def inbox_time_s(number: uint256) -> uint256:
    """
    @return L1 time of message `number` (0-based), zero when there is none.
    """
    return inbox.time_s_of(number)


@external
@view
def is_paid(id: uint256) -> bool:
    return (self.paid[id // 256] >> (id % 256)) & 1 == 1


@external
@view
def claim_owner(id: uint256, recipient: address, amount: uint256) -> address:
    return self._payee(self._claim_key(id, recipient, amount), recipient)


@external
@view
def seat_holder() -> address:
    return seat.holder


@external
@view
def seat_epoch() -> uint256:
    return seat.epoch


@external
@view
def bond_of(operator: address) -> seat.Bond:
    return seat.bonds[operator]


@external
@view
def reward_of(prover: address) -> uint256:
    return seat.rewards[prover]


@external
@view
def victims_pot() -> uint256:
    return seat.victims_pot


@external
@view
def burned() -> uint256:
    return seat.burned


@external
@view
def custody() -> uint256:
    return vault.custody


@external
@view
def reserved() -> uint256:
    return vault.reserved


@external
@view
def token() -> address:
    return vault.TOKEN


@external
@view
def admin() -> address:
    return governance.admin


@external
@view
def is_open() -> bool:
    return governance.is_open


@external
@view
def proposal_executable_at(proposal: bytes32) -> uint256:
    return governance.executable_at[proposal]


@external
@view
def params() -> Params:
    """
    @return The constructor's parameters, genesis fields empty: genesis is `header_hash(0)`.
    """
    return Params(
        challenge_window_s=CHALLENGE_WINDOW_S,
        bond_min=seat.BOND_MIN,
        bond_delay_s=seat.BOND_DELAY_S,
        seat_idle_s=SEAT_IDLE_S,
        force_delay_s=FORCE_DELAY_S,
        force_fee=FORCE_FEE,
        deposit_min=DEPOSIT_MIN,
        timelock_s=governance.TIMELOCK_S,
        l2_chain_id=L2_CHAIN_ID,
        genesis_root=empty(bytes32),
        genesis_globals=empty(uint256[6]),
    )
