"""`toolrail dashboard`: serves the record as local web pages until Ctrl-C."""

from __future__ import annotations

import argparse
import getpass
import os
import socket
import sys
import webbrowser
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from toolrail.cli.places import DEFAULT, VARIABLE, records_argument, records_url, sqlite_of
from toolrail.cli.problem import Problem

if TYPE_CHECKING:
    from toolrail.dashboard.security import Sessions

PORT = 8321
DEMO = "sqlite:///.demo/rail.db"
_NEEDED = ("jinja2", "starlette", "uvicorn")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    records_argument(parser)
    parser.add_argument("--port", type=int, default=PORT, help=f"default: {PORT}; 0 takes a free one")
    parser.add_argument("--no-open", action="store_true", help="do not open a browser")
    parser.add_argument("--by", metavar="NAME", help="who decides approvals, for the record; default: your user name")
    parser.add_argument(
        "--permission", action="append", default=[], help="one that NAME has, for approvals; may be given again"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen on; default: 127.0.0.1, which only this machine reaches",
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="a further name that browsers may use for it"
    )


def run(options: argparse.Namespace) -> int:
    """Serves until it is stopped."""
    _check_installed()
    import uvicorn

    from toolrail.dashboard.app import Settings, build
    from toolrail.dashboard.security import Sessions

    if options.store == DEFAULT and VARIABLE not in os.environ and not _there(DEFAULT) and _there(DEMO):
        options.store = DEMO
    records = records_url(options)
    listening = _listen(options.host, options.port)
    port: int = listening.getsockname()[1]
    own = [] if _loopback(options.host) or options.host in ("0.0.0.0", "::") else [options.host]
    settings = Settings(
        records=records,
        store=_store_of(options.store),
        by=options.by or getpass.getuser(),
        permissions=frozenset(options.permission),
        hosts=(*own, *options.allow_host),
        cookie=f"toolrail_{port}",
    )
    sessions = Sessions()
    app = build(settings, sessions=sessions, began=lambda: _say(options.host, port, sessions, "another browser"))
    if not _loopback(options.host):
        print(
            f"warning: {options.host} is no loopback address. Whoever reaches it and has the token reads the record "
            f"and decides approvals, and the network carries both in the clear: put TLS in front.",
            file=sys.stderr,
        )
    address = _say(options.host, port, sessions, "the dashboard")
    if not options.no_open:
        webbrowser.open(address)
    config = uvicorn.Config(
        app, log_level="warning", server_header=False, access_log=False, timeout_graceful_shutdown=1, lifespan="off"
    )
    with listening:
        uvicorn.Server(config).run(sockets=[listening])
    return 0


def _store_of(place: str) -> str | None:
    """The store, where there is one: a record may stand alone, as a copy on another machine does."""
    path = sqlite_of(place)
    return place if path is None or Path(path).exists() else None


def _there(url: str) -> bool:
    return Path(url.removeprefix("sqlite:///")).exists()


def _check_installed() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise Problem("dashboard", f"{', '.join(missing)} is not installed.", 'pip install "toolrail[dashboard]"')


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        mend = "Another dashboard may be running; --port 0 takes a free port."
        raise Problem(f"--host {host} --port {port}", f"it cannot be listened on ({error}).", mend) from error


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _say(host: str, port: int, sessions: Sessions, what: str) -> str:
    """Prints an address that signs in once, and returns it."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    address = f"http://{name}:{port}/?token={sessions.token}"
    print(f"{what}: {address}", flush=True)
    return address
