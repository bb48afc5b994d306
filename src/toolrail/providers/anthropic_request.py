"""Anthropic Messages: a request's body out of a setup, a turn and the messages. Pure; each message is encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from toolrail.dialects import Compiled, NameMap, compile_schema, fit_request, name_rule
from toolrail.errors import DefinitionError
from toolrail.messages import Message
from toolrail.model import Among, Named, Setup, ToolChoice, TurnRequest
from toolrail.providers.anthropic_codec import AnthropicCodec, calls_in
from toolrail.providers.wire import EncodedMessages, Json, encode, is_json_object, joined, plain
from toolrail.tool import Tool

MARK: Json = {"type": "ephemeral"}
"""A cache breakpoint. A request takes four: we set one each on tools, instructions and the last message."""

_UNMARKABLE = ("thinking", "redacted_thinking")
_FORCED = ("any", "tool")


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a conversation in Anthropic's form."""

    names: NameMap
    params: tuple[Json, ...]
    null_means_default: Mapping[str, frozenset[str]]
    """By tool, the arguments whose `null` only the dialect allows."""


def offer_of(tools: Iterable[Tool[Any]], *, strict: bool = False) -> Offer:
    """Compiles tools. With `strict`, those whose schema allows it, as many as one request takes, are constrained."""
    tools = list(tools)
    names = NameMap([tool.name for tool in tools], name_rule("anthropic"))
    compiled = [compile_schema(tool.schema, "anthropic_strict" if strict else "anthropic") for tool in tools]
    fitted = list(zip(tools, fit_request(compiled), strict=True))
    nulls = {tool.name: form.null_means_default for tool, form in fitted if form.null_means_default}
    params = tuple(_param(names.to_wire(tool.name), tool.description, form) for tool, form in fitted)
    return Offer(names, params, nulls)


def _param(name: str, description: str, form: Compiled) -> Json:
    strict = {"strict": True} if form.strict else {}
    return {"name": name, "description": description, "input_schema": form.schema, **strict}


def choice_of(choice: ToolChoice, names: NameMap, *, parallel: bool | None = None) -> Json | None:
    """The `tool_choice` field; None where it need not be sent.

    One tool can be named, or any forced. A smaller set cannot: `Among` several is sent as the nearest of these.
    """
    if choice in ("none", Among(())):
        return {"type": "none"}
    single = {"disable_parallel_tool_use": True} if parallel is False else {}
    match choice:
        case "auto":
            kind: Json = {"type": "auto"}
        case "required":
            kind = {"type": "any"}
        case Named(name) | Among((name,), required=True):
            kind = {"type": "tool", "name": names.to_wire(name)}
        case Among(required=required):
            kind = {"type": "any" if required else "auto"}
        case _:
            assert_never(choice)
    return {**kind, **single} if single or kind["type"] != "auto" else None


