"""Results: any value becomes text that is valid, within its cap, whatever the value does; never a failure."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import threading
import uuid
from collections import OrderedDict, UserDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.promises import promise
from tests.spine.helpers import call, rail_of, settled, virtually
from toolrail.definition import ResultRules, tool
from toolrail.encoding import encode_flat, encode_value, preview
from toolrail.limits import RailLimits
from toolrail.messages import Media, ToolResult


class Colour(enum.Enum):
    RED = "red"


class Name(str, enum.Enum):  # noqa: UP042
    ANN = "ann"


class Order(BaseModel):
    id: str
    total: decimal.Decimal
    at: dt.datetime
    tags: set[str] = set()
    rate: float = 1.0


@dataclasses.dataclass
class Line:
    name: str
    price: decimal.Decimal
    parts: list[Any] = dataclasses.field(default_factory=list[Any])


class Point(NamedTuple):
    x: int
    y: int


WHEN = dt.datetime(2026, 11, 5, 8, 30, tzinfo=dt.UTC)


def _cycle() -> list[Any]:
    loop: list[Any] = [1]
    loop.append({"again": loop})
    return loop


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


VALUES: list[tuple[Any, Any, tuple[str, ...]]] = [
    (None, None, ()),
    (True, True, ()),
    (7, 7, ()),
    (10**30, 10**30, ()),
    (1.5, 1.5, ()),
    ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, ()),
    ((1, 2), [1, 2], ()),
    (Point(1, 2), [1, 2], ()),
    (decimal.Decimal("9.990"), "9.990", ()),
    ({"price": decimal.Decimal("9.99")}, {"price": "9.99"}, ()),
    (WHEN, "2026-11-05T08:30:00+00:00", ()),
    (WHEN.date(), "2026-11-05", ()),
    (WHEN.time(), "08:30:00", ()),
    (dt.timedelta(hours=1), "1:00:00", ()),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005", ()),
    (pathlib.PurePosixPath("/a/b"), "/a/b", ()),
    (Colour.RED, "red", ()),
    ([Colour.RED, Name.ANN], ["red", "ann"], ()),
    ({3, 1, 2}, [1, 2, 3], ()),
    (frozenset({"b", "a"}), ["a", "b"], ()),
    (b"abc", "abc", ()),
    (b"\xff\xfe", "//4=", ("base64",)),
    ({"n": float("nan"), "i": [math.inf, -math.inf]}, {"n": None, "i": [None, None]}, ("nan_as_null",)),
    (float("nan"), None, ("nan_as_null",)),
    (decimal.Decimal("NaN"), None, ("nan_as_null",)),
    ({WHEN.date(): 1, (1, 2): 2}, {"2026-11-05": 1, "(1, 2)": 2}, ("keys_as_text",)),
    (
        Order(id="O1", total=decimal.Decimal("5.10"), at=WHEN, tags={"x"}),
        {"id": "O1", "total": "5.10", "at": "2026-11-05T08:30:00Z", "tags": ["x"], "rate": 1.0},
        (),
    ),
    ([Line("a", decimal.Decimal(1))], [{"name": "a", "price": "1", "parts": []}], ()),
    (OrderedDict(a=1), {"a": 1}, ()),
    (UserDict(a=1), {"a": 1}, ()),
    (_cycle(), [1, {"again": "[cycle]"}], ("cycle",)),
    (object(), "[a object: not shown]", ("unencodable",)),
    ({"lock": threading.Lock()}, {"lock": "[a lock: not shown]"}, ("unencodable",)),
    (fractions.Fraction(1, 3), "[a Fraction: not shown]", ("unencodable",)),
    (deque([1]), "[a deque: not shown]", ("unencodable",)),
    (
        (n for n in range(3)),
        "[a generator: not shown; the tool should return a list]",
        ("unencodable",),
    ),
    (iter([1]), "[a list_iterator: not shown; the tool should return a list]", ("unencodable",)),
    (10**20_000, "[a very large integer]", ("unencodable",)),
]


def _result(value: Any, **rules: Any) -> ToolResult:
    """What a tool that returns this is answered with."""

    @tool(name="give", effect="once", result=ResultRules(**rules))
    async def give() -> Any:
        """Gives it."""
        return value

    rail, recorder = rail_of(give)
    (result,) = virtually(rail, [call("give")])
    assert settled(recorder)[0].result_bytes == len(result.content.encode())
    return result


@promise("call:encode")
@pytest.mark.parametrize(("value", "expected", "flags"), VALUES, ids=lambda v: repr(type(v)))
def test_a_value_becomes_json(value: Any, expected: Any, flags: tuple[str, ...]) -> None:
    result = _result(value)
    assert (result.status, result.flags) == ("ok", flags)
    assert json.loads(result.content) == expected


@promise("call:encode")
@pytest.mark.parametrize(("text", "expected"), [("plain {text}", "plain {text}"), ("", ""), ("né 😀", "né 😀")])
def test_text_stays_as_it_is(text: str, expected: str) -> None:
    assert _result(text).content == expected


@promise("call:encode")
def test_half_a_character_is_replaced_and_flagged() -> None:
    for value in ("a\ud800b", {"k\ud800": "v"}):
        result = _result(value)
        assert result.flags == ("surrogates_replaced",)
        assert "?" in result.content


@promise("call:encode")
@pytest.mark.parametrize("levels", [50, 99, 150, 900, 5_000, 100_000])
def test_any_depth_is_encoded(levels: int) -> None:
    result = _result(_deep(levels))
    assert result.ok
    json.loads(result.content)


def _hostile(method: str, error: type[BaseException]) -> Any:
    def fail(*_: Any, **__: Any) -> Any:
        raise error("s3cr3t-value")

    field: Any = property(fail) if method == "__class__" else fail
    return type("Hostile", (), {method: field})()


HOSTILE_METHODS = [
    "__str__",
    "__repr__",
    "__iter__",
    "__class__",
    "model_dump",
    "__getattribute__",
    "__len__",
    "isoformat",
]


@promise("call:encode")
@pytest.mark.parametrize("error", [RuntimeError, RecursionError, SystemExit, MemoryError, StopIteration])
@pytest.mark.parametrize("method", HOSTILE_METHODS)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": v}, lambda v: Line("a", v)])
def test_a_hostile_value_is_named_and_its_text_stays_out(
    method: str, error: type[BaseException], wrap: Callable[[Any], Any]
) -> None:
    result = _result(wrap(_hostile(method, error)))
    assert result.status == "ok"
    assert "unencodable" in result.flags
    assert "s3cr3t" not in result.content
    json.loads(f'"{result.content}"' if result.content.startswith("[a ") else result.content)


class HostileMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class HostileText(str):
    def isascii(self) -> bool:
        raise RuntimeError("no")

    def encode(self, *_: Any, **__: Any) -> bytes:
        raise RuntimeError("no")


class HostileNumber(int):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    def bit_length(self) -> int:
        raise RuntimeError("no")


class HostileHash:
    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return False

    def __repr__(self) -> str:
        raise RuntimeError("no")


@promise("call:encode")
@pytest.mark.parametrize(
    "value",
    [
        HostileMapping(),
        HostileText("text"),
        [HostileText("text")],
        HostileNumber(5),
        {HostileHash()},
        {HostileHash(): 1},
        {HostileHash(), HostileHash()},
        [HostileMapping(), float("nan")],
    ],
    ids=lambda v: repr(type(v)),
)
def test_hostile_containers_texts_and_numbers_are_encoded(value: Any) -> None:
    result = _result(value)
    assert result.status == "ok"
    assert type(result.content) is str
    result.content.encode()


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.binary(),
    st.decimals(),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([Colour.RED, Name.ANN, object(), _cycle(), Media(b"x", "image/png"), print, int]),
    st.builds(HostileHash),
    st.builds(Line, st.text(), st.decimals()),
    st.builds(lambda: (n for n in range(2))),
)
KEYS = st.one_of(st.text(st.characters(codec=None)), st.integers(), st.none(), st.booleans(), st.dates(), st.binary())
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(KEYS, inner), st.tuples(inner, inner), st.builds(Line, st.text(), inner)
    ),
    max_leaves=20,
)


@promise("call:encode")
@given(value=NESTED, cap=st.integers(700, 3_000))
def test_any_nested_value_becomes_valid_text_under_the_cap(value: Any, cap: int) -> None:
    encoded = encode_value(value)
    encoded.text.encode()
    if not isinstance(value, str) and not encoded.media:
        json.loads(encoded.text)
    shown, flags = preview(encoded.text, cap)
    assert len(shown.encode()) <= cap
    if flags:
        assert json.loads(shown)["bytes"] == len(encoded.text.encode())
    else:
        assert shown == encoded.text


@promise("call:encode")
@given(value=st.dictionaries(KEYS, LEAVES) | st.dictionaries(st.text(), st.text() | st.integers() | st.booleans()))
def test_the_fast_way_writes_a_flat_object_as_the_other_one_does(value: dict[Any, Any]) -> None:
    fast = encode_flat(value)
    assert fast is None or fast == encode_value(value)


@promise("call:encode")
@pytest.mark.parametrize(
    ("value", "fast"),
    [
        ({"a": 1, "b": "é\n", "c": None, "d": True}, True),
        ({"a": 10**300}, True),
        ({"a": 10**4299}, False),
        ({"a": 1.5}, False),
        ({"a": "\ud800"}, False),
        ({1: "a"}, False),
        ({"a": ["b"]}, False),
        ("text", True),
        (["a"], False),
        ({str(n): n for n in range(513)}, False),
    ],
)
def test_the_fast_way_takes_text_and_small_flat_objects(value: Any, fast: bool) -> None:
    assert (encode_flat(value) is not None) is fast


@promise("call:encode")
def test_a_result_that_misses_its_declared_type_is_flagged_and_still_a_success() -> None:
    assert _result({"id": 5}, output=Order).flags == ("output_mismatch",)
    assert _result(Order(id="1", total=decimal.Decimal(1), at=WHEN), output=Order).flags == ()
    hostile = _result(_hostile("__class__", RuntimeError), output=Order)
    assert hostile.ok


@promise("call:images")
def test_media_travel_beside_the_text_that_names_them() -> None:
    picture = Media(b"\x89PNG", "image/png", "chart")
    result = _result(["Sales", picture])
    assert result.media == (picture,)
    assert result.content == "Sales [chart: image/png, 4 bytes]"
    assert _result(picture).media == (picture,)


@promise("call:size")
@pytest.mark.parametrize(
    "text",
    ["x" * 50_000_000, "é" * 400_000, "😀" * 100_000, '"' * 100_000, "\n" * 100_000, "\x00" * 100_000, "\\" * 40_000],
    ids=["50 MB", "2 bytes each", "4 bytes each", "quotes", "line ends", "control", "backslashes"],
)
def test_a_large_result_is_a_preview_that_is_valid_says_its_size_and_uses_its_room(text: str) -> None:
    result = _result(text)
    shown = json.loads(result.content)
    assert result.flags == ("preview",)
    assert result.status == "ok"
    assert len(result.content.encode()) <= 32 * 1024
    assert len(result.content.encode()) > 0.9 * 32 * 1024
    assert shown["truncated"] is True
    assert shown["bytes"] == len(text.encode())
    assert text.startswith(shown["text"])
    assert shown["text"]


@promise("call:size")
@pytest.mark.parametrize("extra", range(-2, 3))
@pytest.mark.parametrize("character", ["x", "é", "€", "😀"])
def test_the_cap_is_exact_and_no_character_is_cut(character: str, extra: int) -> None:
    cap = 1_200
    text = character * (cap // len(character.encode())) + "x" * (cap % len(character.encode()))
    text = text[:extra] if extra < 0 else text + "x" * extra
    shown, flags = preview(text, cap)
    assert bool(flags) == (extra > 0)
    assert len(shown.encode()) <= cap
    if flags:
        assert text.startswith(json.loads(shown)["text"])
        assert len(json.loads(shown)["text"]) > 100


@promise("call:size")
def test_a_tool_may_have_a_cap_of_its_own_and_the_rail_has_one() -> None:
    assert _result("x" * 2_000, max_bytes=1_000).flags == ("preview",)
    assert _result("x" * 40_000, max_bytes=50_000).flags == ()

    @tool(effect="read")
    async def give() -> str:
        """Gives much."""
        return "x" * 2_000

    rail, _ = rail_of(give, limits=RailLimits(result_bytes=1_000))
    (result,) = virtually(rail, [call("give")])
    assert result.flags == ("preview",)


@promise("call:encode", "call:total")
@pytest.mark.parametrize("fails", [lambda text: 1 / 0, lambda text: None], ids=["raises", "no text"])
def test_a_redactor_that_fails_shows_nothing_and_the_effect_stays_done(fails: Any) -> None:
    @tool(effect="once")
    async def give() -> str:
        """Gives a secret."""
        return "s3cr3t-value"

    rail, _ = rail_of(give, redact=fails)
    (result,) = virtually(rail, [call("give")])
    assert result.status == "ok"
    assert "s3cr3t" not in result.content
