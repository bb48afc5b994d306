"""Reading telemetry of a million calls: what the front page, tools, filters and one run cost, best of five.

python -m benchmarks.records [calls]

The rows are made by the recorder's own functions out of made-up events: one day, ten calls a run, 20 tools, 5 % errors.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, report
from toolrail.codes import CODES, Code
from toolrail.events import (
    AttemptEnded,
    CallDecided,
    CallRef,
    CallRequested,
    CallSettled,
    Event,
    Head,
    ModelSettled,
    ModelStarted,
    RunEnded,
    RunStarted,
)
from toolrail.messages import Usage
from toolrail.records.database import Database, connect
from toolrail.records.projecting import Handle, RunKey
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter, RunFilter, Window
from toolrail.records.writing import Flush, write

CALLS = 1_000_000
TURNS, PER_TURN = 5, 2
DAY = 86400.0
BEGIN = 1_800_000_000.0
RUNS_A_FLUSH = 200
TOOLS = tuple((f"tool_{number:02}", f"service_{number % 7}") for number in range(20))
MODELS = ("openai:gpt-4o", "anthropic:claude", "own:model")
FAILURES = (Code.TOOL_ERROR, Code.TIMEOUT, Code.INVALID_ARGUMENTS, Code.NOT_AUTHORISED, Code.OUTCOME_UNKNOWN)
ROUNDS = 5


def events_of(number: int, start: float, chance: random.Random) -> Iterator[Event]:
    """One run."""
    run, tenant = f"run_{number:012x}", f"tenant_{number % 3}"
    session, principal, seq = f"session_{number % 20_000}", f"user_{number % 500}", 0
    model, wall, begin = MODELS[number % 3], start, start

    def head(turn: int) -> Head:
        nonlocal seq, wall
        seq, wall = seq + 1, wall + 0.01
        return Head(seq, wall, wall - BEGIN, tenant, session, run, turn, principal)

    yield RunStarted(head(0), tuple(name for name, _ in TOOLS), model=model)
    total = Usage()
    for turn in range(1, TURNS + 1):
        yield ModelStarted(head(turn), model, turn * 3)
        wall += 1.0
        usage = Usage(1000 * turn, 100, 500)
        total += usage
        yield ModelSettled(head(turn), model, "tool_calls", usage, chance.lognormvariate(0, 0.5), 1, PER_TURN)
        for index in range(PER_TURN):
            yield from call_of(head, turn, index, chance)
    if number % 100:
        yield RunEnded(head(TURNS), "answer", TURNS, TURNS * PER_TURN, total, wall - begin)


def call_of(head: Callable[[int], Head], turn: int, index: int, chance: random.Random) -> Iterator[Event]:
    """One call."""
    first = head(turn)
    # The last tool is rare, so that its runs are looked for over the whole day.
    place = min(int(chance.expovariate(0.25)), len(TOOLS) - 1)
    tool, dependency = TOOLS[place]
    call = CallRef(f"{first.run}:{turn}:{index}", index, f"call_{turn}_{index}", tool, f"digest_{place}")
    code = chance.choice(FAILURES) if chance.random() < 0.05 else None
    seconds = chance.lognormvariate(-2.0, 0.8)
    yield CallRequested(first, call, 120)
    yield CallDecided(head(turn), call, "allow", "default", "")
    if code is not None:
        yield AttemptEnded(head(turn), call, 1, "error", "TimeoutError", seconds, None)
    status = "ok" if code is None else CODES[code].status
    sizes = (1, 120, 2_000)
    yield CallSettled(head(turn), call, status, code, *sizes, seconds, seconds * 0.9, (), False, True, None, dependency)


def costing(event: ModelSettled) -> tuple[float | None, str]:
    """One model has no price."""
    usage, model = event.usage, event.model
    return (None, "USD") if model == MODELS[2] else (usage.input_tokens * 2e-6 + usage.output_tokens * 1e-5, "USD")


def fill(db: Database, calls: int) -> float:
    """Writes so many calls, spread over one day; seconds it took."""
    runs = calls // (TURNS * PER_TURN)
    chance, began = random.Random(7), time.perf_counter()
    handles: dict[RunKey, Handle] = {}
    flush = Flush("benchmark", {}, BEGIN)
    for first in range(0, runs, RUNS_A_FLUSH):
        some = range(first, min(first + RUNS_A_FLUSH, runs))
        events = [event for number in some for event in events_of(number, BEGIN + DAY * number / runs, chance)]
        write(db, events, handles=handles, costing=costing, flush=flush)
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and the milliseconds that it may take."""

    name: str
    ask: Callable[[Records], Any]
    bound: float


