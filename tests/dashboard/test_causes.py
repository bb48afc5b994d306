"""Someone new to the dashboard finds each of ten planted causes in Chromium: by its text, in at most three clicks."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboard.causes import Planted
from tests.dashboard.served import Served, serving
from tests.promises import promise
from toolrail.dashboard.app import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, promise("see:dashboard/causes")]

MOST = 3
DIRECTORY = "TOOLRAIL_SCREENSHOTS"
"""The environment variable that names where screenshots are kept."""
DESK: Any = {"width": 1200, "height": 750}
PHONE: Any = {"width": 360, "height": 740}


@dataclass(frozen=True, slots=True)
class Cause:
    """Something that goes wrong, and how it is found from the front page on."""

    name: str
    hint: str
    """What of it the front page shows, as text."""
    clicks: tuple[tuple[str, str], ...]
    """What is clicked, one after the other: the visible text of a link, and of a row or paragraph that it stands in."""
    names: str
    """The last page says what it is, ..."""
    means: str
    """... what that means, ..."""
    mend: str
    """... and what to do."""


CAUSES = (
    Cause(
        "wrong-arguments",
        "create_ticket: 16 of its last 4",
        (("INVALID_ARGUMENTS", "create_ticket"), ("what it was told", "")),
        "priority: expected",
        "the arguments do not fit; nothing ran",
        "say more in the tool's description",
    ),
    Cause(
        "dead-dependency",
        "track_parcel: 25 of its last 38 calls failed",
        (("MAX_RETRIES", "track_parcel"),),
        "MAX_RETRIES Ended at execute",
        "transient ConnectionRefusedError",
        "Look at its dependency, 'carrier': each attempt failed. Its code raised ConnectionRefusedError",
    ),
    Cause(
        "slow-tool",
        "search_documents p95 11 s; it was",
        (("slower", "search_documents"), ("Look at search_documents", "search_documents")),
        "Slow: p95 11 s; it was",
        "users wait for them",
        "look at its dependency, 'search'",
    ),
    Cause(
        "loop",
        "find_customer: 12 calls in 15 min were repetitions",
        (("loops", "find_customer"), ("Look at find_customer", "find_customer"), ("LOOP_DETECTED", "the same call")),
        "LOOP_DETECTED Refused at admit",
        "the same call again and again; nothing ran",
        "look at the results before this one",
    ),
    Cause(
        "unpriced-model",
        "inhouse:mystery-7b",
        (("Costs", ""),),
        "No price is known for inhouse:mystery-7b",
        "is not in any sum",
        "State it in Rail(prices=...) or a prices file",
    ),
    Cause(
        "denied-user",
        "NOT_AUTHORISED this principal may not",
        (("NOT_AUTHORISED", "refund"),),
        "temporary staff may not give money back",
        "refunds-by-staff-only",
        "give the permission, or change the policy's rule",
    ),
    Cause(
        "unknown-outcome",
        "charge_card for agent-3",
        (("unknown outcome", "charge_card"),),
        "OUTCOME_UNKNOWN Ended at execute",
        "it may have taken effect: ask the other side",
        "effects settle",
    ),
    Cause(
        "retry-storm",
        "get_stock 2.9 tries a call",
        (("retried", "get_stock"),),
        "Retried: 2.9 tries a call",
        "its dependency, 'warehouse', is in trouble",
        "each attempt names its exception",
    ),
    Cause(
        "huge-result",
        "export_orders 32.5 kB a result",
        (("large results", "export_orders"),),
        "Large results: 32.5 kB a result, about 8,1",
        "The model reads all of it again in each later turn",
        "Let the tool return less",
    ),
    Cause(
        "open-circuit",
        "rates-api: its circuit is open",
        (("open-circuit", "rates-api"), ("Look at rates-api", "rates-api"), ("exchange_rate", "rates-api")),
        "Open circuit: 'rates-api' is not called any more",
        "Further ones are refused at once, and nothing runs",
        "Look at the other side",
    ),
)


@pytest.fixture(scope="module")
def dashboard(desk: Planted, pictures: Path) -> Generator[Served]:
    """Started where the store is, as a person would: no page says where that was."""
    assert pictures.is_absolute()
    here = Settings(records="sqlite:///rail.records.db", store="sqlite:///rail.db", by="carol")
    with chdir(desk.folder), serving(here) as one:
        yield one


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    folder = Path(os.environ.get(DIRECTORY) or tmp_path_factory.mktemp("screenshots")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class Walk:
    """A person in front of the page, who sees text and clicks what looks like a link."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.clicks = 0
        self.page.goto(f"{served.base}/?token={served.sessions.token}")
        self.page.wait_for_url(f"{served.base}/")

    def sees(self) -> str:
        """All visible text of the page."""
        return re.sub(r"\s+", " ", self.page.inner_text("body"))

    def click(self, text: str, beside: str) -> None:
        """The first visible link, button or fold with this text, in a row or paragraph with that one."""
        where = self.page.locator("tr, li, p, article").filter(has_text=beside) if beside else self.page
        before = self.page.url
        found = where.locator("a:visible, button:visible, summary:visible").filter(has_text=text).first
        folded = found.evaluate("element => element.localName") == "summary"
        found.click()
        if folded:
            self.page.wait_for_selector("details[open] pre:not(:has(a))")
        else:
            self.page.wait_for_url(lambda url: url != before)
            self.page.wait_for_load_state("load")
        self.clicks += 1


@pytest.fixture
def walk(request: pytest.FixtureRequest, chromium: Browser, dashboard: Served) -> Iterator[Walk]:
    one = Walk(chromium, dashboard, **request.param)
    yield one
    one.context.close()


LIGHT, DARK = {"viewport": DESK, "color_scheme": "light"}, {"viewport": DESK, "color_scheme": "dark"}
ON_A_PHONE = {"viewport": PHONE, "color_scheme": "light"}


def _walks() -> Iterator[Any]:
    for cause in CAUSES:
        yield pytest.param(LIGHT, cause, "", id=cause.name)
    for cause in CAUSES:
        if cause.name in ("dead-dependency", "unknown-outcome"):
            yield pytest.param(DARK, cause, "-dark", id=f"{cause.name}-dark")
        if cause.name in ("loop", "retry-storm"):
            yield pytest.param(ON_A_PHONE, cause, "-phone", id=f"{cause.name}-phone")


@pytest.mark.parametrize(("walk", "cause", "suffix"), list(_walks()), indirect=["walk"])
def test_a_planted_cause_is_found_within_three_clicks(walk: Walk, cause: Cause, suffix: str, pictures: Path) -> None:
    assert cause.hint in walk.sees()
    for text, beside in cause.clicks:
        walk.click(text, beside)
    seen = walk.sees()
    walk.page.screenshot(path=pictures / f"{cause.name}{suffix}.png")
    for said in (cause.names, cause.means, cause.mend):
        assert said in seen
    assert walk.clicks <= MOST


@pytest.mark.parametrize("walk", [LIGHT], indirect=True)
def test_the_front_page_shows_them_among_ordinary_calls(walk: Walk, pictures: Path) -> None:
    seen = walk.sees()
    walk.page.wait_for_selector(".chart canvas")
    walk.page.screenshot(path=pictures / "front.png", full_page=True)
    assert "7 alerts firing" in seen
    found = re.search(r"(\d+) calls in the last hour, (\d+) % with an error", seen)
    assert found is not None
    assert (int(found[1]) >= 300, int(found[2]) <= 25) == (True, True)
