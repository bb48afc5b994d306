"""The installation: Python, packages and their versions, extras, and what the log shows."""

from __future__ import annotations

import logging
import platform
import re
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from toolrail.cli.checks.finding import Finding
from toolrail.cli.screen import BLOCKS, shows

_PYTHON = (3, 11)
_SQLITE = (3, 35)
"""Knows `RETURNING` and upserts as the store writes them."""
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*])?(?P<bounds>[^;]*)(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_BOUND = re.compile(r"(>=|<=|<|>|==|!=)\s*([0-9][0-9.]*)")


def checks_of_installation() -> Iterator[Finding]:
    """Each line about this Python."""
    yield _python()
    yield from _packages()
    yield _sqlite()
    yield _log()
    if not shows(BLOCKS):
        mend = "Set PYTHONIOENCODING=utf-8, or a UTF-8 locale; without it spark lines are drawn in ASCII."
        yield Finding("warn", "terminal", f"its encoding is {sys.stdout.encoding}", mend)


def _python() -> Finding:
    text = f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"
    if sys.version_info < _PYTHON:
        return Finding("fail", "python", text, "Use Python 3.11 or later.")
    return Finding("ok", "python", text)


def _packages() -> Iterator[Finding]:
    try:
        yield Finding("ok", "toolrail", version("toolrail"))
        needed = requires("toolrail") or []
    except PackageNotFoundError:
        yield Finding("warn", "toolrail", "it runs from its source, and is not installed", "pip install toolrail")
        return
    extras: dict[str, list[str]] = {}
    for text in needed:
        found = _REQUIREMENT.fullmatch(text.strip())
        if found is None:
            continue
        extra = _EXTRA.search(found["marker"] or "")
        if extra is not None:
            extras.setdefault(extra[1], []).append(text)
        else:
            yield _package(found["name"], found["bounds"])
    for name, texts in sorted(extras.items()):
        yield _extra(name, texts)


def _package(name: str, bounds: str) -> Finding:
    try:
        have = version(name)
    except PackageNotFoundError:
        return Finding("fail", name, "it is not installed", f'pip install "{name}{bounds.strip()}"')
    if not fits(have, bounds):
        return Finding(
            "fail", name, f"{have}; toolrail needs {bounds.strip()}", f'pip install "{name}{bounds.strip()}"'
        )
    return Finding("ok", name, have)


def _extra(extra: str, texts: list[str]) -> Finding:
    """One that is missing is no fault; one of a version that does not fit is."""
    found = [_REQUIREMENT.fullmatch(text.strip()) for text in texts]
    each = [_package(one["name"], one["bounds"]) for one in found if one is not None]
    missing = [one.check for one in each if one.text == "it is not installed"]
    wrong = [one for one in each if one.level == "fail" and one.check not in missing]
    mend = f'pip install "toolrail[{extra}]"'
    if wrong:
        return Finding("fail", f"extra {extra}", "; ".join(f"{one.check} {one.text}" for one in wrong), mend)
    if missing:
        return Finding("ok", f"extra {extra}", f"not installed ({', '.join(missing)}); {mend} where it is wanted")
    return Finding("ok", f"extra {extra}", ", ".join(f"{one.check} {one.text}" for one in each))


def fits(have: str, bounds: str) -> bool:
    """Whether a version lies within bounds such as `>=2,<4`. Only numbers are compared."""
    mine = _numbers(have)
    for sign, text in _BOUND.findall(bounds):
        other = _numbers(text)
        length = max(len(mine), len(other))
        left, right = mine + (0,) * (length - len(mine)), other + (0,) * (length - len(other))
        held = {
            ">=": left >= right,
            "<=": left <= right,
            "<": left < right,
            ">": left > right,
            "==": left == right,
            "!=": left != right,
        }[sign]
        if not held:
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info < _SQLITE:
        text = f"{sqlite3.sqlite_version} is older than 3.35"
        return Finding("fail", "sqlite", text, "Use a Python that is built with a newer SQLite.")
    return Finding("ok", "sqlite", sqlite3.sqlite_version)


def _log() -> Finding:
    """Of this process: the application's own set-up cannot be seen from here."""
    level = logging.getLogger("toolrail.calls").getEffectiveLevel()
    shown = "every call" if level <= logging.INFO else "only calls that failed" if level <= logging.WARNING else "none"
    name = logging.getLevelName(level)
    text = f"without a set-up of its own a process logs {shown} (logger toolrail.calls at {name})"
    return Finding("ok", "log", f'{text}; logging.getLogger("toolrail.calls").setLevel("INFO") logs every call')
