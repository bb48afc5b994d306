"""Anthropic Messages: a request's body out of a setup, a turn and the messages. Pure; each message is encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from toolrail.definition import Tool
from toolrail.dialects import Compiled, NameMap, compile_schema, fit_request, name_rule
from toolrail.errors import DefinitionError
from toolrail.messages import Message
from toolrail.model import Among, Named, Setup, ToolChoice, TurnRequest
from toolrail.providers.anthropic_codec import AnthropicCodec, calls_in
from toolrail.providers.wire import EncodedMessages, Json, encode, is_json_object, joined, plain, text_of

MARK: Json = {"type": "ephemeral"}
"""A cache breakpoint. A request takes four: we set one each on tools, instructions and the last message."""

_UNMARKABLE = ("thinking", "redacted_thinking")
_FORCED = ("any", "tool")
_OURS = frozenset({"messages", "stream", "system", "tool_choice"})
_NO_TOOLS = b"[]"


@dataclass(frozen=True, slots=True)
class Offer:
    """The tools of a conversation in Anthropic's form."""

    names: NameMap
    params: list[Json]
    offered: frozenset[str]
    null_means_default: Mapping[str, frozenset[str]]
    """By tool, the arguments whose `null` only the dialect allows."""


def offer_of(tools: Iterable[Tool[Any]], *, strict: bool = False) -> Offer:
    """Compiles tools. With `strict`, those whose schema allows it, as many as one request takes, are constrained."""
    tools = list(tools)
    names = NameMap([tool.name for tool in tools], name_rule("anthropic"))
    compiled = [compile_schema(tool.schema, "anthropic_strict" if strict else "anthropic") for tool in tools]
    fitted = list(zip(tools, fit_request(compiled), strict=True))
    nulls = {tool.name: form.null_means_default for tool, form in fitted if form.null_means_default}
    params = [_param(names.to_wire(tool.name), tool.description, form) for tool, form in fitted]
    return Offer(names, params, frozenset(tool.name for tool in tools), nulls)


def _param(name: str, description: str, form: Compiled) -> Json:
    described = {"description": description} if description else {}
    strict = {"strict": True} if form.strict else {}
    return {"name": name, **described, "input_schema": form.schema, **strict}


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays the same over all requests of a setup, encoded once."""

    place: str
    """The model, for error messages."""
    offer: Offer
    head: Mapping[str, bytes]
    tools: bytes
    """Those of the provider's own that the settings name are in front of ours."""
    thinks: bool
    cache: bool
    timeout: float


def plan_of(model: str, setup: Setup, *, max_tokens: int, cache: bool = True) -> Plan:
    """Compiles a setup.

    Args:
        model: the provider's name for it.
        setup: what stays the same.
        max_tokens: where the setup names none; the API needs one.
        cache: set cache breakpoints.

    Raises:
        DefinitionError: TR401, the API cannot combine what is asked for.
    """
    place, settings = f"anthropic:{model}", setup.settings
    clash = sorted(_OURS & settings.extra.keys())
    if clash:
        raise _wrong(
            place, f"extra names {clash[0]!r}, which toolrail writes.", "Drop it: it has an option of its own."
        )
    thinks = _thinks(settings.extra.get("thinking"))
    if thinks and settings.temperature not in (None, 1):
        raise _wrong(place, "extended thinking allows no temperature but 1.", "Leave the temperature out.")
    offer = offer_of(setup.tools, strict=setup.strict)
    tools = _marked_list([*settings.extra.get("tools", ()), *offer.params], cache)
    head = {name: encode(value) for name, value in _fields(model, setup, max_tokens, cache).items()}
    return Plan(place, offer, head, encode(tools), thinks, cache, settings.timeout)


def _fields(model: str, setup: Setup, max_tokens: int, cache: bool) -> Json:
    settings = setup.settings
    fields: Json = {"model": model, "max_tokens": settings.max_tokens or max_tokens}
    if setup.instructions and setup.instructions.strip():
        fields["system"] = _marked_list([{"type": "text", "text": setup.instructions}], cache)
    if settings.temperature is not None:
        fields["temperature"] = settings.temperature
    fields |= {name: value for name, value in settings.extra.items() if name != "tools"}
    form = _output_format(setup.output_schema)
    if form is not None:
        fields["output_config"] = {**settings.extra.get("output_config", {}), "format": form}
    return fields


class Requests:
    """Makes the bodies of one conversation; each message is encoded once."""

    __slots__ = ("_messages", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._messages = EncodedMessages(AnthropicCodec().ids_of)

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
        tools, choice = self.plan.tools, self._choice(turn)
        if tools == _NO_TOOLS and self.ids:
            # A history with calls needs tools even where none is offered any more: their names stand in for them.
            tools, choice = self._stand_ins(messages), {"type": "none"}
        fields = {**self.plan.head, **({"stream": b"true"} if stream else {})}
        if tools != _NO_TOOLS:
            fields["tools"] = tools
            fields |= {} if choice is None else {"tool_choice": encode(choice)}
        fields["messages"] = b"[" + b",".join(self._with_mark(encoded, messages)) + b"]"
        return joined(fields)

    def _choice(self, turn: TurnRequest) -> Json | None:
        plan = self.plan
        wanted: tuple[str, ...] = ()
        match turn.tool_choice:
            case Named(name):
                wanted = (name,)
            case Among(names):
                wanted = names
            case _:
                pass
        for name in wanted:
            if name not in plan.offer.offered:
                raise _wrong(plan.place, f"the chosen tool {name!r} is not offered.", "Choose an offered tool.")
        choice = choice_of(turn.tool_choice, plan.offer.names, parallel=turn.parallel)
        if choice is not None and plan.thinks and choice["type"] in _FORCED:
            raise _wrong(plan.place, "extended thinking allows no forced tool choice.", "Use 'auto', or no thinking.")
        return choice

    def _with_mark(self, encoded: Sequence[bytes], messages: Sequence[Message]) -> Sequence[bytes]:
        """The last message once more with a breakpoint; those before it keep their bytes."""
        last = _marked(messages[-1]) if self.plan.cache and messages else None
        return encoded if last is None else [*encoded[:-1], encode(last)]

    def _stand_ins(self, messages: Sequence[Message]) -> bytes:
        names = sorted({text_of(block.get("name")) for message in messages for block in calls_in(message)})
        schema: Json = {"type": "object", "properties": {}}
        tools: list[Json] = [{"name": name, "description": "Not available.", "input_schema": schema} for name in names]
        return encode(_marked_list(tools, self.plan.cache))


def _wrong(place: str, message: str, mend: str) -> DefinitionError:
    return DefinitionError("TR401", place, message, mend)


def _marked_list(items: list[Json], cache: bool) -> list[Json]:
    return [*items[:-1], {**items[-1], "cache_control": MARK}] if cache and items else items


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
