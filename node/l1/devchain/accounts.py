"""Development accounts: the keys of the well-known public test mnemonic, the same that every Ethereum tool funds.

They are public on purpose and worth nothing anywhere; never send real money to them.
Derivation: BIP-39 seed, then BIP-32 path m/44'/60'/0'/0/i.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

MNEMONIC = "test test test test test test test test test test test junk"


@dataclass(frozen=True, slots=True)
class DevAccount:
    """One funded account: 20-byte address, and the key (kept out of ``repr``)."""

    address: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"DevAccount(0x{self.address.hex()})"


@lru_cache(maxsize=4)
def dev_accounts(count: int) -> tuple[DevAccount, ...]:
    """The first ``count`` accounts of the test mnemonic (imports eth-account lazily: it is slow to load)."""
    from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
    from eth_keys.datatypes import PrivateKey

    seed = seed_from_mnemonic(MNEMONIC, "")
    made = []
    for index in range(count):
        secret = key_from_seed(seed, f"m/44'/60'/0'/0/{index}")
        made.append(DevAccount(PrivateKey(secret).public_key.to_canonical_address(), secret))
    return tuple(made)
