"""A docstring as description and parameter texts: Google, NumPy and Sphinx style."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_GOOGLE = re.compile(r"^(?:Args|Arguments|Params|Parameters|Keyword Args|Keyword Arguments):[ \t]*$", re.MULTILINE)
_NUMPY = re.compile(r"^(?:Other )?Parameters[ \t]*\n-{3,}[ \t]*$", re.MULTILINE)
_SPHINX = re.compile(r"^:(?:param|parameter|arg|argument|key|keyword|type)\b[^:\n]*:", re.MULTILINE)
_NUMPY_HEAD = re.compile(r"^\S.*\n-{3,}[ \t]*$", re.MULTILINE)


def describe(fn: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The docstring of a function or class without its parameter section, and each parameter's text.

    Example: a function whose docstring has `Args:` with `city: Where.` gives `("Weather now.", {"city": "Where."})`.
    """
    own = fn.__dict__.get("__doc__") if isinstance(fn, type) else getattr(fn, "__doc__", None)
    if not isinstance(own, str):
        return "", {}
    text = inspect.cleandoc(own)
    if _GOOGLE.search(text):
        return _without_google(text), _parameters(text, "google")
    if _NUMPY.search(text):
        return _without_numpy(text), _parameters(text, "numpy")
    if _SPHINX.search(text):
        return _without_sphinx(text), _parameters(text, "sphinx")
    return text.strip(), {}


def _parameters(text: str, style: Any) -> dict[str, str]:
    import griffe  # only for docstrings that have a parameter section

    found: dict[str, str] = {}
    options: dict[str, Any] = {"warnings": False}
    for section in griffe.Docstring(text).parse(style, **options):
        if section.kind.value in ("parameters", "other parameters"):
            for parameter in section.value:
                name = str(parameter.name).lstrip("*")
                found[name] = " ".join(str(parameter.description).split())
    return {name: described for name, described in found.items() if described}


def _without_google(text: str) -> str:
    """A section ends at the next line that is not indented."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if _GOOGLE.match(line):
            inside = True
        elif inside and line.strip() and not line[0].isspace():
            inside = False
        if not inside:
            kept.append(line)
    return _tidy(kept)


def _without_numpy(text: str) -> str:
    """A section ends at the next underlined heading."""
    while section := _NUMPY.search(text):
        following = _NUMPY_HEAD.search(text, section.end())
        text = text[: section.start()] + (text[following.start() :] if following else "")
    return _tidy(text.splitlines())


def _without_sphinx(text: str) -> str:
    """A field ends at the next line that is not indented."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if _SPHINX.match(line):
            inside = True
        elif inside and not (line[:1].isspace() and line.strip()):
            inside = False
        if not inside:
            kept.append(line)
    return _tidy(kept)


def _tidy(lines: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
