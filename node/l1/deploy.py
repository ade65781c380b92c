"""Deploys the contracts, sets up markets and publishers by admin messages, and opens the rollup.

Every transaction is an intent with a name, so that a deployment that was interrupted goes on where it stopped when it
is run again with the same journal. The order is the contracts': the court's parts before the rules, the rollup before
verifier, exodus, promise court and claim market, which name it, markets before what needs them (risk parameters,
publishers), `open` last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import trio
from eth_abi.abi import encode

import contracts
from node.errors import Critical

from . import bindings
from .client import L1Client
from .deployment import DeployedMarket, Deployment, Plan
from .sender import Intent, TxSender
from .types import L1Receipt

MESSAGE_GAS: Final = 400_000  # an estimate made beside others may miss that a storage slot is new by then
Progress = Callable[[str], None]


async def deploy(client: L1Client, sender: TxSender, plan: Plan, progress: Progress = lambda text: None) -> Deployment:
    """Deploy ``plan`` with the sender's account as admin. Raises Critical, ValueError (timings), as the sender."""
    run = _Run(client, sender, plan, progress)
    return await run.all()


class _Run:
    def __init__(self, client: L1Client, sender: TxSender, plan: Plan, progress: Progress) -> None:
        self._client = client
        self._sender = sender
        self._plan = plan
        self._progress = progress
        self._created: dict[str, bytes] = {}
        self._gas = 0
        self._start_block = 0

    async def all(self) -> Deployment:
        """Every step."""
        plan = self._plan
        plan.timings.check()
        params = plan.timings.params(plan.l2_chain_id)
        self._created.update(plan.parts)
        first = [name for name, needs in contracts.RULES_PARTS.items() if not needs and name not in plan.parts]
        if plan.token:
            self._created["TestUSD"] = plan.token
        else:
            first.append("TestUSD")
        await self._together([partial(self._create, name, b"") for name in first])
        second = [name for name in contracts.RULES_PARTS if name not in self._created and name != "FraudRules"]
        rollup_args = bindings.encode_constructor(self._created["TestUSD"], self._sender.address, params)
        await self._together([partial(self._create_part, name) for name in second])
        rules = [] if "FraudRules" in plan.parts else [partial(self._create_part, "FraudRules")]
        await self._together([*rules, partial(self._create, "Rollup", rollup_args)])
        verifier_args = encode(["address", "address"], [self._created["Rollup"], self._created["FraudRules"]])
        await self._together([
            partial(self._create, "FraudVerifier", verifier_args),
            *[partial(self._create, name, args) for name, args in self._courts()]])
        markets, later = plan.messages()
        await self._together([
            partial(self._call, "set_verifier", self._created["FraudVerifier"]),
            partial(self._call, "set_courts", *[self._created[name] for name, _ in self._courts()]),
            *self._admin("market", markets)])
        await self._together(self._admin("setting", later))
        await self._call("open")
        return await self._record(params.genesis_root)

    def _courts(self) -> list[tuple[str, bytes]]:
        """What ends the rollup, judges promises and sells claims, with its arguments, in the order of `set_courts`."""
        rollup, timings = self._created["Rollup"], self._plan.timings
        exodus = [rollup, timings.exodus_after_s, timings.reseat_s, timings.register_s]
        promises = [rollup, timings.promise_deadline_s, timings.claim_s]
        return [
            ("Exodus", encode(["address", "uint256", "uint256", "uint256"], exodus)),
            ("PromiseCourt", encode(["address", "uint256", "uint256"], promises)),
            ("ClaimMarket", encode(["address"], [rollup])),
        ]

    def _admin(self, what: str, messages: Sequence[tuple[int, bytes]]) -> list[Callable[[], Any]]:
        return [
            partial(self._call, "enqueue_admin", kind, body, name=f"{what} {index}", gas=MESSAGE_GAS)
            for index, (kind, body) in enumerate(messages)
        ]

    async def _together(self, steps: Sequence[Callable[[], Any]]) -> None:
        """Run independent steps at once; the first failure stops the deployment."""
        failures: list[Exception] = []

        async def step(work: Callable[[], Any]) -> None:
            try:
                await work()
            except Exception as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for work in steps:
                nursery.start_soon(step, work)
        if failures:
            raise failures[0]

    async def _create_part(self, name: str) -> None:
        """A part of the rules, told where the parts are that it calls."""
        needs = contracts.RULES_PARTS[name]
        await self._create(name, encode(["address"] * len(needs), [self._created[need] for need in needs]))

    async def _create(self, name: str, args: bytes) -> None:
        artifact = contracts.load(name)
        receipt = await self._send(Intent(f"deploy {name}", b"", artifact.bytecode + args))
        if receipt.created is None:
            raise Critical(f"the transaction that should create {name} created nothing")
        self._created[name] = receipt.created
        if name == "Rollup":
            self._start_block = receipt.block_number
        self._progress(f"{name} at 0x{receipt.created.hex()}")

    async def _call(self, function: str, *args: Any, name: str = "", gas: int | None = None) -> None:
        data = bindings.encode_call(function, *args)
        await self._send(Intent(f"deploy {function} {name}".strip(), self._created["Rollup"], data, gas=gas))
        self._progress(f"{function} {name}".strip())

    async def _send(self, intent: Intent) -> L1Receipt:
        receipt = await self._sender.send(intent)
        self._gas += receipt.gas_used
        return receipt

    async def _record(self, genesis_root: bytes) -> Deployment:
        plan = self._plan
        return Deployment(
            l1_chain_id=await self._client.chain_id(), l2_chain_id=plan.l2_chain_id,
            rollup=_hex(self._created["Rollup"]), token=_hex(self._created["TestUSD"]),
            verifier=_hex(self._created["FraudVerifier"]), start_block=self._start_block,
            genesis_root=_hex(genesis_root), challenge_window_s=plan.timings.challenge_window_s,
            admin=_hex(self._sender.address), publishers=[_hex(item) for item in plan.publishers],
            markets=[DeployedMarket(m.market, m.symbol, m.tick_value, m.price) for m in plan.markets],
            contracts={name: _hex(address) for name, address in sorted(self._created.items())}, gas_used=self._gas,
        )


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
