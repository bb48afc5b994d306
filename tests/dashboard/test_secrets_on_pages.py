"""Secrets in arguments, results and errors: on no page; content itself only where it was asked for, and masked."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest

from tests.dashboard.served import serving
from tests.promises import promise
from tests.records.planted import found, logged, planted
from toolrail.dashboard.app import Settings
from toolrail.records.recorder import ContentMode


def _crawled(browser: httpx2.Client, first: Sequence[str]) -> dict[str, str]:
    """The text of every page that a link leads to."""
    pages: dict[str, str] = {}
    waiting = list(first)
    while waiting:
        address = waiting.pop()
        place = address.partition("#")[0]
        if place in pages or place.startswith(("/static", "/live/stream")) or len(pages) >= 300:
            continue
        answer = browser.get(place)
        assert answer.status_code in (200, 404), (place, answer.status_code)
        pages[place] = f"{answer.headers} {answer.text}"
        waiting += [html.unescape(link) for link in re.findall(r'(?:href|data-text)="(/[^"]*)"', answer.text)]
    return pages


@promise("see:record")
@pytest.mark.parametrize(("content", "seen"), [("off", set[str]()), ("redacted", {"word"})])
def test_no_page_shows_a_secret(content: ContentMode, seen: set[str], tmp_path: Path) -> None:
    played = planted(tmp_path, content)
    settings = Settings(records=played.records, store=played.store, by="carol")
    with logged() as kept, serving(settings) as served, served.browser() as browser:
        pages = _crawled(browser, ["/", f"/run/messages?id={played.run}"])
    assert {"/run", "/why", "/tool", "/approvals", "/alerts"} <= {address.partition("?")[0] for address in pages}
    assert any(played.run in text for text in pages.values())
    leaks = {address: leaked for address, text in pages.items() if (leaked := found(html.unescape(text)) - seen)}
    assert leaks == {}
    assert found(kept.text) == set()
    assert "word" not in found(*(text for address, text in pages.items() if not address.startswith(("/run", "/text"))))
