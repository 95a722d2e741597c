"""Run the scenario of `tests.scenario` for a range of seeds, on all cores, and say which fail.

    python -m tests.soak                    # seeds 0 to 9,999
    python -m tests.soak --seeds 200:210    # these ten
    python -m tests.soak --seeds 207:208 --journal
    python -m tests.soak --scenario streams --seeds 0:2000
    python -m tests.soak --digests          # what tests/soak_digests.txt has to say now

It stops by itself. The exit status is 1 if any seed failed.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from reactor.testing import Simulation, SimulationError
from tests import scenario_streams
from tests.scenario import Run

#: What can be run, by name.
SCENARIOS: dict[str, Callable[[int], Any]] = {"connections": Run, "streams": scenario_streams.Run}
#: What is run unless somebody asks for something else.
SEEDS = range(10_000)
#: Those whose journals have to be the same on every Python.
DIGESTED = range(2)
#: With so many failures there is no need for more.
FAILURES_MAX = 20


def seeds(text: str) -> range:
    """Read `FIRST:END`, a range whose end is not in it."""
    first, _, end = text.partition(":")
    return range(int(first), int(end or int(first) + 1))


def run(seed: int, *, scenario: str = "connections", journal: bool = False) -> tuple[int, str]:
    """Run one seed; return it, and what was wrong, if anything."""
    made = (Run if scenario == "connections" else SCENARIOS[scenario])(seed)
    try:
        made()
    except Exception as error:  # whatever it is, it is a finding
        text = f"{type(error).__name__}: {error}"
        if not isinstance(error, SimulationError):
            text += f" ({error.__cause__!r})"
        return seed, text
    finally:
        if journal:
            print(made.sim.journal)
    return seed, ""


def digest(sim: Simulation) -> str:
    """Return what the whole journal of a run comes down to."""
    return hashlib.sha256(str(sim.journal).encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Run the seeds that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Run the scenario of the soak.")
    parser.add_argument("--seeds", type=seeds, default=SEEDS, metavar="FIRST:END", help="which (default: 0:10000)")
    parser.add_argument("--scenario", choices=SCENARIOS, default="connections", help="which (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")
    parser.add_argument("--journal", action="store_true", help="print what happened; for one seed, in this process")
    parser.add_argument("--first", action="store_true", help="stop at the first failure")
    parser.add_argument("--digests", action="store_true", help=f"print the digests of seeds {DIGESTED}")
    options = parser.parse_args(arguments)
    if options.digests:
        print("\n".join(f"{seed} {digest(Run(seed)())}" for seed in DIGESTED))
        return 0
    run_one = partial(run, scenario=options.scenario)
    again = "" if options.scenario == "connections" else f"--scenario {options.scenario} "
    begun, failures, done = time.monotonic(), 0, 0
    if options.journal or options.jobs == 1:
        results: Iterator[tuple[int, str]] = (run_one(seed, journal=options.journal) for seed in options.seeds)
        pool = None
    else:
        # Not fork: each process begins as fresh as the one that reruns a seed.
        pool = multiprocessing.get_context("spawn").Pool(options.jobs)
        results = pool.imap_unordered(run_one, options.seeds, chunksize=4)
    try:
        for seed, wrong in results:
            done += 1
            if done % 1000 == 0:
                print(f"{done} seeds, {failures} failed, {time.monotonic() - begun:.0f} s", flush=True)
            if wrong:
                failures += 1
                print(f"{wrong}\n    rerun: python -m tests.soak {again}--seeds {seed}:{seed + 1} --journal", flush=True)
                if failures == (1 if options.first else FAILURES_MAX):
                    break
    finally:
        if pool is not None:
            pool.terminate()
            pool.join()
    print(f"{done} of {len(options.seeds)} seeds, {failures} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
