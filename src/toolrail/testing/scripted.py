"""A model that plays a script: each turn is text, calls, a failure, or a function of the conversation so far."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from toolrail.messages import Message, ToolCall, ToolResult, Usage
from toolrail.model import (
    ArgumentsDelta,
    ModelFailure,
    ModelResponse,
    Setup,
    Stop,
    TextDelta,
    TurnRequest,
)
from toolrail.providers.wire import whole_ids

TYPICAL = Usage(100, 20)


@dataclass(frozen=True, slots=True)
class Say:
    """The model answers with text."""

    text: str
    stop: Stop = "end"
    usage: Usage = TYPICAL


@dataclass(frozen=True, slots=True)
class Calls:
    """The model calls tools: `Calls(("find", {"q": "lamp"}), ("find", {"q": "desk"}))`.

    Arguments are a mapping, or raw text to be sent as it is. Ids are made up unless given.
    """

    calls: tuple[tuple[str, Mapping[str, Any] | str], ...]
    text: str
    stop: Stop
    usage: Usage
    ids: tuple[str, ...]

    def __init__(
        self,
        *calls: tuple[str, Mapping[str, Any] | str],
        text: str = "",
        stop: Stop = "calls",
        usage: Usage = TYPICAL,
        ids: Sequence[str] = (),
    ) -> None:
        for name, value in (("calls", calls), ("text", text), ("stop", stop), ("usage", usage), ("ids", tuple(ids))):
            object.__setattr__(self, name, value)


Turn = str | Say | Calls | ModelFailure
Script = Sequence["Turn | Callable[[Sequence[Message]], Turn]"]


class ScriptedCodec:
    """OpenAI's chat form, as far as a script needs it."""

    provider = "openai_chat"

    def user(self, text: str) -> Message:
        return {"role": "user", "content": text}

    def results(self, results: Sequence[ToolResult]) -> list[Message]:
        return [{"role": "tool", "tool_call_id": one.call_id, "content": one.content} for one in results]

    def decode(self, body: Mapping[str, Any]) -> ModelResponse:
        raise ModelFailure("garbage", "a scripted model decodes nothing")


@dataclass(slots=True)
class ScriptedModel:
    """Plays its script, turn by turn, over all conversations; the last turn is repeated when `endless`.

    `requests` keeps what was sent: a copy of the messages and the turn's request.

    Example:

        model = ScriptedModel([Calls(("add", {"a": 1, "b": 2})), "It is 3."])
        result = await Agent(model, Rail([add])).run("What is 1 + 2?")
    """

    script: Script
    name: str = "scripted"
    endless: bool = False
    requests: list[tuple[list[Message], TurnRequest]] = field(default_factory=list[tuple[list[Message], TurnRequest]])
    setups: list[Setup] = field(default_factory=list[Setup])
    seconds: float = 0.0
    """How long each response takes, on the loop's clock. Even one that takes none lets other tasks go first."""
    _at: int = 0

    def open(self, setup: Setup) -> ScriptedConversation:
        self.setups.append(setup)
        return ScriptedConversation(self)

    def next(self, messages: Sequence[Message], request: TurnRequest) -> Turn:
        """The turn that is due."""
        self.requests.append((json.loads(json.dumps(list(messages))), request))
        at = self._at
        if at >= len(self.script):
            if not self.endless:
                raise AssertionError(f"The script has {len(self.script)} turns, and the model was asked once more.")
            at = len(self.script) - 1
        self._at += 1
        turn = self.script[at]
        return turn(messages) if callable(turn) else turn


class ScriptedConversation:
    """One conversation with a scripted model."""

    null_means_default: Mapping[str, frozenset[str]] = {}

    def __init__(self, model: ScriptedModel) -> None:
        self.codec = ScriptedCodec()
        self._model = model

    async def request(self, messages: Sequence[Message], turn: TurnRequest) -> ModelResponse:
        await asyncio.sleep(self._model.seconds)
        return self._respond(self._model.next(messages, turn), messages)

    async def stream(
        self, messages: Sequence[Message], turn: TurnRequest
    ) -> AsyncIterator[TextDelta | ArgumentsDelta | ModelResponse]:
        await asyncio.sleep(self._model.seconds)
        response = self._respond(self._model.next(messages, turn), messages)
        for piece in re.findall(r"\S+\s*|\s+", response.text):
            yield TextDelta(piece)
        for index, call in enumerate(response.calls):
            yield ArgumentsDelta(index, call.name, call.arguments)
        yield response

    def _respond(self, turn: Turn, messages: Sequence[Message]) -> ModelResponse:
        match turn:
            case ModelFailure():
                raise turn
            case str():
                return self._said(Say(turn))
            case Say():
                return self._said(turn)
            case Calls():
                return self._called(turn, messages)

    def _said(self, turn: Say) -> ModelResponse:
        stop: Stop = turn.stop if turn.text or turn.stop != "end" else "empty"
        messages: tuple[Message, ...] = ({"role": "assistant", "content": turn.text},) if turn.text else ()
        return ModelResponse(messages, (), turn.text, stop, turn.usage, self._model.name)

    def _called(self, turn: Calls, messages: Sequence[Message]) -> ModelResponse:
        number = len(self._model.requests)
        ids = turn.ids or tuple(f"call_{number}_{at}" for at in range(len(turn.calls)))
        # As every codec does: what a model sent empty or twice is made whole before anyone sees it.
        ids = whole_ids(ids, taken={call["id"] for message in messages for call in message.get("tool_calls") or ()})
        calls = tuple(
            ToolCall(call_id, name, arguments if isinstance(arguments, str) else json.dumps(arguments))
            for call_id, (name, arguments) in zip(ids, turn.calls, strict=True)
        )
        wire = [
            {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
            for one in calls
        ]
        message: Message = {"role": "assistant", "content": turn.text or None, "tool_calls": wire}
        return ModelResponse((message,), calls, turn.text, turn.stop, turn.usage, self._model.name)
