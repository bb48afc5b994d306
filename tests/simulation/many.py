"""Many seeds, in several processes; and how often everything occurred in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.scenario import simulate

Found = tuple[int, list[str]]
"""A seed, and the promises that did not hold in it."""


def all_of(seeds: range, processes: int) -> Iterable[tuple[Counter[str], list[Found]]]:
    """What each part of the seeds showed."""
    parts = [seeds[at : at + 50] for at in range(0, len(seeds), 50)]
    if processes == 1:
        yield from map(_part, parts)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_part, parts)


def _part(seeds: range) -> tuple[Counter[str], list[Found]]:
    seen, broken = Counter[str](), list[Found]()
    for seed in seeds:
        outcome = simulate(seed)
        seen.update(outcome.history.seen)
        if not outcome.held:
            broken.append((seed, outcome.history.broken))
    return seen, broken


def table(seen: Counter[str]) -> str:
    """How often everything occurred, so that nobody believes an empty simulation."""
    width = max((len(name) for name in seen), default=0)
    return "\n".join(f"{name:<{width}} {count:>9}" for name, count in sorted(seen.items()))
