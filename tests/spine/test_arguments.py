"""What models really send as names and arguments: answered from which they can correct themselves, and nothing runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.promises import promise
from tests.spine.helpers import ALICE, call, codes, in_run, rail_of, said, settled, virtually
from toolrail.definition import Tool, tool
from toolrail.messages import ToolCall, ToolResult
from toolrail.rail import Rail
from toolrail.testing import assert_one_result_each, run_virtual

RAN: list[dict[str, Any]] = []


@tool(effect="once")
async def pay(invoice: str, amount: int, note: str = "") -> str:
    """Pays."""
    RAN.append({"invoice": invoice, "amount": amount, "note": note})
    return "paid"


@tool(effect="read")
async def list_orders() -> str:
    """Needs nothing."""
    RAN.append({})
    return "none"


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    RAN.clear()


def _answer(name: str, arguments: str) -> ToolResult:
    rail, _ = rail_of(pay, list_orders)
    (result,) = virtually(rail, [ToolCall("1", name, arguments)])
    return result


GOOD = '{"invoice": "A1", "amount": 5}'

BAD: dict[str, str] = {
    "nothing, where something is required": "",
    "null, where something is required": "null",
    "a wrong key": '{"bill": "A1", "amount": 5}',
    "a missing key": '{"invoice": "A1"}',
    "a key too many": '{"invoice": "A1", "amount": 5, "currency": "EUR"}',
    "a wrong type": '{"invoice": "A1", "amount": "five"}',
    "a fraction for an integer": '{"invoice": "A1", "amount": 5.5}',
    "a boolean for an integer": '{"invoice": "A1", "amount": true}',
    "a number for text": '{"invoice": 17, "amount": 5}',
    "null for a value": '{"invoice": null, "amount": 5}',
    "NaN": '{"invoice": "A1", "amount": NaN}',
    "Infinity": '{"invoice": "A1", "amount": Infinity}',
    "an overflow": '{"invoice": "A1", "amount": 1e400}',
    "a duplicate key": '{"invoice": "A1", "amount": 5, "amount": 500}',
    "a lone surrogate": '{"invoice": "\\ud800", "amount": 5}',
    "half a character, raw": '{"invoice": "\ud800", "amount": 5}',
    "cut off": '{"invoice": "A1", "amount": 1',
    "cut off in a key": '{"invoice": "A1", "amo',
    "two objects": GOOD + GOOD,
    "text after it": GOOD + " Done!",
    "text before it": "Sure! " + GOOD,
    "an array": f"[{GOOD}]",
    "a string": '"A1"',
    "a number": "5",
    "Python": "{'invoice': 'A1', 'amount': 5}",
    "a trailing comma": '{"invoice": "A1", "amount": 5,}',
    "a comment": '{"invoice": "A1", "amount": 5} // pays',
    "encoded three times": json.dumps(json.dumps(json.dumps(json.loads(GOOD)))),
    "very deep": '{"invoice": ' + "[" * 5_000 + "]" * 5_000 + "}",
    "a byte order mark": "\ufeff" + GOOD,
    "XML": "<invoice>A1</invoice>",
    "an unfinished fence": f"```json\n{GOOD}",
    "wrapped": f'{{"arguments": {GOOD}}}',
    "a very long number": '{"invoice": "A1", "amount": ' + "9" * 5_000 + "}",
}


@promise("call:json", "call:validate")
@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_arguments_that_do_not_fit_are_answered_and_nothing_runs(text: str) -> None:
    result = _answer("pay", text)
    told = said(result)
    assert (result.status, codes([result])) == ("error", ["INVALID_ARGUMENTS"])
    assert not result.started
    assert told["error"].startswith("Invalid arguments for pay: ")
    assert len(told["error"]) <= 600
    result.content.encode()
    assert RAN == []


LOSSLESS: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    ("pay", GOOD, {"invoice": "A1", "amount": 5, "note": ""}, ()),
    ("pay", f"  {GOOD}\n", {"invoice": "A1", "amount": 5, "note": ""}, ()),
    ("pay", f"```json\n{GOOD}\n```", {"invoice": "A1", "amount": 5, "note": ""}, ("code_fence",)),
    ("pay", json.dumps(GOOD), {"invoice": "A1", "amount": 5, "note": ""}, ("encoded_twice",)),
    ("pay", '{"invoice": "A1", "amount": "5"}', {"invoice": "A1", "amount": 5, "note": ""}, ("coerced:amount",)),
    ("pay", '{"invoice": "A1", "amount": 5.0}', {"invoice": "A1", "amount": 5, "note": ""}, ("coerced:amount",)),
    ("list_orders", "", {}, ("empty",)),
    ("list_orders", "null", {}, ("empty",)),
    ("list_orders", "{}", {}, ()),
    ("list_orders", '{"invented": 1}', {}, ("extra_dropped",)),
]


@promise("call:json", "call:validate")
@pytest.mark.parametrize(("name", "text", "expected", "flags"), LOSSLESS)
def test_lossless_readings_run_and_are_flagged(
    name: str, text: str, expected: dict[str, Any], flags: tuple[str, ...]
) -> None:
    result = _answer(name, text)
    assert result.ok
    assert result.flags == flags
    assert [expected] == RAN


@promise("call:validate")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"invoice": "A1", "amount": "five"}', ["amount", "integer", "five"]),
        ('{"invoice": "A1"}', ["amount"]),
        ('{"invoic": "A1", "amount": 5}', ["invoic", "invoice"]),
    ],
)
def test_the_message_names_the_field_what_was_expected_and_what_came(text: str, words: list[str]) -> None:
    told = said(_answer("pay", text))["error"]
    assert not [word for word in words if word not in told]


@promise("call:validate", "call:total")
def test_a_second_and_a_third_bad_call_in_a_row_are_answered_like_the_first() -> None:
    rail, recorder = rail_of(pay)

    async def main() -> list[ToolResult]:
        results: list[ToolResult] = []
        async with rail.run([], principal=ALICE) as run:
            for text in ('{"amount": 5}', "not json", '{"amount": "x"}', GOOD):
                run.messages.append({"role": "assistant"})
                results += await rail.batch([ToolCall("1", "pay", text)], run)
        return results

    assert codes(run_virtual(main())) == ["INVALID_ARGUMENTS"] * 3 + ["ok"]
    assert len(settled(recorder)) == 4
    assert len(RAN) == 1


@promise("call:total", "call:validate")
def test_a_bad_call_takes_none_of_its_siblings_with_it() -> None:
    rail, _ = rail_of(pay, list_orders)
    calls = [call("pay", "bad"), ToolCall("", "pay", GOOD), call("nowhere"), call("list_orders", "")]
    results = virtually(rail, calls)
    assert_one_result_each(calls, results)
    assert codes(results) == ["INVALID_ARGUMENTS", "ok", "UNKNOWN_TOOL", "ok"]


@promise("call:validate", "call:total")
@pytest.mark.parametrize("error", [ValueError, RuntimeError, SystemExit, RecursionError])
def test_a_validator_of_the_users_that_fails_is_one_invalid_call(error: type[BaseException]) -> None:
    from typing import Annotated

    from pydantic import AfterValidator

    from toolrail.definition import tool_from_model

    def check(_: str) -> str:
        raise error("s3cr3t-value" if error is not ValueError else "must be a known id")

    from pydantic import create_model

    model = create_model("Find", id=(Annotated[str, AfterValidator(check)], ...))
    find = tool_from_model(model, _same, name="find", effect="read")
    rail, _ = rail_of(find, list_orders)
    results = virtually(rail, [call("find", {"id": "x"}), call("list_orders")])
    assert codes(results) == ["INVALID_ARGUMENTS", "ok"]
    assert "s3cr3t" not in results[0].content


def _same(id: str) -> str:
    return id


def _names(*names: str) -> Rail[Any]:
    def made(name: str) -> Tool[object]:
        @tool(name=name, effect="read")
        async def act() -> str:
            """Acts."""
            return name

        return act

    return rail_of(*(made(name) for name in names))[0]


@promise("call:unknown-tool")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("find_order", "There is no tool named 'find_order'. Did you mean 'find_orders' or 'cancel_order'?"),
        ("Find_Orders", "There is no tool named 'Find_Orders'. Did you mean 'find_orders'?"),
        ("refund", "There is no tool named 'refund'. The tools are: find_orders, cancel_order, list_products."),
        ("", "There is no tool named ''. The tools are: find_orders, cancel_order, list_products."),
        ("parallel", "There is no tool named 'parallel'. The tools are: find_orders, cancel_order, list_products."),
    ],
)
def test_an_unknown_name_is_answered_with_the_near_ones_and_never_redirected(name: str, text: str) -> None:
    (result,) = virtually(_names("find_orders", "cancel_order", "list_products"), [call(name, id="1")])
    assert (result.status, codes([result]), result.started) == ("error", ["UNKNOWN_TOOL"], False)
    assert result.name == name
    assert said(result)["error"] == text


@promise("call:unknown-tool", "call:total")
@pytest.mark.parametrize("name", ["\ud800", "a\x00b", "{tool}", "x" * 100_000, "é" * 300, '"}', "__class__"], ids=ascii)
def test_a_name_may_be_anything(name: str) -> None:
    (result,) = virtually(_names("find_orders"), [ToolCall("1", name, "{}")])
    assert codes([result]) == ["UNKNOWN_TOOL"]
    assert len(result.content.encode()) < 2_000
    assert name[:3].isprintable() is False or "There is no tool named" in said(result)["error"]


@promise("call:unknown-tool")
def test_many_tools_are_not_all_listed_and_none_is_said() -> None:
    (many,) = virtually(_names(*(f"tool_{n:03}" for n in range(100))), [call("zzz")])
    assert said(many)["error"].endswith("tool_011, ....")
    (none,) = virtually(_names(), [call("zzz")])
    assert said(none)["error"] == "There is no tool named 'zzz'. There are no tools."


@promise("call:json", "call:total")
@pytest.mark.parametrize("calls", [1, 2])
def test_nothing_runs_from_a_response_that_was_cut_off(calls: int) -> None:
    rail, recorder = rail_of(pay, list_orders)
    batch = [ToolCall("1", "list_orders", ""), ToolCall("2", "pay", GOOD), ToolCall("3", "pay", '{"invoice": "A')]
    results = run_virtual(in_run(rail, batch[:calls], truncated=True))
    assert_one_result_each(batch[:calls], results)
    assert codes(results) == ["TRUNCATED"] * calls
    assert RAN == []
    assert len(settled(recorder)) == calls
