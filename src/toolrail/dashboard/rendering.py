"""`render`: one template, with what every page needs. All text is escaped; a name that is missing is an error."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from toolrail.dashboard.charts import bars
from toolrail.dashboard.formats import FILTERS, visible
from toolrail.dashboard.links import href, run_href, session_href, tool_href, why_href
from toolrail.dashboard.windows import CHOICES, chosen

HERE = Path(__file__).parent
NAV = (
    ("overview", "/", "Overview", "o"),
    ("tools", "/tools", "Tools", "t"),
    ("dependencies", "/dependencies", "Dependencies", "d"),
    ("runs", "/runs", "Runs", "r"),
    ("sessions", "/sessions", "Sessions", "s"),
    ("approvals", "/approvals", "Approvals", "a"),
    ("alerts", "/alerts", "Alerts", "l"),
    ("costs", "/costs", "Costs", "c"),
    ("live", "/live", "Live", "v"),
)
"""Name (a page's `active`), address, words, and the key after `g`."""


def render(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page from `templates/`. `active=` names its entry of `NAV`."""
    theme = request.cookies.get("theme", "")
    shown = {
        "active": "",
        "windowed": False,
        "nav": NAV,
        "theme": theme if theme in ("light", "dark") else "",
        "csrf": getattr(request.state, "csrf", ""),
        "w": chosen(request),
        "windows": CHOICES,
        "path": request.url.path,
        "query": _Query(request.query_params),
        "by": getattr(request.app.state, "by", ""),
        "source": getattr(request.app.state, "source", ""),
        **context,
    }
    return HTMLResponse(_environment().get_template(template).render(shown), status)


class _Query(dict[str, str]):
    """What the address says; nothing where it says nothing."""

    def __missing__(self, name: str) -> str:
        return ""


@cache
def asset(name: str) -> str:
    """The address of a static file, with its digest: browsers may keep it for ever."""
    return f"/static/{name}?v={sha256((HERE / 'static' / name).read_bytes()).hexdigest()[:12]}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(FILTERS)
    links = {each.__name__: each for each in (href, run_href, session_href, tool_href, why_href)}
    known: dict[str, Any] = links | {"asset": asset, "bars": bars}
    made.globals.update(known)
    return made
