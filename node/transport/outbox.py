"""What a WebSocket has still to send: one bounded queue, one writer at a time, many messages a write.

Two tasks may write, never at once: the connection's reader sends what its own reads produced (`flush` after `held`,
which saves a task switch per read), and `run` sends everything else: notifications and answers that came later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class Outbox:
    """`write` sends bytes and answers False when the connection is lost; it must then also end the connection."""

    def __init__(self, write: Callable[[bytes], Awaitable[bool]], bytes_max: int) -> None:
        self._write = write
        self._bytes_max = bytes_max
        self._frames: list[bytes] = []
        self._writing = False
        self._added = trio.lowlevel.ParkingLot()
        self._sent = trio.lowlevel.ParkingLot()
        #: unsent bytes, those of the write under way included
        self.bytes = 0
        #: the reader is at work and will flush what it adds
        self.held = False

    def add(self, frame: bytes) -> bool:
        """Queues a frame; False when there is more unsent than allowed: the reader does not read."""
        self._frames.append(frame)
        self.bytes += len(frame)
        if not self.held:
            self._added.unpark()
        return self.bytes <= self._bytes_max

    def release(self) -> None:
        """The reader will wait for something else: `run` takes over what it added."""
        self.held = False
        if self._frames:
            self._added.unpark()

    @property
    def full(self) -> bool:
        """True when the reader should pause until more is sent."""
        return self.bytes > self._bytes_max // 4

    def note_change(self) -> None:
        """Wakes whoever waits in `wait_for_change`."""
        self._sent.unpark_all()

    async def wait_for_change(self) -> None:
        """Returns after bytes were sent, or whatever else was noted."""
        await self._sent.park()

    async def flush(self) -> None:
        """Sends what is queued, in as few writes as there are; returns at once while another task does."""
        if self._writing:
            return
        self._writing = True
        while self._frames:
            data = b"".join(self._frames)
            self._frames.clear()
            if not await self._write(data):
                await trio.sleep_forever()  # the connection is ending and cancels this
            self.bytes -= len(data)
            self.note_change()
        self._writing = False

    async def run(self) -> None:
        """Sends what others add, until cancelled."""
        while True:
            while not self._frames or self._writing:
                await self._added.park()
            await self.flush()
