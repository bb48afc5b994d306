"""A long result is kept whole outside the conversation; the model gets a valid preview and can read on, it alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import ALICE, BrokenStore, Trouble, call, leftover_tasks, rail_of, said
from toolrail.agent import Agent
from toolrail.clock import SystemClock
from toolrail.decisions import Principal
from toolrail.definition import Access, ResultRules, Tool, tool
from toolrail.effects import once
from toolrail.encoding import encode_slices, encode_value, is_wide
from toolrail.errors import ToolError
from toolrail.limits import RailLimits
from toolrail.messages import Media, ToolResult
from toolrail.previews.skim import NoSuchPart, steps_of
from toolrail.previews.slices import at_once
from toolrail.previews.windows import View, preview_of
from toolrail.rail import Rail
from toolrail.results import MISSING, read_result
from toolrail.run import Run
from toolrail.session import result_cap
from toolrail.store import KeepResult, Op, ReadResult, ResultRow, Settle, ask
from toolrail.stores.memory import MemoryStore
from toolrail.testing import Calls, Say, ScriptedModel, handler_context, run_virtual
from toolrail.toolset import prefixed

PRODUCTS = [
    {"sku": f"SKU-{n:04}", "name": f"Trail shoe {n}", "price": f"{n}.90", "about": "light and quick, " * 18}
    for n in range(412)
]
LOG = "\n".join(f"2026-11-05 08:{n % 60:02} request {n} took {n % 13} ms" for n in range(3_000))


def giving(value: Any, **options: Any) -> Tool[Any]:
    """A tool that returns this."""
    rules: dict[str, Any] = {"max_bytes": 8_192, **options.pop("rules", {})}

    @tool(name="give", effect=options.pop("effect", "read"), result=ResultRules(**rules))
    async def give() -> Any:
        """Gives it."""
        return value

    return replace(give, **options)


async def asked(rail: Rail[Any], run: Run[Any], name: str, **arguments: Any) -> ToolResult:
    """One call in a run."""
    (result,) = await rail.batch([call(name, arguments)], run)
    return result


def conversed(value: Any, *reads: dict[str, Any], rail: Rail[Any] | None = None, **options: Any) -> list[ToolResult]:
    """The preview of a result, and what reading on gives each time, in one run."""

    async def main() -> list[ToolResult]:
        used = rail or rail_of(giving(value, **options), read_result)[0]
        async with used.run([]) as run:
            first = await asked(used, run, "give")
            handle = said(first).get("handle")
            return [first, *[await asked(used, run, "read_result", handle=handle, **read) for read in reads]]

    return run_virtual(main())


# The preview


@promise("call:size/preview")
def test_a_list_of_412_products_says_that_20_are_shown_and_how_to_read_on() -> None:
    first, second = conversed(PRODUCTS, {"offset": 20, "limit": 5})
    shown = said(first)
    assert shown["items"] == PRODUCTS[:20]
    assert shown["note"] == (f'20 of 412 items are shown. Read on: read_result(handle="{shown["handle"]}", offset=20).')
    assert (shown["shown"], shown["of"], shown["truncated"]) == (20, 412, True)
    assert shown["bytes"] == len(encode_value(PRODUCTS).text)
    assert len(first.content) <= 8_192
    assert first.flags == ("preview", "kept")
    assert said(second)["items"] == PRODUCTS[20:25]


@promise("call:size/preview")
def test_without_the_reading_tool_nothing_is_kept_and_the_preview_says_that_the_rest_was_left_out() -> None:
    store = Operations()
    rail, _ = rail_of(giving(PRODUCTS), store=store)
    (first,) = conversed(PRODUCTS, rail=rail)
    assert (
        said(first)["note"] == "20 of 412 items are shown. The rest was left out. Call the tool again and ask for less."
    )
    assert "handle" not in said(first)
    assert first.flags == ("preview",)
    assert store.asked == []


@promise("call:size/preview")
def test_nobody_is_advised_to_do_an_effect_again() -> None:
    (first,) = conversed(PRODUCTS, rail=rail_of(giving(PRODUCTS, effect="once"))[0])
    assert said(first)["note"] == "20 of 412 items are shown. The rest was left out."


@promise("call:size/preview")
def test_an_object_keeps_its_small_fields_and_shortens_its_long_ones() -> None:
    value = {"query": "shoes", "products": PRODUCTS, "total": 412, "meta": {"log": "word " * 2_000, "took": 5}}
    shown = said(conversed(value)[0])
    fields = shown["fields"]
    assert (fields["query"], fields["total"], fields["meta"]["took"]) == ("shoes", 412, 5)
    kept = fields["products"]
    assert kept["items"] == PRODUCTS[: kept["shown"]]
    assert kept["of"] == 412
    assert fields["meta"]["log"].endswith("word \u2026")
    assert f"products ({kept['shown']} of 412 items), meta.log (" in shown["note"]
    assert f'path="products", offset={kept["shown"]})' in shown["note"]


@promise("call:size/preview")
def test_text_is_cut_after_a_line_and_counted_in_lines_and_bytes() -> None:
    shown = said(conversed(LOG)[0])
    lines = shown["text"].count("\n")
    assert LOG.startswith(shown["text"])
    assert shown["text"].endswith("\n")
    assert shown["note"].startswith(f"{lines} of 3000 lines are shown ({len(shown['text'])} of {len(LOG)} bytes).")


@promise("call:size/preview")
def test_text_of_one_line_is_cut_after_a_word() -> None:
    assert said(conversed("light and quick " * 1_000)[0])["text"].endswith(" ")


@promise("call:size/preview")
def test_json_that_a_tool_returns_as_text_stays_json() -> None:
    assert said(conversed(json.dumps(PRODUCTS, indent=2))[0])["items"][0] == PRODUCTS[0]


@promise("call:size/preview")
@pytest.mark.parametrize("text", ['[1, 2} "' + "x" * 9_000, "[INFO] " * 2_000, '{"a": 1}\n' * 2_000, "[" * 9_000])
def test_what_only_looks_like_json_is_text(text: str) -> None:
    assert text.startswith(said(conversed(text)[0])["text"])


@promise("call:size/preview")
def test_an_item_that_is_too_long_by_itself_is_shortened() -> None:
    shown = said(conversed([{"id": 7, "body": "word " * 5_000}, 2])[0])
    assert shown["items"][0]["id"] == 7
    assert shown["note"].startswith("1 of 2 items are shown. Shortened: [0].body (")


@promise("call:size/preview", "call:images")
def test_media_go_along_with_the_preview_of_their_text() -> None:
    picture = Media(b"\x89PNG", "image/png", "chart")
    (first,) = conversed(["word " * 2_000, picture])
    assert first.media == (picture,)
    assert first.flags == ("preview", "kept")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=400)),
    lambda inner: st.one_of(st.lists(inner, max_size=40), st.dictionaries(st.text(max_size=60), inner, max_size=30)),
    max_leaves=60,
)


@promise("call:size/preview")
@given(
    value=st.one_of(st.lists(JSON), st.dictionaries(st.text(), JSON)), cap=st.integers(700, 3_000), kept=st.booleans()
)
def test_any_preview_is_json_under_its_cap_and_the_same_each_time(value: Any, cap: int, kept: bool) -> None:
    text = encode_value(value).text
    call = 'read_result(handle="res_0123456789abcdef0123456789abcdef"' if kept else ""
    view = View(cap, call=call, head={"truncated": True, "bytes": len(text)})
    shown = at_once(preview_of(text, view))
    assert len(shown.encode()) <= cap
    read = json.loads(shown)
    assert read["truncated"] is True
    assert read["note"] or len(text.encode()) <= cap
    assert shown == at_once(preview_of(text, view))


@promise("call:size/preview")
@pytest.mark.parametrize("cap", [1, 40, 100, 300, 500])
@pytest.mark.parametrize("value", [PRODUCTS, {"k" * 900: 1, "b": PRODUCTS}, "word " * 2_000, {"a": 10**4_000}], ids=str)
def test_a_cap_too_small_for_words_still_gives_json(value: Any, cap: int) -> None:
    (first,) = conversed(value, rules={"max_bytes": cap})
    assert said(first)["truncated"] is True
    assert len(first.content) <= max(cap, 40)


# Reading on


@promise("call:size/read-more")
@pytest.mark.parametrize(
    ("value", "read", "expected"),
    [
        (PRODUCTS, {"path": "[3].name"}, "Trail shoe 3"),
        (PRODUCTS, {"path": "$[411]"}, PRODUCTS[411]),
        ({"a": {"b": [1, {"c": PRODUCTS}]}}, {"path": "a.b[1].c[7].sku"}, "SKU-0007"),
        ({"odd key": {"\u00e9": 5}, "b": PRODUCTS}, {"path": '["odd key"].\u00e9'}, 5),
        ({"odd key": {"\u00e9": 5}, "b": PRODUCTS}, {"path": '["odd key"]'}, {"\u00e9": 5}),
    ],
)
def test_a_path_names_one_part_and_gives_it_whole(value: Any, read: dict[str, Any], expected: Any) -> None:
    assert json.loads(conversed(value, read)[1].content) == expected


@promise("call:size/read-more")
@pytest.mark.parametrize(
    ("value", "read", "note"),
    [
        (PRODUCTS, {"offset": 412}, "offset=412 is past the end: there are 412 items."),
        (PRODUCTS, {"path": "[500]"}, "There is no '[500]': the list has 412 items."),
        (PRODUCTS, {"path": "name"}, "There is no 'name': a list has items by number: [0]."),
        (PRODUCTS, {"path": "[1].colour"}, "There is no '[1].colour': the fields are sku, name, price, about."),
        (PRODUCTS, {"path": "[1].sku.x"}, "There is no '[1].sku.x': there is nothing inside this value."),
        (PRODUCTS, {"path": "..a"}, "'..a' is not a path. Write it as a.b[3].c, or [\"odd key\"] for other names."),
        (PRODUCTS, {"line": 3}, "line= is for texts; this has items or fields: use offset=."),
        ({"a": PRODUCTS}, {"path": "[0]"}, "There is no '[0]': an object has fields, not numbers."),
        (LOG, {"path": "a"}, "There is no 'a': the result is text, without parts."),
        (LOG, {"line": 3_001}, "line=3001 is past the end: the text has 3000 lines."),
        (LOG, {"line": 10**12}, "line=1000000000000 is past the end: the text has 3000 lines."),
        (LOG, {"offset": 10**9}, f"offset=1000000000 is past the end: the text has {len(LOG)} characters."),
        ("[INFO] " * 2_000, {"path": "[0]"}, "There is no '[0]': the result is text, without parts."),
    ],
)
def test_what_is_not_there_is_said_in_words(value: Any, read: dict[str, Any], note: str) -> None:
    assert said(conversed(value, read)[1]) == {"note": note}


@promise("call:size/read-more")
def test_a_text_is_read_by_lines() -> None:
    shown = said(conversed(LOG, {"line": 10, "limit": 2})[1])
    assert shown["text"].splitlines() == LOG.splitlines()[9:11]
    assert shown["note"].startswith("From line 10 on, 2 of 3000 lines are shown")


@promise("call:size/read-more")
def test_a_long_text_inside_json_is_read_on_by_its_path() -> None:
    first, second = conversed({"log": LOG, "n": 1}, {"path": "log", "line": 3_000})
    assert 'path="log"' in said(first)["note"]
    assert said(second)["text"] == LOG.splitlines()[-1]


@promise("call:size/read-more")
def test_a_word_is_found_among_items_fields_and_lines() -> None:
    _, some, more = conversed(PRODUCTS, {"find": "SHOE 40", "limit": 2}, {"find": "shoe 40", "offset": 2})
    assert [match["index"] for match in said(some)["matches"]] == [40, 400]
    assert said(some)["note"].startswith("2 of 11 matches for 'SHOE 40' in 412 items. Read on: ")
    assert [match["index"] for match in said(more)["matches"]] == list(range(401, 410))
    _, field = conversed({"left": "word " * 2_000, "right": "a needle"}, {"find": "needle"})
    assert said(field)["matches"] == [{"field": "right", "value": "a needle"}]
    _, line, none = conversed(LOG, {"find": "request 77 "}, {"find": "absent"})
    assert said(line)["matches"] == [{"line": 78, "text": LOG.splitlines()[77]}]
    assert said(none) == {"note": "0 matches for 'absent' in 3000 lines.", "shown": 0, "of": 0, "matches": []}


@promise("call:size/read-more")
def test_a_match_that_is_too_long_is_shortened() -> None:
    _, found = conversed(["word " * 20_000 + "needle"], {"find": "needle"})
    (match,) = said(found)["matches"]
    assert match["value"].endswith("\u2026")


def _read_through(value: Any, cap: int) -> Iterator[dict[str, Any]]:
    """Follows the advice of each note to the end."""
    reader = replace(read_result, result=ResultRules(max_bytes=cap, reads_kept=True))
    offset = 0
    while True:
        rail, _ = rail_of(giving(value, rules={"max_bytes": cap}), reader)
        _, window = conversed(value, {"offset": offset}, rail=rail)
        assert len(window.content.encode()) <= cap
        assert window.flags == ()
        yield said(window)
        if "Read on" not in said(window)["note"]:
            return
        offset = int(said(window)["note"].rpartition("offset=")[2].rstrip(")."))


@promise("call:size/read-more")
@pytest.mark.parametrize("cap", [1_500, 20_000])
def test_reading_on_to_the_end_gives_every_item_once_and_every_character(cap: int) -> None:
    items = [item for shown in _read_through(PRODUCTS, cap) for item in shown["items"]]
    assert items == PRODUCTS
    text = 'é"\n\U0001f600 \\' * 3_000
    assert "".join(shown["text"] for shown in _read_through(text, cap)) == text
    fields = {f"k{n}": n for n in range(4_000)}
    read: dict[str, Any] = {}
    for shown in _read_through(fields, max(cap, 20_000)):
        read.update(shown["fields"])
    assert read == fields


@promise("call:size/read-more")
@pytest.mark.parametrize("path", ["a.b", "a[0]", '["x y"].z', "$.a", "$[1]", "", '["a\\"b"]', "\u00e9t\u00e9"])
def test_the_language_of_paths_is_closed(path: str) -> None:
    assert isinstance(steps_of(path), list)


@promise("call:size/read-more")
@pytest.mark.parametrize("path", [".a", "a..b", "a[-1]", "a[*]", "a[1:2]", "a['b']", "a b", "a[", "*", "a.0", "$$"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(NoSuchPart):
        steps_of(path)


# Who may read


@promise("call:size/read-more")
@pytest.mark.parametrize("trust", ["trusted", "untrusted"])
def test_what_is_read_on_has_the_trust_label_of_the_whole(trust: Any) -> None:
    first, *read = conversed(PRODUCTS, {}, {"path": "[1].nothing"}, {"find": "shoe"}, rules={"trust": trust})
    assert {result.trust for result in (first, *read)} == {trust}


SOMEBODY = {
    "another run": ALICE,
    "another principal": Principal("bob"),
    "another tenant": Principal("alice", tenant="other"),
}


@promise("call:size/read-more", "auth:handler")
@pytest.mark.parametrize("who", SOMEBODY)
def test_a_handle_of_somebody_else_is_answered_exactly_like_a_missing_one(
    who: str, store_of: Callable[[], str]
) -> None:
    async def main() -> tuple[ToolResult, ToolResult]:
        rail, _ = rail_of(giving(PRODUCTS), read_result, store=store_of())
        async with rail, rail.run([], principal=ALICE) as mine:
            handle = said(await asked(rail, mine, "give"))["handle"]
            async with rail.run([], principal=SOMEBODY[who]) as other:
                theirs = await asked(rail, other, "read_result", handle=handle)
                missing = await asked(rail, other, "read_result", handle="res_" + "0" * 32)
            assert (await asked(rail, mine, "read_result", handle=handle)).ok
            return theirs, missing

    theirs, missing = asyncio.run(main())
    assert theirs == missing
    assert (theirs.code, said(theirs)["error"]) == ("TOOL_ERROR", MISSING)


@promise("call:size/read-more")
@pytest.mark.parametrize("handle", ["", "\x00", "\u00e9", "x" * 5_000, "res_'; drop table results"])
def test_any_text_may_be_given_as_a_handle(handle: str, store_of: Callable[[], str]) -> None:
    async def main() -> ToolResult:
        rail, _ = rail_of(read_result, store=store_of())
        async with rail, rail.run([]) as run:
            return await asked(rail, run, "read_result", handle=handle)

    assert said(asyncio.run(main()))["error"] == MISSING


@promise("call:size/read-more")
def test_handles_cannot_be_guessed() -> None:
    clock = SystemClock()
    handles = {clock.secret() for _ in range(1_000)}
    assert len(handles) == 1_000
    assert {len(handle) for handle in handles} == {32}


@promise("call:size/read-more")
def test_the_handler_alone_finds_nothing_outside_a_rail() -> None:
    with pytest.raises(ToolError):
        asyncio.run(read_result.fn(handler_context(None), "res_1"))


@promise("call:size/read-more", "tool:offered")
def test_only_where_the_tool_is_offered_to_this_principal_anything_is_kept() -> None:
    reader = replace(read_result, access=Access(requires=("results:read",)))
    (first,) = conversed(PRODUCTS, rail=rail_of(giving(PRODUCTS), reader)[0])
    assert "handle" not in said(first)


@promise("call:size/read-more")
def test_the_preview_names_the_tool_as_it_is_called_in_this_run() -> None:
    (reader,) = prefixed("shop_", [read_result])
    (first,) = conversed(PRODUCTS, rail=rail_of(giving(PRODUCTS), reader)[0])
    assert 'Read on: shop_read_result(handle="' in said(first)["note"]


@promise("call:size/read-more")
def test_a_batch_without_a_run_promises_no_reading_on() -> None:
    rail, _ = rail_of(giving(PRODUCTS), read_result)
    (first,) = run_virtual(rail.batch([call("give")]))
    assert first.flags == ("preview",)


# The store


class Operations(MemoryStore):
    """Remembers what it was asked to do together."""

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self.durable = durable
        self.asked: list[tuple[type[Op], ...]] = []

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, KeepResult | Settle) for op in ops):
            self.asked.append(tuple(type(op) for op in ops))
        return await super().apply(*ops)


@pytest.fixture(params=["memory", "sqlite"])
def store_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """The URL of a store; for SQLite the same file each time."""
    return lambda: "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'rail.db'}"


@promise("call:size/read-more")
def test_another_process_that_takes_up_the_run_reads_its_results(tmp_path: Path) -> None:
    async def first() -> str:
        rail, _ = rail_of(giving(PRODUCTS), read_result, store=f"sqlite:///{tmp_path / 'rail.db'}")
        async with rail, rail.run([], principal=ALICE, run_id="run-1") as run:
            return said(await asked(rail, run, "give"))["handle"]

    async def second(handle: str) -> ToolResult:
        rail, _ = rail_of(giving(PRODUCTS), read_result, store=f"sqlite:///{tmp_path / 'rail.db'}")
        async with rail, rail.run([], principal=ALICE, run_id="run-1") as run:
            return await asked(rail, run, "read_result", handle=handle, path="[411].sku")

    assert asyncio.run(second(asyncio.run(first()))).content == '"SKU-0411"'


@promise("call:size/read-more")
def test_the_memory_store_forgets_a_result_with_its_run() -> None:
    store = MemoryStore()

    async def main() -> tuple[ResultRow | None, ResultRow | None]:
        rail, _ = rail_of(giving(PRODUCTS), read_result, store=store)
        async with rail.run([]) as run:
            handle = said(await asked(rail, run, "give"))["handle"]
            during = await ask(store, ReadResult("default", handle))
        return during, await ask(store, ReadResult("default", handle))

    during, after = run_virtual(main())
    assert during is not None
    assert json.loads(during.content) == PRODUCTS
    assert after is None


@promise("call:size/read-more")
def test_the_whole_of_a_write_is_kept_in_the_transaction_that_settles_it() -> None:
    store = Operations(durable=True)
    rail, _ = rail_of(giving(PRODUCTS, effect="once"), read_result, store=store)
    first, second = conversed(PRODUCTS, {"path": "[1].sku"}, rail=rail)
    assert first.flags == ("preview", "kept")
    assert second.content == '"SKU-0001"'
    assert store.asked[0] == (KeepResult, Settle)


@promise("call:size/read-more", "call:total")
@pytest.mark.parametrize("effect", ["read", "once"])
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_store_that_cannot_keep_it_costs_the_handle_and_no_more(trouble: Trouble, effect: Any) -> None:
    async def main() -> tuple[ToolResult, float]:
        rail, _ = rail_of(
            giving(PRODUCTS, effect=effect), read_result, store=BrokenStore(KeepResult, trouble, durable=True)
        )
        async with rail.run([]) as run:
            began = run.now()
            return await asked(rail, run, "give"), run.now() - began

    first, seconds = run_virtual(main())
    shown = said(first)
    assert first.ok
    assert "handle" not in shown
    assert shown["note"].startswith("20 of 412 items are shown. The rest could not be kept.")
    assert ("Call the tool again" in shown["note"]) == (effect == "read")
    assert "not_kept" in first.flags
    assert seconds == (5.0 if trouble == "hangs" else 0.0)
    assert ("not_recorded" in first.flags) == (effect == "once" and trouble == "hangs")


@promise("call:size/read-more")
@pytest.mark.parametrize("trouble", ["raises", "hangs"])
def test_a_store_that_cannot_read_is_a_failure_for_now(trouble: Trouble) -> None:
    store = BrokenStore(ReadResult, trouble)
    _, second = conversed(PRODUCTS, {}, rail=rail_of(giving(PRODUCTS), read_result, store=store)[0])
    assert said(second) == {"error": "Kept results cannot be read at the moment.", "code": "MAX_RETRIES"}


class SlowToKeep(MemoryStore):
    """Keeps a result only when it is told to."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def apply(self, *ops: Op) -> list[Any]:
        if any(isinstance(op, KeepResult) for op in ops):
            self.reached.set()
            await self.go.wait()
        return await super().apply(*ops)


