"""Masks secrets in content that is recorded: by the names of fields, and by the forms that keys and numbers have.

No pattern can know every secret: what must never be kept is left out by `content="off"`, or by the rail's `redact=`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, cast

MASK: Final = "[masked]"
LONGEST = 4_000_000
"""Characters that are looked at; what comes after them is left out."""
DEPTH = 4
"""JSON within a text within JSON: so deep."""
ROUNDS = 4


def _begun(not_after: str, *words: tuple[str, int]) -> str:
    """One of these words, each a pattern with its width, where nothing of `not_after` stands before it; or where an
    escape of JSON, Python or a URL ends there, whose last letter is none of the word.

    It looks back from the word's end: so the pattern begins with plain text, which is found many times faster.
    """
    escapes = (r"\\[abfnrtv]", r"\\u[0-9A-Fa-f]{4}", r"\\x[0-9A-Fa-f]{2}", "%[0-9A-Fa-f]{2}")
    found: list[str] = []
    for word, width in words:
        behind = "".join(rf"|(?<={escape}.{{{width}}})" for escape in escapes)
        found.append(rf"{word}(?:(?<!{not_after}.{{{width}}}){behind})")
    return f"(?:{'|'.join(found)})"


_SHORT = _begun(r"\w", ("cv[vc]", 3), (r"pin\b", 3), (r"otp\b", 3), (r"sig\b", 3))
_WORDS = (
    r"passw(?:or)?d|pwd\b|passphrase|secret|token(?!s\b|i[sz])|api[_ -]?key|(?:access|account|private)[_ -]?key|"
    rf"auth[_-]?key|authori[sz]ation|credential|cookie|session[_-]?id|csrf|signature|{_SHORT}"
)
_NAME = re.compile(f"(?i){_WORDS}")
_Replacing = Callable[[re.Match[str]], str]


def _card(found: re.Match[str]) -> str:
    """Luhn's rule tells a card's number from any other. The first digits may be those of an escape, as in %20."""
    text, before = found[0], found.string[max(0, found.start() - 2) : found.start()]
    escape = 4 if before == "\\u" else 2 if before == "\\x" or before[-1:] == "%" else 0
    for cut in sorted({0, escape}):
        digits = [int(one) for one in text[cut:] if one.isdigit()]
        doubled = (sum(divmod(2 * one, 10)) for one in digits[-2::-2])
        if 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and any(digits):
            return text[:cut] + MASK
    return text


def _iban(found: re.Match[str]) -> str:
    """So do the two check digits of an account's."""
    text = found[0].replace(" ", "")
    return MASK if int("".join(str(int(one, 36)) for one in text[4:] + text[:4])) % 97 == 1 else found[0]


_SCHEMES = _begun(r"\w", ("[Bb](?i:earer)", 6), ("[Bb](?i:asic)", 5), ("[Dd](?i:igest)", 6))
_KEYS = _begun(
    r"\w", ("gh[pousr]_", 4), ("github_pat_", 11), ("glpat-", 6), ("hf_", 3), ("npm_", 4), ("xox[abeprs]-", 5),
    ("AIza", 4), ("whsec_", 6), (r"SG\.", 3), (r"ya29\.", 5),
)  # fmt: skip
_JWT = _begun(r"[\w-]", ("eyJ", 3))
_DASHED = _begun(r"[\w-]", ("[spr]k[-_]", 3))
_AWS = _begun("[A-Za-z0-9]", ("A[KSRI][IOD]A", 4))
_COUNTRY = _begun("[A-Za-z0-9]", ("[A-Z]{2}", 2))

