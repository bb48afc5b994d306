"""What a tool is: a handler, its arguments' schema computed once, and declarations about effect, limits and access."""

from __future__ import annotations

import functools
import inspect
import json
import pathlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    get_origin,
    overload,
)

from toolrail.arguments.typed import (
    ArgumentReader,
    describe,
    from_function,
    from_json_schema,
    from_model,
    resolve_hints,
)
from toolrail.context import RunContext
from toolrail.decisions import Ask
from toolrail.digests import blake2b
from toolrail.effects import BY_NAME, UNDECLARED, Effect
from toolrail.errors import DefinitionError
from toolrail.frozen import frozen
from toolrail.limits import DEFAULT_LIMITS, CallLimits
from toolrail.messages import Trust
from toolrail.settings import counts, flags, instance, positive, several, texts, wrong

if TYPE_CHECKING:
    from toolrail.isolation import Isolation

D = TypeVar("D")
S = TypeVar("S")
P = ParamSpec("P")
DepsT_contra = TypeVar("DepsT_contra", contravariant=True)


Condition = Callable[[Mapping[str, Any]], "bool | Ask"]
"""Whether a person is asked about a call with these arguments. One that raises asks."""


@frozen
class Access:
    """Who may call a tool."""

    requires: tuple[str, ...] = ()
    """Permissions, all of them, by exact name. A principal without them is not even offered the tool."""
    approve: bool | Ask | Condition = False
    """A person is asked before each call; or before those of which a condition says so, by their arguments:
    `lambda arguments: arguments["amount"] > 100`. An `Ask` says who may approve, and until when."""

    def __post_init__(self) -> None:
        if isinstance(self.requires, str):  # else each of its letters would be a permission
            wrong("Access", "requires", self.requires, problem="is no tuple.", mend=f"Write ({self.requires!r},).")
        several("Access", "requires", self.requires)
        if self.approve is not False:
            _check_condition(self.approve)


@frozen
class ResultRules:
    """What becomes of a tool's result."""

    max_bytes: int | None = None
    """Results over this are shown as a preview. None: the rail's own cap."""
    trust: Trust = "untrusted"
    output: type[Any] | None = None
    """The declared type of the result. A result that misses it is flagged, never reported as a failure."""
    reads_kept: bool = False
    """The tool reads on in long results; see `toolrail.results`. Where it is offered they are kept whole."""

    def __post_init__(self) -> None:
        counts("ResultRules", max_bytes=self.max_bytes)
        flags("ResultRules", reads_kept=self.reads_kept)


@frozen
class Order:
    """How a call stands to the other calls of the same response. Without one they run at the same time."""

    barrier: bool = False
    """All earlier calls end before it starts; all later ones wait for it."""
    resource: str | None = None
    """Calls of one resource run in the model's order unless all are reads: `"order:{order_id}"`, by arguments."""

    def __post_init__(self) -> None:
        flags("Order", barrier=self.barrier)
        if self.resource is not None:
            texts("Order", resource=self.resource)


