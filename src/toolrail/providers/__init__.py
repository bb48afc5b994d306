"""Models by name, and one file for each provider's wire form. A provider is imported when a model of it is made."""

from __future__ import annotations

import importlib
from typing import Any

from toolrail.errors import DefinitionError
from toolrail.model import Model

_COMPATIBLE = ("toolrail.providers.compatible", "Compatible")
PROVIDERS: dict[str, tuple[str, str]] = {
    "openai": ("toolrail.providers.openai_chat", "OpenAIChat"),
    "openai-responses": ("toolrail.providers.openai_responses", "OpenAIResponses"),
    "anthropic": ("toolrail.providers.anthropic_client", "AnthropicMessages"),
    "ollama": _COMPATIBLE,
    "vllm": _COMPATIBLE,
    "llama.cpp": _COMPATIBLE,
}
"""Where the class of each provider is. Local servers are taken to listen where they do by default."""
_TAKERS = {
    "openai": 'OpenAIChat("gpt-4o", client=...)',
    "anthropic": 'AnthropicMessages("claude-sonnet-4-5", client=...)',
}
"""By an SDK's package, the model that takes its client."""


def model_for(spec: str | Model) -> Model:
    """The model that a spec names: `openai:gpt-4o`, `openai-responses:gpt-5`, `anthropic:claude-sonnet-4-5`,
    `ollama:qwen3:8b`. A `Model` comes back as it is.

    Raises:
        DefinitionError: TR406, the spec names no provider; TR407, it is neither text nor model, an SDK's client mostly;
            TR403, its SDK is not installed.
    """
    if not isinstance(spec, str):
        return _model(spec)
    provider, _, name = spec.partition(":")
    if not name or provider not in PROVIDERS:
        raise DefinitionError(
            "TR406",
            f"model={spec!r}",
            "it names no provider and model.",
            f'Write "PROVIDER:MODEL" with one of {", ".join(PROVIDERS)}; for other servers give a '
            "Compatible(model, base_url=...).",
        )
    module, made = PROVIDERS[provider]
    make: Any = getattr(importlib.import_module(module), made)
    return make(name, server=provider) if PROVIDERS[provider] is _COMPATIBLE else make(name)


def _model(given: Any) -> Model:
    """Callers without a type checker hand in anything. A client's repr may show its key, so only its class is named."""
    if not isinstance(given, type) and callable(getattr(given, "open", None)):
        return given
    kind: Any = given if isinstance(given, type) else type(given)
    where = f"model={kind.__name__}"
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    taker = next((_TAKERS[package] for package in packages if package in _TAKERS), None)
    if taker is not None:
        raise DefinitionError("TR407", where, "it is an SDK's client, not a model.", f"Write {taker}.")
    raise DefinitionError(
        "TR407", where, "it is not a model.", 'Give "PROVIDER:MODEL", or an instance such as OpenAIChat("gpt-4o").'
    )
