"""`toolrail chat MODULE:ATTRIBUTE`: talk to a model that has the tools of a rail (or to an agent) of your own."""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import sys
import time
from dataclasses import replace
from typing import Any, cast

from toolrail.agent import Agent
from toolrail.cli.problem import Problem
from toolrail.cli.repl import HELP, Chat, converse
from toolrail.decisions import Principal
from toolrail.providers.compatible import Compatible
from toolrail.rail import Rail
from toolrail.stores import open_store

VARIABLE = "TOOLRAIL_MODEL"
BASE_URL = "TOOLRAIL_BASE_URL"
API_KEY = "TOOLRAIL_API_KEY"
"""For the server of `TOOLRAIL_BASE_URL` alone: a provider's own key is never sent to another server."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("target", metavar="MODULE:ATTRIBUTE", help="a Rail or an Agent, for example shop.tools:rail")
    parser.add_argument(
        "--model", metavar="SPEC", help=f"for example openai:gpt-4o; default: {VARIABLE} from the environment"
    )
    parser.add_argument(
        "--base-url",
        metavar="URL",
        help=f"a server that speaks Chat Completions, such as Ollama; default: {BASE_URL} from the environment",
    )
    parser.add_argument("--session", metavar="NAME", help="the conversation to go on with; default: a new one")
    parser.add_argument("--store", metavar="URL", help="where it is kept, in place of the rail's own store")
    parser.add_argument(
        "--deps", metavar="MODULE:ATTRIBUTE", help="what handlers get as ctx.deps: a value, or a function that makes it"
    )
    parser.add_argument("--user", metavar="ID", default="anonymous", help="who is logged in (anonymous)")
    parser.add_argument(
        "--may", metavar="PERMISSION", action="append", default=[], help="a permission of that user; may be repeated"
    )
    parser.add_argument("--instructions", metavar="TEXT", help="the system prompt")


def run(options: argparse.Namespace) -> int:
    """Chats until the input ends."""
    agent = _agent(load(options.target), options)
    if options.store:
        agent.rail.ports = replace(agent.rail.ports, store=open_store(options.store))
    deps = _made(options.deps) if options.deps else None
    session = options.session or f"chat-{time.time_ns():x}"
    principal = Principal(options.user, permissions=frozenset(options.may))
    print(f"{agent.model.name} with {len(agent.rail.toolset)} tools of {options.target}, as {principal.id}. {HELP}")
    if agent.rail.ports.store.durable:
        print(f"The session is {session!r}: --session {session} goes on with it.")
    return converse(Chat(agent, session, principal, deps, options.deps or ""))


def load(target: str, mend: str = "Name a Rail or an Agent in it.") -> Any:
    """What `module:attribute` names, looked for from the working directory too.

    Raises:
        Problem: there is no such module or attribute, or the module fails as it is imported.
    """
    module_name, _, path = target.partition(":")
    if not all(module_name.split(".")) or not all(path.split(".")):
        raise Problem(target, "this is no MODULE:ATTRIBUTE.", "Write it as in shop.tools:rail.", usage=True)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        where = "Go to the directory that it is in, or install the package."
        raise Problem(target, f"there is no module {error.name}.", where) from error
    except (Exception, SystemExit) as error:
        raise Problem(target, f"importing it failed: {error!r}.", f"Run python -c 'import {module_name}'.") from error
    for name in path.split("."):
        if not hasattr(found, name):
            raise Problem(target, f"{module_name} has no {name}.", mend)
        found = getattr(found, name)
    return found


def _agent(found: Any, options: argparse.Namespace) -> Agent[Any]:
    if isinstance(found, Agent):
        return found  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(found, Rail):
        kind = type(found).__name__
        raise Problem(options.target, f"this is a {kind}.", "Name a Rail or an Agent.", usage=True)
    model = options.model or os.environ.get(VARIABLE)
    if not model:
        mend = f"Give --model openai:gpt-4o, or set {VARIABLE}."
        raise Problem(options.target, "a rail has no model of its own.", mend, usage=True)
    base_url = options.base_url or os.environ.get(BASE_URL)
    made = Compatible(model, base_url=base_url, api_key=os.environ.get(API_KEY)) if base_url else model
    return Agent(made, cast("Rail[Any]", found), instructions=options.instructions)


def _made(target: str) -> Any:
    found = load(target, "Name a value in it, or a function that makes it.")
    if not callable(found):
        return found
    if inspect.iscoroutinefunction(found):
        mend = "Name a plain function, or one that gives an async context manager."
        raise Problem(target, "this is an async function.", mend, usage=True)
    try:
        return found()
    except Exception as error:
        raise Problem(target, f"it could not be made: {error!r}.", "Name a function without arguments.") from error
