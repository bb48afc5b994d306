"""The telemetry record as commands open it: its faults are `Problem`s, and no password stands in them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Generator
from contextlib import contextmanager

from toolrail.cli.lines import Paint, moment
from toolrail.cli.places import records_url, sqlite_of, without
from toolrail.cli.problem import Problem
from toolrail.cli.screen import folded, screen_width
from toolrail.records.database import RecordsError
from toolrail.records.reading import Records


@contextmanager
def opened(options: argparse.Namespace) -> Generator[Records]:
    """The record that the arguments name.

    Raises:
        Problem: there is none, or it cannot be read; also while it is being read.
    """
    url = records_url(options)
    with faults_of(url), Records(url) as records:
        yield records


@contextmanager
def faults_of(url: str) -> Generator[None]:
    """Tells faults of the record as problems."""
    try:
        yield
    except RecordsError as error:
        raise Problem(without(error.where, url), without(error.message, url), without(error.mend, url)) from None


def show_losses(records: Records) -> None:
    """Says what the figures lack, where they lack something: events that were dropped are in none of them."""
    lost = records.lost()
    if lost:
        text = f"({lost:,} events were lost, so these figures are too low; `toolrail doctor` tells more)"
        for line in folded(text, screen_width()):
            print(Paint()(line, "yellow"))


def nobody_looks(records: Records, now: float) -> str:
    """What to say where no process looks at alerts now: that none fires would mean nothing. Empty where one does."""
    looked = records.looked()
    if looked is not None and looked >= now:
        return ""
    since = (
        "No process has looked at alerts yet"
        if looked is None
        else f"No process looks at alerts since {moment(looked)}"
    )
    return f"{since}: nothing is evaluated."


def warn(text: str) -> None:
    """A remark beside the output, so that scripts do not read it."""
    print(f"toolrail: {text}", file=sys.stderr)


def where_of(url: str) -> str:
    """What a person calls it: the path of a file, else the URL without its password."""
    return sqlite_of(url) or without(url, url)
