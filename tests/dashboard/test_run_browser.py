"""The pages of runs in Chromium: what script adds, and that nothing hostile runs, under the strict policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.dashboard.played import SECRET, Played
from tests.dashboard.served import Served
from tests.promises import promise

sync_api: Any = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, promise("see:dashboard")]


@pytest.fixture(scope="module")
def cookies(chromium: Any, served: Served) -> Any:
    """Of a browser that is signed in."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{served.base}/?token={served.sessions.token}")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(chromium: Any, cookies: Any, served: Served) -> Iterator[Any]:
    """A page that fails the test when the console says anything bad, such as a breach of the policy."""
    context = chromium.new_context(storage_state=cookies, base_url=served.base)
    made = context.new_page()
    said: list[str] = []

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            said.append(message.text)

    def dialog(shown: Any) -> None:
        said.append(shown.message)
        shown.dismiss()

    def failed(error: Any) -> None:
        said.append(str(error))

    made.on("console", console)
    made.on("dialog", dialog)
    made.on("pageerror", failed)
    yield made
    context.close()
    assert said == []


def test_the_slider_moves_through_the_run_without_loading_the_page(page: Any, record: Played) -> None:
    page.goto(f"/run?id={record.runs['slow']}")
    title = page.locator("#moment-title")
    sync_api.expect(title).to_have_text("The run ended")
    page.evaluate("window.stays = true")
    page.locator("#at").focus()
    page.keyboard.press("Home")
    sync_api.expect(title).to_have_text("The run began")
    assert float(page.locator("#cursor").get_attribute("x1").rstrip("%")) == 0.0
    page.locator("#moment-after").click()
    sync_api.expect(title).to_have_text("The model was asked")
    page.locator("body").press("]")
    sync_api.expect(title).to_have_text("The model answered")
    assert page.evaluate("window.stays") is True


def test_messages_follow_the_slider(page: Any, record: Played) -> None:
    page.goto(f"/run?id={record.runs['slow']}")
    page.locator("#moment-messages summary").click()
    told = page.locator("#moment-messages pre")
    sync_api.expect(told).to_contain_text("It is paid.")
    page.locator("#at").focus()
    page.keyboard.press("Home")
    sync_api.expect(told).not_to_contain_text("It is paid.")


def test_hostile_content_is_shown_as_text_and_what_is_hidden_is_named(page: Any, record: Played) -> None:
    page.goto(f"/run?id={record.runs['hostile']}")
    box = page.locator("tr.call details.reveal").last
    box.locator("summary").click()
    told = box.locator("pre")
    sync_api.expect(told).to_contain_text("</pre><script>alert(3)</script>")
    assert told.locator("script").count() == 0
    assert told.locator(".ctl").all_inner_texts() == ["U+202E", "U+0007"]
    assert told.inner_text() == SECRET.replace("\u202e", "U+202E").replace("\x07", "U+0007")


def test_a_bar_of_the_waterfall_leads_to_its_call(page: Any, record: Played) -> None:
    page.goto(f"/run?id={record.runs['denied']}")
    page.locator("#waterfall a", has=page.locator(".t-refused")).first.click()
    sync_api.expect(page.locator("h1")).to_contain_text("Why refund")
    assert page.locator(".st-here").count() == 1


def test_bars_stand_where_their_shares_say(page: Any, record: Played) -> None:
    page.goto(f"/run?id={record.runs['slow']}")
    whole = page.locator("#waterfall").bounding_box()
    boxes = [one.bounding_box() for one in page.locator("#waterfall .t-ok .base").all()]
    assert len(boxes) == 4
    for box in boxes:
        assert box["x"] >= whole["x"] - 1
        assert box["x"] + box["width"] <= whole["x"] + whole["width"] + 1
    pay = max(boxes, key=lambda box: box["width"])
    assert 0.83 < pay["width"] / whole["width"] < 0.90, "31.6 of 36.5 seconds"


@pytest.mark.parametrize("run", ["slow", "hostile", "many", "looping", "resumed"])
@pytest.mark.parametrize("width", [360, 1240])
def test_no_page_is_wider_than_its_screen(page: Any, record: Played, run: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for address in (f"/run?id={record.runs[run]}", "/runs?w=24h", "/sessions?w=24h"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_rows_are_reached_by_keys(page: Any, record: Played) -> None:
    page.goto("/runs?w=24h&only=pending")
    page.locator("body").press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run?id=*")
    assert record.runs["waiting"] in page.url
