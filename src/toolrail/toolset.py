"""Collections of tools: combined, prefixed, filtered, renamed, by free functions that each give a new toolset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from toolrail.definition import Tool, ToolOptions, place, tool_from_schema
from toolrail.effects import Effect
from toolrail.errors import DefinitionError

D_contra = TypeVar("D_contra", contravariant=True)
D = TypeVar("D")


Offer = tuple[Mapping[str, Tool[Any]], frozenset[str]]
MAX_OFFERS = 256
"""Offers that are remembered, one for each set of permissions that was seen."""


class Toolset(Generic[D_contra]):
    """Tools by name, in a fixed order. It never changes; the functions below make new ones.

    Raises:
        DefinitionError: TR102 two tools share a name, TR107 a method without its instance, TR109 not a tool.
    """

    __slots__ = ("_offers", "_tools", "_wanted")

    def __init__(self, tools: Iterable[Tool[D_contra]] = ()) -> None:
        if isinstance(tools, Tool):
            lone = cast("Tool[Any]", tools)
            raise DefinitionError("TR109", lone.where, "one tool was given in place of several.", "Put it in a list.")
        found: dict[str, Tool[D_contra]] = {}
        for tool in tools:
            _admit(tool, found)
            found[tool.name] = tool
        self._tools = found
        self._wanted = frozenset(p for tool in found.values() for p in tool.access.requires)
        self._offers: dict[frozenset[str], Offer] = {}

    def offer(self, permissions: frozenset[str]) -> Offer:
        """The tools that these permissions allow, by name and in order, and the names of the others."""
        held = permissions & self._wanted
        known = self._offers.get(held)
        if known is None:
            offered = {name: tool for name, tool in self._tools.items() if held.issuperset(tool.access.requires)}
            known = offered, frozenset(self._tools.keys() - offered.keys())
            if len(self._offers) < MAX_OFFERS:
                self._offers[held] = known
        return known

    def __iter__(self) -> Iterator[Tool[D_contra]]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    def get(self, name: str) -> Tool[D_contra] | None:
        """The tool of that exact name."""
        return self._tools.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self._tools)


def combined(*sets: Iterable[Tool[D]]) -> Toolset[D]:
    """All tools of several toolsets. A name that occurs twice is an error: prefix one of them."""
    return Toolset([tool for tools in sets for tool in tools])


def prefixed(prefix: str, tools: Iterable[Tool[D]]) -> Toolset[D]:
    """Each name with a prefix: `prefixed("billing_", tools)`."""
    return Toolset([replace(tool, name=prefix + tool.name) for tool in tools])


def filtered(keep: Callable[[Tool[D]], bool], tools: Iterable[Tool[D]]) -> Toolset[D]:
    """Only those that `keep` says yes to: `filtered(lambda t: t.effect.kind == "read", tools)`."""
    return Toolset([tool for tool in tools if keep(tool)])


def renamed(names: Mapping[str, str], tools: Iterable[Tool[D]]) -> Toolset[D]:
    """Some names replaced: `renamed({"find": "find_invoice"}, tools)`. A name that no tool has is an error."""
    tools = list(tools)
    missing = sorted(set(names) - {tool.name for tool in tools})
    if missing:
        raise DefinitionError("TR111", "renamed()", f"no tool is named {missing[0]!r}.", "Name tools of the toolset.")
    return Toolset([replace(t, name=names.get(t.name, t.name)) for t in tools])


def from_definitions(
    definitions: Sequence[Mapping[str, Any]],
    handlers: Mapping[str, Callable[..., Any]],
    *,
    effects: Mapping[str, str | Effect] | None = None,
    options: Mapping[str, ToolOptions] | None = None,
) -> Toolset[Any]:
    """The list of OpenAI tool definitions and the dict of handlers that hand-written loops have, unchanged.

    Args:
        definitions: `{"type": "function", "function": {"name", "description", "parameters"}}`, or the flat form.
        handlers: by name, taking the arguments as keywords.
        effects: effect classes by name; the others stay undeclared.
        options: anything else that `@tool` takes, by name.

    Raises:
        DefinitionError: TR105, a definition without a handler or a handler without a definition.
    """
    parsed = [_definition(at, item) for at, item in enumerate(definitions)]
    _match([name for name, _, _ in parsed], handlers, effects or {}, options or {})
    tools: list[Tool[Any]] = []
    for name, description, schema in parsed:
        chosen: ToolOptions = {"description": description, **(options or {}).get(name, ToolOptions()), "name": name}
        if effects and name in effects:
            chosen["effect"] = cast(Any, effects[name])
        tools.append(tool_from_schema(schema, handlers[name], **chosen))
    return Toolset(tools)


def _definition(at: int, item: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]]:
    function: Any = item.get("function", item) if isinstance(item, Mapping) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    function = cast("Mapping[str, Any]", function if isinstance(function, Mapping) else {})
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise DefinitionError(
            "TR105", f"definitions[{at}]", "the definition has no name.", 'Give {"function": {"name": ...}}.'
        )
    nothing: dict[str, Any] = {"type": "object", "properties": {}}
    schema: Mapping[str, Any] = function.get("parameters") or function.get("input_schema") or nothing
    return name, function.get("description") or "", schema


def _match(
    names: list[str],
    handlers: Mapping[str, Callable[..., Any]],
    effects: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    for name in names:
        if name not in handlers:
            raise DefinitionError("TR105", f"definition {name!r}", "it has no handler.", "Add one to the handlers.")
    for name in handlers:
        if name not in names:
            raise DefinitionError(
                "TR105", f"handler {name!r} ({place(handlers[name])})", "it has no definition.", "Add one, or drop it."
            )
    for name in (*effects, *options):
        if name not in names:
            raise DefinitionError(
                "TR105", f"effects or options of {name!r}", "no tool has that name.", "Mend the name."
            )


def _admit(tool: Any, found: Mapping[str, Tool[Any]]) -> None:
    if not isinstance(tool, Tool):
        raise DefinitionError(
            "TR109", getattr(tool, "__name__", repr(tool)), "it is not a tool.", "Put @tool on the function."
        )
    known = cast("Tool[Any]", tool)
    if known.unbound:
        raise DefinitionError(
            "TR107", known.where, "it is a method without its instance.", "Take it from an instance: shop.find."
        )
    if known.name in found:
        raise DefinitionError(
            "TR102",
            f"{known.where} and {found[known.name].where}",
            f"two tools are named {known.name!r}.",
            "Rename one: @tool(name=...), prefixed() or renamed().",
        )
