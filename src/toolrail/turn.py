"""One turn: a model's response becomes its answered calls and a history that the next request can use.

The agent loop and the drop-ins share it, so that there is one way from a response to the spine.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from toolrail.batch import Batch, note_pending, settle_all
from toolrail.codes import Code
from toolrail.digests import blake2b
from toolrail.errors import TurnConflict
from toolrail.events import Head, ModelSettled
from toolrail.leases import Lease
from toolrail.messages import Message, ToolCall, ToolResult
from toolrail.model import ModelResponse
from toolrail.money import Cost, charged, known_cost
from toolrail.opening import saved
from toolrail.ports import STORE_SECONDS, log
from toolrail.run import Run
from toolrail.stages.recall import replayed_as
from toolrail.store import NOT_BEGUN, CallRow, CallsOf, Op, ask

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
    batch = await take_turn(run, response, render, told=False)
    if batch.interrupt is not None:
        raise batch.interrupt
    return batch.results


async def take_turn(run: Run[Any], response: ModelResponse, render: Render, *, told: bool = True) -> Batch:
    """`settle_turn` that gives what interrupted it beside the results, so that a caller who goes on has both. `told`
    says that the response is in the record: who asked for it has put it there.

    Raises:
        TurnConflict: another response was already answered at this position.
        asyncio.CancelledError: interrupted before anything was done; nothing is written then.
    """
    position, digest = len(run.messages) + run.state.shift, ""
    known: dict[int, ToolResult | CallRow] | None = None
    if run.named:
        digest = _digest(response.messages)
        known = await _answered_before(run, response, position, digest)
    results = [one for one in (known or {}).values() if isinstance(one, ToolResult)]
    if known is not None and len(results) == len(response.calls):
        run.messages.extend([*response.messages, *render(results)])
        return Batch(results, None)
    if not told and known is None:
        _tell(run, response)
    last = _begin(run, response, again=known is not None)
    if not response.calls:
        run.state.before = {}
        run.messages.extend(response.messages)
        run.stop(reason_of(response))
        _charged(run, response)
        return Batch([], await _accounted(run))
    paid = known is not None or _charged(run, response)
    over = "turns" if last else None if paid else "money"
    place = f"{position}-{digest[:8]}" if digest else str(position)
    batch = await _settle(run, response, place, over=over, known=known or {})
    run.state.before = {}
    run.messages.extend([*response.messages, *_rendered(render, batch.results)])
    _count_refused(run, batch.results)
    batch.interrupt = batch.interrupt or await _accounted(run)
    try:
        await save(run, *_suspended(run, batch.results, place))
    except asyncio.CancelledError as cancelled:
        return replace(batch, interrupt=batch.interrupt or cancelled)
    return batch


def _tell(run: Run[Any], response: ModelResponse) -> None:
    """The record of a response that the caller's own loop has asked for."""
    model, calls, usage = run.model or response.model, len(response.calls), response.usage

    def made(head: Head) -> ModelSettled:
        cost = known_cost(run.prices, model, usage, at=head.wall)
        return ModelSettled(head, model, response.stop, usage, None, 1, calls, cost.amount, cost.currency)

    run.show_messages(run.emit(made, end=True))


def _begin(run: Run[Any], response: ModelResponse, *, again: bool) -> bool:
    """Counts the turn; whether it is the last one. One that a process has left half done is counted already."""
    state = run.state
    if again:
        counted = dict(state.before)
        state.turn, state.calls, state.calls_per_tool = state.turn - 1, counted.pop("", 0), counted
    elif run.named:
        state.before = {"": state.calls, **state.calls_per_tool}
    last = run.last_turn
    state.turn += 1
    if not again:
        state.usage = state.usage + response.usage
    return last


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
    if run.limits.end_on_loop and run.loops is not None and run.loops.found:
        run.stop("limit:repeats")
    if run.limits.turns is not None:
        return
    refused = all(result.code in (Code.LIMIT_REACHED, Code.LOOP_DETECTED) for result in results)
    run.state.loop[_REFUSED] = run.state.loop.get(_REFUSED, 0) + 1 if refused else 0
    if run.state.loop[_REFUSED] == REFUSED_TURNS:
        run.stop("limit:repeats" if results[-1].code is Code.LOOP_DETECTED else "limit:calls")


def reason_of(response: ModelResponse) -> str:
    """Why a run ends with a response that calls nothing. A final text that ends with a question mark is a question."""
    match response.stop:
        case "length":
            return "truncated"
        case "refusal" | "content_filter" | "empty":
            return response.stop
        case "end" | "calls":
            return "question" if response.text.rstrip().endswith(("?", "?)", "\uff1f")) else "answer"


