"""In the machine's Chromium: nothing breaks the policy, nothing hostile runs, a phone and a keyboard are enough."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboard.served import Served, serving
from tests.dashboard.test_pages import MINE, Office
from tests.promises import promise

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, promise("see:dashboard/browser")]

PHONE: Any = {"width": 360, "height": 740}


class Tab:
    """A page that is signed in, and what its console said."""

    def __init__(self, browser: Browser, served: Served, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.base = served.base
        self.page.goto(f"{served.base}/?token={served.sessions.token}")
        self.page.wait_for_url(f"{served.base}/")

    def open(self, path: str) -> Page:
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture
def tab(chromium: Browser, served: Served) -> Iterator[Tab]:
    one = Tab(chromium, served, color_scheme="light")
    yield one
    one.context.close()


def test_no_page_breaks_the_policy_or_runs_what_is_hostile_or_asks_elsewhere(tab: Tab) -> None:
    for path in (*MINE, "/tool?name=find", "/tool?name=(unknown)", "/runs", "/sessions"):
        page = tab.open(f"{path}{'&' if '?' in path else '?'}w=24h")
        page.wait_for_load_state("load")
        assert page.evaluate("document.querySelectorAll('main img, main script').length") == 0
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith(tab.base)] == []


def test_the_policy_stops_what_gets_in_all_the_same(tab: Tab) -> None:
    page = tab.open("/")
    for attack in (
        "document.body.innerHTML = '<img src=x onerror=window.hit=1>'",
        "document.body.insertAdjacentHTML('beforeend', '<p>')",
        "document.createElement('script').textContent = 'window.hit=1'",
    ):
        with pytest.raises(Exception, match=r"TrustedHTML|Trusted|requires"):
            page.evaluate(f"{attack}")
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.cookie.includes('toolrail')") is False


def test_the_charts_are_drawn_under_the_policy(tab: Tab) -> None:
    page = tab.open("/?w=1h")
    page.wait_for_selector(".chart canvas")
    assert page.locator(".chart .u-legend").count() == 1
    assert tab.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, served: Served, scheme: Any) -> None:
    tab = Tab(chromium, served, viewport=PHONE, color_scheme=scheme)
    for path in (*MINE, "/tool?name=find"):
        page = tab.open(path)
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    tab.context.close()


def test_dark_follows_the_system_and_the_button_is_remembered(tab: Tab) -> None:
    page = tab.open("/tools")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert light != dark
    page.click("#theme")
    assert page.evaluate(colour) == light
    page = tab.open("/alerts")
    assert page.evaluate(colour) == light
    assert page.locator("html").get_attribute("data-theme") == "light"


def test_keys_lead_everywhere(tab: Tab) -> None:
    page = tab.open("/")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/tools*")
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("main a.go").nth(1)
    assert second.evaluate("(link) => link === document.activeElement")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tool?*")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.type("gt")  # in a field, letters are letters
    assert page.input_value("#search") == "gt"
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.wait_for_url("**w=24h*")


def test_pages_can_be_read_without_script(chromium: Browser, served: Served) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{served.base}/?token={served.sessions.token}")
    page.wait_for_url(f"{served.base}/")
    assert page.locator(".chart svg rect").count() > 0
    page.click("text=OUTCOME_UNKNOWN")
    page.wait_for_url("**/why?*")
    context.close()


def test_a_question_is_answered_in_the_browser(chromium: Browser, tmp_path: Path) -> None:
    office = Office(tmp_path)
    with serving(office.settings()) as served:
        tab = Tab(chromium, served)
        page = tab.open("/")
        page.click("#waits ~ ul a.go")
        page.wait_for_url("**/approvals*")
        page.fill("input[name=note]", "looked at it")
        page.click("text=Approve exactly this")
        page.wait_for_selector("[role=status] >> text=Approved")
        row = office.row()
        assert (row.state, row.approver, row.note) == ("approved", "carol", "looked at it")
        page.click("[role=status] a")
        page.wait_for_url("**/run?*")
        assert tab.said == []
        tab.context.close()


def test_calls_appear_on_the_live_page_as_they_are_settled(chromium: Browser, tmp_path: Path) -> None:
    office = Office(tmp_path)
    with serving(office.settings()) as served:
        tab = Tab(chromium, served)
        page = tab.open("/approvals")
        page.click("text=Approve exactly this")
        page.wait_for_selector("[role=status]")
        page = tab.open("/live")
        page.wait_for_selector("#live-state >> text=following along")
        office.goes_on()
        page.wait_for_selector("#live tr.fresh .s-ok")
        page.click("#live tr.fresh a.go:has(.s-ok)")
        page.wait_for_url("**/why?*")
        assert tab.said == []
        tab.context.close()
