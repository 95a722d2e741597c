"""What replaces or wraps the operating system: a simulated network in virtual time, driven by a seed; record and replay.

`import reactor` does not load it.
"""

from reactor.errors import Divergence, JournalEnded, JournalError, ReplayOver
from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.journal import Journal
from reactor.testing.network import Network
from reactor.testing.recorder import Recorder
from reactor.testing.replayer import Replayer
from reactor.testing.simulation import Host, Simulation
from reactor.testing.verdicts import Hang, InjectedError, Leak, SimulationError, Violation

__all__ = [
    "NO_FAULTS",
    "Divergence",
    "Faults",
    "Hang",
    "Host",
    "InjectedError",
    "Journal",
    "JournalEnded",
    "JournalError",
    "Leak",
    "Network",
    "Recorder",
    "ReplayOver",
    "Replayer",
    "Simulation",
    "SimulationError",
    "Violation",
]
