"""What a seed decides before anything runs: workers, their clocks and crashes, runs, turns, calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.simulation.disk import Weather
from tests.simulation.tools import TOOLS
from toolrail.decisions import Principal
from toolrail.limits import Circuit, RailLimits, Rate, RunLimits
from toolrail.messages import Message

INVOICES = ("A1", "A2")
ASKED_FOR = 7
"""Payments of this amount need a person's yes."""
EVE = "eve"
"""May look, and nothing else."""
LEASE_MARGIN = 9.0
"""Workers' clocks differ by less than this where tools are asked about: a lease lapses 10 s after the deadline."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the model."""

    tool: str
    invoice: str
    amount: int


Turn = tuple[Asked, ...]


@dataclass(slots=True)
class RunPlan:
    """One conversation, and how far the application has come with it."""

    name: str
    principal: Principal
    session: str | None
    run_id: str | None
    limits: RunLimits
    turns: list[Turn]
    start: float
    cancel: float | None
    """Seconds after its start at which the caller goes away."""
    changes_mind: bool
    """After a crash the model answers something else."""
    next: int = 0
    done: bool = False
    messages: list[Message] = field(default_factory=list[Message])
    """What the application has stored of a named run."""


@dataclass(slots=True)
class WorkerPlan:
    """One worker, over all its lives."""

    name: str
    runs: list[RunPlan]
    crashes: list[int | None]
    """Step of each life at which it dies."""
    restart: float
    jumps: list[tuple[float, float]]
    """From when on its clock is how far off."""
    drain: float | None
    """When its first life is shut down in an orderly way."""
    threads: int
    limits: RailLimits


@dataclass(slots=True)
class Plan:
    """All of one seed."""

    seed: int
    workers: list[WorkerPlan]
    weather: Weather
    world_trouble: float
    wild: bool
    """Clocks jump by hours."""
    desk: bool
    """Somebody settles by hand meanwhile."""
    one_named_by_many: bool
    """A run's lease may be held by two when clocks are wild, so counts per run are not exact then."""


_RUN_LIMITS = (
    RunLimits(repeat_hint=None, repeat_refuse=None),
    RunLimits(repeat_hint=None, repeat_refuse=None),
    RunLimits(repeat_hint=None, repeat_refuse=None, calls=3),
    RunLimits(repeat_hint=None, repeat_refuse=None, calls=5, calls_per_tool=2),
    RunLimits(repeat_hint=None, repeat_refuse=None, parallel=1),
    RunLimits(repeat_hint=None, repeat_refuse=None, parallel=2, calls_per_tool=3),
    RunLimits(repeat_hint=2, repeat_refuse=2),
)
_RAIL_LIMITS = (
    RailLimits(circuit=None),
    RailLimits(),
    RailLimits(calls=2),
    RailLimits(tenant_calls=2, wait=3.0),
    RailLimits(circuit=Circuit(failures=0.3, volume=2, open_for=2.0)),
    RailLimits(principal_rate=Rate(3, per=1.0), wait=0.5),
)
_READS = ("look", "look_in_thread")
_ASKED_ABOUT = ("wire", "wire_own", "wire_plain")


def plan_of(seed: int) -> Plan:
    """The same for the same seed, whatever else is going on."""
    rng = Random(f"{seed}:plan")
    wild = rng.random() < 0.15
    names = [one.name for one in TOOLS if not (wild and one.name in _ASKED_ABOUT)]
    tools = rng.sample(names, rng.choice((2, 3, 4)))
    crowd = [Principal("ann", tenant="t1"), Principal("bob", tenant="t1")]
    if rng.random() < 0.2:
        crowd.append(Principal("ann", tenant="t2"))
    if rng.random() < 0.15:
        crowd.append(Principal(EVE, tenant="t1"))
    workers = [_worker(rng, number, tools, crowd, wild=wild) for number in range(rng.choice((2, 2, 3)))]
    weather = _weather(rng)
    return Plan(seed, workers, weather, rng.choice((0.0, 0.3, 0.6, 1.0)), wild, rng.random() < 0.3, wild)


def _weather(rng: Random) -> Weather:
    trouble = rng.choice((0.0, 0.0, 0.03, 0.08, 0.2))
    outages: tuple[tuple[float, float], ...] = ()
    if rng.random() < 0.15:
        start = 1_000.0 + rng.random() * 10.0
        outages = ((start, start + rng.choice((1.0, 6.0, 40.0))),)
    return Weather(trouble, outages)


def _worker(rng: Random, number: int, tools: list[str], crowd: list[Principal], *, wild: bool) -> WorkerPlan:
    runs = [_run(rng, f"w{number}r{at}", tools, crowd) for at in range(rng.choice((1, 2, 2, 3)))]
    crashes: list[int | None] = [rng.randrange(1, 160) if rng.random() < 0.4 else None]
    if rng.random() < 0.2:
        crashes.append(rng.randrange(1, 160))
    jumps = [(0.0, rng.uniform(-4.0, 4.0))]
    if rng.random() < 0.4:
        far = rng.choice((-1, 1)) * rng.choice((30.0, 300.0, 10_000.0)) if wild else rng.uniform(-4.0, 4.0)
        jumps.append((1_000.0 + rng.random() * 15.0, far))
    return WorkerPlan(
        f"w{number}",
        runs,
        crashes,
        restart=rng.choice((0.1, 3.0, 20.0, 70.0)),
        jumps=jumps,
        drain=rng.random() * 6.0 if rng.random() < 0.15 else None,
        threads=rng.choice((1, 2, 8)),
        limits=rng.choice(_RAIL_LIMITS),
    )


def _run(rng: Random, name: str, tools: list[str], crowd: list[Principal]) -> RunPlan:
    who = rng.choice(crowd)
    named = rng.random() < 0.4
    shared = named and rng.random() < 0.3
    run_id = (f"run-{who.tenant}-{who.id}" if shared else f"run-{name}") if named else None
    limits = rng.choice(_RUN_LIMITS)
    turns = [turn_of(rng, tools) for _ in range(rng.choice((1, 2, 2, 3)))]
    if limits.repeat_refuse is not None:
        turns = turns[:1] * 4  # a model that goes round in circles
    return RunPlan(
        name,
        who,
        session=rng.choice((None, "s1", "s2")),
        run_id=run_id,
        limits=limits,
        turns=turns,
        start=rng.choice((0.0, 0.0, rng.random() * 5.0, rng.random() * 20.0)),
        cancel=rng.random() * 3.0 if rng.random() < 0.15 else None,
        changes_mind=rng.random() < 0.5,
    )


def turn_of(rng: Random, tools: list[str]) -> Turn:
    """What a model asks for in one response: often the same thing again."""
    calls: list[Asked] = []
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        if calls and rng.random() < 0.3:
            calls.append(rng.choice(calls))
            continue
        amount = rng.choice((5, 5, 5, 5, 6, ASKED_FOR))
        calls.append(Asked(rng.choice(tools), rng.choice(INVOICES), amount))
    return tuple(calls)
