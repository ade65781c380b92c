"""Signed transactions as the embedded L1 sees them: decoded once, checked once.

Types 0 (EIP-155 only), 1, 2 and 4. Blobs (type 3) are refused. Intrinsic gas as EIP-2028/2930/3860/7702 have it, and
the calldata floor of EIP-7623: 21000 + 10 per token, a token is a zero byte, a non-zero byte is 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_hash.auto import keccak

from .config import INITCODE_BYTES_MAX, TX_BYTES_MAX, TX_GAS_MAX
from .errors import SERVER_ERROR, L1RpcError

GAS_TX = 21_000
FLOOR_PER_TOKEN = 10
INITCODE_WORD_GAS = 2
SECP256K1_HALF_N = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@dataclass(frozen=True, slots=True)
class Tx:
    """A decoded signed transaction. ``evm`` is py-evm's object; amounts are wei; ``to`` empty means create."""

    hash: bytes
    raw: bytes
    type: int
    sender: bytes
    nonce: int
    to: bytes
    value: int
    data: bytes
    gas: int
    fee_max: int
    tip_max: int
    chain_id: int
    floor_gas: int
    intrinsic_gas: int
    evm: Any

    def price(self, base_fee: int) -> int:
        """Wei per gas paid in a block of this base fee."""
        return min(self.fee_max, base_fee + self.tip_max)


def floor_gas(data: bytes) -> int:
    """EIP-7623 floor: least gas that a transaction with this calldata pays."""
    zeros = data.count(0)
    return GAS_TX + FLOOR_PER_TOKEN * (zeros + 4 * (len(data) - zeros))


def intrinsic_gas(evm: Any) -> int:
    """Gas owed before the first opcode (py-evm leaves out the initcode words of EIP-3860)."""
    words = (len(evm.data) + 31) // 32 if evm.to == b"" else 0
    return int(evm.intrinsic_gas) + INITCODE_WORD_GAS * words


def decode(raw: bytes, sender: bytes | None = None) -> Tx:
    """Decode signed bytes; ``sender`` (when known, from a stored receipt) spares the recovery.

    Raises L1RpcError with geth's words when the bytes are no acceptable transaction.
    """
    if not raw:
        raise L1RpcError("typed transaction too short", SERVER_ERROR)
    if len(raw) > TX_BYTES_MAX:
        raise L1RpcError(f"oversized data: transaction size {len(raw)}, limit {TX_BYTES_MAX}", SERVER_ERROR)
    if raw[0] == 3:
        raise L1RpcError("transaction type not supported: the embedded L1 takes no blobs; post as calldata")
    try:
        evm = PragueTransactionBuilder.decode(raw)
        evm.validate()
        if evm.encode() != raw:
            raise ValueError("non-canonical encoding")
    except Exception as error:  # py-evm and rlp raise a dozen unrelated types for bad bytes
        raise L1RpcError(f"rlp: cannot decode transaction: {error}") from error
    return _checked(raw, evm, sender)


def _checked(raw: bytes, evm: Any, sender: bytes | None) -> Tx:
    if not 0 < evm.s <= SECP256K1_HALF_N:
        raise L1RpcError("invalid transaction v, r, s values")
    chain_id = evm.chain_id
    if chain_id is None:
        raise L1RpcError("only replay-protected (EIP-155) transactions allowed over RPC")
    if sender is None:
        try:
            sender = evm.sender
        except Exception as error:  # any failure to recover means the same to the sender
            raise L1RpcError(f"invalid sender: {error}") from error
    return Tx(
        hash=keccak(raw), raw=raw, type=raw[0] if raw[0] < 0x80 else 0, sender=bytes(sender), nonce=evm.nonce,
        to=bytes(evm.to), value=evm.value, data=bytes(evm.data), gas=evm.gas, fee_max=evm.max_fee_per_gas,
        tip_max=evm.max_priority_fee_per_gas, chain_id=chain_id, floor_gas=floor_gas(evm.data),
        intrinsic_gas=intrinsic_gas(evm), evm=evm,
    )


def check_stateless(tx: Tx, chain_id: int, gas_limit: int) -> None:
    """The rules of a pool that need no state, in geth's order and words."""
    if tx.chain_id != chain_id:
        raise L1RpcError(f"invalid chain id for signer: have {tx.chain_id} want {chain_id}")
    if tx.to == b"" and len(tx.data) > INITCODE_BYTES_MAX:
        raise L1RpcError(f"max initcode size exceeded: code size {len(tx.data)}, limit {INITCODE_BYTES_MAX}")
    if tx.gas > min(TX_GAS_MAX, gas_limit):
        raise L1RpcError(f"transaction gas limit too high (cap: {min(TX_GAS_MAX, gas_limit)}, tx: {tx.gas})")
    if tx.fee_max < tx.tip_max:
        raise L1RpcError(
            f"max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tx.tip_max}, "
            f"maxFeePerGas: {tx.fee_max}"
        )
    if tx.gas < tx.intrinsic_gas:
        raise L1RpcError(f"intrinsic gas too low: gas {tx.gas}, minimum needed {tx.intrinsic_gas}")
    if tx.gas < tx.floor_gas:
        raise L1RpcError(f"insufficient gas for floor data gas cost: gas {tx.gas}, minimum needed {tx.floor_gas}")