def _charged(run: Run[Any], response: ModelResponse) -> bool:
    """Counts what the response cost. False: that is not known, where money has a limit, so nothing more may be done."""
    model, state = run.model or response.model, run.state
    price = run.prices.price(model, run.ports.clock.wall())
    cost = Cost(None) if price is None else charged(response.usage, price)
    if cost.amount is None:
        state.unpriced += 1
    else:
        state.cost[cost.currency] = str(Decimal(state.cost.get(cost.currency, "0")) + cost.amount)
    return run.account is None or run.account.charge(response.usage.total_tokens, price, cost.amount, model=model)


def cost_so_far(run: Run[Any]) -> Cost:
    """What a run's responses have cost; unknown when that of one is, or when they are in several currencies."""
    state = run.state
    if state.unpriced or len(state.cost) > 1:
        return Cost(None)
    return next((Cost(Decimal(amount), currency) for currency, amount in state.cost.items()), Cost(Decimal(0)))


async def _accounted(run: Run[Any]) -> BaseException | None:
    """Tells the store what was spent; answers the cancellation that came meanwhile."""
    try:
        if run.account is not None:
            await run.account.settle()
    except asyncio.CancelledError as cancelled:
        return cancelled
    return None


async def _settle(
    run: Run[Any], response: ModelResponse, place: str, *, over: str | None, known: Mapping[int, ToolResult | CallRow]
) -> Batch:
    batch = await settle_all(
        run.ports,
        run,
        response.calls,
        position=place,
        truncated=response.stop == "length",
        over=over,
        known=known,
    )
    if batch.interrupt is not None:
        run.cancelled = True
        run.stop("cancelled")
    return batch


async def _answered_before(
    run: Run[Any], response: ModelResponse, position: int, digest: str
) -> dict[int, ToolResult | CallRow] | None:
    """The stored results of this very response, by index, when the run has answered it already. Where its process died
    in the middle, the rows of those that were under way; these and those that had not begun go on under their keys."""
    before = run.state.answered.get(str(position))
    if before is None:
        run.state.answered[str(position)] = digest
        return None
    if before != digest:
        raise TurnConflict(f"Run {run.id!r} has already answered another response at message {position}.")
    rows = {row.key: row for row in await ask(run.ports.store, CallsOf(run.state.tenant, run.id))}
    found = [rows.get(f"{run.id}:{position}-{digest[:8]}:{at}") for at in range(len(response.calls))]
    if not run.state.before:
        return {at: _stored(call, row) for at, (call, row) in enumerate(zip(response.calls, found, strict=True))}
    known: dict[int, ToolResult | CallRow] = {}
    for at, row in enumerate(found):
        if row is not None and row.state in ("done", "failed") and row.content is not None:
            known[at] = replayed_as(response.calls[at], row)
        elif row is not None and row.state not in NOT_BEGUN:
            known[at] = row
    return known


def _stored(call: ToolCall, row: CallRow | None) -> ToolResult:
    """One result of a turn that was answered to its end."""
    if row is not None and row.status is not None:
        return replayed_as(call, row)
    return ToolResult(call.id, call.name, "unknown", '{"error":"No result was kept."}', code=Code.OUTCOME_UNKNOWN)


def _digest(messages: Sequence[Message]) -> str:
    text = json.dumps(messages, sort_keys=True, default=str)
    return blake2b(text, 16)


def _suspended(run: Run[Any], results: Sequence[ToolResult], place: str) -> list[Op]:
    """Ends the run's turn where calls wait: what is written with it, so that another process can go on."""
    if not note_pending(run, results, place):
        return []
    run.stop("pending")
    if run.park is not None:
        run.keepers.append(run.park)
        run.park = None
    if run.lease is not None:
        return []
    # Whoever hears of it at once may resume it only when this handle has written the last word.
    run.lease = Lease(run.ports, run.state.tenant, f"run:{run.id}", run.id)
    return [run.lease.take()]


async def save(run: Run[Any], *more: Op) -> None:
    """Progress becomes durable with each turn. Losing that write loses no effect: those were settled one by one."""
    if not (run.named or run.keepers or run.ports.store.durable or more):
        return
    work = run.ports.own(run.ports.store.apply(*saved(run), *more))
    try:
        async with asyncio.timeout(STORE_SECONDS):
            await asyncio.shield(work)
    except Exception:
        log.exception("The store could not save run %s.", run.id)
