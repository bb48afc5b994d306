"""Approvals: the calls that wait for a person, exactly as they would be made, and the person's answer.

The only page that changes anything. Who decides is whoever started the dashboard: a form cannot say it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from toolrail.approvals import decide
from toolrail.cli.places import sqlite_of, url_of
from toolrail.dashboard.links import href
from toolrail.dashboard.rendering import render
from toolrail.dashboard.security import checked_form
from toolrail.decisions import Approval, Principal, fault_of, needed
from toolrail.errors import ApprovalError
from toolrail.rail import Rail
from toolrail.records.reading import Records
from toolrail.store import ApprovalRow, ListApprovals, StoreError
from toolrail.stores.reading import StoreReader

SHOWN = 200


def page(request: Request, _: Records) -> Response:
    """`/approvals`"""
    settings = request.app.state.settings
    rows = _listed(settings.store, None) if settings.store else ()
    now = time.time()
    pending = [row for row in rows if row.state == "pending" and not row.expired(now)]
    return render(
        request,
        "approvals.html",
        active="approvals",
        store=settings.store,
        pending=[(row, needed(row.needs), _fault(request, row)) for row in pending],
        past=sorted((row for row in rows if row not in pending), key=lambda row: -(row.decided or row.created))[:50],
        now=now,
        done=request.query_params.get("done", ""),
    )


def waiting(request: Request) -> tuple[ApprovalRow, ...]:
    """The questions that wait now; empty without a store, or with one that cannot be read: its own page says why."""
    store: str | None = request.app.state.settings.store
    now = time.time()
    try:
        return tuple(row for row in _listed(store, "pending") if not row.expired(now)) if store else ()
    except StoreError:
        return ()


async def decide_form(request: Request) -> Response:
    """`POST /approvals/decide`: verdict approve, edit or refuse, for exactly the binding that was shown."""
    form = await checked_form(request)
    settings = request.app.state.settings
    if not settings.store:
        raise ApprovalError("The dashboard was started without a store. Nothing was decided.")
    by = Principal(settings.by, settings.permissions, tenant=form.get("tenant") or "default")
    if not form.get("binding"):  # the core takes an empty one for "not stated"
        raise ApprovalError("The form does not say what was shown. Nothing was decided.")
    answer = _answer(form, by)
    async with _rail(settings.store) as rail:
        row = await decide(rail.ports, None, form.get("approval", ""), answer)
    return RedirectResponse(href("/approvals", done=row.approval), 303)


def _answer(form: Mapping[str, str], by: Principal) -> Approval:
    note, binding = form.get("note", "").strip(), form["binding"]
    match form.get("verdict"):
        case "approve":
            return Approval(True, by, binding, note=note)
        case "edit":
            return Approval(True, by, binding, note=note, arguments=_object(form.get("arguments", "")))
        case "refuse":
            return Approval(False, by, binding, note=note, message=form.get("message", "").strip() or None)
        case _:
            raise ApprovalError("The form has no verdict. Nothing was decided.")


def _object(text: str) -> Mapping[str, Any]:
    try:
        given: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApprovalError(f"The changed arguments are not JSON ({error}). Nothing was decided.") from error
    if not isinstance(given, dict):
        raise ApprovalError("The changed arguments are not a JSON object. Nothing was decided.")
    return given  # pyright: ignore[reportUnknownVariableType]


def _fault(request: Request, row: ApprovalRow) -> str | None:
    """Why the person may not approve it; None when he may."""
    settings = request.app.state.settings
    by = Principal(settings.by, settings.permissions, tenant=row.tenant)
    return fault_of(by, requester=row.principal, tenant=row.tenant, four_eyes=row.four_eyes, needs=row.needs)


def _rail(store: str) -> Rail[object]:
    return Rail[object]((), store=url_of(store), sinks=())


def _listed(store: str, state: Any) -> tuple[ApprovalRow, ...]:
    """Read only, where that is possible from outside: a page that is only looked at opens no store for writing."""
    path = sqlite_of(store)
    if path is not None:
        return StoreReader(path).ask(ListApprovals(state=state, limit=SHOWN))
    return asyncio.run(_asked(store, state))


async def _asked(store: str, state: Any) -> tuple[ApprovalRow, ...]:
    async with _rail(store) as rail:
        return await rail.approvals.list(state=state, limit=SHOWN)
