"""Servers that speak Chat Completions with their own differences: Ollama, vLLM, llama.cpp and others, by `base_url`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from toolrail.errors import DefinitionError
from toolrail.model import Among, Named, Setup, ToolChoice, TurnRequest
from toolrail.providers.chat_codec import ChatCodec
from toolrail.providers.openai_chat import chat_plan, turn_fields
from toolrail.providers.openai_client import OpenAITransport, Via
from toolrail.providers.openai_conversation import OpenAIConversation, Plan, Plans, refuse_own_fields
from toolrail.providers.openai_offer import Offer, offer_tools
from toolrail.providers.wire import Json

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Server = Literal["ollama", "vllm", "llama.cpp", "other"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a server understands. Where it does not, the nearest thing is asked for: a tool's calls are checked here
    in any case."""

    named: bool = True
    """A named tool as `tool_choice`; else `required`."""
    tools_with_format: bool = True
    """Tools and a schema for the answer in one request."""
    base_url: str | None = None
    """Where the server listens unless it was told otherwise."""


SERVERS: dict[Server, Abilities] = {
    "ollama": Abilities(named=False, tools_with_format=False, base_url="http://localhost:11434/v1"),
    "vllm": Abilities(base_url="http://localhost:8000/v1"),
    "llama.cpp": Abilities(named=False, tools_with_format=False, base_url="http://localhost:8080/v1"),
    "other": Abilities(),
}


class Compatible:
    """A model behind a server that speaks Chat Completions.

    What differs from OpenAI: `max_tokens`, no `allowed_tools`, no strict schemas, and arguments that are no JSON object
    are wrapped in one in the history, because such servers parse them again and refuse the conversation.

    Args:
        model: as the server knows it.
        client: your own `AsyncOpenAI`; else `base_url` says where the server is.
        api_key: most local servers want none.
        server: which one it is; decides what is asked of it.

    Raises:
        DefinitionError: TR405, nobody says where the server is; TR403, the package openai is not installed.

    Example: `Compatible("qwen3:8b", server="ollama")`
    """

    def __init__(
        self,
        model: str,
        client: AsyncOpenAI | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        server: Server = "other",
        via: Via = "post",
    ) -> None:
        self._model = model
        self._server: Server = server
        self._abilities = SERVERS[server]
        where = base_url or self._abilities.base_url
        if client is None and where is None:
            raise DefinitionError(
                "TR405", f"Compatible({model!r})", "there is no base_url.", "Give base_url= or client=."
            )
        self._transport = OpenAITransport(self.name, client, base_url=where, api_key=api_key or "none", via=via)
        self._plans = Plans(self._plan)

    @property
    def name(self) -> str:
        return f"{'compatible' if self._server == 'other' else self._server}:{self._model}"

    def open(self, setup: Setup) -> OpenAIConversation:
        """See `Model.open`."""
        plan = self._plans.of(setup)
        self._transport.check()
        return OpenAIConversation(plan, self._transport)

    async def close(self) -> None:
        """Closes the connections, unless the client is yours."""
        await self._transport.close()

    def _plan(self, setup: Setup) -> Plan:
        refuse_own_fields(setup, self.name)
        if setup.tools and setup.output_schema is not None and not self._abilities.tools_with_format:
            raise DefinitionError(
                "TR401",
                self.name,
                "this server cannot take tools and an output type in one request.",
                "Drop output=, or ask for the JSON in the instructions.",
            )
        offer = offer_tools(setup.tools, api="chat", strict=False)
        plan = chat_plan(self._model, setup, offer, ChatCodec(offer.names, mends=True), max_tokens="max_tokens")
        return plan.with_turn(partial(_turn_fields, offer, self._abilities))


def _turn_fields(offer: Offer, abilities: Abilities, turn: TurnRequest) -> Json:
    return turn_fields(offer, TurnRequest(_nearest(turn.tool_choice, abilities), turn.parallel))


def _nearest(choice: ToolChoice, abilities: Abilities) -> ToolChoice:
    """The choice in words that the server has. The offer stays the same, so that its cache stays warm."""
    match choice:
        case Among(()):
            return "none"
        case Among((name,), required=True):
            return _nearest(Named(name), abilities)
        case Among(_, required):
            return "required" if required else "auto"
        case Named() if not abilities.named:
            return "required"
        case _:
            return choice
