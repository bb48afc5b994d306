"""`isolate="process"`: the limits of a handler's own process, and how that process finds the handler: by its name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from toolrail.errors import DefinitionError
from toolrail.settings import counts, positive

MAIN = "__main__"


@dataclass(frozen=True, slots=True)
class Isolation:
    """The limits of one call's process. `isolate="process"` is short for the defaults.

    Each attempt gets a fresh process in a session of its own. At the deadline, on cancellation and when the rail closes
    it is killed with all processes of its group; it is also gone when ours dies. It takes a place in the thread pool.
    The limits are set with `setrlimit` before the handler's module is loaded, for each process of the group by itself.
    Linux keeps all of them, macOS all but memory; without process groups, as on Windows, `isolate=` is refused.
    This contains crashes, leaks and endless loops. It is no sandbox: files, network and environment are in reach.

    Arguments go there by pickle. What comes back is JSON, for a process that ran a stranger's code is not believed:
    results arrive as plain data (a dataclass as a dict), errors by their kind, never as objects.

    Example: `@tool(effect="read", timeout=5.0, isolate=Isolation(memory_bytes=256 * 1024**2, cpu_seconds=2.0))`
    """

    memory_bytes: int | None = 512 * 1024 * 1024
    """Address space of each process, the interpreter's own (about 20 MB) included. None: no limit."""
    cpu_seconds: float | None = None
    """Processor time of the handler, rounded up to whole seconds. None: as much as the call's time-out."""
    result_bytes: int = 8 * 1024 * 1024
    """Of a larger result only a preview crosses; the rest is lost."""

    def __post_init__(self) -> None:
        counts("Isolation", memory_bytes=self.memory_bytes)
        positive("Isolation", cpu_seconds=self.cpu_seconds)
        counts("Isolation", must=True, result_bytes=self.result_bytes)

    def check(self, fn: Callable[..., Any], *, takes_context: bool, where: str) -> None:
        """What a rail asks when it is made: whether the handler can be called in a new process, and would be found.

        Raises:
            DefinitionError: TR114 or TR115.
        """
        if takes_context:
            mend = "Take arguments only; what needs the context belongs into a tool that is not isolated."
            raise DefinitionError("TR115", where, "an isolated handler cannot have the context.", mend)
        name = name_of(fn, where)
        if name.partition(":")[0] == MAIN and main_path() is None:
            raise _hidden(where, "it was typed in, and a new process has no file to load it from")
        try:
            found = look_up(name)
        except (ImportError, AttributeError):
            found = None
        if found is not fn:
            raise _hidden(where, f"{name!r} is not this function")


def isolation_of(given: object, fn: Callable[..., Any], *, where: str) -> Isolation:
    """What `isolate=` says, once it is clear that another process can find the handler.

    Raises:
        DefinitionError: TR113 or TR114.
    """
    isolation = Isolation() if given == "process" else given
    if not isinstance(isolation, Isolation):
        mend = 'Write isolate="process", or isolate=Isolation(...) from toolrail.isolation.'
        raise DefinitionError("TR113", where, f"there is no isolation {given!r}.", mend)
    if sys.platform == "win32":
        mend = "Leave isolate= out, or run this on Linux or macOS."
        raise DefinitionError("TR113", where, "this system has no process groups to kill.", mend)
    name_of(fn, where)
    return isolation


def name_of(fn: Callable[..., Any], where: str) -> str:
    """`package.module:function`: by which another process finds it.

    Raises:
        DefinitionError: TR114.
    """
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        raise _hidden(where, "it is an object without a name of its own")
    if "<" in name:
        raise _hidden(where, "it is a lambda, or was made inside a function")
    if getattr(fn, "__self__", None) is not None and not isinstance(getattr(fn, "__self__", None), ModuleType):
        raise _hidden(where, "it is a method, bound to an object that stays here")
    return f"{module}:{name}"


def _hidden(where: str, reason: str) -> DefinitionError:
    mend = "Make it a function at the top of a module, under its own name."
    return DefinitionError("TR114", where, f"another process cannot find the handler: {reason}.", mend)


def look_up(name: str) -> Any:
    """The function of that name; `@tool` leaves a `Tool` in its place, which has it."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return getattr(found, "fn", found)


def main_path() -> tuple[str | None, str | None] | None:
    """How to load again what this process was started with: by a module's name or from a file; None: it cannot be."""
    main = sys.modules[MAIN]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return spec.name, None
    file = getattr(main, "__file__", None)
    return None if file is None else (None, file)


def load_main(module: str | None, file: str | None) -> None:
    """In the new process: loads the program that the handler is from, under its own name, so that its
    `if __name__ == "__main__"` does not start it again; what was pickled there is found here as `__main__`."""
    if module is not None:
        sys.modules[MAIN] = importlib.import_module(module)
    elif file is not None:
        spec = importlib.util.spec_from_file_location("__toolrail_main__", file)
        if spec is None or spec.loader is None:
            raise ImportError(f"cannot load {file}")
        loaded = importlib.util.module_from_spec(spec)
        sys.modules["__toolrail_main__"] = sys.modules[MAIN] = loaded
        spec.loader.exec_module(loaded)