@promise("call:size/read-more", "call:cancel")
@pytest.mark.parametrize("effect", ["read", "once"])
def test_a_cancellation_while_it_is_kept_loses_nothing(effect: Any) -> None:
    async def main() -> tuple[list[ToolResult], ResultRow | None]:
        store, seen = SlowToKeep(), list[ToolResult]()
        rail, _ = rail_of(giving(PRODUCTS, effect=effect), read_result, store=store)
        async with rail.run([]) as run:
            run.observer = lambda event: seen.append(event.result) if hasattr(event, "result") else None  # pyright: ignore
            task = asyncio.ensure_future(rail.batch([call("give")], run))
            await store.reached.wait()
            task.cancel()
            await asyncio.sleep(0)
            store.go.set()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await leftover_tasks() == set()
        return seen, await ask(store, ReadResult("default", said(seen[0])["handle"]))

    (result,), row = run_virtual(main())
    assert result.flags == ("preview", "kept")
    assert row is not None


def _masked(text: str) -> str:
    return text.replace("4111-1111", "****")


@promise("call:size/read-more")
def test_what_a_redactor_takes_out_is_not_kept_either() -> None:
    value = [{"n": n, "card": "4111-1111"} for n in range(500)]
    rail, _ = rail_of(giving(value), read_result, redact=_masked)
    first, second = conversed(value, {"offset": 400}, rail=rail)
    assert "4111" not in first.content + second.content
    assert said(second)["items"][0] == {"n": 400, "card": "****"}


