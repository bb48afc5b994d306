"""Where the command line looks: the store, and the telemetry record beside it. One place for these arguments."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from urllib.parse import unquote

from toolrail.cli.problem import Problem
from toolrail.records.database import records_url as records_of
from toolrail.stores import sqlite_path

VARIABLE = "TOOLRAIL_STORE"
RECORDS_VARIABLE = "TOOLRAIL_RECORDS"
DEFAULT = "sqlite:///rail.db"
_PASSWORD = re.compile(r"(://[^/@\s:]*:)(\S*)(@)")  # also one with a slash, which should be escaped, and often is not
_OPTION = re.compile(r"((?:password|passwd|secret|token)=)([^&\s]+)", re.IGNORECASE)


def store_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--store`."""
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get(VARIABLE) or DEFAULT,
        help=f"the store that the application writes, a URL or the path of its SQLite file; default: {VARIABLE} from "
        f"the environment, else {DEFAULT}",
    )


def records_argument(parser: argparse.ArgumentParser) -> None:
    """Declares `--records`, and `--store`, beside which it stands by default."""
    store_argument(parser)
    parser.add_argument(
        "--records",
        metavar="URL",
        default=os.environ.get(RECORDS_VARIABLE) or None,
        help=f"the telemetry record, a URL or the path of its SQLite file; default: {RECORDS_VARIABLE} from the "
        "environment, else beside the store",
    )


def url_of(place: str) -> str:
    """A URL, or the path of an SQLite file as one."""
    return place if "://" in place else f"sqlite:///{place}"


def records_url(options: argparse.Namespace) -> str:
    """The record's URL: as named, else the one that a rail with this store writes.

    Raises:
        Problem: a store of this kind has no record beside it.
    """
    beside = known_records(options)
    if beside is None:
        store = url_of(options.store)
        mend = "Name the record by --records, or the store that the application's store= names."
        raise Problem(f"--store {masked(store)}", "a store of this kind has no record beside it.", mend, usage=True)
    return beside


def known_records(options: argparse.Namespace) -> str | None:
    """The record's URL, where one is named or may stand beside the store."""
    return url_of(options.records) if options.records else records_of(url_of(options.store))


def sqlite_of(place: str) -> str | None:
    """The path of the SQLite file that a URL or a path names; None for another kind of place."""
    if "://" not in place:
        return place
    return sqlite_path(place) if place.startswith("sqlite:") else None


def masked(text: str) -> str:
    """Text without the passwords of the URLs in it."""
    return _OPTION.sub(r"\1***", _PASSWORD.sub(r"\1***\3", text))


def without(text: str, url: str) -> str:
    """Text without this URL's password, wherever it stands: what drivers say may quote it."""
    found = _PASSWORD.search(url)
    for secret in {found[2], unquote(found[2])} if found else ():
        text = text.replace(secret, "***") if secret else text
    return masked(text)


def command(words: str, store: str) -> str:
    """A command to be typed as it stands, with the store where it is not the one that is looked for anyway. A password
    in its URL is for the environment to know."""
    known = os.environ.get(VARIABLE) or DEFAULT
    return f"toolrail {words}" if store == known else f"toolrail {words} --store {shlex.quote(masked(store))}"