def questions(calls: int) -> tuple[Question, ...]:
    """Those of the promise, and those that are hard."""
    day = Window(BEGIN + 90.0, BEGIN + DAY + 90.0)
    hour = Window(BEGIN + 40_000.0, BEGIN + 43_600.0)
    runs = calls // (TURNS * PER_TURN)
    middle = f"run_{runs // 2:012x}"

    def filtered(**given: Any) -> Callable[[Records], Any]:
        return lambda records: records.runs(RunFilter(**given))

    def called(**given: Any) -> Callable[[Records], Any]:
        return lambda records: records.calls(CallFilter(**given))

    third = (BEGIN + DAY / 3, "run_")
    return (
        Question("a day's rollups", lambda records: records.tools(day), 100),
        Question("overview, a day", lambda records: records.overview(day), 300),
        Question("overview, an hour", lambda records: records.overview(hour), 300),
        Question("tools with spark lines, a day", lambda records: records.tools(day, steps=60), 300),
        Question("one tool's history, a day", lambda records: records.history("tool_03", day), 300),
        Question("models, a day", lambda records: records.models(day), 300),
        Question("dependencies, a day", lambda records: records.dependencies(day), 300),
        Question("faults, a day", lambda records: records.faults(day), 300),
        Question("totals for /metrics", lambda records: (records.totals(), records.total_latencies()), 300),
        Question("minutes of an hour, for alerts", lambda records: records.minutes(BEGIN + DAY - 3600), 100),
        Question("one run in full", lambda records: records.run(middle), 150),
        Question("runs, newest", filtered(), 300),
        Question("runs, a page far back", filtered(before=third), 300),
        Question("runs, one tenant, a window", filtered(tenant="tenant_1", window=hour), 300),
        Question("runs, one user", filtered(principal="user_77"), 300),
        Question("runs, nobody's", filtered(principal="nobody"), 300),
        Question("runs, one session", filtered(session="session_77"), 300),
        Question("runs, a rare tool", filtered(tool="tool_19"), 300),
        Question("runs, a common tool", filtered(tool="tool_00"), 300),
        Question("runs, a tool that is none", filtered(tool="none"), 300),
        Question("runs, failed, one user", filtered(only="failed", principal="user_77"), 300),
        Question("runs, looping", filtered(only="looping"), 300),
        Question("runs, expensive", filtered(only="expensive"), 300),
        Question("runs, expensive, an hour", filtered(only="expensive", window=hour), 300),
        Question("runs, running", filtered(only="running"), 300),
        Question("runs, pending", filtered(only="pending"), 300),
        Question("runs, unknown", filtered(only="unknown"), 300),
        Question("runs, by the end of an id", filtered(text=middle[-6:]), 300),
        Question("calls, newest", called(), 300),
        Question("calls, a tool and a code", called(tool="tool_19", code="TIMEOUT"), 300),
        Question("calls, denied, one tenant", called(status="denied", tenant="tenant_2"), 300),
        Question("calls, no tenant's", called(tenant="nobody"), 300),
        Question("calls, unsettled", called(unsettled=True), 300),
        Question("sessions, newest", lambda records: records.sessions(day), 300),
        Question("sessions, dearest", lambda records: records.sessions(day, sort="cost"), 300),
        Question("calls per session", lambda records: records.calls_per_session(day), 300),
        Question("names", lambda records: records.names(), 300),
        Question("what is new since", lambda records: records.settled_after(BEGIN + DAY - 10), 100),
    )


def best(ask: Callable[[Records], Any], records: Records) -> float:
    """Milliseconds."""
    times: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ask(records)
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def main() -> int:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with tempfile.TemporaryDirectory(prefix="toolrail-records-") as directory:
        url = f"sqlite:///{Path(directory) / 'rail.records.db'}"
        db = connect(url)
        seconds = fill(db, calls)
        size = db.size()
        db.close()
        each = f"{seconds / calls * 1e6:.0f} us and {size / calls:.0f} bytes each"
        print(f"\n{calls:,} calls written in {seconds:.0f} s: {each}")
        with Records(url) as records:
            rows = [Row(each.name, best(each.ask, records), each.bound) for each in questions(calls)]
    return report(f"reading telemetry of {calls:,} calls, ms", rows)


if __name__ == "__main__":
    sys.exit(main())
