"""Settings of the embedded L1.

A frozen object; :meth:`DevchainConfig.check` names the bad key and says what to do. Times are seconds, gas is gas,
money is wei.
"""

from __future__ import annotations

from dataclasses import dataclass

TX_GAS_MAX = 16_777_216  # EIP-7825
CODE_BYTES_MAX = 24_576  # EIP-170
INITCODE_BYTES_MAX = 49_152  # EIP-3860
TX_BYTES_MAX = 131_072  # what public nodes accept as one transaction


@dataclass(frozen=True, slots=True)
class DevchainConfig:
    """How the embedded L1 behaves. ``block_time_s`` 0 mines at once when a transaction comes."""

    host: str = "127.0.0.1"
    port: int = 8545
    chain_id: int = 31_337
    block_time_s: int = 0
    gas_limit: int = 60_000_000
    base_fee_wei: int = 1_000_000_000
    safe_lag_blocks: int = 4
    finalized_lag_blocks: int = 8
    accounts: int = 10
    balance_wei: int = 10_000 * 10**18
    genesis_time_s: int = 0  # 0: now
    mempool_txs_max: int = 4_096
    mempool_txs_per_sender_max: int = 1_024
    state_history_blocks: int = 128
    call_gas_max: int = 60_000_000
    logs_max: int = 20_000

    def check(self) -> None:
        """Raise ValueError that names the first bad key."""
        positive = ("chain_id", "gas_limit", "base_fee_wei", "mempool_txs_max", "mempool_txs_per_sender_max",
                    "state_history_blocks", "call_gas_max", "logs_max")
        for key in positive:
            if getattr(self, key) < 1:
                raise ValueError(f"l1.{key} is {getattr(self, key)}; it must be at least 1")
        for key in ("block_time_s", "safe_lag_blocks", "accounts", "balance_wei", "genesis_time_s"):
            if getattr(self, key) < 0:
                raise ValueError(f"l1.{key} is {getattr(self, key)}; it cannot be negative")
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"l1.port is {self.port}; choose 0 (any free port) to 65535")
        if self.accounts > 100:
            raise ValueError(f"l1.accounts is {self.accounts}; at most 100 development accounts are funded")
        if self.finalized_lag_blocks < self.safe_lag_blocks:
            raise ValueError("l1.finalized_lag_blocks must be at least l1.safe_lag_blocks: finality implies safety")
        if self.gas_limit < TX_GAS_MAX:
            raise ValueError(f"l1.gas_limit is {self.gas_limit}; it must hold one transaction of {TX_GAS_MAX} gas")