@promise("call:size/read-more", "effect:once")
def test_a_replay_in_another_run_shows_no_handle_that_leads_nowhere() -> None:
    async def main() -> list[ToolResult]:
        @tool(effect=once(by="invoice", scope="tenant"), result=ResultRules(max_bytes=8_192))
        async def pay(invoice: str) -> Any:
            """Pays it."""
            return PRODUCTS

        rail, _ = rail_of(pay, read_result, store="memory://")
        async with rail.run([], run_id="one") as run:
            first = [await asked(rail, run, "pay", invoice="A1") for _ in range(2)]
        async with rail.run([], run_id="two") as run:
            return [*first, await asked(rail, run, "pay", invoice="A1")]

    first, again, elsewhere = run_virtual(main())
    assert (again.replayed, again.content) == (True, first.content)
    assert elsewhere.replayed
    assert "handle" not in said(elsewhere)
    assert said(elsewhere)["note"] == "20 of 412 items are shown. The rest is not at hand here."
    assert said(elsewhere)["items"] == PRODUCTS[:20]


# The cap


@promise("call:size/preview")
@pytest.mark.parametrize(
    ("tokens", "share", "cap"),
    [(None, 0.1, None), (100_000, None, None), (100_000, 0.1, 30_000), (8_000, 0.1, 2_400), (500, 0.1, 1_024)],
)
def test_the_cap_follows_the_size_of_the_models_context(
    tokens: int | None, share: float | None, cap: int | None
) -> None:
    assert result_cap(tokens, share) == cap


