"""Does the machine find anything? Contracts with one line broken each must fall to it.

Compiling takes seconds a mutant, so by default there is one of each contract; the long profile breaks all of them.
Compiled mutants are kept in the contracts' cache until a source changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from contracts import Artifact, build
from tests.contracts.machine.chain import Chain
from tests.contracts.machine.money import Money
from tests.evm import CACHE_DIR

HISTORIES, STEPS = 150, 50


@dataclass(frozen=True)
class Mutant:
    """One line of a source, and what stands in its place; ``contract`` is what is deployed with it."""

    name: str
    contract: str
    source: str
    line: str
    broken: str = ""


ALWAYS = (
    Mutant("a withdrawal is paid as often as it is shown", "Rollup", "withdrawals",
           "    self.paid[id // 128] |= bit << (id % 128 * 2)\n"),
    Mutant("a deposit is refunded as often as it is asked for", "Exodus", "Exodus",
           "    self.refunded[number // 256] |= mask\n"),
    Mutant("a victim is paid as often as it asks", "PromiseCourt", "PromiseCourt",
           "    self.claims_of[slash][victim] = 0\n"),
)
LONG = (
    Mutant("custody is not reduced", "Rollup", "withdrawals", "    vault.custody -= amount\n"),
    Mutant("an exodus pays out of nobody's books", "Rollup", "Rollup", "    vault.custody -= amount\n    vault.pay(to",
           "    vault.pay(to"),
    Mutant("a slashed bond stays", "Rollup", "seat",
           "    amount: uint256 = self.bonds[operator].amount\n    self.bonds[operator] = empty(Bond)\n",
           "    amount: uint256 = self.bonds[operator].amount\n"),
    Mutant("a reward is claimed twice", "Rollup", "seat", "    self.rewards[prover] = 0\n"),
    Mutant("a bond leaves before its batches are final", "Rollup", "seat",
           '    assert finalized >= min(bond.last_batch, head), "BOND_LOCKED: finalize your last batch first"\n'),
    Mutant("a final batch can be dropped", "Rollup", "batches",
           "header.number > 0 and not self._is_final(header)", "header.number > 0"),
    Mutant("a withdrawal before its window is over", "Rollup", "batches",
           '    assert self._is_final(header), "NOT_FINAL: the challenge window is open"\n'),
    Mutant("deposits after the end", "Rollup", "Rollup",
           '    assert powers.frozen_at == 0, "FROZEN: the rollup has ended, see Exodus"\n'),
    Mutant("claims are sold whatever their amount", "Rollup", "withdrawals",
           "keccak256(abi_encode(id, recipient, amount))", "keccak256(abi_encode(id, recipient))"),
    Mutant("L2 is told of what is not paid", "Rollup", "withdrawals",
           "self._mark(id, 2) == 1", "self._mark(id, 2) < 2"),
    Mutant("anybody moves anybody's claim", "Rollup", "withdrawals",
           '    assert owner == self._payee(key, recipient), "NOT_OWNER: of this claim"\n'),
    Mutant("an offer is bought again and again", "ClaimMarket", "ClaimMarket", "    self.is_used[digest] = True\n"),
    Mutant("a claim of a dropped batch is sold", "ClaimMarket", "ClaimMarket",
           '    assert stored == offer.header and stored != empty(bytes32), "HEADER: the batch does not stand"\n'),
    Mutant("no lock on deposits", "Rollup", "Rollup",
           "@external\n@nonreentrant\ndef deposit(", "@external\ndef deposit("),
    Mutant("burning the pot of the victims unlocks it", "Rollup", "Rollup",
           "        seat.burned += amount\n        return\n", "        seat.burned += amount\n"),
    Mutant("a share is claimed twice", "Exodus", "Exodus", "    self.share_of[account].claimed = True\n"),
    Mutant("shares are not cut to what is there", "Exodus", "Exodus",
           "share.equity * min(self.pool, self.registered) // self.registered", "share.equity"),
    Mutant("an account registers under other numbers", "Exodus", "Exodus",
           '    assert account <= params.ACCOUNTS_MAX, "ACCOUNT: ids have 32 bits"\n'),
    Mutant("a pot burns again and again", "PromiseCourt", "PromiseCourt", "    self.is_burned[slash] = True\n"),
    Mutant("a promise claims its victim's part twice", "PromiseCourt", "PromiseCourt", "    self.used[name] = True\n"),
    Mutant("the first victim takes all", "PromiseCourt", "PromiseCourt",
           "case.pot * parts // self.claims_total[slash]", "case.pot"),
)


def compiled(mutant: Mutant) -> Artifact:
    """The contract with its one line broken."""
    folder = CACHE_DIR / "mutants" / mutant.name.replace(" ", "-").replace("'", "")
    for source in sorted(build.CONTRACTS_DIR.rglob("*.vy*")):
        place = folder / source.relative_to(build.CONTRACTS_DIR)
        text = source.read_text()
        if source.stem == mutant.source:
            assert text.count(mutant.line) == 1, f"{source.name} does not have this line once: {mutant.line!r}"
            text = text.replace(mutant.line, mutant.broken)
        if not place.is_file() or place.read_text() != text:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    return build.fresh(folder / f"{mutant.contract}.vy", folder / "artifact.json")


def falls(mutant: Mutant) -> None:
    """The machine finds the broken line. It stops at the first history that does, without making it short."""
    chain = Chain({mutant.contract: compiled(mutant)})

    class Broken(Money):
        make_chain = staticmethod(lambda: chain)

    try:
        run_state_machine_as_test(Broken, settings=settings(
            max_examples=HISTORIES, stateful_step_count=STEPS, phases=[Phase.generate], database=None, derandomize=True,
            deadline=None, report_multiple_bugs=False, print_blob=False, suppress_health_check=list(HealthCheck)))
    except AssertionError as found:
        print(f"\n  {mutant.name}: {(str(found) or repr(found)).splitlines()[0]}")
        return
    pytest.fail(f"no history of {HISTORIES} shows that {mutant.name}")


@pytest.mark.parametrize("mutant", ALWAYS, ids=lambda mutant: mutant.name)
def test_the_machine_finds_a_broken_line(mutant: Mutant) -> None:
    falls(mutant)


@pytest.mark.long
@pytest.mark.parametrize("mutant", LONG, ids=lambda mutant: mutant.name)
def test_the_machine_finds_every_broken_line(mutant: Mutant) -> None:
    falls(mutant)


def test_every_mutant_breaks_one_line_of_todays_sources() -> None:
    """So that none of them is forgotten between runs of the long profile."""
    for mutant in (*ALWAYS, *LONG):
        [source] = build.CONTRACTS_DIR.rglob(f"{mutant.source}.vy")
        assert source.read_text().count(mutant.line) == 1, mutant.name
