"""The log sink: one line per call on the standard `logging`, sizes included, exception texts and content left out."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from toolrail.events import AttemptEnded, CallDecided, CallSettled, Event, Head, RunEnded
from toolrail.logs import clean

log = logging.getLogger("toolrail.calls")

WIDEST = 64
"""Characters of a name, a rule or a reason that a line shows: a model may have written them."""
LOOKED_AT = 16_000
"""Characters of a reason that are searched for secrets."""
EXPECTED = ("ok", "pending")
"""What needs nobody's look: a call that waits for a person or another system does what it should."""
_PLAIN = re.compile(r"[A-Za-z0-9_.:/-]+")


class LogSink:
    """Writes to the logger `toolrail.calls`: each settled call, INFO when it succeeded or waits, WARNING else; each
    denial, WARNING; each attempt that failed, INFO, or WARNING when it was the last.

    Example lines:

        tool=find_invoice latency_ms=12.3 args_bytes=20 result_bytes=310 attempts=1 ok run=run_01
        tool=pay denied rule=limits reason="more than 500 EUR" run=run_01
        tool=find_invoice attempt=1 failure=transient error=ConnectError wait_ms=80.0 run=run_01
        run=run_01 turns=3 calls=2 stop=answer

    Each record has the attribute `toolrail`: a dict of what the line says, with its run, turn, principal, tenant and
    session, for `toolrail.records.json_logging` and for formatters of your own.
    """

    def emit(self, event: Event) -> None:
        """See `Sink`."""
        say = _SAY.get(event.__class__)
        if say is not None:
            say(event)


def safe(text: str) -> str:
    """One word of a log line, of at most `WIDEST` printable characters, whatever is given: what is no plain name stands
    in quotes, with escapes as in JSON, so that it can forge neither a line nor a field.
    """
    return _safe(text) if len(text) <= WIDEST else _shortened(text)


@lru_cache(1_024)  # runs and tools come again; what is long is not kept
def _safe(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(text)
    return quoted if len(quoted) <= WIDEST else _shortened(text)


def _shortened(text: str) -> str:
    return f'{_whole(json.dumps(text[:WIDEST])[: WIDEST - 4])}..."'


def _whole(quoted: str) -> str:
    """Without an escape that was cut in two: its backslash would swallow the closing quote."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?$", r"\1", quoted)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}..."


def _settled(event: CallSettled) -> None:
    status = event.status
    level = _INFO if status in EXPECTED else _WARNING
    if not _enabled(level):
        return
    head, code, tool, milliseconds = event.head, event.code, event.call.tool, event.seconds * 1000.0
    sent, given, attempts = event.argument_bytes, event.result_bytes, event.attempts
    fields: dict[str, object] = {
        "kind": "call",
        "tool": tool if len(tool) <= WIDEST else _short(tool),
        "latency_ms": round(milliseconds, 1),
        "args_bytes": sent,
        "result_bytes": given,
        "attempts": attempts,
        "status": status,
        "code": code,
    }
    said = "ok" if code is None else code.value
    _write(level, _CALL, (safe(tool), milliseconds, sent, given, attempts, said, safe(head.run)), fields, head)


def _failed(event: AttemptEnded) -> None:
    if event.failure is None:
        return
    level = _WARNING if event.wait is None else _INFO
    if not _enabled(level):
        return
    wait = None if event.wait is None else round(event.wait * 1000.0, 1)
    fields: dict[str, object] = {
        "kind": "attempt",
        "tool": _short(event.call.tool),
        "attempt": event.attempt,
        "failure": event.failure,
        "error": event.error_type,
        "wait_ms": wait,
    }
    last = "last" if wait is None else f"wait_ms={wait:.1f}"
    tool, error, run = safe(event.call.tool), safe(event.error_type or "-"), safe(event.head.run)
    _write(level, _ATTEMPT, (tool, event.attempt, event.failure, error, last, run), fields, event.head)


def _denied(event: CallDecided) -> None:
    if event.decision != "deny" or not _enabled(_WARNING):
        return
    tool, rule, reason = event.call.tool, event.rule, _reason(event.reason)
    fields: dict[str, object] = {"kind": "denial", "tool": _short(tool), "rule": _short(rule), "reason": _short(reason)}
    _write(_WARNING, _DENIAL, (safe(tool), safe(rule), safe(reason), safe(event.head.run)), fields, event.head)


def _reason(text: str) -> str:
    """A policy may quote what others wrote. It is masked before it is cut: half a secret has no form."""
    return clean(text[:LOOKED_AT]) if text else ""


def _ended(event: RunEnded) -> None:
    if not _enabled(_INFO):
        return
    fields: dict[str, object] = {"kind": "run", "turns": event.turns, "calls": event.calls, "stop": event.reason}
    _write(_INFO, _RUN, (safe(event.head.run), event.turns, event.calls, safe(event.reason)), fields, event.head)


_CALL = "tool=%s latency_ms=%.1f args_bytes=%d result_bytes=%d attempts=%d %s run=%s"
_ATTEMPT = "tool=%s attempt=%d failure=%s error=%s %s run=%s"
_DENIAL = "tool=%s denied rule=%s reason=%s run=%s"
_RUN = "run=%s turns=%d calls=%d stop=%s"
_INFO, _WARNING = logging.INFO, logging.WARNING
_enabled = log.isEnabledFor
_HERE = _settled.__code__.co_filename
_SAY: Mapping[type, Callable[[Any], None]] = {
    CallSettled: _settled,
    AttemptEnded: _failed,
    CallDecided: _denied,
    RunEnded: _ended,
}


def _write(level: int, line: str, values: tuple[object, ...], fields: dict[str, object], head: Head) -> None:
    """As `log.log`, without its search for the line of code that called it: that is always this one."""
    record = log.makeRecord(log.name, level, _HERE, 0, line, values, None, "emit")
    fields["run"] = head.run
    fields["turn"] = head.turn
    fields["principal"] = head.principal
    fields["tenant"] = head.tenant
    fields["session"] = head.session
    record.toolrail = fields
    log.handle(record)