@promise("call:size/preview")
@pytest.mark.parametrize(
    ("tokens", "limits", "flags"),
    [
        (None, RailLimits(), ()),
        (100_000, RailLimits(), ()),
        (8_000, RailLimits(), ("preview",)),
        (8_000, RailLimits(result_share=None), ()),
        (100_000, RailLimits(result_bytes=3_000), ("preview",)),
    ],
)
def test_an_agent_that_knows_the_context_shows_no_more_than_a_share_of_it(
    tokens: int | None, limits: RailLimits, flags: tuple[str, ...]
) -> None:
    rail = Rail([giving("word " * 1_000, rules={"max_bytes": None})], limits=limits, sinks=())
    agent = Agent(ScriptedModel([Calls(("give", {})), Say("done")]), rail, context_tokens=tokens)
    result = run_virtual(agent.run("go"))
    assert result.calls[0].flags == flags
    assert len(result.calls[0].content) <= (tokens or 10**6) * 3


@promise("call:size/preview")
def test_a_share_that_is_no_share_is_an_error_at_start_up() -> None:
    with pytest.raises(Exception, match="TR301"):
        RailLimits(result_share=-0.5)


# Large values


def _wide(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"n": n, "name": "shoe", **more} for n in range(count)]


CYCLE: list[Any] = list(range(600))
CYCLE.append({"again": CYCLE})


