"""What the tests of recording and replaying share: a scenario is played twice, and must see the same both times."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from reactor.system import System
from reactor.testing import Recorder, Replayer
from reactor.testing.tape import Record, read_header, read_records

#: Does something on a system, and returns what it has seen.
Scenario: TypeAlias = "Callable[[System], object]"


def twice(path: str, scenario: Scenario) -> object:
    """Record *scenario*, replay it, and return what it has seen, which must be the same."""
    with Recorder(path) as recorder:
        seen = scenario(recorder)
    assert replayed(path, scenario) == seen
    return seen


def replayed(path: str, scenario: Scenario) -> object:
    """Return what *scenario* sees in a replay."""
    with Replayer(path) as replayer:
        seen = scenario(replayer)
        replayer.finish()
    return seen


def records(path: str) -> list[Record]:
    """Return what is in a journal."""
    with open(path, "rb") as file:
        read_header(file, path)
        return list(read_records(file))


def names(path: str) -> list[str]:
    """Return the operations that are in a journal."""
    return [record[0] if isinstance(record, tuple) else "monotonic" for record in records(path)]
