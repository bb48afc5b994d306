"""Runs, sessions, leases, results and counters."""

from __future__ import annotations

from tests.stores.places import result, run, session
from tests.stores.steps import Steps
from toolrail.store import (
    DropLease,
    Forget,
    KeepResult,
    ListRuns,
    LoadRun,
    LoadSession,
    ReadResult,
    SaveRun,
    SaveSession,
    Spend,
    Spent,
    TakeLease,
)


def take(holder: str, now: float, until: float) -> TakeLease:
    return TakeLease("acme", "x", holder, now, until)


def drop(holder: str) -> DropLease:
    return DropLease("acme", "x", holder)


def spend(amount: float, *, limit: float | None = 10.0, now: float = 0.0, expires: float = 100.0) -> Spend:
    return Spend("acme", "money", amount, limit, now, expires)


REST: list[Steps] = [
    Steps("a run comes back", (SaveRun(run()), LoadRun("acme", "r1")), run()),
    Steps(
        "a run is saved over itself",
        (SaveRun(run()), SaveRun(run(state="{}", stop_reason="answer")), LoadRun("acme", "r1")),
        run(state="{}", stop_reason="answer"),
    ),
    Steps("a run without a session comes back", (SaveRun(run(session=None)), LoadRun("acme", "r1")), run(session=None)),
    Steps("a missing run is None", (LoadRun("acme", "r1"),), None),
    Steps(
        "of two writes of a run that cross on their way the older one changes nothing",
        (SaveRun(run(version=2)), SaveRun(run(version=1, state="{}")), LoadRun("acme", "r1")),
        run(version=2),
    ),
    Steps("a run of another tenant is missing", (SaveRun(run()), LoadRun("zeta", "r1")), None),
    Steps(
        "runs come newest first, at most as many as asked for",
        (*(SaveRun(run(f"r{n}", updated=float(n))) for n in (2, 3, 1)), ListRuns(limit=2)),
        (run("r3", updated=3.0), run("r2", updated=2.0)),
    ),
    Steps("only runs after a time are listed", (SaveRun(run()), ListRuns(since=2.0)), ()),
    Steps(
        "runs of all tenants are listed",
        (SaveRun(run()), SaveRun(run(tenant="zeta", updated=1.0)), ListRuns()),
        (run(), run(tenant="zeta", updated=1.0)),
    ),
    Steps(
        "runs of one tenant are listed",
        (SaveRun(run()), SaveRun(run(tenant="zeta")), ListRuns(tenant="zeta")),
        (run(tenant="zeta"),),
    ),
    Steps("a session comes back", (SaveSession(session()), LoadSession("acme", "s1")), session()),
    Steps(
        "a session is saved over itself",
        (SaveSession(session()), SaveSession(session(messages="[]")), LoadSession("acme", "s1")),
        session(messages="[]"),
    ),
    Steps("a missing session is None", (LoadSession("acme", "s1"),), None),
    Steps("a session of another tenant is missing", (SaveSession(session()), LoadSession("zeta", "s1")), None),
    Steps("a free lease is taken", (TakeLease("acme", "run:r1", "a", 0.0, 10.0),), True),
    Steps("a held lease is refused", (take("a", 0.0, 10.0), take("b", 9.9, 20.0)), False),
    Steps("a lapsed lease is taken", (take("a", 0.0, 10.0), take("b", 10.0, 20.0)), True),
    Steps("a holder renews its lease", (take("a", 0.0, 10.0), take("a", 5.0, 15.0)), True),
    Steps(
        "a renewed lease lasts longer",
        (take("a", 0.0, 10.0), take("a", 5.0, 15.0), take("b", 12.0, 20.0)),
        False,
    ),
    Steps("a dropped lease is free", (take("a", 0.0, 10.0), drop("a"), take("b", 1.0, 9.0)), True),
    Steps("nobody drops another's lease", (take("a", 0.0, 10.0), drop("b"), take("b", 1.0, 9.0)), False),
    Steps("dropping a lease that nobody has is nothing", (drop("a"),), None),
    Steps("leases of two tenants do not meet", (take("a", 0.0, 10.0), TakeLease("zeta", "x", "b", 0.0, 9.0)), True),
    Steps(
        "of runs as old, those of the first tenant and name come first",
        (SaveRun(run("r2")), SaveRun(run("r1")), SaveRun(run(tenant="a")), ListRuns()),
        (run(tenant="a"), run("r1"), run("r2")),
    ),
    Steps("a forgotten run is gone", (SaveRun(run()), Forget("acme", "r1"), LoadRun("acme", "r1")), None),
    Steps(
        "a run of the same name in another tenant is not forgotten",
        (SaveRun(run()), Forget("zeta", "r1"), LoadRun("acme", "r1")),
        run(),
    ),
    # Results
    Steps("a result is read by its handle", (KeepResult(result()), ReadResult("acme", "h1")), result()),
    Steps("a result that nobody kept is None", (ReadResult("acme", "h1"),), None),
    Steps("a result of another tenant is None", (KeepResult(result()), ReadResult("zeta", "h1")), None),
    Steps(
        "a result may be kept again",
        (KeepResult(result()), KeepResult(result(content="more")), ReadResult("acme", "h1")),
        result(content="more"),
    ),
    Steps(
        "a large result comes back whole",
        (KeepResult(result(content="☃" * 300_000)), ReadResult("acme", "h1")),
        result(content="☃" * 300_000),
    ),
    Steps(
        "a forgotten run's results are gone",
        (KeepResult(result()), Forget("acme", "r1"), ReadResult("acme", "h1")),
        None,
    ),
    Steps(
        "another run's results stay", (KeepResult(result()), Forget("acme", "r2"), ReadResult("acme", "h1")), result()
    ),
    # Counters
    Steps("what there is room for is granted", (spend(4.0),), Spent(4.0, 4.0)),
    Steps("amounts add up", (spend(4.0), spend(5.0)), Spent(5.0, 9.0)),
    Steps("up to the limit all is granted", (spend(4.0), spend(6.0)), Spent(6.0, 10.0)),
    Steps("beyond it only what is left", (spend(4.0), spend(7.0)), Spent(6.0, 10.0)),
    Steps("at the limit nothing is granted", (spend(10.0), spend(1.0)), Spent(0.0, 10.0)),
    Steps("beyond a limit that was lowered nothing is granted", (spend(10.0), spend(1.0, limit=5.0)), Spent(0.0, 10.0)),
    Steps("without a limit all is granted", (spend(10.0), spend(7.5, limit=None)), Spent(7.5, 17.5)),
    Steps("what is given back can be spent again", (spend(10.0), spend(-3.0), spend(5.0)), Spent(3.0, 10.0)),
    Steps("giving back is never refused", (spend(10.0), spend(-3.0, limit=0.0)), Spent(-3.0, 7.0)),
    Steps("no more comes back than was spent", (spend(2.0), spend(-3.0)), Spent(-2.0, 0.0)),
    Steps(
        "a counter begins at zero again when it has expired",
        (spend(9.0), spend(5.0, now=100.5, expires=200.0)),
        Spent(5.0, 5.0),
    ),
    Steps("it lasts to its last moment", (spend(9.0), spend(5.0, now=100.0, expires=200.0)), Spent(1.0, 10.0)),
    Steps(
        "what comes back too late is gone",
        (spend(9.0), spend(-9.0, now=101.0, expires=200.0), spend(20.0, now=102.0, expires=200.0)),
        Spent(10.0, 10.0),
    ),
    Steps(
        "a counter keeps the end that it began with",
        (spend(1.0), spend(1.0, now=50.0, expires=150.0), spend(1.0, now=120.0, expires=220.0)),
        Spent(1.0, 1.0),
    ),
    Steps(
        "counters of two names do not meet", (spend(9.0), Spend("acme", "calls", 9.0, 10.0, 0.0, 9.0)), Spent(9.0, 9.0)
    ),
    Steps(
        "counters of two tenants do not meet",
        (spend(9.0), Spend("zeta", "money", 9.0, 10.0, 0.0, 9.0)),
        Spent(9.0, 9.0),
    ),
    Steps("spending nothing tells the counter", (spend(9.0), spend(0.0)), Spent(0.0, 9.0)),
]
