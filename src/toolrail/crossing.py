"""What comes back from an isolated handler's process, as JSON: the value as plain data, an error by its kind.

Both directions stand here, so that they agree. Nothing is believed but sizes and shapes: no code of ours is chosen by
what arrives, and nothing is unpickled.
"""

from __future__ import annotations

import base64
import json
import math
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from toolrail.encoding import encode_value, preview
from toolrail.errors import ModelRetry, NotAuthorised, ToolError
from toolrail.messages import Media
from toolrail.transient import Transient, cause_of, transient

OVER_MEMORY = b'{"error":{"kind":"memory"},"began":true}'
"""Ready beforehand: there may be no memory left to make it of."""
LOST = "The rest is lost: the result was over the isolated tool's limit of {limit}. Ask for less."
TEXT_CHARACTERS = 64_000
TRACEBACK_CHARACTERS = 8_000


class IsolatedError(Exception):
    """An exception in an isolated handler that nobody expected. Its text is the traceback there, for the log."""


class PassingFailure(Exception):
    """A passing failure in an isolated handler, recognised there; `transient` recognises it here by these fields."""

    def __init__(self, label: str, *, retry_after: float | None) -> None:
        super().__init__(label)
        kind, _, detail = label.partition("_")
        self.status_code = int(detail) if kind == "http" and detail.isdecimal() else None
        self.sqlstate = detail if kind == "sql" else None
        self.headers = {"retry-after": str(retry_after)} if retry_after is not None else {}


def value_out(value: Any, *, max_bytes: int, shown: int) -> bytes:
    """A handler's result, as it crosses: whole, or a preview of `shown` bytes of one that would take over `max_bytes`.
    The rest is lost with the process, so the preview says that; nobody can read on."""
    flags: list[str] = []
    answer = _answer({"value": _plain(value, flags), "flags": flags})
    if len(answer) <= max_bytes:
        return answer
    lost = LOST.format(limit=_size(max_bytes))
    text, cut = preview(encode_value(value).text, min(shown, max_bytes), rest=lost)
    return _answer({"value": {"text": text}, "flags": [*flags, *cut]})


def _size(count: int) -> str:
    return f"{count / 1024**2:g} MB" if count >= 1024**2 else f"{count} bytes"


def error_out(error: BaseException, *, began: bool) -> bytes:
    """How a handler failed, as it crosses."""
    return _answer({"error": {**_kind(error), "traceback": _traceback(error)}, "began": began})


def _answer(answer: Mapping[str, Any]) -> bytes:
    """UTF-8, as results are measured in; half a character crosses as it is."""
    return json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _plain(value: Any, flags: list[str]) -> dict[str, Any]:
    if isinstance(value, Media):
        data = base64.b64encode(value.data).decode("ascii")
        return {"media": {"type": value.media_type, "name": value.name, "data": data}}
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, (list, tuple)):
        parts = list(cast("Sequence[Any]", value))
        if any(isinstance(part, Media) for part in parts):
            return {"parts": [_plain(part, flags) for part in parts]}
    encoded = encode_value(value)
    flags.extend(encoded.flags)
    return {"json": json.loads(encoded.text)}


def _kind(error: BaseException) -> dict[str, Any]:
    match error:
        case NotAuthorised():
            return {"kind": "not_authorised", "text": _text(error), "like": error.like and error.like[:TEXT_CHARACTERS]}
        case ModelRetry():
            return {"kind": "model_retry", "text": _text(error)}
        case ToolError():
            behind = cause_of(error)
            return {
                "kind": "tool_error",
                "text": _text(error),
                "retryable": bool(error.retryable),
                "nothing_happened": bool(error.nothing_happened),
                "retry_after": error.retry_after,
                "cause": _passing(behind) if behind else None,
            }
        case _:
            found = transient(error)
            return {"kind": "passing", **_passing(found)} if found else {"kind": "unexpected"}


def _passing(found: Transient) -> dict[str, Any]:
    return {"label": found.label, "retry_after": found.retry_after, "refused": found.refused}


def _text(error: BaseException) -> str:
    try:
        return str(error)[:TEXT_CHARACTERS]
    except Exception:
        return type(error).__name__


def _traceback(error: BaseException) -> str:
    with suppress(Exception):
        return "".join(traceback.format_exception(error))[-TRACEBACK_CHARACTERS:]
    return type(error).__name__


def answer_in(payload: bytes) -> tuple[Any, tuple[str, ...]]:
    """What crossed: the value, and the flags of its encoding.

    Raises:
        ToolError, ModelRetry, NotAuthorised: what the handler raised.
        PassingFailure, OSError: a passing failure there.
        IsolatedError: anything else, and an answer that makes no sense.
    """
    try:
        answer: Any = json.loads(payload)
        if "error" not in answer:
            return _value_in(answer["value"]), tuple(str(flag) for flag in answer["flags"])
        error = _error_in(answer["error"])
    except (ValueError, TypeError, LookupError, RecursionError) as wrong:
        raise IsolatedError("The handler's process gave an answer that cannot be read.") from wrong
    raise error


def began_in(payload: bytes) -> bool:
    """Whether the handler was called at all; only a clear no counts."""
    with suppress(ValueError, TypeError, LookupError, RecursionError):
        return json.loads(payload)["began"] is not False
    return True


def _value_in(value: Mapping[str, Any]) -> Any:
    match value:
        case {"text": str(text)}:
            return text
        case {"media": {"type": str(media_type), "name": str() | None as name, "data": str(data)}}:
            return Media(base64.b64decode(data, validate=True), media_type, name)
        case {"parts": list()}:
            return [_value_in(part) for part in value["parts"]]
        case _:
            return value["json"]


def _error_in(error: Mapping[str, Any]) -> Exception:
    match error:
        case {"kind": "not_authorised", "text": str(text), "like": like}:
            return NotAuthorised(text, like=None if like is None else str(like))
        case {"kind": "model_retry", "text": str(text)}:
            return ModelRetry(text)
        case {"kind": "tool_error", "text": str(text)}:
            stated = ToolError(
                text,
                retryable=error["retryable"] is True,
                nothing_happened=error["nothing_happened"] is True,
                retry_after=_seconds(error["retry_after"]),
            )
            if error["cause"]:
                stated.__cause__ = _failure_in(error["cause"])
                stated.__cause__.__cause__ = _seen(error)
            return stated
        case {"kind": "passing"}:
            failure = _failure_in(error)
            failure.__cause__ = _seen(error)
            return failure
        case _:
            return _seen(error)


def _seen(error: Mapping[str, Any]) -> IsolatedError:
    return IsolatedError(f"The handler failed in its process:\n{error['traceback']}")


def _failure_in(found: Mapping[str, Any]) -> Exception:
    label = str(found["label"])
    if label.startswith(("http_", "sql_")):
        return PassingFailure(label, retry_after=_seconds(found["retry_after"]))
    if found["refused"] is True:
        return ConnectionRefusedError(label)
    return TimeoutError(label) if "timeout" in label.lower() else ConnectionError(label)


def _seconds(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain and math.isfinite(value) and value >= 0 else None
