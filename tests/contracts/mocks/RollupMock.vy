# pragma version 0.4.3
"""
@title  An inbox without tokens, seats or batches, for a FraudVerifier that only executes
@notice Keeps running hashes as Rollup does; anyone enqueues any bytes, so every message that the rules can meet can be tested.
"""
CHAIN_ID: immutable(uint256)


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


count: public(uint256)
inbox_hash_at: public(HashMap[uint256, bytes32])


@deploy
def __init__(chain_id: uint256):
    CHAIN_ID = chain_id


@external
def enqueue(messages: DynArray[Bytes[1053], 32]):
    for message: Bytes[1053] in messages:
        running: bytes32 = keccak256(concat(self.inbox_hash_at[self.count], keccak256(message)))
        self.count += 1
        self.inbox_hash_at[self.count] = running


@external
@view
def params() -> Params:
    answer: Params = empty(Params)
    answer.l2_chain_id = CHAIN_ID
    answer.bond_delay_s = 1  # what PromiseCourt asks for at least
    return answer
