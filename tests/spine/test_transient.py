"""Passing failures of the libraries that handlers use, by name: real exceptions where installed, else twins."""

from __future__ import annotations

import asyncio
import errno
import http.client
import socket
import ssl
import subprocess
import sys
import urllib.error
from email.message import Message
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
import httpx2
import pytest

from tests.promises import promise
from tests.spine.helpers import call, codes, rail_of, settled, virtually
from toolrail.definition import tool
from toolrail.transient import Transient, cause_of, seconds_of, transient

REQUEST = httpx2.Request("GET", "http://shop.test/")


def _http(status: int, **headers: str) -> Exception:
    response = httpx2.Response(status, headers=headers, request=REQUEST)
    return httpx2.HTTPStatusError("failed", request=REQUEST, response=response)


def _twin(name: str, *bases: str, **fields: Any) -> Exception:
    """An exception whose class has the qualified name of a library that is not installed here."""
    parents: tuple[type, ...] = tuple(_class(base) for base in bases) or (Exception,)
    return _class(name, *parents, **fields)("failed")


def _class(name: str, *parents: type, **fields: Any) -> Any:
    module, _, short = name.rpartition(".")
    if module == "builtins":
        return getattr(__builtins__, short, None) or __builtins__[short]  # type: ignore[index]
    return type(short, parents or (Exception,), {"__module__": module, "__qualname__": short, **fields})


class Coded(Exception):
    """Such as a gRPC or a search client's own."""

    def __init__(self, **fields: Any) -> None:
        super().__init__("failed")
        self.__dict__.update(fields)


PASSING: list[Any] = [
    TimeoutError(),
    ConnectionResetError(),
    ConnectionRefusedError(),
    BrokenPipeError(),
    OSError(errno.ENETUNREACH, "no network"),
    socket.gaierror(),
    ssl.SSLError(),
    asyncio.IncompleteReadError(b"", 1),
    http.client.RemoteDisconnected(""),
    http.client.IncompleteRead(b""),
    urllib.error.URLError("no route"),
    urllib.error.HTTPError("http://shop.test/", 503, "busy", Message(), None),
    httpx2.ConnectError("x"),
    httpx2.ConnectTimeout("x"),
    httpx2.ReadTimeout("x"),
    httpx2.WriteError("x"),
    httpx2.PoolTimeout("x"),
    httpx2.RemoteProtocolError("x"),
    *(_http(status) for status in (408, 425, 429, 500, 502, 503, 504, 529, 599)),
    asyncpg.SerializationError(),
    asyncpg.DeadlockDetectedError(),
    asyncpg.AdminShutdownError(),
    asyncpg.CrashShutdownError(),
    asyncpg.CannotConnectNowError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.ConnectionDoesNotExistError(),
    asyncpg.ConnectionFailureError(),
    asyncpg.InterfaceError("connection is closed"),
    _twin("httpx.ReadTimeout", "httpx.TransportError"),
    _twin("httpx.TransportError"),
    _twin("requests.exceptions.ConnectionError", "builtins.OSError"),
    _twin("requests.exceptions.ReadTimeout", "requests.exceptions.Timeout"),
    _twin("requests.exceptions.ChunkedEncodingError"),
    _twin("aiohttp.client_exceptions.ServerDisconnectedError", "aiohttp.client_exceptions.ClientConnectionError"),
    _twin("aiohttp.client_exceptions.ClientPayloadError"),
    _twin("aiohttp.client_exceptions.ClientResponseError", status=503),
    _twin("psycopg.OperationalError"),
    _twin("psycopg.errors.SerializationFailure", "psycopg.OperationalError", sqlstate="40001"),
    _twin("psycopg2.OperationalError", pgcode=None),
    _twin("psycopg2.errors.DeadlockDetected", pgcode="40P01"),
    _twin("redis.exceptions.ConnectionError"),
    _twin("redis.exceptions.TimeoutError"),
    _twin("redis.exceptions.BusyLoadingError"),
    _twin("openai.APIConnectionError"),
    _twin("anthropic.APITimeoutError", "anthropic.APIConnectionError"),
    *(Coded(sqlstate=state) for state in ("40001", "40P01", "57P01", "57P02", "57P03", "08006", "08000", "53300")),
    Coded(status_code=503),
    Coded(code=429),
]

