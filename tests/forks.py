"""What tests need that fork: a child that runs a function and says what went wrong in it."""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from tests.kit import PATIENCE


def in_child(body: Callable[[], object]) -> None:
    """Call *body* in a forked child; fail if it raises there, with its traceback."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        try:
            body()
        except BaseException:
            leave(write, traceback.format_exc())
        leave(write, "")
    os.close(write)
    try:
        said = b""
        while select.select([read], [], [], PATIENCE)[0] and (chunk := os.read(read, 65536)):
            said += chunk
    finally:
        os.close(read)
        os.waitpid(pid, 0)
    assert said == b".", said.decode()


def leave(write: int, said: str) -> NoReturn:
    """End this child: at once, without what the parent would do at its own end, but for what was measured of coverage."""
    os.write(write, said.encode() or b".")
    save_coverage()
    os._exit(0)


def save_coverage() -> None:
    """Keep what was measured in this process so far, if anything is measured."""
    coverage = sys.modules.get("coverage")
    current = None if coverage is None else coverage.Coverage.current()
    if current is not None:
        current.stop()
        current.save()
