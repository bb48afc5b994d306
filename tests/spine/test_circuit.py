"""Circuits: what opens one, what a model is told, who may try again, and what a run is offered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, in_run, rail_of, said
from toolrail.codes import Code
from toolrail.definition import Tool, tool
from toolrail.errors import DefinitionError, ModelRetry, NotAuthorised, ToolError
from toolrail.events import CircuitChanged
from toolrail.gates.breaker import PROBE, Breaker
from toolrail.limits import CallLimits, Circuit, RailLimits, Rate, RunLimits
from toolrail.messages import ToolResult
from toolrail.rail import Rail
from toolrail.run import Job
from toolrail.testing import Recorder, run_virtual

WIDE = RunLimits(parallel=1_000)
ONCE = CallLimits(attempts=1)


class Bank:
    """A dependency that is down until it is mended."""

    def __init__(self, error: Callable[[], BaseException] = ConnectionResetError, seconds: float = 0.0) -> None:
        self.error: Callable[[], BaseException] | None = error
        self.seconds = seconds
        self.calls = 0

    async def ask(self) -> str:
        self.calls += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error()
        return "fine"

    def tool(self, name: str = "ask", **options: Any) -> Tool[object]:
        chosen: dict[str, Any] = {"name": name, "effect": "read", "limits": ONCE, **options}

        @tool(**chosen)
        async def ask() -> str:
            """Asks."""
            return await self.ask()

        return ask


async def asked(rail: Rail[Any], times: int, name: str = "ask") -> list[ToolResult]:
    return await in_run(rail, [call(name)] * times, limits=WIDE)


def states(recorder: Recorder) -> list[tuple[str, str]]:
    return [(event.dependency, event.state) for event in recorder.of(CircuitChanged)]


@promise("steady:circuit")
def test_a_dependency_that_fails_is_no_longer_called_until_a_probe_succeeds() -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool())

    async def main() -> None:
        assert set(codes(await asked(rail, 20))) == {"MAX_RETRIES"}
        (refused,) = await _anyway(rail, 1)
        assert (refused.code, refused.started) == (Code.CIRCUIT_OPEN, False)
        assert said(refused)["retry_after"] == 10.0
        assert bank.calls == 20
        await asyncio.sleep(10)
        bank.error = None
        assert codes(await asked(rail, 1)) == ["ok"]
        assert codes(await asked(rail, 50)) == ["ok"] * 50

    run_virtual(main())
    assert states(recorder) == [("ask", "open"), ("ask", "half-open"), ("ask", "closed")]


async def _anyway(rail: Rail[Any], times: int) -> list[ToolResult]:
    """Calls `ask` from a run that is not offered it, as a model may that knows of it from before."""
    return await in_run(rail, [call("ask")] * times, limits=WIDE)


@promise("steady:circuit")
@pytest.mark.parametrize("works", [True, False], ids=["the probe succeeds", "the probe fails"])
def test_half_open_lets_exactly_one_of_two_hundred_concurrent_calls_through(works: bool) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool())

    async def main() -> None:
        await asked(rail, 20)
        await asyncio.sleep(10)
        bank.calls, bank.seconds = 0, 0.5
        bank.error = None if works else bank.error
        runs = [in_run(rail, [call("ask")] * 4, limits=WIDE) for _ in range(50)]
        results = [result for batch in await asyncio.gather(*runs) for result in batch]
        assert bank.calls == 1
        assert codes(results).count("CIRCUIT_OPEN") == 199
        assert codes(results).count("ok" if works else "MAX_RETRIES") == 1
        bank.seconds = 0
        assert codes(await _anyway(rail, 30)) == ["ok" if works else "CIRCUIT_OPEN"] * 30

    run_virtual(main())
    assert states(recorder)[2:] == [("ask", "closed" if works else "open")]


class Yielding:
    """A gate at which everybody waits, so that all arrive at the circuit together."""

    async def enter(self, job: Job, tool: Tool[Any]) -> ToolResult | None:
        await asyncio.sleep(0.001)

    def leave(self, job: Job, tool: Tool[Any], result: ToolResult | None) -> None:
        return


@promise("steady:circuit")
@pytest.mark.parametrize("sync", [False, True], ids=["async", "sync"])
def test_of_two_hundred_that_saw_it_half_open_only_one_enters_and_the_others_keep_no_place(sync: bool) -> None:
    made: list[int] = []
    broken = True

    def work() -> str:
        """Works."""
        made.append(1)
        if broken:
            raise ConnectionResetError
        return "fine"

    async def awork() -> str:
        """Works."""
        return work()

    fn = work if sync else awork
    rail, _ = rail_of(
        tool(name="ask", effect="read", limits=ONCE)(fn), gates=[Yielding()], limits=RailLimits(threads=200)
    )

    async def main() -> None:
        nonlocal broken
        await asked(rail, 20)
        await asyncio.sleep(10)
        made.clear()
        results = await asked(rail, 200)
        assert codes(results).count("CIRCUIT_OPEN") == 199
        assert len(made) == 1
        assert rail.health().threads.busy == 0
        await asyncio.sleep(20)
        broken = False
        assert codes(await asked(rail, 1)) == ["ok"]

    run_virtual(main())


FAILURES: list[tuple[str, Any, str | None]] = [
    ("a passing failure", ConnectionResetError, "open"),
    ("a retryable ToolError", lambda: ToolError("busy", retryable=True), "open"),
    ("a permanent ToolError", lambda: ToolError("There is no such order."), None),
    ("a hint to the model", lambda: ModelRetry("Give the number."), None),
    ("a refusal by the handler", NotAuthorised, None),
    ("a bug", lambda: KeyError("x"), None),
]


@promise("steady:circuit")
@pytest.mark.parametrize(("error", "state"), [(e, s) for _, e, s in FAILURES], ids=[name for name, _, _ in FAILURES])
@pytest.mark.parametrize("effect", ["read", "once", "keyed", "undeclared"])
def test_only_failures_of_the_dependency_open_it(error: Any, state: str | None, effect: str) -> None:
    rail, recorder = rail_of(Bank(error).tool(effect=effect))
    run_virtual(asked(rail, 40))
    assert [changed for _, changed in states(recorder)] == ([state] if state else [])


@promise("steady:circuit")
def test_deadlines_open_it() -> None:
    rail, recorder = rail_of(Bank(seconds=60).tool(limits=CallLimits(timeout=1.0)))
    assert set(codes(run_virtual(asked(rail, 20)))) == {"TIMEOUT"}
    assert states(recorder) == [("ask", "open")]


@promise("steady:circuit")
@pytest.mark.parametrize(
    "calls",
    [
        [call("ask", "junk")] * 60,
        [call("nowhere")] * 60,
        [call("vault")] * 60,
    ],
    ids=["bad arguments", "an unknown tool", "a permission that lacks"],
)
def test_what_never_reaches_the_handler_does_not_open_it(calls: Any) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool(), bank.tool("vault", requires="gold"))
    run_virtual(in_run(rail, calls, limits=WIDE))
    assert (bank.calls, states(recorder)) == (0, [])


@promise("steady:circuit")
def test_cancelled_calls_do_not_open_it_whatever_they_leave_behind() -> None:
    rail, recorder = rail_of(Bank(seconds=60).tool(effect="once"))

    async def main() -> None:
        running = asyncio.create_task(asked(rail, 40))
        await asyncio.sleep(1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    run_virtual(main())
    assert states(recorder) == []


@promise("steady:circuit")
@pytest.mark.parametrize(("fine", "failing", "opens"), [(0, 19, False), (0, 20, True), (11, 10, False), (10, 10, True)])
def test_it_opens_by_a_rate_over_a_least_volume(fine: int, failing: int, opens: bool) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool())

    async def main() -> None:
        bank.error = None
        await asked(rail, fine)
        bank.error = ConnectionResetError
        await asked(rail, failing)

    run_virtual(main())
    assert bool(states(recorder)) == opens


@promise("steady:circuit")
@pytest.mark.parametrize(("pause", "opens"), [(5.0, True), (31.0, False)])
def test_only_the_window_counts(pause: float, opens: bool) -> None:
    rail, recorder = rail_of(Bank().tool())

    async def main() -> None:
        await asked(rail, 12)
        await asyncio.sleep(pause)
        await asked(rail, 12)

    run_virtual(main())
    assert bool(states(recorder)) == opens


@promise("steady:circuit")
def test_the_open_time_doubles_with_each_failed_probe_up_to_its_most_and_starts_anew_after_a_success() -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool(), limits=RailLimits(circuit=Circuit(open_for=1.0, open_max=5.0)))

    async def closed_for() -> float:
        return said((await asked(rail, 1))[0])["retry_after"]

    async def main() -> list[float]:
        await asked(rail, 20)
        seen = [await closed_for()]
        for _ in range(4):
            await asyncio.sleep(seen[-1])
            assert codes(await asked(rail, 1)) == ["MAX_RETRIES"]
            seen.append(await closed_for())
        await asyncio.sleep(seen[-1])
        bank.error = None
        await asked(rail, 1)
        bank.error = ConnectionResetError
        await asked(rail, 20)
        return [*seen, await closed_for()]

    assert run_virtual(main()) == [1.0, 2.0, 4.0, 5.0, 5.0, 1.0]


@promise("steady:circuit")
@pytest.mark.parametrize("how", ["cancelled", "a bug", "refused by the store", "a closed place"])
def test_a_probe_that_comes_to_nothing_gives_its_place_back(how: str) -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool(), bank.tool("slow", dependency="ask", limits=CallLimits(concurrency=1, wait=0)))

    async def main() -> None:
        await asked(rail, 20)
        await asyncio.sleep(10)
        bank.seconds = 5
        if how == "cancelled":
            probe = asyncio.create_task(asked(rail, 1))
            await asyncio.sleep(1)
            assert codes(await asked(rail, 1)) == ["CIRCUIT_OPEN"]
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
        elif how == "a bug":
            bank.error = KeyError
            assert codes(await asked(rail, 1)) == ["INTERNAL_ERROR"]
        elif how == "refused by the store":
            rail.ports.work.closing = True
            assert codes(await asked(rail, 1)) == ["SHUTTING_DOWN"]
            rail.ports.work.closing = False
        else:
            rail.ports.board.places.take([(("tool", "slow"), 1)])
            assert codes(await asked(rail, 1, "slow")) == ["RATE_LIMITED"]
            rail.ports.board.places.give_back([(("tool", "slow"), 1)])
        bank.error, bank.seconds = None, 0
        assert codes(await asked(rail, 1)) == ["ok"]

    run_virtual(main())
    assert states(recorder)[-1] == ("ask", "closed")


@promise("steady:circuit")
def test_an_open_circuit_stops_further_attempts_of_calls_under_way() -> None:
    bank = Bank()
    rail, _ = rail_of(
        bank.tool("ask", dependency="bank"),
        bank.tool("patient", dependency="bank", limits=CallLimits(attempts=9, timeout=60.0)),
        limits=RailLimits(backoff=4.0, backoff_max=4.0, retries=None),
    )

    async def main() -> None:
        patient = asyncio.create_task(asked(rail, 1, "patient"))
        await asyncio.sleep(0.001)
        before = bank.calls
        await asked(rail, 20)
        assert codes(await patient) == ["MAX_RETRIES"]
        assert bank.calls == before + 20 + 1  # it was waiting already; that one attempt was the last

    run_virtual(main())


@promise("steady:circuit")
def test_calls_that_began_before_it_opened_neither_close_nor_open_it() -> None:
    breaker = Breaker(Circuit(volume=2))
    old = [breaker.enter(0.0)[0] for _ in range(9)]
    changes = [breaker.leave(ticket or 0, False, 1.0) for ticket in old[:2]]
    assert changes == [None, "open"]
    assert [breaker.leave(ticket or 0, True, 2.0) for ticket in old[2:5]] == [None] * 3
    assert breaker.state == "open"
    assert breaker.enter(11.0) == (PROBE, "half-open")
    assert breaker.leave(PROBE, True, 12.0) == "closed"
    assert [breaker.leave(ticket or 0, False, 13.0) for ticket in old[5:]] == [None] * 4
    assert breaker.state == "closed"


@promise("steady:circuit")
def test_tools_of_one_dependency_share_its_circuit_and_others_do_not_notice() -> None:
    bank, post = Bank(), Bank()
    post.error = None
    tools = [bank.tool("pay", dependency="bank"), bank.tool("refund", dependency="bank"), post.tool("send")]
    rail, recorder = rail_of(*tools)

    async def main() -> None:
        await asked(rail, 20, "pay")
        assert codes(await asked(rail, 1, "refund")) == ["CIRCUIT_OPEN"]
        assert codes(await asked(rail, 1, "send")) == ["ok"]

    run_virtual(main())
    assert states(recorder) == [("bank", "open")]


@promise("steady:circuit")
def test_none_switches_it_off() -> None:
    bank = Bank()
    rail, recorder = rail_of(bank.tool(), limits=RailLimits(circuit=None))
    assert set(codes(run_virtual(asked(rail, 500)))) == {"MAX_RETRIES"}
    assert (bank.calls, states(recorder)) == (500, [])


@promise("tool:offered/circuits", "steady:circuit")
def test_a_run_that_starts_while_it_is_open_is_not_offered_its_tools_and_keeps_its_offer() -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool(), Bank().tool("other"), bank.tool("gold", requires="gold", dependency="ask"))

    async def main() -> None:
        async with rail.run([]) as before:
            await rail.batch([call("ask")] * 20, before)
            assert [*before.offered] == ["ask", "other"]
            async with rail.run([]) as run:
                assert [*run.offered] == ["other"]
                seen = await rail.batch([call("ask"), call("gold"), call("nowhere")], run)
                assert codes(seen) == ["CIRCUIT_OPEN", "UNKNOWN_TOOL", "UNKNOWN_TOOL"]
                await asyncio.sleep(10)
                bank.error = None
                assert codes(await rail.batch([call("ask")], run)) == ["ok"]
                assert [*run.offered] == ["other"]
            assert [*before.offered] == ["ask", "other"]
        async with rail.run([]) as after:
            assert [*after.offered] == ["ask", "other"]

    run_virtual(main())


@promise("tool:offered/circuits")
def test_it_is_offered_again_once_the_open_time_is_over_so_that_a_probe_can_come() -> None:
    rail, _ = rail_of(Bank().tool())

    async def main() -> list[list[str]]:
        await asked(rail, 20)
        seen: list[list[str]] = []
        for _ in range(2):
            async with rail.run([]) as run:
                seen.append([*run.offered])
            await asyncio.sleep(10)
        return seen

    assert run_virtual(main()) == [[], ["ask"]]


@promise("tool:offered/circuits")
@pytest.mark.parametrize("first_open", [True, False], ids=["open at the start", "open at the return"])
def test_a_restored_run_keeps_the_offer_that_it_had(first_open: bool) -> None:
    bank = Bank()
    rail, _ = rail_of(bank.tool(), Bank().tool("other"))

    async def main() -> None:
        if first_open:
            await asked(rail, 20)
        async with rail.run([], run_id="r1", principal=ALICE) as run:
            offered = [*run.offered]
        await (asyncio.sleep(10) if first_open else asked(rail, 20))
        async with rail.run([], run_id="r1", principal=ALICE) as run:
            assert [*run.offered] == offered == (["other"] if first_open else ["ask", "other"])
            wanted = "MAX_RETRIES" if first_open else "CIRCUIT_OPEN"
            assert codes(await rail.batch([call("ask")], run)) == [wanted]

    run_virtual(main())


@promise("steady:circuit")
def test_health_tells_how_circuits_calls_and_limits_stand() -> None:
    bank, slow = Bank(), Bank(seconds=5)
    rail, _ = rail_of(
        bank.tool(),
        slow.tool("slow", limits=CallLimits(concurrency=1, wait=2.0)),
        slow.tool("paced", dependency="slow", limits=CallLimits(rate=Rate(1, per=60.0))),
    )

    async def main() -> None:
        assert rail.health().ok
        assert rail.health().circuits == ()
        await asked(rail, 10)
        (seen,) = rail.health().circuits
        assert (seen.dependency, seen.state, seen.failure_rate, seen.calls) == ("ask", "closed", 1.0, 10)
        assert rail.health().ok
        running = asyncio.gather(asked(rail, 2, "slow"), asked(rail, 1, "paced"))
        await asked(rail, 10)
        await asyncio.sleep(1)
        health = rail.health()
        assert (health.calls, health.waiting, health.at_limit) == (3, 1, ("paced", "slow"))
        assert (health.circuits[0].state, health.circuits[0].seconds, health.circuits[0].retry_after) == ("open", 1, 9)
        assert (health.ok, health.closing, health.sink_errors) == (False, False, 0)
        assert health.threads.busy == 0
        await running
        await rail.drain(1.0)
        assert rail.health().closing

    run_virtual(main())


@pytest.mark.parametrize(
    "make",
    [
        lambda: RailLimits(circuit=Circuit(failures=0)),
        lambda: RailLimits(circuit=Circuit(window=0)),
        lambda: RailLimits(circuit=Circuit(failures=50)),
        lambda: RailLimits(wait=-1),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_the_start(make: Any) -> None:
    with pytest.raises(DefinitionError, match="TR301"):
        make()


class Refusing:
    """A gate of a user's own, the last before the probe."""

    def __init__(self) -> None:
        self.refuses = True

    async def enter(self, job: Job, tool: Tool[Any]) -> ToolResult | None:
        return job.ports.refuse(job, Code.RATE_LIMITED, values={"seconds": 1}) if self.refuses else None

    def leave(self, job: Job, tool: Tool[Any], result: ToolResult | None) -> None:
        return


