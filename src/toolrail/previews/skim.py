"""Reading JSON text piece by piece: where each value begins and ends, without building the whole of it.

The walks are generators that give None now and then, so that whoever drives them on an event loop can let others on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any, NamedTuple, NoReturn, cast

SLICE = 128 * 1024
"""Characters of work between two pauses."""
_PIECES = (4 * 1024, SLICE)
"""A value's end is looked for within so many characters first: one call of the C scanner cannot be interrupted."""
_DEEP = 50
_SPACE = re.compile(r"[ \t\n\r]*")
_END = re.compile(r"[ \t\n\r]*[\]}][ \t\n\r]*\Z")
_NAME = re.compile(r"[^\W\d][\w-]*")
_STEP = re.compile(rf'\.?({_NAME.pattern})|\[(\d{{1,15}})\]|\[("(?:[^"\\]|\\.)*")\]')


class Span(NamedTuple):
    """One value in a list or an object."""

    key: str | int
    start: int
    end: int


class NoSuchPart(Exception):
    """A path that leads nowhere. The text is for the model."""


Walk = Generator[Span | None, None, None]


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_constant)


def container_at(text: str) -> int:
    """Where a JSON object or list begins, or -1. Whether it is one shows only at its end."""
    at = _after_space(text, 0)
    return at if text[at : at + 1] in ("{", "[") and text else -1


def ends_after(text: str, end: int) -> bool:
    """Whether the outermost list or object closes after its last value, and nothing follows."""
    return _END.match(text, end) is not None


def spans(text: str, at: int, *, depth: int = 0) -> Walk:
    """The values of the list or object that begins at `at`, in order; None where a slice of work is done.

    Raises:
        ValueError, RecursionError: it is not JSON, or too deep.
    """
    named = text[at] == "{"
    closing, place, paused, index = "}" if named else "]", _after_space(text, at + 1), at, 0
    if text[place : place + 1] == closing:
        return
    while True:
        key: str | int = index
        if named:
            key, place = _key(text, place)
        end = _quick_end(text, place)
        if end < 0:
            end = yield from _slow_end(text, place, depth)
        yield Span(key, place, end)
        if end - paused > SLICE:
            paused = end
            yield None
        index += 1
        place = _after_space(text, end)
        mark = text[place : place + 1]
        if mark == closing:
            return
        if mark != ",":
            raise ValueError("not JSON")
        place = _after_space(text, place + 1)


def steps_of(path: str) -> list[str | int]:
    """`a.b[3]["odd key"].c` as its steps. A `$` in front is allowed.

    Raises:
        NoSuchPart: it is no such path.
    """
    rest = path.strip().removeprefix("$")
    steps: list[str | int] = []
    while rest:
        found = _STEP.match(rest)
        if found is None or (not steps and rest.startswith(".") and not path.strip().startswith("$")):
            raise NoSuchPart(f'{path!r} is not a path. Write it as a.b[3].c, or ["odd key"] for other names.')
        name, number, quoted = found.groups()
        steps.append(name if name is not None else int(number) if number is not None else json.loads(quoted))
        rest = rest[found.end() :]
    return steps


def path_to(path: str, key: str | int) -> str:
    """The path to a part of what `path` names."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _NAME.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def joined(path: str, rest: str) -> str:
    """A path, and one that begins where it ends."""
    return path + ("." if path and rest and not rest.startswith("[") else "") + rest


def located(text: str, path: str) -> Generator[None, None, tuple[int, int]]:
    """Where the part that a path names begins and ends.

    Raises:
        NoSuchPart: nothing is there.
        ValueError, RecursionError: the text is not JSON.
    """
    at, end, so_far = container_at(text), len(text), ""
    for step in steps_of(path):
        if at < 0 or text[at] not in "{[" or isinstance(step, int) != (text[at] == "["):
            raise NoSuchPart(f"There is no {path_to(so_far, step)!r}: {_kind(text, at)}.")
        at, end = yield from _part(text, at, step, so_far)
        so_far = path_to(so_far, step)
    return at, end


def _part(text: str, at: int, step: str | int, so_far: str) -> Generator[None, None, tuple[int, int]]:
    keys: list[str] = []
    count = 0
    for span in spans(text, at):
        if span is None:
            yield
            continue
        if span.key == step:
            return span.start, span.end
        count += 1
        if len(keys) < 20:
            keys.append(str(span.key)[:60])
    names = ", ".join(keys if count <= len(keys) else [*keys, "..."]) or "none"
    there = f"the list has {count} items" if isinstance(step, int) else f"the fields are {names}"
    raise NoSuchPart(f"There is no {path_to(so_far, step)!r}: {there}.")


def _kind(text: str, at: int) -> str:
    if at < 0:
        return "the result is text, without parts"
    return {"{": "an object has fields, not numbers", "[": "a list has items by number: [0]"}.get(
        text[at], "there is nothing inside this value"
    )


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _key(text: str, place: int) -> tuple[str, int]:
    if text[place : place + 1] != '"':
        raise ValueError("not JSON")
    key, place = cast("tuple[str, int]", _DECODER.raw_decode(text, place))
    place = _after_space(text, place)
    if text[place : place + 1] != ":":
        raise ValueError("not JSON")
    return key, _after_space(text, place + 1)


def _quick_end(text: str, at: int) -> int:
    """The end of a value that is not long, else -1."""
    for size in _PIECES:
        piece = text[at : at + size]
        try:
            end = _DECODER.raw_decode(piece)[1]
        except ValueError:
            if at + size >= len(text):
                raise
            continue
        if end < len(piece) or at + size >= len(text):  # a number may go on behind the piece
            return at + end
    return -1


def _slow_end(text: str, at: int, depth: int) -> Generator[None, None, int]:
    """The end of a long value: walked where it has parts, so that no single step is long."""
    if text[at] not in "{[" or depth >= _DEEP:
        decoded: tuple[Any, int] = _DECODER.raw_decode(text, at)
        return decoded[1]
    end = at + 1
    for span in spans(text, at, depth=depth + 1):
        if span is None:
            yield
        else:
            end = span.end
    return _after_space(text, end) + 1
