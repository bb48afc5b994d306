"""What a person settles at the command line is settled in the record too: alerts and dashboards stop waiting for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.cli.conftest import Command
from tests.promises import promise
from toolrail import Principal, Rail, ToolCall, once, tool
from toolrail.records.reading import Records, last
from toolrail.records.views import CallFilter


@tool(effect=once(by="invoice", scope="principal"))
async def pay(invoice: str) -> str:
    """Pays an invoice, and loses the connection."""
    raise ConnectionResetError(invoice)


async def lose(url: str) -> None:
    """One payment whose outcome nobody knows."""
    async with Rail([pay], store=url) as rail, rail.run([], principal=Principal("ada")) as run:
        [result] = await rail.batch([ToolCall("c1", "pay", '{"invoice": "A1"}')], run)
        assert result.status == "unknown"


@promise("effect:unknown", "see:record")
def test_an_outcome_that_a_person_settles_waits_no_longer_in_the_record(tmp_path: Path, command: Command) -> None:
    url, record = f"sqlite:///{tmp_path}/rail.db", f"sqlite:///{tmp_path}/rail.records.db"
    asyncio.run(lose(url))
    with Records(record) as records:
        assert records.overview(last(hours=1)).unknown == 1
        [waiting] = records.calls(CallFilter(unsettled=True))

    done = command("effects", "settle", waiting.key, "--happened", "--by", "ann", "--store", url)

    assert done.code == 0
    with Records(record) as records:
        assert records.overview(last(hours=1)).unknown == 0
        assert records.calls(CallFilter(unsettled=True)) == ()
        settled = records.call(waiting.key)
    assert settled is not None
    assert (settled.later, settled.later_how) == ("ok", "hand")


def test_settling_makes_no_record_where_there_is_none(tmp_path: Path, command: Command) -> None:
    url, record = f"sqlite:///{tmp_path}/rail.db", tmp_path / "rail.records.db"
    asyncio.run(lose(url))
    with Records(f"sqlite:///{record}") as records:
        [waiting] = records.calls(CallFilter(unsettled=True))
    record.unlink()

    assert command("effects", "settle", waiting.key, "--happened", "--by", "ann", "--store", url).code == 0

    assert not record.exists()
