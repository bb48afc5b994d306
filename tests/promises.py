"""What toolrail promises, as data; a test marks what it proves with `@promise("call:total")`.

`held` promises are proved by a test that passed, `deferred` ones are not asked for yet. A part has a status of its own:
`@promise("call:deadline/threads")`. `tests/proofs.py` reads the marks and keeps the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import pytest

Origin = Literal["seed", "pain", "own"]
"""Where a promise comes from: the article, what users of other libraries reported, or ourselves."""

Status = Literal["held", "deferred"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One sentence that can be tested. Ids stay; sentences may become sharper, never weaker."""

    origin: Origin
    id: str
    sentence: str
    parts: Mapping[str, Status] = field(default_factory=dict[str, Status])
    status: Status = "held"

    def ids(self) -> frozenset[str]:
        """All that a test may name."""
        return frozenset((self.id, *(f"{self.id}/{part}" for part in self.parts)))

    def wanted(self) -> frozenset[str]:
        """What some test must prove now: each held part, or the promise itself if it has none."""
        held = frozenset(f"{self.id}/{part}" for part, status in self.parts.items() if status == "held")
        return (held or frozenset((self.id,))) if self.status == "held" else frozenset()


def promise(*ids: str) -> pytest.MarkDecorator:
    """Marks a test (a function, a class or one row of a table) with the promises that it proves."""
    return pytest.mark.promise(*ids)


seed = partial(Promise, "seed")
pain = partial(Promise, "pain")
own = partial(Promise, "own")

