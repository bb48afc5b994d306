"""Rates and places: how much a tool, a principal, a resource may do at once and over time, and what waiting costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import call, codes, in_run, leftover_tasks, rail_of, said
from toolrail.codes import Code
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.definition import Order, Tool, tool, tool_from_schema
from toolrail.errors import DefinitionError
from toolrail.gates.places import Places, Waiter
from toolrail.gates.rates import SWEEP, Buckets
from toolrail.limits import CallLimits, RailLimits, Rate, RunLimits
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.testing import run_virtual

ALICE, BOB = Principal("alice"), Principal("bob")
ALICE_ELSEWHERE = Principal("alice", tenant="elsewhere")
WIDE = RunLimits(parallel=1_000)


class Trace:
    """When each call began and ended, and the most that ran at once."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.begun: list[float] = []
        self.names: list[str] = []
        self.running = self.most = 0

    def tool(self, name: str = "work", **options: Any) -> Tool[object]:
        chosen: dict[str, Any] = {"name": name, "effect": "read", **options}

        @tool(**chosen)
        async def work(tag: str = "") -> str:
            """Works."""
            self.begun.append(asyncio.get_running_loop().time() - 1_000.0)
            self.names.append(tag)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.running -= 1
            return "done"

        return work


async def asked(rail: Rail[Any], times: int, who: Principal = ANONYMOUS, name: str = "work") -> list[ToolResult]:
    return await in_run(rail, [call(name, {"tag": str(n)}) for n in range(times)], principal=who, limits=WIDE)


@promise("steady:rate")
@pytest.mark.parametrize(
    ("wait", "begun", "refused", "come_back"),
    [(0.0, [0.0] * 2, 4, [0.5] * 4), (0.5, [0.0, 0.0, 0.5], 3, [1.0] * 3), (1.0, [0.0, 0.0, 0.5, 1.0], 2, [1.5] * 2)],
)
def test_waiting_has_a_bound_and_then_the_answer_says_when_to_come_back(
    wait: float, begun: list[float], refused: int, come_back: list[float]
) -> None:
    trace = Trace()
    rail, _ = rail_of(trace.tool(limits=CallLimits(rate=Rate(2), wait=wait)))

    async def main() -> None:
        results = await asked(rail, 6)
        assert codes(results) == ["ok"] * (6 - refused) + ["RATE_LIMITED"] * refused
        assert [said(result)["retry_after"] for result in results[-refused:]] == come_back
        assert trace.begun == begun
        assert not any(result.started for result in results[-refused:])

    run_virtual(main())


@promise("steady:rate")
def test_whoever_comes_back_when_told_to_is_let_in() -> None:
    trace = Trace()
    rail, _ = rail_of(trace.tool(limits=CallLimits(rate=Rate(3, per=7.0, burst=1), wait=0)))

    async def main() -> None:
        for _ in range(20):
            assert codes(await asked(rail, 1)) == ["ok"]
            (refused,) = await asked(rail, 1)
            await asyncio.sleep(said(refused)["retry_after"])

    run_virtual(main())


@promise("steady:rate")
def test_those_who_wait_are_served_in_the_order_of_asking_each_at_its_own_time() -> None:
    trace = Trace()
    rail, _ = rail_of(trace.tool(limits=CallLimits(rate=Rate(10, burst=1), wait=60.0)))
    run_virtual(asked(rail, 50))
    assert trace.names == [str(n) for n in range(50)]
    assert trace.begun == pytest.approx([n / 10 for n in range(50)])


@promise("steady:rate", "auth:limits", "auth:limits")
@pytest.mark.parametrize(
    ("of_tool", "of_rail", "who", "wanted"),
    [
        (CallLimits(rate=Rate(2), wait=0), None, [ALICE, BOB], 2),
        (CallLimits(principal_rate=Rate(2), wait=0), None, [ALICE, BOB], 4),
        (CallLimits(wait=0), Rate(2), [ALICE, BOB], 4),
        (CallLimits(wait=0), Rate(2), [ALICE, ALICE_ELSEWHERE], 4),
        (CallLimits(rate=Rate(3), wait=0), Rate(2), [ALICE, BOB], 3),
        (CallLimits(wait=0), Rate(2), [ALICE, ALICE], 2),
    ],
    ids=["tool", "tool x principal", "principal", "principals are their tenant's", "both", "one principal, two runs"],
)
def test_a_rate_is_of_a_tool_a_principal_or_both(
    of_tool: CallLimits, of_rail: Rate | None, who: Sequence[Principal], wanted: int
) -> None:
    rail, _ = rail_of(Trace().tool(limits=of_tool), limits=RailLimits(principal_rate=of_rail))

    async def main() -> int:
        return sum([codes(await asked(rail, 3, one)).count("ok") for one in who])

    assert run_virtual(main()) == wanted