@promise("steady:circuit")
def test_a_users_gate_that_refuses_does_not_keep_the_probes_place() -> None:
    gate, bank = Refusing(), Bank()
    rail, recorder = rail_of(bank.tool(), gates=[gate])

    async def main() -> None:
        gate.refuses = False
        await asked(rail, 20)
        await asyncio.sleep(10)
        gate.refuses, bank.error = True, None
        assert codes(await asked(rail, 3)) == ["RATE_LIMITED"] * 3
        gate.refuses = False
        assert codes(await asked(rail, 1)) == ["ok"]

    run_virtual(main())
    assert [state for _, state in states(recorder)] == ["open", "half-open", "closed"]


STEPS = st.lists(st.tuples(st.sampled_from(["enter", "ok", "fail", "nothing"]), st.floats(0, 20)), max_size=120)


@promise("steady:circuit")
@given(STEPS)
def test_never_two_probes_and_never_a_call_while_it_is_open(steps: Sequence[tuple[str, float]]) -> None:
    breaker, now, out = Breaker(Circuit(volume=3)), 0.0, list[int]()
    for step, seconds in steps:
        now += seconds
        if step == "enter":
            state, due = breaker.state, breaker.refuses(now)
            ticket, _ = breaker.enter(now)
            assert (ticket is None) == (due is not None)
            if ticket is None:
                assert state != "closed"
            else:
                out.append(ticket)
        elif out:
            breaker.leave(out.pop(0), {"ok": True, "fail": False, "nothing": None}[step], now)
        assert out.count(PROBE) == breaker.probing
        assert breaker.closed == (breaker.state == "closed")
