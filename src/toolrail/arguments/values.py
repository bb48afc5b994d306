"""What reading a call's arguments gives: accepted values, or faults that a model can correct."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pydantic import BaseModel

from toolrail.frozen import frozen


@frozen
class Fault:
    """One thing that is wrong with the arguments."""

    path: tuple[str | int, ...]
    """Where, in the terms of the arguments; empty for the whole."""
    message: str
    """What was expected and what came: `expected an integer, got 'abc' (string)`."""


class Accepted:
    """Arguments that are ready for the handler. A value: nobody changes it."""

    __slots__ = ("_dump", "_effective", "flags", "model", "values")

    values: dict[str, Any]
    """For `fn(**values)`."""
    model: BaseModel | None
    """The instance, when the reader was made of a Pydantic model."""
    flags: tuple[str, ...]
    """The lossless readings that were needed, such as `code_fence` and `coerced:max_results`."""

    def __init__(
        self,
        values: dict[str, Any],
        *,
        model: BaseModel | None = None,
        flags: tuple[str, ...] = (),
        dump: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.values = values
        self.model = model
        self.flags = flags
        self._dump = dump
        self._effective = values if dump is None else None

    @property
    def effective(self) -> dict[str, Any]:
        """What the handler gets, defaults included, as plain JSON. Look at it before the handler runs."""
        if self._effective is None:
            self._effective = self._dump() if self._dump else self.values
        return self._effective

    def __repr__(self) -> str:
        return f"Accepted(values={self.values!r}, flags={self.flags!r})"


class ArgumentReader(Protocol):
    """Reads the arguments of one tool."""

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, computed once; its root is an object. Not to be changed."""
        ...

    @property
    def takes_nothing_required(self) -> bool:
        """No argument is required, so an empty text is a full answer."""
        ...

    def read(
        self,
        text: str,
        data: dict[str, Any],
        *,
        null_means_default: frozenset[str] = frozenset(),
        flags: tuple[str, ...] = (),
    ) -> Accepted | list[Fault]:
        """Checks parsed arguments. Never raises, whatever the model wrote.

        Args:
            text: the JSON that `data` was parsed from.
            data: the parsed arguments. It is not changed.
            null_means_default: top-level arguments whose `null` was added by a provider's dialect and stands for
                "use the default".
            flags: what was already noticed; goes into the accepted flags first.
        """
        ...
