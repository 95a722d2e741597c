"""Program: runs somebody's program in this process, as `python PROGRAM` would. Knows no reactor.

For the command line; what is different about the run is the caller's affair.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
from collections.abc import Iterator


def run_program(program: list[str]) -> int:
    """Run a program as `python` would; return its exit status.

    Args:
        program: a file or -m and a module; then arguments.
    """
    try:
        with as_main(program):
            if program[0] == "-m":
                runpy.run_module(program[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(program[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def as_main(program: list[str]) -> Iterator[None]:
    """Let the program find its arguments, and the modules beside it."""
    argv, path = sys.argv, list(sys.path)
    if program[0] == "-m":
        sys.argv = program[1:]
        sys.path.insert(0, os.getcwd())
    else:
        sys.argv = program
        sys.path.insert(0, os.path.dirname(os.path.abspath(program[0])))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, path
