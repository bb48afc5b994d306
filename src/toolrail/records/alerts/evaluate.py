"""One round: rules and what is in the record give what changed. It writes nothing and tells nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from toolrail.records.alerts.facts import Facts
from toolrail.records.alerts.readings import NEW, Reading, State, readings
from toolrail.records.alerts.rules import ErrorRate, Rule, silenced

Key = tuple[str, str]
"""A rule's name and a subject."""
GONE = "silenced, or its rule does not hold any more"


class Now(NamedTuple):
    """How a rule and a subject stand after a round."""

    state: State
    value: float | None
    text: str
    severity: str
    changed: bool = False
    """It has begun to fire, or it is over."""


def evaluate(rules: Sequence[Rule], facts: Facts, before: Mapping[Key, State]) -> dict[Key, Now]:
    """How all that there is anything to say about stands now. What it says nothing of stands as before: a tool without
    traffic goes on firing.

    Args:
        before: what is remembered, of the last round or of another process.
    """
    found: dict[Key, Now] = {}
    for rule in rules:
        states = _states(rule, before)
        for reading in readings(rule, facts, states):
            if silenced(rule, reading.subject):
                continue
            state = states.get(reading.subject, NEW)
            held = _said_already(rule, reading.subject, found)
            after, changed = advance(state, reading, facts.now, wait=rule.for_seconds, held=held)
            if after != NEW or state != NEW:
                key = rule.name, reading.subject
                found[key] = Now(after, reading.value, reading.text, rule.severity, changed)
    by_name = {rule.name: rule for rule in rules}
    for (name, subject), state in before.items():
        rule = by_name.get(name)
        if state.firing and (rule is None or silenced(rule, subject)):
            found[name, subject] = Now(State(since=facts.now), None, GONE, "info", changed=True)
    return found


def advance(state: State, reading: Reading, now: float, *, wait: float, held: bool = False) -> tuple[State, bool]:
    """The state after a reading, and whether it begins to fire or is over.

    Args:
        wait: seconds that it must be too much before it fires.
        held: it may not begin, because another rule says it already.
    """
    if state.firing:
        if reading.good:
            return State(False, now, basis=reading.basis, seen=reading.seen), True
        return state._replace(basis=reading.basis, seen=reading.seen), False
    if not reading.high or held:
        return state._replace(met=None), False
    met = now if state.met is None else state.met
    if now - met < wait:
        return state._replace(met=met), False
    return State(True, now, basis=reading.basis, seen=reading.seen), True


def _states(rule: Rule, before: Mapping[Key, State]) -> dict[str, State]:
    """By subject. What another rule has told counts as told for one that yields to it: those calls do not count."""
    states = {subject: state for (name, subject), state in before.items() if name == rule.name}
    for (name, subject), other in before.items():
        own = states.get(subject, NEW)
        if isinstance(rule, ErrorRate) and name in rule.unless and not own.firing:
            states[subject] = own._replace(since=max(own.since, other.since))
    return states


def _said_already(rule: Rule, subject: str, found: Mapping[Key, Now]) -> bool:
    others = rule.unless if isinstance(rule, ErrorRate) else ()
    known = [found[name, subject] for name in others if (name, subject) in found]
    return any(one.state.firing or one.changed for one in known)
