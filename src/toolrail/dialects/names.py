"""Tool names on the wire: a name that a provider refuses is mapped to one that it takes, and back."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

Provider = Literal["openai", "anthropic", "gemini"]
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class NameRule:
    """Which names a provider takes: characters of the first place, of the others, and the length."""

    first: str
    others: str
    max_length: int = 64

    def allows(self, name: str) -> bool:
        """Whether the name may be sent as it is."""
        return len(name) <= self.max_length and bool(re.fullmatch(f"[{self.first}][{self.others}]*", name))

    def near(self, name: str) -> str:
        """The name with each refused character replaced; it may be too long still."""
        text = re.sub(f"[^{self.others}]", "_", name) or "_"
        return text if re.match(f"[{self.first}]", text) else f"_{text}"


def name_rule(provider: Provider) -> NameRule:
    """The rule of a provider. Anthropic's own API takes 128 characters, the clouds that serve its models 64."""
    match provider:
        case "openai" | "anthropic":
            return NameRule("a-zA-Z0-9_-", "a-zA-Z0-9_-")
        case "gemini":
            return NameRule("a-zA-Z_", "a-zA-Z0-9_.-")
        case _:
            assert_never(provider)


class NameMap:
    """A one-to-one map between the offered tools' names and names that the provider takes.

    It depends on the set of names, not on their order. Names that are allowed stay as they are.

    Example:
        >>> names = NameMap(["billing.pay", "search"], name_rule("openai"))
        >>> names.to_wire("billing.pay"), names.to_tool("billing_pay")
        ('billing_pay', 'billing.pay')
    """

    __slots__ = ("_rule", "_tools", "_wires")

    def __init__(self, names: Iterable[str], rule: NameRule) -> None:
        offered = sorted(set(names))
        self._rule = rule
        self._wires = {name: name for name in offered if rule.allows(name)}
        refused = [name for name in offered if name not in self._wires]
        wanted = Counter(rule.near(name) for name in refused)
        self._tools = {wire: name for name, wire in self._wires.items()}
        digested: list[str] = []
        for name in refused:
            wire = rule.near(name)
            if wanted[wire] == 1 and wire not in self._tools and len(wire) <= rule.max_length:
                self._add(name, wire)
            else:
                digested.append(name)
        for name in digested:
            self._add(name, self._digested(name))

    def to_wire(self, name: str) -> str:
        """The name to send. A name that was not offered (an old message's) gets an allowed one, too."""
        known = self._wires.get(name)
        if known is not None:
            return known
        free = self._rule.allows(name) and name not in self._tools
        return name if free else self._digested(name)

    def to_tool(self, wire_name: str) -> str:
        """The tool's own name; a name that we did not send comes back unchanged."""
        return self._tools.get(wire_name, wire_name)

    def _add(self, name: str, wire: str) -> None:
        self._wires[name] = wire
        self._tools[wire] = name

    def _digested(self, name: str) -> str:
        """The near name, cut, with a digest of the whole name; again, should that be taken."""
        near = self._rule.near(name)[: self._rule.max_length - _DIGEST - 1]
        text = name.encode("utf-8", "surrogatepass")
        for attempt in range(len(self._tools) + 1):
            digest = hashlib.blake2b(text, digest_size=_DIGEST // 2, salt=str(attempt).encode()).hexdigest()
            wire = f"{near}_{digest}"
            if wire not in self._tools:
                break
        else:
            raise AssertionError("more digests taken than names offered")
        return wire