@promise("steady:rate")
def test_the_principals_rate_is_over_all_tools_and_a_tools_own_is_not() -> None:
    trace = Trace()
    tools = [trace.tool("a"), trace.tool("b")]
    rail, _ = rail_of(*tools, limits=RailLimits(principal_rate=Rate(3), wait=0))

    async def main() -> list[str]:
        return codes(await asked(rail, 2, ALICE, "a")) + codes(await asked(rail, 2, ALICE, "b"))

    assert run_virtual(main()) == ["ok", "ok", "ok", "RATE_LIMITED"]


@promise("steady:rate")
def test_a_refusal_by_one_bucket_takes_nothing_from_the_others() -> None:
    trace = Trace()
    limits = CallLimits(rate=Rate(1, per=60.0), wait=0)
    rail, _ = rail_of(
        trace.tool("narrow", limits=limits), trace.tool(), limits=RailLimits(principal_rate=Rate(5), wait=0)
    )

    async def main() -> None:
        assert codes(await asked(rail, 10, ALICE, "narrow")).count("ok") == 1
        assert codes(await asked(rail, 10, ALICE)).count("ok") == 4

    run_virtual(main())


@promise("steady:rate")
def test_a_bucket_that_ran_dry_while_another_was_waited_for_refuses_within_the_same_bound() -> None:
    limits = CallLimits(rate=Rate(1, per=10.0), wait=1.0)
    rail, _ = rail_of(Trace().tool(limits=limits), Trace().tool("other"), limits=RailLimits(principal_rate=Rate(1)))

    async def main() -> None:
        await asked(rail, 1, ALICE)
        await asyncio.sleep(9.5)
        await asked(rail, 1, ALICE, "other")
        alice = asyncio.create_task(asked(rail, 1, ALICE))  # waits 1.0 s for her own bucket
        bob = asyncio.create_task(asked(rail, 1, BOB))  # and 0.5 s for the tool's
        assert codes([*await alice, *await bob]) == ["RATE_LIMITED", "ok"]
        assert said((await alice)[0])["retry_after"] == pytest.approx(9.5)

    run_virtual(main())


@promise("steady:rate")
def test_a_cancelled_wait_ends_at_once_and_leaves_nothing() -> None:
    rail, _ = rail_of(Trace().tool(limits=CallLimits(rate=Rate(1, per=60.0), wait=600.0)))

    async def main() -> None:
        await asked(rail, 1)
        waiting = asyncio.create_task(asked(rail, 1))
        await asyncio.sleep(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asyncio.get_running_loop().time() == pytest.approx(1_001.0)
        assert await leftover_tasks() == set()
        await asyncio.sleep(59)  # its token was the last one given, so it is there again
        assert codes(await asked(rail, 1)) == ["ok"]
        assert asyncio.get_running_loop().time() == pytest.approx(1_060.0)

    run_virtual(main())


@promise("steady:rate", "steady:drain")
def test_a_rail_that_closes_ends_the_waiting() -> None:
    rail, _ = rail_of(Trace().tool(limits=CallLimits(rate=Rate(1, per=600.0), wait=6_000.0)))

    async def main() -> None:
        await asked(rail, 1)
        waiting = asyncio.create_task(asked(rail, 3))
        await asyncio.sleep(1)
        await rail.drain(5.0)
        assert codes(await waiting) == ["SHUTTING_DOWN"] * 3
        assert asyncio.get_running_loop().time() < 1_010.0

    run_virtual(main())


RATES = st.builds(
    Rate, st.floats(0.1, 50), st.floats(0.1, 100), st.one_of(st.none(), st.integers(min_value=1, max_value=20))
)
ASKING = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20), st.booleans()), min_size=1, max_size=120)


