"""The chat: a line in, a turn of the agent out, in one session, until the end of the input.

Reading stands outside the event loop, so that Ctrl-C at the prompt and Ctrl-C in mid-turn both do what one expects.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from toolrail.agent import Agent, AgentResult
from toolrail.cli.asking import TerminalApprover, on_the_loop
from toolrail.cli.lines import Paint, cut, row
from toolrail.cli.problem import Problem
from toolrail.cli.talking import Figures, Teller
from toolrail.decisions import ANONYMOUS, Principal
from toolrail.store import LoadSession, ask
from toolrail.stores.failures import StoreError

HELP = "/tools lists the tools, /quit or Ctrl-D leaves, Ctrl-C stops an answer."


@dataclass(frozen=True, slots=True)
class Chat:
    """Who talks to which agent, in which session."""

    agent: Agent[Any]
    session: str
    principal: Principal = ANONYMOUS
    deps: Any = None
    """What handlers get, or an async context manager that gives it."""
    deps_named: str = ""
    """What the command line calls them."""


def prepare(agent: Agent[Any]) -> Figures:
    """Lets a chat see the calls' figures, and the person who chats approve calls where the rail asks nobody else."""
    figures = Figures()
    ports = agent.rail.ports
    approver = ports.approver or on_the_loop(TerminalApprover())
    agent.rail.ports = replace(ports, sinks=(*ports.sinks, figures), approver=approver)
    return figures


def converse(chat: Chat, *, read: Callable[[str], str] = input) -> int:
    """Chats until the input ends. Returns the exit code: 1 if the last turn failed for want of a model.

    Raises:
        Problem: the store cannot be used, or what handlers get cannot be opened.
        RunError: the session belongs to someone else, or is held by another run.
    """
    _quiet_log()
    with suppress(ImportError):
        importlib.import_module("readline")  # gives `input` its history and editing, where the system has it
    figures = prepare(chat.agent)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            opened = replace(chat, deps=runner.run(_enter(stack, chat)))
            return _loop(opened, runner, figures, read)
        finally:
            runner.run(stack.aclose())


async def _enter(stack: AsyncExitStack, chat: Chat) -> Any:
    deps = chat.deps
    if isinstance(deps, AbstractAsyncContextManager):
        deps = await _deps(stack, chat)
    await stack.enter_async_context(chat.agent.rail)
    with _store_problems():  # before anybody has typed anything
        await ask(chat.agent.rail.ports.store, LoadSession(chat.principal.tenant, chat.session))
    return deps  # pyright: ignore[reportUnknownVariableType]


async def _deps(stack: AsyncExitStack, chat: Chat) -> Any:
    try:
        return await stack.enter_async_context(chat.deps)
    except Exception as error:
        where = f"--deps {chat.deps_named}"
        raise Problem(where, f"it could not be opened: {error!r}.", "See that what it opens is there.") from error


@contextmanager
def _store_problems() -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise Problem(error.path, error.message, error.mend) from error


def _loop(chat: Chat, runner: asyncio.Runner, figures: Figures, read: Callable[[str], str]) -> int:
    code, prompt = 0, "\nyou> " if sys.stdin.isatty() else ""
    while True:
        try:
            line = read(prompt).strip()
        except EOFError:
            return code
        except KeyboardInterrupt:
            print(f"\n{HELP}")
            continue
        match line:
            case "":
                continue
            case "/quit" | "/exit":
                return code
            case "/tools":
                _list_tools(chat)
            case _ if line.startswith("/"):
                print(HELP)
            case _:
                code = _turn(chat, line, runner, figures)


def _turn(chat: Chat, line: str, runner: asyncio.Runner, figures: Figures) -> int:
    teller = Teller(figures)
    try:
        with _store_problems():
            result = runner.run(_stream(chat, line, teller))
    except KeyboardInterrupt:
        print(Paint()("\n  (stopped; what was done so far is kept)", "yellow"))
        return 0
    teller.close(result)
    return 1 if result.stop_reason == "model_unavailable" else 0


async def _stream(chat: Chat, line: str, teller: Teller) -> AgentResult:
    stream = chat.agent.stream(line, principal=chat.principal, deps=chat.deps, session=chat.session)
    async with stream:
        async for event in stream:
            teller.show(event)
    return stream.result


def _list_tools(chat: Chat) -> None:
    offered, _ = chat.agent.rail.toolset.offer(chat.principal.permissions)
    for tool in offered.values():
        sentence = tool.description.partition(". ")[0].splitlines() or [""]
        print(row((f"  {tool.name}", tool.effect.kind, cut(sentence[0], 80)), (24, 10, 0)))


def _quiet_log() -> None:
    """The chat says itself what the log would say a second time, unless someone has asked for the log."""
    log = logging.getLogger("toolrail")
    if not log.hasHandlers():
        log.addHandler(logging.NullHandler())
