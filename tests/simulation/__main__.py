"""`python -m tests.simulation --seed 7 -v`, `--seeds 0..2000 --processes 2`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.simulation.many import Found, all_of, table
from tests.simulation.scenario import simulate


def main(arguments: list[str]) -> int:
    """Exit status 1 when a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", default="0..200", help="A..B, without B")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: what happened, in order")
    parser.add_argument("--digest", action="store_true", help="with --seed: the digest of what happened")
    given = parser.parse_args(arguments)
    if given.seed is not None:
        return _one(given.seed, verbose=given.verbose, digest=given.digest)
    first, _, end = given.seeds.partition("..")
    return _many(range(int(first), int(end)), given.processes)


def _one(seed: int, *, verbose: bool, digest: bool) -> int:
    outcome = simulate(seed)
    if verbose:
        print(outcome.history.told())
    if digest:
        print(outcome.history.digest())
    for text in outcome.history.broken:
        print(f"seed {seed}: {text}")
    return int(not outcome.held)


def _many(seeds: range, processes: int) -> int:
    began, seen, broken = time.perf_counter(), Counter[str](), list[Found]()
    for counted, found in all_of(seeds, processes):
        seen.update(counted)
        broken += found
    seconds = time.perf_counter() - began
    print(table(seen))
    for seed, texts in sorted(broken)[:20]:
        print(f"FAILED: make simulate SEED={seed}    {texts[0]}")
    rate = len(seeds) / seconds
    print(f"{len(seeds)} seeds, {len(broken)} failed, {seconds:.1f} s, {rate:.1f} seeds a second")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
