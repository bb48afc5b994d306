"""A spec becomes a model; the SDKs are loaded only by those who use them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from tests.promises import promise
from toolrail import DefinitionError
from toolrail.providers import model_for
from toolrail.providers.openai_chat import OpenAIChat


@promise("loop:providers")
@pytest.mark.parametrize(
    "spec",
    [
        "openai:gpt-4o",
        "openai-responses:gpt-5",
        "anthropic:claude-sonnet-4-5",
        "ollama:qwen3:8b",
        "vllm:Qwen/Qwen3-8B",
        "llama.cpp:any",
    ],
)
def test_a_spec_names_a_provider_and_a_model(spec: str) -> None:
    assert model_for(spec).name == spec


def test_a_model_comes_back_as_it_is() -> None:
    model = OpenAIChat("gpt-4o")
    assert model_for(model) is model


@promise("tool:errors")
@pytest.mark.parametrize("spec", ["gpt-4o", "openai:", "gemini:pro", ""])
def test_a_wrong_spec_is_told_what_to_write(spec: str) -> None:
    with pytest.raises(DefinitionError) as error:
        model_for(spec)
    assert str(error.value) == (
        f"TR406 model={spec!r}: it names no provider and model. "
        'Mend: Write "PROVIDER:MODEL" with one of openai, openai-responses, anthropic, ollama, vllm, llama.cpp; '
        "for other servers give a Compatible(model, base_url=...)."
    )


OPENAI = 'it is an SDK\'s client, not a model. Mend: Write OpenAIChat("gpt-4o", client=...).'
ANTHROPIC = 'it is an SDK\'s client, not a model. Mend: Write AnthropicMessages("claude-sonnet-4-5", client=...).'
NEITHER = 'it is not a model. Mend: Give "PROVIDER:MODEL", or an instance such as OpenAIChat("gpt-4o").'


class OwnClient(AsyncOpenAI):
    """A client of the application's own."""


@promise("tool:errors")
@pytest.mark.parametrize(
    ("given", "name", "told"),
    [
        (AsyncOpenAI(api_key="secret"), "AsyncOpenAI", OPENAI),
        (OpenAI(api_key="secret"), "OpenAI", OPENAI),
        (OwnClient(api_key="secret"), "OwnClient", OPENAI),
        (AsyncOpenAI, "AsyncOpenAI", OPENAI),
        (AsyncAnthropic(api_key="secret"), "AsyncAnthropic", ANTHROPIC),
        (OpenAIChat, "OpenAIChat", NEITHER),
        (None, "NoneType", NEITHER),
    ],
)
def test_what_is_no_model_is_told_what_to_write_and_a_client_its_model(given: Any, name: str, told: str) -> None:
    with pytest.raises(DefinitionError) as error:
        model_for(given)
    assert str(error.value) == f"TR407 model={name}: {told}"


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() or done.stderr


def test_no_sdk_is_loaded_before_a_conversation_is_opened() -> None:
    code = "import sys; from toolrail.providers import model_for; model_for('openai:gpt-4o'); "
    assert run_python(code + "print({'openai', 'anthropic', 'httpx2', 'httpx'} & sys.modules.keys())") == "set()"


@promise("tool:errors")
def test_a_missing_sdk_is_named_with_its_extra() -> None:
    code = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "openai" else find(name, *rest)
from toolrail import DefinitionError
from toolrail.providers import model_for
try:
    model_for("openai:gpt-4o")
except DefinitionError as error:
    print(error)
"""
    assert run_python(code) == (
        'TR403 openai:gpt-4o: the package openai is not installed. Mend: pip install "toolrail[openai]"'
    )


@promise("tool:errors")
def test_a_client_that_is_not_asynchronous_is_refused() -> None:
    client: Any = OpenAI(api_key="test")
    with pytest.raises(DefinitionError, match=r"TR401 openai:gpt-4o: a OpenAI is not an asynchronous client\."):
        OpenAIChat("gpt-4o", client)
