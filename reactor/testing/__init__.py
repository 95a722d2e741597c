"""Tools for testing programs on the reactor: a simulated network in virtual time, driven by a seed."""

from reactor.testing.check import check_handler
from reactor.testing.codec import Codec, check_codec
from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.journal import Journal
from reactor.testing.network import Network
from reactor.testing.peer import Ended
from reactor.testing.shrink import Shrunk, shrink
from reactor.testing.simulation import Host, Simulation
from reactor.testing.splits import Effort
from reactor.testing.threads import ReactorThread
from reactor.testing.trial import Outcome
from reactor.testing.verdicts import BrokenContract, Hang, InjectedError, Leak, SimulationError, Violation
from reactor.testing.watched import WatchedReactor

__all__ = [
    "NO_FAULTS",
    "BrokenContract",
    "Codec",
    "Effort",
    "Ended",
    "Faults",
    "Hang",
    "Host",
    "InjectedError",
    "Journal",
    "Leak",
    "Network",
    "Outcome",
    "ReactorThread",
    "Shrunk",
    "Simulation",
    "SimulationError",
    "Violation",
    "WatchedReactor",
    "check_codec",
    "check_handler",
    "shrink",
]
