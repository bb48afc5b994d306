"""Addresses of pages. Names and ids come from outside, so they stand in the query, encoded, and never in the path."""

from __future__ import annotations

from urllib.parse import urlencode


def href(path: str, **query: str | float | None) -> str:
    """An address with its query; what is None or empty is left out.

    Example: `href("/calls", tool="pay", code="TIMEOUT")`
    """
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def run_href(tenant: str, run: str) -> str:
    """One run."""
    return href("/run", id=run, tenant=_tenant(tenant))


def why_href(tenant: str, key: str) -> str:
    """Why one call ended as it did."""
    return href("/why", key=key, tenant=_tenant(tenant))


def tool_href(tool: str, w: str | None = None) -> str:
    """One tool."""
    return href("/tool", name=tool, w=w)


def session_href(tenant: str, session: str) -> str:
    """One session."""
    return href("/session", id=session, tenant=_tenant(tenant))


def _tenant(tenant: str) -> str | None:
    return None if tenant == "default" else tenant
