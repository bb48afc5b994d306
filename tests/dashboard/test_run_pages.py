"""The pages of runs over HTTP, reading what real runs wrote: each says what happened, and none runs what it shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2
import pytest

from tests.dashboard.played import HOSTILE, SECRET, Played
from tests.promises import promise
from toolrail.records.reading import Records

pytestmark = promise("see:dashboard")
PAGES = ("/runs?w=24h", "/sessions?w=24h", "/session?id=chat-1")


class _Page(HTMLParser):
    """The tags and attributes that a browser would see, the words of its text, and what rectangles are drawn."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self, path: str) -> list[str]:
        """Addresses of links to a page, in order."""
        return [
            href
            for tag, attrs in self.tags
            if tag == "a" and "tabindex" not in attrs and (href := attrs.get("href") or "").startswith(path)
        ]


def _get(browser: httpx2.Client, address: str) -> _Page:
    answer = browser.get(address)
    assert answer.status_code == 200, answer.text
    return _Page(answer.text)


def _run(browser: httpx2.Client, record: Played, name: str, more: str = "") -> _Page:
    tenant = "&tenant=acme" if name == "other" else ""
    return _get(browser, f"/run?id={record.runs[name]}{tenant}{more}")


def _why(browser: httpx2.Client, record: Played, name: str, call: int = 0) -> _Page:
    with Records(record.url) as records:
        detail = records.run(record.runs[name])
        assert detail is not None
    return _get(browser, f"/why?key={detail.calls[call].key}")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("slow", ["Answered", "22 s, was in 2 failed attempts of pay", "pay: 2 attempts failed and were made again"]),
        ("denied", ["3 calls of 4 did not succeed", "rule refund-limit", "INVALID_ARGUMENTS", "UNKNOWN_TOOL"]),
        ("unknown", ["An outcome is unknown", "charge may have taken effect, or not"]),
        ("replayed", ["replayed", "2 calls, each succeeded"]),
        ("looping", ["the limit of turns was reached", "LOOP_DETECTED"]),
        ("many", ["500 calls", "484 calls are folded", "waited 3.10 s on average", "at most 32"]),
        ("plain", ["it made no calls"]),
        ("unpriced", ["no price", "nobody stated its price"]),
        ("waiting", ["Waits", "a person has to decide on pay", "APPROVAL_PENDING"]),
        ("resumed", ["suspended: no process worked on it", "worked on 2 times"]),
        ("other", ["eve", "of tenant acme"]),
    ],
)
def test_a_run_says_what_became_of_it(browser: httpx2.Client, record: Played, run: str, said: list[str]) -> None:
    text = _run(browser, record, run).text
    assert [one for one in said if one not in text] == []


@pytest.mark.parametrize(
    ("run", "call", "said"),
    [
        ("denied", 0, ["Refused at authorise by rule 'refund-limit'", "more than 500 EUR"]),
        ("denied", 2, ["Refused at validate", "the arguments do not fit"]),
        ("denied", 3, ["Refused at find", "no tool on offer has this name"]),
        ("unknown", 0, ["Ended at execute", "toolrail effects show", "--did-not-happen", "attempt 1"]),
        ("unknown", 1, ["Refused at recall", "toolrail effects list"]),
        ("replayed", 1, ["Nothing ran", "answered here"]),
        ("looping", 6, ["Refused at admit", "again and again"]),
        ("looping", 9, ["Refused at admit", "a limit of the run is reached"]),
        ("waiting", 0, ["Waits at approve", "toolrail approvals list"]),
        ("resumed", 0, ["It succeeded", "A person said yes to exactly this call", "carol"]),
        ("slow", 3, ["It succeeded at attempt 3", "transient ConnectionResetError"]),
    ],
)
def test_a_call_says_why(browser: httpx2.Client, record: Played, run: str, call: int, said: list[str]) -> None:
    text = _why(browser, record, run, call).text
    assert [one for one in said if one not in text] == []


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("all", {"slow", "denied", "unknown", "replayed", "looping", "hostile", "many", "plain", "waiting", "resumed"}),
        ("looping", {"looping"}),
        ("pending", {"waiting"}),
        ("running", set[str]()),
        ("unknown", {"unknown"}),
    ],
)
def test_a_filter_shows_the_runs_that_it_names(
    browser: httpx2.Client, record: Played, only: str, expected: set[str]
) -> None:
    found = _get(browser, f"/runs?w=24h&only={only}").links("/run?")
    ids = {record.runs[name] for name in expected}
    others = {record.runs[name] for name in ("other", "unpriced")} if only == "all" else set[str]()
    assert {re.findall(r"id=([^&]+)", link)[0] for link in found} == ids | others


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("tool=charge", ["unknown"]),
        ("principal=bob", ["denied"]),
        ("tenant=acme", ["other"]),
        ("session=chat-1", ["denied", "slow"]),
    ],
)
def test_runs_are_found_by_what_they_are_of(
    browser: httpx2.Client, record: Played, query: str, expected: list[str]
) -> None:
    found = _get(browser, f"/runs?w=24h&{query}").links("/run?")
    assert [re.findall(r"id=([^&]+)", link)[0] for link in found] == [record.runs[name] for name in expected]


