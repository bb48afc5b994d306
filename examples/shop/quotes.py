"""A small shipping service over HTTP: sometimes slow, sometimes busy, always in the same order.

What a request meets is decided by its number, never by chance, so a demo and a test see the same every time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socketserver import TCPServer
from threading import Event, Thread
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Behaviour = Literal["price", "slow", "busy"]
DEFAULT_CYCLE: tuple[Behaviour, ...] = ("price", "busy", "price", "slow", "price")

COUNTRIES = {"AT": 3, "BE": 2, "CH": 4, "CZ": 3, "DE": 1, "DK": 2, "ES": 4, "FR": 3, "GB": 5, "IT": 4, "NL": 2, "PL": 3}
"""Where the service delivers, and in how many days."""

MAX_GRAMS = 1_000_000


class QuoteService:
    """The service, on a loopback port that the system picks, in a daemon thread.

    It answers `GET /quote?grams=1200&country=DE` with `{"price_cents": ..., "days": ...}`, or with 503 and Retry-After
    (whole seconds) where the cycle says busy; a slow answer comes after `slow_seconds`.

        service = QuoteService(cycle=("price",))
        ...
        service.close()
    """

    def __init__(
        self, *, cycle: Sequence[Behaviour] = DEFAULT_CYCLE, slow_seconds: float = 0.3, retry_after: int = 1
    ) -> None:
        self._server = _Server(tuple(cycle), slow_seconds, retry_after)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stops it; a slow answer under way is let go at once."""
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, cycle: tuple[Behaviour, ...], slow_seconds: float, retry_after: int) -> None:
        self.cycle = cycle
        self.slow_seconds = slow_seconds
        self.retry_after = retry_after
        self.numbers = count()
        self.closing = Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look up the host's name here, which takes seconds where the name service does not answer.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def next_behaviour(self) -> Behaviour:
        """What the next request meets; `next` on a count is atomic."""
        return self.cycle[next(self.numbers) % len(self.cycle)]


class _Handler(BaseHTTPRequestHandler):
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # the only server it is used with
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answers one request."""
        match self.server.next_behaviour():
            case "busy":
                self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "busy"}, retry_after=self.server.retry_after)
            case "slow":
                self.server.closing.wait(self.server.slow_seconds)
                self._quote()
            case "price":
                self._quote()

    def _quote(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        grams, country = query.get("grams", ""), query.get("country", "")
        if parts.path != "/quote":
            self._answer(HTTPStatus.NOT_FOUND, {"error": "there is only /quote"})
        elif not (grams.isascii() and grams.isdigit() and len(grams) <= 7 and 0 < int(grams) <= MAX_GRAMS):
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": f"grams must be 1 to {MAX_GRAMS}"})
        elif country not in COUNTRIES:
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": "no delivery to this country"})
        else:
            self._answer(HTTPStatus.OK, {"price_cents": price_cents(int(grams), country), "days": COUNTRIES[country]})

    def _answer(self, status: HTTPStatus, body: dict[str, object], *, retry_after: int | None = None) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the terminal belongs to the demo."""


def price_cents(grams: int, country: str) -> int:
    """The price of a parcel: a base price, and for every begun kilogram more the farther it goes."""
    kilograms = -(-grams // 1000)
    return 390 + kilograms * (40 + 15 * COUNTRIES[country])
