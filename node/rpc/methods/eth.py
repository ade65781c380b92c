"""The ``eth_*`` subset that stock clients call before they believe that a node is a node. Quantities are hex."""

from __future__ import annotations

from typing import Any, Final

from node.derive.blocks import BlockHeader, header_hash
from node.rpc.errors import ErrorKind, fail
from node.rpc.fields import hex_of
from node.rpc.methods.reads import Node
from node.rpc.server import Registry

CLIENT_VERSION: Final = "Anchorline/v0.1.0/python"
_ZERO_ADDRESS: Final = "0x" + "0" * 40
_ZERO_HASH: Final = "0x" + "0" * 64
_EMPTY_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"


class Eth:
    """Chain id, block number and blocks of the L2, shaped as Ethereum's."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def register(self, registry: Registry) -> None:
        for name, function in (
            ("eth_chainId", self.chain_id), ("net_version", self.net_version),
            ("web3_clientVersion", self.client_version), ("eth_blockNumber", self.block_number),
            ("eth_getBlockByNumber", self.block_by_number), ("eth_syncing", self.syncing),
        ):
            registry.add(name, function)

    def chain_id(self) -> str:
        """The L2's chain id."""
        return hex(self._node.chain_id)

    def net_version(self) -> str:
        """The L2's chain id in decimals."""
        return str(self._node.chain_id)

    def client_version(self) -> str:
        """Name and version of this program."""
        return CLIENT_VERSION

    def syncing(self) -> bool:
        """Always false: what is known is served as it becomes known."""
        return False

    def block_number(self) -> str:
        """Number of the newest block."""
        return hex(self._node.chain.head.number)

    def block_by_number(self, block: str, full: bool = False) -> dict[str, Any] | None:
        """A block by hex number or tag (latest, pending, safe, finalized, earliest); null beyond the head."""
        node = self._node
        tags = {
            "latest": node.chain.head.number, "pending": node.chain.head.number, "safe": node.heads.safe,
            "finalized": node.heads.finalized, "earliest": 0,
        }
        try:
            number = tags[block] if block in tags else int(block, 16)
        except ValueError:
            problem = f"{block!r} is neither a hex number nor a block tag"
            raise fail(ErrorKind.InvalidParams, problem, param="block") from None
        header = node.chain.header(number)
        return None if header is None else eth_block(header)


def eth_block(header: BlockHeader) -> dict[str, Any]:
    """An L2 header with the fields that clients require of an Ethereum block; what has no meaning here is zero."""
    return {
        "number": hex(header.number), "hash": hex_of(header_hash(header)), "parentHash": hex_of(header.parent_hash),
        "timestamp": hex(header.time // 1000), "stateRoot": hex_of(header.state_root),
        "transactionsRoot": hex_of(header.chunks_root), "receiptsRoot": _ZERO_HASH, "transactions": [],
        "nonce": "0x0000000000000000", "sha3Uncles": _EMPTY_UNCLES, "uncles": [], "logsBloom": "0x" + "0" * 512,
        "miner": _ZERO_ADDRESS, "difficulty": "0x0", "totalDifficulty": "0x0", "extraData": _ZERO_HASH, "size": "0x0",
        "gasLimit": "0x0", "gasUsed": "0x0", "baseFeePerGas": "0x0", "mixHash": _ZERO_HASH,
    }
