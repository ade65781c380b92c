"""Types of parameters and results that many methods share, with the pattern that a schema shows to clients."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

#: an Ethereum address
Address = Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{40}$", min_length=42, max_length=42, title="address")]
#: a 32-byte hash
Hash32 = Annotated[str, Meta(pattern="^0x[0-9a-fA-F]{64}$", min_length=66, max_length=66, title="32 bytes in hex")]
#: bytes, two hex digits each
HexData = Annotated[str, Meta(pattern="^0x([0-9a-fA-F]{2})*$", max_length=262_144, title="bytes in hex")]
#: an unsigned integer without leading zeros, as eth_* methods write it
Quantity = Annotated[str, Meta(pattern="^0x(0|[1-9a-fA-F][0-9a-fA-F]*)$", max_length=66, title="integer in hex")]
#: a number in a JSON document that every client reads exactly (below 2^63)
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


def hex_of(data: bytes) -> str:
    """Bytes as HexData."""
    return "0x" + data.hex()


def bytes_of(text: str) -> bytes:
    """The bytes of a checked HexData, Address or Hash32."""
    return bytes.fromhex(text[2:])
