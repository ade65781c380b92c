"""Limits and constants of the rules: every bound in one place, the same in ``contracts/stf/params.vy``.

Units: money is micro-USD, size is lots, price is ticks, time is milliseconds of L2 time unless a name says otherwise,
rates are parts per million (ppm). *Work* is an upper estimate of L1 gas, *proof* an upper estimate of the bytes of
calldata that a fraud proof of the chunk needs; both are spent while a chunk executes and neither can be exceeded,
because a transaction may only begin where its worst case still fits.
"""

from typing import Final

RULES_VERSION: Final = 3

# --- state shape ------------------------------------------------------------------------------------------------------
MARKETS_MAX: Final = 32
BOARD_MARKETS: Final = 8  # markets in one board leaf
BOARD_WORDS: Final = 3  # words of one market in its board leaf
GLOBAL_WORDS: Final = 6
MARKET_WORDS: Final = 8  # before the publisher slots
PUBLISHERS_MAX: Final = 8
KEYS_MAX: Final = 4
POSITIONS_MAX: Final = 8
ACCOUNT_WORDS: Final = 1
KEY_WORDS: Final = 2
POSITION_WORDS: Final = 3
ACCOUNTS_MAX: Final = 4_294_901_759  # ids are 32 bits, 0 is never used
DONATION_ACCOUNT: Final = 4_294_901_760  # 0xFFFF0000 + market: a deposit to it is a donation to the market's insurance
OPEN_ORDERS_MAX: Final = 256  # resting orders of one account, dead ones included until they are removed

# --- numbers ----------------------------------------------------------------------------------------------------------
PPM: Final = 1_000_000
PRICE_MAX: Final = 4_294_967_295
LOTS_MAX: Final = 1_099_511_627_775  # 2**40 - 1
MONEY_MAX: Final = 4_611_686_018_427_387_904  # 2**62: no stored amount reaches it
EXPOSURE_MAX: Final = 2_305_843_009_213_693_952  # 2**61: open-interest cap * PRICE_MAX * tick value stays below
U64_MAX: Final = 18_446_744_073_709_551_615
TIME_MAX: Final = 281_474_976_710_655  # 2**48 - 1 ms

# --- time -------------------------------------------------------------------------------------------------------------
NONCE_AHEAD_MS: Final = 60_000
EXPIRY_AHEAD_MS: Final = 172_800_000  # a signature lives two days at most: long enough to be forced through L1

# --- the derivatives engine ------------------------------------------------------------------------------------------
FUNDING_STEP_MAX: Final = 3_600_000  # ms of fresh time that one update may accrue
FUNDING_UNIT: Final = 1_887_436_800_000  # 8 hours in ms * 2**16: one tick of basis costs one tick of price in 8 hours
SETTLE_WINDOW_MS: Final = 1_800_000  # a dated future settles at its index's mean over this time before expiry
OUTFLOW_WINDOW_MS: Final = 3_600_000  # the outflow limit drains once in this time
BUFFER_STEP_MS: Final = 5_000  # most of the latency buffer that one Liquidate uses up
PREDICT_SLICE_PPM: Final = 50_000  # share of a position that one predictive reduction closes at most
FOK_DEPTH_MAX: Final = 8  # orders a fill-or-kill may look at: it visits each once more to fill
SWEEP_MAX: Final = 16  # dead orders that one Sweep removes at most

# --- orders -----------------------------------------------------------------------------------------------------------
MATCH_STEPS: Final = 16  # orders visited by one transaction
ACTIONS_MAX: Final = 32
ORDERS_AND_STEPS: Final = 32  # a list's orders and match steps together: a long one has fewer steps
REST_FEE: Final = 10_000  # micro-USD held while an order rests: refunded on fill or cancel, kept if it dies
LIQUIDATION_SLICE_PPM: Final = 250_000  # share of a position that one Liquidate closes at most

# --- structure of a chunk ---------------------------------------------------------------------------------------------
CHUNK_BYTES_MAX: Final = 8_192
CHUNK_TXS_MAX: Final = 256
CHUNK_LEAVES_MAX: Final = 160
CHUNK_WORK_MAX: Final = 4_500_000
CHUNK_PROOF_MAX: Final = 95_000
MESSAGE_BYTES_MAX: Final = 1_053  # 29 bytes of header and 1,024 of payload
PRICES_MAX: Final = 4  # markets in one OraclePrice
PAID_MAX: Final = 8  # withdrawals in one notice that they are paid

# --- work, in gas -----------------------------------------------------------------------------------------------------
WORK_BYTE: Final = 200
WORK_TX: Final = 9_000
WORK_SIGNATURE: Final = 12_000
WORK_DECODE: Final = 2_700  # reading and hashing one action, whatever its signature is worth
WORK_ACTION: Final = 32_000
WORK_PLACE: Final = 16_000  # more of it for an order than for any other action
WORK_STEP: Final = 72_000
WORK_TERM: Final = 6_700  # one position in one margin check
WORK_PRICE: Final = 56_000  # one market of an OraclePrice, two quotes looked at included
WORK_MESSAGE: Final = 15_000
WORK_LEAF: Final = 4_000

# --- proof bytes: a sibling is 34 bytes, a word 32; paths at 10**7 leaves ---------------------------------------------
PROOF_BASE: Final = 1_000  # header, list proofs, the top of the trie
PROOF_WORD: Final = 32
PROOF_DENSE: Final = 900  # path and key of a leaf with a dense id: 24 levels
PROOF_ORDER: Final = 2_240  # path, key and helper leaf of an order that stands anywhere: 32 price and 30 sequence bits
PROOF_VISIT: Final = 132  # an order at the book's edge: its neighbours are in the proof already
PROOF_MESSAGE: Final = 96  # words around a message's bytes
