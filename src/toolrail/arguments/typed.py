"""The argument readers: of typed functions and Pydantic models (here), of raw JSON Schemas (`jsonschema`)."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Literal, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from toolrail.arguments.coercion import NOTHING, Path, Wanted, drop, greedy, locate, lossless, replace
from toolrail.arguments.complaints import UNKNOWN_KEY, pydantic_text
from toolrail.arguments.docstrings import describe
from toolrail.arguments.faults import UNCHECKED, merged
from toolrail.arguments.modelling import facts_of, model_schema, refuse_secrets
from toolrail.arguments.probes import refused_numbers, with_long_fractions
from toolrail.arguments.raw import from_json_schema
from toolrail.arguments.signatures import function_model, place_of, resolve_hints
from toolrail.arguments.values import Accepted, ArgumentReader, Fault
from toolrail.arguments.walk import is_json, names_at, types_at
from toolrail.errors import DefinitionError

__all__ = [
    "Accepted",
    "ArgumentReader",
    "Fault",
    "describe",
    "from_function",
    "from_json_schema",
    "from_model",
    "resolve_hints",
]

MAX_ROUNDS = 5
"""Readings may uncover others: an array given as text, of numbers given as text."""

_NONE: frozenset[str] = frozenset()

_WANTED: Mapping[str, Wanted] = {
    "int_type": "integer",
    "float_type": "number",
    "list_type": "array",
    "tuple_type": "array",
    "set_type": "array",
    "frozen_set_type": "array",
    "iterable_type": "array",
    "dict_type": "object",
    "mapping_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "dataclass_type": "object",
}
"""Pydantic's error types that a lossless reading may mend."""


def from_function(
    fn: Callable[..., Any], *, skip: int | Collection[str] = 0, extra: Literal["forbid", "ignore"] = "forbid"
) -> ArgumentReader:
    """The reader of a typed function's arguments.

    Args:
        fn: any callable with annotations.
        skip: parameters that the model does not fill in: how many at the start, or their names.
        extra: what to do with arguments that the function does not have.

    Raises:
        DefinitionError: TR201, TR202, TR203 or TR206; the text says which parameter, and how to mend it.

    Example: `from_function(search).read('{"query": "shoes"}', {"query": "shoes"}).values`
    """
    model, renamed = function_model(fn, skip=skip)
    return _PydanticReader(model, place_of(fn), extra=extra, renamed=renamed, own=True)


def from_model(model: type[BaseModel], *, extra: Literal["forbid", "ignore"] = "forbid") -> ArgumentReader:
    """The reader of a Pydantic model. Accepted arguments have the instance in `.model` and its fields in `.values`.

    The model is read strictly and closed: unknown keys are refused unless its own configuration says
    `extra="allow"`.

    Raises:
        DefinitionError: TR202 or TR206; the text says what cannot be an argument.
    """
    if not isinstance(model, type) or not issubclass(model, BaseModel):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError("TR202", str(model), "this is not a Pydantic model.", "Give a subclass of BaseModel.")
    where = place_of(model)
    if model.__pydantic_root_model__:
        raise DefinitionError("TR202", where, "a root model has no named arguments.", "Give it a field instead.")
    try:
        model.model_json_schema()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise DefinitionError(
            "TR202", where, f"it has no JSON Schema: {reason}.", "Use types that JSON can say."
        ) from None
    return _PydanticReader(model, where, extra=extra, renamed={}, own=False)