@promise("steady:rate")
@given(RATES, ASKING)
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate_in_any_span(rate: Rate, asking: Any) -> None:
    buckets, now, given_at = Buckets(rate), 0.0, list[float]()
    for pause, patience, gives_up in asking:
        now += pause
        wait = buckets.wait("k", now)
        if wait > patience:
            continue
        assert buckets.take("k", now) == wait
        if gives_up and wait:
            buckets.give_back("k", buckets.full_at("k"))
        else:
            given_at.append(now + wait)
    burst = max(1, int(rate.calls)) if rate.burst is None else rate.burst
    for first, start in enumerate(given_at):
        for last in range(first, len(given_at)):
            most = burst + (given_at[last] - start) * rate.calls / rate.per
            assert last - first + 1 <= most + 1e-6
    assert given_at == sorted(given_at)


@promise("steady:rate")
def test_buckets_of_idle_principals_are_dropped() -> None:
    buckets = Buckets(Rate(10))
    for n in range(100 * SWEEP):
        buckets.take(n, n * 0.01)
    assert len(buckets) <= 2 * SWEEP


def _places(trace: Trace, name: str = "work", **limits: Any) -> Tool[object]:
    return trace.tool(name, limits=CallLimits(**limits))


@promise("steady:rate")
@pytest.mark.parametrize(
    ("wait", "answers"),
    [(0.0, ["ok"] * 2 + ["RATE_LIMITED"] * 3), (1.0, ["ok"] * 4 + ["RATE_LIMITED"]), (2.0, ["ok"] * 5)],
)
def test_a_tools_places_are_waited_for_within_the_bound(wait: float, answers: list[str]) -> None:
    trace = Trace(seconds=0.9)
    rail, _ = rail_of(_places(trace, concurrency=2, wait=wait))
    results = run_virtual(asked(rail, 5))
    assert codes(results) == answers
    assert trace.most == 2
    for result in results:
        assert result.status == "ok" or said(result) == {
            "error": "Too many calls of work are under way. Try again in 1 s.",
            "code": "RATE_LIMITED",
            "retry_after": 1.0,
        }


@promise("steady:rate")
def test_words_of_ones_own_hold_for_a_full_tool_too() -> None:
    trace = Trace(seconds=0.9)
    wording = {Code.RATE_LIMITED: "Wait {seconds:g} s."}
    rail, _ = rail_of(_places(trace, concurrency=1, wait=0.0), wording=wording)
    assert said(run_virtual(asked(rail, 2))[1])["error"] == "Wait 1 s."


@promise("steady:rate")
@pytest.mark.parametrize(
    ("limits", "names", "most"),
    [
        (RailLimits(calls=3, wait=99.0), ["a", "b"], 3),
        (RailLimits(tenant_calls=2, wait=99.0), ["a", "b"], 4),
        (RailLimits(calls=3, tenant_calls=2, wait=99.0), ["a", "b"], 3),
    ],
    ids=["over all", "per tenant", "both"],
)
def test_places_over_all_and_of_each_tenant_hold(limits: RailLimits, names: list[str], most: int) -> None:
    trace = Trace(seconds=1.0)
    rail, _ = rail_of(trace.tool("a"), trace.tool("b"), limits=limits)

    async def main() -> list[str]:
        tenants = [Principal("x", tenant=tenant) for tenant in ("one", "two")]
        runs = [asked(rail, 5, who, name) for who in tenants for name in names]
        return [code for results in await asyncio.gather(*runs) for code in codes(results)]

    assert run_virtual(main()) == ["ok"] * 20
    assert trace.most == most
    assert rail.ports.board.places.taken == {}


@promise("steady:rate", "call:sync")
def test_a_sync_tool_waits_for_its_thread_in_its_tenants_turn_and_holds_no_place_meanwhile() -> None:
    def work() -> str:
        """Works."""
        most.append(rail.health().threads.busy)
        return "done"

    most: list[int] = []
    rail, _ = rail_of(tool(effect="read")(work), limits=RailLimits(calls=8, threads=2, wait=99.0))

    async def main() -> list[str]:
        runs = [in_run(rail, [call("work")] * 5, principal=who) for who in (ALICE, ALICE_ELSEWHERE, BOB)]
        return [code for results in await asyncio.gather(*runs) for code in codes(results)]

    assert asyncio.run(main()) == ["ok"] * 15
    assert max(most) <= 2
    assert rail.health().threads.waiting == 0
    assert rail.ports.board.places.taken == {}


