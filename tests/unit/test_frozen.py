"""`@frozen` classes are frozen dataclasses in all but the cost of their definition."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any, cast

import pytest

from toolrail.frozen import frozen
from toolrail.messages import ToolCall, ToolResult, success


@frozen
class Ours:
    """One of ours."""

    name: str
    size: int = 3
    parts: list[int] = field(default_factory=list[int])


@dataclass(frozen=True, slots=True)
class Standard:
    """The same, as the standard library has it."""

    name: str
    size: int = 3
    parts: list[int] = field(default_factory=list[int])


@frozen
class Positive:
    """A class that looks at its own values, and compares by one of them."""

    value: int
    note: str = ""

    def __post_init__(self) -> None:
        if self.value <= 0:
            raise ValueError(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Positive) and other.value == self.value

    def __hash__(self) -> int:
        return self.value


class Wider(Ours):
    """A plain class that inherits, with attributes of its own."""

    extra: int


def shown(value: object) -> str:
    return repr(value).replace("Standard", "Ours")


USES: list[Callable[[Any], object]] = [
    lambda cls: cls("a"),
    lambda cls: cls("a", 4, [1]),
    lambda cls: cls(name="a", parts=[2]),
    lambda cls: replace(cls("a"), size=9),
    lambda cls: copy.copy(cls("a")),
    lambda cls: copy.deepcopy(cls("a", parts=[1])),
    lambda cls: pickle.loads(pickle.dumps(cls("a", 5))),
    lambda cls: asdict(cls("a")),
    lambda cls: [one.name for one in fields(cls)],
    lambda cls: cls.__match_args__,
    lambda cls: cls.__slots__,
    lambda cls: list(inspect.signature(cls).parameters.values()),
    lambda cls: (cls("a") == cls("a"), cls("a") == cls("b"), cls("a") == "a", cls("a").parts is cls("a").parts),
]
MISUSES: list[tuple[Callable[[Any], object], type[Exception]]] = [
    (lambda cls: setattr(cls("a"), "size", 4), FrozenInstanceError),
    (lambda cls: setattr(cls("a"), "other", 4), FrozenInstanceError),
    (lambda cls: delattr(cls("a"), "size"), FrozenInstanceError),
    (lambda cls: cls(), TypeError),
    (lambda cls: cls("a", colour=1), TypeError),
    (lambda cls: hash(cls("a")), TypeError),
]


@pytest.mark.parametrize("use", USES)
def test_it_does_what_a_frozen_dataclass_with_slots_does(use: Callable[[Any], object]) -> None:
    assert shown(use(Ours)) == shown(use(Standard))


@pytest.mark.parametrize(("use", "error"), MISUSES)
@pytest.mark.parametrize("cls", [Ours, Standard])
def test_it_refuses_what_a_frozen_dataclass_refuses(
    use: Callable[[Any], object], error: type[Exception], cls: object
) -> None:
    with pytest.raises((error, TypeError) if cls is Standard else error):
        use(cls)


def test_a_class_keeps_what_it_defines_by_itself() -> None:
    assert Positive(1, "a") == Positive(1, "b")
    assert hash(Positive(7)) == 7
    with pytest.raises(ValueError, match="-1"):
        Positive(-1)


def test_equal_values_have_equal_hashes() -> None:
    assert hash(ToolCall("1", "add", "{}")) == hash(ToolCall("1", "add", "{}"))
    assert len({ToolCall("1", "add", "{}"), ToolCall("1", "add", "{}"), ToolCall("2", "add", "{}")}) == 2


def test_a_class_that_inherits_has_attributes_of_its_own_and_the_fields_stay_frozen() -> None:
    wider = Wider("a")
    wider.extra = 5
    assert wider.extra == 5
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'size'"):
        cast("Any", wider).size = 4


def test_a_frozen_dataclass_may_inherit_from_it() -> None:
    @dataclass(frozen=True)
    class Longer(Ours):
        more: str = "m"

    assert (Longer("a").size, Longer("a", more="x").more) == (3, "x")


def test_a_success_is_a_result_like_any_other() -> None:
    made = success(ToolCall("1", "add", "{}"), "3", trust="trusted", flags=("code_fence",))
    assert made == ToolResult("1", "add", "ok", "3", trust="trusted", flags=("code_fence",), started=True)
    with pytest.raises(FrozenInstanceError):
        cast("Any", made).content = "4"
