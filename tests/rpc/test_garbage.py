"""Whatever bytes arrive, in whatever pieces, the server answers, refuses or closes, and goes on serving others."""

from __future__ import annotations

import json

import structlog
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from node.transport import Limits, Server
from node.transport.frames import encode_frame
from tests.rpc.world import UPGRADE, World, ask, call, post

json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "x"]), inner, max_size=4),
    ),
    max_leaves=12,
)
bodies = st.one_of(
    st.binary(max_size=80),
    json_like.map(lambda value: json.dumps(value).encode()),
    st.builds(call, st.sampled_from(["echo", "place", "subscribe", "rpc.discover", "slow_echo"]), json_like, json_like),
)
pieces = st.one_of(
    st.binary(max_size=120),
    st.sampled_from([UPGRADE, b"\r\n", b"POST ", b"GET / HTTP/1.1\r\n"]),
    st.sampled_from([b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"Expect: 100-continue\r\n"]),
    bodies.map(post),
    st.builds(lambda opcode, body: encode_frame(opcode, body, masked=True), st.integers(0, 15), bodies),
)
LIMITS = Limits(idle_timeout_s=0.2, request_timeout_s=0.2, ping_interval_s=0.2, call_timeout_s=0.2, write_timeout_s=0.2)


async def _throw(server: Server, parts: list[bytes]) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.handle, theirs)
        try:
            for part in parts:
                await ours.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
            await ours.send_eof()
            while await ours.receive_some():
                pass
        except trio.BrokenResourceError:
            pass  # the server closed first
        await ours.aclose()


@given(st.lists(pieces, max_size=8), st.booleans())
def test_garbage_never_ends_the_server(parts: list[bytes], upgrade_first: bool) -> None:
    world = World()
    server = world.server(LIMITS)

    async def main() -> None:
        await _throw(server, [UPGRADE, *parts] if upgrade_first else parts)
        assert server.connections == 0
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handle, theirs)
            assert (await ask(ours, call("echo", ["alive"])))["result"] == "alive"
            await ours.aclose()

    with structlog.testing.capture_logs() as logs:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not [entry for entry in logs if entry["event"] in ("connection_crashed", "call_crashed")]
