"""Every page over what real runs wrote, over real HTTP: it answers, is small, escapes, leads on, and only reads."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from html import unescape
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from tests.dashboard.played import HOSTILE, Played
from tests.dashboard.served import Served, serving
from tests.promises import promise
from toolrail import Agent, Principal, Rail, tool
from toolrail.approvers import deferred
from toolrail.dashboard.app import PAGES, Settings
from toolrail.dashboard.formats import exact, indented, money, typed, visible
from toolrail.dashboard.links import href, run_href, session_href
from toolrail.dashboard.pages.live import LATE, STREAMS, Follow
from toolrail.decisions import Ask, Decision, PolicyRequest
from toolrail.records.reading import Records
from toolrail.records.recorder import Recorder
from toolrail.records.views import Money, Window
from toolrail.store import ListApprovals
from toolrail.stores.reading import StoreReader
from toolrail.testing import Calls, Say, ScriptedModel

pytestmark = promise("see:dashboard/pages")


def window(length: float) -> Window:
    return Window(time.time() - length, time.time())


T = TypeVar("T")
LARGEST = 200_000
"""Bytes of a page with everything that it loads."""
MINE = ("/", "/tools", "/dependencies", "/calls", "/approvals", "/alerts", "/costs", "/live")
CALL = '<a class="go" href="/why?'


def loaded(browser: httpx2.Client, path: str) -> int:
    """The bytes of a page and of its files."""
    answer = browser.get(path)
    assert answer.status_code == 200, path
    files = re.findall(r'(?:src|href)="(/static/[^"]+)"', answer.text)
    return len(answer.content) + sum(len(browser.get(unescape(file)).content) for file in set(files))


@pytest.mark.parametrize("w", ["15m", "1h", "24h", "7d", "nonsense"])
@pytest.mark.parametrize("path", MINE)
def test_every_page_answers_for_every_span_and_is_small(browser: httpx2.Client, path: str, w: str) -> None:
    assert loaded(browser, href(path, w=w)) < LARGEST


def test_every_page_has_its_landmarks_and_names_itself(browser: httpx2.Client) -> None:
    for path in MINE:
        text = browser.get(path).text
        title = re.search(r"<title>(.+?) &middot; toolrail</title>", text)
        assert title is not None
        assert f"<h1>{title[1]}</h1>" in text
        for piece in (
            '<html lang="en"',
            '<main id="main"',
            '<nav aria-label="Pages">',
            'href="#main"',
            "<header",
            "<footer>",
        ):
            assert piece in text, (path, piece)
        assert text.count('aria-current="page"') == (path != "/calls")


def crawled(browser: httpx2.Client, *, most: int = 400) -> Iterator[tuple[str, str]]:
    """All pages that links lead to from the front page, each once."""
    waiting, seen = ["/?w=24h"], {"/?w=24h"}
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text[:300])
        if not answer.headers["content-type"].startswith("text/html"):
            assert answer.headers["content-type"].startswith("text/plain"), path  # and nosniff: never a page
            continue
        yield path, answer.text
        for link in re.findall(r'<a [^>]*?href="([^"]+)"', answer.text):
            target = unescape(link).partition("#")[0]
            # One span is enough; the others differ in figures only.
            if target.startswith("/") and target not in seen and not re.search(r"[?&]w=(15m|1h|7d)", target):
                seen.add(target)
                waiting.append(target)


def test_every_link_leads_to_a_page_and_nothing_hostile_gets_out(browser: httpx2.Client) -> None:
    pages = dict(crawled(browser))
    kinds = {path.partition("?")[0] for path in pages}
    assert set(MINE) | {"/tool", "/run", "/why"} <= kinds
    assert any("onerror" in text for text in pages.values())  # the hostile names are there
    for path, text in pages.items():
        for piece in ("<img", "<script>", "</text></svg><script", "\u202e", "\x07", "s3cr3t", " style=", "javascript:"):
            assert piece not in text, (path, piece)
        for tag in re.findall(r"<script[^>]*>", text):
            assert re.fullmatch(r'<script src="/static/[\w.]+\?v=\w+" defer>', tag), (path, tag)
        assert not re.search(r"<[a-z][^>]*\son[a-z]+=", re.sub(r'"[^"]*"', '""', text)), path


def test_the_front_page_answers_the_four_questions(browser: httpx2.Client, record: Played) -> None:
    text = re.sub(r"\s+", " ", browser.get("/").text)
    broke, which, waits, costs = (text.split(f'<h2 id="{name}">')[1] for name in ("broke", "which", "waits", "costs"))
    fault = broke.split("</section>")[0]
    assert "OUTCOME_UNKNOWN" in fault
    assert "charge</a> <small>on bank</small>" in fault
    assert re.search(r'data-l="since"><time datetime="[^"]+" title="\d{4}-', fault)
    assert CALL in fault
    assert re.search(r'bank</a>.*?data-l="failed">[1-9]', which.split("</section>")[0])
    who = waits.split("</section>")[0]
    assert "approval</span> pay</a> for alice" in who
    assert "unknown outcome</span> charge</a> for alice" in who
    assert "toolrail effects list" in who
    money_ = costs.split("</section>")[0]
    assert "unknown</span>" in money_  # one model has no price
    assert "&ge; " in money_
    assert "a day earlier" in money_


def test_tools_are_sorted_by_what_was_asked_for(record: Played, browser: httpx2.Client) -> None:
    def names(sort: str) -> list[str]:
        text = browser.get(href("/tools", sort=sort, w="24h")).text
        assert text.count("aria-sort") == 1
        return re.findall(r'class="go" href="/tool\?name=(\w+)', text)

    with Records(record.url) as records:
        tools = records.tools(window(86_400))
    expected = sorted(tools, key=lambda tool: -(tool.latency.p95 or 0.0))
    assert names("p95") == [tool.tool for tool in expected if tool.tool.isidentifier()]
    assert names("calls")[0] == "find"
    assert names("nonsense") == names("calls")
    assert sorted(names("errors")) == sorted(names("calls"))


def test_a_tool_page_has_codes_faults_latency_and_calls(browser: httpx2.Client) -> None:
    text = browser.get("/tool?name=find").text
    for piece in ("p99", "LOOP_DETECTED", "Versions", "Newest calls", "p95 ms", 'class="spark"'):
        assert piece in text
    assert browser.get("/tool?name=nobody").status_code == 404
    assert browser.get("/tool").status_code == 404


def test_what_nobody_priced_is_unknown_and_never_nothing(browser: httpx2.Client) -> None:
    text = re.sub(r"\s+", " ", browser.get("/costs").text)
    row = text.split(">unpriced<")[1].split("</tr>")[0]
    assert "unknown</span>" in row


def test_what_is_not_there_says_so(browser: httpx2.Client) -> None:
    for path in ("/nothing", "/tool?name=x", "/run?id=x", "/why?key=x"):
        answer = browser.get(path)
        assert answer.status_code == 404
        assert "Not there" in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_a_hostile_address_is_only_text(browser: httpx2.Client, path: str) -> None:
    names = (
        "name",
        "id",
        "key",
        "tenant",
        "tool",
        "code",
        "w",
        "sort",
        "text",
        "session",
        "done",
        "only",
        "a",
        "b",
        "seq",
    )
    answer = browser.get(path, params=dict.fromkeys(names, HOSTILE))
    assert answer.status_code in (200, 400, 404)
    assert "<img" not in answer.text
    assert "<script>" not in answer.text


def test_reading_changes_nothing_on_disk(record: Played, browser: httpx2.Client) -> None:
    folder = Path(record.url.removeprefix("sqlite:///")).parent
    before = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    for path in MINE:
        assert browser.get(path).status_code == 200
    after = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    assert after == before


@pytest.mark.parametrize("made", ["nothing", "no record", "a newer one"])
def test_a_record_that_cannot_be_read_says_what_to_do(tmp_path: Path, made: str) -> None:
    path = tmp_path / "rail.records.db"
    if made == "no record":
        path.write_bytes(b"This is no database, but text of some length." * 50)
    if made == "a newer one":
        recorder = Recorder(f"sqlite:///{path}")
        asyncio.run(Rail([], sinks=[recorder]).drain())
        recorder.close()
    with serving(Settings(records=f"sqlite:///{path}")) as one, one.browser() as browser:
        for page in ("/", "/tools", "/runs", "/live"):
            answer = browser.get(page)
            if made != "a newer one":
                assert answer.status_code == 503
                assert "The record cannot be read" in answer.text
                assert "rail.records.db" in answer.text


def test_without_a_store_approvals_say_how_to_get_them(record: Played) -> None:
    with serving(Settings(records=record.url)) as one, one.browser() as browser:
        assert "toolrail dashboard --store URL" in browser.get("/approvals").text
        answer = post(one, browser, verdict="approve", approval="x", binding="y")
        assert answer.status_code == 409


# Approvals, each over a store of its own.


def large(request: PolicyRequest) -> Decision:
    amount = request.arguments.get("amount", 0)
    return Ask(f"{amount} is much", four_eyes=amount > 9_000, needs="pay:large" if amount > 5_000 else None)


def apart(work: Coroutine[Any, Any, T]) -> T:
    """Runs it in a thread of its own: Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Office:
    """A store with one question in it, and a dashboard that can answer it."""

    def __init__(self, folder: Path, amount: int = 4_000) -> None:
        self.store = f"sqlite:///{folder / 'rail.db'}"
        self.records = f"sqlite:///{folder / 'rail.records.db'}"
        self.paid: list[dict[str, Any]] = []

        @tool(effect="idempotent")
        def pay(amount: int, to: str) -> str:
            """Pays."""
            self.paid.append({"amount": amount, "to": to})
            return "paid"

        self.pay = pay
        self.recorder = Recorder(self.records)
        self.run = apart(self.asked(amount))
        self.recorder.close()

    def rail(self) -> Rail[object]:
        return Rail([self.pay], store=self.store, policies=[large], approver=deferred, sinks=[self.recorder])

    async def asked(self, amount: int) -> str:
        call = Calls(("pay", {"amount": amount, "to": "ACME \u202etxt.exe"}))
        async with self.rail() as rail:
            result = await Agent(ScriptedModel([call]), rail).run("Pay.", principal=Principal("alice"))
            return result.run_id

    def goes_on(self) -> None:
        async def main() -> None:
            async with self.rail() as rail:
                await Agent(ScriptedModel([Say("Done.")]), rail).resume(self.run, principal=Principal("alice"))

        apart(main())
        self.recorder.close()

    def row(self) -> Any:
        (row,) = StoreReader(self.store.removeprefix("sqlite:///")).ask(ListApprovals(state=None))
        return row

    def settings(self, **more: Any) -> Settings:
        given: dict[str, Any] = {"records": self.records, "store": self.store, "by": "carol"} | more
        return Settings(**given)


