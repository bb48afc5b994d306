"""Client CPU of toolrail beside the hand-written loop: same SDK, same loopback server, rounds interleaved.

    python -m benchmarks.against_by_hand                 every case
    python -m benchmarks.against_by_hand --case "one call"

The server is another process, so `time.process_time()` is the client's CPU alone. Best of five rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from benchmarks import by_hand
from benchmarks.measure import Row, model_server, report

ROUNDS = 5
RECORDS: list[str] = []
"""The URL of the record, with --records."""
OPEN: list[Any] = []
RunOnce: TypeAlias = Callable[[], Awaitable[object]]


def toolrail_side(case: Case, client: AsyncOpenAI | AsyncAnthropic, probe: Probe) -> RunOnce:
    """The only place that knows toolrail's constructors: one run of the case with default ports and sinks."""
    from toolrail import Agent, Rail  # here, so that the hand-written side can be measured without it
    from toolrail.providers.anthropic_client import AnthropicMessages
    from toolrail.providers.openai_chat import OpenAIChat

    rail = Rail.from_definitions(
        definitions("openai", case.tools),
        dict.fromkeys(names(case.tools), probe.noop),
        effects=effects(case.tools),
        sinks=sinks(),
    )
    match client:
        case AsyncOpenAI():
            model = OpenAIChat("gpt-4o", client=client)
        case AsyncAnthropic():
            model = AnthropicMessages("claude-sonnet-5", client=client)
    agent = Agent(model, rail, max_turns=case.requests)
    return lambda: agent.run("Go.")


def sinks() -> list[Any] | None:
    """The default ones; with --records also the recorder, into the file of the process."""
    if not RECORDS:
        return None
    from toolrail.records.logging import LogSink
    from toolrail.records.metrics import Metrics
    from toolrail.records.recorder import Recorder

    OPEN.append(Recorder(RECORDS[0]))
    return [Metrics(), LogSink(), OPEN[-1]]


def by_hand_side(case: Case, client: AsyncOpenAI | AsyncAnthropic, probe: Probe) -> RunOnce:
    handlers = dict.fromkeys(names(case.tools), probe.noop)
    match client:
        case AsyncOpenAI():
            tools = definitions("openai", case.tools)
            return lambda: by_hand.openai_loop(client, tools, handlers, case.requests)
        case AsyncAnthropic():
            uses: Any = definitions("anthropic", case.tools)
            return lambda: by_hand.anthropic_loop(client, uses, handlers, case.requests)


Sdk = Literal["openai", "anthropic"]
Side: TypeAlias = Callable[["Case", AsyncOpenAI | AsyncAnthropic, "Probe"], RunOnce]


@dataclass(frozen=True, slots=True)
class Case:
    """One row. `requests` is how many model requests a run makes; `result` the size of a tool's result in bytes."""

    name: str
    script: str
    bound: float
    requests: int
    sdk: Sdk = "openai"
    measure: Literal["run", "later", "sessions", "flat"] = "run"
    tools: int = 2
    result: int = 2
    repeat: int = 1
    """Runs in one round: short cases need several for a steady figure."""


CASES = (
    Case("one call", "chain:1", 0.75, requests=2, repeat=20),
    Case("ten turns", "chain:9", 0.5, requests=10, repeat=6),
    Case("100 parallel calls", "parallel:100", 0.45, requests=2, repeat=6),
    Case("later request with 1,000 tools", "chain:5", 0.25, requests=6, measure="later", tools=1000),
    Case("100 turns, 1 KB results", "chain:99", 0.15, requests=100, result=1024),
    Case("cost of a turn flat", "chain:99", 1.3, requests=100, result=1024, measure="flat"),
    Case("200 sessions at once", "chain:2", 1.2, requests=3, measure="sessions", repeat=200),
    Case("anthropic: one call", "chain:1", 1.0, requests=2, sdk="anthropic", repeat=20),
    Case("anthropic: ten turns", "chain:9", 1.0, requests=10, sdk="anthropic", repeat=6),
    Case("anthropic: 100 turns, 1 KB results", "chain:99", 1.0, requests=100, sdk="anthropic", result=1024),
    Case("anthropic: cost of a turn flat", "chain:99", 1.3, 100, sdk="anthropic", result=1024, measure="flat"),
)


@dataclass(slots=True)
class Probe:
    """The tool that does nothing but tell the CPU clock when it was called: a turn lies between two calls."""

    result: str
    stamps: list[float] = field(default_factory=list[float])

    async def noop(self, **_: object) -> str:
        """Another result each time: the same call with the same result again and again would be refused as a loop."""
        self.stamps.append(time.process_time())
        return f"{len(self.stamps) % 100:02d}{self.result}"


