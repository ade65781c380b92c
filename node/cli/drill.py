"""`anchorline drill`: posts a bad batch in a sandbox, and passes only if the operator's own watchtower disproves it.

The watchtower that runs is the one that is tested: its process, its L1 connection, its key and ether, its proving code.
It is asked through a file in its datadir, which nobody but its operator can write (prover/drill_request.py).
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import structlog
import trio
from cyclopts import Parameter

from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url
from node.cli.output import EXIT_FAILED, UserError, emit, note
from node.cli.trade import _run

TowerUrl = Annotated[str, Parameter(name="--watchtower", help="URL of the running watchtower's RPC.")]
ETHER: Final = 10**18
TTL_MARGIN_S: Final = 300
DEADLINE_MAX_S: Final = 1_500.0


@dataclass(slots=True)
class Costs:
    """What the drill itself sent (a sender's events): transactions, gas, wei."""

    transactions: int = 0
    gas: int = 0
    wei: int = 0

    def published(self, bump: bool) -> None:
        """Not counted: only what is mined costs."""

    def pending(self, count: int) -> None:
        """Not shown."""

    def finished(self, receipt: Any) -> None:
        """Count one that was mined."""
        if receipt is not None:
            self.transactions += 1
            self.gas += receipt.gas_used
            self.wei += receipt.gas_used * receipt.price


@dataclass(slots=True)
class Report:
    """What `--json` prints."""

    passed: bool = False
    reason: str = ""
    kind: str = ""
    watchtower: str = ""
    batch: int = 0
    seconds: float = 0.0
    announced_gas: int = 0
    proof: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    sandbox: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name) for name in self.__slots__}


def drill(
    *, watchtower: TowerUrl = "http://127.0.0.1:9545", datadir: Path = Path("data"), kind: str = "any",
    seed: int | None = None, fresh: bool = False, yes: bool = False, max_gas: int = 100_000_000,
    max_ether: float = 1.0, deadline_s: float = 300.0, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False,
) -> None:
    """Deploy a sandbox court on L1, post a bad batch in it, and pass only if your running watchtower disproves it.

    Key: ANCHORLINE_KEY (or ANCHORLINE_KEYSTORE and ANCHORLINE_PASSWORD): pays for the sandbox; not the watchtower's
    own. Run it on the watchtower's machine, as its user. Status 0: passed; 1: anything else. For cron: --yes, with
    --max-gas or --max-ether as the limit.

    Parameters
    ----------
    datadir
        The running watchtower's datadir: the request and the sandbox's addresses go into its drills folder.
    kind
        What is wrong with the batch: any of `devnet --villain`; any chooses one at random.
    seed
        Which one any chooses.
    fresh
        Deploy everything anew, as this version ships it: for upgrades. Else the sandbox of an earlier drill is used
        again, and a first one shares the deployed court's stateless parts.
    yes
        Spend the gas that is announced; without it, only announce it.
    max_gas
        Most gas that the drill may be expected to take.
    max_ether
        Most ether that it may be expected to cost.
    deadline_s
        Seconds in which the batch must be disproved.
    """
    from sequencer.villains import KINDS

    if kind not in ("any", *KINDS):
        raise UserError(f"kind: there is no {kind!r}; give any of any, {', '.join(KINDS)}")
    if not 1 <= deadline_s <= DEADLINE_MAX_S:
        raise UserError(f"deadline-s: give 1 to {DEADLINE_MAX_S:g} seconds")
    chosen = random.SystemRandom().randrange(2**32) if seed is None else seed
    report = Report()

    async def command() -> None:
        from node.l1.deployment import load_deployment

        _quiet()
        guarded = load_deployment(deployment)
        limits = (yes, max_gas, max_ether)
        async with _drilling(watchtower, l1_rpc, datadir, guarded, report) as exercise:
            sandbox = await exercise.prepare(fresh, limits, quiet=json)
            await exercise.run(sandbox, kind, chosen, deadline_s, quiet=json)

    _run(command)
    emit(json, report.as_json(), lambda: _text(report))
    if not report.passed:
        raise SystemExit(EXIT_FAILED)


