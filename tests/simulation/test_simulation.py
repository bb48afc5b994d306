"""The whole runtime over faulty stores, dying workers and a world that counts: by seed, and with bugs planted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.promises import promise
from tests.simulation.__main__ import main
from tests.simulation.bugs import BUGS, Bug, planted
from tests.simulation.scenario import simulate

SEEDS = 300
BUG_SEEDS = 500
MUST_OCCUR = (
    *(f"answer: {code}" for code in ("ok", "ok replayed", "EFFECT_CONFLICT", "OUTCOME_UNKNOWN", "STORE_UNAVAILABLE")),
    *(f"answer: {code}" for code in ("TIMEOUT", "CANCELLED", "SHUTTING_DOWN", "LIMIT_REACHED", "NOT_AUTHORISED")),
    *(f"answer: {code}" for code in ("APPROVAL_PENDING", "APPROVAL_REJECTED", "TOOL_ERROR", "MAX_RETRIES")),
    *(f"answer: {code}" for code in ("RATE_LIMITED", "CIRCUIT_OPEN", "LOOP_DETECTED")),
    *(f"approval: {say}" for say in ("yes", "no", "late", "pending", "breaks")),
    *(f"audit: {what}" for what in ("answered again", "lease free", "settled by hand as done")),
    *(f"effect: {kind}" for kind in ("once", "keyed", "idempotent", "verified", "undeclared")),
    *(f"fault: {what}" for what in ("crash", "drain", "cancelled run", "clock jump", "clock jump by hours")),
    *(f"left open: {state}" for state in ("started", "unknown")),
    *(f"store: {what}" for what in ("fine", "slow", "slow answer", "refused", "lost answer")),
    *(f"store: hangs {when}" for when in ("before", "after")),
    *(f"verdict: {what}" for what in ("Happened", "WillNotHappen", "Unclear")),
    *(f"world: {what}" for what in ("answer lost", "request lost", "hangs after", "slow", "exits after", "busy")),
)
"""An empty simulation proves nothing: each of these must have happened."""


@promise("steady:simulation", "effect:once", "effect:conflict", "effect:unknown")
def test_every_promise_holds_in_every_seed_and_every_kind_of_trouble_occurs() -> None:
    seen: Counter[str] = Counter()
    broken: list[str] = []
    for seed in range(SEEDS):
        outcome = simulate(seed)
        seen.update(outcome.history.seen)
        broken += [f"make simulate SEED={seed}: {text}" for text in outcome.history.broken]
    assert not broken, "\n".join(broken)
    assert [label for label in MUST_OCCUR if not seen[label]] == []


@promise("steady:simulation")
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found(bug: Bug) -> None:
    with planted(bug):
        found = next((seed for seed in range(BUG_SEEDS) if not simulate(seed).held), None)
    assert found is not None, f"{BUG_SEEDS} seeds did not find that {bug.name}"
    print(f"found after {found + 1} seeds: {bug.name}")


@promise("steady:simulation")
@pytest.mark.parametrize("seed", [3, 8, 27])
def test_a_seed_is_the_same_story_in_every_process(seed: int) -> None:
    told = {_digest(seed, hashing) for hashing in ("1", "4242")}
    assert told == {simulate(seed).history.digest()}


def _digest(seed: int, hashing: str) -> str:
    """As a process with another order of hashes has it."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--digest"]
    environment = {**os.environ, "PYTHONHASHSEED": hashing}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@promise("steady:simulation")
def test_a_failing_seed_prints_the_one_line_that_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    bug = next(bug for bug in BUGS if bug.name == "a conflict is not seen")
    with planted(bug):
        assert main(["--seeds", "0..5"]) == 1
        assert "FAILED: make simulate SEED=0 " in capsys.readouterr().out
        assert main(["--seed", "0", "--verbose"]) == 1
    told = capsys.readouterr().out
    assert "seed 0: a result answers its own call" in told
    assert "EFFECT" in told