class _PydanticReader:
    """Strict reading by Pydantic; its errors drive the table of lossless readings."""

    __slots__ = (
        "_drop_unknown",
        "_extra",
        "_facts",
        "_own",
        "_plain_reading",
        "_renamed",
        "_serializer",
        "_validate",
        "schema",
        "takes_nothing_required",
    )

    def __init__(
        self,
        model: type[BaseModel],
        where: str,
        *,
        extra: Literal["forbid", "ignore"],
        renamed: Mapping[str, str],
        own: bool,
    ) -> None:
        self.schema = model_schema(model)
        self.takes_nothing_required = not self.schema.get("required")
        self._facts = facts_of(model)
        self._check_definition(where)
        self._extra: Literal["forbid"] | None = None if self._facts.open else "forbid"
        self._drop_unknown = extra == "ignore" or not (self.schema.get("properties") or self._facts.open)
        self._renamed = renamed
        self._own = own
        self._plain_reading = not (self._facts.dates or self._facts.decimals)
        self._validate = model.__pydantic_validator__.validate_json
        self._serializer = model.__pydantic_serializer__

    def read(
        self,
        text: str,
        data: dict[str, Any],
        *,
        null_means_default: frozenset[str] = _NONE,
        flags: tuple[str, ...] = (),
    ) -> Accepted | list[Fault]:
        if self._facts.decimals:
            data = with_long_fractions(text, data)
        if null_means_default and (nulls := [n for n in null_means_default if n in data and data[n] is None]):
            data = {name: value for name, value in data.items() if name not in nulls}
            text = json.dumps(data)
        try:
            model = self._validate(text, strict=True, extra=self._extra)
            return self._accepted(model, data, flags) if self._plain_reading else self._doubted(model, data, flags)
        except ValidationError as error:
            return self._carefully(data, error, flags)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a validator of the user's; even SystemExit must not end the run
            return [Fault((), UNCHECKED)]

    def _carefully(
        self, data: dict[str, Any], error: ValidationError, flags: tuple[str, ...]
    ) -> Accepted | list[Fault]:
        try:
            return self._mended(copy.deepcopy(data), error.errors(include_url=False), flags)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return [Fault((), UNCHECKED)]

    def _mended(self, data: dict[str, Any], errors: list[Any], flags: tuple[str, ...]) -> Accepted | list[Fault]:
        for _ in range(MAX_ROUNDS):
            noticed = self._mend(data, errors)
            if not noticed:
                break
            flags = tuple(dict.fromkeys((*flags, *noticed)))
            model, errors = self._again(json.dumps(data))
            if not errors:
                return self._doubted(model, data, flags)
        return merged([self._fault(data, error) for error in errors])

    def _mend(self, data: dict[str, Any], errors: list[Any]) -> list[str]:
        """Applies what the closed table allows to `data`, in place; the flags of what it did."""
        noticed: list[str] = []
        touched: set[Path] = set()
        for error in errors:
            path = locate(data, error["loc"], error["input"])
            if not path or path in touched:
                continue
            if error["type"] in UNKNOWN_KEY and self._drop_unknown:
                noticed += ["extra_dropped"] if drop(data, path) else []
                continue
            wanted = _WANTED.get(error["type"])
            value = NOTHING if wanted is None else lossless(error["input"], wanted)
            if value is not NOTHING:
                replace(data, path, value)
                touched.add(path)
                noticed.append(f"coerced:{path[0] if path[0] in self.schema['properties'] else '*'}")
        return noticed

    def _fault(self, data: dict[str, Any], error: Mapping[str, Any]) -> Fault:
        loc, kind = error["loc"], error["type"]
        if kind in ("missing", "missing_argument"):
            parent = locate(data, loc[:-1], error["input"])
            path = (*(greedy(data, loc[:-1]) if parent is None else parent), loc[-1])
        else:
            found = locate(data, loc, error["input"])
            path = greedy(data, loc) if found is None else found
        known = names_at(self.schema, path[:-1]) if kind in UNKNOWN_KEY else []
        return Fault(path, pydantic_text(error, known=known, types=types_at(self.schema, path)))

    def _doubted(self, model: Any, data: dict[str, Any], flags: tuple[str, ...]) -> Accepted | list[Fault]:
        """Accepts, unless Pydantic's reading of dates and decimals was looser than ours."""
        refused = [] if self._plain_reading else refused_numbers(self._again, model, data, self._facts)
        return refused or self._accepted(model, data, flags)

    def _again(self, text: str) -> tuple[Any, list[Any]]:
        try:
            return self._validate(text, strict=True, extra=self._extra), []
        except ValidationError as error:
            return None, list(error.errors(include_url=False))

    def _accepted(self, model: Any, data: dict[str, Any], flags: tuple[str, ...]) -> Accepted:
        values: dict[str, Any] = model.__dict__
        dump = partial(self._plain, model, data)
        if self._own:
            if self._renamed:
                values = {self._renamed.get(name, name): value for name, value in values.items()}
            return Accepted(values, flags=flags, dump=dump)
        fields = cast(BaseModel, model).__class__.model_fields
        if len(values) != len(fields) or model.__pydantic_extra__:
            values = {name: values[name] for name in fields} | (model.__pydantic_extra__ or {})
        return Accepted(values, model=model, flags=flags, dump=dump)

    def _plain(self, model: Any, data: dict[str, Any]) -> dict[str, Any]:
        """What the handler gets as plain JSON that this reader would read back to the same values."""
        try:
            if self._facts.sets:
                loose = self._serializer.to_python(model, by_alias=True, round_trip=True, warnings=False)
                plain = to_jsonable_python(_ordered(loose), fallback=_type_name)
            else:
                plain = self._serializer.to_python(
                    model, mode="json", by_alias=True, round_trip=True, warnings=False, fallback=_type_name
                )
        except Exception:  # a serialiser of the user's: what the model wrote still says what was asked for
            return data
        if self._facts.infinite:
            plain = {name: value for name, value in plain.items() if is_json(value)}
        return cast("dict[str, Any]", plain)

    def _check_definition(self, where: str) -> None:
        if self.schema.get("type") != "object" or not is_json(self.schema):
            raise DefinitionError(
                "TR202", where, "its JSON Schema is not a plain object.", "Use named fields of types that JSON can say."
            )
        refuse_secrets(self.schema, where)


def _ordered(value: Any) -> Any:
    """Sets as lists in one order, the same in every process."""
    if isinstance(value, (set, frozenset)):
        items = [to_jsonable_python(_ordered(item), fallback=_type_name) for item in cast("set[Any]", value)]
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_ordered(item) for item in cast("list[Any]", value)]
    return value


def _type_name(value: Any) -> str:
    return f"<{type(value).__qualname__}>"
