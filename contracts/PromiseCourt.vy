# pragma version 0.4.3
# pragma optimize codesize
"""
@title  PromiseCourt: the sequencer's promises bind, and whom a broken one harmed is paid
@author Anchorline contributors
@license Apache-2.0
@notice A promise (node/derive/promises.py) says which transactions stand at which positions, in one tenure of the seat:

            leaf = keccak(0x00 ‖ position:8 ‖ keccak(transaction)), root = Merkle list of them (merkle_list.vy)
            signature over keccak(0x1901 ‖ domain ‖ struct hash of PROMISE_HASH)

        prove_conflict      a posted batch of the tenure has another transaction at a promised position: slash
        prove_equivocation  two promises of the tenure name different transactions for one position: slash
        prove_late          not posted by `time` + promise_deadline_s, or the seat given up before: seat and a tenth of the bond
        claim, pay, burn    victims of a slash share its pot (a tenth of the bond) after `claim_s`; what nobody claims burns

        Invariants
        - A promise is judged by its own tenure's batches only, and only by batches that stand. Whoever lost the seat to a
          rollback or the freeze owes nothing for what it could not post; whoever takes it anew has a new epoch. So an
          operator that never signs two orders in one epoch, and posts in time what it promised, cannot be punished.
        - One tenure is slashed at most once here and fined at most once: a proof that is shown again finds that done.
@dev The position of a chunk's first transaction is proven by the `G` leaf under the root before it; from there the contract walks
     the posted bytes, transaction by transaction, with the decoder of the rules (stf/encoding.vy).
"""
import batch_header
import merkle_list
from stf import encoding
from stf import params
from stf import path
from stf import types

initializes: encoding


interface Rollup:
    def slash_promise(epoch: uint256, position: uint256, prover: address): nonpayable
    def fine_promise(epoch: uint256): nonpayable
    def pay_victim(to: address, amount: uint256): nonpayable
    def head_position() -> uint256: view
    def header_hash(number: uint256) -> bytes32: view
    def tenure(epoch: uint256) -> Tenure: view
    def slash_at(number: uint256) -> Slash: view
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


struct Slash:
    operator: address
    pot: uint256
    position: uint256
    posted_at: uint256
    at: uint256


struct Promise:
    # positions first to first + count - 1 hold the transactions under root; time in ms
    epoch: uint256
    first_position: uint256
    count: uint256
    time: uint256
    previous: bytes32
    root: bytes32
    # the operator's signature; v is 0 or 1
    r: uint256
    s: uint256
    v: uint256


struct Entry:
    # one transaction of a promised group
    position: uint256
    tx_hash: bytes32
    siblings: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX]


struct Place:
    # a chunk of a batch, as posted: its place, and the chunk before it (empty for a batch's first one)
    index: uint256
    post_root: bytes32
    proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX]
    before_hash: bytes32
    before_root: bytes32
    before_proof: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX]


event SignerAuthorized:
    operator: indexed(address)
    signer: indexed(address)


event PromiseBroken:
    epoch: indexed(uint256)
    position: indexed(uint256)
    prover: indexed(address)


event PromiseLate:
    epoch: indexed(uint256)
    position: uint256
    prover: indexed(address)


event HarmClaimed:
    slash: indexed(uint256)
    victim: indexed(address)
    position: uint256


event HarmPaid:
    slash: indexed(uint256)
    victim: indexed(address)
    amount: uint256


PROMISE_HASH: constant(bytes32) = keccak256(
    "Promise(uint64 epoch,uint64 firstPosition,uint64 count,uint64 time,bytes32 previous,bytes32 root)"
)
GLOBAL_KEY: constant(bytes32) = 0x4700000000000000000000000000000000000000000000000000000000000000
CHUNK_BYTES_MAX: constant(uint256) = 24_000
TX_BYTES_MAX: constant(uint256) = 4_096
# heads of the arguments that are read in place: promise 9 words, entry 1, header 16, parent 16, place 1
CHUNK_HEAD: constant(uint256) = 43
CLAIM_HEAD: constant(uint256) = 12
# any time that a valid chunk can name stays inside 64 bits from here, in both directions
FAR_BASE: constant(uint256) = 2**62

ROLLUP: immutable(Rollup)
DOMAIN: immutable(bytes32)
DEADLINE_S: immutable(uint256)
CLAIM_S: immutable(uint256)

