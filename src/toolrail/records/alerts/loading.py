"""Rules from a TOML file. What is wrong there is named by file, rule and key, with the mend."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NoReturn, cast

from toolrail.errors import DefinitionError
from toolrail.records.alerts.rules import KINDS, Rule, check_names, check_rules, over_defaults
from toolrail.settings import near

_TOP = ("rule", "defaults", "silence")


def load_rules(path: str | Path) -> tuple[Rule, ...]:
    """Reads rules: the default ones and those of the file, or with `defaults = false` those of the file alone.

    Raises:
        DefinitionError: the file cannot be read, or a rule in it is wrong (TR310); the text names file, rule and key.

    Example: `load_rules("alerts.toml")` of a file such as

        silence = ["legacy_*"]

        [[rule]]
        name = "wrong-arguments"
        kind = "error_rate"
        classes = ["argument"]
        over = 0.10
    """
    where = str(path)
    content = _read(Path(path), where)
    for key in content:
        if key not in _TOP:
            _wrong(f"{where}, key {key}", "there is no such key.", _known(key, _TOP))
    keep, found = content.get("defaults", True), content.get("rule", [])
    if keep is not True and keep is not False:
        _wrong(f"{where}, key defaults", f"{keep!r} is neither true nor false.", "Write defaults = false.")
    if not isinstance(found, list) or any(not isinstance(one, dict) for one in cast("list[Any]", found)):
        _wrong(f"{where}, key rule", "it is no list of tables.", "Begin each rule with [[rule]].")
    silence = _names(f"{where}, key silence", content.get("silence", []))
    rules = [_rule(where, number, one) for number, one in enumerate(cast("list[dict[str, Any]]", found), 1)]
    try:
        check_names(rules)
        every = check_rules(over_defaults(rules) if keep else rules)
    except DefinitionError as error:
        _wrong(f"{where}, {error.where}", error.message, error.mend)
    return tuple(_silenced(rule, silence) for rule in every)


def _read(path: Path, where: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _wrong(where, "there is no such file.", "Name the file with the rules.")
    except (OSError, UnicodeDecodeError) as error:
        _wrong(where, f"it cannot be read ({error}).", "Let this user read it, as text in UTF-8.")
    except tomllib.TOMLDecodeError as error:
        _wrong(where, f"it is no TOML: {error}.", 'Write text in quotes, as in name = "payments".')


def _rule(where: str, number: int, given: dict[str, Any]) -> Rule:
    name = given.get("name")
    where = f"{where}, rule {name!r}" if isinstance(name, str) and name else f"{where}, rule number {number}"
    if not isinstance(name, str) or not name:
        _wrong(f"{where}, key name", "a rule needs a name.", 'Write name = "payments".')
    word = given.get("kind")
    kind = KINDS.get(word) if isinstance(word, str) else None
    if kind is None:
        _wrong(f"{where}, key kind", f"{word!r} is no kind of rule.", _known(word, KINDS))
    known = [field.name for field in fields(kind)]
    values = {key: value for key, value in given.items() if key != "kind"}
    for key, value in values.items():
        if key not in known:
            _wrong(f"{where}, key {key}", f"a rule of kind {word} has none.", _known(key, known))
        if key in ("silence", "classes", "unless"):
            values[key] = _names(f"{where}, key {key}", value)
    try:
        return kind(**values)
    except DefinitionError as error:
        key = error.message.split(" ")[0]
        _wrong(f"{where}, key {key}", f"{values.get(key)!r}: {error.message}", error.mend)


def _names(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or any(not isinstance(one, str) for one in cast("list[Any]", value)):
        _wrong(where, f"{value!r} is no list of names.", 'Write them as in ["find_invoice", "legacy_*"].')
    return tuple(cast("list[str]", value))


def _silenced(rule: Rule, more: tuple[str, ...]) -> Rule:
    return replace(rule, silence=(*rule.silence, *more)) if more else rule


def _known(word: object, known: Any) -> str:
    meant = near(word, known)
    return f"Did you mean {meant}?" if meant else f"Use one of {', '.join(known)}."


def _wrong(where: str, message: str, mend: str) -> NoReturn:
    raise DefinitionError("TR310", where, message, mend)
