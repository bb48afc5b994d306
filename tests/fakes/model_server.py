"""A scripted model behind real HTTP on loopback: OpenAI Chat Completions, OpenAI Responses and Anthropic Messages.

    with ModelServer([Call("add", '{"a": 1}'), Fault("429", retry_after=1), Say("It is 1.")]) as server:
        client = AsyncOpenAI(base_url=server.openai_url, api_key="test", max_retries=0)

Each request takes the next turn of the script, rendered in the form of the endpoint that was asked. A request that the
provider would refuse (a call without its result) is refused in the provider's words and takes no turn. As a process of
its own, for benchmarks: `python -m tests.fakes.model_server --port 0 --script chain:10` prints its port.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from types import TracebackType
from typing import Self

from tests.fakes import chat, messages, responses
from tests.fakes.loopback import Broken, Exchange, Loopback, Response, Whole
from tests.fakes.render import render
from tests.fakes.script import (
    Api,
    Call,
    Endless,
    Fault,
    FaultKind,
    Recorded,
    Reply,
    Say,
    Script,
    Think,
    Tokens,
    Turn,
)
from tests.fakes.scripts import named
from tests.fakes.wire import Rejection, Wire, encode

__all__ = [
    "Api",
    "Call",
    "Endless",
    "Fault",
    "FaultKind",
    "ModelServer",
    "Recorded",
    "Reply",
    "Say",
    "Script",
    "Think",
    "Tokens",
    "Turn",
]

WIRES: dict[Api, Wire] = {"chat": chat.WIRE, "responses": responses.WIRE, "anthropic": messages.WIRE}
ENDPOINTS: tuple[tuple[str, Api], ...] = (
    ("/chat/completions", "chat"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
)
EXHAUSTED = Rejection("The script of the model server has no further turn.", code="script_exhausted")


class ModelServer:
    """The server in a thread of its own; a context manager. What a script function raises, its end raises again.

    Args:
        script: turns in order, or a function from the request to its turn (also as one of the turns).
        piece: characters in one delta of a stream.
        write_size: bytes in one HTTP chunk of a stream; None = one event each.
        check: refuse what the provider would refuse.
        record: keep the requests.
    """

    def __init__(
        self,
        script: Script,
        *,
        piece: int = 8,
        write_size: int | None = None,
        check: bool = True,
        record: bool = True,
    ) -> None:
        self.requests: list[Recorded] = []
        self.rejections: list[str] = []
        self.errors: list[Exception] = []
        self._script: Script = script if callable(script) else list(script)
        self._piece, self._check, self._record = piece, check, record
        self._next = self._number = 0
        self._dead = False
        self._loopback = Loopback(self._answer_or_note, write_size)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def openai_url(self) -> str:
        """The `base_url` of an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The `base_url` of an Anthropic client."""
        return self.url

    @property
    def connections(self) -> int:
        """How many connections were opened."""
        return self._loopback.connections

    @property
    def left_over(self) -> int:
        """How many turns of the script nobody asked for; an `Endless` is never used up."""
        return 0 if callable(self._script) else len(self._script) - self._next

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model-server", daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(0), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        if self.errors and error is None:
            raise self.errors[0]

    def serve_here(self, port: int) -> None:
        """Serves in the calling thread until the process ends, printing the port first."""

        async def main() -> None:
            await self._start(port)
            print(self.port, flush=True)
            await self._server.serve_forever()

        asyncio.run(main())

    async def _start(self, port: int) -> None:
        self._server = await self._loopback.serve(port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._loopback.close()

    def _answer_or_note(self, exchange: Exchange) -> Response:
        """Nothing that a script or a check raises may look like a fault of the network."""
        try:
            return self._answer(exchange)
        except Exception as error:
            self.errors.append(error)
            return Whole(400, encode({"error": {"message": f"The model server failed: {error!r}"}}))

    def _answer(self, exchange: Exchange) -> Response:
        api = _api_of(exchange.path)
        if api is None:
            return Whole(404, b'{"error": {"message": "Unknown endpoint", "type": "invalid_request_error"}}')
        self._number += 1
        request = _recorded(exchange, self._number, api)
        if self._record:
            self.requests.append(request)
        if self._dead:
            return Broken("reset")
        wire = WIRES[api]
        rejection = wire.check(request.body) if self._check else None
        if rejection is not None:
            self.rejections.append(rejection.message)
            return Whole(400, wire.rejected(rejection))
        turn = self._take(request)
        self._dead = isinstance(turn, Fault) and turn.kind == "dead"
        return Whole(400, wire.rejected(EXHAUSTED)) if turn is None else render(turn, request, wire, self._piece)

    def _take(self, request: Recorded) -> Turn | None:
        if callable(self._script):
            return self._script(request)
        if self._next >= len(self._script):
            return None
        turn = self._script[self._next]
        if callable(turn):
            turn = turn(request)
        if not isinstance(turn, Endless):
            self._next += 1
        return turn


def _api_of(path: str) -> Api | None:
    plain = path.partition("?")[0]
    for end, api in ENDPOINTS:
        if plain.endswith(end):
            return api
    return None


def _recorded(exchange: Exchange, number: int, api: Api) -> Recorded:
    return Recorded(
        number=number,
        api=api,
        path=exchange.path,
        headers=exchange.headers,
        raw=exchange.raw,
        connection=exchange.connection,
        left=exchange.left,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="A scripted model on loopback; prints its port.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--script", required=True, help="chain:N or parallel:N")
    parser.add_argument("--check", action="store_true", help="refuse what the provider would refuse")
    given = parser.parse_args()
    ModelServer(named(given.script), check=given.check, record=False).serve_here(given.port)


if __name__ == "__main__":
    main()
