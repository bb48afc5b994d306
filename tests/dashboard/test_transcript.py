"""Recorded messages as text: every provider's wire form, and whatever else may stand there."""

from __future__ import annotations

import json

import pytest

from toolrail.dashboard.transcript import transcript


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        ({"role": "user", "content": "Hi"}, "user: Hi\n"),
        (
            {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            "assistant calls f({})\n",
        ),
        ({"role": "tool", "tool_call_id": "1", "content": "done"}, "tool: done\n"),
        (
            {"role": "assistant", "content": [{"type": "text", "text": "So"}, {"type": "tool_use", "name": "f"}]},
            "assistant: So\nassistant: calls f({})\n",
        ),
        (
            {"role": "user", "content": [{"type": "tool_result", "content": "done"}]},
            "user: result: done\n",
        ),
        ({"type": "function_call_output", "output": "done"}, "function_call_output: done\n"),
        ({"role": "user", "content": [{"type": "image", "source": 1}]}, 'user: {"type": "image", "source": 1}\n'),
        ({"odd": 1}, '?: {"odd": 1}\n'),
        ({"role": "assistant", "tool_calls": ["odd"]}, 'assistant calls "odd"\n'),
        (7, "7\n"),
    ],
)
def test_a_message_is_a_line_for_each_part(message: object, lines: str) -> None:
    assert transcript([json.dumps([message])]) == lines


@pytest.mark.parametrize("piece", ['[{"role": "user", "cont', "[" * 100_000, "plain"])
def test_what_was_cut_off_is_shown_as_it_is(piece: str) -> None:
    assert transcript([piece]) == f"{piece}\n"
