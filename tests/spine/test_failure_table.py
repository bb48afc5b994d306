"""DESIGN section 1 as data: what each failure means for each effect class, in status, code, attempts and flags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, rail_of, settled
from toolrail.codes import Code, Status
from toolrail.context import RunContext
from toolrail.definition import tool
from toolrail.effects import BY_NAME, Effect, EffectKind, Unclear, once, verified
from toolrail.errors import ModelRetry, NotAuthorised, ToolError
from toolrail.messages import ToolResult
from toolrail.testing import run_virtual


async def _nobody_knows(*_: Any) -> Unclear:
    return Unclear()


EFFECTS: dict[EffectKind, Effect] = {**{e.kind: e for e in BY_NAME.values()}, "verified": verified(_nobody_knows)}


@dataclass(frozen=True)
class Cell:
    """One cell: how it ends, and after how many attempts of three."""

    status: Status
    code: Code
    attempts: int = 1
    flagged: bool = False


STATED = Cell("error", Code.TOOL_ERROR)
AGAIN = Cell("error", Code.MAX_RETRIES, 3)
DENIED = Cell("denied", Code.NOT_AUTHORISED)
UNKNOWN = Cell("unknown", Code.OUTCOME_UNKNOWN, 1, True)
UNKNOWN_3 = Cell("unknown", Code.OUTCOME_UNKNOWN, 3, True)


KINDS: tuple[EffectKind, ...] = ("read", "idempotent", "keyed", "verified", "once", "undeclared")


def _row(*cells: Cell) -> dict[EffectKind, Cell]:
    return dict(zip(KINDS, cells, strict=True))


def _error(code: Code, attempts: int = 1, *, flagged: bool = False) -> Cell:
    return Cell("error", code, attempts, flagged)


TABLE: dict[str, dict[EffectKind, Cell]] = {
    "permanent": _row(*[STATED] * 6),
    "model_retry": _row(*[STATED] * 6),
    "not_authorised": _row(*[DENIED] * 6),
    "retryable": _row(*[AGAIN] * 6),
    "transient": _row(AGAIN, UNKNOWN_3, UNKNOWN_3, UNKNOWN, UNKNOWN, _error(Code.MAX_RETRIES, flagged=True)),
    "unexpected": _row(_error(Code.INTERNAL_ERROR), *[UNKNOWN] * 4, _error(Code.INTERNAL_ERROR, flagged=True)),
    "deadline": _row(_error(Code.TIMEOUT), *[UNKNOWN] * 4, _error(Code.TIMEOUT, flagged=True)),
    "cancelled": _row(Cell("cancelled", Code.CANCELLED), *[UNKNOWN] * 4, Cell("cancelled", Code.CANCELLED, 1, True)),
}

RAISED: dict[str, Callable[[], BaseException]] = {
    "permanent": lambda: ToolError("no"),
    "model_retry": lambda: ModelRetry("other arguments"),
    "not_authorised": NotAuthorised,
    "retryable": lambda: ToolError("busy", retryable=True),
    "transient": lambda: ConnectionResetError("reset"),
    "unexpected": lambda: RuntimeError("bug"),
}


def _failing(failure: str, effect: Effect) -> Any:
    @tool(name="act", effect=effect, timeout=2.0)
    async def act() -> None:
        """Fails."""
        if failure in RAISED:
            raise RAISED[failure]()
        await asyncio.sleep(60)

    return act


def _one(act: Any, *, cancel: bool = False) -> tuple[ToolResult, int]:
    """The result of one call, and how many attempts its record says."""
    rail, recorder = rail_of(act)

    async def main() -> ToolResult:
        async with rail.run([], principal=ALICE) as run:
            batch = asyncio.ensure_future(run.spine(_job(rail, run, act.name)))
            await asyncio.sleep(0.5)
            if cancel:
                batch.cancel()
            return await batch

    result = run_virtual(main())
    (event,) = settled(recorder)
    assert event.status == result.status
    return result, event.attempts


def _job(rail: Any, run: Any, name: str) -> Any:
    from toolrail.batch import reserve

    return reserve(rail.ports, run, [call(name)], position="0", truncated=False)[0]


CELLS = [(failure, kind) for failure, row in TABLE.items() for kind in row]


@promise("call:retry")
@pytest.mark.parametrize(("failure", "kind"), CELLS)
def test_a_failure_means_what_the_table_says(failure: str, kind: EffectKind) -> None:
    cell = TABLE[failure][kind]
    result, attempts = _one(_failing(failure, EFFECTS[kind]), cancel=failure == "cancelled")
    assert (result.status, result.code, attempts) == (cell.status, cell.code, cell.attempts)
    assert ("may_have_happened" in result.flags) == cell.flagged
    assert result.started
    if cell.flagged and cell.status != "unknown":
        assert result.content.partition('","code"')[0].endswith("It may have taken effect all the same.") or (
            "It may have taken effect all the same." in result.content
        )


def _chained(error: BaseException, cause: BaseException, how: str) -> BaseException:
    try:
        try:
            raise cause
        except BaseException:
            if how == "from":
                raise error from cause
            if how == "from none":
                raise error from None
            raise error  # noqa: B904  just this is the case
    except BaseException as chained:
        return chained


@promise("call:retry")
@pytest.mark.parametrize("how", ["from", "while handling", "from none"])
@pytest.mark.parametrize(
    ("cause", "options", "status", "attempts"),
    [
        (TimeoutError(), {"retryable": True}, "unknown", 1),
        (TimeoutError(), {}, "unknown", 1),
        (ConnectionResetError(), {"retryable": True}, "unknown", 1),
        (TimeoutError(), {"retryable": True, "nothing_happened": True}, "error", 3),
        (TimeoutError(), {"nothing_happened": True}, "error", 1),
        (ConnectionRefusedError(), {"retryable": True}, "error", 3),
        (KeyError("x"), {"retryable": True}, "error", 3),
        (FileNotFoundError("x"), {"retryable": True}, "error", 3),
    ],
    ids=repr,
)
def test_a_once_tools_error_says_no_more_than_the_failure_behind_it(
    cause: BaseException, options: dict[str, bool], status: str, attempts: int, how: str
) -> None:
    @tool(name="act", effect="once")
    async def act() -> None:
        """Fails, with something behind it."""
        raise _chained(ToolError("bank slow", **options), cause, how)

    result, made = _one(act)
    assert (result.status, made) == (status, attempts)


@promise("call:retry", "effect:unknown")
@pytest.mark.parametrize(
    ("effect", "code"),
    [
        pytest.param("keyed", Code.OUTCOME_UNKNOWN, id="keyed: under a new key it would be done twice"),
        pytest.param("idempotent", Code.MAX_RETRIES, id="idempotent: again does no harm"),
        pytest.param("undeclared", Code.MAX_RETRIES, id="undeclared: the author's word"),
    ],
)
def test_tools_that_may_be_repeated_are_and_then_a_tool_error_with_a_time_out_behind_it_means(
    effect: Any, code: Code
) -> None:
    @tool(name="act", effect=effect)
    async def act() -> None:
        """Fails, with a time-out behind it."""
        raise _chained(ToolError("bank slow", retryable=True), TimeoutError(), "from")

    result, attempts = _one(act)
    assert (result.code, attempts) == (code, 3)


def _marked(failure: str, *, begins: bool) -> Any:
    @tool(name="act", effect=once(marked=True), timeout=2.0)
    async def act(ctx: RunContext[Any]) -> None:
        """Marks its effect, then fails."""
        if begins:
            ctx.begin_effect()
        if failure == "slow bank":
            raise _chained(ToolError("bank slow", retryable=True), TimeoutError(), "from")
        if failure in RAISED:
            raise RAISED[failure]()
        await asyncio.sleep(60)

    return act


@promise("call:retry")
@pytest.mark.parametrize(
    ("failure", "before", "after"),
    [
        ("permanent", STATED, STATED),
        ("transient", AGAIN, UNKNOWN),
        ("unexpected", _error(Code.INTERNAL_ERROR), UNKNOWN),
        ("deadline", _error(Code.TIMEOUT), UNKNOWN),
        ("cancelled", Cell("cancelled", Code.CANCELLED), UNKNOWN),
        ("slow bank", AGAIN, UNKNOWN),
    ],
)
@pytest.mark.parametrize("begins", [False, True], ids=["before its mark", "after its mark"])
def test_a_marked_once_tool_that_fails_before_its_mark_did_nothing(
    failure: str, before: Cell, after: Cell, begins: bool
) -> None:
    cell = after if begins else before
    result, attempts = _one(_marked(failure, begins=begins), cancel=failure == "cancelled")
    assert (result.status, result.code, attempts) == (cell.status, cell.code, cell.attempts)
    assert ("may_have_happened" in result.flags) == cell.flagged


@promise("call:retry")
def test_an_effect_begun_in_one_attempt_stays_begun_in_the_next() -> None:
    @tool(name="act", effect=once(marked=True))
    async def act(ctx: RunContext[Any]) -> None:
        """Begins in its first attempt only."""
        if ctx.attempt == 1:
            ctx.begin_effect()
            raise ToolError("again", retryable=True, nothing_happened=True)
        raise RuntimeError("bug")

    result, attempts = _one(act)
    assert (result.status, attempts) == ("unknown", 2)


@promise("call:retry")
def test_a_call_cancelled_while_it_waits_after_a_statement_did_nothing() -> None:
    @tool(name="act", effect="once")
    async def act() -> None:
        """Asks for a long wait before the next attempt."""
        raise ToolError("busy", retryable=True, retry_after=10.0)

    result, attempts = _one(act, cancel=True)
    assert (result.status, result.code, attempts) == ("cancelled", Code.CANCELLED, 1)


@promise("call:retry")
def test_a_call_cancelled_while_it_waits_after_a_passing_failure_is_unknown() -> None:
    class Busy(ConnectionError):
        status_code = 503
        headers: ClassVar[dict[str, str]] = {"retry-after": "10"}

    @tool(name="act", effect="keyed")
    async def act() -> None:
        """Asks for a long wait before the next attempt."""
        raise Busy

    result, attempts = _one(act, cancel=True)
    assert (result.status, attempts) == ("unknown", 1)
