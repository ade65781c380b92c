# pragma version 0.4.3
"""
@title  Limits and constants of the rules
@author Anchorline contributors
@license Apache-2.0
@notice Twin of node/stf/params.py: the same names, the same values (tests/test_tidy.py compares them).
        Units: money is micro-USD, size is lots, price is ticks, time is milliseconds of L2 time unless a name says otherwise,
        rates are parts per million (ppm), work is gas of L1, proof is bytes of calldata.
"""

RULES_VERSION: constant(uint256) = 3

# --- state shape ------------------------------------------------------------------------------------------------------
MARKETS_MAX: constant(uint256) = 32
BOARD_MARKETS: constant(uint256) = 8  # markets in one board leaf
BOARD_WORDS: constant(uint256) = 3  # words of one market in its board leaf
GLOBAL_WORDS: constant(uint256) = 6
MARKET_WORDS: constant(uint256) = 8  # before the publisher slots
PUBLISHERS_MAX: constant(uint256) = 8
KEYS_MAX: constant(uint256) = 4
POSITIONS_MAX: constant(uint256) = 8
ACCOUNT_WORDS: constant(uint256) = 1
KEY_WORDS: constant(uint256) = 2
POSITION_WORDS: constant(uint256) = 3
ACCOUNTS_MAX: constant(uint256) = 4_294_901_759  # ids are 32 bits, 0 is never used
DONATION_ACCOUNT: constant(uint256) = 4_294_901_760  # 0xFFFF0000 + market: a deposit to it is a donation to the market's insurance
OPEN_ORDERS_MAX: constant(uint256) = 256  # resting orders of one account, dead ones included until they are removed

# --- numbers ----------------------------------------------------------------------------------------------------------
PPM: constant(uint256) = 1_000_000
PRICE_MAX: constant(uint256) = 4_294_967_295
LOTS_MAX: constant(uint256) = 1_099_511_627_775  # 2**40 - 1
MONEY_MAX: constant(uint256) = 4_611_686_018_427_387_904  # 2**62: no stored amount reaches it
EXPOSURE_MAX: constant(uint256) = 2_305_843_009_213_693_952  # 2**61: open-interest cap * PRICE_MAX * tick value stays below
U64_MAX: constant(uint256) = 18_446_744_073_709_551_615
TIME_MAX: constant(uint256) = 281_474_976_710_655  # 2**48 - 1 ms

# --- time -------------------------------------------------------------------------------------------------------------
NONCE_AHEAD_MS: constant(uint256) = 60_000
EXPIRY_AHEAD_MS: constant(uint256) = 172_800_000  # a signature lives two days at most: long enough to be forced through L1

# --- the derivatives engine ------------------------------------------------------------------------------------------
FUNDING_STEP_MAX: constant(uint256) = 3_600_000  # ms of fresh time that one update may accrue
FUNDING_UNIT: constant(uint256) = 1_887_436_800_000  # 8 hours in ms * 2**16: one tick of basis costs one tick of price in 8 hours
SETTLE_WINDOW_MS: constant(uint256) = 1_800_000  # a dated future settles at its index's mean over this time before expiry
OUTFLOW_WINDOW_MS: constant(uint256) = 3_600_000  # the outflow limit drains once in this time
BUFFER_STEP_MS: constant(uint256) = 5_000  # most of the latency buffer that one Liquidate uses up
PREDICT_SLICE_PPM: constant(uint256) = 50_000  # share of a position that one predictive reduction closes at most
FOK_DEPTH_MAX: constant(uint256) = 8  # orders a fill-or-kill may look at: it visits each once more to fill
SWEEP_MAX: constant(uint256) = 16  # dead orders that one Sweep removes at most

# --- orders -----------------------------------------------------------------------------------------------------------
MATCH_STEPS: constant(uint256) = 16  # orders visited by one transaction
ACTIONS_MAX: constant(uint256) = 32
ORDERS_AND_STEPS: constant(uint256) = 32  # a list's orders and match steps together: a long one has fewer steps
REST_FEE: constant(uint256) = 10_000  # micro-USD held while an order rests: refunded on fill or cancel, kept if it dies
LIQUIDATION_SLICE_PPM: constant(uint256) = 250_000  # share of a position that one Liquidate closes at most

# --- structure of a chunk ---------------------------------------------------------------------------------------------
CHUNK_BYTES_MAX: constant(uint256) = 8_192
CHUNK_TXS_MAX: constant(uint256) = 256
CHUNK_LEAVES_MAX: constant(uint256) = 160
CHUNK_WORK_MAX: constant(uint256) = 4_500_000
CHUNK_PROOF_MAX: constant(uint256) = 95_000
MESSAGE_BYTES_MAX: constant(uint256) = 1_053  # 29 bytes of header and 1,024 of payload
PRICES_MAX: constant(uint256) = 4  # markets in one OraclePrice
PAID_MAX: constant(uint256) = 8  # withdrawals in one notice that they are paid

# --- work, in gas -----------------------------------------------------------------------------------------------------
WORK_BYTE: constant(uint256) = 200
WORK_TX: constant(uint256) = 9_000
WORK_SIGNATURE: constant(uint256) = 12_000
WORK_DECODE: constant(uint256) = 2_700  # reading and hashing one action, whatever its signature is worth
WORK_ACTION: constant(uint256) = 32_000
WORK_PLACE: constant(uint256) = 16_000  # more of it for an order than for any other action
WORK_STEP: constant(uint256) = 72_000
WORK_TERM: constant(uint256) = 6_700  # one position in one margin check
WORK_PRICE: constant(uint256) = 56_000  # one market of an OraclePrice, two quotes looked at included
WORK_MESSAGE: constant(uint256) = 15_000
WORK_LEAF: constant(uint256) = 4_000

# --- proof bytes: a sibling is 34 bytes, a word 32; paths at 10**7 leaves ---------------------------------------------
PROOF_BASE: constant(uint256) = 1_000  # header, list proofs, the top of the trie
PROOF_WORD: constant(uint256) = 32
PROOF_DENSE: constant(uint256) = 900  # path and key of a leaf with a dense id: 24 levels
PROOF_ORDER: constant(uint256) = 2_240  # path, key and helper leaf of an order that stands anywhere: 32 price and 30 sequence bits
PROOF_VISIT: constant(uint256) = 132  # an order at the book's edge: its neighbours are in the proof already
PROOF_MESSAGE: constant(uint256) = 96  # words around a message's bytes
