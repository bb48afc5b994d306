"""The rules of alerts, as data: what is too much, for how long, and about which tools nobody wants to hear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

from toolrail.codes import AlertClass
from toolrail.errors import DefinitionError
from toolrail.records.alerts.mathematics import Judge
from toolrail.settings import counts, not_negative, positive, share, texts, wrong

Severity = Literal["info", "warning", "critical"]
ERROR_CLASSES: tuple[AlertClass, ...] = ("argument", "dependency", "bug")
"""Whose errors are the tool's: what a policy or a limit refuses is none."""
_CLASSES = get_args(AlertClass)


@dataclass(frozen=True, slots=True)
class Common:
    """What every rule has."""

    name: str
    """Unique. A rule of yours with the name of a default one stands in its place."""
    severity: Severity = "warning"
    for_seconds: float = 0.0
    """Seconds that it must hold before anyone is told."""
    silence: tuple[str, ...] = ()
    """Tools, dependencies or currencies that it says nothing of: names or patterns such as `legacy_*`."""


@dataclass(frozen=True, slots=True)
class ErrorRate(Common):
    """A tool whose calls fail too often, by whom it concerns. Only as sure as `judge` says."""

    classes: tuple[AlertClass, ...] = ERROR_CLASSES
    """Whose errors count: `argument` (the model, the prompt), `dependency`, `bug` (our own code)."""
    over: float = 0.05
    """A share of the calls, 0 to 1."""
    calls: int = 80
    """The newest so many are judged, or as many as a minute has."""
    least: int = 20
    """Never fewer."""
    z: float = 2.5
    """How sure: see `mathematics.Judge`."""
    within: float = 21_600.0
    """Seconds. Older calls are not looked at."""
    unless: tuple[str, ...] = ()
    """Rules that already say it: while one of them fires for the same tool, this one does not start."""

    @property
    def judge(self) -> Judge:
        """Its mathematics."""
        return Judge(self.over, self.calls, self.least, self.z)

    def __post_init__(self) -> None:
        _check(self)
        share("ErrorRate", over=self.over)
        counts("ErrorRate", must=True, calls=self.calls, least=self.least)
        positive("ErrorRate", must=True, z=self.z, within=self.within)
        if not self.classes or any(one not in _CLASSES for one in self.classes):
            wrong("ErrorRate", "classes", self.classes, problem="has no such class.", mend=f"Use some of {_CLASSES}.")
        if self.least > self.calls:
            wrong("ErrorRate", "least", self.least, problem=f"is over calls={self.calls}.", mend="Give fewer.")


@dataclass(frozen=True, slots=True)
class Slower(Common):
    """A tool whose p95 is over that of the hours before, and of the same time yesterday, by a factor and a floor.

    The p95 is over a limit when more than 5 % of the calls are: that share is judged as an error rate is. So it is as
    sure as `z` says if calls are independent; they are not when a pause holds many at once, hence `for_seconds`.
    """

    factor: float = 2.0
    """So many times the p95 before."""
    floor: float = 0.1
    """And at least so many seconds more."""
    within: float = 600.0
    """Seconds: the calls that are judged."""
    least: int = 50
    """Never fewer."""
    z: float = 2.5
    """How sure: see `mathematics.Judge`."""
    baseline: float = 21_600.0
    """Seconds before that, to compare with."""
    baseline_least: int = 200
    """No baseline of fewer calls."""

    @property
    def judge(self) -> Judge:
        """Its mathematics: of the share of calls over the limit."""
        return Judge(0.05, 1_000_000_000, self.least, self.z, clear_calls=1_000_000_000, clear_least=self.least)

    def __post_init__(self) -> None:
        _check(self)
        positive("Slower", must=True, factor=self.factor, within=self.within, z=self.z, baseline=self.baseline)
        not_negative("Slower", must=True, floor=self.floor)
        counts("Slower", must=True, least=self.least, baseline_least=self.baseline_least)


@dataclass(frozen=True, slots=True)
class LongRuns(Common):
    """Runs that make too many calls, or that a limit had to end: too large a share of them."""

    over: int = 25
    """More calls than this in one run."""
    share: float = 0.05
    """Of the runs, 0 to 1. As sure as an error rate."""
    least: int = 20
    """Never fewer runs."""
    within: float = 3_600.0
    """Seconds: the runs that are judged ended in them."""

    @property
    def judge(self) -> Judge:
        """Its mathematics: of the share of runs."""
        return Judge(self.share, 1_000_000_000, self.least, clear_calls=1_000_000_000, clear_least=self.least)

    def __post_init__(self) -> None:
        _check(self)
        counts("LongRuns", must=True, over=self.over, least=self.least)
        share("LongRuns", share=self.share)
        positive("LongRuns", must=True, within=self.within)


@dataclass(frozen=True, slots=True)
class Loops(Common):
    """Calls of a tool that were refused because the model repeated itself."""

    count: int = 5
    """So many such calls, or more."""
    within: float = 900.0
    """Seconds."""

    def __post_init__(self) -> None:
        _check(self)
        counts("Loops", must=True, count=self.count)
        positive("Loops", must=True, within=self.within)


