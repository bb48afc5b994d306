"""The log sink: one line per call on the standard `logging`, sizes included, exception texts and content left out."""

from __future__ import annotations

import logging

from toolrail.events import CallSettled, Event, RunEnded

log = logging.getLogger("toolrail.calls")


class LogSink:
    """Writes each settled call to the logger `toolrail.calls`: INFO when it succeeded, WARNING when it did not.

    Example line: `tool=find_invoice latency_ms=12.3 args_bytes=20 result_bytes=310 attempts=1 ok`
    """

    def emit(self, event: Event) -> None:
        if isinstance(event, CallSettled):
            _call(event)
        elif isinstance(event, RunEnded) and log.isEnabledFor(logging.INFO):
            log.info("run=%s turns=%d calls=%d stop=%s", event.head.run, event.turns, event.calls, event.reason)


def _call(event: CallSettled) -> None:
    level = logging.INFO if event.status == "ok" else logging.WARNING
    if not log.isEnabledFor(level):
        return
    log.log(
        level,
        "tool=%s latency_ms=%.1f args_bytes=%d result_bytes=%d attempts=%d %s run=%s",
        event.call.tool,
        event.seconds * 1000,
        event.argument_bytes,
        event.result_bytes,
        event.attempts,
        event.code or "ok",
        event.head.run,
    )
