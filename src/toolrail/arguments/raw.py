"""The argument reader of a raw JSON Schema: strict, closed at its root, and it never fetches anything."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from toolrail.arguments.coercion import NOTHING, Path, Wanted, at, drop, lossless, replace
from toolrail.arguments.complaints import MISSING, json_schema_text
from toolrail.arguments.faults import UNCHECKED, cut, expected, merged, unknown
from toolrail.arguments.modelling import refuse_secrets
from toolrail.arguments.values import Accepted, ArgumentReader, Fault
from toolrail.arguments.walk import Schema, as_object, every, in_place, is_json, names_at, nodes_at, types_at
from toolrail.errors import DefinitionError

MAX_ROUNDS = 5
_READINGS: tuple[Wanted, ...] = ("integer", "number", "array", "object")
_UNKNOWN_KEY = ("additionalProperties", "unevaluatedProperties")


def from_json_schema(
    schema: Mapping[str, Any], *, where: str = "schema", extra: Literal["forbid", "ignore"] = "forbid"
) -> ArgumentReader:
    """The reader of a raw JSON Schema. `$schema` is honoured, 2020-12 without one.

    Unknown arguments at the root are refused unless the schema says `additionalProperties`. A schema without any
    properties drops them: models invent arguments for such tools.

    Args:
        schema: its root describes an object. It is copied.
        where: the place of the definition, for error messages.
        extra: what to do with unknown arguments.

    Raises:
        DefinitionError: TR204 the schema is broken, is no object's, or refers to another document; TR206 a secret.

    Example: `from_json_schema({"type": "object", "properties": {"city": {"type": "string"}}})`
    """
    return _RawReader(_checked(schema, where), where, extra=extra)


def _checked(schema: Mapping[str, Any], where: str) -> Schema:
    if not isinstance(schema, Mapping) or not is_json(schema if isinstance(schema, dict) else dict(schema)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError("TR204", where, "the schema is not JSON.", "Give a dict of plain JSON values.")
    own: Schema = copy.deepcopy(dict(schema))
    own.setdefault("type", "object")
    if own["type"] != "object":
        raise DefinitionError(
            "TR204",
            where,
            f"the schema's root has the type {cut(json.dumps(own['type']), 60)}.",
            'Arguments are an object: write "type": "object" and name each argument under "properties".',
        )
    refuse_secrets(own, where)
    return own


def _validator(schema: Schema, where: str) -> Any:
    import jsonschema_rs  # only for raw schemas

    try:
        return jsonschema_rs.validator_for(schema, validate_formats=True, offline=True)
    except jsonschema_rs.ValidationError as error:
        reason = cut(error.message.partition("\n")[0], 200).rstrip(".")
    except Exception as error:
        reason = cut(str(error).partition("\n")[0], 200).rstrip(".")
    raise DefinitionError(
        "TR204",
        where,
        f"the schema cannot be used: {reason}.",
        "Correct it; put schemas of other documents under $defs, nothing is fetched.",
    )


class _RawReader:
    """Strict reading by jsonschema-rs; its errors drive the table of lossless readings."""

    __slots__ = (
        "_closed",
        "_drop_unknown",
        "_integers",
        "_names",
        "_patterns",
        "_validator",
        "schema",
        "takes_nothing_required",
    )

    def __init__(self, schema: Schema, where: str, *, extra: Literal["forbid", "ignore"]) -> None:
        self.schema = schema
        self.takes_nothing_required = not schema.get("required")
        self._validator = _validator(schema, where)
        self._names = frozenset(names_at(schema, ()))
        applied = in_place(schema, schema)
        self._patterns = _patterns(applied)
        self._closed = self._patterns is not None and not any(_says_open(node) for node in applied)
        bare = self._closed and not self._names and not self._patterns
        self._drop_unknown = extra == "ignore" or bare
        self._integers = any("integer" in str(node.get("type")) for node in every(schema))

    def read(
        self,
        text: str,
        data: dict[str, Any],
        *,
        null_means_default: frozenset[str] = frozenset(),
        flags: tuple[str, ...] = (),
    ) -> Accepted | list[Fault]:
        if null_means_default:
            data = {k: v for k, v in data.items() if v is not None or k not in null_means_default}
        try:
            strange = [] if data.keys() <= self._names else self._strange(data)
            if strange and self._drop_unknown:
                data = {name: value for name, value in data.items() if name not in strange}
                flags = (*flags, "extra_dropped")
            elif strange:
                return self._refused(data, strange)
            if self._validator.is_valid(data):
                return self._whole_numbers(data, flags) if self._integers else Accepted(data, flags=flags)
            return self._mended(copy.deepcopy(data), flags)
        except KeyboardInterrupt:
            raise
        except BaseException:  # a pattern that never ends, a limit of the validator: never the run's end
            return [Fault((), UNCHECKED)]

    def _strange(self, data: dict[str, Any]) -> list[str]:
        """The root's keys that the schema does not know."""
        if not self._closed:
            return []
        patterns = self._patterns or []
        return [name for name in data if name not in self._names and not any(p.search(name) for p in patterns)]

    def _refused(self, data: dict[str, Any], strange: list[str]) -> list[Fault]:
        known = {name: value for name, value in data.items() if name not in strange}
        read = self._mended(copy.deepcopy(known), ())
        said = [Fault((name,), unknown(name, self.schema.get("properties") or self._names)) for name in strange]
        return [*said, *([] if isinstance(read, Accepted) else read)]

    def _mended(self, data: dict[str, Any], flags: tuple[str, ...]) -> Accepted | list[Fault]:
        for _ in range(MAX_ROUNDS):
            errors = list(_leaves(self._validator.iter_errors(data)))
            if not errors:
                return self._whole_numbers(data, flags)
            noticed = self._mend(data, errors)
            if not noticed:
                break
            flags = tuple(dict.fromkeys((*flags, *noticed)))
        errors = _leaves(self._validator.iter_errors(data))
        faults = [fault for error in errors for fault in self._faults(data, error)]
        return merged(faults) if faults else self._whole_numbers(data, flags)

    def _mend(self, data: dict[str, Any], errors: list[Any]) -> list[str]:
        noticed: list[str] = []
        touched: set[Path] = set()
        for error in errors:
            path: Path = tuple(error.instance_path)
            if error.kind.name in _UNKNOWN_KEY and self._drop_unknown:
                noticed += ["extra_dropped" for name in error.kind.unexpected if drop(data, (*path, name))]
            if error.kind.name != "type" or not path or path in touched:
                continue
            value = _reading(at(data, path), error.kind.types)
            if value is not NOTHING:
                replace(data, path, value)
                touched.add(path)
                noticed.append(self._flag(path))
        return noticed

    def _whole_numbers(self, data: dict[str, Any], flags: tuple[str, ...]) -> Accepted | list[Fault]:
        """JSON Schema takes 5.0 for an integer; a handler wants 5. Asks the validator where it wants an integer."""
        paths = list(_integral_floats(data, ()))
        if not paths:
            return Accepted(data, flags=flags)
        probe, data = copy.deepcopy(data), copy.deepcopy(data)
        for path in paths:
            replace(probe, path, 0.5)
        for error in _leaves(self._validator.iter_errors(probe)):
            path = tuple(error.instance_path)
            if path not in paths or error.kind.name != "type" or "integer" not in error.kind.types:
                continue
            value = lossless(at(data, path), "integer")
            if value is NOTHING:
                return [Fault(path, expected("an integer", at(data, path)))]
            replace(data, path, value)
            flags = tuple(dict.fromkeys((*flags, self._flag(path))))
            paths.remove(path)
        return Accepted(data, flags=flags)

    def _flag(self, path: Path) -> str:
        return f"coerced:{path[0] if path[0] in self._names else '*'}"

    def _faults(self, data: dict[str, Any], error: Any) -> Iterator[Fault]:
        path: Path = tuple(error.instance_path)
        name = error.kind.name
        if name in _UNKNOWN_KEY:
            known = names_at(self.schema, path)
            yield from (Fault((*path, key), unknown(key, known)) for key in error.kind.unexpected)
        elif name == "required":
            yield Fault((*path, error.kind.property), MISSING)
        else:
            limits = cast("Mapping[str, Any]", error.kind.as_dict())
            formats = {node["format"] for node in nodes_at(self.schema, path) if "format" in node}
            if name == "type" and limits["types"] == ["string"] and len(formats) == 1:
                name, limits = "format", {"format": formats.pop()}
            yield Fault(
                path,
                json_schema_text(
                    name, limits, value=at(data, path), types=types_at(self.schema, path), said=error.message
                ),
            )


def _reading(value: Any, types: list[str]) -> Any:
    for wanted in _READINGS:
        if wanted in types and (read := lossless(value, wanted)) is not NOTHING:
            return read
    return NOTHING


def _leaves(errors: Any) -> Iterator[Any]:
    """The errors, with those of its branches in place of a union's own."""
    for error in errors:
        branches: list[Any] = getattr(error.kind, "context", None) or []
        inner = [leaf for branch in branches for leaf in _leaves(branch)]
        yield from inner or [error]


def _integral_floats(value: Any, path: Path) -> Iterator[Path]:
    if isinstance(value, float):
        if value.is_integer():
            yield path
    elif isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _integral_floats(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _integral_floats(item, (*path, index))


def _says_open(node: Schema) -> bool:
    """The schema itself speaks of further properties, and the validator holds it to that; false is left to us."""
    return any(node.get(key, False) is not False for key in _UNKNOWN_KEY)


def _patterns(applied: list[Schema]) -> list[re.Pattern[str]] | None:
    """The patterns of property names; None when one is not a Python pattern, and all names have to be let in."""
    try:
        return [re.compile(pattern) for node in applied for pattern in as_object(node.get("patternProperties"))]
    except re.error:
        return None