@promise("steady:rate")
def test_a_waiter_whose_loop_is_gone_does_not_keep_the_place_from_others() -> None:
    places, needs = Places(), (("one", 1),)
    assert places.take(needs)

    async def leave() -> Waiter:
        return places.queue("x", needs, needs)

    gone = run_virtual(leave())

    async def main() -> None:
        waiter = places.queue("x", needs, needs)
        places.give_back(needs)
        assert waiter.granted.done()
        assert not gone.granted.done()

    run_virtual(main())


@promise("steady:rate")
def test_calls_of_one_resource_share_its_places_over_all_runs_of_a_tenant() -> None:
    trace = Trace(seconds=1.0)
    limits = CallLimits(resource_concurrency=1, wait=99.0)
    rail, _ = rail_of(trace.tool(limits=limits, order=Order(resource="account:{tag}")))

    async def main() -> None:
        one = [in_run(rail, [call("work", {"tag": "A"})], principal=ALICE) for _ in range(3)]
        await asyncio.gather(*one)
        assert trace.most == 1
        others = [in_run(rail, [call("work", {"tag": tag})], principal=ALICE) for tag in "BCD"]
        await asyncio.gather(*others, in_run(rail, [call("work", {"tag": "B"})], principal=ALICE_ELSEWHERE))
        assert trace.most == 4

    run_virtual(main())


@promise("steady:rate")
def test_calls_that_leave_their_resource_out_share_one_place() -> None:
    trace = Trace(seconds=1.0)
    limits, order = CallLimits(resource_concurrency=1, wait=99.0), Order(resource="account:{tag}")
    schema = {"type": "object", "properties": {"tag": {"type": "string"}}}
    rail, _ = rail_of(tool_from_schema(schema, trace.tool().fn, name="work", limits=limits, order=order))

    async def main() -> None:
        await asyncio.gather(*[in_run(rail, [call("work")]) for _ in range(3)])

    run_virtual(main())
    assert (trace.most, len(trace.begun)) == (1, 3)


@promise("steady:rate")
def test_a_place_that_was_just_given_to_somebody_who_leaves_goes_to_the_next() -> None:
    async def main() -> None:
        places, needs = Places(), (("one", 1),)
        assert places.take(needs)
        first, second = (places.queue("x", needs, needs) for _ in range(2))
        places.give_back(needs)
        assert (first.granted.done(), second.granted.done()) == (True, False)
        places.withdraw(first)
        assert second.granted.done()
        assert places.taken == {"one": 1}

    run_virtual(main())


@promise("steady:rate")
def test_a_time_that_was_given_and_not_used_is_lost_unless_it_was_the_last() -> None:
    buckets = Buckets(Rate(1, burst=1))
    for _ in range(2):
        buckets.take("k", 0.0)
    first = buckets.full_at("k")
    buckets.take("k", 0.0)
    buckets.give_back("k", first)
    assert buckets.wait("k", 0.0) == 3.0
    buckets.give_back("k", buckets.full_at("k"))
    assert buckets.wait("k", 0.0) == 2.0


@promise("steady:rate")
def test_a_resource_limit_without_a_resource_is_an_error_at_the_start() -> None:
    with pytest.raises(DefinitionError, match="TR306"):
        Trace().tool(limits=CallLimits(resource_concurrency=1))


@promise("steady:rate")
def test_who_waits_for_a_place_holds_none_that_others_need() -> None:
    trace = Trace(seconds=10.0)
    rail, _ = rail_of(_places(trace, "scarce", concurrency=1, wait=99.0), trace.tool(), limits=RailLimits(calls=2))

    async def main() -> None:
        waiting = asyncio.create_task(asked(rail, 3, ALICE, "scarce"))
        await asyncio.sleep(1)
        assert codes(await asked(rail, 1, BOB)) == ["ok"]
        assert codes(await waiting) == ["ok"] * 3

    run_virtual(main())


@promise("steady:rate")
def test_a_call_within_a_call_cannot_wait_for_its_own_place_for_ever() -> None:
    inner: list[str] = []

    @tool(effect="read")
    async def outer() -> str:
        """Calls another tool."""
        inner.extend(codes(await asked(rail, 1)))
        return "done"

    rail, _ = rail_of(outer, Trace().tool(), limits=RailLimits(calls=1))
    assert codes(run_virtual(in_run(rail, [call("outer")]))) == ["ok"]
    assert inner == ["RATE_LIMITED"]


