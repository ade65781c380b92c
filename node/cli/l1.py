"""Commands that concern L1 alone: serve the embedded chain, deploy, mint test dollars, take the seat."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import trio
from cyclopts import Parameter

from node import log
from node.cli.output import UserError, emit, note, run_async

L1Url = Annotated[str, Parameter(
    name="--l1.rpc", env_var="ANCHORLINE_L1_RPC", help="URL of the L1 node's JSON-RPC.")]
DeploymentFile = Annotated[Path, Parameter(
    name="--deployment", env_var="ANCHORLINE_DEPLOYMENT", help="File that `anchorline deploy` wrote.")]

DEFAULT_L1 = "http://127.0.0.1:8545"
DEFAULT_DEPLOYMENT = Path("deployment.json")
PUBLIC_KEYS: Final = "these keys are public: use them on a test chain only, and never send anything of value to them"
SEAT_CALLS: Final = {
    "leave_seat": "the seat is left", "release_bond": "the bond was paid back", "claim_reward": "the reward was paid"}
DOLLARS_LIMIT: Final = 9_000_000_000_000  # as micro-USD, within a double's whole numbers and the inbox's 64 bits


def l1(
    *, host: str = "127.0.0.1", port: int = 8545, chain_id: int = 31_337, block_time_s: int = 1,
    safe_lag_blocks: int = 4, finalized_lag_blocks: int = 8, accounts: int = 10, genesis_ago_s: int = 0,
    log_level: str = "warning", json: bool = False,
) -> None:
    """Serve the embedded L1: a Prague chain on py-evm, funded for the accounts of the public test mnemonic.

    Shows those accounts with their keys. The keys are public: whatever they hold on a real chain is anybody's.

    Parameters
    ----------
    host
        Address to listen on. Anything but loopback is reachable by others, and the accounts are anybody's.
    port
        Port to listen on; 0 takes any free one.
    chain_id
        Chain id of L1.
    block_time_s
        Seconds between blocks; 0 mines when a transaction comes.
    safe_lag_blocks
        Blocks that the safe head lags behind.
    finalized_lag_blocks
        Blocks that the finalized head lags behind.
    accounts
        Accounts of the mnemonic that are funded, with 10,000 test ether each.
    genesis_ago_s
        Seconds that the first block lies in the past, so that many blocks can follow at once without a clock ahead.
    log_level
        Least severity that is printed: debug, info, warning or error.
    json
        Print one JSON object when it is up.
    """
    from node.l1.devchain import DevchainConfig, run

    config = DevchainConfig(
        host=host, port=port, chain_id=chain_id, block_time_s=block_time_s, safe_lag_blocks=safe_lag_blocks,
        finalized_lag_blocks=finalized_lag_blocks, accounts=accounts,
        genesis_time_s=int(time.time()) - genesis_ago_s if genesis_ago_s else 0)
    try:
        config.check()
        log.configure(log_level)
    except ValueError as error:
        raise UserError(str(error)) from None

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bound: Any = await nursery.start(run, config)
            place = {"role": "l1", "rpc": bound.http_url, "chain_id": chain_id}
            emit(json, place | _funded(accounts), lambda: f"{_funded_text(accounts)}\nL1 serves {bound.http_url}")

    run_async(main)


def _funded(count: int) -> dict[str, Any]:
    """The accounts that a development chain funds. Their keys are no secrets: every Ethereum tool knows them."""
    from node.l1.devchain.accounts import MNEMONIC, dev_accounts

    accounts = [{"address": "0x" + item.address.hex(), "private_key": "0x" + item.key.hex()}
                for item in dev_accounts(count)]
    return {"mnemonic": MNEMONIC, "accounts": accounts, "warning": PUBLIC_KEYS}


def _funded_text(count: int) -> str:
    funded = _funded(count)
    rows = [f"  {item['address']}  {item['private_key']}" for item in funded["accounts"]]
    return "\n".join([f"funded accounts and their keys, of the mnemonic \"{funded['mnemonic']}\":", *rows, PUBLIC_KEYS])


@asynccontextmanager
async def open_l1(url: str, journal: Path | None = None) -> AsyncIterator[Any]:
    """(client, sender) with the user's key. With a journal, sending survives restarts."""
    from node.cli.keys import user_signer
    from node.l1.client import L1Client
    from node.l1.journal import FileJournal
    from node.l1.sender import SenderConfig, open_sender
    from node.sdk.l1 import MemoryJournal

    signer = user_signer()
    try:
        client = L1Client(url)
    except ValueError as error:
        raise UserError(f"{error}; give --l1.rpc") from None
    kept: Any = MemoryJournal() if journal is None else FileJournal(journal)
    try:
        config = SenderConfig(confirmations=0, poll_s=0.2)
        async with open_sender(client, signer, kept, config) as sender:
            yield client, sender
    finally:
        kept.close()
        client.close()