class ToolOptions(TypedDict, total=False):
    """What `@tool(...)` and its two siblings take. Everything is optional."""

    name: str
    """Default: the function's own."""
    description: str
    """Default: the docstring without its parameter section."""
    when: str
    """When to use the tool, for the model: "the user names a customer"."""
    when_not: str
    """When not to: "an invoice number is given"."""
    effect: Literal["read", "idempotent", "keyed", "once", "undeclared"] | Effect
    timeout: float
    """Seconds; short for `limits=CallLimits(timeout=...)`."""
    requires: str | tuple[str, ...]
    """Permissions; short for `access=Access(requires=...)`."""
    approve: bool | Ask | Condition
    """Whether a person is asked first; short for `access=Access(approve=...)`."""
    limits: CallLimits
    dependency: str
    """The system behind the tool, as in "bank": tools of one dependency share its circuit and its retry budget."""
    access: Access
    result: ResultRules
    order: Order
    isolate: Literal["process"] | Isolation
    """Runs the handler in a process of its own that is killed at its deadline; see `toolrail.isolation`."""
    polling: bool
    """Made to be called again and again with the same arguments: exempt from loop detection."""
    extra: Literal["forbid", "ignore"]
    """What to do with arguments the schema does not know. Only a read may ignore them."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool(Generic[DepsT_contra]):
    """A tool, ready to be offered. Made by `@tool`, `tool_from_model` or `tool_from_schema`.

    In a class body it is a descriptor, so `shop.find` is the tool bound to `shop`. The function stays at `tool.fn`.
    """

    name: str
    description: str
    reader: ArgumentReader
    fn: Callable[..., Any]
    effect: Effect = UNDECLARED
    limits: CallLimits = DEFAULT_LIMITS
    access: Access = Access()  # noqa: RUF009 - frozen
    result: ResultRules = ResultRules()  # noqa: RUF009
    order: Order = Order()  # noqa: RUF009
    dependency: str = ""
    """What it shares a circuit and a retry budget with; without one it is its own."""
    polling: bool = False
    """The same call with the same result again is no loop."""
    isolate: Isolation | None = None
    """The handler runs in a process of its own, within these limits."""
    where: str = ""
    """The place of its definition, for error messages."""
    takes_context: bool = False
    takes_model: bool = False
    """The handler takes one Pydantic model instead of keyword arguments."""
    is_async: bool = False
    unbound: bool = False
    """A method that was not read from an instance yet."""
    _digest: list[str] = field(default_factory=list[str], init=False, repr=False)

    def __get__(self, instance: Any, owner: type | None = None) -> Self:
        if instance is None or not self.unbound:
            return self
        return replace(self, fn=self.fn.__get__(instance, owner), unbound=False)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments (2020-12), before any provider's dialect. Not to be changed."""
        return self.reader.schema

    @property
    def digest(self) -> str:
        """16 hex digits over name, description and schema: a changed tool has another one."""
        if not self._digest:
            text = json.dumps([self.name, self.description, self.schema], sort_keys=True)
            self._digest.append(blake2b(text, 8))
        return self._digest[0]


class _Decorator:
    """What `@tool(...)` gives: told apart by whether the function takes a context first."""

    __slots__ = ("_options",)

    def __init__(self, options: ToolOptions) -> None:
        self._options = options

    @overload
    def __call__(self, fn: Callable[Concatenate[RunContext[D], P], Any], /) -> Tool[D]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[S, RunContext[D], P], Any], /) -> Tool[D]: ...
    @overload
    def __call__(self, fn: Callable[..., Any], /) -> Tool[object]: ...
    def __call__(self, fn: Callable[..., Any], /) -> Tool[Any]:
        return _from_function(fn, self._options)


