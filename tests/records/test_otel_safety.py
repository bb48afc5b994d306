"""OpenTelemetry: nothing that anyone wrote gets out unasked, and whatever breaks in it changes nothing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import get_current_span

from tests.promises import promise
from tests.records.tracing import Traced, said, status
from tests.spine.helpers import call
from toolrail import Agent, DefinitionError, Principal, Rail, tool
from toolrail.records.otel import OpenTelemetry, names
from toolrail.records.otel import calls as calls_of
from toolrail.testing import Calls, FixedClock, ScriptedModel, run_virtual

SECRET = "s3cr3t-value"


@tool(effect="read")
async def look(key: str) -> str:
    """Looks something up."""
    return json.dumps({"password": SECRET, "key": key})


@tool(effect="read")
async def broken(url: str) -> str:
    """Fails."""
    raise RuntimeError(f"cannot reach {url}: {SECRET}")


async def agent_run(traced: Traced, **options: Any) -> None:
    rail = Rail([look, broken], sinks=[traced.sink(**options)], clock=FixedClock())
    turns = [
        Calls(("look", {"key": f"token={SECRET}"}), ("broken", {"url": f"https://u:{SECRET}@h/"}), ("look", SECRET)),
        f"The password is {SECRET}.",
    ]
    await Agent(ScriptedModel(turns), rail).run(f"My password={SECRET}", principal=Principal("alice@example.org"))


@promise("see:otel")
@pytest.mark.filterwarnings("ignore")
def test_secrets_in_arguments_results_errors_and_messages_are_in_no_span() -> None:
    traced = Traced()
    run_virtual(agent_run(traced))
    assert len(traced.spans) == 6
    assert SECRET not in traced.everything()
    assert "alice" not in traced.everything()


@promise("see:otel")
def test_content_is_there_when_it_is_asked_for_and_masked_unless_all_of_it_is() -> None:
    masked, full = Traced(), Traced()
    run_virtual(agent_run(masked, content="redacted", principals=True))
    run_virtual(agent_run(full, content="full"))
    for traced in (masked, full):
        assert len(traced.spans) == 6
        calls = {said(span)["toolrail.call.index"]: said(span) for span in traced.spans if "tool" in span.name}
        assert set(json.loads(calls[0]["gen_ai.tool.call.arguments"])) == {"key"}
        assert "INTERNAL_ERROR" in calls[1]["gen_ai.tool.call.result"]
    results = [said(span).get("gen_ai.tool.call.result", "") for span in masked.named("execute_tool look")]
    assert any('"[masked]"' in one for one in results)
    assert SECRET in full.everything()
    assert said(masked.one("invoke_agent"))["user.id"] == "alice@example.org"
    assert "user.id" not in said(full.one("invoke_agent"))


@promise("see:otel")
@pytest.mark.parametrize("before", range(names.LONGEST - 60, names.LONGEST + 40, 4))
def test_a_secret_at_the_end_of_what_a_span_shows_is_masked_before_it_is_cut(before: int) -> None:
    traced = Traced()

    @tool(effect="read")
    async def fetch() -> str:
        """Fetches a page."""
        return f"{'.' * before} see https://ann:{SECRET}@bank.example/ {'and more ' * 2_000}"

    async def run() -> None:
        async with Rail([fetch], sinks=[traced.sink(content="redacted")], clock=FixedClock()) as rail:
            await rail.batch([call("fetch")])

    run_virtual(run())
    shown = said(traced.one("execute_tool fetch"))["gen_ai.tool.call.result"]
    assert "ann:" not in shown
    assert names.LONGEST - 100 < len(shown) <= names.LONGEST


@promise("see:otel")
def test_hostile_names_are_no_labels_and_can_be_encoded() -> None:
    traced = Traced()
    hostile = ["\ud800" * 3, "a" * 5000, "x\r\nSet-Cookie: y", "<script>", "\x00\x1b[31m", ""]
    rail = Rail([look], sinks=[traced.sink()], clock=FixedClock())
    run_virtual(rail.batch([call(name, {}, id=name or "-") for name in hostile]))
    assert {span.name for span in traced.spans} == {"execute_tool"}
    for span in traced.spans:
        for value in said(span).values():
            if isinstance(value, str):
                value.encode()
                assert value.isprintable()
                assert len(value) <= names.WIDEST
    assert {point.attributes["gen_ai.tool.name"] for point in traced.points("gen_ai.execute_tool.duration")} == {
        "_OTHER"
    }


class Broken(SpanProcessor):
    """Fails at one of the moments that the SDK tells it of."""

    def __init__(self, moment: str) -> None:
        self.moment = moment

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        if self.moment == "start":
            raise RuntimeError("no")

    def on_end(self, span: ReadableSpan) -> None:
        if self.moment == "end":
            raise RuntimeError("no")


@promise("see:otel")
@pytest.mark.parametrize("moment", ["start", "end"])
def test_an_exporter_that_breaks_changes_no_result_and_leaves_no_place(moment: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Broken(moment))
    rail = Rail([look], sinks=[OpenTelemetry(provider)], clock=FixedClock())

    async def work() -> Sequence[str]:
        async with rail.run([]) as run:
            results = await rail.batch([call("look", {"key": "a"}), call("look", {"key": "b"})], run)
            results += await rail.batch([call("look", {"key": "c"})], run)
        assert not get_current_span().get_span_context().is_valid
        return [result.status for result in results]

    assert run_virtual(work()) == ["ok"] * 3
    assert rail.ports.work.sink_errors > 0


@promise("see:otel")
def test_another_sink_that_breaks_takes_no_span_along() -> None:
    class Bad:
        wants_content = True

        def emit(self, event: object) -> None:
            raise RuntimeError("no")

        def take(self, content: object) -> None:
            raise RuntimeError("no")

    traced = Traced()

    async def work() -> None:
        rail = Rail([look], sinks=[Bad(), traced.sink(content="full")], clock=FixedClock())
        await rail.batch([call("look", {"key": "a"})])
        await asyncio.sleep(0)

    run_virtual(work())
    assert status(traced.one("execute_tool look")) == "UNSET"


@promise("see:otel")
def test_spans_that_are_not_sampled_cost_no_attributes_and_still_count() -> None:
    traced = Traced(spans_of=TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    rail = Rail([look], sinks=[traced.sink(content="full")], clock=FixedClock())
    run_virtual(rail.batch([call("look", {"key": "a"})]))
    assert traced.spans == []
    assert [point.count for point in traced.points("gen_ai.execute_tool.duration")] == [1]


@promise("see:otel")
@pytest.mark.parametrize(
    ("options", "said_"),
    [
        ({"content": "all"}, "TR301 OpenTelemetry(content='all')"),
        ({"profile": "1.0"}, "TR301 OpenTelemetry(profile='1.0')"),
        ({"tracer_provider": 3}, "TR301 OpenTelemetry(tracer_provider=3)"),
        ({"principals": "yes"}, "TR301 OpenTelemetry(principals='yes')"),
        ({"agent": 3}, "TR301 OpenTelemetry(agent=3)"),
    ],
)
def test_a_setting_that_cannot_be_is_said_at_once(options: dict[str, Any], said_: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        OpenTelemetry(**options)
    assert str(raised.value).startswith(said_)


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return made.stdout.strip()


@promise("see:otel")
def test_nothing_of_it_is_loaded_unless_it_is_used() -> None:
    use = "import sys, toolrail; toolrail.Rail([]); print([m for m in sys.modules if 'telemetry' in m or '.otel' in m])"
    assert fresh(use) == "[]"


@promise("see:otel")
def test_without_the_package_the_import_says_what_to_install() -> None:
    use = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try:\n    import toolrail.records.otel\nexcept ImportError as error:\n    print(error)"
    )
    assert fresh(use) == 'OpenTelemetry is not installed. Mend: pip install "toolrail[otel]"'


@promise("see:otel")
def test_what_never_says_that_it_has_ended_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_of, "MOST_OPEN", 3)
    traced = Traced()
    rail = Rail([look], sinks=[traced.sink()], clock=FixedClock())

    async def lose() -> None:
        batch = rail.batch([call("look", {"key": "a"})])
        batch.send(None)
        batch.close()  # as when its loop is gone

    async def work() -> None:
        for _ in range(5):
            await lose()
            await asyncio.sleep(0)

    run_virtual(work())
    assert [said(span)["error.type"] for span in traced.spans] == ["_OTHER", "_OTHER"]