def _quiet() -> None:
    """A sandbox's history is full of disputes, and none of them is news: what matters is in the report."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@asynccontextmanager
async def _drilling(url: str, l1_rpc: str, datadir: Path, guarded: Any, report: Report) -> AsyncIterator[Exercise]:
    """Everything connected and looked at; nothing spent yet."""
    from node.cli.keys import user_signer
    from node.l1.client import L1Client
    from node.l1.sender import SenderConfig, open_sender
    from node.rpc.client import HttpClient
    from node.sdk.l1 import MemoryJournal

    signer = user_signer()
    client = L1Client(l1_rpc)
    costs = Costs()
    try:
        async with HttpClient(url, timeout_s=10.0) as rpc:
            tower = await _find_tower(rpc, url, guarded, signer.address)
            config = SenderConfig(confirmations=0, poll_s=0.2)
            async with open_sender(client, signer, MemoryJournal(), config, events=costs) as sender:
                yield Exercise(client, sender, signer, tower, datadir, guarded, report, costs)
    finally:
        client.close()


async def _find_tower(rpc: Any, url: str, guarded: Any, own: bytes) -> Any:
    """The watchtower, if it could pass. Raises UserError that says why not."""
    from node.cli.fire.judge import Tower
    from node.rpc.client import RpcError, RpcUnavailable

    try:
        status = await rpc.call("al_status")
    except (RpcError, RpcUnavailable) as error:
        raise UserError(f"no watchtower answers at {url} ({error}): start it, or give its RPC with --watchtower"
                        ) from None
    if status.get("role") != "watchtower":
        raise UserError(f"{url} is a {status.get('role')}, no watchtower: give its RPC with --watchtower")
    if status.get("strategy") != "defend":
        raise UserError("the watchtower's strategy is watch: it sends no proofs; set watchtower.strategy to defend")
    if not (status.get("drills") or {}).get("enabled"):
        raise UserError("the watchtower refuses drills: set watchtower.drill_gas_daily above 0")
    if status["rollup"].lower() != guarded.rollup.lower():
        raise UserError(f"the watchtower guards {status['rollup']}, the deployment file names {guarded.rollup}")
    account = bytes.fromhex(status["account"][2:])
    if account == own:
        raise UserError("this is the watchtower's own key: use another one, or its nonces are used twice")
    return Tower(rpc, account, int(status["drills"]["gas_max"]))


@dataclass(slots=True)
class Exercise:
    """One run of the command."""

    client: Any
    sender: Any
    signer: Any
    tower: Any
    datadir: Path
    guarded: Any
    report: Report
    costs: Costs

    @property
    def folder(self) -> Path:
        """Where the watchtower looks."""
        from prover.drill_request import FOLDER

        return self.datadir / FOLDER

    async def prepare(self, fresh: bool, limits: tuple[bool, int, float], *, quiet: bool) -> Any:
        """The sandbox, found or deployed. Raises UserError before anything is spent."""
        from node.cli.fire import sandbox as sandboxes

        if not self.folder.is_dir():
            raise UserError(f"{self.folder} is not there: give the running watchtower's datadir with --datadir")
        found = [] if fresh else await sandboxes.court_differences(self.client, self.guarded)
        if found:
            raise UserError(f"the deployed court is not the one that this version ships ({'; '.join(found)}): a drill "
                            "would say nothing about it. Run the version that was deployed; --fresh drills this one")
        await self._check_purse()
        file = self.folder / "sandbox.json"
        need = await sandboxes.find(self.client, file, self.guarded, fresh=fresh)
        operator = None
        if need.sandbox is not None:
            operator = await self._old(need.sandbox)
            if operator is None:
                file.unlink()
                need = await sandboxes.find(self.client, file, self.guarded, fresh=False)
        await self._announce(need, limits, quiet)
        if operator is not None:
            return operator
        return await self._deploy(need, file, quiet)

    async def _check_purse(self) -> None:
        """A watchtower that cannot pay for a proof has failed already. Raises UserError."""
        from node.l1.fees import FeePolicy, first_offer

        head = await self.client.head()
        offer = first_offer(FeePolicy(), head.base_fee, await self.client.priority_fee())
        held, needed = await self.client.balance(self.tower.account), self.tower.gas_max * offer.cap
        if held < needed:
            raise UserError(f"the watchtower's account 0x{self.tower.account.hex()} has {held / ETHER:.6f} ether, a "
                            f"proof of watchtower.drill_gas_max needs {needed / ETHER:.6f} at hand: fund it")

    async def _old(self, sandbox: Any) -> Any:
        """The operator of an earlier drill's sandbox; None if it stopped serving."""
        from node.cli.fire.operator import DrillOperator

        operator = DrillOperator(self.client, self.sender, self.signer, sandbox)
        self.report.sandbox = {"rollup": sandbox.rollup, "deployed": False, "contracts": sandbox.contracts}
        return operator if await operator.serves() else None

    async def _announce(self, need: Any, limits: tuple[bool, int, float], quiet: bool) -> None:
        """Say what it will cost; raises UserError if that is too much, or not agreed to."""
        yes, max_gas, max_ether = limits
        price = (await self.client.head()).base_fee + await self.client.priority_fee()
        ether = need.gas * price / ETHER
        self.report.announced_gas = need.gas
        told = f"about {need.gas:,} gas, {ether:.6f} ether at today's {price / 10**9:.2f} gwei"
        told += f" (deploys a sandbox: {need.why})" if need.sandbox is None else " (an earlier drill's sandbox)"
        if not quiet:
            note(f"{told}; the watchtower's proof comes on top")
        if need.gas > max_gas or ether > max_ether:
            raise UserError(f"the drill takes {told}: more than --max-gas {max_gas:,} or --max-ether {max_ether:g}")
        if not yes:
            raise UserError(f"the drill takes {told}; run it again with --yes")
        held = await self.client.balance(self.sender.address)
        if held < need.gas * price:
            raise UserError(f"0x{self.sender.address.hex()} has {held / ETHER:.6f} ether, the drill takes {told}")

    async def _deploy(self, need: Any, file: Path, quiet: bool) -> Any:
        from node.cli.fire import sandbox as sandboxes
        from node.cli.fire.operator import MARKET, DrillOperator, publishers
        from node.l1.deploy import deploy

        plan = sandboxes.plan([each.address for each in publishers(self.signer)], MARKET, need.parts)
        record = await deploy(self.client, self.sender, plan, (lambda text: None) if quiet else note)
        record.save(file)
        self.report.sandbox = {"rollup": record.rollup, "deployed": True, "contracts": record.contracts}
        return DrillOperator(self.client, self.sender, self.signer, record)

    async def run(self, operator: Any, kind: str, seed: int, deadline_s: float, *, quiet: bool) -> None:
        """Post honestly, ask the watchtower, cheat, and judge. What fails is in the report."""
        from node.cli.fire.judge import NotPassed
        from prover.drill_request import BadRequest, remove_request

        drill = secrets.token_hex(8)
        self.report.watchtower = "0x" + self.tower.account.hex()
        say = (lambda text: None) if quiet else note
        try:
            await self._cheat(operator, drill, kind, seed, deadline_s, say)
        except (NotPassed, BadRequest) as error:
            self.report.reason = str(error)
        finally:
            remove_request(self.folder, drill)
            self.report.own = {
                "transactions": self.costs.transactions, "gas": self.costs.gas, "ether": self.costs.wei / ETHER}

    async def _cheat(self, operator: Any, drill: str, kind: str, seed: int, deadline_s: float, say: Any) -> None:
        from node.cli.fire.judge import await_disproof, judge

        report = self.report
        await operator.prepare()
        number, honest = await operator.post_honest()
        say(f"posted the honest batch {number}; asking the watchtower")
        await self._ask(operator, drill, deadline_s)
        await self.tower.until_following(drill, honest.block_number, number, deadline_s)
        report.kind, report.batch, posted = await operator.post_wrong(kind, seed)
        say(f"posted batch {report.batch}, which is wrong: {report.kind}")
        begun = trio.current_time()
        disproof = await await_disproof(
            self.client, self.tower, drill, operator.rollup, report.batch, posted, deadline_s)
        report.seconds = round(trio.current_time() - begun, 3)
        receipt = disproof.receipt
        report.proof = {
            "l1_tx": "0x" + receipt.tx_hash.hex(), "sender": "0x" + disproof.sender.hex(), "gas": receipt.gas_used,
            "ether": receipt.gas_used * receipt.price / ETHER, "calldata_bytes": disproof.calldata_bytes,
            "l1_transactions": disproof.l1_transactions}
        judge(disproof, self.tower)
        report.passed = True

    async def _ask(self, operator: Any, drill: str, deadline_s: float) -> None:
        from prover.drill_request import DrillRequest, write_request

        sandbox, head = operator.sandbox, await self.client.head()
        expires_at = head.timestamp + int(2 * deadline_s) + TTL_MARGIN_S
        write_request(self.folder, DrillRequest(
            drill, sandbox.l1_chain_id, sandbox.rollup, sandbox.start_block, sandbox.contracts,
            "0x" + operator.address.hex(), head.number, expires_at))


def _text(report: Report) -> str:
    own = report.own
    lines = [f"sandbox {report.sandbox.get('rollup')}: {own['transactions']} transactions, {own['gas']:,} gas, "
             f"{own['ether']:.6f} ether"]
    if report.proof:
        proof = report.proof
        lines.append(f"batch {report.batch} ({report.kind}) disproved by {proof['sender']} {report.seconds} s after it "
                     f"was posted: {proof['l1_transactions']} transaction, {proof['gas']:,} gas, "
                     f"{proof['ether']:.6f} ether, {proof['calldata_bytes']:,} bytes")
    lines.append("drill passed" if report.passed else f"drill FAILED: {report.reason}")
    return "\n".join(lines)
