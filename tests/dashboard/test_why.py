"""Why a call ended as it did: each code points at the stage that gives it, and nothing is claimed that is not known."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dashboard.made import MONO, attempt, call, moment
from toolrail.codes import CODES, Code
from toolrail.dashboard.why import STAGES, Stage, State, Why, why

NOT_RUN: dict[str, Any] = {"attempts": 0, "began": False, "handler_seconds": 0.0}


def _ended(code: Code, **more: Any) -> Why:
    return why(call(code=code.value, status=CODES[code].status, **more))


def _states(found: Why) -> dict[Stage, State]:
    return {step.stage: step.state for step in found.steps}


@pytest.mark.parametrize(
    ("code", "more", "stage"),
    [
        (Code.UNKNOWN_TOOL, {"digest": ""}, "find"),
        (Code.TRUNCATED, {"digest": ""}, "find"),
        (Code.NOT_AUTHORISED, {"digest": ""}, "find"),
        (Code.INVALID_ARGUMENTS, {}, "validate"),
        (Code.UNGROUNDED, {}, "ground"),
        (Code.NOT_AUTHORISED, {"decision": "deny", "rule": "refund-limit", "reason": "too much"}, "authorise"),
        (Code.EFFECT_CONFLICT, {}, "recall"),
        (Code.OUTCOME_UNKNOWN, {}, "recall"),
        (Code.APPROVAL_REJECTED, {"decision": "ask"}, "approve"),
        (Code.APPROVAL_PENDING, {"decision": "ask"}, "approve"),
        (Code.RATE_LIMITED, {}, "admit"),
        (Code.CIRCUIT_OPEN, {}, "admit"),
        (Code.LIMIT_REACHED, {}, "admit"),
        (Code.LOOP_DETECTED, {}, "admit"),
    ],
)
def test_a_call_that_never_ran_ended_at_the_stage_of_its_code(code: Code, more: dict[str, Any], stage: Stage) -> None:
    found = _ended(code, **NOT_RUN, **more)
    states = _states(found)
    assert states[stage] == ("waits" if CODES[code].status == "pending" else "here")
    after = STAGES[STAGES.index(stage) + 1 : -1]
    assert {states[one] for one in after} <= {"unreached"}
    assert {states[one] for one in STAGES[: STAGES.index(stage)]} <= {"passed", "skipped"}


@pytest.mark.parametrize(
    "code", [Code.TOOL_ERROR, Code.MAX_RETRIES, Code.TIMEOUT, Code.OUTCOME_UNKNOWN, Code.CANCELLED]
)
def test_a_call_that_ran_ended_in_the_tools_code(code: Code) -> None:
    found = _ended(code, attempts=2, claimed_seq=3)
    assert _states(found)["execute"] == "here"
    assert _states(found)["claim"] == "passed"


@pytest.mark.parametrize("code", [Code.STORE_UNAVAILABLE, Code.SHUTTING_DOWN, Code.CANCELLED, Code.TIMEOUT])
def test_where_several_stages_may_have_ended_it_none_is_blamed(code: Code) -> None:
    states = _states(_ended(code, **NOT_RUN))
    assert "here" not in states.values()
    assert "maybe" in states.values()


@pytest.mark.parametrize("code", list(Code))
@pytest.mark.parametrize("more", [NOT_RUN, {"attempts": 1}, {**NOT_RUN, "digest": ""}])
def test_every_code_has_an_answer(code: Code, more: dict[str, Any]) -> None:
    found = _ended(code, **more)
    assert [step.stage for step in found.steps] == list(STAGES)
    assert found.headline.endswith(".")
    assert {"here", "maybe", "waits"} & set(_states(found).values())


def test_a_denial_names_its_rule_and_its_reason() -> None:
    denied = {"decision": "deny", "rule": "refund-limit", "reason": "more than 500 EUR"}
    found = _ended(Code.NOT_AUTHORISED, **NOT_RUN, **denied)
    step = found.steps[STAGES.index("authorise")]
    assert dict(step.facts) == {
        "code": "NOT_AUTHORISED",
        "principal": "alice",
        "rule": "refund-limit",
        "reason": "more than 500 EUR",
    }
    assert "'refund-limit'" in found.headline


def test_an_unknown_outcome_says_how_to_settle_it() -> None:
    found = _ended(Code.OUTCOME_UNKNOWN, attempts=1, key="run'1:2:0")
    assert found.commands[0] == "effects show 'run'\"'\"'1:2:0'"
    assert _ended(Code.OUTCOME_UNKNOWN, **NOT_RUN).commands == ("effects list",)


def test_an_outcome_that_became_known_needs_nothing_more() -> None:
    found = _ended(Code.OUTCOME_UNKNOWN, attempts=1, later="ok", later_how="hand")
    assert found.next == ()
    assert ("known since", "ok (by a person)") in found.steps[-1].facts


def test_a_replayed_result_was_answered_by_recall() -> None:
    found = why(call(replayed=True, **NOT_RUN))
    assert _states(found)["recall"] == "answered"
    assert _states(found)["execute"] == "unreached"


def test_a_success_passed_each_stage_or_did_not_need_it() -> None:
    found = why(call(effect="read"))
    assert set(_states(found).values()) == {"passed", "skipped"}
    assert found.headline == "It succeeded."


def test_an_approval_tells_who_decided() -> None:
    decided = moment("ApprovalDecided", 1, key="k", data={"approved": True, "approver": "carol"})
    found = why(call(decision="ask", rule="large"), (), [decided])
    assert found.steps[STAGES.index("approve")].facts == (("decided by", "carol"),)


def test_attempts_are_told_one_by_one() -> None:
    tried = (attempt(1, 1, 1.0, wait=0.5), attempt(2, 3, 1.0, failure=None, error_type=None))
    facts = dict(why(call(attempts=2), tried).steps[STAGES.index("execute")].facts)
    assert facts["attempt 1"] == "transient ConnectError after 1.000 s; then waited 0.500 s"
    assert facts["attempt 2"] == "returned after 1.000 s"


@pytest.mark.parametrize(
    ("more", "at"),
    [({}, "validate"), ({"decision": "allow"}, "authorise"), ({"claimed_seq": 3, "claimed_mono": MONO}, "execute")],
)
def test_of_a_call_without_a_result_no_more_is_said_than_its_events_show(more: dict[str, Any], at: Stage) -> None:
    found = why(call(seconds=None, **more))
    states = _states(found)
    assert states[at] == "open"
    assert {states[one] for one in STAGES[STAGES.index(at) + 1 :]} == {"unreached"}
