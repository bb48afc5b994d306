"""Calls of one response: at the same time, up to a limit, in the model's order where a tool declares one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import call, codes, rail_of, virtually
from toolrail.definition import Order, Tool, tool, tool_from_schema
from toolrail.limits import CallLimits, RunLimits
from toolrail.messages import ToolCall
from toolrail.testing import assert_one_result_each, run_virtual


@dataclass
class Trace:
    """When each call was in its handler, on the loop's clock."""

    spans: dict[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])
    running: int = 0
    most: int = 0

    async def span(self, n: int, seconds: float) -> None:
        begin = asyncio.get_running_loop().time()
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(seconds)
        self.running -= 1
        self.spans[n] = (begin, asyncio.get_running_loop().time())

    def overlap(self, first: int, second: int) -> bool:
        (a, b), (c, d) = self.spans[first], self.spans[second]
        return a < d and c < b


def _tool(trace: Trace, name: str, *, effect: Any = "read", order: Order | None = None) -> Tool[object]:
    @tool(name=name, effect=effect, order=order or Order(), timeout=1_000.0)
    async def act(n: int, seconds: float = 0.5, resource: str = "r") -> int:
        """Takes its time."""
        await trace.span(n, seconds)
        return n

    return act


async def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await work(), loop.time() - began


@promise("call:parallel")
def test_three_tools_of_half_a_second_take_half_a_second() -> None:
    rail, _ = rail_of(_tool(Trace(), "act"))
    calls = [call("act", {"n": n}) for n in range(3)]
    results, seconds = run_virtual(_timed(lambda: rail.batch(calls)))
    assert codes(results) == ["ok"] * 3
    assert seconds == pytest.approx(0.5)


@promise("call:parallel")
@pytest.mark.parametrize(("limit", "seconds"), [(1, 5.0), (3, 2.0), (10, 0.5), (32, 0.5)])
def test_the_calls_of_a_run_at_the_same_time_are_limited(limit: int, seconds: float) -> None:
    trace = Trace()
    rail, _ = rail_of(_tool(trace, "act"))

    async def main() -> Any:
        async with rail.run([], limits=RunLimits(parallel=limit)) as run:
            return await _timed(lambda: rail.batch([call("act", {"n": n}) for n in range(10)], run))

    results, took = run_virtual(main())
    assert [r.content for r in results] == [str(n) for n in range(10)]
    assert took == pytest.approx(seconds)
    assert trace.most == min(limit, 10)


@promise("call:parallel")
def test_a_place_is_given_back_whatever_became_of_its_call() -> None:
    trace = Trace()

    @tool(effect="read", timeout=0.5)
    async def fail(how: str) -> None:
        """Fails in some way."""
        if how == "hang":
            await asyncio.sleep(60)
        raise RuntimeError(how)

    rail, _ = rail_of(_tool(trace, "act"), fail)
    calls = [call("fail", {"how": "hang"}), call("fail", {"how": "raise"}), call("fail", "nonsense"), call("nowhere")]

    async def main() -> list[str]:
        async with rail.run([], limits=RunLimits(parallel=1)) as run:
            return codes(await rail.batch([*calls, call("act", {"n": 1})], run))

    assert run_virtual(main()) == ["TIMEOUT", "INTERNAL_ERROR", "INVALID_ARGUMENTS", "UNKNOWN_TOOL", "ok"]


@promise("call:parallel")
def test_a_tools_own_concurrency_is_a_refusal_with_when_to_come_back() -> None:
    @tool(effect="read", limits=CallLimits(concurrency=2))
    async def scarce() -> str:
        """Two at once."""
        await asyncio.sleep(1)
        return "ok"

    rail, _ = rail_of(scarce)
    results = virtually(rail, [call("scarce")] * 3)
    assert codes(results) == ["ok", "ok", "RATE_LIMITED"]
    assert '"retry_after": 1.0' in results[2].content
    assert codes(virtually(rail, [call("scarce")])) == ["ok"]


@promise("call:order")
def test_a_barrier_waits_for_all_before_it_and_all_after_it_wait() -> None:
    trace = Trace()
    rail, _ = rail_of(_tool(trace, "act"), _tool(trace, "fence", order=Order(barrier=True)))
    names = ["act", "act", "fence", "act", "act"]
    virtually(rail, [call(name, {"n": n}) for n, name in enumerate(names)])
    assert trace.overlap(0, 1)
    assert trace.overlap(3, 4)
    assert not [n for n in (0, 1, 3, 4) if trace.overlap(2, n)]
    assert max(trace.spans[n][1] for n in (0, 1)) <= trace.spans[2][0]
    assert min(trace.spans[n][0] for n in (3, 4)) >= trace.spans[2][1]


@promise("call:order")
def test_reads_of_one_resource_run_together_and_writes_in_the_models_order() -> None:
    trace = Trace()
    by = Order(resource="order:{resource}")
    rail, _ = rail_of(_tool(trace, "look", order=by), _tool(trace, "change", effect="once", order=by))
    names = ["look", "look", "change", "change", "look", "look"]
    virtually(rail, [call(name, {"n": n}) for n, name in enumerate(names)])
    begins = [trace.spans[n][0] - 1_000.0 for n in range(6)]
    assert begins == pytest.approx([0, 0, 0.5, 1.0, 1.5, 1.5])


