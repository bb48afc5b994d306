"""The simulation: the real runtime on simulated time, several workers over one faulty store, and a world that counts.

`python -m tests.simulation --seed 7 -v` tells what happened in one seed, `--seeds 0..2000 --processes 2` runs many.
"""
