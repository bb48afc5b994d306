"""Following the record: the newest calls first, then each as it is settled."""

from __future__ import annotations

from toolrail.cli.both import Sources, exists
from toolrail.cli.looking import faults_of, warn
from toolrail.cli.places import without
from toolrail.cli.telling import Told, of_line
from toolrail.records.database import RecordsError
from toolrail.records.reading import Records
from toolrail.records.views import CallFilter, CallLine, Cursor

_PAGE = 500
_PAGES = 40
"""Pages of one look; what is left comes with the next."""


class Seen:
    """What the record has to say. One that is not there yet is looked for each time; one that fails is told of once,
    unless it was named."""

    def __init__(self, both: Sources, tenant: str | None, lines: int) -> None:
        self._both = both
        self._tenant = tenant
        self._lines = lines
        self._cursor: Cursor | None = None
        self._warned = False
        self.more = False
        """There were calls before those of the first look."""

    def look(self) -> list[Told]:
        """Calls that were settled since the last look. At first, the newest."""
        if self._both.insists:
            with faults_of(self._both.url):
                return self._looked()
        try:
            return self._looked()
        except RecordsError as error:
            self._lost(error)
            return []

    def _looked(self) -> list[Told]:
        records = self._opened()
        if records is None:
            return []
        found = self._first(records) if self._cursor is None else self._after(records, self._cursor)
        return [of_line(one) for one in found if self._tenant in (None, one.tenant)]

    def _first(self, records: Records) -> list[CallLine]:
        _, self._cursor = records.live()
        # One more than is asked for tells whether there are more.
        found = records.calls(CallFilter(tenant=self._tenant, limit=self._lines + 1))
        self.more = len(found) > self._lines
        return list(found[: self._lines])

    def _after(self, records: Records, cursor: Cursor) -> list[CallLine]:
        found: list[CallLine] = []
        for _ in range(_PAGES):
            page, cursor = records.live(cursor, limit=_PAGE)
            self._cursor = cursor
            found += page
            if len(page) < _PAGE:
                break
        return found

    def _opened(self) -> Records | None:
        if self._both.records is None and self._both.url and not self._warned and exists(self._both.url):
            self._both.records = Records(self._both.url)
        return self._both.records

    def _lost(self, error: RecordsError) -> None:
        """Goes on with the ledger alone."""
        if not self._warned:
            warn(f"only the store is followed from here on. {without(str(error), self._both.url)}")
        self._warned = True
        if self._both.records is not None:
            self._both.records.close()
        self._both.records = None
