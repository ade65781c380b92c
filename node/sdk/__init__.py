"""The trader's client; installed under the import name anchorline as well.

    from node.sdk import Trader, connect
    from node.sdk.l1 import L1Wallet            (imports web3, a second's work)
"""

from node.sdk.client import Client, connect
from node.sdk.errors import AnchorlineError
from node.sdk.orders import amend, cancel, cancel_all, place, trigger
from node.sdk.trader import Sent, Trader

__all__ = [
    "AnchorlineError", "Client", "Sent", "Trader", "amend", "cancel", "cancel_all", "connect", "place", "trigger",
]
