"""What the documents show runs: their Python blocks in order, in an empty directory, against a scripted model."""

from __future__ import annotations

import ast
import asyncio
import re
import shlex
import sys
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from inspect import CO_COROUTINE
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from openai import AsyncOpenAI

from tests.fakes.model_server import Call, ModelServer, Say, Turn
from toolrail import Agent, Principal, Rail
from toolrail.cli import main

HERE = Path(__file__).parent.parent
DOCUMENTS = sorted([*HERE.glob("*.md"), *HERE.glob("docs/*.md")])
_BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
_MAKE = re.compile(r"(?:`|^)make ([a-z-]+)", re.MULTILINE)

SCRIPTS: Mapping[str, list[Turn]] = {
    "README.md": [
        Call("get_order_status", '{"order_id": "ORD-1"}'),
        Say("It is on its way."),
        Call("find_invoice", '{"customer": "ACME"}'),
        Call("pay", '{"invoice": "A1", "amount": "42.00"}'),
        Say("It is paid."),
    ],
    "approvals.md": [
        Call("pay", '{"invoice": "A1", "amount": "1500"}'),
        Say("It is paid, with 1200."),
        Call("pay_by_transfer", '{"invoice": "A2"}'),
        Say("It is paid."),
    ],
    "limits.md": [Call("stock_of", '{"product": "lamp"}'), Say("There are many.")],
    "opentelemetry.md": [Call("stock_of", '{"product": "lamp"}'), Say("There are three.")],
}
"""What the model says in a document that asks one."""


class Shop:
    """What a reader of the README has: the systems behind the tools."""

    def __init__(self) -> None:
        self.invoices = self.bank = self

    async def open_for(self, customer: str) -> str:
        return f"A1 of {customer}"

    async def pay(self, invoice: str, amount: Decimal, *, key: str) -> str:
        return f"{invoice} is paid: {amount}"


def _at_hand(client: AsyncOpenAI) -> dict[str, Any]:
    """The names that the README takes for granted."""
    arguments = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    return {
        "TOOLS": [{"type": "function", "function": {"name": "get_order_status", "parameters": arguments}}],
        "TOOL_HANDLERS": {"get_order_status": lambda order_id: f"{order_id} is shipped"},  # pyright: ignore[reportUnknownLambdaType]
        "client": client,
        "messages": [{"role": "user", "content": "Where is ORD-1?"}],
        "user": Principal("alice", frozenset({"invoices:pay"})),
        "shop": Shop(),
        "Shop": Shop,
        "Invoice": str,
    }


async def _play(path: Path, text: str, *, names: dict[str, Any], base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="none") as client:
        names |= _at_hand(client)
        for found in _BLOCK.finditer(text):
            if found[1] == "python":
                lines = "\n" * text.count("\n", 0, found.start(2))  # so that a failure names the document's line
                code = compile(lines + found[2], str(path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
                ran = eval(code, names)
                if code.co_flags & CO_COROUTINE:
                    await cast("Coroutine[Any, Any, None]", ran)
        for made in list(names.values()):
            await _close(made)


async def _close(made: object) -> None:
    if isinstance(made, Agent):
        await cast("Any", made.model).close()
    if isinstance(made, Rail):
        async with cast("Rail[Any]", made):
            pass


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_of_a_document_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("document")
    monkeypatch.setitem(sys.modules, "document", module)
    monkeypatch.chdir(tmp_path)
    with ModelServer(SCRIPTS.get(path.name, [])) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        text = path.read_text(encoding="utf-8")
        asyncio.run(_play(path, text, names=vars(module), base_url=server.openai_url))
    assert len(server.requests) == len(SCRIPTS.get(path.name, []))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_a_document_is_one(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [line for found in _BLOCK.finditer(text) if found[1] == "sh" for line in found[2].splitlines()]
    for line in lines:
        assert main([*shlex.split(line)[1:], "--store", str(tmp_path / "none.db")]) == 1, line
        assert "none.db" in capsys.readouterr().err, line
    makefile = (HERE / "Makefile").read_text(encoding="utf-8")
    asked = _MAKE.findall(text)
    assert [name for name in asked if f"\n{name}:" not in makefile] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(path: Path) -> None:
    links = _LINK.findall(path.read_text(encoding="utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []
