"""Verdicts: what a simulation raises, and what it says."""

from __future__ import annotations

import pytest

from reactor.errors import ReactorError
from reactor.testing import Hang, InjectedError, Leak, Simulation, SimulationError, Violation


def test_verdicts_are_caught_together() -> None:
    """Each verdict is a `SimulationError`, and so a `ReactorError`; what a fault raises is neither."""
    assert all(issubclass(kind, SimulationError) for kind in (Hang, Leak, Violation))
    assert issubclass(SimulationError, ReactorError)
    assert not issubclass(InjectedError, ReactorError)


@pytest.mark.parametrize("kind", [Hang, Leak, Violation])
def test_a_verdict_tells_seed_moment_and_history(kind: type[SimulationError]) -> None:
    """With the message alone a run can be repeated, and its notes have the end of the journal."""
    with Simulation(seed=7) as sim:
        sim.advance(2.5)
        sim.note("something", 1)
        verdict = sim.verdict(kind, "is wrong")
    assert (type(verdict), str(verdict)) == (kind, "seed 7, at 2.500000 s: is wrong")
    assert verdict.__notes__ == ["what happened last:\n1002.500000 sim something 1"]
