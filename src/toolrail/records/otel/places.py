"""Where a span stands in the context: put there before the work begins, taken out in whatever order that ends.

OpenTelemetry's own way, a token for each `attach`, fails where the end comes in another task or thread than the
beginning. So a place knows what was there before it, and whoever leaves one goes back to the last that still stands.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

from opentelemetry.context import Context, attach, create_key, get_current, set_value
from opentelemetry.trace import Span, set_span_in_context

_KEY = create_key("toolrail-place")


class Place:
    """One span in one context."""

    __slots__ = ("before", "context", "over", "run")

    def __init__(self, span: Span, run: object, before: Context) -> None:
        self.run = run
        """Whose it is."""
        self.before = before
        self.over = False
        self.context = set_value(_KEY, self, set_span_in_context(span, before))


def here() -> Context:
    """The context of the running task or thread, without what is over and was left there."""
    return _standing(get_current())


def enter(span: Span, run: object) -> Place:
    """Makes a span the current one."""
    place = Place(span, run, here())
    attach(place.context)
    return place


def leave(place: Place) -> None:
    """Goes back to what was there before, where this is the context that the place was entered in."""
    place.over = True
    current = get_current()
    standing = _standing(current)
    if standing is not current:
        attach(standing)


@contextmanager
def within(span: Span, run: object) -> Generator[None]:
    """Makes a span the current one for a while."""
    place = enter(span, run)
    try:
        yield
    finally:
        leave(place)


def below(span: Span, run: object) -> Context:
    """The context that a new span of a run begins in: where we are, if that is in the run, else right below its span.
    Synchronous callers are elsewhere, and so is a task that was made before the run."""
    context = here()
    found = _place(context)
    return context if found is not None and found.run is run else Place(span, run, context).context


def _place(context: Context) -> Place | None:
    return cast("Place | None", context.get(_KEY))


def _standing(context: Context) -> Context:
    while (place := _place(context)) is not None and place.over and place.context is context:
        context = place.before
    return context