# operator → keys that promise for it: for ever, since a promise must not lose its signer
signers: HashMap[address, HashMap[address, bool]]
# by epoch
slashed: public(HashMap[uint256, bool])
fined: public(HashMap[uint256, bool])
# by slash
claims_of: public(HashMap[uint256, HashMap[address, uint256]])
claims_total: public(HashMap[uint256, uint256])
is_burned: public(HashMap[uint256, bool])
used: HashMap[bytes32, bool]


@deploy
def __init__(rollup: address, promise_deadline_s: uint256, claim_s: uint256):
    """
    @param promise_deadline_s L1 time in which a promised transaction must be posted; at most the rollup's bond_delay_s
    @param claim_s how long victims of a slash can come forward
    """
    assert promise_deadline_s > 0, "PARAMS: promise_deadline_s is zero"
    assert claim_s > 0, "PARAMS: claim_s is zero"
    timing: RollupParams = staticcall Rollup(rollup).params()
    # a bond that can leave before a promise is late answers for nothing
    assert timing.bond_delay_s >= promise_deadline_s, "PARAMS: bond_delay_s too short"
    ROLLUP = Rollup(rollup)
    DOMAIN = encoding.domain_separator(timing.l2_chain_id, convert(rollup, uint256))
    DEADLINE_S = promise_deadline_s
    CLAIM_S = claim_s


# --------------------------------------------------------------------------------------------------------------- promises


@external
def authorize_signer(signer: address):
    """
    @notice The caller answers with its bond for what this key promises, for ever: so the key that posts need not be the one
            that signs all day. An operator's own key always counts.
    """
    assert signer != empty(address), "SIGNER: zero address"
    self.signers[msg.sender][signer] = True
    log SignerAuthorized(operator=msg.sender, signer=signer)


@internal
@view
def _may_sign(operator: address, signer: address) -> bool:
    return signer == operator or self.signers[operator][signer]


@external
@view
def may_sign(operator: address, signer: address) -> bool:
    """
    @return Whether this key's promises bind the operator's bond.
    """
    return self._may_sign(operator, signer)


@internal
@view
def _check_promise(promise: Promise) -> Tenure:
    """
    @notice The operator of the promise's epoch has signed it.
    """
    tenure: Tenure = staticcall ROLLUP.tenure(promise.epoch)
    assert tenure.operator != empty(address), "EPOCH: nobody has sat in it"
    assert promise.count > 0 and promise.count <= merkle_list.CHUNKS_PER_BATCH_MAX, "PROMISE: 1 to 256 transactions"
    assert promise.first_position <= params.U64_MAX and promise.time <= params.U64_MAX, "PROMISE: out of range"
    assert promise.v < 2 and promise.s < 2**255, "SIGNATURE: r, s, v with v 0 or 1"
    struct_hash: bytes32 = keccak256(
        abi_encode(
            PROMISE_HASH,
            promise.epoch,
            promise.first_position,
            promise.count,
            promise.time,
            promise.previous,
            promise.root,
        )
    )
    digest: bytes32 = keccak256(concat(b"\x19\x01", DOMAIN, struct_hash))
    signer: uint256 = encoding.recover(digest, promise.r, promise.v << 255 | promise.s)
    known: bool = self._may_sign(tenure.operator, convert(signer, address))
    assert signer != 0 and known, "SIGNATURE: nobody's who promises for the operator of this epoch"
    return tenure


@internal
@pure
def _check_entry(promise: Promise, entry: Entry):
    """
    @notice The group has this transaction at this position.
    """
    assert entry.position >= promise.first_position, "ENTRY: before the group"
    index: uint256 = entry.position - promise.first_position
    position: bytes8 = convert(convert(entry.position, uint64), bytes8)
    leaf: bytes32 = keccak256(concat(b"\x00", position, entry.tx_hash))
    in_group: bool = merkle_list.list_verify(index, promise.count, leaf, entry.siblings, promise.root)
    assert in_group, "ENTRY: not in the promised group"


@internal
def _slash(epoch: uint256, position: uint256):
    assert not self.slashed[epoch], "SLASHED: this tenure already"
    self.slashed[epoch] = True
    log PromiseBroken(epoch=epoch, position=position, prover=msg.sender)
    extcall ROLLUP.slash_promise(epoch, position, msg.sender)


@external
def prove_equivocation(one: Promise, in_one: Entry, other: Promise, in_other: Entry):
    """
    @notice Slashes an operator that promised one position to two transactions in one tenure. The caller is the prover.
    """
    assert one.epoch == other.epoch, "EPOCH: promises of two tenures do not contradict each other"
    assert in_one.position == in_other.position, "POSITION: of two positions"
    assert in_one.tx_hash != in_other.tx_hash, "NO_CONFLICT: both promise the same transaction"
    self._check_promise(one)
    self._check_entry(one, in_one)
    self._check_promise(other)
    self._check_entry(other, in_other)
    self._slash(one.epoch, in_one.position)


