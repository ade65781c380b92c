"""One L1 node's EVM: pyrevm that keeps its state between transactions and can go back to earlier blocks.

Every message has fresh transient storage, as a transaction has. Gas is not what a chain would charge (slots stay warm
from block to block), so nobody here runs out of it: a transaction may use EIP-7825's cap. Gas is measured elsewhere.

A checkpoint is a place in pyrevm's journal. It is committed at once, which keeps the place and lowers the call depth
again, of which the EVM allows 1,024.
"""

from __future__ import annotations

import re
from typing import Any

import pyrevm

from node.l1.reverts import revert_reason
from tests.evm import TX_GAS_MAX, Evm
from tests.simulation.blocks import Log, Outcome

_REVERT = re.compile(r"^Revert \{ gas_used: (\d+), output: 0x([0-9a-f]*) \}$")
BLOCK_GAS = 2**40


class Machine:
    """Goes on from the state of a test EVM; the contracts are those that are deployed there."""

    def __init__(self, genesis: Evm) -> None:
        self._evm = genesis.machine()

    def at(self, number: int, timestamp: int) -> None:
        """The block that the next messages are in."""
        self._evm.set_block_env(pyrevm.BlockEnv(
            number=number, timestamp=timestamp, gas_limit=BLOCK_GAS, prevrandao=bytes(32)))

    def checkpoint(self) -> Any:
        """This state, to go back to, any number of times."""
        place = self._evm.snapshot()
        self._evm.commit()
        return place

    def restore(self, place: Any) -> None:
        """Go back to a checkpoint; later ones are void."""
        self._evm.snapshot()
        self._evm.revert(place)

    def transact(self, sender: bytes, to: bytes, data: bytes) -> Outcome:
        """A transaction; its effects stay unless it reverts. Never raises for what a contract does."""
        self._evm.reset_transient_storage()
        try:
            output = bytes(self._evm.message_call("0x" + sender.hex(), "0x" + to.hex(), data, 0, TX_GAS_MAX))
        except RuntimeError as error:
            return _failure(str(error))
        result = self._evm.result
        assert result is not None, "a message has a result"
        logs = tuple([
            Log(bytes.fromhex(log.address[2:]), tuple(bytes(topic) for topic in log.data[0]), bytes(log.data[1]))
            for log in result.logs
        ])
        return Outcome(True, result.gas_used, logs, output=output)

    def call(self, sender: bytes, to: bytes, data: bytes) -> Outcome:
        """The same without effects."""
        place = self.checkpoint()
        outcome = self.transact(sender, to, data)
        self.restore(place)
        return outcome


def _failure(text: str) -> Outcome:
    found = _REVERT.match(text)
    if found is None:
        return Outcome(False, TX_GAS_MAX, (), text)
    output = bytes.fromhex(found[2])
    return Outcome(False, int(found[1]), (), revert_reason(output), output)