PROMISES: tuple[Promise, ...] = (
    # Tools
    seed(
        "tool:schema",
        "A typed function, sync or async, becomes a tool: its JSON Schema comes from Pydantic with Field constraints, "
        "defaults, Optional, Literal, enums, unions, nested models, dates; parameter descriptions come from `Field` or "
        "the docstring (Google, NumPy, Sphinx). The context parameter is injected and never in the schema.",
    ),
    seed(
        "tool:model",
        "A Pydantic model plus a handler becomes a tool; so does a raw JSON Schema plus a handler (2020-12 and "
        "draft-07, `$schema` honoured, remote `$ref` never fetched).",
    ),
    seed(
        "tool:registry",
        "The article's own `TOOLS` list and `TOOL_HANDLERS` dict work unchanged through `Rail.from_definitions`, and "
        "gain every promise below. A definition without handler, or a handler without definition, is an error at "
        "start-up.",
    ),
    seed(
        "tool:guidance",
        "`when` and `when_not` are part of the description that the model reads, in one fixed form.",
    ),
    seed(
        "tool:check",
        "`toolrail check` reports what makes a model call a tool wrongly: no when / when-not, no argument description, "
        "a format in words but no pattern, two responsibilities in one tool, two tools that a model cannot tell apart, "
        "a write without key, verifier or timeout, a schema that a provider's strict mode refuses. Every rule has an "
        "id, a reason and an example; exit status and JSON and GitHub formats for CI.",
        status="deferred",
    ),
    pain(
        "tool:dialect",
        "One tool compiles to each provider's schema subset (OpenAI strict and not, Anthropic strict and not, Gemini). "
        "What the subset cannot say moves into the description and is still validated here. One bad schema never takes "
        'the other tools with it. Optional arguments survive: `null` means "use the default" only where the dialect '
        "itself added the null; a parameter that allows null and has another default makes the tool non-strict, and "
        "`check` says so.",
        parts={"check": "deferred"},
    ),
    pain(
        "tool:names",
        "Names that a provider refuses are mapped reversibly.",
    ),
    pain(
        "tool:offered",
        "What a model is offered depends on the principal's permissions, is fixed at the start of a run byte for byte "
        "(prompt caches), and a tool that is hidden is also refused at execution. Open circuits and spent budgets are "
        "refusals with a reason, or `allowed_tools` where the provider has it.",
        parts={"permissions": "held", "circuits": "held", "budgets": "held"},
    ),
    own(
        "tool:errors",
        "A wrong definition fails at start-up with place, reason, mend and a rule id (`TR203 app.py:14 pay(): ...`); "
        "every such message is a golden test, `toolrail rule TR203` explains it.",
    ),
    seed(
        "tool:isolated",
        '`isolate="process"` runs a tool in a process of its own with memory and CPU limits that is really killed at '
        "its deadline; the shop shows it with a tool that runs code (in an existing sandbox, `pydantic-monty`) and one "
        "that calculates.",
    ),
    # One call
    seed(
        "call:total",
        "Every call in a batch gets exactly one result, with the provider's id, in the model's order, whatever "
        "happened to it or its siblings: exception, timeout, cancellation, denial, limit, crash, duplicate or empty "
        "id.",
    ),
    seed(
        "call:unknown-tool",
        "An unknown name is answered with `UNKNOWN_TOOL` and the near names; it never ends the run and is never "
        "silently redirected.",
    ),
    own(
        "call:json",
        "Arguments are parsed strictly: NaN, Infinity, overflow to infinity, duplicate keys, lone surrogates, depth "
        "over 200, truncated or concatenated text are `INVALID_ARGUMENTS`; nothing runs from a response that was cut "
        "off (`TRUNCATED`), not even its complete calls' siblings with empty arguments. **A tool never runs on guessed "
        "arguments.** Only lossless readings are accepted, and flagged in the record: a code fence, a whole object "
        "encoded twice, an empty string or `null` for a tool without required arguments, an array or object given as "
        "its own JSON text where the schema wants one.",
    ),
    seed(
        "call:validate",
        "Arguments that fail the schema are answered with the field, what was expected and what came, short enough for "
        'a model to correct; the handler does not run. Coercion follows a closed table of lossless readings ("5" and '
        "5.0 for an integer, a number for a float; never to a boolean, never a number for a date). Unknown keys are "
        'refused with the near name, except by a read that says `extra="ignore"` and by tools without parameters.',
    ),
    own(
        "call:grounded",
        "An argument declared grounded (an order id, a recipient) must occur in what the user or a trusted tool said "
        "in this run; an invented one is refused with a message that tells the model to ask.",
        status="deferred",
    ),
    seed(
        "call:errors",
        "Failures fall into retryable, permanent and unexpected. The first two show the `ToolError`'s text; an "
        "unexpected one is logged in full with a reference id and the model sees a generic text with that id. No "
        "exception text, path, traceback or secret reaches the model otherwise.",
    ),
    seed(
        "call:transient",
        "Network and time-out errors of the libraries that handlers use (OSError, httpx, httpx2, requests, aiohttp, "
        "asyncpg, psycopg, redis; SQLSTATE 40001, 40P01, 57P0x; HTTP 408, 425, 429, 5xx) count as retryable, "
        "recognised by qualified name without importing them; whether to repeat still follows the effect.",
    ),
    seed(
        "call:retry",
        "Retryable failures are retried with exponential back-off and full jitter, honouring Retry-After, within the "
        "call's deadline and a retry budget, and only when repeating is safe: what a failure means follows the table "
        "in DESIGN section 1; an unsafe tool is repeated only after an explicit statement that nothing happened. There "
        "is one retry layer for model requests and one for tools, both recorded.",
        parts={"attempts": "held", "budget": "held"},
    ),
    pain(
        "call:deadline",
        "Every call has a deadline (default 30 s), covering all attempts; it holds for async tools that swallow "
        "cancellation or hang in clean-up, for sync tools in threads and for MCP tools; it reaches the other side "
        "where it can (HTTP time-outs, `statement_timeout`, MCP cancellation). The model and the ledger learn whether "
        "the outcome is failed or unknown.",
        parts={"async": "held", "threads": "held", "mcp": "deferred", "reach": "held"},
    ),
    seed(
        "call:sync",
        "Sync tools run off the event loop in a pool of our own that 100 blocking tools cannot starve, with context "
        "variables kept; threads that outlive their deadline are counted, capped and visible.",
    ),
    seed(
        "call:parallel",
        "The calls of one response run at the same time, up to a limit: three tools of 500 ms take about 500 ms, async "
        "or sync.",
    ),
    pain(
        "call:order",
        "A tool may be a barrier or name a resource key: reads of one response run in parallel, writes to one resource "
        "run in the model's order.",
    ),
    pain(
        "call:cancel",
        "Cancelling a run cancels its tools, keeps the results of finished siblings, leaves a history that the next "
        "prompt can continue, and leaks no task or thread.",
    ),
    pain(
        "call:encode",
        "Any return value becomes content: models, dataclasses, dates, Decimal, sets, bytes, NaN, cycles, generators "
        "refused with a clear text. Encoding never fails after a side effect happened; an output that misses its "
        "declared schema is flagged, not reported as failure.",
    ),
    pain(
        "call:size",
        "Results over a cap (default 32 KB) are kept whole outside the conversation; the model gets a preview, the "
        "size and a way to read more.",
        parts={"preview": "held", "read-more": "held"},
    ),
    own(
        "call:images",
        "A tool may return text, images and files where the provider's format can carry them.",
    ),
    # The loop
    seed(
        "loop:answer",
        "user -> model -> tools -> model -> answer, for a single tool, parallel tools, a chain of N, and a forced "
        "choice, with the round trips of the article's table.",
    ),
    seed(
        "loop:clarify",
        "A missing or ambiguous argument ends in a question to the user; the next message of the session goes on with "
        "a valid history. Nothing in the loop forces the model's next step.",
    ),
    seed(
        "loop:trips",
        "The round trips are exactly the article's: single 2 requests, parallel 2, a chain of N links N+1, forced 2; "
        "shown in the record.",
    ),
    seed(
        "loop:session",
        "A session holds one conversation over many runs: stored, locked against two runs at once, trimmed to the "
        "model's context without breaking pairs of call and result.",
    ),
    own(
        "loop:output",
        "`output=Model` gives a validated final answer, corrected by the model within the limits.",
    ),
    seed(
        "loop:choice",
        "`tool_choice` auto, required, none or a named tool; also parallel calls switched off, a subset per turn, "
        "`allowed_tools`; a forced choice applies to the first turn and then returns to auto, so that it cannot loop; "
        "what a provider cannot combine is an error at start-up. A server that ignores a named choice is noticed.",
    ),
    seed(
        "loop:limits",
        "Turns (default 10), tool calls, calls per tool, tokens, money and wall time are hard limits: counts are "
        "reserved before a batch and exact, tokens and money exact to one response. The last allowed turn is sent with "
        "`tool_choice` none, so the closing answer is inside the limit; the run ends with a reason, never with an "
        "exception unless asked for.",
        parts={
            "turns": "held",
            "calls": "held",
            "per-tool": "held",
            "tokens": "held",
            "time": "held",
            "money": "held",
        },
    ),
    pain(
        "loop:repeat",
        "The same call with the same result, the same error again and again, and ping-pong between two calls are "
        "noticed: first a hint to the model (3), then refusal (5); ending the run is opt-in, beside the hard limits. "
        "Polling tools are exempt.",
    ),
    pain(
        "loop:history",
        "`run.messages` is valid for its provider after every outcome; `repair(messages)` makes any broken history "
        "valid (missing, duplicate and orphaned results), saying what it did.",
    ),
    pain(
        "loop:model-errors",
        "429 and 5xx are retried with Retry-After; a truncated response, a refusal, a content filter and an empty "
        "answer each have a defined outcome.",
    ),
    pain(
        "loop:stream",
        "Text, tool-call arguments, tool starts and results stream as typed events; leaving the stream early cancels "
        "cleanly.",
    ),
    seed(
        "loop:providers",
        "OpenAI Chat Completions, OpenAI Responses, Anthropic Messages and OpenAI-compatible servers, through the "
        "official SDKs, streaming included, one behaviour on all.",
        parts={"chat": "held", "responses": "held", "anthropic": "held", "compatible": "held"},
    ),
    own(
        "loop:sync",
        "`run_sync` and a synchronous rail, without writing everything twice.",
    ),
    # Effects
    pain(
        "effect:once",
        "A declared key field makes a second identical effect return the first result, within its scope, across "
        "retries, siblings, turns, runs and processes that share the ledger.",
    ),
    pain(
        "effect:conflict",
        "The same key with different other arguments is refused, never answered with the first result.",
    ),
    own(
        "effect:transaction",
        "A tool that writes to the store's own database can commit its effect and its `done` in one transaction.",
    ),
    own(
        "effect:observe",
        '`Rail(mode="observe")` records what toolrail would have done and changes nothing but answers that would have '
        "broken the history; `toolrail suggest` turns the record into declarations, with evidence.",
        status="deferred",
    ),
    pain(
        "effect:unknown",
        "After a timeout or crash of a tool that is not safe to repeat, the outcome is `unknown`: never repeated by "
        "itself, told to the model in words, listed for a person, settled by `verify` or by hand.",
    ),
    pain(
        "effect:approval",
        "A tool or policy can ask a person. The approval binds the exact effective arguments, is used once, expires, "
        "names the approver; edit-then-approve is a new digest; siblings that ran do not run again; no approver means "
        "no.",
    ),
    pain(
        "effect:resume",
        "A run killed at any instant resumes from its journal with no lost result and no effect repeated that was not "
        "safe to repeat.",
        parts={"clean-restart": "held", "killed": "deferred"},
    ),
    own(
        "effect:park",
        "A run that waits for a person for days holds no task and no memory.",
    ),
    # Authority
    seed(
        "auth:principal",
        "Who asks comes from the application in `RunContext.principal`; nothing that the model writes can change it.",
    ),
    seed(
        "auth:handler",
        'A handler asks too: `ctx.require("orders:read")` and `NotAuthorised`; another user\'s object is answered byte '
        "for byte like a missing one (`NotAuthorised(like=...)`); timing is not promised.",
    ),
    seed(
        "auth:policy",
        "Policies see the principal, the tool, the validated arguments and where they come from; `Allow`, "
        "`Deny(reason)` and `Ask(reason)`; denial wins; an exception in a policy is a denial; every decision is "
        "recorded with its reason. Names match exactly unless a pattern is written.",
        status="deferred",
    ),
    own(
        "auth:provenance",
        "Every result is labelled trusted or not by its tool's declaration; sensitive arguments of a tool with side "
        "effects (recipient, account, URL, object, date) must come from the user, the principal or trusted data, or "
        "the policy asks. No model judges this.",
        status="deferred",
    ),
    own(
        "auth:egress",
        "Links, addresses and account numbers inside free text that leaves the system are held to the same rule; "
        "secrets that a tool returned do not leave.",
        status="deferred",
    ),
    own(
        "auth:secrets",
        "Result fields declared secret never enter logs, traces, records or the model's context. A secret *argument* "
        "does not exist (the model wrote it): it is an error at start-up; secrets come from deps.",
        status="deferred",
    ),
    own(
        "auth:why",
        "`toolrail why CALL` shows each stage of a call, its inputs, the rule that decided, where each argument came "
        "from, and what would have changed the decision.",
        status="deferred",
    ),
    own(
        "auth:drift",
        "Tools from outside (MCP) are pinned by a digest of name, description and schema; a change is refused until "
        "accepted.",
        status="deferred",
    ),
    own(
        "auth:limits",
        "Rates and budgets per principal and per tool.",
    ),
    pain(
        "auth:audit",
        "Every call leaves a record of who, what, decided by which rule, with which outcome; records are chained so "
        "that a removed or changed one is noticed.",
        parts={"record": "held", "chain": "deferred"},
    ),
    # Sight
    seed(
        "see:record",
        "Every call is recorded: tool, latency, attempts, argument and result bytes, outcome code, run, turn, "
        "principal. Content is off by default.",
    ),
    seed(
        "see:log",
        "The article's log line, without its two faults (raw exception text, missing sizes), and a JSON twin.",
    ),
    seed(
        "see:percentiles",
        "p50, p95, p99 and error rate per tool, within 1 %, in bounded memory, mergeable across processes.",
    ),
    seed(
        "see:alerts",
        "An error rate over 5 % raises an alert when it is statistically so (at least 20 calls, Wilson lower bound), "
        "clears with hysteresis, and tells bad arguments apart from a failing dependency; so do p95 regressions, runs "
        "with too many calls, open circuits and spend.",
    ),
    seed(
        "see:cost",
        "Token cost per run and session = tokens x price, cached and reasoning tokens right, an unknown price shown as "
        "unknown; users' own prices come first.",
    ),
    seed(
        "see:session",
        "Calls per session: average, distribution, the runs that look like loops.",
    ),
    own(
        "see:otel",
        "OpenTelemetry GenAI spans and metrics (`execute_tool`, `invoke_agent`, `chat`, "
        "`gen_ai.execute_tool.duration`, ...), content off by default, no exception text in span status.",
    ),
    own(
        "see:prometheus",
        "`/metrics`, alert rules and a Grafana dashboard, proved against a real Prometheus.",
    ),
    own(
        "see:dashboard",
        "A local web page: overview, tools, runs, run detail with a waterfall, alerts, approvals, diff of two runs; "
        "live; works without internet; safe by default.",
        parts={"safe": "held", "pages": "held", "browser": "held", "causes": "held"},
    ),
    own(
        "see:cost-of-seeing",
        "Recording costs the caller under 15 us a call and never blocks or breaks a run: a full disk or a locked file "
        "loses telemetry, counted, and nothing else.",
        parts={"harmless": "held", "cheap": "held"},
    ),
    # Steadiness
    pain(
        "steady:circuit",
        "A dependency that fails is no longer called nor offered until one probe succeeds: one at a time.",
    ),
    own(
        "steady:rate",
        "Token buckets per tool and principal; waiting has a bound, then `RATE_LIMITED` with when to come back.",
    ),
    own(
        "steady:isolation",
        "No tool can break the runtime: exceptions, `BaseException`, `sys.exit`, deep recursion, huge results, blocked "
        "threads, tasks that swallow cancellation.",
    ),
    own(
        "steady:drain",
        "Shutdown is defined: no new calls, finish or mark unknown, flush, within a bound; SIGTERM does it for "
        "workers.",
        parts={"workers": "deferred"},
    ),
    own(
        "steady:simulation",
        "The whole runtime (loop, store, limits, leases, approvals, faults, clock) runs deterministically from a seed; "
        "a failing seed prints its one-line reproduction. And at every await and store operation an exception, a "
        "cancellation, a crash and a hang are injected in turn, exhaustively: all promises hold.",
    ),
    own(
        "steady:fair",
        "A tenant at 100 times its load does not raise the others' p99 by more than 10 %.",
    ),
    own(
        "steady:soak",
        "A million calls, thousands of runs at once: memory flat, no leaked task, thread or file.",
    ),
    # Growth
    own(
        "grow:journal",
        "Durable runs on an embedded file with nothing to install.",
        status="deferred",
    ),
    own(
        "grow:engines",
        "The same runs on Temporal and on DBOS with PostgreSQL, over several workers, passing the same kill suite.",
        status="deferred",
    ),
    # Reach
    own(
        "reach:mcp-in",
        "Tools of any MCP server (stdio, HTTP) through the rail, with deadlines that hold, reconnection and pinning.",
        status="deferred",
    ),
    own(
        "reach:mcp-out",
        "`toolrail mcp` serves a toolset to any MCP client, every call through the same spine.",
        status="deferred",
    ),
    own(
        "reach:drop-in",
        "Under ten lines put the rail into a raw OpenAI or Anthropic loop, pydantic-ai, LangChain, OpenAI Agents.",
        status="deferred",
    ),
    seed(
        "reach:sql",
        "The example tools search a real catalogue and real orders in SQL: SQLite by default, PostgreSQL (asyncpg) by "
        "a URL; an HTTP tool uses an async client.",
        parts={"sqlite": "held", "postgres": "held", "http": "held"},
    ),
    # Proof
    pain(
        "prove:replay",
        "A recorded run replays offline, strictly: a different call is a difference, shown.",
        status="deferred",
    ),
    own(
        "prove:chaos",
        "Faults on demand (errors, latency, hangs, garbage, crashes) by seed, at the tool boundary, for tests.",
        status="deferred",
    ),
    seed(
        "prove:article",
        "Each step of the article (registry and loop, parallel, retries, monitoring) stands as a hand-written loop of "
        "our own writing, a tested file, beside its toolrail twin, under the same faults.",
        parts={"by-hand": "held", "twins": "held", "monitoring": "deferred"},
    ),
    own(
        "prove:testing",
        "`toolrail.testing`: a scripted model, simulated time, assert helpers; users' tests need no network and no "
        "sleep.",
    ),
    own(
        "prove:bench",
        "One command measures toolrail beside its peers and the article's loop.",
        status="deferred",
    ),
)
