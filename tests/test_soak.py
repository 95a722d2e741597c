"""The scenario of the soak, for a few seeds; `tox -e soak` runs ten thousand. See docs/testing/soak.md."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import pytest

from reactor.testing.faults import KINDS
from tests.scenario import CALLERS, Run
from tests.soak import DIGESTED, digest, main, run, seeds

#: How many seeds: `tox.ini` asks for more in one environment.
COUNT = int(os.environ.get("REACTOR_SOAK_SEEDS", "5"))
_STEP = 5

DIGESTS = Path(__file__).with_name("soak_digests.txt")


@functools.cache
def ran(seed: int) -> tuple[str, frozenset[str]]:
    """Run a seed; return the digest of its journal, and which kinds of fault have struck."""
    sim = Run(seed)()
    return digest(sim), frozenset(name.partition("#")[0] for name in sim.strikes)


@pytest.mark.parametrize("first", range(0, COUNT, _STEP))
def test_two_hundred_connections_hold(first: int) -> None:
    """With every fault on, nothing is lost, torn, told twice, forgotten or left, whatever the seed."""
    for seed in range(first, min(first + _STEP, COUNT)):
        ran(seed)


def test_it_is_two_hundred_connections() -> None:
    """A caller through the forwarder is two of them."""
    assert CALLERS["forward"] * 2 + CALLERS["tcp"] + CALLERS["unix"] == 200


def test_every_fault_strikes() -> None:
    """In a few seeds every kind of fault has struck, but for those of names, which the scenario does not use."""
    struck = frozenset[str]().union(*(ran(seed)[1] for seed in range(4)))
    assert struck == set(KINDS) - {"lookup", "slow_lookup"}


def test_the_same_seed_gives_the_same_journal() -> None:
    """Two runs of one seed are the same, to the byte."""
    assert digest(Run(0)()) == ran(0)[0]


@pytest.mark.parametrize("seed", DIGESTED)
def test_every_python_gives_the_same_journal(seed: int) -> None:
    """What a seed comes down to is written down. If the library or the simulation has changed, write it down anew:
    `python -m tests.soak --digests > tests/soak_digests.txt`.
    """
    known = dict(line.split() for line in DIGESTS.read_text("ascii").splitlines())
    assert ran(seed)[0] == known[str(seed)]


def test_seeds_are_read() -> None:
    """A range, whose end is not in it, or one seed."""
    assert seeds("3:7") == range(3, 7)
    assert seeds("3") == range(3, 4)


def test_a_failing_seed_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner prints what was wrong and how to run it again, and its status is 1; it is 0 if all is well."""
    assert main(["--seeds", "1:2", "--jobs", "1"]) == 0
    assert "1 of 1 seeds, 0 failed" in capsys.readouterr().out
    monkeypatch.setattr(Run, "is_signalled", lambda self: False)
    assert main(["--seeds", "1:2", "--jobs", "1"]) == 1
    told = capsys.readouterr().out
    assert "Violation: seed 1, at " in told
    assert "python -m tests.soak --seeds 1:2 --journal" in told
    assert run(1)[0] == 1
