"""The log sink: one line per call on the standard `logging`, sizes included, exception texts and content left out."""

from __future__ import annotations

import json
import logging
import re

from toolrail.events import AttemptEnded, CallDecided, CallSettled, Event, RunEnded

log = logging.getLogger("toolrail.calls")

WIDEST = 64
"""Characters of a name, a rule or a reason that a line shows: a model may have written them."""
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
    """

    def emit(self, event: Event) -> None:
        match event:
            case CallSettled():
                _settled(event)
            case AttemptEnded(failure=str()):
                _failed(event)
            case CallDecided(decision="deny"):
                _denied(event)
            case RunEnded():
                _ended(event)
            case _:
                return


def safe(text: str) -> str:
    """One word of a log line, of at most `WIDEST` printable characters, whatever is given: what is no plain name stands
    in quotes, with escapes as in JSON, so that it can forge neither a line nor a field.
    """
    if len(text) <= WIDEST and _PLAIN.fullmatch(text):
        return text
    quoted = json.dumps(text[:WIDEST])
    return quoted if len(text) <= WIDEST and len(quoted) <= WIDEST else f'{_whole(quoted[: WIDEST - 4])}..."'


def _whole(quoted: str) -> str:
    """Without an escape that was cut in two: its backslash would swallow the closing quote."""
    return re.sub(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-f]{0,3})?$", r"\1", quoted)


def _settled(event: CallSettled) -> None:
    level = logging.INFO if event.status in EXPECTED else logging.WARNING
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "tool=%s latency_ms=%.1f args_bytes=%d result_bytes=%d attempts=%d %s run=%s",
        safe(event.call.tool),
        event.seconds * 1000,
        event.argument_bytes,
        event.result_bytes,
        event.attempts,
        event.code or "ok",
        safe(event.head.run),
    )


def _failed(event: AttemptEnded) -> None:
    level = logging.WARNING if event.wait is None else logging.INFO
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "tool=%s attempt=%d failure=%s error=%s %s run=%s",
        safe(event.call.tool),
        event.attempt,
        event.failure,
        safe(event.error_type or "-"),
        "last" if event.wait is None else f"wait_ms={event.wait * 1000:.1f}",
        safe(event.head.run),
    )


def _denied(event: CallDecided) -> None:
    if log.isEnabledFor(logging.WARNING):
        tool, rule, reason = safe(event.call.tool), safe(event.rule), safe(event.reason)
        log.warning("tool=%s denied rule=%s reason=%s run=%s", tool, rule, reason, safe(event.head.run))


def _ended(event: RunEnded) -> None:
    if log.isEnabledFor(logging.INFO):
        run, reason = safe(event.head.run), safe(event.reason)
        log.info("run=%s turns=%d calls=%d stop=%s", run, event.turns, event.calls, reason)
