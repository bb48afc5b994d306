"""The way to Anthropic's API through the official SDK: bodies out as bytes, answers in as data."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

from toolrail.errors import DefinitionError
from toolrail.providers.anthropic_codec import read_body
from toolrail.providers.wire import Json, decode, is_json_object, plain

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

Via = Literal["post", "create"]
_PATH = "/v1/messages"


class Sender(Protocol):
    """One way through the SDK."""

    async def send(self, body: bytes, timeout: float) -> Json: ...

    def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]: ...


class AnthropicTransport:
    """A client with its own retries switched off, made once: the user's, or one of ours for each event loop."""

    __slots__ = ("_client", "_given", "_loop", "_name", "_sender", "_via")

    def __init__(self, name: str, client: Any, via: Via) -> None:
        if find_spec("anthropic") is None:
            mend = 'pip install "toolrail[anthropic]"'
            raise DefinitionError("TR403", name, "the package anthropic is not installed.", mend)
        if client is not None and not inspect.iscoroutinefunction(getattr(client, "post", None)):
            message = f"a {type(client).__name__} is not an asynchronous client."
            raise DefinitionError("TR401", name, message, "Give AsyncAnthropic().")
        self._name = name
        self._given = client
        self._client: Any = None
        self._via = via
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sender: Sender | None = None

    def check(self) -> None:
        """Makes the client.

        Raises:
            DefinitionError: TR404, there is no key.
        """
        if self._sender is None:
            self._sender = self._made()

    async def sender(self) -> Sender:
        """The client for the running loop: a pool of connections cannot move to another one."""
        loop, before, lost = asyncio.get_running_loop(), self._loop, None
        self._loop = loop
        if self._sender is None or (self._given is None and before not in (None, loop)):
            lost, self._sender = self._client, self._made()
        sender = self._sender
        if lost is not None and before is not None and before.is_closed():
            with suppress(Exception):  # its connections went with their loop; this only keeps the SDK from complaining
                await lost.close()
        return sender

    async def close(self) -> None:
        client, self._client, self._sender = self._client, None, None
        if client is not None:
            await client.close()

    def _made(self) -> Sender:
        given = self._given
        if given is None:
            given = self._client = self._new()
        # The clouds' clients read model and path from the body, so they need it as an object.
        direct = any(cls.__name__ == "AsyncAnthropic" for cls in type(given).__mro__)
        return _Post(given) if direct and self._via == "post" else _Create(given.with_options(max_retries=0))

    def _new(self) -> AsyncAnthropic:
        from anthropic import AsyncAnthropic as Client  # an extra, loaded by those who use it

        client = Client(max_retries=0)
        if not any(getattr(client, name, None) for name in ("api_key", "auth_token", "credentials")):
            mend = "Set ANTHROPIC_API_KEY, or give client=."
            raise DefinitionError("TR404", self._name, "there is no key for the API.", mend)
        return client


class _Post:
    """Ready bytes through the SDK's `post`: its authentication, headers and hooks stay."""

    __slots__ = ("_client",)

    def __init__(self, client: AsyncAnthropic) -> None:
        self._client = client

    async def send(self, body: bytes, timeout: float) -> Json:
        return read_body(
            await self._client.post(_PATH, content=body, cast_to=bytes, options={"timeout": timeout, "max_retries": 0})
        )

    async def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]:
        from anthropic import AsyncStream  # loaded by the client already

        stream = await self._client.post(
            _PATH,
            content=body,
            cast_to=object,
            options={"timeout": timeout, "max_retries": 0},
            stream=True,
            stream_cls=AsyncStream[object],
        )
        try:
            async for event in stream:
                if is_json_object(event):
                    yield event
        finally:
            await stream.close()


class _Create:
    """The SDK's `messages.create`. What the body has and `create` does not know goes as `extra_body`."""

    __slots__ = ("_create", "_known")

    def __init__(self, client: Any) -> None:
        self._create: Any = client.messages.create
        self._known = frozenset(inspect.signature(self._create).parameters)

    async def send(self, body: bytes, timeout: float) -> Json:
        return plain(await self._call(body, timeout))

    async def events(self, body: bytes, timeout: float) -> AsyncGenerator[Json, None]:
        stream = await self._call(body, timeout)
        try:
            async for event in stream:
                yield plain(event)
        finally:
            await stream.close()

    async def _call(self, body: bytes, timeout: float) -> Any:
        fields = decode(body)
        known = {name: value for name, value in fields.items() if name in self._known}
        rest = {name: value for name, value in fields.items() if name not in self._known}
        return await self._create(**known, extra_body=rest or None, timeout=timeout)
