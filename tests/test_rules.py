"""Every definition rule stands in the table, and each example there breaks its rule, or keeps it once mended."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.promises import promise
from toolrail.errors import DefinitionError
from toolrail.rules import RULES, Rule

MESSAGES = {
    "TR101": "TR101 TR101.py:3 <lambda>(): the tool has no name. Mend: Give one: @tool(name=...).",
    "TR102": (
        "TR102 TR102.py:7 find_customer() and TR102.py:3 find(): two tools are named 'find'. Mend: Rename one: "
        "@tool(name=...), prefixed() or renamed()."
    ),
    "TR104": "TR104 TR104.py:3 find(): the context 'ctx' is parameter 2. Mend: Make it the first parameter.",
    "TR105": "TR105 definition 'find': it has no handler. Mend: Add one to the handlers.",
    "TR106": (
        "TR106 TR106.py:3 pay(): the effect's key names 'invoice', which is no argument. Mend: Use one of ['bill']."
    ),
    "TR107": (
        "TR107 TR107.py:4 Shop.find(): it is a method without its instance. Mend: Take it from an instance: shop.find."
    ),
    "TR108": ("TR108 TR108.py:3 pay(): the resource 'account:{account}' does not fit. Mend: Name arguments: ['iban']."),
    "TR109": "TR109 find: it is not a tool. Mend: Put @tool on the function.",
    "TR110": "TR110 TR110.py:5 orders(): a generator cannot be a tool. Mend: Return a list instead of yielding.",
    "TR111": "TR111 renamed(): no tool is named 'fnid'. Mend: Name tools of the toolset.",
    "TR112": "TR112 TR112.py:3 find(): there is no option 'requries'. Mend: Did you mean 'requires'?",
    "TR113": (
        "TR113 TR113.py:3 run_code(): there is no isolation 'proces'. Mend: Write isolate=\"process\", or "
        "isolate=Isolation(...) from toolrail.isolation."
    ),
    "TR114": (
        "TR114 TR114.py:4 <lambda>(): another process cannot find the handler: it is a lambda, or was made inside a "
        "function. Mend: Make it a function at the top of a module, under its own name."
    ),
    "TR115": (
        "TR115 TR115.py:3 run_code(): an isolated handler cannot have the context. Mend: Take arguments only; what "
        "needs the context belongs into a tool that is not isolated."
    ),
    "TR201": ("TR201 TR201.py:3 find(): the parameter 'order' has no annotation. Mend: Annotate it, as in order: str."),
    "TR202": (
        "TR202 TR202.py:5 find(): the parameter 'notify' has a type that a model cannot fill in: Cannot generate "
        "a JsonSchema for core_schema.CallableSchema. Mend: Use a type that JSON can say; take everything else "
        "from the context's deps."
    ),
    "TR203": (
        "TR203 TR203.py:3 find(): the parameter '**filters' is open-ended; a model names its arguments. Mend: "
        "Write each argument as a named parameter."
    ),
    "TR204": (
        'TR204 TR204.py:3 <lambda>(): the schema\'s root has the type "array". Mend: Arguments are an object: '
        'write "type": "object" and name each argument under "properties".'
    ),
    "TR205": (
        "TR205 TR205.py:8 find(): the handler does not fit Find: no 'order', 'number' is no field. Mend: Give it "
        "the model's fields as parameters, or the model itself."
    ),
    "TR206": (
        "TR206 TR206.py:5 log_in(): the argument 'password' is a secret; a secret argument does not exist: the "
        "model wrote it. Mend: Take the secret from the context's deps."
    ),
    "TR301": "TR301 RunLimits(turns=0): turns must be over zero. Mend: Give a positive number, or None.",
    "TR302": "TR302 TR302.py:3 find(): timeout= and limits= are both given. Mend: Put the timeout into limits=.",
    "TR303": (
        "TR303 store='sqlite://rail.db': an SQLite URL has three slashes before its path. Mend: Use "
        '"sqlite:///rail.db" (relative), "sqlite:////var/lib/rail.db" (absolute) or "memory://".'
    ),
    "TR304": (
        "TR304 TR304.py:3 pay(): its effect must hold within the tenant, but the default store forgets with the "
        'process. Mend: Give Rail(store="sqlite:///rail.db"), or write store="memory://" to accept that.'
    ),
    "TR305": (
        'TR305 TR305.py:3 book(): hedge= would do its effect twice. Mend: Declare effect="read", or drop hedge=.'
    ),
    "TR306": (
        "TR306 TR306.py:3 pay(): resource_concurrency= has no resource. Mend: Name it: "
        'order=Order(resource="account:{iban}").'
    ),
    "TR307": (
        "TR307 TR307.py:4 order(): it writes through ctx.transaction(), but the store has no database for that. Mend: "
        'Give Rail(store="sqlite:///rail.db"), or a PostgreSQL URL.'
    ),
    "TR308": "TR308 Budget(calls_per_tool={'pya': 1}): the rail has no tool 'pya'. Mend: Did you mean 'pay'?",
    "TR309": (
        "TR309 prices['openai:gpt-4o'].input: -2.50 is negative. Mend: Give what a million tokens cost, zero or more."
    ),
    "TR310": "TR310 rule 'payments': the name stands twice. Mend: Rename one.",
    "TR311": (
        "TR311 Recorder('rail.records.db'): no telemetry has this URL. Mend: Use \"sqlite:///rail.records.db\" "
        '(relative), "sqlite:////var/lib/rail.records.db" or "postgresql://...".'
    ),
    "TR401": (
        "TR401 anthropic:claude: extended thinking allows no temperature but 1. Mend: Leave the temperature out."
    ),
    "TR402": 'TR402 Agent(tool_choice="required"): the rail has no tools. Mend: Add one, or drop it.',
    "TR403": (
        'TR403 anthropic:claude: the package anthropic is not installed. Mend: pip install "toolrail[anthropic]"'
    ),
    "TR404": "TR404 anthropic:claude: there is no key for the API. Mend: Set ANTHROPIC_API_KEY, or give client=.",
    "TR405": "TR405 Compatible('qwen3:8b'): there is no base_url. Mend: Give base_url= or client=.",
    "TR406": (
        "TR406 model='gpt-4o': it names no provider and model. "
        'Mend: Write "PROVIDER:MODEL" with one of openai, openai-responses, anthropic, ollama, vllm, llama.cpp; '
        "for other servers give a Compatible(model, base_url=...)."
    ),
    "TR407": (
        'TR407 model=AsyncOpenAI: it is an SDK\'s client, not a model. Mend: Write OpenAIChat("gpt-4o", client=...).'
    ),
}
"""What a programmer reads, word for word."""

SOURCE = Path(__file__).parents[1] / "src" / "toolrail"


def raised() -> set[str]:
    """The ids in the source, outside of the table and of docstrings."""
    texts = (
        node.value
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "rules"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {text for text in texts if re.fullmatch(r"TR\d{3}", text)}


@promise("tool:errors")
def test_the_table_has_every_rule_that_is_raised_and_no_other() -> None:
    assert sorted(RULES) == sorted(raised())


def run(rule: Rule, program: str) -> None:
    exec(compile(program.lstrip(), f"{rule.id}.py", "exec", dont_inherit=True), {"__name__": rule.id})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)


@promise("tool:errors")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_wrong_example_breaks_its_rule_and_the_error_says_where_and_how_to_mend_it(
    rule: Rule, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule.id == "TR403":
        monkeypatch.setitem(sys.modules, "anthropic", None)
    if rule.id == "TR404":
        monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(DefinitionError) as caught:
        run(rule, rule.wrong)
    assert str(caught.value) == MESSAGES[rule.id]


@promise("tool:errors")
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_mended_example_keeps_its_rule(rule: Rule) -> None:
    run(rule, rule.mended)
