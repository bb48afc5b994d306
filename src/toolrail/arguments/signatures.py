"""A typed function's parameters as a Pydantic model, or an error at start-up that says what cannot be one."""

from __future__ import annotations

import functools
import inspect
import typing
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, create_model

from toolrail.arguments.docstrings import describe
from toolrail.errors import DefinitionError

_CONFIG = ConfigDict(extra="forbid", protected_namespaces=())
_UNFIT = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


def resolve_hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The parameters' annotations as types, `Annotated` kept. What cannot be resolved is left out."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(fn).parameters.items():
        if parameter.annotation is parameter.empty:
            continue
        try:
            found[name] = _hint(fn, parameter.annotation)
        except Exception:  # an annotation is an expression: it may raise anything
            continue
    return found


def function_model(
    fn: Callable[..., Any], *, skip: int | Collection[str] = 0
) -> tuple[type[BaseModel], dict[str, str]]:
    """The model of a function's arguments, and the parameter that stands behind each renamed field.

    Raises:
        DefinitionError: TR201 no annotation, TR202 a type that JSON cannot say, TR203 a kind of parameter that
            cannot be named in JSON.
    """
    parameters = _parameters(fn, skip)
    hints = resolve_hints(fn)
    documented = describe(fn)[1]
    renamed: dict[str, str] = {}
    fields: dict[str, Any] = {}
    for parameter in parameters:
        _check(fn, parameter, hints)
        field = _safe_name(parameter.name)
        if field != parameter.name:
            renamed[field] = parameter.name
        fields[field] = _definition(fn, parameter, hints[parameter.name], documented, renamed=field != parameter.name)
    return _model(fn, fields, renamed), renamed


def place_of(fn: Callable[..., Any] | type[Any]) -> str:
    """`app.py:14 pay()`: where a function was defined; of a class, its name."""
    if isinstance(fn, type):
        return fn.__qualname__
    inner = _plain_function(fn)
    code = getattr(inner, "__code__", None)
    name = str(getattr(inner, "__qualname__", type(inner).__name__)).rpartition("<locals>.")[2]
    return f"{PurePath(code.co_filename).name}:{code.co_firstlineno} {name}()" if code else f"{name}()"


def _parameters(fn: Callable[..., Any], skip: int | Collection[str]) -> list[inspect.Parameter]:
    everything = list(inspect.signature(fn).parameters.values())
    if isinstance(skip, int):
        return everything[skip:]
    return [parameter for parameter in everything if parameter.name not in skip]


def _check(fn: Callable[..., Any], parameter: inspect.Parameter, hints: Mapping[str, Any]) -> None:
    if parameter.kind in _UNFIT:
        shown = "positional-only" if parameter.kind is parameter.POSITIONAL_ONLY else "open-ended"
        raise DefinitionError(
            "TR203",
            place_of(fn),
            f"the parameter {str(parameter).partition(':')[0]!r} is {shown}; a model names its arguments.",
            "Write each argument as a named parameter.",
        )
    if parameter.annotation is parameter.empty:
        raise DefinitionError(
            "TR201",
            place_of(fn),
            f"the parameter {parameter.name!r} has no annotation.",
            f"Annotate it, as in {parameter.name}: str.",
        )
    if parameter.name not in hints:
        raise DefinitionError(
            "TR201",
            place_of(fn),
            f"the annotation {parameter.annotation!s} of {parameter.name!r} cannot be resolved.",
            "Import its names at the top of the module, not under TYPE_CHECKING or inside a function.",
        )


def _definition(
    fn: Callable[..., Any], parameter: inspect.Parameter, hint: Any, documented: Mapping[str, str], *, renamed: bool
) -> tuple[Any, Any]:
    """What `create_model` takes for one field. `Field(description=...)` wins over the docstring."""
    from pydantic.fields import Field, FieldInfo  # a third of Pydantic's import, needed by the first tool only

    default = ... if parameter.default is parameter.empty else parameter.default
    try:
        info = FieldInfo.from_annotation(hint) if default is ... else FieldInfo.from_annotated_attribute(hint, default)
    except Exception as error:
        raise _unsupported(fn, parameter.name, error) from None
    if info.validation_alias is not None and info.validation_alias != info.alias:
        raise DefinitionError(
            "TR202", place_of(fn), f"{parameter.name!r} has a validation_alias.", "Use alias=, one name both ways."
        )
    if info.description is None and parameter.name in documented:
        hint = Annotated[hint, Field(description=documented[parameter.name])]
    if renamed and info.alias is None:
        hint = Annotated[hint, Field(alias=parameter.name)]
    return (hint, default)


def _model(fn: Callable[..., Any], fields: dict[str, Any], renamed: Mapping[str, str]) -> type[BaseModel]:
    try:
        return _created(fields)
    except Exception as error:
        for name, definition in fields.items():
            try:
                _created({name: definition})
            except Exception as own:
                raise _unsupported(fn, renamed.get(name, name), own) from None
        raise _unsupported(fn, ", ".join(fields), error) from None


def _created(fields: dict[str, Any]) -> type[BaseModel]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pydantic warns of what it leaves out; the schema is checked by its reader
        model: type[BaseModel] = create_model("Arguments", __config__=_CONFIG, **fields)
        model.model_json_schema()
    return model


def _unsupported(fn: Callable[..., Any], name: str, error: Exception) -> DefinitionError:
    reason = str(error).strip().partition("\n")[0].rstrip(".")
    return DefinitionError(
        "TR202",
        place_of(fn),
        f"the parameter {name!r} has a type that a model cannot fill in: {reason}.",
        "Use a type that JSON can say; take everything else from the context's deps.",
    )


def _safe_name(name: str) -> str:
    """A field name that Pydantic accepts: it refuses `_x`, and its models have names such as `copy` of their own."""
    return f"argument_{name}" if name.startswith("_") or hasattr(BaseModel, name) else name


def _hint(fn: Callable[..., Any], annotation: Any) -> Any:
    inner = _plain_function(fn)
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    return typing.get_type_hints(holder, getattr(inner, "__globals__", {}), {}, include_extras=True)["it"]


def _plain_function(fn: Callable[..., Any]) -> Any:
    """The function inside a partial, a bound method, a decorator or a callable object."""
    inner: Any = fn
    while isinstance(inner, functools.partial):
        inner = inner.func
    inner = inspect.unwrap(getattr(inner, "__func__", inner))
    return inner if hasattr(inner, "__globals__") else type(inner).__call__