class Requests:
    """Makes the bodies of one conversation. What does not change is encoded once, at the start.

    Args:
        model: the provider's name for it.
        setup: what stays the same.
        max_tokens: where the setup names none; the API needs one.
        cache: set cache breakpoints.

    Raises:
        DefinitionError: TR401, the API cannot combine what is asked for.
    """

    def __init__(self, model: str, setup: Setup, *, max_tokens: int, cache: bool = True) -> None:
        self._place = f"anthropic:{model}"
        self._cache = cache
        self._tool_names = frozenset(tool.name for tool in setup.tools)
        self._thinks = _thinks(setup.settings.extra.get("thinking"))
        self.offer = offer_of(setup.tools, strict=setup.strict)
        self._messages = EncodedMessages(AnthropicCodec().ids_of)
        self._check(setup)
        server_tools = setup.settings.extra.get("tools", ())
        self._tools = encode(self._marked_list([*server_tools, *self.offer.params]))
        self._head = {name: encode(value) for name, value in self._fields(model, setup, max_tokens).items()}

    @property
    def ids(self) -> set[str]:
        """The ids of all calls in the history."""
        return self._messages.ids

    def body(self, messages: Sequence[Message], turn: TurnRequest, *, stream: bool = False) -> bytes:
        """One request.

        Raises:
            DefinitionError: TR401, the API cannot combine what is asked for.
        """
        encoded = self._messages.items(messages)
        tools, choice = self._tools, self._choice(turn)
        if tools == b"[]":
            # A history with calls needs tools even where none is offered any more: their names stand in for them.
            tools, choice = self._stand_ins(messages), {"type": "none"}
        fields = {**self._head, **({"stream": b"true"} if stream else {})}
        if tools != b"[]":
            fields["tools"] = tools
            fields |= {} if choice is None else {"tool_choice": encode(choice)}
        fields["messages"] = b"[" + b",".join(self._with_mark(encoded, messages)) + b"]"
        return joined(fields)

    def _fields(self, model: str, setup: Setup, max_tokens: int) -> Json:
        settings = setup.settings
        fields: Json = {"model": model, "max_tokens": settings.max_tokens or max_tokens}
        if setup.instructions and setup.instructions.strip():
            fields["system"] = self._marked_list([{"type": "text", "text": setup.instructions}])
        if settings.temperature is not None:
            fields["temperature"] = settings.temperature
        fields |= {name: value for name, value in settings.extra.items() if name != "tools"}
        form = _output_format(setup.output_schema)
        if form is not None:
            fields["output_config"] = {**settings.extra.get("output_config", {}), "format": form}
        return fields

    def _choice(self, turn: TurnRequest) -> Json | None:
        wanted: tuple[str, ...] = ()
        match turn.tool_choice:
            case Named(name):
                wanted = (name,)
            case Among(names):
                wanted = names
            case _:
                pass
        for name in wanted:
            if name not in self._tool_names:
                raise self._wrong(f"the named tool {name!r} is not offered.", "Name an offered tool.")
        choice = choice_of(turn.tool_choice, self.offer.names, parallel=turn.parallel)
        if choice is not None and self._thinks and choice["type"] in _FORCED:
            raise self._wrong("extended thinking allows no forced tool choice.", "Use 'auto', or no thinking.")
        return choice

    def _check(self, setup: Setup) -> None:
        settings = setup.settings
        forced = settings.extra.get("tool_choice")
        if self._thinks and is_json_object(forced) and forced.get("type") in _FORCED:
            raise self._wrong("extended thinking allows no forced tool choice.", "Use 'auto', or no thinking.")
        if self._thinks and settings.temperature not in (None, 1, 1.0):
            raise self._wrong("extended thinking allows no temperature but 1.", "Leave the temperature out.")

    def _wrong(self, message: str, mend: str) -> DefinitionError:
        return DefinitionError("TR401", self._place, message, mend)

    def _marked_list(self, items: list[Json]) -> list[Json]:
        if not self._cache or not items:
            return items
        return [*items[:-1], {"cache_control": MARK, **items[-1]}]

    def _with_mark(self, encoded: Sequence[bytes], messages: Sequence[Message]) -> Sequence[bytes]:
        """The last message once more with a breakpoint; those before it keep their bytes."""
        last = _marked(messages[-1]) if self._cache and messages else None
        return encoded if last is None else [*encoded[:-1], encode(last)]

    def _stand_ins(self, messages: Sequence[Message]) -> bytes:
        if not self.ids:
            return b"[]"
        names = sorted({str(block["name"]) for message in messages for block in calls_in(message)})
        schema: Json = {"type": "object", "properties": {}}
        tools: list[Json] = [{"name": name, "description": "Not available.", "input_schema": schema} for name in names]
        return encode(self._marked_list(tools))


def _thinks(thinking: object) -> bool:
    return is_json_object(thinking) and thinking.get("type") not in (None, "disabled")


def _output_format(schema: Mapping[str, Any] | None) -> Json | None:
    """None where the API's subset cannot say the schema: then the answer is only checked, not constrained."""
    if schema is None:
        return None
    form = compile_schema(schema, "anthropic_strict")
    return {"type": "json_schema", "schema": form.schema} if form.strict and not form.null_means_default else None


def _marked(message: Message) -> Message | None:
    """A user's message with a breakpoint at its end; None where none can stand, or one stands already."""
    content: Any = message.get("content")
    if message.get("role") != "user" or not content:
        return None
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    last = plain(content[-1])
    if last.get("type") in _UNMARKABLE or "cache_control" in last:
        return None
    return {**message, "content": [*content[:-1], {**last, "cache_control": MARK}]}
