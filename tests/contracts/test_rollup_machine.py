"""Random histories of everything that anybody can call, against a model of everybody's money (`machine/`).

`pytest -s tests/contracts/test_rollup_machine.py` prints how often each function went through and was refused.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import PROFILE
from tests.contracts.machine.chain import plain_chain
from tests.contracts.machine.money import Money

CONTRACTS = ("Rollup", "Exodus", "PromiseCourt", "FraudVerifier", "ClaimMarket")
# powers that only another contract has: they went through if its function did
THROUGH = {
    "Rollup.drop": "FraudVerifier.prove_chunk", "Rollup.freeze": "Exodus.freeze", "Rollup.pay_out": "Exodus.claim",
    "Rollup.slash_promise": "PromiseCourt.prove_conflict", "Rollup.fine_promise": "PromiseCourt.prove_late",
    "Rollup.pay_victim": "PromiseCourt.pay", "Rollup.move_claim": "ClaimMarket.buy",
}
# look-ups for eth_call that nothing refuses
NEVER_REFUSED = {"FraudVerifier.execute_chunk", "PromiseCourt.transaction_at"}

HISTORIES, STEPS = (1_500, 80) if PROFILE == "long" else (40, 50)


def test_tokens_held_are_at_least_claims_whoever_calls_what() -> None:
    """After every step of every history; and every function was really reached, with success and without."""
    run_state_machine_as_test(Money, settings=settings(
        max_examples=HISTORIES, stateful_step_count=STEPS, suppress_health_check=list(HealthCheck)))
    counts = plain_chain().counts
    names = sorted(name for name in set(counts.names.values()) if name.split(".")[0] in CONTRACTS)
    print(f"\n  {'function':<36}{'done':>8}{'refused':>9}")
    for name in names:
        print(f"  {name:<36}{counts.done[name]:>8}{counts.refused[name]:>9}")
    assert len(names) > 40
    assert [n for n in names if not counts.done[THROUGH.get(n, n)]] == [], "never went through"
    assert [n for n in names if not counts.refused[n] and n not in NEVER_REFUSED] == [], "never refused"