def post(served: Served, browser: httpx2.Client, **form: str) -> httpx2.Response:
    """Sends a form as a browser would that has loaded the page."""
    found = re.search(r'name="csrf" value="(\w+)"', browser.get("/approvals").text)
    csrf = found[1] if found else served.sessions.csrf(dict(browser.cookies)["toolrail"])
    return browser.post("/approvals/decide", data={**form, "csrf": csrf}, headers={"origin": served.base})


def decide(office: Office, settings: dict[str, Any] | None = None, **form: str) -> httpx2.Response:
    row = office.row()
    known = {"approval": row.approval, "tenant": row.tenant, "binding": row.binding}
    with serving(office.settings(**(settings or {}))) as one, one.browser() as browser:
        answer = post(one, browser, **{**known, **form})
        if answer.status_code == 303:
            answer = browser.get(answer.headers["location"])
        return answer


def test_a_question_is_shown_exactly_and_a_yes_is_the_persons_who_started_it(tmp_path: Path) -> None:
    office = Office(tmp_path)
    with serving(office.settings()) as one, one.browser() as browser:
        text = browser.get("/approvals").text
        assert "\\u202etxt.exe" in text.split("<pre")[1].split("</pre>")[0]
        assert "\u202e" not in text
        assert "\\u202etxt.exe" in text.split("<textarea")[1]
        assert "You decide as <strong>carol</strong>" in text
    answer = decide(office, verdict="approve", note="looked at it", by="mallory")
    assert 'role="status"><strong>Approved' in answer.text
    row = office.row()
    assert (row.state, row.approver, row.note, row.edited) == ("approved", "carol", "looked at it", None)
    office.goes_on()
    assert office.paid == [{"amount": 4_000, "to": "ACME \u202etxt.exe"}]