# Each begins where the run of its own characters begins, or ends within a fixed length: none looks at a text twice.
_FORMS: Final[tuple[tuple[re.Pattern[str], str | _Replacing], ...]] = (
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
            r"(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        MASK,
    ),
    (re.compile(r"([Cc](?i:ookie)\s{0,4}:\s{0,4})[^\r\n\"'\\]+"), rf"\g<1>{MASK}"),
    (re.compile(r"([Aa](?i:uthorization)\s{0,4}:\s{0,4})[^\r\n\"'\\]+"), rf"\g<1>{MASK}"),
    (re.compile(rf"({_SCHEMES}\s{{1,4}})(?!\[masked)[\w.~+/-]{{6,}}={{0,2}}"), rf"\g<1>{MASK}"),
    (re.compile(r"://(?:[^\s/@:\"']{0,256}:(?!\d{1,5}/)[^\s@\"']{1,256}|[^\s/@:\"']{20,256})@"), f"://{MASK}@"),
    (re.compile(r"(hooks\.slack\.com/[a-z]{1,16}/|discord(?:app)?\.com/api/webhooks/)[\w/-]+"), rf"\g<1>{MASK}"),
    (re.compile(rf"{_JWT}[\w-]{{5,}}\.[\w-]{{5,}}(?:\.[\w-]*)?"), MASK),
    (re.compile(rf"{_DASHED}[\w-]{{12,}}"), MASK),
    (re.compile(rf"{_KEYS}[\w-]{{10,}}(?:\.[\w-]+)*"), MASK),
    (re.compile(rf"{_AWS}[A-Z0-9]{{16}}(?![A-Za-z0-9])"), MASK),
    (re.compile(r"\d(?<![\d.].)(?:[ -]?\d){12,22}(?![\d.]?\d)"), _card),
    (re.compile(rf"{_COUNTRY}\d{{2}}(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,4}})?(?![A-Za-z0-9])"), _iban),
)
_KEYED = re.compile(
    rf"(?i)((?:{_WORDS})[\w.-]{{0,40}}(?:\\{{0,8}}[\"'])?\s{{0,8}}[:=]\s{{0,8}})"
    r"(?:(\\{0,8}[\"'])((?:(?!\2)(?:\\[\s\S]|[\s\S]))*)(?:\2|\Z)|([^\s,;&\"'<>{}\\]+))"
)


def masked(text: str) -> str:
    """The text without what looks like a secret. Never raises; a second time changes nothing.

    Example: `masked('{"password": "hunter2"}') == '{"password": "[masked]"}'`
    """
    try:
        if len(text) <= LONGEST and "\\u00" not in text and not _NAME.search(text) and _formless(text) == text:
            return text  # nothing is hidden behind escapes, so there is no need to look into each value
        for _ in range(ROUNDS):
            cleaned = _text(text[:LONGEST], DEPTH)
            if cleaned == text:
                return text
            text = cleaned
    except Exception:  # what cannot be read is not kept
        return MASK
    return text if _text(text, DEPTH) == text else MASK


def _text(text: str, depth: int) -> str:
    start = text[:64].lstrip()[:1]
    if start and start in '{["' and depth:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return _plain(text)
        cleaned = _value(value, depth)
        return text if cleaned == value else json.dumps(cleaned, ensure_ascii=False)
    return _plain(text)


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value, depth - 1)
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        return {_plain(name): _field(name, one, depth) for name, one in found.items()}
    if isinstance(value, list):
        return [_value(one, depth) for one in cast("list[Any]", value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if _plain(str(value)) == str(value) else MASK
    return value


def _field(name: str, value: Any, depth: int) -> Any:
    """A secret's own value, whatever it is; nothing where there is none."""
    if value in (None, "", MASK) or isinstance(value, bool) or not _NAME.search(name):
        return _value(value, depth)
    return MASK


def _plain(text: str) -> str:
    return _KEYED.sub(_keyed, _formless(text))


def _formless(text: str) -> str:
    for pattern, instead in _FORMS:
        text = pattern.sub(instead, text)
    return text


def _keyed(found: re.Match[str]) -> str:
    quote = found[2] or ""
    if quote and not found[3]:
        return found[0]
    return f"{found[1]}{quote}{MASK}{quote}"