def names(count: int) -> list[str]:
    return ["noop", *(f"tool_{number}" for number in range(count - 1))]


def effects(count: int) -> dict[str, str]:
    return dict.fromkeys(names(count), "read")


def definitions(sdk: Sdk, count: int) -> list[dict[str, Any]]:
    """`noop` without parameters, the others with three; the model calls only `noop`."""
    return [_definition(sdk, name) for name in names(count)]


def _definition(sdk: Sdk, name: str) -> dict[str, Any]:
    properties = {
        "query": {"type": "string", "description": "Words to look for"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 10},
        "category": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    }
    schema = {"type": "object", "properties": {} if name == "noop" else properties, "additionalProperties": False}
    text = f"Does what {name} does. Use it when {name} is meant. Not for anything else."
    if sdk == "anthropic":
        return {"name": name, "description": text, "input_schema": schema}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}


def measured(case: Case, sides: Sequence[Side], *, rounds: int = ROUNDS) -> list[list[list[float]]]:
    """For every side and round what `_round` gives, taken in turn: A B A B."""

    async def main(url: str) -> list[list[list[float]]]:
        runs = [_prepared(case, side, url) for side in sides]
        taken: list[list[list[float]]] = [[] for _ in sides]
        for probe, run_once, _ in runs:
            await _round(case, probe, run_once, repeat=1)  # opens connections, builds what is built lazily
        for _ in range(rounds):
            for index, (probe, run_once, _) in enumerate(runs):
                taken[index].append(await _round(case, probe, run_once, repeat=case.repeat))
        for *_, client in runs:
            await client.close()
        return taken

    with model_server(case.script) as url:
        return asyncio.run(main(url))


def _prepared(case: Case, side: Side, url: str) -> tuple[Probe, RunOnce, AsyncOpenAI | AsyncAnthropic]:
    client = (
        AsyncOpenAI(base_url=f"{url}/v1", api_key="test")
        if case.sdk == "openai"
        else AsyncAnthropic(base_url=url, api_key="test")
    )
    probe = Probe("x" * (case.result - len("00")))
    return probe, side(case, client, probe), client


async def _round(case: Case, probe: Probe, run_once: RunOnce, *, repeat: int) -> list[float]:
    """Figures of one round: CPU seconds of a run, of a later request or of each turn; wall seconds of a session."""
    gc.collect()
    probe.stamps.clear()
    wall, start = time.perf_counter(), time.process_time()
    if case.measure == "sessions":
        await asyncio.gather(*(run_once() for _ in range(repeat)))
        return [(time.perf_counter() - wall) / repeat]
    for _ in range(repeat):
        await run_once()
    end = time.process_time()
    expected = (int(case.script.partition(":")[2])) * repeat
    assert len(probe.stamps) == expected, f"{case.name}: {len(probe.stamps)} tool calls, not {expected}"
    match case.measure:
        case "later":
            return [(end - probe.stamps[0]) / (case.requests - 1)]
        case "flat":
            return [after - before for before, after in zip(probe.stamps, probe.stamps[1:], strict=False)]
        case _:
            return [(end - start) / repeat]


def best(rounds: Sequence[Sequence[float]]) -> list[float]:
    """The least of every figure over the rounds."""
    return [min(figures) for figures in zip(*rounds, strict=True)]


def row(case: Case) -> Row:
    """Measures one case."""
    if case.measure == "flat":
        (rounds,) = measured(case, [toolrail_side])
        turns = best(rounds)
        early, late = sum(turns[4:19]) / 15, sum(turns[-15:]) / 15
        return Row(case.name, late / early, case.bound, f"{early * 1e3:.2f} -> {late * 1e3:.2f} ms a turn")
    by_hand_rounds, toolrail_rounds = measured(case, [by_hand_side, toolrail_side])
    theirs, ours = best(by_hand_rounds)[0], best(toolrail_rounds)[0]
    if case.measure == "sessions":
        detail = f"{1 / theirs:.0f} -> {1 / ours:.0f} sessions/s"
        return Row(case.name, theirs / ours, case.bound, detail, at_least=True)
    return Row(case.name, ours / theirs, case.bound, f"{theirs * 1e3:.2f} -> {ours * 1e3:.2f} ms CPU")


def main() -> int:
    parser = argparse.ArgumentParser(description="Client CPU of toolrail beside the hand-written loop.")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="only this one")
    parser.add_argument("--records", action="store_true", help="with a record on disk: its thread's CPU counts, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.records:
            RECORDS.append(f"sqlite:///{folder}/rail.records.db")
        rows = [row(case) for case in CASES if options.case in (None, case.name)]
        for recorder in OPEN:
            recorder.close()
    return report("toolrail / loop by hand", rows)


if __name__ == "__main__":
    sys.exit(main())