def deploy(
    *, l1_rpc: L1Url = DEFAULT_L1, out: Path = DEFAULT_DEPLOYMENT, publishers: list[str] | None = None,
    token: str = "", markets: Path | None = None, l2_chain_id: int = 412_346, challenge_window_s: int = 86_400,
    force_delay_s: int = 7_200, seat_idle_s: int = 21_600, timelock_s: int = 172_800, bond_delay_s: int = 21_600,
    exodus_after_s: int = 604_800, reseat_s: int = 259_200, promise_deadline_s: int = 21_600, json: bool = False,
) -> None:
    """Deploy the contracts with your key (ANCHORLINE_KEY or ANCHORLINE_KEYSTORE) as admin, and open the rollup.

    An interrupted deployment goes on where it stopped when it is run again with the same --out.

    Parameters
    ----------
    out
        Deployment file to write; client commands and roles read it (--deployment). The journal of what was sent stays
        beside it, as .journal.
    publishers
        Addresses of the price publishers, one flag each: slot 0, 1, … of every market; at least a market's quorum (3).
        With just so many, one that is silent stops the market: five bear two.
    token
        An ERC-20 with 6 decimals to use as collateral; empty deploys a TestUSD that anyone may mint.
    markets
        TOML file of [[market]] tables and a [chain] table; without it, BTC-USD and ETH-USD.
    l2_chain_id
        Chain id of L2; signatures are bound to it and to the Rollup.
    challenge_window_s
        Seconds in which a batch can be disproved.
    force_delay_s
        Seconds after which a message on L1 must be in the next batch.
    seat_idle_s
        Seconds of leaving a message unconsumed after which anyone may evict the seat's holder.
    timelock_s
        Seconds that pass before a change by the admin takes effect.
    bond_delay_s
        Seconds after leaving the seat before the bond can be released; not less than promise_deadline_s.
    exodus_after_s
        Seconds of leaving a message unconsumed after which anyone may freeze the rollup, and everyone leaves.
    reseat_s
        Seconds without a sequencer after which anyone may do so too.
    promise_deadline_s
        Seconds in which a promised transaction must be posted.
    json
        Print one JSON object: the deployment.
    """
    from node.cli.keys import parse_address
    from node.l1.deploy import deploy as deploy_all
    from node.l1.deployment import DEFAULT_MARKETS, ChainSpec, Plan, Timings, load_markets, to_json
    log.configure("warning")
    journal = out.with_suffix(".journal")
    if out.exists():
        raise UserError(f"{out} exists already: name another file with --out, or remove it and {journal}")
    timings = _checked(Timings(
        challenge_window_s=challenge_window_s, force_delay_s=force_delay_s, seat_idle_s=seat_idle_s,
        timelock_s=timelock_s, bond_delay_s=bond_delay_s, force_floor_s=max(1, force_delay_s // 8),
        exodus_after_s=exodus_after_s, reseat_s=reseat_s, promise_deadline_s=promise_deadline_s))
    specs, chain = (DEFAULT_MARKETS, ChainSpec()) if markets is None else load_markets(markets)
    plan = Plan(
        tuple(parse_address(item, "publishers") for item in publishers or ()), timings, specs, l2_chain_id,
        parse_address(token, "token") if token else b"", chain)
    _check_quorum(plan)

    async def main() -> None:
        async with open_l1(l1_rpc, journal) as (client, sender):
            deployment = await deploy_all(client, sender, plan, (lambda text: None) if json else note)
        deployment.save(out)
        text = (f"rollup {deployment.rollup} is open ({deployment.gas_used:,} gas); wrote {out}\n"
                f"{journal} beside it holds what was sent; to deploy anew, remove both")
        emit(json, to_json(deployment), text)

    run_async(main)


def _checked(timings: Any) -> Any:
    """The timings. Raises UserError if they contradict each other."""
    try:
        timings.check()
    except ValueError as error:
        raise UserError(str(error)) from None
    return timings


def _check_quorum(plan: Any) -> None:
    """Raises UserError if too few publishers would leave a market without a price for ever."""
    count, quorum = len(set(plan.publishers)), max((market.quorum for market in plan.markets), default=1)
    if count < quorum:
        raise UserError(f"publishers: {count} cannot make a price, a market's quorum is {quorum}; "
                        "give --publishers ADDRESS for each")


def mint(amount: float, *, to: str = "", l1_rpc: L1Url = DEFAULT_L1, deployment: DeploymentFile = DEFAULT_DEPLOYMENT,
         json: bool = False) -> None:
    """Mint test dollars.

    Parameters
    ----------
    amount
        Dollars.
    to
        Address that gets them; yours by default.
    """
    _on_l1(l1_rpc, deployment, json, "mint", amount, to)


def seat(amount: float | None = None, *, leave: bool = False, release: bool = False, reward: bool = False,
         l1_rpc: L1Url = DEFAULT_L1, deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False) -> None:
    """Take the sequencer's seat with your key, the one that will post batches; or leave it, and have the bond back.

    Parameters
    ----------
    amount
        Dollars to put into the bond.
    leave
        Leave the seat. Stop the sequencer first, when everything that it promised is posted.
    release
        Have the bond paid back: after leaving, once the last batch is final and the delay for promises is over.
    reward
        Have paid what your proofs of others' fraud have earned.
    """
    wanted = [name for name, yes in (("leave_seat", leave), ("release_bond", release), ("claim_reward", reward)) if yes]
    if (amount is None) != (len(wanted) == 1):
        raise UserError("seat: give the dollars of a bond, or one of --leave, --release, --reward")
    _on_l1(l1_rpc, deployment, json, wanted[0] if wanted else "seat", amount or 0.0, "")


def _on_l1(url: str, deployment: Path, json: bool, what: str, amount: float, to: str) -> None:
    from node.cli.keys import parse_address
    from node.l1.deployment import load_deployment
    from node.sdk.l1 import L1Wallet

    log.configure("warning")
    micro = 0 if what in SEAT_CALLS else micro_usd(amount)
    record = load_deployment(deployment)

    async def main() -> None:
        async with open_l1(url) as (client, sender):
            wallet = L1Wallet(client, sender, record)
            if what == "mint":
                receipt = await wallet.mint(micro, parse_address(to, "to") if to else sender.address)
            elif what in SEAT_CALLS:
                receipt = await wallet.call_rollup(what)
            else:
                await need_dollars(wallet, micro)
                receipt = await wallet.take_seat(micro)
        result = {"l1_tx": "0x" + receipt.tx_hash.hex(), "gas": receipt.gas_used, "amount": micro}
        money = f"{'minted' if what == 'mint' else 'in the seat with a bond of'} {amount:,.2f} USD"
        emit(json, result, f"{SEAT_CALLS.get(what, money)} in {result['l1_tx']}")

    run_async(main)


def micro_usd(dollars: float) -> int:
    """Micro-USD of an amount in dollars. Raises UserError unless it is positive and has 6 decimals at most."""
    micro = round(dollars * 1_000_000) if abs(dollars) < DOLLARS_LIMIT else 0  # and not for NaN
    if micro <= 0 or abs(micro - dollars * 1_000_000) > 1e-3:
        raise UserError(f"amount: {dollars} is not a positive number of dollars with at most 6 decimals, "
                        f"below {DOLLARS_LIMIT:,}")
    return micro


async def need_dollars(wallet: Any, micro: int) -> None:
    """Raises UserError unless the wallet holds that much on L1; the token's own words name no amounts."""
    held = await wallet.balance()
    if held < micro:
        raise UserError(f"0x{wallet.address.hex()} holds {held / 1_000_000:,.2f} USD on L1, {micro / 1_000_000:,.2f} "
                        "are needed; on a test chain `anchorline mint` gives more")