@promise("call:order")
def test_writes_to_different_resources_run_together() -> None:
    trace = Trace()
    rail, _ = rail_of(_tool(trace, "change", effect="once", order=Order(resource="order:{resource}")))
    virtually(rail, [call("change", {"n": n, "resource": str(n)}) for n in range(4)])
    assert trace.most == 4


@promise("call:order")
def test_two_tools_that_name_one_resource_stand_in_order() -> None:
    trace = Trace()
    rail, _ = rail_of(
        _tool(trace, "cancel", effect="once", order=Order(resource="order:{resource}")),
        _tool(trace, "refund", effect="once", order=Order(resource="order:{resource}")),
    )
    virtually(rail, [call("refund", {"n": 0}), call("cancel", {"n": 1})])
    assert not trace.overlap(0, 1)
    assert trace.spans[0] < trace.spans[1]


@promise("call:order")
@pytest.mark.parametrize("first", ["not json", '{"n": "x"}', '{"n": 0, "seconds": 5000}'])
def test_a_call_that_does_not_run_or_fails_holds_nobody_up_for_ever(first: str) -> None:
    trace = Trace()
    rail, _ = rail_of(_tool(trace, "change", effect="once", order=Order(barrier=True, resource="{resource}")))
    results = virtually(
        rail, [call("change", first), call("change", {"n": 1}), call("nowhere"), call("change", {"n": 2})]
    )
    assert [r.ok for r in results] == [False, True, False, True]


@promise("call:order", "call:total")
def test_a_resource_named_by_an_argument_that_was_left_out_breaks_nothing() -> None:
    trace = Trace()

    async def act(n: int, id: str = "") -> int:
        await trace.span(n, 0.5)
        return n

    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "id": {"type": "string"}},
        "required": ["n"],
    }
    change = tool_from_schema(schema, act, name="change", effect="once", order=Order(resource="order:{id}"))
    rail, _ = rail_of(change)
    calls = [call("change", {"n": 0}), call("change", {"n": 1}), call("change", {"n": 2, "id": "a"})]
    results = virtually(rail, calls)
    assert_one_result_each(calls, results)
    assert codes(results) == ["ok"] * 3
    assert not trace.overlap(0, 1)  # the same unknown resource: in order
    assert trace.overlap(0, 2)


@dataclass(frozen=True)
class Step:
    """One call of a random batch."""

    tool: str
    resource: str
    seconds: float


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["look", "change", "free", "fence"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from([0.0, 0.1, 1.0, 7.0]),
    ),
    min_size=2,
    max_size=12,
)


@promise("call:order", "call:total")
@given(steps=STEPS, parallel=st.integers(1, 12))
def test_effects_of_one_resource_happen_in_the_models_order_whatever_the_batch(
    steps: list[Step], parallel: int
) -> None:
    trace, by = Trace(), Order(resource="{resource}")
    rail, _ = rail_of(
        _tool(trace, "look", order=by),
        _tool(trace, "change", effect="once", order=by),
        _tool(trace, "free"),
        _tool(trace, "fence", effect="once", order=Order(barrier=True)),
        sinks=[],
    )
    calls: list[ToolCall] = [
        call(step.tool, {"n": n, "seconds": step.seconds, "resource": step.resource}, id=str(n))
        for n, step in enumerate(steps)
    ]
    results = virtually(rail, calls, limits=RunLimits(parallel=parallel))
    assert_one_result_each(calls, results)
    assert codes(results) == ["ok"] * len(steps)
    assert trace.most <= parallel
    for second, step in enumerate(steps):
        for first in range(second):
            if _ordered(steps[first], step):
                assert trace.spans[first][1] <= trace.spans[second][0]


def _ordered(first: Step, second: Step) -> bool:
    if "fence" in (first.tool, second.tool):
        return True
    kinds = {first.tool, second.tool}
    return first.resource == second.resource and kinds <= {"look", "change"} and "change" in kinds


@promise("loop:limits/calls", "loop:limits/per-tool", "call:total")
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (RunLimits(calls=3), ["ok", "ok", "ok", "LIMIT_REACHED", "LIMIT_REACHED"]),
        (RunLimits(calls_per_tool=2), ["ok", "ok", "LIMIT_REACHED", "ok", "ok"]),
        (RunLimits(calls=4, calls_per_tool=2), ["ok", "ok", "LIMIT_REACHED", "ok", "ok"]),
    ],
)
def test_counts_are_reserved_in_the_models_order_before_anything_starts(limits: RunLimits, expected: list[str]) -> None:
    trace = Trace()
    rail, _ = rail_of(_tool(trace, "act"), _tool(trace, "other"))
    names = ["act", "act", "act", "other", "other"]
    results = virtually(rail, [call(name, {"n": n}) for n, name in enumerate(names)], limits=limits)
    assert codes(results) == expected
    assert len(trace.spans) == expected.count("ok")