@promise("call:encode")
@pytest.mark.parametrize(
    "value",
    [
        _wide(2_000),
        {"items": _wide(2_000), "total": 2_000},
        {"a": {"b": tuple(_wide(600))}, 5: None},
        {str(n): [n] for n in range(2_000)},
        {n: n for n in range(2_000)},
        [list(range(2_000)), list(range(2_000)), []],
        [float("nan"), *range(1_000)],
        {"x": [float("inf")] * 600, "y": {1, 2}},
        [*range(600), {3, 1, 2}, b"\xff", "\ud800"],
        CYCLE,
        {"loop": CYCLE},
    ],
    ids=range(11),
)
def test_a_wide_value_reads_the_same_whether_it_is_encoded_in_slices_or_at_once(value: Any) -> None:
    assert is_wide(value)
    slices, whole = at_once(encode_slices(value)), encode_value(value)
    assert json.loads(slices.text) == json.loads(whole.text)
    assert slices.flags == whole.flags


@promise("call:encode")
@pytest.mark.parametrize("value", ["x" * 10**6, 5, None, {"a": 1}, [1, 2], {"a": {"b": [1]}}, object(), {1, 2}])
def test_other_values_are_encoded_at_once(value: Any) -> None:
    assert not is_wide(value)


@promise("call:size", "steady:isolation")
@pytest.mark.parametrize(
    "value",
    [_wide(40_000, text="y" * 100), {"data": {"items": _wide(40_000, text="y" * 100)}}],
    ids=["list", "nested"],
)
def test_others_go_on_while_a_large_result_is_encoded_and_previewed(value: Any) -> None:
    async def main() -> tuple[ToolResult, int]:
        rail, _ = rail_of(giving(value), read_result)
        async with rail.run([]) as run:
            task, turns = asyncio.ensure_future(rail.batch([call("give")], run)), 0
            while not task.done():
                await asyncio.sleep(0)
                turns += 1
            return task.result()[0], turns

    result, turns = run_virtual(main())
    assert result.flags == ("preview", "kept")
    assert said(result)["bytes"] > 5_000_000
    assert turns > 50


@promise("call:size", "call:cancel")
def test_a_cancellation_while_a_large_result_is_encoded_loses_nothing() -> None:
    value = _wide(40_000)

    async def main() -> ToolResult:
        rail, _ = rail_of(giving(value), read_result)
        seen = list[ToolResult]()
        async with rail.run([]) as run:
            run.observer = lambda event: seen.append(event.result) if hasattr(event, "result") else None  # pyright: ignore
            task = asyncio.ensure_future(rail.batch([call("give")], run))
            for _ in range(8):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return seen[0]

    result = run_virtual(main())
    assert result.ok
    assert said(result)["of"] == 40_000
