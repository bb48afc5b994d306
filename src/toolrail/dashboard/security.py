"""The guard in front of every page: who may ask, from where, and what a browser may do with the answer.

A page on loopback is reachable by every site that the user has open, by name (DNS rebinding) or by form. So: the Host
must be one of ours, a session begins with a token that only the terminal shows, its cookie never leaves for another
site, what changes state must come from our own page with a token of the session, and the browser is told to run nothing
but our own files.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SESSION_SECONDS = 12 * 3600.0
SESSIONS = 32
"""At most so many browsers at once; the oldest is signed out."""
BODY = 1_000_000
"""Bytes of a request."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: under it a browser sends `Origin: null` with our own forms, and nobody else gets this one either.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cache-control": "no-store",
}
"""On every answer. A file of ours, which holds no data, sets its own `cache-control`."""


class Sessions:
    """The browsers that are signed in, and the one token that signs in the next. In memory: a restart ends them all.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._known: dict[str, float] = {}
        self.token = secrets.token_urlsafe(24)

    def begin(self, token: str) -> str | None:
        """A new session for the token, which is then spent: `token` is another. None where it is wrong."""
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self.token = secrets.token_urlsafe(24)
        session = secrets.token_urlsafe(32)
        self._known[session] = self._clock() + SESSION_SECONDS
        while len(self._known) > SESSIONS:
            del self._known[next(iter(self._known))]
        return session

    def knows(self, session: str) -> bool:
        """Whether this session lives."""
        until = self._known.get(session)
        if until is not None and until < self._clock():
            del self._known[session]
            return False
        return until is not None

    def csrf(self, session: str) -> str:
        """What a form of this session has to send along."""
        return hmac.new(self._key, session.encode(), "sha256").hexdigest()


class Guard:
    """ASGI middleware that lets in only what is ours to answer.

    Args:
        app: what it guards.
        sessions: who is signed in.
        cookie: the cookie's name. Cookies know no ports, so dashboards on two ports need two names.
        hosts: names beyond loopback that a browser may use for us.
        open_paths: path prefixes that need no session, such as style sheets.
        began: is called when a token was spent; there is a new one then.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        sessions: Sessions,
        cookie: str = "toolrail",
        hosts: Iterable[str] = (),
        open_paths: tuple[str, ...] = ("/static/",),
        began: Callable[[], object] = lambda: None,
    ) -> None:
        self._app = app
        self._sessions = sessions
        self._cookie = cookie
        self._hosts = {*LOOPBACK, *(host.lower() for host in hosts)}
        self._open = open_paths
        self._began = began

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself, or lets the application."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no web sockets
        answer = self._stopped(scope) or self._signed_in(scope)
        await (answer or self._app)(scope, receive, _hardened(send))

    def _stopped(self, scope: Scope) -> Response | None:
        """What no session makes right."""
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) != 1 or _name(headers["host"]) not in self._hosts:
            return _said(421, "This name is not ours", "Use the address that toolrail dashboard printed.")
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return Response("Method not allowed", 405, {"allow": "GET, HEAD, POST"})
        if scope["method"] == "POST":
            return None if _from_us(headers) else _said(403, "Refused", "This request came from another page.")
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        if site in ("cross-site", "same-site") and mode != "navigate":
            return _said(403, "Refused", "Another site may not read this page.")
        return None

    def _signed_in(self, scope: Scope) -> Response | None:
        """A session begins, or is known, or nothing is shown."""
        session = _cookie(scope, self._cookie)
        if session is not None and self._sessions.knows(session):
            if scope["method"] != "POST" and b"token=" in scope["query_string"] and scope["path"] == "/":
                return RedirectResponse("/", 303)  # signed in already; keep the token out of the address
            scope["state"] = {**scope.get("state", {}), "csrf": self._sessions.csrf(session)}
            return None
        if scope["path"].startswith(self._open) and scope["method"] != "POST":
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["method"] == "GET" and len(given) == 1 and (new := self._sessions.begin(given[0])):
            self._began()
            return self._welcome(new)
        mend = "Open the newest address that toolrail dashboard printed in its terminal. Each works once."
        return _said(403, "Not signed in", mend)

    def _welcome(self, session: str) -> Response:
        # A page and no redirect: with a redirect, a browser that came from elsewhere would not send the strict cookie.
        page = _said(200, "Signed in", "Go on to the dashboard.", refresh=True)
        page.set_cookie(self._cookie, session, max_age=int(SESSION_SECONDS), path="/", httponly=True, samesite="strict")
        page.headers["referrer-policy"] = "no-referrer"
        return page


async def checked_form(request: Request) -> dict[str, str]:
    """The form of a request that changes state.

    Raises:
        Refused: it is too large, or has not this session's token.
    """
    if int(request.headers.get("content-length") or BODY + 1) > BODY:
        raise Refused("The form is too large, or does not say how large it is.")
    body = await request.body()
    if len(body) > BODY:
        raise Refused("The form is too large.")
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=50)
    except ValueError as error:
        raise Refused("This is not a form.") from error
    form = {name: values[-1] for name, values in fields.items()}
    if not hmac.compare_digest(form.pop("csrf", "").encode(), str(request.state.csrf).encode()):
        raise Refused("The form is of another session. Load the page again.")
    return form


class Refused(Exception):
    """A request that changes state is not ours; the text says why."""


def _name(host: str) -> str:
    """Of a Host header, without the port: that may be another one, as through an ssh tunnel."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _from_us(headers: Headers) -> bool:
    """By the browser's own word. Each browser of the last years sends Origin with a form; most say the site too."""
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    try:
        origin = urlsplit(headers.get("origin", ""))
    except ValueError:
        return False
    return origin.scheme in ("http", "https") and origin.netloc.lower() == headers["host"].lower()


def _cookie(scope: Scope, name: str) -> str | None:
    cookies = SimpleCookie()
    try:
        cookies.load(Headers(scope=scope).get("cookie", ""))
    except CookieError:
        return None
    return cookies[name].value if name in cookies else None


def _hardened(send: Send) -> Send:
    """`send`, with `HEADERS` on each answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def _said(status: int, title: str, text: str, *, refresh: bool = False) -> Response:
    """A small page of our own. Its texts are constants: nothing of the request is in it."""
    onward = '<meta http-equiv="refresh" content="0; url=/">' if refresh else ""
    link = '<p><a href="/">Dashboard</a></p>' if refresh else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: toolrail</title>{onward}'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="/static/icon.svg">'
        '<link rel="stylesheet" href="/static/app.css"></head>'
        f'<body class="said"><main><h1>{title}</h1><p>{text}</p>{link}</main></body></html>',
        status,
    )