@dataclass(frozen=True, slots=True)
class OpenCircuit(Common):
    """A circuit that is not closed in some process, for `for_seconds`."""

    for_seconds: float = 60.0
    """Seconds; a circuit that opens and closes again is no alarm."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class Spend(Common):
    """What models cost in an hour or a day: over an amount, or over a multiple of the same span yesterday."""

    per: Literal["hour", "day"] = "day"
    over: float | None = None
    """In `currency`. None: no amount is too much."""
    currency: str = "USD"
    factor: float | None = None
    """So many times yesterday's. None: yesterday does not matter."""
    floor: float = 1.0
    """And at least so much more than yesterday."""

    @property
    def within(self) -> float:
        """Seconds."""
        return 3_600.0 if self.per == "hour" else 86_400.0

    def __post_init__(self) -> None:
        _check(self)
        texts("Spend", currency=self.currency)
        positive("Spend", over=self.over, factor=self.factor)
        not_negative("Spend", must=True, floor=self.floor)
        if self.per not in ("hour", "day"):
            wrong("Spend", "per", self.per, problem="is neither.", mend='Write per="hour" or per="day".')
        if self.over is None and self.factor is None:
            wrong("Spend", "over", None, problem="and factor are both missing.", mend="Give one, as in over=20.0.")


@dataclass(frozen=True, slots=True)
class UnknownOutcomes(Common):
    """Calls whose outcome nobody knows, and nobody has settled since."""

    count: int = 1
    """So many such calls of a tool, or more."""
    seconds: float = 600.0
    """Those that have waited for so long."""

    def __post_init__(self) -> None:
        _check(self)
        counts("UnknownOutcomes", must=True, count=self.count)
        not_negative("UnknownOutcomes", must=True, seconds=self.seconds)


@dataclass(frozen=True, slots=True)
class LostTelemetry(Common):
    """Events that no row was written for: the other rules see less than there was."""

    within: float = 600.0
    """Seconds without a further loss, until it is over."""

    def __post_init__(self) -> None:
        _check(self)
        positive("LostTelemetry", must=True, within=self.within)


Rule = ErrorRate | Slower | LongRuns | Loops | OpenCircuit | Spend | UnknownOutcomes | LostTelemetry
KINDS: dict[str, type[Rule]] = {
    "error_rate": ErrorRate,
    "slower": Slower,
    "long_runs": LongRuns,
    "loops": Loops,
    "open_circuit": OpenCircuit,
    "spend": Spend,
    "unknown_outcomes": UnknownOutcomes,
    "lost_telemetry": LostTelemetry,
}
"""By the word that a file has for them."""


def defaults() -> tuple[Rule, ...]:
    """The rules that hold unless others are given. The first three say "over 5 % of the calls fail", told apart by
    whom it concerns."""
    told_apart = ("wrong-arguments", "dependency-fails", "tool-bug")
    return (
        ErrorRate("wrong-arguments", classes=("argument",)),
        ErrorRate("dependency-fails", "critical", classes=("dependency",)),
        ErrorRate("tool-bug", "critical", classes=("bug",)),
        ErrorRate("error-rate", unless=told_apart),
        Slower("slower", for_seconds=60.0),
        LongRuns("long-runs"),
        Loops("loops"),
        OpenCircuit("open-circuit", "critical"),
        Spend("spend", factor=3.0),
        UnknownOutcomes("unknown-outcomes", "critical"),
        LostTelemetry("lost-telemetry"),
    )


def over_defaults(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The default rules and these; one of the same name takes the default's place.

    Example: `Alerts(over_defaults([ErrorRate("wrong-arguments", classes=("argument",), over=0.10)]))`
    """
    given = {rule.name: rule for rule in rules}
    kept = [given.pop(rule.name, rule) for rule in defaults()]
    return (*kept, *given.values())


def check_rules(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """The same rules, if they can hold together.

    Raises:
        DefinitionError: there is something else among them, a name stands twice, or is one of no rule (TR310).
    """
    names = check_names(rules)
    for rule in rules:
        for name in rule.unless if isinstance(rule, ErrorRate) else ():
            if name not in names:
                mend = f"Name some of {', '.join(sorted(names))}."
                raise DefinitionError("TR310", f"rule {rule.name!r}, key unless", f"{name!r} is no rule.", mend)
    return tuple(rules)


def check_names(rules: Sequence[Rule]) -> set[str]:
    """The rules' names, each of which stands once."""
    names: set[str] = set()
    for rule in rules:
        if not isinstance(rule, Common):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DefinitionError("TR310", f"{rule!r}", "this is no rule.", "Make one, as in ErrorRate(name=...).")
        if rule.name in names:
            raise DefinitionError("TR310", f"rule {rule.name!r}", "the name stands twice.", "Rename one.")
        names.add(rule.name)
    return names


def silenced(rule: Rule, subject: str) -> bool:
    """Whether nobody wants to hear of this subject by this rule."""
    return any(fnmatchcase(subject, pattern) for pattern in rule.silence)


def _check(rule: Common) -> None:
    owner = type(rule).__name__
    texts(owner, name=rule.name)
    not_negative(owner, must=True, for_seconds=rule.for_seconds)
    if rule.severity not in get_args(Severity):
        mend = 'Write "info", "warning" or "critical".'
        wrong(owner, "severity", rule.severity, problem="is none.", mend=mend)
    if isinstance(rule.silence, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        wrong(owner, "silence", rule.silence, problem="is one text.", mend=f'Write ("{rule.silence}",).')
