"""The log's JSON twin: a formatter for the standard `logging` that writes one object a line, for any library's records.

handler = logging.StreamHandler()
handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[handler])
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

RESERVED = ("time", "level", "logger", "message", "traceback", "stack")


def fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """What one of our records says, by name; empty for anybody else's. For formatters and processors of your own.

    A settled call has kind ("call"), tool, latency_ms, args_bytes, result_bytes, attempts, status and code; a failed
    attempt ("attempt") tool, attempt, failure, error (a class) and wait_ms; a denial ("denial") tool, rule and reason;
    the end of a run ("run") turns, calls and stop. All have run, turn, principal, tenant and session.

    Example: `fields_of(record).get("tool")`
    """
    found = getattr(record, "toolrail", None)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger and message, then the fields of our records as `fields_of`
    names them. A traceback is one field. Records of other libraries have their message, and none of their extras.

    Args:
        static: fields that stand in each line, such as a service's name.

    Example: `handler.setFormatter(JsonFormatter(static={"service": "shop"}))`
    """

    def __init__(self, *, static: Mapping[str, object] | None = None) -> None:
        super().__init__()
        self._static = dict(static or {})

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in (*self._static.items(), *fields_of(record).items()):
            if name not in RESERVED:
                said[name] = value
        if record.exc_text:  # our own logger has masked it
            said["traceback"] = record.exc_text
        elif record.exc_info and record.exc_info[0] is not None:
            said["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        return _ENCODER.encode(said)


def _message(record: logging.LogRecord) -> str:
    """A record whose values do not fit its message keeps the message."""
    try:
        return record.getMessage()
    except Exception:
        return _text(record.msg)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


_ENCODER = json.JSONEncoder(default=_text, separators=(",", ":"))
