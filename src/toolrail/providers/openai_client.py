"""The way to an OpenAI server through the official SDK: bodies out as bytes, answers in as bytes, failures labelled."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from toolrail.errors import DefinitionError
from toolrail.providers.sse import EventReader
from toolrail.providers.wire import Json, encode, plain

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Via = Literal["post", "create"]
_SDK_TIMEOUT = 600.0
_DRAIN = 1.0
"""Seconds that a finished stream may take to end, so that its connection can be used again."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request: its body as bytes and, where the SDK cannot take those, as data."""

    path: str
    raw: bytes
    fields: Mapping[str, Any]
    """The same without `extra`."""
    extra: Mapping[str, Any]
    timeout: float


class OpenAITransport:
    """An SDK client with its own retries switched off: the user's, or one of ours per event loop.

    Args:
        via: `post` sends ready bytes, which is several times cheaper. `create` goes through the SDK's own method, for
            tracers that patch it.

    Raises:
        DefinitionError: TR403, the SDK is not installed; TR401, the client is not an asynchronous one.
    """

    def __init__(
        self, name: str, client: AsyncOpenAI | None, *, base_url: str | None, api_key: str | None, via: Via = "post"
    ) -> None:
        if find_spec("openai") is None:
            mend = 'pip install "toolrail[openai]"'
            raise DefinitionError("TR403", name, "the package openai is not installed.", mend)
        if client is not None and not inspect.iscoroutinefunction(getattr(client, "post", None)):
            message = f"a {type(client).__name__} is not an asynchronous client."
            raise DefinitionError("TR401", name, message, "Give AsyncOpenAI().")
        self._name = name
        self._given = client
        self._base_url = base_url
        self._api_key = api_key
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: _Ready | None = None
        self.via: Via = via

    def check(self) -> None:
        """Raises what a client cannot be made of.

        Raises:
            DefinitionError: TR404, there is no key.
        """
        if self._ready is None:
            self._ready = _made(self._given or self._new())

    def ready(self) -> _Ready:
        """The client for the running loop: a pool of connections cannot move to another one."""
        loop = asyncio.get_running_loop()
        if self._ready is None or (self._given is None and self._loop not in (None, loop)):
            self._ready = _made(self._given or self._new())
        self._loop = loop
        return self._ready

    def _new(self) -> AsyncOpenAI:
        import openai  # an extra, loaded by those who use it

        pool = openai.DefaultAsyncHttpxClient()  # unlike its own, it does not close itself on a loop of others
        try:
            return openai.AsyncOpenAI(base_url=self._base_url, api_key=self._api_key, max_retries=0, http_client=pool)
        except openai.OpenAIError:
            mend = "Set OPENAI_API_KEY, or give client=."
            raise DefinitionError("TR404", self._name, "there is no key for the API.", mend) from None

    async def close(self) -> None:
        """Closes the client unless it is the user's."""
        ready, self._ready = self._ready, None
        if ready is not None and self._given is None and self._loop in (None, asyncio.get_running_loop()):
            await ready.client.close()

    async def fetch(self, out: Outgoing) -> bytes | Json:
        """One whole response."""
        ready = self.ready()
        async with asyncio.timeout(out.timeout):
            if self.via == "create":
                return plain(await _create(ready.client, out, stream=False))
            response = await ready.post(out, stream=False)
            return response.content

    async def events(self, out: Outgoing) -> AsyncGenerator[bytes | Json]:
        """The data of each event as it comes. A server that does not stream gives its whole body as a single one."""
        ready = self.ready()
        deadline = asyncio.get_running_loop().time() + out.timeout
        pieces = _created(ready.client, out) if self.via == "create" else _posted(ready, out)
        async with aclosing(pieces):
            while True:
                async with asyncio.timeout_at(deadline):
                    try:
                        piece = await anext(pieces)
                    except StopAsyncIteration:
                        return
                for event in piece:
                    yield event


@dataclass(frozen=True, slots=True)
class _Ready:
    """A client with what was found out about its SDK."""

    client: AsyncOpenAI
    response: Any
    """The class of HTTP responses: which library it comes from changed with openai 3."""
    takes_bytes: bool
    """Older SDKs take no bytes, and Azure finds its deployment in the body."""

    async def post(self, out: Outgoing, *, stream: bool) -> Any:
        content: Any = {"content": out.raw} if self.takes_bytes else {"body": {**out.fields, **out.extra}}
        if out.timeout > _SDK_TIMEOUT:
            content["options"] = {"timeout": out.timeout}
        return await self.client.post(out.path, cast_to=self.response, stream=stream, **content)


def _made(client: AsyncOpenAI) -> _Ready:
    import openai  # an extra, loaded by those who use it

    library, _, name = str(openai.APIStatusError.__annotations__["response"]).rpartition(".")
    response = getattr(importlib.import_module(library), name)
    takes_bytes = "content" in inspect.signature(client.post).parameters
    azure = isinstance(client, openai.AsyncAzureOpenAI)
    return _Ready(client.with_options(max_retries=0), response, takes_bytes and not azure)


async def _posted(ready: _Ready, out: Outgoing) -> AsyncGenerator[list[bytes]]:
    response = await ready.post(out, stream=True)
    try:
        if "event-stream" not in response.headers.get("content-type", ""):
            yield [await response.aread()]
            return
        reader = EventReader()
        pieces: AsyncIterator[bytes] = response.aiter_bytes()
        async for piece in pieces:
            events = reader.feed(piece)
            if b"[DONE]" in events:
                yield events[: events.index(b"[DONE]")]
                await _drain(pieces)
                return
            if events:
                yield events
    finally:
        await response.aclose()


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    """A stream read to its end leaves its connection to the next request. One that never ends is closed."""
    try:
        async with asyncio.timeout(_DRAIN):
            async for _ in pieces:
                pass
    except Exception:  # the response is whole: nothing that comes now matters
        return


async def _create(client: AsyncOpenAI, out: Outgoing, *, stream: bool) -> Any:
    resource: Any = client.chat.completions if out.path == "/chat/completions" else client.responses
    fields = {key: value for key, value in out.fields.items() if key != "stream"}
    return await resource.create(**fields, stream=stream, extra_body=dict(out.extra) or None)


async def _created(client: AsyncOpenAI, out: Outgoing) -> AsyncGenerator[list[Json]]:
    stream = await _create(client, out, stream=True)
    try:
        async for chunk in stream:
            yield [plain(chunk)]
    finally:
        await stream.close()


def body_of(fixed: Mapping[str, bytes], messages: Mapping[str, bytes], turn: Mapping[str, Any]) -> bytes:
    """A request's body: what never changes in front, so that prompt caches stay warm; what may change at the end."""
    parts = [b'"%b":%b' % (name.encode(), value) for name, value in (*fixed.items(), *messages.items())]
    parts += [b'"%b":%b' % (name.encode(), encode(value)) for name, value in turn.items()]
    return b"{" + b",".join(parts) + b"}"