# ----------------------------------------------------------------------------------------------------------- posted order


@internal
@view
def _check_batch(tenure: Tenure, header: batch_header.BatchHeader, parent: batch_header.BatchHeader):
    """
    @notice The batch stands, and was posted in this tenure.
    """
    stored: bytes32 = staticcall ROLLUP.header_hash(header.number)
    assert batch_header.header_hash(header) == stored, "HEADER: not the stored one"
    assert batch_header.header_hash(parent) == header.parent, "PARENT: not the header's"
    assert header.poster == tenure.operator and header.posted_at >= tenure.taken_at, "TENURE: not its batch"
    assert tenure.left_at == 0 or header.posted_at <= tenure.left_at, "TENURE: not its batch"


@internal
@pure
def _check_chunk(header: batch_header.BatchHeader, parent: batch_header.BatchHeader, place: Place, chunk_hash: bytes32) -> bytes32:
    """@return the root that the chunk starts from."""
    leaf: bytes32 = merkle_list.chunk_leaf(place.index, chunk_hash, place.post_root)
    in_list: bool = merkle_list.list_verify(place.index, header.chunk_count, leaf, place.proof, header.chunks_root)
    assert in_list, "CHUNK: not in the batch's list"
    if place.index == 0:
        return parent.post_root
    leaf = merkle_list.chunk_leaf(place.index - 1, place.before_hash, place.before_root)
    in_list = merkle_list.list_verify(
        place.index - 1, header.chunk_count, leaf, place.before_proof, header.chunks_root
    )
    assert in_list, "BEFORE: not in the batch's list"
    return place.before_root


@internal
@view
def _skip(start: uint256) -> uint256:
    """@return where the transaction that starts at this position of msg.data ends; BAD if it is malformed."""
    kind: uint256 = 0
    number: uint256 = 0
    count: uint256 = 0
    action: types.Action = empty(types.Action)
    pos: uint256 = start
    kind, pos = encoding.read_byte(pos)
    if kind == types.INBOX:
        return pos
    if kind == types.ORACLE_PRICE:
        number, pos = encoding.read_byte(pos)
        count, pos = encoding.read_byte(pos)
        for _: uint256 in range(1 + 2 * min(count, params.PRICES_MAX), bound=17):
            number, pos = encoding.read_varint(pos)
        return self._skip_fixed(pos, 64)
    # all others begin with a number: a market, an account, or a block's step
    number, pos = encoding.read_varint(pos)
    if kind == types.BLOCK or kind == types.RESUME:
        return pos
    if kind == types.LIQUIDATE or kind == types.SETTLE:
        number, pos = encoding.read_varint(pos)
        return pos
    if kind == types.SWEEP or kind == types.TRIGGER_FIRE:
        number, pos = encoding.read_byte(pos)
        return pos
    assert kind == types.ACTIONS or kind == types.WITHDRAW or kind == types.SET_KEY, "CHUNK: no transaction stands here"
    if kind != types.WITHDRAW:
        number, pos = encoding.read_byte(pos)
    for _: uint256 in range(2):  # nonce and expiry
        count, pos = encoding.read_varint(pos)
    if kind == types.ACTIONS:
        for _: uint256 in range((number & 31) + 1, bound=32):
            action, pos = encoding.read_action(pos)
        return self._skip_fixed(pos, 64)
    pos = self._skip_fixed(pos, 20)
    number, pos = encoding.read_varint(pos)
    return self._skip_fixed(pos, 64)


@internal
@view
def _skip_fixed(start: uint256, size: uint256) -> uint256:
    end: uint256 = start + size
    return encoding.BAD if end > encoding.get_end() else end


@internal
def _find(start: uint256, size: uint256, ordinal: uint256) -> (uint256, uint256):
    """@return where in the chunk its transaction number `ordinal` begins, and its size."""
    encoding.load(start, size)
    encoding.set_base_time(FAR_BASE)
    end: uint256 = start + size
    pos: uint256 = start
    for i: uint256 in range(params.CHUNK_TXS_MAX + 1):
        assert pos < end, "POSITION: after this chunk"
        next: uint256 = self._skip(pos)
        assert next <= end, "CHUNK: malformed, prove fraud instead"
        if i == ordinal:
            return pos - start, next - pos
        pos = next
    raise "POSITION: after this chunk"


