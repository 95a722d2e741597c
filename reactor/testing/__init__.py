"""Tools for testing programs on the reactor: a simulated network in virtual time, driven by a seed."""

from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.journal import Journal
from reactor.testing.network import Network
from reactor.testing.simulation import Host, Simulation
from reactor.testing.verdicts import Hang, InjectedError, Leak, SimulationError, Violation

__all__ = [
    "NO_FAULTS",
    "Faults",
    "Hang",
    "Host",
    "InjectedError",
    "Journal",
    "Leak",
    "Network",
    "Simulation",
    "SimulationError",
    "Violation",
]
