"""One record of real runs for all pages, served once: pages only read."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.dashboard.causes import Planted, planted
from tests.dashboard.played import Played, played
from tests.dashboard.served import Served, serving
from toolrail.dashboard.app import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """What `played` made; nobody may write to it."""
    return played(tmp_path_factory.mktemp("dashboard"))


@pytest.fixture(scope="session")
def served(record: Played) -> Generator[Served]:
    """A dashboard over it, without a right to decide anything."""
    with serving(Settings(records=record.url, store=record.store, by="carol")) as one:
        yield one


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Hours in which ten things go wrong. In a thread of its own: Playwright may have a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(planted, tmp_path_factory.mktemp("causes")).result()


@pytest.fixture
def browser(served: Served) -> Iterator[httpx2.Client]:
    """Signed in."""
    with served.browser() as client:
        yield client


@pytest.fixture(scope="session")
def chromium(record: Played) -> Generator[Browser]:
    """The machine's own, for all modules: a second Playwright beside it would not start."""
    assert record  # made before, because Playwright has a loop in this thread
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield browser
        browser.close()
