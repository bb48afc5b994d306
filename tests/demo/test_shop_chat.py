"""`make chat` with no key: the script answers simple things from the shop, and says that it is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.shop.data import OTHER_ORDER, PAID_ORDER, SHIPPED_ORDER
from examples.shop.demo_model import chosen_model
from tests.demo.conftest import run_module
from toolrail.store import ListRuns
from toolrail.stores.reading import StoreReader


def test_it_looks_up_orders_searches_and_asks_before_a_cancellation(tmp_path: Path) -> None:
    say = f"Where is my order?\n{SHIPPED_ORDER}\nFind a head torch\nCancel {PAID_ORDER}\nWhere is {OTHER_ORDER}?\n"
    done = run_module("examples.shop.chat", cwd=tmp_path, say=say)
    assert (done.returncode, done.stderr) == (0, "")
    out = " ".join(done.stdout.split())
    assert "a script plays the model" in out
    assert "Which order is it: what is its number?" in out
    assert f'-> get_order_status(order_id="{SHIPPED_ORDER}") <- get_order_status ok (' in out
    assert f"Order {SHIPPED_ORDER} (" in out
    assert "I found the " in out
    assert f'?  cancel_order(order_id="{PAID_ORDER}"): a cancellation is for good.' in done.stdout
    assert "<- cancel_order APPROVAL_REJECTED" in out
    assert "<- get_order_status NOT_AUTHORISED" in out
    runs = StoreReader(tmp_path / ".demo/rail.db").ask(ListRuns())
    assert len(runs) == 5
    assert len({run.session for run in runs}) == 1


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "scripted"),
        ({"OPENAI_API_KEY": "k"}, "openai:gpt-4o"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic:claude-sonnet-4-5"),
        ({"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}, "openai:gpt-4o"),
        ({"OPENAI_API_KEY": "k", "TOOLRAIL_MODEL": "anthropic:claude-x"}, "anthropic:claude-x"),
        ({"TOOLRAIL_MODEL": "qwen3:8b", "TOOLRAIL_BASE_URL": "http://127.0.0.1:1/v1"}, "compatible:qwen3:8b"),
        ({"OPENAI_API_KEY": ""}, "scripted"),
    ],
)
def test_the_environment_names_the_model(environment: dict[str, str], name: str) -> None:
    chosen = chosen_model(environment)
    assert chosen.model.name == name
    assert chosen.scripted == (name == "scripted")