@external
def transaction_at(chunk: Bytes[CHUNK_BYTES_MAX], ordinal: uint256, behind: Bytes[32]) -> (uint256, uint256):
    """
    @notice For a look by eth_call: how this contract splits a chunk. Nothing follows from it.
    @param behind anything: keeps calldata behind the chunk, since reading is by whole words
    @return offset and size of transaction `ordinal`, from 0 on.
    """
    return self._find(convert(slice(msg.data, 4, 32), uint256) + 36, len(chunk), ordinal)


@external
def prove_conflict(
    promise: Promise,
    entry: Entry,
    header: batch_header.BatchHeader,
    parent: batch_header.BatchHeader,
    place: Place,
    chunk: Bytes[CHUNK_BYTES_MAX],
    words: uint256[6],
    bits: Bytes[path.MAX_PATH],
    siblings: DynArray[bytes32, path.MAX_PATH],
):
    """
    @notice Slashes an operator whose batch has another transaction at a promised position. The caller is the prover.
    @param header the batch's
    @param parent the header of the batch before it
    @param place where in the batch the chunk stands
    @param chunk the posted bytes, which hold the position
    @param words the `G` leaf's words under the root before the chunk: they tell the chunk's first position
    @param bits the branch bit of each sibling on its path, from the leaf up
    @param siblings likewise
    """
    # walking what no honest sequencer cuts could cost nearly a transaction's gas, and a fraud proof takes the bond as well
    assert len(chunk) <= params.CHUNK_BYTES_MAX, "CHUNK: longer than the rules allow, prove fraud instead"
    tenure: Tenure = self._check_promise(promise)
    self._check_entry(promise, entry)
    self._check_batch(tenure, header, parent)
    root: bytes32 = self._check_chunk(header, parent, place, keccak256(chunk))
    proven: bytes32 = path.fold_path(GLOBAL_KEY, keccak256(abi_encode(words)), bits, siblings)
    assert proven == root, "PROOF: not the G leaf before this chunk"
    first: uint256 = batch_header.tx_position(words[0])
    assert entry.position >= first, "POSITION: before this chunk"
    offset: uint256 = 0
    size: uint256 = 0
    start: uint256 = convert(slice(msg.data, 4 + 32 * CHUNK_HEAD, 32), uint256) + 36
    offset, size = self._find(start, len(chunk), entry.position - first)
    assert keccak256(slice(chunk, offset, size)) != entry.tx_hash, "NO_CONFLICT: the promised transaction stands there"
    self._slash(promise.epoch, entry.position)


@external
def prove_late(promise: Promise):
    """
    @notice Fines an operator, and ends its tenure, for a promise that is not posted by its deadline, or that it can no longer
            post because it gave the seat up or was evicted.
    """
    tenure: Tenure = self._check_promise(promise)
    assert not self.fined[promise.epoch], "FINED: this tenure already"
    end: uint256 = promise.first_position + promise.count
    reached: uint256 = tenure.position
    if tenure.left_at == 0:
        assert block.timestamp * 1000 > promise.time + DEADLINE_S * 1000, "NOT_LATE: the deadline has not passed"
        reached = batch_header.tx_position(staticcall ROLLUP.head_position())
    assert not tenure.excused, "EXCUSED: the tenure ended by a rollback or the freeze"
    assert reached < end, "POSTED: every promised position"
    self.fined[promise.epoch] = True
    log PromiseLate(epoch=promise.epoch, position=reached, prover=msg.sender)
    extcall ROLLUP.fine_promise(promise.epoch)


# ---------------------------------------------------------------------------------------------------------------- victims


