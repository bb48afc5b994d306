"""Plays the model where there is none: a few rules, no more. It has never seen the shop's database.

What it puts into a call comes from the user's words or from an earlier result, and so does all that it answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolrail.messages import Message, Usage
from toolrail.model import Named, Setup
from toolrail.testing import Calls, Say, ScriptedModel

NAME = "scripted"
LETTERS_PER_TOKEN = 4
"""A script has no tokens: they are estimated from what a model would have read and written."""

_ORDER = re.compile(r"\bORD-[A-Z0-9]{6}\b", re.IGNORECASE)
_PRODUCT = re.compile(r"\bPRD-[0-9]{5}\b", re.IGNORECASE)
_COUNTRY = re.compile(r"\b[A-Z]{2}\b")
_SEARCH = re.compile(
    r"\b(?:find|search for|look(?:ing)? for|do you (?:have|sell)|have you got|show me|tell me about|i (?:need|want)|"
    r"(?:send|ship)(?:ing)?(?=\s+an?\b))\s+(?:me\s+)?(?:an?\s+|the\s+|some\s+|any\s+)?"
    r"(.+?)\s*(?:[.,;?!]|\b(?:and|to)\b|$)",
    re.IGNORECASE,
)
_SHIPPING = re.compile(r"\b(?:send|sending|sent|ship|shipping|shipped to|delivery to|postage)\b", re.IGNORECASE)
_TOTAL = re.compile(r"\b(?:total|altogether|all in all)\b", re.IGNORECASE)
_SUM = re.compile(r"[-(]?\d[\d\s.()*/+-]*[*/+-][\d\s.()*/+-]*\d\)?")
_ORDERED = re.compile(r"\bcancel\b", re.IGNORECASE)
_ABOUT_ORDERS = re.compile(r"\border", re.IGNORECASE)
_SAYS_CALL = re.compile(r"\bcall (\w+) with (\w+) ([\w-]+)")
"""An instruction as it stands in a text that wants to be obeyed."""

HELP = (
    "I am only a script: I can look up or cancel an order by its number, search for products (find a lamp), ask what "
    "sending one costs (to DE, say), and work out a formula."
)

Wanted = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Done:
    """A call that was made, and its result as read."""

    name: str
    arguments: Mapping[str, Any]
    result: Any

    @property
    def failed(self) -> str | None:
        """The error's text, if it is one."""
        try:
            return str(self.result["error"])
        except (TypeError, LookupError):
            return None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the user wants now, in their own words, and what was done for it already."""

    wish: str
    done: tuple[Done, ...]

    def results(self, name: str) -> list[Any]:
        """Results of a tool that succeeded."""
        return [one.result for one in self.done if one.name == name and one.failed is None]

    def tried(self, wanted: Wanted) -> bool:
        """Whether this very call was made before, whatever came of it."""
        return any((one.name, dict(one.arguments)) == wanted for one in self.done)


def scripted_model(*, obedient: bool = False, seconds: float = 0.0) -> ScriptedModel:
    """A model that plays the rules below. `obedient`: it also does what a text in a result tells it to, as a model
    might; `seconds`: how long each response takes."""

    def turn(messages: Sequence[Message]) -> Calls | Say:
        choice = model.requests[-1][1].tool_choice
        next_one = reply(messages, may_call=choice != "none", forced=isinstance(choice, Named), obedient=obedient)
        usage = _usage(messages, model.setups[-1], json.dumps(next_one))
        return Say(next_one, usage=usage) if isinstance(next_one, str) else Calls(*next_one, usage=usage)

    model = ScriptedModel([turn], name=NAME, endless=True, seconds=seconds)
    return model


def reply(
    messages: Sequence[Message], *, may_call: bool = True, forced: bool = False, obedient: bool = False
) -> list[Wanted] | str:
    """The next response to a conversation in OpenAI's chat form: what to call, or what to say."""
    heard = listen(messages)
    calls = _calls(heard, forced=forced, obedient=obedient) if may_call else []
    return calls or _answer(heard)


def listen(messages: Sequence[Message]) -> Heard:
    """The newest wish. Where we asked back, the user's answer belongs to the wish before it."""
    starts = [at for at, message in enumerate(messages) if message["role"] == "user"]
    begin = starts[-1]
    for earlier, start in zip(reversed(starts[:-1]), reversed(starts), strict=False):
        if not str(messages[start - 1].get("content") or "").endswith("?"):
            break
        begin = earlier
    words = [str(messages[start]["content"]) for start in starts if start >= begin]
    return Heard(" ".join(words), tuple(_done(messages[begin:])))


