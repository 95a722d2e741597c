"""Measure this library beside its peers: `python -m benchmarks [--quick] [ROW…]`; `--list` shows the rows.

Servers run as processes on one core, the load on another. Contestants take turns, several rounds, in one run, so that
what else the machine does hits all of them. What is compared is the processor time that a server uses for each operation,
user and system, which a busy machine disturbs less than throughput; ratios are taken within each round. Everything is
bounded and stops by itself. Linux, with a C compiler, since the load is C.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import load, machine, report
from benchmarks.rows import ROWS, Row, missing, settle

QUICK_SCALE, QUICK_ROUNDS = 0.1, 2
QUICK_CONTESTANTS = frozenset(
    {"ours", "ours, idle deadline", "ours, Reactor and Stream", "by hand", "uvloop", "asyncio", "asyncio streams", "attrs"}
)


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", metavar="ROW", nargs="*", help="a row's name, or how several begin; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="a first look: fewer rounds, rows and contestants, a tenth of the load"
    )
    parser.add_argument("--rounds", type=int, help="default 5")
    parser.add_argument("--scale", type=float, help="how much of each load, default 1")
    parser.add_argument("--only", action="append", metavar="CONTESTANT", help="leave others out; may be repeated")
    parser.add_argument("--output", type=Path, help="a directory for the plots and results.json, whose other rows stay")
    parser.add_argument("--list", action="store_true", help="show the rows")
    return parser.parse_args()


def chosen(options: argparse.Namespace) -> list[Row]:
    """Return the rows that were asked for."""
    for name in options.rows:
        if not any(row.name.startswith(name) for row in ROWS):
            sys.exit(f"no row begins with {name!r}; there are {', '.join(row.name for row in ROWS)}")
    if options.rows:
        exact = {row.name for row in ROWS if row.name in options.rows}
        begun = tuple(name for name in options.rows if name not in exact)
        return [row for row in ROWS if row.name in exact or row.name.startswith(begun)]
    return [row for row in ROWS if row.quick or not options.quick]


def contestants(row: Row, options: argparse.Namespace) -> list[str]:
    """Return who takes part in a row; say who is left out because it is not installed."""
    found = []
    for name in row.contestants:
        if options.only and name.partition(" @ ")[0] not in (row.ours, *options.only):
            continue
        if (
            options.quick
            and row.name != "codecs"
            and name.partition(" @ ")[0].removesuffix(" alone") not in QUICK_CONTESTANTS
        ):
            continue
        lacks = missing(name)
        if lacks:
            print(f"  {name} is left out: {lacks} is not installed")
        else:
            found.append(name)
    return found


def measure(row: Row, options: argparse.Namespace) -> report.Measured:
    """Have all contestants of a row take turns."""
    measured = report.Measured(row)
    for name in contestants(row, options):
        measured.samples[name] = []
    for number in range(options.rounds):
        names = list(measured.samples)
        for name in names if number % 2 == 0 else reversed(names):  # nobody always comes after the same one
            try:
                measured.samples[name].append(row.measure(name, options.scale))
            except (OSError, subprocess.SubprocessError) as error:
                print(f"  {name} is left out: {error}", flush=True)
                del measured.samples[name]
            settle()
    return measured


def main() -> None:
    """Measure, print, and write."""
    options = parse()
    if options.list:
        for row in ROWS:
            print(f"{row.name:20}{row.title}: {', '.join(row.contestants)}")
        return
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else 5)
    options.scale = options.scale or (QUICK_SCALE if options.quick else 1.0)
    began, about = time.monotonic(), machine.described()
    load.library()
    machine.pin_load()
    print(f"{about['python']}, {about['cpu']}, cores {about['cores']}, load average {about['load_average']}")
    if len(machine.CORES) < 2:
        print("one core only: server and load take turns on it, and throughput means nothing")
    found = []
    for row in chosen(options):
        measured = measure(row, options)
        found.append(measured)
        print(*measured.table(), "", sep="\n", flush=True)
    for warning in report.warnings(found):
        print("doubtful:", warning)
    if options.output and not options.quick:  # a first look is none to keep
        options.output.mkdir(parents=True, exist_ok=True)
        report.write(found, about, options.output / "results.json")
        if machine.is_there("matplotlib"):
            for measured in found:
                report.plot(measured, options.output / f"{measured.row.name}.svg")
        else:
            print("no plots: matplotlib is not installed")
    print(f"in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
