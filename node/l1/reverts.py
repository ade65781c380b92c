"""Revert data in words: Error(string), Panic(uint256), and our own contracts' custom errors when their ABI is given."""

from __future__ import annotations

from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

ERROR_SELECTOR = keccak(b"Error(string)")[:4]
PANIC_SELECTOR = keccak(b"Panic(uint256)")[:4]


def revert_reason(data: bytes) -> str:
    """Reason of a standard revert; empty when there is none or it is malformed."""
    try:
        if data[:4] == ERROR_SELECTOR:
            return str(decode(["string"], data[4:])[0])
        if data[:4] == PANIC_SELECTOR:
            return f"panic code {decode(['uint256'], data[4:])[0]:#x}"
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return ""
    return ""


def find_revert_data(data: Any) -> bytes:
    """Revert bytes from an RPC error's ``data``, which nodes shape differently (a string, or an object around one)."""
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return b""
    return b""