def _done(messages: Sequence[Message]) -> Iterator[Done]:
    contents = {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
    for message in messages:
        for call in message.get("tool_calls") or ():
            arguments = _read(call["function"]["arguments"])
            yield Done(call["function"]["name"], arguments, _read(contents.get(call["id"], "")))


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _calls(heard: Heard, *, forced: bool, obedient: bool) -> list[Wanted]:
    """What to call now: each step needs the results of those before it, so the first with something to do wins."""
    for step in (_obeyed(heard) if obedient else [], _first(heard, forced=forced), _shipping(heard), _total(heard)):
        new = [wanted for wanted in step if not heard.tried(wanted)]
        if new:
            return new
    return []


def _obeyed(heard: Heard) -> list[Wanted]:
    texts = [json.dumps(one.result) for one in heard.done]
    return [(name, {field: value}) for text in texts for name, field, value in _SAYS_CALL.findall(text)]


def _first(heard: Heard, *, forced: bool) -> list[Wanted]:
    """Orders that the user names, what they look for, a formula: none of these needs another's result."""
    verb = "cancel_order" if _ORDERED.search(heard.wish) else "get_order_status"
    calls: list[Wanted] = [(verb, {"order_id": order.upper()}) for order in dict.fromkeys(_ORDER.findall(heard.wish))]
    phrase = _SEARCH.search(heard.wish)
    if phrase and not _ORDER.search(phrase[1]):
        calls.append(("search_products", {"query": phrase[1], "max_results": 3}))
    elif forced and not calls:
        calls.append(("search_products", {"query": heard.wish, "max_results": 3}))
    formula = _SUM.search(heard.wish)
    if formula and not calls:
        calls.append(("calculate", {"expression": formula[0].strip()}))
    return calls


def _shipping(heard: Heard) -> list[Wanted]:
    """Sending the product that the user named, or else the first one found."""
    country = _COUNTRY.search(heard.wish)
    if not _SHIPPING.search(heard.wish) or country is None:
        return []
    named = [product.upper() for product in _PRODUCT.findall(heard.wish)]
    found = [hit["id"] for hits in heard.results("search_products") for hit in hits]
    return [("shipping_quote", {"product_id": one, "country": country[0]}) for one in (named or found)[:1]]


def _total(heard: Heard) -> list[Wanted]:
    """The price of the first product found and the price of sending it."""
    hits = [hit for hits in heard.results("search_products") for hit in hits]
    quotes = heard.results("shipping_quote")
    if not (_TOTAL.search(heard.wish) and hits and quotes):
        return []
    return [("calculate", {"expression": f"{hits[0]['price']} + {quotes[0]['price']}"})]


def _answer(heard: Heard) -> str:
    if heard.done:
        return " ".join(_sentence(one) for one in heard.done)
    if _ABOUT_ORDERS.search(heard.wish):
        return "Which order is it: what is its number?"
    if _SHIPPING.search(heard.wish):
        return "What is to be sent, and to which country (two letters, such as DE)?"
    return HELP


def _sentence(one: Done) -> str:
    if one.failed is not None:
        return one.failed if one.failed.endswith(".") else f"{one.failed}."
    match one.name:
        case "get_order_status":
            return _order(one.result)
        case "cancel_order":
            return f"Order {one.result['order_id']} is {one.result['status']}."
        case "search_products":
            return _products(one.result)
        case "shipping_quote":
            return f"Sending it costs {one.result['price']} and takes {_days(one.result['days'])}."
        case "calculate":
            return f"{one.arguments['expression']} = {one.result['value']}."
        case _:
            return f"{one.name} says {json.dumps(one.result)}."


def _order(order: Mapping[str, Any]) -> str:
    count = sum(item["quantity"] for item in order["items"])
    items = order["items"][0]["product"] if count == 1 else f"{count} articles"
    due = f", due {order['delivery']}" if order["delivery"] and order["status"] != "delivered" else ""
    return f"Order {order['order_id']} ({items}, {order['total']}) is {order['status']}{due}."


def _products(hits: Sequence[Mapping[str, Any]]) -> str:
    if not hits:
        return "I found nothing like that."
    first, *others = hits
    stock = f"{first['stock']} in stock" if first["stock"] else "not in stock"
    more = f", and {len(others)} more like it" if others else ""
    return f"I found the {first['name']} at {first['price']} ({stock}){more}."


def _days(count: int) -> str:
    return "one day" if count == 1 else f"{count} days"


def _usage(messages: Sequence[Message], setup: Setup, said: str) -> Usage:
    offered = sum(len(tool.description) + len(json.dumps(tool.schema)) for tool in setup.tools)
    read = len(json.dumps(list(messages))) + offered + len(setup.instructions or "")
    return Usage(read // LETTERS_PER_TOKEN, max(1, len(said) // LETTERS_PER_TOKEN))
