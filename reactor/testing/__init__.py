"""What replaces or wraps the operating system: a simulated network from a seed, record and replay; and checks of handlers.

`import reactor` does not load it.
"""

from reactor.errors import Divergence, JournalEnded, JournalError, ReplayOver
from reactor.testing.check import check_handler
from reactor.testing.codec import Codec, check_codec
from reactor.testing.faults import NO_FAULTS, Faults
from reactor.testing.journal import Journal
from reactor.testing.network import Network
from reactor.testing.peer import Ended
from reactor.testing.recorder import Recorder
from reactor.testing.replayer import Replayer
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
    "Divergence",
    "Effort",
    "Ended",
    "Faults",
    "Hang",
    "Host",
    "InjectedError",
    "Journal",
    "JournalEnded",
    "JournalError",
    "Leak",
    "Network",
    "Outcome",
    "ReactorThread",
    "Recorder",
    "ReplayOver",
    "Replayer",
    "Shrunk",
    "Simulation",
    "SimulationError",
    "Violation",
    "WatchedReactor",
    "check_codec",
    "check_handler",
    "shrink",
]
