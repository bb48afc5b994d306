"""The shop's rail: its tools behind one policy, recorded in an SQLite file. The demo and the chat share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.shop.data import CUSTOMER
from examples.shop.shop import Shop
from examples.shop.tools import TOOLS
from toolrail import Allow, Ask, PolicyRequest, Principal, Rail
from toolrail.events import Sink
from toolrail.records.prices import Price
from toolrail.records.recorder import Recorder
from toolrail.store import Store

RECORD = Path(".demo/rail.db")
STORE = f"sqlite:///{RECORD}"
TELEMETRY = Path(".demo/rail.records.db")
"""Beside the store, where the dashboard looks for it."""

LOGGED_IN = Principal(CUSTOMER, permissions=frozenset({"orders:read", "orders:cancel"}))
"""Who talks to the shop. The application says so, and no model can say otherwise."""

INSTRUCTIONS = (
    "You help a customer of an online shop who is logged in. Use the tools; make up nothing. Answer in one or two "
    "short sentences, without Markdown."
)


def ask_before_cancelling(request: PolicyRequest) -> Allow | Ask:
    """A cancellation is for good, so a person says yes to each one, whoever or whatever wished for it."""
    return Ask("a cancellation is for good", rule="shop:cancellation") if request.tool == "cancel_order" else Allow()


def shop_rail(
    *, sinks: Sequence[Sink] | None = None, store: str | Store = STORE, records: Recorder | None = None
) -> Rail[Shop]:
    """The tools behind the policy. Nobody is there to approve unless an approver is added: then the answer is no."""
    RECORD.parent.mkdir(exist_ok=True)
    return Rail(TOOLS, store=store, policies=[ask_before_cancelling], sinks=sinks, records=records)


def telemetry(prices: Mapping[str, Price]) -> Recorder:
    """What the dashboard reads. Several rails of one demo share it; it keeps arguments and results, secrets masked."""
    return Recorder(f"sqlite:///{TELEMETRY}", content="redacted", prices=prices)


def forget_record() -> None:
    """Removes both: a shop that is built anew knows nothing of what was done in the old one."""
    for file in (RECORD, TELEMETRY):
        for suffix in ("", "-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)
