"""Turns one scripted turn into what goes over the wire: a body, a stream, or a failure."""

from __future__ import annotations

from tests.fakes.loopback import Broken, Response, Stream, Whole
from tests.fakes.script import Answer, Call, Endless, Fault, Part, Recorded, Reply, Say, Stop, Think, Tokens, Turn
from tests.fakes.wire import Wire


def render(turn: Turn, request: Recorded, wire: Wire, piece: int) -> Response:
    """The turn as the endpoint that was asked would answer; `piece` characters in one delta of a stream."""
    match turn:
        case Fault():
            return _fault(turn, request, wire, piece)
        case Endless() if turn.heeds and request.calls_closed:
            return _send(_answer(request, wire, (Say(turn.closing),)), request, wire, piece)
        case Endless():
            return _send(_answer(request, wire, (turn.call,)), request, wire, piece)
        case Reply():
            return _send(_answer(request, wire, turn.parts, tokens=turn.tokens), request, wire, piece)
        case Say() | Think() | Call():
            return _send(_answer(request, wire, (turn,)), request, wire, piece)
        case _:
            return _send(_answer(request, wire, tuple(turn)), request, wire, piece)


def _send(answer: Answer, request: Recorded, wire: Wire, piece: int) -> Response:
    if _streams(request):
        return Stream(wire.events(answer, piece))
    return Whole(200, wire.body(answer))


def _streams(request: Recorded) -> bool:
    # without checks the body is read as little as possible: benchmarks never parse it
    return b'"stream"' in request.raw and request.streams


def _fault(fault: Fault, request: Recorded, wire: Wire, piece: int) -> Response:
    match fault.kind:
        case "401" | "403" | "404" | "408" | "409" | "429" | "500" | "503" | "529":
            after = () if fault.retry_after is None else (("retry-after", f"{fault.retry_after:g}"),)
            return Whole(int(fault.kind), wire.status_error(int(fault.kind)), after)
        case "context_length":
            return Whole(400, wire.rejected(wire.too_long))
        case "garbage":
            return Whole(200, b'{"id": "half an answ')
        case "html":
            return Whole(200, b"<html><body>upstream connect error</body></html>", kind="text/html")
        case "reset" | "dead":
            return Broken("reset")
        case "hang":
            return Broken("hang")
        case "truncated" | "empty" | "refusal" | "content_filter":
            return _send(_bad_answer(fault, request, wire), request, wire, piece)
        case "failed" if request.api == "responses":
            return _send(_answer(request, wire, fault.parts, stop="failed"), request, wire, piece)
        case "failed" | "midstream" | "drop" | "unfinished" | "stall":
            return _broken_off(fault, request, wire, piece)


def _broken_off(fault: Fault, request: Recorded, wire: Wire, piece: int) -> Response:
    answer = _answer(request, wire, fault.parts or (Say("Let me look that up."),))
    if not _streams(request):
        match fault.kind:
            case "failed" | "midstream":
                return Whole(500, wire.status_error(500))
            case "stall":
                return Broken("hang")
            case _:
                return Whole(200, wire.body(answer), cut=True)
    events = wire.events(answer, piece)
    unfinished = events[: -wire.closing(answer)]
    half = unfinished[: len(unfinished) // 2 + 1]
    match fault.kind:
        case "drop":
            return Stream(half, end="lose")
        case "stall":
            return Stream(half, end="stall")
        case "unfinished":
            return Stream(unfinished)
        case _:
            return Stream([*half, wire.error_event(len(half))])


def _bad_answer(fault: Fault, request: Recorded, wire: Wire) -> Answer:
    match fault.kind:
        case "truncated":
            return _answer(request, wire, fault.parts or (Say("The answer is"),), stop="length")
        case "refusal":
            return _answer(request, wire, fault.parts or (Say("I can't help with that."),), stop="refusal")
        case "content_filter":
            return _answer(request, wire, fault.parts, stop="filter")
        case _:
            return _answer(request, wire, ())


def _answer(
    request: Recorded, wire: Wire, parts: tuple[Part, ...], *, stop: Stop | None = None, tokens: Tokens | None = None
) -> Answer:
    named_parts = tuple(_with_id(part, wire, request.number, index) for index, part in enumerate(parts))
    usual: Stop = "calls" if any(isinstance(part, Call) for part in parts) else "answer"
    return Answer(
        number=request.number,
        model="scripted-model",
        parts=named_parts,
        stop=stop or usual,
        tokens=tokens or Tokens(),
        with_usage=request.api != "chat" or b'"include_usage"' in request.raw,
    )


def _with_id(part: Part, wire: Wire, number: int, index: int) -> Part:
    if isinstance(part, Call) and part.id is None:
        return Call(part.name, part.arguments, f"{wire.call_prefix}{number}_{index}")
    return part
