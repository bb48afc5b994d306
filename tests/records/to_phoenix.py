"""Sends one run to a Phoenix and prints what that shows of it, as JSON; run by its own Python, which has the exporter.

python to_phoenix.py http://127.0.0.1:6006
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from urllib.request import urlopen

from toolrail import Agent, Rail, ToolError, tool
from toolrail.records.otel import OpenTelemetry
from toolrail.testing import Calls, ScriptedModel

SPANS = 5


@tool(effect="read")
async def find(q: str) -> str:
    """Finds."""
    return f"found {q}"


@tool(effect="read")
async def broken(q: str) -> str:
    """Fails."""
    raise ToolError(f"there is none: {q}")


def provider(url: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # pyright: ignore[reportMissingImports]
        OTLPSpanExporter,  # pyright: ignore[reportUnknownVariableType]
    )
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(resource=Resource.create({"openinference.project.name": "toolrail"}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))  # pyright: ignore[reportUnknownArgumentType]
    return made


def shown(url: str, patience: float = 30.0) -> list[dict[str, Any]]:
    """What Phoenix has, once all of it has arrived there."""
    found: list[dict[str, Any]] = []
    until = time.monotonic() + patience
    while len(found) < SPANS and time.monotonic() < until:
        time.sleep(0.2)
        try:
            with urlopen(f"{url}/v1/projects/toolrail/spans?limit=100", timeout=5) as response:
                found = json.load(response)["data"]
        except OSError:
            continue
    return found


def main(url: str) -> None:
    spans = provider(url)
    model = ScriptedModel([Calls(("find", {"q": "lamp"}), ("broken", {"q": "desk"})), "Here."])
    agent = Agent(model, Rail([find, broken], sinks=[OpenTelemetry(spans, agent="shop")]))
    asyncio.run(agent.run("go", session="s-1"))
    spans.shutdown()
    print(json.dumps(shown(url)))


if __name__ == "__main__":
    main(sys.argv[1])
