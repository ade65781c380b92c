"""Payloads of L1's messages, as the contracts and an operator write them. Units as in the rules: ppm, ms, micro-USD."""

from __future__ import annotations

from typing import Final

CONFIGURE_RISK: Final = 3
CONFIGURE_CHAIN: Final = 4
FUND_INSURANCE: Final = 5
INSURANCE_ACCOUNTS: Final = 0xFFFF0000  # a deposit to this plus a market's number is a gift to its insurance

# name -> bytes and the value of a market or chain that leaves the feature off
RISK: Final = {
    "near_band": (4, 5_000),
    "z": (2, 0),  # hundredths
    "sigma_floor": (4, 0),  # ppb per square root of a second
    "addon_cap": (4, 0),
    "vol_sample_ms": (4, 1_000),
    "vol_window": (4, 0),  # ms
    "basis_cap": (4, 0),
    "spread_max": (4, 0),
    "basis_window": (4, 0),  # ms
    "jump_limit": (4, 0),
    "jump_hold": (4, 0),  # ms
    "reduce_cap": (4, 0),
    "expiry": (8, 0),  # ms of L2 time
}
CHAIN: Final = {
    "anchor_interval": (4, 0),
    "tau_reduce": (4, 0),
    "tau_halt": (4, 0),
    "buffer_ms": (4, 0),
    "refill": (2, 0),  # ms of health that give one ms of budget back
    "horizon_ms": (4, 0),
    "closeout": (4, 0),  # ppm of maintenance
    "outflow_limit": (8, 0),  # micro-USD an hour
}


def _pack(table: dict[str, tuple[int, int]], values: dict[str, int]) -> bytes:
    unknown = set(values) - set(table)
    if unknown:
        raise ValueError(f"no such parameters: {sorted(unknown)}; there are {sorted(table)}")
    return b"".join(values.get(name, default).to_bytes(size, "big") for name, (size, default) in table.items())


def configure_risk(market: int, **values: int) -> bytes:
    """Payload of an admin message that sets a market's risk parameters; what is not named is off."""
    return bytes((CONFIGURE_RISK,)) + market.to_bytes(2, "big") + _pack(RISK, values)


def configure_chain(**values: int) -> bytes:
    """Payload of an admin message that sets the chain's parameters; what is not named is off."""
    return bytes((CONFIGURE_CHAIN,)) + _pack(CHAIN, values)


def fund_insurance(market: int, amount: int) -> bytes:
    """Payload of an admin message that moves collected fees into a market's insurance."""
    return bytes((FUND_INSURANCE,)) + market.to_bytes(2, "big") + amount.to_bytes(8, "big")


def deposit(account: int, owner: int, amount: int) -> bytes:
    """Payload of a deposit."""
    return account.to_bytes(4, "big") + owner.to_bytes(20, "big") + amount.to_bytes(8, "big")


def donation(market: int, amount: int, owner: int = 0xD0) -> bytes:
    """Payload of a deposit into a market's insurance."""
    return deposit(INSURANCE_ACCOUNTS + market, owner, amount)


def notice(batch: int, time: int) -> bytes:
    """Payload of an anchor or rollback notice: L2 time up to ``time`` is anchored."""
    return batch.to_bytes(8, "big") + time.to_bytes(8, "big")


def paid(*ids: int) -> bytes:
    """Payload of a notice that withdrawals are paid."""
    return b"".join(number.to_bytes(8, "big") for number in ids)
