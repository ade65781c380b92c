"""Publish and subscribe over WebSocket.

A channel is `family` or `family.argument` ("heads", "book.0", "account.17"). `subscribe` answers with a snapshot of
each channel, and every later change follows as

    {"jsonrpc":"2.0","method":"subscription","params":{"channel":"book.0","data":{…}}}

▸ Subscribing and reading the snapshot happen in one step, without anything in between, so a subscriber misses no
change and sees none twice. A message is encoded once for all subscribers. Publishing never waits: a subscriber that
does not read is evicted by the transport when its queue is full. `eth_subscribe("newHeads")` serves Ethereum clients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from node.metrics import Metrics
from node.rpc.errors import ErrorKind, fail
from node.rpc.server import Registry
from node.transport import Connection

CHANNELS_MAX: Final = 64
_STATE: Final = "subscriptions"
_ETH_STATE: Final = "eth_subscriptions"

Channel = Annotated[str, Meta(min_length=1, max_length=64)]
Channels = Annotated[list[Channel], Meta(min_length=1, max_length=CHANNELS_MAX)]
_encode = msgspec.json.Encoder().encode


class Subscribed(msgspec.Struct):
    """A channel and its state at the moment of subscription (null when it has none)."""

    channel: str
    snapshot: Any = None


@dataclass(frozen=True)
class Family:
    """A kind of channel. `snapshot(argument)` returns its state and raises RpcError for an argument that is none."""

    name: str
    snapshot: Callable[[str], Any]
    text: str


class Hub:
    """All subscriptions of one server. Single-threaded: call it from the trio thread only."""

    def __init__(self, metrics: Metrics | None = None) -> None:
        self._families: dict[str, Family] = {}
        # by connection, in order of subscription: ids are unique within one server only
        self._subscribers: dict[str, dict[Connection, None]] = {}
        self._eth_heads: dict[int, tuple[Connection, str]] = {}
        self._eth_next = 1
        self._open = 0
        self._metrics = metrics

    def family(self, name: str, snapshot: Callable[[str], Any], text: str) -> None:
        """Declares the channels `name` and `name.*`; `snapshot` is called with what follows the dot ("" without)."""
        if not name.isidentifier() or name in self._families:
            raise ValueError(f"channel family {name!r} is malformed or declared already")
        self._families[name] = Family(name, snapshot, text)

    def register(self, registry: Registry, *, eth_heads: bool = True) -> None:
        """Adds the methods of this module to a registry; ``eth_heads``: somebody publishes Ethereum block headers."""
        registry.add("subscribe", self._subscribe)
        registry.add("unsubscribe", self._unsubscribe)
        registry.add("get_channels", self._channels)
        if not eth_heads:
            return
        registry.add("eth_subscribe", self._eth_subscribe)
        registry.add("eth_unsubscribe", self._eth_unsubscribe)

    # --- publishing --------------------------------------------------------------------------------------------------

    def wanted(self, channel: str) -> bool:
        """True when somebody listens: lets a publisher skip work."""
        return channel in self._subscribers

    def publish(self, channel: str, data: Any) -> int:
        """Sends `data` (anything msgspec encodes) to the channel's subscribers; returns how many took it."""
        subscribers = self._subscribers.get(channel)
        if not subscribers:
            return 0
        message = _encode({
            "jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data},
        })
        return sum([connection.push(message) for connection in list(subscribers)])

    def publish_eth_head(self, head: dict[str, Any]) -> int:
        """Sends an Ethereum block header (hex fields) to those who follow newHeads; returns how many took it."""
        taken = 0
        for connection, identity in list(self._eth_heads.values()):
            taken += connection.push(_encode({
                "jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": identity, "result": head},
            }))
        return taken

    # --- methods -----------------------------------------------------------------------------------------------------

    def _subscribe(self, connection: Connection, channels: Channels) -> list[Subscribed]:
        """Follows channels of this WebSocket; answers each one's snapshot, changes come as `subscription`."""
        self._require_push(connection)
        mine = self._mine(connection)
        if len(mine | set(channels)) > CHANNELS_MAX:
            raise fail(ErrorKind.LimitExceeded, f"at most {CHANNELS_MAX} channels a connection: open another one")
        answers = [Subscribed(channel, self._snapshot(channel, at)) for at, channel in enumerate(channels)]
        for channel in channels:
            if channel not in mine:
                mine.add(channel)
                self._subscribers.setdefault(channel, {})[connection] = None
                self._note_open(1)
        return answers

    def _unsubscribe(self, connection: Connection, channels: Channels) -> list[str]:
        """Stops following; answers the channels that were followed."""
        mine = self._mine(connection)
        left = [channel for channel in dict.fromkeys(channels) if channel in mine]
        for channel in left:
            mine.discard(channel)
            self._remove(channel, connection)
        return left

    def _channels(self) -> dict[str, str]:
        """The channel families and what they carry."""
        return {family.name: family.text for family in self._families.values()}

    def _eth_subscribe(self, connection: Connection, kind: Literal["newHeads"]) -> str:
        """Follows new blocks as Ethereum clients do; answers the subscription's id."""
        self._require_push(connection)
        mine = connection.state.setdefault(_ETH_STATE, set())
        if len(mine) >= CHANNELS_MAX:
            raise fail(ErrorKind.LimitExceeded, f"at most {CHANNELS_MAX} subscriptions a connection: open another one")
        if not mine:
            connection.on_close(lambda: self._drop_eth(mine))
        number = self._eth_next
        self._eth_next += 1
        mine.add(number)
        self._eth_heads[number] = (connection, hex(number))
        self._note_open(1)
        return hex(number)

    def _eth_unsubscribe(self, connection: Connection, subscription: Annotated[str, Meta(max_length=66)]) -> bool:
        """Ends a subscription of this connection; false when there is none of that id."""
        mine = connection.state.get(_ETH_STATE, set())
        for number in mine:
            if hex(number) == subscription:
                mine.discard(number)
                self._drop_eth({number})
                return True
        return False

    # --- bookkeeping -------------------------------------------------------------------------------------------------

    def _require_push(self, connection: Connection) -> None:
        if not connection.can_push:
            raise fail(ErrorKind.NotSupported, "subscriptions need a WebSocket: connect to the same port with ws://")

    def _mine(self, connection: Connection) -> set[str]:
        mine = connection.state.get(_STATE)
        if not isinstance(mine, set):
            mine = connection.state[_STATE] = set()
            connection.on_close(lambda: self._drop(connection))
        return mine

    def _snapshot(self, channel: str, at: int) -> Any:
        name, _, argument = channel.partition(".")
        family = self._families.get(name)
        if family is None:
            known = ", ".join(self._families) or "none here"
            raise fail(ErrorKind.InvalidParams, f"no channel {channel!r}; families: {known}", param=f"channels[{at}]")
        return family.snapshot(argument)

    def _drop(self, connection: Connection) -> None:
        for channel in self._mine(connection):
            self._remove(channel, connection)
        self._mine(connection).clear()

    def _remove(self, channel: str, connection: Connection) -> None:
        subscribers = self._subscribers[channel]
        del subscribers[connection]
        self._note_open(-1)
        if not subscribers:
            del self._subscribers[channel]

    def _drop_eth(self, numbers: set[int]) -> None:
        for number in numbers:
            if self._eth_heads.pop(number, None) is not None:
                self._note_open(-1)

    def _note_open(self, change: int) -> None:
        self._open += change
        if self._metrics is not None:
            self._metrics.rpc_subscriptions.set(self._open)
