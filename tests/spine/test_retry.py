"""Attempts: how long to wait, how often, and when not to try again."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, rail_of, settled, virtually
from toolrail.context import RunContext
from toolrail.definition import Tool, tool
from toolrail.errors import ToolError
from toolrail.events import AttemptEnded
from toolrail.limits import CallLimits, RailLimits
from toolrail.testing import FixedClock, Recorder, run_virtual


def _busy(times: int, *, limits: CallLimits, retry_after: float | None = None) -> Tool[object]:
    """Fails so many times, then works."""
    made: list[int] = []

    @tool(name="busy", effect="read", limits=limits)
    async def busy() -> str:
        """Is busy at first."""
        made.append(1)
        if len(made) <= times:
            raise ToolError("busy", retryable=True, retry_after=retry_after)
        return f"attempt {len(made)}"

    return busy


def _waits(recorder: Recorder) -> list[float]:
    return [event.wait for event in recorder.of(AttemptEnded) if event.wait is not None]


class AlwaysHighest(FixedClock):
    """Jitter at its upper end, which is never reached."""

    def random(self) -> float:
        return 1.0 - 2**-53


@promise("call:retry", "call:retry/attempts")
def test_the_wait_doubles_up_to_its_most() -> None:
    busy = _busy(7, limits=CallLimits(attempts=9, timeout=60.0))
    rail, recorder = rail_of(busy, clock=AlwaysHighest())
    (result,) = virtually(rail, [call("busy")])
    assert result.content == "attempt 8"
    assert _waits(recorder) == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0])


@promise("call:retry")
@pytest.mark.parametrize("seed", range(20))
def test_the_jitter_is_full_and_inside_its_bounds(seed: int) -> None:
    busy = _busy(7, limits=CallLimits(attempts=9, timeout=60.0))
    rail, recorder = rail_of(busy, clock=FixedClock(seed=seed))
    virtually(rail, [call("busy")])
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert all(0 <= wait < most for wait, most in zip(_waits(recorder), bounds, strict=True))


@promise("call:retry")
def test_jitter_spreads_over_the_whole_range() -> None:
    first: list[float] = []
    for seed in range(200):
        rail, recorder = rail_of(_busy(1, limits=CallLimits()), clock=FixedClock(seed=seed))
        virtually(rail, [call("busy")])
        first += _waits(recorder)
    assert min(first) < 0.01
    assert max(first) > 0.09


@promise("call:retry")
def test_the_time_between_attempts_is_really_waited() -> None:
    rail, recorder = rail_of(_busy(2, limits=CallLimits()), clock=AlwaysHighest())
    virtually(rail, [call("busy")])
    (event,) = settled(recorder)
    assert event.seconds == pytest.approx(0.3)


@promise("call:retry")
@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
def test_attempts_are_limited(attempts: int) -> None:
    rail, recorder = rail_of(_busy(99, limits=CallLimits(attempts=attempts)))
    (result,) = virtually(rail, [call("busy")])
    assert codes([result]) == ["MAX_RETRIES"]
    assert settled(recorder)[0].attempts == attempts
    assert len(recorder.of(AttemptEnded)) == attempts


@promise("call:retry")
def test_very_many_attempts_do_not_overflow_the_wait() -> None:
    limits = CallLimits(attempts=1_200, timeout=1e9)
    rail, recorder = rail_of(
        _busy(1_100, limits=limits), limits=RailLimits(backoff=0.001, backoff_max=0.002, retries=None)
    )
    (result,) = virtually(rail, [call("busy")])
    assert result.content == "attempt 1101"
    assert settled(recorder)[0].attempts == 1_101


@promise("call:retry")
@pytest.mark.parametrize(("asked", "attempts"), [(1.5, 3), (9.9, 1), (10.0, 1), (3_600.0, 1)])
def test_retry_after_is_honoured_unless_it_is_beyond_the_deadline(asked: float, attempts: int) -> None:
    rail, recorder = rail_of(_busy(2, limits=CallLimits(timeout=9.9), retry_after=asked))
    (result,) = virtually(rail, [call("busy")])
    assert settled(recorder)[0].attempts == attempts
    assert result.ok == (attempts == 3)
    if attempts == 3:
        assert _waits(recorder) == [asked, asked]
    else:  # answered at once: waiting would have been for nothing
        assert settled(recorder)[0].seconds == 0


@promise("call:retry")
def test_a_retry_after_header_of_the_other_side_is_honoured() -> None:
    class Response:
        status_code = 429
        headers: ClassVar[dict[str, str]] = {"retry-after": "2"}

    class TooMany(Exception):
        response = Response()

    made: list[float] = []

    @tool(effect="read")
    async def limited() -> str:
        """Is limited at first."""
        made.append(asyncio.get_running_loop().time())
        if len(made) == 1:
            raise TooMany
        return "fine"

    rail, _ = rail_of(limited)
    (result,) = virtually(rail, [call("limited")])
    assert result.ok
    assert made[1] - made[0] == pytest.approx(2.0)


@promise("call:deadline/async", "call:retry")
def test_the_deadline_covers_all_attempts() -> None:
    @tool(effect="read", limits=CallLimits(timeout=5.0, attempts=10))
    async def slow() -> None:
        """Fails after two seconds."""
        await asyncio.sleep(2)
        raise ConnectionResetError

    rail, recorder = rail_of(slow, clock=AlwaysHighest())
    (result,) = virtually(rail, [call("slow")])
    event = settled(recorder)[0]
    assert codes([result]) == ["TIMEOUT"]
    assert event.attempts == 3
    assert event.seconds == pytest.approx(5.0)


@promise("call:deadline/async", "call:retry")
def test_an_attempt_has_a_deadline_of_its_own_and_a_read_is_tried_again() -> None:
    made: list[int] = []

    @tool(effect="read", limits=CallLimits(timeout=10.0, attempt_timeout=1.0))
    async def stuck_once() -> str:
        """Hangs the first time."""
        made.append(1)
        if len(made) == 1:
            await asyncio.sleep(60)
        return "fine"

    rail, recorder = rail_of(stuck_once)
    (result,) = virtually(rail, [call("stuck_once")])
    assert result.content == "fine"
    assert settled(recorder)[0].attempts == 2
    assert settled(recorder)[0].seconds == pytest.approx(1.0, abs=0.06)


@promise("call:retry")
def test_an_attempt_of_a_once_tool_that_timed_out_is_not_repeated() -> None:
    @tool(effect="once", limits=CallLimits(timeout=10.0, attempt_timeout=1.0))
    async def pay() -> None:
        """Hangs."""
        await asyncio.sleep(60)

    rail, recorder = rail_of(pay)
    (result,) = virtually(rail, [call("pay")])
    assert (result.status, settled(recorder)[0].attempts) == ("unknown", 1)


@promise("call:retry")
def test_every_attempt_has_the_same_keys_and_its_own_number() -> None:
    seen: list[tuple[str, str, int, float]] = []

    @tool(effect="keyed")
    async def pay(ctx: RunContext[Any]) -> str:
        """Fails twice."""
        seen.append((ctx.call_key, ctx.idempotency_key, ctx.attempt, ctx.deadline))
        if ctx.attempt < 3:
            raise ConnectionResetError
        return "paid"

    rail, _ = rail_of(pay)
    (result,) = virtually(rail, [call("pay")])
    assert result.ok
    assert [attempt for _, _, attempt, _ in seen] == [1, 2, 3]
    assert len({(key, idempotency, deadline) for key, idempotency, _, deadline in seen}) == 1


@promise("call:retry")
def test_a_rail_that_closes_makes_no_further_attempt() -> None:
    rail, recorder = rail_of(_busy(99, limits=CallLimits(timeout=60.0), retry_after=5.0))

    async def main() -> list[str]:
        batch = asyncio.ensure_future(rail.batch([call("busy")]))
        await asyncio.sleep(1)
        await rail.drain(timeout=1.0)
        return codes(await batch)

    assert run_virtual(main()) == ["CANCELLED"]
    assert settled(recorder)[0].attempts == 1