LASTING: list[Any] = [
    ValueError(),
    KeyError(),
    AssertionError(),
    RecursionError(),
    MemoryError(),
    FileNotFoundError(),
    FileExistsError(),
    PermissionError(),
    IsADirectoryError(),
    NotADirectoryError(),
    ChildProcessError(),
    ProcessLookupError(),
    subprocess.CalledProcessError(1, "x"),
    urllib.error.HTTPError("http://shop.test/", 404, "no", Message(), None),
    httpx2.InvalidURL("x"),
    httpx2.TooManyRedirects("x"),
    *(_http(status) for status in (400, 401, 403, 404, 409, 410, 422, 426, 451)),
    asyncpg.UniqueViolationError(),
    asyncpg.UndefinedTableError(),
    asyncpg.InvalidPasswordError(),
    asyncpg.QueryCanceledError(),
    _twin("requests.exceptions.HTTPError", "builtins.OSError", status_code=404),
    _twin("aiohttp.client_exceptions.ClientResponseError", status=404),
    _twin("psycopg.errors.UniqueViolation", sqlstate="23505"),
    _twin("psycopg.errors.InvalidPassword", "psycopg.OperationalError", sqlstate="28P01"),
    _twin("redis.exceptions.ResponseError"),
    _twin("mine.TransportError"),
    _twin("mine.httpx.TransportError"),
    Coded(code=True),
    Coded(code=12),
    Coded(sqlstate="23505"),
    SystemExit(503),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
]


def _name(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", "")
    return f"{type(error).__module__}.{type(error).__qualname__}{status}{getattr(error, '__dict__', '') or ''}"[:80]


@promise("call:transient")
@pytest.mark.parametrize("error", PASSING, ids=_name)
def test_it_may_pass(error: BaseException) -> None:
    assert transient(error) is not None


@promise("call:transient")
@pytest.mark.parametrize("error", LASTING, ids=_name)
def test_it_will_not_pass(error: BaseException) -> None:
    assert transient(error) is None


@promise("call:transient")
@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (ConnectionRefusedError(), True),
        (socket.gaierror(), True),
        (httpx2.ConnectError("x"), True),
        (httpx2.ConnectTimeout("x"), False),
        (httpx2.ReadTimeout("x"), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
    ids=_name,
)
def test_only_a_connection_that_was_never_made_is_refused(error: Exception, refused: bool) -> None:
    found = transient(error)
    assert found is not None
    assert found.refused == refused


@promise("call:transient")
@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2.0), ("0.5", 0.5), ("0", 0.0), ("-1", None), ("inf", None), ("nan", None), ("Wed, 21 Oct 2026", None)],
)
def test_a_retry_after_in_seconds_is_read_and_nothing_else(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds
    found = transient(_http(503, **{"Retry-After": text}))
    assert found == Transient("http_503", retry_after=seconds)


@promise("call:transient")
def test_an_exception_with_hostile_properties_is_not_recognised_and_breaks_nothing() -> None:
    class Hostile(Exception):
        @property
        def status_code(self) -> int:
            raise RuntimeError("no")

        @property
        def response(self) -> Any:
            raise RuntimeError("no")

    assert transient(Hostile()) is None

    @tool(effect="read")
    async def hostile() -> None:
        """Raises it."""
        raise Hostile

    rail, _ = rail_of(hostile)
    assert codes(virtually(rail, [call("hostile")])) == ["INTERNAL_ERROR"]


@promise("call:transient")
def test_a_cause_is_found_through_the_whole_chain_and_a_circle_ends() -> None:
    outer, middle = ValueError(), KeyError()
    outer.__cause__ = middle
    middle.__context__ = TimeoutError()
    assert cause_of(outer) == Transient("TimeoutError")
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert cause_of(first) is None
    both = ValueError()
    both.__cause__, both.__context__ = KeyError(), TimeoutError()
    assert cause_of(both) == Transient("TimeoutError")


@promise("call:transient")
def test_a_refused_connection_counts_as_such_only_where_nothing_else_was_tried() -> None:
    outer, refused = ValueError(), httpx2.ConnectError("x")
    outer.__cause__ = refused
    refused.__cause__ = OSError("All connection attempts failed")
    found = cause_of(outer)
    assert found is not None
    assert found.refused
    refused.__cause__.__context__ = httpx2.ReadTimeout("the attempt before")
    assert cause_of(outer) == Transient("ReadTimeout")


@promise("call:transient")
@pytest.mark.parametrize(("error", "attempts"), [(httpx2.ReadTimeout("x"), 3), (_http(503), 3), (_http(404), 1)])
def test_a_read_is_tried_again_only_after_a_failure_that_may_pass(error: Exception, attempts: int) -> None:
    @tool(effect="read")
    async def fetch() -> None:
        """Fetches."""
        raise error

    rail, recorder = rail_of(fetch)
    virtually(rail, [call("fetch")])
    assert settled(recorder)[0].attempts == attempts


@promise("call:transient")
def test_recognising_imports_no_library() -> None:
    code = (
        "import sys; from toolrail.transient import transient; transient(OSError());"
        "bad = {'httpx', 'httpx2', 'requests', 'aiohttp', 'asyncpg', 'psycopg', 'redis', 'ssl'} & set(sys.modules);"
        "sys.exit(repr(bad) if bad - {'ssl'} else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
