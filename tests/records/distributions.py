"""Ten distributions of seconds, the same each time, and what counts them in a process of its own."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping

from toolrail.events import CallRef, CallSettled, Head
from toolrail.records.metrics import Metrics

COUNT = 8_000
HEAD = Head(1, 0.0, 0.0, "default", None, "run_1", 1, "ada")


def _bimodal(numbers: random.Random) -> float:
    return numbers.gauss(0.02, 0.002) if numbers.random() < 0.9 else numbers.gauss(3.0, 0.2)


def _steps(numbers: random.Random) -> float:
    return numbers.choice((0.001, 0.01, 0.1, 1.0, 10.0))


DISTRIBUTIONS: Mapping[str, tuple[int, Callable[[random.Random], float]]] = {
    "uniform": (COUNT, lambda numbers: numbers.uniform(0.001, 2.0)),
    "exponential": (COUNT, lambda numbers: numbers.expovariate(5.0)),
    "lognormal": (COUNT, lambda numbers: numbers.lognormvariate(-2.0, 1.5)),
    "pareto": (COUNT, lambda numbers: 0.01 * numbers.paretovariate(1.2)),
    "weibull": (COUNT, lambda numbers: numbers.weibullvariate(0.2, 0.5)),
    "bimodal": (COUNT, _bimodal),
    "constant": (COUNT, lambda _: 0.25),
    "steps": (COUNT, _steps),
    "three values": (3, lambda numbers: numbers.uniform(0.1, 0.2)),
    "huge range": (COUNT, lambda numbers: 10.0 ** numbers.uniform(-8.0, 8.0)),
}


def drawn(name: str) -> list[float]:
    """Its values, in the order in which they come."""
    count, draw = DISTRIBUTIONS[name]
    numbers = random.Random(name)
    return [abs(draw(numbers)) for _ in range(count)]


def settled(tool: str, seconds: float) -> CallSettled:
    """A call that took so long."""
    call = CallRef("run_1:1:0", 0, "1", tool, "digest")
    return CallSettled(HEAD, call, "ok", None, 1, 20, 310, seconds, seconds, (), False, True)


def counted(part: int, parts: int) -> Metrics:
    """What one of several processes sees."""
    metrics = Metrics()
    for name in DISTRIBUTIONS:
        for seconds in drawn(name)[part::parts]:
            metrics.emit(settled(name, seconds))
    return metrics


if __name__ == "__main__":
    sys.stdout.write(counted(int(sys.argv[1]), int(sys.argv[2])).to_json())
