"""Prints the table of docs/alerts.md: `python -m tests.records.alert_table` (two minutes; seeds are fixed)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from toolrail.records.alerts.mathematics import Judge, Watch

SERIES = 2_000
JUDGES = (
    Judge(calls=60),
    Judge(),
    Judge(z=2.33),
    Judge(z=2.8),
    Judge(calls=100),
    Judge(calls=200),
)


def series(seed: int, *parts: tuple[float, int]) -> Iterator[bool]:
    """Independent calls: for each part a true rate and a length."""
    source = random.Random(seed)
    return (source.random() < rate for rate, length in parts for _ in range(length))


def changes(watch: Watch, calls: Iterator[bool], before: int = 0) -> list[int]:
    """After how many calls its state changed."""
    return [at for at, event in enumerate(calls, before + 1) if watch.add(at, event=event)]


def false_alarms(judge: Judge, calls: int, count: int = SERIES) -> float:
    """The part of series at a true 2 % in which it fires."""
    return sum(bool(changes(Watch(judge), series(seed, (0.02, calls)))) for seed in range(count)) / count


def found(judge: Judge, healthy: int) -> float:
    """The part of series in which a true 15 % is found within 100 calls, after so many at 2 %."""
    hits = tried = 0
    for seed in range(SERIES):
        at = changes(Watch(judge), series(seed, (0.02, healthy), (0.15, 100)))
        if not at or at[0] > healthy:
            tried += 1
            hits += bool(at)
    return hits / tried


def recovery(judge: Judge, rate: float) -> tuple[int, int]:
    """Calls until it clears, once the rate is this again: half of the series, and 95 %."""
    took: list[int] = []
    for seed in range(SERIES // 2):
        watch = Watch(judge)
        changes(watch, iter([True] * judge.least))
        cleared = changes(watch, series(seed, (rate, 2_000)), judge.least)
        took.append(cleared[0] - judge.least if cleared else 2_000)
    took.sort()
    return took[len(took) // 2], took[len(took) * 95 // 100]


def begun(judge: Judge, rate: float) -> float:
    """How often it begins to fire in 1,000 calls at a rate that stays."""
    return sum((len(changes(Watch(judge), series(seed, (rate, 1_000)))) + 1) // 2 for seed in range(300)) / 300


def main() -> None:
    print("| window | z | false, 1,000 calls | false, 10,000 | found, new tool | found, after 1,000 good |", end="")
    print(" clears at 0 % | clears at 2 % | begins at 8 % | at 15 % |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for judge in JUDGES:
        figures = [f"{false_alarms(judge, 1_000):.2%}", f"{false_alarms(judge, 10_000, 500):.1%}"]
        figures += [f"{found(judge, healthy):.1%}" for healthy in (0, 1_000)]
        figures += ["{} / {}".format(*recovery(judge, rate)) for rate in (0.0, 0.02)]
        figures += [f"{begun(judge, rate):.2f}" for rate in (0.08, 0.15)]
        print(f"| {judge.calls} | {judge.z} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
