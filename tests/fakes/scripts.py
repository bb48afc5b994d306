"""Scripts by name, for a server in a process of its own: they keep no state, so any number of sessions share one."""

from __future__ import annotations

from tests.fakes.script import Call, Choose, Recorded, Say, Turn


def chain(links: int, name: str = "noop") -> Choose:
    """`links` turns with one call each, then an answer: links + 1 requests."""

    def choose(request: Recorded) -> Turn:
        return Call(name) if request.results_seen < links else Say("done")

    return choose


def parallel(count: int, name: str = "noop") -> Choose:
    """One turn with `count` calls, then an answer."""
    turn = tuple(Call(name) for _ in range(count))

    def choose(request: Recorded) -> Turn:
        return turn if request.results_seen == 0 else Say("done")

    return choose


def named(name: str) -> Choose:
    """`chain:10` and `parallel:100`.

    Raises:
        ValueError: there is no such script.
    """
    match name.partition(":"):
        case ("chain", _, count):
            return chain(int(count))
        case ("parallel", _, count):
            return parallel(int(count))
        case _:
            raise ValueError(f"no script named {name!r}: chain:N or parallel:N")