def test_changed_arguments_are_those_that_are_used(tmp_path: Path) -> None:
    office = Office(tmp_path)
    answer = decide(office, verdict="edit", arguments='{"amount": 10,\r\n "to": "ACME"}')
    assert "changed arguments are checked then" in answer.text
    office.goes_on()
    assert office.paid == [{"amount": 10, "to": "ACME"}]


def test_arguments_that_were_opened_for_a_change_and_left_are_the_same(tmp_path: Path) -> None:
    office = Office(tmp_path)
    with serving(office.settings()) as one, one.browser() as browser:
        area = browser.get("/approvals").text.split("<textarea")[1].split(">", 1)[1].split("</textarea>")[0]
    decide(office, verdict="edit", arguments=unescape(area))
    assert office.row().edited is None


def test_a_no_has_its_reason_for_the_model(tmp_path: Path) -> None:
    office = Office(tmp_path)
    assert "Refused" in decide(office, verdict="refuse", message="Not to them.").text
    row = office.row()
    assert (row.state, row.edited) == ("rejected", "Not to them.")
    office.goes_on()
    assert office.paid == []


WRONG: dict[str, dict[str, str]] = {
    "another binding": {"verdict": "approve", "binding": "b" * 64},
    "no binding": {"verdict": "approve", "binding": ""},
    "no verdict": {},
    "an unknown verdict": {"verdict": "maybe"},
    "another tenant": {"verdict": "approve", "tenant": "acme"},
    "another question": {"verdict": "approve", "approval": "x"},
    "no JSON": {"verdict": "edit", "arguments": "{"},
    "deep JSON": {"verdict": "edit", "arguments": "[" * 100_000},
    "a list": {"verdict": "edit", "arguments": "[1]"},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_form_that_says_something_else_decides_nothing(tmp_path: Path, name: str) -> None:
    office = Office(tmp_path)
    assert decide(office, None, **WRONG[name]).status_code == 409
    assert office.row().state == "pending"


@pytest.mark.parametrize(
    ("amount", "settings", "decides"),
    [
        (4_000, {"by": "alice"}, True),
        (6_000, {"by": "carol"}, False),
        (6_000, {"by": "carol", "permissions": frozenset({"pay:large"})}, True),
        (9_500, {"by": "alice", "permissions": frozenset({"pay:large"})}, False),
        (9_500, {"by": "carol", "permissions": frozenset({"pay:large"})}, True),
    ],
)
def test_who_may_not_approve_has_no_button_and_a_form_of_his_own_does_not_help(
    tmp_path: Path, amount: int, settings: dict[str, Any], *, decides: bool
) -> None:
    office = Office(tmp_path, amount)
    with serving(office.settings(**settings)) as one, one.browser() as browser:
        text = browser.get("/approvals").text
        assert ("Approve exactly this" in text) is decides
        assert 'value="refuse"' in text
    answer = decide(office, settings=settings, verdict="approve")
    assert answer.status_code == (200 if decides else 409)
    assert office.row().state == ("approved" if decides else "pending")


def test_the_second_of_two_decisions_is_told_that_it_is_late(tmp_path: Path) -> None:
    office = Office(tmp_path)
    decide(office, verdict="approve")
    late = decide(office, verdict="refuse")
    assert late.status_code == 409
    assert "approved already, by &#39;carol&#39;" in late.text
    assert office.row().state == "approved"


# Live.


def events(lines: Iterator[str], *, name: str) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line == f"event: {name}":
            yield json.loads(next(lines).removeprefix("data: "))


def test_the_stream_tells_of_calls_as_they_are_settled(tmp_path: Path) -> None:
    office = Office(tmp_path)
    decide(office, verdict="approve")
    with serving(office.settings()) as one, one.browser() as browser:
        with browser.stream("GET", "/live/stream") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            office.goes_on()
            found = next(call for call in events(stream.iter_lines(), name="call") if call["outcome"] == "ok")
        assert found["tool"] == "pay"
        assert browser.get(found["href"]).status_code == 200
        assert browser.get(found["run_href"]).status_code == 200


def test_so_many_may_follow_along_and_a_place_is_free_when_one_leaves(served: Served) -> None:
    with served.browser() as browser:
        with ExitStack() as open_streams:
            for _ in range(STREAMS):
                assert open_streams.enter_context(browser.stream("GET", "/live/stream")).status_code == 200
            refused = browser.get("/live/stream")
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        end = time.monotonic() + 20.0
        while (status := _first(browser)) == 503 and time.monotonic() < end:
            pass  # the server notices at its next look at the record
        assert status == 200


def _first(browser: httpx2.Client) -> int:
    with browser.stream("GET", "/live/stream") as stream:
        return stream.status_code


def test_a_row_that_is_written_late_is_told_once(record: Played) -> None:
    follow = Follow(record.url, since=record.wall + LATE)
    first = list(follow.news())
    assert first
    assert [line for line in follow.news() if line in first] == []


# Words and figures.


@pytest.mark.parametrize(
    ("cost", "says", "never"),
    [
        (Money(12.5), "$12.50", "unknown"),
        (Money(0.0), "$0.00", "unknown"),
        (Money(0.0042, "EUR"), "€0.0042", "unknown"),
        (Money(2.0, "CHF"), "2.00 CHF", "unknown"),
        (Money(0.0, "USD", 3), "unknown", ">$0.00<"),
        (Money(5.0, "USD", 1), "unknown", ">$5.00<"),
    ],
)
def test_money_that_is_not_all_known_is_unknown(cost: Money, says: str, never: str) -> None:
    text = money(cost)
    assert says in text
    assert never not in text


def test_what_one_cannot_see_is_shown_by_its_number() -> None:
    assert exact("a\u202e<b>\u200b\n") == 'a<span class="ctl">U+202E</span>&lt;b&gt;<span class="ctl">U+200B</span>\n'
    assert visible("pay\u200b") == "pay<U+200B>"
    assert visible("Müller 北京") == "Müller 北京"


@pytest.mark.parametrize(
    "text", ['{"a":[1,{"b":"x,{\\"}:"}],"c":1.0e400,"d":"\\\\"}', "[]", '{"z":"\u202e\U000e0001"}', '"\\u0041"']
)
def test_json_is_laid_out_and_every_value_stays(text: str) -> None:
    assert json.loads(typed(indented(text))) == json.loads(text)
    assert re.sub(r"\s", "", indented(text)) == re.sub(r"\s", "", text)


def test_ids_and_names_stand_in_the_query_encoded() -> None:
    assert run_href("default", "a/b?c&d") == "/run?id=a%2Fb%3Fc%26d"
    assert session_href("acme", '"><') == "/session?id=%22%3E%3C&tenant=acme"
