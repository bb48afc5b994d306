"""The ledger and the record together: what must not be lost, and all that was seen. Either may be missing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from toolrail.cli.looking import faults_of, warn
from toolrail.cli.places import records_url, sqlite_of, url_of, without
from toolrail.cli.problem import Problem
from toolrail.cli.reading import Record
from toolrail.records.database import RecordsError
from toolrail.records.database import records_url as records_of
from toolrail.records.reading import Records


@dataclass(slots=True)
class Sources:
    """At least one of the two."""

    ledger: Record | None
    records: Records | None
    url: str = ""
    """The record's."""
    insists: bool = False
    """The record was named: its faults are problems then, and not only remarks."""


@contextmanager
def sources(options: argparse.Namespace) -> Generator[Sources]:
    """Opens what there is. A record that was not named may be missing, and is only remarked on when it is damaged.

    Raises:
        Problem: there is neither; or what was named cannot be read.
    """
    found = Sources(None, None, insists=bool(options.records))
    missing: Problem | None = None
    try:
        try:
            found.ledger = Record(options.store)
        except Problem as problem:
            missing = problem
        if found.insists or records_of(url_of(options.store)) is not None:
            found.url = records_url(options)
            found.records = _records(found)
        if found.records is None and missing is not None:
            raise missing
        if missing is not None:
            warn(f"only the record is read, so open calls are told as it saw them last. {missing}")
        yield found
    finally:
        if found.records is not None:
            found.records.close()
        if found.ledger is not None:
            found.ledger.close()


def _records(found: Sources) -> Records | None:
    if found.insists:
        with faults_of(found.url):
            return Records(found.url)
    if not exists(found.url):
        return None
    try:
        return Records(found.url)
    except RecordsError as error:
        if sqlite_of(found.url) is not None:  # in a database for both, no tables mean only that nobody records
            warn(f"only the store is read. {without(str(error), found.url)}")
        return None


def exists(url: str) -> bool:
    """Whether there may be a record: a file that is not there says no."""
    path = sqlite_of(url)
    return path is None or os.path.exists(path)