@internal
def _signer(start: uint256, size: uint256, time_ms: uint256) -> address:
    """@return who signed the transaction at this position of msg.data, if it was executed at that L2 time."""
    encoding.load(start, size)
    encoding.set_base_time(time_ms)
    encoding.set_domain(DOMAIN)
    kind: uint256 = 0
    account: uint256 = 0
    slot: uint256 = 0
    nonce: uint256 = 0
    expiry: uint256 = 0
    key: uint256 = 0
    amount: uint256 = 0
    r: uint256 = 0
    vs: uint256 = 0
    pos: uint256 = start
    digest: bytes32 = empty(bytes32)
    listed: DynArray[types.Action, params.ACTIONS_MAX] = []
    kind, pos = encoding.read_byte(pos)
    account, pos = encoding.read_varint(pos)
    if kind != types.WITHDRAW:
        slot, pos = encoding.read_byte(pos)
    nonce, pos = encoding.read_time(pos)
    expiry, pos = encoding.read_time(pos)
    if kind == types.ACTIONS:
        listed, pos = encoding.read_actions(pos, (slot & 31) + 1)
        digest = encoding.actions_digest(account, slot >> 5, nonce, expiry, listed)
    else:
        assert kind == types.WITHDRAW or kind == types.SET_KEY, "TRANSACTION: not one that a trader signs"
        key, pos = encoding.read_fixed(pos, 20)
        amount, pos = encoding.read_varint(pos)
        if kind == types.WITHDRAW:
            digest = encoding.withdraw_digest(account, nonce, expiry, key, amount)
        else:
            digest = encoding.set_key_digest(account, nonce, expiry, slot, key, amount)
    r, pos = encoding.read_fixed(pos, 32)
    vs, pos = encoding.read_fixed(pos, 32)
    assert pos == start + size, "TRANSACTION: malformed"
    return convert(encoding.recover(digest, r, vs), address)


@external
def claim(
    slash: uint256,
    promise: Promise,
    position: uint256,
    time_ms: uint256,
    transaction: Bytes[TX_BYTES_MAX],
    siblings: DynArray[bytes32, merkle_list.LIST_DEPTH_MAX],
):
    """
    @notice Whoever signed a transaction with a promise that a slash broke claims a part of its pot: one part each.
    @dev The caller must be the signer: with another time the digest, and so the recovered address, is one that nobody has.
         A slash breaks the promises of its tenure from its position on: from there on the order is not the promised one.
    @param slash its number in Rollup
    @param position of the transaction
    @param time_ms the L2 time at which it was promised: times in it are relative to that
    @param siblings its path in the promised group
    """
    case: Slash = staticcall ROLLUP.slash_at(slash)
    assert case.at > 0, "SLASH: there is none with this number"
    assert block.timestamp < case.at + CLAIM_S, "TOO_LATE: the claim period has ended"
    tenure: Tenure = self._check_promise(promise)
    assert tenure.operator == case.operator and tenure.taken_at <= case.posted_at, "TENURE: not the slashed one"
    assert tenure.left_at == 0 or case.posted_at <= tenure.left_at, "TENURE: not the slashed one"
    assert position >= case.position, "KEPT: before the first broken position"
    tx_hash: bytes32 = keccak256(transaction)
    self._check_entry(promise, Entry(position=position, tx_hash=tx_hash, siblings=siblings))
    start: uint256 = convert(slice(msg.data, 4 + 32 * CLAIM_HEAD, 32), uint256) + 36
    assert self._signer(start, len(transaction), time_ms) == msg.sender, "SIGNER: only who signed the transaction claims"
    name: bytes32 = keccak256(abi_encode(slash, position, tx_hash))
    assert not self.used[name], "CLAIMED: already"
    self.used[name] = True
    self.claims_of[slash][msg.sender] += 1
    self.claims_total[slash] += 1
    log HarmClaimed(slash=slash, victim=msg.sender, position=position)


@internal
@view
def _ended(slash: uint256) -> Slash:
    case: Slash = staticcall ROLLUP.slash_at(slash)
    assert case.at > 0, "SLASH: there is none with this number"
    assert block.timestamp >= case.at + CLAIM_S, "TOO_EARLY: the claim period is open"
    return case


@external
@nonreentrant
def pay(slash: uint256, victim: address):
    """
    @notice Pays a victim its part of a slash's pot, after the claim period. Anyone may call.
    """
    case: Slash = self._ended(slash)
    parts: uint256 = self.claims_of[slash][victim]
    assert parts > 0, "NOTHING: no claim, or paid already"
    self.claims_of[slash][victim] = 0
    amount: uint256 = case.pot * parts // self.claims_total[slash]
    log HarmPaid(slash=slash, victim=victim, amount=amount)
    extcall ROLLUP.pay_victim(victim, amount)


@external
def burn(slash: uint256):
    """
    @notice Burns the pot of a slash that nobody has claimed in time. Anyone may call.
    """
    case: Slash = self._ended(slash)
    assert self.claims_total[slash] == 0, "CLAIMED: victims share it"
    assert not self.is_burned[slash], "BURNED: already"
    self.is_burned[slash] = True
    extcall ROLLUP.pay_victim(empty(address), case.pot)


@external
@view
def timings() -> (uint256, uint256):
    """
    @return promise_deadline_s, claim_s.
    """
    return DEADLINE_S, CLAIM_S
