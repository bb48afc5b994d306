"""What becomes a tool, and what is refused at start-up, word for word."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, RootModel, SecretStr

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, rail_of, virtually
from toolrail.context import RunContext
from toolrail.definition import Access, Order, Tool, tool, tool_from_model, tool_from_schema
from toolrail.effects import once
from toolrail.errors import DefinitionError, ToolError
from toolrail.limits import CallLimits, RunLimits
from toolrail.rail import Rail
from toolrail.toolset import Toolset, combined, filtered, from_definitions, prefixed, renamed


class Find(BaseModel):
    id: str
    limit: int = 5


class Root(RootModel[list[int]]): ...


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    @tool(effect="read", requires="orders:read")
    async def find(self, ctx: RunContext[Any], id: str) -> str:
        """Finds an order."""
        return f"{self.name}: {id} of {ctx.principal.id}"


def show(id: str) -> str:
    """Shows an order."""
    return id


def late(id: str, ctx: RunContext[Any]) -> None: ...


def yields() -> Any:
    yield 1


async def yields_later() -> Any:
    yield 1


def bare(x) -> None: ...  # type: ignore[no-untyped-def]


def odd(x: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def many(*x: str) -> None: ...


def by_position(x: str, /) -> None: ...


def log_in(password: SecretStr) -> None: ...


def more(id: str, limit: int, more: str) -> None: ...


OBJECT: dict[str, Any] = {"type": "object", "properties": {"id": {"type": "string"}}}
SHOW: dict[str, Any] = {"type": "function", "function": {"name": "show", "parameters": OBJECT}}
STORES = 'Mend: Use "sqlite:///rail.db" (relative), "sqlite:////var/lib/rail.db" (absolute) or "memory://".'
FETCHED = "Mend: Correct it; put schemas of other documents under $defs, nothing is fetched."
MODEL = "Mend: Give it the model's fields as parameters, or the model itself."
NAMED = "a model names its arguments. Mend: Write each argument as a named parameter."

WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: tool(lambda: 1), "TR101 @ <lambda>(): the tool has no name. Mend: Give one: @tool(name=...)."),
    (lambda: tool(name=" ")(show), "TR101 @ show(): the tool has no name. Mend: Give one: @tool(name=...)."),
    (
        lambda: tool(functools.partial(show, "x")),
        "TR101 @ show(): the tool has no name. Mend: Give one: @tool(name=...).",
    ),
    (
        lambda: Toolset([tool(show), tool(show)]),
        "TR102 @ show() and @ show(): two tools are named 'show'. "
        "Mend: Rename one: @tool(name=...), prefixed() or renamed().",
    ),
    (lambda: tool(late), "TR104 @ late(): the context 'ctx' is parameter 2. Mend: Make it the first parameter."),
    (
        lambda: from_definitions([SHOW], {}),
        "TR105 definition 'show': it has no handler. Mend: Add one to the handlers.",
    ),
    (
        lambda: from_definitions([SHOW], {"show": show, "late": late}),
        "TR105 handler 'late' (@ late()): it has no definition. Mend: Add one, or drop it.",
    ),
    (
        lambda: from_definitions([SHOW, {"type": "function", "function": {}}], {"show": show}),
        'TR105 definitions[1]: the definition has no name. Mend: Give {"function": {"name": ...}}.',
    ),
    (
        lambda: from_definitions(["show"], {"show": show}),  # type: ignore[list-item]
        'TR105 definitions[0]: the definition has no name. Mend: Give {"function": {"name": ...}}.',
    ),
    (
        lambda: from_definitions([SHOW], {"show": show}, effects={"shwo": "read"}),
        "TR105 effects or options of 'shwo': no tool has that name. Mend: Mend the name.",
    ),
    (
        lambda: from_definitions([SHOW, SHOW], {"show": show}),
        "TR102 @ show() and @ show(): two tools are named 'show'. "
        "Mend: Rename one: @tool(name=...), prefixed() or renamed().",
    ),
    (
        lambda: tool(effect="reed")(show),  # type: ignore[call-overload]
        "TR106 @ show(): there is no effect 'reed'. "
        "Mend: Use one of idempotent, keyed, once, read, undeclared, or verified(fn).",
    ),
    (
        lambda: tool(effect=once(by="order"))(show),
        "TR106 @ show(): the effect's key names 'order', which is no argument. Mend: Use one of ['id'].",
    ),
    (
        lambda: tool(effect=once(scope="tenant"))(show),
        "TR106 @ show(): the effect has a scope but no key. Mend: Add by=..., or drop scope=.",
    ),
    (
        lambda: tool(effect="once", extra="ignore")(show),
        'TR106 @ show(): only a read may ignore unknown arguments. Mend: Declare effect="read", or drop extra=.',
    ),
    (
        lambda: Toolset([Shop.find]),
        "TR107 @ Shop.find(): it is a method without its instance. Mend: Take it from an instance: shop.find.",
    ),
    *(
        (
            functools.partial(lambda text: tool(order=Order(resource=text))(show), text),
            f"TR108 @ show(): the resource {text!r} does not fit. Mend: Name arguments: ['id'].",
        )
        for text in ("order:{order}", "order:{", "{0}", "{id.name}")
    ),
    (
        lambda: tool(staticmethod(show)),  # type: ignore[arg-type]
        "TR109 show: @tool takes a function. Mend: Put @tool under @staticmethod.",
    ),
    (lambda: Toolset([show]), "TR109 show: it is not a tool. Mend: Put @tool on the function."),  # type: ignore[list-item]
    (lambda: Toolset([5]), "TR109 5: it is not a tool. Mend: Put @tool on the function."),  # type: ignore[list-item]
    (
        lambda: tool(yields),
        "TR110 @ yields(): a generator cannot be a tool. Mend: Return a list instead of yielding.",
    ),
    (
        lambda: tool(yields_later),
        "TR110 @ yields_later(): a generator cannot be a tool. Mend: Return a list instead of yielding.",
    ),
    (
        lambda: renamed({"nope": "x"}, [tool(show)]),
        "TR111 renamed(): no tool is named 'nope'. Mend: Name tools of the toolset.",
    ),
    (lambda: tool(bare), "TR201 @ bare(): the parameter 'x' has no annotation. Mend: Annotate it, as in x: str."),
    (
        lambda: tool(odd),
        "TR201 @ odd(): the annotation Nowhere of 'x' cannot be resolved. "
        "Mend: Import its names at the top of the module, not under TYPE_CHECKING or inside a function.",
    ),
    (lambda: tool(many), f"TR203 @ many(): the parameter '*x' is open-ended; {NAMED}"),
    (lambda: tool(by_position), f"TR203 @ by_position(): the parameter 'x' is positional-only; {NAMED}"),
    (
        lambda: tool_from_schema({"type": "array"}, show),
        'TR204 @ show(): the schema\'s root has the type "array". '
        'Mend: Arguments are an object: write "type": "object" and name each argument under "properties".',
    ),
    (
        lambda: tool_from_schema({"type": "object", "x": object()}, show),
        "TR204 @ show(): the schema is not JSON. Mend: Give a dict of plain JSON values.",
    ),
    (
        lambda: tool_from_schema({"properties": {"id": {"type": "strnig"}}}, show),
        'TR204 @ show(): the schema cannot be used: "strnig" is not valid under any of the schemas listed in the '
        f"'anyOf' keyword. {FETCHED}",
    ),
    (
        lambda: tool_from_schema({"properties": {"id": {"$ref": "http://shop.test/id.json"}}}, show),
        "TR204 @ show(): the schema cannot be used: Resource 'http://shop.test/id.json' is not present in a registry "
        "and retrieving it failed: Retrieval is disabled, cannot fetch http://shop.test/id.json. " + FETCHED,
    ),
    (lambda: tool_from_model(Find, show), f"TR205 @ show(): the handler does not fit Find: no 'limit'. {MODEL}"),
    (
        lambda: tool_from_model(Find, more),
        f"TR205 @ more(): the handler does not fit Find: 'more' is no field. {MODEL}",
    ),
    (
        lambda: tool_from_model(Root, lambda root: root),
        "TR202 Root: a root model has no named arguments. Mend: Give it a field instead.",
    ),
    (
        lambda: tool(log_in),
        "TR206 @ log_in(): the argument 'password' is a secret; a secret argument does not exist: the model wrote it. "
        "Mend: Take the secret from the context's deps.",
    ),
    *(
        (
            make,
            f"TR301 {what}: {(name := what.rpartition('(')[2].partition('=')[0])} must be over zero. "
            f"Mend: Give a positive number{'' if name in ('timeout', 'attempts', 'parallel') else ', or None'}.",
        )
        for make, what in (
            (lambda: CallLimits(timeout=0), "CallLimits(timeout=0)"),
            (lambda: CallLimits(timeout=float("nan")), "CallLimits(timeout=nan)"),
            (lambda: CallLimits(attempt_timeout=-1), "CallLimits(attempt_timeout=-1)"),
            (lambda: CallLimits(attempts=-1), "CallLimits(attempts=-1)"),
            (lambda: tool(timeout=-1)(show), "@ show() @tool(timeout=-1)"),
            (lambda: RunLimits(turns=0), "RunLimits(turns=0)"),
            (lambda: RunLimits(calls=0), "RunLimits(calls=0)"),
            (lambda: RunLimits(calls_per_tool=0), "RunLimits(calls_per_tool=0)"),
            (lambda: RunLimits(tokens=-5), "RunLimits(tokens=-5)"),
            (lambda: RunLimits(seconds=0), "RunLimits(seconds=0)"),
            (lambda: RunLimits(parallel=0), "RunLimits(parallel=0)"),
        )
    ),
    (
        lambda: tool(timeout=1, limits=CallLimits())(show),
        "TR302 @ show(): timeout= and limits= are both given. Mend: Put the timeout into limits=.",
    ),
    (
        lambda: tool(requires="x", access=Access())(show),
        "TR302 @ show(): requires= and access= are both given. Mend: Put requires into access=.",
    ),
    (lambda: Rail([], store="redis://x"), f"TR303 store='redis://x': no store has this URL. {STORES}"),
    (lambda: Rail([], store="sqlite:///"), f"TR303 store='sqlite:///': it names no file. {STORES}"),
    (
        lambda: Rail([tool(effect=once(by="id", scope="tenant"))(show)]),
        "TR304 @ show(): its effect must hold within the tenant, but the default store forgets with the process. "
        'Mend: Give Rail(store="sqlite:///rail.db"), or write store="memory://" to accept that.',
    ),
]


@promise("tool:errors")
@pytest.mark.parametrize(("make", "message"), WRONG, ids=[f"{n}-{m[:5]}" for n, (_, m) in enumerate(WRONG)])
def test_a_wrong_definition_says_rule_place_reason_and_mend(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DefinitionError) as raised:
        make()
    assert re.sub(r"test_definitions\.py:\d+", "@", str(raised.value)) == message
    assert raised.value.rule == message[:5]


@promise("tool:errors")
def test_the_place_is_the_line_of_the_definition() -> None:
    with pytest.raises(DefinitionError) as raised:
        tool(bare)
    assert raised.value.where == f"test_definitions.py:{bare.__code__.co_firstlineno} bare()"


@promise("tool:errors")
def test_a_memory_store_that_was_written_out_is_accepted() -> None:
    Rail([tool(effect=once(by="id", scope="tenant"))(show)], store="memory://")
    Rail([tool(effect=once(by="id", scope="run"))(show)])


@promise("tool:guidance")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "Shows an order."),
        ({"when": "the user asks"}, "Shows an order. Use when the user asks."),
        ({"when": "the user asks."}, "Shows an order. Use when the user asks."),
        ({"when_not": "it is late"}, "Shows an order. Do not use when it is late."),
        ({"when": "a", "when_not": "b"}, "Shows an order. Use when a. Do not use when b."),
        ({"description": "Own words.", "when": "a"}, "Own words. Use when a."),
        ({"description": "", "when": "a"}, "Use when a."),
    ],
)
def test_when_and_when_not_are_part_of_the_description_in_one_form(options: dict[str, str], text: str) -> None:
    assert tool(**options)(show).description == text  # type: ignore[call-overload]
    assert tool_from_schema(OBJECT, show, **options).description == text  # type: ignore[arg-type]


@promise("tool:schema")
@pytest.mark.parametrize("sync", [False, True])
def test_the_context_is_injected_and_never_in_the_schema(sync: bool) -> None:
    async def later(ctx: RunContext[str], id: str) -> str:
        return f"{ctx.deps} {id}"

    def now(ctx: RunContext[str], id: str) -> str:
        return f"{ctx.deps} {id}"

    made = tool(name="get", effect="read")(now if sync else later)
    assert list(made.schema["properties"]) == ["id"]
    assert "ctx" not in json.dumps(made.schema)
    rail, _ = rail_of(made)
    (result,) = virtually(rail, [call("get", {"id": "A1"})], deps="shop")
    assert result.content == "shop A1"


@promise("tool:schema")
def test_a_method_becomes_a_tool_of_each_instance() -> None:
    north, south = Shop("north"), Shop("south")
    tools = combined(prefixed("north_", [north.find]), prefixed("south_", [south.find]))
    rail, _ = rail_of(*tools)
    results = virtually(rail, [call("north_find", {"id": "1"}), call("south_find", {"id": "2"})], principal=ALICE)
    assert [r.content for r in results] == ["north: 1 of alice", "south: 2 of alice"]
    assert list(north.find.schema["properties"]) == ["id"]


@promise("tool:schema")
def test_a_tool_of_a_class_body_is_the_function_still() -> None:
    assert Shop.find.fn.__name__ == "find"
    assert Shop.find.unbound
    assert not Shop("x").find.unbound


@promise("tool:model")
@pytest.mark.parametrize("whole", [False, True], ids=["by fields", "the model itself"])
def test_a_model_and_a_handler_become_a_tool(whole: bool) -> None:
    def by_fields(id: str, limit: int) -> list[Any]:
        return [id, limit]

    async def by_model(ctx: RunContext[Any], query: Find) -> list[Any]:
        return [query.id, query.limit]

    made = tool_from_model(Find, by_model if whole else by_fields, name="find", effect="read")
    rail, _ = rail_of(made)
    results = virtually(
        rail, [call("find", {"id": "A1"}), call("find", {"limit": 3}), call("find", {"id": "A1", "x": 1})]
    )
    assert codes(results) == ["ok", "INVALID_ARGUMENTS", "INVALID_ARGUMENTS"]
    assert results[0].content == '["A1",5]'


TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search_products",
            "description": "Search the product catalogue.",
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 20, "default": 5},
                },
                "required": ["query"],
            },
        },
    },
    {"type": "function", "function": {"name": "ping"}},
    {"name": "flat", "description": "The flat form.", "input_schema": OBJECT},
]


async def _search(query: str, limit: int = 5) -> list[Any]:
    return [query, limit]


def _flat(id: str = "none") -> str:
    if id == "broken":
        raise RuntimeError("s3cr3t-value")
    if id == "missing":
        raise ToolError("No such id.")
    return id


def _hand_written() -> Rail[Any]:
    handlers: dict[str, Callable[..., Any]] = {
        "search_products": _search,
        "ping": lambda: "pong",
        "flat": lambda **arguments: _flat(**arguments),
    }
    return Rail.from_definitions(TOOLS, handlers, effects={"search_products": "read"}, sinks=[])


@promise("tool:registry")
@pytest.mark.parametrize(
    ("name", "arguments", "code", "content"),
    [
        ("search_products", '{"query": "lamp"}', "ok", '["lamp",5]'),
        ("search_products", '{"query": "lamp", "limit": 20}', "ok", '["lamp",20]'),
        ("search_products", '{"query": "lamp", "limit": "20"}', "ok", '["lamp",20]'),
        ("search_products", '{"query": "lamp", "limit": 50}', "INVALID_ARGUMENTS", None),
        ("search_products", '{"limit": 5}', "INVALID_ARGUMENTS", None),
        ("search_products", '{"query": "lamp", "page": 2}', "INVALID_ARGUMENTS", None),
        ("search_products", '{"query": "la', "INVALID_ARGUMENTS", None),
        ("ping", "", "ok", "pong"),
        ("ping", '{"invented": 1}', "ok", "pong"),
        ("flat", '{"id": "A1"}', "ok", "A1"),
        ("flat", '{"id": "missing"}', "TOOL_ERROR", None),
        ("flat", '{"id": "broken"}', "INTERNAL_ERROR", None),
        ("serach_products", "{}", "UNKNOWN_TOOL", None),
    ],
)
def test_a_hand_written_registry_works_unchanged_and_gains_the_spine(
    name: str, arguments: str, code: str, content: str | None
) -> None:
    (result,) = virtually(_hand_written(), [call(name, arguments)])
    assert codes([result]) == [code]
    assert content is None or result.content == content
    assert "s3cr3t" not in result.content


@promise("tool:registry")
def test_a_registrys_definitions_stay_as_they_are() -> None:
    before = json.dumps(TOOLS)
    made = _hand_written().toolset.get("search_products")
    assert made is not None
    assert made.description == "Search the product catalogue."
    assert {k: made.schema[k] for k in ("properties", "required")} == {
        k: TOOLS[0]["function"]["parameters"][k] for k in ("properties", "required")
    }
    assert json.dumps(TOOLS) == before


@promise("tool:registry")
def test_tools_without_a_declared_effect_are_named_in_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    _hand_written()
    (record,) = [r for r in caplog.records if "No effect is declared" in r.getMessage()]
    assert "ping, flat" in record.getMessage()
    assert "search_products" not in record.getMessage()


def _named(*names: str) -> list[Tool[object]]:
    return [tool(name=name, effect="read" if name.startswith("find") else "once")(show) for name in names]


@promise("tool:schema")
def test_toolsets_are_combined_prefixed_filtered_and_renamed_into_new_ones() -> None:
    shop, bank = Toolset(_named("find", "cancel")), Toolset(_named("find", "pay"))
    with pytest.raises(DefinitionError, match="TR102"):
        combined(shop, bank)
    both = combined(shop, prefixed("bank_", bank))
    assert both.names == ("find", "cancel", "bank_find", "bank_pay")
    assert filtered(lambda t: t.effect.kind == "read", both).names == ("find", "bank_find")
    assert renamed({"find": "find_order"}, both).names == ("find_order", "cancel", "bank_find", "bank_pay")
    assert (shop.names, bank.names) == (("find", "cancel"), ("find", "pay"))
    with pytest.raises(DefinitionError, match="TR102"):
        renamed({"find": "cancel"}, shop)


@promise("tool:schema")
def test_a_renamed_tool_has_another_digest_and_runs_under_its_new_name() -> None:
    (plain,) = _named("find")
    digest = plain.digest
    (other,) = prefixed("shop_", [plain])
    assert (plain.digest, other.digest != digest) == (digest, True)
    rail, _ = rail_of(other)
    results = virtually(rail, [call("shop_find", {"id": "A1"}), call("find", {"id": "A1"})])
    assert codes(results) == ["ok", "UNKNOWN_TOOL"]
