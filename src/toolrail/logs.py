"""Our loggers: what they say of an exception is whole, but for what looks like a secret in it.

An exception's text is somebody else's: drivers and clients quote URLs with passwords, and headers with tokens.
"""

from __future__ import annotations

import logging
from typing import cast

LONGEST = 32_768
"""Characters of one text that are logged: the loop waits while they are searched, a third of a second for a million."""
LONGEST_TRACE = 4 * LONGEST
MARGIN = 4_096
"""Further ones that are searched, because half a secret has no known form."""
UNREADABLE = "What was to be logged here could not be read, and is left out."


def logger(name: str) -> logging.Logger:
    """The logger of this name, of whose messages and tracebacks known forms of secrets are masked.

    Where a traceback has any, the record's exception is replaced by one with the same class name, traceback and causes,
    whose texts are masked: handlers that look at `exc_info` themselves are given no more than the others.

    Example: `log = logger("toolrail")`
    """
    found = logging.getLogger(name)
    found.addFilter(_MASKING)
    return found


def clean(text: str) -> str:
    """The text with known forms of secrets masked. Never raises."""
    from toolrail.records.redaction import masked  # its patterns take milliseconds to build, and most runs log nothing

    return masked(text)


class _Masking(logging.Filter):
    """Of the logger, not of a handler: so it holds for every handler there is, and in the thread that logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            _mask_message(record)
        except Exception:  # nothing is logged rather than a secret; that something was to be is said
            record.msg, record.args = UNREADABLE, ()
        try:
            _mask_exception(record)
        except Exception:
            record.exc_info, record.exc_text = None, UNREADABLE
        return True


_MASKING = _Masking()


def _mask_message(record: logging.LogRecord) -> None:
    message = record.getMessage()
    said = _clean(message)
    if said != message:
        record.msg, record.args = said, ()


def _mask_exception(record: logging.LogRecord) -> None:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return
    trace = _formatted(error)
    like = _masked(error, {}) if len(trace) > LONGEST_TRACE else None
    shown = _clean(trace if like is None else _formatted(like), LONGEST_TRACE)
    if shown == trace:
        return  # it stays to be formatted by whoever formats in a way of his own
    like = like or _masked(error, {})
    record.exc_text, record.exc_info = shown, (type(like), like, like.__traceback__)


def _clean(text: str, longest: int = LONGEST) -> str:
    if len(text) <= longest:
        return clean(text)
    found = clean(text[: longest + MARGIN])
    whole = found if len(text) <= longest + MARGIN else found[:-MARGIN]
    return f"{whole[:longest]}... ({len(text)} characters)"


_FORMATTER = logging.Formatter()


def _formatted(error: BaseException) -> str:
    return _FORMATTER.formatException((type(error), error, error.__traceback__))


def _text(error: BaseException) -> str:
    try:
        return _clean(str(error))
    except Exception:
        return "<exception str() failed>"  # as tracebacks say it


def _masked(error: BaseException, known: dict[int, BaseException]) -> BaseException:
    """One that says and shows the same, masked; and so do those that caused it."""
    if id(error) in known:
        return known[id(error)]
    kind = type(error)
    if issubclass(kind, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        inner = [_masked(one, known) for one in group.exceptions]
        made: BaseException = BaseExceptionGroup(_clean(group.message), inner)
    else:
        named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
        made = cast("type[Exception]", type(kind.__name__, (Exception,), named))(_text(error))
    known[id(error)] = made
    for note in getattr(error, "__notes__", ()):
        made.add_note(_clean(str(note)))
    if error.__cause__ is not None:
        made.__cause__ = _masked(error.__cause__, known)
    if error.__context__ is not None:
        made.__context__ = _masked(error.__context__, known)
    made.__suppress_context__ = error.__suppress_context__
    return made.with_traceback(error.__traceback__)
