"""The guard, over real HTTP: who may ask, from where, and what the browser is told."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.dashboard.served import Served
from tests.promises import promise
from toolrail.dashboard.security import HEADERS, SESSION_SECONDS, SESSIONS, Sessions

pytestmark = promise("see:dashboard/safe")

FORM = {"approval": "x", "verdict": "approve", "binding": "y"}


def raw(served: Served, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    with served.browser(signed_in=False) as client:
        return client.request(method, path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/tools", "/approvals", "/live/stream", "/nothing", "/approvals/decide"])
def test_nothing_is_shown_without_a_session(served: Served, path: str) -> None:
    answer = raw(served, "GET", path, {})
    assert answer.status_code == 403
    assert "Not signed in" in answer.text
    assert "ACME" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:80"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "[::1"},
        {"host": ""},
        {"host": "2130706433"},
    ],
    ids=lambda headers: headers["host"] or "empty",
)
@pytest.mark.parametrize("path", ["/", "/static/app.css", "/approvals/decide"])
def test_a_name_that_is_not_ours_gets_nothing_even_with_a_session(
    browser: httpx2.Client, path: str, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        assert browser.request(method, path, headers=headers).status_code in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:9", "LOCALHOST", "[::1]:8321"])
def test_loopback_is_ours_by_any_port_as_through_a_tunnel(browser: httpx2.Client, host: str) -> None:
    # The client sends its cookie by the address, whatever the Host header says.
    assert browser.get("/tools", headers={"host": host}).status_code == 200


def test_a_token_signs_in_once(served: Served) -> None:
    token = served.sessions.token
    first = raw(served, "GET", f"/?token={token}", {})
    assert first.status_code == 200
    cookie = first.headers["set-cookie"]
    for word in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert word in cookie
    assert token not in cookie
    assert token not in first.text
    assert 'http-equiv="refresh"' in first.text
    assert first.headers["referrer-policy"] == "no-referrer"
    again = raw(served, "GET", f"/?token={token}", {})
    assert again.status_code == 403
    assert "set-cookie" not in again.headers
    assert served.sessions.token != token


@pytest.mark.parametrize(
    "query", ["token=", "token=wrong", "token=%00%ff", "token=a&token=b", "x=1", "token=" + "a" * 5_000]
)
def test_a_wrong_token_signs_nobody_in(served: Served, query: str) -> None:
    before = served.sessions.token
    answer = raw(served, "GET", f"/?{query}", {})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert served.sessions.token == before


def test_who_is_signed_in_loses_a_token_from_the_address(served: Served, browser: httpx2.Client) -> None:
    token = served.sessions.token
    answer = browser.get(f"/?token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert served.sessions.token == token


@pytest.mark.parametrize("cookie", ["toolrail=guess", "toolrail=", "toolrail=\x01", "other=1", 'toolrail="; x', "=;=;"])
def test_a_made_up_cookie_is_no_session(served: Served, cookie: str) -> None:
    assert raw(served, "GET", "/", {"cookie": cookie}).status_code in (400, 403)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
def test_other_methods_are_not_answered(browser: httpx2.Client, method: str) -> None:
    assert browser.request(method, "/approvals/decide").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/tools", "/approvals", "/static/app.css", "/nothing", "/static/nothing.js", "/static/../app.py"]
)
def test_every_answer_has_the_headers(browser: httpx2.Client, path: str) -> None:
    answer = browser.get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value or (name == "cache-control" and path.startswith("/static/app.css"))
    assert "server" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in policy
    for word in ("unsafe", "*", "data:", "http:", "https:"):
        assert word not in policy


def test_also_a_refusal_has_the_headers(served: Served) -> None:
    for headers in ({}, {"host": "evil.example"}):
        answer = raw(served, "GET", "/", headers)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def _origin(served: Served, **more: str) -> dict[str, str]:
    return {"origin": served.base, **more}


FOREIGN: dict[str, dict[str, str]] = {
    "no origin": {},
    "another site": {"origin": "https://evil.example"},
    "null": {"origin": "null"},
    "another port": {"origin": "http://127.0.0.1:1"},
    "ours, and more": {"origin": "BASE.evil.example"},
    "another scheme": {"origin": "chrome-extension://abc"},
    "the browser says cross-site": {"origin": "BASE", "sec-fetch-site": "cross-site"},
    "the browser says same-site": {"origin": "BASE", "sec-fetch-site": "same-site"},
    "the browser says none": {"origin": "BASE", "sec-fetch-site": "none"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_change_that_another_page_asks_for_is_refused(served: Served, browser: httpx2.Client, name: str) -> None:
    headers = {key: value.replace("BASE", served.base) for key, value in FOREIGN[name].items()}
    page = browser.get("/approvals").text
    csrf = page.split('name="csrf" value="')[1].split('"')[0]
    answer = browser.post("/approvals/decide", data={**FORM, "csrf": csrf}, headers=headers)
    assert answer.status_code == 403
    assert "another page" in answer.text


@pytest.mark.parametrize("form", [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}], ids=str)
def test_a_change_needs_the_token_of_its_own_session(
    served: Served, browser: httpx2.Client, form: dict[str, str]
) -> None:
    answer = browser.post("/approvals/decide", data={**FORM, **form}, headers=_origin(served))
    assert answer.status_code == 403


def test_the_token_of_another_session_does_not_do(served: Served, browser: httpx2.Client) -> None:
    with served.browser() as other:
        csrf = other.get("/approvals").text.split('name="csrf" value="')[1].split('"')[0]
    answer = browser.post("/approvals/decide", data={**FORM, "csrf": csrf}, headers=_origin(served))
    assert answer.status_code == 403
    assert "another session" in answer.text


@pytest.mark.parametrize(
    "body", [b"x" * 1_000_001, b"\xff\xfe", b"a=1&" * 60, b"{}"], ids=["huge", "not utf-8", "many", "json"]
)
def test_a_body_that_is_no_form_of_ours_is_refused(served: Served, browser: httpx2.Client, body: bytes) -> None:
    assert browser.post("/approvals/decide", content=body, headers=_origin(served)).status_code == 403


def test_a_body_that_does_not_say_its_size_is_refused(served: Served, browser: httpx2.Client) -> None:
    answer = browser.post("/approvals/decide", content=iter([b"a=1"]), headers=_origin(served))
    assert answer.status_code == 403


@pytest.mark.parametrize("mode", ["cors", "no-cors", "websocket"])
def test_another_site_cannot_load_a_page_as_part_of_its_own(browser: httpx2.Client, mode: str) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode}
    assert browser.get("/", headers=headers).status_code == 403
    assert browser.get("/", headers={**headers, "sec-fetch-mode": "navigate"}).status_code == 200


def test_files_are_only_our_own(browser: httpx2.Client) -> None:
    for path in ("/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/", "/static"):
        assert browser.get(path).status_code in (307, 404)


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_ends_after_its_time() -> None:
    clock = _Clock()
    sessions = Sessions(clock)
    session = sessions.begin(sessions.token)
    assert session is not None
    clock.now = SESSION_SECONDS
    assert sessions.knows(session)
    clock.now = SESSION_SECONDS + 1
    assert not sessions.knows(session)


def test_there_are_so_many_sessions_and_the_oldest_goes() -> None:
    sessions = Sessions()
    begun: list[Any] = [sessions.begin(sessions.token) for _ in range(SESSIONS + 1)]
    assert [sessions.knows(session) for session in begun] == [False, *[True] * SESSIONS]
    assert len({sessions.csrf(session) for session in begun}) == SESSIONS + 1
