"""Recognises passing failures of the libraries that handlers use, by qualified name, without importing any of them."""

from __future__ import annotations

from typing import Any

from toolrail.frozen import frozen

_NAMES = frozenset(
    {
        "builtins.ConnectionError",
        "builtins.TimeoutError",
        "builtins.InterruptedError",
        "builtins.BlockingIOError",
        "socket.gaierror",
        "socket.herror",
        "ssl.SSLError",
        "asyncio.exceptions.IncompleteReadError",
        "http.client.RemoteDisconnected",
        "http.client.IncompleteRead",
        "urllib.error.URLError",
        "urllib3.exceptions.TimeoutError",
        "urllib3.exceptions.ProtocolError",
        "urllib3.exceptions.MaxRetryError",
        "httpx.TransportError",
        "httpx2.TransportError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "requests.exceptions.ChunkedEncodingError",
        "aiohttp.client_exceptions.ClientConnectionError",
        "aiohttp.client_exceptions.ClientPayloadError",
        "asyncpg.exceptions._base.InterfaceError",
        "asyncpg.exceptions.PostgresConnectionError",
        "asyncpg.exceptions.ConnectionDoesNotExistError",
        "asyncpg.exceptions.TooManyConnectionsError",
        "psycopg.OperationalError",
        "psycopg2.OperationalError",
        "redis.exceptions.ConnectionError",
        "redis.exceptions.TimeoutError",
        "redis.exceptions.BusyLoadingError",
        "openai.APIConnectionError",
        "anthropic.APIConnectionError",
    }
)
_LASTING = frozenset(
    {
        "builtins.FileNotFoundError",
        "builtins.FileExistsError",
        "builtins.PermissionError",
        "builtins.IsADirectoryError",
        "builtins.NotADirectoryError",
        "builtins.ChildProcessError",
        "builtins.ProcessLookupError",
        "io.UnsupportedOperation",
        "ssl.SSLCertVerificationError",
        "redis.exceptions.AuthenticationError",
    }
)
"""Relatives of the above that trying again does not mend: they are about files, processes and who one is."""
_REFUSED = frozenset(
    {"builtins.ConnectionRefusedError", "socket.gaierror", "httpx.ConnectError", "httpx2.ConnectError"}
)
_SQLSTATES = frozenset({"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"})
_HTTP = frozenset({408, 425, 429})
_PUBLIC = ("httpx", "httpx2", "openai", "anthropic", "psycopg", "psycopg2")
"""Packages whose exceptions live in private modules but are known by their package's name."""


@frozen
class Transient:
    """A failure that may pass."""

    label: str
    """For the record: a class name, or `http_503`."""
    retry_after: float | None = None
    """Seconds that the other side asked to wait."""
    refused: bool = False
    """The connection was never made, so nothing can have happened."""


def transient(error: BaseException) -> Transient | None:
    """What passing failure this is, or None when it is none.

    Example: `transient(ConnectionResetError())` is `Transient("ConnectionResetError")`.
    """
    if not isinstance(error, Exception):  # SystemExit has a `code`, too
        return None
    try:
        names = _qualified(type(error))
        status = _http_status(error)
        if status is not None:
            passing = status in _HTTP or 500 <= status <= 599
            return Transient(f"http_{status}", retry_after=_retry_after(error)) if passing else None
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        if isinstance(state, str) and state:
            return Transient(f"sql_{state}") if state in _SQLSTATES or state.startswith("08") else None
        if names & _LASTING or not (names & _NAMES or "builtins.OSError" in names):
            return None
        return Transient(type(error).__name__, refused=_refused(error, names))
    except Exception:  # a handler's exception with hostile properties is simply not recognised
        return None


def cause_of(error: BaseException) -> Transient | None:
    """The passing failure that an exception was raised from, or while handling. A refused connection only where that
    was all: a handler may have tried again after a time-out."""
    refused: Transient | None = None
    for inner in _behind(error):
        found = transient(inner)
        if found is None or (refused is not None and type(inner) is OSError):  # such as "All attempts failed"
            continue
        if not found.refused:
            return found
        refused = refused or found
    return refused


def _behind(error: BaseException) -> list[BaseException]:
    """Causes and contexts, through the whole chain, nearest first."""
    found = [error]
    for known in found:
        for inner in (known.__cause__, known.__context__):
            if inner is not None and not any(inner is one for one in found):
                found.append(inner)
    return found[1:]


_cache: dict[type, frozenset[str]] = {}


def _qualified(kind: type) -> frozenset[str]:
    known = _cache.get(kind)
    if known is None:
        known = frozenset(name for cls in kind.__mro__ for name in _names(cls))
        if len(_cache) < 1024:
            _cache[kind] = known
    return known


def _names(cls: type) -> tuple[str, ...]:
    package = cls.__module__.partition(".")[0]
    own = f"{cls.__module__}.{cls.__qualname__}"
    return (own, f"{package}.{cls.__qualname__}") if package in _PUBLIC else (own,)


def _refused(error: BaseException, names: frozenset[str]) -> bool:
    if "builtins.ConnectionRefusedError" in names or "socket.gaierror" in names:
        return True
    return bool(names & _REFUSED)


def _http_status(error: Any) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
                return value
    return None


def _retry_after(error: Any) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    return seconds_of(headers.get("retry-after") or headers.get("Retry-After")) if headers else None


def seconds_of(text: str | None) -> float | None:
    """A Retry-After header in seconds. The date form is left alone: clocks differ."""
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
