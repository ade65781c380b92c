"""The embedded L1: a Prague chain on py-evm, served over JSON-RPC to stock web3 and cast.

    async with trio.open_nursery() as nursery:
        bound = await nursery.start(run, DevchainConfig(port=0, block_time_s=1))
        bound.http_url

What real nodes refuse is refused here too (replacement +10%, EIP-7825, EIP-170, EIP-7623), so that what works on the
devnet works outside.
"""

from .accounts import DevAccount, dev_accounts
from .config import DevchainConfig
from .service import run

__all__ = ["DevAccount", "DevchainConfig", "dev_accounts", "run"]
