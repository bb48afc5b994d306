"""Loop detection: the same call with the same result, ping-pong, the same error; a hint first, then a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.promises import promise
from tests.spine.helpers import CountingStore, call, codes, rail_of, said, settled
from toolrail import DefinitionError, Principal, Rail, RunLimits, ToolCall, ToolError, ToolResult, once, tool
from toolrail.events import CallSettled
from toolrail.loops import KEPT, LoopMemory, canonical
from toolrail.run import RunState
from toolrail.testing import run_virtual

HINT = "You have made this call {} times with the same result."


class Shop:
    """Tools that count how often they ran."""

    def __init__(self) -> None:
        self.ran = 0
        self.says: list[str] = []

    @tool(effect="read")
    async def look(self, at: str = "door", kind: str = "") -> str:
        """Looks."""
        self.ran += 1
        return self.says.pop(0) if self.says else f"nothing at the {at}"

    @tool(effect="read", polling=True)
    async def poll(self) -> str:
        """Asks how far it is."""
        self.ran += 1
        return "not yet"

    @tool(effect=once(by="invoice"))
    async def pay(self, invoice: str) -> str:
        """Pays."""
        self.ran += 1
        return f"paid {invoice}"

    @tool(effect="read")
    async def ask(self, question: str) -> str:
        """Asks a person."""
        self.ran += 1
        if question.startswith("please"):
            return "yes"
        raise ToolError("The line is busy." if not question.startswith("other") else f"{question}?")

    @tool(effect="read")
    async def crash(self) -> str:
        """Has a bug."""
        self.ran += 1
        raise ValueError("bug")

    @property
    def tools(self) -> list[Any]:
        return [self.look, self.poll, self.pay, self.ask, self.crash]


def played(
    turns: Sequence[Sequence[ToolCall]], *, limits: RunLimits | None = None, **ports: Any
) -> tuple[list[list[ToolResult]], Shop]:
    """Each batch of one run, one after the other."""
    shop = Shop()
    shop.says = ports.pop("says", [])
    rail, _ = rail_of(*shop.tools, **ports)

    async def main() -> list[list[ToolResult]]:
        async with rail.run([], limits=limits) as run:
            return [await rail.batch(calls, run) for calls in turns]

    return run_virtual(main()), shop


def flat(results: Sequence[Sequence[ToolResult]]) -> list[str]:
    return [code for batch in results for code in codes(batch)]


LOOK = call("look", {"at": "door"})
OTHER = call("look", {"at": "shelf"})


@promise("loop:repeat")
def test_a_call_that_has_the_same_result_is_hinted_at_the_third_time_and_refused_after_the_fifth() -> None:
    results, shop = played([[LOOK]] * 8)
    assert flat(results) == ["ok"] * 5 + ["LOOP_DETECTED"] * 3
    assert shop.ran == 5
    contents = [one.content for (one,) in results]
    assert contents[:2] == ["nothing at the door"] * 2
    for at in (2, 3, 4):
        assert contents[at].startswith("nothing at the door\n\n" + HINT.format(at + 1))
        assert "repeated" in results[at][0].flags
    assert said(results[5][0])["error"].startswith(HINT.format(5))
    assert "Answer with what you have" in said(results[5][0])["error"]


@promise("loop:repeat")
@pytest.mark.parametrize("turns", [[[LOOK], [OTHER]] * 8, [[LOOK, OTHER]] * 8], ids=["in turn", "side by side"])
def test_ping_pong_between_two_calls_is_found(turns: list[list[ToolCall]]) -> None:
    results, shop = played(turns)
    assert shop.ran == 10
    assert flat(results).count("LOOP_DETECTED") == sum(map(len, turns)) - 10
    assert flat(results)[:10] == ["ok"] * 10


@promise("loop:repeat")
def test_the_calls_of_one_turn_count_once() -> None:
    results, shop = played([[LOOK] * 7, [LOOK] * 7, [LOOK] * 7])
    assert (flat(results), shop.ran) == (["ok"] * 21, 21)
    assert [HINT.format(3) in one.content for batch in results for one in batch] == [False] * 14 + [True] * 7


@promise("loop:repeat")
@pytest.mark.parametrize(
    "spelt",
    [
        ['{"at":"door","kind":"x"}', '{"kind": "x", "at": "door"}', '{ "at": "door",\n "kind": "x" }'],
        ['{"at":"d\\u006for","kind":"x"}', '{"at":"door","kind":"x"}'],
    ],
)
def test_arguments_are_compared_without_their_order_and_spaces(spelt: list[str]) -> None:
    turns = [[call("look", spelt[at % len(spelt)])] for at in range(7)]
    assert flat(played(turns)[0]) == ["ok"] * 5 + ["LOOP_DETECTED"] * 2


@promise("loop:repeat")
def test_other_arguments_with_the_same_result_are_no_loop() -> None:
    turns = [[call("look", {"at": "door", "kind": str(n)})] for n in range(20)]
    results, _ = played(turns)
    assert flat(results) == ["ok"] * 20
    assert {one.content for (one,) in results} == {"nothing at the door"}


@promise("loop:repeat")
def test_a_result_that_changes_begins_the_count_afresh() -> None:
    says = ["a", "a", "a", "a", "b", "a", "a", "a", "a", "a", "a"]
    results, _ = played([[LOOK]] * 11, says=says)
    assert flat(results) == ["ok"] * 10 + ["LOOP_DETECTED"]
    assert [HINT.format(3) in one.content for (one,) in results] == [n in (2, 7) for n in range(11)]


@promise("loop:repeat")
def test_a_tool_made_for_polling_is_exempt() -> None:
    results, shop = played([[call("poll")]] * 20)
    assert (flat(results), shop.ran) == (["ok"] * 20, 20)
    assert {one.content for (one,) in results} == {"not yet"}


@promise("loop:repeat", "effect:once")
def test_a_replayed_effect_is_hinted_at_and_never_refused() -> None:
    results, shop = played([[call("pay", {"invoice": "A1"})]] * 9)
    assert (flat(results), shop.ran) == (["ok"] * 9, 1)
    assert [one.replayed for (one,) in results] == [False] + [True] * 8
    assert results[1][0].content == "paid A1"
    assert all(one.content.startswith("paid A1\n\n" + HINT.format(at)) for at, (one,) in enumerate(results[2:], 3))


@promise("loop:repeat")
def test_the_same_error_of_a_tool_is_hinted_at_after_three_turns_and_refused_after_five() -> None:
    turns = [[call("ask", {"question": f"{n}"}), call("ask", {"question": f"{n} again"})] for n in range(7)]
    results, shop = played(turns)
    assert flat(results) == ["TOOL_ERROR"] * 10 + ["LOOP_DETECTED"] * 4
    assert shop.ran == 10
    assert ["hint" in said(one) for one, _ in results] == [False, False, True, True, True, False, False]
    words = "ask has failed in the same way {} times in a row, whatever the arguments."
    assert said(results[2][0])["hint"].startswith(words.format(3))
    assert said(results[5][0])["error"] == (
        words.format(5) + " This call was not made. Answer with what you have, or try another way."
    )


@promise("loop:repeat")
@pytest.mark.parametrize("between", [["please"], ["other"]], ids=["a success", "another error"])
def test_what_lies_between_two_errors_ends_the_row(between: list[str]) -> None:
    asked = ["1", "2", "3", "4", *between, "5", "6", "7", "8"]
    results, shop = played([[call("ask", {"question": one})] for one in asked])
    assert shop.ran == 9
    assert "LOOP_DETECTED" not in flat(results)


@promise("loop:repeat", "call:errors")
def test_a_bug_is_the_same_error_though_its_reference_is_a_new_one() -> None:
    results, shop = played([[call("crash")]] * 7)
    assert (flat(results), shop.ran) == (["INTERNAL_ERROR"] * 5 + ["LOOP_DETECTED"] * 2, 5)


@promise("loop:repeat", "call:validate")
def test_arguments_that_are_wrong_again_are_hinted_at_and_mended_ones_run() -> None:
    wrong = [[call("look", {"ta": f"door {n}"})] for n in range(9)]
    results, shop = played([*wrong, [LOOK]])
    assert flat(results) == ["INVALID_ARGUMENTS"] * 9 + ["ok"]
    assert shop.ran == 1


@promise("loop:repeat", "see:record")
def test_a_refusal_is_recorded_and_what_is_recorded_has_no_hint() -> None:
    shop = Shop()
    rail, recorder = rail_of(*shop.tools)

    async def main() -> list[ToolResult]:
        async with rail.run([]) as run:
            return [(await rail.batch([LOOK], run))[0] for _ in range(6)]

    results = run_virtual(main())
    events: list[CallSettled] = settled(recorder)
    assert [event.code for event in events] == [None] * 5 + [results[5].code]
    assert {event.result_bytes for event in events[:5]} == {len("nothing at the door")}


@promise("loop:repeat")
@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (RunLimits(repeat_hint=None, repeat_refuse=None), (0, 0)),
        (RunLimits(repeat_hint=None), (0, 5)),
        (RunLimits(repeat_refuse=None), (8, 0)),
        (RunLimits(repeat_hint=2, repeat_refuse=3), (2, 7)),
    ],
)
def test_hint_and_refusal_have_limits_of_their_own_and_none_is_off(
    limits: RunLimits, expected: tuple[int, int]
) -> None:
    results, _ = played([[LOOK]] * 10, limits=limits)
    hinted = sum(one.ok and HINT.format("")[:20] in one.content for (one,) in results)
    assert (hinted, flat(results).count("LOOP_DETECTED")) == expected


@promise("loop:repeat")
@pytest.mark.parametrize("name", ["repeat_hint", "repeat_refuse"])
@pytest.mark.parametrize("times", [1, 0, -1])
def test_one_result_is_no_repetition(name: str, times: int) -> None:
    with pytest.raises(DefinitionError, match=f"TR301 .*{name}"):
        replace(RunLimits(), **{name: times})


@promise("loop:repeat")
@pytest.mark.parametrize("store", ["memory://", "sqlite"])
def test_the_memory_survives_a_run_that_is_restored_for_each_turn(store: str, tmp_path: Any) -> None:
    shop = Shop()
    url = store if store != "sqlite" else f"sqlite:///{tmp_path}/rail.db"
    rail = Rail(shop.tools, store=url, sinks=())
    asked = ["1", "2"]

    async def main() -> list[str]:
        found: list[str] = []
        async with rail:
            for at in range(7):
                async with rail.run([], run_id="one", principal=Principal("alice")) as run:
                    found += codes(await rail.batch([LOOK, call("ask", {"question": asked[at % 2]})], run))
        return found

    assert asyncio.run(main()) == ["ok", "TOOL_ERROR"] * 5 + ["LOOP_DETECTED"] * 4


@promise("loop:repeat")
def test_what_a_state_keeps_of_it_are_digests_and_counts() -> None:
    rail, _ = rail_of(*Shop().tools)

    async def main() -> RunState:
        async with rail.run([], run_id="one") as run:
            for _ in range(3):
                await rail.batch([call("look", {"at": "secret-place"}), call("ask", {"question": "q"})], run)
            return RunState.from_json(run.row().state)

    state = run_virtual(main())
    assert "secret" not in state.to_json()
    assert sorted(state.loop.values()) == [3, 3, 3]
    assert RunState.from_json(state.to_json()) == state


@promise("loop:repeat")
@pytest.mark.parametrize("result", ["ok", "long " * 200])
def test_a_memory_that_was_not_made_to_be_kept_can_be_kept_all_the_same(result: str) -> None:
    memory, kept = memory_of(False), {"refused_turns": 1}
    for turn in range(3):
        memory.note("look", '{"a": 1, "b": 2}', result=result, key=f"r:{turn}:0")
        memory.failed("ask", result, key=f"r:{turn}:0", started=turn % 2 == 0)
    memory.write(kept)
    restored = LoopMemory(kept, stable=True)
    assert restored.note("look", '{"b":2,"a":1}', result=result, key="r:3:0") == 4
    assert restored.errors_of("ask") == 3
    assert restored.failed("ask", result, key="r:3:0", started=True) == 4


def memory_of(stable: bool) -> LoopMemory:
    return LoopMemory({}, stable=stable)


@promise("loop:repeat")
@pytest.mark.parametrize("stable", [True, False])
@pytest.mark.parametrize("result", ["{}", "ok", "{}" * 2000], ids=["new", "same", "long"])
def test_its_size_is_bounded(stable: bool, result: str) -> None:
    memory = memory_of(stable)
    for n in range(5 * KEPT):
        memory.note("look", f'{{"n": {n}}}', result=result.replace("{}", str(n)), key=f"r:{n}:0")
        memory.failed(f"tool {n}", "error", key=f"r:{n}:0", started=True)
    kept: dict[str, int] = {"refused_turns": 2}
    LoopMemory({}, stable=True).write(kept)
    memory.write(kept)
    assert kept.pop("refused_turns") == 2
    assert len(kept) <= 2 * KEPT
    assert len(memory.first) <= KEPT


@promise("loop:repeat")
def test_a_memory_of_many_repeating_tools_is_bounded_too() -> None:
    memory, kept = memory_of(False), dict[str, int]()
    for n in range(2 * KEPT):
        for turn in range(2):
            memory.note(f"tool {n}", "{}", result="ok", key=f"r:{2 * n + turn}:0")
    memory.write(kept)
    assert len(kept) <= KEPT
    assert memory.note(f"tool {2 * KEPT - 1}", "{}", result="ok", key="r:x:0") == 3


Step = tuple[int, int]


@promise("loop:repeat")
@given(st.lists(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=4), max_size=25))
def test_both_memories_count_what_a_simple_model_counts(turns: list[list[Step]]) -> None:
    """Restored after each turn or not, by digest or as it is; `first` lets a result be older than the one before it."""
    quick, stable = memory_of(False), memory_of(True)
    model: dict[int, tuple[int, int, int]] = {}
    for turn, steps in enumerate(turns):
        for arguments, result in steps:
            last, count, counted = model.get(arguments, (-1, 0, -1))
            if last != result:
                model[arguments] = (result, 1, turn)
            elif counted != turn:
                model[arguments] = (result, count + 1, turn)
            text, key = json.dumps({"n": arguments}), f"r:{turn}:0"
            exact = stable.note("look", text, result=str(result), key=key)
            assert exact == model[arguments][1]
            assert quick.note("look", text, result=str(result), key=key) <= exact + 1
        kept: dict[str, int] = {}
        stable.write(kept)
        stable = LoopMemory(kept, stable=True)


@promise("loop:repeat")
@given(st.lists(st.integers(0, 3), max_size=30))
def test_calls_that_always_have_the_same_result_are_counted_exactly(calls: list[int]) -> None:
    memory = memory_of(False)
    for turn, n in enumerate(calls):
        count = memory.note("look", f'{{"n": {n}}}', result=f"result {n % 2}", key=f"r:{turn}:0")
        assert count == calls[: turn + 1].count(n)


@pytest.mark.parametrize("text", ["", "no json", "[" * 100_000, '{"a": 1'])
def test_arguments_that_cannot_be_read_stand_for_themselves(text: str) -> None:
    assert canonical(text) == text


@promise("loop:repeat")
def test_calls_that_were_limited_or_waiting_do_not_count() -> None:
    limits = RunLimits(calls=1)
    results, _ = played([[LOOK]] * 9, limits=limits)
    assert flat(results) == ["ok"] + ["LIMIT_REACHED"] * 8
    assert all("hint" not in said(one) for (one,) in results[1:])


@promise("loop:repeat", "effect:once")
def test_a_loop_that_is_refused_asks_the_store_nothing_more() -> None:
    store = CountingStore()
    shop = Shop()
    rail, _ = rail_of(*shop.tools, store=store)

    async def main() -> list[str]:
        async with rail.run([]) as run:
            return [codes(await rail.batch([call("look")], run))[0] for _ in range(7)]

    assert run_virtual(main())[5:] == ["LOOP_DETECTED"] * 2
    assert store.asked == []
