"""What one run of an agent is asked, and its tool choice: checked, and without what the principal may not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from toolrail.decisions import ANONYMOUS, Principal
from toolrail.errors import DefinitionError
from toolrail.messages import Message
from toolrail.model import Among, Named, ToolChoice
from toolrail.run import Run
from toolrail.toolset import Toolset


class RunOptions(TypedDict, total=False):
    """What `run`, `run_sync` and `stream` of an agent take beside the prompt and `deps`."""

    principal: Principal
    """Who is logged in. Default: nobody, without permissions."""
    messages: Sequence[Message]
    """The conversation so far, in the provider's form; it is repaired where it is broken, not changed."""
    session: str | None
    """The conversation's name in the store, instead of `messages`."""
    tool_choice: ToolChoice | None
    """For the first turn, in place of the agent's own."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one run was asked."""

    prompt: str
    deps: Any
    principal: Principal
    messages: tuple[Message, ...]
    session: str | None
    tool_choice: ToolChoice


def request_of(prompt: str, deps: Any, options: RunOptions, *, default: ToolChoice, tools: Toolset[Any]) -> Request:
    """The request, checked.

    Raises:
        TypeError: an option that does not exist, or two that exclude each other.
        DefinitionError: TR402, a tool choice that no tool fits.
    """
    unknown = sorted(set(options) - set(RunOptions.__annotations__))
    if unknown:
        raise TypeError(f"There is no option {unknown[0]!r}; the options are {', '.join(RunOptions.__annotations__)}.")
    messages, session = options.get("messages", ()), options.get("session")
    if session is not None and messages:
        raise TypeError("Give messages= or session=, not both: a session has messages of its own.")
    choice = options.get("tool_choice")
    if choice is not None:
        check_choice(choice, tools)
    principal = options.get("principal", ANONYMOUS)
    return Request(prompt, deps, principal, tuple(messages), session, default if choice is None else choice)


def check_choice(choice: ToolChoice, tools: Toolset[Any]) -> None:
    """A forced choice must be possible.

    Raises:
        DefinitionError: TR402.
    """
    for name in _names(choice):
        if name not in tools:
            where = f"Agent(tool_choice={type(choice).__name__}({name!r}))"
            raise DefinitionError("TR402", where, "no tool has that name.", "Name a tool of the rail.")
    if choice == "required" and not len(tools):
        raise DefinitionError(
            "TR402", 'Agent(tool_choice="required")', "the rail has no tools.", "Add one, or drop it."
        )


def _names(choice: ToolChoice) -> tuple[str, ...]:
    match choice:
        case Named(name):
            return (name,)
        case Among(names):
            return names
        case _:
            return ()


def offered_choice(choice: ToolChoice, run: Run[Any]) -> ToolChoice:
    """The choice without the tools that are hidden from this principal; "auto" where none is left to force."""
    match choice:
        case Named(name):
            return choice if name in run.offered else "auto"
        case Among((_, *_) as names, required):
            seen = tuple(name for name in names if name in run.offered)
            return Among(seen, required) if seen or not required else "auto"
        case _:
            return choice


def ignored(choice: ToolChoice, called: Sequence[str]) -> bool:
    """Whether the calls of a response do not fit the choice: some servers ignore it."""
    match choice:
        case "none":
            return bool(called)
        case "required":
            return not called
        case Named(name):
            return name not in called
        case Among(names, required):
            return (required and not called) or any(name not in names for name in called)
        case "auto":
            return False