def test_a_part_of_an_id_finds_a_run_of_any_time(browser: httpx2.Client, record: Played) -> None:
    (link,) = _get(browser, f"/runs?text={record.runs['resumed'][-8:]}&w=15m").links("/run?")
    assert record.runs["resumed"] in link


def test_expensive_runs_come_dearest_first(browser: httpx2.Client, record: Played) -> None:
    found = _get(browser, "/runs?w=24h&only=expensive").links("/run?")
    assert record.runs["looping"] in found[0]
    assert not any(record.runs["unpriced"] in link for link in found)


def test_every_run_is_on_one_of_the_pages(
    browser: httpx2.Client, record: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolrail.dashboard.pages.runs.LIMIT", 5)
    address, found = "/runs?w=24h", list[str]()
    while address:
        page = _get(browser, address)
        found += page.links("/run?")
        address = next((attrs["href"] or "" for _, attrs in page.tags if attrs.get("rel") == "next"), "")
    assert len(found) == len(set(found)) == len(record.runs)


def test_content_is_a_request_of_its_own_and_plain_text(browser: httpx2.Client, record: Played) -> None:
    page = _run(browser, record, "hostile")
    addresses = [attrs["data-text"] for _, attrs in page.tags if attrs.get("data-text")]
    answers = [browser.get(address or "") for address in addresses]
    assert {one.headers["content-type"] for one in answers} == {"text/plain; charset=utf-8"}
    assert {one.headers["x-content-type-options"] for one in answers} == {"nosniff"}
    assert SECRET in [one.text for one in answers]
    assert "alert(3)" not in page.text


def test_without_content_it_says_how_to_have_it(browser: httpx2.Client, record: Played) -> None:
    page = _run(browser, record, "denied")
    assert "content is off: Recorder(content='redacted')" in page.text.replace("off. Rec", "off: Rec")
    assert browser.get(f"/text?id={record.runs['denied']}&seq=1").status_code == 404


def test_what_is_not_there_is_said_kindly(browser: httpx2.Client) -> None:
    for address in ("/run?id=nothing", "/run", "/why?key=nothing", "/session?id=nothing", "/compare?a=nothing"):
        answer = browser.get(address)
        assert (answer.status_code, "There is no such" in answer.text) == (404, True), address


@pytest.mark.parametrize("query", ["&at=x", "&at=-1", "&at=99999999999999999999", "&turn=77", "&turn=1&skip=9999"])
def test_odd_numbers_in_an_address_do_no_harm(browser: httpx2.Client, record: Played, query: str) -> None:
    assert browser.get(f"/run?id={record.runs['slow']}{query}").status_code == 200


def test_hostile_names_are_text_and_nothing_else(browser: httpx2.Client, record: Played) -> None:
    addresses = [*PAGES, f"/run?id={record.runs['hostile']}", f"/compare?a={record.runs['hostile']}"]
    addresses += _run(browser, record, "hostile").links("/why?")
    for address in addresses:
        answer = browser.get(address)
        page = _Page(answer.text)
        assert "img" not in {tag for tag, _ in page.tags}, address
        assert all(attrs.get("src", "").startswith("/static/") for tag, attrs in page.tags if tag == "script")  # pyright: ignore[reportOptionalMemberAccess]
        assert not {name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "style"}
        assert "\u202e" not in answer.text, address
    assert HOSTILE[:20] in _run(browser, record, "hostile").text


def test_exceptions_texts_are_on_no_page(browser: httpx2.Client, record: Played) -> None:
    pages = [*PAGES, *(f"/run?id={run}" for run in record.runs.values())]
    pages += [link for name in ("slow", "unknown") for link in _run(browser, record, name).links("/why?")]
    assert not [page for page in pages if "s3cr3t" in browser.get(page).text]


@pytest.mark.parametrize("run", ["slow", "many", "looping", "hostile", "resumed"])
def test_a_page_of_a_run_is_small_and_drawn_without_style(browser: httpx2.Client, record: Played, run: str) -> None:
    answer = browser.get(f"/run?id={record.runs[run]}")
    assert len(answer.content) < 200_000
    page = _Page(answer.text)
    shares = [
        float(value[:-1])
        for _, attrs in page.tags
        for name in ("x", "width")
        if (value := attrs.get(name)) and "%" in value
    ]
    assert len(shares) > 10
    assert all(0.0 <= share <= 100.001 for share in shares)


def test_all_calls_of_a_large_turn_can_be_reached(browser: httpx2.Client, record: Played) -> None:
    found: set[str] = set()
    for skip in range(0, 500, 100):
        found.update(_run(browser, record, "many", f"&turn=1&skip={skip}").links("/why?"))
    assert len(found) == 500


def test_without_script_each_event_is_an_address(browser: httpx2.Client, record: Played) -> None:
    page = _run(browser, record, "slow", "&at=1")
    seen = 1
    assert "The run began" in page.text
    while following := next((attrs.get("href") for _, attrs in page.tags if attrs.get("rel") == "next"), None):
        page, seen = _get(browser, following), seen + 1
    assert "The run ended" in page.text
    assert f"event {seen} of {seen}" in page.text


def test_the_state_at_an_event_is_that_of_then(browser: httpx2.Client, record: Played) -> None:
    address = f"/run/moment?id={record.runs['slow']}&at="
    early, late = browser.get(f"{address}5").json(), browser.get(f"{address}9999").json()
    assert [one["name"] for one in early["open"]] == ["find", "find"]
    assert (late["open"], late["title"], late["after"]) == ([], "The run ended", None)
    assert early["x"] < late["x"] <= 100.0


def test_the_messages_at_an_event_are_those_of_then(browser: httpx2.Client, record: Played) -> None:
    address = f"/run/messages?id={record.runs['slow']}&at="
    early, late = (browser.get(f"{address}{at}") for at in (3, 9999))
    assert early.headers["content-type"] == "text/plain; charset=utf-8"
    assert "user: Pay ACME's invoice." in early.text
    assert "It is paid." not in early.text
    assert 'assistant calls pay({"what": "INV-1", "amount": 100})' in late.text
    assert "assistant: It is paid." in late.text


def test_two_runs_are_compared_where_they_part(browser: httpx2.Client, record: Played) -> None:
    a, b = record.runs["slow"], record.runs["denied"]
    text = _get(browser, f"/compare?a={a}&b={b}").text
    assert "They part at turn 1" in text
    assert "only B calls refund" in text
    assert "No difference" in _get(browser, f"/compare?a={a}&b={a}").text


def test_runs_to_compare_with_are_offered(browser: httpx2.Client, record: Played) -> None:
    found = _get(browser, f"/compare?a={record.runs['slow']}").links("/compare?")
    assert record.runs["denied"] in found[0], "that of its own session first"


def test_a_session_shows_its_runs(browser: httpx2.Client, record: Played) -> None:
    page = _get(browser, "/session?id=chat-1")
    assert len(page.links("/run?")) == 2
    assert "8 calls" in page.text
