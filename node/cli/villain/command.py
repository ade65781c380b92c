"""``anchorline villain``: play the catalogue against a running network of one's own, and see who loses what.

The network's watchtowers are the defence; they are not told. On a development L1 the villain makes its own ether and
needs no key. Elsewhere it spends its own: ANCHORLINE_VILLAIN_KEY (or ANCHORLINE_VILLAIN_KEYSTORE and
ANCHORLINE_VILLAIN_PASSWORD); the publishers' keys are taken from ANCHORLINE_PUBLISHER_KEYS.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from node import log
from node.cli.keepers import PUBLISHER_KEYS
from node.cli.l1 import DEFAULT_DEPLOYMENT, DEFAULT_L1, DeploymentFile, L1Url
from node.cli.output import UserError, emit, note, run_async

if TYPE_CHECKING:
    from node.cli.villain.catalogue import Attack, Outcome
    from node.cli.villain.field import Field, Purse
    from node.cli.villain.l1 import VillainL1
    from node.l1.deployment import Deployment
    from node.l1.keys import LocalSigner

KEY: Final = "ANCHORLINE_VILLAIN_KEY"
KEYSTORE: Final = "ANCHORLINE_VILLAIN_KEYSTORE"
PASSWORD: Final = "ANCHORLINE_VILLAIN_PASSWORD"
RICH: Final = 10_000 * 10**18  # what a development chain gives
MODEST: Final = 10**17  # wei that each actor gets where ether is worth something


def villain(
    *names: str, all: bool = False, list_: Annotated[bool, Parameter(name="--list")] = False, to_the_end: bool = False,
    patience_s: int = 0, defence_s: float = 120.0, i_own_this_network: bool = False, l1_rpc: L1Url = DEFAULT_L1,
    deployment: DeploymentFile = DEFAULT_DEPLOYMENT, json: bool = False,
) -> None:
    """Attack a running network of your own by every known means, and report who lost what.

    Ends with status 1 if anything did not hold. What cannot be played on this network (the seat is held, L1's time
    cannot be moved) is listed with the reason and never counted as held.

    Parameters
    ----------
    names
        Attacks to play, by name or by group; --list shows them.
    all
        Play the whole catalogue.
    list_
        Show the catalogue and play nothing.
    to_the_end
        Also play attacks after which the rollup is over.
    patience_s
        Seconds of L1 time that an attack may really wait for, where L1's clock cannot be moved.
    defence_s
        Seconds in which the network's watchtowers must have proven a wrong batch.
    i_own_this_network
        Say that the network is yours. Needed on any L1 but the embedded one and anvil.
    """
    log.configure("critical")
    from node.cli.villain.catalogue import catalogue
    from node.cli.villain.report import expected, listing

    found = catalogue()
    if list_:
        rows = [{"attack": a.name, "group": a.group, "summary": a.summary, "needs": sorted(a.needs),
                 "outcome": expected(a)} for a in found.values()]
        emit(json, {"attacks": rows}, lambda: listing(found.values()))
        return
    chosen = _chosen(found, names, all)
    from node.l1.deployment import load_deployment

    record = load_deployment(deployment)
    campaign = Campaign(chosen, record, l1_rpc, to_the_end, patience_s, defence_s, i_own_this_network)
    run_async(campaign.run)
    emit(json, campaign.result(), campaign.text)
    if any(not outcome.held for outcome in campaign.outcomes):
        raise UserError("the protocol did not hold against every attack: see above")
    if not campaign.outcomes:
        raise UserError("nothing could be played here, so nothing is shown to hold: the reasons are above")


def _chosen(found: dict[str, Attack], names: Sequence[str], all: bool) -> list[Attack]:
    """The attacks that were named. Raises UserError for a name that there is not."""
    from difflib import get_close_matches

    groups = {attack.group for attack in found.values()}
    if all or tuple(names) == ("all",):
        return list(found.values())
    if not names:
        raise UserError("name attacks or groups, or --all; --list shows them")
    for name in names:
        if name not in found and name not in groups:
            close = get_close_matches(name, [*found, *groups], 1)
            hint = f"did you mean {close[0]}?" if close else "see --list"
            raise UserError(f"there is no attack {name!r}; {hint}")
    return [attack for attack in found.values() if attack.name in names or attack.group in names]


@dataclass
class Campaign:
    """One run of the command."""

    attacks: list[Attack]
    deployment: Deployment
    url: str
    to_the_end: bool
    patience_s: int
    defence_s: float
    owned: bool

    def __post_init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.not_played: dict[str, str] = {}

    async def run(self) -> None:
        """Play one after another, then leave the seat."""
        from node.cli.villain.l1 import VillainL1
        from node.l1.client import L1Client

        try:
            client = L1Client(self.url)
        except ValueError as error:
            raise UserError(f"{error}; give --l1.rpc") from None
        try:
            await client.check_chain(self.deployment.l1_chain_id)
            l1 = await VillainL1.open(client, patience_s=self.patience_s)
            field = await self._field(l1)
            await self._all(field)
        finally:
            client.close()

    async def _field(self, l1: VillainL1) -> Field:
        from node.cli.villain.field import Field

        if not l1.dev and not self.owned:
            raise UserError("this L1 is no development chain: attacks burn bonds and may stop the rollup. If the "
                            "network is yours, say so with --i-own-this-network")
        purse = await make_purse(l1, self.deployment)
        field = await Field.open(
            l1, self.deployment, purse, publisher_signers(l1, self.deployment), to_the_end=self.to_the_end)
        field.defence_s = self.defence_s
        return field

    async def _all(self, field: Field) -> None:
        """Everything that the rollup outlives, then leave the seat; then the ends, each of which is one."""
        from node.cli.villain.catalogue import ENDS

        for attack in self.attacks:
            if ENDS not in attack.needs or not self.to_the_end:
                await self._play(attack, field)
        await self._leave(field)
        ends = [attack for attack in self.attacks if ENDS in attack.needs] if self.to_the_end else []
        # whoever needs watchtowers needs the rollup that they watch
        ended = ""
        for attack in sorted(ends, key=needs_no_watchtower):
            if field.l1.dev and needs_no_watchtower(attack):
                await self._play(attack, field, twin=True)
            elif ended:
                self._skip(attack, f"{ended} has ended the rollup: play it on another deployment")
            elif await self._play(attack, field):
                ended = attack.name
        await field.cast.give_back()

    async def _leave(self, field: Field) -> None:
        """The seat is free again for others, and so is the book."""
        from node.cli.villain.catalogue import said

        try:
            await field.clear()
            await field.leave_seat()
        except Exception as error:
            note(f"the scene is not cleared: {said(error)}")

    async def _play(self, attack: Attack, field: Field, *, twin: bool = False) -> bool:
        """Play one in a scene of its own, and keep its outcome or why there is none; whether it was played. Whatever
        happens, the next one gets its turn."""
        from node.cli.villain.catalogue import NotPlayable, play, said
        from node.cli.villain.report import line
        from node.cli.villain.twin import open_twin
        from sequencer.forgery import Unsuitable

        try:
            await field.new_episode()
            outcome = await play(attack, await open_twin(field) if twin else field)
        except NotPlayable as error:
            self._skip(attack, str(error))
        except Unsuitable as error:
            self._skip(attack, f"the network gives no opportunity: {error}")
        except Exception as error:
            self._skip(attack, f"it could not be prepared: {said(error)}")
        else:
            self.outcomes.append(outcome)
            note(line(outcome))
            return True
        return False

    def _skip(self, attack: Attack, reason: str) -> None:
        self.not_played[attack.name] = reason
        note(f"{attack.name}: not played: {reason}")

    def result(self) -> dict[str, Any]:
        """For ``--json``."""
        held = sum(outcome.held for outcome in self.outcomes)
        return {
            "played": [outcome.row() for outcome in self.outcomes],
            "not_played": [{"attack": name, "reason": reason} for name, reason in self.not_played.items()],
            "held": held, "broken": len(self.outcomes) - held}

    def text(self) -> str:
        """For people."""
        from node.cli.villain.report import table

        return table(self.outcomes, self.not_played)


def needs_no_watchtower(attack: Attack) -> bool:
    """Whether the attack is answered by its own cast alone."""
    return attack.proofs == 0 and "watchtower" not in attack.gains


async def make_purse(l1: VillainL1, deployment: Deployment) -> Purse:
    """Where the money comes from. Raises UserError without a key on a chain that has no faucet."""
    from eth_hash.auto import keccak

    from node.cli.villain.field import Purse
    from node.l1.keys import LocalSigner, signer_from_environment

    keystore = os.environ.get(KEYSTORE)
    named = bool(keystore or os.environ.get(KEY))
    if not named and not l1.dev:
        raise UserError(f"no key: set {KEYSTORE} to a keystore file and {PASSWORD} to its password, or {KEY} to a "
                        "hexadecimal key with ether on this L1")
    signer = (signer_from_environment(os.environ, KEY, PASSWORD, Path(keystore) if keystore else None) if named
              else LocalSigner(keccak(b"anchorline villain's purse")))
    if l1.dev:
        await l1.client.rpc("anvil_setBalance", "0x" + signer.address.hex(), hex(RICH))
    # deterministic, and known to nobody else: the actors' ether and tokens are not lost with the process
    seed = keccak(signer.sign_hash(keccak(b"anchorline villain's cast")))
    own_token = "TestUSD" in deployment.contracts and deployment.contracts["TestUSD"] == deployment.token
    return Purse(signer, seed, RICH // 1_000 if l1.dev else MODEST, faucet=own_token)


def publisher_signers(l1: VillainL1, deployment: Deployment) -> list[LocalSigner]:
    """Signers of the publisher slots: from the environment, or the public test keys where the deployment has them."""
    from node.l1.devchain.accounts import dev_accounts
    from node.l1.keys import LocalSigner

    wanted = [bytes.fromhex(address[2:]) for address in deployment.publishers]
    texts = [part.strip() for part in os.environ.get(PUBLISHER_KEYS, "").split(",") if part.strip()]
    try:
        known = [LocalSigner(bytes.fromhex(text.removeprefix("0x"))) for text in texts]
    except ValueError:
        raise UserError(f"{PUBLISHER_KEYS} holds a key that is not hexadecimal") from None
    if l1.dev:
        known += [LocalSigner(account.key) for account in dev_accounts(10)]
    by_address = {signer.address: signer for signer in known}
    return [by_address[address] for address in wanted] if all(address in by_address for address in wanted) else []
