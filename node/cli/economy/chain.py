"""What L1 knows of a deployment: parameters, custody, the operator's bond, the chain's parameters, fees and block time.

Chain parameters (anchors, tau, the outflow limit) stand in `G`'s words, which the header of the newest batch mirrors.
Market parameters are leaves of L2 and not on L1; they come from the markets file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node.cli.economy.settings import GWEI
from node.cli.output import UserError

if TYPE_CHECKING:
    from node.l1.client import L1Client
    from node.l1.deployment import Deployment
    from node.stf.commitments import BatchHeader

USD: Final = 1e6
BLOCKS_BACK: Final = 100
#: how far back the newest batch is looked for: ranges of so many blocks, so many times
RANGE: Final = 2_000
RANGES_MAX: Final = 10


async def read_chain(url: str, path: Path) -> dict[str, float]:
    """Keys of an economy that L1 answers. Raises Temporary, Critical or UserError."""
    from node.l1.bindings import BadEncoding
    from node.l1.client import L1Client
    from node.l1.deployment import load_deployment

    deployment = load_deployment(path)
    try:
        client = L1Client(url)
    except ValueError as error:
        raise UserError(f"{error}; give --l1.rpc") from None
    try:
        await client.check_chain(deployment.l1_chain_id)
        found = await _blocks(client)
        found |= await _rollup(client, deployment)
        header = await _newest_header(client, deployment)
        return found | ({} if header is None else chain_parameters(header))
    except BadEncoding as error:
        raise UserError(f"{error}; check --deployment {path} and --l1.rpc") from None
    finally:
        client.close()


async def _blocks(client: L1Client) -> dict[str, float]:
    """Base fee, gas limit, and the time between blocks, measured over the last hundred."""
    raw = await client.rpc("eth_getBlockByNumber", "latest", False)
    number, time_s = int(raw["number"], 16), int(raw["timestamp"], 16)
    back = min(BLOCKS_BACK, number)
    found = {"gas_limit": float(int(raw["gasLimit"], 16)),
             "base_fee_gwei": max(GWEI, int(raw.get("baseFeePerGas", "0x0"), 16) * GWEI)}
    earlier = await client.block(number - back) if back else None
    if earlier is not None and time_s > earlier.timestamp:
        found["block_s"] = (time_s - earlier.timestamp) / back
    return found


async def _rollup(client: L1Client, deployment: Deployment) -> dict[str, float]:
    from node.l1 import bindings, courts

    rollup = bytes.fromhex(deployment.rollup[2:])

    async def ask(function: str, *args: Any) -> Any:
        return bindings.decode_result(function, await client.call(rollup, bindings.encode_call(function, *args)))

    async def timings(name: str, functions: courts.Functions) -> Any:
        place = deployment.contracts.get(name)
        if place is None:
            raise UserError(f"the deployment file names no {name}: is it of this version?")
        answer = await client.call(bytes.fromhex(place[2:]), courts.encode_call(functions, "timings"))
        return courts.decode_result(functions, "timings", answer)

    params = await ask("params")
    holder = await ask("seat_holder")
    bond = (await ask("bond_of", holder))[0] if any(_address(holder)) else params[1]
    deadline_s, _claim_s = await timings("PromiseCourt", courts.PROMISE_COURT)
    exodus_after_s = (await timings("Exodus", courts.EXODUS))[0]
    return {
        "window_s": params[0], "bond_usd": bond / USD, "seat_idle_s": params[3], "force_fee_usd": params[5] / USD,
        "value_locked_usd": await ask("custody") / USD, "promise_deadline_s": deadline_s,
        "exodus_after_s": exodus_after_s}


def _address(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else bytes.fromhex(value[2:])


async def _newest_header(client: L1Client, deployment: Deployment) -> BatchHeader | None:
    """The header of the newest batch that was posted within reach; None before the first."""
    from node.l1 import bindings

    rollup = bytes.fromhex(deployment.rollup[2:])
    last = (await client.head()).number
    for _ in range(RANGES_MAX):
        first = max(deployment.start_block, last - RANGE + 1)
        if first > last:
            return None
        logs = await client.logs(rollup, first, last, [bindings.topic("BatchPosted")])
        if logs:
            event = bindings.decode_event(logs[-1].topics, logs[-1].data)
            return event.header if isinstance(event, bindings.BatchPosted) else None
        last = first - 1
    return None


def chain_parameters(header: BatchHeader) -> dict[str, float]:
    """What words 4 and 5 of `G` say (contracts/README.md, "Leaf layouts")."""
    word = header.globals[5]

    def field(top: int, bits: int) -> int:
        return word >> (256 - top - bits) & (1 << bits) - 1

    found = {
        "tau_reduce_s": field(80, 32) / 1_000, "tau_halt_s": field(112, 32) / 1_000,
        "outflow_limit_usd": (header.globals[4] & (1 << 64) - 1) / USD}
    interval = field(48, 32) / 1_000
    return found | ({"anchor_interval_s": interval} if interval else {})


def market_parameters(path: Path | None, number: int) -> dict[str, float]:
    """Margin and add-on of one market, from a file as `anchorline deploy --markets` takes it, and its [chain] table."""
    from node.l1.deployment import load_markets

    if path is None:
        return {}
    markets, chain = load_markets(path)
    market = next((item for item in markets if item.market == number), None)
    if market is None:
        raise UserError(f"{path} has no market {number}: give --market with one of "
                        + ", ".join(str(item.market) for item in markets))
    return {
        "im_base": market.im_base / 1e6, "mm_base": market.mm_base / 1e6, "taker_fee": market.taker_fee / 1e6,
        "z": market.z / 100, "sigma_floor": market.sigma_floor / 1e9, "addon_cap": market.addon_cap / 1e6,
        "open_interest_usd": market.oi_cap * market.price * market.tick_value / USD,
        "anchor_interval_s": chain.anchor_interval / 1e3, "tau_reduce_s": chain.tau_reduce / 1e3,
        "tau_halt_s": chain.tau_halt / 1e3, "outflow_limit_usd": chain.outflow_limit / USD}