@promise("steady:rate")
@pytest.mark.parametrize("how", ["cancelled", "drained"])
def test_whoever_leaves_the_queue_keeps_no_place(how: str) -> None:
    rail, _ = rail_of(Trace(seconds=100.0).tool(timeout=1_000.0), limits=RailLimits(calls=1, wait=900.0))

    async def main() -> None:
        holder = asyncio.create_task(asked(rail, 1))
        await asyncio.sleep(1)
        waiting = asyncio.create_task(asked(rail, 5))
        await asyncio.sleep(1)
        assert rail.health().waiting == 5
        if how == "cancelled":
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert codes(await holder) == ["ok"]
        else:
            await rail.drain(1.0)
            assert codes(await waiting) == ["SHUTTING_DOWN"] * 5
            assert codes(await holder) == ["TIMEOUT"]
        places = rail.ports.board.places
        assert (places.waiting, places.taken) == (0, {})
        assert await leftover_tasks() == set()

    run_virtual(main())


SIZES = {"all": 3, "tool-a": 1, "tool-b": 2}
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from("xyz"), st.sets(st.sampled_from(sorted(SIZES)), min_size=1)),
        st.tuples(st.just("end"), st.integers(0, 9), st.just(frozenset[str]())),
        st.tuples(st.just("leave"), st.integers(0, 9), st.just(frozenset[str]())),
    ),
    max_size=80,
)


@promise("steady:rate", "steady:fair")
@given(MOVES)
def test_places_are_never_negative_never_too_many_and_never_idle_while_someone_could_have_them(moves: Any) -> None:
    async def main() -> None:
        places, held, queued = Places(), list[Any](), list[Waiter]()
        for move, which, keys in moves:
            if move == "ask":
                needs = tuple((key, SIZES[key]) for key in sorted(keys))
                if places.take(needs):
                    held.append(needs)
                else:
                    queued.append(places.queue(which, needs, needs))
            elif move == "end" and held:
                places.give_back(held.pop(which % len(held)))
            elif move == "leave" and queued:
                places.withdraw(queued.pop(which % len(queued)))
            served = [waiter for waiter in queued if waiter.granted.done()]
            held += [waiter.needs for waiter in served]
            queued = [waiter for waiter in queued if not waiter.granted.done()]
            _holds(places, held, queued)

    run_virtual(main())


def _holds(places: Places, held: list[Any], queued: list[Waiter]) -> None:
    count = {key: sum(key == need for needs in held for need, _ in needs) for key in SIZES}
    assert places.taken == {key: n for key, n in count.items() if n}
    assert all(count[key] <= size for key, size in SIZES.items())
    assert places.waiting == len(queued)
    assert all(any(count[str(key)] >= size for key, size in waiter.needs) for waiter in queued)


ARRIVALS = st.lists(st.tuples(st.floats(0, 0.5), st.floats(0.01, 2.0), st.sampled_from("xyz")), min_size=1, max_size=40)


@promise("steady:rate", "steady:fair")
@given(ARRIVALS, st.floats(0.1, 3.0))
def test_every_waiter_is_served_or_refused_within_its_bound(arrivals: Any, bound: float) -> None:
    @tool(effect="read")
    async def work(seconds: float) -> str:
        """Works."""
        begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)
        return "done"

    begun: list[float] = []
    rail, _ = rail_of(work, limits=RailLimits(calls=2, wait=bound))

    async def one(seconds: float, tenant: str) -> None:
        now = asyncio.get_running_loop().time
        start, before = now(), len(begun)
        (result,) = await in_run(rail, [call("work", {"seconds": seconds})], principal=Principal("p", tenant=tenant))
        spent = now() - start
        if result.ok:
            assert spent <= bound + seconds + 1e-6
            assert len(begun) > before
        else:
            assert codes([result]) == ["RATE_LIMITED"]
            assert spent <= bound + 1e-6

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        for pause, seconds, tenant in arrivals:
            await asyncio.sleep(pause)
            tasks.append(asyncio.create_task(one(seconds, tenant)))
        await asyncio.gather(*tasks)
        assert rail.ports.board.places.taken == {}

    run_virtual(main())
