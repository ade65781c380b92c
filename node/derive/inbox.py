"""The L1 inbox as seen so far: messages in order, with the running hash that batches commit to.

Messages are kept on disk under their number, so that a restart needs no look at old L1 blocks. A reorganisation
truncates the inbox and appends what the new branch says: number n then is another message.
"""

from __future__ import annotations

from node.derive.chain import Chain
from node.errors import Reset
from node.stf.commitments import ZERO32, next_inbox_hash


class Inbox:
    """Messages 0 to ``count`` - 1. Writes are durable with the checkpoint that follows them."""

    def __init__(self, chain: Chain, count: int) -> None:
        self._chain = chain
        self._cache: dict[int, bytes] = {}
        self.count = count

    def message(self, number: int) -> bytes | None:
        """A message's bytes; None beyond the last one."""
        if not 0 <= number < self.count:
            return None
        data = self._cache.get(number)
        if data is None:
            data = self._chain.fact(_name(number))
            if data is None:
                return None
            self._remember(number, data)
        return data[32:]

    def hash_after(self, count: int) -> bytes:
        """The running hash after the first ``count`` messages. Raises LookupError beyond the last one."""
        if count == 0:
            return ZERO32
        if self.message(count - 1) is None:
            raise LookupError(f"the inbox has {self.count} messages, not {count}")
        return self._cache[count - 1][:32]

    def append(self, number: int, running_hash: bytes, message: bytes) -> None:
        """Add the next message. Raises Reset if it does not continue the inbox: L1 has changed under us."""
        if number != self.count:
            raise Reset(f"L1 emitted message {number} where {self.count} was due: deriving again from a known block")
        if next_inbox_hash(self.hash_after(number), message) != running_hash:
            raise Reset(f"message {number} does not continue the inbox's running hash: deriving again")
        self._chain.put_fact(_name(number), running_hash + message)
        self._remember(number, running_hash + message)
        self.count = number + 1

    def truncate(self, count: int) -> None:
        """Forget messages from ``count`` on."""
        self.count = min(self.count, count)
        for number in [number for number in self._cache if number >= count]:
            del self._cache[number]

    def _remember(self, number: int, data: bytes) -> None:
        if len(self._cache) >= 4_096:
            self._cache.clear()
        self._cache[number] = data


def _name(number: int) -> str:
    return f"inbox/{number}"
