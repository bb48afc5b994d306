"""One turn: a model's response becomes its answered calls and a history that the next request can use.

The agent loop and the drop-ins share it, so that there is one way from a response to the spine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from toolrail.batch import Batch, settle_all
from toolrail.codes import Code
from toolrail.digests import blake2b
from toolrail.errors import TurnConflict
from toolrail.messages import Message, ToolCall, ToolResult
from toolrail.model import ModelResponse
from toolrail.opening import saved
from toolrail.ports import log
from toolrail.run import Run
from toolrail.stages.recall import replayed_as
from toolrail.store import CallsOf, ask

Render = Callable[[Sequence[ToolResult]], list[Message]]
REFUSED_TURNS = 3
"""A run without a limit of turns ends when so many in a row did nothing but ask for calls past their limit."""
_REFUSED = "refused_turns"


async def settle_turn(run: Run[Any], response: ModelResponse, render: Render) -> list[ToolResult]:
    """Answers every call of a response and writes the turn into `run.messages`, in one step at the end.

    A response without calls ends the run. The same response at the same position of the same run is answered with the
    stored results.

    Raises:
        TurnConflict: another response was already answered at this position.
        asyncio.CancelledError, KeyboardInterrupt: the caller was interrupted; the turn is written first.
    """
    batch = await take_turn(run, response, render)
    if batch.interrupt is not None:
        raise batch.interrupt
    return batch.results


async def take_turn(run: Run[Any], response: ModelResponse, render: Render) -> Batch:
    """`settle_turn` that gives what interrupted it beside the results, so that a caller who goes on has both.

    Raises:
        TurnConflict: another response was already answered at this position.
        asyncio.CancelledError: interrupted before anything was done; nothing is written then.
    """
    position = len(run.messages)
    known = await _answered_before(run, response, position)
    if known is not None:
        run.messages.extend([*response.messages, *render(known)])
        return Batch(known, None)
    last = run.last_turn
    run.state.turn += 1
    run.state.usage = run.state.usage + response.usage
    if not response.calls:
        run.messages.extend(response.messages)
        run.stop(reason_of(response))
        return Batch([], None)
    batch = await _settle(run, response, position, last=last)
    run.messages.extend([*response.messages, *_rendered(render, batch.results)])
    _count_refused(run, batch.results)
    try:
        await save(run)
    except asyncio.CancelledError as cancelled:
        return replace(batch, interrupt=batch.interrupt or cancelled)
    return batch


def _rendered(render: Render, results: Sequence[ToolResult]) -> list[Message]:
    """Effects have taken place: media that a codec cannot carry must not lose the turn."""
    try:
        return render(results)
    except Exception:
        log.exception("Results could not be rendered with their media; their text is sent alone.")
        return render([replace(result, media=()) for result in results])


def closing(run: Run[Any]) -> bool:
    """Whether the next request is the last one: it is sent with `tool_choice` none."""
    return run.last_turn or run.state.loop.get(_REFUSED, 0) == REFUSED_TURNS - 1


def _count_refused(run: Run[Any], results: Sequence[ToolResult]) -> None:
    if run.limits.turns is not None:
        return
    refused = all(result.code is Code.LIMIT_REACHED for result in results)
    run.state.loop[_REFUSED] = run.state.loop.get(_REFUSED, 0) + 1 if refused else 0
    if run.state.loop[_REFUSED] == REFUSED_TURNS:
        run.stop("limit:calls")


def reason_of(response: ModelResponse) -> str:
    """Why a run ends with a response that calls nothing. A final text that ends with a question mark is a question."""
    match response.stop:
        case "length":
            return "truncated"
        case "refusal" | "content_filter" | "empty":
            return response.stop
        case "end" | "calls":
            return "question" if response.text.rstrip().endswith(("?", "?)", "\uff1f")) else "answer"


async def _settle(run: Run[Any], response: ModelResponse, position: int, *, last: bool) -> Batch:
    truncated = response.stop == "length"
    batch = await settle_all(
        run.ports, run, response.calls, position=str(position), truncated=truncated, over="turns" if last else None
    )
    if batch.interrupt is not None:
        run.cancelled = True
        run.stop("cancelled")
    return batch


async def _answered_before(run: Run[Any], response: ModelResponse, position: int) -> list[ToolResult] | None:
    """The stored results of this very response, when the run is kept in a store and has answered it already."""
    if not run.named:
        return None
    digest = _digest(response.messages)
    before = run.state.answered.get(str(position))
    if before is None:
        run.state.answered[str(position)] = digest
        return None
    if before != digest:
        raise TurnConflict(f"Run {run.id!r} has already answered another response at message {position}.")
    rows = {row.key: row for row in await ask(run.ports.store, CallsOf(run.state.tenant, run.id))}
    return [_stored(run, call, rows.get(f"{run.id}:{position}:{at}")) for at, call in enumerate(response.calls)]


def _stored(run: Run[Any], call: ToolCall, row: Any) -> ToolResult:
    if row is not None:
        return replayed_as(call, row)
    return ToolResult(call.id, call.name, "unknown", '{"error":"No result was kept."}', code=Code.OUTCOME_UNKNOWN)


def _digest(messages: Sequence[Message]) -> str:
    text = json.dumps(messages, sort_keys=True, default=str)
    return blake2b(text, 16)


async def save(run: Run[Any]) -> None:
    """Progress becomes durable with each turn. Losing that write loses no effect: those were settled one by one."""
    if not (run.named or run.keepers or run.ports.store.durable):
        return
    try:
        await asyncio.shield(run.ports.own(run.ports.store.apply(*saved(run))))
    except Exception:
        log.exception("The store could not save run %s.", run.id)