@overload
def tool(fn: Callable[Concatenate[RunContext[D], P], Any], /) -> Tool[D]: ...
@overload
def tool(fn: Callable[..., Any], /) -> Tool[object]: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> _Decorator: ...
def tool(fn: Callable[..., Any] | None = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Makes a tool of a typed function, sync or async, or of a method.

    The JSON Schema comes from the annotations, the description from the docstring. A first parameter annotated
    `RunContext[...]` is filled in and never shown to the model.

    Raises:
        DefinitionError: the function cannot be a tool; the text says why, where, and how to mend it.

    Example:

        @tool(effect="read", timeout=2.0, when="the user names a customer", when_not="an invoice number is given")
        async def find_invoice(customer: Annotated[str, Field(description="Customer's name")]) -> str:
            '''Finds the customer's open invoice.'''
    """
    return _Decorator(options) if fn is None else _from_function(fn, options)


def tool_from_model(model: type[Any], handler: Callable[..., Any], /, **options: Unpack[ToolOptions]) -> Tool[Any]:
    """Makes a tool of a Pydantic model and a handler that takes its fields as keywords, or the model itself.

    Example: `tool_from_model(SearchProductsInput, search_products, effect="read")`
    """
    ctx, takes_model = _model_handler(model, handler)
    reader = from_model(model, extra=options.get("extra", "forbid"))
    built = _build(reader, handler, options, doc=describe(handler)[0] or describe(model)[0])
    return replace(built, takes_context=ctx, takes_model=takes_model)


def tool_from_schema(
    schema: Mapping[str, Any], handler: Callable[..., Any], /, **options: Unpack[ToolOptions]
) -> Tool[Any]:
    """Makes a tool of a raw JSON Schema and a handler that takes the arguments as keywords.

    `$schema` is honoured (2020-12 by default); a remote `$ref` is refused, never fetched.

    Example: `tool_from_schema({"type": "object", "properties": {"q": {"type": "string"}}}, search, name="search")`
    """
    ctx = _context_first(handler)
    extra = options.get("extra", "forbid")
    reader = from_json_schema(schema, where=place(handler), extra=extra)
    fitted = _fitted(handler, schema, options.get("name", ""), skip=int(ctx))
    if fitted is not schema:
        reader = from_json_schema(fitted, where=place(handler), extra=extra)
    built = _build(reader, handler, options, doc=describe(handler)[0])
    return replace(built, takes_context=ctx)


def place(fn: Callable[..., Any]) -> str:
    """`app.py:14 pay()`: where a function was defined."""
    inner = inspect.unwrap(fn.func if isinstance(fn, functools.partial) else fn)
    code = getattr(inner, "__code__", None)
    name = getattr(inner, "__qualname__", type(inner).__name__).rpartition("<locals>.")[2]
    return f"{pathlib.PurePath(code.co_filename).name}:{code.co_firstlineno} {name}()" if code else f"{name}()"


def guided(description: str, when: str | None, when_not: str | None) -> str:
    """The description as the model reads it: what, then when, then when not, in one fixed form."""
    parts = [description.strip()]
    if when:
        parts.append(f"Use when {when.strip().rstrip('.')}.")
    if when_not:
        parts.append(f"Do not use when {when_not.strip().rstrip('.')}.")
    return " ".join(part for part in parts if part)


def _fitted(handler: Callable[..., Any], schema: Mapping[str, Any], name: str, *, skip: int) -> Mapping[str, Any]:
    """The schema, with what the handler cannot do without among the required ones. A handler that cannot take what its
    schema allows would fail at the first call, when that may be a payment."""
    known = schema.get("properties", {})
    try:
        rest = list(inspect.signature(handler).parameters.values())[skip:]
    except (TypeError, ValueError):  # some built-ins do not tell
        return schema
    names = [str(one) for one in cast("Mapping[str, Any]", known)]
    takes = {p.name for p in rest if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in rest)
    needs = [p.name for p in rest if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    problems = [] if open_ended else [f"it takes no {one!r}" for one in names if one not in takes]
    problems += [f"{one!r} is not in the schema" for one in needs if one not in names]
    if problems:
        mend = "Give it the schema's properties as keyword parameters."
        raise DefinitionError("TR205", f"{name} ({place(handler)})".lstrip(), "; ".join(problems) + ".", mend)
    required = schema.get("required")
    given = list(cast("list[str]", required)) if isinstance(required, list) else []
    missing = [one for one in needs if one not in given]
    return {**schema, "required": [*given, *missing]} if missing else schema


def _from_function(fn: Callable[..., Any], options: ToolOptions) -> Tool[Any]:
    given: object = fn
    if type(given) in (staticmethod, classmethod) or not callable(given):
        name = str(getattr(given, "__name__", type(given).__name__))
        raise DefinitionError("TR109", name, "@tool takes a function.", "Put @tool under @staticmethod.")
    names = list(inspect.signature(fn).parameters)
    method = bool(names) and names[0] == "self"
    ctx = _context_first(fn, skip=int(method))
    reader = from_function(fn, skip=names[: int(method) + int(ctx)], extra=options.get("extra", "forbid"))
    built = _build(reader, fn, options, doc=describe(fn)[0])
    return replace(built, takes_context=ctx, unbound=method)


def _build(reader: ArgumentReader, fn: Callable[..., Any], options: ToolOptions, *, doc: str) -> Tool[Any]:
    where = place(fn)
    _check_options(options, where)
    name = options.get("name") or getattr(fn, "__name__", "")
    if not name.strip() or name == "<lambda>":
        raise DefinitionError("TR101", where, "the tool has no name.", "Give one: @tool(name=...).")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise DefinitionError("TR110", where, "a generator cannot be a tool.", "Return a list instead of yielding.")
    effect = _effect(options, where)
    _check_effect(effect, reader, options, where)
    limits, order = _limits(options, where), _order(options, reader, where)
    _check_limits(limits, effect, order, where)
    return Tool(
        name=name,
        description=guided(options.get("description", doc), options.get("when"), options.get("when_not")),
        reader=reader,
        fn=fn,
        effect=effect,
        limits=limits,
        access=_access(options, where),
        result=options.get("result", ResultRules()),
        order=order,
        dependency=options.get("dependency", ""),
        polling=options.get("polling", False),
        isolate=_isolate(options, fn, where),
        where=where,
        is_async=_is_async(fn) and "isolate" not in options,
    )


def _check_options(options: ToolOptions, where: str) -> None:
    """A misspelt `requires` must not leave a tool open to everybody."""
    known = list(ToolOptions.__annotations__)
    for name in options:
        if name not in known:
            import difflib  # only for a mistake

            near = difflib.get_close_matches(name, known, n=1)
            mend = f"Did you mean {near[0]!r}?" if near else f"Use one of {', '.join(known)}."
            raise DefinitionError("TR112", where, f"there is no option {name!r}.", mend)
    owner, given = f"{where} @tool", cast("Mapping[str, Any]", options)
    texts(owner, **{name: given[name] for name in _TEXTS if given.get(name) is not None})
    flags(owner, polling=given.get("polling", False))
    for name, kind in _GROUPS.items():
        if name in given:
            instance(owner, name, given[name], of=kind, mend=f"Write {name}={kind.__name__}(...).")


_TEXTS = ("name", "description", "when", "when_not", "dependency")
_GROUPS: dict[str, type[Any]] = {"limits": CallLimits, "access": Access, "result": ResultRules, "order": Order}


def _effect(options: ToolOptions, where: str) -> Effect:
    given = options.get("effect", UNDECLARED)
    if isinstance(given, Effect):
        return given
    if not isinstance(given, str) or given not in BY_NAME:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(
            "TR106",
            where,
            f"there is no effect {given!r}.",
            f"Use one of {', '.join(sorted(BY_NAME))}, or verified(fn).",
        )
    return BY_NAME[given]


def _check_effect(effect: Effect, reader: ArgumentReader, options: ToolOptions, where: str) -> None:
    known: Mapping[str, Any] = reader.schema.get("properties", {})
    for name in effect.by:
        if name not in known:
            raise DefinitionError(
                "TR106",
                where,
                f"the effect's key names {name!r}, which is no argument.",
                f"Use one of {sorted(known)}.",
            )
    if effect.scope and not effect.by:
        raise DefinitionError("TR106", where, "the effect has a scope but no key.", "Add by=..., or drop scope=.")
    if options.get("extra") == "ignore" and effect.kind != "read":
        raise DefinitionError(
            "TR106", where, "only a read may ignore unknown arguments.", 'Declare effect="read", or drop extra=.'
        )


def _limits(options: ToolOptions, where: str) -> CallLimits:
    limits = options.get("limits", DEFAULT_LIMITS)
    if "timeout" not in options:
        return limits
    if "limits" in options:
        raise DefinitionError("TR302", where, "timeout= and limits= are both given.", "Put the timeout into limits=.")
    positive(f"{where} @tool", must=True, timeout=options["timeout"])
    return replace(limits, timeout=options["timeout"])


def _check_limits(limits: CallLimits, effect: Effect, order: Order, where: str) -> None:
    if limits.hedge is not None and effect.kind != "read":
        raise DefinitionError(
            "TR305", where, "hedge= would do its effect twice.", 'Declare effect="read", or drop hedge=.'
        )
    if limits.resource_concurrency is not None and order.resource is None:
        raise DefinitionError(
            "TR306", where, "resource_concurrency= has no resource.", 'Name it: order=Order(resource="account:{iban}").'
        )


def _access(options: ToolOptions, where: str) -> Access:
    short = [name for name in ("requires", "approve") if name in options]
    if not short:
        return options.get("access", Access())
    if "access" in options:
        one = short[0]
        raise DefinitionError("TR302", where, f"{one}= and access= are both given.", f"Put {one} into access=.")
    requires = several(f"{where} @tool", "requires", options.get("requires", ()))
    return Access(requires=requires, approve=options.get("approve", False))


def _check_condition(approve: object) -> None:
    if _is_async(approve):
        mend = "Write a plain function of the arguments; what must be awaited belongs into a policy."
        wrong("Access", "approve", approve, problem="is async, and nobody would await it.", mend=mend)
    if not (isinstance(approve, bool | Ask) or callable(approve)):
        mend = "Write True, False, an Ask or a function of the arguments."
        wrong("Access", "approve", approve, problem="is no condition.", mend=mend)


def _order(options: ToolOptions, reader: ArgumentReader, where: str) -> Order:
    order = options.get("order", Order())
    if order.resource is not None:
        known = dict.fromkeys(reader.schema.get("properties", {}), "")
        try:
            order.resource.format_map(known)
        except (KeyError, ValueError, IndexError, AttributeError):
            raise DefinitionError(
                "TR108", where, f"the resource {order.resource!r} does not fit.", f"Name arguments: {sorted(known)}."
            ) from None
    return order


def _isolate(options: ToolOptions, fn: Callable[..., Any], where: str) -> Isolation | None:
    if "isolate" not in options:
        return None
    from toolrail.isolation import isolation_of  # most programs isolate nothing

    return isolation_of(options["isolate"], fn, where=where)


def _is_async(fn: object) -> bool:
    inner: object = fn.func if isinstance(fn, functools.partial) else fn
    called = getattr(type(inner), "__call__", None)  # noqa: B004 - an instance with an async `__call__`
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(called)


def _is_context(annotation: Any) -> bool:
    return annotation is RunContext or get_origin(annotation) is RunContext


def _context_first(fn: Callable[..., Any], *, skip: int = 0) -> bool:
    """Whether the first parameter takes the context. In any other place it is a mistake."""
    hints = resolve_hints(fn)
    names = list(inspect.signature(fn).parameters)[skip:]
    for at, name in enumerate(names):
        if _is_context(hints.get(name)) and at > 0:
            raise DefinitionError(
                "TR104", place(fn), f"the context {name!r} is parameter {at + 1}.", "Make it the first parameter."
            )
    return bool(names) and _is_context(hints.get(names[0]))


def _model_handler(model: type[Any], handler: Callable[..., Any]) -> tuple[bool, bool]:
    """Whether the handler takes a context, and whether it takes the model itself."""
    ctx = _context_first(handler)
    hints = resolve_hints(handler)
    rest = list(inspect.signature(handler).parameters.values())[int(ctx) :]
    if len(rest) == 1 and hints.get(rest[0].name) is model:
        return ctx, True
    open_ended = any(p.kind is p.VAR_KEYWORD for p in rest)
    fields: Mapping[str, Any] = getattr(model, "model_fields", {})
    missing = [] if open_ended else sorted(set(fields) - {p.name for p in rest})
    extra = sorted(
        p.name for p in rest if p.default is p.empty and p.kind is not p.VAR_KEYWORD and p.name not in fields
    )
    if missing or extra:
        raise DefinitionError(
            "TR205",
            place(handler),
            f"the handler does not fit {model.__name__}: "
            + ", ".join([f"no {m!r}" for m in missing] + [f"{e!r} is no field" for e in extra])
            + ".",
            "Give it the model's fields as parameters, or the model itself.",
        )
    return ctx, False
